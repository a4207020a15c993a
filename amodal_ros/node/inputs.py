"""Inputs, subscribed to as their publishers offer them: message type, reliability, and where compressed images are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from rclpy.utilities import get_rmw_implementation_identifier
from sensor_msgs.msg import CompressedImage, Image

from amodal_ros.node import fastdds
from amodal_ros.stream.masks import type_name

#: Messages that wait in the middleware while the spinning thread is held up: a third of a second at 30 Hz.
DEPTH = 10
#: Whoever publishes is looked up this often (seconds).
REVIEW_PERIOD = 0.2
#: A subscription that was replaced goes so long after the new one's first message (seconds).
OVERLAP = 0.5


@dataclass(frozen=True)
class Fit:
    """How an input is subscribed to.

    Attributes:
        reliable: whether every publisher is. One that is not would never match a reliable subscription, and a
            best-effort subscription matches all, but loses images that are larger than the middleware's buffers.
        once: the topic may be published once, to be kept for who comes later.
        kept: whether every publisher keeps its messages (transient local); told only of `once`.
    """

    topic: str
    kind: type
    reliable: bool = True
    once: bool = False
    kept: bool = False

    def __str__(self) -> str:
        return f"{self.topic} ({type_name(self.kind)}, {'reliable' if self.reliable else 'best effort'})"


def places(topic: str, compressed: bool) -> tuple[Fit, ...]:
    """Where an input may be, the likeliest first.

    Args:
        compressed: the user asks for image_transport's compressed images, which are beside the base topic.
    """
    if not compressed:
        return Fit(topic, Image), Fit(topic, CompressedImage)
    itself = Fit(topic, CompressedImage)
    return (itself,) if topic.endswith("/compressed") else (Fit(f"{topic}/compressed", CompressedImage), itself)


def no_hint(offered: set[str]) -> str:
    """Nothing to say about the types that are offered."""
    return ""


def _is_fast_dds() -> bool:
    return "fastrtps" in get_rmw_implementation_identifier()


class Input:
    """One input of the node. Publishers may come and go: the subscription follows what they offer.

    The parameters ``qos_overrides.TOPIC.subscription.*`` win. Nothing is lost by a change: the old subscription stays
    until the new one delivers, and what both deliver is taken once.

    Args:
        where: from `places`.
        take: called with every message, in the spinning thread.
        lose: called with a number of messages that the middleware says were sent and never arrived.
        warn: called with (subject, text).
        hint: told the types that publishers of the topic offer, none of them expected, says what to do; or nothing.
    """

    def __init__(
        self,
        node: Node,
        where: Sequence[Fit],
        take: Callable[[Any], None],
        lose: Callable[[int], None],
        group: CallbackGroup,
        warn: Callable[[str, str], None],
        hint: Callable[[set[str]], str] = no_hint,
    ) -> None:
        self._hint = hint
        self.incompatible = 0  #: publishers that offered what the user's override rules out
        self._node, self._where, self._take, self._lose, self._group, self._warn = node, where, take, lose, group, warn
        self._lock = threading.Lock()
        self._leaving: list[Subscription] = []
        self._fit, self._overridden = where[0], False
        self._subscription: Subscription | None = None
        self._open = True
        found = self._best()
        self._subscribe(found or where[0])
        if found is not None:
            self._tell()

    @property
    def topic(self) -> str:
        """The topic that is subscribed to, by its full name."""
        return self._node.resolve_topic_name(self._fit.topic)

    def review(self) -> None:
        """Follow the publishers. For a timer."""
        with self._lock:
            if not self._open:
                return
            if self._delivers_since is not None and time.monotonic() - self._delivers_since > OVERLAP:
                self._drop_leaving()
            best = self._best() or self._fit
            if best != self._fit or self._subscription is None:
                self._leave(at_once=self._fit.topic == best.topic and self._fit.kind != best.kind)
                self._subscribe(best)
                self._tell()

    def close(self) -> None:
        """Subscribe no more."""
        with self._lock:
            self._open = False
            self._leave(at_once=True)

    def why_silent(self, heard: bool = False) -> str:
        """What a user wants to know when nothing comes; `heard`: something came before, so that the way is open."""
        topic, offered = self.topic, {offer.topic_type for offer in self._offers(self._fit.topic)}
        if type_name(self._fit.kind) in offered:
            if self.incompatible:
                return f"qos_overrides.{topic}.subscription.* rules its publishers out"
            return f"it has a publisher, but nothing arrives{' any more' if heard else self._apart()}"
        if offered and (hint := self._hint(offered)):
            return f"it has {', '.join(sorted(offered))}: {hint}"
        if offered:
            expected = " or ".join(dict.fromkeys(type_name(place.kind) for place in self._where))
            return f"it has {', '.join(sorted(offered))}, expected {expected}"
        base = topic.removesuffix("/compressed")
        beside, transport = (f"{topic}/compressed", "compressed") if base == topic else (base, "raw")
        found = sorted({offer.topic_type for offer in self._offers(beside)})
        if type_name(Image if transport == "raw" else CompressedImage) in found:
            return f"nobody publishes on it, but {beside} has {', '.join(found)}: set image_transport to {transport}"
        return "nobody publishes on it"

    def remedy(self) -> str:
        """What a user can do when messages are lost."""
        steps = []
        if not self._fit.reliable:
            override = f"take qos_overrides.{self.topic}.subscription.reliability back"
            steps.append(override if self._overridden else "let all its publishers offer reliable")
        if not _is_fast_dds():
            return "; or ".join([*steps, "give the middleware larger buffers"])
        if not fastdds.chosen().endswith("fastdds.xml"):
            steps.append(f"start this node with {fastdds.profile_variable()} naming amodal_ros/config/fastdds.xml")
        else:
            steps.append("allow larger socket buffers: sysctl -w net.core.rmem_max=16777216")
        return "; or ".join(steps)

    @staticmethod
    def _apart() -> str:
        """Why a publisher that is known may not be heard: no transport in common."""
        if not _is_fast_dds() or not (chosen := fastdds.chosen()):
            return ""
        return (
            f": perhaps it has nothing to send. If it sends: this node has its transports from {chosen}; do the "
            "publishers send through one of them? With FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA there, set the same here"
        )

    # --- under the lock -------------------------------------------------------------------------------------

    def _tell(self) -> None:
        self._node.get_logger().info(f"listening to {self._fit}, as it is published")

    def _best(self) -> Fit | None:
        """The first place where somebody publishes, as it is published there; None if nobody does."""
        for place in self._where:
            kind = type_name(place.kind)
            offers = [o.qos_profile for o in self._offers(place.topic) if o.topic_type == kind]
            if offers:
                kept = place.once and all(o.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)
                reliable = all(o.reliability != ReliabilityPolicy.BEST_EFFORT for o in offers)
                if self._overridden and place.topic == self._fit.topic:
                    reliable = self._fit.reliable
                return replace(place, reliable=reliable, kept=kept)
        return None

    def _offers(self, topic: str) -> list[TopicEndpointInfo]:
        return self._node.get_publishers_info_by_topic(topic)

    def _subscribe(self, fit: Fit) -> None:
        self._delivers_since: float | None = None
        self._seen: set[int] = set()

        def take(message: Any, info: Any) -> None:
            if self._leaving and self._is_second(info["source_timestamp"], subscription):
                return
            self._take(message)

        def lost(event: Any) -> None:
            if subscription is self._subscription:
                self._lose(event.total_count_change)

        def incompatible(event: Any) -> None:
            if not self._overridden:
                return  # the next review follows
            self.incompatible += event.total_count_change
            self._warn(
                "qos",
                f"a publisher on {self.topic} offers another {event.last_policy_kind.name} than requested: nothing can "
                f"be received from it; see the parameters qos_overrides.{self.topic}.subscription.*",
            )

        # The middleware resolves "best available" as `_best` does; asked for by that name, the parameter for overrides
        # says what happens.
        subscription = self._node.create_subscription(
            fit.kind,
            fit.topic,
            take,
            QoSProfile(
                depth=DEPTH,
                reliability=ReliabilityPolicy.BEST_AVAILABLE,
                durability=DurabilityPolicy.TRANSIENT_LOCAL if fit.kept else DurabilityPolicy.VOLATILE,
            ),
            callback_group=self._group,
            event_callbacks=SubscriptionEventCallbacks(incompatible_qos=incompatible, message_lost=lost),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        policy = subscription.qos_profile.reliability
        self._overridden = policy != ReliabilityPolicy.BEST_AVAILABLE
        self._fit = replace(fit, reliable=policy != ReliabilityPolicy.BEST_EFFORT) if self._overridden else fit
        self._subscription = subscription

    def _is_second(self, sent: int, subscription: Subscription) -> bool:
        """Whether the other subscription has delivered a message, told by its time of sending, before."""
        if subscription is self._subscription and self._delivers_since is None:
            self._delivers_since = time.monotonic()
        if not sent or sent not in self._seen:
            self._seen.add(sent)
            return False
        return True

    def _leave(self, at_once: bool) -> None:
        """Have the present subscription end once the next one delivers.

        Args:
            at_once: sooner; one process cannot have two types on one topic.
        """
        if self._subscription is not None:
            at_once |= not self._subscription.get_publisher_count()
            self._leaving.append(self._subscription)
            self._subscription = None
        if at_once:
            self._drop_leaving()

    def _drop_leaving(self) -> None:
        for subscription in self._leaving:
            self._node.destroy_subscription(subscription)
        self._leaving = []
