"""Parts that several vehicles share: wheels, lamps, bumpers, and what is painted on a flank."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amodal_ros.lab.datasets.street_world.palette import DARK, PAINT, RIM, TYRE, pick, shade
from amodal_ros.lab.datasets.street_world.shape import Colour, Shape, circle

HEADLIGHT: Colour = (236, 238, 226)
TAILLIGHT: Colour = (176, 24, 26)
PLATE: Colour = (224, 222, 204)


def far_tyres(shape: Shape, axles: Sequence[float], radius: float, half: float) -> None:
    """All tyres, drawn before the body so that it covers what it should."""
    for x in axles:
        for side in (-1, 1):
            shape.wheel(x, radius, half - 0.22, half - 0.02, TYRE, side)


def near_wheels(
    shape: Shape, rng: np.random.Generator, axles: Sequence[float], radius: float, half: float, low: float | None
) -> None:
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
