"""KINS: amodal masks on KITTI's object images; the schema of 2019 and that of 2020."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from amodal_ros.datasets.base import Dataset, DatasetError, DatasetObject, Sample, occlusion_rate
from amodal_ros.datasets.coco_masks import from_polygons, from_rle, read_json
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
        self._images = {Path(i["file_name"]).stem: i for i in content["images"]}
        self._annotations: dict[int, list[dict[str, Any]]] = {}
        for annotation in content["annotations"]:
            self._annotations.setdefault(annotation["image_id"], []).append(annotation)

    @cached_property
    def frames(self) -> Sequence[str]:
        return list(self._images)

    def sample(self, frame_id: str) -> Sample:
        image = self._images[frame_id]
        shape = (image["height"], image["width"])
        file = self.root / _FOLDERS[self.split] / "image_2" / image["file_name"]
        objects = []
        for annotation in self._annotations.get(image["id"], ()):
            with self.bad_data(file, annotation.get("id")):
                objects.append(self._object(frame_id, annotation, shape))
        return Sample(frame_id, shape, tuple(objects), self.image_reader(file, shape))

    def _object(self, frame_id: str, annotation: dict[str, Any], shape: tuple[int, int]) -> DatasetObject:
        visible, amodal = self._masks(annotation, shape)
        if not amodal:
            raise ValueError("empty amodal mask")
        name = self._classes.get(annotation["category_id"], str(annotation["category_id"]))
        number = str(annotation["id"])
        return DatasetObject(number, visible, amodal, occlusion_rate(visible, amodal), name, f"{frame_id}/{number}")

    def _masks(self, annotation: dict[str, Any], shape: tuple[int, int]) -> tuple[MaskRegion, MaskRegion]:
        if self.version == 2020:
            hidden = not annotation["i_segm"]
            visible = MaskRegion.empty() if hidden else from_polygons(annotation["i_segm"], shape)
            return visible, from_polygons(annotation["a_segm"], shape)
        return from_rle(annotation["inmodal_seg"], shape), from_polygons(annotation["segmentation"], shape)
