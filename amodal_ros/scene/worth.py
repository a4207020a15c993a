"""What an answer without a model is worth, and where an object can be for safety.

A logistic regression on a few signs of the masks; its weights come from objects whose truth is known (`calibration`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

from amodal_ros.scene.calibration import log_odds, probability, weights
from amodal_ros.scene.mask import MaskRegion, painted, slice_of, wider
from amodal_ros.scene.order import SLOPPY

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
#: OpenCV's distances differ by their last bit with where an array lies in memory: at so many pixels that is no matter.
TIE = 1e-3
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


def signs(scene: Scene, i: int, amodal: MaskRegion) -> tuple[float, ...]:
    """What tells the worth of a geometric answer for thing i, in the order of `SIGNS`."""
    mask = scene.masks[i]
    cut, _ = scene.along_outline(i)
    return (
        1.0,
        cut,
        min(2.0, amodal.area / max(1, mask.area) - 1.0),
        log_size(mask),
        float(mask.touches_edge(*scene.shape)),
        float(scene.occluders in ("any", "off")),
    )


def along_outline(scene: Scene, i: int) -> tuple[float, float]:
    """Shares of thing i's outline along which something labelled can hide the rest, and that the frame cuts: [0, 1]."""
    hiding, around = scene.hiding(i), wider(scene.masks[i].box, SLOPPY)
    at_edge = _meet(around, (0, 0, scene.shape[1], scene.shape[0])) != around
    if not (hiding or at_edge):
        return 0.0, 0.0
    ring = scene.order.grown[i] - scene.masks[i]
    labelled = np.count_nonzero(ring.bits & painted(hiding, ring.box)) if hiding else 0
    outside = np.count_nonzero(ring.bits & ~scene.inside(ring.box)) if at_edge else 0
    return labelled / max(1, ring.area), outside / max(1, ring.area)


def log_size(mask: MaskRegion) -> float:
    """The logarithm of a mask's pixels, within what was measured."""
    return math.log(min(LARGEST, max(SMALLEST, mask.area)))


def expected_iou(scene: Scene, i: int, amodal: MaskRegion) -> float:
    """The IoU with the truth that a geometric answer for thing i can expect, in [0, 1]."""
    return probability(log_odds(signs(scene, i, amodal), weights("geometric IoU", SIGNS)))


#: What can hide a part of an object. Each has a regression of its own: how probable it is that a pixel there is hidden.
PLACES = ("labelled", "outside", "unlabelled")
#: What tells it, in the order of `reach_signs`, and the distance from the answer.
REACH_SIGNS = ("constant", "labelled", "outside", "log size", "log distance")


def reach_signs(scene: Scene, i: int) -> tuple[float, ...]:
    """What tells how far thing i goes on beyond an answer: all of `REACH_SIGNS` but the distance."""
    labelled, outside = scene.along_outline(i)
    return 1.0, labelled, outside, log_size(scene.masks[i])


def reaches(scene: Scene, i: int) -> dict[str, float]:
    """How far from an answer thing i can be in each of `PLACES`, in units of the answer's size.

    There a pixel is hidden with the least probability that still counts: ``possible`` in `calibration.json`, chosen so
    that `possible` holds the stated share of an object's hidden pixels.
    """
    return reaches_of(reach_signs(scene, i), weights("possible", ("log-odds",))[0])


def reaches_of(told: Sequence[float], least: float) -> dict[str, float]:
    """Of `reach_signs`, how far a pixel is hidden with these log-odds at least, by place; at most `FARTHEST`."""
    found = {}
    for place in PLACES:
        *known, slope = weights(f"hidden {place}", REACH_SIGNS)
        log_distance = min(2.0, (least - log_odds(told, known)) / min(slope, -1e-3))
        found[place] = min(FARTHEST, max(0.0, math.exp(log_distance) - NEAREST))
    return found


def possible(scene: Scene, i: int, amodal: MaskRegion) -> MaskRegion:
    """Where thing i can be if `amodal` is the best guess: what can hide it within reach of the guess (`reaches`).

    Unlabelled pixels count even where `occluders` rules them out, since labels are never complete. Pixels of things
    that are surely behind are left out, and what lies further than one frame's size outside the frame. Contains
    `amodal`.
    """
    if not amodal.area:
        return amodal
    size, within = math.sqrt(amodal.area), reaches(scene, i)
    box = _reached_box(scene, i, amodal, {place: math.ceil(reach * size) for place, reach in within.items()})
    distance, cell = _distance_on_grid(amodal, box)

    def near(place: str, part: tuple[int, int, int, int]) -> np.ndarray:
        return _on_pixels(distance <= within[place] * size + TIE, cell, box, part)

    # Outside the frame the box can be many frames large, and nothing there is labelled: only inside is looked up.
    held, inside = near("outside", box), _meet(box, (0, 0, scene.shape[1], scene.shape[0]))
    if inside[2] > 0 and inside[3] > 0:
        there = places(scene, i, inside)
        reached = (there[place] & near(place, inside) for place in ("labelled", "unlabelled"))
        held[slice_of(inside, box)] = np.logical_or(*reached)
    held[slice_of(amodal.box, box)] |= amodal.bits
    return MaskRegion(*box[:2], held).trim()


def _reached_box(scene: Scene, i: int, amodal: MaskRegion, pixels: dict[str, int]) -> tuple[int, int, int, int]:
    """A box around all that `possible` can hold: a long reach behind a small hider is no reason for a large one."""
    height, width = scene.shape
    boxes = [amodal.box, _meet(wider(amodal.box, pixels["unlabelled"]), (0, 0, width, height))]
    far = wider(amodal.box, pixels["labelled"])
    boxes += [_meet(far, hider.box) for hider in (*scene.hiding(i), *scene.perhaps_hiding(i))]
    beyond = wider(amodal.box, pixels["outside"])
    if _meet(beyond, (0, 0, width, height)) != beyond:
        boxes.append(_meet(beyond, (-width, -height, 3 * width, 3 * height)))
    boxes = [(x, y, x + w, y + h) for x, y, w, h in boxes if w > 0 and h > 0]
    left, top, right, bottom = (pick(side) for pick, side in zip((min, min, max, max), zip(*boxes)))
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
    return _on_pixels(*_distance_on_grid(mask, box), box, box)


def _distance_on_grid(mask: MaskRegion, box: tuple[int, int, int, int]) -> tuple[np.ndarray, int]:
    """Pixels from a mask by cells of a box, float32 (rows, columns), and how many pixels wide a cell is."""
    x, y, width, height = box
    cell = max(1, int(math.sqrt(mask.area) / CELLS))
    free = np.ones((-(-height // cell), -(-width // cell)), np.uint8)
    part = mask.within(x, y, free.shape[1] * cell, free.shape[0] * cell)
    if part.area:  # only the cells that it meets; a cell with any pixel of it counts
        left, top = (part.x - x) // cell, (part.y - y) // cell
        columns = -(-(part.x - x + part.width) // cell) - left
        rows = -(-(part.y - y + part.height) // cell) - top
        bits = part.window(x + left * cell, y + top * cell, columns * cell, rows * cell).view(np.uint8)
        if cell > 1:
            bits = cv2.resize(255 * bits, (columns, rows), interpolation=cv2.INTER_AREA)
        free[top : top + rows, left : left + columns] = bits == 0
    return cv2.distanceTransform(free, cv2.DIST_L2, cv2.DIST_MASK_5) * cell, cell


def _on_pixels(
    cells: np.ndarray, cell: int, box: tuple[int, int, int, int], part: tuple[int, int, int, int]
) -> np.ndarray:
    """What is known of a box's cells, said of the pixels of a part of it: (height, width), of the same type."""
    rows, columns = slice_of(part, box)
    if cell == 1:
        return cells[rows, columns]
    top, left = rows.start // cell, columns.start // cell
    some = cells[top : -(-rows.stop // cell), left : -(-columns.stop // cell)]
    values = np.ascontiguousarray(some).view(np.uint8) if some.dtype == np.bool_ else some
    size = (some.shape[1] * cell, some.shape[0] * cell)
    pixels = cv2.resize(values, size, interpolation=cv2.INTER_NEAREST).view(cells.dtype)
    return pixels[
        rows.start - top * cell : rows.stop - top * cell, columns.start - left * cell : columns.stop - left * cell
    ]
