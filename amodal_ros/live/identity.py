"""`Identities`: who is who, where masks come without ids. Objects are known again by their remembered whole shapes.

A tracker of visible masks loses an object whose visible part leaps: another part comes into the open, or what was
hidden comes back. Its whole shape, which the node completes anyway, is where it was: a new mask that lies on it, of its
class and colours, is the same object.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np

from amodal_ros.live import parting
from amodal_ros.live.colours import COLOURED, COMPARABLE, RECOLOURED, colour_histogram, hellinger
from amodal_ros.live.motion import box_step
from amodal_ros.scene import MaskRegion

#: Objects unseen for longer are forgotten (seconds); no more are remembered than this.
FORGET_AFTER, MOST = 3.0, 256
#: Visible masks of one object in consecutive images overlap (IoU) by at least so much.
OVERLAP = 0.2
#: Of masks that do not overlap no other one can go better with an object than one that does by more than this.
SURE = 0.5
#: A mask belongs to an object whose remembered whole holds at least this share of it.
INSIDE = 0.5
#: An object that was seen just now (nanoseconds) and is nowhere may have leapt by this share of its size.
LEAP, JUST_NOW = 1.0, 350_000_000
#: A second mask is a piece of an object that covered at least this share of it in the image before.
PIECE = 0.7
#: What another class costs: detectors waver between a car and a truck.
OTHER_CLASS = 0.4
#: Share of the newest step in the velocity.
NEWEST = 0.5
#: Only objects that have had masks of their own for so long (nanoseconds) are told apart in one: a detector may waver.
SETTLED = 300_000_000


@dataclass(eq=False)
class _Known:
    """One object as it was last seen, its masks in their tightest boxes; `velocity` in pixels per nanosecond; `before`:
    its stamp, whole and velocity in the image before; `learnt`: whether `whole` is of the latest image; `alone`: stamps
    of the first and the last image in which it had a mask of its own."""

    id: int
    class_id: str
    stamp: int
    visible: MaskRegion
    whole: MaskRegion
    colours: np.ndarray
    velocity: np.ndarray
    alone: tuple[int, int]
    before: tuple[int, MaskRegion, np.ndarray] | None = None
    learnt: bool = True

    def moved(self, stamp: int) -> tuple[int, int]:
        """How far it is expected to have come, whole pixels."""
        x, y = (self.velocity * (stamp - self.stamp)).tolist()
        return round(x), round(y)

    def is_settled(self, stamp: int) -> bool:
        """Whether it is known well enough, and was seen lately enough, to be looked for in what others are seen in."""
        first, last = self.alone
        return last - first >= SETTLED and stamp - last <= FORGET_AFTER * 1e9 and stamp - self.stamp <= JUST_NOW

    def see(self, stamp: int, visible: MaskRegion, colours: np.ndarray, class_id: str, alone: bool) -> None:
        """It is in a new image. Until its new whole is learnt the old one moves along."""
        self.alone = (self.alone[0], stamp if alone else self.alone[1])
        self.before = (self.stamp, self.shape(), self.velocity)
        self.velocity = self._steered(self.visible, visible, stamp)
        self.whole, self.learnt = self.whole.shift(*self.moved(stamp)), False
        self.stamp, self.visible, self.colours = stamp, visible, colours
        self.class_id = class_id or self.class_id

    def shape(self) -> MaskRegion:
        """The whole shape, which holds what was seen last."""
        if not self.learnt:
            self.whole, self.learnt = (self.whole | self.visible).trim(), True
        return self.whole

    def learn(self, whole: MaskRegion) -> None:
        """Its whole shape in the latest image, whose edges tell its motion better than those that an occluder draws."""
        self.whole, self.learnt = whole.trim(), True
        if self.before is not None:
            now, (self.stamp, earlier, self.velocity) = self.stamp, self.before
            self.velocity = self._steered(earlier, self.whole, now)
            self.stamp, self.before = now, None

    def _steered(self, earlier: MaskRegion, later: MaskRegion, now: int) -> np.ndarray:
        if now <= self.stamp:
            return self.velocity
        step = box_step(earlier, later)
        newest = np.array([step.dx, step.dy]) / (now - self.stamp)
        return newest if not self.velocity.any() else NEWEST * newest + (1.0 - NEWEST) * self.velocity


class Identities:
    """Ids for the masks of a stream; a number is given once.

    Args:
        wholes: use remembered whole shapes; without them it is a plain tracker of visible masks, for comparison.
    """

    def __init__(self, wholes: bool = True) -> None:
        self._wholes = wholes
        self._known: dict[int, _Known] = {}
        self._numbers = count(1)

    def clear(self) -> None:
        """Nobody is remembered. Numbers are not given again."""
        self._known = {}

    def identify(
        self,
        stamp: int,
        image: np.ndarray,
        masks: Sequence[MaskRegion],
        classes: Sequence[str],
        taken: Collection[int] = (),
    ) -> list[list[tuple[int, MaskRegion]]]:
        """Whose each mask is: (id, mask) of one object, or of several that had masks of their own before, and between
        which it is cut. Two masks with one id are pieces of one object.

        Args:
            stamp: of the image, nanoseconds.
            image: RGB uint8 (height, width, 3).
            masks: visible masks inside the image, none empty.
            classes: names, empty if unknown.
            taken: ids that others of this image have.
        """
        self._forget(stamp)
        given, shared = self._parted(stamp, masks, classes, taken)
        masks, classes = [part for _, part in given], [classes[j] for j, _ in given]
        colours = [colour_histogram(image, mask) for mask in masks]
        places = {known.id: known.moved(stamp) for known in self._known.values() if known.id not in taken}
        before = {id: self._known[id].visible.shift(*moved) for id, moved in places.items()}
        wholes = {id: self._known[id].shape().shift(*moved) for id, moved in places.items()} if self._wholes else {}
        found: dict[int, int] = {}  # position -> id
        for _, j, id in sorted(self._pairs(masks, classes, colours, stamp, before, wholes), reverse=True):
            if j not in found and id not in found.values():
                found[j] = id
        present = {id: masks[j] for j, id in found.items()}
        for j in range(len(masks)):
            if j not in found and (owner := self._whose_piece(masks[j], classes[j], colours[j], present, before)):
                found[j] = owner
        whose: dict[int, list[int]] = {}  # id -> positions
        for j in range(len(masks)):
            whose.setdefault(found[j] if j in found else self._new(taken), []).append(j)
        owned: dict[int, list[tuple[int, MaskRegion]]] = {}
        for id, positions in whose.items():
            for j in positions:
                owned.setdefault(given[j][0], []).append((id, masks[j]))
            pieces = [masks[j] for j in positions]
            visible = pieces[0] if len(pieces) == 1 else MaskRegion.union_of(pieces)
            self._see(id, stamp, visible.trim(), colours[positions[0]], classes[positions[0]], alone=id not in shared)
        return [owned[j] for j in range(len(owned))]

    def learn(self, wholes: Mapping[int, MaskRegion]) -> None:
        """The whole shapes of objects in the image that was identified last, by id."""
        for id, whole in wholes.items():
            if id in self._known:
                self._known[id].learn(whole)

    def _parted(
        self, stamp: int, masks: Sequence[MaskRegion], classes: Sequence[str], taken: Collection[int]
    ) -> tuple[list[tuple[int, MaskRegion]], set[int]]:
        """Masks with their positions, cut where they are of several objects, and the ids of these objects."""
        settled = [known for known in self._known.values() if known.id not in taken and known.is_settled(stamp)]
        places = [known.visible.shift(*known.moved(stamp)) for known in settled]
        sharing = {known.id for known in settled if known.stamp > known.alone[1]}
        given: list[tuple[int, MaskRegion]] = []
        shared: set[int] = set()
        for j, near in enumerate(parting.held(masks, places)):
            alike = {settled[k].id: places[k] for k in np.flatnonzero(near) if settled[k].class_id == classes[j]}
            parts = parting.cut(masks[j], alike, sharing) if len(alike) > 1 else {}
            given += [(j, part) for part in parts.values()] or [(j, masks[j])]
            shared |= parts.keys()
        return given, shared

    def _pairs(
        self,
        masks: Sequence[MaskRegion],
        classes: Sequence[str],
        colours: Sequence[np.ndarray],
        stamp: int,
        before: Mapping[int, MaskRegion],
        wholes: Mapping[int, MaskRegion],
    ) -> Iterator[tuple[float, int, int]]:
        """(how well they go together, mask's position, id); what was seen goes before what is only remembered."""
        known_ids = list(before)
        near = _near(masks, list(before.values()))
        meet = _meet(masks, [wholes.get(id, before[id]) for id in known_ids])
        touch = _meet(masks, list(before.values()))
        differ = _differ(colours, [self._known[id].colours for id in known_ids])
        pairs = np.argwhere(meet | (near < LEAP))
        sure: tuple[set[int], set[int]] = set(), set()  # masks and objects that have nothing to choose from
        for j, k in pairs[np.argsort(near[tuple(pairs.T)], kind="stable")].tolist():
            if j in sure[0] or k in sure[1]:
                continue
            mask, id = masks[j], known_ids[k]
            known, visible = self._known[id], before[id]
            apart = differ[j, k]
            cost = OTHER_CLASS if known.class_id and classes[j] and known.class_id != classes[j] else 0.0
            seen = (visible.iou(mask) if touch[j, k] else 0.0) - cost
            if seen >= OVERLAP:
                yield 3.0 + seen - apart, j, id
                if seen - apart > SURE:
                    sure[0].add(j)
                    sure[1].add(k)
                continue
            if apart > RECOLOURED and _comparable(known.visible, mask):
                continue
            whole = wholes.get(id, visible)
            both = whole.overlap(mask) if meet[j, k] else 0
            inside = both / mask.area - cost
            if wholes and inside >= INSIDE:
                yield 1.0 + inside + both / (whole.area + mask.area - both) - apart, j, id
            elif near[j, k] < LEAP and not cost and stamp - known.stamp <= JUST_NOW:
                yield 1.0 - near[j, k] - apart, j, id

    def _whose_piece(
        self,
        mask: MaskRegion,
        name: str,
        colours: np.ndarray,
        present: Mapping[int, MaskRegion],
        before: Mapping[int, MaskRegion],
    ) -> int | None:
        """The object of this image that a mask was a part of in the image before.

        What comes in front of an object covers a part of it, too, but touches what is left; pieces that touched would
        be one mask. Pieces that lie further apart than they are large have come apart: they were two all the time.
        """
        for id in sorted(present.keys() & before.keys()):
            known = self._known[id]
            if name != known.class_id or before[id].overlap(mask) < PIECE * mask.area or _far(mask, present[id]):
                continue
            if hellinger(known.colours, colours) <= RECOLOURED and not mask.grow(1).overlap(present[id]):
                return id
        return None

    def _see(self, id: int, stamp: int, visible: MaskRegion, colours: np.ndarray, class_id: str, alone: bool) -> None:
        known = self._known.pop(id, None)
        if known is None:
            known = _Known(id, class_id, stamp, visible, visible, colours, np.zeros(2), (stamp, stamp))
        else:
            known.see(stamp, visible, colours, class_id, alone)
        self._known[id] = known  # at the end: the dict is in the order of when they were seen

    def _forget(self, now: int) -> None:
        horizon = now - int(FORGET_AFTER * 1e9)
        for known in list(self._known.values()):
            if known.stamp >= horizon and len(self._known) <= MOST:
                break
            del self._known[known.id]

    def _new(self, taken: Collection[int]) -> int:
        return next(number for number in self._numbers if number not in taken)


def _comparable(a: MaskRegion, b: MaskRegion) -> bool:
    """Whether two visible masks are large and alike enough for their colours to tell objects apart."""
    fewer, more = sorted((a.area, b.area))
    return fewer >= COLOURED and more <= COMPARABLE * fewer


def _differ(colours: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """`hellinger` of each histogram and each other one, float (colours, others)."""
    (a, b) = (np.sqrt(np.array(histograms, float).reshape(-1, 64)) for histograms in (colours, others))
    return np.sqrt(np.maximum(0.0, 1.0 - a @ b.T))


def _far(a: MaskRegion, b: MaskRegion) -> bool:
    """Whether the gap between two masks' boxes is wider than the larger box, or higher."""
    across = max(b.x - a.x - a.width, a.x - b.x - b.width)
    down = max(b.y - a.y - a.height, a.y - b.y - b.height)
    return across > max(a.width, b.width) or down > max(a.height, b.height)


def _meet(masks: Sequence[MaskRegion], others: Sequence[MaskRegion]) -> np.ndarray:
    """Which masks' boxes meet which others': bool (masks, others)."""
    (a, b) = (np.array([r.box for r in regions], int).reshape(-1, 4) for regions in (masks, others))
    begins = np.maximum(a[:, None, :2], b[None, :, :2])
    ends = np.minimum((a[:, :2] + a[:, 2:])[:, None], (b[:, :2] + b[:, 2:])[None])
    return (begins < ends).all(axis=2)


def _near(masks: Sequence[MaskRegion], others: Sequence[MaskRegion]) -> np.ndarray:
    """How far each mask's box lies from each other's, float (masks, others): the mean distance of their four sides in
    mean sizes; infinite where one is more than twice as large as the other."""
    (a, b) = (np.array([r.box for r in regions], float).reshape(-1, 4) for regions in (masks, others))
    sides = np.abs(a[:, None, :2] - b[None, :, :2]) + np.abs(
        (a[:, :2] + a[:, 2:])[:, None] - (b[:, :2] + b[:, 2:])[None]
    )
    size_a, size_b = np.sqrt(a[:, 2] * a[:, 3])[:, None], np.sqrt(b[:, 2] * b[:, 3])[None]
    apart = sides.sum(axis=2) / 4 / ((size_a + size_b) / 2)
    return np.where(np.maximum(size_a, size_b) > 2 * np.minimum(size_a, size_b), np.inf, apart)
