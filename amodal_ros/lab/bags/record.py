"""Recording through rclpy: chosen topics, byte for byte, into a bag."""

from __future__ import annotations

import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions

from amodal_ros.lab.bags.files import BagWriter, Storage
from amodal_ros.lab.bags.play import message_class
from amodal_ros.lab.bags.typed import typestore

DEPTH = 200  # messages; the recorder may fall a few seconds behind without a loss
#: What `record` leaves out unless it is named.
CHATTER = ("/rosout", "/parameter_events")
LOOK = 0.5  #: seconds between two looks for new topics


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
        self._subscriptions: list[object] = []
        self._node = node
        for topic, kind in topics.items():
            self.add(topic, kind)

    def add(
        self,
        topic: str,
        kind: str,
        reliability: ReliabilityPolicy = ReliabilityPolicy.RELIABLE,
        durability: DurabilityPolicy = DurabilityPolicy.VOLATILE,
    ) -> None:
        """Write another topic, too. Raises ImportError where its type is not installed."""
        qos = QoSProfile(depth=DEPTH, reliability=reliability, durability=durability)
        store = partial(self._store, topic, kind)
        self._subscriptions.append(self._node.create_subscription(message_class(kind), topic, store, qos, raw=True))

    def _store(self, topic: str, kind: str, raw: bytes) -> None:
        now = time.time_ns()
        self._bag.write_raw(topic, kind, raw, now)
        self.counts[topic] += 1
        self._listener(topic, raw, now)


def record(
    out: Path | str, topics: Sequence[str] | None = None, seconds: float | None = None, storage: Storage = "mcap"
) -> Counter[str]:
    """Write what is published into a new bag until SIGINT, SIGTERM or the end of the time.

    Topics may appear later. Each is subscribed to as it is published: best effort where one publisher is, transient
    local where all are. A topic whose type is not known here is named and left out.

    Args:
        topics: only these; None: all but ``/rosout`` and ``/parameter_events``.
        seconds: None: until a signal.

    Returns:
        Messages by topic.

    Raises:
        BagError: `out` exists already.
    """
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("amodal_bag_recorder", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    begun = time.monotonic()
    try:
        with BagWriter(out, storage) as bag, told_to_end() as told:
            recorder, known = Recorder(node, bag, {}), set[str]()
            look = begun
            while not told.is_set() and (seconds is None or time.monotonic() - begun < seconds):
                if time.monotonic() >= look:
                    look = time.monotonic() + LOOK
                    _add_new(node, recorder, known, topics)
                executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        node.destroy_node()
        context.try_shutdown()
    for topic in topics or ():
        if not recorder.counts[topic]:
            print(f"{topic}: nothing came", file=sys.stderr)
    return +recorder.counts


def _add_new(node: Node, recorder: Recorder, known: set[str], topics: Sequence[str] | None) -> None:
    """Subscribe to what is published by now."""
    for topic, kinds in node.get_topic_names_and_types():
        if topic in known or not (topic in topics if topics is not None else topic not in CHATTER):
            continue
        offers = node.get_publishers_info_by_topic(topic)
        if not offers:
            continue
        known.add(topic)
        reliable = all(offer.qos_profile.reliability == ReliabilityPolicy.RELIABLE for offer in offers)
        kept = all(offer.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for offer in offers)
        try:
            if kinds[0] not in typestore().types:
                raise ImportError("rosbags does not know it")
            recorder.add(
                topic,
                kinds[0],
                ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
                DurabilityPolicy.TRANSIENT_LOCAL if kept else DurabilityPolicy.VOLATILE,
            )
            print(f"recording {topic}", file=sys.stderr)
        except ImportError as error:
            print(f"{topic} is not recorded: {kinds[0]}: {error}", file=sys.stderr)


@contextmanager
def told_to_end() -> Iterator[Event]:
    """Set by SIGINT and SIGTERM, also where a shell started this with SIGINT ignored."""
    told = Event()
    before = {each: signal.signal(each, lambda *_: told.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield told
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
