"""Completions per second of one core: what the shipped model cost once, what it costs now, and its accuracy.

``python benchmarks/speed.py [--objects 60] [--table]``: every row in one run, on the objects of ``choices.py``.
Processor time of the process with one thread; rows take turns object by object, so that other load falls on all alike.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from choices import Case, cases

from amodal_ros.completion import AmodalPipeline
from amodal_ros.lab.evaluation.metrics import bootstrap_means, interval
from amodal_ros.scene import MaskRegion

#: Row -> how the model is loaded; the others are compared with the first.
ROWS: dict[str, dict[str, Any]] = {
    "8 steps x 3 samples, float32": {"steps": 8, "samples": 3, "dtype": "float32"},
    "1 step x 1 sample, float32": {"dtype": "float32"},
    "as shipped on this machine": {},
}
STEPS, SAMPLES = (1, 2, 3, 4, 8), (1, 3, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=60)
    parser.add_argument("--table", action="store_true", help="steps x samples instead, in the machine's dtype")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = ROWS
    if args.table:
        rows = {f"{n} steps x {k} samples": {"steps": n, "samples": k} for n in STEPS for k in SAMPLES}
    chosen = list(cases(args.objects))
    pipelines = {name: AmodalPipeline.from_pretrained("embedded", **row) for name, row in rows.items()}
    for pipeline in pipelines.values():
        complete(pipeline, chosen[0])  # the first call of a kind counts for none
    report(chosen, pipelines)


def complete(pipeline: AmodalPipeline, case: Case) -> MaskRegion:
    frame, _, masks = case
    return pipeline.complete(frame.image, masks[:1], masks[1:])[0].amodal.clip(*frame.shape)


def report(chosen: list[Case], pipelines: dict[str, AmodalPipeline]) -> None:
    """Print milliseconds, rate and accuracy of every row; intervals over scenes, which hold several objects."""
    seconds = dict.fromkeys(pipelines, 0.0)
    masks: dict[str, list[MaskRegion]] = {name: [] for name in pipelines}
    for case in chosen:
        for name, pipeline in pipelines.items():
            started = time.process_time()
            masks[name].append(complete(pipeline, case))
            seconds[name] += time.process_time() - started
    truths = [thing.amodal.clip(*frame.shape) for frame, thing, _ in chosen]
    ious = {name: np.array([m.iou(t) for m, t in zip(own, truths)]) for name, own in masks.items()}
    scenes = np.unique([id(frame) for frame, _, _ in chosen], return_inverse=True)[1]
    first = next(iter(pipelines))
    print(f"{'':<30} {'ms':>6} {'per s':>6} {'gain':>6} {'mIoU':>6}  against the first    IoU with its masks")
    for name in pipelines:
        each = seconds[name] / len(chosen)
        gained = 100 * (ious[name] - ious[first])
        low, high = interval(bootstrap_means(gained[:, None], scenes))
        same = np.mean([m.iou(o) for m, o in zip(masks[name], masks[first])])
        print(
            f"{name:<30} {1e3 * each:>6.0f} {1 / each:>6.1f} {seconds[first] / seconds[name]:>5.1f}x "
            f"{100 * ious[name].mean():>6.1f}  {gained.mean():>+5.1f} [{low:>+5.1f}, {high:>+5.1f}] {same:>12.3f}"
        )


if __name__ == "__main__":
    main()
