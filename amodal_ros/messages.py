"""Reading this package's messages: masks as arrays, stamps as numbers. For planners: no torch, no ROS import.

Fields are read by name only, so messages of rclpy and of `rosbags` will both do.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from amodal_ros.scene.mask import MaskRegion


def mask_to_region(mask: Any) -> MaskRegion:
    """An ``amodal_ros/msg/Mask`` as a `MaskRegion`; cheap, and nothing outside the image is lost.

    Raises:
        ValueError: the data's length does not fit the mask's size.
    """
    return MaskRegion.unpack(mask.x, mask.y, mask.width, mask.height, mask.data)


def mask_to_array(mask: Any, height: int, width: int) -> np.ndarray:
    """An ``amodal_ros/msg/Mask`` on a full image: bool (height, width). What lies outside the image is lost.

    >>> from types import SimpleNamespace
    >>> mask = SimpleNamespace(x=-1, y=1, width=3, height=1, data=bytes([0b11100000]))
    >>> mask_to_array(mask, height=2, width=3).astype(int).tolist()
    [[0, 0, 0], [1, 1, 0]]

    Raises:
        ValueError: the data's length does not fit the mask's size.
    """
    return mask_to_region(mask).full(height, width)


def nanoseconds(time: Any) -> int:
    """A ``builtin_interfaces/msg/Time`` in nanoseconds."""
    return time.sec * 1_000_000_000 + time.nanosec


def age(array: Any, instance: Any) -> float:
    """Seconds between the image of an AmodalInstanceArray and the image that one of its amodal shapes rests on."""
    return (nanoseconds(array.header.stamp) - nanoseconds(instance.inferred_at)) / 1e9


def stamp_text(stamp: int | None) -> str:
    """Nanoseconds as seconds with every digit, which a float would not keep; ``"none"`` for None.

    >>> stamp_text(1_700_000_000_600_000_000)
    '1700000000.600000000'
    """
    if stamp is None:
        return "none"
    seconds, rest = divmod(stamp, 1_000_000_000)
    return f"{seconds}.{rest:09d}"
