"""Pictures: whatever is stored, RGB of 8 bits comes out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from amodal_ros.io.pixels import Pixels, ReadError, bit_depth, read_pixels, size_text


def read_image(path: Path | str, shape: tuple[int, int] | None = None) -> np.ndarray:
    """An image file as RGB uint8 (height, width, 3), turned upright as its EXIF orientation says.

    Grey of 16 bits is brought to 8 by the depth that it uses: 8, 10, 12, 14 or 16 bits, whichever holds its brightest
    pixel. Floats must lie in [0, 1]. Transparency is left out.

    Args:
        shape: the (height, width) that it must have.

    Raises:
        ReadError: missing, cut short, no image, or of another size than `shape`.
    """
    rgb = rgb_of(read_pixels(path), path)
    if shape is not None and rgb.shape[:2] != tuple(shape):
        raise ReadError(path, f"image of {size_text(rgb.shape)}, annotated as {size_text(shape)}{_turned(path)}")
    return rgb


def rgb_of(pixels: Pixels, path: Path | str, bits: int = 8) -> np.ndarray:
    """RGB uint8 (height, width, 3).

    Args:
        bits: 16-bit grey is taken to use at least so many. A sequence passes what its frames have used so far, so that
            a dark one does not flash.

    Raises:
        ReadError: it is no picture; names `path`.
    """
    values = pixels.values
    if pixels.palette is not None:
        return pixels.palette[values]
    if values.ndim == 3:
        return values
    if values.dtype.kind == "f" and not (values.min() >= 0 and values.max() <= 1):
        raise ReadError(path, f"expected floats in [0, 1], got {values.min():g} to {values.max():g}")
    if values.dtype == np.int32:
        if values.min() < 0 or values.max() > 0xFFFF:
            raise ReadError(path, f"expected grey of up to 16 bits, got {values.min()} to {values.max()}")
        values = values.astype(np.uint16)
    if values.dtype == np.uint16:
        values = (values >> (max(bits, bit_depth(values)) - 8)).astype(np.uint8)
    elif pixels.white != 255:
        values = np.round(values * (255 / pixels.white)).astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=2)


def image_shape(path: Path | str) -> tuple[int, int]:
    """(height, width) as `read_image` gives it, from the file's header alone.

    Raises:
        ReadError: missing or not an image.
    """
    if Path(path).suffix.lower() == ".npy":
        height, width = read_pixels(path).values.shape[:2]
        return height, width
    try:
        with Image.open(path) as file:
            sideways = file.format != "TIFF" and _orientation(file) in (5, 6, 7, 8)  # Pillow turns TIFF by itself
            return (file.width, file.height) if sideways else (file.height, file.width)
    except FileNotFoundError:
        raise ReadError(path, "the file is missing") from None
    except Exception as error:  # as in read_pixels
        raise ReadError(path, f"unreadable image: {error}") from None


def _orientation(file: Image.Image) -> int:
    try:
        return file.getexif().get(0x0112, 1)
    except Exception:  # as in `upright`
        return 1


def _turned(path: Path | str) -> str:
    """What to add where a size does not fit."""
    if Path(path).suffix.lower() == ".npy":
        return ""
    with Image.open(path) as file:
        return "" if _orientation(file) in (0, 1) else " (it is turned by its EXIF orientation)"
