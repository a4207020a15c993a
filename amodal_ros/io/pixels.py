"""What an image file stores, before anybody says whether it is a picture, a mask or a label map."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

#: Grey values of fewer than 8 bits, which Pillow stretches to 8: raw mode -> brightest value, and the stretch.
_STRETCHED = {"L;2": (3, 85), "L;4": (15, 17)}
#: So many bytes tell what Pillow does not (what precedes a WebP's pixels can be a colour profile).
_HEAD = 1 << 16
#: Depths that cameras deliver in 16-bit words.
_DEPTHS = (8, 10, 12, 14, 16)


class ReadError(ValueError):
    """A file that cannot be used; the text names it.

    Attributes:
        path: the file.
        problem: what is wrong with it.
    """

    def __init__(self, path: Path | str, problem: object) -> None:
        super().__init__(f"{path}: {problem}")
        self.path, self.problem = path, str(problem)


@dataclass(frozen=True)
class Pixels:
    """An image file's values as they are stored, turned upright by its EXIF orientation.

    Attributes:
        values: grey, indices or integers (height, width), or uint8 RGB (height, width, 3).
        white: the value that stands for white in grey images; for integers of 16 bits the full scale of the depth that
            they use; 0 where nothing does (32-bit integers).
        palette: uint8 RGB (256, 3) where values are indices.
        alpha: uint8 (height, width), 255 is opaque; None where everything is.
        inexact: why the values are not those that somebody wrote; empty if they are.
        pages: images in the file; only the first is read.
    """

    values: np.ndarray
    white: float
    palette: np.ndarray | None = None
    alpha: np.ndarray | None = None
    inexact: str = ""
    pages: int = 1


def read_pixels(path: Path | str) -> Pixels:
    """Read an image file of any kind that Pillow knows, or an array in a ``.npy`` file.

    Raises:
        ReadError: missing, cut short, or nothing of that kind.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return _array(path)
    try:
        with path.open("rb") as stream:
            return decode_pixels(stream, path)
    except FileNotFoundError:
        raise ReadError(path, "the file is missing") from None
    except OSError as error:
        raise ReadError(path, f"unreadable: {error}") from None


def decode_pixels(stream: BinaryIO, name: Path | str) -> Pixels:
    """The same for the bytes of an image file; `name` is what an error calls them.

    Raises:
        ReadError: cut short, or no image.
    """
    head = stream.read(_HEAD)
    stream.seek(0)
    try:
        with Image.open(stream) as file:
            raw, pages, inexact = _raw_mode(file), getattr(file, "n_frames", 1), _inexact(file, head)
            file.load()
            return _stored(upright(file), raw, pages, inexact)
    except Exception as error:  # broken files raise many kinds, and SyntaxError is Pillow's word for a broken PNG
        heic = head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1")
        problem = "HEIC is not read; save it as JPEG or PNG" if heic else f"unreadable image: {error}"
        raise ReadError(name, problem) from None


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says. What is no valid EXIF turns nothing."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # EXIF is written by everybody; broken blocks raise many kinds
        return image


def size_text(shape: tuple[int, ...]) -> str:
    """(height, width) as people write it: "1242x375"."""
    return f"{shape[1]}x{shape[0]}"


def bit_depth(values: np.ndarray) -> int:
    """How many bits integers in 16-bit words use: the smallest of 8, 10, 12, 14 and 16 that holds the brightest."""
    brightest = int(values.max(initial=0))
    return next(bits for bits in _DEPTHS if brightest < 1 << bits or bits == 16)


def _stored(image: Image.Image, raw: str, pages: int, inexact: str) -> Pixels:
    mode = image.mode
    if mode == "P" and "transparency" not in image.info:
        return Pixels(np.array(image), 0, _palette(image), None, inexact, pages)
    if mode in ("P", "PA"):
        alpha = np.array(image.convert("RGBA"))[..., 3]
        indices = np.array(image)
        return Pixels(indices if mode == "P" else indices[..., 0], 0, _palette(image), _cut(alpha), inexact, pages)
    if mode == "L" and "transparency" in image.info:
        image, mode = image.convert("LA"), "LA"
    elif mode == "RGB" and "transparency" in image.info:
        image, mode = image.convert("RGBA"), "RGBA"
    elif mode in ("La", "RGBa"):
        image, mode = image.convert(mode.upper()), mode.upper()
    elif mode not in ("1", "L", "LA", "RGB", "RGBA", "F", "I") and not mode.startswith("I;16"):
        image, mode, inexact = image.convert("RGB"), "RGB", inexact or f"its colours are {mode}"
    values = np.array(image)
    if mode == "1":
        return Pixels(values.astype(np.uint8), 1, None, None, inexact, pages)
    if raw in _STRETCHED:
        white, stretch = _STRETCHED[raw]
        return Pixels(values // stretch, white, None, None, inexact, pages)
    if mode in ("LA", "RGBA"):
        seen = values[..., 0] if mode == "LA" else values[..., :3]
        return Pixels(seen, 255, None, _cut(values[..., -1]), inexact, pages)
    if mode == "I" and ("16" in raw and "S" not in raw):  # 16-bit grey of older Pillows
        mode, values = "I;16", values.astype(np.uint16)
    if mode.startswith("I;16"):
        values = values.astype(np.uint16)
        return Pixels(values, (1 << bit_depth(values)) - 1, None, None, inexact, pages)
    white = {"I": 0, "F": 1}.get(mode, 255)
    return Pixels(values, white, None, None, inexact, pages)


def _array(path: Path) -> Pixels:
    try:
        values = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise ReadError(path, "the file is missing") from None
    except Exception as error:  # a broken header raises many kinds
        raise ReadError(path, f"unreadable array: {error}") from None
    if values.ndim == 3 and values.shape[0] == 1:
        values = values[0]  # a stack of one mask, as segmenters write it
    colour = values.ndim == 3 and values.shape[2] == 3 and values.dtype == np.uint8
    if not (values.size and (values.ndim == 2 or colour) and values.dtype.kind in "buif"):
        got = f"{values.dtype} {values.shape}"
        raise ReadError(path, f"expected an array (height, width), or RGB uint8 (height, width, 3), got {got}")
    if values.dtype.kind == "f":
        return Pixels(values.astype(np.float32), 1)
    if values.dtype == np.bool_:
        return Pixels(values.astype(np.uint8), 1)
    if values.dtype == np.uint16:
        return Pixels(values, (1 << bit_depth(values)) - 1)
    if values.dtype == np.uint8:
        return Pixels(values, 255)
    limits = np.iinfo(np.int32)
    if values.min() < limits.min or values.max() > limits.max:
        raise ReadError(path, f"expected integers of 32 bits, got {values.min()} to {values.max()}")
    return Pixels(values.astype(np.int32), 0)


def _raw_mode(file: Image.Image) -> str:
    """How pixels lie in the file: it tells depths that Pillow's mode does not."""
    tiles: list[Any] = getattr(file, "tile", [])
    if not tiles:
        return ""
    args = tiles[0][3]
    return str(args[0] if isinstance(args, tuple) and args else args)


def _inexact(file: Image.Image, head: bytes) -> str:
    raw = _raw_mode(file)
    if file.format in ("JPEG", "MPO", "JPEG2000", "AVIF") or file.info.get("compression") == "jpeg":
        return f"{file.format} changes values"
    if file.format == "WEBP":
        return "lossy WebP changes values" if b"VP8 " in head else ""
    if "16" in raw and file.mode in ("RGB", "RGBA", "LA"):
        return "colours of 16 bits are read as 8"
    if file.format == "PPM" and file.mode in ("L", "I", "RGB") and not raw.startswith(file.mode):
        return "its brightest value is neither 255 nor 65535"
    return ""


def _palette(image: Image.Image) -> np.ndarray:
    colours = np.zeros((256, 3), np.uint8)
    stored = np.array(image.getpalette("RGB") or [], np.uint8).reshape(-1, 3)
    colours[: len(stored)] = stored
    return colours


def _cut(alpha: np.ndarray) -> np.ndarray | None:
    return None if (alpha == 255).all() else alpha
