"""One storage file of a bag: its channels and their messages, however much of it is still there.

mcap is read with `mcap`, sqlite3 with `rosbags`; both come out alike.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import zstandard
from mcap import records
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from mcap.summary import Summary
from rosbags.interfaces import ConnectionExtRosbag2, Qos
from rosbags.rosbag2 import Reader as RosbagsReader
from rosbags.rosbag2.metadata import parse_qos

_PACKED = ".zstd"  # behind a file's own ending: rosbag2 compressed it as a whole
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"  # begins a message that rosbag2 compressed by itself; CDR begins with a zero


@dataclass(frozen=True)
class Channel:
    """Messages of one type and one encoding on one topic of one file."""

    id: int
    topic: str
    msgtype: str
    encoding: str  #: how messages are serialized; ROS writes "cdr"
    digest: str  #: RIHS01 hash of the type, "" where the file does not have it
    qos: tuple[Qos, ...]
    count: int


class StorageFile(Protocol):
    """An open storage file.

    Attributes:
        times: of the first and the last message (ns); None if there is none.
        notes: sentences about what cannot be read.
    """

    channels: list[Channel]
    times: tuple[int, int] | None
    notes: list[str]

    def messages(self, channels: Collection[Channel]) -> Iterator[tuple[Channel, int, bytes]]:
        """(channel, time of recording in ns, bytes) of some of `channels`, in the order of recording."""
        ...


def is_storage(path: Path) -> bool:
    """Whether a path has the name of a storage file."""
    return Path(path.name.removesuffix(_PACKED)).suffix in (".mcap", ".db3")


def open_storage(path: Path, stack: ExitStack) -> StorageFile:
    """Open a file that `is_storage`; `stack` closes it.

    Raises:
        Exception: whatever the libraries raise for a file that is something else.
    """
    if path.name.endswith(_PACKED):
        path = _unpacked(path, stack)
    return McapFile(path) if path.suffix == ".mcap" else SqliteFile(path, stack)


def qos_profiles(recorded: Any) -> tuple[Qos, ...]:
    """Offered QoS profiles in any of rosbag2's spellings; none where they cannot be read, as after an edit by hand."""
    try:
        return tuple(parse_qos(recorded))
    except Exception:
        return ()


class McapFile:
    """A whole file is read by its index; one that was cut short, or never had one, from its beginning."""

    def __init__(self, path: Path) -> None:
        self.notes: list[str] = []
        self._path = path
        with path.open("rb") as file:
            reader = make_reader(file)  # raises for what is no mcap at all
            try:
                summary = reader.get_summary()
            except Exception:  # the summary stands at the end
                summary = None
        self._indexed = summary is not None and bool(summary.chunk_indexes) and summary.statistics is not None
        if summary is None or not self._indexed:
            summary = self._scan()
        statistics = summary.statistics
        assert statistics is not None
        span = (statistics.message_start_time, statistics.message_end_time)
        self.times = span if statistics.message_count else None
        self.channels = [
            _mcap_channel(channel, summary, statistics.channel_message_counts.get(channel.id, 0))
            for channel in summary.channels.values()
        ]

    def messages(self, channels: Collection[Channel]) -> Iterator[tuple[Channel, int, bytes]]:
        """See `StorageFile`."""
        wanted = {channel.id: channel for channel in channels}
        for message in self._indexed_messages(channels) if self._indexed else self._records():
            if isinstance(message, records.Message) and message.channel_id in wanted:
                yield wanted[message.channel_id], message.log_time, message.data

    def _indexed_messages(self, channels: Collection[Channel]) -> Iterator[records.Message]:
        with self._path.open("rb") as file:
            reader = make_reader(file, validate_crcs=True)
            for _, _, message in reader.iter_messages({channel.topic for channel in channels}):
                yield message

    def _records(self) -> Iterator[records.McapRecord]:
        """All records in the order of the file, up to where it cannot be read; that is noted once."""
        with self._path.open("rb") as file:
            try:
                yield from StreamReader(file, validate_crcs=True).records
            except Exception as error:
                said = f"{type(error).__name__} {error}".strip()
                self.notes = [
                    f"{self._path}: cut short or damaged after {file.tell()} bytes ({said}); what comes before it is "
                    f"read. To mend it: mcap recover {shlex.quote(str(self._path))} -o NEW.mcap"
                ]

    def _scan(self) -> Summary:
        """What the summary of the file would say."""
        summary, counts, times = Summary(), Counter[int](), [2**63, 0]
        for record in self._records():
            if isinstance(record, records.Schema):
                summary.schemas[record.id] = record
            elif isinstance(record, records.Channel):
                summary.channels[record.id] = record
            elif isinstance(record, records.Message):
                counts[record.channel_id] += 1
                times = [min(times[0], record.log_time), max(times[1], record.log_time)]
        summary.statistics = records.Statistics(
            attachment_count=0,
            channel_count=len(summary.channels),
            channel_message_counts=dict(counts),
            chunk_count=0,
            message_count=counts.total(),
            message_end_time=times[1],
            message_start_time=times[0],
            metadata_count=0,
            schema_count=len(summary.schemas),
        )
        return summary


class SqliteFile:
    """A ``.db3`` file of any version."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.notes: list[str] = []
        self._reader = stack.enter_context(RosbagsReader(path))
        self._connections = {connection.id: connection for connection in self._reader.connections}
        start, end = self._reader.start_time, self._reader.end_time - 1  # `rosbags` counts up to after the last
        self.times = (start, end) if self._reader.message_count else None
        self.channels = []
        for c in self._connections.values():
            assert isinstance(c.ext, ConnectionExtRosbag2)
            qos = tuple(c.ext.offered_qos_profiles)
            self.channels.append(
                Channel(c.id, c.topic, c.msgtype, c.ext.serialization_format, c.digest, qos, c.msgcount)
            )
        log = path.with_name(f"{path.name}-wal")
        if log.exists() and log.stat().st_size:
            self.notes.append(
                f"{log}: the recorder was killed; its latest messages are in this file and are not read. "
                f"To mend it: sqlite3 {shlex.quote(str(path))} 'PRAGMA wal_checkpoint(TRUNCATE)'"
            )

    def messages(self, channels: Collection[Channel]) -> Iterator[tuple[Channel, int, bytes]]:
        """See `StorageFile`."""
        wanted = {channel.id: channel for channel in channels}
        for connection, time, raw in self._reader.messages([self._connections[i] for i in wanted]):
            if raw[:4] == _ZSTD_MAGIC:
                raw = zstandard.ZstdDecompressor().decompressobj().decompress(raw)
            yield wanted[connection.id], time, raw


def _mcap_channel(channel: records.Channel, summary: Summary, count: int) -> Channel:
    schema = summary.schemas.get(channel.schema_id)
    return Channel(
        channel.id,
        channel.topic,
        schema.name if schema else "",
        channel.message_encoding,
        channel.metadata.get("topic_type_hash", ""),
        qos_profiles(channel.metadata.get("offered_qos_profiles", "")),
        count,
    )


def _unpacked(path: Path, stack: ExitStack) -> Path:
    folder = stack.enter_context(TemporaryDirectory(prefix="amodal_bag_"))
    whole = Path(folder, path.name.removesuffix(_PACKED))
    with path.open("rb") as packed, whole.open("wb") as out:
        zstandard.ZstdDecompressor().copy_stream(packed, out)
    return whole
