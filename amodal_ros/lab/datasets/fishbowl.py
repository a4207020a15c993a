"""FishBowl: rendered aquarium videos; the generator's own output and the test release of SaVos."""

from __future__ import annotations

import argparse
import json
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from amodal_ros.io import read_image
from amodal_ros.lab.datasets.base import Dataset, DatasetError, DatasetObject, Sample, occlusion_rate
from amodal_ros.lab.datasets.coco_masks import from_rle
from amodal_ros.scene.mask import MaskRegion

#: Video frames of the generator: (height, width).
SHAPE = (320, 480)
#: The filter of the SaVos release.
MIN_AMODAL, MIN_VISIBLE, MIN_BORDER = 400, 64, 16  # pixels
MIN_RATE, MAX_RATE, MIN_FRAMES = 0.1, 0.7, 10

Pair = tuple[MaskRegion, MaskRegion]


class FishBowl(Dataset):
    """FishBowl: ``NNNNN/{video.mp4,objects.json}`` with single-fish renders, or SaVos' ``test_data.pkl``.

    Masks lie inside the frame only. Every frame is one sample; a fish of a video is one source.

    Args:
        root: a folder of the generator's samples, or the one that holds ``test_data.pkl`` and ``test_frames/`` (or
            ``test_data/`` with both).
        savos_filter: score only what SaVos scores: amodal mask > 400 px and 16 px from the border, visible mask > 64
            px, rate in (0.1, 0.7), fish with more than 10 frames of their own; the rest stays as context.

    Raises:
        DatasetError: nothing of either layout.
    """

    name = "fishbowl"

    def __init__(self, root: Path | str, savos_filter: bool = False, skip_bad: bool = False) -> None:
        super().__init__(skip_bad)
        self.root = Path(root)
        self.savos_filter = savos_filter
        released = [p for p in (self.root / "test_data.pkl", self.root / "test_data" / "test_data.pkl") if p.exists()]
        self._layout = _Release(released[0]) if released else _Generated(self.root)
        which = "SaVos' filter" if savos_filter else "every fish of every frame"
        self.protocol = f"{self._layout.what}, {which}"

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--savos-filter", action="store_true", help="score only what SaVos scores")

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> FishBowl:
        return cls(args.root, args.savos_filter, args.skip_bad)

    @cached_property
    def frames(self) -> Sequence[str]:
        with_frames = []
        for video in self._layout.videos:
            count = 0
            with self.bad_data(self.root / video):
                count = self._layout.length(video)
            with_frames += [f"{video}/{t:05d}" for t in range(count)]
        return with_frames

    def sample(self, frame_id: str) -> Sample:
        video, t = frame_id.split("/")[0], int(frame_id.split("/")[1])
        objects, context = [], []
        for fish in self._layout.fish(video):
            with self.bad_data(self.root / frame_id, fish.id):
                pair = fish.masks(t)
                if pair is None or not (pair[0] or pair[1]):
                    continue  # not in this frame
                visible, amodal = pair
                if not amodal:
                    raise ValueError("visible but with an empty amodal mask")
                if not self.savos_filter or (_scored(pair) and self._shown_often(video, fish)):
                    rate = occlusion_rate(visible, amodal)
                    objects.append(DatasetObject(fish.id, visible, amodal, rate, fish.kind, f"{video}/{fish.id}"))
                elif visible:
                    context.append(visible)
        read = partial(self._read_image, video, t)
        return Sample(frame_id, SHAPE, tuple(objects), read, tuple(context))

    def _read_image(self, video: str, t: int) -> np.ndarray:
        try:
            return self._layout.image(video, t)
        except ValueError as problem:
            raise DatasetError(self.name, f"{self.root / video}, frame {t}", problem) from None

    @lru_cache(maxsize=256)  # noqa: B019 - one data set lives as long as its process
    def _shown_often(self, video: str, fish: _Fish) -> bool:
        pairs = [pair for t in range(self._layout.length(video)) if (pair := fish.masks(t)) is not None]
        usable = [pair for pair in pairs if _large(pair)]
        return len(usable) > MIN_FRAMES and any(_scored(pair) for pair in usable)


@dataclass(frozen=True, eq=False)
class _Fish:
    """One fish of one video; masks are decoded when asked for."""

    id: str
    kind: str
    visible: Mapping[int, Any]  #: frame -> run lengths
    amodal: Mapping[int, Any]

    def masks(self, t: int) -> Pair | None:
        """(visible, amodal) in frame t; None where it is not annotated."""
        if t not in self.amodal or t not in self.visible:
            return None
        return from_rle(self.visible[t], SHAPE), from_rle(self.amodal[t], SHAPE)


def _large(pair: Pair) -> bool:
    visible, amodal = pair[0], pair[1].trim()
    inside = amodal.within(MIN_BORDER, MIN_BORDER, SHAPE[1] - 2 * MIN_BORDER, SHAPE[0] - 2 * MIN_BORDER)
    return amodal.area > MIN_AMODAL and visible.area > MIN_VISIBLE and inside.area == amodal.area


def _scored(pair: Pair) -> bool:
    return _large(pair) and MIN_RATE < occlusion_rate(*pair) < MAX_RATE


class _Generated:
    """The generator's layout, before or after its ``postprocess_dataset.py``."""

    what = "generator output"

    def __init__(self, root: Path) -> None:
        self._root = root
        self.videos = sorted(p.parent.name for p in root.glob("*/objects.json") if p.parent.name.isdigit())
        self._video: tuple[str, cv2.VideoCapture, int] | None = None
        if not self.videos:
            raise DatasetError(FishBowl.name, root, "expected NNNNN/objects.json or test_data.pkl")

    def length(self, video: str) -> int:
        return max((len(fish.visible) for fish in self.fish(video)), default=0)

    @lru_cache(maxsize=1)  # noqa: B019 - one video in memory
    def fish(self, video: str) -> list[_Fish]:
        folder = self._root / video
        found = []
        for position, entry in enumerate(json.loads((folder / "objects.json").read_text())):
            number = entry["id"]
            amodal = self._single_fish(video, number, position)
            kind = entry.get("type_name", "")
            found.append(_Fish(str(number), kind, dict(enumerate(entry["masks"])), dict(enumerate(amodal))))
        return found

    def _single_fish(self, video: str, number: int, position: int) -> list[Any]:
        """Run lengths of the render with this fish alone: joined on the id, whatever the folder's number."""
        candidates = [
            self._root / f"{video}_object{number}" / "objects.json",
            self._root / video / f"object{position:03d}" / "objects.json",
            *sorted((self._root / video).glob("object*/objects.json")),
        ]
        for file in candidates:
            if file.exists():
                entry = json.loads(file.read_text())[0]
                if entry["id"] == number:
                    return entry["masks"]
        raise ValueError(f"no single-fish render of fish {number}")

    def image(self, video: str, t: int) -> np.ndarray:
        """Frames are asked for in order, so that the video is decoded once."""
        if self._video is None or self._video[0] != video or self._video[2] > t:
            self._video = (video, cv2.VideoCapture(str(self._root / video / "video.mp4")), 0)
        _, capture, position = self._video
        while position <= t:
            ok, pixels = capture.read()
            if not ok:
                self._video = None
                raise ValueError(f"video.mp4 is missing or ends before frame {t}")
            position += 1
        self._video = (video, capture, position)
        if pixels.shape[:2] != SHAPE:
            raise ValueError(f"video of {pixels.shape[1]}x{pixels.shape[0]}, expected {SHAPE[1]}x{SHAPE[0]}")
        return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


class _Release:
    """SaVos' test data: one pickle of masks, frames as PNG."""

    what = "SaVos test release"

    def __init__(self, file: Path) -> None:
        self._frames = file.parent / "test_frames"
        try:
            with file.open("rb") as stream:
                content = _PlainUnpickler(stream).load()
        except (pickle.UnpicklingError, EOFError) as problem:
            raise DatasetError(FishBowl.name, file, f"unreadable pickle: {problem}") from None
        self._fish: dict[str, list[_Fish]] = {}
        for key, frames in content.items():
            video, number = key.rsplit("_", 1)
            kind = str(next(iter(frames.values())).get("fish_type", ""))
            visible = {int(t): entry["VM"] for t, entry in frames.items()}
            amodal = {int(t): entry["FM"] for t, entry in frames.items()}
            self._fish.setdefault(video, []).append(_Fish(number, kind, visible, amodal))
        self.videos = sorted(self._fish)

    def length(self, video: str) -> int:
        return max(max(fish.visible, default=-1) for fish in self._fish[video]) + 1

    def fish(self, video: str) -> list[_Fish]:
        return self._fish[video]

    def image(self, video: str, t: int) -> np.ndarray:
        return read_image(self._frames / video / f"{t:05d}.png", SHAPE)


class _PlainUnpickler(pickle.Unpickler):
    """Containers, numbers and NumPy arrays only: a downloaded pickle must not run code."""

    _ALLOWED = frozenset({("numpy", "ndarray"), ("numpy", "dtype")})
    _NUMPY_MAKERS = frozenset({"_reconstruct", "scalar", "_frombuffer"})

    def find_class(self, module: str, name: str) -> Any:
        made_by_numpy = module.startswith(("numpy.core.", "numpy._core.")) and name in self._NUMPY_MAKERS
        if (module, name) in self._ALLOWED or made_by_numpy:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"refused to load {module}.{name}")
