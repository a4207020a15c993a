"""Evaluation runs: from a data set and methods to records, frame by frame; killed runs go on, shards merge."""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

import amodal_ros
from amodal_ros.lab.datasets.base import Dataset, DatasetError, DatasetObject, Sample
from amodal_ros.lab.evaluation.baselines import Guess, Method, scene_of
from amodal_ros.lab.evaluation.metrics import Record, overlap
from amodal_ros.scene import MaskRegion, Scene


@dataclass(frozen=True)
class Selection:
    """Which objects count.

    Attributes:
        occlusion: (above, up to): above < rate <= up to; None takes every object.
        limit: at most this many objects, the data set's first ones.
        shard: (position from 1, number of shards); frames are dealt out in turn.
    """

    occlusion: tuple[float, float] | None = None
    limit: int | None = None
    shard: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        position, shards = self.shard
        if not 1 <= position <= shards:
            raise ValueError(f"shard: expected I/N with 1 <= I <= N, got {position}/{shards}")
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"limit: expected at least 1 object, got {self.limit}")

    def objects(self, sample: Sample) -> list[DatasetObject]:
        """The sample's objects that count; one without any visible pixel gives no method anything to go on."""
        above, up_to = self.occlusion or (-1.0, 1.0)
        return [o for o in sample.objects if o.visible and above < o.occlusion <= up_to]

    def frames(self, dataset: Dataset) -> list[tuple[str, int | None]]:
        """This shard's frames with how many of their objects count (None: all)."""
        position, shards = self.shard
        return self._limited(dataset)[position - 1 :: shards]

    def _limited(self, dataset: Dataset) -> list[tuple[str, int | None]]:
        if self.limit is None:
            return [(frame, None) for frame in dataset.frames]
        frames: list[tuple[str, int | None]] = []
        left = self.limit
        for frame in dataset.frames:
            sample = dataset.try_sample(frame)
            count = min(left, len(self.objects(sample))) if sample else 0
            frames.append((frame, count))
            left -= count
            if not left:
                break
        return frames


def evaluate(
    dataset: Dataset,
    methods: Sequence[Method],
    frames: Sequence[tuple[str, int | None]],
    selection: Selection,
    use_depth: bool = False,
) -> Iterator[list[tuple[Record, list[Guess]]]]:
    """One list per frame, as soon as it is done: each counted object's record and its guesses (one per method).

    With `use_depth` the data set's depth decides who is in front, for all methods alike.
    A frame without counted objects, or a bad one that is skipped, gives an empty list.
    """
    for frame_id, count in frames:
        results: list[tuple[Record, list[Guess]]] = []
        sample = dataset.try_sample(frame_id)
        objects = selection.objects(sample)[:count] if sample else []
        if sample and objects:
            try:
                results = _evaluate_frame(sample, objects, scene_of(sample, use_depth), methods)
            except DatasetError as error:  # the image; errors of a method are not the data's
                dataset.report(error)
        yield results


def _evaluate_frame(
    sample: Sample, objects: Sequence[DatasetObject], scene: Scene, methods: Sequence[Method]
) -> list[tuple[Record, list[Guess]]]:
    place = {thing.id: k for k, thing in enumerate(sample.objects)}
    which = [place[thing.id] for thing in objects]
    guesses = [method(scene, which) for method in methods]
    results = []
    for i, target in enumerate(objects):
        mine = [of_method[i] for of_method in guesses]
        pairs = [overlap(g.mask, target.amodal, sample.shape, sample.truth_leaves_frame) for g in mine]
        inside = target.amodal.clip(*sample.shape).area
        record = Record(
            frame=sample.frame_id,
            object=target.id,
            source=target.source or f"{sample.frame_id}/{target.id}",
            class_id=target.class_id,
            occlusion=target.occlusion,
            overlaps={m.name: pair for m, pair in zip(methods, pairs)},
            answers={m.name: g.answer for m, g in zip(methods, mine) if g.answer},
            seconds={m.name: round(g.seconds, 6) for m, g in zip(methods, mine)},
            truncation=1 - inside / target.amodal.area,
        )
        results.append((record, mine))
    return results


class RunFolder:
    """A run on disk: ``settings.json``, and per shard one line per object, appended as it goes.

    Opening a folder that holds a run continues it; a line cut short by a kill or a full disk is dropped and its object
    evaluated again.

    Args:
        path: the folder; made if missing.
        settings: everything that decides the figures.
        shard: (position from 1, number of shards).

    Raises:
        ValueError: the folder holds a run with other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any], shard: tuple[int, int] = (1, 1)) -> None:
        self.path = path
        self.shard = shard
        path.mkdir(parents=True, exist_ok=True)
        self._claim({**settings, "shards": shard[1]})
        suffix = f"{shard[0]}-of-{shard[1]}"
        self._objects = path / f"objects-{suffix}.jsonl"
        self._masks = path / f"masks-{suffix}.jsonl"
        self._skipped = path / f"skipped-{suffix}.jsonl"
        self._finished = path / f"finished-{suffix}"
        for file in (self._objects, self._masks, self._skipped):
            _drop_cut_line(file)
        self.records = read_records(self._objects)
        self._known = {r.key for r in self.records}
        self.skipped = _read_lines(self._skipped)

    def _claim(self, settings: dict[str, Any]) -> None:
        """Write the settings, or compare with those that are there."""
        file = self.path / "settings.json"
        wanted = json.loads(json.dumps(settings))
        if not file.exists():
            mine = self.path / f".settings-{os.getpid()}"
            mine.write_text(json.dumps({"settings": wanted, "versions": versions()}, indent=2) + "\n")
            try:
                os.link(mine, file)  # fails if another shard was first: then compare like everybody else
            except FileExistsError:
                pass
            finally:
                mine.unlink()
        _compare(self.path, read_settings(self.path), wanted)

    def remaining(self, frames: Sequence[tuple[str, int | None]]) -> list[tuple[str, int | None]]:
        """The frames still to do: frames are done in order, so only the last recorded one can be incomplete."""
        if not self.records:
            return list(frames)
        last = self.records[-1].frame
        return list(frames[[frame for frame, _ in frames].index(last) :])

    def add(self, results: Sequence[tuple[Record, list[Guess]]], methods: Sequence[Method], masks: bool) -> None:
        """Append a frame's objects. Masks go first, so that a recorded object always has its masks."""
        for record, guesses in results:
            if record.key in self._known:
                continue
            if masks:
                encoded = {m.name: encode(g.mask) for m, g in zip(methods, guesses)}
                _append(self._masks, {"frame": record.frame, "object": record.object, "masks": encoded})
            _append(self._objects, asdict(record))
            self._known.add(record.key)
            self.records.append(record)

    def skip(self, messages: Sequence[str]) -> None:
        """Append what was left out and why; each message once."""
        for message in set(messages) - set(self.skipped):
            _append(self._skipped, message)
            self.skipped.append(message)

    def finish(self) -> None:
        """Mark this shard as complete."""
        self._finished.touch()


def read_settings(path: Path) -> dict[str, Any]:
    """A run's settings. Raises ValueError when `path` is no run."""
    file = path / "settings.json"
    if not file.is_file():
        raise ValueError(f"{path}: no run here (settings.json is missing)")
    return json.loads(file.read_text())["settings"]


def is_complete(path: Path) -> bool:
    """Whether every shard of the run has finished."""
    shards = read_settings(path)["shards"]
    return all((path / f"finished-{i}-of-{shards}").exists() for i in range(1, shards + 1))


def read_run(paths: Sequence[Path]) -> tuple[dict[str, Any], list[Record], list[str]]:
    """Settings, records and messages about skipped data of one run, whose shards may lie in several folders.

    Raises:
        ValueError: the folders hold different runs, a shard is missing or unfinished, or two shards overlap.
    """
    settings = read_settings(paths[0])
    for path in paths[1:]:
        _compare(path, read_settings(path), settings, but=("root", "model"))  # paths differ between machines
    shards = settings["shards"]
    records: dict[tuple[str, str], Record] = {}
    skipped: list[str] = []
    for i in range(1, shards + 1):
        suffix = f"{i}-of-{shards}"
        home = next((p for p in paths if (p / f"finished-{suffix}").exists()), None)
        if home is None:
            raise ValueError(f"{paths[0]}: shard {i} of {shards} is missing or not finished")
        for record in read_records(home / f"objects-{suffix}.jsonl"):
            if records.setdefault(record.key, record) is not record:
                raise ValueError(f"{home}: object {record.object} of {record.frame} is in two shards")
        skipped += _read_lines(home / f"skipped-{suffix}.jsonl")
    return settings, list(records.values()), sorted(set(skipped))


def read_records(file: Path) -> list[Record]:
    """The objects of one shard; none if it has not begun."""
    rows = _read_lines(file)
    return [Record(**{**row, "overlaps": {m: tuple(p) for m, p in row["overlaps"].items()}}) for row in rows]


def read_masks(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """By frame and object, every method's encoded mask (`decode`); empty where the run kept none."""
    rows = [row for file in sorted(path.glob("masks-*.jsonl")) for row in _read_lines(file)]
    return {(row["frame"], row["object"]): row["masks"] for row in rows}


def merge(paths: Sequence[Path], out: Path) -> None:
    """Make one unsharded run of finished shards. Raises ValueError as `read_run` does."""
    settings, records, skipped = read_run(paths)
    run = RunFolder(out, {key: value for key, value in settings.items() if key != "shards"})
    if run.records:
        raise ValueError(f"{out}: already holds a run")
    run.add([(record, []) for record in sorted(records, key=lambda r: r.key)], (), masks=False)
    run.skip(skipped)
    run.finish()


def encode(mask: MaskRegion) -> dict[str, Any]:
    """A mask for JSON: its offset in the frame (it may leave it) and COCO's compressed run lengths of its box."""
    rle = coco_mask.encode(np.asfortranarray(mask.bits.view(np.uint8)))
    return {"x": mask.x, "y": mask.y, "size": list(mask.bits.shape), "counts": rle["counts"].decode()}


def decode(mask: Mapping[str, Any]) -> MaskRegion:
    """The inverse of `encode`."""
    bits = coco_mask.decode({"size": mask["size"], "counts": mask["counts"].encode()})
    return MaskRegion(mask["x"], mask["y"], bits.astype(bool))


def fingerprint(*places: Path) -> str:
    """Which weights lie at some places (folders or files): SHA-256 over every file's name, size, first and last MiB."""
    digest = hashlib.sha256()
    files = [f for place in places for f in ([place] if place.is_file() else sorted(place.rglob("*")))]
    for file in (f for f in files if f.suffix in (".safetensors", ".bin", ".pth", ".json")):
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(1 << 20))
            stream.seek(max(0, size - (1 << 20)))
            digest.update(stream.read())
    return digest.hexdigest()[:16]


def versions() -> dict[str, str]:
    """Of what the figures may depend on."""
    found = {"amodal_ros": amodal_ros.__version__, "python": platform.python_version()}
    for package in ("numpy", "opencv-python-headless", "torch", "diffusers", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _compare(path: Path, there: Mapping[str, Any], wanted: Mapping[str, Any], but: Sequence[str] = ()) -> None:
    """Raise ValueError with the first setting of the run at `path` that is not as wanted."""
    theirs, mine = _flat(there), _flat(wanted)
    for key in sorted({*theirs, *mine} - set(but)):
        one, other = theirs.get(key, "nothing"), mine.get(key, "nothing")
        if one != other:
            raise ValueError(f"{path} holds a run with {key} = {one!r}, expected {other!r}; use another --out")


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _read_lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def _append(file: Path, row: Any) -> None:
    try:
        with file.open("a") as stream:  # closed after each line: what is recorded is on disk
            stream.write(json.dumps(row) + "\n")
    except OSError as problem:
        raise OSError(f"{file}: {problem.strerror}; the same command goes on from here") from None


def _drop_cut_line(file: Path) -> None:
    if file.exists():
        content = file.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            with file.open("r+b") as stream:
                stream.truncate(len(whole))
