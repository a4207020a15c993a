"""`amodal bench`: seconds per object and peak memory of a model, beside the plain `diffusers` pipeline."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from amodal_ros.models.profiles import load_profile

#: Side of the made-up frame and of its objects in pixels; crops bring both to the model's resolution.
FRAME, OBJECT = 256, 64

EXAMPLES = (
    "amodal bench embedded --batch 1 4",
    "amodal bench sdxl --random-weights --steps 10 --guidance 0.75 --json sdxl.json",
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
    parser.add_argument("--no-plain", action="store_true", help="leave the plain diffusers pipeline out")
    parser.add_argument("--profiler", action="store_true", help="say which operators the time goes to")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")


def run(args: argparse.Namespace) -> int:
    if min(*args.batch, args.repeat, args.steps or 1) < 1:
        raise ValueError("--batch, --steps, --repeat: expected whole numbers from 1")
    for library in ("DIFFUSERS", "TRANSFORMERS"):  # before they are imported
        os.environ.setdefault(f"{library}_VERBOSITY", "error")
    pipeline = _pipeline(args)
    report = bench(pipeline, args.batch, args.repeat, plain=not args.no_plain)
    report = {"model": args.model, "random_weights": args.random_weights, **report}
    print(table(report))
    if args.profiler:
        print(profile(pipeline, max(args.batch)))
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=2) + "\n")
    return 0


def _pipeline(args: argparse.Namespace) -> Any:
    from amodal_ros.completion import AmodalPipeline
    from amodal_ros.completion.device import choose_device, choose_dtype

    given = {"steps": args.steps, "guidance": args.guidance}
    changes = {name: value for name, value in given.items() if value is not None}
    if not args.random_weights:
        return AmodalPipeline.from_pretrained(args.model, device=args.device, dtype=args.dtype, **changes)
    from amodal_ros.lab.bench.random_weights import random_pipeline

    profile = load_profile(args.model)
    device = choose_device(args.device)
    changed = dataclasses.replace(profile, changes=(*profile.changes, changes))
    return random_pipeline(changed, device, choose_dtype(args.dtype, device, profile.dtype, profile.cpu_dtype))


def bench(pipeline: Any, batches: list[int], repeat: int, plain: bool = True) -> dict[str, Any]:
    """Seconds per object and peak memory at several batch sizes; the fastest of `repeat` calls each."""
    backend, settings = pipeline.backend, pipeline.settings
    doubled = backend.has_mask_input and settings.sampling.guidance > 0
    report: dict[str, Any] = {
        "machine": _machine(backend.device),
        "device": str(backend.device),
        "dtype": str(backend.dtype).removeprefix("torch."),
        "resolution": backend.resolution,
        "reading": settings.reading.name,
        "steps": settings.sampling.steps,
        "samples": settings.sampling.samples,
        "evaluations_per_step": 2 if doubled else 1,
        "parameters": {
            "denoiser": _parameters(backend.denoiser),
            "vae": _parameters(backend.autoencoder.vae),
            "segmenter": _parameters(pipeline.segmenter.model),
        },
        "batches": [_batch(pipeline, size, repeat) for size in batches],
    }
    if plain:
        from amodal_ros.lab.bench.diffusers_call import plain_call

        call, how = plain_call(backend, settings.sampling.steps, doubled)
        report["plain"] = {"evaluations": how, **_measured(call, repeat, backend.device)}
        report["plain"]["seconds"] *= settings.sampling.samples  # one picture for each
    return report


def _batch(pipeline: Any, size: int, repeat: int) -> dict[str, Any]:
    import torch

    side = pipeline.backend.resolution
    image, masks = made_up_scene(size)
    images = torch.zeros(size, 3, side, side)
    points, labels = torch.full((size, 9, 2), side / 2), torch.ones(size, 9, dtype=torch.int64)

    def complete() -> Any:
        return pipeline.complete(image, masks, occluders="off", max_batch=size)

    def segment() -> Any:
        with torch.inference_mode():
            return pipeline.segmenter.segment(images, points, labels)

    device = pipeline.backend.device
    whole = _measured(complete, repeat, device)
    segmenter = _measured(segment, repeat, device)["seconds"] * pipeline.settings.sampling.samples
    return {
        "objects": size,
        "fit": pipeline.batch_limit is None or size <= pipeline.batch_limit,
        "seconds_per_object": whole["seconds"] / size,
        "segmenter_seconds_per_object": segmenter / size,
        "peak_bytes": whole["peak_bytes"],
    }


def made_up_scene(objects: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A noise image and as many visible masks, one of which is never judged unoccluded."""
    image = np.random.default_rng(0).integers(0, 256, (FRAME, FRAME, 3), dtype=np.uint8)
    masks = []
    for k in range(objects):
        mask = np.zeros((FRAME, FRAME), bool)
        x, y = 24 * (k % 8), 48 * (k // 8 % 4)
        mask[y : y + OBJECT, x : x + OBJECT] = True
        masks.append(mask)
    return image, masks


def _measured(call: Callable[[], Any], repeat: int, device: Any) -> dict[str, Any]:
    """The fastest of some calls after one that does not count, and the most memory that any took."""
    import torch

    from amodal_ros.completion.device import peak_bytes, reset_peak

    reset_peak(device)
    seconds = []
    for _ in range(repeat + 1):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return {"seconds": min(seconds[1:]), "peak_bytes": peak_bytes(device)}


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    weights = "RANDOM WEIGHTS: speed and memory only, the masks mean nothing" if report["random_weights"] else "weights"
    sizes = ", ".join(f"{name} {count / 1e6:,.1f} M" for name, count in report["parameters"].items())
    lines = [
        f"{report['model']} ({weights}), {report['resolution']} px, {report['dtype']}, {report['machine']}",
        f"per object {_count(report['samples'], 'sample')} of {_count(report['steps'], 'step')} of "
        f"{_count(report['evaluations_per_step'], 'evaluation')}, reading {report['reading']}",
        f"parameters: {sizes}",
        "",
        f"{'objects':>8} {'s/object':>9} {'of it segmenter':>16} {'peak GiB':>9}"
        + "  plain/ours" * ("plain" in report),
    ]
    for row in report["batches"]:
        line = f"{row['objects']:>8} {row['seconds_per_object']:>9.3f} {row['segmenter_seconds_per_object']:>16.3f} "
        line += f"{row['peak_bytes'] / 2**30:>9.2f}"
        if "plain" in report:
            painting = row["seconds_per_object"] - row["segmenter_seconds_per_object"]
            line += f"{report['plain']['seconds'] / painting:>11.2f}x"
        lines.append(line + ("" if row["fit"] else "  (did not fit together; done in halves)"))
    if "plain" in report:
        plain = report["plain"]
        memory = plain["peak_bytes"] / 2**30
        lines.append(f"{'plain':>8} {plain['seconds']:>9.3f} {'-':>16} {memory:>9.2f}  one call per object")
        lines.append(f"plain: {plain['evaluations']}; plain/ours compares painting alone, without the segmenter")
    if report["device"] == "cpu":
        lines.append("peak GiB on a CPU: the process since its start, libraries and loading included")
    return "\n".join(lines)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + "s" * (number != 1)


def profile(pipeline: Any, objects: int) -> str:
    """The ten operators that most time goes to, for one call."""
    import torch
    from torch.profiler import ProfilerActivity

    image, masks = made_up_scene(objects)
    cuda = pipeline.backend.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities) as profiler:
        pipeline.complete(image, masks, occluders="off", max_batch=objects)
    key = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    return profiler.key_averages().table(sort_by=key, row_limit=10, max_name_column_width=40)


def _parameters(module: Any) -> int:
    return sum(p.numel() for p in module.parameters())


def _machine(device: Any) -> str:
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{torch.get_num_threads()} threads of {names[0] if names else platform.machine()}"
