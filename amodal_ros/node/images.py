"""Camera images, label maps and depth images as arrays: NumPy where the encoding is plain, cv_bridge for the rest.

Messages are read by their field names only; nothing here imports ROS, except cv_bridge when an exotic image comes.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np


class BadInput(ValueError):
    """An input message that cannot be used.

    Attributes:
        reason: the counter in diagnostics that it belongs to, such as ``"bad_image"``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


#: encoding -> (dtype, channels)
_PLAIN: dict[str, tuple[type, int]] = {
    "rgb8": (np.uint8, 3),
    "bgr8": (np.uint8, 3),
    "8UC3": (np.uint8, 3),
    "rgba8": (np.uint8, 4),
    "bgra8": (np.uint8, 4),
    "mono8": (np.uint8, 1),
    "8UC1": (np.uint8, 1),
    "mono16": (np.uint16, 1),
    "16UC1": (np.uint16, 1),
    "32SC1": (np.int32, 1),
    "32FC1": (np.float32, 1),
}
_TO_RGB = {
    "bgr8": cv2.COLOR_BGR2RGB,
    "8UC3": cv2.COLOR_BGR2RGB,  # unnamed channels are in OpenCV's order
    "rgba8": cv2.COLOR_RGBA2RGB,
    "bgra8": cv2.COLOR_BGRA2RGB,
    "mono8": cv2.COLOR_GRAY2RGB,
    "8UC1": cv2.COLOR_GRAY2RGB,
}


def rgb_of(message: Any) -> np.ndarray:
    """RGB uint8 (height, width, 3) of a sensor_msgs Image or CompressedImage. An rgb8 image is not copied.

    Raises:
        BadInput: reason ``bad_image``.
    """
    if not hasattr(message, "encoding"):
        return _decompressed(message)
    encoding = message.encoding
    if encoding == "rgb8":
        return _plane(message, "bad_image")
    if encoding in _TO_RGB:
        return cv2.cvtColor(_plane(message, "bad_image"), _TO_RGB[encoding])
    if encoding in ("mono16", "16UC1"):
        return cv2.cvtColor((_plane(message, "bad_image") >> 8).astype(np.uint8), cv2.COLOR_GRAY2RGB)
    return _by_cv_bridge(message)


def labels_of(message: Any) -> np.ndarray:
    """A label map as its integers, (height, width), without a copy.

    Raises:
        BadInput: reason ``bad_mask``.
    """
    allowed = ("mono8", "8UC1", "mono16", "16UC1", "32SC1")
    if message.encoding not in allowed:
        raise BadInput("bad_mask", f"label map: expected one of {', '.join(allowed)}, got {message.encoding!r}")
    return _plane(message, "bad_mask")


def depth_of(message: Any) -> np.ndarray:
    """Depth in metres, float32 (height, width), from metres (32FC1) or millimetres (16UC1), as REP 118 has them.

    Raises:
        BadInput: reason ``bad_depth``.
    """
    if message.encoding not in ("32FC1", "16UC1"):
        raise BadInput("bad_depth", f"depth: expected 32FC1 in metres or 16UC1 in mm, got {message.encoding!r}")
    plane = _plane(message, "bad_depth")
    return plane * np.float32(0.001) if message.encoding == "16UC1" else plane


def _plane(message: Any, reason: str) -> np.ndarray:
    """The pixels of a plain encoding as a view of the message's data."""
    kind, channels = _PLAIN[message.encoding]
    dtype = np.dtype(kind).newbyteorder(">" if message.is_bigendian else "<")
    width, height, step = message.width, message.height, message.step
    row = width * channels * dtype.itemsize
    what = f"{message.encoding} image of {width}x{height}"
    if not width or not height:
        raise BadInput(reason, f"{what}: expected at least one pixel")
    if step < row:
        raise BadInput(reason, f"{what}: expected step of at least {row} bytes, got {step}")
    if len(message.data) < step * height:
        raise BadInput(reason, f"{what}: expected {step * height} bytes (step * height), got {len(message.data)}")
    rows = np.frombuffer(message.data, np.uint8, count=step * height).reshape(height, step)[:, :row]
    pixels = rows.view(dtype)
    return pixels.reshape(height, width, channels) if channels > 1 else pixels


def _decompressed(message: Any) -> np.ndarray:
    data = np.frombuffer(message.data, np.uint8)
    bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if bgr is None:
        raise BadInput("bad_image", f"compressed image: {data.size} bytes of {message.format!r} are no image")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _by_cv_bridge(message: Any) -> np.ndarray:
    encoding = message.encoding
    try:
        from cv_bridge import CvBridge
    except Exception as error:  # builds against another NumPy fail in many ways
        plain = ", ".join(["rgb8", *_TO_RGB, "mono16", "16UC1"])
        raise BadInput(
            "bad_image", f"image: expected one of {plain}, or cv_bridge to convert {encoding!r} ({error})"
        ) from None
    try:
        return CvBridge().imgmsg_to_cv2(message, "rgb8")
    except Exception as error:
        raise BadInput("bad_image", f"image: cv_bridge cannot convert {encoding!r} to rgb8 ({error})") from None
