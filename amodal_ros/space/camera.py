"""A calibrated pinhole camera in its optical frame (REP 103): x to the right, y down, z forward, metres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

#: Lens models of `sensor_msgs/CameraInfo` and the number of their coefficients.
LENSES = {"plumb_bob": (4, 5), "rational_polynomial": (8, 12, 14), "equidistant": (4,)}


@dataclass(frozen=True)
class PinholeCamera:
    """Focal lengths and principal point in pixels; pixel (0, 0) is the centre of the first pixel.

    Attributes:
        fx, fy: focal lengths, more than 0.
        cx, cy: principal point.
        width, height: the image's size.
        distortion: the lens's coefficients when pixels are those of an unrectified image; empty when rectified.
        lens: a key of `LENSES`; read only with `distortion`.

    Raises:
        ValueError: a focal length that is not positive, or a lens that is not known.
    """

    fx: float
    fy: float
    cx: float
    cy: float
    width: int
    height: int
    distortion: tuple[float, ...] = ()
    lens: str = "plumb_bob"

    def __post_init__(self) -> None:
        if not (self.fx > 0 and self.fy > 0 and np.isfinite([self.fx, self.fy, self.cx, self.cy]).all()):
            raise ValueError(
                "expected positive focal lengths and a finite principal point, "
                f"got fx {self.fx}, fy {self.fy}, cx {self.cx}, cy {self.cy}"
            )
        if self.distortion and len(self.distortion) not in LENSES.get(self.lens, ()):
            raise ValueError(
                f"expected a lens of {', '.join(LENSES)} with its coefficients, got {self.lens!r} with "
                f"{len(self.distortion)}"
            )

    @staticmethod
    def from_info(info: Any, rectified: bool = True) -> PinholeCamera:
        """A ``sensor_msgs/msg/CameraInfo``, fields read by name (REP 104).

        Args:
            info: binning and region of interest are taken into account.
            rectified: whether pixels are those of the rectified image, whose camera is P; else they are those of
                the raw image, with K and the lens's distortion.

        Raises:
            ValueError: an uncalibrated camera (K of zeros), or a lens that is not known.
        """
        k, p = np.asarray(info.k, float).reshape(3, 3), np.asarray(info.p, float).reshape(3, 4)
        if k[0, 0] == 0 and p[0, 0] == 0:
            raise ValueError("K is all zeros, which means that the camera is not calibrated")
        of_raw = p[0, 0] == 0 or (not rectified and k[0, 0] != 0)
        matrix = k if of_raw else p
        bent = of_raw and bool(np.any(info.d))
        across, down = max(1, info.binning_x), max(1, info.binning_y)
        left, top = info.roi.x_offset, info.roi.y_offset
        return PinholeCamera(
            fx=matrix[0, 0] / across,
            fy=matrix[1, 1] / down,
            cx=(matrix[0, 2] - left) / across,
            cy=(matrix[1, 2] - top) / down,
            width=(info.roi.width or info.width) // across,
            height=(info.roi.height or info.height) // down,
            distortion=tuple(float(c) for c in info.d) if bent else (),
            lens=info.distortion_model or "plumb_bob",
        )

    def resized(self, width: int, height: int) -> PinholeCamera:
        """The same camera after its image was scaled to another size.

        Raises:
            ValueError: another aspect ratio (beyond a pixel of rounding): the image was cut, not scaled.
        """
        if (width, height) == (self.width, self.height) or not self.width or not self.height:
            return self
        sx, sy = width / self.width, height / self.height
        if abs(self.height * sx - height) > 1 and abs(self.width * sy - width) > 1:
            raise ValueError(f"it is for images of {self.width}x{self.height} and the masks are of {width}x{height}")
        # Pixel centres: the image's corner is at -0.5, and that is what stays where it is.
        return PinholeCamera(
            self.fx * sx, self.fy * sy, (self.cx + 0.5) * sx - 0.5, (self.cy + 0.5) * sy - 0.5, width, height,
            self.distortion, self.lens,
        )  # fmt: skip

    def rays(self, u: np.ndarray, v: np.ndarray) -> np.ndarray:
        """Directions with z = 1 through pixels u, v: a pixel at depth z lies at z times its ray.

        Args:
            u, v: of shapes that broadcast, such as (n,) and (n,), or (columns,) and (rows, 1).

        Returns:
            float64, of their common shape and three coordinates.
        """
        if self.distortion:
            u, v = np.broadcast_arrays(u, v)
            pixels = np.stack([u, v], axis=-1).astype(np.float64).reshape(-1, 1, 2)
            k = np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])
            straight = cv2.fisheye.undistortPoints if self.lens == "equidistant" else cv2.undistortPoints
            xy = straight(pixels, k, np.array(self.distortion)) if len(pixels) else pixels
            x, y = xy.reshape(*u.shape, 2).transpose(-1, *range(u.ndim))
        else:
            x, y = (np.asarray(u) - self.cx) / self.fx, (np.asarray(v) - self.cy) / self.fy
        rays = np.empty((3, *np.broadcast(x, y).shape))  # by coordinate: quick to write, and to work with
        rays[0], rays[1], rays[2] = x, y, 1
        return rays.transpose(*range(1, rays.ndim), 0)

    def project(self, points: Sequence | np.ndarray) -> np.ndarray:
        """Points (n, 3) in front of the camera to pixels (n, 2) of the rectified image."""
        x, y, z = np.asarray(points, float).T
        return np.stack([self.cx + self.fx * x / z, self.cy + self.fy * y / z], axis=1)
