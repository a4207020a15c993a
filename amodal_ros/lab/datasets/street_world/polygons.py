"""Many flat coloured polygons in world axes, drawn in one go."""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from amodal_ros.lab.datasets.street_world.camera import NEAR, Camera, Pose, clip_near
from amodal_ros.lab.datasets.street_world.shape import Colour, Point

FRACTION_BITS = 4  # of cv2's fixed-point coordinates
FAR_AWAY = 20000.0  # pixels; keeps fixed-point coordinates small
SPECK = 0.4  # pixels; what is thinner is left out


def fixed_point(pixels: np.ndarray) -> np.ndarray:
    """Pixels (n, 2) as cv2's fixed-point coordinates."""
    return np.rint(np.clip(pixels, -FAR_AWAY, FAR_AWAY) * (1 << FRACTION_BITS)).astype(np.int32)


class Polygons:
    """A list in drawing order; later ones cover earlier ones."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.starts: list[int] = []
        self.colours: list[list[int]] = []

    def add(self, corners: list[Point], colour: Colour) -> None:
        """One more polygon in world axes; its colour is RGB."""
        self.starts.append(len(self.points))
        self.points.extend(corners)
        self.colours.append([min(max(int(c), 0), 255) for c in colour])

    @cached_property
    def _points(self) -> np.ndarray:
        return np.array(self.points, float).reshape(-1, 3)

    def draw(self, image: np.ndarray, camera: Camera, eye: Pose) -> None:
        """Draw all that is in sight into an RGB uint8 image, in place."""
        if not self.starts:
            return
        points = to_camera(self._points, eye)
        nearest, farthest = _extremes(points[:, 2], self.starts)
        pixels = camera.project(points)
        left, right = _extremes(pixels[:, 0], self.starts)
        top, bottom = _extremes(pixels[:, 1], self.starts)
        seen = (right > 0) & (left < camera.width) & (bottom > 0) & (top < camera.height)
        seen &= (right - left > SPECK) & (bottom - top > SPECK)
        cut = nearest < NEAR
        fixed = fixed_point(pixels)
        stops = [*self.starts[1:], len(self.points)]
        for i in np.flatnonzero(np.where(cut, farthest > NEAR, seen)).tolist():
            outline = fixed[self.starts[i] : stops[i]]
            if cut[i]:
                outline = fixed_point(camera.project(clip_near(points[self.starts[i] : stops[i]])))
            cv2.fillPoly(image, [outline], self.colours[i], cv2.LINE_AA, FRACTION_BITS)


def _extremes(values: np.ndarray, starts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)


def to_camera(points: np.ndarray, eye: Pose) -> np.ndarray:
    """World points (n, 3) to the axes of the camera at `eye`."""
    sin, cos = np.sin(eye.yaw), np.cos(eye.yaw)
    x, z = points[:, 0] - eye.x, points[:, 2] - eye.z
    return np.stack([cos * x - sin * z, points[:, 1], sin * x + cos * z], axis=1)
