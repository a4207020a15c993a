"""From one frame to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: A body's axes (x forward, y left, z up) in the optical frame of the camera that sees it (REP 103), as columns.
BODY_IN_OPTICAL = np.array([[0.0, -1.0, 0.0], [0.0, 0.0, -1.0], [1.0, 0.0, 0.0]])


@dataclass(frozen=True)
class Rigid:
    """p_target = rotation p_source + translation.

    Attributes:
        rotation: (3, 3).
        translation: (3,), metres.
    """

    rotation: np.ndarray
    translation: np.ndarray

    @staticmethod
    def identity() -> Rigid:
        return Rigid(np.eye(3), np.zeros(3))

    @staticmethod
    def of_quaternion(x: float, y: float, z: float, w: float, translation: tuple[float, float, float]) -> Rigid:
        """From a rotation as ROS writes it.

        Raises:
            ValueError: no unit quaternion, or not finite.
        """
        q = np.array([x, y, z, w])
        if not abs(float(q @ q) - 1) < 1e-2 or not np.isfinite(translation).all():
            raise ValueError(f"expected a unit quaternion and a finite translation, got {q.tolist()}, {translation}")
        x, y, z, w = q / np.linalg.norm(q)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return Rigid(np.eye(3) + 2 * w * cross + 2 * cross @ cross, np.array(translation))  # Rodrigues

    def apply(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 3), in their own precision."""
        return points @ self.rotation.T.astype(points.dtype) + self.translation.astype(points.dtype)


def quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    """(x, y, z, w) of a rotation matrix (3, 3), w >= 0: the main eigenvector of K (Bar-Itzhack)."""
    (a, b, c), (d, e, f), (g, h, i) = rotation
    k = np.array(
        [
            [a - e - i, b + d, c + g, h - f],
            [b + d, e - a - i, f + h, c - g],
            [c + g, f + h, i - a - e, d - b],
            [h - f, c - g, d - b, a + e + i],
        ]
    )
    x, y, z, w = np.linalg.eigh(k)[1][:, 3].tolist()
    return (x, y, z, w) if w >= 0 else (-x, -y, -z, -w)
