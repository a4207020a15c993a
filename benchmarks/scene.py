"""Time of everything that masks alone can tell, on one core: ``python benchmarks/scene.py``.

Crowded frames of 1242x375: ellipses up to 120x80, later ones hide earlier ones: most objects touch others.
Prints minimum, median and 95th percentile over frames of the processor time, so that other work on the machine
does not count.
"""

from __future__ import annotations

import argparse
import time

import cv2
import numpy as np

from amodal_ros.scene import MaskRegion, Scene

FRAME = (375, 1242)


def crowd(count: int, rng: np.random.Generator) -> list[MaskRegion]:
    """Visible masks of `count` ellipses; each hides those before it."""
    labels = np.zeros(FRAME, np.uint16)
    for label in range(1, count + 1):
        centre = (int(rng.integers(FRAME[1])), int(rng.integers(150, FRAME[0])))
        axes = (int(rng.integers(20, 61)), int(rng.integers(15, 41)))
        cv2.ellipse(labels, centre, axes, float(rng.integers(180)), 0, 360, label, -1)
    masks = [MaskRegion.from_full(labels == label) for label in range(1, count + 1)]
    return [mask for mask in masks if mask.area]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=200, help="frames per object count (default 200)")
    frames = parser.parse_args().frames
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    print(f"{'objects':>8} {'touching pairs':>15} {'step':>20} {'min':>8} {'median':>8} {'p95':>8}  ms")
    for count in (10, 20, 50):
        scenes = [crowd(count, rng) for _ in range(frames)]
        seconds = {"who is in front": [], "all geometric answers": []}
        pairs = []
        for masks in scenes:
            start = time.thread_time()
            scene = Scene.of_masks(masks, FRAME)
            front = scene.order.in_front
            middle = time.thread_time()
            for i in range(len(masks)):
                scene.geometric(i)
            seconds["who is in front"].append(middle - start)
            seconds["all geometric answers"].append(time.thread_time() - start)
            pairs.append(np.count_nonzero(front | front.T) / 2)
        for step, times in seconds.items():
            low, mid, high = np.percentile(np.array(times) * 1e3, [0, 50, 95])
            print(f"{count:8d} {np.mean(pairs):15.0f} {step:>20} {low:8.2f} {mid:8.2f} {high:8.2f}")


if __name__ == "__main__":
    main()
