"""rosbag2 folders in and out on `rosbags`: plain Python, no ROS installation.

Bags written here carry their message definitions, type hashes and QoS profiles, so that ``ros2 bag play``, the ``mcap``
tools and other readers open them. A bag is always a folder: one storage file and its ``metadata.yaml``.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, get_args

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, Reader, ReaderError, StoragePlugin, Writer
from rosbags.serde import SerdeError

from amodal_ros.bags.messages import typestore
from amodal_ros.bags.share import PACKAGE

Storage = Literal["mcap", "sqlite3"]

_FOREVER = QosTime(9223372036, 854775807)  # how rosbag2 writes an infinite duration
#: Reliable, volatile, keep last 10: what every topic of our bags offers on replay.
RELIABLE = Qos(
    QosHistory.KEEP_LAST,
    10,
    QosReliability.RELIABLE,
    QosDurability.VOLATILE,
    _FOREVER,
    _FOREVER,
    QosLiveliness.AUTOMATIC,
    _FOREVER,
    False,
)

#: What `rosbags` raises for a storage file that is cut short or is something else.
_CORRUPT = (ReaderError, sqlite3.Error, struct.error, EOFError, UnicodeDecodeError, AssertionError, TypeError, KeyError)


class BagError(ValueError):
    """A bag cannot be read or written; the message names the path and what was expected."""


class BagWriter:
    """One new bag. Use it as a context manager; when the block raises, the unfinished folder is removed again.

    Args:
        out: folder to create.
        storage: ``"mcap"`` (chunks compressed with zstd) or ``"sqlite3"``.

    Raises:
        BagError: `out` exists already, or `storage` is unknown.
    """

    def __init__(self, out: Path | str, storage: Storage = "mcap") -> None:
        self.path = Path(out)
        if storage not in get_args(Storage):
            raise BagError(f"storage: expected one of {get_args(Storage)}, got {storage!r}")
        if self.path.exists():
            raise BagError(f"{self.path}: exists already; name a new folder for the bag")
        self._writer = Writer(self.path, version=Writer.VERSION_LATEST, storage_plugin=StoragePlugin[storage.upper()])
        if storage == "mcap":
            self._writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
        self._connections: dict[str, Connection] = {}

    def __enter__(self) -> BagWriter:
        self._writer.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, trace)
        if kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)

    def write(self, topic: str, message: Any, time: int) -> None:
        """Write a message of `messages.typestore` at `time` (nanoseconds since the epoch)."""
        msgtype = message.__msgtype__
        self.write_raw(topic, msgtype, typestore().serialize_cdr(message, msgtype), time)

    def write_raw(self, topic: str, msgtype: str, raw: bytes | memoryview, time: int) -> None:
        """Write a serialized (CDR) message of a type that `messages.typestore` knows."""
        if topic not in self._connections:
            self._connections[topic] = self._writer.add_connection(
                topic, msgtype, typestore=typestore(), offered_qos_profiles=[RELIABLE]
            )
        self._writer.write(self._connections[topic], time, raw)


@dataclass(frozen=True)
class Record:
    """One recorded message: topic, type (``"sensor_msgs/msg/Image"``), time of recording (ns) and its CDR bytes."""

    topic: str
    msgtype: str
    time: int
    raw: bytes

    def message(self) -> Any:
        """The message as a `rosbags` object: same field names as in ROS, NumPy arrays for sequences of numbers."""
        try:
            return typestore().deserialize_cdr(self.raw, self.msgtype)
        except (SerdeError, *_CORRUPT) as error:
            raise BagError(f"{self.topic}: a message that is no {self.msgtype} ({error})") from error


class BagReader:
    """A bag's records in the order of their recording, read from disk as they are asked for.

    >>> with BagReader("drive") as bag:                                   # doctest: +SKIP
    ...     for record in bag.records(["/ground_truth/instances"]):
    ...         print(record.time, len(record.message().instances))

    Raises:
        BagError: no such folder, no metadata, or storage that cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise BagError(f"{self.path}: no such bag; expected a folder with metadata.yaml")
        if self.path.is_dir() and not (self.path / "metadata.yaml").is_file():
            raise BagError(f"{self.path}: not a bag: it holds no metadata.yaml")
        with self._explained():
            self._reader = Reader(self.path)

    def __enter__(self) -> BagReader:
        with self._explained():
            self._reader.open()
        for connection in self._reader.connections:
            ours = connection.msgtype.startswith(f"{PACKAGE}/") and connection.msgtype in typestore().types
            if ours and connection.digest not in ("", typestore().hash_rihs01(connection.msgtype)):
                self._reader.close()
                raise BagError(
                    f"{self.path}: {connection.topic} was recorded with another version of {connection.msgtype}"
                )
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()

    @property
    def topics(self) -> dict[str, str]:
        """Topic -> message type."""
        return {c.topic: c.msgtype for c in self._reader.connections}

    @property
    def counts(self) -> dict[str, int]:
        """Topic -> number of messages."""
        return {c.topic: c.msgcount for c in self._reader.connections}

    @property
    def duration(self) -> float:
        """Seconds from the first to the last message."""
        return max(0, self._reader.duration - 1) * 1e-9  # `rosbags` counts up to after the last message

    def qos(self, topic: str) -> Qos:
        """The first QoS profile that was recorded for a topic; `RELIABLE` when none was."""
        chosen: list[Any] = [c.ext for c in self._reader.connections if c.topic == topic]
        profiles = [profile for ext in chosen for profile in ext.offered_qos_profiles]
        return profiles[0] if profiles else RELIABLE

    def topics_of(self, msgtype: str) -> list[str]:
        """Topics with messages of a type, in alphabetical order."""
        return sorted(topic for topic, kind in self.topics.items() if kind == msgtype and self.counts[topic])

    def records(self, topics: Sequence[str] | None = None) -> Iterator[Record]:
        """Records of some topics, or of all; topics that the bag lacks give nothing."""
        wanted = [c for c in self._reader.connections if topics is None or c.topic in topics]
        if not wanted:
            return
        with self._explained():
            for connection, time, raw in self._reader.messages(wanted):
                yield Record(connection.topic, connection.msgtype, time, bytes(raw))

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except BagError:
            raise
        except _CORRUPT as error:
            raise BagError(f"{self.path}: not a readable rosbag2 bag ({type(error).__name__}: {error})") from error
