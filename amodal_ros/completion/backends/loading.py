"""Loading components from a local folder in the Hugging Face layout: safetensors only, nothing missing, no network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging as transformers_logging

from amodal_ros.completion.errors import ModelError


def read_json(path: Path) -> dict:
    """A JSON object from a file.

    Raises:
        ModelError: the file is missing or is no JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise ModelError(f"{path}: not found") from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise ModelError(f"{path}: expected a JSON file: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def load_component(cls: type, folder: Path, dtype: torch.dtype, expected: str = "") -> Any:
    """One model of a `diffusers` or `transformers` class, in evaluation mode on the CPU.

    Raises:
        ModelError: the folder is missing or of another class, has no safetensors weights, or its weights do not match
            its configuration.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: component not found{f' (expected {expected})' if expected else ''}")
    config = read_json(folder / "config.json")
    named = config.get("_class_name") or next(iter(config.get("architectures") or []), None)
    if named not in (None, cls.__name__):
        raise ModelError(f"{folder}: expected a {cls.__name__}, got a {named}")
    if not any(folder.glob("*.safetensors")):
        found = ", ".join(sorted(p.name for p in folder.iterdir())) or "nothing"
        raise ModelError(f"{folder}: expected weights as *.safetensors (pickles are refused), found {found}")
    dtype_name = "torch_dtype" if cls.__module__.startswith("diffusers") else "dtype"
    try:
        with _no_progress_bars():
            model, info = cls.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True, **{dtype_name: dtype}
            )
    except Exception as error:  # the libraries raise many kinds; the folder's name is what helps
        raise ModelError(f"{folder}: could not load {cls.__name__}: {_first_line(error)}") from error
    for what in ("missing_keys", "mismatched_keys"):
        if info.get(what):
            first = ", ".join(sorted(map(str, info[what]))[:3])
            raise ModelError(f"{folder}: weights do not match config.json: {what.replace('_', ' ')}: {first}")
    return model.eval().requires_grad_(False)


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


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
