"""LoRA adapters (few-step ones, mostly), merged into the denoiser so that they cost nothing afterwards."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from amodal_ros.completion.backends.loading import first_line
from amodal_ros.errors import ModelError


def merge_lora(denoiser: Any, path: Path, loader: Any, fill: str) -> None:
    """Merge an adapter into a denoiser.

    Args:
        path: a ``.safetensors`` file, or a folder with one.
        loader: the family's loader mixin of `diffusers`, which knows the layouts that adapters come in.
        fill: name of the loader's method that fills the denoiser.

    Raises:
        ModelError: no adapter there, or one for another network.
    """
    file = adapter_file(path)
    try:
        state, alphas = loader.lora_state_dict(load_file(file), unet_config=denoiser.config, return_alphas=True)
        state = {name: _widened(name, tensor, denoiser.config.in_channels) for name, tensor in state.items()}
        getattr(loader, fill)(state, alphas, denoiser)
        if not getattr(denoiser, "peft_config", None):
            raise ValueError("it has no layers for this network")
        denoiser.fuse_lora(safe_fusing=True)
        denoiser.unload_lora()
    except Exception as error:  # the libraries raise many kinds; the path is what helps
        raise ModelError(f"lora {file}: does not fit {type(denoiser).__name__}: {first_line(error)}") from error


def adapter_file(path: Path) -> Path:
    """The adapter at a place: a ``.safetensors`` file, or the only one of a folder.

    Raises:
        ModelError: none or several there, or the package that merges it is missing.
    """
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if len(files) != 1 or not files[0].is_file() or files[0].suffix != ".safetensors":
        found = ", ".join(f.name for f in files) if path.is_dir() and files else "none"
        raise ModelError(f"lora {path}: expected one *.safetensors file, found {found}")
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"lora {files[0]}: needs the package peft: pip install peft")
    return files[0]


def _widened(name: str, tensor: torch.Tensor, channels: int) -> torch.Tensor:
    """An adapter made for z alone, on a denoiser with a mask input: its first layer changes what is done with z, which
    comes first there."""
    first = ".conv_in." in name and (".lora_A." in name or ".lora.down." in name)
    missing = channels - tensor.shape[1] if first and tensor.ndim == 4 else 0
    return F.pad(tensor, (0, 0, 0, 0, 0, missing)) if missing > 0 else tensor
