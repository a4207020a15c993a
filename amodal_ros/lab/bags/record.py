"""Recording through rclpy: chosen topics, byte for byte, into a bag."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy

from amodal_ros.lab.bags.files import BagWriter
from amodal_ros.lab.bags.play import message_class

DEPTH = 200  # messages; the recorder may fall a few seconds behind without a loss
Reliability = Mapping[str, ReliabilityPolicy]  #: by topic


class Recorder:
    """Writes what arrives while somebody spins the node.

    Args:
        topics: topic -> message type, such as ``"amodal_ros/msg/AmodalInstanceArray"``.
        listener: called with topic, serialized message and time of arrival (ns) after it was written.
        offered: what publishers that are not reliable offer.

    Attributes:
        counts: messages per topic so far.
    """

    def __init__(
        self,
        node: Node,
        bag: BagWriter,
        topics: Mapping[str, str],
        listener: Callable[[str, bytes, int], None] = lambda topic, raw, now: None,
        offered: Reliability = MappingProxyType({}),
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._bag = bag
        self._listener = listener
        self._subscriptions = []
        for topic, kind in topics.items():
            qos = QoSProfile(depth=DEPTH, reliability=offered.get(topic, ReliabilityPolicy.RELIABLE))
            store = partial(self._store, topic, kind)
            self._subscriptions.append(node.create_subscription(message_class(kind), topic, store, qos, raw=True))

    def _store(self, topic: str, kind: str, raw: bytes) -> None:
        now = time.time_ns()
        self._bag.write_raw(topic, kind, raw, now)
        self.counts[topic] += 1
        self._listener(topic, raw, now)
