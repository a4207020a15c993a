"""Tracks moved to where their objects are in a new image, all of them at once: each has little to compute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from amodal_ros.live.colours import COLOURED, COMPARABLE, RECOLOURED, colour_histogram, hellinger
from amodal_ros.live.motion import Matches, Similarity, box_step, flow_steps
from amodal_ros.live.outline import Fit, fit_outlines, hiding, lies_on, own_outline
from amodal_ros.live.track import EXPLAINS, Shape, Track
from amodal_ros.scene import MaskRegion, Scene

#: A shape that explains too little of so many images in a row is forgotten.
STRIKES = 3
#: A step that lets the best shape explain so much needs no alternative.
WELL_EXPLAINED = 0.9
#: An id names another object when it leaps by more than this many of its sizes within 100 ms.
LEAP = 1.0


@dataclass(eq=False)
class Sighting:
    """One object in a new image.

    Attributes:
        i: its position in the scene.
        corners: where corners of its previous visible mask were and where those that still lie on it are now.
        colours: its colours (`colour_histogram`).
    """

    scene: Scene
    i: int
    corners: Matches
    colours: np.ndarray

    @classmethod
    def of(cls, scene: Scene, i: int, corners: Matches) -> Sighting:
        on_object = lies_on(scene.masks[i], corners[1])
        followed = corners[0][on_object], corners[1][on_object]
        return cls(scene, i, followed, colour_histogram(scene.image, scene.masks[i]))

    @property
    def visible(self) -> MaskRegion:
        return self.scene.masks[self.i]

    @cached_property
    def outline(self) -> tuple[np.ndarray, np.ndarray]:
        """Its own outline, and the boundary that others draw (`own_outline`). Where nothing hides it nobody asks."""
        return own_outline(self.visible, hiding(self.scene, self.i), self.scene.shape)


@dataclass(eq=False)
class Trial:
    """The shape that tells how a track moved, tried at one place after another.

    Attributes:
        leader: the track's best known shape.
        before: its pose in the image before.
        pose: where it explains the object best of what was tried, with this score.
    """

    leader: Shape
    before: Similarity
    pose: Similarity = field(default_factory=Similarity)
    score: float = -1.0


@dataclass(eq=False)
class Meeting:
    """A track and what is seen of its object in a new image.

    Attributes:
        steps: how it may have moved, the likeliest first.
        trial: None where nothing hides the object or nothing is remembered: then there is nothing to be judged.
    """

    track: Track
    seen: Sighting
    steps: list[Similarity] = field(default_factory=list)
    trial: Trial | None = None

    def fit(self, shape: Shape, pose: Similarity) -> Fit:
        return Fit(shape.distances, pose, *self.seen.outline)


def follow(meetings: Sequence[Meeting], scene: Scene) -> None:
    """Moves tracks to where they are seen in this scene and judges their shapes there."""
    for meeting, by_corners in zip(meetings, flow_steps([meeting.seen.corners for meeting in meetings])):
        meeting.steps = _steps(meeting.track, meeting.seen, by_corners)
        leader = None if scene.unoccluded(meeting.seen.i) else meeting.track.leader()
        if leader is not None:
            meeting.trial = Trial(leader, leader.pose)
    _try([(meeting, meeting.trial) for meeting in meetings if meeting.trial], scene)
    for meeting in meetings:
        track, seen, trial = meeting.track, meeting.seen, meeting.trial
        step = meeting.steps[0] if trial is None else trial.before.inverse().then(trial.pose)
        if scene.stamp > track.stamp:
            track.step, track.interval = step, scene.stamp - track.stamp
        track.move(step)
        track.stamp, track.visible, track.colours = scene.stamp, seen.visible, seen.colours
    _judge([meeting for meeting in meetings if not scene.unoccluded(meeting.seen.i)], scene)


def _try(trials: Sequence[tuple[Meeting, Trial]], scene: Scene) -> None:
    """Places each leader where the first step, fitted to the outline, lets it explain the object well.

    Where none does it is placed where it explains the object best. Its pose stays: the track is yet to be moved.
    """
    # All steps are fitted, though often the first one does: one call costs less than a second one would.
    tried = [(meeting, trial, trial.before.then(step)) for meeting, trial in trials for step in meeting.steps]
    for (meeting, trial, _), pose in zip(tried, fit_outlines([m.fit(t.leader, pose) for m, t, pose in tried])):
        if trial.score <= WELL_EXPLAINED:
            trial.leader.place(pose, scene, meeting.seen.i)
            if trial.leader.score > trial.score:
                trial.pose, trial.score = pose, trial.leader.score
    for meeting, trial in trials:
        if trial.score > trial.leader.score:
            trial.leader.place(trial.pose, scene, meeting.seen.i)
        trial.leader.pose = trial.before


def _judge(meetings: Sequence[Meeting], scene: Scene) -> None:
    """Places all other shapes, and forgets those that explain too little for long."""
    others = [(m, shape) for m in meetings for shape in m.track.shapes if not (m.trial and shape is m.trial.leader)]
    new = [(m, shape) for m, shape in others if not shape.fitted]
    for (_, shape), pose in zip(new, fit_outlines([m.fit(shape, shape.pose) for m, shape in new])):
        shape.pose = pose
    for meeting, shape in others:
        shape.place(shape.pose, scene, meeting.seen.i)
    for meeting in meetings:
        for shape in meeting.track.shapes:
            shape.fitted = True
            shape.strikes = shape.strikes + 1 if shape.score < EXPLAINS else 0
        meeting.track.shapes = [shape for shape in meeting.track.shapes if shape.strikes < STRIKES]


def _steps(track: Track, seen: Sighting, by_corners: Similarity | None) -> list[Similarity]:
    """How a track may have moved: as its corners did, as its box did, or as it did before."""
    as_before = track.step.repeated((seen.scene.stamp - track.stamp) / track.interval)
    steps = [by_corners, box_step(track.visible, seen.visible), as_before if as_before.is_plausible() else None]
    return [step for step in steps if step is not None]


def is_another(track: Track, seen: Sighting) -> bool:
    """Whether an id names another object than before."""
    fewer, more = sorted((track.visible.area, seen.visible.area))
    comparable = fewer >= COLOURED and more <= COMPARABLE * fewer
    if comparable and hellinger(track.colours, seen.colours) > RECOLOURED:
        return True
    # Visible parts of a half hidden object can lie far from each other, but not further than the object is large.
    size = max(max(m.width, m.height) for m in (track.visible, seen.visible, *(s.moved for s in track.shapes)))
    leap = box_step(track.visible, seen.visible)
    return math.hypot(leap.dx, leap.dy) > LEAP * size * max(1.0, (seen.scene.stamp - track.stamp) / 1e8)
