"""yolo_ros: ``yolo_msgs/msg/DetectionArray``: class, score, id as text, and one ring of border points per mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import cv2
import numpy as np

from amodal_ros.scene import MaskRegion
from amodal_ros.stream.images import BadInput
from amodal_ros.stream.masks.base import UNSAID, Flaw, Legend, Seeing, Seen, placing
from amodal_ros.stream.parameters import Parameters

#: A ring crosses itself where its area by the points differs from the filled one by more than this share and so many
#: pixels: neighbouring points that swap places do no harm.
CROSSED, PIXELS = 0.1, 8
#: Points further from the image than so many of its sizes are moved there: OpenCV counts in 32 bits.
FAR = 8

_xy = attrgetter("x", "y")


def read(
    messages: Mapping[str, Any], shape: tuple[int, int], parameters: Parameters, flaw: Flaw, legend: Legend = UNSAID
) -> Seeing:
    """See `masks.read`. Classes come with their names."""
    seen = []
    for detection in messages["instance_mask"].detections:
        if detection.score < parameters.min_score:
            flaw("low_score", "")
            continue
        what = f"{detection.class_name or detection.class_id} {detection.id}".strip()
        try:
            mask = _mask(detection.mask, shape, parameters.mask_fit, what, flaw)
        except BadInput as error:
            flaw(error.reason, str(error))
            continue
        seen.append(Seen(mask, detection.id or None, detection.class_name, detection.score))
    return Seeing(seen)


def _mask(mask: Any, shape: tuple[int, int], how: str, what: str, flaw: Flaw) -> MaskRegion:
    ring = points_of(mask.data)
    if not len(ring):
        raise BadInput("no_mask", f"{what}: a detection without a mask; does the segmenter run a model for masks?")
    size = (mask.height, mask.width)
    if size != (0, 0) and (place := placing(size, shape, how, f"mask of {what}")) is not None:
        flaw("resized", "")
        ring = place.points(ring)
    filled, crossed = fill_ring(ring, shape, what)
    if crossed:
        flaw("crossed_ring", f"{what}: a border that crosses itself; what lies inside an odd number of times counts")
    return filled


def points_of(points: Sequence[Any]) -> np.ndarray:
    """Messages with x and y as float (n, 2)."""
    return np.fromiter(chain.from_iterable(map(_xy, points)), float, 2 * len(points)).reshape(-1, 2)


def fill_ring(ring: np.ndarray, shape: tuple[int, int], what: str = "ring") -> tuple[MaskRegion, bool]:
    """A closed ring of border points as the mask that it encloses, border included, inside the image.

    It undoes `cv2.findContours`; holes, which one ring cannot say, are filled.

    Args:
        ring: float (n, 2), x and y in pixels, whole numbers at pixels' centres.
        shape: (height, width) of the image.

    Returns:
        The mask, and whether the ring crosses itself: then what is inside an odd number of times is set.

    Raises:
        BadInput: reason ``bad_ring`` for fewer than three points or for what is no number, ``outside_image``.
    """
    if len(ring) < 3 or not np.isfinite(ring).all():
        raise BadInput("bad_ring", f"{what}: expected a border of at least 3 points, got {len(ring)} or not a number")
    height, width = shape
    far = FAR * max(shape)
    points = np.rint(ring.clip(-far, far)).astype(np.int32)
    (left, top), (right, bottom) = points.min(0).tolist(), points.max(0).tolist()
    if left >= width or top >= height or right < 0 or bottom < 0:
        raise BadInput(
            "outside_image", f"{what}: a border outside the image, in ({left}, {top}) to ({right}, {bottom})"
        )
    # Drawn with room around the image: OpenCV cuts lines at the canvas' edge to the nearest pixel only.
    x0, y0, x1, y1 = max(left, -width), max(top, -height), min(right, 2 * width), min(bottom, 2 * height)
    canvas = np.zeros((y1 - y0 + 1, x1 - x0 + 1), np.uint8)
    cv2.fillPoly(canvas, [points - (x0, y0)], 1)
    whole = MaskRegion(x0, y0, canvas.view(bool))
    region = whole.clip(height, width)
    if not region.area:
        raise BadInput("outside_image", f"{what}: a border around the image's corner, without a pixel inside")
    return region, (x0, y0, x1, y1) == (left, top, right, bottom) and _crosses(points, whole.area)


def _crosses(points: np.ndarray, filled: int) -> bool:
    """By Pick's theorem a simple ring fills its area, half of its border's pixels, and one."""
    steps = np.abs(np.diff(points, axis=0, append=points[:1])).max(axis=1).sum()
    expected = cv2.contourArea(points) + steps / 2 + 1
    return bool(abs(filled - expected) > PIXELS + CROSSED * max(filled, expected))
