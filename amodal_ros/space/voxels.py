"""Fewer points: one per cube."""

from __future__ import annotations

import numpy as np

#: An odd number whose products spread over the upper bits (2^64 over the golden ratio).
_SCATTER = np.int64(-7046029254386353131)


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
    x, y, z = np.floor(points.T / size).astype(np.int64, order="C") + (1 << 20)
    key = (x << 42) | (y << 21) | z
    # Each cube has a slot of a table, where the first point wins. Those that find another cube there try again.
    bits = (4 * len(key)).bit_length()
    slots = (key * _SCATTER).view(np.uint64) >> np.uint64(64 - bits)
    table, left, kept = np.empty(1 << bits, np.intp), np.arange(len(key)), np.zeros(len(key), bool)
    while len(left):
        mine = slots.take(left)
        table[mine[::-1]] = left[::-1]  # the last one written stays
        first = table.take(mine)
        kept[first] = True
        left = left.compress(key.take(first) != key.take(left))
    return np.flatnonzero(kept)
