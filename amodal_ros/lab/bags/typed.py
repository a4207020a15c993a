"""Messages as `rosbags` objects: built from arrays and answers, and read back. No ROS is needed.

Field names are those of ROS, so what reads a message here reads one of rclpy's too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from amodal_ros.lab.bags.share import PACKAGE, shared_file
from amodal_ros.messages import mask_to_region, nanoseconds
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Source

INSTANCES = f"{PACKAGE}/msg/AmodalInstanceArray"
FRAME_ID = "camera"  #: header.frame_id of every message of a bag that is made here


@cache
def typestore() -> Typestore:
    """The messages of ROS 2 Kilted and of this package."""
    store = get_typestore(Stores.ROS2_KILTED)
    for path in sorted(shared_file("msg", "Mask.msg").parent.glob("*.msg")):
        store.register(get_types_from_msg(path.read_text(), f"{PACKAGE}/msg/{path.stem}"))
    return store


def image(pixels: np.ndarray, stamp: int) -> Any:
    """sensor_msgs/Image from RGB uint8 (height, width, 3), or a label map: uint8, uint16 or int32 (height, width).

    Label maps become mono8, 16UC1 or 32SC1.

    Raises:
        ValueError: an array of another kind.
    """
    encoding = {"uint8": "mono8", "uint16": "16UC1", "int32": "32SC1"}.get(str(pixels.dtype))
    if pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8:
        encoding = "rgb8"
    elif pixels.ndim != 2 or encoding is None:
        raise ValueError(
            "image: expected uint8 (height, width, 3), or uint8, uint16 or int32 (height, width), "
            f"got {pixels.dtype} {pixels.shape}"
        )
    data = np.ascontiguousarray(pixels).view(np.uint8).reshape(-1)
    height, width = pixels.shape[:2]
    return _new("sensor_msgs", "Image")(_header(stamp), height, width, encoding, 0, data.size // height, data)


def compressed_image(jpeg: bytes, stamp: int) -> Any:
    """sensor_msgs/CompressedImage from a JPEG file's bytes."""
    return _new("sensor_msgs", "CompressedImage")(_header(stamp), "jpeg", np.frombuffer(jpeg, np.uint8))


def camera_info(shape: tuple[int, int], projection: np.ndarray | None, stamp: int) -> Any:
    """sensor_msgs/CameraInfo of an undistorted camera.

    Args:
        shape: (height, width) of the images.
        projection: float (3, 4), the rectified camera's projection matrix in pixels. None for an uncalibrated camera:
            all matrices are zero then, which is how ROS marks one.
    """
    rectified = projection is not None
    p = np.zeros((3, 4)) if projection is None else np.asarray(projection, float)
    return _new("sensor_msgs", "CameraInfo")(
        _header(stamp),
        *shape,
        "plumb_bob" if rectified else "",
        np.zeros(5) if rectified else np.zeros(0),
        p[:, :3].reshape(-1).copy(),
        np.eye(3).reshape(-1) if rectified else np.zeros(9),
        p.reshape(-1),
        0,
        0,
        _new("sensor_msgs", "RegionOfInterest")(0, 0, 0, 0, False),
    )


def instances(answers: Sequence[Answer], shape: tuple[int, int], stamp: int, model: str) -> Any:
    """AmodalInstanceArray for the answers of one image of (height, width) `shape`, in ascending order of id."""
    entries = [_instance(answer) for answer in sorted(answers, key=lambda answer: answer.instance.id)]
    return _new(PACKAGE, "AmodalInstanceArray")(_header(stamp), shape[1], shape[0], model, entries)


def answers_of(message: Any) -> list[Answer]:
    """The answers in an AmodalInstanceArray, of `rosbags` or of rclpy.

    `completion.occluders`, positions in a list that only the sender knew, stays empty; `occluders` has the ids.
    """
    shape = (message.image_height, message.image_width)
    answers = []
    for entry in message.instances:
        visible, amodal = mask_to_region(entry.visible), mask_to_region(entry.amodal)
        completion = Completion(
            visible,
            amodal,
            shape,
            Source(entry.source),
            entry.expected_iou,
            _always(entry.possible),
            entry.agreement,
            estimates_outside=not math.isnan(entry.truncation_ratio),
        )
        instance = Instance(entry.id, visible, entry.class_id, entry.score, entry.track_id)
        answers.append(
            Answer(instance, completion, nanoseconds(entry.inferred_at), tuple(int(i) for i in entry.occluders))
        )
    return answers


def _always(mask: Any) -> Callable[[MaskRegion], MaskRegion]:
    """What a message says is possible, whatever the guess."""
    return lambda _: mask_to_region(mask)


def _new(package: str, name: str) -> Any:
    return typestore().types[f"{package}/msg/{name}"]


def _time(stamp: int) -> Any:
    return _new("builtin_interfaces", "Time")(*divmod(int(stamp), 1_000_000_000))


def _header(stamp: int) -> Any:
    return _new("std_msgs", "Header")(_time(stamp), FRAME_ID)


def _mask(region: MaskRegion) -> Any:
    region = region.trim()
    return _new(PACKAGE, "Mask")(*region.box, region.pack())


def _instance(answer: Answer) -> Any:
    done = answer.completion
    return _new(PACKAGE, "AmodalInstance")(
        id=answer.instance.id,
        track_id=answer.instance.track_id,
        class_id=answer.instance.class_id,
        score=answer.instance.score,
        visible=_mask(done.visible),
        amodal=_mask(done.amodal),
        possible=_mask(done.possible),
        occlusion_ratio=done.occlusion_ratio,
        truncation_ratio=done.truncation_ratio,
        touches_edge=done.touches_edge,
        source=int(done.source),
        inferred_at=_time(answer.inferred_at),
        expected_iou=done.expected_iou,
        agreement=done.agreement,
        occluders=np.array(answer.occluders, np.uint32),
    )
