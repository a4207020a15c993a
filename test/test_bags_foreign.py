"""Bags as other people have them: edited, cut, renamed, split, compressed, and recorded by other tools."""

from __future__ import annotations

import json
from pathlib import Path

import mcap.writer
import numpy as np
import pytest
import yaml
import zstandard
from bag_frames import scene
from mcap.writer import CompressionType

from amodal_ros.lab.bags import typed
from amodal_ros.lab.bags.files import BagError, BagReader, BagWriter
from amodal_ros.lab.bags.make import IMAGE_TOPIC, LABELS_TOPIC, START, TRUTH_TOPIC, write_frames

STORAGES = {"mcap": "mcap", "sqlite3": "db3"}
STRING, NUMBER = "std_msgs/msg/String", "std_msgs/msg/Int64"
STEP = 100_000_000


def string(text: str) -> bytes:
    return bytes(typed.typestore().serialize_cdr(typed.typestore().types[STRING](text), STRING))


def number(value: int) -> bytes:
    return bytes(typed.typestore().serialize_cdr(typed.typestore().types[NUMBER](value), NUMBER))


def by_another_tool(path: Path, channels: list[tuple], chunk: int = 300, **options) -> Path:
    """An mcap file of (topic, type, encoding, messages); the messages of a channel come a tenth of a second apart."""
    with path.open("wb") as file:
        writer = mcap.writer.Writer(file, chunk_size=chunk, **options)
        writer.start(profile="", library="another tool")
        for topic, kind, encoding, raws in channels:
            form = "ros2msg" if encoding == "cdr" else "jsonschema"
            schema = writer.register_schema(kind, form, b"string data")
            channel = writer.register_channel(topic, encoding, schema)
            for k, raw in enumerate(raws):
                writer.add_message(channel, START + k * STEP, raw, START + k * STEP)
        writer.finish()
    return path


def edit(bag: Path, change) -> None:
    """Change what is below the first line of metadata.yaml."""
    path = bag / "metadata.yaml"
    content = yaml.safe_load(path.read_text())
    change(content["rosbag2_bagfile_information"])
    path.write_text(yaml.safe_dump(content))


def texts(bag: BagReader, topic: str = "/chatter") -> list[str]:
    return [record.message().data for record in bag.records([topic])]


@pytest.mark.parametrize("storage", STORAGES)
def test_qos_that_was_edited_in_metadata_counts_and_loses_no_message(tmp_path, storage, caplog):
    write_frames(scene(3), tmp_path / "bag", rate=10, storage=storage)
    version_9 = [{**yaml.safe_load(messages_qos(tmp_path / "bag"))[0], "reliability": "best_effort"}]

    def best_effort(info):
        for entry in info["topics_with_message_count"]:
            entry["topic_metadata"]["offered_qos_profiles"] = version_9

    edit(tmp_path / "bag", best_effort)
    with BagReader(tmp_path / "bag") as bag:
        assert bag.qos(IMAGE_TOPIC).reliability.name == "BEST_EFFORT"
        assert len(list(bag.records())) == 12 and bag.counts[LABELS_TOPIC] == 3
    assert not caplog.records


def messages_qos(bag: Path) -> str:
    info = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    return info["topics_with_message_count"][0]["topic_metadata"]["offered_qos_profiles"]


@pytest.mark.parametrize("broken", ["[", "", "rosbag2_bagfile_information: {version: 8}", None])
@pytest.mark.parametrize("storage", STORAGES)
def test_without_metadata_the_storage_files_are_read(tmp_path, storage, broken, caplog):
    write_frames(scene(3), tmp_path / "bag", rate=10, storage=storage)
    metadata = tmp_path / "bag" / "metadata.yaml"
    metadata.unlink() if broken is None else metadata.write_text(broken)
    with BagReader(tmp_path / "bag") as bag:
        assert len(list(bag.records())) == 12 and bag.duration == pytest.approx(0.2)
        assert bag.qos(IMAGE_TOPIC).reliability.name == "RELIABLE"
    assert f"ros2 bag reindex {tmp_path / 'bag'}" in caplog.text
    with BagReader(tmp_path / "bag" / f"bag.{STORAGES[storage]}") as bag:  # or the file itself
        assert len(list(bag.records([TRUTH_TOPIC]))) == 3


def test_the_version_of_our_messages_is_in_the_file_too(tmp_path):
    write_frames(scene(1), tmp_path / "bag", rate=10, storage="sqlite3")
    file = tmp_path / "bag" / "bag.db3"
    ours = typed.typestore().hash_rihs01(typed.INSTANCES).encode()
    file.write_bytes(file.read_bytes().replace(ours, b"RIHS01_" + 64 * b"0"))
    with BagReader(file) as bag:
        assert TRUTH_TOPIC not in bag.topics


@pytest.mark.parametrize("storage", STORAGES)
def test_a_storage_file_that_was_renamed(tmp_path, storage, caplog):
    write_frames(scene(2), tmp_path / "bag", rate=10, storage=storage)
    file = tmp_path / "bag" / f"bag.{STORAGES[storage]}"
    file.rename(file.with_stem("monday"))
    with BagReader(tmp_path / "bag") as bag:
        assert len(list(bag.records([IMAGE_TOPIC]))) == 2
    assert file.name in caplog.text


def test_a_split_bag_is_in_order_whatever_its_files_are_called(tmp_path):
    for k in range(11):
        path = tmp_path / f"bag_{10 - k}.mcap"
        with path.open("wb") as file:
            writer = mcap.writer.Writer(file)
            writer.start("ros2")
            channel = writer.register_channel("/chatter", "cdr", writer.register_schema(STRING, "ros2msg", b""))
            writer.add_message(channel, START + k * STEP, string(str(k)), START)
            writer.finish()
    with BagReader(tmp_path) as bag:
        assert texts(bag) == [str(k) for k in range(11)] and bag.duration == pytest.approx(1.0)


@pytest.mark.parametrize("how", ["chunks", "no chunks"])
def test_a_cut_mcap_is_read_up_to_the_cut(tmp_path, how, caplog):
    sent = [f"message {k} " + "x" * 100 for k in range(20)]
    path = by_another_tool(
        tmp_path / "cut.mcap", [("/chatter", STRING, "cdr", map(string, sent))], use_chunking=how == "chunks"
    )
    with BagReader(path) as bag:
        assert texts(bag) == sent and bag.counts == {"/chatter": 20}
    assert not caplog.records
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    with BagReader(path) as bag:
        got = texts(bag)
        assert 3 <= len(got) < 20 and got == sent[: len(got)] and bag.counts == {"/chatter": len(got)}
    assert f"mcap recover {path} -o NEW.mcap" in caplog.text


@pytest.mark.parametrize("compression", [CompressionType.ZSTD, CompressionType.LZ4])
def test_a_damaged_chunk_is_one_clear_error(tmp_path, compression):
    sent = [np.random.default_rng(k).bytes(80).hex() for k in range(20)]
    channels = [("/chatter", STRING, "cdr", map(string, sent))]
    path = by_another_tool(tmp_path / "damaged.mcap", channels, compression=compression)
    whole = bytearray(path.read_bytes())
    for place in range(len(whole) // 4, len(whole) // 2, 7):
        whole[place] ^= 0xFF
    path.write_bytes(whole)
    with BagReader(path) as bag, pytest.raises(BagError, match=r"damaged\.mcap: not a readable .* mcap recover"):
        texts(bag)


def test_channels_that_are_not_ros_messages_are_left_out(tmp_path, caplog):
    status = [json.dumps({"battery": 0.5}).encode()] * 3
    path = by_another_tool(
        tmp_path / "mixed.mcap",
        [("/status", "Status", "json", status), ("/chatter", STRING, "cdr", [string("a"), string("b")])],
    )
    with BagReader(path) as bag:
        assert bag.topics == {"/chatter": STRING} and texts(bag) == ["a", "b"]
        assert len(list(bag.records())) == 2
    assert "/status is not read: its messages are json, not cdr" in caplog.text
    path = by_another_tool(tmp_path / "json.mcap", [("/status", "Status", "json", status)])
    with pytest.raises(BagError, match=r"no message that can be read .*json"), BagReader(path):
        pass


@pytest.mark.parametrize("first", [STRING, NUMBER])
def test_two_types_on_one_topic_are_never_mixed(tmp_path, first, caplog):
    strings = ("/chatter", STRING, "cdr", [string(str(k)) for k in range(3)])
    numbers = ("/chatter", NUMBER, "cdr", [number(k) for k in range(2)])
    path = by_another_tool(tmp_path / "two.mcap", [strings, numbers] if first == STRING else [numbers, strings])
    with BagReader(path) as bag:
        assert bag.topics == {"/chatter": STRING} and bag.counts == {"/chatter": 3}
        assert texts(bag) == ["0", "1", "2"]
    assert f"2 messages of {NUMBER} beside those of {STRING} are not read" in caplog.text


def test_two_channels_of_one_topic_are_one(tmp_path, caplog):
    channels = [("/chatter", STRING, "cdr", [string(f"{name}{k}") for k in range(3)]) for name in "ab"]
    with BagReader(by_another_tool(tmp_path / "two.mcap", channels, chunk=10**6)) as bag:
        assert bag.counts == {"/chatter": 6}
        assert sorted(texts(bag)) == ["a0", "a1", "a2", "b0", "b1", "b2"]
        times = [record.time for record in bag.records()]
        assert times == sorted(times)
    assert not caplog.records


@pytest.mark.parametrize("storage", STORAGES)
def test_fewer_messages_than_promised_are_told_and_none_is_an_error(tmp_path, storage, caplog):
    write_frames(scene(3), tmp_path / "bag", rate=10, storage=storage)

    def promise(info):
        info["topics_with_message_count"][0]["message_count"] = 50

    edit(tmp_path / "bag", promise)
    with BagReader(tmp_path / "bag") as bag:
        assert len(list(bag.records())) == 12
    assert f"3 of the 50 messages that metadata.yaml counts on {IMAGE_TOPIC} are there" in caplog.text
    with BagWriter(tmp_path / "empty", storage):
        pass
    (tmp_path / "empty" / "metadata.yaml").write_text(
        (tmp_path / "bag" / "metadata.yaml").read_text().replace("bag.", "empty.")
    )
    with pytest.raises(BagError, match=r"no message that can be read .*0 of the"), BagReader(tmp_path / "empty"):
        pass


@pytest.mark.parametrize("mode", ["file", "message"])
def test_compression_by_rosbag2(tmp_path, mode):
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    writer = Writer(tmp_path / "packed", version=8, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(CompressionMode[mode.upper()], CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/chatter", STRING, typestore=typed.typestore())
        for k in range(3):
            writer.write(connection, START + k * STEP, string(str(k)))
    with BagReader(tmp_path / "packed") as bag:
        assert texts(bag) == ["0", "1", "2"]
    if mode == "file":
        (file,) = (tmp_path / "packed").glob("*.zstd")
        assert zstandard.ZstdDecompressor().decompressobj().decompress(file.read_bytes())
        file.write_bytes(file.read_bytes()[:40] + b"\0" * 40)
        with pytest.raises(BagError, match="not a readable"), BagReader(tmp_path / "packed"):
            pass


def test_what_the_recorder_had_no_time_to_write_is_told(tmp_path, caplog):
    write_frames(scene(1), tmp_path / "bag", rate=10, storage="sqlite3")
    (tmp_path / "bag" / "bag.db3-wal").write_bytes(b"\0" * 32)
    with BagReader(tmp_path / "bag") as bag:
        assert len(list(bag.records())) == 4
    assert "PRAGMA wal_checkpoint(TRUNCATE)" in caplog.text
