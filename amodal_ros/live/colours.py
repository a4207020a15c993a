"""Whether two masks show the same colours."""

from __future__ import annotations

import math

import cv2
import numpy as np

from amodal_ros.scene import MaskRegion

#: Colours that differ by more than this (Hellinger distance) are another object's; on street sequences 0.1 % of the
#: same objects' changes from image to image and 92 % of the differences between objects are above it. Asked of masks
#: with so many pixels, and where neither has more than so many times the other's: else they show other parts.
RECOLOURED, COLOURED, COMPARABLE = 0.35, 200, 2.0


def colour_histogram(image: np.ndarray, mask: MaskRegion) -> np.ndarray:
    """Joint histogram of a mask's colours, 4 levels per channel, float32 (64,) with sum 1."""
    stride = max(1, math.isqrt(mask.bits.size // 2048))
    inside = np.ascontiguousarray(mask.bits[::stride, ::stride]).view(np.uint8)
    crop = image[mask.y : mask.y + mask.height : stride, mask.x : mask.x + mask.width : stride]
    counts = cv2.calcHist([np.ascontiguousarray(crop)], [0, 1, 2], inside, [4, 4, 4], [0, 256] * 3).reshape(-1)
    return counts / max(1.0, counts.sum())


def hellinger(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two histograms, in [0, 1]."""
    return math.sqrt(max(0.0, 1.0 - float(np.sqrt(a * b).sum())))
