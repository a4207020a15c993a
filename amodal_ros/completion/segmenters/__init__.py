"""Promptable segmenters. A new kind is one file and one line in `KINDS`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch

from amodal_ros.completion.segmenters.base import Segmenter
from amodal_ros.errors import ModelError
from amodal_ros.models.layout import read_json

__all__ = ["KINDS", "Segmenter", "load_segmenter", "segmenter_class"]

#: ``model_type`` of config.json -> (module, class)
KINDS = {
    "sam": ("sam", "Sam"),
    "sam2": ("sam2", "Sam2"),
    "sam2_video": ("sam2", "Sam2"),
    "edgetam": ("edgetam", "EdgeTam"),
    "edgetam_video": ("edgetam", "EdgeTam"),
}


def load_segmenter(path: Path, device: torch.device, dtype: torch.dtype) -> Segmenter:
    """The segmenter of a `transformers` folder, or of a checkpoint file of the package segment-anything.

    Raises:
        ModelError: nothing there, of an unknown kind, or its weights cannot be used.
    """
    if path.is_file():
        from amodal_ros.completion.segmenters.segment_anything import SegmentAnything

        return SegmentAnything.from_file(path, device, dtype)
    return segmenter_class(path).from_folder(path, device, dtype)


def segmenter_class(folder: Path) -> Any:
    """The kind of segmenter that a folder holds.

    Raises:
        ModelError: the folder is missing or of an unknown kind.
    """
    if not folder.is_dir():
        raise ModelError(f"segmenter folder not found: {folder}")
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in KINDS:
        raise ModelError(f"{folder / 'config.json'}: expected model_type to be one of {', '.join(KINDS)}, got {kind!r}")
    module, cls = KINDS[kind]
    return getattr(importlib.import_module(f"{__name__}.{module}"), cls)
