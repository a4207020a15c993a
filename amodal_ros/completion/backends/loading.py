"""Loading components from a local folder in the Hugging Face layout: safetensors only, nothing missing, no network."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from amodal_ros.errors import ModelError
from amodal_ros.models.layout import read_json, weight_files
from amodal_ros.settings.switches import Switches


def load_component(
    cls: type[Any], folder: Path, dtype: torch.dtype, aliases: Iterable[str] = (), **options: Any
) -> Any:
    """One model of a `diffusers` or `transformers` class, in evaluation mode on the CPU.

    Args:
        aliases: further class names that config.json may give: classes whose weights `cls` is a part of.
        options: further keywords for ``from_pretrained``.

    Raises:
        ModelError: the folder is missing or of another class, has no safetensors weights, or its weights do not match
            its configuration.
    """
    _, variant = check_component(cls, folder, aliases)
    dtype_name = "torch_dtype" if cls.__module__.startswith("diffusers") else "dtype"
    try:
        with _no_progress_bars():
            model, info = cls.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                variant=variant,
                **{dtype_name: dtype},
                **options,
            )
    except Exception as error:  # the libraries raise many kinds; the folder's name is what helps
        raise ModelError(
            f"{folder}: could not load {cls.__name__} (incomplete or corrupt? fetch it again): {first_line(error)}"
        ) from error
    for what in ("missing_keys", "mismatched_keys"):
        if info.get(what):
            first = ", ".join(sorted(map(str, info[what]))[:3])
            raise ModelError(f"{folder}: weights do not match config.json: {what.replace('_', ' ')}: {first}")
    return model.eval().requires_grad_(False)


def to_device(model: Any, device: torch.device, **options: Any) -> Any:
    """A loaded model on its device, in memory of its own: what is mapped from a file changes and goes with the file.

    Args:
        options: further ones for `torch.nn.Module.to`.
    """
    model.to(device, **options)
    for tensor in chain(model.parameters(), model.buffers()):
        if type(tensor.data) is torch.Tensor and tensor.device.type == "cpu":  # others were made, not read
            tensor.data = tensor.data.clone()
    return model


def check_component(cls: type, folder: Path, aliases: Iterable[str] = ()) -> tuple[list[str], str | None]:
    """A component's weight files and their variant, without reading them.

    Raises:
        ModelError: the folder is missing or of another class, or has no safetensors weights.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: component not found (expected {cls.__name__})")
    config = read_json(folder / "config.json")
    named = config.get("_class_name") or next(iter(config.get("architectures") or []), None)
    if named not in (None, cls.__name__, *aliases):
        raise ModelError(f"{folder}: expected a {cls.__name__}, got a {named}")
    present = [path.name for path in folder.iterdir()]
    files, variant = weight_files(present)
    if not files:
        found = ", ".join(sorted(present)) or "nothing"
        raise ModelError(
            f"{folder}: expected weights as *.safetensors, found {found}. Pickled weights (.bin, .ckpt, .pth) can run "
            "code and are refused: convert them, or fetch the model's safetensors files"
        )
    return files, variant


def compile_cached(model: torch.nn.Module) -> None:
    """``torch.compile`` a model, keeping what the compiler makes where a restart of the machine does not lose it:
    ``~/.cache/amodal_ros/compiled``, unless TORCHINDUCTOR_CACHE_DIR says otherwise."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    said = os.environ.get("TORCHINDUCTOR_CACHE_DIR", "")
    # PyTorch writes its own default there as soon as some part of it asks, and that is emptied with every boot.
    if not said or said.startswith(os.path.join(tempfile.gettempdir(), "torchinductor_")):
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "amodal_ros" / "compiled")
    model.compile()


def quantization(switches: Switches) -> dict[str, Any]:
    """Keywords of `load_component` for a denoiser in the precision that the switches ask for. With an adapter it is
    loaded in full, since what is merged needs full weights; `quantize_in_place` follows.

    Raises:
        ModelError: the package that quantizes is missing.
    """
    if not switches.quantize or switches.lora:
        return {}
    from diffusers import TorchAoConfig

    return {"quantization_config": TorchAoConfig(_eight_bits(switches.quantize))}


def quantize_in_place(model: torch.nn.Module, kind: str) -> None:
    """Store the weights of a model's linear layers in 8 bits.

    Args:
        kind: one of `settings.switches.QUANTIZATIONS`; empty does nothing.

    Raises:
        ModelError: the package that quantizes is missing.
    """
    if not kind:
        return
    config = _eight_bits(kind)
    from torchao.quantization import quantize_

    quantize_(model, config)


def _eight_bits(kind: str) -> Any:
    try:
        from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig
    except ImportError as error:
        raise ModelError(f"quantize: {kind} needs the package torchao: pip install torchao ({error})") from None
    return Int8WeightOnlyConfig() if kind == "int8" else Float8WeightOnlyConfig()


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    """A robot's log has no use for a bar per component; loading takes a second."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def first_line(error: Exception) -> str:
    """What an exception of a library says, in one line."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
