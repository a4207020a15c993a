"""Rows G: bags as other people have them. Every command is run as a user runs it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import mcap.writer
import numpy as np
import yaml
from mcap.reader import make_reader

from amodal_ros.lab.bags import typed
from amodal_ros.lab.bags.files import BagWriter
from amodal_ros.lab.bags.make import BagFrame, write_frames
from fault_table import frames
from fault_table.robot import START, default_environment
from fault_table.table import Seen, row

FRAMES = 30  # of a small bag: as many images, label maps and camera infos
STRING = "std_msgs/msg/String"
STEP = 50_000_000


def run_cli(*command: str, deadline: float = 240) -> subprocess.CompletedProcess:
    """A command in a default environment."""
    env = default_environment(int(os.environ.get("ROS_DOMAIN_ID") or 231))
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=deadline, check=False)


def play(bag: Path, *options: str) -> tuple[int, int, str]:
    """``amodal bag play``: messages played, exit code and what it said on stderr."""
    done = run_cli(sys.executable, "-m", "amodal_ros.cli", "bag", "play", str(bag), "--rate", "20", *options)
    count = re.search(r"(\d+) messages", done.stdout)
    return int(count[1]) if count else 0, done.returncode, " ".join(done.stderr.split())


def small_bag(out: Path, storage: str = "mcap") -> Path:
    """`FRAMES` frames in several chunks."""
    noise = np.random.default_rng(0).integers(0, 256, (96, 128, 3), np.uint8)
    labels = frames.label_map(128, 96)
    write_frames((BagFrame(np.roll(noise, k, 1), labels) for k in range(FRAMES)), out, 20, storage)
    return out


def drive(out: Path, seconds: float) -> Path:
    """A synthetic drive of 10 Hz."""
    done = run_cli(
        sys.executable, "-m", "amodal_ros.cli", "bag", "make", "streets", str(out), "--seconds", str(seconds)
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return out


def best_effort(bag: Path) -> Path:
    """Edit metadata.yaml as the published workarounds do: another QoS than the storage file has."""
    path = bag / "metadata.yaml"
    content = yaml.safe_load(path.read_text())
    for entry in content["rosbag2_bagfile_information"]["topics_with_message_count"]:
        (profile,) = yaml.safe_load(entry["topic_metadata"]["offered_qos_profiles"])
        entry["topic_metadata"]["offered_qos_profiles"] = yaml.safe_dump([{**profile, "reliability": 2}])
    path.write_text(yaml.safe_dump(content))
    return bag


def played(change: Callable[[Path], Path | None], storage: str, expected: int, sent: str, word: str = "") -> Seen:
    """A small bag that was changed: how much of it is played, and what is said."""
    with tempfile.TemporaryDirectory() as folder:
        bag = small_bag(Path(folder) / "bag", storage)
        bag = change(bag) or bag
        count, code, said = play(bag)
    ok = code == 0 and count == expected and (word in said if word else not said)
    told = f"{expected} messages" + (f" and a word on '{word}'" if word else "")
    return Seen(sent, told, f"{count} messages, exit code {code}{': ' + said[:300] if said else ''}", ok)


@row("G34", "metadata.yaml with another QoS than the storage file (mcap)")
def edited_qos_mcap() -> Seen:
    return played(best_effort, "mcap", 3 * FRAMES, "an mcap bag whose QoS was edited")


@row("G34", "metadata.yaml with another QoS than the storage file (sqlite3)")
def edited_qos_sqlite() -> Seen:
    return played(best_effort, "sqlite3", 3 * FRAMES, "a sqlite3 bag whose QoS was edited")


def one_error(change: Callable[[Path], None], sent: str, storage: str = "mcap", mend: str = "mcap recover") -> Seen:
    """A bag that is broken: one line, no traceback, exit code 1."""
    with tempfile.TemporaryDirectory() as folder:
        bag = small_bag(Path(folder) / "bag", storage)
        change(bag)
        _, code, said = play(bag)
    ok = code == 1 and "not a readable" in said and mend in said and "Traceback" not in said
    return Seen(sent, "one error that says how to mend it, exit code 1", f"exit code {code}: {said[:300]}", ok)


def _flip(path: Path, first: float, last: float) -> None:
    content = bytearray(path.read_bytes())
    for place in range(int(first * len(content)), int(last * len(content)), 11):
        content[place] ^= 0xFF
    path.write_bytes(content)


@row("G35", "a damaged zstd chunk")
def damaged_zstd() -> Seen:
    return one_error(lambda bag: _flip(bag / "bag.mcap", 0.3, 0.5), "flipped bits in the chunks")


@row("G35", "a damaged lz4 chunk")
def damaged_lz4() -> Seen:
    def change(bag: Path) -> None:
        _rewrite(bag / "bag.mcap", compression=mcap.writer.CompressionType.LZ4)
        _flip(bag / "bag.mcap", 0.3, 0.5)

    return one_error(change, "flipped bits in the chunks")


@row("G35", "a damaged sqlite3 file")
def damaged_sqlite() -> Seen:
    return one_error(lambda bag: _flip(bag / "bag.db3", 0.0, 0.5), "flipped bits", "sqlite3", "sqlite3 FILE .recover")


def _rewrite(path: Path, **options: object) -> None:
    """The same messages by another tool."""
    with path.open("rb") as file:
        entries = list(make_reader(file).iter_messages())
    with path.open("wb") as file:
        writer = mcap.writer.Writer(file, chunk_size=100_000, **options)
        writer.start("ros2")
        channels: dict[str, int] = {}
        for schema, channel, message in entries:
            assert schema is not None
            if channel.topic not in channels:
                kind = writer.register_schema(schema.name, schema.encoding, schema.data)
                channels[channel.topic] = writer.register_channel(channel.topic, "cdr", kind)
            writer.add_message(channels[channel.topic], message.log_time, message.data, message.publish_time)
        writer.finish()


def _strings(out: Path, *times: int, clock: bool = False) -> Path:
    types = typed.typestore().types
    with BagWriter(out) as writer:
        for time_ns in times:
            writer.write("/chatter", types[STRING]("text"), time_ns)
            if clock:
                stamp = types["builtin_interfaces/msg/Time"](7, 0)
                writer.write("/clock", types["rosgraph_msgs/msg/Clock"](stamp), time_ns)
    return out


@row("G36", "play --clock of a bag that holds /clock")
def recorded_clock() -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        bag = _strings(Path(folder) / "bag", *(START + k * STEP for k in range(20)), clock=True)
        with_ours, _, said = play(bag, "--clock")
        without, _, _ = play(bag)
    ok = (with_ours, without) == (20, 40) and "/clock" in said
    return Seen(
        "20 messages and 20 of /clock", "20 with --clock, 40 without", f"{with_ours} and {without}; {said[:120]}", ok
    )


@row("G37", "first record at time 0")
def time_zero() -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        bag = _strings(Path(folder) / "bag", 0, START, START + STEP)
        began = time.monotonic()
        count, code, said = play(bag)
        seconds = time.monotonic() - began
    ok = count == 3 and seconds < 60
    return Seen(
        "3 messages, the first at time 0",
        "3 played at once",
        f"{count} in {seconds:.1f} s, exit code {code}: {said}",
        ok,
    )


def _mixed(path: Path, *channels: tuple[str, str, str, int]) -> Path:
    raw = typed.typestore().serialize_cdr(typed.typestore().types[STRING]("text"), STRING)
    with path.open("wb") as file:
        writer = mcap.writer.Writer(file)
        writer.start("ros2")
        for topic, kind, encoding, count in channels:
            schema = writer.register_schema(kind, "ros2msg" if encoding == "cdr" else "jsonschema", b"{}")
            channel = writer.register_channel(topic, encoding, schema)
            for k in range(count):
                content = bytes(raw) if kind == STRING else b'{"a": 1}'
                writer.add_message(channel, START + k * STEP, content, START + k * STEP)
        writer.finish()
    return path


@row("G38", "two types on one topic")
def two_types() -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        other = "sensor_msgs/msg/Imu"
        bag = _mixed(Path(folder) / "two.mcap", ("/chatter", other, "cdr", 4), ("/chatter", STRING, "cdr", 20))
        count, code, said = play(bag)
    ok = count == 20 and code == 0 and f"4 messages of {other}" in said
    return Seen(
        "20 String and 4 Imu on one topic", "20 played, 4 told", f"{count} played, exit code {code}: {said[-200:]}", ok
    )


@row("G38", "two channels on one topic")
def two_channels() -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        bag = _mixed(Path(folder) / "two.mcap", ("/chatter", STRING, "cdr", 20), ("/chatter", STRING, "cdr", 15))
        count, code, said = play(bag)
    return Seen(
        "20 and 15 messages of one type",
        "35 played",
        f"{count} played, exit code {code} {said}",
        (count, said) == (35, ""),
    )


@row("G39", "a cut mcap file")
def cut_mcap() -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        bag = small_bag(Path(folder) / "bag")
        content = (bag / "bag.mcap").read_bytes()
        (bag / "bag.mcap").write_bytes(content[: int(0.7 * len(content))])
        count, code, said = play(bag)
    ok = code == 0 and 0 < count < 3 * FRAMES and "mcap recover" in said
    return Seen(
        f"70 % of a file with {3 * FRAMES} messages",
        "what comes before the cut, and how to mend it",
        f"{count} played: {said[:200]}",
        ok,
    )


@row("G39", "a folder without metadata.yaml")
def no_metadata() -> Seen:
    def change(bag: Path) -> None:
        (bag / "metadata.yaml").unlink()

    return played(change, "mcap", 3 * FRAMES, "a bag without metadata.yaml", "ros2 bag reindex")


@row("G39", "one json channel beside ROS's")
def json_channel() -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        bag = _mixed(Path(folder) / "two.mcap", ("/status", "Status", "json", 9), ("/chatter", STRING, "cdr", 20))
        count, code, said = play(bag)
    ok = count == 20 and code == 0 and "/status is not read" in said
    return Seen(
        "20 String and 9 json messages", "20 played, json told", f"{count} played, exit code {code}: {said[-150:]}", ok
    )


@row("G39", "scores and reports of a bag that holds nothing of what it promises")
def promised() -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        bag, empty = small_bag(Path(folder) / "bag"), Path(folder) / "empty"
        with BagWriter(empty):
            pass
        (empty / "metadata.yaml").write_text((bag / "metadata.yaml").read_text().replace("bag.mcap", "empty.mcap"))
        codes, said = [], ""
        for command in (("bag", "play", str(empty)), ("bag", "score", str(empty), str(empty))):
            done = run_cli(sys.executable, "-m", "amodal_ros.cli", *command)
            codes.append(done.returncode)
            said += done.stderr
        done = run_cli(
            sys.executable, "-m", "amodal_ros.cli", "demo", "--bag", str(empty), "--out", str(Path(folder) / "demo")
        )
        codes.append(done.returncode)
        said += done.stderr
    ok = codes == [1, 1, 1] and said.count("no message that can be read") == 3
    return Seen(
        "play, score and demo of an empty file whose metadata promises 90",
        "three errors",
        f"exit codes {codes}: {said[:160]}",
        ok,
    )


@row("G40", "written bags: metadata and mcap as rosbag2 has them")
def written() -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        bag = small_bag(Path(folder) / "bag")
        info = yaml.safe_load((bag / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
        kinds = {
            type(entry["topic_metadata"]["offered_qos_profiles"]).__name__
            for entry in info["topics_with_message_count"]
        }
        with (bag / "bag.mcap").open("rb") as file:
            summary = make_reader(file).get_summary()
        assert summary is not None
        hashes = [channel.metadata.get("topic_type_hash", "") for channel in summary.channels.values()]
    ok = info["version"] == 8 and kinds == {"str"} and all(text.startswith("RIHS01_") for text in hashes)
    hashed = f"{sum(map(bool, hashes))} of {len(hashes)} channels with a hash"
    seen = f"version {info['version']}, QoS as {', '.join(kinds)}, {hashed}"
    return Seen("a bag by `amodal bag make`'s writer", "version 8, QoS as text, topic_type_hash", seen, ok)
