"""Bags from frames: camera image, label map, camera info and, where it is known, the amodal truth of every object."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from amodal_ros.io import size_text
from amodal_ros.lab.bags import typed
from amodal_ros.lab.bags.files import BagError, BagWriter, Storage
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Source

IMAGE_TOPIC = "/camera/image_raw"
COMPRESSED_TOPIC = "/camera/image_raw/compressed"
CAMERA_TOPIC = "/camera/camera_info"
LABELS_TOPIC = "/segmentation/labels"
TRUTH_TOPIC = "/ground_truth/instances"

#: Stamp of the first frame (ns). Any date does, but not zero: a zero stamp means "not stamped".
START = 1_700_000_000 * 1_000_000_000
JPEG_QUALITY = 92


@dataclass(frozen=True)
class Truth:
    """An object as it is: its id in the label map, its whole shape (which can leave the frame) and its class."""

    id: int
    amodal: MaskRegion
    class_id: str = ""


@dataclass(frozen=True)
class BagFrame:
    """What a bag holds of one instant.

    Attributes:
        image: RGB uint8 (height, width, 3).
        labels: uint8, uint16 or int32 (height, width); 0 is background, any other value an object's id.
        truth: the objects' whole shapes; None where truth is not known.
        projection: float (3, 4) projection matrix of the rectified camera in pixels; None if uncalibrated.
        name: what an error message calls the frame.
    """

    image: np.ndarray
    labels: np.ndarray
    truth: tuple[Truth, ...] | None = None
    projection: np.ndarray | None = None
    name: str = "frame"


def write_frames(
    frames: Iterable[BagFrame], out: Path | str, rate: float, storage: Storage = "mcap", compressed: bool = False
) -> int:
    """Write frames to a new bag, `rate` per second.

    Args:
        out: folder to create.
        compressed: store camera images as JPEG (sensor_msgs/CompressedImage) instead of sensor_msgs/Image.

    Returns:
        The number of frames.

    Raises:
        BagError: `out` exists, `rate` is not positive, there is no frame, or an image and its label map differ in size.
    """
    if not 0 < rate <= 1000:
        raise BagError(f"rate: expected frames per second in (0, 1000], got {rate}")
    count = 0
    with BagWriter(out, storage) as bag:
        for count, frame in enumerate(frames, 1):
            _write_frame(bag, frame, START + round((count - 1) * 1e9 / rate), compressed)
        if count == 0:
            raise BagError(f"{out}: there is no frame to write")
    return count


def _write_frame(bag: BagWriter, frame: BagFrame, stamp: int, compressed: bool) -> None:
    shape = frame.image.shape[:2]
    if frame.labels.shape != shape:
        raise BagError(f"{frame.name}: the image is {size_text(shape)}, its label map {size_text(frame.labels.shape)}")
    if frame.labels.min(initial=0) < 0:
        raise BagError(f"{frame.name}: expected labels from 0 (background) up, got {frame.labels.min()}")
    if compressed:
        bag.write(COMPRESSED_TOPIC, typed.compressed_image(_jpeg(frame.image), stamp), stamp)
    else:
        bag.write(IMAGE_TOPIC, typed.image(frame.image, stamp), stamp)
    bag.write(LABELS_TOPIC, typed.image(frame.labels, stamp), stamp)
    bag.write(CAMERA_TOPIC, typed.camera_info(shape, frame.projection, stamp), stamp)
    if frame.truth is not None:
        answers = list(_truth_answers(frame, stamp))
        bag.write(TRUTH_TOPIC, typed.instances(answers, shape, stamp, "ground_truth"), stamp)


def _truth_answers(frame: BagFrame, stamp: int) -> Iterator[Answer]:
    """Truth as it is published: only for objects of which something is seen, and never less than what is seen."""
    for truth in frame.truth or ():
        visible = MaskRegion.from_full(frame.labels == truth.id)
        if visible:
            completion = Completion(
                visible, truth.amodal | visible, frame.image.shape[:2], Source.GROUND_TRUTH, expected_iou=1.0
            )
            yield Answer(Instance(truth.id, visible, truth.class_id), completion, stamp)


def _jpeg(image: np.ndarray) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return data.tobytes()
