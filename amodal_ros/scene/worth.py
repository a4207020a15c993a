"""What an answer without a model is worth, and where an object can be for safety.

A logistic regression on a few signs of the masks; its weights come from objects whose truth is known (`calibration`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np

from amodal_ros.scene.calibration import sigmoid, weights
from amodal_ros.scene.mask import MaskRegion, painted, wider

if TYPE_CHECKING:
    from amodal_ros.scene.scene import Scene

#: Masks of fewer pixels, and of more, are worth what these are.
SMALLEST, LARGEST = 100, 20_000

#: How far `possible` reaches beyond the answer, in units of its size (the root of its area): where something labelled
#: can hide the object, and where nothing is labelled. On photographs with amodal truth it then holds 96 to 100 % of an
#: object's hidden pixels (docs/benchmarks.md).
FAR, NEAR = 0.9, 0.5
#: Where an object can be is told on a grid of so many cells along its size: it is for safety, and asked of every one.
CELLS = 24

SIGNS = (
    "constant",
    "cut",  # share of the outline along which something labelled can hide the rest
    "growth",  # what the answer adds, in units of V
    "log size",  # of V, pixels
    "at edge",  # V reaches the frame's border
    "anything",  # unlabelled things can hide it too
)


def signs(scene: Scene, i: int, amodal: MaskRegion) -> np.ndarray:
    """What tells the worth of a geometric answer for thing i: float (len(SIGNS),)."""
    mask, cut = scene.masks[i], 0.0
    if hiders := scene.hiding(i):
        ring = scene.order.grown[i] - mask
        cut = np.count_nonzero(ring.bits & painted(hiders, ring.box)) / max(1, ring.area)
    return np.array(
        [
            1.0,
            cut,
            min(2.0, amodal.area / max(1, mask.area) - 1.0),
            log_size(mask),
            float(mask.touches_edge(*scene.shape)),
            float(scene.occluders in ("any", "off")),
        ]
    )


def log_size(mask: MaskRegion) -> float:
    """The logarithm of a mask's pixels, within what was measured."""
    return math.log(min(LARGEST, max(SMALLEST, mask.area)))


def expected_iou(scene: Scene, i: int, amodal: MaskRegion) -> float:
    """The IoU with the truth that a geometric answer for thing i can expect, in [0, 1]."""
    return float(sigmoid(signs(scene, i, amodal) @ weights("geometric IoU", SIGNS)))


def possible(scene: Scene, i: int, amodal: MaskRegion) -> MaskRegion:
    """Where thing i can be if `amodal` is the best guess: what can hide it within reach of the guess.

    A labelled thing that can be in front, and the outside of the frame, count further than unlabelled pixels do; those
    count even where `occluders` rules them out, since labels are never complete. Pixels of things that are behind are
    left out. Contains `amodal`.
    """
    if not amodal.area:
        return amodal
    labelled, unlabelled = reached(scene, i, amodal, FAR, NEAR)
    return (amodal | labelled | unlabelled).trim()


def reached(scene: Scene, i: int, amodal: MaskRegion, far: float, near: float) -> tuple[MaskRegion, MaskRegion]:
    """What lies within reach of a guess at thing i and can hide it: labelled or outside the frame, and unlabelled.

    Args:
        far, near: reach of the first and of the second, in units of the guess's size (the root of its area).
    """
    size, hiders = math.sqrt(amodal.area), scene.hiding(i)
    box = wider(amodal.box, math.ceil(far * size))
    inside = scene.inside(box)
    if not hiders and inside.all():  # nothing labelled can hide it: the shorter reach is all there is
        far, box = near, wider(amodal.box, math.ceil(near * size))
        inside = scene.inside(box)
    hiding = painted(hiders, box)
    unlabelled = inside & ~scene.labelled.window(*box)
    distance = _distance(amodal, box, size)
    in_far, in_near = distance <= far * size, distance <= near * size
    return MaskRegion(*box[:2], in_far & (hiding | ~inside)), MaskRegion(*box[:2], in_near & unlabelled)


def _distance(mask: MaskRegion, box: tuple[int, int, int, int], size: float) -> np.ndarray:
    """Pixels from a mask, float32 (height, width) of a box; on a grid of `CELLS` over the mask, a cell off at most."""
    x, y, width, height = box
    cell = max(1, int(size / CELLS))
    columns, rows = -(-width // cell), -(-height // cell)
    bits = mask.window(x, y, columns * cell, rows * cell).view(np.uint8)
    if cell > 1:  # a cell with any pixel of the mask counts
        bits = cv2.resize(255 * bits, (columns, rows), interpolation=cv2.INTER_AREA)
    distance = cv2.distanceTransform((bits == 0).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * cell
    if cell > 1:
        distance = cv2.resize(distance, (columns * cell, rows * cell), interpolation=cv2.INTER_NEAREST)
    return distance[:height, :width]
