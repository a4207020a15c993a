"""Section 5.1: points drawn from V prompt the segmenter; known background gives points off the object."""

from __future__ import annotations

import cv2
import numpy as np

from amodal_ros.settings.method import Points

#: Points off the object keep this distance (crop pixels) from V: outlines are a few pixels off.
CLEARANCE = 2


def draw_points(
    visible: np.ndarray, feasible: np.ndarray, outside: np.ndarray, points: Points, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Prompt points for one object.

    Args:
        visible: V, bool (r, r).
        feasible: F, bool (r, r).
        outside: what lies outside the frame, bool (r, r).

    Returns:
        points float32 (n, 2) as (x, y) in crop pixels, and labels int64 (n,): 1 on V, 0 on what is known not to be the
        object (K \\ V). Where no such pixel exists there are no points off the object.
    """
    on = _draw(visible, points.positive, rng)
    disc = np.ones((2 * CLEARANCE + 1,) * 2, np.uint8)
    near = cv2.dilate(visible.view(np.uint8), disc).view(bool)
    off = _draw(~(feasible | outside | near), points.negative, rng)
    return np.concatenate([on, off]), np.repeat([1, 0], [len(on), len(off)])


def _draw(mask: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """`count` pixels of a mask as (x, y), with replacement only where it has fewer."""
    ys, xs = np.nonzero(mask)
    if not count or not len(xs):
        return np.zeros((0, 2), np.float32)
    picked = rng.choice(len(xs), count, replace=len(xs) < count)
    return np.stack([xs[picked], ys[picked]], axis=1).astype(np.float32)
