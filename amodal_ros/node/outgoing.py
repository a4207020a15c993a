"""Filling this package's messages, fast: packed bits go in as `array.array`, which rclpy takes as it is."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from amodal_ros.msg import AmodalInstance, AmodalInstanceArray, Mask
from amodal_ros.scene import Answer, MaskRegion


def instances_message(
    header: Header, shape: tuple[int, int], model: str, answers: Sequence[Answer]
) -> AmodalInstanceArray:
    """The answers of one image of (height, width) `shape`, under the image's own header."""
    return AmodalInstanceArray(
        header=header,
        image_width=shape[1],
        image_height=shape[0],
        model=model,
        instances=[_instance(answer) for answer in answers],
    )


def mask_message(region: MaskRegion) -> Mask:
    """A mask region, cut to its pixels and packed."""
    region = region.trim()
    return Mask(
        x=region.x,
        y=region.y,
        width=region.width,
        height=region.height,
        data=array("B", region.pack().tobytes()),
    )


def image_message(header: Header, pixels: np.ndarray) -> Image:
    """RGB uint8 (height, width, 3) as an rgb8 image."""
    height, width = pixels.shape[:2]
    data = array("B", np.ascontiguousarray(pixels).tobytes())
    return Image(header=header, height=height, width=width, encoding="rgb8", step=3 * width, data=data)


def _instance(answer: Answer) -> AmodalInstance:
    done = answer.completion
    seconds, nanoseconds = divmod(answer.inferred_at, 1_000_000_000)
    return AmodalInstance(
        id=answer.instance.id,
        track_id=answer.instance.track_id,
        class_id=answer.instance.class_id,
        score=answer.instance.score,
        visible=mask_message(done.visible),
        amodal=mask_message(done.amodal),
        possible=mask_message(done.possible),
        occlusion_ratio=done.occlusion_ratio,
        truncation_ratio=done.truncation_ratio,
        touches_edge=done.touches_edge,
        source=int(done.source),
        inferred_at=Time(sec=seconds, nanosec=nanoseconds),
        expected_iou=done.expected_iou,
        agreement=done.agreement,
        occluders=array("I", answer.occluders),
    )
