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
from amodal_ros.space.surface import continued

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

    Hidden pixels continue the faces that are seen (outliers cut), pushed behind what hides them. Where the
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
    if depth.shape != (camera.height, camera.width):
        raise ValueError(f"depth: expected {camera.width}x{camera.height}, got {depth.shape[1]}x{depth.shape[0]}")
    rough, amodal = _middle(visible, depth), amodal.trim()
    grid = _Grid.over(amodal, _stride(amodal, camera, rough, spacing))
    seen, mine, rays = grid.values(depth), grid.bits(visible), grid.rays(camera)
    known = seen > 0
    inner = mine & known & grid.inside(visible, RIM)
    values = np.sort(seen[inner])
    if len(values) < LEAST_DEPTHS:
        values = np.sort(seen[mine & known])
    if not len(values):
        values = np.array([rough], np.float32)
    low, middle, high = (float(values[int(share * (len(values) - 1))]) for share in (SPREAD[0], 0.5, SPREAD[1]))
    room = max(OUTLIER * 1.4826 * _median(np.abs(values - middle)), LEAST_SPREAD)
    near_middle = known & (np.abs(seen - middle) <= room)
    sure = np.flatnonzero(inner & near_middle)
    if not len(sure):
        sure = np.flatnonzero(mine & near_middle)
    z = seen.take(sure).astype(np.float64)
    if not len(sure):
        sure = np.flatnonzero(mine)
        z = np.full(len(sure), middle)
    hidden = np.flatnonzero(grid.bits(amodal) & ~mine)
    if len(hidden):
        there = seen.take(hidden)
        surface = continued(z, sure, hidden, rays, grid.columns) if len(sure) else np.full(len(hidden), middle)
        # What is seen there may lie beyond anything of this object: it is free.
        covered = there <= np.maximum(surface, high) + max(thickness, room)
        hidden = hidden.compress(covered)
        z = np.concatenate([z, np.maximum(surface, there + BEHIND).compress(covered)])
    points = rays.take(np.concatenate([sure, hidden]), axis=1) * z
    return _obstacle(points, len(sure), camera, amodal, (low, low, high), thickness, True)


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
    down = camera.rays(*np.array(feet).T)
    guess, far, occluder, nearest = ground.meet(down).tolist()
    distance = math.sqrt(guess * occluder) if occluder < guess < np.inf else guess
    if not math.isfinite(distance):
        u, v = feet[0]
        raise Unplaced(f"its lowest pixel ({u:.0f}, {v:.0f}) never meets the ground: it is above the horizon")
    near = min(distance, occluder, nearest)
    if amodal.y + amodal.height == camera.height:
        near = 0.0  # cut by the lower edge, and nothing was estimated below it
    grid = _Grid.over(amodal, _stride(amodal, camera, distance, spacing))
    all_of_it, mine, foot = grid.bits(amodal), grid.bits(visible), down[0] * distance
    seen, hidden = np.flatnonzero(all_of_it & mine), np.flatnonzero(all_of_it & ~mine)
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
    points = obstacle.points
    middle = (points[:, 1].min() + points[:, 1].max()) / 2
    away = np.abs(points[:, 1] - middle)
    layer = points[away <= away.min() + spacing / 2]
    view = layer * np.float32([1, 0, 1])
    view /= np.linalg.norm(view, axis=1, keepdims=True)
    steps = np.arange(1, round(thickness / spacing) + 1, dtype=np.float32) * np.float32(spacing)
    return (layer[None] + steps[:, None, None] * view[None]).reshape(-1, 3)


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

    def plane(self, flat: np.ndarray) -> np.ndarray:
        """(rows, columns)."""
        return flat.reshape(self.rows, self.columns)

    def bits(self, mask: MaskRegion) -> np.ndarray:
        """bool (n,): which grid pixels the mask has."""
        return self._sampled(mask.bits, mask.x, mask.y)

    def inside(self, mask: MaskRegion, rim: int) -> np.ndarray:
        """bool (n,): grid pixels that have the mask `rim` pixels to each side."""
        height, width = self.rows * self.step, self.columns * self.step
        wide = mask.window(self.x - rim, self.y - rim, width + 2 * rim, height + 2 * rim)
        left, right, up, down = (
            wide[y : y + height : self.step, x : x + width : self.step]
            for x, y in ((0, rim), (2 * rim, rim), (rim, 0), (rim, 2 * rim))
        )
        return (left & right & up & down).ravel()

    def values(self, depth: np.ndarray) -> np.ndarray:
        """float32 (n,): depths, 0 where unknown or outside the image."""
        found = self._sampled(depth, 0, 0)
        return np.where((found > 0) & (found < np.inf), found, np.float32(0))

    def _sampled(self, values: np.ndarray, x: int, y: int) -> np.ndarray:
        """An array whose first pixel is (x, y), at the grid's pixels, (n,); 0 where it is not."""
        step, dx, dy = self.step, self.x - x, self.y - y
        top, left = max(0, -(dy // step)), max(0, -(dx // step))  # first row and column inside the array
        inside = values[
            dy + top * step : max(0, dy + self.rows * step) : step, dx + left * step : max(0, dx + self.columns * step) : step
        ]
        if inside.shape == (self.rows, self.columns):
            return inside.ravel()
        out = np.zeros((self.rows, self.columns), values.dtype)
        out[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        return out.ravel()

    def rays(self, camera: PinholeCamera) -> np.ndarray:
        """(3, n) with z = 1."""
        u, v = self.x + self.step * np.arange(self.columns), self.y + self.step * np.arange(self.rows)
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
    for row in range(mask.height - 1, -1, -1) if mask is not None else ():
        if len(columns := np.flatnonzero(mask.bits[row])):
            return mask.x + float(columns.sum()) / len(columns), mask.y + row + 0.5
    return np.nan, np.nan


def _over_foot(amodal: MaskRegion, hiding: Sequence[MaskRegion]) -> MaskRegion | None:
    """What covers most of the pixels right below the lowest of A, in its tightest box, at least half of them."""
    if not (amodal.area and hiding):
        return None
    lowest = np.flatnonzero(amodal.bits[-1])
    shares = [other.window(amodal.x, amodal.y + amodal.height, amodal.width, 1)[0, lowest].mean() for other in hiding]
    best = int(np.argmax(shares))
    return hiding[best] if shares[best] >= 0.5 else None


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
    if not points.size:
        raise Unplaced("no pixel of it has a place")
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
