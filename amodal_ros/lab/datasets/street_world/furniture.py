"""What stands along streets that training draws, and hides others: poles, trees, signs, fences."""

from __future__ import annotations

import numpy as np

from amodal_ros.lab.datasets.street_world.palette import BARK, DARK, LEAF, PAINT, STEEL, WALL, pick, shade
from amodal_ros.lab.datasets.street_world.shape import Colour, Shape, turns


def pole(rng: np.random.Generator) -> Shape:
    """A street lamp, a traffic light or a plain post."""
    kind, steel = int(rng.integers(4)), pick(rng, STEEL + WALL[:3])
    radius = rng.uniform(0.07, 0.2)
    height = (rng.uniform(4.5, 7.0), rng.uniform(3.0, 3.8), rng.uniform(2.2, 4.0), rng.uniform(5.0, 8.0))[kind]
    shape = Shape(0.4, 0.4, height, gloss=0.1, grain=0.08)
    shape.part((0.0, 0.0, 0.0))
    upright(shape, 0.0, height, radius, radius * 0.8, steel)
    upright(shape, 0.0, rng.uniform(0.2, 0.9), radius * 1.5, radius * 1.4, shade(steel, 0.8))
    if kind == 0:
        reach = rng.uniform(0.8, 1.8)
        shape.capsule((0.0, height, 0.0), (reach, height + 0.2, 0.0), 0.07, 0.06, steel)
        shape.capsule((reach, height + 0.18, 0.0), (reach + 0.5, height + 0.2, 0.0), 0.12, 0.1, shade(steel, 0.7))
    elif kind == 1:
        shape.box(-0.16, 0.16, height - 0.95, height, 0.18, DARK)
        lit = int(rng.integers(3))
        for k, colour in enumerate(((60, 190, 110), (224, 168, 48), (208, 46, 40))):
            y = height - 0.8 + 0.31 * k
            for sign in (-1, 1):
                disc = [(sign * 0.17, y + 0.1 * s, 0.1 * c) for c, s in turns(10)]
                shape.face(disc, colour if k == lit else shade(colour, 0.35), (0.0, y, 0.0), 0.0)
    elif kind == 2 and rng.random() < 0.5:
        for y in np.arange(0.5, height, 0.8):
            upright(shape, y, y + 0.35, radius * 1.02, radius * 1.02, pick(rng, PAINT))
    return shape


def tree(rng: np.random.Generator) -> Shape:
    """A broad-leaved tree: a trunk, sometimes forked, under a ragged round crown."""
    bark, leaf, height = pick(rng, BARK), pick(rng, LEAF), rng.uniform(4.0, 7.5)
    fork, radius, crown = rng.uniform(1.7, 2.8), rng.uniform(0.12, 0.27), rng.uniform(1.1, 2.1)
    shape = Shape(0.7, 0.7, height, gloss=0.1, grain=0.3)
    shape.part((0.0, 0.0, 0.0))
    lean = rng.uniform(-0.25, 0.25)
    shape.capsule((0.0, radius, 0.0), (lean, fork, 0.0), radius * 1.25, radius * 0.85, bark)
    shape.capsule((0.0, radius, radius * 0.3), (lean, fork, radius * 0.3), radius * 0.3, radius * 0.2, shade(bark, 1.3))
    for z in (-0.5, 0.5):
        shape.capsule((lean, fork - 0.1, 0.0), (lean * 2, fork + 1.0, z), radius * 0.7, radius * 0.4, shade(bark, 0.9))
    middle = (fork + height) / 2 + 0.3
    blobs = int(rng.integers(14, 24))
    for k in range(blobs):
        turn, out = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random()) * crown * 0.75
        y = middle + (height - fork) / 2 * 0.75 * rng.uniform(-1, 1)
        place = (lean + out * np.cos(turn), y, out * np.sin(turn))
        shape.capsule(
            place,
            place,
            *(2 * (crown * rng.uniform(0.25, 0.5),)),
            shade(leaf, 0.7 + 0.5 * k / blobs + 0.06 * (y - middle)),
        )
    return shape


def sign(rng: np.random.Generator) -> Shape:
    """A traffic sign, or a street name or advertising board between posts."""
    steel, kind = pick(rng, STEEL), int(rng.integers(5))
    if kind == 4:
        return _board(rng)
    top, size = rng.uniform(2.1, 2.8), rng.uniform(0.32, 0.48)
    shape = Shape(0.3, 2 * size, top + size, gloss=0.1, grain=0.05)
    shape.part((0.0, 0.0, 0.0))
    upright(shape, 0.0, top + size * 0.9, 0.045, 0.045, steel)
    corners, turn, rim, inner = (
        (16, 0.0, (186, 30, 34), (232, 232, 228)),
        (3, np.pi / 2, (186, 30, 34), (236, 222, 160)),
        (4, np.pi / 4, (30, 70, 150), (40, 96, 190)),
        (8, np.pi / 8, (236, 236, 232), (182, 30, 32)),
    )[kind]
    for scale, x, colour in ((1.0, 0.06, rim), (0.78, 0.07, inner)):
        plate = [(x, top + size * scale * s, size * scale * c) for c, s in turns(corners, turn)]
        shape.face(plate, colour, (0.0, top, 0.0), 0.3)
    shape.face([(-0.06, top + size * s, size * c) for c, s in turns(corners, turn)], shade(steel, 0.8), (0.0, top, 0.0))
    shape.face(
        [
            (0.08, top - size * 0.1, -size * 0.4),
            (0.08, top - size * 0.1, size * 0.4),
            (0.08, top + size * 0.12, size * 0.4),
            (0.08, top + size * 0.12, -size * 0.4),
        ],
        DARK,
        (0.0, top, 0.0),
    )
    return shape


def _board(rng: np.random.Generator) -> Shape:
    low, high, half = rng.uniform(0.5, 1.0), rng.uniform(1.7, 2.4), rng.uniform(0.5, 0.95)
    shape = Shape(0.3, 2 * half, high, gloss=0.15, grain=0.06)
    shape.part((0.0, 0.0, 0.0))
    frame, sheet, ink = pick(rng, STEEL), pick(rng, PAINT), pick(rng, WALL)
    for z in (-half * 0.85, half * 0.85):
        upright(shape, 0.0, high, 0.05, 0.05, frame, z)
    shape.box(-0.08, 0.08, low, high, half, frame)
    for facing in (1, -1):
        shape.end(
            0.08 * facing,
            [
                (-half * 0.92, low + 0.06),
                (half * 0.92, low + 0.06),
                (half * 0.92, high - 0.06),
                (-half * 0.92, high - 0.06),
            ],
            sheet,
            facing,
            0.4,
        )
        for k in range(int(rng.integers(1, 4))):
            y = low + 0.2 + 0.3 * k
            shape.end(
                0.09 * facing,
                [
                    (-half * 0.7, y),
                    (half * rng.uniform(0.0, 0.8), y),
                    (half * rng.uniform(0.0, 0.8), y + 0.14),
                    (-half * 0.7, y + 0.14),
                ],
                ink,
                facing,
                0.4,
            )
    return shape


def fence(rng: np.random.Generator) -> Shape:
    """A picket fence, a railing, a low wall, a hedge or a crash barrier along its heading."""
    kind, length = int(rng.integers(5)), rng.uniform(2.5, 6.0)
    height = (rng.uniform(0.9, 1.3), rng.uniform(0.9, 1.1), rng.uniform(0.6, 1.1), rng.uniform(0.8, 1.3), 0.78)[kind]
    end = length / 2
    shape = Shape(length, 0.4, height, gloss=0.15, grain=0.12)
    shape.part((0.0, 0.0, 0.0))
    if kind == 0:
        wood = pick(rng, BARK + WALL)
        for y in (0.3 * height, 0.75 * height):
            shape.face([(-end, y, 0.0), (end, y, 0.0), (end, y + 0.09, 0.0), (-end, y + 0.09, 0.0)], shade(wood, 0.75))
        for x in np.arange(-end, end, 0.21):
            shape.face(
                [
                    (x, 0.0, 0.02),
                    (x + 0.12, 0.0, 0.02),
                    (x + 0.12, height - 0.06, 0.02),
                    (x + 0.06, height, 0.02),
                    (x, height - 0.06, 0.02),
                ],
                wood,
            )
    elif kind == 1:
        steel = pick(rng, STEEL)
        for y in (0.12, height):
            shape.capsule((-end, y, 0.0), (end, y, 0.0), 0.035, 0.035, steel)
        for x in np.linspace(-end, end, int(length / 0.28)):
            shape.capsule((x, 0.0, 0.0), (x, height, 0.0), 0.02, 0.02, shade(steel, 0.85))
    elif kind == 2:
        wall = pick(rng, WALL)
        shape.box(-end, end, 0.0, height, 0.16, wall)
        for row, y in enumerate(np.arange(0.0, height - 0.1, 0.2)):
            for x in np.arange(-end + 0.2 * (row % 2), end - 0.36, 0.8):
                shape.flank(
                    [(x, y + 0.02), (x + 0.36, y + 0.02), (x + 0.36, y + 0.18), (x, y + 0.18)],
                    0.16,
                    shade(wall, 0.8 + 0.3 * rng.random()),
                )
        shape.box(-end - 0.03, end + 0.03, height, height + 0.08, 0.2, shade(wall, 1.15))
    elif kind == 3:
        leaf = pick(rng, LEAF)
        shape.grain = 0.3
        shape.box(-end, end, 0.0, height * 0.9, 0.3, shade(leaf, 0.8))
        for x in np.arange(-end, end, 0.22):
            y = height * rng.uniform(0.3, 0.88)
            shape.capsule((x, y, 0.0), (x + 0.2, y, 0.0), 0.2, 0.24, shade(leaf, 0.6 + 0.6 * y / height))
    else:
        steel = pick(rng, STEEL)
        for x in np.arange(-end + 0.2, end, 1.2):
            upright(shape, 0.0, 0.6, 0.06, 0.06, shade(steel, 0.7), 0.0, x)
        for y0, y1, light in ((0.45, 0.55, 1.2), (0.55, 0.68, 0.85), (0.68, 0.78, 1.3)):
            shape.face([(-end, y0, -0.1), (end, y0, -0.1), (end, y1, -0.1), (-end, y1, -0.1)], shade(steel, light))
    return shape


def upright(
    shape: Shape, y0: float, y1: float, r0: float, r1: float, colour: Colour, z: float = 0.0, x: float = 0.0
) -> None:
    """A post: an upright cylinder with a lit stripe."""
    for scale, shift, light in ((1.0, 0.0, 1.0), (0.35, 0.4, 1.25)):
        low = [(x + r0 * (scale * c + shift), y0, z + r0 * (scale * s + shift)) for c, s in turns(8)]
        high = [(x + r1 * (scale * c + shift), y1, z + r1 * (scale * s + shift)) for c, s in turns(8)]
        shape.hull(low + high, shade(colour, light))
