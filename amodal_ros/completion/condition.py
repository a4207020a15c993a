"""Section 4.2: the condition image x, Eq. 8 and 9.

Images here are float32 (height, width, 3) in [-1, 1]; object noise may leave that range.
"""

from __future__ import annotations

import cv2
import numpy as np

from amodal_ros.settings.readings import Black, Contrast, Histogram


def to_signed(image: np.ndarray) -> np.ndarray:
    """uint8 pixels [0, 255] to float32 [-1, 1]."""
    return image.astype(np.float32) / 127.5 - 1.0


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Float pixels [-1, 1], clipped, to uint8 [0, 255]."""
    return np.rint((np.clip(image, -1.0, 1.0) + 1.0) * 127.5).astype(np.uint8)


def condition_image(visible: np.ndarray, obj: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Eq. 8: x = V * x_obj + (1 - V) * x_bck, with V bool (height, width)."""
    return np.where(visible[..., None], obj, background)


def object_pixels(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Eq. 9: x_obj = s * eps + (1 - s) * I, eps ~ N(0, 1), s = `strength` in [0, 1]."""
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    return strength * noise + (1.0 - strength) * image


def background_pixels(
    image: np.ndarray, visible: np.ndarray, condition: Histogram | Black | Contrast, rng: np.random.Generator
) -> np.ndarray:
    """Section 4.2, "Background pixels": x_bck for Eq. 8.

    Args:
        image: I, (height, width, 3) in [-1, 1].
        visible: V, bool (height, width), at least one pixel.
        condition: `Histogram`: every pixel drawn from the colour histogram of the visible pixels, then blurred (drawing
            visible pixels with replacement draws from that histogram exactly, jointly in R, G and B); `Black`;
            `Contrast`: one plain colour far from the object's.
    """
    if isinstance(condition, Black):
        return np.full(image.shape, -1.0, np.float32)
    colours = image[visible]
    if isinstance(condition, Contrast):
        return np.broadcast_to(contrasting_colour(colours), image.shape).astype(np.float32)
    drawn = colours[rng.integers(0, len(colours), visible.size)].reshape(image.shape)
    sigma = condition.blur * len(image)
    return cv2.GaussianBlur(drawn, (0, 0), sigma) if sigma > 0 else drawn


def contrasting_colour(colours: np.ndarray) -> np.ndarray:
    """The corner of a smaller RGB cube that lies farthest from the object's colours.

    Args:
        colours: (n, 3) in [-1, 1].
    """
    corners = np.stack(np.meshgrid(*[[-0.6, 0.6]] * 3, indexing="ij"), -1).reshape(8, 3).astype(np.float32)
    sample = colours[:: max(1, len(colours) // 512)]
    distance = np.linalg.norm(corners[:, None] - sample[None], axis=-1)
    # The tenth percentile rather than the minimum: a few stray pixels (a lamp, a window) must not decide.
    return corners[np.percentile(distance, 10, axis=1).argmax()]
