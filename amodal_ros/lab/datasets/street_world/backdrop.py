"""What stands behind all objects: sky, skyline, ground with road and pavement, buildings on both sides."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from amodal_ros.lab.datasets.street_world.camera import EYE_HEIGHT, Camera, Pose, clip_near
from amodal_ros.lab.datasets.street_world.palette import LEAF, PAINT, WALL, mix, pick, shade
from amodal_ros.lab.datasets.street_world.polygons import FRACTION_BITS, Polygons, fixed_point, to_camera
from amodal_ros.lab.datasets.street_world.render import noise_tile
from amodal_ros.lab.datasets.street_world.shape import Colour, Point

FAR = 400.0  # metres: as far as the ground is drawn
GROUND_TEXELS = (14.0, 1.7)  # texture cells per metre, fine and coarse

#: A rectangle of a wall in world axes, from where it begins and ends along the wall and in height.
Surface = Callable[[float, float, float, float], list[Point]]


class Backdrop:
    """A street's surroundings.

    Attributes:
        road: half width of the road in metres; the pavement is `pavement` wide on both sides.
        crossing: distance of a crossing road's middle, or None.
    """

    def __init__(self, rng: np.random.Generator, unseen: bool, length: float = 150.0, crossing: float | None = None):
        self.unseen = unseen
        self.road = rng.uniform(4.6, 6.8)
        self.pavement = rng.uniform(2.0, 4.0) if rng.random() < 0.5 else rng.uniform(4.0, 12.0)
        drawn = rng.uniform(10, 34) if rng.random() < 0.5 else None
        self.crossing = drawn if crossing is None else crossing
        grey = rng.uniform(70, 128)
        self.asphalt: Colour = (grey + rng.uniform(-4, 8), grey, grey + rng.uniform(-4, 10))
        self.paving = pick(rng, WALL)
        self.verge = pick(rng, LEAF) if rng.random() < 0.5 else pick(rng, WALL)
        self.grain = rng.uniform(0.03, 0.13)
        self.zenith = pick(rng, [(96, 140, 196), (150, 170, 190), (188, 192, 196), (120, 150, 200)])
        self.haze = mix(self.zenith, (232, 230, 222), 0.75)
        self.cloud = rng.uniform(2, 18)
        self.seed_shift = int(rng.integers(256))
        self.skyline = self._skyline(rng)
        self.ground = self._ground(rng, length)
        self.buildings = Polygons()
        self.walls: list[list[Point]] = []
        for side, z, deep in sorted(self._lots(rng, length), key=lambda lot: -lot[1]):
            self._build(rng, side, z, deep)

    # --- what there is ----------------------------------------------------------------------------------------

    def _skyline(self, rng: np.random.Generator) -> tuple[np.ndarray, Colour]:
        bearing = np.linspace(-2.2, 2.2, 90)
        steps = np.cumsum(rng.normal(0, 1, 90))
        rise = (
            0.03
            + 0.05 * rng.random()
            + 0.012 * (steps - steps.mean()) / steps.std() * (1 if rng.random() < 0.5 else 0.4)
        )
        return np.stack([bearing, np.maximum(rise, 0.005)], axis=1), mix(pick(rng, LEAF + WALL[3:6]), self.haze, 0.45)

    def _ground(self, rng: np.random.Generator, length: float) -> Polygons:
        near, far, road = -30.0, FAR, self.road
        edge = road + self.pavement

        def strip(x0: float, x1: float, z0: float, z1: float) -> list[Point]:
            return [(x0, 0, z0), (x0, 0, z1), (x1, 0, z1), (x1, 0, z0)]

        flats = Polygons()
        flats.add(strip(-edge, edge, near, far), self.paving)
        slab = shade(self.paving, 0.88)
        for z in np.arange(0, length - 90, 2.4):
            flats.add(strip(-edge, -road, z, z + 1.2), slab)
            flats.add(strip(road, edge, z + 0.6, z + 1.8), slab)
        flats.add(strip(-road - 0.15, road + 0.15, near, far), shade(self.paving, 1.15))
        flats.add(strip(-road, road, near, far), self.asphalt)
        if self.crossing is not None:
            flats.add(strip(-90, 90, self.crossing - 4.5, self.crossing + 4.5), self.asphalt)
        paint = (214, 212, 204)
        for x, dash in ((-1.8, rng.random() < 0.7), (road - 2.3, False), (-road + 2.3, False)):
            for z in np.arange(near, length, 6.0) if dash else [near]:
                flats.add(strip(x - 0.07, x + 0.07, z, z + 3.0 if dash else far), paint)
        if self.crossing is not None or rng.random() < 0.3:
            start = (self.crossing or rng.uniform(12, 25)) - 8.0
            for x in np.arange(-road + 0.3, road - 0.5, 1.0):
                flats.add(strip(x, x + 0.5, start, start + 2.5), paint)
        for _ in range(int(rng.integers(2, 8))):  # patches of newer or older surface
            x, z = rng.uniform(-road, road), rng.uniform(3, 50)
            flats.add(
                strip(x, x + rng.uniform(0.5, 3), z, z + rng.uniform(1, 9)),
                shade(self.asphalt, rng.uniform(0.75, 1.15)),
            )
        return flats

    def _lots(self, rng: np.random.Generator, length: float) -> list[tuple[int, float, float]]:
        lots = []
        for side in (-1, 1):
            z = rng.uniform(-12, 0)
            while z < length:
                deep = rng.uniform(7, 20)
                crossed = self.crossing is not None and z < self.crossing + 7 and z + deep > self.crossing - 7
                if not crossed and rng.random() < 0.9:
                    lots.append((side, z, deep))
                z += deep + (rng.uniform(0, 5) if rng.random() < 0.4 else 0)
        return lots

    def _build(self, rng: np.random.Generator, side: int, z0: float, deep: float) -> None:
        front = side * (self.road + self.pavement + rng.uniform(0.2, 4.0))
        height, wall = rng.uniform(3.5, 17), pick(rng, WALL)
        z1, back = z0 + deep, front + side * 14
        building = self.buildings

        def flank(a: float, b: float, y0: float, y1: float) -> list[Point]:
            return [(front, y0, z0 + a), (front, y0, z0 + b), (front, y1, z0 + b), (front, y1, z0 + a)]

        def gable(a: float, b: float, y0: float, y1: float) -> list[Point]:
            left, right = front + side * a, front + side * b
            return [(left, y0, z0), (right, y0, z0), (right, y1, z0), (left, y1, z0)]

        for wide, surface, light in ((14.0, gable, 0.82), (deep, flank, 1.0)):
            tone = shade(wall, light)
            building.add(surface(0, wide, 0, height), tone)
            self.walls.append(surface(0, wide, 0, height))
            self._cladding(rng, building, surface, wide, height, tone)
            self._windows(rng, building, surface, wide, height, tone)
        roof = shade(pick(rng, WALL[2:6]), 0.7)
        building.add(
            [
                (front - side * 0.4, height, z0),
                (front - side * 0.4, height, z1),
                (front - side * 0.4, height + 0.5, z1),
                (front - side * 0.4, height + 0.5, z0),
            ],
            roof,
        )
        building.add(
            [
                (front - side * 0.4, height, z0),
                (back, height, z0),
                (back, height + 0.5, z0),
                (front - side * 0.4, height + 0.5, z0),
            ],
            shade(roof, 0.85),
        )

    def _cladding(
        self, rng: np.random.Generator, building: Polygons, surface: Surface, wide: float, height: float, tone: Colour
    ) -> None:
        if self.unseen:  # chequered walls are never drawn for training
            for row, y in enumerate(np.arange(0, height - 1.2, 1.2)):
                for x in np.arange(1.2 * (row % 2), wide - 1.2, 2.4):
                    building.add(surface(x, x + 1.2, y, y + 1.2), shade(tone, 0.9))
            return
        kind = int(rng.integers(3))
        if kind == 1:
            for y in np.arange(0.3, height, 0.6):
                building.add(surface(0, wide, y, y + 0.12), shade(tone, 0.86))
        elif kind == 2:
            for x in np.arange(0.5, wide - 0.3, 1.1):
                building.add(surface(x, x + 0.18, 0, height), shade(tone, 1.1))

    def _windows(
        self, rng: np.random.Generator, building: Polygons, surface: Surface, wide: float, height: float, tone: Colour
    ) -> None:
        storey, spacing = rng.uniform(2.7, 3.4), rng.uniform(1.8, 3.4)
        broad, tall = rng.uniform(0.8, spacing - 0.5), rng.uniform(1.0, 1.9)
        frame, glass = (
            shade(tone, rng.choice([0.6, 1.25])),
            pick(rng, [(52, 60, 70), (84, 96, 108), (36, 40, 46), (130, 146, 158)]),
        )
        shop = rng.random() < 0.35
        for floor in range(int((height - 0.4) / storey)):
            y = floor * storey + 0.9
            for x in np.arange(0.6, wide - broad, spacing):
                if floor == 0 and shop:
                    building.add(surface(x, x + spacing - 0.4, 0.3, 2.5), shade(glass, rng.uniform(0.7, 1.6)))
                    building.add(surface(x, x + spacing - 0.4, 2.5, 3.0), pick(rng, PAINT))
                    continue
                if floor == 0 and rng.random() < 0.15:
                    building.add(surface(x, x + 1.0, 0, 2.1), pick(rng, PAINT))
                    continue
                building.add(surface(x - 0.1, x + broad + 0.1, y - 0.12, y + tall + 0.1), frame)
                building.add(surface(x, x + broad, y, y + tall), shade(glass, rng.uniform(0.8, 1.25)))

    def is_open(self, corners: np.ndarray) -> bool:
        """Whether no building can stand on a ground rectangle, (4, 2) as (X, Z)."""
        edge = self.road + self.pavement + 0.2
        if np.abs(corners[:, 0]).max() < edge:
            return True
        return self.crossing is not None and bool(np.abs(corners[:, 1] - self.crossing).max() < 7.0)

    # --- how it looks -----------------------------------------------------------------------------------------

    def draw(self, camera: Camera, eye: Pose) -> np.ndarray:
        """RGB uint8 (height, width, 3) as seen from `eye`."""
        image = self._sky(camera, eye)
        outline, colour = self.skyline
        bearing = outline[:, 0] - eye.yaw * 0.98
        ahead = np.abs(bearing) < 1.35
        ridge = np.stack([np.tan(bearing[ahead]), outline[ahead, 1]], axis=1) * camera.focal
        ridge = np.stack([camera.cx + ridge[:, 0], camera.cy - ridge[:, 1]], axis=1)
        closed = np.concatenate([ridge, [[ridge[-1, 0], camera.cy + 2], [ridge[0, 0], camera.cy + 2]]])
        cv2.fillPoly(
            image, [fixed_point(closed)], [int(c) for c in np.clip(colour, 0, 255)], cv2.LINE_AA, FRACTION_BITS
        )
        start = int(np.clip(np.floor(camera.cy), 0, camera.height))
        image[start:] = np.clip(self.verge, 0, 255)
        self.ground.draw(image, camera, eye)
        self._roughen(image, camera, eye, start)
        self.buildings.draw(image, camera, eye)
        return image

    def _sky(self, camera: Camera, eye: Pose) -> np.ndarray:
        rows = (camera.cy - np.arange(camera.height)) / camera.focal
        share = np.clip(rows / 0.25, 0, 1)[:, None]
        base = np.asarray(self.haze) * (1 - share) + np.asarray(self.zenith) * share
        cols = (np.arange(camera.width) - camera.cx) / camera.focal + eye.yaw
        i = np.floor(rows * 500).astype(int) % 256
        j = (np.floor(cols * 160).astype(int) + self.seed_shift) % 256
        cloud = self.cloud * noise_tile()[i[:, None], j]
        return np.clip(base[:, None, :] + cloud[:, :, None], 0, 255).astype(np.uint8)

    def _roughen(self, image: np.ndarray, camera: Camera, eye: Pose, start: int) -> None:
        """Texture fixed to the ground, fading where a pixel is larger than its cells."""
        rows = np.arange(start, camera.height)
        ahead = np.minimum(camera.focal * EYE_HEIGHT / np.maximum(rows - camera.cy, 0.5), FAR).astype(np.float32)[
            :, None
        ]
        right = (np.arange(camera.width, dtype=np.float32) - np.float32(camera.cx)) / np.float32(camera.focal) * ahead
        sin, cos = np.float32(np.sin(eye.yaw)), np.float32(np.cos(eye.yaw))
        x, z = right * cos + ahead * sin + np.float32(eye.x), ahead * cos - right * sin + np.float32(eye.z)
        gain = np.ones(x.shape, np.float32)
        for texels, share in zip(GROUND_TEXELS, (1.0, 0.7), strict=True):
            grain = noise_tile()[
                np.floor(z * np.float32(texels)).astype(np.int32) & 255,
                np.floor(x * np.float32(texels)).astype(np.int32) & 255,
            ]
            if self.unseen and texels == GROUND_TEXELS[1]:  # cobbles in place of blotches
                grain = np.where((np.floor(z * 2.5) + np.floor(x * 2.5)) % 2 == 0, 1.4, -1.0).astype(np.float32)
            gain += np.float32(self.grain * share) * np.minimum(1, camera.focal / (ahead * texels * 3)) * grain
        image[start:] = np.clip(image[start:] * gain[:, :, None], 0, 255).astype(np.uint8)

    def depth(self, camera: Camera, eye: Pose) -> np.ndarray:
        """Distance of ground and walls along the optical axis in metres, float32 (height, width); 0 in the sky."""
        rows = np.arange(camera.height) - camera.cy
        ahead = np.where(rows > 1, camera.focal * EYE_HEIGHT / np.maximum(rows, 1), 0)
        out = np.repeat(np.where(ahead > FAR, 0, ahead).astype(np.float32)[:, None], camera.width, axis=1)
        for wall in self.walls:
            _fill_depth(out, clip_near(to_camera(np.array(wall), eye)), camera)
        return out


def _fill_depth(depth: np.ndarray, polygon: np.ndarray, camera: Camera) -> None:
    """Write a flat polygon's distance: z = n.p / n.ray on the plane through p with normal n."""
    if len(polygon) < 3:
        return
    outline = fixed_point(camera.project(polygon)) >> FRACTION_BITS
    x, y, w, h = cv2.boundingRect(outline)
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + w, camera.width), min(y + h, camera.height)
    if x0 >= x1 or y0 >= y1:
        return
    inside = np.zeros((y1 - y0, x1 - x0), np.uint8)
    cv2.fillPoly(inside, [outline - (x0, y0)], 1)
    p = polygon * (1, -1, 1) + (0, EYE_HEIGHT, 0)  # down is positive, as in the image
    normal = np.cross(p[1] - p[0], p[2] - p[0])
    across, down = (np.arange(x0, x1) - camera.cx) / camera.focal, (np.arange(y0, y1) - camera.cy) / camera.focal
    facing = normal[0] * across[None, :] + normal[1] * down[:, None] + normal[2]
    away = (normal @ p[0]) / np.where(np.abs(facing) < 1e-9, 1e-9, facing)
    depth[y0:y1, x0:x1] = np.where(inside.view(bool), np.clip(away, 0, FAR), depth[y0:y1, x0:x1])
