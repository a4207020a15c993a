"""What is remembered of one tracked object: its best shapes, and what each is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from amodal_ros.live.motion import Similarity
from amodal_ros.live.outline import ShapeField
from amodal_ros.scene import MaskRegion, Scene, Source

#: Remembered shapes per track.
SHAPES = 3
#: A shape that explains less of the known pixels than this is not shown.
EXPLAINS = 0.6
#: A completion is expected to lose this times what the bounded hull loses. Whatever a shape is worth when it is made
#: falls with its age (per second) and with the change of the object's size (per doubling).
FRESH, AGEING, RESIZING = 0.55, 0.01, 0.05
#: A completion is shown where a view, or the bounded hull, is expected to be better by less than this.
PREFERENCE = 0.1


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
        self.hidden = self.moved & scene.feasible(i, self.moved.box)
        self.guessed = self.hidden.area / max(1, self.moved.area)
        self.score = scene.score(i, self.moved, self.hidden)

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
