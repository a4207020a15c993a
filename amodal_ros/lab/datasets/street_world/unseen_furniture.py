"""What hides objects in tests only: nothing here is ever drawn for training."""

from __future__ import annotations

import numpy as np

from amodal_ros.lab.datasets.street_world.furniture import upright
from amodal_ros.lab.datasets.street_world.palette import BARK, LEAF, PAINT, TYRE, WALL, pick, shade
from amodal_ros.lab.datasets.street_world.shape import Shape


def column(rng: np.random.Generator) -> Shape:
    """An advertising column with a domed top and posters."""
    radius, height, paint = rng.uniform(0.4, 0.65), rng.uniform(2.4, 3.2), pick(rng, WALL)
    shape = Shape(2 * radius, 2 * radius, height + 0.4, gloss=0.1)
    shape.part((0.0, 0.0, 0.0))
    upright(shape, 0.0, height, radius, radius, paint)
    for k in range(8):
        turn, y = k * np.pi / 4, rng.uniform(0.6, 1.1)
        poster = [
            (radius * 1.02 * np.cos(turn + d), y + dy, radius * 1.02 * np.sin(turn + d))
            for d, dy in ((-0.3, 0), (0.3, 0), (0.3, 1.1), (-0.3, 1.1))
        ]
        shape.face(poster, pick(rng, PAINT), (0.0, y, 0.0), 0.5)
    upright(shape, height, height + 0.15, radius * 1.15, radius * 1.15, shade(paint, 0.6))
    upright(shape, height + 0.15, height + 0.4, radius, radius * 0.2, shade(paint, 0.7))
    return shape


def bin_(rng: np.random.Generator) -> Shape:
    """A wheeled refuse container."""
    half, deep, height, paint = rng.uniform(0.35, 0.7), 0.35, rng.uniform(1.05, 1.3), pick(rng, PAINT)
    shape = Shape(2 * deep, 2 * half, height, gloss=0.15)
    shape.part((0.0, 0.0, 0.0))
    for side in (-1, 1):
        shape.wheel(0.0, 0.1, half - 0.1, half, TYRE, side)
    shape.loft(
        [(-deep * 0.8, 0.1, half * 0.85), (-deep, height, half), (deep, height, half), (deep * 0.8, 0.1, half * 0.85)],
        paint,
    )
    shape.box(-deep - 0.04, deep + 0.04, height, height + 0.1, half + 0.04, shade(paint, 0.7))
    return shape


def conifer(rng: np.random.Generator) -> Shape:
    """A conifer: stacked cones over a short trunk."""
    height, leaf, tiers = rng.uniform(3.0, 6.0), pick(rng, LEAF), 4
    shape = Shape(0.8, 0.8, height, gloss=0.1, grain=0.3)
    shape.part((0.0, 0.0, 0.0))
    upright(shape, 0.0, 0.8, 0.15, 0.13, pick(rng, BARK))
    for k in range(tiers):
        y = 0.6 + (height - 0.8) * k / tiers
        wide = 1.1 * (1 - 0.2 * k) * rng.uniform(0.9, 1.1)
        upright(shape, y, y + (height - y) * 0.62, wide, 0.05, shade(leaf, 0.75 + 0.12 * k))
    return shape


def planter(rng: np.random.Generator) -> Shape:
    """A concrete tub with a round bush."""
    half, height, stone, leaf = rng.uniform(0.4, 0.7), rng.uniform(0.5, 0.7), pick(rng, WALL), pick(rng, LEAF)
    shape = Shape(2 * half, 2 * half, height + 0.9, gloss=0.1, grain=0.25)
    shape.part((0.0, 0.0, 0.0))
    shape.loft(
        [(-half * 0.8, 0.0, half * 0.8), (-half, height, half), (half, height, half), (half * 0.8, 0.0, half * 0.8)],
        stone,
    )
    for _ in range(9):
        x, y, z = rng.uniform(-half, half) * 0.7, height + rng.uniform(0.1, 0.6), rng.uniform(-half, half) * 0.7
        shape.capsule((x, y, z), (x, y, z), *(2 * (rng.uniform(0.18, 0.32),)), shade(leaf, rng.uniform(0.7, 1.25)))
    return shape
