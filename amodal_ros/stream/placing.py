"""Where the objects of an AmodalInstanceArray are: a message in, points and boxes out. Fields are read by name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from amodal_ros.messages import age, mask_to_region
from amodal_ros.scene.mask import MaskRegion
from amodal_ros.space import Ground, Obstacle, PinholeCamera, Rigid, Unplaced, all_with_depth, body, on_ground, thin
from amodal_ros.stream.images import BadInput
from amodal_ros.stream.obstacle_parameters import ObstacleParameters

#: Objects that are left out for these reasons were not wanted; any other reason is a fault.
UNWANTED = frozenset({"class", "range"})
#: Points are spaced so where the cubes' size is not given (metres).
SPACING = 0.1


@dataclass(frozen=True)
class View:
    """What one array's objects are placed by.

    Attributes:
        depth: float32 (height, width) in metres, of the masks' pixels; None without.
        ground: called when an object needs it; None where it is not known.
        to_target: from the camera's optical frame to the outputs'.
    """

    camera: PinholeCamera
    depth: np.ndarray | None
    ground: Callable[[], Ground | None]
    to_target: Rigid


@dataclass(frozen=True)
class Placed:
    """One object of an array.

    Attributes:
        instance: its message.
        obstacle: in the camera's optical frame.
        shape: what of its shape was used: ``"amodal"``; or only what is seen, because the shape is ``"old"`` or
            ``"uncertain"``.
        age: of the shape, seconds.
    """

    instance: Any
    obstacle: Obstacle
    shape: str
    age: float


@dataclass(frozen=True)
class Obstacles:
    """All objects of one array.

    Attributes:
        points: float32 (n, 3) in the target frame, metres.
        hidden: bool (n,), also of what lies inside an object behind its surface; where a seen and a hidden point share
            a cube, the seen one stays.
        ids, sources: of the points' objects, uint32 and uint8 (n,).
        placed: objects that have a place within range.
        unplaced: the others' number by reason.
    """

    points: np.ndarray
    hidden: np.ndarray
    ids: np.ndarray
    sources: np.ndarray
    placed: list[Placed]
    unplaced: Counter[str]


def place(
    array: Any, view: View, parameters: ObstacleParameters, note: Callable[[str, str], None] = lambda *_: None
) -> Obstacles:
    """Place the objects of an ``amodal_ros/msg/AmodalInstanceArray``. One that cannot be placed takes no other with it.

    Args:
        note: called with (reason, line) for each object that could not be placed.
    """
    unplaced: Counter[str] = Counter()
    asked: list[_Asked] = []
    placed: list[Placed] = []
    seen, classes = _Seen(array), set(filter(None, parameters.classes))
    spacing = parameters.voxel_size or SPACING

    def miss(instance: Any, error: BadInput) -> None:
        unplaced[error.reason] += 1
        note(error.reason, f"object {instance.id} is left out: {error}")

    for instance in array.instances:
        if classes and instance.class_id not in classes:
            unplaced["class"] += 1
            continue
        try:
            asked.append(_asked(array, instance, seen, parameters))
        except BadInput as error:
            miss(instance, error)
    if view.depth is None:
        looks: list[Obstacle | Unplaced] = [Unplaced("it has no depth")] * len(asked)
    else:
        objects = [(one.visible, one.amodal, one.thickness) for one in asked]
        looks = all_with_depth(objects, view.depth, view.camera, spacing=spacing)
    for one, look in zip(asked, looks):
        try:
            found = look if isinstance(look, Obstacle) else _standing(one, str(look), seen, view, spacing)
        except BadInput as error:
            miss(one.instance, error)
            continue
        if found.distance > parameters.max_range:
            unplaced["range"] += 1
        else:
            placed.append(Placed(one.instance, found, one.shape, one.age))
    return _cloud(placed, unplaced, view.to_target, parameters)


class _Seen:
    """Visible masks of an array's objects, unpacked once and when they are asked for."""

    def __init__(self, array: Any) -> None:
        self._instances = {instance.id: instance for instance in array.instances}
        self._masks: dict[int, MaskRegion] = {}

    def __getitem__(self, ident: int) -> MaskRegion:
        """Raises ValueError: it cannot be read; KeyError: there is no such object."""
        if ident not in self._masks:
            self._masks[ident] = mask_to_region(self._instances[ident].visible)
        return self._masks[ident]

    def of(self, ids: Iterable[int]) -> list[MaskRegion]:
        """Those of the objects of these ids that have a readable one."""
        found = []
        for ident in ids:
            with suppress(ValueError, KeyError):
                found.append(self[ident])
        return found


@dataclass(frozen=True)
class _Asked:
    """A wanted object and what of its masks is used; `shape`, `age` as in `Placed`."""

    instance: Any
    visible: MaskRegion
    amodal: MaskRegion
    thickness: float
    shape: str
    age: float


def _asked(array: Any, instance: Any, seen: _Seen, parameters: ObstacleParameters) -> _Asked:
    try:
        visible, amodal = seen[instance.id], mask_to_region(instance.amodal)
    except ValueError as error:
        raise BadInput("bad_mask", str(error)) from None
    if not visible.area:
        raise BadInput("bad_mask", "nothing of it is visible")
    seconds, expected = age(array, instance), instance.expected_iou
    shape = "amodal"
    if seconds > parameters.max_age:
        shape = "old"
    elif parameters.min_expected_iou and not expected >= parameters.min_expected_iou:  # NaN is not
        shape = "uncertain"
    if shape != "amodal" or not amodal.area:
        amodal = visible
    return _Asked(instance, visible, amodal, parameters.thickness_of(instance.class_id), shape, seconds)


def _standing(one: _Asked, why: str, seen: _Seen, view: View, spacing: float) -> Obstacle:
    """On the ground, because depth will not do."""
    ground = view.ground()
    if ground is None:
        raise BadInput("no_depth", f"{why}, and the ground is not known")
    try:
        possible = mask_to_region(one.instance.possible)
    except ValueError as error:
        raise BadInput("bad_mask", str(error)) from None
    try:
        return on_ground(
            one.visible,
            one.amodal,
            ground,
            view.camera,
            hiding=seen.of(one.instance.occluders),
            possible=possible,
            thickness=one.thickness,
            spacing=spacing,
        )
    except Unplaced as error:
        raise BadInput("above_horizon", str(error)) from None


def _cloud(placed: list[Placed], unplaced: Counter[str], to_target: Rigid, parameters: ObstacleParameters) -> Obstacles:
    spacing = parameters.voxel_size or SPACING
    inner = [body(one.obstacle, parameters.thickness_of(one.instance.class_id), spacing) for one in placed]
    counts = [len(one.obstacle.points) + len(more) for one, more in zip(placed, inner)]
    parts = [part.T for one, more in zip(placed, inner) for part in (one.obstacle.points, more)]
    covered = [part for one, more in zip(placed, inner) for part in (one.obstacle.hidden, np.ones(len(more), bool))]
    points = np.concatenate([np.empty((3, 0), np.float32), *parts], axis=1)  # by axis, which is faster to work with
    hidden = np.concatenate([np.empty(0, bool), *covered])
    ids = np.repeat(np.array([one.instance.id for one in placed], np.uint32), counts)
    sources = np.repeat(np.array([one.instance.source for one in placed], np.uint8), counts)
    near = (points * points).sum(0) <= parameters.max_range**2  # NaN is not
    order = np.concatenate([np.flatnonzero(near & ~hidden), np.flatnonzero(near & hidden)])  # seen points first
    points = to_target.apply(points.take(order, axis=1).T)
    kept = thin(points, parameters.voxel_size)
    order = order[kept]
    return Obstacles(points[kept], hidden[order], ids[order], sources[order], placed, unplaced)


def described(one: Placed) -> str:
    """An object in words, for people."""
    instance, obstacle = one.instance, one.obstacle
    share = instance.occlusion_ratio
    hidden = "? hidden" if math.isnan(share) else f"{share:.0%} hidden"
    words = [
        f"{instance.class_id or 'object'} {instance.id}: {hidden}, {obstacle.distance:.1f} m "
        f"({obstacle.near:.1f} to {obstacle.far:.1f})",
        f"shape {one.age:.1f} s old" if one.age > 0 else "",
        f"{one.shape} shape not used" if one.shape != "amodal" else "",
        "cut by the image" if obstacle.truncated else "",
    ]
    return ", ".join(filter(None, words))
