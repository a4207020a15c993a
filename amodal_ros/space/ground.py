"""The ground as a plane in the camera's optical frame."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from amodal_ros.space.camera import PinholeCamera

#: Depth pixels that a plane is fitted to, and planes that are tried.
SAMPLES, TRIALS = 3000, 200
#: Points this close to a plane (metres, and as a share of their distance) lie in it.
NEAR_PLANE, NEAR_PLANE_SHARE = 0.05, 0.02
#: A ground lies below the camera: its normal is at most this far (cosine of 40 degrees) from the image's own down.
UPRIGHT = 0.77
#: Fewer of the points than this in the plane: no ground was seen.
SUPPORT = 0.2


@dataclass(frozen=True)
class Ground:
    """All points p with down . p = height.

    Attributes:
        down: unit vector (3,) straight to the ground, in the optical frame (x right, y down, z forward).
        height: of the camera above the ground in metres, more than 0.

    Raises:
        ValueError: a height that is not positive, or no unit vector.
    """

    down: tuple[float, float, float]
    height: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.height) and self.height > 0):
            raise ValueError(f"ground: expected a camera height above 0 m, got {self.height}")
        if not abs(float(np.linalg.norm(self.down)) - 1) < 1e-3:
            raise ValueError(f"ground: expected a unit vector, got {self.down}")

    @staticmethod
    def level(height: float, pitch: float = 0.0, roll: float = 0.0) -> Ground:
        """From how the camera is mounted.

        Args:
            height: metres above the ground.
            pitch: radians; positive: the camera looks down.
            roll: radians; positive: its right side is lower.
        """
        return Ground((np.sin(roll) * np.cos(pitch), np.cos(roll) * np.cos(pitch), np.sin(pitch)), height)

    @staticmethod
    def from_transform(rotation: np.ndarray, translation: np.ndarray) -> Ground:
        """From a transform camera to base, p_base = R p + t, where the ground is z = 0 of the base (REP 105).

        Args:
            rotation: R, (3, 3).
            translation: t, (3,), metres.
        """
        return Ground(tuple(float(-c) for c in rotation[2]), float(translation[2]))  # type: ignore[arg-type]

    @staticmethod
    def fit(depth: np.ndarray, camera: PinholeCamera, seed: int = 0) -> Ground | None:
        """The largest plane below the camera in the lower half of a depth image (RANSAC, then least squares).

        Args:
            depth: float (height, width), metres along z; not finite and <= 0 mean unknown.

        Returns:
            None when too little of what is seen lies in one such plane.
        """
        rng = np.random.default_rng(seed)
        top = depth.shape[0] // 2
        v, u = np.nonzero(np.isfinite(depth[top:]) & (depth[top:] > 0))
        if len(u) < 50:
            return None
        chosen = rng.choice(len(u), min(SAMPLES, len(u)), replace=False)
        u, v = u[chosen], v[chosen] + top
        points = camera.rays(u, v) * depth[v, u].astype(float)[:, None]
        trios = points[rng.integers(len(points), size=(TRIALS, 3))]
        normals = np.cross(trios[:, 1] - trios[:, 0], trios[:, 2] - trios[:, 0])
        lengths = np.linalg.norm(normals, axis=1)
        normals = normals[lengths > 1e-9] / lengths[lengths > 1e-9, None]
        normals *= np.where(normals[:, 1:2] < 0, -1.0, 1.0)
        heights = (normals * trios[lengths > 1e-9, 0]).sum(1)
        upright = (normals[:, 1] > UPRIGHT) & (heights > 0)
        if not upright.any():
            return None
        normals, heights = normals[upright], heights[upright]
        room = NEAR_PLANE + NEAR_PLANE_SHARE * points[:, 2]
        within = np.abs(points @ normals.T - heights) < room[:, None]
        best = int(within.sum(0).argmax())
        inliers = points[within[:, best]]
        if len(inliers) < SUPPORT * len(points):
            return None
        middle = inliers.mean(0)
        normal = np.linalg.svd(inliers - middle, full_matrices=False)[2][2]
        normal = normal if normal[1] > 0 else -normal
        height = float(normal @ middle)
        return Ground(tuple(normal.tolist()), height) if height > 0 else None

    def meet(self, rays: np.ndarray) -> np.ndarray:
        """Depth z at which rays (n, 3) with z = 1 meet the ground, float (n,); infinite where they never do."""
        towards = rays @ np.asarray(self.down)
        return np.divide(self.height, towards, out=np.full(len(rays), np.inf), where=towards > 1e-9)

    @cached_property
    def forward(self) -> np.ndarray:
        """Unit vector (3,) along the ground, where the camera looks."""
        down = np.asarray(self.down)
        along = np.array([0.0, 0.0, 1.0]) - down[2] * down
        return along / np.linalg.norm(along)
