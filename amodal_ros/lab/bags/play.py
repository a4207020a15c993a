"""Replay through rclpy: the messages of a bag, byte for byte, with their recorded timing."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import rclpy
from rclpy.duration import Duration
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rosbags.interfaces import Qos
from rosgraph_msgs.msg import Clock

from amodal_ros.lab.bags.files import BagError, BagReader, Record

Policy = TypeVar("Policy", HistoryPolicy, ReliabilityPolicy, DurabilityPolicy)

CLOCK_TOPIC = "/clock"
CLOCK_PERIOD = 0.025  # seconds of wall time between two /clock messages, as `ros2 bag play` has it
#: A longer time (seconds) without a message is no pause but a clock that was set meanwhile, as from 1970 to today on a
#: robot without a battery for it, or from zero to simulated time. It is not waited for.
LONGEST_PAUSE = 3600.0
#: A publisher knows its subscriber before the subscriber hears it: a message sent in between is lost (seconds).
SETTLE = 0.3
SUBSCRIBER_DEADLINE = 60.0  # seconds to wait for a subscriber
#: Best effort is not acknowledged, and what lies in shared memory goes with its publisher: the last messages of a bag
#: were lost, one in a dozen of bags of one image (seconds).
LINGER = 0.5
ACKNOWLEDGE_DEADLINE = Duration(seconds=5)  # for the last messages to arrive before the publishers go


@dataclass(frozen=True)
class Played:
    """What a replay did: messages sent, seconds it took, and by how much (seconds) the latest message was late."""

    messages: int
    seconds: float
    latest: float


def play(
    bag: Path | str,
    rate: float = 1.0,
    loop: bool = False,
    clock: bool = False,
    topics: Sequence[str] | None = None,
    wait_for: Sequence[str] = (),
) -> Played:
    """Publish a bag's messages at the recorded intervals, header stamps as recorded.

    Args:
        rate: speed; 2 is twice as fast as recorded.
        loop: begin again at the end, until interrupted. The stamps jump back with it.
        clock: publish /clock with the recorded time, for nodes with ``use_sim_time``; a recorded /clock is left out.
        topics: only these; None for all whose message type is installed.
        wait_for: topics that must have a subscriber before the first message goes out.

    Raises:
        BagError: the bag cannot be read or is empty, `rate` is not positive, a topic is not in the bag, or a topic of
            `wait_for` found no subscriber within `SUBSCRIBER_DEADLINE`.
    """
    if not rate > 0:
        raise BagError(f"rate: expected a speed above 0, got {rate}")
    with BagReader(bag) as reader, _node() as node:
        publishers = _publishers(node, reader, topics, left_out={CLOCK_TOPIC} if clock else set())
        clock_publisher = node.create_publisher(Clock, CLOCK_TOPIC, 10) if clock else None
        _await_subscribers(publishers, wait_for)
        start, messages, latest = time.monotonic(), 0, 0.0
        while True:
            pace = _Pace(rate, clock_publisher)
            for record in reader.records(list(publishers)):
                latest = max(latest, pace.wait(record))
                publishers[record.topic].publish(record.raw)
                messages += 1
            if not loop:
                break
        seconds = time.monotonic() - start
        for publisher in publishers.values():
            publisher.wait_for_all_acked(ACKNOWLEDGE_DEADLINE)
        if any(publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for publisher in publishers.values()):
            time.sleep(LINGER)
    return Played(messages, seconds, latest)


class _Pace:
    """Holds each message back until it is due, on the monotonic clock."""

    def __init__(self, rate: float, clock: Publisher | None) -> None:
        self.rate = rate
        self.clock = clock
        self.first: int | None = None
        self.latest = 0
        self.start = 0.0

    def wait(self, record: Record) -> float:
        """Sleep until a record is due; returns by how many seconds it is late."""
        pause = (record.time - self.latest) * 1e-9
        if self.first is None or pause > LONGEST_PAUSE:
            if self.first is not None:
                print(f"the recorded time jumps by {pause:.0f} s: played on without waiting", file=sys.stderr)
            self.first, self.start = record.time, time.monotonic()
        self.latest = record.time
        due = self.start + (record.time - self.first) * 1e-9 / self.rate
        while (left := due - time.monotonic()) > 0:
            self._tell_time(record.time - round(left * self.rate * 1e9))
            time.sleep(left if self.clock is None else min(left, CLOCK_PERIOD))
        self._tell_time(record.time)
        return max(0.0, -left)

    def _tell_time(self, now: int) -> None:
        if self.clock is None:
            return
        message = Clock()
        message.clock.sec, message.clock.nanosec = divmod(now, 1_000_000_000)
        self.clock.publish(message)


@contextmanager
def _node() -> Iterator[Node]:
    # In a context of its own: the caller's rclpy, if it has one, is not touched. Ctrl-C stays a KeyboardInterrupt.
    context = rclpy.Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    node = rclpy.create_node("amodal_bag_player", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


def message_class(msgtype: str) -> type:
    """rclpy's class of a type such as ``"sensor_msgs/msg/Image"``. Raises ImportError when it is not installed."""
    package, _, name = msgtype.split("/")
    module = importlib.import_module(f"{package}.msg")
    if not hasattr(module, name):
        raise ImportError(f"{package}.msg has no {name}")
    return getattr(module, name)


def _publishers(
    node: Node, reader: BagReader, topics: Sequence[str] | None, left_out: Set[str]
) -> dict[str, Publisher]:
    missing = sorted(set(topics or ()) - reader.topics.keys())
    if missing:
        raise BagError(f"{reader.path}: no topic {', '.join(missing)}; it has {', '.join(sorted(reader.topics))}")
    publishers: dict[str, Publisher] = {}
    for topic, msgtype in reader.topics.items():
        if topics is not None and topic not in topics:
            continue
        if topic in left_out:
            print(f"{topic}: the recorded messages are not played; --clock tells the time", file=sys.stderr)
            continue
        try:
            publishers[topic] = node.create_publisher(message_class(msgtype), topic, offered_qos(reader.qos(topic)))
        except ImportError as error:
            print(f"{topic} is not played: {msgtype} is not installed ({error})", file=sys.stderr)
    if not any(reader.counts[topic] for topic in publishers):
        raise BagError(f"{reader.path}: no message to play")
    return publishers


def offered_qos(recorded: Qos) -> QoSProfile:
    """The recorded profile; what it leaves to the system becomes what fits any subscriber: reliable and volatile."""
    return QoSProfile(
        depth=recorded.depth or 10,
        history=_policy(HistoryPolicy.KEEP_LAST, recorded.history.name),
        reliability=_policy(ReliabilityPolicy.RELIABLE, recorded.reliability.name),
        durability=_policy(DurabilityPolicy.VOLATILE, recorded.durability.name),
    )


def _policy(otherwise: Policy, name: str) -> Policy:
    kind = type(otherwise)
    return kind[name] if name in ("KEEP_LAST", "KEEP_ALL", "RELIABLE", "BEST_EFFORT", "TRANSIENT_LOCAL") else otherwise


def _await_subscribers(publishers: dict[str, Publisher], topics: Sequence[str]) -> None:
    unknown = sorted(set(topics) - publishers.keys())
    if unknown:
        raise BagError(f"--wait-for: not played: {', '.join(unknown)}")
    deadline = time.monotonic() + SUBSCRIBER_DEADLINE
    while waiting := [topic for topic in topics if not publishers[topic].get_subscription_count()]:
        if time.monotonic() > deadline:
            raise BagError(f"no subscriber within {SUBSCRIBER_DEADLINE:g} s on {', '.join(waiting)}")
        time.sleep(0.05)  # rclpy has no event for a matched subscriber that works for every middleware
    if topics:
        time.sleep(SETTLE)
