"""Masks: which pixels are set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from amodal_ros.io.pixels import Pixels, ReadError, read_pixels, size_text


def read_mask(path: Path | str, shape: tuple[int, int] | None = None) -> np.ndarray:
    """A mask file as bool (height, width).

    - A cut-out (RGBA, LA, a transparent palette): what is at least half opaque.
    - Two values: all but zero is set, whatever the other one is (1, 255, a palette's index, a colour on black).
    - Soft outlines and JPEG: at least half of white. Floats in [0, 1]: at least 0.5.

    Args:
        shape: the image's (height, width), which it must have.

    Raises:
        ReadError: missing, cut short, of another size, or a label map: several indices or colours.
    """
    pixels = read_pixels(path)
    if pixels.pages > 1:
        raise ReadError(path, f"expected one mask, got a stack of {pixels.pages} pages")
    mask = _mask(pixels, path)
    if shape is not None and mask.shape != tuple(shape):
        raise ReadError(path, f"mask of {size_text(mask.shape)}, but its image is {size_text(shape)}")
    return mask


def _mask(pixels: Pixels, path: Path | str) -> np.ndarray:
    if pixels.alpha is not None:
        return pixels.alpha >= 128
    values, white = _grey(pixels)
    if values.ndim == 3:
        set_ = values.any(axis=2)
        if pixels.inexact or (values[set_] != values[set_][:1]).any():
            raise ReadError(path, "expected a mask, got several colours; give a label map as --labels")
        return set_
    if values.dtype.kind == "f":
        if not (values.min() >= 0 and values.max() <= 1):  # NaN is not either
            raise ReadError(path, f"expected a mask of floats in [0, 1], got {values.min():g} to {values.max():g}")
        return values >= 0.5
    present = _present(values)
    if not pixels.inexact and len(present[present != 0]) <= 1:
        return values != 0
    if not white:  # indices and wide integers have no half
        raise ReadError(path, f"expected a mask, got the values {_some(present)}; give a label map as --labels")
    return values >= (white + 1) // 2


def _grey(pixels: Pixels) -> tuple[np.ndarray, float]:
    """Values and their white: palettes and colours that are all grey are grey values."""
    colours = pixels.palette
    if colours is not None:
        used = colours[_present(pixels.values)]
        all_grey = (used == used[:, :1]).all() and not (used == used[0]).all()
        return (colours[:, 0][pixels.values], 255) if all_grey else (pixels.values, 0)
    values = pixels.values
    if values.ndim == 3:
        spread = np.ptp(values, axis=2)
        if spread.max() <= (16 if pixels.inexact else 0):  # JPEG colours what was grey by a few steps
            return values[..., 1], 255
    return values, pixels.white


def _present(values: np.ndarray) -> np.ndarray:
    """The values that occur, ascending; for few bits by counting, which is far quicker than sorting 8K images."""
    return np.unique(values) if values.dtype == np.int32 else np.flatnonzero(np.bincount(values.reshape(-1)))


def _some(values: np.ndarray) -> str:
    return ", ".join(str(v) for v in values[:6].tolist()) + (", ..." if len(values) > 6 else "")
