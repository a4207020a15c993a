"""The node under test and a peer that talks to it over real topics and services. Nothing of ROS is replaced."""

from __future__ import annotations

import gc
import os
import threading
import time
from array import array
from collections.abc import Callable
from contextlib import contextmanager, suppress

import cv2
import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from amodal_ros.live.plain import PlainAnswerer
from amodal_ros.msg import AmodalInstanceArray
from amodal_ros.node.executor import NodeExecutor
from amodal_ros.node.node import AmodalNode
from amodal_ros.stream.answerers import Loaded

DEADLINE = 20.0  # seconds for anything to happen on a busy machine
HEIGHT, WIDTH = 24, 32


def stamp_message(nanoseconds: int):
    return rclpy.time.Time(nanoseconds=nanoseconds).to_msg()


def image(stamp: int, pixels: np.ndarray | None = None, encoding: str = "rgb8") -> Image:
    """An image message; by default a small dark one."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8) if pixels is None else pixels
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = pixels.strides[0]
    message.data = array("B", pixels.tobytes())
    message.header.stamp = stamp_message(stamp)
    message.header.frame_id = "camera_optical"
    return message


def labels(stamp: int, pixels: np.ndarray | None = None, encoding: str = "16UC1") -> Image:
    """A label map; by default of two objects, the disc 7 behind the box 9."""
    return image(stamp, two_objects() if pixels is None else pixels, encoding)


def two_objects() -> np.ndarray:
    pixels = np.zeros((HEIGHT, WIDTH), np.uint16)
    cv2.circle(pixels, (12, 10), 8, 7, -1)
    pixels[8:22, 14:26] = 9
    return pixels


class Scripted(PlainAnswerer):
    """The geometric answerer with a hook: `script(frame, should_stop)` runs before each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.script: Callable = lambda frame, should_stop: None
        self.frames: list = []
        self.calls: list[str] = []

    def start(self) -> None:
        super().start()
        self.calls.append("start")

    def stop(self) -> None:
        super().stop()
        self.calls.append("stop")

    def reset(self) -> None:
        self.calls.append("reset")

    def answer(self, frame, should_stop=lambda: False):
        self.frames.append(frame)
        self.script(frame, should_stop)
        return super().answer(frame, should_stop)


class Peer(Node):
    """Publishes inputs, keeps what the node says, calls its services."""

    def __init__(
        self,
        context: rclpy.Context,
        under_test: Node,
        reliable: bool = True,
        image_type: type = Image,
        mask_type: type = Image,
    ) -> None:
        super().__init__("peer", context=context)
        self.under_test, self.under_test_name = under_test, under_test.get_fully_qualified_name()
        self.arrays: list[AmodalInstanceArray] = []
        self.diagnostics: list[DiagnosticArray] = []
        self.overlays: list[Image] = []
        self.news = threading.Condition()
        self.qos = QoSProfile(
            depth=20, reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        )
        self.create_subscription(DiagnosticArray, "/diagnostics", self._keep(self.diagnostics), 50)
        self.meet(image_type, mask_type)

    def meet(self, image_type: type, mask_type: type) -> None:
        """The topics of the node under test."""
        self.image = self.create_publisher(image_type, "image", self.qos)
        self.mask = self.create_publisher(mask_type, "instance_mask", self.qos)
        self.create_subscription(AmodalInstanceArray, "/amodal_node/instances", self._keep(self.arrays), 50)

    def _keep(self, messages: list) -> Callable:
        def keep(message: object) -> None:
            with self.news:
                messages.append(message)
                self.news.notify_all()

        return keep

    def watch_overlay(self) -> None:
        self.create_subscription(Image, "/amodal_node/overlay", self._keep(self.overlays), 5)

    def wait(self, done: Callable[[], object], what: str = "", deadline: float = DEADLINE) -> object:
        """What `done` returns once it is true; it is asked whenever something came."""
        end = time.monotonic() + deadline
        with self.news:
            while not (result := done()):
                left = end - time.monotonic()
                assert left > 0, f"did not happen in {deadline} s: {what}"
                self.news.wait(min(left, 0.1))
            return result

    def send(self, stamp: int, image_message: object = None, mask_message: object = None) -> None:
        """Publish one image and its label map."""
        self.image.publish(image_message or image(stamp))
        self.mask.publish(mask_message or labels(stamp))

    def answer_to(self, stamp: int) -> AmodalInstanceArray:
        """The array for an image; fails when it does not come."""
        wanted = stamp_message(stamp)
        found = self.wait(lambda: [a for a in self.arrays if a.header.stamp == wanted], f"an answer to {stamp}")
        return found[0]

    def ask(self, stamp: int, image_message: object = None, mask_message: object = None) -> AmodalInstanceArray:
        self.send(stamp, image_message, mask_message)
        return self.answer_to(stamp)

    def status(self, part: str) -> dict[str, str]:
        """The latest diagnostics of ``inputs``, ``answers`` or ``model``, with ``level`` and ``message``."""
        for array_ in reversed(self.diagnostics):
            for status in array_.status:
                if status.name == f"{self.under_test_name}: {part}":
                    values = {pair.key: pair.value for pair in status.values}
                    return {**values, "level": status.level, "message": status.message}
        return {}

    def wait_status(self, part: str, done: Callable[[dict], object], what: str = "") -> dict[str, str]:
        """Diagnostics that came after this call and satisfy `done`."""
        seen = len(self.diagnostics)
        self.wait(lambda: len(self.diagnostics) > seen and done(self.status(part)), f"{what} in {part}")
        return self.status(part)

    def call(self, kind: type, name: str, request: object, deadline: float = DEADLINE) -> object:
        name = f"{self.under_test_name}/{name}"
        client = self.create_client(kind, name)
        try:
            assert client.wait_for_service(DEADLINE), name
            # A server that has not heard of its client yet would lose the response.
            self.wait(lambda: self.under_test.count_clients(name), f"{name} knows its client")
            future = client.call_async(request)
            self.wait(future.done, name, deadline)
            return future.result()
        finally:
            self.destroy_client(client)

    def state(self) -> str:
        return self.call(GetState, "get_state", GetState.Request()).current_state.label

    def change(self, transition: int, deadline: float = DEADLINE) -> bool:
        request = ChangeState.Request(transition=Transition(id=transition))
        return self.call(ChangeState, "change_state", request, deadline).success

    def set(self, name: str, value: object, deadline: float = DEADLINE):
        """The result of setting one parameter: `successful` and `reason`."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.call(SetParameters, "set_parameters", request, deadline).results[0]

    def get(self, name: str):
        values = self.call(GetParameters, "get_parameters", GetParameters.Request(names=[name])).values
        return rclpy.parameter.parameter_value_to_python(values[0])


@contextmanager
def spinning(context: rclpy.Context, executor: object, node: Node):
    """A node spun by a thread of its own."""

    def spin() -> None:
        with suppress(ExternalShutdownException):
            executor.spin()

    executor.add_node(node)
    thread = threading.Thread(target=spin, daemon=True)
    thread.start()
    try:
        yield node
    finally:
        executor.shutdown()
        thread.join(DEADLINE)
        node.destroy_node()


@contextmanager
def peer_of(node: Node, kind: type = Peer, **options):
    """A peer in a context of its own, as if in another process."""
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        with spinning(context, SingleThreadedExecutor(context=context), kind(context, node, **options)) as peer:
            yield peer
    finally:
        context.shutdown()


@contextmanager
def graph(answerer: object = None, load: object = None, active: bool = True, peer: dict | None = None, **parameters):
    """A running node and its peer, connected. Yields (node, peer).

    Args:
        answerer: what answers; by default the one that the parameters name, and the model is "geometric".
        active: wait until the node listens.
        peer: options of `Peer`.
        parameters: of the node, over the defaults.
    """
    move_to_a_new_domain()
    parameters.setdefault("model", "geometric")
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    context = rclpy.Context()
    rclpy.init(context=context)
    options = {"load": lambda parameters: Loaded(answerer)} if answerer else {}
    if load:
        options["load"] = load
    try:
        node = AmodalNode(**options, context=context, parameter_overrides=overrides)
        executor = NodeExecutor(slow=node.slow, context=context)
        with spinning(context, executor, node), peer_of(node, **(peer or {})) as other:
            try:
                if active:
                    connected(other)
                yield node, other
            finally:
                node.close()
    finally:
        context.shutdown()


def move_to_a_new_domain() -> None:
    """rclpy gives a lifecycle node's services back with the garbage: until then clients would find two servers."""
    os.environ["ROS_DOMAIN_ID"] = str(int(os.environ["ROS_DOMAIN_ID"]) % 101 + 1)
    gc.collect()


def connected(peer: Peer) -> None:
    """Wait until both ends of every topic know each other: what is sent earlier is lost, as DDS has it."""
    node = peer.under_test

    def met() -> bool:
        inputs = [s for s in node.subscriptions if s.topic_name in ("/image", "/instance_mask")]
        outputs = [p for p in node.publishers if p.topic_name == "/amodal_node/instances"]
        return (
            len(inputs) == 2
            and all(subscription.get_publisher_count() for subscription in inputs)
            and all(publisher.get_subscription_count() for publisher in (*outputs, peer.image, peer.mask))
            and peer.count_publishers("/amodal_node/instances") > 0
        )

    peer.wait(met, "the node and its peer know each other")
