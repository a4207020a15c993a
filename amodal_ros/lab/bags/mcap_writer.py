"""mcap files as rosbag2 writes them: definitions, QoS and type hashes inside, chunks with checksums."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mcap.writer import Writer as Mcap
from rosbags.interfaces import Connection, ConnectionExtRosbag2, MessageDefinitionFormat
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer
from rosbags.rosbag2.storage_sqlite3 import Sqlite3Writer


class McapWriter:
    """What `rosbags.rosbag2.Writer` asks of a storage file. `rosbags`' own lacks checksums and ``topic_type_hash``."""

    def __init__(self, path: Path, compression: CompressionMode) -> None:
        self.path = path / f"{path.name}.mcap"
        self._file = self.path.open("xb")
        self._mcap = Mcap(self._file)  # chunks in zstd
        self._mcap.start(profile="ros2", library="amodal_ros")
        self._schemas: dict[str, int] = {}
        self._channels: dict[int, int] = {}

    def add_msgtype(self, connection: Connection) -> None:
        """Store a type's definition."""
        encoding = "ros2msg" if connection.msgdef.format == MessageDefinitionFormat.MSG else "ros2idl"
        definition = connection.msgdef.data.encode()
        self._schemas[connection.msgtype] = self._mcap.register_schema(connection.msgtype, encoding, definition)

    def add_connection(self, connection: Connection, offered_qos_profiles: str) -> None:
        """Open a channel."""
        assert isinstance(connection.ext, ConnectionExtRosbag2)
        self._channels[connection.id] = self._mcap.register_channel(
            connection.topic,
            connection.ext.serialization_format,
            self._schemas[connection.msgtype],
            {"offered_qos_profiles": offered_qos_profiles, "topic_type_hash": connection.digest},
        )

    def write(self, connection: Connection, timestamp: int, data: bytes | memoryview) -> None:
        """Append a message recorded at `timestamp` (ns)."""
        self._mcap.add_message(self._channels[connection.id], timestamp, bytes(data), timestamp)

    def close(self, version: int, metadata: str) -> None:
        """Write the index, with the bag's metadata inside, from which rosbag2 reads a file without its folder."""
        self._mcap.add_metadata("rosbag2", {"serialized_metadata": metadata})
        self._mcap.finish()
        self._file.close()

    def abort(self) -> None:
        """Leave an unfinished file."""
        self._file.close()


class BagFolderWriter(Writer):
    """`rosbags`' writer with the mcap files above."""

    STORAGE_PLUGINS: Mapping[StoragePlugin, Any] = MappingProxyType(
        {StoragePlugin.SQLITE3: Sqlite3Writer, StoragePlugin.MCAP: McapWriter}
    )
