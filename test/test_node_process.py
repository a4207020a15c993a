"""The node as a process of its own, as users run it, and a real model behind it."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from builders import save_stable_diffusion, scene_of_two  # noqa: E402
from ros_graph import DEADLINE, graph, image, labels  # noqa: E402

from amodal_ros.messages import mask_to_array  # noqa: E402
from amodal_ros.msg import AmodalInstance  # noqa: E402

SECOND = 1_000_000_000
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "planner.py"


class Process:
    """A process whose lines are collected as they come."""

    def __init__(self, *command: str) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=dict(os.environ),
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self.popen.stdout:
            self.lines.append(line)

    def line(self, text: str, meanwhile: Callable[[], object] = lambda: None) -> str:
        """The first line with `text`; `meanwhile` is called until it comes."""
        end = time.monotonic() + DEADLINE
        while not (found := [line for line in list(self.lines) if text in line]):
            assert time.monotonic() < end, f"{text!r} not among {self.lines}"
            meanwhile()
            time.sleep(0.05)
        return found[0]

    def end(self) -> int:
        """Ends it as Ctrl-C does, if it still runs. Returns the exit code."""
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGINT)
        code = self.popen.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code


@contextmanager
def process(*command: str) -> Iterator[Process]:
    running = Process(*command)
    try:
        yield running
    finally:
        running.end()


def test_a_real_pipeline_answers_end_to_end(tmp_path):
    model = save_stable_diffusion(tmp_path / "tiny")
    picture, disc, box = scene_of_two()
    values = np.where(box, 2, disc * 1).astype(np.uint16)
    with graph(model=str(model), device="cpu", live=False, frame_budget=600.0) as (_, peer):
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
import signal, rclpy
from rclpy.serialization import serialize_message
from rclpy.signals import SignalHandlerOptions
from amodal_ros.msg import AmodalInstanceArray
rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
signal.signal(signal.SIGINT, signal.SIG_DFL)  # a peer's own end is not what is tested
node = rclpy.create_node("listener")
def told(array):
    print("GOT", serialize_message(array.header).hex(), flush=True)
node.create_subscription(AmodalInstanceArray, "/amodal_node/instances", told, 20)
print("READY", flush=True)
rclpy.spin(node)
"""
    from rclpy.serialization import serialize_message

    with graph() as (_, peer), process("-c", listener) as running:
        running.line("READY")
        stamps = itertools.count(1)
        # A reliable subscriber misses nothing once it has heard the first.
        running.line("GOT", meanwhile=lambda: peer.ask(next(stamps)))
        for k in range(1, 6):
            stamp = k * SECOND + 7 * k
            sent = image(stamp)
            sent.header.frame_id = f"camera {k}"
            peer.ask(stamp, sent)
            running.line(serialize_message(sent.header).hex())


def test_the_executable_stops_on_interrupt_and_refuses_bad_values():
    with process("-m", "amodal_ros.node.main", "--ros-args", "-p", "model:=geometric") as running:
        running.line("active: model geometric")
        assert running.end() == 0
        assert not [line for line in running.lines if "Traceback" in line or "ERROR" in line], running.lines
    with process("-m", "amodal_ros.node.main", "--ros-args", "-p", "occluders:=nobody") as running:
        running.line("expected one of instances, depth, any, off, or empty, got 'nobody'")
        assert running.popen.wait(30) == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("moment", "gap"), [(0.5, None), (1.0, None), (0.7, 0.0), (None, 0.0), (None, 0.05)])
def test_one_or_two_signals_at_any_moment_end_the_node_quietly(number, moment, gap):
    """`moment`: seconds after the start, None: once active; `gap`: seconds to the second signal."""
    with process("-m", "amodal_ros.node.main", "--ros-args", "-p", "model:=geometric") as running:
        if moment is None:
            running.line("active: model geometric")
        else:
            time.sleep(moment)
        running.popen.send_signal(number)
        if gap is not None:
            time.sleep(gap)
            running.popen.send_signal(number)
        code = running.popen.wait(DEADLINE)
    assert code in ((0,) if gap is None else (0, 130)), running.lines
    assert not [line for line in running.lines if "Traceback" in line or "Error" in line], running.lines


def test_the_planner_of_the_docs_runs_as_printed():
    page = EXAMPLE.parents[1] / "docs" / "planners.md"
    (snippet,) = re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    with graph() as (_, peer), process("-u", "-c", snippet) as running:
        stamps = itertools.count(1)
        line = running.line("7 GEOMETRIC", meanwhile=lambda: peer.ask(next(stamps)))
        assert re.fullmatch(r"7 GEOMETRIC 0\.00 s old, \d+ pixels", line.strip())


def test_the_planner_example_reads_masks_age_source_and_ratio():
    with graph() as (_, peer), process(str(EXAMPLE)) as running:
        stamps = itertools.count(1)
        line = running.line("object 7", meanwhile=lambda: peer.ask(next(stamps)))
        assert "% hidden" in line and "estimate, 0.00 s old" in line and "hidden by [9]" in line
        assert re.search(r"object 9: 0% hidden \(0 px, at most \d+\), as seen", running.line("object 9"))
