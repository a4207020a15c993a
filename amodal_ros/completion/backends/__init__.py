"""Diffusion families. A new family is one file and one line in `FAMILIES`."""

from __future__ import annotations

import importlib
from pathlib import Path

import torch

from amodal_ros.completion.backends.base import Backend, Schedule
from amodal_ros.completion.backends.loading import read_json
from amodal_ros.completion.errors import ModelError

__all__ = ["FAMILIES", "Backend", "Schedule", "load_backend"]

#: pipeline class named in model_index.json -> (module, backend class)
FAMILIES = {
    "StableDiffusionInpaintPipeline": ("stable_diffusion", "StableDiffusion"),
    "StableDiffusionPipeline": ("stable_diffusion", "StableDiffusion"),
}


def load_backend(folder: Path, device: torch.device, dtype: torch.dtype, resolution: int | None = None) -> Backend:
    """The diffusion model of a pipeline folder.

    Raises:
        ModelError: the folder is missing, of an unknown family, or one of its components cannot be used.
    """
    if not folder.is_dir():
        raise ModelError(f"model folder not found: {folder}")
    name = read_json(folder / "model_index.json").get("_class_name")
    if name not in FAMILIES:
        raise ModelError(f"{folder / 'model_index.json'}: expected one of {', '.join(FAMILIES)}, got {name!r}")
    module, cls = FAMILIES[name]
    backend = getattr(importlib.import_module(f"{__name__}.{module}"), cls)
    return backend.from_folder(folder, device, dtype, resolution)
