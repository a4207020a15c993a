"""Images and label maps for the fault table."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

HEIGHT, WIDTH = 48, 64
BACK, FRONT = 7, 9  # ids: a disc behind a box


def header(stamp: int) -> Header:
    """A header with a stamp in nanoseconds."""
    seconds, rest = divmod(stamp, 1_000_000_000)
    return Header(stamp=Time(sec=seconds, nanosec=rest), frame_id="camera")


def message(
    stamp: int, pixels: np.ndarray, encoding: str, height: int | None = None, width: int | None = None
) -> Image:
    """sensor_msgs/Image of any array; height and width where they are not the array's own."""
    out = Image(header=header(stamp), encoding=encoding)
    out.height, out.width = height or pixels.shape[0], width or pixels.shape[1]
    out.step = pixels.nbytes // pixels.shape[0]
    out.data = array("B", np.ascontiguousarray(pixels).tobytes())
    return out


def picture(width: int = WIDTH, height: int = HEIGHT, shift: int = 0) -> np.ndarray:
    """RGB: grey ground, a green disc behind a red box."""
    rgb = np.full((height, width, 3), 90, np.uint8)
    _draw(rgb, (40, 200, 60), (200, 50, 40), shift)
    return rgb


def label_map(width: int = WIDTH, height: int = HEIGHT, shift: int = 0) -> np.ndarray:
    """uint16: `BACK` behind `FRONT`."""
    labels = np.zeros((height, width), np.uint16)
    _draw(labels, BACK, FRONT, shift)
    return labels


def _draw(canvas: np.ndarray, back: object, front: object, shift: int) -> None:
    height, width = canvas.shape[:2]
    cv2.circle(canvas, (width * 2 // 5 + shift, height // 2), height // 4, back, -1)
    canvas[height // 3 : height - 4, width // 2 + shift : width * 3 // 4 + shift] = front


def image(stamp: int, pixels: np.ndarray | None = None, encoding: str = "rgb8") -> Image:
    """An image message; by default of `picture`."""
    return message(stamp, picture() if pixels is None else pixels, encoding)


def labels(stamp: int, pixels: np.ndarray | None = None, encoding: str = "16UC1") -> Image:
    """A label map; by default of `label_map`."""
    return message(stamp, label_map() if pixels is None else pixels, encoding)


def compressed(stamp: int, pixels: np.ndarray, kind: str = "jpg", form: str = "jpeg") -> CompressedImage:
    """sensor_msgs/CompressedImage of RGB or a label map."""
    bgr = pixels[..., ::-1] if pixels.ndim == 3 else pixels
    _, data = cv2.imencode(f".{kind}", bgr)
    return CompressedImage(header=header(stamp), format=form, data=array("B", data.tobytes()))
