"""Completions per second of one core: what the shipped model cost once, what it costs now, and its accuracy.

    OMP_NUM_THREADS=1 PYTHONPATH=. ./env python -m benchmarks.speed [--objects 60] [--table]

Every row in one run, on the objects of ``choices.py`` that something labelled hides; the others take no model.
Processor time of the process with one thread; rows take turns scene by scene, so that other load falls on all alike.
Then where the time of one completion goes, as shipped.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import torch

from amodal_ros.completion import AmodalPipeline
from amodal_ros.lab.evaluation.metrics import bootstrap_means, interval
from amodal_ros.scene import MaskRegion, Scene
from benchmarks.choices import cases


@dataclass(frozen=True)
class Row:
    """How the model is loaded, and how many objects of a scene it gets in one call."""

    options: dict[str, Any] = field(default_factory=dict)
    together: int = 1


@dataclass(frozen=True)
class Objects:
    """A scene's objects that take the model: their positions, and their whole shapes inside the frame."""

    scene: Scene
    which: list[int]
    truths: list[MaskRegion]


#: The others are compared with the first.
ROWS = {
    "8 steps x 3 samples, float32": Row({"steps": 8, "samples": 3, "dtype": "float32"}),
    "1 step x 1 sample, float32": Row({"dtype": "float32"}),
    "as shipped on this machine": Row(),
    "as shipped, 2 objects a call": Row(together=2),
    "as shipped, 4 objects a call": Row(together=4),
}
STEPS, SAMPLES = (1, 2, 3, 4, 8), (1, 3, 5)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=60)
    parser.add_argument("--table", action="store_true", help="steps x samples instead, in the machine's dtype")
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = ROWS
    if args.table:
        rows = {f"{n} steps x {k} samples": Row({"steps": n, "samples": k}) for n in STEPS for k in SAMPLES}
    chosen = list(objects(args.objects))
    pipelines = {name: AmodalPipeline.from_pretrained("embedded", **row.options) for name, row in rows.items()}
    for pipeline in pipelines.values():
        complete(pipeline, chosen[0], 1)  # the first call of a kind counts for none
    report(chosen, rows, pipelines)
    if not args.table:
        stages(pipelines["as shipped on this machine"], chosen)


def objects(count: int):
    """`Objects` of as many scenes as hold `count` in all."""
    for _, group in groupby(cases(count), key=lambda case: id(case[0])):
        found = list(group)
        frame, _, masks = found[0]
        scene = Scene(frame.image, masks)
        places = {masks.index(own[0]): thing.amodal.clip(*frame.shape) for _, thing, own in found}
        hidden = {i: truth for i, truth in places.items() if not scene.unoccluded(i)}
        if hidden:
            yield Objects(scene, list(hidden), list(hidden.values()))


def complete(pipeline: AmodalPipeline, these: Objects, together: int) -> list[MaskRegion]:
    scene = these.scene.replace(image=these.scene.image.copy())  # nothing is known of it yet
    parts = [these.which[k : k + together] for k in range(0, len(these.which), together)]
    return [done.amodal.clip(*scene.shape) for part in parts for done in pipeline.complete(scene, which=part)]


def report(chosen: Sequence[Objects], rows: dict[str, Row], pipelines: dict[str, AmodalPipeline]) -> None:
    """Print milliseconds, rate and accuracy of every row; intervals over scenes, which hold several objects."""
    seconds = dict.fromkeys(rows, 0.0)
    masks: dict[str, list[MaskRegion]] = {name: [] for name in rows}
    for these in chosen:
        for name, row in rows.items():
            started = time.process_time()
            masks[name] += complete(pipelines[name], these, row.together)
            seconds[name] += time.process_time() - started
    truths = [truth for these in chosen for truth in these.truths]
    scenes = np.repeat(np.arange(len(chosen)), [len(these.which) for these in chosen])
    ious = {name: np.array([m.iou(t) for m, t in zip(own, truths)]) for name, own in masks.items()}
    first = next(iter(rows))
    print(f"{len(truths)} objects")
    print(f"{'':<30} {'ms':>6} {'per s':>6} {'gain':>6} {'mIoU':>6}  against the first    same masks")
    for name in rows:
        each = seconds[name] / len(truths)
        gained = 100 * (ious[name] - ious[first])
        low, high = interval(bootstrap_means(gained[:, None], scenes))
        same = np.mean([m.iou(o) for m, o in zip(masks[name], masks[first])])
        print(
            f"{name:<30} {1e3 * each:>6.1f} {1 / each:>6.1f} {seconds[first] / seconds[name]:>5.1f}x "
            f"{100 * ious[name].mean():>6.1f}  {gained.mean():>+5.1f} [{low:>+5.1f}, {high:>+5.1f}] {same:>12.3f}"
        )


def stages(pipeline: AmodalPipeline, chosen: Sequence[Objects]) -> None:
    """Print where the time of one completion goes, one object a call."""
    vae, model = pipeline.backend.autoencoder, pipeline.segmenter.model
    networks = {"VAE encoder": vae.vae.encoder, "UNet": pipeline.backend.unet, "VAE decoder": vae.decoder.decoder}
    networks |= {"segmenter's encoder": model.vision_encoder, "segmenter": model}
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    began: dict[str, list[float]] = defaultdict(list)
    hooks = []
    for name, network in networks.items():
        hooks.append(network.register_forward_pre_hook(lambda *_, n=name: began[n].append(time.process_time())))

        def end(*_: Any, n: str = name) -> None:
            spent[n] += time.process_time() - began[n].pop()
            calls[n] += 1

        hooks.append(network.register_forward_hook(end))
    started = time.process_time()
    for these in chosen:
        complete(pipeline, these, 1)
    spent["all"] = time.process_time() - started
    for hook in hooks:
        hook.remove()
    spent["segmenter's decoder"] = spent.pop("segmenter") - spent["segmenter's encoder"]
    spent["no network"] = spent["all"] - sum(seconds for name, seconds in spent.items() if name != "all")
    count = sum(len(these.which) for these in chosen)
    print()
    for name, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{name:<30} {1e3 * seconds / count:>6.1f} ms {100 * seconds / spent['all']:>5.0f} %")


if __name__ == "__main__":
    main()
