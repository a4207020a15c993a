"""A bag through the running node: node and player as processes, the answers recorded here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from tqdm import tqdm

from amodal_ros.lab.bags.files import BagError, BagReader, BagWriter
from amodal_ros.lab.bags.make import CAMERA_TOPIC, COMPRESSED_TOPIC, IMAGE_TOPIC, LABELS_TOPIC
from amodal_ros.lab.bags.play import offered_qos
from amodal_ros.lab.bags.record import Recorder
from amodal_ros.lab.bags.typed import INSTANCES, typestore
from amodal_ros.node.fastdds import large_images

NODE = "amodal_node"
ANSWERS_TOPIC = f"/{NODE}/instances"
DIAGNOSTICS_TOPIC = "/diagnostics"
START_DEADLINE = 120.0  # seconds for the node to be ready: a large model loads slowly
SETTLE_DEADLINE = 60.0  # seconds beyond the bag's own for the player's start, the last answer, the final counters
IDLE = ("unconfigured", "inactive")  # lifecycle states of a node that failed to start
IDLE_REPORTS = 5  # a starting node passes through these states in much less than as many reports (seconds)
STOP_DEADLINE = 15.0  # seconds for the node to end when asked to


class ReplayError(RuntimeError):
    """The graph did not run; the message says which part and why."""


@dataclass(frozen=True)
class Topics:
    """Which topics of a bag feed the node."""

    image: str
    labels: str
    camera: str | None  # its arrival says when image and label map were complete; it is published right after them
    compressed: bool

    @staticmethod
    def of(bag: Path, image: str | None = None, labels: str = LABELS_TOPIC) -> Topics:
        """The topics of a bag, by the names that `amodal bag make` gives unless others are given.

        Raises:
            BagError: the bag lacks one.
        """
        with BagReader(bag) as reader:
            found, frames = reader.topics, reader.counts
        if image is None:
            image = COMPRESSED_TOPIC if IMAGE_TOPIC not in found and COMPRESSED_TOPIC in found else IMAGE_TOPIC
        for topic in (image, labels):
            if not frames.get(topic):
                held = ", ".join(sorted(found)) or "nothing"
                raise BagError(f"{bag}: no messages on {topic}; say --image and --instance-mask, it holds {held}")
        camera = CAMERA_TOPIC if frames.get(CAMERA_TOPIC) else None
        return Topics(image, labels, camera, found[image] == "sensor_msgs/msg/CompressedImage")

    @property
    def played(self) -> list[str]:
        return [topic for topic in (self.image, self.labels, self.camera) if topic]


def replay(bag: Path, topics: Topics, model: str, parameters: Sequence[str], out: Path) -> Path:
    """Play a bag to a node in a process of its own and record what it says, in ``out/answers``.

    The node's output goes to ``out/node.log``, the player's to ``out/player.log``.

    Args:
        model: the node's parameter of that name.
        parameters: further ones, as ``name:=value``.

    Returns:
        The recorded bag: answers, diagnostics, and the camera info if `bag` has it.

    Raises:
        ReplayError: a process ended early, or was not ready or done in time.
    """
    recorded = {ANSWERS_TOPIC: INSTANCES, DIAGNOSTICS_TOPIC: "diagnostic_msgs/msg/DiagnosticArray"}
    played = {topics.camera: "sensor_msgs/msg/CameraInfo"} if topics.camera else {}
    with BagReader(bag) as reader:
        total, seconds = reader.counts[topics.image], reader.duration
        offered = {topic: offered_qos(reader.qos(topic)).reliability for topic in topics.played}
    os.environ.update(large_images())  # for the processes that are started here, and this one
    answers, node_command = out / "answers", _node_command(topics, model, parameters)
    with (
        BagWriter(answers) as writer,
        _Listener(writer, recorded, played, offered) as listener,
        _Process("the node", node_command, out / "node.log") as node,
        tqdm(total=total, unit=" answers") as bar,
    ):
        bar.set_description("waiting for the node")
        _spin_until(lambda: listener.connected(topics.image, topics.labels), START_DEADLINE, listener, node)
        bar.set_description("playing")
        with _Process("the player", _player_command(bag, topics), out / "player.log") as player:

            def finished() -> bool:
                bar.update(listener.answers - bar.n)
                if not player.ended():
                    listener.reports = 0
                return player.ended() and listener.nothing_waits()

            _spin_until(finished, seconds + SETTLE_DEADLINE, listener, node)
    return answers


def _node_command(topics: Topics, model: str, parameters: Sequence[str]) -> list[str]:
    command = [sys.executable, "-m", "amodal_ros.node.main", "--ros-args"]
    command += ["-r", f"image:={topics.image}", "-r", f"instance_mask:={topics.labels}"]
    given = [f"model:={model}", f"image_transport:={'compressed' if topics.compressed else 'raw'}"]
    for parameter in [*given, *parameters]:
        command += ["-p", parameter]
    return command


def _player_command(bag: Path, topics: Topics) -> list[str]:
    command = [sys.executable, "-m", "amodal_ros.cli", "bag", "play", str(bag)]
    return [*command, "--topics", *topics.played, "--wait-for", *topics.played]


def _spin_until(done: Callable[[], bool], seconds: float, listener: _Listener, node: _Process) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        listener.spin_once()
        if node.ended() or listener.idle_reports > IDLE_REPORTS:
            raise ReplayError(f"the node did not start or has stopped; the end of its log:\n{node.tail()}")
        if time.monotonic() > deadline:
            raise ReplayError(f"not done within {seconds:.0f} s; the end of the node's log:\n{node.tail()}")


class _Listener:
    """This process's ears: a node that records.

    Args:
        topics: topic -> message type, of what the node says.
        played: the same of what the player says. It is subscribed to when it is published: a publisher that was there
            before its subscriber is known to it, and the player, which waits for subscribers, loses nothing. The other
            way round a publisher can know its subscriber for a second before that hears it.
        offered: reliability by topic.
    """

    def __init__(
        self,
        bag: BagWriter,
        topics: Mapping[str, str],
        played: Mapping[str, str],
        offered: Mapping[str, ReliabilityPolicy],
    ) -> None:
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("amodal_demo", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._recorder = Recorder(self._node, bag, topics, self._remember)
        self._awaited, self._offered = dict(played), offered
        self._counters: dict[str, str] = {}
        self.reports = 0  #: how often the node has told its figures; may be set back
        self.idle_reports = 0  #: how often in a row it has told that it is not active and not on its way there

    def __enter__(self) -> _Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()

    @property
    def answers(self) -> int:
        return self._recorder.counts[ANSWERS_TOPIC]

    def spin_once(self) -> None:
        for topic in [topic for topic in self._awaited if self._node.count_publishers(topic)]:
            self._recorder.add(topic, self._awaited.pop(topic), self._offered[topic])
        self._executor.spin_once(timeout_sec=0.1)

    def connected(self, *inputs: str) -> bool:
        """Whether the node listens, and what it says arrives here: nothing of the first answers would be lost."""
        listens = all(self._node.count_subscribers(topic) for topic in inputs)
        return listens and self._node.count_publishers(ANSWERS_TOPIC) > 0 and self.reports > 0

    def nothing_waits(self) -> bool:
        """Whether the node says that every image is accounted for, and said so twice: one report can be on its way."""
        return self.reports >= 2 and self._counters.get("waiting") == "0"

    def _remember(self, topic: str, raw: bytes, now: int) -> None:
        if topic == DIAGNOSTICS_TOPIC:
            message: Any = typestore().deserialize_cdr(raw, "diagnostic_msgs/msg/DiagnosticArray")
            for status in message.status:
                values = {pair.key: pair.value for pair in status.values}
                if status.name == f"/{NODE}: answers":
                    self._counters = values
                    self.reports += 1
                elif status.name == f"/{NODE}: model":
                    self.idle_reports = self.idle_reports + 1 if values["state"] in IDLE else 0


class _Process:
    """A process whose output goes to a file, stopped with the block."""

    def __init__(self, name: str, command: list[str], log: Path) -> None:
        self._name, self._log = name, log
        self._file = log.open("w")
        self._process = subprocess.Popen(command, stdout=self._file, stderr=subprocess.STDOUT)

    def __enter__(self) -> _Process:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._file.close()

    def ended(self) -> bool:
        """Whether it ended well.

        Raises:
            ReplayError: it ended otherwise.
        """
        status = self._process.poll()
        if status:
            raise ReplayError(f"{self._name} ended with {status}:\n{self.tail()}")
        return status == 0

    def tail(self) -> str:
        """The last lines of its output."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])
