"""The live session in a real node: answers at camera rate while one completion takes forever."""

from __future__ import annotations

import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

from live_scenes import HEIGHT, WIDTH, Oracle, Slow, parked
from ros_graph import graph, image, labels

from amodal_ros.errors import Interrupted
from amodal_ros.live.session import LiveSession
from amodal_ros.messages import nanoseconds
from amodal_ros.msg import AmodalInstance
from amodal_ros.scene import Scene

RATE = 10.0


class ByPixels:
    """Lets a pipeline made for a film complete the same images after their way through messages."""

    def complete(self, scene, **options):
        return super().complete(scene.replace(image=self._images[scene.image.tobytes()]), **options)

    def __init__(self, shots) -> None:
        super().__init__(shots)
        self._images = {frame.image.tobytes(): frame.image for frame, _ in shots}


class SlowInNode(ByPixels, Slow):
    pass


class OracleInNode(ByPixels, Oracle):
    pass


class FirstFrameInNode(OracleInNode):
    """Never comes to the end of a completion on a later frame."""

    def complete(self, scene, **options):
        if scene.stamp == self.first:
            return super().complete(scene, **options)
        while not options["should_stop"]():
            time.sleep(0.01)
        raise Interrupted([None] * len(options["which"]))

    def __init__(self, shots) -> None:
        super().__init__(shots)
        self.first = shots[0][0].stamp


def as_messages(frame: Scene):
    pixels = np.zeros((HEIGHT, WIDTH), np.uint16)
    for instance in frame.things:
        pixels[instance.visible.full(HEIGHT, WIDTH)] = instance.id
    return image(frame.stamp, frame.image), labels(frame.stamp, pixels)


def test_answers_keep_the_rate_while_a_slow_completion_runs():
    shots = parked(frames=20)
    pipeline = SlowInNode(shots)
    session = LiveSession(pipeline)
    session.start()
    with graph(answerer=session) as (_, peer):
        start = time.monotonic()
        for k, (frame, _) in enumerate(shots):
            time.sleep(max(0.0, start + k / RATE - time.monotonic()))
            peer.send(frame.stamp, *as_messages(frame))
        peer.wait(lambda: len(peer.arrays) == len(shots), "an answer to every pair")
        assert pipeline.working.is_set(), "the first completion is still under way"
        status = peer.wait_status("answers", lambda s: s.get("answered") == str(len(shots)))
        assert status["received"] == status["answered"] and status["dropped"] == "0"
        assert float(status["latency.p50_ms"]) < 1e3 / RATE
        pipeline.go.set()
        peer.wait(lambda: session.diagnostics()["completions"], "the slow completion")
        model = peer.wait_status("model", lambda s: s.get("completions") == "1")
        assert {"budget_used", "completions_per_second", "tracks", "memory_mb"} <= model.keys()
    assert [nanoseconds(a.header.stamp) for a in peer.arrays] == [frame.stamp for frame, _ in shots]
    assert pipeline.interrupted, "the node's end interrupts the completion under way"


def test_an_old_completion_is_published_with_the_stamp_it_rests_on():
    shots = parked(frames=2)
    session = LiveSession(FirstFrameInNode(shots), patience=0.0)
    session.start()
    with graph(answerer=session) as (_, peer):
        peer.ask(shots[0][0].stamp, *as_messages(shots[0][0]))
        assert session.drain(10.0)
        array = peer.ask(shots[1][0].stamp, *as_messages(shots[1][0]))
    moved = [i for i in array.instances if i.source == AmodalInstance.PROPAGATED]
    assert moved and all(nanoseconds(i.inferred_at) == shots[0][0].stamp for i in moved)
