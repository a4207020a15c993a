"""People that training draws: walkers and cyclists."""

from __future__ import annotations

import numpy as np

from amodal_ros.lab.datasets.street_world.palette import DARK, HAIR, PAINT, RIM, SKIN, TYRE, pick, shade
from amodal_ros.lab.datasets.street_world.shape import Colour, Point, Shape, circle

STRIDE = 1.4  # metres walked in one full swing of the legs


def pedestrian(rng: np.random.Generator, phase: float | None = None) -> Shape:
    """Somebody standing or walking; `phase` is the swing of the legs in radians, drawn when None."""
    height = rng.uniform(1.55, 1.92) if rng.random() < 0.88 else rng.uniform(1.05, 1.4)
    stout = rng.uniform(0.9, 1.2)
    skin, hair, coat, trousers, shoe = (
        pick(rng, SKIN, 6),
        pick(rng, HAIR),
        pick(rng, PAINT),
        pick(rng, PAINT),
        pick(rng, [DARK, (190, 190, 190)]),
    )
    swing, dress, bag = rng.uniform(0.2, 0.55), int(rng.integers(5)), int(rng.integers(4))
    drawn = rng.uniform(0, 2 * np.pi)
    phase = drawn if phase is None else phase
    shape = Shape(0.5, 0.55, height, gloss=0.18, grain=0.06)
    u = height / 1.75  # the measures below are those of somebody 1.75 m tall
    for side in (-1, 1):
        leg = swing * side * np.sin(phase)
        _leg(shape, u, side, leg, stout, trousers if dress else skin, shoe)
        _arm(shape, u, side, -leg * 0.9, stout, coat, skin)
    shape.part((0.0, 1.0, 0.0))
    if dress == 0:  # a skirt or a long coat
        shape.hull([*_ring(0.55 * u, 0.2 * u * stout), *_ring(0.98 * u, 0.14 * u * stout)], trousers)
    hem = 0.72 if dress == 1 else 0.9
    shape.hull(
        [*_ring(hem * u, 0.155 * u * stout), *_ring(1.12 * u, 0.15 * u * stout), *_ring(1.42 * u, 0.19 * u, 0.11 * u)],
        coat,
    )
    shape.hull([*_ring(hem * u, 0.15 * u * stout), *_ring((hem + 0.05) * u, 0.157 * u * stout)], shade(coat, 0.7))
    if bag == 1:
        shape.part((-0.3, 1.2, 0.0))
        shape.hull(
            [(x, y * u, z * u) for x in (-0.3, -0.12) for y in (0.98, 1.4) for z in (-0.14, 0.14)], pick(rng, PAINT)
        )
    elif bag == 2:
        shape.part((0.05, 0.6, 0.4))
        shape.hull(
            [(x, y * u, z * u) for x in (-0.14, 0.14) for y in (0.5, 0.8) for z in (0.26, 0.34)], pick(rng, PAINT)
        )
    _head(shape, u, 0.0, 1.6 * u, skin, hair, hat=rng.random() < 0.2, hat_colour=pick(rng, PAINT))
    return shape


def _ring(y: float, half: float, deep: float | None = None) -> list:
    """Points around the body at height y: half the breadth, half the depth."""
    deep = half * 0.68 if deep is None else deep
    return [
        (deep * c, y, half * s)
        for c, s in zip(np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4), strict=True)
    ]


def _leg(shape: Shape, u: float, side: int, angle: float, stout: float, cloth: Colour, shoe: Colour) -> None:
    hip = (0.0, 0.9 * u, side * 0.09 * u)
    bend = max(0.0, -angle) * 0.9
    knee = (0.44 * u * np.sin(angle), (0.9 - 0.42 * np.cos(angle)) * u, hip[2])
    lower = angle - bend
    foot = (knee[0] + 0.42 * u * np.sin(lower), max(0.06, knee[1] - 0.42 * u * np.cos(lower)), hip[2])
    shape.part((knee[0], 0.5, side * 0.09))
    cloth = cloth if side > 0 else shade(cloth, 0.86)
    shape.capsule(
        (foot[0], max(foot[1] - 0.02, 0.05), foot[2]),
        (foot[0] + 0.16 * u, 0.045 + max(0, foot[1] - 0.08), foot[2]),
        0.055 * u,
        0.045 * u,
        shoe,
    )
    shape.capsule(knee, foot, 0.07 * u * stout, 0.05 * u, cloth)
    shape.capsule(hip, knee, 0.1 * u * stout, 0.075 * u * stout, cloth)


def _arm(shape: Shape, u: float, side: int, angle: float, stout: float, sleeve: Colour, skin: Colour) -> None:
    z = side * 0.22 * u * stout
    shoulder = (0.0, 1.38 * u, side * 0.185 * u)
    elbow = (0.29 * u * np.sin(angle), (1.38 - 0.29 * np.cos(angle)) * u, z)
    fore = angle + 0.3
    hand = (elbow[0] + 0.27 * u * np.sin(fore), elbow[1] - 0.27 * u * np.cos(fore), z)
    shape.part((elbow[0], 1.1, side * 0.5))
    sleeve = shade(sleeve, 0.86 if side > 0 else 0.78)
    shape.capsule(hand, hand, 0.045 * u, 0.045 * u, skin)
    shape.capsule(elbow, hand, 0.05 * u, 0.038 * u, sleeve)
    shape.capsule(shoulder, elbow, 0.062 * u, 0.052 * u, sleeve)


def _head(
    shape: Shape, u: float, x: float, y: float, skin: Colour, hair: Colour, hat: bool, hat_colour: Colour
) -> None:
    shape.part((x, 3.0, 0.0))
    shape.capsule((x - 0.01, y - 0.18 * u, 0.0), (x, y - 0.08 * u, 0.0), 0.055 * u, 0.055 * u, shade(skin, 0.82))
    shape.capsule((x + 0.005, y - 0.03 * u, 0.0), (x, y + 0.035 * u, 0.0), 0.085 * u, 0.1 * u, hair)
    face = [
        (x + 0.1 * u, y + 0.075 * u * s - 0.035 * u, 0.075 * u * c)
        for c, s in zip(np.cos(np.arange(10) * np.pi / 5), np.sin(np.arange(10) * np.pi / 5), strict=True)
    ]
    shape.face(face, skin, (x, y, 0.0), 0.3)
    for side in (-1, 1):
        cheek = [
            (x + dx * u, y + dy * u, side * 0.086 * u)
            for dx, dy in ((0.0, -0.1), (0.085, -0.1), (0.095, 0.02), (0.02, 0.02))
        ]
        shape.face(cheek, skin, (x, y, 0.0), 0.3)
    if hat:
        shape.capsule((x, y + 0.05 * u, 0.0), (x, y + 0.09 * u, 0.0), 0.105 * u, 0.09 * u, hat_colour)


def cyclist(rng: np.random.Generator, phase: float | None = None) -> Shape:
    """Somebody on a bicycle; `phase` is the angle of the pedals in radians, drawn when None."""
    drawn = rng.uniform(0, 2 * np.pi)
    phase = drawn if phase is None else phase
    lean, frame = rng.uniform(0.15, 0.5), pick(rng, PAINT)
    skin, coat, trousers, helmet = pick(rng, SKIN, 6), pick(rng, PAINT), pick(rng, PAINT), pick(rng, PAINT)
    shape = Shape(1.75, 0.6, 1.78, gloss=0.18, grain=0.05)
    shape.part((0.0, 0.5, 0.0))
    radius = 0.34
    for x in (-0.52, 0.54):
        _bicycle_wheel(shape, x, radius)
    hub, crank, saddle, steer = (-0.52, radius, 0.0), (-0.06, 0.3, 0.0), (-0.22, 0.92, 0.0), (0.38, 0.93, 0.0)
    for a, b in (
        (hub, crank),
        (hub, saddle),
        (crank, saddle),
        (crank, (0.40, 0.82, 0.0)),
        (saddle, (0.40, 0.86, 0.0)),
        (steer, (0.54, radius, 0.0)),
    ):
        shape.capsule(a, b, 0.028, 0.028, frame)
    shape.capsule((saddle[0] - 0.1, 0.96, 0.0), (saddle[0] + 0.12, 0.96, 0.0), 0.06, 0.035, DARK)
    shape.capsule((steer[0], 1.02, -0.26), (steer[0], 1.02, 0.26), 0.025, 0.025, DARK)
    shape.capsule((-0.86, 0.62, 0.0), (-0.86, 0.66, 0.0), 0.035, 0.035, (176, 24, 26))
    hip = (-0.2, 1.0, 0.0)
    shoulder = (hip[0] + 0.55 * np.sin(lean) + 0.05, hip[1] + 0.52 * np.cos(lean), 0.0)
    for side in (-1, 1):
        _pedalling_leg(shape, hip, crank, side, phase + (np.pi if side > 0 else 0.0), trousers)
        shape.part((0.2, 1.2, side * 0.5))
        grip, z = (steer[0] + 0.02, 1.05, side * 0.24), side * 0.17
        elbow = ((shoulder[0] + grip[0]) / 2 - 0.04, (shoulder[1] + grip[1]) / 2 - 0.06, side * 0.25)
        shape.capsule(elbow, grip, 0.05, 0.038, shade(coat, 0.82))
        shape.capsule((shoulder[0], shoulder[1] - 0.04, z), elbow, 0.06, 0.05, shade(coat, 0.82))
    shape.part((0.0, 1.2, 0.0))
    cos, sin = np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)
    low = [(hip[0] + 0.12 * c, hip[1] - 0.02, 0.16 * s) for c, s in zip(cos, sin, strict=True)]
    high = [(shoulder[0] + 0.1 * c, shoulder[1], 0.19 * s) for c, s in zip(cos, sin, strict=True)]
    shape.hull(low + high, coat)
    if rng.random() < 0.3:
        back = [
            (hip[0] - 0.1, 1.1),
            (hip[0] - 0.26, 1.16),
            (shoulder[0] - 0.3, shoulder[1] - 0.02),
            (shoulder[0] - 0.1, shoulder[1]),
        ]
        shape.part((-0.3, 1.2, 0.0))
        shape.hull([(x, y, z) for x, y in back for z in (-0.13, 0.13)], pick(rng, PAINT))
    _head(
        shape,
        1.0,
        shoulder[0] + 0.09,
        shoulder[1] + 0.2,
        skin,
        pick(rng, HAIR),
        hat=rng.random() < 0.6,
        hat_colour=helmet,
    )
    return shape


def _bicycle_wheel(shape: Shape, x: float, radius: float) -> None:
    shape.wheel(x, radius, -0.025, 0.025, TYRE, 1)
    for sign in (-1, 1):
        z = sign * 0.03
        shape.face(circle(x, radius, radius * 0.86, z, 18), shade(RIM, 0.62), (x, radius, 0.0), 0.3)
        for k in range(6):
            turn = np.pi * k / 6 + 0.2
            c, s = radius * 0.86 * np.cos(turn), radius * 0.86 * np.sin(turn)
            shape.face(
                [
                    (x - c, radius - s, z),
                    (x - c + 0.02, radius - s, z),
                    (x + c + 0.02, radius + s, z),
                    (x + c, radius + s, z),
                ],
                shade(RIM, 0.95),
                (x, radius, 0.0),
                0.3,
            )
    shape.capsule((x, radius, -0.04), (x, radius, 0.04), 0.035, 0.035, DARK)


def _pedalling_leg(shape: Shape, hip: Point, crank: Point, side: int, turn: float, cloth: Colour) -> None:
    foot = np.array([crank[0] + 0.16 * np.cos(turn), crank[1] + 0.16 * np.sin(turn)])
    start = np.array(hip[:2])
    reach = min(float(np.hypot(*(foot - start))), 0.85)
    bend = np.sqrt(max(0.43**2 - (reach / 2) ** 2, 0.0))
    along = (foot - start) / reach
    knee = (start + foot) / 2 + bend * np.array([-along[1], along[0]])
    if knee[0] < (start[0] + foot[0]) / 2:
        knee = (start + foot) / 2 - bend * np.array([-along[1], along[0]])
    z = side * 0.11
    shape.part((0.0, 0.6, side * 0.4))
    cloth = shade(cloth, 1.0 if side > 0 else 0.85)
    shape.capsule((foot[0] - 0.05, foot[1], z), (foot[0] + 0.13, foot[1], z), 0.05, 0.045, DARK)
    shape.capsule((knee[0], knee[1], z), (foot[0], foot[1] + 0.04, z), 0.065, 0.05, cloth)
    shape.capsule((hip[0], hip[1], z), (knee[0], knee[1], z), 0.1, 0.07, cloth)
