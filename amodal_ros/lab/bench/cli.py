"""`amodal bench`: a model's seconds per object and peak memory, beside the plain `diffusers` pipeline; what each of its
networks takes, and how near that is to what the device can do."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
from pathlib import Path
from typing import Any

from amodal_ros.lab.bench.tables import table
from amodal_ros.models.profiles import find_model, load_profile

EXAMPLES = (
    "amodal bench embedded --batch 1 4",
    "amodal bench sdxl --random-weights --steps 10 --guidance 0.75 --json sdxl.json",
    "amodal bench sd15-robot --count",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", nargs="?", default="embedded", help="profile, folder, profile file or hub id")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4, 8], help="objects completed together")
    parser.add_argument("--steps", type=int, help="denoising steps; by default the profile's")
    parser.add_argument(
        "--guidance",
        type=float,
        metavar="W",
        help="w of Eq. 11; above 0 every step takes two evaluations, here and there",
    )
    parser.add_argument("--repeat", type=int, default=3, help="calls that are timed; the fastest counts")
    parser.add_argument("--device", help="torch device; by default a GPU if there is one")
    parser.add_argument("--dtype", help="float32, float16 or bfloat16")
    parser.add_argument(
        "--random-weights",
        action="store_true",
        help="build the architecture without its weights: speed and memory only",
    )
    parser.add_argument(
        "--count",
        action="store_true",
        help="operations and parameters alone, from the architecture: needs no weights, no GPU and seconds",
    )
    parser.add_argument("--no-plain", action="store_true", help="leave the plain diffusers pipeline out")
    parser.add_argument("--profiler", action="store_true", help="say which operators the time goes to")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")


def run(args: argparse.Namespace) -> int:
    if min(*args.batch, args.repeat, args.steps or 1) < 1:
        raise ValueError("--batch, --steps, --repeat: expected whole numbers from 1")
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # before they are imported
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    from amodal_ros.lab.bench.measure import about, bench, counts, profile

    pipeline, folder = _pipeline(args)
    report = {"model": args.model, "random_weights": args.random_weights or args.count, **about(pipeline, folder)}
    if args.count:
        report["networks"] = counts(pipeline)
    else:
        report |= bench(pipeline, args.batch, args.repeat, plain=not args.no_plain)
    print(table(report))
    if args.profiler and not args.count:
        print(profile(pipeline, max(args.batch)))
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _pipeline(args: argparse.Namespace) -> tuple[Any, Path]:
    """The pipeline, and the folder that it, or its architecture, is read from."""
    import torch

    from amodal_ros.completion import AmodalPipeline
    from amodal_ros.completion.device import choose_device, choose_dtype
    from amodal_ros.lab.bench.random_weights import architecture, random_pipeline

    given = {"steps": args.steps, "guidance": args.guidance}
    changes = {name: value for name, value in given.items() if value is not None}
    if not args.random_weights and not args.count:
        pipeline = AmodalPipeline.from_pretrained(args.model, device=args.device, dtype=args.dtype, **changes)
        return pipeline, find_model(args.model).folder
    profile = load_profile(args.model)
    folder = architecture(profile.model)
    changed = dataclasses.replace(profile, changes=(*profile.changes, changes))
    if args.count:  # on no device: neither weights to store in 8 bits nor anything to compile
        changed = dataclasses.replace(changed, switches=profile.switches.replace(quantize="", compile=False))
        dtype = choose_dtype(args.dtype or profile.dtype, torch.device("cpu"))
        return random_pipeline(changed, torch.device("meta"), dtype), folder
    device = choose_device(args.device)
    dtype = choose_dtype(args.dtype, device, profile.dtype, profile.cpu_dtype)
    return random_pipeline(changed, device, dtype), folder
