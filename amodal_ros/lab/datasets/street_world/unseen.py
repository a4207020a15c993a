"""Vehicles, people and animals kept for testing: nothing here is ever drawn for training."""

from __future__ import annotations

import numpy as np

from amodal_ros.lab.datasets.street_world.palette import (
    BARK,
    DARK,
    GLASS,
    HAIR,
    PAINT,
    RIM,
    SKIN,
    STEEL,
    TYRE,
    WALL,
    pick,
    shade,
)
from amodal_ros.lab.datasets.street_world.shape import Colour, Shape, circle, turns

Place = tuple[float, float]  # (forward, up) in the middle plane

LAMP: Colour = (240, 220, 150)
STOP: Colour = (200, 40, 60)


def motorbike(rng: np.random.Generator) -> Shape:
    """A motorbike with its rider."""
    paint, suit, helmet = pick(rng, PAINT), pick(rng, PAINT), pick(rng, PAINT)
    shape = Shape(2.1, 0.8, 1.6, gloss=0.25)
    shape.part((0.0, 0.0, 0.0))
    for x in (-0.7, 0.72):
        _fat_wheel(shape, x, 0.31, 0.09)
    shape.capsule((0.72, 0.31, 0.0), (0.5, 1.0, 0.0), 0.05, 0.05, RIM)
    shape.hull(
        [(x, y, z) for x, y in ((-0.45, 0.3), (-0.5, 0.62), (0.4, 0.62), (0.35, 0.28)) for z in (-0.14, 0.14)], DARK
    )
    shape.hull(
        [(x, y, z) for x, y in ((-0.2, 0.6), (-0.1, 0.86), (0.34, 0.95), (0.48, 0.66)) for z in (-0.15, 0.15)], paint
    )
    shape.hull(
        [(x, y, z) for x, y in ((-0.95, 0.72), (-0.9, 0.84), (-0.1, 0.84), (-0.2, 0.66)) for z in (-0.12, 0.12)],
        shade(paint, 0.6),
    )
    shape.hull(
        [(x, y, z) for x, y in ((0.42, 0.8), (0.45, 1.15), (0.62, 0.98), (0.7, 0.8)) for z in (-0.18, 0.18)],
        shade(paint, 1.1),
    )
    shape.face([(0.71, 0.9 + 0.08 * s, 0.08 * c) for c, s in turns(8)], LAMP, (0.0, 0.9, 0.0), 0.0)
    shape.face([(-0.96, 0.78 + 0.04 * s, 0.08 * c) for c, s in turns(8)], STOP, (0.0, 0.78, 0.0), 0.0)
    shape.capsule((-0.75, 0.35, 0.16), (-0.1, 0.33, 0.16), 0.06, 0.05, RIM)
    _rider(shape, (-0.25, 0.88), (0.12, 1.36), (0.48, 1.05), (0.05, 0.36), suit, 0.32)
    shape.part((0.2, 3.0, 0.0))
    shape.capsule((0.22, 1.52, 0.0), (0.24, 1.58, 0.0), 0.14, 0.14, helmet)
    visor = [(0.385, 1.5, -0.09), (0.385, 1.5, 0.09), (0.375, 1.6, 0.09), (0.375, 1.6, -0.09)]
    shape.face(visor, GLASS, (0.2, 1.55, 0.0), 0.3)
    return shape


def scooter(rng: np.random.Generator) -> Shape:
    """Somebody standing on a kick scooter."""
    coat, trousers, skin, frame = pick(rng, PAINT), pick(rng, PAINT), pick(rng, SKIN), pick(rng, STEEL)
    shape = Shape(1.1, 0.6, 1.85, gloss=0.18, grain=0.1)
    shape.part((0.0, 0.0, 0.0))
    for x in (-0.45, 0.45):
        _fat_wheel(shape, x, 0.11, 0.04)
    shape.hull([(x, y, z) for x in (-0.45, 0.4) for y in (0.12, 0.17) for z in (-0.09, 0.09)], frame)
    shape.capsule((0.45, 0.12, 0.0), (0.36, 1.1, 0.0), 0.03, 0.025, frame)
    shape.capsule((0.36, 1.1, -0.25), (0.36, 1.1, 0.25), 0.025, 0.025, DARK)
    for side, x in ((-1, 0.12), (1, -0.2)):
        shape.part((0.0, 0.0, side * 0.3))
        shape.capsule((x, 0.2, side * 0.06), (x + 0.14, 0.2, side * 0.06), 0.05, 0.05, DARK)
        shape.capsule((x, 0.26, side * 0.06), (-0.02, 0.98, side * 0.09), 0.06, 0.1, trousers)
        shape.capsule((0.05, 1.45, side * 0.19), (0.16, 1.18, side * 0.25), 0.06, 0.05, shade(coat, 0.85))
        shape.capsule((0.16, 1.18, side * 0.25), (0.36, 1.13, side * 0.22), 0.05, 0.04, shade(coat, 0.85))
    shape.part((0.0, 0.0, 0.0))
    shape.hull(
        [
            (x, y, z)
            for x, y, w in ((-0.12, 0.92, 0.16), (0.1, 0.92, 0.16), (-0.08, 1.5, 0.2), (0.13, 1.5, 0.2))
            for z in (-w, w)
        ],
        coat,
    )
    shape.part((0.05, 3.0, 0.0))
    shape.capsule((0.05, 1.5, 0.0), (0.06, 1.62, 0.0), 0.055, 0.055, shade(skin, 0.85))
    shape.capsule((0.06, 1.68, 0.0), (0.06, 1.76, 0.0), 0.1, 0.11, pick(rng, PAINT + HAIR))
    shape.face([(0.17, 1.67 + 0.075 * s, 0.07 * c) for c, s in turns(8)], skin, (0.0, 1.7, 0.0), 0.3)
    return shape


def tram(rng: np.random.Generator) -> Shape:
    """A two-section tram with rounded ends and a spotted band."""
    length, half, height, paint, band = rng.uniform(11.0, 13.5), 1.2, 3.4, pick(rng, PAINT), pick(rng, PAINT)
    end, low = length / 2, 0.22
    shape = Shape(length, 2 * half, height + 0.5)
    shape.part((0.0, 0.0, 0.0))
    shape.loft(
        [
            (-end + 0.25, low, half * 0.85),
            (-end, 1.1, half * 0.8),
            (-end + 0.7, height, half * 0.8),
            (end - 0.7, height, half * 0.8),
            (end, 1.1, half * 0.8),
            (end - 0.25, low, half * 0.85),
        ],
        shade(paint, 0.9),
    )
    shape.box(-end + 0.9, end - 0.9, low, height, half, paint)
    for x in np.arange(-end + 1.2, end - 2.0, 1.75):
        shape.flank([(x, 1.2), (x + 1.5, 1.2), (x + 1.35, height - 0.5), (x + 0.15, height - 0.5)], half, GLASS, 0.4)
        for k in (0.3, 1.0):
            shape.flank([(px, py) for px, py, _ in circle(x + k, 0.8, 0.16, 0.0, 10)], half, band)
    shape.flank([(-0.3, low), (0.3, low), (0.3, height), (-0.3, height)], half + 0.01, DARK)
    for facing in (1, -1):
        x = facing * (end - 0.25)
        pane = [
            (x, 1.25, -0.8),
            (x, 1.25, 0.8),
            (x - 0.42 * facing, height - 0.6, 0.75),
            (x - 0.42 * facing, height - 0.6, -0.75),
        ]
        shape.face([(px + 0.25 * facing, py, pz) for px, py, pz in pane], GLASS, (0, 1.0, 0), 0.4)
        shape.face(
            [(x + 0.27 * facing, 0.8 + 0.15 * s, 0.15 * c) for c, s in turns(10)],
            LAMP if facing > 0 else STOP,
            (0, 0.8, 0),
            0.0,
        )
    for a, b in (
        ((-0.6, height, 0.0), (0.2, height + 0.5, 0.0)),
        ((0.2, height + 0.5, 0.0), (-0.4, height + 0.9, 0.0)),
    ):
        shape.capsule(a, b, 0.04, 0.04, DARK)
    return shape


def tractor(rng: np.random.Generator) -> Shape:
    """A farm tractor: tall rear wheels, a narrow bonnet, a glass cab."""
    paint, rim = pick(rng, PAINT), pick(rng, [(214, 168, 44), (200, 60, 40), (220, 220, 220)])
    shape = Shape(3.8, 2.0, 2.7)
    shape.part((0.0, 0.0, 0.0))
    for side in (-1, 1):
        shape.wheel(-0.95, 0.82, 0.55, 0.98, TYRE, side)
        shape.wheel(1.25, 0.48, 0.6, 0.9, TYRE, side)
    shape.box(-0.3, 1.85, 0.55, 1.45, 0.42, paint)
    for y in np.arange(0.7, 1.35, 0.16):
        shape.flank([(0.7, y), (1.7, y), (1.7, y + 0.07), (0.7, y + 0.07)], 0.42, DARK)
        shape.end(1.85, [(-0.32, y), (0.32, y), (0.32, y + 0.07), (-0.32, y + 0.07)], DARK, 1)
    shape.capsule((1.0, 1.45, 0.2), (1.0, 2.3, 0.2), 0.06, 0.05, DARK)
    shape.box(-1.5, -0.1, 0.8, 1.4, 0.7, paint)
    shape.loft([(-1.5, 1.4, 0.68), (-1.4, 2.6, 0.62), (-0.3, 2.6, 0.62), (-0.1, 1.4, 0.68)], DARK)
    shape.flank([(-1.35, 1.5), (-0.85, 1.5), (-0.85, 2.45), (-1.28, 2.45)], 0.66, shade(GLASS, 1.5), 0.4)
    shape.flank([(-0.75, 1.5), (-0.25, 1.5), (-0.4, 2.45), (-0.75, 2.45)], 0.66, shade(GLASS, 1.8), 0.4)
    shape.box(-1.6, -0.1, 2.6, 2.74, 0.75, paint)
    for x, radius, out in ((-0.95, 0.82, 0.98), (1.25, 0.48, 0.9)):
        shape.flank([(px, py) for px, py, _ in circle(x, radius, radius, 0.0, 18)], out, TYRE, 0.3)
        shape.flank([(px, py) for px, py, _ in circle(x, radius, radius * 0.62, 0.0, 14)], out + 0.01, rim, 0.6)
        shape.flank([(px, py) for px, py, _ in circle(x, radius, radius * 0.2, 0.0, 8)], out + 0.02, DARK, 0.6)
    return shape


def pickup(rng: np.random.Generator) -> Shape:
    """A pickup: bonnet, cab, open bed with a load."""
    length, half, paint = rng.uniform(5.1, 5.6), 0.96, pick(rng, PAINT)
    end, axles, radius = length / 2, (-0.30 * length, 0.32 * length), 0.42
    shape = Shape(length, 2 * half, 1.85)
    shape.part((0.0, 0.0, 0.0))
    for x in axles:
        for side in (-1, 1):
            shape.wheel(x, radius, half - 0.25, half - 0.02, TYRE, side)
    shape.box(-end, end, 0.42, 1.08, half, paint)
    shape.box(-end + 0.12, -0.1 * length, 1.0, 1.25, half * 0.8, pick(rng, BARK + WALL))
    shape.loft(
        [
            (-0.1 * length, 1.06, half * 0.94),
            (-0.08 * length, 1.8, half * 0.8),
            (0.12 * length, 1.85, half * 0.8),
            (0.22 * length, 1.06, half * 0.94),
        ],
        paint,
    )

    def wide(y: float) -> float:
        return half * (0.94 - 0.14 * (y - 1.06) / 0.79)

    shape.flank(
        [(-0.085 * length, 1.16), (0.03 * length, 1.16), (0.03 * length, 1.74), (-0.07 * length, 1.74)],
        wide,
        GLASS,
        0.4,
    )
    shape.flank(
        [(0.05 * length, 1.16), (0.19 * length, 1.16), (0.12 * length, 1.74), (0.05 * length, 1.74)], wide, GLASS, 0.4
    )
    shape.face(
        [
            (0.215 * length, 1.16, -0.8),
            (0.215 * length, 1.16, 0.8),
            (0.14 * length, 1.76, 0.7),
            (0.14 * length, 1.76, -0.7),
        ],
        GLASS,
        (0, 1, 0),
        0.4,
    )
    for k in range(7):  # zigzag along the flank
        x = -end + 0.4 + 0.65 * k
        shape.flank(
            [(x, 0.62), (x + 0.32, 0.84), (x + 0.65, 0.62), (x + 0.65, 0.74), (x + 0.32, 0.96), (x, 0.74)],
            half,
            shade(paint, 0.6),
        )
    for x in axles:
        shape.flank([(px, py) for px, py, _ in circle(x, radius, radius, 0.0, 18)], half + 0.01, TYRE, 0.3)
        shape.flank([(px, py) for px, py, _ in circle(x, radius, radius * 0.55, 0.0, 6)], half + 0.02, RIM, 0.6)
    shape.end(end, [(-0.7, 0.62), (0.7, 0.62), (0.7, 0.95), (-0.7, 0.95)], DARK, 1)
    for z in (-0.82, 0.82):
        shape.end(end, [(z - 0.1, 0.68), (z + 0.1, 0.68), (z + 0.1, 0.92), (z - 0.1, 0.92)], LAMP, 1, 0.2)
        shape.end(-end, [(z - 0.08, 0.6), (z + 0.08, 0.6), (z + 0.08, 1.02), (z - 0.08, 1.02)], STOP, -1, 0.2)
    return shape


def camper(rng: np.random.Generator) -> Shape:
    """A motor home: a box with an alcove over the driver's cab."""
    length, half, height, paint, trim = (
        rng.uniform(5.8, 6.8),
        1.1,
        2.95,
        pick(rng, PAINT[:2] + WALL[:2]),
        pick(rng, PAINT),
    )
    end, radius = length / 2, 0.36
    shape = Shape(length, 2 * half, height)
    shape.part((0.0, 0.0, 0.0))
    axles = (-0.25 * length, 0.33 * length)
    for x in axles:
        for side in (-1, 1):
            shape.wheel(x, radius, half - 0.3, half - 0.04, TYRE, side)
    front = end - 1.4
    shape.loft(
        [
            (front, 0.35, half * 0.9),
            (front, 1.9, half * 0.85),
            (end - 0.75, 1.9, half * 0.8),
            (end - 0.25, 1.1, half * 0.9),
            (end, 0.95, half * 0.88),
            (end, 0.35, half * 0.88),
        ],
        trim,
    )
    shape.face(
        [(end - 0.27, 1.16, -0.85), (end - 0.27, 1.16, 0.85), (end - 0.72, 1.86, 0.8), (end - 0.72, 1.86, -0.8)],
        GLASS,
        (0, 1, 0),
        0.4,
    )
    shape.flank([(front + 0.1, 1.15), (end - 0.5, 1.15), (end - 0.8, 1.8), (front + 0.1, 1.8)], half * 0.9, GLASS, 0.4)
    shape.box(-end, front, 0.35, height, half, paint)
    shape.loft(
        [
            (front - 0.05, 1.85, half * 0.98),
            (front - 0.05, height, half * 0.98),
            (end - 0.6, height, half * 0.9),
            (end - 0.35, 1.95, half * 0.92),
        ],
        paint,
    )
    for x, wide in ((-end + 0.5, 1.1), (-0.3, 0.8)):
        shape.flank([(x, 1.5), (x + wide, 1.5), (x + wide, 2.1), (x, 2.1)], half, GLASS, 0.4)
    for k in range(9):  # a chequered band
        x = -end + 0.3 + 0.45 * k
        shape.flank(
            [
                (x, 0.8 + 0.2 * (k % 2)),
                (x + 0.45, 0.8 + 0.2 * (k % 2)),
                (x + 0.45, 1.0 + 0.2 * (k % 2)),
                (x, 1.0 + 0.2 * (k % 2)),
            ],
            half,
            trim,
        )
    shape.end(-end, [(-0.6, 1.5), (0.6, 1.5), (0.6, 2.2), (-0.6, 2.2)], GLASS, -1, 0.4)
    for z in (-0.9, 0.9):
        shape.end(-end, [(z - 0.1, 0.5), (z + 0.1, 0.5), (z + 0.1, 0.75), (z - 0.1, 0.75)], STOP, -1, 0.2)
        shape.end(
            end,
            [(z * 0.8 - 0.14, 0.65), (z * 0.8 + 0.14, 0.65), (z * 0.8 + 0.14, 0.85), (z * 0.8 - 0.14, 0.85)],
            LAMP,
            1,
            0.2,
        )
    for x in axles:
        shape.flank([(px, py) for px, py, _ in circle(x, radius, radius, 0.0, 18)], half + 0.01, TYRE, 0.3)
        shape.flank([(px, py) for px, py, _ in circle(x, radius, radius * 0.5, 0.0, 12)], half + 0.02, RIM, 0.6)
    return shape


def dog(rng: np.random.Generator) -> Shape:
    """A large dog."""
    fur, swing = pick(rng, HAIR + BARK + PAINT[:2]), rng.uniform(-0.15, 0.15)
    shape = Shape(1.0, 0.35, 0.85, gloss=0.15, grain=0.2)
    for side in (-1, 1):
        shape.part((0.0, 0.0, 0.3 * side))
        for x, step in ((-0.3, swing), (0.28, -swing)):
            shape.capsule((x, 0.45, side * 0.09), (x + side * step, 0.05, side * 0.09), 0.075, 0.045, shade(fur, 0.85))
    shape.part((0.0, 0.0, 0.0))
    shape.capsule((-0.33, 0.52, 0.0), (0.3, 0.55, 0.0), 0.15, 0.18, fur)
    shape.capsule((-0.45, 0.55, 0.0), (-0.68, 0.78, 0.0), 0.045, 0.025, fur)
    shape.part((0.4, 0.0, 0.0))
    shape.capsule((0.35, 0.62, 0.0), (0.48, 0.8, 0.0), 0.12, 0.1, fur)
    shape.capsule((0.5, 0.82, 0.0), (0.68, 0.76, 0.0), 0.1, 0.055, shade(fur, 1.1))
    for side in (-1, 1):
        shape.capsule((0.45, 0.9, side * 0.08), (0.42, 0.78, side * 0.11), 0.04, 0.03, shade(fur, 0.6))
    return shape


def pushchair(rng: np.random.Generator) -> Shape:
    """A pushchair with its hood up."""
    cloth, frame = pick(rng, PAINT), pick(rng, STEEL)
    shape = Shape(1.1, 0.6, 1.1, gloss=0.2)
    shape.part((0.0, 0.0, 0.0))
    for x, radius in ((-0.35, 0.17), (0.4, 0.11)):
        for z in (-0.26, 0.26):
            shape.wheel(x, radius, z - 0.03, z + 0.03, TYRE, 1)
    for z in (-0.25, 0.25):
        shape.capsule((0.4, 0.15, z), (-0.5, 1.0, z), 0.025, 0.025, frame)
        shape.capsule((-0.35, 0.18, z), (0.1, 0.55, z), 0.025, 0.025, frame)
    shape.capsule((-0.5, 1.0, -0.25), (-0.5, 1.0, 0.25), 0.03, 0.03, DARK)
    shape.hull(
        [(x, y, z) for x, y in ((-0.25, 0.4), (0.4, 0.32), (0.45, 0.45), (-0.3, 0.75)) for z in (-0.22, 0.22)], cloth
    )
    shape.hull(
        [
            (x, y, z)
            for x, y in ((-0.3, 0.7), (-0.28, 1.0), (-0.05, 1.1), (0.18, 0.98), (-0.1, 0.7))
            for z in (-0.23, 0.23)
        ],
        shade(cloth, 0.75),
    )
    return shape


def _fat_wheel(shape: Shape, x: float, radius: float, half: float) -> None:
    shape.wheel(x, radius, -half, half, TYRE, 1)
    for sign in (-1, 1):
        shape.face(circle(x, radius, radius * 0.6, sign * (half + 0.005)), RIM, (x, radius, 0.0), 0.4)


def _rider(shape: Shape, hip: Place, shoulder: Place, grip: Place, foot: Place, suit: Colour, reach: float) -> None:
    for side in (-1, 1):
        knee = (hip[0] + 0.42, hip[1] - 0.08)
        shape.part((0.0, 0.0, side * 0.4))
        shape.capsule((knee[0], knee[1], side * 0.2), (foot[0], foot[1], side * 0.18), 0.08, 0.06, shade(suit, 0.85))
        shape.capsule((hip[0], hip[1], side * 0.12), (knee[0], knee[1], side * 0.2), 0.11, 0.08, shade(suit, 0.9))
        elbow = ((shoulder[0] + grip[0]) / 2, (shoulder[1] + grip[1]) / 2 - 0.06, side * (reach + 0.02))
        shape.capsule((shoulder[0], shoulder[1] - 0.03, side * 0.19), elbow, 0.07, 0.06, shade(suit, 0.8))
        shape.capsule(elbow, (grip[0], grip[1], side * reach), 0.06, 0.045, shade(suit, 0.8))
    shape.part((0.0, 0.0, 0.0))
    low = [(hip[0] + 0.13 * c, hip[1], 0.17 * s) for c, s in turns(8)]
    high = [(shoulder[0] + 0.12 * c, shoulder[1] + 0.02, 0.2 * s) for c, s in turns(8)]
    shape.hull(low + high, suit)
