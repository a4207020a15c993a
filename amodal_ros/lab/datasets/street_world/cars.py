"""Passenger cars that training draws."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amodal_ros.lab.datasets.street_world.bodywork import HEADLIGHT, PLATE, TAILLIGHT, far_tyres, near_wheels
from amodal_ros.lab.datasets.street_world.palette import DARK, GLASS, PAINT, mix, pick, shade
from amodal_ros.lab.datasets.street_world.shape import Colour, Point, Shape

# Per car body: length, width, height, belt, cowl and tail height (metres); then where the cabin stands on the belt
# and where its roof begins and ends, as fractions of the length from the middle (rear base, rear roof, front roof,
# front base).
CAR_BODIES = {
    "hatchback": (3.95, 1.72, 1.47, 0.92, 0.80, 0.92, -0.48, -0.40, 0.06, 0.25),
    "sedan": (4.65, 1.80, 1.44, 0.91, 0.80, 0.90, -0.36, -0.20, 0.08, 0.25),
    "estate": (4.70, 1.80, 1.48, 0.91, 0.80, 0.92, -0.49, -0.43, 0.08, 0.25),
    "suv": (4.55, 1.88, 1.70, 1.04, 0.96, 1.06, -0.48, -0.42, 0.10, 0.25),
    "coupe": (4.45, 1.80, 1.32, 0.86, 0.74, 0.86, -0.42, -0.12, 0.05, 0.22),
    "minivan": (4.50, 1.84, 1.68, 1.00, 0.88, 1.02, -0.49, -0.45, 0.18, 0.36),
    "micro": (2.80, 1.60, 1.54, 0.94, 0.84, 0.94, -0.48, -0.40, 0.16, 0.36),
}


def car(rng: np.random.Generator) -> Shape:
    """A passenger car: body, cabin, windows, lights, wheels."""
    name = list(CAR_BODIES)[int(rng.integers(len(CAR_BODIES)))]
    length, width, height, belt, cowl, tail, *cabin = CAR_BODIES[name]
    stretch = rng.uniform(0.95, 1.06)
    length, half, height = length * stretch, width / 2, height * rng.uniform(0.97, 1.05)
    paint = pick(rng, PAINT)
    roof = mix(paint, DARK, 0.8) if rng.random() < 0.15 else paint
    shape = Shape(length, width, height)
    radius = rng.uniform(0.30, 0.34) * (1.12 if name == "suv" else 1.0)
    axles = (-0.31 * length, 0.31 * length)
    far_tyres(shape, axles, radius, half)

    end, low = length / 2, rng.uniform(0.18, 0.26)
    shape.loft(
        [
            (-end + 0.14, low, half * 0.92),
            (-end, 0.52, half * 0.97),
            (-end + 0.05, tail, half * 0.95),
            (cabin[3] * length, belt, half * 0.96),
            (end - 0.12, cowl - 0.04, half * 0.93),
            (end, 0.50, half * 0.95),
            (end - 0.12, low, half * 0.92),
        ],
        paint,
    )
    _car_sides(shape, rng, paint, low, belt, length, half, cabin)
    near_wheels(shape, rng, axles, radius, half, low)
    _car_ends(shape, rng, length, half, low, tail, cowl)
    _cabin(shape, paint, roof, [c * length for c in cabin], belt - 0.06, height, half)
    if rng.random() < 0.15:  # roof rack or a taxi's sign
        shape.box(-0.3, 0.1, height, height + 0.14, 0.28, pick(rng, [(224, 200, 60), DARK]))
    return shape


def _car_sides(
    shape: Shape,
    rng: np.random.Generator,
    paint: Colour,
    low: float,
    belt: float,
    length: float,
    half: float,
    cabin: Sequence[float],
) -> None:
    end = length / 2
    shape.flank(
        [(-end + 0.1, low), (end - 0.1, low), (end - 0.14, low + 0.13), (-end + 0.12, low + 0.13)], half * 0.95, DARK
    )
    shape.flank(
        [(-end + 0.1, belt - 0.22), (end - 0.2, belt - 0.26), (end - 0.2, belt - 0.22), (-end + 0.1, belt - 0.17)],
        half * 0.96,
        shade(paint, 1.18),
    )
    if rng.random() < 0.2:
        stripe = pick(rng, PAINT)
        shape.flank([(-end + 0.1, 0.5), (end - 0.12, 0.5), (end - 0.12, 0.6), (-end + 0.1, 0.6)], half * 0.96, stripe)
    seam = shade(paint, 0.55)
    middle = (cabin[0] + cabin[3]) / 2 * length
    for x in (middle + 0.02, cabin[3] * length - 0.1, max(middle - 0.95, -0.36 * length)):
        shape.flank(
            [(x, low + 0.14), (x + 0.025, low + 0.14), (x + 0.025, belt - 0.04), (x, belt - 0.04)], half * 0.965, seam
        )
    for x in (middle + 0.1, max(middle - 0.82, -0.33 * length)):
        shape.flank(
            [(x, belt - 0.16), (x + 0.18, belt - 0.16), (x + 0.18, belt - 0.12), (x, belt - 0.12)],
            half * 0.97,
            shade(seam, 0.7),
        )


def _car_ends(
    shape: Shape, rng: np.random.Generator, length: float, half: float, low: float, tail: float, cowl: float
) -> None:
    end = length / 2
    for facing, lamp, top in ((1, HEADLIGHT, cowl), (-1, TAILLIGHT, tail)):
        x = facing * end

        def slope(y: float, top: float = top, x: float = x, facing: int = facing) -> float:
            return x - facing * 0.1 * max(0.0, (y - 0.5) / (top - 0.5))

        inside = (0.0, 0.5, 0.0)
        deep, wide = rng.uniform(0.12, 0.2), rng.uniform(0.26, 0.44)
        for sign in (-1, 1):
            y0, y1, outer = top - 0.1 - deep, top - 0.1, half * 0.94
            corners = [
                (slope(y) + 0.02 * facing, y, sign * z)
                for y, z in ((y0, outer), (y1, outer), (y1, outer - wide), (y0, outer - wide * 0.8))
            ]
            shape.face(corners, lamp, inside, lit=0.3)
        wrap = [(x - facing * 0.05, top - 0.1 - deep), (x - facing * 0.34, top - 0.12), (x - facing * 0.14, top - 0.07)]
        shape.flank(wrap, half * 0.965, lamp, lit=0.3)
        bumper = [(-half * 0.9, low + 0.02), (half * 0.9, low + 0.02), (half * 0.92, 0.4), (-half * 0.92, 0.4)]
        shape.end(x, bumper, DARK, facing)
        plate_y = 0.42 if facing > 0 else rng.uniform(0.44, 0.62)
        if facing > 0:
            shape.end(x, [(-0.5, 0.5), (0.5, 0.5), (0.55, 0.62), (-0.55, 0.62)], DARK, facing)
        shape.end(
            x + 0.02 * facing,
            [(-0.26, plate_y), (0.26, plate_y), (0.26, plate_y + 0.11), (-0.26, plate_y + 0.11)],
            PLATE,
            facing,
            lit=0.5,
        )


def _cabin(
    shape: Shape, paint: Colour, roof: Colour, stations: Sequence[float], base: float, height: float, half: float
) -> None:
    """Pillars in the body's colour, glass between them, on top of the body."""
    rear_base, rear_roof, front_roof, front_base = stations
    low, high = half * 0.93, half * 0.70

    def width(y: float) -> float:
        return low + (high - low) * (y - base) / (height - base)

    edge = height - 0.07
    shape.loft(
        [
            (rear_base, base, low),
            (rear_roof, edge, width(edge)),
            (rear_roof + 0.3, height, high),
            (front_roof - 0.25, height, high),
            (front_roof, edge, width(edge)),
            (front_base, base, low),
        ],
        roof,
    )
    sill, top = base + 0.08, height - 0.11

    def at(a: float, b: float, y: float) -> float:
        return a + (b - a) * (y - base) / (edge - base)

    def back(y: float) -> float:
        return at(rear_base, rear_roof, y) + 0.16

    def front(y: float) -> float:
        return at(front_base, front_roof, y) - 0.16

    pillar = (rear_base + front_base) / 2
    for rear, fore in ((back, lambda y: pillar - 0.04), (lambda y: pillar + 0.04, front)):
        shape.flank([(rear(sill), sill), (fore(sill), sill), (fore(top), top), (rear(top), top)], width, GLASS, 0.4)
        middle = (sill + top) / 2 + 0.05
        shape.flank(
            [(rear(middle), middle), (fore(middle), middle), (fore(top), top), (rear(top), top)],
            width,
            shade(GLASS, 1.6),
            0.4,
        )
    for base_x, roof_x, facing in ((front_base, front_roof, 1), (rear_base, rear_roof, -1)):

        def pane(y: float, z: float, base_x: float = base_x, roof_x: float = roof_x, facing: int = facing) -> Point:
            return (at(base_x, roof_x, y) + 0.015 * facing, y, z)

        inside = ((rear_base + front_base) / 2, base, 0.0)
        shape.face(
            [pane(sill, -low * 0.86), pane(sill, low * 0.86), pane(top, high * 0.9), pane(top, -high * 0.9)],
            GLASS,
            inside,
            0.4,
        )
        shape.face(
            [pane(sill + 0.2, 0.0), pane(sill + 0.2, low * 0.78), pane(top, high * 0.9), pane(top, high * 0.2)],
            shade(GLASS, 1.7),
            inside,
            0.4,
        )
    for sign in (-1, 1):  # mirrors
        x = front_base - 0.28
        shape.capsule(
            (x, base + 0.12, sign * half * 0.94), (x, base + 0.12, sign * (half + 0.12)), 0.06, 0.09, shade(paint, 0.8)
        )
