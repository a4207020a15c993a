"""Who stands where on a street, how everything moves, and who is in front of whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from amodal_ros.lab.datasets.street_world import kinds
from amodal_ros.lab.datasets.street_world.backdrop import Backdrop
from amodal_ros.lab.datasets.street_world.camera import Camera, Pose
from amodal_ros.lab.datasets.street_world.people import STRIDE
from amodal_ros.lab.datasets.street_world.render import Sensor, Sun
from amodal_ros.lab.datasets.street_world.shape import Shape

CLOSEST = 3.2  # metres from the camera to the nearest point of any object
SHARED_BACKDROPS = 128  # surroundings that training crops share: building one takes longer than drawing a crop
GAP = 0.25  # metres left between footprints
LEFT_TO_RIGHT = np.pi / 2


@dataclass(frozen=True)
class Thing:
    """An object in the world: pose at time 0 and speed (metres a second) along its heading."""

    id: int
    kind: str
    seed: int
    pose: Pose
    speed: float = 0.0

    def at(self, seconds: float) -> Pose:
        """Where it is after some seconds."""
        way = self.speed * seconds
        return Pose(self.pose.x + way * np.sin(self.pose.yaw), self.pose.z + way * np.cos(self.pose.yaw), self.pose.yaw)

    def shape(self, seconds: float = 0.0) -> Shape:
        """What it looks like after some seconds."""
        if self.kind not in kinds.MOVING_LEGS or not self.speed:
            return kinds.build(self.kind, self.seed)
        return kinds.build(self.kind, self.seed, 2 * np.pi * self.speed * seconds / STRIDE + self.seed % 7)


@dataclass
class Street:
    """Everything about one scene."""

    backdrop: Backdrop
    sun: Sun
    sensor: Sensor
    things: list[Thing] = field(default_factory=list)

    def add(self, kind: str, seed: int, pose: Pose, speed: float = 0.0, eye: Pose | None = None) -> Thing | None:
        """Put an object where there is room for it; None where there is none or it is too close to the camera."""
        shape = kinds.build(kind, seed)
        mine = footprint(shape, pose)
        if not self.backdrop.is_open(mine):
            return None
        if (footprint(shape, pose.seen_from(eye or Pose()))[:, 1]).min() < CLOSEST:
            return None
        for other in self.things:
            if (
                np.hypot(other.pose.x - pose.x, other.pose.z - pose.z) < 15
                and gap(mine, footprint(other.shape(), other.pose)) < GAP
            ):
                return None
        self.things.append(Thing(len(self.things) + 1, kind, seed, pose, speed))
        return self.things[-1]


def drawn_light(rng: np.random.Generator) -> Sun:
    """A sun somewhere behind or beside the camera, or an overcast sky."""
    bearing, length = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 1.3)
    return Sun(length * np.sin(bearing), length * np.cos(bearing), rng.uniform(0.15, 0.5))


@lru_cache(maxsize=SHARED_BACKDROPS)
def shared_backdrop(key: int) -> Backdrop:
    """One of the surroundings that training crops share."""
    return Backdrop(np.random.Generator(np.random.PCG64([key, 11])), unseen=False)


# --- filling a street -----------------------------------------------------------------------------------------


def furnish(street: Street, rng: np.random.Generator, objects: int, unseen: bool) -> None:
    """Vehicles on the road and parked, people, street furniture, and then something in front of some of them."""
    vehicles, people, hiders = kind_names(unseen)
    hiding = max(1, int(objects * rng.uniform(0.3, 0.45)))
    for _ in range(6 * objects):
        if len(street.things) >= objects - hiding:
            break
        group = rng.random()
        names = vehicles if group < 0.62 else people if group < 0.84 else hiders
        kind = drawn_kind(rng, names)
        pose = drawn_pose(rng, street.backdrop, kind in hiders, kind in people)
        street.add(kind, new_seed(rng), pose)
    for _ in range(8 * hiding):
        if len(street.things) >= objects:
            break
        hide_one(street, rng, street.things[int(rng.integers(len(street.things)))] if street.things else None, unseen)


def kind_names(unseen: bool) -> tuple[list[str], list[str], list[str]]:
    """Names of (vehicles, people, what hides unlabelled)."""
    if unseen:
        return list(kinds.UNSEEN_VEHICLES), list(kinds.UNSEEN_WALKERS), list(kinds.UNSEEN_FURNITURE)
    return list(kinds.VEHICLES), list(kinds.WALKERS), list(kinds.FURNITURE)


def drawn_kind(rng: np.random.Generator, names: list[str]) -> str:
    """One of the names; among vehicles, most are cars."""
    if names[0] == "car" and rng.random() < 0.62:
        return "car"
    return names[int(rng.integers(len(names)))]


def new_seed(rng: np.random.Generator) -> int:
    return int(rng.integers(1 << 31))


def drawn_pose(rng: np.random.Generator, backdrop: Backdrop, standing: bool, walking: bool) -> Pose:
    """A usual place for a vehicle, somebody walking, or something standing."""
    road, edge = backdrop.road, backdrop.road + backdrop.pavement
    far = 4.0 + 44.0 * rng.random() ** 1.4
    side = 1 if rng.random() < 0.5 else -1
    wobble = rng.normal(0, 0.03)
    if standing:
        if rng.random() < 0.75:
            return Pose(
                side * rng.uniform(road + 0.2, edge),
                far,
                rng.choice([0.0, np.pi, LEFT_TO_RIGHT, -LEFT_TO_RIGHT]) + rng.normal(0, 0.2),
            )
        return Pose(rng.uniform(-edge, edge), far, rng.uniform(0, 2 * np.pi))
    if walking:
        if rng.random() < 0.5:
            return Pose(side * rng.uniform(road, edge), far, rng.choice([0.0, np.pi]) + rng.normal(0, 0.3))
        return Pose(rng.uniform(-road, road), far, rng.choice([-1, 1]) * LEFT_TO_RIGHT + rng.normal(0, 0.5))
    slot = rng.random()
    if slot < 0.30:  # parked along the kerb
        return Pose(side * (road - 1.1), far, (0.0 if side > 0 or rng.random() < 0.3 else np.pi) + wobble)
    if slot < 0.42:  # ahead in our lane, or oncoming
        return (
            Pose(rng.uniform(-0.3, 0.3), far + 8, wobble) if rng.random() < 0.5 else Pose(-3.4, far + 3, np.pi + wobble)
        )
    if slot < 0.74:  # crossing
        z = (
            backdrop.crossing + rng.uniform(-3.5, 3.5)
            if backdrop.crossing is not None and rng.random() < 0.6
            else far + 2
        )
        return Pose(
            rng.uniform(-1.0, 1.0) * (5 + z * 0.7), z, rng.choice([-1, 1]) * LEFT_TO_RIGHT + rng.normal(0, 0.08)
        )
    return Pose(
        rng.uniform(-1.0, 1.0) * min(2.5 + far * 0.5, edge - 1.5), far + 2, rng.uniform(0, 2 * np.pi)
    )  # turning or parked askew


def hide_one(
    street: Street, rng: np.random.Generator, target: Thing | None, unseen: bool, eye: Pose | None = None
) -> Thing | None:
    """Put something between the camera and one end of an object."""
    if target is None:
        return None
    vehicles, people, hiders = kind_names(unseen)
    group = rng.random()
    kind = drawn_kind(rng, vehicles) if group < 0.36 else drawn_kind(rng, people if group < 0.56 else hiders)
    shape = kinds.build(target.kind, target.seed)
    corners = footprint(shape, target.pose)
    bearing = corners[:, 0] / np.maximum(corners[:, 1], 1.0)
    end = rng.beta(0.6, 0.6)  # more often near one of the ends than across the middle
    aim = bearing.min() + end * (bearing.max() - bearing.min()) + rng.normal(0, 0.01)
    z = target.pose.z * rng.uniform(0.35, 0.92)
    yaw = (
        rng.uniform(0, 2 * np.pi)
        if rng.random() < 0.4
        else rng.choice([0.0, np.pi, LEFT_TO_RIGHT, -LEFT_TO_RIGHT]) + rng.normal(0, 0.1)
    )
    if kind in hiders and abs(aim * z) < 1.3:
        return None  # our own lane stays free of posts
    mine = kinds.build(kind, seed := new_seed(rng))
    lean = (end - 0.5) * (mine.length if abs(np.sin(yaw)) > 0.7 else mine.width)  # so that it reaches over the end only
    return street.add(kind, seed, Pose(aim * z + lean * rng.uniform(0.2, 1.0), z, yaw))


# --- crops for training -------------------------------------------------------------------------------------


def furnish_crop(street: Street, rng: np.random.Generator, alone: bool) -> Thing:
    """One object first, then its neighbours: one or two that may hide it and one or two that it may hide."""
    vehicles, people, hiders = kind_names(unseen=False)
    group = rng.random()
    kind = drawn_kind(rng, vehicles if group < 0.68 else people if group < 0.93 else hiders)
    seed, target = new_seed(rng), None
    while target is None:
        pose = drawn_pose(rng, street.backdrop, kind in hiders, kind in people)
        if abs(pose.x) < 0.85 * pose.z:  # in sight
            target = street.add(kind, seed, pose)
    if alone:
        return target
    for _ in range(int(rng.integers(0, 3))):
        hide_one(street, rng, target, unseen=False)
    for _ in range(int(rng.integers(0, 3))):  # beside and behind
        kind = drawn_kind(rng, (vehicles, people, hiders)[int(rng.integers(3))])
        z = target.pose.z * rng.uniform(1.0, 1.5) + rng.uniform(0, 4)
        place = target.pose.x * z / target.pose.z + rng.normal(0, 2.5)
        street.add(kind, new_seed(rng), Pose(place, z, rng.choice([0.0, 0.5, 1.0, 1.5]) * np.pi + rng.normal(0, 0.2)))
    return target


def crop_window(rng: np.random.Generator, target: Thing, eye: Pose, resolution: int) -> Camera:
    """A square around an object with a margin, some way off its middle."""
    shape, pose = target.shape(), target.pose.seen_from(eye)
    camera = Camera.for_size(375, 1242)
    x, z = shape.length / 2, shape.width / 2
    corners = np.array([(a, y, b) for a in (-x, x) for y in (0, shape.height) for b in (-z, z)])
    pixels = camera.project(pose.to_parent(corners))
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if rng.random() < 0.75:  # most crops are cut around what the frame shows
        size = (camera.width, camera.height)
        shown = np.clip(low, 0, size), np.clip(high, 0, size)
        low, high = shown if (shown[1] - shown[0]).min() > 8 else (low, high)
    side = (high - low).max() * rng.uniform(1.1, 2.2)
    middle = (low + high) / 2 + rng.normal(0, 0.1, 2) * side
    return camera.window(middle[0] - side / 2, middle[1] - side / 2, side, resolution)


# --- who is in front ------------------------------------------------------------------------------------------


def footprint(shape: Shape, pose: Pose) -> np.ndarray:
    """Corners of the ground rectangle, (4, 2) as (X, Z)."""
    x, z = shape.length / 2, shape.width / 2
    return pose.to_parent(np.array([(-x, 0, -z), (-x, 0, z), (x, 0, z), (x, 0, -z)]))[:, [0, 2]]


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """How far two rectangles are apart along the best separating edge; negative when they overlap."""
    return max(_apart(a, b).max(), _apart(b, a).max())


def _edges(corners: np.ndarray) -> np.ndarray:
    along = corners[[1, 2]] - corners[[0, 1]]
    return along / np.linalg.norm(along, axis=1, keepdims=True)


def _apart(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    axes = _edges(a)
    mine, theirs = a @ axes.T, b @ axes.T
    return np.maximum(theirs.min(axis=0) - mine.max(axis=0), mine.min(axis=0) - theirs.max(axis=0))


def back_to_front(corners: list[np.ndarray]) -> list[int]:
    """An order in which no object is drawn over one that is nearer: corners (4, 2) are in camera axes.

    Two disjoint rectangles are separated by the line of an edge; the one on the camera's side of that line is in front.
    Where the line leaves it open, or the answers go round in a circle, the distance decides.
    """
    n = len(corners)
    if n < 2:
        return list(range(n))
    stack = np.stack(corners)  # (object, corner, X and Z)
    along = stack[:, [1, 2]] - stack[:, [0, 1]]
    axes = along / np.linalg.norm(along, axis=2, keepdims=True)
    spans = np.einsum("mcd,nad->nmac", stack, axes)  # every object m along both edges a of every n
    low, high = spans.min(axis=3), spans.max(axis=3)
    own = np.arange(n)
    start, stop = low[own, own][:, None], high[own, own][:, None]
    after, before = low >= stop, high <= start
    # The camera is the origin, at 0 along every axis: m lies beyond n's edge, with the camera on n's side or on m's.
    beyond = (after & (stop >= 0)) | (before & (start <= 0))
    nearer = (after & (stop < 0)) | (before & (start > 0))
    behind = beyond.any(axis=2) | nearer.any(axis=2).T  # behind[n, m]: m is behind n
    bearing = stack[:, :, 0] / np.maximum(stack[:, :, 1], 0.1)
    left, right = bearing.min(axis=1), bearing.max(axis=1)
    behind &= (left[:, None] <= right[None, :]) & (left[None, :] <= right[:, None])
    distance = np.linalg.norm(stack.mean(axis=1), axis=1)
    both = behind & behind.T
    behind &= ~both | (distance[None, :] > distance[:, None])
    np.fill_diagonal(behind, False)
    order, waiting = [], list(range(n))
    while waiting:
        free = [m for m in waiting if not behind[m, waiting].any()] or waiting
        order.append(max(free, key=lambda m: distance[m]))
        waiting.remove(order[-1])
    return order
