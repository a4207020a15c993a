"""`amodal complete`: amodal masks for the objects of one image."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from amodal_ros.completion.options import add_setting_arguments, chosen_settings, only_occluders
from amodal_ros.io import LabelError, cut_labels, read_image, read_labels, read_mask
from amodal_ros.io.options import add_colours_argument
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Scene, Source
from amodal_ros.scene.overlay import draw_overlay

#: What VOC, DAVIS and others write where nobody can tell.
VOID = 255


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", type=Path, help="image file")
    parser.add_argument("masks", type=Path, nargs="*", metavar="MASK", help="visible mask of an object")
    parser.add_argument("--labels", type=Path, metavar="LABELMAP", help="label image: each value but 0 is one object")
    parser.add_argument(
        "--label-divisor",
        type=int,
        default=0,
        metavar="N",
        help="if > 0, value // N is the class, and values below N (in a map without such values: its multiples) are "
        "stuff: no objects, but they can hide",
    )
    parser.add_argument(
        "--ignore-labels",
        type=int,
        nargs="+",
        default=(),
        metavar="ID",
        help="values that are no objects, but can hide",
    )
    add_colours_argument(parser)
    parser.add_argument("--context", type=Path, nargs="+", default=[], metavar="MASK", help="masks of other things")
    parser.add_argument("--model", default="embedded", help="profile ('geometric': no network), folder or hub id")
    parser.add_argument("--segmenter", help="folder, .pth file or hub id, in place of the model's own")
    parser.add_argument("--device", help="torch device; by default a GPU if there is one")
    parser.add_argument("--dtype", help="float32, float16 or bfloat16")
    add_setting_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="fixes every random draw")
    parser.add_argument("--trace", action="store_true", help="draw every object's way through the method")
    parser.add_argument("--out", type=Path, default=Path("amodal"), help="folder for masks, overlay and JSON")


def run(args: argparse.Namespace) -> int:
    image = read_image(args.image)
    instances, context = read_objects(args, image.shape[:2])
    if not instances:
        raise ValueError("no objects: name MASK files or give --labels LABELMAP")
    started = time.perf_counter()
    if args.model == "geometric":
        scene = Scene(image, instances, context, occluders=only_occluders(chosen_settings(args)))
        completions = [scene.geometric(k) for k in range(len(instances))]
    else:
        scene, completions = _complete(args, image, instances, context)
    seconds = time.perf_counter() - started

    answers = [Answer(i, done, 0, scene.ids(done.occluders)) for i, done in zip(scene.things, completions)]
    args.out.mkdir(parents=True, exist_ok=True)
    write_results(args.out, image, answers, args)
    print_table(answers)
    loading = "" if args.model == "geometric" else ", loading included"
    print(f"{len(answers)} objects in {seconds:.1f} s{loading}; written to {args.out}/")
    if all(done.source is Source.UNOCCLUDED for done in completions):
        hint = "name what is in front as --context MASK, give more masks or --labels, or say --occluders any"
        print(f"nothing that is labelled can hide an object here: {hint}", file=sys.stderr)
    return 0


def _complete(
    args: argparse.Namespace, image: np.ndarray, instances: Sequence[Instance], context: Sequence[MaskRegion]
) -> tuple[Scene, list[Completion]]:
    from tqdm import tqdm

    from amodal_ros.completion import AmodalPipeline

    pipeline = AmodalPipeline.from_pretrained(
        args.model, segmenter=args.segmenter, device=args.device, dtype=args.dtype, **chosen_settings(args)
    )
    with tqdm(desc=pipeline.name, unit="step", delay=1, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        scene = Scene(image, instances, context, occluders=pipeline.settings.occluders)
        return scene, pipeline.complete(scene, seed=args.seed, trace=args.trace, progress=progress)


def read_objects(args: argparse.Namespace, shape: tuple[int, int]) -> tuple[list[Instance], list[MaskRegion]]:
    """The instances to complete, with ids, and the masks of what else can hide them."""
    if args.masks and args.labels is not None:
        raise ValueError("give either MASK files or --labels: ids of both would clash")
    context = [MaskRegion.from_full(read_mask(path, shape)) for path in args.context]
    if args.labels is None:
        return [Instance(k, _read_object(path, shape)) for k, path in enumerate(args.masks, 1)], context
    labels = read_labels(args.labels, shape, args.colours_are_ids)
    try:
        labelled = cut_labels(labels, args.label_divisor, args.ignore_labels)
    except LabelError as error:
        raise ValueError(f"{args.labels}: {error}") from None
    if labelled.stuff:
        ids = ", ".join(map(str, labelled.stuff_ids))
        print(f"{args.labels}: no objects, but they can hide: {ids}", file=sys.stderr)
    if labels.dtype == np.uint8 and any(instance.id == VOID for instance in labelled.instances):
        print(f"{args.labels}: {VOID} is taken for an object; if it is void, say --ignore-labels 255", file=sys.stderr)
    return list(labelled.instances), [*labelled.stuff, *context]


def _read_object(path: Path, shape: tuple[int, int]) -> MaskRegion:
    mask = MaskRegion.from_full(read_mask(path, shape))
    if not mask:
        raise ValueError(f"{path}: expected a mask with at least one pixel of half of white or more, got none")
    return mask


def write_results(out: Path, image: np.ndarray, answers: Sequence[Answer], args: argparse.Namespace) -> None:
    """Amodal masks (PNG, inside the frame), overlay, JSON, and traces where kept."""
    height, width = image.shape[:2]
    rows: list[dict[str, Any]] = []
    for answer in answers:
        done = answer.completion
        name = f"amodal_{answer.instance.id:04d}.png"
        cv2.imwrite(str(out / name), done.amodal.full(height, width).astype(np.uint8) * 255)
        rows.append(
            {
                "id": answer.instance.id,
                "mask": name,
                "source": done.source.name,
                "occlusion_ratio": _number(done.occlusion_ratio),
                "truncation_ratio": _number(done.truncation_ratio),
                "expected_iou": _number(done.expected_iou),
                "agreement": _number(done.agreement),
                "occluders": list(answer.occluders),
                "amodal_box": list(done.amodal.trim().box),
                "possible_box": list(done.possible.trim().box),
            }
        )
        if done.trace is not None:
            from amodal_ros.completion.trace import draw_trace

            figure = draw_trace(done.trace)
            cv2.imwrite(str(out / f"trace_{answer.instance.id:04d}.png"), figure[..., ::-1])
    cv2.imwrite(str(out / "overlay.png"), draw_overlay(image, answers)[..., ::-1])
    summary = {"image": str(args.image), "model": args.model, "seed": args.seed, "objects": rows}
    (out / "completions.json").write_text(json.dumps(summary, indent=2) + "\n")


def print_table(answers: Sequence[Answer]) -> None:
    print(f"{'id':>6}  {'source':<12} {'occluded':>8} {'cut off':>8} {'IoU':>6}  occluders", file=sys.stdout)
    for answer in answers:
        done = answer.completion
        beyond = len(done.occluders) - len(answer.occluders)  # context masks have no id
        hidden_by = ", ".join([*map(str, answer.occluders), *["context"] * bool(beyond)]) or "-"
        print(
            f"{answer.instance.id:>6}  {done.source.name:<12} "
            f"{_shown(done.occlusion_ratio, '.0%'):>8} {_shown(done.truncation_ratio, '.0%'):>8} "
            f"{_shown(done.expected_iou, '.2f'):>6}  {hidden_by}"
        )


def _shown(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
