"""`amodal view` and `amodal report`: recordings that Rerun's own SDK opens again, pages that stand alone."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
import subprocess
import threading
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from bag_frames import BOARD, POST, save_folder, scene
from PIL import Image

from amodal_ros import cli
from amodal_ros.lab.bags import typed
from amodal_ros.lab.bags.files import BagReader, BagWriter
from amodal_ros.lab.bags.make import START, write_frames
from amodal_ros.scene import Answer, Scene
from amodal_ros.stream.frames import cut_instances

rerun = pytest.mark.skipif(importlib.util.find_spec("rerun") is None, reason="needs the extra view")

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
            bag.write("/amodal_obstacles/obstacles", cloud(stamp), stamp + 60_000_000)
    return folder


def cloud(stamp: int):
    """Two points as `amodal_obstacles` publishes them: one seen, one hidden."""
    kinds = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("hidden", "<f4"), ("id", "<u4"), ("source", "u1")]
    rows = np.array([(1, 2, 10, 0, BOARD, 1), (1, 2, 11, 1, BOARD, 1)], np.dtype(kinds))
    types = typed.typestore().types
    numbers = {"<f4": 7, "<u4": 6, "u1": 2}
    fields = [
        types["sensor_msgs/msg/PointField"](name, rows.dtype.fields[name][1], numbers[kind], 1) for name, kind in kinds
    ]
    data = np.frombuffer(rows.tobytes(), np.uint8)
    header = typed.image(np.zeros((1, 1), np.uint8), stamp).header
    return types["sensor_msgs/msg/PointCloud2"](header, 1, 2, fields, False, 21, 42, data, True)


def read(file: Path) -> dict[str, list]:
    """Entity -> its chunks, as the SDK reads them."""
    reader = pytest.importorskip("rerun.chunk").RrdReader(file)
    assert reader.blueprints(), "it opens well arranged"
    entities: dict[str, list] = {}
    for chunk in reader.stream().to_chunks():
        entities.setdefault(str(chunk.entity_path).lstrip("/"), []).append(chunk)
    return entities


def rows(chunks: list) -> int:
    return sum(chunk.num_rows for chunk in chunks)


@rerun
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
    assert rows(entities["obstacles"]) == COUNT - 1
    assert rows(entities["events"]) == 1, "the image that nobody answered"


@rerun
def test_a_demo_of_another_bag_knows_where_it_lies(drive, tmp_path, capsys):
    """And what its images are called; when the bag is gone, what to say instead."""
    look, bag = tmp_path / "look", tmp_path / "mine"
    shutil.copytree(drive / "answers", look / "answers")
    with BagReader(drive / "drive") as reader, BagWriter(bag) as writer:
        for record in reader.records(["/camera/image_raw"]):
            for topic in ("/left", "/right"):
                writer.write(topic, record.message(), record.time)
    (look / "summary.json").write_text(json.dumps({"input": {"bag": str(bag), "image": "/right"}}))
    assert cli.main(["view", str(look), "--save", str(tmp_path / "look.rrd")]) == 0
    assert rows(read(tmp_path / "look.rrd")["camera/image"]) == COUNT
    shutil.rmtree(bag)
    assert cli.main(["view", str(look), "--save", str(tmp_path / "look.rrd")]) == 1
    assert f"is not there; name both: amodal view BAG {look / 'answers'}" in capsys.readouterr().err


@rerun
def test_an_image_becomes_a_recording(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = scene(1)[0]
    Image.fromarray(frame.image).save("image.png")
    Image.fromarray(frame.labels).save("labels.png")
    assert cli.main(["complete", "image.png", "--labels", "labels.png", "--model", "geometric", "--out", "out"]) == 0
    assert cli.main(["view", "out", "--save", "out.rrd"]) == 0
    entities = read(tmp_path / "out.rrd")
    assert {"camera/image", "camera/visible", "camera/amodal"} <= entities.keys()


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Path:
    """A finished run that kept its masks."""
    folder = tmp_path_factory.mktemp("evaluation")
    for k, frame in enumerate(scene(6)):
        case = folder / "set" / f"{k}"
        case.mkdir(parents=True)
        Image.fromarray(frame.image).save(case / "image.png")
        for i, truth in enumerate(frame.truth):
            for kind, mask in (("modal", frame.labels == truth.id), ("amodal", truth.amodal.full(*frame.labels.shape))):
                Image.fromarray(np.uint8(255) * mask).save(case / f"inst_{i:02}_{kind}.png")
    run = folder / "run"
    words = ["folder", str(folder / "set"), "--model", "geometric", "--out", str(run), "--save-masks"]
    assert cli.main(["evaluate", *words]) == 0
    return run


@rerun
def test_a_run_shows_its_worst_first(evaluated, tmp_path, capsys):
    file = tmp_path / "run.rrd"
    assert cli.main(["view", str(evaluated), "--save", str(file), "--limit", "3"]) == 0
    assert "3 objects, worst first" in capsys.readouterr().out
    entities = read(file)
    values = [v for chunk in entities["iou/answer"] for v in scalars(chunk)]
    assert rows(entities["case"]) == 3 == len(values) and values == sorted(values)


class Page(HTMLParser):
    """What a page holds: its elements, and whatever it would fetch from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.fetched: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.fetched += [v for k, v in attributes if k in ("src", "href") and v and not v.startswith("data:")]


def test_a_report_stands_alone(evaluated):
    assert cli.main(["report", str(evaluated)]) == 0
    html = (evaluated / "report.html").read_text()
    page = Page(html)
    assert page.fetched == [] and "@import" not in html and "url(" not in html
    assert page.tags["figure"] == 16 == page.tags["input"], "eight best and eight worst"
    assert page.tags["img"] == 3 * 16 and page.tags["svg"] == 1 and page.tags["table"] >= 2
    assert "prefers-color-scheme: dark" in html and len(html) < 5e6


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.mark.skipif(BROWSER is None, reason="no browser")
def test_a_report_works_in_a_browser(evaluated, tmp_path):
    """Its sliders begin at the answer: the picture of it lies over what is visible, the truth does not yet."""
    assert cli.main(["report", str(evaluated), "--out", str(tmp_path / "page.html")]) == 0
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [BROWSER, *options, "--dump-dom", (tmp_path / "page.html").as_uri()]
    html = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert html.count("opacity: 1") == 16 == html.count("opacity: 0;") - html.count("opacity: 0; }")


def test_a_report_without_masks_says_so(evaluated, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(evaluated, run, ignore=shutil.ignore_patterns("masks-*"))
    assert cli.main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    html = (tmp_path / "page.html").read_text()
    assert "--save-masks" in html and "<figure>" not in html


def test_a_report_of_few_objects_draws_no_empty_curve(evaluated, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(evaluated, run)
    for lines in run.glob("*.jsonl"):
        lines.write_text("".join(lines.read_text().splitlines(keepends=True)[:2]))
    assert cli.main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    html = (tmp_path / "page.html").read_text()
    assert "no curve: no tenth of the hidden share has 5 objects" in html and "<svg" not in html


def test_a_report_of_nothing_is_refused(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path)]) == 1
    assert "expected the folder of" in capsys.readouterr().err


def scalars(chunk) -> list[float]:
    batch = chunk.to_record_batch()
    columns = [batch.column(k) for k, name in enumerate(batch.schema.names) if "scalars" in name.lower()]
    return [value[0] for column in columns for value in column.to_pylist()]


@rerun
def test_what_cannot_be_shown_says_why(tmp_path, capsys):
    folder = save_folder(tmp_path / "folder", scene(1))
    assert cli.main(["bag", "make", str(folder), str(tmp_path / "bag")]) == 0
    assert cli.main(["view", str(tmp_path / "bag"), "--save", str(tmp_path / "x.rrd")]) == 1
    assert "holds no answers (amodal_ros/msg/AmodalInstanceArray); name the bag that has" in capsys.readouterr().err
    assert cli.main(["view", str(tmp_path / "bag"), "--image", "/seen", "--save", str(tmp_path / "x.rrd")]) == 1
    assert "no images on /seen; expected --image /camera/image_raw" in capsys.readouterr().err


@rerun
def test_a_running_node_is_followed(tmp_path, capsys):
    """Images and answers of another node, in the same stamps; an image without an answer is not shown."""
    rclpy = pytest.importorskip("rclpy")
    from rclpy.executors import SingleThreadedExecutor
    from sensor_msgs.msg import Image as ImageMessage

    from amodal_ros.msg import AmodalInstanceArray

    context = rclpy.Context()
    rclpy.init(context=context)
    node = rclpy.create_node("stand_in", context=context)
    images = node.create_publisher(ImageMessage, "/seen", 10)
    answers = node.create_publisher(AmodalInstanceArray, "/said", 10)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    count = itertools.count(1)

    def publish() -> None:
        k = next(count)
        image = ImageMessage(height=4, width=6, encoding="rgb8", step=18, data=bytes(72))
        image.header.stamp.sec = k
        images.publish(image)
        if k % 2:
            answers.publish(AmodalInstanceArray(header=image.header, image_height=4, image_width=6))

    node.create_timer(0.1, publish)
    ended = threading.Event()
    spinning = threading.Thread(target=lambda: [executor.spin_once(0.1) for _ in iter(ended.is_set, True)])
    spinning.start()
    try:
        words = [
            "--live",
            "--image",
            "/seen",
            "--answers",
            "/said",
            "--limit",
            "3",
            "--save",
            str(tmp_path / "a.rrd"),
        ]
        assert cli.main(["view", *words]) == 0
    finally:
        ended.set()
        spinning.join()
        executor.shutdown()
        node.destroy_node()
        context.shutdown()
    assert rows(read(tmp_path / "a.rrd")["camera/image"]) == 3


@rerun
def test_without_a_display_no_window_is_waited_for(evaluated, capsys, monkeypatch):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["view", str(evaluated)]) == 1
    assert "no display here; --save FILE.rrd" in capsys.readouterr().err


def test_view_wants_one_thing_to_look_at(capsys):
    assert cli.main(["view"]) == 1 and "expected either WHAT" in capsys.readouterr().err
