"""rosbag2 folders in and out on `rosbags`: plain Python, no ROS installation.

Bags written here carry their message definitions, type hashes and QoS profiles, so that ``ros2 bag play``, the ``mcap``
tools and other readers open them. A bag is always a folder: one storage file and its ``metadata.yaml``.
"""

from __future__ import annotations

import logging
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
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
from rosbags.rosbag2 import StoragePlugin

from amodal_ros.lab.bags.mcap_writer import BagFolderWriter
from amodal_ros.lab.bags.metadata import Metadata, mend
from amodal_ros.lab.bags.share import PACKAGE
from amodal_ros.lab.bags.storage import Channel, StorageFile, is_storage, open_storage
from amodal_ros.lab.bags.typed import typestore

_log = logging.getLogger(__name__)

Storage = Literal["mcap", "sqlite3"]

#: ``metadata.yaml``'s version: from 9 on QoS is a list, which Humble cannot read; Jazzy and Kilted read 8 too.
METADATA_VERSION: Literal[8] = 8

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

_MENDING = "To save what is left: mcap recover FILE -o NEW.mcap, or sqlite3 FILE .recover | sqlite3 NEW.db3"


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
        plugin = StoragePlugin[storage.upper()]
        self._writer = BagFolderWriter(self.path, version=METADATA_VERSION, storage_plugin=plugin)
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
        except Exception as error:  # whatever bytes of another kind make the library stumble over
            raise BagError(f"{self.topic}: a message that is no {self.msgtype} ({error})") from error


class BagReader:
    """A bag's records in the order of their recording, read from disk as they are asked for.

    A bag is a folder of storage files with ``metadata.yaml``, or one storage file. The files say what is there;
    ``metadata.yaml`` adds which files belong to the bag, the QoS (where people edit it) and what to expect. What can be
    read is read; what is missing, cut or of another kind is logged once, with how to mend it. A topic has one type:
    where it was recorded with several, the one with the most messages.

    >>> with BagReader("drive") as bag:                                   # doctest: +SKIP
    ...     for record in bag.records(["/ground_truth/instances"]):
    ...         print(record.time, len(record.message().instances))

    Raises:
        BagError: no such bag, no storage file in it, or nothing that can be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise BagError(f"{self.path}: no such bag; expected a folder with metadata.yaml")
        self._metadata = Metadata.of(self.path) if self.path.is_dir() else Metadata()
        self._paths = self._find_files()
        self._files: list[StorageFile] = []
        self._channels: list[tuple[StorageFile, Channel]] = []

    def __enter__(self) -> BagReader:
        with ExitStack() as stack:
            with self._explained():
                files = [open_storage(path, stack) for path in self._paths]
            self._files = sorted(files, key=lambda file: file.times or (0, 0))
            self._channels, left_out = _readable(self._files)
            notes = [note for note in (self._metadata.note, *(n for file in files for n in file.notes)) if note]
            left_out += self._broken_promises()
            left_out += self._of_other_versions()
            notes += [f"{self.path}: {text}" for text in left_out]
            if notes and not any(channel.count for _, channel in self._channels):
                raise BagError(
                    f"{self.path}: not a readable rosbag2 bag; it has no message that can be read ({notes[-1]})"
                )
            for note in notes:
                _log_once(note)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def topics(self) -> dict[str, str]:
        """Topic -> message type."""
        return {channel.topic: channel.msgtype for _, channel in self._channels}

    @property
    def counts(self) -> dict[str, int]:
        """Topic -> number of messages."""
        counts = dict.fromkeys(self.topics, 0)
        for _, channel in self._channels:
            counts[channel.topic] += channel.count
        return counts

    @property
    def duration(self) -> float:
        """Seconds from the first to the last message."""
        times = [time for file in self._files for time in file.times or ()]
        return (max(times) - min(times)) * 1e-9 if times else 0.0

    def qos(self, topic: str) -> Qos:
        """The strongest offer that was recorded for a topic, which suits every subscriber; `RELIABLE` if none was."""
        promise = self._metadata.topics.get((topic, self.topics.get(topic, "")))
        edited = promise.qos if promise else ()
        stored = [qos for _, channel in self._channels if channel.topic == topic for qos in channel.qos]
        return max(edited or stored, key=_strength, default=RELIABLE)

    def topics_of(self, msgtype: str) -> list[str]:
        """Topics with messages of a type, in alphabetical order."""
        counts = self.counts
        return sorted(topic for topic, kind in self.topics.items() if kind == msgtype and counts[topic])

    def records(self, topics: Sequence[str] | None = None) -> Iterator[Record]:
        """Records of some topics, or of all; topics that the bag lacks give nothing.

        Raises:
            BagError: a message cannot be read, or there are fewer than the storage files have counted.
        """
        left = Counter({topic: n for topic, n in self.counts.items() if topics is None or topic in topics})
        with self._explained():
            for file in self._files:
                wanted = [channel for owner, channel in self._channels if owner is file and channel.topic in left]
                for channel, time, raw in file.messages(wanted) if wanted else ():
                    left[channel.topic] -= 1
                    yield Record(channel.topic, channel.msgtype, time, bytes(raw))
        if lost := [f"{n} of {self.counts[topic]} on {topic}" for topic, n in sorted((+left).items())]:
            raise BagError(f"{self.path}: messages that its index counts are not there: {', '.join(lost)}")

    # --- opening --------------------------------------------------------------------------------------------

    def _find_files(self) -> list[Path]:
        """The storage files that metadata.yaml names and that are there, or all in the folder if none is."""
        if not self.path.is_dir():
            if not is_storage(self.path):
                raise BagError(f"{self.path}: not a bag; expected a folder with metadata.yaml, a .mcap or a .db3 file")
            return [self.path]
        named = [self.path / name for name in self._metadata.files]
        found = [path for path in named if path.is_file()] or sorted(filter(is_storage, self.path.iterdir()))
        gone = ", ".join(sorted({path.name for path in named} - {path.name for path in found}))
        if not found:
            what = f"{gone} is gone" if gone else "it holds no .mcap or .db3 file"
            raise BagError(f"{self.path}: not a readable rosbag2 bag ({what})")
        if gone:
            _log_once(f"{self.path}: {gone}, which metadata.yaml names, is not there. {mend(self.path)}")
        return found

    def _broken_promises(self) -> Iterator[str]:
        counts = self.counts
        for (topic, kind), promise in self._metadata.topics.items():
            there = counts.get(topic, 0) if self.topics.get(topic) == kind else 0
            if there < promise.count:
                yield f"{there} of the {promise.count} messages that metadata.yaml counts on {topic} are there"

    def _of_other_versions(self) -> list[str]:
        """Leave out topics with messages of ours as they were once defined; returns sentences on them."""
        others = {channel.topic: channel.msgtype for _, channel in self._channels if not self._is_ours(channel)}
        self._channels = [(file, channel) for file, channel in self._channels if channel.topic not in others]
        return [f"{t} is not read: it was recorded with another version of {kind}" for t, kind in others.items()]

    def _is_ours(self, channel: Channel) -> bool:
        """Whether a channel of our own messages, if it is one, has the version that is installed."""
        if not channel.msgtype.startswith(f"{PACKAGE}/") or channel.msgtype not in typestore().types:
            return True
        promise = self._metadata.topics.get((channel.topic, channel.msgtype))
        told = {channel.digest, promise.digest if promise else ""}
        return not told - {"", typestore().hash_rihs01(channel.msgtype)}

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """For calls of the libraries, which raise whatever a damaged file makes them stumble over."""
        try:
            yield
        except Exception as error:
            raise BagError(
                f"{self.path}: not a readable rosbag2 bag ({type(error).__name__}: {error}). {_MENDING}"
            ) from error


def _readable(files: Sequence[StorageFile]) -> tuple[list[tuple[StorageFile, Channel]], list[str]]:
    """The channels that can be read with the file of each, one type for a topic, and sentences on the others."""
    notes, counts = [], defaultdict[str, Counter[str]](Counter)
    for channel in (channel for file in files for channel in file.channels):
        if channel.encoding == "cdr":
            counts[channel.topic][channel.msgtype] += channel.count
        else:
            notes.append(
                f"{channel.topic} is not read: its messages are {channel.encoding or 'not serialized'}, not cdr"
            )
    kinds = {topic: types.most_common(1)[0][0] for topic, types in counts.items()}
    for topic, types in counts.items():
        for kind in types.keys() - {kinds[topic]}:
            notes.append(f"{topic}: {types[kind]} messages of {kind} beside those of {kinds[topic]} are not read")
    chosen = [
        (file, channel)
        for file in files
        for channel in file.channels
        if channel.encoding == "cdr" and kinds[channel.topic] == channel.msgtype
    ]
    return chosen, notes


def _strength(qos: Qos) -> tuple[bool, bool]:
    return qos.reliability.name != "BEST_EFFORT", qos.durability.name == "TRANSIENT_LOCAL"


@cache
def _log_once(note: str) -> None:
    """A demo opens its bags many times."""
    _log.warning(note)
