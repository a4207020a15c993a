"""Convex hull of a mask (the paper's Eq. 10 on pixels)."""

from __future__ import annotations

import cv2
import numpy as np

from amodal_ros.scene.mask import MaskRegion


def convex_hull(mask: MaskRegion) -> MaskRegion:
    """The filled convex hull of all contours of a mask.

    The hull contains the mask, and is its own hull (up to rasterisation). An empty mask has an empty hull.
    """
    if not mask.area:
        return MaskRegion.empty()
    tight = mask.trim()
    contours, _ = cv2.findContours(
        np.ascontiguousarray(tight.bits).view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    corners = cv2.convexHull(np.concatenate(contours))
    canvas = np.zeros(tight.bits.shape, np.uint8)
    cv2.fillConvexPoly(canvas, corners, 1)
    # A polygon's raster can miss a pixel of a contour that it passes through; the mask itself never goes missing.
    return MaskRegion(tight.x, tight.y, canvas.view(bool) | tight.bits)
