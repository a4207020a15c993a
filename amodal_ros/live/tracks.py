"""What is remembered: per track the best shapes, each moved along with its object from image to image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

from amodal_ros.live.motion import Flow, Similarity, box_step, flow_step
from amodal_ros.live.outline import ShapeField, fit_outline, hiding, lies_on, own_outline
from amodal_ros.scene import Completion, MaskRegion, Scene, Source

#: Remembered shapes per track.
SHAPES = 3
#: A shape that explains less of the known pixels than this is not shown; after so many frames it is forgotten.
EXPLAINS, STRIKES = 0.6, 3
#: A step that lets the best shape explain so much needs no alternative.
WELL_EXPLAINED = 0.9
#: A completion is expected to lose this times what the bounded hull loses. Whatever a shape is worth when it is made
#: falls with its age (per second) and with the change of the object's size (per doubling).
FRESH, AGEING, RESIZING = 0.55, 0.01, 0.05
#: A completion is shown where a view, or the bounded hull, is expected to be better by less than this.
PREFERENCE = 0.1
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
        guessed: share of it that can be hidden there, in [0, 1].
        pose: from that image to the latest one.
        agreement: among the completion's samples, NaN if one was drawn.
        estimates_outside: whether it says how far the object goes on outside the frame.
        moved: `amodal` moved to the latest image, neither cut nor united with what is visible there.
        hidden: the part of `moved` that can be hidden there.
    """

    stamp: int
    source: Source
    amodal: MaskRegion
    worth: float
    score: float = 1.0
    guessed: float = 1.0
    pose: Similarity = field(default_factory=Similarity)
    moved: MaskRegion = field(default_factory=MaskRegion.empty)
    hidden: MaskRegion = field(default_factory=MaskRegion.empty)
    agreement: float = math.nan
    estimates_outside: bool = True
    fitted: bool = False
    strikes: int = 0

    @cached_property
    def distances(self) -> ShapeField:
        """Computed only for shapes that are fitted to an outline."""
        return ShapeField(self.amodal)

    @property
    def nbytes(self) -> int:
        masks = self.amodal, self.moved, self.hidden
        return sum(mask.bits.nbytes for mask in masks) + ShapeField.MOST_BYTES

    def place(self, pose: Similarity, scene: Scene, i: int) -> None:
        """Moves the shape to where mask i is now and judges it there."""
        self.pose = pose
        self.moved = pose.mask(self.amodal, scene.shape)
        feasible = scene.feasible(i, self.moved.box)
        self.hidden = self.moved & feasible
        self.guessed = self.hidden.area / max(1, self.moved.area)
        self.score = scene.score(i, self.moved, feasible)

    def value(self, now: int) -> float:
        """Expected IoU with the truth at `now` nanoseconds: the one figure by which shapes are compared.

        What it leaves unexplained of the known pixels counts for the part that is guessed: the rest of the answer is
        the visible mask as it is.
        """
        return self.aged_worth(now) - self.worth * (1.0 - self.score) * self.guessed

    def aged_worth(self, now: int) -> float:
        """The same whether or not the shape explains the latest image."""
        age = max(0, now - self.stamp) / 1e9
        return self.worth - AGEING * age - RESIZING * abs(math.log2(self.pose.scale))


@dataclass(eq=False)
class Request:
    """A completion under way: `pose` leads from the image that the model got to the latest one; `worth`, `geometric`:
    see Track."""

    track: Track
    stamp: int
    worth: float
    geometric: float
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
        geometric: the IoU that the geometric answer for its latest image can expect.
        asked: stamp of the last image on which the model was asked about it.
        preference: see Tracks.
    """

    id: int
    first_stamp: int
    stamp: int = 0
    visible: MaskRegion = field(default_factory=MaskRegion.empty)
    colours: np.ndarray = field(default_factory=lambda: np.zeros(64, np.float32))
    frame: int = 0
    step: Similarity = field(default_factory=Similarity)
    interval: int = 100_000_000
    geometric: float = 1.0
    asked: int | None = None
    preference: float = PREFERENCE
    shapes: list[Shape] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    @property
    def worth_of_asking(self) -> float:
        """The IoU that a completion of its latest image can expect, before it is made."""
        return 1.0 - FRESH * (1.0 - self.geometric)

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
        ahead = self.preference
        return max(shown, key=lambda s: s.value(self.stamp) + ahead * (s.source is Source.INFERRED), default=None)

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
    """One instance in a new image.

    Attributes:
        outline: its own outline, float (n, 2).
        cut: the boundary that an occluder or the frame's edge draws, float (m, 2).
        corners: where corners of its previous visible mask were and where those that still lie on it are now.
    """

    stamp: int
    visible: MaskRegion
    colours: np.ndarray
    outline: np.ndarray
    cut: np.ndarray
    corners: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, scene: Scene, i: int, corners: tuple[np.ndarray, np.ndarray]) -> Sighting:
        visible = scene.masks[i]
        outline, cut = own_outline(visible, hiding(scene, i), scene.shape)
        on_object = lies_on(visible, corners[1])
        followed = corners[0][on_object], corners[1][on_object]
        return cls(scene.stamp, visible, colour_histogram(scene.image, visible), outline, cut, followed)


class Tracks:
    """The memory of a stream: bounded in tracks and bytes whatever the input does.

    Args:
        forget_after: tracks unseen for longer are forgotten (seconds).
        max_tracks: the longest unseen go first. It bounds the time of an answer too: of a frame's objects so many are
            followed, the largest; the others are answered by geometry.
        max_bytes: of masks; the longest unseen go first.
        preference: a completion is shown where a view is expected to be better by less than this IoU.
    """

    def __init__(
        self,
        forget_after: float = 3.0,
        max_tracks: int = 64,
        max_bytes: int = 64 << 20,
        preference: float = PREFERENCE,
    ) -> None:
        self.forget_after, self.max_tracks, self.max_bytes = forget_after, max_tracks, max_bytes
        self.preference = preference
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

    def observe(self, scene: Scene) -> None:
        """Moves everything remembered to this image, judges it there, and remembers views that are better."""
        self._forget(scene.stamp)  # before matching: what was unseen for longer is not believed when it comes back
        before, self._frame = self._frame, self._frame + 1
        by_size = sorted(range(len(scene.things)), key=lambda i: -scene.masks[i].area)
        followed = [i for i in by_size[: self.max_tracks] if scene.masks[i].area]
        known = [self._tracks.get(scene.things[i].id) for i in followed]
        # Corners can only be followed from the image just before this one, and only matter where something moves along.
        traced = [
            track.visible if track and track.frame == before and track.remembers else MaskRegion.empty()
            for track in known
        ]
        for i, track, corners in zip(followed, known, self._flow.follow(scene.image, traced)):
            instance_id = scene.things[i].id
            seen = Sighting.of(scene, i, corners)
            if track is not None and _is_another(track, seen):
                track = None
                self.jumps += 1
            track = track or Track(instance_id, scene.stamp, scene.stamp, seen.visible, preference=self.preference)
            _follow(track, seen, scene, i)
            _remember_view(track, scene.geometric(i), scene.occluders in ("instances", "depth"))
            # Re-inserting keeps the dict ordered by when tracks were last seen.
            self._tracks.pop(instance_id, None)
            self._tracks[instance_id] = track
            track.frame = self._frame
        self._forget(scene.stamp)

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
        request = Request(track, track.stamp, track.worth_of_asking, track.geometric)
        track.requests.append(request)
        return request

    def settle(self, request: Request, completion: Completion | None) -> None:
        """Remembers what came of a request with the track that it was made for: nothing when it failed."""
        track = request.track
        if request not in track.requests:
            return
        track.requests.remove(request)
        if completion is None or completion.source is not Source.INFERRED:
            return
        amodal, worth = completion.amodal, request.worth
        if not math.isnan(completion.expected_iou):
            # The judge had the bounded hull to choose from (`completion.judge`) and says how much better the answer is.
            # That counts from what geometry thinks of its hull: of two regressions only differences compare.
            gain = max(0.0, completion.expected_iou - completion.hull_iou)  # 0 where the hull's is not known
            worth = min(1.0, max(completion.expected_iou, request.geometric + gain))
        shape = Shape(request.stamp, completion.source, amodal, worth, pose=request.pose)
        shape.agreement, shape.estimates_outside = completion.agreement, completion.estimates_outside
        if request.stamp == track.stamp:
            shape.moved = shape.hidden = amodal
        # On an image that has passed it waits for the next one, where it is moved and judged.
        track.add(shape)


def _remember_view(track: Track, geometric: Completion, hull: bool) -> None:
    """Keeps what geometry makes of this image, unless an earlier view is still known better.

    Where anything may hide the object (`hull` is False) the bounded hull is mere hull; the visible mask says more.
    """
    worth = track.geometric = geometric.expected_iou
    # A better view that does not explain this image may be right again in the next one: the strikes decide.
    better = [s for s in track.shapes if s.source is not Source.INFERRED and s.aged_worth(track.stamp) > worth]
    if any(s.value(track.stamp) > worth for s in better):
        return
    track.shapes = [s for s in track.shapes if s.source is Source.INFERRED or s in better]
    amodal = geometric.amodal if hull else geometric.visible
    shape = Shape(track.stamp, geometric.source, amodal, worth, moved=amodal, hidden=amodal)
    shape.estimates_outside = geometric.estimates_outside
    track.add(shape)


def _follow(track: Track, seen: Sighting, scene: Scene, i: int) -> None:
    """Moves a track to where it is seen now, as mask i, and judges its shapes there."""
    leader = track.leader()
    if leader is None or scene.unoccluded(i):  # nothing to be judged
        step = next(_steps(track, seen))
    else:
        step = leader.pose.inverse().then(_best_pose(leader, track, seen, scene, i))
    if seen.stamp > track.stamp:
        track.step, track.interval = step, seen.stamp - track.stamp
    track.move(step)
    track.stamp, track.visible, track.colours = seen.stamp, seen.visible, seen.colours
    if scene.unoccluded(i):
        return
    for shape in track.shapes:
        if not shape.fitted and shape is not leader:
            shape.pose = fit_outline(shape.distances, shape.pose, seen.outline, seen.cut)
        shape.fitted = True
        if shape is not leader:
            shape.place(shape.pose, scene, i)
        shape.strikes = shape.strikes + 1 if shape.score < EXPLAINS else 0
    track.shapes = [s for s in track.shapes if s.strikes < STRIKES]


def _best_pose(leader: Shape, track: Track, seen: Sighting, scene: Scene, i: int) -> Similarity:
    """The first step that, fitted to the outline, explains the object well, or else the one that explains it best."""
    before, tried = leader.pose, []
    for step in _steps(track, seen):
        pose = fit_outline(leader.distances, before.then(step), seen.outline, seen.cut)
        leader.place(pose, scene, i)
        tried.append((leader.score, pose))
        if leader.score > WELL_EXPLAINED:
            break
    score, pose = max(tried, key=lambda t: t[0])
    if score > leader.score:
        leader.place(pose, scene, i)
    leader.pose = before
    return pose


def _steps(track: Track, seen: Sighting) -> Iterator[Similarity]:
    """How a track may have moved: as its corners did, as its box did, or as it did before."""
    by_corners = flow_step(*seen.corners)
    if by_corners is not None:
        yield by_corners
    yield box_step(track.visible, seen.visible)
    as_before = track.step.repeated((seen.stamp - track.stamp) / track.interval)
    if as_before.is_plausible():
        yield as_before


def _is_another(track: Track, seen: Sighting) -> bool:
    """Whether an id names another object than before."""
    fewer, more = sorted((track.visible.area, seen.visible.area))
    comparable = fewer >= COLOURED and more <= COMPARABLE * fewer
    if comparable and hellinger(track.colours, seen.colours) > RECOLOURED:
        return True
    # Visible parts of a half hidden object can lie far from each other, but not further than the object is large.
    size = max(max(m.width, m.height) for m in (track.visible, seen.visible, *(s.moved for s in track.shapes)))
    leap = box_step(track.visible, seen.visible)
    return math.hypot(leap.dx, leap.dy) > LEAP * size * max(1.0, (seen.stamp - track.stamp) / 1e8)


def colour_histogram(image: np.ndarray, mask: MaskRegion) -> np.ndarray:
    """Joint histogram of a mask's colours, 4 levels per channel, float32 (64,) with sum 1."""
    stride = max(1, math.isqrt(mask.bits.size // 2048))
    inside = np.ascontiguousarray(mask.bits[::stride, ::stride]).view(np.uint8)
    crop = image[mask.y : mask.y + mask.height : stride, mask.x : mask.x + mask.width : stride]
    counts = cv2.calcHist([np.ascontiguousarray(crop)], [0, 1, 2], inside, [4, 4, 4], [0, 256] * 3).reshape(-1)
    return counts / max(1.0, counts.sum())


def hellinger(a: np.ndarray, b: np.ndarray) -> float:
    """Distance of two histograms, in [0, 1]."""
    return math.sqrt(max(0.0, 1.0 - float(np.sqrt(a * b).sum())))
