"""Promptable segmenters. A new kind is one file and one line in `KINDS`."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch

from amodal_ros.completion.backends.loading import read_json
from amodal_ros.completion.errors import ModelError
from amodal_ros.completion.segmenters.base import Segmenter

__all__ = ["KINDS", "Segmenter", "load_segmenter"]

#: ``model_type`` of config.json -> (module, class)
KINDS = {"sam": ("sam", "Sam")}


def load_segmenter(folder: Path, device: torch.device, dtype: torch.dtype) -> Segmenter:
    """The segmenter of a folder.

    Raises:
        ModelError: the folder is missing, of an unknown kind, or its weights cannot be used.
    """
    if not folder.is_dir():
        raise ModelError(f"segmenter folder not found: {folder}")
    kind = read_json(folder / "config.json").get("model_type")
    if kind not in KINDS:
        raise ModelError(f"{folder / 'config.json'}: expected model_type to be one of {', '.join(KINDS)}, got {kind!r}")
    module, cls = KINDS[kind]
    return getattr(importlib.import_module(f"{__name__}.{module}"), cls).from_folder(folder, device, dtype)
