"""Depth images: how far away each pixel is."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from amodal_ros.io.pixels import ReadError, read_pixels, size_text


def read_depth(path: Path | str, shape: tuple[int, int] | None = None) -> np.ndarray:
    """A depth file as float32 (height, width) in metres, NaN where unknown.

    Integers of 16 bits are millimetres, 0 unknown (REP 118); floats (TIFF, ``.npy``) are metres.

    Args:
        shape: the image's (height, width), which it must have.

    Raises:
        ReadError: missing, cut short, of another size, or of values that are no depth.
    """
    pixels = read_pixels(path)
    values = pixels.values
    if (
        pixels.pages > 1
        or values.ndim != 2
        or pixels.inexact
        or values.dtype not in (np.uint16, np.float32, np.float64)
    ):
        kind = "several channels or pages" if values.ndim != 2 or pixels.pages > 1 else str(values.dtype)
        raise ReadError(path, f"expected depth, 16 bits in millimetres or floats in metres, got {kind}")
    if shape is not None and values.shape != tuple(shape):
        raise ReadError(path, f"depth of {size_text(values.shape)}, but its image is {size_text(shape)}")
    metres = values.astype(np.float32) / (1000 if values.dtype == np.uint16 else 1)
    return np.where(metres > 0, metres, np.float32(np.nan))
