"""Fitting a remembered shape to the outline that is visible now.

Only the object's own outline counts: where an occluder or the frame's edge cuts the visible mask, the boundary seen
is theirs, and says no more than that the object goes on behind it.
"""

from __future__ import annotations

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
        self._scale_xy = np.array([size[0] / tight.width, size[1] / tight.height])
        self._origin = np.array([tight.x, tight.y]) - 0.5
        self._limit = np.array(self.values.shape[::-1]) - 1.001

    def sample(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance to the outline in pixels, (n,), and its gradient, (n, 2), at points (n, 2)."""
        at = (xy - self._origin) * self._scale_xy - 0.5 + self.PAD
        at = np.minimum(np.maximum(at, 0.0), self._limit)
        corner = at.astype(int)
        fx, fy = (at - corner).T
        width = self.values.shape[1]
        first = corner[:, 1] * width + corner[:, 0]
        v00, v10, v01, v11 = (self.values.take(first + step) for step in (0, 1, width, width + 1))
        right_above, right_below = v10 - v00, v11 - v01
        top, bottom = v00 + fx * right_above, v01 + fx * right_below
        gradient = np.empty((len(xy), 2))
        gradient[:, 0] = (1 - fy) * right_above + fy * right_below
        gradient[:, 1] = bottom - top
        return top + fy * (bottom - top), gradient * self._scale_xy


def fit_outline(
    field: ShapeField, pose: Similarity, outline: np.ndarray, cut: np.ndarray, iterations: int = 4
) -> Similarity:
    """Moves a remembered shape so that the outline visible now lies on the shape's outline.

    Gauss-Newton on scale and shift, Geman-McClure weights, held to `pose` where the outline does not say.

    Args:
        field: the remembered shape.
        pose: predicted map from the shape's image to this one.
        outline: the object's own outline in this image, float (n, 2).
        cut: boundary points drawn by occluders, float (m, 2): they must lie inside the shape, no more.

    Returns:
        The refined map; `pose` itself when there is next to no outline.
    """
    if len(outline) < FEWEST:
        return pose
    points = np.concatenate([outline, cut])
    is_cut = np.arange(len(points)) >= len(outline)
    back = pose.inverse()
    centre = points.mean(0)
    radius = max(1.0, float(np.abs(points - centre).max()))
    offsets = (points - centre) / radius
    # The inverse map at a point is (predicted + d_shift) + d_scale * offset, in the shape's own pixels.
    predicted = back.points(points)
    unknown = np.zeros(3)  # d_scale * radius, d_shift x, d_shift y
    prior = len(points) / 16 / np.array([PRIOR_SCALE * radius * back.scale, *[PRIOR_SHIFT * back.scale] * 2]) ** 2
    held, noise = np.diag(prior), OUTLINE_NOISE * back.scale
    jacobian = np.empty((len(points), 3))
    for _ in range(iterations):
        distance, gradient = field.sample(predicted + unknown[0] * offsets + unknown[1:])
        distance = distance + 0.5 * back.scale  # boundary pixels' centres lie half a pixel inside the outline
        distance = np.where(is_cut, np.maximum(distance, 0.0), distance)
        weight = 1.0 / (1.0 + (distance / noise) ** 2) ** 2 / noise**2
        weight[is_cut & (distance <= 0.0)] = 0.0
        jacobian[:, 0] = (gradient * offsets).sum(1)
        jacobian[:, 1:] = gradient
        weighted = (jacobian * weight[:, None]).T
        change = np.linalg.solve(weighted @ jacobian + held, -weighted @ distance - prior * unknown)
        unknown = unknown + change
        if np.abs(change).max() < 0.05 * back.scale:
            break
    scale = back.scale + unknown[0] / radius
    shift = back.points(centre) + unknown[1:] - scale * centre
    if scale <= 0:
        return pose
    refined = Similarity(scale, float(shift[0]), float(shift[1])).inverse()
    return refined if refined.is_plausible() else pose
