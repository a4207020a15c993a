"""COCO's files: which annotations an image has, and mask encodings as `MaskRegion`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from amodal_ros.io import unique_names
from amodal_ros.lab.datasets.base import Dataset, DatasetError
from amodal_ros.scene.mask import MaskRegion


def read_json(name: str, file: Path, *lists: str) -> dict[str, Any]:
    """A data set's annotation file.

    Args:
        name: of the data set, for messages.
        lists: keys of the top level that must be non-empty lists.

    Raises:
        DatasetError: missing, cut short, or of another schema.
    """
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        raise DatasetError(name, file, "the annotation file is missing") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as problem:
        raise DatasetError(name, file, f"not valid JSON: {problem}") from None
    for key in lists:
        if not isinstance(content, dict) or not isinstance(content.get(key), list) or not content[key]:
            found = sorted(content)[:8] if isinstance(content, dict) else type(content).__name__
            raise DatasetError(name, file, f"another schema: expected a non-empty list {key!r}, found {found}")
    return content


@dataclass(frozen=True)
class Entry:
    """One image of an annotation file, with all annotations that name it, in the file's order."""

    image: dict[str, Any]
    annotations: list[dict[str, Any]]


def by_frame(dataset: Dataset, file: Path, content: Mapping[str, Any], whole_path: bool = False) -> dict[str, Entry]:
    """The images of a file by a name that no two share: the image file's stem, or more of it where that is not enough.

    Reports to `dataset` an image id that stands twice, and an annotation whose image is not in the file.

    Raises:
        DatasetError: an entry without id or file name.
    """
    images = content["images"]
    for key, part in (("id", images), ("file_name", images), ("image_id", content["annotations"])):
        if any(not isinstance(entry, Mapping) or key not in entry for entry in part):
            raise DatasetError(dataset.name, file, f"another schema: an entry has no {key!r}")
    names = unique_names([(image["file_name"], image["id"]) for image in images], whole_path)
    index: dict[str, Entry] = {}
    by_id: dict[Any, Entry] = {}
    for name, image in zip(names, images):
        if image["id"] in by_id:
            dataset.report(DatasetError(dataset.name, file, f"two images have the id {image['id']}"))
        else:
            index[name] = by_id[image["id"]] = Entry(image, [])
    for annotation in content["annotations"]:
        if annotation["image_id"] in by_id:
            by_id[annotation["image_id"]].annotations.append(annotation)
        else:
            problem = f"no image has the image_id {annotation['image_id']}"
            dataset.report(DatasetError(dataset.name, file, problem, annotation.get("id")))
    return index


def from_segmentation(segmentation: Any, shape: tuple[int, int]) -> MaskRegion:
    """A mask from whatever COCO allows: run lengths or polygons; cut to the frame.

    Raises:
        ValueError: as `from_rle` and `from_polygons`.
    """
    encoded = isinstance(segmentation, Mapping)
    return from_rle(segmentation, shape) if encoded else from_polygons(segmentation, shape)


def from_rle(rle: Mapping[str, Any], shape: tuple[int, int]) -> MaskRegion:
    """A mask from ``{size: [height, width], counts}``.

    Args:
        rle: `counts` compressed (str or bytes) or a list of run lengths; column-major.
        shape: (height, width) that it must have.

    Raises:
        ValueError: another size, or run lengths that do not fill it.
    """
    if not isinstance(rle, Mapping) or "size" not in rle or "counts" not in rle:
        raise ValueError(f"expected run lengths {{size, counts}}, got {str(rle)[:60]}")
    if tuple(rle["size"]) != tuple(shape):
        raise ValueError(f"mask of size {list(rle['size'])}, expected {list(shape)} (height, width)")
    counts = rle["counts"]
    runs = np.asarray(counts, np.int64) if isinstance(counts, list) else _runs(counts)
    # pycocotools reads memory that is not its own when the runs do not fill the mask.
    if runs.ndim != 1 or (runs < 0).any() or runs.sum() != shape[0] * shape[1]:
        raise ValueError(f"malformed run lengths: they sum to {runs.sum()}, the mask has {shape[0] * shape[1]} pixels")
    encoded = {"size": list(shape), "counts": counts}
    if isinstance(counts, list):
        encoded = coco_mask.frPyObjects(encoded, *shape)
    return MaskRegion.from_full(coco_mask.decode(encoded))


def _runs(counts: str | bytes) -> np.ndarray:
    """Run lengths from COCO's compressed string: 5 bits a character, the lowest first, differences to two runs ago."""
    text = counts.encode("latin-1") if isinstance(counts, str) else counts
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    last = (codes & 0x20) == 0
    if not len(codes) or (codes < 0).any() or (codes > 63).any() or not last[-1]:
        raise ValueError(f"malformed run lengths: not COCO's compressed form: {str(counts)[:40]!r}")
    starts = np.concatenate([[0], np.flatnonzero(last)[:-1] + 1])
    lengths = np.diff(np.append(starts, len(codes)))
    if lengths.max() > 8:
        raise ValueError("malformed run lengths: a run of more than 40 bits")
    shifts = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    runs = np.add.reduceat((codes & 0x1F) << shifts, starts)
    negative = (codes[last] & 0x10) != 0
    runs = np.where(negative, runs - (np.int64(1) << (5 * lengths)), runs)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def from_polygons(polygons: Sequence[Sequence[float]], shape: tuple[int, int]) -> MaskRegion:
    """A mask from flat lists ``[x1, y1, x2, y2, ...]`` in pixels, merged; cut to the frame.

    Polygons with fewer than three corners are left out: several data sets have such crumbs.

    Raises:
        ValueError: no polygon is left, or one has an odd number of coordinates or coordinates that are no numbers or
            farther than one frame size outside the frame.
    """
    height, width = shape
    usable = []
    for polygon in polygons:
        points = np.asarray(polygon, float)
        if points.ndim != 1 or len(points) % 2:
            raise ValueError(f"malformed polygon: expected a flat list x1, y1, x2, y2, ..., got {str(polygon)[:60]}")
        if len(points) < 6:
            continue
        corners = points.reshape(-1, 2)
        reach = np.array([width, height], float)
        if not (np.isfinite(corners).all() and (corners >= -reach).all() and (corners <= 2 * reach).all()):
            raise ValueError(f"malformed polygon: corners far outside the {width}x{height} frame")
        usable.append(points.tolist())
    if not usable:
        raise ValueError("no polygon with at least three corners")
    rle = coco_mask.merge(coco_mask.frPyObjects(usable, height, width))
    return MaskRegion.from_full(coco_mask.decode(rle))
