"""TF, where it is installed: imported when a parameter asks for it."""

from __future__ import annotations

import os
from contextlib import suppress

from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.time import Time

from amodal_ros.space import Rigid
from amodal_ros.stream.images import BadInput

#: A transform may be so much later than the image that needs it (seconds).
PATIENCE = 0.1


class Transforms:
    """Listens to TF from now on.

    Args:
        why: the parameter that asks for it.

    Raises:
        ValueError: tf2_ros is not there.
    """

    def __init__(self, node: Node, why: str) -> None:
        try:
            from tf2_ros import Buffer, TransformListener
        except ImportError as error:
            distribution = os.environ.get("ROS_DISTRO", "$ROS_DISTRO")
            raise ValueError(f"{why} needs tf2_ros: apt install ros-{distribution}-tf2-ros-py ({error})") from None
        self._buffer = Buffer(node=node)
        self._listener = TransformListener(self._buffer, node)

    def __call__(self, target: str, source: str, stamp: int) -> Rigid:
        """The transform from `source` to `target` at `stamp` (nanoseconds).

        Raises:
            BadInput: there is none (``no_transform``).
        """
        try:
            found = self._buffer.lookup_transform(
                target, source, Time(nanoseconds=stamp), timeout=Duration(seconds=PATIENCE)
            ).transform
            q, t = found.rotation, found.translation
            return Rigid.of_quaternion(q.x, q.y, q.z, q.w, (t.x, t.y, t.z))
        except Exception as error:  # those of tf2_ros, and a transform that is none
            raise BadInput("no_transform", f"no transform from {source!r} to {target!r}: {error}") from None

    def close(self) -> None:
        """Listen no more."""
        with suppress(Exception):
            self._listener.unregister()
