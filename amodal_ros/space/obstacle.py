"""From an object's masks to where it stands: with depth, or by where it touches the ground.

Every pixel of the amodal mask gets a depth. With a depth image the hidden pixels take on the surface that is seen of
the object. Without one the object is a board that stands where the lowest amodal pixel meets the ground: only the
contact is projected. Back-projecting a whole mask onto the ground would smear a car's roof to the horizon.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from amodal_ros.scene.mask import MaskRegion
from amodal_ros.space.camera import PinholeCamera
from amodal_ros.space.ground import Ground
from amodal_ros.space.surface import Surface, continued

#: Pixels taken off the visible mask's rim, where depth images mix object and background.
RIM = 2
#: Visible depths further from their median than this many (robust) standard deviations, or than `LEAST_SPREAD`
#: metres if that is more, belong to something else.
OUTLIER, LEAST_SPREAD = 3.0, 0.5
#: Fewer known depths than this tell no surface.
LEAST_DEPTHS = 5
#: A hidden point stands at least this far (metres) behind what hides it.
BEHIND = 0.1
#: Quantiles of the visible depths that bound an object's distance.
SPREAD = (0.05, 0.95)
#: Points per object are at most about this many, however near it is.
MOST_POINTS = 2000
#: The distance that sets the points' spacing comes from about this many pixels.
MIDDLE_SAMPLE = 400


NOWHERE = "no pixel of it has a place"


class Unplaced(ValueError):
    """An object cannot be put into the world; the message says why."""


@dataclass(frozen=True)
class Obstacle:
    """One object in the camera's optical frame, metres.

    Attributes:
        points: float32 (n, 3), its surface as far as it can be told, seen points first.
        hidden: bool (n,), the point lies behind something.
        distance: z of its nearest part: where it touches the ground, or its surface.
        near, far: bounds of `distance`. near is 0 when the image's lower edge cuts the object off.
        centre, size: box along the optical axes (3,): width, height, and at least the class's thickness in depth.
        truncated: the image's border cuts the object: it may be nearer (lower edge) or wider than told.
        by_depth: the distance was seen by depth, not taken from the ground.
    """

    points: np.ndarray
    hidden: np.ndarray
    distance: float
    near: float
    far: float
    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    truncated: bool
    by_depth: bool


def with_depth(
    visible: MaskRegion,
    amodal: MaskRegion,
    depth: np.ndarray,
    camera: PinholeCamera,
    *,
    thickness: float = 0.5,
    spacing: float = 0.1,
) -> Obstacle:
    """An object from the depth of what is seen of it.

    Hidden pixels continue the face that is seen (outliers cut), pushed behind what hides them. Where the
    depth image shows something further away than the object's own depth range there is nothing to hide the object: such
    pixels are left out.

    Args:
        visible, amodal: V and A in the image's pixels; A contains V and may leave the image.
        depth: float (height, width), metres along z (REP 118); not finite and <= 0 mean unknown.
        thickness: of such an object in metres: the box's least depth, and how far hidden parts may lie behind
            the surface that is seen.
        spacing: wished distance of the points in metres.

    Raises:
        Unplaced: too little depth is known on the visible part.
        ValueError: a depth image of another size than the camera's.
    """
    (found,) = all_with_depth([(visible, amodal, thickness)], depth, camera, spacing=spacing)
    if isinstance(found, Unplaced):
        raise found
    return found


def all_with_depth(
    objects: Sequence[tuple[MaskRegion, MaskRegion, float]],
    depth: np.ndarray,
    camera: PinholeCamera,
    *,
    spacing: float = 0.1,
) -> list[Obstacle | Unplaced]:
    """The same for (visible, amodal, thickness) of several objects, which is faster. An error takes its object's place.

    Raises:
        ValueError: a depth image of another size than the camera's.
    """
    if depth.shape != (camera.height, camera.width):
        raise ValueError(f"depth: expected {camera.width}x{camera.height}, got {depth.shape[1]}x{depth.shape[0]}")
    looks: list[_Look | Unplaced] = []
    for visible, amodal, thickness in objects:
        try:
            looks.append(_Look.at(visible, amodal.trim(), depth, camera, thickness, spacing))
        except Unplaced as error:
            looks.append(error)
    surfaces = iter(continued([one.surface for one in looks if isinstance(one, _Look) and one.continues]))
    return [
        one if isinstance(one, Unplaced) else one.obstacle(camera, next(surfaces) if one.continues else None)
        for one in looks
    ]


def on_ground(
    visible: MaskRegion,
    amodal: MaskRegion,
    ground: Ground,
    camera: PinholeCamera,
    *,
    hiding: Sequence[MaskRegion] = (),
    possible: MaskRegion | None = None,
    thickness: float = 0.5,
    spacing: float = 0.1,
) -> Obstacle:
    """An object from where it touches the ground.

    The ray through the lowest row of A meets the ground; there the object stands as a board across the view, and
    every pixel of A lies on it. Where something that hides it lies right below A's lowest pixels, its foot is hidden,
    and A is too short there more often than too long: the object stands between what hides it and where A ends, and the
    geometric mean of these two distances is taken.

    Args:
        hiding: visible masks of what can hide it.
        possible: region that holds the object for sure; its lowest row bounds how near the object can be. V's lowest
            row bounds how far.

    Raises:
        Unplaced: the ray never meets the ground: the object's foot is above the horizon.
    """
    amodal = amodal.trim()
    feet = [_foot(mask) for mask in (amodal, visible, _over_foot(amodal, hiding), possible)]
    to_feet = camera.rays(*np.array(feet).T)
    guess, far, occluder, nearest = ground.meet(to_feet).tolist()
    distance = math.sqrt(guess * occluder) if occluder < guess < np.inf else guess
    if not math.isfinite(distance):
        u, v = feet[0]
        raise Unplaced(f"its lowest pixel ({u:.0f}, {v:.0f}) never meets the ground: it is above the horizon")
    near = min(distance, occluder, nearest)
    if amodal.y + amodal.height == camera.height:
        near = 0.0  # cut by the lower edge, and nothing was estimated below it
    grid = _Grid.over(amodal, _stride(amodal, camera, distance, spacing))
    all_of_it, mine, foot = grid.bits(amodal), grid.bits(visible), to_feet[0] * distance
    seen, hidden = np.flatnonzero(all_of_it & mine), np.flatnonzero(all_of_it & ~mine)
    if not len(seen) + len(hidden):
        raise Unplaced(NOWHERE)
    rays = grid.rays(camera).take(np.concatenate([seen, hidden]), axis=1)
    points = rays * (ground.forward @ foot / np.maximum(ground.forward @ rays, 1e-6))
    bounds = (distance, near, max(distance, far))
    return _obstacle(points, len(seen), camera, amodal, bounds, thickness, False)


def body(obstacle: Obstacle, thickness: float, spacing: float) -> np.ndarray:
    """Points inside an object behind its surface, float32 (n, 3): a layer at half its height, along the view.

    A surface alone has no depth from above: a path could turn in right behind it, through the object.

    Args:
        thickness: metres that the object goes on.
        spacing: of the points, metres, more than 0.
    """
    y = obstacle.points[:, 1]
    away = np.abs(y - (y.min() + y.max()) / 2)
    layer = obstacle.points.T.compress(away <= away.min() + spacing / 2, axis=1)
    view = layer * np.float32([[1], [0], [1]])
    view /= np.sqrt(view[0] * view[0] + view[2] * view[2])
    steps = np.arange(1, round(thickness / spacing) + 1, dtype=np.float32) * np.float32(spacing)
    return (layer[:, None] + steps[:, None] * view[:, None]).reshape(3, -1).T


@dataclass(frozen=True)
class _Look:
    """An object as the depth image shows it.

    Attributes:
        surface: its seen and its hidden pixels; either may be none.
        there: (n,), what the depth image shows at the hidden pixels, metres, 0 where unknown.
        low, middle, high: quantiles of the depths that are seen of it.
        room: metres from the middle within which depths are the object's.
    """

    amodal: MaskRegion
    surface: Surface
    there: np.ndarray
    low: float
    middle: float
    high: float
    room: float
    thickness: float

    @staticmethod
    def at(
        visible: MaskRegion,
        amodal: MaskRegion,
        depth: np.ndarray,
        camera: PinholeCamera,
        thickness: float,
        spacing: float,
    ) -> _Look:
        rough = _middle(visible, depth)
        grid = _Grid.over(amodal, _stride(amodal, camera, rough, spacing))
        seen, (mine, within) = grid.values(depth), grid.inside(visible, RIM)
        known = mine & (seen > 0)
        inner = known & within
        values = np.sort(seen[inner])
        if len(values) < LEAST_DEPTHS:
            values = np.sort(seen[known])
        if not len(values):
            values = np.array([rough], np.float32)
        low, middle, high = (float(values[int(share * (len(values) - 1))]) for share in (SPREAD[0], 0.5, SPREAD[1]))
        room = max(OUTLIER * 1.4826 * _median(np.abs(values - middle)), LEAST_SPREAD)
        near_middle = np.abs(seen - middle) <= room
        sure = np.flatnonzero(inner & near_middle)
        if not len(sure):
            sure = np.flatnonzero(known & near_middle)
        z = seen.take(sure).astype(np.float64)
        if not len(sure):
            sure = np.flatnonzero(mine)
            z = np.full(len(sure), middle)
        hidden = np.flatnonzero(grid.bits(amodal) & ~mine)
        surface = Surface(z, sure, hidden, grid.rays(camera), grid.columns)
        return _Look(amodal, surface, seen.take(hidden), low, middle, high, room, thickness)

    @property
    def continues(self) -> bool:
        """Whether there is something seen and something hidden."""
        return len(self.surface.seen) > 0 and len(self.surface.hidden) > 0

    def obstacle(self, camera: PinholeCamera, ahead: np.ndarray | None) -> Obstacle | Unplaced:
        """With the depths (n,) of its hidden pixels; None: all are at its middle."""
        seen, hidden, z = self.surface.seen, self.surface.hidden, self.surface.depths
        if len(hidden):
            ahead = np.full(len(hidden), self.middle) if ahead is None else ahead
            # What is seen there may lie beyond anything of this object: it is free.
            covered = self.there <= np.maximum(ahead, self.high) + max(self.thickness, self.room)
            hidden = hidden.compress(covered)
            z = np.concatenate([z, np.maximum(ahead, self.there + BEHIND).compress(covered)])
        if not len(z):
            return Unplaced(NOWHERE)
        points = self.surface.rays.take(np.concatenate([seen, hidden]), axis=1) * z
        bounds = (self.low, self.low, self.high)
        return _obstacle(points, len(seen), camera, self.amodal, bounds, self.thickness, True)


@dataclass(frozen=True)
class _Grid:
    """Every `step`-th pixel of a box, in rows and columns; arrays are flat, row by row."""

    x: int
    y: int
    rows: int
    columns: int
    step: int

    @staticmethod
    def over(mask: MaskRegion, step: int) -> _Grid:
        return _Grid(mask.x, mask.y, -(-mask.height // step), -(-mask.width // step), step)

    def bits(self, mask: MaskRegion) -> np.ndarray:
        """bool (n,): which grid pixels the mask has."""
        return self._sampled(mask.bits, mask.x, mask.y)

    def inside(self, mask: MaskRegion, rim: int) -> tuple[np.ndarray, np.ndarray]:
        """bool (n,) each: which grid pixels the mask has, and which have it `rim` pixels to each side."""
        height, width = self.rows * self.step, self.columns * self.step
        wide = mask.window(self.x - rim, self.y - rim, width + 2 * rim, height + 2 * rim)
        middle, left, right, up, down = (
            wide[y : y + height : self.step, x : x + width : self.step]
            for x, y in ((rim, rim), (0, rim), (2 * rim, rim), (rim, 0), (rim, 2 * rim))
        )
        return middle.ravel(), (left & right & up & down).ravel()

    def values(self, depth: np.ndarray) -> np.ndarray:
        """float32 (n,): depths, 0 where unknown or outside the image."""
        found = self._sampled(depth, 0, 0)
        return np.where((found > 0) & (found < np.inf), found, np.float32(0))

    def _sampled(self, values: np.ndarray, x: int, y: int) -> np.ndarray:
        """An array whose first pixel is (x, y), at the grid's pixels, (n,); 0 where it is not."""
        step, dx, dy = self.step, self.x - x, self.y - y
        top, left = max(0, -(dy // step)), max(0, -(dx // step))  # first row and column inside the array
        bottom, right = max(0, dy + self.rows * step), max(0, dx + self.columns * step)
        inside = values[dy + top * step : bottom : step, dx + left * step : right : step]
        if inside.shape == (self.rows, self.columns):
            return inside.ravel()
        out = np.zeros((self.rows, self.columns), values.dtype)
        out[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        return out.ravel()

    def rays(self, camera: PinholeCamera) -> np.ndarray:
        """(3, n) with z = 1."""
        u = np.arange(self.x, self.x + self.columns * self.step, self.step)
        v = np.arange(self.y, self.y + self.rows * self.step, self.step)
        return camera.rays(u, v[:, None]).reshape(-1, 3).T


def _stride(amodal: MaskRegion, camera: PinholeCamera, distance: float, spacing: float) -> int:
    """Pixels between points: those of the wished spacing at this distance, fewer points on very near objects."""
    wished = int(spacing * camera.fx / max(distance, 1e-3))
    return max(1, wished, math.ceil(math.sqrt(amodal.area / MOST_POINTS)))


def _middle(visible: MaskRegion, depth: np.ndarray) -> float:
    """Median of the visible part's known depths; of a large part, of a sample of them.

    Raises:
        Unplaced: there are fewer than `LEAST_DEPTHS`.
    """
    part = visible.clip(*depth.shape).trim()
    x, y, width, height = part.box
    for step in (max(1, int(math.sqrt(part.area / MIDDLE_SAMPLE))), 1):
        values = depth[y : y + height : step, x : x + width : step][part.bits[::step, ::step]]
        values = values[(values > 0) & (values < np.inf)]
        if len(values) >= LEAST_DEPTHS:
            return _median(values)
    raise Unplaced(f"only {len(values)} of its {part.area} visible pixels have a depth, {LEAST_DEPTHS} are needed")


def _median(values: np.ndarray) -> float:
    """Of (n,), n more than 0, none NaN; a few times as fast as NumPy's for so few."""
    values = np.sort(values)
    return float(values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2


def _foot(mask: MaskRegion | None) -> tuple[float, float]:
    """The middle (u, v) of the lower edge of a mask's lowest row; NaN where there is none."""
    if mask is not None:
        for row in range(mask.height - 1, -1, -1):
            if len(columns := np.flatnonzero(mask.bits[row])):
                return mask.x + float(columns.sum()) / len(columns), mask.y + row + 0.5
    return np.nan, np.nan


def _over_foot(amodal: MaskRegion, hiding: Sequence[MaskRegion]) -> MaskRegion | None:
    """What covers most of the pixels right below the lowest of A, in its tightest box, at least half of them."""
    if not (amodal.area and hiding):
        return None
    lowest, below = amodal.bits[-1], (amodal.x, amodal.y + amodal.height, amodal.width, 1)
    counts = [np.count_nonzero(other.window(*below)[0] & lowest) for other in hiding]
    best = int(np.argmax(counts))
    return hiding[best] if 2 * counts[best] >= np.count_nonzero(lowest) else None


def _obstacle(
    points: np.ndarray,
    seen: int,
    camera: PinholeCamera,
    amodal: MaskRegion,
    bounds: tuple[float, float, float],
    thickness: float,
    by_depth: bool,
) -> Obstacle:
    """From points (3, n), of which so many are seen and come first."""
    (left, top, front), (right, bottom, back) = points.min(1).tolist(), points.max(1).tolist()
    depth = max(back - front, thickness)
    distance, near, far = bounds
    x, y, width, height = amodal.box
    return Obstacle(
        points=points.T.astype(np.float32),
        hidden=np.arange(points.shape[1]) >= seen,
        distance=distance,
        near=near,
        far=far,
        centre=((left + right) / 2, (top + bottom) / 2, front + depth / 2),
        size=(right - left, bottom - top, depth),
        truncated=x <= 0 or y <= 0 or x + width >= camera.width or y + height >= camera.height,
        by_depth=by_depth,
    )
