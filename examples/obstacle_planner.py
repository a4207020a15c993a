"""A planner that would have crashed: paths through a costmap of what is seen, and of whole objects.

A demonstration, not a planner to use: Dijkstra's shortest path on a grid, round every obstacle point with a margin.
Two staged streets: a person who steps out behind a parked car, whose legs nobody sees, and a car half behind a bus.

    python examples/obstacle_planner.py [--out clearances.png]
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from amodal_ros.completion import AmodalPipeline
from amodal_ros.lab.datasets import streets
from amodal_ros.lab.datasets.street_world.camera import EYE_HEIGHT, Camera
from amodal_ros.scene import Instance, MaskRegion, Scene
from amodal_ros.space import Ground, PinholeCamera, Unplaced, body, on_ground

#: Metres: the robot's radius, what is kept clear beside that, the costmap's cells and bounds (x to the right, z ahead).
ROBOT, MARGIN, CELL = 0.5, 0.5, 0.1
LEFT, RIGHT, NEAR, FAR = -7.0, 7.0, 2.0, 24.0
#: How far such a thing goes on behind what is seen of it: the parameter class_thickness of amodal_obstacles.
THICKNESS = {"car": 1.8, "bus": 2.6, "pedestrian": 0.5}
#: An object, its visible and its whole mask, and what is seen of what hides it.
Known = tuple[Instance, MaskRegion, MaskRegion, list[MaskRegion]]


@dataclass(frozen=True)
class Scenario:
    """A staged street.

    Attributes:
        things: as in `streets.staged`.
        goal: (x, z) where the robot wants to go.
    """

    name: str
    seed: int
    things: tuple[tuple[str, float, float, float], ...]
    goal: tuple[float, float]


QUARTER = np.pi / 2
SCENARIOS = (
    Scenario(
        "a person behind a parked car",
        1,
        (("car", 1.6, 8.5, -QUARTER), ("pedestrian", 0.0, 11.0, -QUARTER)),
        (2.5, 14.5),
    ),
    Scenario(
        "a car half behind a bus",
        2,
        (("bus", -4.5, 10.0, QUARTER), ("car", 1.4, 14.5, QUARTER)),
        (-1.0, 20.0),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("clearances.png"))
    arguments = parser.parse_args()
    pipeline = AmodalPipeline.from_pretrained("embedded")
    rows = []
    for scenario in SCENARIOS:
        frame, masks = survey(scenario, pipeline)
        paths = {kind: plan(obstacles(frame, chosen), scenario.goal) for kind, chosen in masks.items()}
        for kind, path in paths.items():
            gap = clearance(path, frame)
            print(f"{scenario.name}, {kind} masks: {gap:+.2f} m between robot and objects" + " CRASH" * (gap < 0))
        rows.append(picture(frame, masks, paths))
    cv2.imwrite(str(arguments.out), cv2.cvtColor(np.vstack(rows), cv2.COLOR_RGB2BGR))


def survey(scenario: Scenario, pipeline: AmodalPipeline) -> tuple[streets.StreetFrame, dict[str, list[Known]]]:
    """The street, and for ``"modal"`` and ``"amodal"`` what is known of its objects."""
    frame = streets.staged(scenario.seed, scenario.things)
    scene = Scene(frame.image, frame.instances())
    return frame, {
        "modal": [(thing, thing.visible, thing.visible, []) for thing in scene.things],
        "amodal": [
            (thing, done.visible, done.amodal, [scene.masks[j] for j in scene.in_front_of(i)])
            for i, (thing, done) in enumerate(zip(scene.things, pipeline.complete(scene)))
        ],
    }


def obstacles(frame: streets.StreetFrame, masks: Sequence[Known]) -> np.ndarray:
    """(x, z) of all points that stand on the road, (n, 2)."""
    street = Camera.for_size(*frame.shape)
    camera = PinholeCamera(street.focal, street.focal, street.cx, street.cy, street.width, street.height)
    found = [np.empty((0, 2))]
    for thing, visible, whole, hiding in masks:
        try:
            placed = on_ground(visible, whole, Ground.level(EYE_HEIGHT), camera, hiding=hiding)
        except Unplaced:
            continue
        inner = body(placed, THICKNESS[thing.class_id], CELL)
        found += [placed.points[:, [0, 2]], inner[:, [0, 2]]]
    return np.concatenate(found)


def plan(points: np.ndarray, goal: tuple[float, float]) -> np.ndarray:
    """The shortest path from the camera that keeps `ROBOT` + `MARGIN` from every point: (n, 2) as (x, z).

    Raises:
        ValueError: there is none.
    """
    shape = round((FAR - NEAR) / CELL), round((RIGHT - LEFT) / CELL)
    free = np.full(shape, 255, np.uint8)
    rows, columns = (
        np.floor((points[:, 1] - NEAR) / CELL).astype(int),
        np.floor((points[:, 0] - LEFT) / CELL).astype(int),
    )
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    free[rows[inside], columns[inside]] = 0
    open_cells = cv2.distanceTransform(free, cv2.DIST_L2, 5) * CELL > ROBOT + MARGIN
    start, end = _cell(0.0, NEAR + CELL), _cell(*goal)
    best, before, front = {start: 0.0}, {}, [(0.0, start)]
    steps = [(i, j) for i in range(-2, 3) for j in range(-2, 3) if i or j]
    while front:
        cost, cell = heapq.heappop(front)
        if cell == end:
            cells = [cell]
            while cells[-1] != start:
                cells.append(before[cells[-1]])
            return np.array([(LEFT + (c + 0.5) * CELL, NEAR + (r + 0.5) * CELL) for r, c in reversed(cells)])
        for down, across in steps:
            there = cell[0] + down, cell[1] + across
            if 0 <= there[0] < shape[0] and 0 <= there[1] < shape[1] and open_cells[there]:
                reached = cost + float(np.hypot(down, across))
                if reached < best.get(there, np.inf):
                    best[there], before[there] = reached, cell
                    heapq.heappush(front, (reached, there))
    raise ValueError(f"no path to {goal}")


def _cell(x: float, z: float) -> tuple[int, int]:
    return int((z - NEAR) / CELL), int((x - LEFT) / CELL)


def clearance(path: np.ndarray, frame: streets.StreetFrame) -> float:
    """Least distance of the robot's rim from any object's true footprint, metres; negative: it hits one."""
    return (
        min(
            -cv2.pointPolygonTest(thing.footprint.astype(np.float32).reshape(-1, 1, 2), (float(x), float(z)), True)
            for thing in frame.objects
            for x, z in path
        )
        - ROBOT
    )


def picture(frame: streets.StreetFrame, masks: dict, paths: dict[str, np.ndarray]) -> np.ndarray:
    """The image, and from above each path with its obstacles (red) and the true objects (grey): RGB uint8."""
    scale = 13
    height = round(scale * (FAR - NEAR))
    panels = []
    for kind, path in paths.items():
        panel = np.full((height, round(scale * (RIGHT - LEFT)), 3), 245, np.uint8)

        def pixels(points: np.ndarray) -> np.ndarray:
            return np.rint(np.stack([(points[:, 0] - LEFT), (FAR - points[:, 1])], 1) * scale).astype(np.int32)

        for thing in frame.objects:
            cv2.fillPoly(panel, [cv2.convexHull(pixels(thing.footprint))], (190, 190, 195), cv2.LINE_AA)
        for x, y in pixels(obstacles(frame, masks[kind])):
            cv2.circle(panel, (int(x), int(y)), 2, (200, 30, 40), -1)
        gap = clearance(path, frame)
        colour = (20, 130, 60) if gap > 0 else (220, 90, 0)
        cv2.polylines(panel, [pixels(path)], False, colour, 3, cv2.LINE_AA)
        cv2.putText(panel, f"{kind}: {gap:+.2f} m", (6, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, 2, cv2.LINE_AA)
        panels.append(cv2.copyMakeBorder(panel, 2, 2, 2, 2, cv2.BORDER_CONSTANT, value=(120, 120, 120)))
    tall = panels[0].shape[0]
    view = cv2.resize(frame.image, None, fx=0.72, fy=0.72, interpolation=cv2.INTER_AREA)
    padded = np.full((tall, view.shape[1], 3), 255, np.uint8)
    padded[: view.shape[0]] = view
    shown = padded[: view.shape[0]]
    for _, visible, whole, _ in masks["amodal"]:
        hidden = (whole - visible).full(*frame.shape).astype(np.uint8)
        small = cv2.resize(hidden, (view.shape[1], view.shape[0])) > 0
        shown[small] = (0.4 * shown[small] + 0.6 * np.array([220, 40, 40])).astype(np.uint8)
    return np.hstack([padded, *panels])


if __name__ == "__main__":
    main()
