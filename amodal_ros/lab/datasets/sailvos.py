"""SAIL-VOS: street scenes from a game, with the official COCO-style annotation files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from amodal_ros.io import numbered
from amodal_ros.lab.datasets.base import Dataset, DatasetObject, Sample
from amodal_ros.lab.datasets.coco_masks import by_frame, from_rle, read_json

#: Whole objects show rates of about 0.002: visible and amodal renders differ along the outline.
BOUNDARY_GAP = 0.005


class SailVos(Dataset):
    """SAIL-VOS: ``train.json`` or ``valid.json`` in the root, images by their ``file_name`` below it.

    Occlusion rates up to `BOUNDARY_GAP` count as unoccluded.

    Args:
        root: the folder.
        split: ``"train"`` or ``"valid"``.
        max_occlusion: leave objects out that are hidden more (VATrack evaluates up to 0.75).

    Raises:
        DatasetError: missing file or another schema.
    """

    name = "sailvos"

    def __init__(
        self, root: Path | str, split: str = "valid", max_occlusion: float = 1.0, skip_bad: bool = False
    ) -> None:
        super().__init__(skip_bad)
        if not 0 <= max_occlusion <= 1:
            raise ValueError(f"max_occlusion: expected a rate in [0, 1], got {max_occlusion}")
        self.root = Path(root)
        self.max_occlusion = max_occlusion
        self.protocol = f"split {split}, occlusion rate up to {max_occlusion:g}, up to {BOUNDARY_GAP:g} is unoccluded"
        file = self.root / f"{split}.json"
        content = read_json(self.name, file, "images", "annotations", "categories")
        self._classes = {c["id"]: c["name"] for c in content["categories"]}
        self._entries = by_frame(self, file, content, whole_path=True)

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--split", choices=("train", "valid"), default="valid")
        parser.add_argument(
            "--max-occlusion", type=float, default=1.0, metavar="RATE", help="leave out what is hidden more"
        )

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> SailVos:
        return cls(args.root, args.split, args.max_occlusion, args.skip_bad)

    @cached_property
    def frames(self) -> Sequence[str]:
        return list(self._entries)

    def sample(self, frame_id: str) -> Sample:
        entry = self._entries[frame_id]
        image = entry.image
        shape = (image["height"], image["width"])
        file = self.root / image["file_name"]
        objects, context = [], []
        names = numbered([str(annotation["id"]) for annotation in entry.annotations])
        for name, annotation in zip(names, entry.annotations):
            with self.bad_data(file, annotation["id"]):
                target = self._object(name, image, annotation, shape)
                if target.occlusion <= self.max_occlusion:
                    objects.append(target)
                elif target.visible:
                    context.append(target.visible)
        return Sample(frame_id, shape, tuple(objects), self.image_reader(file, shape), tuple(context), file=file)

    def _object(
        self, id: str, image: dict[str, Any], annotation: dict[str, Any], shape: tuple[int, int]
    ) -> DatasetObject:
        amodal = from_rle(annotation["segmentation"], shape)
        visible = from_rle(annotation["visible_mask"], shape)
        if not amodal:
            raise ValueError("empty amodal mask")
        rate = float(annotation["occlude_rate"])
        if not 0 <= rate <= 1:
            raise ValueError(f"occlude_rate: expected [0, 1], got {rate}")
        name = self._classes.get(annotation["category_id"], str(annotation["category_id"]))
        track = f"{image['video_id']}/{annotation['obj_id']}"  # obj_id is unique within its video
        occlusion = 0.0 if rate <= BOUNDARY_GAP else rate
        return DatasetObject(id, visible, amodal, occlusion, name, track)
