"""Convex hull of a mask (the paper's Eq. 10 on pixels)."""

from __future__ import annotations

import cv2
import numpy as np

from amodal_ros.scene.mask import MaskRegion


def convex_hull(mask: MaskRegion) -> MaskRegion:
    """All pixels whose centre lies in the convex hull of a mask's pixel centres (the hull of all its contours).

    The hull contains the mask and is its own hull, exactly. An empty mask has an empty hull.
    """
    if not mask.area:
        return MaskRegion.empty()
    tight = mask.trim()
    return MaskRegion(tight.x, tight.y, hull_of(tight.bits))


def hull_of(bits: np.ndarray) -> np.ndarray:
    """The convex hull of a bool array's pixels, bool and of its shape."""
    hull = np.zeros(bits.shape, bool)
    rows = bits.any(axis=1).nonzero()[0]
    if not rows.size:
        return hull
    width = bits.shape[1]
    # The hull of every row's first and last pixel, however many pieces the mask has.
    first, last = bits.argmax(axis=1).take(rows), width - 1 - bits[:, ::-1].argmax(axis=1).take(rows)
    ends = np.empty((2, rows.size, 2), np.int32)
    ends[0, :, 0], ends[1, :, 0], ends[:, :, 1] = first, last, rows - rows[0]
    corners = cv2.convexHull(ends.reshape(-1, 2))[:, 0]
    top, height = int(rows[0]), int(rows[-1] - rows[0]) + 1
    left, right = _row_spans(corners, height)
    for row in (0, -1):  # an edge of the polygon may lie along these rows
        left[row], right[row] = first[row], last[row]
    columns = np.arange(width, dtype=np.int32)
    hull[top : top + height] = (columns >= left[:, None]) & (columns <= right[:, None])
    return hull


def _row_spans(corners: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last column of a convex polygon in each of its rows, int32; along its first and last row they are open.

    cv2.fillConvexPoly would also colour pixels that the outline merely passes near: one per cent of a small car.

    Args:
        corners: int (n, 2), x and y in cyclic order; rows 0 and height - 1 hold a corner each.
    """
    top = int(corners[:, 1].argmin())
    x, y = np.concatenate([corners[top:], corners[: top + 1]]).T.astype(np.float64)
    bottom = int(y.argmax())
    y[bottom + 1 :] = 2 * (height - 1) - y[bottom + 1 :]  # on the way back up rows go on counting
    rows = np.arange(2 * height - 1)
    both = np.interp(rows, y, x)
    one_side, other_side = both[:height], both[height - 1 :][::-1]
    # Columns on an edge are ratios with denominators below `height`: the tolerance only absorbs rounding.
    left = np.ceil(np.minimum(one_side, other_side) - 1e-6).astype(np.int32)
    return left, np.floor(np.maximum(one_side, other_side) + 1e-6).astype(np.int32)
