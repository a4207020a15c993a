"""Bags in and out, in both storages, without ROS."""

from __future__ import annotations

import math

import numpy as np
import pytest
import yaml
from bag_frames import BOARD, HEIGHT, POST, WIDTH, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from amodal_ros.lab.bags import typed
from amodal_ros.lab.bags.files import BagError, BagReader, BagWriter
from amodal_ros.lab.bags.make import (
    CAMERA_TOPIC,
    COMPRESSED_TOPIC,
    IMAGE_TOPIC,
    LABELS_TOPIC,
    START,
    TRUTH_TOPIC,
    write_frames,
)
from amodal_ros.messages import nanoseconds
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Source
from amodal_ros.stream.images import labels_of, rgb_of

STORAGES = ("mcap", "sqlite3")
TYPES = {
    IMAGE_TOPIC: "sensor_msgs/msg/Image",
    CAMERA_TOPIC: "sensor_msgs/msg/CameraInfo",
    LABELS_TOPIC: "sensor_msgs/msg/Image",
    TRUTH_TOPIC: "amodal_ros/msg/AmodalInstanceArray",
}


@pytest.mark.parametrize("storage", STORAGES)
def test_what_is_written_is_read_back(tmp_path, storage):
    frames = scene(3)
    assert write_frames(frames, tmp_path / "bag", rate=10, storage=storage) == 3
    with BagReader(tmp_path / "bag") as bag:
        assert bag.topics == TYPES
        assert bag.counts == dict.fromkeys(TYPES, 3)
        assert bag.duration == pytest.approx(0.2)
        got = {topic: [record.message() for record in bag.records([topic])] for topic in TYPES}
        times = [record.time for record in bag.records([IMAGE_TOPIC])]
    assert times == [START, START + 100_000_000, START + 200_000_000]
    for t, frame in enumerate(frames):
        image, labels, info, truth = (got[k][t] for k in (IMAGE_TOPIC, LABELS_TOPIC, CAMERA_TOPIC, TRUTH_TOPIC))
        assert {nanoseconds(m.header.stamp) for m in (image, labels, info, truth)} == {times[t]}
        np.testing.assert_array_equal(rgb_of(image), frame.image)
        assert (labels.encoding, labels.step) == ("16UC1", 2 * WIDTH)
        np.testing.assert_array_equal(labels_of(labels), frame.labels)
        assert (info.width, info.height, info.k[0]) == (WIDTH, HEIGHT, 0.0)  # uncalibrated
        answers = typed.answers_of(truth)
        assert [a.instance.id for a in answers] == [POST, BOARD]
        assert [a.completion.source for a in answers] == [Source.GROUND_TRUTH] * 2
        assert answers[1].completion.amodal == frame.truth[0].amodal
        assert truth.instances[1].occlusion_ratio == pytest.approx(0.2)
        assert (truth.model, truth.instances[1].class_id) == ("ground_truth", "board")


def test_mcap_bags_open_with_the_mcap_tools(tmp_path):
    reader = pytest.importorskip("mcap.reader")
    write_frames(scene(2), tmp_path / "bag", rate=5)
    with (tmp_path / "bag" / "bag.mcap").open("rb") as file:
        mcap = reader.make_reader(file)
        assert mcap.get_header().profile == "ros2"
        summary = mcap.get_summary()
        assert {c.topic: summary.schemas[c.schema_id].name for c in summary.channels.values()} == TYPES
        definition = next(s for s in summary.schemas.values() if s.name == TYPES[TRUTH_TOPIC]).data.decode()
        assert "MSG: amodal_ros/Mask" in definition.replace("/msg/", "/")  # complete: nested types included
        for channel in summary.channels.values():
            assert channel.metadata["topic_type_hash"] == typed.typestore().hash_rihs01(TYPES[channel.topic])
            assert yaml.safe_load(channel.metadata["offered_qos_profiles"])[0]["reliability"] == 1
        assert len(list(mcap.iter_messages())) == 8


@pytest.mark.parametrize("storage", STORAGES)
def test_metadata_is_what_ros2_bag_play_reads(tmp_path, storage):
    write_frames(scene(2), tmp_path / "bag", rate=5, storage=storage)
    info = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert (info["storage_identifier"], info["message_count"]) == (storage, 8)
    assert info["relative_file_paths"] == [f"bag.{'mcap' if storage == 'mcap' else 'db3'}"]
    assert info["duration"]["nanoseconds"] == 200_000_000
    for entry in info["topics_with_message_count"]:
        topic = entry["topic_metadata"]
        assert topic["serialization_format"] == "cdr"
        assert topic["type_description_hash"].startswith("RIHS01_")
        # Version 8 has QoS as a string with numbers: what Humble, Jazzy and Kilted all read.
        assert info["version"] == 8
        (profile,) = yaml.safe_load(topic["offered_qos_profiles"])
        assert (profile["reliability"], profile["durability"], profile["depth"]) == (1, 2, 10)


def test_compressed_images_are_jpeg(tmp_path):
    write_frames(scene(1), tmp_path / "bag", rate=10, compressed=True)
    with BagReader(tmp_path / "bag") as bag:
        assert IMAGE_TOPIC not in bag.topics
        (record,) = bag.records([COMPRESSED_TOPIC])
    message = record.message()
    assert message.format == "jpeg"
    assert rgb_of(message).shape == (HEIGHT, WIDTH, 3)


masks = st.builds(
    MaskRegion,
    st.integers(-50, 50),
    st.integers(-50, 50),
    arrays(bool, st.tuples(st.integers(1, 20), st.integers(1, 20))),
)


@settings(deadline=None, max_examples=50)
@given(hidden=masks, visible=masks, ids=st.lists(st.integers(0, 2**32 - 1), max_size=3), iou=st.floats(0, 1, width=32))
def test_answers_survive_the_wire(hidden, visible, ids, iou):
    possible = (visible | hidden).grow(2)
    completion = Completion(visible, visible | hidden, (30, 40), Source.INFERRED, iou, lambda amodal: possible)
    answer = Answer(
        Instance(9, visible, "car", score=0.5, track_id="car_9"),
        completion,
        inferred_at=1_500_000_000,
        occluders=tuple(ids),
    )
    message = typed.instances([answer], (30, 40), stamp=2_000_000_001, model="m")
    raw = typed.typestore().serialize_cdr(message, typed.INSTANCES)
    (back,) = typed.answers_of(typed.typestore().deserialize_cdr(raw, typed.INSTANCES))
    assert back.instance == answer.instance
    assert back.completion.amodal == completion.amodal
    assert (back.inferred_at, back.occluders) == (answer.inferred_at, answer.occluders)
    assert (back.completion.source, back.completion.expected_iou) == (Source.INFERRED, iou)
    assert back.completion.possible == possible
    assert math.isnan(back.completion.agreement)


@pytest.mark.parametrize(
    ("pixels", "encoding"),
    [
        (np.zeros((3, 4, 3), np.uint8), "rgb8"),
        (np.zeros((3, 4), np.uint8), "mono8"),
        (np.zeros((3, 4), np.uint16), "16UC1"),
        (np.zeros((3, 4), np.int32), "32SC1"),
    ],
)
def test_encoding_follows_the_array(pixels, encoding):
    message = typed.image(pixels, 1)
    assert message.encoding == encoding
    assert message.data.size == message.step * message.height == pixels.nbytes


def test_an_array_that_is_no_image_is_refused():
    with pytest.raises(ValueError, match=r"float64 \(3, 4\)"):
        typed.image(np.zeros((3, 4)), 1)


# --- bad input ----------------------------------------------------------------------------------------------------


def test_an_existing_folder_is_not_overwritten(tmp_path):
    write_frames(scene(1), tmp_path / "bag", rate=10)
    before = sorted(p.read_bytes() for p in (tmp_path / "bag").iterdir())
    with pytest.raises(BagError, match="exists already"):
        write_frames(scene(2), tmp_path / "bag", rate=10)
    assert sorted(p.read_bytes() for p in (tmp_path / "bag").iterdir()) == before


@pytest.mark.parametrize("storage", STORAGES)
def test_a_failed_write_leaves_no_half_bag(tmp_path, storage):
    frames = scene(2)
    frames[1] = type(frames[1])(frames[1].image, frames[1].labels[:-1], name="the second")
    with pytest.raises(BagError, match="the second: the image is 40x24, its label map 40x23"):
        write_frames(frames, tmp_path / "bag", rate=10, storage=storage)
    assert not (tmp_path / "bag").exists()


def test_unknown_storage_is_refused(tmp_path):
    with pytest.raises(BagError, match=r"storage.*'rosbag1'"):
        BagWriter(tmp_path / "bag", "rosbag1")


def test_a_missing_bag_and_a_folder_that_is_none(tmp_path):
    with pytest.raises(BagError, match="no such bag"):
        BagReader(tmp_path / "nowhere")
    with pytest.raises(BagError, match=r"holds no \.mcap or \.db3 file"):
        BagReader(tmp_path)
    (tmp_path / "notes.txt").touch()
    with pytest.raises(BagError, match=r"notes\.txt: not a bag"):
        BagReader(tmp_path / "notes.txt")


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("damage", ["cut", "noise", "empty", "gone"])
def test_a_damaged_bag_is_one_clear_error(tmp_path, storage, damage):
    write_frames(scene(3), tmp_path / "bag", rate=10, storage=storage)
    (store,) = (p for p in (tmp_path / "bag").iterdir() if p.suffix in (".mcap", ".db3"))
    whole = store.read_bytes()
    if damage == "gone":
        store.unlink()
    else:
        noise = np.random.default_rng(0).bytes(len(whole))
        store.write_bytes({"cut": whole[: len(whole) // 2], "noise": noise, "empty": b""}[damage])
    with pytest.raises(BagError, match="bag: not a readable"), BagReader(tmp_path / "bag") as bag:
        for record in bag.records():
            record.message()


def test_a_message_that_does_not_fit_its_type_names_the_topic(tmp_path):
    with BagWriter(tmp_path / "bag") as bag:
        bag.write_raw("/odd", typed.INSTANCES, b"\x00\x01\x00\x00\x01", 5)
    with BagReader(tmp_path / "bag") as bag, pytest.raises(BagError, match="/odd"):
        next(bag.records()).message()


def test_messages_of_another_version_are_not_misread(tmp_path, caplog):
    write_frames(scene(1), tmp_path / "bag", rate=10, storage="sqlite3")
    metadata = tmp_path / "bag" / "metadata.yaml"
    ours = typed.typestore().hash_rihs01(typed.INSTANCES)
    metadata.write_text(metadata.read_text().replace(ours, "RIHS01_" + 64 * "0"))
    with BagReader(metadata.parent) as bag:
        assert set(bag.topics) == {IMAGE_TOPIC, LABELS_TOPIC, CAMERA_TOPIC}, "a recorded drive outlives our messages"
    assert f"{TRUTH_TOPIC} is not read: it was recorded with another version of {typed.INSTANCES}" in caplog.text
