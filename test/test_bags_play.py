"""Replay and recording through rclpy, the player in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from bag_frames import scene

rclpy = pytest.importorskip("rclpy")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from amodal_ros.lab.bags.files import BagError, BagReader, BagWriter  # noqa: E402
from amodal_ros.lab.bags.make import CAMERA_TOPIC, IMAGE_TOPIC, LABELS_TOPIC, START, TRUTH_TOPIC, write_frames  # noqa: E402
from amodal_ros.lab.bags.play import play  # noqa: E402
from amodal_ros.lab.bags.record import Recorder, record  # noqa: E402
from amodal_ros.lab.bags.typed import typestore  # noqa: E402
from amodal_ros.messages import nanoseconds  # noqa: E402
from amodal_ros.stream.images import rgb_of  # noqa: E402

DEADLINE = 30.0  # seconds for anything to happen on a busy machine
COUNT = 6


class Listener:
    """A node with an executor of its own; `spin_until` has a deadline instead of a sleep."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context)
        self.node: Node = rclpy.create_node("listener", context=self.context)
        self.executor = SingleThreadedExecutor(context=self.context)
        self.executor.add_node(self.node)

    def spin_until(self, done) -> None:
        deadline = time.monotonic() + DEADLINE
        while not done():
            assert time.monotonic() < deadline, "nothing came in time"
            self.executor.spin_once(timeout_sec=0.1)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.context.shutdown()


@pytest.fixture
def listener() -> Iterator[Listener]:
    listener = Listener()
    yield listener
    listener.close()


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    write_frames(scene(COUNT), tmp_path / "bag", rate=10)
    return tmp_path / "bag"


@pytest.fixture
def player(bag):
    """Starts ``amodal bag play`` and ends it with the test."""
    started: list[subprocess.Popen] = []

    def start(*options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "amodal_ros.cli", "bag", "play", str(bag), *options]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_every_message_arrives_in_time_and_unchanged(bag, player, listener, tmp_path):
    arrivals: list[float] = []
    with BagReader(bag) as reader:
        topics = reader.topics
        sent = {topic: [record.raw for record in reader.records([topic])] for topic in topics}
    with BagWriter(tmp_path / "recorded") as writer:
        recorder = Recorder(
            listener.node, writer, topics, lambda topic, *_: topic == IMAGE_TOPIC and arrivals.append(time.monotonic())
        )
        process = player("--wait-for", *topics, "--rate", "2")
        listener.spin_until(lambda: sum(recorder.counts.values()) == COUNT * len(topics))
        output, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0, errors
    assert f"{COUNT * len(topics)} messages" in output
    with BagReader(tmp_path / "recorded") as reader:
        for topic, messages in sent.items():
            got = [record.raw for record in reader.records([topic])]
            for ours, theirs in zip(messages, got, strict=True):
                assert theirs[: len(ours)] == ours
                assert len(theirs) - len(ours) < 4  # the middleware pads to whole words
    spent = arrivals[-1] - arrivals[0]
    assert spent == pytest.approx((COUNT - 1) * 0.1 / 2, abs=0.15)  # 10 Hz played twice as fast
    assert np.diff(arrivals).min() > 0.01  # paced, not sent in one burst


def test_publishers_are_reliable(player, listener):
    profile = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
    images: list[Image] = []
    listener.node.create_subscription(Image, IMAGE_TOPIC, images.append, profile)
    player("--wait-for", IMAGE_TOPIC, "--topics", IMAGE_TOPIC, LABELS_TOPIC)
    listener.spin_until(lambda: len(images) == COUNT)
    np.testing.assert_array_equal(rgb_of(images[0]), scene(1)[0].image)
    published = {topic for topic, _ in listener.node.get_topic_names_and_types()}
    assert LABELS_TOPIC in published
    assert not published & {CAMERA_TOPIC, TRUTH_TOPIC}


def test_loop_and_clock(player, listener):
    from rosgraph_msgs.msg import Clock

    stamps: list[int] = []
    clock: list[int] = []
    listener.node.create_subscription(Image, IMAGE_TOPIC, lambda m: stamps.append(nanoseconds(m.header.stamp)), 50)
    listener.node.create_subscription(Clock, "/clock", lambda m: clock.append(nanoseconds(m.clock)), 500)
    player("--wait-for", IMAGE_TOPIC, "--loop", "--clock", "--rate", "4")
    listener.spin_until(lambda: len(stamps) >= 2 * COUNT + 1)
    assert stamps[:COUNT] == [START + t * 100_000_000 for t in range(COUNT)]
    assert stamps[COUNT : 2 * COUNT] == stamps[:COUNT]
    assert min(clock) >= START
    assert max(clock) <= START + (COUNT - 1) * 100_000_000
    assert len(set(clock)) > COUNT  # it also tells the time between the messages


def test_a_recorded_clock_is_left_out_beside_our_own(tmp_path, listener, capsys):
    from rosgraph_msgs.msg import Clock
    from std_msgs.msg import String

    with BagWriter(tmp_path / "bag") as writer:
        for k in range(COUNT):
            now = START + k * 100_000_000
            stamp = typestore().types["builtin_interfaces/msg/Time"](7, k)  # another time than that of recording
            writer.write("/clock", typestore().types["rosgraph_msgs/msg/Clock"](stamp), now)
            writer.write("/chatter", typestore().types["std_msgs/msg/String"](str(k)), now)
    told: list[int] = []
    listener.node.create_subscription(Clock, "/clock", lambda m: told.append(m.clock.sec), 500)
    listener.node.create_subscription(String, "/chatter", lambda m: None, 500)
    with ThreadPoolExecutor() as pool:
        played = pool.submit(play, tmp_path / "bag", rate=0.25, clock=True, wait_for=["/chatter"])
        listener.spin_until(lambda: played.done() and told)
    assert played.result().messages == COUNT
    assert set(told) == {START // 10**9}
    assert "/clock: the recorded messages are not played" in capsys.readouterr().err
    assert play(tmp_path / "bag", rate=50).messages == 2 * COUNT


@pytest.mark.parametrize("first", [0, 40 * 10**9])
def test_a_clock_that_was_set_while_recording_is_not_slept_through(tmp_path, first, capsys):
    with BagWriter(tmp_path / "bag") as writer:
        for time_ns in (first, first + 50_000_000, START, START + 200_000_000):
            writer.write("/chatter", typestore().types["std_msgs/msg/String"]("a"), time_ns)
    played = play(tmp_path / "bag")
    assert played.messages == 4 and 0.2 < played.seconds < 5 and played.latest < 1
    assert "the recorded time jumps by" in capsys.readouterr().err


# --- bad input ----------------------------------------------------------------------------------------------------


def test_refusals(bag, tmp_path):
    with pytest.raises(BagError, match="rate"):
        play(bag, rate=0)
    with pytest.raises(BagError, match="no topic /nowhere"):
        play(bag, topics=["/nowhere"])
    with pytest.raises(BagError, match="not played: /nowhere"):
        play(bag, wait_for=["/nowhere"])
    with pytest.raises(BagError, match="no such bag"):
        play(tmp_path / "nothing")


def test_nobody_listens(bag, monkeypatch):
    monkeypatch.setattr("amodal_ros.lab.bags.play.SUBSCRIBER_DEADLINE", 0.2)
    with pytest.raises(BagError, match=f"no subscriber within 0.2 s on {IMAGE_TOPIC}"):
        play(bag, wait_for=[IMAGE_TOPIC])


def test_types_that_are_not_installed_are_left_out(bag, tmp_path, capsys):
    with BagWriter(tmp_path / "foreign") as writer:
        kind = "tf2_msgs/msg/TFMessage"
        writer.write("/tf", typestore().types[kind]([]), START)
        with BagReader(bag) as reader:
            for record in reader.records([TRUTH_TOPIC]):
                writer.write_raw(record.topic, record.msgtype, record.raw, record.time)
    try:
        import tf2_msgs  # noqa: F401

        expected, told = COUNT + 1, False
    except ImportError:
        expected, told = COUNT, True
    assert play(tmp_path / "foreign", rate=10).messages == expected
    assert ("/tf is not played: tf2_msgs/msg/TFMessage is not installed" in capsys.readouterr().err) == told


def test_record_writes_whatever_is_published(tmp_path, listener):
    """A best-effort camera and a chatty node; until the time is over."""
    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    images = listener.node.create_publisher(Image, "/cam/image", best_effort)
    timer = listener.node.create_timer(0.05, lambda: images.publish(Image(width=1)))
    with ThreadPoolExecutor(1) as pool:
        ended = []
        spinning = pool.submit(
            lambda: [listener.executor.spin_once(timeout_sec=0.1) for _ in iter(lambda: bool(ended), True)]
        )
        try:
            counts = record(tmp_path / "bag", seconds=3.0)
        finally:
            ended.append(True)
        spinning.result()
    timer.cancel()
    assert counts["/cam/image"] > 10 and "/rosout" not in counts
    with BagReader(tmp_path / "bag") as bag:
        assert bag.counts == dict(counts) and next(bag.records(["/cam/image"])).message().width == 1


def test_record_ends_in_order_when_told(tmp_path):
    """SIGTERM leaves a bag that can be read, and says that nothing came."""
    command = [sys.executable, "-m", "amodal_ros.cli", "bag", "record", str(tmp_path / "bag"), "--topics", "/nothing"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + DEADLINE
    while not (tmp_path / "bag").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    time.sleep(0.2)
    process.terminate()
    assert "/nothing: nothing came" in process.communicate(timeout=DEADLINE)[1]
    assert process.returncode == 1
