"""The node as a process of its own, as users run it, and a real model behind it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from builders import save_stable_diffusion, scene_of_two  # noqa: E402
from ros_graph import graph, image, labels  # noqa: E402

from amodal_ros.messages import mask_to_array  # noqa: E402
from amodal_ros.msg import AmodalInstance  # noqa: E402

SECOND = 1_000_000_000
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "planner.py"


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen]:
    """A process with its output piped, ended as by Ctrl-C."""
    with subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
    ) as running:
        try:
            yield running
        finally:
            if running.poll() is None:
                running.send_signal(signal.SIGINT)
                running.communicate(timeout=30)


def read_until(running: subprocess.Popen, text: str) -> str:
    for line in running.stdout:
        if text in line:
            return line
    raise AssertionError(f"the process ended without saying {text!r}")


def test_a_real_pipeline_answers_end_to_end(tmp_path):
    model = save_stable_diffusion(tmp_path / "tiny")
    picture, disc, box = scene_of_two()
    values = np.where(box, 2, disc * 1).astype(np.uint16)
    with graph(model=str(model), device="cpu", frame_budget=600.0) as (_, peer):
        array = peer.ask(SECOND, image(SECOND, picture), labels(SECOND, values))
        status = peer.wait_status("model", lambda s: s.get("device") == "cpu")
    assert array.model == "tiny" and status["model"] == "tiny"
    disc_answer = array.instances[0]
    # An untrained model's guess can be worse than the bounded hull, which is answered then.
    assert disc_answer.source in (AmodalInstance.INFERRED, AmodalInstance.GEOMETRIC)
    amodal = mask_to_array(disc_answer.amodal, *disc.shape)
    assert not (disc & ~amodal).any() and not (amodal & ~disc & ~box).sum() > 0.2 * disc.sum()
    assert float(status["seconds_per_object"]) > 0.0  # the model was asked


def test_another_process_gets_every_array_with_its_images_header():
    listener = """
import sys, rclpy
from rclpy.serialization import serialize_message
from amodal_ros.msg import AmodalInstanceArray
rclpy.init()
node = rclpy.create_node("listener")
def told(array):
    print("GOT", serialize_message(array.header).hex(), flush=True)
node.create_subscription(AmodalInstanceArray, "/amodal_node/instances", told, 20)
print("READY", flush=True)
rclpy.spin(node)
"""
    from rclpy.serialization import serialize_message

    with graph() as (node, peer), process("-c", listener) as running:
        read_until(running, "READY")
        peer.wait(lambda: peer.count_subscribers("/amodal_node/instances") == 2, "the other process listens")
        (publisher,) = [p for p in node.publishers if p.topic_name == "/amodal_node/instances"]
        peer.wait(lambda: publisher.get_subscription_count() == 2, "the node knows it")
        for k in range(1, 6):
            sent = image(k * SECOND + 7 * k)
            sent.header.frame_id = f"camera {k}"
            peer.ask(k * SECOND + 7 * k, sent)
            assert read_until(running, "GOT").split()[1] == serialize_message(sent.header).hex()


def test_the_executable_stops_on_interrupt_and_refuses_bad_values():
    with process("-m", "amodal_ros.node.main", "--ros-args", "-p", "model:=geometric") as running:
        read_until(running, "active: model geometric")
        running.send_signal(signal.SIGINT)
        output, _ = running.communicate(timeout=30)
        assert running.returncode == 0 and "Traceback" not in output, output
    with process("-m", "amodal_ros.node.main", "--ros-args", "-p", "occluders:=nobody") as running:
        assert "expected one of instances, any, off, got 'nobody'" in read_until(running, "occluders")
        assert running.wait(30) == 2


def test_the_planner_example_reads_masks_age_source_and_ratio():
    with graph() as (_, peer), process(str(EXAMPLE)) as running:
        peer.wait(lambda: peer.count_subscribers("/amodal_node/instances") == 2, "the planner listens")
        for k in range(1, 100):  # until it has heard us
            peer.ask(k * SECOND)
            if peer.under_test.count_subscribers("/amodal_node/instances") == 2:
                break
        line = read_until(running, "object 7")
        assert "% hidden" in line and "estimate, 0.00 s old, hidden by [9]" in line
        assert "object 9: 0% hidden (0 px), as seen" in read_until(running, "object 9")
