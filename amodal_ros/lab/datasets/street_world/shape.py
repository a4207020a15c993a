"""A shape: coloured faces, hulls and capsules in an object's own axes (forward, up, right; metres from the ground)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np

Colour = tuple[float, float, float]  # RGB in [0, 255]
Point = tuple[float, float, float]
Width = float | Callable[[float], float]  # metres: the same all over, or by height

FACE, HULL, CAPSULE = 0, 1, 2


@dataclass
class Shape:
    """What an object looks like from anywhere.

    Primitives are drawn in the order added, faces that look away are left out, so every solid must be convex, and
    whatever lies on a solid comes after it. `part` opens a new group: groups are drawn from far to near.

    Attributes:
        length, width: the footprint on the ground in metres.
        height: metres; only used to size windows around the object.
        gloss: strength of the vertical light gradient drawn over it.
        grain: strength of the texture drawn over it.
    """

    length: float
    width: float
    height: float
    gloss: float = 0.25
    grain: float = 0.04
    points: list[Point] = field(default_factory=list)
    kinds: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    colours: list[Colour] = field(default_factory=list)
    normals: list[tuple[float, float, float]] = field(default_factory=list)  # zero: visible from both sides
    lit: list[float] = field(default_factory=list)  # 1: shaded by the sun, 0: not
    radii: list[tuple[float, float]] = field(default_factory=list)
    parts: list[int] = field(default_factory=list)
    anchors: list[Point] = field(default_factory=list)

    def part(self, anchor: Point) -> None:
        """Open a group whose distance is that of `anchor`."""
        self.anchors.append(anchor)

    def _add(
        self,
        kind: int,
        points: Iterable[Point],
        colour: Colour,
        normal: Point = (0.0, 0.0, 0.0),
        lit: float = 1.0,
        radii: tuple[float, float] = (0.0, 0.0),
    ) -> None:
        if not self.anchors:
            self.anchors.append((0.0, 0.0, 0.0))
        self.kinds.append(kind)
        self.starts.append(len(self.points))
        self.points.extend(points)
        self.colours.append(colour)
        self.normals.append(normal)
        self.lit.append(lit)
        self.radii.append(radii)
        self.parts.append(len(self.anchors) - 1)

    def face(self, corners: Sequence[Point], colour: Colour, inside: Point | None = None, lit: float = 1.0) -> None:
        """A flat polygon; `inside` is a point behind it, None when it is to be seen from both sides."""
        normal = (0.0, 0.0, 0.0)
        if inside is not None:
            normal = _outward_normal(corners, inside)
        self._add(FACE, corners, colour, normal, lit)

    def hull(self, points: Sequence[Point], colour: Colour, lit: float = 0.0) -> None:
        """The outline around points: what a convex body of one colour looks like."""
        self._add(HULL, points, colour, lit=lit)

    def capsule(self, a: Point, b: Point, radius_a: float, radius_b: float, colour: Colour) -> None:
        """Two balls and all between them."""
        self._add(CAPSULE, (a, b), colour, lit=0.0, radii=(radius_a, radius_b))

    # --- solids built from these ------------------------------------------------------------------------------

    def loft(self, profile: Sequence[tuple[float, float, float]], colour: Colour) -> None:
        """A convex side view (forward, up, half width) with flanks to the left and right and a strip around."""
        centre = tuple(np.mean([(x, y, 0.0) for x, y, _ in profile], axis=0))
        for sign in (-1, 1):
            self.face([(x, y, sign * w) for x, y, w in profile], colour, centre)
        for (xa, ya, wa), (xb, yb, wb) in zip(profile, [*profile[1:], profile[0]], strict=True):
            self.face([(xa, ya, -wa), (xa, ya, wa), (xb, yb, wb), (xb, yb, -wb)], colour, centre)

    def box(self, x0: float, x1: float, y0: float, y1: float, half: float, colour: Colour, middle: float = 0.0) -> None:
        """An upright box from x0 to x1 (forward) and y0 to y1 (up), `half` to both sides of `middle`."""
        centre = ((x0 + x1) / 2, (y0 + y1) / 2, middle)
        left, right = middle - half, middle + half
        for z in (left, right):
            self.face([(x0, y0, z), (x1, y0, z), (x1, y1, z), (x0, y1, z)], colour, centre)
        for x in (x0, x1):
            self.face([(x, y0, left), (x, y0, right), (x, y1, right), (x, y1, left)], colour, centre)
        for y in (y0, y1):
            self.face([(x0, y, left), (x1, y, left), (x1, y, right), (x0, y, right)], colour, centre)

    def flank(self, outline: Sequence[tuple[float, float]], half: Width, colour: Colour, lit: float = 1.0) -> None:
        """The same flat patch (forward, up) on both flanks; `half`: their half width, a number or a function of up."""
        reach = half if callable(half) else lambda _: half
        for sign in (-1, 1):
            self.face(
                [(x, y, sign * (reach(y) + 0.005)) for x, y in outline], colour, (outline[0][0], outline[0][1], 0), lit
            )

    def end(
        self, x: float, outline: Sequence[tuple[float, float]], colour: Colour, facing: int, lit: float = 1.0
    ) -> None:
        """A flat patch (right, up) on the front (`facing` 1) or the back (-1) at `x`."""
        self.face(
            [(x + 0.01 * facing, y, z) for z, y in outline], colour, (x - facing, outline[0][1], outline[0][0]), lit
        )

    def wheel(self, x: float, radius: float, inner: float, outer: float, colour: Colour, side: int) -> None:
        """A tyre as a short cylinder between `inner` and `outer` to one side."""
        self.hull([*circle(x, radius, radius, side * inner), *circle(x, radius, radius, side * outer)], colour)


def circle(x: float, y: float, radius: float, z: float, corners: int = 14) -> list[Point]:
    """Points of an upright circle in the plane of a flank."""
    return [(x + radius * c, y + radius * s, z) for c, s in turns(corners)]


@cache
def turns(corners: int, start: float = 0.0) -> list[tuple[float, float]]:
    """(cosine, sine) of equal steps around a circle from `start` (radians)."""
    turn = start + np.arange(corners) * (2 * np.pi / corners)
    return list(zip(np.cos(turn).tolist(), np.sin(turn).tolist(), strict=True))


def _outward_normal(corners: Sequence[Point], inside: Point) -> Point:
    """Unit normal of a polygon (Newell's sum, so that corners may lie off the plane a little), away from `inside`."""
    nx = ny = nz = 0.0
    ax, ay, az = corners[-1]
    for bx, by, bz in corners:
        nx += (ay - by) * (az + bz)
        ny += (az - bz) * (ax + bx)
        nz += (ax - bx) * (ay + by)
        ax, ay, az = bx, by, bz
    size = (nx * nx + ny * ny + nz * nz) ** 0.5 or 1.0
    if nx * (ax - inside[0]) + ny * (ay - inside[1]) + nz * (az - inside[2]) < 0:
        size = -size
    return nx / size, ny / size, nz / size
