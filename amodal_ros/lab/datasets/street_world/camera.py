"""A pinhole camera over a flat ground, and where things stand on it.

World and camera axes: X to the right, Y up from the ground, Z forward; metres. Pixel (0, 0) is the first pixel's
centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

EYE_HEIGHT = 1.65  # metres above the ground, as KITTI's cameras
KITTI_FOCAL = 720.0  # pixels at KITTI_WIDTH
KITTI_WIDTH = 1242
HORIZON = 0.45  # fraction of the image height
NEAR = 0.6  # metres; nothing nearer is drawn


@dataclass(frozen=True)
class Pose:
    """A place and heading on the ground: yaw 0 looks along +Z, and a quarter turn to the right is pi/2."""

    x: float = 0.0
    z: float = 0.0
    yaw: float = 0.0

    def to_parent(self, points: np.ndarray) -> np.ndarray:
        """Local points (n, 3) as (forward, up, right) to the parent's (X, Y, Z)."""
        sin, cos = np.sin(self.yaw), np.cos(self.yaw)
        forward, up, right = points[:, 0], points[:, 1], points[:, 2]
        return np.stack([self.x + sin * forward + cos * right, up, self.z + cos * forward - sin * right], axis=1)

    def seen_from(self, eye: Pose) -> Pose:
        """This pose in the axes of another pose."""
        dx, dz = self.x - eye.x, self.z - eye.z
        sin, cos = np.sin(eye.yaw), np.cos(eye.yaw)
        return Pose(cos * dx - sin * dz, sin * dx + cos * dz, self.yaw - eye.yaw)


@dataclass(frozen=True)
class Camera:
    """Focal length and principal point in pixels; the image is `width` x `height`."""

    focal: float
    cx: float
    cy: float
    width: int
    height: int

    @staticmethod
    def for_size(height: int, width: int) -> Camera:
        """A car camera of KITTI's field of view for any image size."""
        return Camera(KITTI_FOCAL * width / KITTI_WIDTH, width / 2, HORIZON * height, width, height)

    def window(self, x: float, y: float, side: float, resolution: int) -> Camera:
        """The camera that sees only a square of this image, magnified to resolution x resolution pixels."""
        scale = resolution / side
        return Camera(self.focal * scale, (self.cx - x) * scale, (self.cy - y) * scale, resolution, resolution)

    def project(self, points: np.ndarray) -> np.ndarray:
        """Camera points (n, 3) with Z >= NEAR to pixels (n, 2)."""
        scale = self.focal / np.maximum(points[:, 2], NEAR)
        return np.stack([self.cx + scale * points[:, 0], self.cy + scale * (EYE_HEIGHT - points[:, 1])], axis=1)


def clip_near(polygon: np.ndarray) -> np.ndarray:
    """The part of a polygon (n, 3) in front of the near plane (Sutherland-Hodgman)."""
    inside = polygon[:, 2] >= NEAR
    if inside.all():
        return polygon
    out = []
    for i in range(len(polygon)):
        a, b = polygon[i - 1], polygon[i]
        if inside[i - 1] != inside[i]:
            out.append(a + (b - a) * ((NEAR - a[2]) / (b[2] - a[2])))
        if inside[i]:
            out.append(b)
    return np.array(out).reshape(-1, 3)
