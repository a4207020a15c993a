"""What is remembered: per track the best shapes, each moved along with its object from image to image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from amodal_ros.live.motion import Flow, Similarity, box_step, flow_step
from amodal_ros.live.outline import ShapeField, fit_outline, hiding, lies_on, own_outline
from amodal_ros.scene.frame import Completion, Frame, Source
from amodal_ros.scene.mask import MaskRegion
from amodal_ros.scene.occluders import Surroundings

#: Remembered shapes per track.
SHAPES = 3
#: A shape that explains less of the known pixels than this is not shown; after so many frames it is forgotten.
EXPLAINS, STRIKES = 0.6, 3
#: A step that lets the best shape explain so much needs no alternative.
WELL_EXPLAINED = 0.9
#: What a shape is worth when it is made, in expected IoU: 1 less this times the share of the visible boundary that
#: occluders drew, for a completion and for a bounded hull (on street sequences the hull's loss follows that share
#: closely: 0.62 times it where things alone are labelled, 0.50 where all is). Later it falls with its age (per second)
#: and with the change of the object's size (per doubling).
GUESS, HULL_GUESS, AGEING, RESIZING = 0.3, 0.55, 0.01, 0.05
#: An id names another object when its colours change by more than this between two images (Hellinger distance; on
#: street sequences 0.1 % of the same objects' changes and 92 % of the differences between objects are above it). Asked
#: of masks with so many pixels, and where neither has more than so many times the other's: else they show other parts.
RECOLOURED, COLOURED, COMPARABLE = 0.35, 200, 2.0
#: ... or when it leaps by more than this many of its sizes within 100 ms.
LEAP = 1.0


@dataclass(eq=False)
class Shape:
    """One remembered shape of a track: a completion, or what geometry made of a good view.

    Attributes:
        stamp: time of the image it rests on, nanoseconds.
        source: INFERRED for a completion; UNOCCLUDED or GEOMETRIC for a view.
        amodal: the whole object in that image.
        worth: its expected IoU with the truth when it was made, in [0, 1].
        score: how well it explains the known pixels of the latest image, in [0, 1].
        pose: from that image to the latest one.
        agreement: among the completion's samples, NaN if one was drawn.
        moved: `amodal` moved to the latest image, neither cut nor united with what is visible there.
    """

    stamp: int
    source: Source
    amodal: MaskRegion
    worth: float
    score: float = 1.0
    pose: Similarity = field(default_factory=Similarity)
    moved: MaskRegion = field(default_factory=MaskRegion.empty)
    agreement: float = math.nan
    fitted: bool = False
    strikes: int = 0

    @cached_property
    def distances(self) -> ShapeField:
        """Computed only for shapes that are fitted to an outline."""
        return ShapeField(self.amodal)

    @property
    def nbytes(self) -> int:
        return self.amodal.bits.nbytes + self.moved.bits.nbytes + ShapeField.MOST_BYTES

    def value(self, now: int) -> float:
        """Expected IoU with the truth at `now` nanoseconds: the one figure by which shapes are compared."""
        return self.aged_worth(now) - self.worth * (1.0 - self.score)

    def aged_worth(self, now: int) -> float:
        """The same whether or not the shape explains the latest image."""
        age = max(0, now - self.stamp) / 1e9
        return self.worth - AGEING * age - RESIZING * abs(math.log2(self.pose.scale))


@dataclass(eq=False)
class Request:
    """A completion under way: `pose` leads from the image that the model got to the latest one; `cut` was then."""

    track: Track
    stamp: int
    cut: float
    pose: Similarity = field(default_factory=Similarity)


@dataclass(eq=False)
class Track:
    """One tracked object: what it looked like last, and its remembered shapes.

    Attributes:
        first_stamp, stamp: when it was first and last seen, nanoseconds.
        visible: its visible mask when last seen.
        colours: its colours then (`colour_histogram`).
        frame: number of the frame in which it was last seen.
        step: how it moved between its last two images, which were `interval` nanoseconds apart.
        cut: share of its boundary that occluders or the frame's edge drew, in [0, 1].
        asked: stamp of the last image on which the model was asked about it.
    """

    id: int
    first_stamp: int
    stamp: int = 0
    visible: MaskRegion = field(default_factory=MaskRegion.empty)
    colours: np.ndarray = field(default_factory=lambda: np.zeros(64, np.float32))
    frame: int = 0
    step: Similarity = field(default_factory=Similarity)
    interval: int = 100_000_000
    cut: float = 0.0
    asked: int | None = None
    shapes: list[Shape] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def remembers(self) -> bool:
        """Whether anything moves along with it."""
        return bool(self.shapes or self.requests)

    def leader(self) -> Shape | None:
        """The shape that is best known, whether or not it explains the latest image."""
        return max(self.shapes, key=lambda s: s.value(self.stamp), default=None)

    def best(self) -> Shape | None:
        """The shape to show in the latest image, if one explains it."""
        shown = [s for s in self.shapes if s.moved.area and s.score >= EXPLAINS]
        return max(shown, key=lambda s: s.value(self.stamp), default=None)

    def add(self, shape: Shape) -> None:
        self.shapes.append(shape)
        if len(self.shapes) > SHAPES:
            self.shapes.remove(min(self.shapes[:-1], key=lambda s: s.value(self.stamp)))

    def move(self, step: Similarity) -> None:
        for shape in self.shapes:
            shape.pose = shape.pose.then(step)
        for request in self.requests:
            request.pose = request.pose.then(step)
        self.shapes = [s for s in self.shapes if s.pose.is_plausible()]
        self.requests = [r for r in self.requests if r.pose.is_plausible()]

    @property
    def nbytes(self) -> int:
        return self.visible.bits.nbytes + sum(s.nbytes for s in self.shapes)


@dataclass(eq=False)
class Sighting:
    """One instance in a new image: its visible mask, what can hide it, its colours."""

    stamp: int
    visible: MaskRegion
    hidden: MaskRegion
    colours: np.ndarray

    @classmethod
    def of(cls, frame: Frame, surroundings: Surroundings, i: int) -> Sighting:
        visible = surroundings.masks[i]
        return cls(frame.stamp, visible, hiding(surroundings, i), colour_histogram(frame.image, visible))


class Tracks:
    """The memory of a stream: bounded in tracks and bytes whatever the input does.

    Args:
        forget_after: tracks unseen for longer are forgotten (seconds).
        max_tracks: the longest unseen go first. It bounds the time of an answer too: of a frame's objects so many are
            followed, the largest; the others are answered by geometry.
        max_bytes: of masks; the longest unseen go first.
    """

    def __init__(self, forget_after: float = 3.0, max_tracks: int = 64, max_bytes: int = 64 << 20) -> None:
        self.forget_after, self.max_tracks, self.max_bytes = forget_after, max_tracks, max_bytes
        self.jumps = 0  #: how often an id turned out to be another object
        self.clear()

    def clear(self) -> None:
        self._tracks: dict[int, Track] = {}
        self._flow = Flow()
        self._frame = 0

    def __len__(self) -> int:
        return len(self._tracks)

    def get(self, instance_id: int) -> Track | None:
        return self._tracks.get(instance_id)

    @property
    def nbytes(self) -> int:
        return sum(track.nbytes for track in self._tracks.values())

    # --- a new image --------------------------------------------------------------------------------------

    def observe(self, frame: Frame, surroundings: Surroundings, geometric: Sequence[Completion]) -> None:
        """Moves everything remembered to this frame, judges it there, and remembers views that are better.

        Args:
            frame: the next image.
            surroundings: of its instances' masks, in their order.
            geometric: what geometry alone answers for them (`Surroundings.geometric`).
        """
        before, self._frame = self._frame, self._frame + 1
        by_size = sorted(range(len(geometric)), key=lambda i: -surroundings.masks[i].area)
        followed = [i for i in by_size[: self.max_tracks] if surroundings.masks[i].area]
        known = [self._tracks.get(frame.instances[i].id) for i in followed]
        # Corners can only be followed from the image just before this one, and only matter where something moves along.
        traced = [
            track.visible if track and track.frame == before and track.remembers else MaskRegion.empty()
            for track in known
        ]
        for i, track, corners in zip(followed, known, self._flow.follow(frame.image, traced)):
            instance = frame.instances[i]
            seen = Sighting.of(frame, surroundings, i)
            if track is not None and _is_another(track, seen):
                track = None
                self.jumps += 1
            if track is None:
                track = Track(instance.id, frame.stamp)
            elif track.remembers:
                step = _step(track, seen, corners, surroundings, i)
                track.move(step)
                if frame.stamp > track.stamp:
                    track.step, track.interval = step, frame.stamp - track.stamp
            track.stamp, track.frame = frame.stamp, self._frame
            track.visible, track.colours = seen.visible, seen.colours
            # Re-inserting keeps the dict ordered by when tracks were last seen.
            self._tracks.pop(instance.id, None)
            self._tracks[instance.id] = track
            outline, cut = own_outline(seen.visible, seen.hidden, frame.shape)
            if track.shapes and geometric[i].source is not Source.UNOCCLUDED:
                _fit(track, surroundings, i, outline, cut)
            track.cut = len(cut) / (len(outline) + len(cut))
            _remember_view(track, geometric[i], surroundings.mode == "instances")
        self._forget(frame.stamp)

    def _forget(self, now: int) -> None:
        horizon = now - int(self.forget_after * 1e9)
        for track in list(self._tracks.values()):
            if track.stamp >= horizon and len(self._tracks) <= self.max_tracks:
                break
            del self._tracks[track.id]
        excess = self.nbytes - self.max_bytes
        for track in list(self._tracks.values()):
            if excess <= 0:
                break
            excess -= track.nbytes
            del self._tracks[track.id]

    # --- a completion ---------------------------------------------------------------------------------------

    def request(self, instance_id: int) -> Request:
        """Notes that the model gets the latest image of this track.

        Raises:
            KeyError: nothing is known of this instance.
        """
        track = self._tracks[instance_id]
        track.asked = track.stamp
        request = Request(track, track.stamp, track.cut)
        track.requests.append(request)
        return request

    def settle(self, request: Request, completion: Completion | None) -> None:
        """Remembers what came of a request: nothing when it failed or its object is no longer followed."""
        track = request.track
        if request not in track.requests:
            return
        track.requests.remove(request)
        if completion is None or completion.source is not Source.INFERRED or self.get(track.id) is not track:
            return
        amodal = completion.amodal
        worth = 1.0 - GUESS * request.cut
        shape = Shape(request.stamp, completion.source, amodal, worth, completion.score, request.pose)
        shape.agreement = completion.agreement
        if request.stamp == track.stamp:
            shape.moved = amodal
        # On an image that has passed it waits for the next one, where it is moved and judged.
        track.add(shape)


def _remember_view(track: Track, geometric: Completion, hull: bool) -> None:
    """Keeps what geometry makes of this image, unless an earlier view is still known better.

    Where anything may hide the object (`hull` is False) the bounded hull is mere hull; the visible mask says more.
    """
    worth = 1.0 - HULL_GUESS * track.cut
    # A better view that does not explain this image may be right again in the next one: the strikes decide.
    better = [s for s in track.shapes if s.source is not Source.INFERRED and s.aged_worth(track.stamp) > worth]
    if any(s.value(track.stamp) > worth for s in better):
        return
    track.shapes = [s for s in track.shapes if s.source is Source.INFERRED or s in better]
    amodal = geometric.amodal if hull else geometric.visible
    track.add(Shape(track.stamp, geometric.source, amodal, worth, moved=amodal))


def _fit(track: Track, surroundings: Surroundings, i: int, outline: np.ndarray, cut: np.ndarray) -> None:
    """Moves a track's shapes onto the outline of mask i and scores them by its known pixels."""
    leader = track.leader()
    for shape in track.shapes:
        if shape is leader or not shape.fitted:
            fitted = fit_outline(shape.distances, shape.pose, outline, cut)
            if shape is leader:  # what the outline says about this step holds for every shape of the track
                track.move(shape.pose.inverse().then(fitted))
            shape.pose, shape.fitted = fitted, True
    for shape in track.shapes:
        shape.moved = shape.pose.mask(shape.amodal, surroundings.frame_shape)
    feasible = surroundings.feasible(i, MaskRegion.union_of(s.moved for s in track.shapes).box)
    for shape in track.shapes:
        shape.score = surroundings.score(i, shape.moved, feasible)
        shape.strikes = shape.strikes + 1 if shape.score < EXPLAINS else 0
    track.shapes = [s for s in track.shapes if s.strikes < STRIKES]


def _is_another(track: Track, seen: Sighting) -> bool:
    """Whether an id names another object than before."""
    fewer, more = sorted((track.visible.area, seen.visible.area))
    comparable = fewer >= COLOURED and more <= COMPARABLE * fewer
    if comparable and _hellinger(track.colours, seen.colours) > RECOLOURED:
        return True
    # Visible parts of a half hidden object can lie far from each other, but not further than the object is large.
    size = max(max(m.width, m.height) for m in (track.visible, seen.visible, *(s.moved for s in track.shapes)))
    leap = box_step(track.visible, seen.visible)
    return math.hypot(leap.dx, leap.dy) > LEAP * size * max(1.0, (seen.stamp - track.stamp) / 1e8)


def _step(
    track: Track, seen: Sighting, corners: tuple[np.ndarray, np.ndarray], surroundings: Surroundings, i: int
) -> Similarity:
    """How a track moved to mask i: as its corners did, as its box did, or as it did before, whichever explains best."""
    start, end = corners
    on_object = lies_on(seen.visible, end)
    step = flow_step(start[on_object], end[on_object])
    leader = track.leader()
    if leader is None:
        return step or box_step(track.visible, seen.visible)

    def explained(step: Similarity) -> float:
        return surroundings.score(i, leader.pose.then(step).mask(leader.amodal, surroundings.frame_shape))

    if step is not None and explained(step) > WELL_EXPLAINED:
        return step
    as_before = track.step.repeated((seen.stamp - track.stamp) / track.interval)
    others = [box_step(track.visible, seen.visible), *([as_before] if as_before.is_plausible() else [])]
    return max([step, *others] if step else others, key=explained)


def colour_histogram(image: np.ndarray, mask: MaskRegion) -> np.ndarray:
    """Joint histogram of a mask's colours, 4 levels per channel, float32 (64,) with sum 1."""
    stride = max(1, math.isqrt(mask.bits.size // 4096))
    bits = mask.bits[::stride, ::stride]
    crop = image[mask.y : mask.y + mask.height : stride, mask.x : mask.x + mask.width : stride]
    levels = (crop[bits] >> 6).astype(np.int64) @ (16, 4, 1)
    counts = np.bincount(levels, minlength=64).astype(np.float32)
    return counts / max(1.0, counts.sum())


def _hellinger(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two histograms, in [0, 1]."""
    return math.sqrt(max(0.0, 1.0 - float(np.sqrt(a * b).sum())))
