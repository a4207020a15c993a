"""What every data set looks like from outside: frames by id, each with its objects, image and depth read on demand."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from amodal_ros.io import ReadError, read_image
from amodal_ros.scene.mask import MaskRegion


class DatasetError(ValueError):
    """Something on disk is not what its format says; names data set, file and object."""

    def __init__(self, dataset: str, file: Path | str, problem: object, object_id: object = None) -> None:
        where = f"{dataset}: {file}" + (f", object {object_id}" if object_id is not None else "")
        super().__init__(f"{where}: {problem}")


@dataclass(frozen=True)
class DatasetObject:
    """One annotated object of a frame.

    Attributes:
        id: unique within its frame.
        visible: modal mask, inside the frame; may be empty (wholly hidden).
        amodal: true whole mask; leaves the frame only in data sets whose truth does.
        occlusion: share of the in-frame amodal mask that is hidden, in [0, 1], as the data set defines it.
        class_id: class name, empty if unknown.
        source: what a bootstrap resamples: the same thing seen in several cases (frames of a video, composites of one
            cut-out) has one source.
    """

    id: str
    visible: MaskRegion
    amodal: MaskRegion
    occlusion: float
    class_id: str = ""
    source: str = ""


@dataclass(frozen=True)
class Sample:
    """One frame with its objects; the image is read when asked for.

    Attributes:
        frame_id: unique within the data set.
        shape: (height, width) of the frame in pixels.
        objects: what is to be completed.
        read_image: gives RGB uint8 (height, width, 3); raises `DatasetError` for a broken or mismatched file.
        context: visible masks of labelled things that are not to be completed but can hide objects.
        read_depth: gives float32 (height, width) in metres; None where the data set has no depth.
        truth_leaves_frame: whether amodal masks are known outside the frame too; then masks are compared there.
        file: the image's file; None where the frame is drawn, or lies in a video.
    """

    frame_id: str
    shape: tuple[int, int]
    objects: tuple[DatasetObject, ...]
    read_image: Callable[[], np.ndarray] = field(repr=False)
    context: tuple[MaskRegion, ...] = field(default=(), repr=False)
    read_depth: Callable[[], np.ndarray] | None = field(default=None, repr=False)
    truth_leaves_frame: bool = False
    file: Path | None = None


class Dataset(ABC):
    """Frames in a fixed order, loaded one at a time.

    ``for sample in dataset`` stops with a `DatasetError` at the first bad item; with `skip_bad` bad objects and frames
    are left out and their messages collected in `bad`.

    Attributes:
        name: as on the command line.
        protocol: one line for people: split, filters and choices, so that a table can say what it measured.
        bad: messages of everything that was skipped.
    """

    name: str
    protocol: str
    has_root = True  #: whether it lies in a folder; False for what is drawn on the fly

    def __init__(self, skip_bad: bool = False) -> None:
        self.skip_bad = skip_bad
        self._bad: dict[str, None] = {}  # in order, each once

    @property
    def bad(self) -> list[str]:
        return list(self._bad)

    @classmethod  # noqa: B027 - few have options
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        """Add the data set's own command line options (splits, filters)."""

    @classmethod
    @abstractmethod
    def from_args(cls, args: argparse.Namespace) -> Dataset:
        """Open it as the command line says: ``args.root``, ``args.skip_bad`` and its own options."""

    @property
    @abstractmethod
    def frames(self) -> Sequence[str]:
        """Ids of all frames, in order."""

    @abstractmethod
    def sample(self, frame_id: str) -> Sample:
        """One frame. Raises `DatasetError` when it cannot be read."""

    def try_sample(self, frame_id: str) -> Sample | None:
        """One frame, or None when it is bad and bad data is skipped."""
        with self.bad_data(frame_id):
            return self.sample(frame_id)
        return None

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[Sample]:
        for frame_id in self.frames:
            if (sample := self.try_sample(frame_id)) is not None:
                yield sample

    @contextmanager
    def bad_data(self, file: Path | str, object_id: object = None) -> Iterator[None]:
        """Turn whatever goes wrong while reading one item into a `DatasetError`, and report it.

        Malformed annotations surface as any of the errors below, depending on which field is wrong.
        """
        try:
            yield
        except DatasetError as error:
            self.report(error)
        except (ValueError, TypeError, LookupError, OSError, AttributeError) as problem:
            what = f"missing field {problem}" if isinstance(problem, KeyError) else problem
            self.report(DatasetError(self.name, file, what, object_id))

    def report(self, error: DatasetError) -> None:
        """Raise the error, or note it in `bad` when bad data is skipped."""
        if not self.skip_bad:
            raise error
        self._bad[str(error)] = None

    def image_reader(self, path: Path, shape: tuple[int, int]) -> Callable[[], np.ndarray]:
        """A `Sample.read_image` for an image file."""

        def read() -> np.ndarray:
            try:
                return read_image(path, shape)
            except ReadError as error:
                raise DatasetError(self.name, path, error.problem) from None

        return read


def occlusion_rate(visible: MaskRegion, amodal: MaskRegion) -> float:
    """1 - |V * A| / |A|, in [0, 1]; sloppy visible pixels outside the amodal mask do not count."""
    return 1.0 - visible.overlap(amodal) / amodal.area if amodal.area else 0.0
