"""Steps x samples of the shipped model on the frozen street lists and on photographs: what do more of them bring?

    ./env python benchmarks/steps.py --json steps.json [--objects 12] [--composites DIR] [--cars DIR]

Of each input so many objects, hidden by 2 to 80 %, one of a frame and evenly over its frames. Judged answers, IoU
inside the frame; difference to 1 step x 1 sample with 95 % interval over objects. An input that the file has is not
made again.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from amodal_ros.completion import AmodalPipeline
from amodal_ros.lab.datasets.base import Dataset
from amodal_ros.lab.datasets.folder import Folder
from amodal_ros.lab.datasets.streets_split import StreetsSplit
from amodal_ros.lab.evaluation.metrics import bootstrap_means, interval
from amodal_ros.scene import MaskRegion, Occluders, Scene

STEPS, SAMPLES = (1, 2, 3, 4, 8), (1, 3, 5)
LEAST, MOST = 0.02, 0.8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=12)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument(
        "--composites", type=Path, help="a folder as for `amodal evaluate folder`; occluders are labelled"
    )
    parser.add_argument("--cars", type=Path, help="the same; occluders have no label")
    args = parser.parse_args()
    torch.set_num_threads(1)
    inputs: dict[str, tuple[Callable[[], Dataset], Occluders]] = {
        "streets test": (lambda: StreetsSplit("test"), "instances"),
        "streets test-unseen": (lambda: StreetsSplit("test-unseen"), "instances"),
    }
    if args.composites:
        inputs["composites"] = (lambda: Folder(args.composites), "instances")
    if args.cars:
        inputs["cars"] = (lambda: Folder(args.cars), "any")
    found = json.loads(args.json.read_text()) if args.json.exists() else {}
    pipeline = AmodalPipeline.from_pretrained("embedded")
    for name, (dataset, occluders) in inputs.items():
        if name not in found:
            chosen = islice(objects(dataset(), args.objects, occluders), args.objects)
            found[name] = [ious(pipeline, *these) for these in chosen]
            args.json.write_text(json.dumps(found) + "\n")
        show(name, np.array(found[name]))


def objects(dataset: Dataset, count: int, occluders: Occluders) -> Iterator[tuple[Scene, int, MaskRegion]]:
    """Scene, position and true shape inside the frame, of one object of a frame that takes the model."""
    frames = dataset.frames
    apart = max(1, len(frames) // (2 * count))
    for frame in [f for begin in range(apart) for f in frames[begin::apart]]:
        sample = dataset.sample(frame)
        scene = Scene(
            sample.read_image,
            [o.visible for o in sample.objects],
            sample.context,
            occluders=occluders,
            shape=sample.shape,
        )
        for i, each in enumerate(sample.objects):
            if LEAST < each.occlusion <= MOST and scene.masks[i].area and not scene.unoccluded(i):
                yield scene, i, each.amodal.clip(*sample.shape)
                break


def ious(pipeline: AmodalPipeline, scene: Scene, i: int, truth: MaskRegion) -> list[float]:
    """By steps and then samples, in percent."""
    answers = (pipeline.complete(scene, which=[i], steps=n, samples=k)[0] for n in STEPS for k in SAMPLES)
    return [100 * answer.amodal.clip(*scene.shape).iou(truth) for answer in answers]


def show(name: str, values: np.ndarray) -> None:
    print(f"\n{name}: {len(values)} objects, 1 x 1: {values[:, 0].mean():.1f}; others against it")
    print(f"{'':10}" + "".join(f"{f'{n} steps':>22}" for n in STEPS))
    gained = (values - values[:, :1]).reshape(len(values), len(STEPS), len(SAMPLES))
    for s, samples in enumerate(SAMPLES):
        cells = []
        for t in range(len(STEPS)):
            low, high = interval(bootstrap_means(gained[:, t, s][:, None], np.arange(len(values))))
            cells.append(f"{gained[:, t, s].mean():+.1f} [{low:+.1f}, {high:+.1f}]")
        print(f"x {samples:<8}" + "".join(f"{cell:>22}" for cell in cells), flush=True)


if __name__ == "__main__":
    main()
