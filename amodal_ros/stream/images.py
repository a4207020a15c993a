"""Camera images, label maps and depth images as arrays: one table of encodings, OpenCV where pixels are converted.

Messages are read by their field names only; nothing here imports ROS, except cv_bridge when an exotic image comes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cv2
import numpy as np

from amodal_ros.io import ReadError, bit_depth, decode_pixels


class BadInput(ValueError):
    """An input message that cannot be used.

    Attributes:
        reason: the counter in diagnostics that it belongs to, such as ``"bad_image"``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@dataclass(frozen=True)
class _Encoding:
    """How pixels lie in a message.

    Attributes:
        dtype: of a channel.
        channels: values per pixel and row.
        rows: rows stored per two image rows: 3 where two chroma rows' worth follows the luma of two.
        convert: OpenCV's code to RGB of 8 or 16 bits; None: RGB already.
    """

    dtype: str
    channels: int
    convert: int | None = None
    rows: int = 2


# OpenCV names a Bayer pattern by its second row's second and third pixel, ROS by its first two rows.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
_ENCODINGS = {
    "rgb8": _Encoding("u1", 3),
    "bgr8": _Encoding("u1", 3, cv2.COLOR_BGR2RGB),
    "8UC3": _Encoding("u1", 3, cv2.COLOR_BGR2RGB),  # unnamed channels are in OpenCV's order
    "rgba8": _Encoding("u1", 4, cv2.COLOR_RGBA2RGB),
    "bgra8": _Encoding("u1", 4, cv2.COLOR_BGRA2RGB),
    "8UC4": _Encoding("u1", 4, cv2.COLOR_BGRA2RGB),
    "mono8": _Encoding("u1", 1, cv2.COLOR_GRAY2RGB),
    "8UC1": _Encoding("u1", 1, cv2.COLOR_GRAY2RGB),
    "mono16": _Encoding("u2", 1, cv2.COLOR_GRAY2RGB),
    "16UC1": _Encoding("u2", 1, cv2.COLOR_GRAY2RGB),
    "rgb16": _Encoding("u2", 3),
    "bgr16": _Encoding("u2", 3, cv2.COLOR_BGR2RGB),
    "16UC3": _Encoding("u2", 3, cv2.COLOR_BGR2RGB),
    "rgba16": _Encoding("u2", 4, cv2.COLOR_RGBA2RGB),
    "bgra16": _Encoding("u2", 4, cv2.COLOR_BGRA2RGB),
    "16UC4": _Encoding("u2", 4, cv2.COLOR_BGRA2RGB),
    "yuv422": _Encoding("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": _Encoding("u1", 2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": _Encoding("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": _Encoding("u1", 2, cv2.COLOR_YUV2RGB_YUY2),
    "nv12": _Encoding("u1", 1, cv2.COLOR_YUV2RGB_NV12, rows=3),
    "nv21": _Encoding("u1", 1, cv2.COLOR_YUV2RGB_NV21, rows=3),
    **{f"bayer_{pattern}8": _Encoding("u1", 1, code) for pattern, code in _BAYER.items()},
    **{f"bayer_{pattern}16": _Encoding("u2", 1, code) for pattern, code in _BAYER.items()},
}
_LABELS = {"mono8": "u1", "8UC1": "u1", "mono16": "u2", "16UC1": "u2", "16SC1": "i2", "32SC1": "i4", "32UC1": "u4"}
_DEPTHS = {"32FC1": "f4", "16UC1": "u2", "mono16": "u2"}
#: compressed_depth_image_transport's header before the PNG: an unused int32, then a and b of depth = a / (value - b).
_DEPTH_HEADER = struct.Struct("<iff")


def rgb_of(message: Any) -> np.ndarray:
    """RGB uint8 (height, width, 3) of a sensor_msgs Image or CompressedImage. An rgb8 image is not copied.

    Words of 16 bits are scaled from the depth that they use: the least of 8, 10, 12, 14, 16 that holds the brightest.

    Raises:
        BadInput: reason ``bad_image``.
    """
    if not hasattr(message, "encoding"):
        return cv2.cvtColor(_decompressed(message, cv2.IMREAD_COLOR, "bad_image"), cv2.COLOR_BGR2RGB)
    encoding = _ENCODINGS.get(message.encoding)
    if encoding is None:
        return _by_cv_bridge(message)
    if encoding.rows == 3 or encoding.channels == 2:
        _check_even(message, encoding)
    values = _plane(message, encoding, "bad_image")
    if encoding.convert is not None:
        values = cv2.cvtColor(np.ascontiguousarray(values, values.dtype.newbyteorder("=")), encoding.convert)
    return values if values.dtype == np.uint8 else _to_8_bits(values)


def labels_of(message: Any) -> np.ndarray:
    """A label map as its integers, (height, width); of an Image without a copy, of a CompressedImage from its PNG.

    Raises:
        BadInput: reason ``bad_mask``.
    """
    if not hasattr(message, "encoding"):
        _check_lossless(message, "bad_mask", "label map")
        try:
            values = decode_pixels(BytesIO(message.data), "label map").values
        except ReadError as error:
            what = f"label map: {len(message.data)} bytes of {message.format!r} are no image"
            raise BadInput("bad_mask", f"{what} ({error.problem})") from None
        return _single(values, "bad_mask", "label map")
    if message.encoding not in _LABELS:
        raise BadInput(
            "bad_mask",
            f"label map: expected one of {', '.join(_LABELS)}, whose pixels are ids, got {message.encoding!r}",
        )
    values = _plane(message, _Encoding(_LABELS[message.encoding], 1), "bad_mask")
    if message.encoding == "32UC1" and (largest := int(values.max())) > np.iinfo(np.int32).max:
        raise BadInput("bad_mask", f"label map: expected ids below 2147483648, got {largest}")
    return values


def depth_of(message: Any) -> np.ndarray:
    """Depth in metres, float32 (height, width), from metres (32FC1) or millimetres (16UC1), as REP 118 has them.

    A CompressedImage is a PNG of millimetres, or what compressed_depth_image_transport makes of either (its PNG kind).
    There, 0 of quantised metres is NaN: nothing was measured.

    Raises:
        BadInput: reason ``bad_depth``.
    """
    if not hasattr(message, "encoding"):
        return _decompressed_depth(message)
    if message.encoding not in _DEPTHS:
        raise BadInput("bad_depth", f"depth: expected 32FC1 in metres or 16UC1 in mm, got {message.encoding!r}")
    plane = _plane(message, _Encoding(_DEPTHS[message.encoding], 1), "bad_depth")
    return plane if message.encoding == "32FC1" else plane * np.float32(0.001)


def _plane(message: Any, encoding: _Encoding, reason: str) -> np.ndarray:
    """The pixels of a table's encoding as a view of the message's data."""
    dtype = np.dtype(encoding.dtype).newbyteorder(">" if message.is_bigendian else "<")
    width, height, step = message.width, message.height, message.step
    row, rows = width * encoding.channels * dtype.itemsize, height * encoding.rows // 2
    what = f"{message.encoding} image of {width}x{height}"
    if not width or not height:
        raise BadInput(reason, f"{what}: expected at least one pixel")
    if step < row:
        raise BadInput(reason, f"{what}: expected step of at least {row} bytes, got {step}")
    if len(message.data) < step * rows:
        raise BadInput(reason, f"{what}: expected {step * rows} bytes (step * rows), got {len(message.data)}")
    pixels = np.frombuffer(message.data, np.uint8, count=step * rows).reshape(rows, step)[:, :row].view(dtype)
    return pixels.reshape(rows, width, encoding.channels) if encoding.channels > 1 else pixels


def _check_even(message: Any, encoding: _Encoding) -> None:
    """Chroma is shared by pairs of pixels."""
    if message.width % 2 or (encoding.rows == 3 and message.height % 2):
        raise BadInput(
            "bad_image", f"{message.encoding} image: expected even sides, got {message.width}x{message.height}"
        )


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    return (values >> (bit_depth(values) - 8)).astype(np.uint8)


def _decompressed(message: Any, mode: int, reason: str, skip: int = 0) -> np.ndarray:
    data = np.frombuffer(message.data, np.uint8)[skip:]
    try:
        pixels = cv2.imdecode(data, mode) if data.size else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise BadInput(reason, f"compressed image: {data.size} bytes of {message.format!r} are no image")
    return pixels


def _check_lossless(message: Any, reason: str, what: str) -> None:
    if bytes(message.data[:2]) == b"\xff\xd8":
        raise BadInput(reason, f"{what}: expected a lossless format such as png, got a JPEG ({message.format!r})")


def _single(pixels: np.ndarray, reason: str, what: str) -> np.ndarray:
    if pixels.ndim != 2:
        raise BadInput(reason, f"{what}: expected one channel of ids, got a picture of {pixels.shape[2]} channels")
    return pixels


def _decompressed_depth(message: Any) -> np.ndarray:
    _check_lossless(message, "bad_depth", "depth")
    if bytes(message.data[1:4]) == b"PNG":
        skip, metres = 0, False
    elif bytes(message.data[_DEPTH_HEADER.size + 1 : _DEPTH_HEADER.size + 4]) == b"PNG":
        skip, metres = _DEPTH_HEADER.size, message.format.startswith("32FC1")
    else:
        raise BadInput("bad_depth", f"depth: expected a PNG or compressedDepth's PNG, got {message.format!r}")
    pixels = _single(_decompressed(message, cv2.IMREAD_UNCHANGED, "bad_depth", skip), "bad_depth", "depth")
    if pixels.dtype != np.uint16:
        raise BadInput("bad_depth", f"depth: expected 16 bits, got {pixels.dtype}")
    if not metres:
        return pixels * np.float32(0.001)
    _, a, b = _DEPTH_HEADER.unpack(bytes(message.data[: _DEPTH_HEADER.size]))
    with np.errstate(divide="ignore", invalid="ignore"):
        depth = np.float32(a) / (pixels.astype(np.float32) - np.float32(b))
    return np.where(pixels == 0, np.float32(np.nan), depth)


def _by_cv_bridge(message: Any) -> np.ndarray:
    encoding = message.encoding
    try:
        from cv_bridge import CvBridge
    except Exception as error:  # builds against another NumPy fail in many ways
        raise BadInput(
            "bad_image",
            f"image: expected one of {', '.join(_ENCODINGS)}, or cv_bridge to convert {encoding!r} ({error})",
        ) from None
    try:
        return CvBridge().imgmsg_to_cv2(message, "rgb8")
    except Exception as error:
        raise BadInput("bad_image", f"image: cv_bridge cannot convert {encoding!r} to rgb8 ({error})") from None
