"""COCO-A and BSDS-A: amodal polygons by human annotators over COCO and BSDS500 images. One schema."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from amodal_ros.io import ReadError, image_shape, natural
from amodal_ros.lab.datasets.base import Dataset, DatasetError, DatasetObject, Sample
from amodal_ros.lab.datasets.coco_masks import by_frame, from_polygons, from_rle, read_json

ALL = "all"


class CocoA(Dataset):
    """COCO-A: ``annotations/COCO_amodal_<split>2014.json`` and ``<split>2014/*.jpg``.

    A folder of single annotations (``N.json`` beside ``N.jpg``) is read too.

    Modal masks derive from the annotated polygons and their order, not from pixels: what hides an object is always
    another annotated region.

    Args:
        root: the folder.
        split: ``"train"``, ``"val"`` or ``"test"``.
        annotator: which annotation of an image counts, from 1, or ``"all"``: then each is a frame of its own and an
            image is one source.
        things_only: leave stuff out of the objects; it stays in the context, where it can hide things.

    Raises:
        DatasetError: missing file or another schema.
    """

    name = "coco-a"
    splits = ("train", "val", "test")
    default_split = "val"

    def __init__(
        self,
        root: Path | str,
        split: str | None = None,
        annotator: int | str = 1,
        things_only: bool = False,
        skip_bad: bool = False,
    ) -> None:
        super().__init__(skip_bad)
        self.root = Path(root)
        self.split = split or self.default_split
        self.annotator = annotator
        self.things_only = things_only
        regions = "things only" if things_only else "things and stuff"
        self.protocol = f"split {self.split}, annotator {annotator}, {regions}, unoccluded regions included"
        if not self._index:
            raise DatasetError(self.name, self.root, f"no image has an annotation {annotator}")

    @classmethod
    def add_options(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--split", choices=cls.splits, default=cls.default_split)
        parser.add_argument(
            "--annotator", type=_annotator, default=1, help="which annotation of an image: from 1, or all"
        )
        parser.add_argument("--things-only", action="store_true", help="leave stuff out")

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> CocoA:
        return cls(args.root, args.split, args.annotator, args.things_only, args.skip_bad)

    @property
    def annotation_file(self) -> Path:
        return self.root / "annotations" / f"COCO_amodal_{self.split}2014.json"

    def image_file(self, file_name: str) -> Path:
        return self.root / f"{self.split}2014" / file_name

    @property
    def frames(self) -> Sequence[str]:
        return list(self._index)

    @cached_property
    def _index(self) -> dict[str, tuple[Path, dict[str, Any], dict[str, Any]]]:
        """frame id -> (image file, the image's entry, the annotation)."""
        loose = sorted((p for p in self.root.glob("*.json") if p.with_suffix(".jpg").exists()), key=natural)
        if loose and not self.annotation_file.exists():
            contents = [read_json(self.name, p, "regions") for p in loose]
            return {p.stem: (p.with_suffix(".jpg"), {}, content) for p, content in zip(loose, contents)}
        content = read_json(self.name, self.annotation_file, "images", "annotations")
        if any("regions" not in annotation for annotation in content["annotations"]):
            problem = "another schema: annotations have no 'regions' (one per object?)"
            raise DatasetError(self.name, self.annotation_file, problem)
        index = {}
        for name, entry in by_frame(self, self.annotation_file, content).items():
            for number, annotation in enumerate(entry.annotations, 1):  # an image can have several, or none
                if self.annotator in (ALL, number):
                    frame = f"{name}/{number}" if self.annotator == ALL else name
                    index[frame] = (self.image_file(entry.image["file_name"]), entry.image, annotation)
        return index

    def sample(self, frame_id: str) -> Sample:
        file, image, annotation = self._index[frame_id]
        try:
            shape = (image["height"], image["width"]) if "height" in image else image_shape(file)
        except ReadError as error:
            raise DatasetError(self.name, file, error.problem) from None
        objects, context = [], []
        for number, region in enumerate(annotation["regions"], 1):
            with self.bad_data(file, f"region {number}"):
                target = self._object(frame_id, str(number), region, shape)
                if self.things_only and region["isStuff"]:
                    context.append(target.visible)
                else:
                    objects.append(target)
        return Sample(frame_id, shape, tuple(objects), self.image_reader(file, shape), tuple(context), file=file)

    def _object(self, frame_id: str, number: str, region: dict[str, Any], shape: tuple[int, int]) -> DatasetObject:
        amodal = from_polygons([region["segmentation"]], shape)
        if not amodal:
            raise ValueError("empty amodal mask")
        rate = float(region["occlude_rate"])
        if not 0 <= rate <= 1:
            raise ValueError(f"occlude_rate: expected [0, 1], got {rate}")
        if "visible_mask" in region:
            visible = from_rle(region["visible_mask"], shape)
        elif rate == 0:  # both masks are left out of unoccluded regions
            visible = amodal
        else:
            raise ValueError(f"occlude_rate {rate} without visible_mask")
        source = frame_id.rsplit("/", 1)[0] if self.annotator == ALL else f"{frame_id}/{number}"
        return DatasetObject(number, visible, amodal, rate, region["name"].strip().lower(), source)


class BsdsA(CocoA):
    """BSDS-A: ``annotations/BSDS_amodal_<split>.json`` and ``BSR/BSDS500/data/images/<split>/*.jpg``.

    Most images have several annotations.
    """

    name = "bsds-a"
    default_split = "test"

    @property
    def annotation_file(self) -> Path:
        return self.root / "annotations" / f"BSDS_amodal_{self.split}.json"

    def image_file(self, file_name: str) -> Path:
        return self.root / "BSR" / "BSDS500" / "data" / "images" / self.split / file_name


def _annotator(text: str) -> int | str:
    if text != ALL and not (text.isdigit() and int(text) >= 1):
        raise argparse.ArgumentTypeError(f"expected a number from 1, or {ALL}, got {text!r}")
    return ALL if text == ALL else int(text)
