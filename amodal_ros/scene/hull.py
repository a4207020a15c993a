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
    height, width = tight.bits.shape
    # The hull of every row's first and last pixel, however many pieces the mask has.
    rows = np.flatnonzero(tight.bits.any(axis=1))
    first, last = tight.bits.argmax(axis=1)[rows], width - 1 - tight.bits[:, ::-1].argmax(axis=1)[rows]
    ends = np.stack([np.concatenate([first, last]), np.concatenate([rows, rows])], axis=1)
    corners = cv2.convexHull(ends.astype(np.int32))[:, 0]
    left, right = _row_spans(corners, height)
    columns = np.arange(width)
    return MaskRegion(tight.x, tight.y, (columns >= left[:, None]) & (columns <= right[:, None]))


def _row_spans(corners: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last column of a convex polygon in each of its rows.

    cv2.fillConvexPoly would also colour pixels that the outline merely passes near: one per cent of a small car.

    Args:
        corners: int (n, 2), x and y in cyclic order; rows 0 and height - 1 hold a corner each.
    """
    top = int(corners[:, 1].argmin())
    x, y = np.concatenate([corners[top:], corners[: top + 1]]).T
    bottom = int(y.argmax())
    rows = np.arange(height)
    one_side = np.interp(rows, y[: bottom + 1], x[: bottom + 1])
    other_side = np.interp(rows, y[bottom:][::-1], x[bottom:][::-1])
    left, right = np.minimum(one_side, other_side), np.maximum(one_side, other_side)
    for row in (0, height - 1):  # an edge of the polygon may lie along these rows
        left[row], right[row] = x[y == row].min(), x[y == row].max()
    # Columns on an edge are ratios with denominators below `height`: the tolerance only absorbs rounding.
    return np.ceil(left - 1e-6), np.floor(right + 1e-6)
