"""`amodal view`: recordings that Rerun's own SDK opens again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bag_frames import BOARD, POST, save_folder, scene
from PIL import Image

from amodal_ros import cli
from amodal_ros.lab.bags import typed
from amodal_ros.lab.bags.files import BagWriter
from amodal_ros.lab.bags.make import START, write_frames
from amodal_ros.scene import Answer, Scene
from amodal_ros.stream.frames import cut_instances

pytest.importorskip("rerun")

COUNT = 6
STEP = 100_000_000


@pytest.fixture(scope="module")
def drive(tmp_path_factory) -> Path:
    """A folder as the demo leaves it: frames, and the answers to all but one of them."""
    folder = tmp_path_factory.mktemp("demo")
    frames = scene(COUNT)
    write_frames(frames, folder / "drive", 10.0)
    with BagWriter(folder / "answers") as bag:
        for k, frame in enumerate(frames):
            if k == 2:
                continue
            stamp = START + k * STEP
            shown = Scene(frame.image, cut_instances(frame.labels, max_objects=9))
            answers = [Answer(thing, shown.geometric(i), stamp) for i, thing in enumerate(shown.things)]
            message = typed.instances(answers, shown.shape, stamp, "geometric")
            bag.write("/amodal_node/instances", message, stamp + 50_000_000)
    return folder


def read(file: Path) -> dict[str, list]:
    """Entity -> its chunks, as the SDK reads them."""
    from rerun.chunk import RrdReader

    reader = RrdReader(file)
    assert reader.blueprints(), "it opens well arranged"
    entities: dict[str, list] = {}
    for chunk in reader.stream().to_chunks():
        entities.setdefault(str(chunk.entity_path).lstrip("/"), []).append(chunk)
    return entities


def rows(chunks: list) -> int:
    return sum(chunk.num_rows for chunk in chunks)


def test_a_drive_becomes_a_recording(drive, tmp_path, capsys):
    file = tmp_path / "demo.rrd"
    assert cli.main(["view", str(drive), "--save", str(file)]) == 0
    assert f"{COUNT} images" in capsys.readouterr().out
    entities = read(file)
    for layer in ("image", "visible", "amodal", "possible", "truth", "shapes"):
        assert rows(entities[f"camera/{layer}"]) == COUNT, layer
    for plot in ("occlusion", "expected_iou", "age"):
        for number in (BOARD, POST):
            assert rows(entities[f"plots/{plot}/{number}"]) >= COUNT - 1
    assert rows(entities["events"]) == 1, "the image that nobody answered"


def test_an_image_becomes_a_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = scene(1)[0]
    Image.fromarray(frame.image).save("image.png")
    Image.fromarray(frame.labels).save("labels.png")
    assert cli.main(["complete", "image.png", "--labels", "labels.png", "--model", "geometric", "--out", "out"]) == 0
    assert cli.main(["view", "out", "--save", "out.rrd"]) == 0
    entities = read(tmp_path / "out.rrd")
    assert {"camera/image", "camera/visible", "camera/amodal"} <= entities.keys()


def test_a_run_shows_its_worst_first(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for k, frame in enumerate(scene(2)):
        folder = tmp_path / "set" / f"{k}"
        folder.mkdir(parents=True)
        Image.fromarray(frame.image).save(folder / "image.png")
        for i, truth in enumerate(frame.truth):
            for kind, mask in (("modal", frame.labels == truth.id), ("amodal", truth.amodal.full(*frame.labels.shape))):
                Image.fromarray(np.uint8(255) * mask).save(folder / f"inst_{i:02}_{kind}.png")
    assert cli.main(["evaluate", "folder", "set", "--model", "geometric", "--out", "run", "--save-masks"]) == 0
    assert cli.main(["view", "run", "--save", "run.rrd", "--limit", "3"]) == 0
    assert "3 objects, worst first" in capsys.readouterr().out
    entities = read(tmp_path / "run.rrd")
    assert rows(entities["case"]) == 3 == rows(entities["iou/answer"])
    values = [v for chunk in entities["iou/answer"] for v in scalars(chunk)]
    assert values == sorted(values)


def scalars(chunk) -> list[float]:
    batch = chunk.to_record_batch()
    (column,) = (batch.column(k) for k, name in enumerate(batch.schema.names) if "scalars" in name.lower())
    return [value[0] for value in column.to_pylist()]


def test_what_cannot_be_shown_says_why(tmp_path, capsys):
    folder = save_folder(tmp_path / "folder", scene(1))
    assert cli.main(["bag", "make", str(folder), str(tmp_path / "bag")]) == 0
    assert cli.main(["view", str(tmp_path / "bag"), "--save", str(tmp_path / "x.rrd")]) == 1
    assert "--answers: expected a topic with answers" in capsys.readouterr().err
