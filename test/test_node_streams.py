"""Streams as they are: late, out of order, broken, silent, looping. The node goes on and says what happened."""

from __future__ import annotations

import re
import threading
import time

import numpy as np
import pytest

pytest.importorskip("rclpy")

from ros_graph import HEIGHT, WIDTH, Scripted, connected, graph, image, labels, peer_of, two_objects

from amodal_ros.stream.intake import Intake

SECOND = 1_000_000_000
GREY = np.zeros((HEIGHT, WIDTH), np.uint8)


def short(message):
    """The message without its last bytes."""
    message.data = message.data[:-10]
    return message


def many_objects(count: int) -> np.ndarray:
    """Two pixels each, side by side: single ones are noise."""
    pixels = np.zeros((HEIGHT, WIDTH), np.uint16)
    pixels.reshape(-1)[: 2 * count] = np.arange(1, count + 1).repeat(2)
    return pixels


def negative() -> np.ndarray:
    pixels = two_objects().astype(np.int32)
    pixels[0, 0] = -3
    return pixels


BAD = {
    "another size": ("size_mismatch", image, lambda s: labels(s, two_objects()[:-2])),
    "unknown image encoding": ("bad_image", lambda s: image(s, GREY, "yuv999"), labels),
    "unknown mask encoding": ("bad_mask", image, lambda s: labels(s, GREY.astype(np.float32), "32FC1")),
    "short image": ("bad_image", lambda s: short(image(s)), labels),
    "short mask": ("bad_mask", image, lambda s: short(labels(s))),
    "step too small": ("bad_image", lambda s: image(s, GREY, "rgb8"), labels),
    "no pixels": ("bad_image", lambda s: image(s, np.zeros((0, 0, 3), np.uint8)), labels),
    "negative label": ("bad_labels", image, lambda s: labels(s, negative(), "32SC1")),
    "300 objects": ("too_many_objects", image, lambda s: labels(s, many_objects(300))),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_counted_logged_once_and_over_with_the_next_frame(case, capfd):
    reason, bad_image, bad_labels = BAD[case]
    with graph() as (node, peer):
        for k in (1, 2, 3):
            peer.send(k, bad_image(k), bad_labels(k))
            peer.wait(lambda k=k: node.intake.counts()["image"].dropped[reason] == k, f"{k} {reason}")
        peer.wait_status("answers", lambda s: s.get(f"dropped.{reason}") == "3" and s["level"] == b"\x01")
        assert len(peer.ask(SECOND).instances) == 2
    warnings = [line for line in capfd.readouterr().err.splitlines() if "WARN" in line]
    assert len(warnings) == 1, warnings


def test_zero_stamps(capfd):
    with graph() as (_, peer):
        peer.send(0)
        peer.wait_status("answers", lambda s: s.get("dropped.zero_stamp") == "1")
        assert peer.status("inputs")["instance_mask.dropped.zero_stamp"] == "1"
        peer.ask(SECOND)
    assert "image: expected a header.stamp" in capfd.readouterr().err


def test_an_answerer_that_raises_costs_one_frame(capfd):
    answerer = Scripted()

    def fail(frame, should_stop):
        if len(answerer.frames) == 1:
            raise RuntimeError("the model is on fire")

    answerer.script = fail
    with graph(answerer) as (_, peer):
        peer.send(SECOND)
        peer.wait_status("answers", lambda s: s.get("dropped.failed") == "1")
        peer.ask(2 * SECOND)
    assert "RuntimeError: the model is on fire" in capfd.readouterr().err


def test_stamps_that_never_match_are_reported_with_both(capfd):
    with graph(pair_buffer=0.3) as (_, peer):
        stop = threading.Event()

        def stream():
            k = 0
            while not stop.wait(0.05):
                k += 1
                peer.image.publish(image(k * SECOND // 10))
                peer.mask.publish(labels(k * SECOND // 10 + 1))

        thread = threading.Thread(target=stream)
        thread.start()
        try:
            status = peer.wait_status("inputs", lambda s: "never match" in s.get("message", ""))
        finally:
            stop.set()
            thread.join()
        assert status["level"] == b"\x01"
        assert re.search(r"image \d+\.\d{9}, instance_mask \d+\.\d{9}", status["message"])
        assert int(peer.status("answers")["dropped.unpaired"]) > 0
        peer.ask(100 * SECOND)
    assert "newest stamps: image" in capfd.readouterr().err


def test_masks_300_ms_late_are_paired():
    with graph() as (_, peer):
        timers = []
        for k in range(1, 11):
            stamp = k * SECOND // 10
            peer.image.publish(image(stamp))
            timers.append(threading.Timer(0.3, peer.mask.publish, [labels(stamp)]))
            timers[-1].start()
            time.sleep(0.1)  # the camera's pace
        peer.wait(lambda: len(peer.arrays) == 10, "all ten images are answered")
    stamps = [array.header.stamp.sec * 10 + array.header.stamp.nanosec // 100_000_000 for array in peer.arrays]
    assert stamps == list(range(1, 11))


def test_a_slop_pairs_what_is_close():
    with graph(pair_slop=0.02) as (_, peer):
        peer.send(SECOND, mask_message=labels(SECOND + 15_000_000))
        assert len(peer.answer_to(SECOND).instances) == 2


def test_a_pause_is_reported_and_over_when_messages_come_again():
    with graph() as (_, peer):
        peer.ask(SECOND)
        status = peer.wait_status("inputs", lambda s: s["level"] == b"\x01")
        assert "no image on /image" in status["message"] and "no instance_mask" in status["message"]
        peer.ask(2 * SECOND)
        peer.wait_status("inputs", lambda s: s["message"] == "receiving" or peer.send(time.time_ns()))


def test_a_restarted_publisher_is_heard():
    with graph() as (node, peer):
        peer.ask(SECOND)
        peer.destroy_publisher(peer.image)
        peer.destroy_publisher(peer.mask)
        peer.wait(lambda: not any(map(node.count_publishers, ("/image", "/instance_mask"))), "the first have gone")
        with peer_of(node) as again:
            connected(again)
            again.ask(2 * SECOND)


def test_a_bag_that_loops_starts_afresh():
    answerer = Scripted()
    with graph(answerer) as (_, peer):
        for _loop in range(2):
            for k in range(1, 6):
                peer.arrays.clear()
                peer.ask(k * SECOND)
        status = peer.wait_status("inputs", lambda s: s.get("time_jumps") == "1")
    assert answerer.calls.count("reset") == 1
    # The first frame after the jump, which may be one broken stamp, is answered by geometry.
    assert [frame.stamp // SECOND for frame in answerer.frames] == [1, 2, 3, 4, 5, 2, 3, 4, 5]
    assert status["image.received"] == "10"


def blocked_while_five_more_come(peer, node, answerer, first: int) -> None:
    """Frame `first` is being answered while the five after it become complete."""
    entered, release = threading.Event(), threading.Event()

    def slow(frame, should_stop):
        if frame.stamp == first * SECOND:
            entered.set()
            release.wait(20)

    answerer.script = slow
    peer.send(first * SECOND)
    assert entered.wait(10)
    for k in range(first + 1, first + 6):
        peer.send(k * SECOND)
        peer.wait(lambda k=k: node.intake.counts()["instance_mask"].used == k, "the pair is complete")
    release.set()
    peer.answer_to((first + 5) * SECOND)


def test_without_catching_up_only_the_newest_pair_waits():
    answerer = Scripted()
    with graph(answerer, catch_up=0.0) as (node, peer):
        blocked_while_five_more_come(peer, node, answerer, first=1)
        status = peer.wait_status("answers", lambda s: s.get("answered") == "2")
    assert status["dropped.superseded"] == "4" and status["waiting"] == "0"
    assert [frame.stamp // SECOND for frame in answerer.frames] == [1, 6]


def test_after_a_hiccup_every_frame_is_answered_in_order():
    answerer = Scripted()
    with graph(answerer, catch_up=1.0) as (node, peer):
        for k in range(1, 6):
            peer.ask(k * SECOND)  # the pace of the latest answers
        blocked_while_five_more_come(peer, node, answerer, first=6)
        status = peer.wait_status("answers", lambda s: s.get("answered") == "11")
    assert status["dropped"] == "0" and status["waiting"] == "0"
    assert [frame.stamp // SECOND for frame in answerer.frames] == list(range(1, 12))


@pytest.mark.parametrize(
    ("seconds", "catch_up", "kept"),
    [(0.01, 0.1, 10), (0.04, 0.1, 3), (0.06, 0.1, 2), (0.01, 0.0, 1), (0.0, 0.1, 10), (0.2, 1.0, 1)],
)
def test_waiting_pairs_delay_the_newest_no_more_than_allowed(seconds, catch_up, kept):
    told = []
    intake = Intake(("image", "mask"), lambda topic, reason, text: told.append(reason))
    intake.open(("image", "mask"), slop=0, seconds=60.0, size=10**6)
    intake.offer("image", 1, "image 0", 1)
    intake.offer("mask", 1, "mask 0", 1)
    assert intake.take(seconds, catch_up).stamp == 1
    intake.answered()
    for k in range(1, 13):
        intake.offer("image", k * SECOND // 10, f"image {k}", 1)
        intake.offer("mask", k * SECOND // 10, f"mask {k}", 1)
    assert intake.counts()["image"].waiting <= 10, "bounded"
    assert intake.take(seconds, catch_up).stamp == (13 - kept) * SECOND // 10, "0.2 s are slower than the camera"
    assert told == ["superseded"] * (12 - kept) and intake.counts()["image"].waiting == kept


def test_a_dropped_pair_hands_its_jump_on():
    intake = Intake(("image",), lambda *_: None)
    intake.open(("image",), slop=0, seconds=60.0, size=10**6)
    for stamp in (9 * SECOND, SECOND, 2 * SECOND):
        intake.offer("image", stamp, "", 1)
    pair = intake.take()
    assert pair.stamp == 2 * SECOND and pair.jumped
