"""Inputs as strangers publish them: other processes, default environments, any reliability, type and topic."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

rclpy = pytest.importorskip("rclpy")

from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from ros_graph import DEADLINE, graph  # noqa: E402
from sensor_msgs.msg import CompressedImage, Image  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from test_node_process import process  # noqa: E402

from amodal_ros.node.diagnostics import Snapshot, input_complaints, statuses  # noqa: E402
from amodal_ros.node.fastdds import CHOSEN, large_images  # noqa: E402
from amodal_ros.node.inputs import REVIEW_PERIOD, Fit, places  # noqa: E402
from amodal_ros.stream.intake import Count  # noqa: E402

SECOND = 1_000_000_000
ROOT = Path(__file__).resolve().parents[1]
CAMERA = str(Path(__file__).with_name("foreign_camera.py"))
USERS = (*CHOSEN, "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY")  # what somebody may have set, and has not


@contextmanager
def node_process(*parameters: str):
    """The node as a user starts it, with its topics named, and the latest diagnostics in a dictionary."""
    command = ["-m", "amodal_ros.node.main", "--ros-args", "-p", "model:=geometric"]
    command += ["-r", "image:=/camera/image_raw", "-r", "instance_mask:=/labels", *parameters]
    context, values = rclpy.Context(), {}

    def keep(message: DiagnosticArray) -> None:
        for status in message.status:
            if not status.name.endswith("model"):
                values[status.name.split(": ")[1]] = {pair.key: pair.value for pair in status.values}

    rclpy.init(context=context)
    listener = rclpy.create_node("listener", context=context)
    listener.create_subscription(DiagnosticArray, "/diagnostics", keep, 10)
    executor = rclpy.executors.SingleThreadedExecutor(context=context)
    executor.add_node(listener)
    try:
        with process(*command) as node:
            node.line("active")
            yield node, values, lambda: executor.spin_once(timeout_sec=0.1)
    finally:
        executor.shutdown()
        listener.destroy_node()
        context.shutdown()


@pytest.mark.parametrize(
    "arguments",
    [("640", "480", "15", "45"), ("1242", "375", "10", "30"), ("640", "480", "15", "30", "compressed")],
    ids=lambda words: "-".join(words),
)
def test_a_camera_in_another_process_arrives(arguments, monkeypatch):
    """All of it. A best-effort subscription got 0 to 11 of 60; a reliable one through shared memory 48 to 60, as the
    publisher's history was over before the larger images were repaired (config/fastdds.xml)."""
    for name in USERS:
        monkeypatch.delenv(name, raising=False)
    transport = ["-p", "image_transport:=compressed"] if "compressed" in arguments else []
    with node_process(*transport) as (_, values, spin), process(CAMERA, *arguments) as camera:
        camera.line("SENT", meanwhile=spin)
        sent, end = int(arguments[3]), time.monotonic() + DEADLINE
        for topic in ("image", "instance_mask"):
            while int(values.get("inputs", {}).get(f"{topic}.received", 0)) < sent:
                assert time.monotonic() < end, values
                spin()


@pytest.mark.parametrize(
    ("distribution", "variable"),
    [("jazzy", "FASTRTPS_DEFAULT_PROFILES_FILE"), ("kilted", "FASTDDS_DEFAULT_PROFILES_FILE")],
)
def test_the_profile_is_set_unless_the_user_has_chosen(distribution, variable, monkeypatch, tmp_path):
    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ROS_DISTRO", distribution)
    found = large_images()
    assert list(found) == [variable] and Path(found[variable]).samefile(ROOT / "config" / "fastdds.xml")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "DEFAULT_FASTDDS_PROFILES.xml").touch()
    assert not large_images()
    (tmp_path / "DEFAULT_FASTDDS_PROFILES.xml").unlink()
    monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
    assert not large_images()
    monkeypatch.delenv("FASTDDS_BUILTIN_TRANSPORTS")
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    assert not large_images(), "run from where it is not installed for ROS"


@contextmanager
def stranger():
    """A node as if in another process."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("stranger", context=context)
    try:
        yield node
    finally:
        node.destroy_node()
        context.shutdown()


def reliabilities(node, topic: str) -> set:
    return {info.qos_profile.reliability for info in node.get_subscriptions_info_by_topic(topic)}


def test_the_subscription_follows_publishers_that_come_and_go_and_takes_every_message_once():
    best_effort = QoSProfile(depth=20, reliability=ReliabilityPolicy.BEST_EFFORT)
    with graph() as (node, peer):
        assert reliabilities(node, "/image") == {ReliabilityPolicy.RELIABLE}
        stop, sent = threading.Event(), 0

        def stream() -> None:
            nonlocal sent
            while not stop.wait(0.01):
                sent += 1
                peer.send(sent * SECOND // 100)

        thread = threading.Thread(target=stream)
        thread.start()
        try:
            second = peer.create_publisher(Image, "image", best_effort)
            peer.wait(
                lambda: reliabilities(node, "/image") == {ReliabilityPolicy.BEST_EFFORT}, "only best effort is left"
            )
            peer.wait(second.get_subscription_count, "both publishers are heard")
            peer.destroy_publisher(second)
            peer.wait(lambda: reliabilities(node, "/image") == {ReliabilityPolicy.RELIABLE}, "reliable again")
        finally:
            stop.set()
            thread.join()
        peer.wait(lambda: node.intake.counts()["instance_mask"].received == sent, "all label maps")
        peer.wait(lambda: node.intake.counts()["image"].received >= sent, "all images")
        assert node.intake.counts()["image"].received == sent
        assert node.intake.counts()["image"].dropped["duplicate"] == 0


def test_a_best_effort_camera_is_heard():
    with graph(peer={"reliable": False}) as (node, peer):
        assert len(peer.ask(SECOND).instances) == 2
        assert reliabilities(node, "/image") == {ReliabilityPolicy.BEST_EFFORT}
        assert peer.wait_status("inputs", lambda s: True)["image.qos_incompatible"] == "0"


def test_an_override_holds_whatever_the_publishers_offer():
    with graph(**{"qos_overrides./image.subscription.reliability": "best_effort"}) as (node, peer):
        time.sleep(3 * REVIEW_PERIOD)
        assert reliabilities(node, "/image") == {ReliabilityPolicy.BEST_EFFORT}
        assert peer.get("qos_overrides./instance_mask.subscription.reliability") == "best_available"
        peer.ask(SECOND)


@pytest.mark.parametrize(
    ("topic", "compressed", "expected"),
    [
        ("/a", False, [("/a", Image), ("/a", CompressedImage)]),
        ("/a", True, [("/a/compressed", CompressedImage), ("/a", CompressedImage)]),
        ("/a/compressed", True, [("/a/compressed", CompressedImage)]),
    ],
)
def test_places(topic, compressed, expected):
    assert list(places(topic, compressed)) == [Fit(*place) for place in expected]


def test_silence_is_explained(capfd):
    hint = "/image/compressed has sensor_msgs/msg/CompressedImage: set image_transport to compressed"
    with graph(active=False) as (node, peer), stranger() as other:
        peer.destroy_publisher(peer.image)
        peer.destroy_publisher(peer.mask)
        other.create_publisher(CompressedImage, "image/compressed", 5)
        other.create_publisher(String, "instance_mask", 5)
        peer.wait(lambda: node.count_publishers("/image/compressed"), "the node knows the other")
        status = peer.wait_status("inputs", lambda s: s["message"].count("no ") == 2 and hint in s["message"])
    assert "has std_msgs/msg/String, expected sensor_msgs/msg/Image or" in status["message"]
    assert capfd.readouterr().err.count("no image on /image") == 1


def test_a_publisher_that_is_not_heard_may_have_no_transport_in_common(monkeypatch):
    for name in CHOSEN:
        monkeypatch.delenv(name, raising=False)
    with graph() as (_, peer):
        monkeypatch.setenv("FASTDDS_BUILTIN_TRANSPORTS", "UDPv4")
        hint = "perhaps it has nothing to send. If it sends: this node has its transports from UDPv4"
        peer.wait_status("inputs", lambda s: hint in s["message"])


def snapshot(**changes) -> Snapshot:
    """A healthy second of 10 Hz; `changes` are of the last report's counts."""
    source = SimpleNamespace(
        topic="/x", remedy=lambda: "do this", why_silent=lambda heard: "it paused" if heard else "because"
    )
    now, before = Count(received=110, used=110), Count(received=100, used=100)
    fine: dict = {name: {} for name in Snapshot.__dataclass_fields__}
    fine |= {"main": "image", "state": "active", "unpaired": 0.0, "silence": {"image": 0.1, "instance_mask": 0.1}}
    fine |= {"inputs": {"image": source, "instance_mask": source}, "newest": {"image": 5, "instance_mask": 5}}
    counts = {topic: replace(now, **changes.get(topic, {})) for topic in ("image", "instance_mask")}
    fine |= {"counts": counts, "before": dict.fromkeys(counts, before)}
    return Snapshot(**{**fine, **{k: v for k, v in changes.items() if k in fine}})


def test_what_the_middleware_loses_is_told_with_a_remedy():
    assert input_complaints(snapshot()) == {}
    lost = input_complaints(snapshot(image={"lost": 10}, unpaired=5.0))
    assert lost == {"lost.image": "10 of 20 messages on /x were lost on their way: do this"}, "stamps are not blamed"
    alone = input_complaints(snapshot(instance_mask={"used": 105, "dropped": Counter(skipped=5)}))
    assert alone["alone.instance_mask"].startswith("5 of 10 messages on /x found no image")


def test_a_topic_that_was_heard_before_is_not_out_of_reach():
    silent = {"silence": {"image": 3.0, "instance_mask": 0.1}}
    assert input_complaints(snapshot(**silent))["silent.image"].endswith("for 3.0 s: it paused")
    never = input_complaints(snapshot(**silent, image={"received": 0, "used": 0}))
    assert never["silent.image"].endswith("for 3.0 s: because")


@pytest.mark.parametrize(("seconds", "told"), [(0.25, "0.250"), (95_638_332.0, "unknown: stamps are of another clock")])
def test_the_age_of_another_clock_is_no_age(seconds, told):
    """As when a bag is played and nobody said use_sim_time."""
    quiet = {"seconds": 1.0, "busy": 0.0, "allowed": 0.1, "crashes": 0, "failures": 0, "time_jumps": 0, "memory": 0}
    _, answers, _ = statuses(
        "n",
        snapshot(staleness=seconds, inputs={}, silence={}, topics={"image": "/x", "instance_mask": "/y"}, **quiet),
        {},
    )
    assert {pair.key: pair.value for pair in answers.values}["staleness_s"] == told
