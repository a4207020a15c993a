"""Scores of recorded answers on cases whose figures are known by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from bag_frames import BOARD, HEIGHT, POST, WIDTH, scene

from amodal_ros import cli
from amodal_ros.lab.bags import typed
from amodal_ros.lab.bags.files import BagError, BagReader, BagWriter
from amodal_ros.lab.bags.make import START, TRUTH_TOPIC, write_frames
from amodal_ros.lab.bags.score import score
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Source

SHAPE = (HEIGHT, WIDTH)
ANSWERS = "/amodal_node/instances"
STEP = 100_000_000  # ns between frames at 10 Hz


def truth_bag(folder: Path, count: int = 3) -> Path:
    write_frames(scene(count), folder / "truth", rate=10)
    return folder / "truth"


def answer(instance: Instance, amodal: MaskRegion, source: Source, stamp: int) -> Answer:
    return Answer(instance, Completion(instance.visible, amodal, SHAPE, source), stamp)


def answer_bag(folder: Path, count: int = 3, name: str = "answers", first: int = START, topic: str = ANSWERS) -> Path:
    """The board is completed exactly (INFERRED), the post's answer is its upper half (VISIBLE_ONLY)."""
    with BagWriter(folder / name) as bag:
        for t, frame in enumerate(scene(count)):
            stamp = first + t * STEP
            board, post = (Instance(truth.id, MaskRegion.from_full(frame.labels == truth.id)) for truth in frame.truth)
            half = MaskRegion(post.visible.x, post.visible.y, post.visible.bits[:8])
            answers = [
                answer(board, frame.truth[0].amodal, Source.INFERRED, stamp),
                answer(post, half, Source.VISIBLE_ONLY, stamp),
            ]
            bag.write(topic, typed.instances(answers, SHAPE, stamp, "test"), stamp + 20_000_000)
    return folder / name


def test_known_case(tmp_path):
    result = score(answer_bag(tmp_path), truth_bag(tmp_path))
    assert (result["topic"], result["model"], result["beyond_frame"]) == (ANSWERS, "test", False)
    assert result["frames"] == {"truth": 3, "answered": 3}
    assert result["objects"] == {"truth": 6, "in_answered_frames": 6, "matched": 6}
    board = result["bins"]["(0.1, 0.3]"]  # 4 of its 20 columns are hidden
    assert board["n"] == 3
    means = {method: row["mean"] for method, row in board["methods"].items()}
    assert means == pytest.approx({"answer": 1.0, "modal": 0.8, "hull": 1.0, "bounded_hull": 1.0})
    post = result["bins"]["unoccluded"]["methods"]
    assert (post["answer"]["mean"], post["modal"]["mean"]) == pytest.approx((0.5, 1.0))
    assert {name: (row["n"], row["methods"]["answer"]["mean"]) for name, row in result["sources"].items()} == {
        "INFERRED": (3, 1.0),
        "VISIBLE_ONLY": (3, 0.5),
    }


def test_truth_in_the_same_bag(tmp_path):
    truth, answers = truth_bag(tmp_path), answer_bag(tmp_path)
    with BagWriter(tmp_path / "both") as both:
        for source in (truth, answers):
            with BagReader(source) as bag:
                for record in bag.records([TRUTH_TOPIC, ANSWERS]):
                    both.write_raw(record.topic, record.msgtype, record.raw, record.time)
    assert score(tmp_path / "both") == score(answers, truth)


def test_frames_without_answer_are_counted_not_scored(tmp_path):
    result = score(answer_bag(tmp_path, count=2), truth_bag(tmp_path, count=3))
    assert result["frames"] == {"truth": 3, "answered": 2}
    assert result["objects"] == {"truth": 6, "in_answered_frames": 4, "matched": 4}


def test_truth_that_leaves_the_frame_is_compared_there(tmp_path):
    inside = MaskRegion(0, 4, np.ones((6, 5), bool))
    whole = MaskRegion(-5, 4, np.ones((6, 10), bool))
    for name, topic, amodal in (("truth", TRUTH_TOPIC, whole), ("answers", ANSWERS, inside)):
        with BagWriter(tmp_path / name) as bag:
            entry = answer(Instance(POST, inside), amodal, Source.GEOMETRIC, 5)
            bag.write(topic, typed.instances([entry], SHAPE, 5, name), 5)
    result = score(tmp_path / "answers", tmp_path / "truth")
    assert result["beyond_frame"]
    assert result["bins"]["all"]["methods"]["answer"]["mean"] == pytest.approx(0.5)


def test_command_line(tmp_path, capsys):
    args = ["bag", "score", str(answer_bag(tmp_path)), str(truth_bag(tmp_path))]
    assert cli.main([*args, "--json", str(tmp_path / "score.json")]) == 0
    table = capsys.readouterr().out
    assert "3 of 3 frames answered" in table
    assert "INFERRED" in table
    assert cli.main([*args, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "score.json").read_text())


# --- bad input ----------------------------------------------------------------------------------------------------


def test_stamps_that_never_match_are_shown(tmp_path):
    with pytest.raises(BagError, match=f"no answer has the stamp of a truth: .*from {START + 1} to"):
        score(answer_bag(tmp_path, first=START + 1), truth_bag(tmp_path))


def test_a_bag_without_answers_or_without_truth(tmp_path):
    truth, answers = truth_bag(tmp_path), answer_bag(tmp_path)
    with pytest.raises(BagError, match="found none"):
        score(truth)
    with pytest.raises(BagError, match=f"no truth; expected messages on {TRUTH_TOPIC}"):
        score(answers)
    with pytest.raises(BagError, match=f"no amodal_ros/msg/AmodalInstanceArray on /elsewhere; found {ANSWERS}"):
        score(answers, truth, "/elsewhere")


def test_several_answer_topics_need_a_choice(tmp_path):
    truth, first = truth_bag(tmp_path), answer_bag(tmp_path)
    other = answer_bag(tmp_path, name="other", topic="/other/instances")
    with BagWriter(tmp_path / "both") as both:
        for source in (first, other):
            with BagReader(source) as bag:
                for record in bag.records():
                    both.write_raw(record.topic, record.msgtype, record.raw, record.time)
    with pytest.raises(BagError, match=r"expected one topic .* found /amodal_node/instances, /other/instances"):
        score(tmp_path / "both", truth)
    assert score(tmp_path / "both", truth, "/other/instances")["objects"]["matched"] == 6


def test_no_common_id(tmp_path):
    stranger = Instance(BOARD + 1, MaskRegion(1, 1, np.ones((3, 3), bool)))
    with BagWriter(tmp_path / "answers") as bag:
        entry = answer(stranger, stranger.visible, Source.INFERRED, START)
        bag.write(ANSWERS, typed.instances([entry], SHAPE, START, "test"), START)
    with pytest.raises(BagError, match="no object to compare"):
        score(tmp_path / "answers", truth_bag(tmp_path))
