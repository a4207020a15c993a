"""What a bag's ``metadata.yaml`` adds to its storage files. People edit it; a recorder that is killed writes none."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml
from rosbags.interfaces import Qos

from amodal_ros.lab.bags.storage import qos_profiles

NAME = "metadata.yaml"


@dataclass(frozen=True)
class Promise:
    """What metadata says of one topic with one type."""

    count: int
    digest: str
    qos: tuple[Qos, ...]


@dataclass(frozen=True)
class Metadata:
    """The part of ``metadata.yaml`` that counts when a bag is read.

    Attributes:
        files: names of the storage files.
        topics: by (topic, type).
        note: why there is nothing, for people; None if there is.
    """

    files: tuple[str, ...] = ()
    topics: Mapping[tuple[str, str], Promise] = field(default_factory=dict)
    note: str | None = None

    @staticmethod
    def of(folder: Path) -> Metadata:
        """Read what a bag's folder has; a file that is missing or is something else is a `note` and no error."""
        path = folder / NAME
        if not path.is_file():
            return Metadata(note=f"{folder}: no {NAME}; all storage files in it are read. {mend(folder)}")
        try:
            found = yaml.safe_load(path.read_text())["rosbag2_bagfile_information"]
            files = tuple(Path(name).name for name in found["relative_file_paths"])
            return Metadata(files, dict(_promise(entry) for entry in found["topics_with_message_count"]))
        except (yaml.YAMLError, LookupError, TypeError, ValueError) as error:
            said = " ".join(f"{type(error).__name__} {error}".split())
            return Metadata(
                note=f"{path}: not as rosbag2 writes it ({said}); all storage files are read. {mend(folder)}"
            )


def mend(folder: Path) -> str:
    """How to have `NAME` written anew."""
    return f"To mend it: ros2 bag reindex {shlex.quote(str(folder))}"


def _promise(entry: Mapping) -> tuple[tuple[str, str], Promise]:
    topic = entry["topic_metadata"]
    digest, qos = topic.get("type_description_hash") or "", qos_profiles(topic.get("offered_qos_profiles"))
    return (topic["name"], topic["type"]), Promise(int(entry["message_count"]), digest, qos)
