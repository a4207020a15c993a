"""Fitting a remembered shape to the outline that is visible now.

Only the object's own outline counts: where an occluder or the frame's edge cuts the visible mask, the boundary seen
is theirs, and says no more than that the object goes on behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from amodal_ros.live.motion import Similarity
from amodal_ros.scene import MaskRegion, Scene
from amodal_ros.scene.order import SLOPPY

#: A remembered shape has no detail that a planner needs beyond this many pixels along its longer side.
FIELD_SIDE = 64
#: Residuals of this size (pixels) count a quarter: labels of good segmenters are that far off.
OUTLINE_NOISE = 1.5
#: How far a fit may leave the predicted pose where the outline says little: shift (pixels), relative scale.
PRIOR_SHIFT, PRIOR_SCALE = 4.0, 0.04
#: Outline points per object, and the fewest that are worth a fit.
OUTLINE_POINTS, FEWEST = 64, 8
#: Occluders further than this from a visible mask (pixels) do not matter to its outline or its corners.
AROUND = 24


def hiding(scene: Scene, i: int) -> MaskRegion:
    """What can hide thing i around its visible mask: with room for sloppy outlines."""
    mask = scene.masks[i]
    box = mask.x - AROUND, mask.y - AROUND, mask.width + 2 * AROUND, mask.height + 2 * AROUND
    return MaskRegion.union_of(hider.within(*box) for hider in scene.hiding(i)).grow(2 * SLOPPY)


def own_outline(mask: MaskRegion, hidden: MaskRegion, frame_shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Boundary points of a visible mask, split by what they bound.

    Args:
        mask: the visible mask, inside the frame.
        hidden: what can hide it (`hiding`).
        frame_shape: (height, width).

    Returns:
        The object's own outline, float (n, 2), and the boundary that an occluder or the frame's edge draws, (m, 2).
    """
    contours, _ = cv2.findContours(
        np.ascontiguousarray(mask.bits).view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    boundary = np.concatenate(contours).reshape(-1, 2)
    boundary = boundary[:: max(1, len(boundary) // OUTLINE_POINTS)] + np.array([mask.x, mask.y])
    height, width = frame_shape
    cut = ((boundary <= 0) | (boundary >= (width - 1, height - 1))).any(1) | lies_on(hidden, boundary)
    return boundary[~cut].astype(np.float64), boundary[cut].astype(np.float64)


def lies_on(mask: MaskRegion, xy: np.ndarray) -> np.ndarray:
    """Which points, (n, 2), lie on a mask: bool (n,)."""
    column, row = (np.rint(xy).astype(int) - (mask.x, mask.y)).T
    on = (column >= 0) & (row >= 0) & (column < mask.width) & (row < mask.height)
    on[on] = mask.bits[row[on], column[on]]
    return on


class ShapeField:
    """A shape's signed distance field (negative inside), small enough to be kept with every remembered shape."""

    PAD = 8
    MOST_BYTES = 4 * (FIELD_SIDE + 1 + 2 * PAD) ** 2

    def __init__(self, shape: MaskRegion) -> None:
        tight = shape.trim()
        step = max(1.0, max(tight.width, tight.height) / FIELD_SIDE)
        size = (max(1, round(tight.width / step)), max(1, round(tight.height / step)))
        grey = np.ascontiguousarray(tight.bits).view(np.uint8) * np.uint8(255)
        small = cv2.resize(grey, size, interpolation=cv2.INTER_AREA) if step > 1 else grey
        small = np.pad(small >= 128, self.PAD).view(np.uint8)
        outside = cv2.distanceTransform(1 - small, cv2.DIST_L2, 5)
        inside = cv2.distanceTransform(small, cv2.DIST_L2, 5)
        # Both count from the nearest pixel centre of the other side: the boundary lies half a pixel before it.
        self.values = (np.where(small, 0.5 - inside, outside - 0.5) * step).astype(np.float32)
        # Of the shape's own pixels: where the field begins, and how many of its cells one is wide and high.
        self.scale_xy = size[0] / tight.width, size[1] / tight.height
        self.origin = tight.x - 0.5, tight.y - 0.5


@dataclass(frozen=True)
class Fit:
    """A remembered shape that is to be fitted to an outline.

    Attributes:
        field: the shape.
        pose: predicted map from the shape's image to this one.
        outline: the object's own outline in this image, float (n, 2).
        cut: boundary points drawn by occluders, float (m, 2): they must lie inside the shape, no more.
    """

    field: ShapeField
    pose: Similarity
    outline: np.ndarray
    cut: np.ndarray


def fit_outlines(fits: Sequence[Fit], iterations: int = 4) -> list[Similarity]:
    """Moves remembered shapes so that the outlines visible now lie on the shapes' outlines.

    Gauss-Newton on scale and shift, Geman-McClure weights, held to the predicted pose where the outline does not say.
    All shapes at once: each has a few dozen points.

    Returns:
        The refined maps; the predicted one where there is next to no outline.
    """
    poses = [fit.pose for fit in fits]
    told = [k for k, fit in enumerate(fits) if len(fit.outline) >= FEWEST]
    if told:
        for k, refined in zip(told, _refined([fits[k] for k in told], iterations)):
            if refined is not None and refined.is_plausible():
                poses[k] = refined
    return poses


def _refined(fits: Sequence[Fit], iterations: int) -> list[Similarity | None]:
    """See `fit_outlines`; None where a fit turned a shape inside out. Arrays are (shapes, points)."""
    backs = [fit.pose.inverse() for fit in fits]
    scale, dx, dy = (column[:, None] for column in np.array([(back.scale, back.dx, back.dy) for back in backs]).T)
    own = np.array([len(fit.outline) for fit in fits])[:, None]
    counts = own + np.array([len(fit.cut) for fit in fits])[:, None]
    column = np.arange(counts.max())
    known, is_cut = column < counts, column >= own
    x, y = np.zeros((2, *known.shape))
    x[known], y[known] = np.concatenate([part for fit in fits for part in (fit.outline, fit.cut)]).T
    middle_x, middle_y = x.sum(1, keepdims=True) / counts, y.sum(1, keepdims=True) / counts
    off_x, off_y = np.where(known, x - middle_x, 0.0), np.where(known, y - middle_y, 0.0)
    radius = np.maximum(1.0, np.maximum(np.abs(off_x), np.abs(off_y)).max(1, keepdims=True))
    off_x, off_y = off_x / radius, off_y / radius
    # The inverse map at a point is (predicted + d_shift) + d_scale * offset, in the shape's own pixels.
    predicted_x, predicted_y = scale * x + dx, scale * y + dy
    unknown = np.zeros((len(fits), 3))  # d_scale * radius, d_shift x, d_shift y
    most = np.concatenate([PRIOR_SCALE * radius, *[np.full_like(radius, PRIOR_SHIFT)] * 2], axis=1) * scale
    prior = counts / 16 / most**2
    held, noise, half = prior[:, None] * np.eye(3), OUTLINE_NOISE * scale, 0.5 * scale
    jacobian, fields = np.empty((len(fits), 3, len(column))), ShapeFields([fit.field for fit in fits])
    goes_on = np.ones(len(fits), bool)
    for _ in range(iterations):
        d_scale, d_x, d_y = unknown.T[..., None]
        distance, *gradient = fields.sample(predicted_x + d_scale * off_x + d_x, predicted_y + d_scale * off_y + d_y)
        distance += half  # boundary pixels' centres lie half a pixel inside the outline
        within = is_cut & (distance <= 0.0)
        weight = 1.0 / (1.0 + (distance / noise) ** 2) ** 2 / noise**2
        weight[within | ~known] = 0.0
        jacobian[:, 1], jacobian[:, 2] = gradient
        jacobian[:, 0] = jacobian[:, 1] * off_x + jacobian[:, 2] * off_y
        weighted = jacobian * weight[:, None]
        slope = (weighted @ distance[..., None])[..., 0] + prior * unknown
        change = np.linalg.solve(weighted @ jacobian.swapaxes(1, 2) + held, -slope[..., None])[..., 0]
        unknown[goes_on] += change[goes_on]
        goes_on &= np.abs(change).max(1) >= 0.05 * scale[:, 0]
        if not goes_on.any():
            break
    d_scale, d_x, d_y = unknown.T[..., None]
    refined = scale + d_scale / radius
    maps = refined, scale * middle_x + dx + d_x - refined * middle_x, scale * middle_y + dy + d_y - refined * middle_y
    return [Similarity(*values).inverse() if values[0] > 0 else None for values in np.hstack(maps).tolist()]


class ShapeFields:
    """Distance fields of several shapes, to be looked up together."""

    def __init__(self, fields: Sequence[ShapeField]) -> None:
        self._values = np.concatenate([field.values.reshape(-1) for field in fields])
        sizes = np.array([field.values.size for field in fields])
        self._first = (np.cumsum(sizes) - sizes)[:, None]
        height, self._width = (column[:, None] for column in np.array([field.values.shape for field in fields]).T)
        self._most_x, self._most_y = self._width - 1.001, height - 1.001
        self._scale_x, self._scale_y = (column[:, None] for column in np.array([field.scale_xy for field in fields]).T)
        left, top = (column[:, None] for column in np.array([field.origin for field in fields]).T)
        self._left, self._top = (ShapeField.PAD - 0.5 - o * s for o, s in ((left, self._scale_x), (top, self._scale_y)))

    def sample(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distance to each shape's outline in pixels, and its slopes in x and y, at its points (shapes, points)."""
        x = np.minimum(np.maximum(x * self._scale_x + self._left, 0.0), self._most_x)
        y = np.minimum(np.maximum(y * self._scale_y + self._top, 0.0), self._most_y)
        column, row = x.astype(int), y.astype(int)
        fx, fy = x - column, y - row
        first = row * self._width + column + self._first
        below = first + self._width
        v00, v10, v01, v11 = (self._values.take(index) for index in (first, first + 1, below, below + 1))
        right_above, right_below = v10 - v00, v11 - v01
        top, bottom = v00 + fx * right_above, v01 + fx * right_below
        rise = bottom - top
        return top + fy * rise, (right_above + fy * (right_below - right_above)) * self._scale_x, rise * self._scale_y
