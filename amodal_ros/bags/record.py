"""Recording through rclpy: chosen topics, byte for byte, into a bag."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from amodal_ros.bags.files import BagWriter
from amodal_ros.bags.play import message_class

#: Deep enough for the recorder to fall a few seconds behind without a loss.
QOS = QoSProfile(depth=200, reliability=ReliabilityPolicy.RELIABLE)


class Recorder:
    """Writes what arrives while somebody spins the node.

    Args:
        topics: topic -> message type, such as ``"amodal_ros/msg/AmodalInstanceArray"``.
        listener: called with topic, serialized message and time of arrival (ns) after it was written.

    Attributes:
        counts: messages per topic so far.
    """

    def __init__(
        self,
        node: Node,
        bag: BagWriter,
        topics: Mapping[str, str],
        listener: Callable[[str, bytes, int], None] = lambda topic, raw, now: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._bag = bag
        self._listener = listener
        self._subscriptions = [
            node.create_subscription(message_class(kind), topic, partial(self._store, topic, kind), QOS, raw=True)
            for topic, kind in topics.items()
        ]

    def _store(self, topic: str, kind: str, raw: bytes) -> None:
        now = time.time_ns()
        self._bag.write_raw(topic, kind, raw, now)
        self.counts[topic] += 1
        self._listener(topic, raw, now)
