"""Random things in front of an object: shapes and places, nothing else. They make holes such as use has."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

HIDDEN = (0.03, 0.8)  # share of the object that things in front may hide
SECOND_SHARE = 0.3  # of the objects: two things in front
TRIES = 8


def random_hiding(rng: np.random.Generator, thing: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """Where something is in front of `thing`: a share of it within `HIDDEN` is covered. None when no try does that.

    Args:
        thing: (S, S) bool, at least one pixel.
        other: (S, S) bool, another object; it lends its silhouette.
    """
    for _ in range(TRIES):
        hiding = random_thing(rng, thing, other)
        if rng.random() < SECOND_SHARE:
            hiding |= random_thing(rng, thing, other)
        if HIDDEN[0] < (hiding & thing).sum() / thing.sum() < HIDDEN[1]:
            return hiding
    return None


def random_thing(rng: np.random.Generator, thing: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Something at or beside `thing`, (S, S) bool: a silhouette, a wall or edge, poles, a bush, boxes, a person."""
    box = cv2.boundingRect(thing.view(np.uint8))
    return _KINDS[rng.integers(len(_KINDS))](rng, len(thing), box, other)


Box = tuple[int, int, int, int]


def _silhouette(rng: np.random.Generator, side: int, box: Box, other: np.ndarray) -> np.ndarray:
    """The other object, 0.4 to 1.8 times as large, its middle somewhere around the box."""
    x, y, width, height = box
    left, top, wide, high = cv2.boundingRect(other.view(np.uint8))
    if not wide:
        return np.zeros((side, side), bool)
    scale = max(width, height) / max(wide, high) * np.exp(rng.uniform(np.log(0.4), np.log(1.8)))
    mirror = -scale if rng.random() < 0.5 else scale
    middle = x + width * rng.uniform(-0.3, 1.3), y + height * rng.uniform(-0.2, 1.3)
    place = np.array(
        [
            [mirror, 0, middle[0] - mirror * (left + wide / 2)],
            [0, scale, middle[1] - scale * (top + high / 2)],
        ]
    )
    return cv2.warpAffine(other.view(np.uint8), place, (side, side), flags=cv2.INTER_NEAREST) > 0


def _half_plane(rng: np.random.Generator, side: int, box: Box, other: np.ndarray) -> np.ndarray:
    """All beyond a line through the box, half of them nearly upright or level: walls, table edges, the frame's edge."""
    x, y, width, height = box
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.4, 0.4)
    if rng.random() < 0.5:
        angle = rng.integers(4) * np.pi / 2 + rng.normal(0, 0.08)
    ys, xs = np.mgrid[:side, :side]
    return (xs - x - width / 2) / width * np.cos(angle) + (ys - y - height / 2) / height * np.sin(angle) > offset


def _poles(rng: np.random.Generator, side: int, box: Box, other: np.ndarray) -> np.ndarray:
    x, _, width, height = box
    picture = np.zeros((side, side), np.uint8)
    for _ in range(rng.integers(1, 4)):
        middle, tilt = int(x + width * rng.random()), int(rng.normal(0, 0.08) * side)
        thickness = max(1, int(max(width, height) * rng.uniform(0.04, 0.3)))
        cv2.line(picture, (middle - tilt, -5), (middle + tilt, side + 5), 1, thickness)
    return picture > 0


def _bush(rng: np.random.Generator, side: int, box: Box, other: np.ndarray) -> np.ndarray:
    x, y, width, height = box
    size = max(width, height)
    noise = rng.standard_normal((side, side)).astype(np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), size * rng.uniform(0.03, 0.15))
    ys, xs = np.mgrid[:side, :side]
    across = (xs - x - width * rng.uniform(-0.1, 1.1)) / (size * rng.uniform(0.15, 0.6))
    down = (ys - y - height * rng.uniform(0, 1.2)) / (size * rng.uniform(0.15, 0.6))
    return np.hypot(across, down) + noise / noise.std() * 0.25 < 1


def _boxes(rng: np.random.Generator, side: int, box: Box, other: np.ndarray) -> np.ndarray:
    x, y, width, height = box
    picture = np.zeros((side, side), np.uint8)
    for _ in range(rng.integers(1, 3)):
        size = max(width, height) * rng.uniform(0.15, 0.9, 2)
        middle = x + width * rng.uniform(-0.1, 1.1), y + height * rng.uniform(0, 1.1)
        corners = cv2.boxPoints((middle, tuple(size), float(rng.normal(0, 8))))
        cv2.fillConvexPoly(picture, corners.astype(np.int32), 1)
    return picture > 0


def _person(rng: np.random.Generator, side: int, box: Box, other: np.ndarray) -> np.ndarray:
    """An upright ellipse, nearly."""
    x, y, width, height = box
    picture, size = np.zeros((side, side), np.uint8), max(width, height)
    middle = int(x + width * rng.random()), int(y + height * rng.uniform(0.2, 1))
    axes = max(1, int(size * rng.uniform(0.06, 0.2))), max(1, int(size * rng.uniform(0.2, 0.6)))
    cv2.ellipse(picture, middle, axes, float(rng.normal(0, 10)), 0, 360, 1, -1)
    return picture > 0


_KINDS: list[Callable[[np.random.Generator, int, Box, np.ndarray], np.ndarray]] = [
    _silhouette,
    _silhouette,
    _silhouette,  # most often, things hide each other
    _half_plane,
    _poles,
    _bush,
    _boxes,
    _person,
]
