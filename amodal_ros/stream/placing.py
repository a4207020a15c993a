"""Where the objects of an AmodalInstanceArray are: a message in, points and boxes out. Fields are read by name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from amodal_ros.messages import age, mask_to_region
from amodal_ros.scene.mask import MaskRegion
from amodal_ros.space import Ground, Obstacle, PinholeCamera, Rigid, Unplaced, body, on_ground, thin, with_depth
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
    seen = _Seen(array)
    placed: list[Placed] = []
    unplaced: Counter[str] = Counter()
    wanted = set(filter(None, parameters.classes))
    for instance in array.instances:
        if wanted and instance.class_id not in wanted:
            unplaced["class"] += 1
            continue
        try:
            one = _place(array, instance, seen, view, parameters)
        except BadInput as error:
            unplaced[error.reason] += 1
            note(error.reason, f"object {instance.id} is left out: {error}")
            continue
        if one.obstacle.distance > parameters.max_range:
            unplaced["range"] += 1
        else:
            placed.append(one)
    return _cloud(placed, unplaced, view.to_target, parameters)


class _Seen:
    """Visible masks of an array's objects, unpacked when they are asked for."""

    def __init__(self, array: Any) -> None:
        self._instances = {instance.id: instance for instance in array.instances}
        self._masks: dict[int, MaskRegion] = {}

    def of(self, ids: Iterable[int]) -> list[MaskRegion]:
        """Those of the objects of these ids that have a readable one."""
        for ident in ids:
            if ident in self._instances and ident not in self._masks:
                try:
                    self._masks[ident] = mask_to_region(self._instances[ident].visible)
                except ValueError:
                    self._masks[ident] = MaskRegion.empty()
        return [self._masks[ident] for ident in ids if ident in self._masks]


def _place(array: Any, instance: Any, seen: _Seen, view: View, parameters: ObstacleParameters) -> Placed:
    try:
        visible, amodal = mask_to_region(instance.visible), mask_to_region(instance.amodal)
        possible = mask_to_region(instance.possible)
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
    sizes = {
        "thickness": parameters.thickness_of(instance.class_id),
        "spacing": parameters.voxel_size or SPACING,
    }
    why = ""
    if view.depth is not None:
        try:
            return Placed(instance, with_depth(visible, amodal, view.depth, view.camera, **sizes), shape, seconds)
        except Unplaced as error:
            why = str(error)
    ground = view.ground()
    if ground is None:
        raise BadInput("no_depth", f"{why or 'it has no depth'}, and the ground is not known")
    try:
        hiding = seen.of(instance.occluders)
        standing = on_ground(visible, amodal, ground, view.camera, hiding=hiding, possible=possible, **sizes)
    except Unplaced as error:
        raise BadInput("above_horizon", str(error)) from None
    return Placed(instance, standing, shape, seconds)


def _cloud(placed: list[Placed], unplaced: Counter[str], to_target: Rigid, parameters: ObstacleParameters) -> Obstacles:
    spacing = parameters.voxel_size or SPACING
    inner = [body(one.obstacle, parameters.thickness_of(one.instance.class_id), spacing) for one in placed]
    counts = [len(one.obstacle.points) + len(more) for one, more in zip(placed, inner)]
    parts = [part for one, more in zip(placed, inner) for part in (one.obstacle.points, more)]
    covered = [part for one, more in zip(placed, inner) for part in (one.obstacle.hidden, np.ones(len(more), bool))]
    points = np.concatenate([np.empty((0, 3), np.float32), *parts])
    hidden = np.concatenate([np.empty(0, bool), *covered])
    ids = np.repeat(np.array([one.instance.id for one in placed], np.uint32), counts)
    sources = np.repeat(np.array([one.instance.source for one in placed], np.uint8), counts)
    near = np.isfinite(points).all(1) & ((points * points).sum(1) <= parameters.max_range**2)
    order = np.flatnonzero(near)[np.argsort(hidden[near], kind="stable")]  # seen points first
    points = to_target.apply(points[order])
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
