"""Which reading, background, area, margin, occluder rule and number of points and samples is best: one table.

``python benchmarks/choices.py [--objects 60]``: the shipped model on street scenes from the end of the training range
of seeds, which neither training nor the frozen lists draw; each row changes one setting of the shipped profile.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from amodal_ros.completion import AmodalPipeline
from amodal_ros.lab.datasets.streets import TRAIN_SEEDS, StreetFrame, StreetObject, scene
from amodal_ros.scene import MaskRegion, Scene, convex_hull

ROWS: dict[str, dict[str, Any]] = {
    "shipped defaults": {},
    "reading equation": {"reading": "equation", "area": "hull"},
    "reading soft": {"reading": "soft", "area": "hull"},
    "reading start": {"reading": "start", "area": "hull"},
    "reading anchored_real": {"reading": "anchored_real"},
    "histogram background": {"condition": "histogram"},
    "black background": {"condition": "black"},
    "area hull": {"area": "hull"},
    "area growth 0.3": {"area_growth": 0.3},
    "guidance 0.3": {"guidance": 0.3},
    "guidance 0.75": {"guidance": 0.75},
    "margin 0.25": {"margin": 0.25},
    "20 steps": {"steps": 20},
    "no points off the object": {"negative": 0},
    "choice predicted": {"choice": "predicted"},
    "what was painted, not judged": {"answer": "completion"},
    "1 sample": {"samples": 1},
    "5 samples": {"samples": 5},
    "occluders any": {"occluders": "any"},
    "occluders off": {"occluders": "off"},
    "occluders off, start": {"occluders": "off", "reading": "start", "area": "hull"},
    "paper": {"preset": "paper"},
}

#: Other label images than exact ones of things only.
LABELS: dict[str, dict[str, Any]] = {"labels all": {"labels": "all"}, "noise 1": {"noise": 1}, "noise 2": {"noise": 2}}

Case = tuple[StreetFrame, StreetObject, list[MaskRegion]]


def cases(count: int, labels: str = "things", noise: int = 0) -> Iterator[Case]:
    """Occluded objects inside the frame, at most three a scene, each with all visible masks, its own first."""
    found, seed = 0, TRAIN_SEEDS[-1]
    while found < count:
        frame = scene(seed)
        seed -= 1
        visible = {i.id: i.visible for i in frame.instances(labels=labels, noise=noise)}
        fits = [o for o in frame.objects if o.id in visible and o.labelled and _fits(o, frame.shape)]
        for thing in fits[: min(3, count - found)]:
            yield frame, thing, [visible[thing.id], *(m for i, m in visible.items() if i != thing.id)]
            found += 1


def _fits(thing: StreetObject, shape: tuple[int, int]) -> bool:
    big = thing.visible.area >= 150 and thing.amodal.clip(*shape).area >= 400
    return big and 0.1 < thing.occlusion <= 0.8 and not thing.amodal.touches_edge(*shape)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=60)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="only rows whose name has one of these texts")
    args = parser.parse_args()
    torch.set_num_threads(1)
    pipeline = AmodalPipeline.from_pretrained(args.model)
    clean = list(cases(args.objects))
    print(f"{'setting':<28} {'(0.1, 0.5]':>10} {'(0.5, 0.8]':>10} {'all':>7} {'s/object':>9}")

    def wanted(name: str) -> bool:
        return not args.only or any(text in name for text in args.only)

    row("modal mask", clean, lambda frame, masks: masks[0])
    row("hull", clean, lambda frame, masks: convex_hull(masks[0]))
    row("bounded hull", clean, lambda frame, masks: Scene.of_masks(masks, frame.shape).bounded_hull(0))

    def ours(**changes: Any):
        changes = {**changes}
        return lambda frame, masks: pipeline.complete(frame.image, masks[:1], masks[1:], **changes)[0].amodal

    for name in filter(wanted, ROWS):
        row(name, clean, ours(**ROWS[name]))
    for what in filter(wanted, LABELS):
        other = list(cases(args.objects, **LABELS[what]))
        row(f"{what}: bounded hull", other, lambda frame, masks: Scene.of_masks(masks, frame.shape).bounded_hull(0))
        row(f"{what}: shipped defaults", other, ours())


def row(name: str, chosen: list[Case], answer) -> None:
    """Print mean IoU inside the frame of one method, per occlusion bin."""
    started, ious = time.perf_counter(), []
    for frame, thing, masks in chosen:
        ious.append(answer(frame, masks).clip(*frame.shape).iou(thing.amodal.clip(*frame.shape)))
    seconds = (time.perf_counter() - started) / len(chosen)
    ious, much = np.array(ious), np.array([thing.occlusion > 0.5 for _, thing, _ in chosen])
    low, high = 100 * ious[~much].mean(), 100 * ious[much].mean()
    print(f"{name:<28} {low:>10.1f} {high:>10.1f} {100 * ious.mean():>7.1f} {seconds:>9.2f}", flush=True)


if __name__ == "__main__":
    main()
