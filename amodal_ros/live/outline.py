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
    """See `fit_outlines`; None where a fit turned a shape inside out. Arrays are (shapes, points) and more."""
    backs = [fit.pose.inverse() for fit in fits]
    scale = np.array([back.scale for back in backs])
    counts = np.array([len(fit.outline) + len(fit.cut) for fit in fits])
    known = np.arange(counts.max()) < counts[:, None]
    is_cut = np.arange(counts.max()) >= np.array([[len(fit.outline)] for fit in fits])
    points = np.zeros((*known.shape, 2))
    points[known] = np.concatenate([part for fit in fits for part in (fit.outline, fit.cut)])
    centre = points.sum(1) / counts[:, None]
    offsets = np.where(known[..., None], points - centre[:, None], 0.0)
    radius = np.maximum(1.0, np.abs(offsets).max((1, 2)))
    offsets /= radius[:, None, None]
    # The inverse map at a point is (predicted + d_shift) + d_scale * offset, in the shape's own pixels.
    shifts = np.array([(back.dx, back.dy) for back in backs])
    predicted = scale[:, None, None] * points + shifts[:, None]
    unknown = np.zeros((len(fits), 3))  # d_scale * radius, d_shift x, d_shift y
    most = np.stack([PRIOR_SCALE * radius, *[np.full(len(fits), PRIOR_SHIFT)] * 2], axis=1) * scale[:, None]
    prior = counts[:, None] / 16 / most**2
    held, noise = prior[:, None] * np.eye(3), OUTLINE_NOISE * scale[:, None]
    jacobian, fields = np.empty((*known.shape, 3)), ShapeFields([fit.field for fit in fits])
    goes_on = np.ones(len(fits), bool)
    for _ in range(iterations):
        distance, gradient = fields.sample(predicted + unknown[:, None, :1] * offsets + unknown[:, None, 1:])
        distance += 0.5 * scale[:, None]  # boundary pixels' centres lie half a pixel inside the outline
        within = is_cut & (distance <= 0.0)
        distance[within] = 0.0
        weight = 1.0 / (1.0 + (distance / noise) ** 2) ** 2 / noise**2
        weight[within | ~known] = 0.0
        jacobian[..., 0] = (gradient * offsets).sum(2)
        jacobian[..., 1:] = gradient
        weighted = (jacobian * weight[..., None]).swapaxes(1, 2)
        slope = (weighted @ distance[..., None])[..., 0] + prior * unknown
        change = np.linalg.solve(weighted @ jacobian + held, -slope[..., None])[..., 0]
        unknown[goes_on] += change[goes_on]
        goes_on &= np.abs(change).max(1) >= 0.05 * scale
        if not goes_on.any():
            break
    refined = scale + unknown[:, 0] / radius
    shift = scale[:, None] * centre + shifts + unknown[:, 1:] - refined[:, None] * centre
    maps = np.c_[refined, shift].tolist()
    return [Similarity(*values).inverse() if values[0] > 0 else None for values in maps]


class ShapeFields:
    """Distance fields of several shapes, to be looked up together."""

    def __init__(self, fields: Sequence[ShapeField]) -> None:
        self._values = np.concatenate([field.values.reshape(-1) for field in fields])
        sizes = np.array([field.values.size for field in fields])
        self._first = (np.cumsum(sizes) - sizes)[:, None]
        self._width = np.array([[field.values.shape[1]] for field in fields])
        self._limit = np.array([[field.values.shape[::-1]] for field in fields]) - 1.001
        self._scale = np.array([[field.scale_xy] for field in fields])
        self._origin = np.array([[field.origin] for field in fields])

    def sample(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance to each shape's outline in pixels, (k, n), and its gradient, (k, n, 2), at its points (k, n, 2)."""
        at = (xy - self._origin) * self._scale - 0.5 + ShapeField.PAD
        at = np.minimum(np.maximum(at, 0.0), self._limit)
        corner = at.astype(int)
        f = at - corner
        fx, fy = f[..., 0], f[..., 1]
        first = self._first + corner[..., 1] * self._width + corner[..., 0]
        below = first + self._width
        v00, v10, v01, v11 = (self._values.take(index) for index in (first, first + 1, below, below + 1))
        right_above, right_below = v10 - v00, v11 - v01
        top, bottom = v00 + fx * right_above, v01 + fx * right_below
        gradient = np.empty(xy.shape)
        gradient[..., 0] = (1 - fy) * right_above + fy * right_below
        gradient[..., 1] = bottom - top
        return top + fy * (bottom - top), gradient * self._scale
