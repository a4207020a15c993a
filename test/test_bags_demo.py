"""The demo as a user runs it: processes, a real node, two bags and what is made of them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_frames import HEIGHT, WIDTH, scene
from dataset_fixtures import kins

pytest.importorskip("rclpy")

from amodal_ros import cli
from amodal_ros.lab.bags import typed
from amodal_ros.lab.bags.files import BagReader, BagWriter
from amodal_ros.lab.bags.make import IMAGE_TOPIC, LABELS_TOPIC, write_frames
from amodal_ros.lab.bags.score import score
from amodal_ros.lab.bags.summary import Run, summarise, table
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Source

KEYS = {
    **dict.fromkeys(("machine", "model", "input", "frames", "objects", "occlusion", "stages_ms"), dict),
    **dict.fromkeys(("replay", "age_ms", "completions", "latency_ms", "accuracy"), (dict, type(None))),
    "format": int,
    "problems": list,
}


def demo(*options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "amodal_ros.cli", "demo", "--model", "geometric", *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240)


def test_a_bag_through_the_node(tmp_path):
    write_frames(scene(12), tmp_path / "bag", rate=10)
    out = tmp_path / "demo"
    done = demo("--bag", tmp_path / "bag", "--out", out)
    assert done.returncode == 0, done.stderr
    summary = json.loads((out / "summary.json").read_text())
    assert {key: isinstance(value, KEYS[key]) for key, value in summary.items()} == dict.fromkeys(KEYS, True)
    frames = summary["frames"]
    assert frames["played"] == frames["received"] == 12
    assert frames["answered"] == frames["recorded"] == 12 - sum(frames["dropped"].values())
    assert summary["objects"]["answered"] == 2 * frames["answered"]
    assert summary["objects"]["sources"] == {"GEOMETRIC": frames["answered"], "UNOCCLUDED": frames["answered"]}
    assert summary["latency_ms"]["n"] == frames["answered"] and summary["completions"] is None
    assert {"wait", "decode", "answer", "publish", "latency"} <= summary["stages_ms"].keys()
    assert summary["accuracy"]["bins"]["all"]["methods"]["answer"]["mean"] > 0.99  # a board and a post are convex
    assert summary["problems"] == []
    for text in ("received", "dropped", "p50", "bounded hull", "GEOMETRIC"):
        assert text in done.stdout
    assert cv2.imread(str(out / "overlay_1.png")).shape == (HEIGHT, WIDTH, 3)
    video = cv2.VideoCapture(str(out / "video.mp4"))
    assert int(video.get(cv2.CAP_PROP_FRAME_COUNT)) == 12
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert json.loads(json.dumps(score(out / "answers", tmp_path / "bag"))) == summary["accuracy"]


def test_kins_through_the_node_to_a_score(tmp_path):
    root, bag, out = kins(tmp_path / "kins"), tmp_path / "bag", tmp_path / "demo"
    (out / "answers").mkdir(parents=True)  # an earlier run's
    (out / "overlay_9.png").touch()
    (out / "notes.txt").touch()  # somebody's
    assert cli.main(["bag", "make", "kins", str(root), str(bag)]) == 0
    metadata = bag / "metadata.yaml"  # of a best-effort camera, as most drivers are
    metadata.write_text(metadata.read_text().replace("reliability: 1", "reliability: 2"))
    done = demo("--bag", bag, "--out", out)
    assert done.returncode == 0, done.stderr
    assert (out / "notes.txt").exists()
    assert not (out / "overlay_9.png").exists()
    with BagReader(bag) as reader:
        assert reader.qos(IMAGE_TOPIC).reliability.name == "BEST_EFFORT"
    assert json.loads((out / "summary.json").read_text())["latency_ms"]["n"] > 0  # the camera info is heard too
    result = score(out / "answers", bag)
    assert result["objects"]["matched"] == 2
    assert result["bins"]["all"]["methods"]["answer"]["mean"] > 0.6


def test_a_node_that_cannot_start_ends_the_demo(tmp_path):
    write_frames(scene(2), tmp_path / "bag", rate=10)
    done = demo("--bag", tmp_path / "bag", "--out", tmp_path / "demo", "--param", "max_objects:=-5")
    assert done.returncode == 1
    assert "max_objects" in done.stderr
    assert "Traceback" not in done.stderr


def test_what_live_spent_is_told(tmp_path):
    for module in ("torch", "diffusers", "transformers"):
        pytest.importorskip(module)
    write_frames(scene(40), tmp_path / "bag", rate=10)
    done = demo("--bag", tmp_path / "bag", "--out", tmp_path / "demo", "--model", "embedded")
    assert done.returncode == 0, done.stderr
    completions = json.loads((tmp_path / "demo" / "summary.json").read_text())["completions"]
    assert completions["n"] > 0 and completions["failed"] == 0
    assert completions["per_second"] > 0 and 0 < completions["budget_used"] <= 1
    assert re.search(r"completions +\d+, \d+\.\d+ per second, \d+% of the time used", done.stdout)


def test_why_no_answer_came_is_told(tmp_path):
    """Label maps under stamps of their own: the node says so in its log, and the demo to whoever typed it."""
    (frame,) = scene(1)
    with BagWriter(tmp_path / "bag") as bag:
        for stamp in range(10**9, 5 * 10**9, 10**9 // 5):
            bag.write(IMAGE_TOPIC, typed.image(frame.image, stamp), stamp)
            bag.write(LABELS_TOPIC, typed.image(frame.labels, stamp + 3_000_000), stamp)
    done = demo("--bag", tmp_path / "bag", "--out", tmp_path / "demo")
    assert done.returncode == 1 and "NOT SANE: no answer came" in done.stderr
    assert re.search(r"the node said: stamps never match .* Masks must carry their image's stamp", done.stderr)


def test_a_bag_without_label_maps(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.write(IMAGE_TOPIC, typed.image(scene(1)[0].image, 5), 5)
    done = demo("--bag", tmp_path / "bag", "--out", tmp_path / "demo")
    assert done.returncode == 1
    assert f"no messages on {LABELS_TOPIC}; say --image and --instance-mask, it holds {IMAGE_TOPIC}" in done.stderr


# --- what is not sane ---------------------------------------------------------------------------------------------


def run_of(folder: Path, amodal_of, visible_of=lambda visible: visible, model: str = "test") -> Run:
    """A recorded run whose answers are made from the visible masks."""
    write_frames(scene(3), folder / "played", rate=10)
    with BagReader(folder / "played") as bag, BagWriter(folder / "recorded") as out:
        for record, frame in zip(bag.records([LABELS_TOPIC]), scene(3), strict=True):
            answers = []
            for truth in frame.truth:
                visible = visible_of(MaskRegion.from_full(frame.labels == truth.id))
                completion = Completion(visible, amodal_of(visible), (HEIGHT, WIDTH), Source.INFERRED)
                answers.append(Answer(Instance(truth.id, visible), completion, record.time))
            array = typed.instances(answers, (HEIGHT, WIDTH), record.time, model)
            out.write("/amodal_node/instances", array, record.time + 1_000_000)
    topics = {"answers": "/amodal_node/instances", "diagnostics": "/diagnostics"}
    return Run(folder / "played", folder / "recorded", IMAGE_TOPIC, LABELS_TOPIC, None, **topics)


def test_counts_that_do_not_add_up_are_a_problem(tmp_path):
    summary = summarise(run_of(tmp_path, lambda visible: visible))  # no diagnostics: 0 answered, 3 recorded
    assert summary["problems"] == ["0 images were answered, but 3 answers arrived"]
    assert summary["latency_ms"] is None
    assert "unknown" in table(summary)  # stages and model


def test_answers_that_contradict_the_label_map_are_a_problem(tmp_path):
    problems = summarise(run_of(tmp_path, lambda v: v, visible_of=lambda v: v.shift(1, 0)))["problems"]
    assert any("its visible mask is not the label map's" in problem for problem in problems)


def test_amodal_masks_that_lack_visible_pixels_are_a_problem(tmp_path):
    problems = summarise(run_of(tmp_path, lambda v: MaskRegion(v.x, v.y, v.bits[:2])))["problems"]
    assert any("lacks visible pixels" in problem for problem in problems)


def test_answers_far_from_the_truth_are_a_problem(tmp_path):
    everything = MaskRegion(0, 0, np.ones((HEIGHT, WIDTH), bool))
    problems = summarise(run_of(tmp_path, lambda v: everything))["problems"]
    assert any("mean IoU with the truth is" in problem for problem in problems)
