"""Listening to a running node: images with their answers as they come, and what it says of itself."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Generator
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image

from amodal_ros.lab.bags.record import told_to_end
from amodal_ros.messages import nanoseconds
from amodal_ros.msg import AmodalInstanceArray

#: Images that wait for their answer; a node that is this far behind has dropped them.
WAITING = 50
#: Subscribers that take what is published reliably or not.
ANY_OFFER = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)


def follow(image: str, answers: str, seconds: float | None = None) -> Generator[tuple[Any, Any], None, None]:
    """(image, its AmodalInstanceArray), or (None, DiagnosticArray), until SIGINT, SIGTERM or the end of the time.

    Args:
        image: topic of Image or CompressedImage; waited for, as is the type that it turns out to have.
        answers: topic of the answers.
    """
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("amodal_view", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    ears = _Ears(node, answers)
    begun = time.monotonic()
    try:
        with told_to_end() as told:
            while not told.is_set() and (seconds is None or time.monotonic() - begun < seconds):
                ears.find(image)
                executor.spin_once(timeout_sec=0.1)
                while ears.heard:
                    yield ears.heard.popleft()
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()


class _Ears:
    """What has been heard and not been told yet."""

    def __init__(self, node: Node, answers: str) -> None:
        self.heard: deque[tuple[Any, Any]] = deque()
        self._node, self._image = node, None
        self._waiting: OrderedDict[int, Any] = OrderedDict()
        node.create_subscription(AmodalInstanceArray, answers, self._answered, ANY_OFFER)
        node.create_subscription(DiagnosticArray, "/diagnostics", lambda m: self.heard.append((None, m)), 10)

    def find(self, topic: str) -> None:
        """Subscribe to the images once somebody publishes them."""
        if self._image is not None:
            return
        kinds = {"sensor_msgs/msg/Image": Image, "sensor_msgs/msg/CompressedImage": CompressedImage}
        for offer in self._node.get_publishers_info_by_topic(topic):
            if offer.topic_type in kinds:
                kind = kinds[offer.topic_type]
                self._image = self._node.create_subscription(kind, topic, self._came, ANY_OFFER)
                return

    def _came(self, image: Any) -> None:
        self._waiting[nanoseconds(image.header.stamp)] = image
        while len(self._waiting) > WAITING:
            self._waiting.popitem(last=False)

    def _answered(self, array: Any) -> None:
        image = self._waiting.pop(nanoseconds(array.header.stamp), None)
        if image is not None:
            self.heard.append((image, array))
