"""LoRA adapters (few-step ones, mostly), merged into the denoiser so that they cost nothing afterwards."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

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
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if len(files) != 1 or not files[0].is_file() or files[0].suffix != ".safetensors":
        found = ", ".join(f.name for f in files) if path.is_dir() and files else "none"
        raise ModelError(f"lora {path}: expected one *.safetensors file, found {found}")
    if importlib.util.find_spec("peft") is None:
        raise ModelError(f"lora {files[0]}: needs the package peft: pip install peft")
    try:
        state, alphas = loader.lora_state_dict(load_file(files[0]), unet_config=denoiser.config, return_alphas=True)
        getattr(loader, fill)(state, alphas, denoiser)
        if not getattr(denoiser, "peft_config", None):
            raise ValueError("it has no layers for this network")
        denoiser.fuse_lora(safe_fusing=True)
        denoiser.unload_lora()
    except Exception as error:  # the libraries raise many kinds; the path is what helps
        raise ModelError(f"lora {files[0]}: does not fit {type(denoiser).__name__}: {first_line(error)}") from error
