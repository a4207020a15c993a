"""Larger vehicles that training draws: vans, lorries, buses."""

from __future__ import annotations

import numpy as np

from amodal_ros.lab.datasets.street_world.bodywork import (
    HEADLIGHT,
    PLATE,
    TAILLIGHT,
    bumpers,
    far_tyres,
    lamps,
    livery,
    near_wheels,
)
from amodal_ros.lab.datasets.street_world.palette import DARK, GLASS, PAINT, WALL, pick, shade
from amodal_ros.lab.datasets.street_world.shape import Shape


def van(rng: np.random.Generator) -> Shape:
    """A delivery van or minibus: one tall body with a short sloping nose."""
    length, half, height = rng.uniform(4.8, 6.0), rng.uniform(0.95, 1.03), rng.uniform(1.95, 2.55)
    paint = pick(rng, PAINT[:4] + PAINT)
    shape = Shape(length, 2 * half, height)
    end, low, radius = length / 2, 0.30, 0.36
    axles = (-0.30 * length, 0.33 * length)
    far_tyres(shape, axles, radius, half)
    nose, roof = rng.uniform(0.35, 0.8), rng.uniform(1.0, 1.5)
    shape.loft(
        [
            (-end, low, half),
            (-end, height * 0.9, half * 0.95),
            (-end + 0.12, height, half * 0.86),
            (end - roof, height, half * 0.86),
            (end - nose * 0.5, 1.18, half * 0.97),
            (end, 0.95, half * 0.95),
            (end, low, half * 0.95),
        ],
        paint,
    )
    shape.flank(
        [(-end + 0.05, low), (end - 0.05, low), (end - 0.05, low + 0.18), (-end + 0.05, low + 0.18)], half, DARK
    )
    livery(shape, rng, -end + 0.2, end - roof - 0.9, 0.75, height - 0.35, half)
    door = end - roof - 0.15
    shape.flank(
        [
            (door - 0.6, 1.2),
            (end - nose * 0.5 - 0.2, 1.2),
            (end - roof - 0.02, height - 0.22),
            (door - 0.6, height - 0.22),
        ],
        half * 0.985,
        GLASS,
        0.4,
    )
    if rng.random() < 0.5:
        for x in np.arange(-end + 0.3, door - 1.5, 1.15):
            shape.flank(
                [(x, 1.2), (x + 1.0, 1.2), (x + 1.0, height - 0.25), (x, height - 0.25)], half * 0.99, GLASS, 0.4
            )
    for x in (door - 0.7, door - 1.9, end - nose - 0.25):
        shape.flank(
            [(x, low + 0.18), (x + 0.03, low + 0.18), (x + 0.03, height - 0.2), (x, height - 0.2)],
            half,
            shade(paint, 0.6),
        )
    near_wheels(shape, rng, axles, radius, half, low)

    def slope(y: float) -> float:
        return end - nose * 0.5 - (roof - nose * 0.5) * (y - 1.18) / (height - 1.18) + 0.02

    top = height - 0.16
    shape.face(
        [
            (slope(1.26), 1.26, -half * 0.85),
            (slope(1.26), 1.26, half * 0.85),
            (slope(top), top, half * 0.78),
            (slope(top), top, -half * 0.78),
        ],
        GLASS,
        (0, 0.5, 0),
        0.4,
    )
    shape.face(
        [(slope(1.5), 1.5, 0.0), (slope(1.5), 1.5, half * 0.8), (slope(top), top, half * 0.76), (slope(top), top, 0.2)],
        shade(GLASS, 1.6),
        (0, 0.5, 0),
        0.4,
    )
    rear_glass = [(-half * 0.75, 1.25), (half * 0.75, 1.25), (half * 0.7, height * 0.86), (-half * 0.7, height * 0.86)]
    shape.end(-end, rear_glass, GLASS if rng.random() < 0.6 else shade(paint, 0.9), -1, 0.4)
    shape.end(
        -end - 0.01,
        [(-0.02, low + 0.1), (0.02, low + 0.1), (0.02, height * 0.88), (-0.02, height * 0.88)],
        shade(paint, 0.5),
        -1,
    )
    lamps(shape, end, half, 0.72, 0.95, HEADLIGHT, 1)
    lamps(shape, -end, half, 0.75, 1.25, TAILLIGHT, -1, wide=0.14)
    bumpers(shape, end, half * 0.95, low, 0.55)
    return shape


def truck(rng: np.random.Generator) -> Shape:
    """A lorry: a cab, and behind it a box, a flat bed or a tank."""
    length, half = rng.uniform(6.2, 8.5), rng.uniform(1.12, 1.25)
    cab_length, cab_height = rng.uniform(1.6, 2.1), rng.uniform(2.3, 2.9)
    paint, end, low, radius = pick(rng, PAINT), length / 2, 0.55, 0.48
    kind = ("box", "box", "bed", "tank")[int(rng.integers(4))]
    top = {"box": rng.uniform(2.9, 3.6), "bed": 1.75, "tank": 2.8}[kind]
    shape = Shape(length, 2 * half, max(cab_height, top))
    axles = [-0.33 * length, end - 0.9] + ([-0.33 * length + 1.15] if length > 7.3 else [])
    far_tyres(shape, axles, radius, half)
    split = end - cab_length
    shape.part((0.0, 0.0, 0.0))
    _load(shape, rng, kind, -end, split - 0.15, top, half)
    near_wheels(shape, rng, axles[:1] + axles[2:], radius, half, None)
    shape.part((end, 0.0, 0.0))
    shape.loft(
        [
            (split, low - 0.1, half * 0.97),
            (split, cab_height, half * 0.9),
            (end - 0.35, cab_height, half * 0.9),
            (end - 0.03, 1.5, half * 0.96),
            (end, low - 0.15, half * 0.96),
        ],
        paint,
    )

    def pane(y: float) -> float:
        return end - 0.03 - 0.32 * (y - 1.5) / (cab_height - 1.5) + 0.02

    y0, y1 = 1.55, cab_height - 0.3
    shape.face(
        [
            (pane(y0), y0, -half * 0.88),
            (pane(y0), y0, half * 0.88),
            (pane(y1), y1, half * 0.82),
            (pane(y1), y1, -half * 0.82),
        ],
        GLASS,
        (0, 0, 0),
        0.4,
    )
    shape.flank(
        [(split + 0.45, y0), (pane(y0) - 0.15, y0), (pane(y1) - 0.12, y1), (split + 0.45, y1)], half * 0.965, GLASS, 0.4
    )
    shape.flank(
        [(split + 0.42, low), (split + 0.46, low), (split + 0.46, y1), (split + 0.42, y1)],
        half * 0.972,
        shade(paint, 0.55),
    )
    near_wheels(shape, rng, axles[1:2], radius, half, low)
    shape.end(end, [(-half * 0.6, 0.85), (half * 0.6, 0.85), (half * 0.6, 1.3), (-half * 0.6, 1.3)], DARK, 1)
    lamps(shape, end, half, 0.6, 0.82, HEADLIGHT, 1)
    shape.end(end, [(-half * 0.92, 0.38), (half * 0.92, 0.38), (half * 0.92, 0.56), (-half * 0.92, 0.56)], DARK, 1)
    return shape


def _load(
    shape: Shape, rng: np.random.Generator, kind: str, rear: float, front: float, top: float, half: float
) -> None:
    chassis = 0.95
    if kind == "tank":
        paint = pick(rng, PAINT[:3] + WALL[:3])
        shape.box(rear, front, 0.6, chassis, half * 0.6, DARK)
        reach, middle = half * 0.92, (chassis + top) / 2
        round_end = [(middle + (top - chassis) / 2 * np.sin(t), reach * np.cos(t)) for t in np.arange(12) * (np.pi / 6)]
        shape.hull([(x, y, z) for x in (rear, front) for y, z in round_end], paint, 0.0)
        shape.face([(rear, y, z) for y, z in round_end], shade(paint, 0.8), (front, middle, 0))
        shape.flank(
            [
                (rear + 0.1, middle - 0.08),
                (front - 0.1, middle - 0.08),
                (front - 0.1, middle + 0.1),
                (rear + 0.1, middle + 0.1),
            ],
            reach,
            pick(rng, PAINT),
        )
    else:
        paint = pick(rng, PAINT[:3] + WALL)
        shape.box(rear, front, 0.6, chassis, half * 0.7, DARK)
        shape.box(rear, front, chassis, top, half, paint)
        livery(shape, rng, rear + 0.3, front - 0.3, chassis + 0.15, top - 0.15, half)
        edge = shade(paint, 0.6)
        shape.flank([(rear, chassis), (front, chassis), (front, chassis + 0.1), (rear, chassis + 0.1)], half, edge)
        shape.end(rear, [(-0.025, chassis), (0.025, chassis), (0.025, top - 0.05), (-0.025, top - 0.05)], edge, -1)
        for z in (-half + 0.1, half - 0.1):
            shape.end(rear, [(z - 0.06, chassis), (z + 0.06, chassis), (z + 0.06, top), (z - 0.06, top)], edge, -1)
    shape.end(rear, [(-half * 0.95, 0.55), (half * 0.95, 0.55), (half * 0.95, 0.75), (-half * 0.95, 0.75)], DARK, -1)
    lamps(shape, rear, half, 0.76, 0.92, TAILLIGHT, -1, wide=0.25)
    shape.end(rear - 0.02, [(-0.26, 0.58), (0.26, 0.58), (0.26, 0.7), (-0.26, 0.7)], PLATE, -1, 0.5)


def bus(rng: np.random.Generator) -> Shape:
    """A city bus: a long box with a row of windows and doors on its right."""
    length, half, height = rng.uniform(8.5, 11.5), 1.25, rng.uniform(2.9, 3.3)
    paint, band, end, low, radius = pick(rng, PAINT), pick(rng, PAINT), length / 2, 0.35, 0.48
    shape = Shape(length, 2 * half, height)
    axles = (-0.27 * length, 0.30 * length)
    far_tyres(shape, axles, radius, half)
    shape.loft(
        [
            (-end + 0.05, low, half),
            (-end, height - 0.3, half),
            (-end + 0.2, height, half * 0.92),
            (end - 0.25, height, half * 0.92),
            (end - 0.04, height - 0.35, half),
            (end, low, half),
        ],
        paint,
    )
    shape.flank([(-end + 0.05, low), (end - 0.05, low), (end - 0.05, 0.75), (-end + 0.05, 0.75)], half, band)
    shape.flank(
        [(-end + 0.12, 1.35), (end - 0.1, 1.35), (end - 0.1, height - 0.42), (-end + 0.12, height - 0.42)],
        half + 0.002,
        DARK,
        0.4,
    )
    for x in np.arange(-end + 0.25, end - 1.5, 1.32):
        shape.flank([(x, 1.42), (x + 1.2, 1.42), (x + 1.2, height - 0.5), (x, height - 0.5)], half + 0.004, GLASS, 0.4)
        shape.flank(
            [(x + 0.3, 1.9), (x + 1.2, 1.7), (x + 1.2, height - 0.5), (x + 0.3, height - 0.5)],
            half + 0.006,
            shade(GLASS, 1.5),
            0.4,
        )
    for x in (end - 1.3, -0.4):
        corners = [(x, low + 0.05), (x + 1.1, low + 0.05), (x + 1.1, height - 0.5), (x, height - 0.5)]
        shape.face([(a, b, half + 0.012) for a, b in corners], shade(GLASS, 1.3), (x, low, 0.0), 0.4)
        shape.face(
            [
                (x + 0.52 + d, y, half + 0.02)
                for d, y in ((0, low), (0.06, low), (0.06, height - 0.5), (0, height - 0.5))
            ],
            band,
            (x, low, 0.0),
        )
    near_wheels(shape, rng, axles, radius, half, low)
    pane = [(-half * 0.9, 1.2), (half * 0.9, 1.2), (half * 0.88, height - 0.55), (-half * 0.88, height - 0.55)]
    shape.end(end, pane, GLASS, 1, 0.4)
    shape.end(
        end,
        [
            (-half * 0.7, height - 0.48),
            (half * 0.7, height - 0.48),
            (half * 0.7, height - 0.2),
            (-half * 0.7, height - 0.2),
        ],
        DARK,
        1,
        0.4,
    )
    shape.end(
        end + 0.02,
        [(-0.5, height - 0.42), (0.4, height - 0.42), (0.4, height - 0.26), (-0.5, height - 0.26)],
        (230, 170, 60),
        1,
        0,
    )
    rear = [(-half * 0.8, 1.7), (half * 0.8, 1.7), (half * 0.8, height - 0.5), (-half * 0.8, height - 0.5)]
    shape.end(-end, rear, GLASS, -1, 0.4)
    shape.end(-end, [(-half * 0.6, 0.7), (half * 0.6, 0.7), (half * 0.6, 1.4), (-half * 0.6, 1.4)], band, -1)
    lamps(shape, end, half, 0.65, 0.85, HEADLIGHT, 1)
    lamps(shape, -end, half, 0.8, 1.3, TAILLIGHT, -1, wide=0.16)
    bumpers(shape, end, half, low, 0.55)
    return shape
