"""Training images from the pool: street crops, and whole objects alone on a smooth background."""

from __future__ import annotations

import cv2
import numpy as np

from training.holes import random_hole
from training.pool import ALONE_SHARE, Pool

SMOOTH_SHARE = 0.7  # of the lone objects: put before a blurred background, as the condition image (Eq. 8) is


def random_image(
    pool: Pool, rng: np.random.Generator, alone_share: float = ALONE_SHARE
) -> tuple[np.ndarray, np.ndarray]:
    """An image and its visible instances.

    Args:
        alone_share: probability of one whole object before a plain or smooth background, in place of a street.

    Returns:
        image: (S, S, 3) float32 RGB in [0, 1].
        labels: (S, S) uint8, visible instances, 0 where none is.
    """
    alone, index = rng.random() < alone_share, int(rng.integers(len(pool)))
    while pool.alone[index] != alone:
        index = int(rng.integers(len(pool)))
    image, labels = pool.images[index].astype(np.float32) / 255, np.array(pool.labels[index])
    if alone and labels.any() and rng.random() < SMOOTH_SHARE:
        image, labels = _before_smooth_background(image, labels > 0, rng)
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return _lit(image, rng), np.ascontiguousarray(labels)


def hole_for(labels: np.ndarray, pool: Pool, rng: np.random.Generator) -> np.ndarray:
    """A random hole for an image with these visible instances; (S, S) bool, True where it is to be painted."""
    return random_hole(rng, labels, np.array(pool.labels[rng.integers(len(pool))]))


def unsharp(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image, blurred or noisy or both or as it is; the same shape and range."""
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5))
    if rng.random() < 0.4:
        image = image + rng.normal(0, rng.uniform(0.01, 0.08), image.shape).astype(np.float32)
    return image.clip(0, 1)


def to_model(images: list[np.ndarray]) -> np.ndarray:
    """(S, S, 3) in [0, 1] each -> (B, 3, S, S) float32 in [-1, 1]."""
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)) * 2 - 1


def _lit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another exposure and white balance."""
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
    return np.ascontiguousarray((image * gain.astype(np.float32)).clip(0, 1))


def _before_smooth_background(
    image: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The object at another size and place (it may leave the image a little) on a smooth background."""
    side = len(mask)
    ys, xs = np.nonzero(mask)
    top, bottom, left, right = ys.min(), ys.max() + 1, xs.min(), xs.max() + 1
    size = max(bottom - top, right - left)
    scale = np.clip(rng.uniform(0.35, 0.95) * side / size, 0.4, 1.8)
    target = rng.uniform(0.3, 0.7, 2) * side  # where the centre of the object goes
    move = target - scale * np.array([left + right, top + bottom]) / 2
    place = np.array([[scale, 0, move[0]], [0, scale, move[1]]])
    soft = cv2.warpAffine(mask.astype(np.float32), place, (side, side), flags=cv2.INTER_LINEAR)
    moved = cv2.warpAffine(image, place, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    background = _smooth_background(image[ys, xs], side, rng)
    inside = soft > 0.5
    cover = soft if rng.random() < 0.5 else inside  # at use, masks cut pixels and leave a rim of what was behind
    return background + cover[..., None] * (moved - background), inside.astype(np.uint8)


def _smooth_background(colours: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Blurred noise of the object's own colours (method: Eq. 9), of other colours, or one colour; (side, side, 3)."""
    kind = rng.integers(3)
    if kind == 0:
        noise = colours[rng.integers(len(colours), size=(side, side))]
    else:
        spread = 0.0 if kind == 1 else rng.uniform(0, 0.4)
        noise = rng.uniform(0, 1, 3) + rng.normal(0, 1, (side, side, 3)) * spread
    noise = noise.astype(np.float32)
    if kind != 1:
        noise = cv2.GaussianBlur(noise, (0, 0), float(np.exp(rng.uniform(0, np.log(side / 6)))))
    if rng.random() < 0.3:
        noise = noise + np.linspace(-1, 1, side, dtype=np.float32)[:, None, None] * rng.uniform(-0.3, 0.3)
    return noise.clip(0, 1)
