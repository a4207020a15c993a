"""What segmenters and trackers publish, read as instances: one file per kind of message, nothing here imports ROS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amodal_ros.stream.masks import autoware, detections, labels, ultralytics, yolo
from amodal_ros.stream.masks.base import UNSAID, Flaw, Legend, Reader, Seeing, Seen
from amodal_ros.stream.parameters import Parameters

#: Message types of the topic ``instance_mask`` by the parameter ``masks``; with ``detections`` a label image is read
#: together with the topic ``detections``.
TYPES = {
    "labels": ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"),
    "yolo": ("yolo_msgs/msg/DetectionArray",),
    "ultralytics": ("ultralytics_ros/msg/YoloResult",),
    "detections": ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"),
    "autoware": ("autoware_internal_perception_msgs/msg/SegmentationMask",),
}
#: What the topic ``detections`` carries.
DETECTIONS = "vision_msgs/msg/Detection2DArray"
#: What the topic ``label_info`` carries.
LABEL_INFO = "vision_msgs/msg/LabelInfo"
#: Types that tell by themselves how they are to be read.
_READERS: dict[str, Reader] = {
    TYPES["yolo"][0]: yolo.read,
    TYPES["ultralytics"][0]: ultralytics.read,
    TYPES["autoware"][0]: autoware.read,
}


def read(
    messages: Mapping[str, Any], shape: tuple[int, int], parameters: Parameters, flaw: Flaw, legend: Legend = UNSAID
) -> Seeing:
    """The instances of a frame's messages, read as their type asks for.

    Args:
        messages: ``"instance_mask"``, and ``"detections"`` where there is one.
        shape: (height, width) of the image.
        flaw: told (reason, text) of every part that cannot be used; the rest is read.
        legend: what the numbers of classes mean, as far as the segmenter says.

    Raises:
        BadInput: nothing of the message can be used.
    """
    if "detections" in messages:
        return detections.read(messages, shape, parameters, flaw, legend)
    reader = _READERS.get(type_name(type(messages["instance_mask"])), labels.read)
    return reader(messages, shape, parameters, flaw, legend)


def type_name(kind: type) -> str:
    """A message class by its ROS name, such as ``"sensor_msgs/msg/Image"``."""
    return f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"


__all__ = [
    "DETECTIONS",
    "LABEL_INFO",
    "TYPES",
    "UNSAID",
    "Flaw",
    "Legend",
    "Reader",
    "Seeing",
    "Seen",
    "read",
    "type_name",
]
