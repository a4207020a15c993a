"""What can hide an object: its feasible region, the bounded hull, and how known pixels judge a guess.

A hidden part must be hidden by something: another object, the frame's edge, or something unlabelled
(`docs/method.md`, "Feasible region" and "What is known judges the guess").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from amodal_ros.scene.frame import Completion, Source
from amodal_ros.scene.hull import convex_hull
from amodal_ros.scene.mask import MaskRegion
from amodal_ros.scene.order import in_front, touching

Occluders = Literal["instances", "any", "off"]

#: Outlines of real segmenters are a few pixels off; occluders are grown by this much (pixels).
SLOPPY = 3


class Surroundings:
    """All that the visible masks of one frame tell about each other. Computed once per frame, lazily per object.

    Args:
        masks: visible masks of all labelled things in the frame; parts outside the frame are ignored.
        frame_shape: (height, width) in pixels.
        occluders: what can hide an object. ``"instances"``: labelled neighbours that can be in front, and what lies
            outside the frame. ``"any"``: these and all unlabelled pixels. ``"off"``: anything anywhere (the paper
            sees only the object's own mask).
        depth: optional float (height, width) in metres.

    Raises:
        ValueError: unknown `occluders`, or a depth image of another size.
    """

    def __init__(
        self,
        masks: Sequence[MaskRegion],
        frame_shape: tuple[int, int],
        occluders: Occluders = "instances",
        depth: np.ndarray | None = None,
    ) -> None:
        if occluders not in get_args(Occluders):
            raise ValueError(f"occluders: expected one of {get_args(Occluders)}, got {occluders!r}")
        if depth is not None and depth.shape != tuple(frame_shape):
            raise ValueError(f"depth: expected the frame's size {tuple(frame_shape)}, got {depth.shape}")
        self.frame_shape = (int(frame_shape[0]), int(frame_shape[1]))
        self.masks = [m.clip(*self.frame_shape).trim() for m in masks]
        self.mode = occluders
        self._depth = depth
        self._grown: dict[int, MaskRegion] = {}

    @cached_property
    def hulls(self) -> list[MaskRegion]:
        return [convex_hull(m) for m in self.masks]

    @cached_property
    def in_front(self) -> np.ndarray:
        """bool (n, n): [j, i] says that j can be in front of i."""
        return in_front(self.masks, self.hulls, touching(self.masks, 2 * SLOPPY), self._depth)

    def occluders(self, i: int) -> tuple[int, ...]:
        """Positions of the masks that can be in front of mask i."""
        return tuple(int(j) for j in np.flatnonzero(self.in_front[:, i]))

    def unoccluded(self, i: int) -> bool:
        """Whether no labelled neighbour can be in front and the frame's edge is not reached: no model is needed."""
        return self.mode == "instances" and not self.in_front[:, i].any() and not self.masks[i].touches_edge(*self.frame_shape)

    def grown(self, j: int) -> MaskRegion:
        """Mask j with room for a sloppy outline; several objects ask for the same occluder."""
        if j not in self._grown:
            self._grown[j] = self.masks[j].grow(SLOPPY)
        return self._grown[j]

    def feasible(self, i: int, box: tuple[int, int, int, int]) -> MaskRegion:
        """The region F in which hidden parts of object i can lie, within `box` (x, y, width, height).

        F never contains pixels of mask i itself. Outside the frame everything is feasible.
        """
        x, y, width, height = box
        mine = self.masks[i].window(*box)
        if self.mode == "off":
            return MaskRegion(x, y, ~mine)
        inside = _frame_window(self.frame_shape, box)
        allowed = ~inside
        for j in self.occluders(i):
            allowed |= self.grown(j).window(*box)
        if self.mode == "any":
            labelled = np.zeros((height, width), bool)
            for mask in self.masks:
                labelled |= mask.window(*box)
            allowed |= inside & ~labelled
        return MaskRegion(x, y, allowed & ~mine)

    def bounded_hull(self, i: int) -> MaskRegion:
        """V + (hull(V) * F): the instant answer, and the floor that every completion is compared with."""
        mask, hull = self.masks[i], self.hulls[i]
        return (mask | (hull & self.feasible(i, hull.box))).connected_to(mask) if mask.area else mask

    def score(self, i: int, guess: MaskRegion) -> float:
        """IoU(guess * K, V) over the known pixels K = V + everything outside F, in [0, 1].

        On K a right amodal mask equals V. With ``occluders="off"`` nothing outside V is known, so the score only says
        how much of V the guess covers.
        """
        mask = self.masks[i]
        if not mask.area:
            return 0.0
        hidden = guess.overlap(self.feasible(i, guess.box)) if guess.area else 0
        known_guess = guess.area - hidden
        both = guess.overlap(mask)
        return both / (known_guess + mask.area - both)

    def geometric(self, i: int) -> Completion:
        """Object i's answer without any model: UNOCCLUDED where nothing can hide it, else the bounded hull."""
        mask = self.masks[i]
        if self.unoccluded(i):
            amodal, source = mask, Source.UNOCCLUDED
        elif self.mode == "off" or mask.area:
            amodal, source = self.bounded_hull(i), Source.GEOMETRIC
        else:
            amodal, source = mask, Source.VISIBLE_ONLY
        score = self.score(i, amodal) if mask.area else math.nan
        return Completion(mask, amodal, self.frame_shape, source, score, occluders=self.occluders(i))


def _frame_window(frame_shape: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """bool (height, width) of a box: which of its pixels lie inside the frame."""
    x, y, width, height = box
    rows = (np.arange(y, y + height) >= 0) & (np.arange(y, y + height) < frame_shape[0])
    columns = (np.arange(x, x + width) >= 0) & (np.arange(x, x + width) < frame_shape[1])
    return rows[:, None] & columns
