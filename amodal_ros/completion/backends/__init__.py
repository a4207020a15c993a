"""Diffusion families. A new family is one file and one line in `FAMILIES`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch

from amodal_ros.completion.backends.base import Backend, Schedule
from amodal_ros.completion.backends.loading import read_json
from amodal_ros.completion.errors import ModelError
from amodal_ros.completion.switches import Switches

__all__ = ["FAMILIES", "Backend", "Schedule", "backend_class", "load_backend"]

#: pipeline class named in model_index.json -> (module, backend class)
FAMILIES = {
    "StableDiffusionInpaintPipeline": ("stable_diffusion", "StableDiffusion"),
    "StableDiffusionPipeline": ("stable_diffusion", "StableDiffusion"),
    "StableDiffusionXLInpaintPipeline": ("sdxl", "SDXL"),
    "StableDiffusionXLPipeline": ("sdxl", "SDXL"),
    "FluxFillPipeline": ("flux", "Flux"),
    "FluxPipeline": ("flux", "Flux"),
}


def load_backend(
    folder: Path,
    device: torch.device,
    dtype: torch.dtype,
    resolution: int | None = None,
    switches: Switches | None = None,
) -> Backend:
    """The diffusion model of a pipeline folder.

    Raises:
        ModelError: the folder is missing, of an unknown family, or one of its components cannot be used.
    """
    return backend_class(folder).from_folder(folder, device, dtype, resolution, switches)


def backend_class(folder: Path) -> Any:
    """The family that a pipeline folder names.

    Raises:
        ModelError: the folder is missing or of an unknown family.
    """
    if not folder.is_dir():
        raise ModelError(f"model folder not found: {folder}")
    name = read_json(folder / "model_index.json").get("_class_name")
    if name not in FAMILIES:
        raise ModelError(f"{folder / 'model_index.json'}: expected one of {', '.join(FAMILIES)}, got {name!r}")
    module, cls = FAMILIES[name]
    return getattr(importlib.import_module(f"{__name__}.{module}"), cls)
