"""`amodal evaluate`: measure a model on streets, a folder or a data set."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from amodal_ros.commands.parser import Parser
from amodal_ros.completion.options import add_setting_arguments, chosen_settings
from amodal_ros.lab.datasets.base import Dataset
from amodal_ros.lab.datasets.registry import NAMES, dataset_class
from amodal_ros.lab.evaluation.baselines import BASELINES, Method, SegmenterBaseline
from amodal_ros.lab.evaluation.metrics import Record
from amodal_ros.lab.evaluation.ours import GEOMETRIC, Ours
from amodal_ros.lab.evaluation.report import ablation_variants, report
from amodal_ros.lab.evaluation.results import OURS
from amodal_ros.lab.evaluation.runs import RunFolder, Selection, evaluate, fingerprint, is_complete, merge, read_run
from amodal_ros.models import find_model, load_profile

Result = TypeVar("Result")

EXAMPLES = (
    "amodal evaluate streets --model embedded --limit 50",
    "amodal evaluate folder /data/mine --model geometric --out run --save-masks",
)


def add_arguments(parser: Parser) -> None:
    what = parser.add_subparsers(dest="what", required=True, metavar="WHAT")
    shared = _shared_options()
    for name in NAMES:
        cls = dataset_class(name)
        line = (cls.__doc__ or name).splitlines()[0]
        command = what.add_parser(name, parents=[shared], help=line, description=line)
        if name == "folder":
            command.add_argument("root", type=Path, metavar="DIR")
        elif cls.has_root:
            command.add_argument("--root", type=Path, required=True, metavar="DIR", help="where the data set lies")
        cls.add_options(command)
        place = f"{name} DIR" if name == "folder" else f"{name} --root DIR" if cls.has_root else name
        command.add_examples(
            f"amodal evaluate {place} --model geometric --limit 50",
            f"amodal evaluate {place} --model embedded --out run --save-masks",
        )
    merging = what.add_parser("merge", help="make one run of the shards of a run")
    merging.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    merging.add_argument("--out", type=Path, required=True, metavar="RUN")
    merging.add_examples(
        "amodal evaluate merge part1 part2 --out run", "amodal evaluate merge part* --out run --format csv"
    )
    merging.add_argument("--format", choices=("text", "markdown", "csv"), default="text")


def _shared_options() -> Parser:
    options = Parser(add_help=False)
    method = options.add_argument_group("method")
    method.add_argument("--model", default="embedded", help=f"name or folder; {GEOMETRIC}: no network at all")
    add_setting_arguments(method)
    method.add_argument("--depth", action="store_true", help="use the data set's depth to tell who is in front")
    method.add_argument("--segmenter", metavar="PLACE", help="folder or hub id, in place of the model's own")
    method.add_argument(
        "--modal-segmenter",
        action="append",
        default=[],
        type=Path,
        metavar="FOLDER",
        help="also measure this SAM or SAM 2 by itself, with nine points on the original image",
    )
    method.add_argument("--device", help="torch device; default: the best there is")
    method.add_argument("--dtype", help="float32, float16 or bfloat16; default: the device's")
    method.add_argument("--seed", type=int, default=0)
    method.add_argument("--ablation", action="store_true", help="the paper's Table 2 and all readings")
    select = options.add_argument_group("which objects")
    select.add_argument(
        "--occlusion", type=_occlusion, metavar="LOW:HIGH", help="LOW < rate <= HIGH; either may be empty"
    )
    select.add_argument("--limit", type=int, metavar="N", help="at most N objects")
    select.add_argument("--skip-bad", action="store_true", help="leave bad data out instead of stopping")
    output = options.add_argument_group("output")
    output.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    output.add_argument("--format", choices=("text", "markdown", "csv"), default="text")
    output.add_argument("--out", type=Path, metavar="RUN", help="keep the run; the same command continues it")
    output.add_argument("--shard", type=_shard, metavar="I/N", help="only this part of the frames; needs --out")
    output.add_argument("--save-masks", action="store_true", help="keep every method's masks; needs --out")
    return options


def run(args: argparse.Namespace) -> int:
    """Returns 0; errors are raised as ValueError or OSError with a message for people."""
    if args.what == "merge":
        merge(args.runs, args.out)
        settings, records, skipped = read_run([args.out])
    else:
        outcome = _evaluate(args)
        if outcome is None:
            print(f"{args.out}: this shard is done; the table comes with the last one")
            return 0
        settings, records, skipped = outcome
    tables, figures = report(settings, records, skipped)
    print("\n".join(table.render(args.format) for table in tables))
    if getattr(args, "json", None):
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0


def _evaluate(args: argparse.Namespace) -> tuple[dict[str, Any], list[Record], list[str]] | None:
    """Settings, records and skipped items; None when other shards of the run are still missing."""
    shard = args.shard or _torchrun_shard()
    if args.out is None and (shard != (1, 1) or args.save_masks):
        raise ValueError("--shard, --save-masks and torchrun need --out RUN")
    selection = Selection(args.occlusion, args.limit, shard)
    dataset = dataset_class(args.what).from_args(args)
    methods = _methods(args)
    settings = _settings(dataset, methods, args)
    if args.out is None:
        records: list[Record] = []
        frames = selection.frames(dataset)
        for results in _progress(evaluate(dataset, methods, frames, selection, args.depth), len(frames)):
            records += [record for record, _ in results]
        return settings, records, dataset.bad
    folder = RunFolder(args.out, settings, shard)
    frames = folder.remaining(selection.frames(dataset))
    for results in _progress(evaluate(dataset, methods, frames, selection, args.depth), len(frames)):
        folder.skip(dataset.bad)
        folder.add(results, methods, args.save_masks)
    folder.finish()
    return read_run([args.out]) if is_complete(args.out) else None


def _progress(results: Iterable[Result], total: int) -> Iterable[Result]:
    """Frames done, rate and time left; seldom when nobody watches."""
    return tqdm(results, total=total, unit="frame", mininterval=0.5 if sys.stderr.isatty() else 30)


def _methods(args: argparse.Namespace) -> list[Method]:
    device = args.device or _local_device()
    pipeline = None
    if args.model != GEOMETRIC:
        load_profile(args.model)  # a name that is none is told before a library that is missing
        from amodal_ros.completion import AmodalPipeline  # torch only when a model runs

        pipeline = AmodalPipeline.from_pretrained(args.model, segmenter=args.segmenter, device=device, dtype=args.dtype)
    overrides = _overrides(args)
    variants = ablation_variants(overrides) if args.ablation else {OURS: overrides}
    on_error = "skip" if args.skip_bad else "raise"
    ours = [Ours(name, pipeline, o, args.seed, on_error) for name, o in variants.items()]
    return [*BASELINES, *(_segmenter(folder, device, args.seed) for folder in args.modal_segmenter), *ours]


def _segmenter(folder: Path, device: str | None, seed: int) -> Method:
    import torch

    from amodal_ros.completion.segmenters import load_segmenter

    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return SegmenterBaseline(load_segmenter(folder, chosen, torch.float32), seed=seed)


def _overrides(args: argparse.Namespace) -> dict[str, Any]:
    """The settings that the command line changes."""
    return chosen_settings(args)


def _settings(dataset: Dataset, methods: Sequence[Method], args: argparse.Namespace) -> dict[str, Any]:
    """Everything that decides the figures."""
    return {
        "dataset": dataset.name,
        "what": args.what,
        "options": _options(args),
        "protocol": dataset.protocol,
        "root": str(args.root.resolve()) if dataset.has_root else None,
        "occlusion": args.occlusion,
        "limit": args.limit,
        "skip_bad": args.skip_bad,
        "model": args.model,
        "weights": _weights(args),
        "dtype": args.dtype,
        "depth": args.depth,
        "seed": args.seed,
        "methods": {
            m.name: {"sees_neighbours": m.sees_neighbours, "ours": isinstance(m, Ours), "settings": m.settings}
            for m in methods
        },
    }


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The data set's own options as they were given: with them it is opened again."""
    parser = argparse.ArgumentParser(add_help=False)
    dataset_class(args.what).add_options(parser)
    return {name: getattr(args, name) for name in vars(parser.parse_args([]))}


def _weights(args: argparse.Namespace) -> str | None:
    """A fingerprint of the model's files: a run is not continued with other weights of the same name."""
    if args.model == GEOMETRIC:
        return None
    found = find_model(args.model, args.segmenter)
    return fingerprint(found.folder, found.segmenter)


def _occlusion(text: str) -> tuple[float, float]:
    try:
        low, high = text.split(":")
        return (float(low) if low else -1.0, float(high) if high else 1.0)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected LOW:HIGH such as 0:0.5, got {text!r}") from None


def _shard(text: str) -> tuple[int, int]:
    try:
        position, shards = map(int, text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected I/N such as 1/4, got {text!r}") from None
    return position, shards


def _torchrun_shard() -> tuple[int, int]:
    """This process's shard under torchrun or accelerate; the whole when alone."""
    return int(os.environ.get("RANK", 0)) + 1, int(os.environ.get("WORLD_SIZE", 1))


def _local_device() -> str | None:
    """The GPU of this process under torchrun; None lets the pipeline choose."""
    if "LOCAL_RANK" not in os.environ:
        return None
    import torch

    return f"cuda:{os.environ['LOCAL_RANK']}" if torch.cuda.is_available() else None
