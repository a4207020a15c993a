"""Diffusion families. A new family is one file and one line in `FAMILIES`."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import torch

from amodal_ros.completion.backends.base import Backend, Schedule
from amodal_ros.models.layout import family_of
from amodal_ros.settings.switches import Switches

__all__ = ["FAMILIES", "Backend", "Schedule", "backend_class", "load_backend"]

#: family, which is also the module -> backend class
FAMILIES = {"stable_diffusion": "StableDiffusion", "sdxl": "SDXL", "flux": "Flux"}


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
    family = family_of(folder)
    return getattr(importlib.import_module(f"{__name__}.{family}"), FAMILIES[family])
