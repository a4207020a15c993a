"""`Scene`: everything labelled in one image, and what the masks tell about each other.

A hidden part must be hidden by something: another object, the frame's edge, or something unlabelled
(`docs/method.md`, "Feasible region" and "What is known judges the guess").
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from amodal_ros.scene import worth
from amodal_ros.scene.answer import Completion, Instance, Source
from amodal_ros.scene.depth import ground_plane, inverse_depth, nearer_than, without_gaps
from amodal_ros.scene.hull import hull_of
from amodal_ros.scene.mask import MaskRegion, dilate, painted, wider
from amodal_ros.scene.order import MARGIN, SLOPPY, Order

Occluders = Literal["instances", "depth", "any", "off"]
Mask: TypeAlias = MaskRegion | np.ndarray

#: The feasible region is made for a box with so many pixels more on each side than were asked for.
ROOM = 8
#: Something nearer hides a thing when it meets so many times the root of the thing's area in pixels.
BESIDE = 0.2


class Scene:
    """Everything labelled in one image. What follows from it is computed once, when it is first asked for.

    Masks are numbered: first the things, in their order, then the stuff (`masks`).

    Args:
        image: I, RGB uint8 (height, width, 3); or a function that reads it, called when `image` is first asked for; or
            None where nobody asks.
        things: the objects that can be completed, with ids that are unique. Bare masks, bool (height, width) or
            `MaskRegion`, are numbered from 1.
        stuff: visible masks of whatever else is labelled (poles, fences, other context). It is not completed and can
            hide things.
        depth: optional float (height, width) in metres, NaN or 0 where unknown; decides who is in front.
        occluders: what can hide a thing. ``"instances"``: labelled neighbours that can be in front, and what lies
            outside the frame. ``"depth"``: the same, and whatever the depth image shows to be nearer, labelled or not;
            where depth is missing ``"instances"``. ``"any"``: neighbours and all unlabelled pixels. ``"off"``:
            anything anywhere (the paper sees only the object's own mask).
        stamp: time of the image in nanoseconds.
        shape: (height, width) in pixels; needed where `image` is no array.

    Raises:
        ValueError: a value that cannot be; the message names it and what was expected.

    >>> car, pole = MaskRegion(0, 5, np.ones((4, 9), bool)), MaskRegion(4, 0, np.ones((9, 2), bool))
    >>> Scene(None, [car - pole], [pole], shape=(20, 20)).geometric(0).amodal == car
    True
    """

    def __init__(
        self,
        image: np.ndarray | Callable[[], np.ndarray] | None,
        things: Sequence[Instance | Mask] = (),
        stuff: Sequence[Mask] = (),
        *,
        depth: np.ndarray | None = None,
        occluders: Occluders = "instances",
        stamp: int = 0,
        shape: tuple[int, int] | None = None,
    ) -> None:
        if occluders not in get_args(Occluders):
            raise ValueError(f"occluders: expected one of {get_args(Occluders)}, got {occluders!r}")
        if image is not None and not callable(image):
            check_image(image)
            shape = image.shape[:2] if shape is None else shape
        if shape is None:
            raise ValueError("shape: expected (height, width), since there is no image to take it from")
        #: (height, width) in pixels.
        self.shape = (int(shape[0]), int(shape[1]))
        if depth is not None and depth.shape != self.shape:
            raise ValueError(f"depth: expected the frame's size {self.shape}, got {depth.shape}")
        self.things = tuple(self._numbered(things))
        self.stuff = tuple(region_of(mask, self.shape, f"stuff {k}") for k, mask in enumerate(stuff))
        self.depth, self.occluders, self.stamp = depth, occluders, stamp
        self._image = image
        self._geometric: dict[int, Completion] = {}
        self._in_front: dict[int, list[MaskRegion]] = {}
        self._crack: dict[int, MaskRegion] = {}
        self._feasible: dict[int, MaskRegion] = {}
        self._unoccluded: dict[int, bool] = {}
        self._depths: dict[int, tuple[MaskRegion, MaskRegion]] = {}
        self._along_outline: dict[int, tuple[float, float]] = {}

    def _numbered(self, things: Sequence[Instance | Mask]) -> list[Instance]:
        numbered = [
            t if isinstance(t, Instance) else Instance(k + 1, region_of(t, self.shape, f"visible mask {k}"))
            for k, t in enumerate(things)
        ]
        ids = [thing.id for thing in numbered]
        if len(set(ids)) < len(ids):
            raise ValueError(f"things: expected ids that are unique, got {sorted(ids)}")
        return numbered

    @staticmethod
    def of_masks(
        masks: Sequence[Mask],
        shape: tuple[int, int],
        occluders: Occluders = "instances",
        depth: np.ndarray | None = None,
    ) -> Scene:
        """A scene of which no pixels are needed: things by their masks alone, shape = (height, width)."""
        return Scene(None, masks, depth=depth, occluders=occluders, shape=shape)

    def replace(self, **changes: Any) -> Scene:
        """A changed copy, by the constructor's names. While the masks stay the same their order is shared."""
        known = {"things": self.things, "stuff": self.stuff, "depth": self.depth, "occluders": self.occluders}
        known |= {"stamp": self.stamp, "shape": self.shape}
        if all(known.get(name) is value for name, value in changes.items()):
            return self
        other = Scene(changes.pop("image", self._image), **{**known, **changes})
        if not changes.keys() & {"things", "stuff", "depth", "shape"}:
            other.__dict__.update(masks=self.masks, order=self.order)
        return other

    # --- what is labelled ---------------------------------------------------------------------------------

    @property
    def image(self) -> np.ndarray:
        """RGB uint8 (height, width, 3).

        Raises:
            ValueError: the scene has none, or it is of another size.
        """
        if self._image is None:
            raise ValueError("image: this scene was made of masks alone")
        image = self._image() if callable(self._image) else self._image
        check_image(image)
        if image.shape[:2] != self.shape:
            raise ValueError(f"image: expected the scene's size {self.shape}, got {image.shape[:2]}")
        self._image = image
        return image

    @cached_property
    def masks(self) -> list[MaskRegion]:
        """Visible masks, of things and then of stuff, inside the frame and in tight boxes."""
        return [m.clip(*self.shape).trim() for m in (*(t.visible for t in self.things), *self.stuff)]

    def ids(self, positions: Sequence[int]) -> tuple[int, ...]:
        """Ids of the things among these masks; stuff has none."""
        return tuple(self.things[i].id for i in positions if i < len(self.things))

    # --- what the masks tell ------------------------------------------------------------------------------

    @cached_property
    def order(self) -> Order:
        """Who is in front of whom."""
        return Order(self.masks, len(self.things), self.depth)

    def with_entries(self, entries: Mapping[tuple[int, int], float]) -> Scene:
        """The same scene, its order told what completions say (`Order.with_entries`)."""
        if not entries:
            return self
        other = Scene(
            self._image,
            self.things,
            self.stuff,
            depth=self.depth,
            occluders=self.occluders,
            stamp=self.stamp,
            shape=self.shape,
        )
        other.__dict__.update(masks=self.masks, labelled=self.labelled, order=self.order.with_entries(entries))
        return other

    def in_front_of(self, i: int) -> tuple[int, ...]:
        """Positions of the masks that can be in front of thing i."""
        return tuple(np.flatnonzero(self.order.in_front[:, i]).tolist())

    def hiding(self, i: int) -> list[MaskRegion]:
        """Masks of what can be in front of thing i: of labelled neighbours, and of what depth shows to be nearer."""
        if i not in self._in_front:
            labelled = [(j, self.masks[j]) for j in self.in_front_of(i)]
            nearer, behind = self._nearer(i)
            hiding = [mask if j < len(self.things) else mask - behind for j, mask in labelled]
            self._in_front[i] = [*hiding, nearer] if nearer.area else hiding
        return self._in_front[i]

    def perhaps_hiding(self, i: int) -> list[MaskRegion]:
        """Masks that touch thing i and are behind it as far as one can tell, but not surely (`worth.SURELY_BEHIND`)."""
        evidence = self.order.evidence[:, i]
        return [self.masks[j] for j in np.flatnonzero((evidence < -MARGIN) & (evidence >= -worth.SURELY_BEHIND))]

    def unoccluded(self, i: int) -> bool:
        """Whether nothing that is known can be in front and the frame's edge is not reached: no model is needed."""
        if i not in self._unoccluded:
            self._unoccluded[i] = self._is_unoccluded(i)
        return self._unoccluded[i]

    def _is_unoccluded(self, i: int) -> bool:
        if self.occluders not in ("instances", "depth") or self._at_edge(i):
            return False
        if self.order.in_front[:, i].any():
            return False
        nearer, _ = self._nearer(i)
        if not nearer.area:
            return True
        # A few pixels are noise, and what is nearer but apart hides nothing.
        beside = nearer.overlap(self.order.grown[i])
        return beside <= max(SLOPPY**2, BESIDE * self.masks[i].area ** 0.5)

    def feasible(self, i: int, box: tuple[int, int, int, int]) -> MaskRegion:
        """The region F in which hidden parts of thing i can lie, within `box` (x, y, width, height).

        F never contains pixels of mask i, nor (except with ``"off"``) pixels that belong only to things which cannot be
        in front of it. Outside the frame everything is feasible.
        """
        known = self._feasible.get(i)
        if known is None or not _contains(known.box, box):  # a guess that moves by a few pixels is asked about again
            known = self._feasible[i] = self._feasible_within(i, wider(box, ROOM))
        return known.within(*box)

    def _feasible_within(self, i: int, box: tuple[int, int, int, int]) -> MaskRegion:
        mine = self.masks[i].window(*box)
        if self.occluders == "off":
            return MaskRegion(*box[:2], ~mine)
        hiding = painted(self.hiding(i), box)
        unlabelled = ~self.labelled.window(*box)
        if self.occluders != "any":
            unlabelled &= ~self.inside(box) | self._cracks(i).window(*box)
        return MaskRegion(*box[:2], (hiding | unlabelled) & ~mine)

    def bounded_hull(self, i: int) -> MaskRegion:
        """V + (hull(V) * F): the instant answer, and the floor that every completion is compared with."""
        mask, by_label = self.masks[i], self.occluders in ("instances", "depth")
        if by_label and not self.hiding(i):
            return mask  # a hull does not leave the frame, and inside it nothing can hide
        hidden = hull_of(mask.bits) & ~mask.bits
        if by_label:  # F inside the hull's box, which is the mask's; the cracks only where they matter
            feasible = painted(self.hiding(i), mask.box)
            unlabelled = hidden & ~feasible & ~self.labelled.window(*mask.box)
            if unlabelled.any():
                feasible |= unlabelled & self._cracks(i).window(*mask.box)
            hidden &= feasible
        else:
            hidden &= self.feasible(i, mask.box).bits
        if not hidden.any():
            return mask
        return MaskRegion(mask.x, mask.y, mask.bits | hidden).connected_to(mask)

    def score(self, i: int, guess: MaskRegion, hidden: MaskRegion | None = None) -> float:
        """IoU(guess * K, V) over the known pixels K = V + everything outside F, in [0, 1].

        On K a right amodal mask equals V. With ``occluders="off"`` nothing outside V is known, so the score only says
        how much of V the guess covers. It is 0 for an empty guess and for an empty V. `hidden` is guess * F, for
        callers that have it.
        """
        mask = self.masks[i]
        if not (mask.area and guess.area):
            return 0.0
        known = guess.area - (self.feasible(i, guess.box).overlap(guess) if hidden is None else hidden.area)
        both = guess.overlap(mask)
        return both / (known + mask.area - both)

    def along_outline(self, i: int) -> tuple[float, float]:
        """Shares of thing i's outline that something labelled draws, and the frame's edge (`worth.along_outline`)."""
        if i not in self._along_outline:
            self._along_outline[i] = worth.along_outline(self, i)
        return self._along_outline[i]

    def possible(self, i: int, amodal: MaskRegion) -> MaskRegion:
        """Where thing i can be if `amodal` is the best guess (`worth.possible`)."""
        return worth.possible(self, i, amodal)

    def geometric(self, i: int) -> Completion:
        """Thing i's answer without any model.

        VISIBLE_ONLY for an empty mask, UNOCCLUDED where nothing can hide the thing, else the bounded hull. It says
        nothing about what lies outside the frame.
        """
        if i not in self._geometric:
            self._geometric[i] = self._answer_geometrically(i)
        # What is kept here must not lead back here: only the cycle collector would free the image, seconds later.
        return replace(self._geometric[i], around=partial(self.possible, i))

    def _answer_geometrically(self, i: int) -> Completion:
        mask = self.masks[i]
        if not mask.area:
            return Completion(mask, mask, self.shape, Source.VISIBLE_ONLY)
        if self.unoccluded(i):
            source, amodal = Source.UNOCCLUDED, mask
        else:
            source, amodal = Source.GEOMETRIC, self.bounded_hull(i)
        return Completion(
            mask,
            amodal,
            self.shape,
            source,
            worth.expected_iou(self, i, amodal),
            occluders=self.in_front_of(i),
            estimates_outside=not self._at_edge(i),
        )

    def _at_edge(self, i: int) -> bool:
        """Whether mask i reaches the frame's border; its box is tight."""
        x, y, width, height = self.masks[i].box
        return x <= 0 or y <= 0 or x + width >= self.shape[1] or y + height >= self.shape[0]

    @cached_property
    def labelled(self) -> MaskRegion:
        """All pixels with a label."""
        return MaskRegion.union_of(self.masks)

    def inside(self, box: tuple[int, int, int, int]) -> np.ndarray:
        """Which pixels of a box (x, y, width, height) lie inside the frame: bool (height, width)."""
        return _frame_window(self.shape, box)

    def _nearer(self, i: int) -> tuple[MaskRegion, MaskRegion]:
        """Pixels of no thing that depth shows to lie before thing i, and those behind it; none without depth.

        Of things the order decides: it compares whole masks, and a mask is before another one or it is not.
        """
        if self.occluders != "depth" or self.depth is None or not self.masks[i].area:
            return MaskRegion.empty(), MaskRegion.empty()
        if i not in self._depths:
            x, y, width, height = self.masks[i].box
            reach = max(width, height)
            box = x - reach, y - reach, width + 2 * reach, height + 2 * reach
            found = nearer_than(self._inverse, self._closed, self.masks[i], self._ground, box)
            nearer, behind = found or (MaskRegion.empty(), MaskRegion.empty())
            self._depths[i] = (nearer - self._of_things).trim(), behind
        return self._depths[i]

    @cached_property
    def _inverse(self) -> np.ndarray:
        assert self.depth is not None
        return inverse_depth(self.depth)

    @cached_property
    def _closed(self) -> np.ndarray:
        return without_gaps(self._inverse)

    @cached_property
    def _ground(self) -> np.ndarray | None:
        return ground_plane(self._inverse, self._of_things)

    @cached_property
    def _of_things(self) -> MaskRegion:
        return MaskRegion.union_of(self.masks[: len(self.things)])

    def _cracks(self, i: int) -> MaskRegion:
        """What a morphological closing of thing i with what can hide it fills, where the two meet.

        Growing the occluders instead would open their whole outline to overfill.
        """
        if i not in self._crack:
            # A pixel is in the closing or not by what lies within twice the disc's radius, and the seam is so wide.
            box = wider(self.masks[i].box, 4 * SLOPPY)
            mine, hiding = self.masks[i].window(*box), painted(self.hiding(i), box)
            seam = dilate(mine, SLOPPY) & dilate(hiding, SLOPPY)
            closed = ~dilate(~dilate(mine | hiding, SLOPPY), SLOPPY)
            self._crack[i] = MaskRegion(*box[:2], dilate(seam, SLOPPY) & closed)
        return self._crack[i]


def _contains(outer: tuple[int, int, int, int], inner: tuple[int, int, int, int]) -> bool:
    """Whether a box (x, y, width, height) lies in another one."""
    x, y, width, height = outer
    left, top = inner[0] - x, inner[1] - y
    return left >= 0 and top >= 0 and left + inner[2] <= width and top + inner[3] <= height


def _frame_window(frame_shape: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """bool (height, width) of a box: which of its pixels lie inside the frame."""
    x, y, width, height = box
    inside = np.zeros((height, width), bool)
    inside[max(0, -y) : max(0, frame_shape[0] - y), max(0, -x) : max(0, frame_shape[1] - x)] = True
    return inside


def check_image(image: object) -> None:
    """Raises ValueError unless it is RGB uint8 (height, width, 3)."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image: expected RGB uint8 (height, width, 3), got {got}")


def region_of(mask: Mask, shape: tuple[int, int], what: str) -> MaskRegion:
    """A visible mask as handed in, as a region inside the frame.

    Raises:
        ValueError: it is no mask of this frame; the message begins with `what`.
    """
    if isinstance(mask, np.ndarray):
        if mask.dtype != np.bool_ or mask.shape != tuple(shape):
            raise ValueError(f"{what}: expected bool of the image's size {tuple(shape)}, got {mask.dtype} {mask.shape}")
        mask = MaskRegion.from_full(mask)
    elif not isinstance(mask, MaskRegion):
        raise ValueError(f"{what}: expected a bool array or a MaskRegion, got {type(mask).__name__}")
    return mask.clip(*shape).trim()
