"""Drawing one shape, its shadow, and the camera's defects. Drawing is fixed-point, so that a seed means one image."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property

import cv2
import numpy as np

from amodal_ros.lab.datasets.street_world.camera import EYE_HEIGHT, NEAR, Camera, Pose, clip_near
from amodal_ros.lab.datasets.street_world.polygons import FAR_AWAY, FRACTION_BITS, fixed_point
from amodal_ros.lab.datasets.street_world.shape import CAPSULE, FACE, HULL, Shape
from amodal_ros.scene.mask import MaskRegion

SUPERSAMPLING = 2
AMBIENT = 0.62
TEXELS = 64  # texture cells per metre on objects
MOST_CORNERS = 16  # a hull of more corners (a tyre, a torso) is round: its depth is the mean distance


@dataclass(frozen=True)
class Sun:
    """Direction to the sun in world axes, as the ground shift of a shadow per metre of height, and its strength."""

    shift_x: float
    shift_z: float
    strength: float


@dataclass(frozen=True)
class Sprite:
    """A drawn object.

    Attributes:
        x, y: where the patch's first pixel lies in the frame.
        colour: uint8 (h, w, 3), black where the object is not (premultiplied by `alpha`).
        alpha: uint8 (h, w), coverage of each pixel.
        mask: the pixels that the object covers at least half of.
        depth: float32 (h, w) metres (flat faces exact, round parts at their mean distance), or None.
    """

    x: int
    y: int
    colour: np.ndarray
    alpha: np.ndarray
    mask: MaskRegion
    depth: np.ndarray | None


def draw(
    shape: Shape, pose: Pose, camera: Camera, sun: Sun, bounds: tuple[int, int, int, int], with_depth: bool
) -> Sprite | None:
    """A shape as the camera sees it.

    Args:
        pose: in the camera's axes.
        bounds: (x0, y0, x1, y1) in pixels, what lies outside is cut; may reach beyond the frame.

    Returns:
        None when nothing of it lies within the bounds. What is nearer than the near plane is left out.
    """
    parts = _arrays(shape)
    world = pose.to_parent(parts.points)
    if world[:, 2].max() < NEAR:
        return None
    pixels = np.clip(camera.project(world), -FAR_AWAY, FAR_AWAY)
    reach = parts.reach * camera.focal / np.maximum(world[:, 2], NEAR)
    x0 = max(int(np.floor((pixels[:, 0] - reach).min())) - 1, bounds[0])
    y0 = max(int(np.floor((pixels[:, 1] - reach).min())) - 1, bounds[1])
    x1 = min(int(np.ceil((pixels[:, 0] + reach).max())) + 2, bounds[2])
    y1 = min(int(np.ceil((pixels[:, 1] + reach).max())) + 2, bounds[3])
    if x0 >= x1 or y0 >= y1:
        return None
    canvas = np.zeros((SUPERSAMPLING * (y1 - y0), SUPERSAMPLING * (x1 - x0), 4), np.uint8)
    depth = np.zeros(canvas.shape[:2], np.float32) if with_depth else None
    offset = np.array((0.5 - x0, 0.5 - y0))
    corners = (pixels + offset) * SUPERSAMPLING - 0.5

    def cut(points: np.ndarray) -> np.ndarray:
        return fixed_point((camera.project(clip_near(points)) + offset) * SUPERSAMPLING - 0.5)

    def plane(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """X / Z and (Y - EYE_HEIGHT) / Z at pixels of the canvas."""
        right = ((columns + 0.5) / SUPERSAMPLING - offset[0] - camera.cx) / camera.focal
        up = (camera.cy + offset[1] - (rows + 0.5) / SUPERSAMPLING) / camera.focal
        return right, up

    _paint(parts, pose, world, corners, reach * SUPERSAMPLING, sun, cut, canvas, depth, plane)

    small = cv2.resize(canvas, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    alpha = small[:, :, 3]
    mask = MaskRegion.from_full(alpha >= 128, x0, y0)
    if not mask.area:
        return None
    colour = _texture(shape, pose, camera, small[:, :, :3], x0, y0)
    return Sprite(x0, y0, colour, alpha, mask, depth[::SUPERSAMPLING, ::SUPERSAMPLING] if depth is not None else None)


@dataclass(frozen=True)
class _Arrays:
    points: np.ndarray
    reach: np.ndarray  # the radius around each point, zero but for capsules
    normals: np.ndarray
    anchors: np.ndarray
    colours: np.ndarray
    lit: np.ndarray
    spans: list[tuple[int, int, int]]
    groups: list[list[int]]

    @cached_property
    def faces(self) -> list[np.ndarray]:
        """Each primitive's outward normals (k, 3) in the object's axes; none for what is round or has no inside."""
        return [self._faces_of(i, *span) for i, span in enumerate(self.spans)]

    def _faces_of(self, i: int, kind: int, start: int, stop: int) -> np.ndarray:
        if kind == HULL:
            return _faces(self.points[start:stop]) if stop - start <= MOST_CORNERS else np.zeros((0, 3))
        return self.normals[i : i + 1] if self.normals[i].any() else np.zeros((0, 3))


def _arrays(shape: Shape) -> _Arrays:
    made = shape.__dict__.get("_made")
    if made is None:
        stops = [*shape.starts[1:], len(shape.points)]
        reach = np.zeros(len(shape.points))
        groups: list[list[int]] = [[] for _ in shape.anchors]
        for i, (kind, start, radii, part) in enumerate(
            zip(shape.kinds, shape.starts, shape.radii, shape.parts, strict=True)
        ):
            if kind == CAPSULE:
                reach[start : start + 2] = radii
            groups[part].append(i)
        made = _Arrays(
            np.array(shape.points), reach, np.array(shape.normals), np.array(shape.anchors), np.array(shape.colours),
            np.array(shape.lit), list(zip(shape.kinds, shape.starts, stops, strict=True)), groups,
        )  # fmt: skip
        shape.__dict__["_made"] = made
    return made


def _paint(
    parts: _Arrays,
    pose: Pose,
    world: np.ndarray,
    corners: np.ndarray,
    reach: np.ndarray,
    sun: Sun,
    cut: Callable[[np.ndarray], np.ndarray],
    canvas: np.ndarray,
    depth: np.ndarray | None,
    plane: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> None:
    """Fill the canvas from far to near; `cut` gives the outline of a face that the near plane passes through, and
    `plane` the place of canvas pixels on the plane Z = 1."""
    heading = Pose(yaw=pose.yaw)
    normals = heading.to_parent(parts.normals)
    first = world[[start for _, start, _ in parts.spans]]
    towards = normals[:, 0] * first[:, 0] + normals[:, 1] * (first[:, 1] - EYE_HEIGHT) + normals[:, 2] * first[:, 2]
    seen = towards <= 0
    light = np.array([-sun.shift_x, 1.0, -sun.shift_z]) / np.sqrt(1 + sun.shift_x**2 + sun.shift_z**2)
    facing = np.abs(normals).sum(axis=1) > 0
    bright = AMBIENT + (1 - AMBIENT) * 1.25 * np.where(facing, np.maximum(normals @ light, -0.3), 0.55)
    bright = 1 + parts.lit * (bright - 1)
    colours = np.clip(parts.colours * bright[:, None], 2, 253).astype(int).tolist()
    fixed = fixed_point(corners)
    anchors = pose.to_parent(parts.anchors)
    order = np.argsort(-(anchors[:, 0] ** 2 + anchors[:, 2] ** 2), kind="stable") if len(anchors) > 1 else [0]
    for group in order:
        for i in parts.groups[group]:
            if not seen[i]:
                continue
            kind, start, stop = parts.spans[i]
            outline = fixed[start:stop]
            if world[start:stop, 2].min() < NEAR:
                if kind != FACE or world[start:stop, 2].max() < NEAR:
                    continue
                outline = cut(world[start:stop])
            elif kind == CAPSULE:
                outline = _capsule(corners[start:stop], reach[start:stop])
            elif kind == HULL:
                outline = cv2.convexHull(outline)
            cv2.fillPoly(canvas, [outline], (*colours[i], 255), cv2.LINE_8, FRACTION_BITS)
            if depth is not None:
                sides = heading.to_parent(parts.faces[i]) if len(parts.faces[i]) else parts.faces[i]
                _fill_depth(depth, outline, world[start:stop], sides, plane)


def _fill_depth(
    depth: np.ndarray,
    outline: np.ndarray,
    world: np.ndarray,
    normals: np.ndarray,
    plane: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> None:
    """Distance along the optical axis inside an outline: where a ray enters the solid that lies behind all its faces.

    Args:
        world: points of the primitive, (n, 3).
        normals: of its faces, outward (k, 3); none for a round part, which gets its mean distance.
    """
    mean = float(world[:, 2].mean())
    if not len(normals):
        cv2.fillPoly(depth, [outline], mean, cv2.LINE_8, FRACTION_BITS)
        return
    pixels = outline.reshape(-1, 2) >> FRACTION_BITS
    left, top = (int(c) for c in np.maximum(pixels.min(0) - 1, 0) // SUPERSAMPLING * SUPERSAMPLING)
    right, bottom = (int(c) for c in np.minimum(pixels.max(0) + 2, depth.shape[::-1]))
    if left >= right or top >= bottom:
        return
    inside = np.zeros((bottom - top, right - left), np.uint8)
    start = np.array((left, top), np.int32) << FRACTION_BITS
    cv2.fillPoly(inside, [outline - start], 1, cv2.LINE_8, FRACTION_BITS)
    rows, columns = np.nonzero(inside[::SUPERSAMPLING, ::SUPERSAMPLING])  # the others are thrown away
    rows, columns = SUPERSAMPLING * rows + top, SUPERSAMPLING * columns + left
    x, y = plane(rows, columns)
    eye = np.array((0.0, EYE_HEIGHT, 0.0))
    away = ((world - eye) @ normals.T).max(axis=0)
    towards = away < 0  # faces that the eye sees from outside
    if not towards.any():
        towards = np.ones(len(normals), bool)
    facing = np.outer(x, normals[towards, 0]) + np.outer(y, normals[towards, 1]) + normals[towards, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(facing < -1e-6, away[towards] / facing, -np.inf).max(axis=1)
    depth[rows, columns] = np.clip(z, world[:, 2].min(), world[:, 2].max())


def _faces(points: np.ndarray) -> np.ndarray:
    """Outward unit normals (k, 3) of the convex hull of a few points (n, 3)."""
    a, b, c = np.array(list(itertools.combinations(range(len(points)), 3))).T
    normals = np.cross(points[b] - points[a], points[c] - points[a])
    lengths = np.linalg.norm(normals, axis=1)
    normals, start = normals[lengths > 1e-9] / lengths[lengths > 1e-9, None], points[a[lengths > 1e-9]]
    side = normals @ points.T - (normals * start).sum(1)[:, None]
    out, into = (side <= 1e-6).all(1), (side >= -1e-6).all(1)
    return np.unique(np.concatenate([normals[out], -normals[into]]).round(6), axis=0)


_TURN = np.arange(16) * (np.pi / 8)
_UNIT = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


def _capsule(ends: np.ndarray, radii: np.ndarray) -> np.ndarray:
    rim = ends[:, None] + np.maximum(radii, 0.5)[:, None, None] * _UNIT
    return cv2.convexHull(fixed_point(rim.reshape(-1, 2)))


def _texture(shape: Shape, pose: Pose, camera: Camera, colour: np.ndarray, x0: int, y0: int) -> np.ndarray:
    """Light from above and grain, both fixed to the object."""
    height, width = colour.shape[:2]
    per_pixel = max(pose.z, 1.0) / camera.focal
    up = EYE_HEIGHT - (np.arange(height) + y0 - camera.cy) * per_pixel
    rows = np.floor(up * TEXELS).astype(int) % noise_tile().shape[0]
    across = (np.arange(width) + x0 - camera.cx) * per_pixel - pose.x
    cols = np.floor(across * TEXELS + 37 * shape.length).astype(int) % noise_tile().shape[1]
    ramp = 1 + shape.gloss * (np.clip(up / shape.height, 0, 1) - 0.45) - 0.25 * np.clip(1 - up / 0.25, 0, 1)
    gain = ramp[:, None] + shape.grain * noise_tile()[rows[:, None], cols]
    return np.clip(colour * gain[:, :, None], 0, 255).astype(np.uint8)


@cache
def noise_tile() -> np.ndarray:
    """Repeating texture: float32 (256, 256) of zero mean and unit variance, from coarse to fine."""
    rng = np.random.Generator(np.random.PCG64(20250101))
    total = np.zeros((256, 256), np.float32)
    for cells in (8, 32, 128, 256):
        coarse = rng.standard_normal((cells, cells)).astype(np.float32)
        wrapped = np.pad(coarse, ((0, 1), (0, 1)), mode="wrap")
        place = np.arange(256) * cells / 256
        low, share = place.astype(int), (place % 1).astype(np.float32)
        rows = wrapped[low] * (1 - share[:, None]) + wrapped[low + 1] * share[:, None]
        total += rows[:, low] * (1 - share) + rows[:, low + 1] * share
    return (total - total.mean()) / total.std()


def blend(image: np.ndarray, sprite: Sprite) -> None:
    """Put a sprite over what is already in the image, in place; parts outside the image are dropped."""
    height, width = image.shape[:2]
    h, w = sprite.alpha.shape
    left, top, right, bottom = max(sprite.x, 0), max(sprite.y, 0), min(sprite.x + w, width), min(sprite.y + h, height)
    if left >= right or top >= bottom:
        return
    inner = np.s_[top - sprite.y : bottom - sprite.y, left - sprite.x : right - sprite.x]
    under = image[top:bottom, left:right]
    clear = 255 - sprite.alpha[inner].astype(np.uint16)
    under[:] = (under * clear[:, :, None] // 255 + sprite.colour[inner]).clip(max=255).astype(np.uint8)


def shadow(shade: np.ndarray, shape: Shape, pose: Pose, camera: Camera, eye: Pose, sun: Sun) -> None:
    """Darken `shade` (uint8, 255 is full light) where the object keeps the sun, or near its foot the sky, away."""
    points = pose.to_parent(_arrays(shape).points)
    high = np.clip(points[:, 1], 0, 4.0)
    turned = Pose(sun.shift_x, sun.shift_z).seen_from(Pose(yaw=eye.yaw))
    cast = np.stack([points[:, 0] + high * turned.x, 0 * high, points[:, 2] + high * turned.z], axis=1)
    x, z = shape.length / 2 + 0.08, shape.width / 2 + 0.08
    foot = pose.to_parent(np.array([(-x, 0, -z), (-x, 0, z), (x, 0, z), (x, 0, -z)]))
    for ground, level in ((cast, 255 * (1 - sun.strength)), (foot, 255 * (0.8 - 0.8 * sun.strength))):
        ground[:, 2] = np.maximum(ground[:, 2], NEAR)
        outline = cv2.convexHull(fixed_point(camera.project(ground)))
        cv2.fillPoly(shade, [outline], int(level), cv2.LINE_8, FRACTION_BITS)


NOISE_BANK = 1 << 21


@cache
def _noise_bank() -> np.ndarray:
    """Normal noise to take stretches from: drawing it afresh would take longer than drawing a crop."""
    return np.random.Generator(np.random.PCG64(20250102)).standard_normal(NOISE_BANK, np.float32)


@dataclass(frozen=True)
class Sensor:
    """What the camera does to a clean image: gain, lift (grey levels), blur and noise (sigma; pixels, grey levels)."""

    gain: tuple[float, float, float]
    lift: float
    blur: float
    noise: float

    @staticmethod
    def drawn(rng: np.random.Generator) -> Sensor:
        exposure = rng.uniform(0.78, 1.12)
        red, green, blue = (float(exposure * g) for g in rng.uniform(0.94, 1.06, 3))
        blur = rng.uniform(0.3, 0.8) if rng.random() < 0.6 else 0.0
        return Sensor((red, green, blue), rng.uniform(-6, 14), blur, rng.uniform(1.0, 5.0))

    def expose(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """RGB uint8 in, RGB uint8 out."""
        if self.blur:
            image = cv2.GaussianBlur(image, (5, 5), self.blur)
        noisy = image * np.array(self.gain, np.float32) + np.float32(self.lift)
        start = int(rng.integers(NOISE_BANK))
        grain = _noise_bank()[start : start + image.size]
        while grain.size < image.size:
            grain = np.concatenate([grain, _noise_bank()[: image.size - grain.size]])
        noisy += self.noise * grain.reshape(image.shape)
        return np.clip(noisy, 0, 255).astype(np.uint8)
