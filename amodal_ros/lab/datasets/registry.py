"""Data sets by their name on the command line."""

from __future__ import annotations

import importlib

from amodal_ros.lab.datasets.base import Dataset

_CLASSES = {
    "streets": "amodal_ros.lab.datasets.streets_split:StreetsSplit",
    "folder": "amodal_ros.lab.datasets.folder:Folder",
    "coco-a": "amodal_ros.lab.datasets.coco_a:CocoA",
    "bsds-a": "amodal_ros.lab.datasets.coco_a:BsdsA",
    "kins": "amodal_ros.lab.datasets.kins:Kins",
    "fishbowl": "amodal_ros.lab.datasets.fishbowl:FishBowl",
    "sailvos": "amodal_ros.lab.datasets.sailvos:SailVos",
}
NAMES = tuple(_CLASSES)


def dataset_class(name: str) -> type[Dataset]:
    """The class of a data set. Raises ValueError for an unknown name."""
    if name not in _CLASSES:
        raise ValueError(f"data set: expected one of {', '.join(NAMES)}, got {name!r}")
    module, cls = _CLASSES[name].split(":")
    return getattr(importlib.import_module(module), cls)
