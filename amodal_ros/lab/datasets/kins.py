"""KINS: amodal masks on KITTI's object images; the schema of 2019 and that of 2020."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from amodal_ros.io import numbered
from amodal_ros.lab.datasets.base import Dataset, DatasetError, DatasetObject, Sample, occlusion_rate
from amodal_ros.lab.datasets.coco_masks import by_frame, from_segmentation, read_json
from amodal_ros.scene.mask import MaskRegion

_FILES = {
    (2019, "train"): "instances_train.json",
    (2019, "test"): "instances_val.json",
    (2020, "train"): "update_train_2020.json",
    (2020, "test"): "update_test_2020.json",
}
_FOLDERS = {"train": "training", "test": "testing"}


class Kins(Dataset):
    """KINS: the annotation file in the root or ``annotations/``, images in ``training|testing/image_2/``.

    The occlusion rate is not stored; it is 1 - |modal * amodal| / |amodal|.

    Args:
        root: the folder.
        version: 2019 (``instances_*.json``: modal run lengths) or 2020 (``update_*_2020.json``: polygons).
        split: ``"train"`` or ``"test"``.

    Raises:
        DatasetError: missing file or another schema.
    """

    name = "kins"

    def __init__(self, root: Path | str, version: int = 2020, split: str = "test", skip_bad: bool = False) -> None:
        super().__init__(skip_bad)
        self.root = Path(root)
        self.version, self.split = version, split
        self.protocol = f"annotations of {version}, split {split}, every annotated object"
        file = _FILES[version, split]
        homes = (self.root / file, self.root / "annotations" / file)
        self.annotation_file = next((p for p in homes if p.exists()), homes[0])
        self._load()

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--version", type=int, choices=(2019, 2020), default=2020)
        parser.add_argument("--split", choices=("train", "test"), default="test")

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Kins:
        return cls(args.root, args.version, args.split, args.skip_bad)

    def _load(self) -> None:
        content = read_json(self.name, self.annotation_file, "images", "annotations", "categories")
        wanted = "a_segm" if self.version == 2020 else "inmodal_seg"
        if wanted not in content["annotations"][0]:
            problem = f"another schema: annotations of {self.version} have {wanted!r}, these do not"
            raise DatasetError(self.name, self.annotation_file, problem)
        self._classes = {c["id"]: c["name"] for c in content["categories"]}
        self._entries = by_frame(self, self.annotation_file, content)

    @cached_property
    def frames(self) -> Sequence[str]:
        return list(self._entries)

    def sample(self, frame_id: str) -> Sample:
        entry = self._entries[frame_id]
        image = entry.image
        shape = (image["height"], image["width"])
        file = self.root / _FOLDERS[self.split] / "image_2" / image["file_name"]
        objects = []
        names = numbered([str(annotation["id"]) for annotation in entry.annotations])
        for name, annotation in zip(names, entry.annotations):
            with self.bad_data(file, annotation["id"]):
                objects.append(self._object(frame_id, name, annotation, shape))
        return Sample(frame_id, shape, tuple(objects), self.image_reader(file, shape), file=file)

    def _object(self, frame: str, id: str, annotation: dict[str, Any], shape: tuple[int, int]) -> DatasetObject:
        visible, amodal = self._masks(annotation, shape)
        if not amodal:
            raise ValueError("empty amodal mask")
        name = self._classes.get(annotation["category_id"], str(annotation["category_id"]))
        return DatasetObject(id, visible, amodal, occlusion_rate(visible, amodal), name, f"{frame}/{id}")

    def _masks(self, annotation: dict[str, Any], shape: tuple[int, int]) -> tuple[MaskRegion, MaskRegion]:
        if self.version == 2020:
            hidden = not annotation["i_segm"]
            visible = MaskRegion.empty() if hidden else from_segmentation(annotation["i_segm"], shape)
            return visible, from_segmentation(annotation["a_segm"], shape)
        return (
            from_segmentation(annotation["inmodal_seg"], shape),
            from_segmentation(annotation["segmentation"], shape),
        )
