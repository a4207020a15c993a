"""Which part of a visible mask's boundary is the object's own, and which was drawn by what hides the rest."""

from __future__ import annotations

import cv2
import numpy as np

from amodal_ros.scene.mask import MaskRegion
from amodal_ros.scene.occluders import Surroundings
from amodal_ros.scene.order import SLOPPY

#: Outline points per object.
OUTLINE_POINTS = 64
#: Occluders further than this from a visible mask (pixels) do not matter to its outline.
AROUND = 24


def hiding(surroundings: Surroundings, i: int) -> MaskRegion:
    """What can hide object i around its visible mask: its labelled occluders, with room for sloppy outlines."""
    mask = surroundings.masks[i]
    box = mask.x - AROUND, mask.y - AROUND, mask.width + 2 * AROUND, mask.height + 2 * AROUND
    return MaskRegion.union_of(surroundings.masks[j].within(*box) for j in surroundings.occluders(i)).grow(2 * SLOPPY)


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


def cut_share(surroundings: Surroundings, i: int) -> float:
    """Share of the boundary of mask i that labelled occluders or the frame's edge draw, in [0, 1]; 0 for an empty mask.

    How much an object can hide grows with it: on street scenes the bounded hull's loss in IoU is about half of it.
    """
    if not surroundings.masks[i].area:
        return 0.0
    own, cut = own_outline(surroundings.masks[i], hiding(surroundings, i), surroundings.frame_shape)
    return len(cut) / (len(own) + len(cut))
