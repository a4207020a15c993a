"""A model as one folder that loads on a machine without network: pipeline, segmenter, prompt embedding, settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
import yaml
from safetensors.torch import save_file

from amodal_ros.completion import ModelError
from amodal_ros.completion.backends import backend_class
from amodal_ros.completion.backends.prompt import PROMPT_FILE
from amodal_ros.models.layout import DENOISERS, family_of, read_json, weight_files
from amodal_ros.models.profiles import FOLDER_PROFILE, Found


def export(found: Found, target: Path) -> None:
    """Write a model's files to `target`. Weights are copied as they are; the text encoders stay behind, because only
    the empty prompt's embedding is needed of them.

    Raises:
        ModelError: the target is not empty, or a component is missing.
    """
    if target.exists() and any(target.iterdir()):
        raise ModelError(f"{target}: expected a folder that is new or empty")
    folder, switches = found.folder, found.profile.switches
    family = family_of(folder)
    prompt = backend_class(folder).empty_prompt(folder, torch.float32)
    target.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in prompt.items()}, target / PROMPT_FILE)

    denoiser = DENOISERS[family]
    _copy(folder / denoiser, target / denoiser)
    _copy(Path(switches.vae) if switches.vae else folder / "vae", target / "vae")
    _copy(folder / "scheduler", target / "scheduler")
    places = {"segmenter": _place(found.segmenter, target / "segmenter")}
    changes = {"vae": ""}
    for name in ("decoder", "lora"):
        if getattr(switches, name):
            changes[name] = _place(Path(getattr(switches, name)), target / name)

    index = read_json(folder / "model_index.json")
    kept = {name: index[name] for name in ("_class_name", denoiser, "vae", "scheduler") if name in index}
    (target / "model_index.json").write_text(json.dumps(kept, indent=2) + "\n")
    (target / FOLDER_PROFILE).write_text(_profile(found, {**vars(switches), **changes}, places))


def _place(source: Path, target: Path) -> str:
    """Copy a component, and say where it lies from the target's folder."""
    if source.is_dir():
        _copy(source, target)
        return f"./{target.name}"
    target.mkdir(parents=True)
    shutil.copyfile(source, target / source.name)
    return f"./{target.name}/{source.name}"


def _copy(source: Path, target: Path) -> None:
    """One set of weights, and everything that is small. The hub's cache holds links, so contents are copied."""
    if not source.is_dir():
        raise ModelError(f"{source}: component not found")
    names = [path.name for path in source.iterdir() if path.is_file()]
    weights, _ = weight_files(names)
    # A LoRA adapter's file has a name of its own.
    weights = weights or [name for name in names if name.endswith(".safetensors")]
    target.mkdir(parents=True)
    for name in (*weights, *(n for n in names if n.endswith(".json"))):
        shutil.copyfile(source / name, target / name)


def _profile(found: Found, switches: dict, places: dict[str, str]) -> str:
    profile = found.profile
    content = {
        "family": profile.family,
        "mask_input": profile.mask_input,
        "resolution": profile.resolution,
        "dtype": profile.dtype,
        "cpu_dtype": profile.cpu_dtype,
        "settings": profile.settings.as_plain(),
        "switches": {name: value for name, value in switches.items() if value},
        "licence": profile.licence,
        "notes": profile.notes,
        **places,
    }
    kept = {name: value for name, value in content.items() if value not in ("", None, {})}
    return f"# Exported from {profile.name}.\n" + yaml.safe_dump(kept, sort_keys=False)
