"""Where objects are, told from what is seen of them, from the bounded hull, and from the shipped model.

    PYTHONPATH=. ./env python -m benchmarks.obstacles streets [--scenes 40]
    PYTHONPATH=. ./env python -m benchmarks.obstacles kitti DRIVE
    PYTHONPATH=. ./env python -m benchmarks.obstacles time

streets: frozen test scenes, whose objects are known in 3D. kitti: a drive with 3D boxes. Both are about
labelled objects whose foot is hidden, at least `HIDDEN` rows of it; on KITTI the foot is the box's lowest corner, also
where nothing hides it and the car's body ends above it. time: 20 objects at 1242x375.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from amodal_ros.completion import AmodalPipeline
from amodal_ros.lab.datasets import streets
from amodal_ros.lab.datasets.street_world.camera import EYE_HEIGHT, Camera
from amodal_ros.scene import MaskRegion, Scene
from amodal_ros.space import (
    Ground,
    Obstacle,
    PinholeCamera,
    Rigid,
    Unplaced,
    all_with_depth,
    on_ground,
    thin,
    with_depth,
)
from amodal_ros.stream.obstacle_parameters import ObstacleParameters
from amodal_ros.stream.placing import View, place
from training.sources import drive_frames

#: Rows that must lack at the bottom of what is seen; visible pixels that an object must have; metres of a right point.
HIDDEN, LEAST, RIGHT = 4, 100, 0.3
#: The first scenes of the list served to find the rule for hidden feet; they are left out.
FOUND_ON = 40
#: Of KITTI's cameras above the road; boxes further apart than `OTHER` are other objects', metres.
KITTI_HEIGHT, OTHER = 1.65, 1.5
OBJECTS, ROUNDS = 20, 200

#: By kind of mask: the mask, and what is seen of what hides the object.
Answers = dict[str, tuple[MaskRegion, list[MaskRegion]]]


class Measured(NamedTuple):
    """One object, by one kind of mask; metres. Infinite where the mask tells no place."""

    contact: float
    width: float = np.nan
    position: float = np.nan
    right: float = np.nan
    false: float = np.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    on_streets = commands.add_parser("streets")
    on_streets.add_argument("--scenes", type=int, default=40)
    on_streets.set_defaults(run=lambda a: report(street_cases(a.scenes)))
    on_kitti = commands.add_parser("kitti")
    on_kitti.add_argument("drive", type=Path)
    on_kitti.set_defaults(run=lambda a: report_kitti(a.drive))
    commands.add_parser("time").set_defaults(run=lambda a: timing())
    arguments = parser.parse_args()
    arguments.run(arguments)


def street_cases(scenes: int) -> Iterator[dict[str, Measured]]:
    """Objects of the frozen scenes, placed by depth and on the ground."""
    street = Camera.for_size(*streets.KITTI_SIZE)
    camera = PinholeCamera(street.focal, street.focal, street.cx, street.cy, street.width, street.height)
    ground, pipeline = Ground.level(EYE_HEIGHT), AmodalPipeline.from_pretrained("embedded")
    for frame, _ in itertools.islice(streets.test_frames("test"), FOUND_ON, FOUND_ON + scenes):
        scene = Scene(frame.image, frame.instances())
        for i, thing in enumerate(scene.things):
            truth = frame.truth(thing.id)
            if not foot_is_hidden(thing.visible, truth.amodal, frame.shape):
                continue
            masks = {**answers(pipeline, scene, i, thing.visible), "true shape": (truth.amodal, [])}
            yield {
                name: against(truth, frame.depth, thing.visible, mask, ground, camera) for name, mask in masks.items()
            }


def against(
    truth: streets.StreetObject,
    depth: np.ndarray,
    visible: MaskRegion,
    known: tuple[MaskRegion, list[MaskRegion]],
    ground: Ground,
    camera: PinholeCamera,
) -> Measured:
    """A mask's place against the object's."""
    mask, hiding = known
    across, ahead = truth.footprint.T
    try:
        found = on_ground(visible, mask, ground, camera, hiding=hiding)
    except Unplaced:
        return Measured(np.inf, np.inf, np.inf)
    errors = [abs(found.distance - ahead.min()), abs(found.size[0] - np.ptp(across))]
    errors.append(abs(found.centre[0] - (across.min() + across.max()) / 2))
    try:
        solid = with_depth(visible, mask, depth, camera)
    except Unplaced:
        return Measured(*errors)
    hidden = solid.points[solid.hidden]
    if not len(hidden):
        return Measured(*errors)
    u, v = np.rint(camera.project(hidden)).astype(int).T
    x, y, width, height = truth.amodal.box
    inside = (u >= x) & (u < x + width) & (v >= y) & (v < y + height)
    surface = np.zeros(len(hidden))
    surface[inside] = truth.surface[v[inside] - y, u[inside] - x]
    right = (surface > 0) & (np.abs(hidden[:, 2] - surface) < RIGHT)
    return Measured(*errors, float(right.mean()), float((surface == 0).mean()))


def report_kitti(drive: Path) -> None:
    """Tables by what is known of the road, and for all objects and those that a labelled one can hide."""
    cases = list(kitti_cases(drive))
    for road in ("level road", "road through the other boxes"):
        for which, chosen in (
            ("all", cases),
            ("something labelled in front", [c for c in cases if c[0]]),
            ("nothing labelled in front", [c for c in cases if not c[0]]),
        ):
            print(f"\n{road}, {which}:")
            report(roads[road] for _, roads in chosen)


def kitti_cases(drive: Path) -> Iterator[tuple[bool, dict[str, dict[str, Measured]]]]:
    """Objects with a 3D box whose nearest corner on the road is hidden.

    Yields whether a labelled object can be in front, and measurements by what is known of the road.
    """
    p = np.array([row.split() for row in (drive / "calib.txt").read_text().splitlines() if row[0] != "#"][1:4], float)
    boxes, feet = {}, defaultdict(list)
    with (drive / "boxes3d.csv").open() as file:
        for row in csv.DictReader(file):
            feet[int(row["frame"])].append([float(row[axis]) for axis in "xyz"])
            if row["mots_id"]:
                boxes[int(row["frame"]), int(row["mots_id"])] = row
    pipeline, level = AmodalPipeline.from_pretrained("embedded"), Ground.level(KITTI_HEIGHT)
    for number, scene in enumerate(drive_frames(drive)):
        camera = PinholeCamera(p[0, 0], p[1, 1], p[0, 2], p[1, 2], scene.shape[1], scene.shape[0])
        near = np.array([*feet[number - 1], *feet[number], *feet[number + 1]])
        free = scene.replace(occluders="any")  # vans have no masks here, and hide
        for i, thing in enumerate(scene.things):
            box = boxes.get((number, thing.id))
            if box is None:
                continue
            corners = bottom(box)
            pixels = corners @ p[:, :3].T + p[:, 3]
            lowest = float((pixels[:, 1] / pixels[:, 2]).max())
            seen = thing.visible.trim()
            if seen.area < LEAST or not seen.y + seen.height + HIDDEN <= lowest < scene.shape[0] - 1:
                continue
            masks = answers(pipeline, scene, i, thing.visible)
            done = pipeline.complete(free, which=[i])[0]
            masks["ours, anything hides"] = done.amodal, masks["ours"][1]
            away = np.linalg.norm(near - [float(box[axis]) for axis in "xyz"], axis=1)
            grounds = {"level road": level, "road through the other boxes": road_through(near[away > OTHER])}
            yield (
                bool(scene.in_front_of(i)),
                {
                    road: {
                        name: Measured(distance_error(thing.visible, m, ground, camera, pixels))
                        for name, m in masks.items()
                    }
                    for road, ground in grounds.items()
                },
            )


def road_through(points: np.ndarray) -> Ground:
    """The plane nearest to points (n, 3) along y."""
    columns = np.column_stack([points[:, 0], points[:, 2], np.ones(len(points))])
    a, b, c = np.linalg.lstsq(columns, points[:, 1], rcond=None)[0]
    down = np.array([-a, 1.0, -b]) / np.linalg.norm([a, 1.0, b])
    return Ground(tuple(down.tolist()), float(c * down[1]))  # type: ignore[arg-type]


def distance_error(
    visible: MaskRegion,
    known: tuple[MaskRegion, list[MaskRegion]],
    ground: Ground,
    camera: PinholeCamera,
    corners: np.ndarray,
) -> float:
    """Metres from a mask's contact to the nearest of the true corners on the road."""
    mask, hiding = known
    try:
        found = on_ground(visible, mask, ground, camera, hiding=hiding)
    except Unplaced:
        return np.inf
    return abs(found.distance - float(corners[:, 2].min()))


def bottom(box: dict[str, str]) -> np.ndarray:
    """Corners of a box on the road, (4, 3)."""
    width, length, turn = (float(box[key]) for key in ("w", "l", "ry"))
    along, side = np.array([np.cos(turn), 0, -np.sin(turn)]), np.array([np.sin(turn), 0, np.cos(turn)])
    middle = np.array([float(box[axis]) for axis in "xyz"])
    return np.array([middle + a * length / 2 * along + b * width / 2 * side for a in (-1, 1) for b in (-1, 1)])


def answers(pipeline: AmodalPipeline, scene: Scene, i: int, visible: MaskRegion) -> Answers:
    """The kinds of masks that are compared."""
    (ours,) = pipeline.complete(scene, which=[i])
    return {
        "modal": (visible, []),
        "modal, between": (visible, [scene.masks[j] for j in scene.in_front_of(i)]),
        "bounded hull": (scene.bounded_hull(i), []),
        "ours, mask alone": (ours.amodal, []),
        "ours": (ours.amodal, [scene.masks[j] for j in scene.in_front_of(i)]),
    }


def foot_is_hidden(visible: MaskRegion, whole: MaskRegion, shape: tuple[int, int]) -> bool:
    seen, all_of_it = visible.trim(), whole.trim()
    foot = all_of_it.y + all_of_it.height
    return seen.area >= LEAST and seen.y + seen.height + HIDDEN <= foot < shape[0]


def report(cases: Iterator[dict[str, Measured]]) -> None:
    """A table of medians and 90th percentiles."""
    found: dict[str, list[Measured]] = defaultdict(list)
    for case in cases:
        for name, measured in case.items():
            found[name].append(measured)
    print(f"n = {len(found['modal'])} objects with a hidden foot; metres, median / p90")
    print(
        "| mask | contact distance | width | position | no place | hidden points right | false |\n" + "|---" * 7 + "|"
    )
    for name, measured in found.items():
        table = np.array(measured)
        spread = [
            f"{np.percentile(column, 50, method='lower'):.2f} / {np.percentile(column, 90, method='lower'):.2f}"
            for column in table[:, :3].T
        ]
        nowhere = np.isinf(table[:, 0]).sum()
        shares = [
            f"{np.nanmean(c):.2f} (n {np.isfinite(c).sum()})" if np.isfinite(c).any() else "" for c in table[:, 3:].T
        ]
        print(f"| {name} | {' | '.join(spread)} | {nowhere} | {' | '.join(shares)} |")


def timing() -> None:
    """Milliseconds for all objects of a frame: their surfaces in cubes; and all that the node does with an array."""
    street = Camera.for_size(*streets.KITTI_SIZE)
    camera = PinholeCamera(street.focal, street.focal, street.cx, street.cy, street.width, street.height)
    ground, frame = Ground.level(EYE_HEIGHT), streets.scene(streets.TEST_SEEDS[0], objects=30)
    things = [(o.visible, o.amodal) for o in frame.objects if o.visible.area >= LEAST][:OBJECTS]
    things = list(itertools.islice(itertools.cycle(things), OBJECTS))
    array = message_of(things)
    print(f"{OBJECTS} objects, {sum((a - v).area > 0 for v, a in things)} of them partly hidden, n {ROUNDS}")

    def standing() -> list[Obstacle]:
        return [on_ground(*fresh(thing), ground, camera) for thing in things]

    def by_depth() -> list[Obstacle]:
        objects = [(*fresh(thing), 0.5) for thing in things]
        return [one for one in all_with_depth(objects, frame.depth, camera) if isinstance(one, Obstacle)]

    ways: dict[str, Callable] = {
        "on the ground": lambda: thin(np.concatenate([one.points for one in standing()]), 0.1),
        "by depth": lambda: thin(np.concatenate([one.points for one in by_depth()]), 0.1),
    }
    for name, depth in (("on the ground", None), ("by depth", frame.depth)):
        view = View(camera, depth, lambda: ground, Rigid.identity())
        ways[f"message to cloud, {name}"] = partial(place, array, view, ObstacleParameters(camera_height=EYE_HEIGHT))
    for name, way in ways.items():
        seconds = []
        for _ in range(ROUNDS):
            began = time.thread_time()
            way()
            seconds.append(time.thread_time() - began)
        least, p50, p95 = 1e3 * np.percentile(seconds, [0, 50, 95])
        print(f"{name}: least {least:.1f} ms, p50 {p50:.1f} ms, p95 {p95:.1f} ms")


def fresh(masks: tuple[MaskRegion, MaskRegion]) -> list[MaskRegion]:
    """The same, without what they remember of themselves."""
    return [MaskRegion(mask.x, mask.y, mask.bits) for mask in masks]


def message_of(things: list[tuple[MaskRegion, MaskRegion]]) -> SimpleNamespace:
    """What of an AmodalInstanceArray is read; each object is hidden by the next two."""
    stamp = SimpleNamespace(sec=0, nanosec=0)

    def mask(region: MaskRegion) -> SimpleNamespace:
        return SimpleNamespace(x=region.x, y=region.y, width=region.width, height=region.height, data=region.pack())

    instances = [
        SimpleNamespace(
            id=i,
            class_id="car",
            visible=mask(visible),
            amodal=mask(amodal),
            possible=mask(amodal),
            inferred_at=stamp,
            expected_iou=0.9,
            occluders=[(i + k) % len(things) for k in (1, 2)],
            source=1,
        )
        for i, (visible, amodal) in enumerate(things)
    ]
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), instances=instances)


if __name__ == "__main__":
    main()
