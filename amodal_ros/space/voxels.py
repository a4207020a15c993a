"""Fewer points: one per cube."""

from __future__ import annotations

import numpy as np


def thin(points: np.ndarray, size: float) -> np.ndarray:
    """Positions of the points to keep: the first of every cube of side `size` metres; all when size is 0.

    Args:
        points: float (n, 3), finite, within 2^20 cubes of the origin.

    Returns:
        int (m,), ascending.

    Raises:
        ValueError: a negative size.
    """
    if size < 0:
        raise ValueError(f"voxel size: expected 0 m or more, got {size}")
    if size == 0 or not len(points):
        return np.arange(len(points))
    cells = np.floor(points / size).astype(np.int64) + (1 << 20)
    key = (cells[:, 0] << 42) | (cells[:, 1] << 21) | cells[:, 2]
    return np.sort(np.unique(key, return_index=True)[1])
