"""Which objects the model should not be asked about: IoU by the share of an object's boundary that others cut.

``python benchmarks/least_cut.py [--objects 260]``: the shipped model with every fallback off, beside the bounded hull,
on street scenes of the training range of seeds that `choices.py` does not draw. Printed by cut share, and what every
threshold of the setting `least_cut` would give.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import torch
from tqdm import tqdm

from amodal_ros.completion import AmodalPipeline
from amodal_ros.datasets.streets import TRAIN_SEEDS, scene
from amodal_ros.scene import Surroundings
from amodal_ros.scene.outline import cut_share

FIRST_SEED = TRAIN_SEEDS[-1] - 400
EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6, 1.0)


def measured(pipeline: AmodalPipeline) -> Iterator[tuple[float, float, float, float]]:
    """(occlusion, cut share, IoU of the bounded hull, IoU of the model) of every object that something can hide."""
    for seed in range(FIRST_SEED, 0, -1):
        frame = scene(seed)
        instances, objects = frame.instances(labels="things"), {thing.id: thing for thing in frame.objects}
        masks = [instance.visible for instance in instances]
        surroundings = Surroundings(masks, frame.shape)
        asked = [
            i
            for i, instance in enumerate(instances)
            if masks[i].area >= 150 and 0 < objects[instance.id].occlusion <= 0.8 and not surroundings.unoccluded(i)
        ]
        order = [*asked, *(i for i in range(len(masks)) if i not in asked)]
        visible, context = [masks[i] for i in asked], [masks[i] for i in order[len(asked) :]]
        for i, ours in zip(asked, pipeline.complete(frame.image, visible, context, fallback=0.0, least_cut=0.0)):
            thing = objects[instances[i].id]
            hull = surroundings.bounded_hull(i)
            yield thing.occlusion, cut_share(surroundings, i), hull.iou(thing.amodal), ours.amodal.iou(thing.amodal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=260)
    parser.add_argument("--model", default="embedded")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = measured(AmodalPipeline.from_pretrained(args.model))
    rows = [row for row, _ in zip(found, tqdm(range(args.objects)))]
    occlusion, cut, hull, ours = np.array(rows).T
    print(f"{'cut share':<12} {'objects':>7} {'occlusion':>9} {'hull':>6} {'ours':>6}")
    for low, high in pairwise(EDGES):
        of = (cut >= low) & ((cut < high) | (high == 1.0))
        values = occlusion[of].mean(), 100 * hull[of].mean(), 100 * ours[of].mean()
        print(f"[{low:.1f}, {high:.1f})", f"{of.sum():>9}", "{:>11.2f} {:>6.1f} {:>6.1f}".format(*values))
    print(f"\n{'least_cut':<12} {'(0, 0.1]':>8} {'(0, 0.5]':>8} {'all':>6} {'share answered without the model':>33}")
    for least in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
        answer = np.where(cut < least, hull, ours)
        values = (100 * answer[of].mean() for of in (occlusion <= 0.1, occlusion <= 0.5, occlusion <= 1))
        print(f"{least:<12} " + "{:>8.1f} {:>8.1f} {:>6.1f}".format(*values), f"{np.mean(cut < least):>20.2f}")


if __name__ == "__main__":
    main()
