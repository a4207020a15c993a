"""Plain folders: ``image.*``, ``inst_XX_modal.png``, ``inst_XX_amodal.png``, optional ``occluder.png``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from amodal_ros.io import image_shape, natural, read_mask
from amodal_ros.lab.datasets.base import Dataset, DatasetError, DatasetObject, Sample, occlusion_rate
from amodal_ros.scene.mask import MaskRegion


class Folder(Dataset):
    """A folder of case folders (or one case folder), each with one image and PNG masks (`io.read_mask`).

    Optional beside them: ``occluder.png``, a thing that is labelled but not to be completed, and ``meta.json`` with
    ``image_id`` (cases with one image id share their source objects) and ``instances`` of ``{index, name, use}``. An
    instance with ``"use": false`` is context: it can hide others and is not completed; it needs no amodal mask.

    Raises:
        DatasetError: there is no case below `root`.
    """

    name = "folder"

    def __init__(self, root: Path | str, skip_bad: bool = False) -> None:
        super().__init__(skip_bad)
        self.root = Path(root)
        self.protocol = "every instance of every case folder, but for those that meta.json takes as context"
        if not self.frames:
            raise DatasetError(self.name, self.root, "expected case folders with image.* and inst_XX_modal.png")

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Folder:
        return cls(args.root, args.skip_bad)

    @cached_property
    def frames(self) -> Sequence[str]:
        if any(self.root.glob("inst_*_modal.png")):
            return ["."]
        return sorted({str(p.parent.relative_to(self.root)) for p in self.root.rglob("image.*")}, key=natural)

    def sample(self, frame_id: str) -> Sample:
        case = self.root / frame_id
        images = sorted(case.glob("image.*"))
        if len(images) != 1:
            raise DatasetError(self.name, case, f"expected one image.*, found {len(images)}")
        meta = json.loads((case / "meta.json").read_text()) if (case / "meta.json").is_file() else {}
        shape = image_shape(images[0])
        names = {str(entry["index"]).zfill(2): entry.get("name", "") for entry in meta.get("instances", ())}
        unused = {str(entry["index"]).zfill(2) for entry in meta.get("instances", ()) if entry.get("use") is False}
        objects, context = [], []
        masks = sorted(case.glob("inst_*_modal.png"), key=natural)
        if not masks:
            raise DatasetError(self.name, case, "expected inst_XX_modal.png beside the image, found none")
        for modal in masks:
            index = modal.name.removeprefix("inst_").removesuffix("_modal.png")
            with self.bad_data(case, index):
                visible = _read_mask(modal, shape)
                if index.zfill(2) in unused:
                    context.append(visible)
                    continue
                amodal = _read_mask(case / f"inst_{index}_amodal.png", shape)
                if not amodal:
                    raise ValueError("empty amodal mask")
                rate = occlusion_rate(visible, amodal)
                source = f"{meta.get('image_id', frame_id)}/{index}"
                objects.append(DatasetObject(index, visible, amodal, rate, names.get(index.zfill(2), ""), source))
        occluder = case / "occluder.png"
        if occluder.is_file():
            context.append(_read_mask(occluder, shape))
        return Sample(frame_id, shape, tuple(objects), self.image_reader(images[0], shape), tuple(context))


def _read_mask(path: Path, shape: tuple[int, int]) -> MaskRegion:
    return MaskRegion.from_full(read_mask(path, shape))
