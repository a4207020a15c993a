"""Who is in front of whom (`docs/method.md`, "Who is in front").

Depth decides when it is given. Otherwise the masks tell: a thing that hides another one reaches into the other's
convex hull, while the hidden one rarely reaches into the hull of what hides it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amodal_ros.scene.mask import MaskRegion

#: A neighbour is ruled out as an occluder only when the evidence against it exceeds this share of the contested
#: pixels; within the margin both may hide each other.
MARGIN = 0.5
#: Depths this close (relative) do not decide.
DEPTH_MARGIN = 0.03


def in_front(
    masks: Sequence[MaskRegion],
    hulls: Sequence[MaskRegion],
    near: np.ndarray,
    depth: np.ndarray | None = None,
    margin: float = MARGIN,
) -> np.ndarray:
    """Which masks can be in front of which.

    Args:
        masks: n visible masks.
        hulls: their convex hulls.
        near: bool (n, n), pairs worth asking about (symmetric).
        depth: optional float (height, width) in metres; NaN, 0 and negative mean unknown.
        margin: how one-sided the evidence must be before a neighbour is ruled out, in [0, 1].

    Returns:
        bool (n, n): entry [j, i] says that j can be in front of i. The diagonal is False.
    """
    n = len(masks)
    front = near.copy()
    np.fill_diagonal(front, False)
    metres = [_median_depth(mask, depth) for mask in masks] if depth is not None else [np.nan] * n
    for i in range(n):
        for j in np.flatnonzero(near[i, i + 1 :]) + i + 1:
            evidence = _depth_evidence(metres[i], metres[j])
            if evidence == 0.0:
                evidence = hull_evidence(masks[i], hulls[i], masks[j], hulls[j])
            if evidence > margin:
                front[i, j] = False  # j hides i, so i does not hide j
            elif evidence < -margin:
                front[j, i] = False
    return front


def hull_evidence(mask_i: MaskRegion, hull_i: MaskRegion, mask_j: MaskRegion, hull_j: MaskRegion) -> float:
    """How the hulls vote, in [-1, 1]: positive when j covers more of i's hull than i covers of j's."""
    j_in_i = mask_j.overlap(hull_i)
    i_in_j = mask_i.overlap(hull_j)
    contested = j_in_i + i_in_j
    return (j_in_i - i_in_j) / contested if contested else 0.0


def _depth_evidence(metres_i: float, metres_j: float) -> float:
    if not (np.isfinite(metres_i) and np.isfinite(metres_j)):
        return 0.0
    if abs(metres_i - metres_j) <= DEPTH_MARGIN * max(metres_i, metres_j):
        return 0.0
    return 1.0 if metres_j < metres_i else -1.0


def _median_depth(mask: MaskRegion, depth: np.ndarray) -> float:
    inside = mask.clip(*depth.shape)
    values = depth[inside.y : inside.y + inside.height, inside.x : inside.x + inside.width][inside.bits]
    known = values[np.isfinite(values) & (values > 0)]
    return float(np.median(known)) if known.size else np.nan


def touching(grown: Sequence[MaskRegion]) -> np.ndarray:
    """bool (n, n), symmetric: grown masks that share a pixel. The diagonal is False."""
    x, y, width, height = np.array([m.box for m in grown], int).reshape(-1, 4).T
    meet = (x[:, None] < x + width) & (y[:, None] < y + height)
    near = np.zeros(meet.shape, bool)
    for i, j in zip(*np.nonzero(np.triu(meet & meet.T, 1))):
        near[i, j] = near[j, i] = grown[i].overlap(grown[j]) > 0
    return near
