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

#: Only what is behind by so much evidence is no part of `possible` (`Order.evidence`; in answers `order.MARGIN` rules
#: out). Of things that hide one another on pastes and streets the order is this wrong with less than one in a hundred.
SURELY_BEHIND = 1.5
#: Nothing lies further from the answer than this, in units of its size (the root of its area).
FARTHEST = 3.0
#: Distances from the answer (in the same units) are counted from here: their logarithm stays finite.
NEAREST = 0.05
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
    mask = scene.masks[i]
    cut, _ = along_outline(scene, i)
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


def along_outline(scene: Scene, i: int) -> tuple[float, float]:
    """Shares of thing i's outline along which something labelled can hide the rest, and that the frame cuts: [0, 1]."""
    ring = scene.order.grown[i] - scene.masks[i]
    labelled, outside = ring.bits & painted(scene.hiding(i), ring.box), ring.bits & ~scene.inside(ring.box)
    return tuple(np.count_nonzero(part) / max(1, ring.area) for part in (labelled, outside))


def log_size(mask: MaskRegion) -> float:
    """The logarithm of a mask's pixels, within what was measured."""
    return math.log(min(LARGEST, max(SMALLEST, mask.area)))


def expected_iou(scene: Scene, i: int, amodal: MaskRegion) -> float:
    """The IoU with the truth that a geometric answer for thing i can expect, in [0, 1]."""
    return float(sigmoid(signs(scene, i, amodal) @ weights("geometric IoU", SIGNS)))


#: What can hide a part of an object. Each has a regression of its own: how probable it is that a pixel there is hidden.
PLACES = ("labelled", "outside", "unlabelled")
#: What tells it, in the order of `reach_signs`, and the distance from the answer.
REACH_SIGNS = ("constant", "labelled", "outside", "log size", "log distance")


def reach_signs(scene: Scene, i: int) -> np.ndarray:
    """What tells how far thing i goes on beyond an answer: float (len(REACH_SIGNS) - 1,), all but the distance."""
    labelled, outside = along_outline(scene, i)
    return np.array([1.0, labelled, outside, log_size(scene.masks[i])])


def reaches(scene: Scene, i: int) -> dict[str, float]:
    """How far from an answer thing i can be in each of `PLACES`, in units of the answer's size.

    There a pixel is hidden with the least probability that still counts: ``possible`` in `calibration.json`, chosen so
    that `possible` holds the stated share of an object's hidden pixels.
    """
    return reaches_of(reach_signs(scene, i), weights("possible", ("log-odds",))[0])


def reaches_of(told: np.ndarray, least: float) -> dict[str, float]:
    """Of `reach_signs`, how far a pixel is hidden with these log-odds at least, by place; at most `FARTHEST`."""
    found = {}
    for place in PLACES:
        *known, slope = weights(f"hidden {place}", REACH_SIGNS)
        log_distance = min(2.0, (least - told @ known) / min(slope, -1e-3))
        found[place] = min(FARTHEST, max(0.0, math.exp(log_distance) - NEAREST))
    return found


def possible(scene: Scene, i: int, amodal: MaskRegion) -> MaskRegion:
    """Where thing i can be if `amodal` is the best guess: what can hide it within reach of the guess (`reaches`).

    Unlabelled pixels count even where `occluders` rules them out, since labels are never complete. Pixels of things
    that are surely behind are left out. Contains `amodal`.
    """
    if not amodal.area:
        return amodal
    size, within = math.sqrt(amodal.area), reaches(scene, i)
    box = _reached_box(scene, i, amodal, {place: math.ceil(reach * size) for place, reach in within.items()})
    distance = distance_from(amodal, box)
    held = amodal.window(*box)
    for place, there in places(scene, i, box).items():
        held |= there & (distance <= within[place] * size)
    return MaskRegion(*box[:2], held).trim()


def _reached_box(scene: Scene, i: int, amodal: MaskRegion, pixels: dict[str, int]) -> tuple[int, int, int, int]:
    """A box around all that `possible` can hold: a long reach behind a small hider is no reason for a large one."""
    height, width = scene.shape
    boxes = [amodal.box, _meet(wider(amodal.box, pixels["unlabelled"]), (0, 0, width, height))]
    far = wider(amodal.box, pixels["labelled"])
    boxes += [_meet(far, hider.box) for hider in (*scene.hiding(i), *scene.perhaps_hiding(i))]
    beyond = wider(amodal.box, pixels["outside"])
    if not scene.inside(beyond).all():
        boxes.append(beyond)
    corners = np.array([(x, y, x + w, y + h) for x, y, w, h in boxes if w > 0 and h > 0])
    (left, top), (right, bottom) = corners[:, :2].min(0).tolist(), corners[:, 2:].max(0).tolist()
    return left, top, right - left, bottom - top


def _meet(a: tuple[int, int, int, int], b: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """What two boxes (x, y, width, height) share; without width or height where they do not meet."""
    x, y = max(a[0], b[0]), max(a[1], b[1])
    return x, y, min(a[0] + a[2], b[0] + b[2]) - x, min(a[1] + a[3], b[1] + b[3]) - y


def places(scene: Scene, i: int, box: tuple[int, int, int, int]) -> dict[str, np.ndarray]:
    """What can hide thing i within a box, by `PLACES`: bool (height, width) each; they do not overlap."""
    inside = scene.inside(box)
    labelled = painted([*scene.hiding(i), *scene.perhaps_hiding(i)], box)
    return {
        "labelled": labelled & inside,
        "outside": ~inside,
        "unlabelled": inside & ~labelled & ~scene.labelled.window(*box),
    }


def distance_from(mask: MaskRegion, box: tuple[int, int, int, int]) -> np.ndarray:
    """Pixels from a mask, float32 (height, width) of a box; on a grid of `CELLS` over the mask, a cell off at most."""
    x, y, width, height = box
    cell = max(1, int(math.sqrt(mask.area) / CELLS))
    columns, rows = -(-width // cell), -(-height // cell)
    bits = mask.window(x, y, columns * cell, rows * cell).view(np.uint8)
    if cell > 1:  # a cell with any pixel of the mask counts
        bits = cv2.resize(255 * bits, (columns, rows), interpolation=cv2.INTER_AREA)
    distance = cv2.distanceTransform((bits == 0).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * cell
    if cell > 1:
        distance = cv2.resize(distance, (columns * cell, rows * cell), interpolation=cv2.INTER_NEAREST)
    return distance[:height, :width]
