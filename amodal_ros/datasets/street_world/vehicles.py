"""Vehicles that training draws: cars of several bodies, vans, trucks, buses."""

from __future__ import annotations

import numpy as np

from amodal_ros.datasets.street_world.palette import DARK, GLASS, PAINT, RIM, TYRE, WALL, mix, pick, shade
from amodal_ros.datasets.street_world.shape import Colour, Shape, circle

HEADLIGHT: Colour = (236, 238, 226)
TAILLIGHT: Colour = (176, 24, 26)
PLATE: Colour = (224, 222, 204)

# Per car body: length, width, height, belt, cowl and tail height (metres); then where the cabin stands on the belt and
# where its roof begins and ends, as fractions of the length from the middle (rear base, rear roof, front roof, front base).
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
        [(-end + 0.14, low, half * 0.92), (-end, 0.52, half * 0.97), (-end + 0.05, tail, half * 0.95),
         (cabin[3] * length, belt, half * 0.96), (end - 0.12, cowl - 0.04, half * 0.93), (end, 0.50, half * 0.95),
         (end - 0.12, low, half * 0.92)],
        paint,
    )  # fmt: skip
    _car_sides(shape, rng, paint, low, belt, length, half, cabin)
    near_wheels(shape, rng, axles, radius, half, low)
    _car_ends(shape, rng, length, half, low, tail, cowl)
    _cabin(shape, paint, roof, [c * length for c in cabin], belt - 0.06, height, half)
    if rng.random() < 0.15:  # roof rack or a taxi's sign
        shape.box(-0.3, 0.1, height, height + 0.14, 0.28, pick(rng, [(224, 200, 60), DARK]))
    return shape


def _car_sides(shape, rng, paint, low, belt, length, half, cabin) -> None:
    end = length / 2
    shape.flank(
        [(-end + 0.1, low), (end - 0.1, low), (end - 0.14, low + 0.13), (-end + 0.12, low + 0.13)], half * 0.95, DARK
    )
    shape.flank([(-end + 0.1, belt - 0.22), (end - 0.2, belt - 0.26), (end - 0.2, belt - 0.22), (-end + 0.1, belt - 0.17)], half * 0.96, shade(paint, 1.18))  # fmt: skip
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


def _car_ends(shape, rng, length, half, low, tail, cowl) -> None:
    end = length / 2
    for facing, lamp, top in ((1, HEADLIGHT, cowl), (-1, TAILLIGHT, tail)):
        x = facing * end
        slope = lambda y, top=top, x=x, facing=facing: x - facing * 0.1 * max(0.0, (y - 0.5) / (top - 0.5))  # noqa: E731
        inside = (0.0, 0.5, 0.0)
        deep, wide = rng.uniform(0.12, 0.2), rng.uniform(0.26, 0.44)
        for sign in (-1, 1):
            y0, y1, outer = top - 0.1 - deep, top - 0.1, half * 0.94
            corners = [(slope(y) + 0.02 * facing, y, sign * z) for y, z in ((y0, outer), (y1, outer), (y1, outer - wide), (y0, outer - wide * 0.8))]  # fmt: skip
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


def _cabin(shape, paint, roof, stations, base, height, half) -> None:
    """Pillars in the body's colour, glass between them, on top of the body."""
    rear_base, rear_roof, front_roof, front_base = stations
    low, high = half * 0.93, half * 0.70
    width = lambda y: low + (high - low) * (y - base) / (height - base)  # noqa: E731
    edge = height - 0.07
    shape.loft(
        [(rear_base, base, low), (rear_roof, edge, width(edge)), (rear_roof + 0.3, height, high), (front_roof - 0.25, height, high),
         (front_roof, edge, width(edge)), (front_base, base, low)],
        roof,
    )  # fmt: skip
    sill, top = base + 0.08, height - 0.11
    at = lambda a, b, y: a + (b - a) * (y - base) / (edge - base)  # noqa: E731
    back = lambda y: at(rear_base, rear_roof, y) + 0.16  # noqa: E731
    front = lambda y: at(front_base, front_roof, y) - 0.16  # noqa: E731
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
        pane = lambda y, z: (at(base_x, roof_x, y) + 0.015 * facing, y, z)  # noqa: B023, E731
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
        [(-end, low, half), (-end, height * 0.9, half * 0.95), (-end + 0.12, height, half * 0.86), (end - roof, height, half * 0.86),
         (end - nose * 0.5, 1.18, half * 0.97), (end, 0.95, half * 0.95), (end, low, half * 0.95)],
        paint,
    )  # fmt: skip
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
    slope = lambda y: end - nose * 0.5 - (roof - nose * 0.5) * (y - 1.18) / (height - 1.18) + 0.02  # noqa: E731
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
        [(split, low - 0.1, half * 0.97), (split, cab_height, half * 0.9), (end - 0.35, cab_height, half * 0.9), (end - 0.03, 1.5, half * 0.96),
         (end, low - 0.15, half * 0.96)],
        paint,
    )  # fmt: skip
    pane = lambda y: end - 0.03 - 0.32 * (y - 1.5) / (cab_height - 1.5) + 0.02  # noqa: E731
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


def _load(shape, rng, kind, rear, front, top, half) -> None:
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
        [(-end + 0.05, low, half), (-end, height - 0.3, half), (-end + 0.2, height, half * 0.92), (end - 0.25, height, half * 0.92),
         (end - 0.04, height - 0.35, half), (end, low, half)],
        paint,
    )  # fmt: skip
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


# --- parts that several vehicles share ------------------------------------------------------------------------


def far_tyres(shape: Shape, axles, radius: float, half: float) -> None:
    """All tyres, drawn before the body so that it covers what it should."""
    for x in axles:
        for side in (-1, 1):
            shape.wheel(x, radius, half - 0.22, half - 0.02, TYRE, side)


def near_wheels(shape: Shape, rng: np.random.Generator, axles, radius: float, half: float, low: float | None) -> None:
    """Wheel arches (above `low`), tyres and rims as they show on the flanks."""
    spokes, rim = int(rng.integers(4, 8)), shade(RIM, rng.uniform(0.55, 1.2))
    for x in axles:
        if low is not None:
            arch = [(px, py) for px, py, _ in circle(x, radius, radius * 1.2, 0.0, 18)[:10]]
            shape.flank([*arch, (arch[-1][0], low), (arch[0][0], low)], half, (20, 20, 22), 0.3)
        shape.flank([(px, py) for px, py, _ in circle(x, radius, radius, 0.0, 18)], half + 0.01, TYRE, 0.3)
        shape.flank([(px, py) for px, py, _ in circle(x, radius, radius * 0.66, 0.0, 14)], half + 0.02, rim, 0.6)
        for k in range(spokes):
            turn = 2 * np.pi * (k + 0.3) / spokes
            tip = [
                (x + radius * 0.56 * np.cos(turn + d), radius + radius * 0.56 * np.sin(turn + d)) for d in (-0.25, 0.25)
            ]
            shape.flank(
                [(x + 0.12 * radius * np.cos(turn), radius + 0.12 * radius * np.sin(turn)), *tip],
                half + 0.03,
                shade(rim, 0.45),
                0.6,
            )


def lamps(
    shape: Shape, x: float, half: float, y0: float, y1: float, colour: Colour, facing: int, wide: float = 0.32
) -> None:
    """A pair of lights at the corners of the front (1) or back (-1)."""
    for sign in (-1, 1):
        outer, inner = sign * half * 0.95, sign * (half * 0.95 - wide)
        shape.end(x, [(outer, y0), (outer, y1), (inner, y1), (inner, y0)], colour, facing, 0.3)


def bumpers(shape: Shape, end: float, half: float, low: float, top: float) -> None:
    """Dark bumpers with number plates at both ends."""
    for facing in (1, -1):
        shape.end(facing * end, [(-half, low), (half, low), (half, top), (-half, top)], DARK, facing)
        middle = (low + top) / 2
        plate = [(-0.26, middle - 0.06), (0.26, middle - 0.06), (0.26, middle + 0.06), (-0.26, middle + 0.06)]
        shape.end(facing * (end + 0.02), plate, PLATE, facing, 0.5)


def livery(shape: Shape, rng: np.random.Generator, x0: float, x1: float, y0: float, y1: float, half: float) -> None:
    """What is painted on a flank: nothing, bands, a slanted field, or blocks like lettering."""
    colour, other, kind = pick(rng, PAINT), pick(rng, PAINT), int(rng.integers(5))
    deep = y1 - y0
    if kind == 1:
        for k, c in ((0.15, colour), (0.35, other)):
            shape.flank(
                [(x0, y0 + k * deep), (x1, y0 + k * deep), (x1, y0 + (k + 0.13) * deep), (x0, y0 + (k + 0.13) * deep)],
                half,
                c,
            )
    elif kind == 2:
        a, b = x0 + 0.2 * (x1 - x0), x0 + 0.6 * (x1 - x0)
        shape.flank([(a, y0), (b, y0), (b + 0.3 * (x1 - x0), y1), (a + 0.3 * (x1 - x0), y1)], half, colour)
    elif kind >= 3:
        y, tall, x = y0 + 0.45 * deep, 0.22 * deep, x0 + 0.15 * (x1 - x0)
        while x < x1 - 0.4:
            wide = rng.uniform(0.12, 0.34)
            shape.flank(
                [(x, y), (x + wide, y), (x + wide, y + tall), (x, y + tall * rng.uniform(0.6, 1.0))], half, colour
            )
            x += wide + 0.08
