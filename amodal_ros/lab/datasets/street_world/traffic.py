"""A street over time: the camera drives, vehicles and people cross, come towards it and are passed by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from amodal_ros.lab.datasets.street_world import kinds, placement
from amodal_ros.lab.datasets.street_world.camera import Pose
from amodal_ros.lab.datasets.street_world.placement import CLOSEST, GAP, LEFT_TO_RIGHT, Street, Thing

CHECK_EVERY = 0.3  # seconds between looks for collisions
CAR = np.array(
    [(-1.2, -3.0), (-1.2, CLOSEST), (1.2, CLOSEST), (1.2, -3.0)]
)  # ground (X, Z) that the camera's own car needs


@dataclass(frozen=True)
class Drive:
    """The camera's way: straight ahead at `speed` (metres a second), swaying a little."""

    speed: float
    sway: float  # radians
    phase: float

    @staticmethod
    def drawn(rng: np.random.Generator) -> Drive:
        speed = rng.uniform(2.0, 8.0) if rng.random() < 0.8 else 0.0
        return Drive(speed, rng.uniform(0.0, 0.025), rng.uniform(0, 2 * np.pi))

    def at(self, seconds: float) -> Pose:
        """Where the camera is and looks after some seconds."""
        turn = 0.9 * seconds + self.phase
        return Pose(0.15 * np.sin(turn), self.speed * seconds, self.sway * np.sin(turn + 1.0) if self.speed else 0.0)


def furnish(street: Street, rng: np.random.Generator, objects: int, drive: Drive, seconds: float) -> None:
    """Place objects so that nothing collides for some seconds."""
    placers = (_crossing, _crossing, _parked, _oncoming, _walking, _walking, _standing, _standing, _leading)
    for attempt in range(20 * objects):
        if len(street.things) >= objects:
            return
        placer = placers[attempt % len(placers)]
        kind, pose, speed = placer(street, rng, drive, seconds)
        thing = Thing(len(street.things) + 1, kind, placement.new_seed(rng), pose, speed)
        if _has_room(street, thing, drive, seconds):
            street.things.append(thing)


def _has_room(street: Street, thing: Thing, drive: Drive, seconds: float) -> bool:
    for t in np.arange(0.0, seconds + CHECK_EVERY, CHECK_EVERY):
        eye = drive.at(t)
        mine = placement.footprint(thing.shape(), thing.at(t))
        if placement.gap(mine, CAR + np.array((eye.x, eye.z))) < GAP:
            return False
        if thing.speed == 0.0 and not street.backdrop.is_open(mine):
            return False
        for other in street.things:
            if placement.gap(mine, placement.footprint(other.shape(), other.at(t))) < GAP:
                return False
    return True


def _ahead(rng: np.random.Generator, drive: Drive, seconds: float, near: float, far: float) -> float:
    """A distance along the road that the camera will have in view at some time."""
    return drive.speed * seconds * rng.random() + rng.uniform(near, far)


def _vehicle(rng: np.random.Generator) -> str:
    return placement.drawn_kind(rng, list(kinds.VEHICLES))


def _crossing(street: Street, rng: np.random.Generator, drive: Drive, seconds: float) -> tuple[str, Pose, float]:
    """A vehicle on the crossing road: a lane each way, through the middle of the image at some time."""
    way, speed = rng.choice([-1, 1]), rng.uniform(3.0, 8.0)
    z = (street.backdrop.crossing or 0.0) + (2.2 if way < 0 else -2.2) + rng.uniform(-0.3, 0.3)
    return (
        _vehicle(rng),
        Pose(way * (rng.uniform(-6, 6) - speed * seconds * rng.random()), z, way * LEFT_TO_RIGHT),
        speed,
    )


def _parked(street: Street, rng: np.random.Generator, drive: Drive, seconds: float) -> tuple[str, Pose, float]:
    side = rng.choice([-1, 1])
    return (
        _vehicle(rng),
        Pose(side * (street.backdrop.road - 1.1), _ahead(rng, drive, seconds, 6, 30), 0.0 if side > 0 else np.pi),
        0.0,
    )


def _oncoming(street: Street, rng: np.random.Generator, drive: Drive, seconds: float) -> tuple[str, Pose, float]:
    return (
        _vehicle(rng),
        Pose(-3.4, _ahead(rng, drive, seconds, 15, 60), np.pi + rng.normal(0, 0.01)),
        rng.uniform(4.0, 10.0),
    )


def _leading(street: Street, rng: np.random.Generator, drive: Drive, seconds: float) -> tuple[str, Pose, float]:
    return _vehicle(rng), Pose(0.0, rng.uniform(10, 25), 0.0), drive.speed + rng.uniform(0.0, 1.5)


def _walking(street: Street, rng: np.random.Generator, drive: Drive, seconds: float) -> tuple[str, Pose, float]:
    """Across the road or along the pavement."""
    road, pavement = street.backdrop.road, street.backdrop.pavement
    kind = placement.drawn_kind(rng, list(kinds.WALKERS))
    speed = rng.uniform(0.8, 1.7) if kind == "pedestrian" else rng.uniform(2.5, 5.0)
    if rng.random() < 0.6:
        way = rng.choice([-1, 1])
        x = way * (rng.uniform(-road, road) - speed * seconds * rng.random())
        return kind, Pose(x, _ahead(rng, drive, seconds, 7, 22), way * LEFT_TO_RIGHT + rng.normal(0, 0.15)), speed
    x = rng.choice([-1, 1]) * rng.uniform(road + 0.4, road + pavement - 0.3)
    return kind, Pose(x, _ahead(rng, drive, seconds, 6, 25), rng.choice([0.0, np.pi])), speed


def _standing(street: Street, rng: np.random.Generator, drive: Drive, seconds: float) -> tuple[str, Pose, float]:
    road, kind = street.backdrop.road, placement.drawn_kind(rng, list(kinds.FURNITURE))
    x = rng.choice([-1, 1]) * rng.uniform(road - 2.0, road + street.backdrop.pavement)
    return (
        kind,
        Pose(x, _ahead(rng, drive, seconds, 5, 20), rng.choice([0.0, np.pi, LEFT_TO_RIGHT]) + rng.normal(0, 0.1)),
        0.0,
    )
