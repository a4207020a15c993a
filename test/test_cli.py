"""What a person types and reads: the commands, their help, and README's own words."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import amodal_ros
from amodal_ros import cli
from amodal_ros.scene import Source

ROOT = Path(__file__).resolve().parents[1]
FRAME = (40, 60)


@pytest.fixture
def street(tmp_path, monkeypatch) -> Path:
    """A folder with an image, a car, a pole before it, a van at the frame's edge and a lamp by itself."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (*FRAME, 3), np.uint8)).save("street.png")
    boxes = {"car": (10, 10, 20, 10), "pole": (18, 4, 4, 24), "van": (50, 20, 10, 10), "lamp": (2, 2, 3, 3)}
    for name, (x, y, width, height) in boxes.items():
        mask = np.zeros(FRAME, np.uint8)
        mask[y : y + height, x : x + width] = 255
        if name == "car":
            mask[:, 18:22] = 0
        Image.fromarray(mask).save(f"{name}.png")
    return tmp_path


def complete(*words: str) -> dict[str, dict]:
    assert cli.main(["complete", *words, "--out", "out"]) == 0
    return {row["id"]: row for row in json.loads(Path("out/completions.json").read_text())["objects"]}


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """A command's parser, and those of its verbs, and of theirs."""
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from parsers(verb)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_help_ends_with_examples_that_can_be_typed(command):
    choices = next(a.choices for a in cli.parser_for([command])._actions if isinstance(a, argparse._SubParsersAction))
    for parser in parsers(choices[command]):
        examples = re.findall(r"^  (amodal .*)$", parser.format_help().partition("examples:")[2], re.MULTILINE)
        assert len(examples) >= 2, parser.prog
        for line in examples:
            assert line.startswith(re.sub(r" [A-Z]+$", "", parser.prog)), f"{parser.prog}: {line}"
            words = shlex.split(line.partition(" | ")[0])[1:]
            assert words[-1] == "--help" or cli.parser_for(words).parse_args(words).command == words[0]


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"amodal_ros {amodal_ros.__version__}\n"


def test_sources_are_words():
    assert f"{Source.INFERRED}" == str(Source.INFERRED) == "INFERRED" and int(Source.INFERRED) == 1


def test_masks_are_called_by_their_files(street, capsys):
    """Whatever their order, and wherever the options stand."""
    rows = complete("street.png", "--model", "geometric", "van.png", "lamp.png", "car.png", "--context", "pole.png")
    assert [*rows] == ["van", "lamp", "car"]
    assert rows["car"]["occluders"] == ["pole"] and rows["car"]["mask"] == "amodal_car.png"
    assert rows["lamp"]["source"] == "UNOCCLUDED" and rows["lamp"]["why"] == "nothing labelled in front"
    assert "the frame's edge" in rows["van"]["why"]
    told = capsys.readouterr().out
    assert re.search(r"^ +car  GEOMETRIC .* pole$", told, re.MULTILINE) and "3 objects" in told


def test_two_files_of_one_name_stay_apart(street):
    (street / "b").mkdir()
    Path("lamp.png").rename("b/car.png")
    assert [*complete("street.png", "car.png", "b/car.png", "--model", "geometric")] == ["car", "b/car"]
    assert {"amodal_car.png", "amodal_b_car.png"} <= {path.name for path in Path("out").iterdir()}


def test_an_order_that_the_masks_do_not_tell_is_said(street, capsys):
    for name, columns in (("left", slice(10, 20)), ("right", slice(20, 30))):
        mask = np.zeros(FRAME, np.uint8)
        mask[10:20, columns] = 255
        Image.fromarray(mask).save(f"{name}.png")
    rows = complete("street.png", "left.png", "right.png", "--model", "geometric")
    assert rows["left"]["undecided"] == ["right"] and rows["right"]["undecided"] == ["left"]
    assert "right (or behind it)" in capsys.readouterr().out
    metres = np.full(FRAME, 9.0, np.float32)
    metres[:, 20:] = 4.0
    np.save("depth.npy", metres)
    rows = complete("street.png", "left.png", "right.png", "--model", "geometric", "--depth", "depth.npy")
    assert rows["left"]["occluders"] == ["right"] and rows["right"]["occluders"] == [] == rows["left"]["undecided"]


def test_depth_is_not_taken_for_granted(street, capsys):
    assert cli.main(["complete", "street.png", "car.png", "--model", "geometric", "--occluders", "depth"]) == 1
    assert "--depth" in capsys.readouterr().err


def test_a_rerun_leaves_nothing_stale_and_nothing_of_others_is_lost(street):
    complete("street.png", "car.png", "lamp.png", "--model", "geometric")
    Path("out/amodal_mine.png").write_bytes(b"mine")
    complete("street.png", "lamp.png", "--model", "geometric")
    kept = {path.name for path in Path("out").iterdir()}
    assert kept == {"amodal_lamp.png", "visible_lamp.png", "amodal_mine.png", "overlay.png", "completions.json"}


def test_what_lies_outside_the_frame_is_kept(street):
    row = complete("street.png", "van.png")["van"]
    if row["amodal_box"][0] + row["amodal_box"][2] <= FRAME[1]:
        pytest.skip("the shipped model lets this van end at the edge")
    whole = np.asarray(Image.open(Path("out") / row["whole_mask"])) > 0
    assert [*row["whole_offset"], *whole.shape[::-1]] == row["amodal_box"]
    inside = np.asarray(Image.open(Path("out") / row["mask"])) > 0
    assert inside.shape == FRAME and inside.sum() < whole.sum()


def test_the_hint_says_what_any_costs(street, capsys):
    complete("street.png", "lamp.png", "--model", "geometric")
    output = capsys.readouterr()
    assert "1 object in" in output.out and "92 -> 85" in output.err


def test_the_readme_runs_as_printed(street):
    text = (ROOT / "README.md").read_text()
    (snippet,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    done = subprocess.run([sys.executable, "-c", snippet], capture_output=True, text=True, cwd=street)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("INFERRED")


def test_a_path_that_cannot_be_written_is_told_in_words(street, capsys):
    words = ["complete", "street.png", "car.png", "--model", "geometric", "--out"]
    assert cli.main([*words, "lamp.png"]) == 1
    assert capsys.readouterr().err == "amodal complete: lamp.png: expected a folder, it is a file\n"
    assert cli.main([*words, "lamp.png/out"]) == 1
    assert "amodal complete: lamp.png/out: expected a folder" in capsys.readouterr().err


def test_code_that_was_pulled_and_not_built_says_so(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "amodal_ros.lab.view.report", None)
    assert cli.main(["report", "run"]) == 1
    assert "the code has changed since it was installed; make build" in capsys.readouterr().err


def test_a_reader_that_has_seen_enough_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m amodal_ros.cli models list | true", shell=True, capture_output=True, text=True
    )
    assert done.stderr == ""


#: Only what requirements/runtime.txt brings, with what that brings in turn; and no ROS.
LIGHT = """
import re, sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires

def named(line):
    return re.match(r"[\\w.-]+", line)[0].lower().replace("_", "-")

def brought(names, found):
    for name in names - found:
        found.add(name)
        try:
            brought({named(r) for r in requires(name) or () if "extra ==" not in r}, found)
        except PackageNotFoundError:
            pass
    return found

with open(sys.argv.pop(1)) as file:
    light = brought({named(line) for line in file if line[0] not in "#\\n"}, set())
for module, owners in packages_distributions().items():
    if module != "amodal_ros" and not light & {owner.lower().replace("_", "-") for owner in owners}:
        sys.modules[module] = None
from amodal_ros.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("complete street.png car.png --context pole.png --model geometric", 0, "1 object"),
        ("complete street.png car.png --context pole.png", 1, "needs torch: pip install 'amodal_ros[models]'"),
        ("models list", 0, "embedded"),
        ("models check sdxl", 1, "needs huggingface_hub: pip install 'amodal_ros[models]'"),
        ("complete street.png car.png", 1, "--model geometric does without"),
        ("complete street.png car.png --model geometrik", 1, "expected one of embedded, flux, geometric"),
        ("evaluate streets --model geometrik", 1, "expected one of embedded, flux, geometric"),
        ("complete street.png car.png --context pole.png --model geometric --trace", 0, "--trace: nothing to draw"),
        ("demo", 1, "needs ROS 2 and the built package"),
        ("bag play drive", 1, "needs ROS 2 and the built package"),
        ("bag record new", 1, "needs ROS 2 and the built package"),
        ("lifecycle", 1, "needs ROS 2 and the built package"),
        ("bag make streets drive --seconds 0.1 --size 124 38 --objects 3", 0, "1 frames"),
        ("evaluate streets --model geometric --limit 1", 0, "geometric"),
        ("view out", 1, "needs rerun: pip install 'amodal_ros[view]'"),
    ],
)
def test_a_light_installation_does_what_needs_no_model(street, line, code, said):
    command = [sys.executable, "-c", LIGHT, str(ROOT / "requirements" / "runtime.txt"), *line.split()]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code and said in done.stdout + done.stderr, done.stderr


def test_without_ros_the_node_says_what_it_needs_and_helps_all_the_same(tmp_path):
    hide = """
import sys
for name in ("rclpy", "ament_index_python", "sensor_msgs", "builtin_interfaces"):
    sys.modules[name] = None
from amodal_ros.node.main import main
sys.exit(main())
"""
    for words, code, said in ((["--help"], 0, "label_divisor:=0"), ([], 1, "needs ROS 2 and the built package")):
        done = subprocess.run([sys.executable, "-c", hide, *words], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == code and said in done.stdout + done.stderr
