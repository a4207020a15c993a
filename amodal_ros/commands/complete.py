"""`amodal complete`: amodal masks for the objects of one image."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from amodal_ros.completion.options import add_setting_arguments, chosen_settings, only_occluders
from amodal_ros.io import (
    LabelError,
    cut_labels,
    numbered,
    read_depth,
    read_image,
    read_labels,
    read_mask,
    unique_names,
)
from amodal_ros.io.options import add_colours_argument
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Scene, Source
from amodal_ros.scene.overlay import draw_overlay

#: What VOC, DAVIS and others write where nobody can tell.
VOID = 255
SUMMARY = "completions.json"
#: What to do where nothing labelled can hide anything, and what it costs (docs/benchmarks.md, "The judge").
HINT = """\
nothing that is labelled can hide an object here. Name what is in front as --context MASK, or give more masks.
Where that cannot be labelled, --occluders any lets everything hide. It has its price: mean IoU on photographs of cars
76 -> 82 % for hidden ones and 100 -> 99.5 % for whole ones, on two crowded table tops 92 -> 85 % and 100 -> 88 %."""

EXAMPLES = (
    "amodal complete street.jpg car.png bus.png --context pole.png --out out",
    "amodal complete street.jpg --labels labels.png --label-divisor 1000 --model geometric",
)


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
    parser.add_argument(
        "--context", type=Path, nargs="+", default=[], metavar="MASK", help="masks of other things, which can hide"
    )
    parser.add_argument(
        "--depth",
        type=Path,
        metavar="FILE",
        help="depth image: 16 bits in millimetres, or floats in metres; it decides who is in front and, unless "
        "--occluders says otherwise, what else can hide",
    )
    parser.add_argument("--model", default="embedded", help="profile ('geometric': no network), folder or hub id")
    parser.add_argument("--segmenter", help="folder, .pth file or hub id, in place of the model's own")
    parser.add_argument("--device", help="torch device; by default a GPU if there is one")
    parser.add_argument("--dtype", help="float32, float16 or bfloat16")
    add_setting_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="fixes every random draw")
    parser.add_argument("--trace", action="store_true", help="draw every object's way through the method")
    parser.add_argument("--out", type=Path, default=Path("amodal"), help="folder for masks, overlay and JSON")


@dataclass(frozen=True)
class Given:
    """What was handed in to be completed.

    Attributes:
        things: the objects.
        others: masks of what else can hide them.
        names: what people call each of them, things first: the label's value, or the file's name without its ending.
    """

    things: list[Instance]
    others: list[MaskRegion]
    names: list[int | str]


def run(args: argparse.Namespace) -> int:
    image = read_image(args.image)
    given = read_objects(args, image.shape[:2])
    if not given.things:
        raise ValueError("no objects: name MASK files or give --labels LABELMAP")
    depth = read_depth(args.depth, image.shape[:2]) if args.depth else None
    settings = chosen_settings(args)
    if depth is not None:
        settings.setdefault("occluders", "depth")
    started = time.perf_counter()
    if args.model == "geometric":
        scene = Scene(image, given.things, given.others, depth=depth, occluders=only_occluders(settings))
        completions = [scene.geometric(k) for k in range(len(given.things))]
    else:
        scene, completions = _complete(args, settings, image, given, depth)
    seconds = time.perf_counter() - started

    answers = [Answer(i, done, 0, scene.ids(done.occluders)) for i, done in zip(scene.things, completions)]
    found = [_row(k, answers, given, scene.occluders) for k in range(len(answers))]
    write_results(args, image, answers, found)
    print_table(found)
    if args.trace and not any(done.trace is not None for done in completions):
        print("--trace: nothing to draw, for no object went through a model", file=sys.stderr)
    loading = "" if args.model == "geometric" else ", loading included"
    count = "1 object" if len(answers) == 1 else f"{len(answers)} objects"
    print(f"{count} in {seconds:.1f} s{loading}; written to {args.out}/")
    if all(done.source is Source.UNOCCLUDED for done in completions):
        print(HINT, file=sys.stderr)
    return 0


def _complete(
    args: argparse.Namespace, settings: dict[str, Any], image: np.ndarray, given: Given, depth: np.ndarray | None
) -> tuple[Scene, list[Completion]]:
    from tqdm import tqdm

    from amodal_ros.models import load_profile

    load_profile(args.model)  # a name that is none is told before a library that is missing
    from amodal_ros.completion import AmodalPipeline

    pipeline = AmodalPipeline.from_pretrained(
        args.model, segmenter=args.segmenter, device=args.device, dtype=args.dtype, **settings
    )
    with tqdm(desc=pipeline.name, unit="step", delay=1, leave=False) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        scene = Scene(image, given.things, given.others, depth=depth, occluders=pipeline.settings.occluders)
        return scene, pipeline.complete(scene, seed=args.seed, trace=args.trace, progress=progress)


def read_objects(args: argparse.Namespace, shape: tuple[int, int]) -> Given:
    """The instances to complete, with ids and names, and the masks of what else can hide them."""
    if args.masks and args.labels is not None:
        raise ValueError("give either MASK files or --labels: ids of both would clash")
    context = [MaskRegion.from_full(read_mask(path, shape)) for path in args.context]
    files = [*args.masks, *args.context]
    names: list[int | str] = [*unique_names([(str(path), k) for k, path in enumerate(files, 1)])]
    if args.labels is None:
        masks = [_read_object(path, shape) for path in args.masks]
        return Given([Instance(k, mask) for k, mask in enumerate(masks, 1)], context, names)
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
    ids_of_things = [instance.id for instance in labelled.instances]
    return Given(list(labelled.instances), [*labelled.stuff, *context], [*ids_of_things, *labelled.stuff_ids, *names])


def _read_object(path: Path, shape: tuple[int, int]) -> MaskRegion:
    mask = MaskRegion.from_full(read_mask(path, shape))
    if not mask:
        raise ValueError(f"{path}: expected a mask with at least one pixel of half of white or more, got none")
    return mask


def _row(k: int, answers: Sequence[Answer], given: Given, occluders: str) -> dict[str, Any]:
    """What is told of one object, as JSON has it (`docs/files.md`)."""
    done = answers[k].completion
    in_front = [given.names[j] for j in done.occluders]
    undecided = [given.names[j] for j in done.occluders if j < len(answers) and k in answers[j].completion.occluders]
    return {
        "id": given.names[k],
        "source": done.source.name,
        "occlusion_ratio": _number(done.occlusion_ratio),
        "truncation_ratio": _number(done.truncation_ratio),
        "expected_iou": _number(done.expected_iou),
        "agreement": _number(done.agreement),
        "occluders": in_front,
        "undecided": undecided,
        "why": _why(done, in_front, undecided, occluders),
        "visible_box": list(done.visible.trim().box),
        "amodal_box": list(done.amodal.trim().box),
        "possible_box": list(done.possible.trim().box),
    }


def _why(done: Completion, in_front: Sequence[int | str], undecided: Sequence[int | str], occluders: str) -> str:
    """What can hide an object, in words: the reason for its source."""
    if done.source is Source.UNOCCLUDED:
        return "nothing labelled in front"
    reasons = [f"{name} (or behind it)" if name in undecided else str(name) for name in in_front]
    reasons += ["the frame's edge"] * done.touches_edge
    anything = {"any": "whatever has no label", "off": "anything", "depth": "what depth shows to be nearer"}
    reasons += [anything[occluders]] if occluders in anything else []
    return ", ".join(reasons) or "nothing labelled in front"


def write_results(
    args: argparse.Namespace, image: np.ndarray, answers: Sequence[Answer], rows: Sequence[dict[str, Any]]
) -> None:
    """Amodal masks (PNG), overlay, JSON, and traces where kept; what an earlier call left in the folder goes.

    Where a mask leaves the frame, ``whole_*.png`` has all of it; ``whole_offset`` says where its first pixel lies.
    """
    height, width = image.shape[:2]
    out: Path = args.out
    out.mkdir(parents=True, exist_ok=True)
    _remove_earlier(out, keep=[*args.masks, *args.context, args.image, *filter(None, (args.labels, args.depth))])
    names = {answer.instance.id: str(row["id"]) for answer, row in zip(answers, rows)}
    files: dict[str, np.ndarray] = {"overlay.png": draw_overlay(image, answers, names=names)[..., ::-1]}
    for answer, row, name in zip(answers, rows, _file_names(rows)):
        amodal = answer.completion.amodal.trim()
        row |= {"visible": f"visible_{name}.png", "mask": f"amodal_{name}.png"}
        files[row["visible"]] = answer.completion.visible.full(height, width).astype(np.uint8) * 255
        files[row["mask"]] = amodal.full(height, width).astype(np.uint8) * 255
        if amodal.clip(height, width).area < amodal.area:
            row |= {"whole_mask": f"whole_{name}.png", "whole_offset": [amodal.x, amodal.y]}
            files[row["whole_mask"]] = amodal.bits.astype(np.uint8) * 255
        if answer.completion.trace is not None:
            from amodal_ros.completion.trace import draw_trace

            files[f"trace_{name}.png"] = draw_trace(answer.completion.trace)[..., ::-1]
    for name, pixels in files.items():
        cv2.imwrite(str(out / name), pixels)
    summary = {"image": str(args.image), "model": args.model, "seed": args.seed, "objects": rows, "files": [*files]}
    (out / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")


def _file_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Each object's name as a part of file names."""
    names = [f"{row['id']:04d}" if isinstance(row["id"], int) else re.sub(r"[^\w.#-]", "_", row["id"]) for row in rows]
    return numbered(names)


def _remove_earlier(out: Path, keep: Sequence[Path]) -> None:
    """Remove what an earlier call says that it wrote, but nothing that this one reads."""
    try:
        files = json.loads((out / SUMMARY).read_text())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    kept = {path.resolve() for path in keep}
    for path in (out / Path(str(name)).name for name in files):
        if path.resolve() not in kept:
            path.unlink(missing_ok=True)


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """The answers for people. Agreement is told where several samples were drawn, else the expected IoU alone."""
    samples = any(row["agreement"] is not None for row in rows)
    wide = max(6, *(len(str(row["id"])) for row in rows))
    agreement = f"{'agreement':>10}" if samples else ""
    print(
        f"{'object':>{wide}}  {'source':<12} {'occluded':>8} {'cut off':>8} {'expected IoU':>13}{agreement}  in front"
    )
    for row in rows:
        agreement = f"{_shown(row['agreement'], '.2f'):>10}" if samples else ""
        hidden, cut = _shown(row["occlusion_ratio"], ".0%"), _shown(row["truncation_ratio"], ".0%")
        print(
            f"{row['id']!s:>{wide}}  {row['source']:<12} {hidden:>8} {cut:>8} "
            f"{_shown(row['expected_iou'], '.2f'):>13}{agreement}  {row['why']}"
        )
    if any(row["undecided"] for row in rows):
        print("(or behind it): the masks do not tell which of the two is in front; --depth FILE would")


def _shown(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 4)
