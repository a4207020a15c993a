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
from amodal_ros.scene.order import SLOPPY, in_front

Occluders = Literal["instances", "any", "off"]

#: How far the truth can lie beyond a guess, in units of the guess's size (the root of its area).
REACH = 0.25


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

    @cached_property
    def in_front(self) -> np.ndarray:
        """bool (n, n): [j, i] says that j can be in front of i. Neither can be ruled out: both entries are True."""
        return in_front(self.masks, self._grown, self._depth)

    def occluders(self, i: int) -> tuple[int, ...]:
        """Positions of the masks that can be in front of mask i."""
        return tuple(np.flatnonzero(self.in_front[:, i]).tolist())

    def unoccluded(self, i: int) -> bool:
        """Whether no labelled neighbour can be in front and the frame's edge is not reached: no model is needed."""
        if self.mode != "instances" or self.masks[i].touches_edge(*self.frame_shape):
            return False
        return not self.in_front[:, i].any()

    def feasible(self, i: int, box: tuple[int, int, int, int]) -> MaskRegion:
        """The region F in which hidden parts of object i can lie, within `box` (x, y, width, height).

        F never contains pixels of mask i, nor (except with ``"off"``) pixels that belong only to things which cannot be
        in front of it. Outside the frame everything is feasible.
        """
        x, y, _, _ = box
        mine = self.masks[i].window(*box)
        if self.mode == "off":
            return MaskRegion(x, y, ~mine)
        hiding = MaskRegion.union_of(self.masks[j].within(*box) for j in self.occluders(i)).window(*box)
        unlabelled = ~self._labelled.window(*box)
        if self.mode == "instances":
            outside = ~_frame_window(self.frame_shape, box)
            unlabelled &= outside | self._cracks(i).window(*box)
        return MaskRegion(x, y, (hiding | unlabelled) & ~mine)

    def bounded_hull(self, i: int) -> MaskRegion:
        """V + (hull(V) * F): the instant answer, and the floor that every completion is compared with."""
        mask = self.masks[i]
        if self.mode == "instances" and not self.occluders(i):
            return mask  # a hull does not leave the frame, and inside it nothing can hide
        hull = convex_hull(mask)
        hidden = hull & self.feasible(i, hull.box)
        return (mask | hidden).connected_to(mask) if hidden.area else mask

    def score(self, i: int, guess: MaskRegion, feasible: MaskRegion | None = None) -> float:
        """IoU(guess * K, V) over the known pixels K = V + everything outside F, in [0, 1].

        On K a right amodal mask equals V. With ``occluders="off"`` nothing outside V is known, so the score only says
        how much of V the guess covers. It is 0 for an empty guess and for an empty V. `feasible` is F over the guess's
        box at least, for callers that score many guesses.
        """
        mask = self.masks[i]
        if not (mask.area and guess.area):
            return 0.0
        feasible = self.feasible(i, guess.box) if feasible is None else feasible
        known = guess.area - guess.overlap(feasible)
        both = guess.overlap(mask)
        return both / (known + mask.area - both)

    def possible(self, i: int, amodal: MaskRegion) -> MaskRegion:
        """Where object i can be if `amodal` is the best guess: what is feasible within reach of it, and the guess."""
        reach = math.ceil(REACH * math.sqrt(amodal.area))
        near = amodal.grow(reach)
        return amodal | (near & self.feasible(i, near.box)).connected_to(amodal.grow(1))

    def geometric(self, i: int) -> Completion:
        """Object i's answer without any model.

        VISIBLE_ONLY for an empty mask, UNOCCLUDED where nothing can hide the object, else the bounded hull. It says
        nothing about what lies outside the frame.
        """
        mask = self.masks[i]
        if not mask.area:
            return Completion(mask, mask, self.frame_shape, Source.VISIBLE_ONLY)
        if self.unoccluded(i):
            return Completion(mask, mask, self.frame_shape, Source.UNOCCLUDED)
        amodal = self.bounded_hull(i)
        return Completion(
            mask,
            amodal,
            self.frame_shape,
            Source.GEOMETRIC,
            possible=self.possible(i, amodal),
            occluders=self.occluders(i),
            estimates_outside=not mask.touches_edge(*self.frame_shape),
        )

    def grown(self, i: int) -> MaskRegion:
        """Mask i with room for a sloppy outline."""
        return self._grown[i]

    @cached_property
    def _grown(self) -> list[MaskRegion]:
        return [m.grow(SLOPPY) for m in self.masks]

    @cached_property
    def _labelled(self) -> MaskRegion:
        return MaskRegion.union_of(self.masks)

    def _cracks(self, i: int) -> MaskRegion:
        """What a morphological closing of object i with its occluders fills, where the two meet.

        Growing the occluders instead would open their whole outline to overfill.
        """
        occluders = self.occluders(i)
        seam = self._grown[i] & MaskRegion.union_of(self._grown[j].within(*self._grown[i].box) for j in occluders)
        seam = seam.trim().grow(SLOPPY)
        x, y, width, height = seam.box
        around = (x - SLOPPY, y - SLOPPY, width + 2 * SLOPPY, height + 2 * SLOPPY)
        both = MaskRegion.union_of(self.masks[k].within(*around) for k in (i, *occluders))
        return seam & both.grow(SLOPPY).grow(-SLOPPY)


def _frame_window(frame_shape: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """bool (height, width) of a box: which of its pixels lie inside the frame."""
    x, y, width, height = box
    inside = np.zeros((height, width), bool)
    inside[max(0, -y) : max(0, frame_shape[0] - y), max(0, -x) : max(0, frame_shape[1] - x)] = True
    return inside
