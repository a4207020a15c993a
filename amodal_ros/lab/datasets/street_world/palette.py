"""Colours (RGB) that objects and buildings share, so that colour alone tells no object from what is behind it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amodal_ros.lab.datasets.street_world.shape import Colour

PAINT = [
    (232, 233, 230), (190, 193, 196), (128, 132, 138), (66, 69, 74), (34, 35, 39), (158, 34, 34), (186, 62, 40),
    (34, 62, 128), (60, 104, 160), (120, 160, 196), (30, 84, 62), (96, 118, 86), (206, 190, 152), (150, 118, 84),
    (214, 168, 44), (110, 44, 60), (84, 60, 110), (206, 118, 56), (72, 140, 140),
]  # fmt: skip
WALL = [
    (196, 180, 156), (214, 208, 196), (164, 124, 98), (148, 92, 74), (172, 168, 164), (126, 124, 126), (206, 190, 152),
    (188, 150, 120), (150, 160, 168), (104, 98, 96), (222, 202, 170), (140, 150, 130), (120, 160, 196), (158, 60, 44),
]  # fmt: skip
SKIN = [(236, 198, 172), (214, 168, 136), (170, 120, 88), (120, 80, 58), (80, 54, 42)]
HAIR = [(36, 28, 24), (70, 48, 32), (120, 84, 50), (180, 146, 92), (150, 150, 150)]
LEAF = [(62, 92, 44), (84, 112, 52), (48, 76, 46), (106, 118, 58), (134, 112, 50)]
BARK = [(86, 68, 52), (104, 92, 80), (66, 54, 44)]
STEEL = [(120, 124, 126), (86, 90, 92), (58, 66, 62), (150, 152, 150), (70, 74, 84)]
GLASS: Colour = (44, 54, 64)
TYRE: Colour = (26, 26, 28)
RIM: Colour = (158, 160, 164)
DARK: Colour = (36, 37, 40)


def pick(rng: np.random.Generator, colours: Sequence[Colour], spread: float = 14.0) -> Colour:
    """One of the colours, moved a little."""
    r, g, b = colours[int(rng.integers(len(colours)))]
    dr, dg, db = rng.uniform(-spread, spread, 3)
    return r + dr, g + dg, b + db


def shade(colour: Colour, factor: float) -> Colour:
    """Darker below 1, lighter above."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """`share` of b, the rest a."""
    red, green, blue = (x * (1 - share) + y * share for x, y in zip(a, b, strict=True))
    return red, green, blue
