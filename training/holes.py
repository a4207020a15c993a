"""Random holes for inpainting. Their shapes come from chance and from visible masks, never from amodal ones."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

SINGLE_SHARE = 0.6  # two holes together often leave too little to learn from


def random_hole(rng: np.random.Generator, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """One hole, or two together, of any kind.

    Args:
        labels: (S, S) uint8, visible instances of the image, 0 where none is.
        others: the same of another image; its instances lend their shapes.

    Returns:
        (S, S) bool, True where the image is to be painted; never empty.
    """
    hole = np.zeros(labels.shape, bool)
    for _ in range(1 if rng.random() < SINGLE_SHARE else 2):
        hole |= _KINDS[rng.integers(len(_KINDS))](rng, labels, others)
    return hole if hole.any() else np.ones(labels.shape, bool)


def _boxes(rng: np.random.Generator, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    side = labels.shape[0]
    hole = np.zeros(labels.shape, bool)
    for _ in range(rng.integers(1, 4)):
        height, width = rng.integers(side // 8, side * 2 // 3, 2)
        y, x = rng.integers(-height // 2, side - height // 2), rng.integers(-width // 2, side - width // 2)
        hole[max(0, y) : y + height, max(0, x) : x + width] = True
    return hole


def _strokes(rng: np.random.Generator, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    side = labels.shape[0]
    hole = np.zeros(labels.shape, np.uint8)
    for _ in range(rng.integers(1, 4)):
        points = rng.integers(-side // 8, side + side // 8, (rng.integers(2, 5), 1, 2)).astype(np.int32)
        cv2.polylines(hole, [points], False, 1, int(rng.integers(side // 16, side // 4)))
    return hole.astype(bool)


def _half_plane(rng: np.random.Generator, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    side = labels.shape[0]
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3) * side
    ys, xs = np.mgrid[:side, :side] - side / 2
    return xs * np.cos(angle) + ys * np.sin(angle) > offset


def _all_but_a_patch(rng: np.random.Generator, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    side = labels.shape[0]
    patch = np.zeros(labels.shape, np.uint8)
    centre = tuple(int(c) for c in rng.integers(side // 4, side * 3 // 4, 2))
    axes = tuple(int(a) for a in rng.integers(side // 8, side // 2, 2))
    cv2.ellipse(patch, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
    return patch == 0


def _shape_of_another(rng: np.random.Generator, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    return _grown(_instance(rng, others), int(rng.integers(0, labels.shape[0] // 16)))


def _grown_hull(rng: np.random.Generator, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    points = cv2.findNonZero(_instance(rng, labels if rng.random() < 0.5 else others))
    if points is None:
        return np.zeros(labels.shape, bool)
    hull = cv2.fillConvexPoly(np.zeros(labels.shape, np.uint8), cv2.convexHull(points), 1)
    return _grown(hull, int(rng.integers(0, labels.shape[0] // 8)))


def _surroundings(rng: np.random.Generator, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """What lies around an instance; its own pixels stay known, up to a ragged edge."""
    instance = _instance(rng, labels)
    kept = cv2.erode(instance, np.ones((3, 3), np.uint8), iterations=int(rng.integers(0, 3)))
    return _grown(instance, int(rng.integers(3, labels.shape[0] // 3))) & (kept == 0)


def _instance(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """One of the instances as uint8 0 and 1; all 0 when there is none."""
    ids = np.flatnonzero(np.bincount(labels.ravel(), minlength=2)[1:]) + 1
    return (labels == rng.choice(ids)).astype(np.uint8) if len(ids) else np.zeros_like(labels)


def _grown(mask: np.ndarray, radius: int) -> np.ndarray:
    """Grown by a disc, bool; a distance transform costs the same for any radius."""
    if not mask.any():
        return mask.astype(bool)
    return cv2.distanceTransform(1 - mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) <= radius


_KINDS: list[Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]] = [
    _boxes,
    _strokes,
    _half_plane,
    _all_but_a_patch,
    _shape_of_another,
    _grown_hull,
    _surroundings,
    _surroundings,  # twice: at use, that is where the known pixels end
]
