"""Where masks may be: message types by the parameter ``masks``, imported when they are asked for."""

from __future__ import annotations

import importlib
from typing import Any

from amodal_ros.node.inputs import Fit
from amodal_ros.stream.masks import DETECTIONS, LABEL_INFO, TYPES

#: How to get a message package.
_FROM = {
    "yolo_msgs": "build it from github.com/mgonzs13/yolo_ros and source that workspace",
    "ultralytics_ros": "build it from github.com/Alpaca-zip/ultralytics_ros and source that workspace",
    "vision_msgs": "apt install ros-$ROS_DISTRO-vision-msgs",
    "autoware_internal_perception_msgs": "apt install ros-$ROS_DISTRO-autoware-internal-perception-msgs",
}


def message_type(name: str) -> Any:
    """A message class by its ROS name, such as ``"yolo_msgs/msg/DetectionArray"``.

    Raises:
        ValueError: its package is not installed or not built for this ROS; the message says how to get it.
    """
    package, _, kind = name.split("/")
    try:
        found = getattr(importlib.import_module(f"{package}.msg"), kind)
        found.__class__.__import_type_support__()  # else the first subscription would find out
        return found
    except Exception as error:
        how = _FROM.get(package, f"apt install ros-$ROS_DISTRO-{package.replace('_', '-')}")
        raise ValueError(f"{name} is needed, and {package} is not installed: {how} ({error})") from None


def places(topic: str, masks: str) -> tuple[Fit, ...]:
    """Where the instance masks may be, the likeliest first; with "auto" whatever types are installed.

    Raises:
        ValueError: `masks` names a kind whose message package is missing.
    """
    if masks != "auto":
        return tuple(Fit(topic, message_type(name)) for name in TYPES[masks])
    found = []
    for name in dict.fromkeys(name for names in TYPES.values() for name in names):
        try:
            found.append(Fit(topic, message_type(name)))
        except ValueError:
            continue  # `missing` tells when somebody publishes it
    return tuple(found)


def detections(topic: str) -> tuple[Fit, ...]:
    """Where the detections that go with a label image are.

    Raises:
        ValueError: vision_msgs is missing.
    """
    return (Fit(topic, message_type(DETECTIONS)),)


def label_info(topic: str) -> tuple[Fit, ...]:
    """Where the names of the masks' classes are.

    Raises:
        ValueError: vision_msgs is missing.
    """
    return (Fit(topic, message_type(LABEL_INFO), once=True),)


def missing(offered: set[str]) -> str:
    """How to get the first type that is offered, would be understood and is not installed; else an empty string."""
    for name in sorted(offered & {name for names in TYPES.values() for name in names}):
        try:
            message_type(name)
        except ValueError as error:
            return str(error)
    if DETECTIONS in offered:
        return f"{DETECTIONS} has no masks: give it as the topic detections, with masks:=detections"
    return ""


def check(masks: str) -> None:
    """Check that the message packages are there.

    Raises:
        ValueError: one is not; the message says how to get it.
    """
    if masks != "auto":
        places("instance_mask", masks)
    if masks == "detections":
        detections("detections")


def size(message: Any) -> int:
    """About how many bytes a message holds, for the buffer of those that wait."""
    if hasattr(message, "data"):
        return len(message.data)
    if hasattr(message, "masks"):
        return sum(len(image.data) for image in message.masks)
    if hasattr(message, "image"):
        return len(message.image.data)
    return sum(_POINT * len(d.mask.data) if hasattr(d, "mask") else _DETECTION for d in message.detections)


#: What Python keeps for a point of a ring, and for a detection (bytes).
_POINT, _DETECTION = 200, 2000
