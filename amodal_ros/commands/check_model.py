"""What of a model is there, and whether its parts fit: from configurations and the weights' headers alone, so that a
model larger than this machine's memory can be checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

from amodal_ros.completion import ModelError
from amodal_ros.completion.backends import backend_class
from amodal_ros.completion.backends.autoencoder import AUTOENCODERS, Autoencoder
from amodal_ros.completion.backends.loading import check_component, first_line
from amodal_ros.completion.backends.lora import adapter_file
from amodal_ros.completion.backends.prompt import PROMPT_FILE
from amodal_ros.completion.backends.schedules import scheduler_config
from amodal_ros.completion.segmenters import segmenter_class
from amodal_ros.completion.segmenters.segment_anything import checkpoint
from amodal_ros.models.layout import DENOISERS, family_of, read_json
from amodal_ros.models.profiles import Found

TEXT_ENCODERS = {
    "stable_diffusion": {"text_encoder": CLIPTextModel},
    "sdxl": {"text_encoder": CLIPTextModel, "text_encoder_2": CLIPTextModelWithProjection},
    "flux": {"text_encoder": CLIPTextModel, "text_encoder_2": T5EncoderModel},
}


@dataclass(frozen=True)
class Part:
    """One line of the answer.

    Attributes:
        problem: what is wrong; empty when nothing is.
    """

    name: str
    path: Path
    cls: str = ""
    dtype: str = ""
    parameters: int = 0
    problem: str = ""


def check(found: Found) -> list[Part]:
    """Every component of a model, and last whether they fit each other."""
    folder, switches = found.folder, found.profile.switches
    family = family_of(folder)
    cls = backend_class(folder)
    denoiser = folder / DENOISERS[family]
    vae = Path(switches.vae) if switches.vae else folder / "vae"
    parts = [
        _scheduler(cls, folder, switches.scheduler),
        _network(cls.denoiser_class, denoiser),
        _autoencoder("vae", vae),
    ]
    if switches.decoder:
        parts.append(_autoencoder("decoder", Path(switches.decoder)))
    if switches.lora:
        parts.append(_adapter(Path(switches.lora)))
    parts += _prompt(folder, family)
    parts.append(_segmenter(found.segmenter))
    if not any(part.problem for part in parts):
        parts.append(_fit(found, cls, denoiser, vae))
    return parts


def _scheduler(cls: Any, folder: Path, changes: Mapping[str, Any]) -> Part:
    path = folder / "scheduler" / "scheduler_config.json"

    def look() -> Part:
        config = scheduler_config(folder, changes)
        cls.checked_scheduler(config)
        return Part("scheduler", path.parent, config.get("_class_name", ""))

    return _tried("scheduler", path.parent, look)


def _network(cls: type, folder: Path, name: str = "") -> Part:
    """A component whose weights must be exactly what its configuration describes."""
    name = name or folder.name

    def look() -> Part:
        files, _ = check_component(cls, folder)
        there = _shapes([folder / file for file in files])
        expected = {key: tuple(value.shape) for key, value in _empty(cls, folder).state_dict().items()}
        missing = sorted(expected.keys() - there.keys())
        if missing:
            raise ModelError(f"{len(missing)} tensors missing, the first {missing[0]}")
        other = [key for key, shape in expected.items() if there[key][0] != shape]
        if other:
            raise ModelError(f"{other[0]}: config.json says {expected[other[0]]}, the weights {there[other[0]][0]}")
        return _part(name, folder, cls, there)

    return _tried(name, folder, look)


def _autoencoder(name: str, folder: Path) -> Part:
    try:
        named = read_json(folder / "config.json").get("_class_name")
    except ModelError as error:
        return Part(name, folder, problem=str(error))
    if named not in AUTOENCODERS:
        return Part(name, folder, problem=f"expected one of {', '.join(AUTOENCODERS)}, got {named!r}")
    return _network(AUTOENCODERS[named], folder, name)


def _adapter(path: Path) -> Part:
    """Which layers an adapter is for is known when it is merged: its names come in many layouts."""
    return _tried("lora", path, lambda: _part("lora", path, None, _shapes([adapter_file(path)]), "adapter"))


def _prompt(folder: Path, family: str) -> list[Part]:
    """The stored embedding of the empty prompt, or the text encoders that make it."""
    stored = folder / PROMPT_FILE
    if stored.is_file():
        return [_tried("prompt", stored, lambda: _part("prompt", stored, None, _shapes([stored])))]
    parts = [_weights(cls, folder / name) for name, cls in TEXT_ENCODERS[family].items()]
    for name in TEXT_ENCODERS[family]:
        tokenizer = folder / name.replace("text_encoder", "tokenizer")
        parts.append(Part(tokenizer.name, tokenizer, problem="" if tokenizer.is_dir() else "not found"))
    return parts


def _segmenter(path: Path) -> Part:
    def look() -> Part:
        if path.is_file():
            kind, state = checkpoint(path)
            shapes = {name: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in state.items()}
            return dataclasses.replace(_part("segmenter", path, None, shapes), cls=f"segment_anything {kind}")
        kind = segmenter_class(path)
        return _weights(kind.model_class, path, kind.aliases, name="segmenter")

    return _tried("segmenter", path, look)


def _weights(cls: type, folder: Path, aliases: Iterable[str] = (), name: str = "") -> Part:
    """A component of `transformers`. It renames tensors of older checkpoints while loading, so only what is there is
    looked at, not whether it is complete."""
    name = name or folder.name

    def look() -> Part:
        files, _ = check_component(cls, folder, aliases)
        return _part(name, folder, cls, _shapes([folder / file for file in files]))

    return _tried(name, folder, look)


def _fit(found: Found, cls: Any, denoiser: Path, vae: Path) -> Part:
    """The backend checks its parts itself; parts without memory will do."""
    try:
        network = _empty(cls.denoiser_class, denoiser)
        autoencoder = Autoencoder(_empty(AUTOENCODERS[read_json(vae / "config.json")["_class_name"]], vae))
        stored = found.folder / PROMPT_FILE
        shapes = (
            {key: shape for key, (shape, _) in _shapes([stored]).items()}
            if stored.is_file()
            else cls.prompt_shapes(network.config)
        )
        prompt = {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}
        backend = cls(network, autoencoder, {}, prompt, found.profile.resolution)
    except (ModelError, KeyError) as error:
        return Part("together", found.folder, cls.family, problem=str(error))
    kind = "with mask input" if backend.has_mask_input else "without mask input (blends by Eq. 5)"
    return Part("together", found.folder, f"{cls.family}, {backend.resolution} px, {kind}")


def _empty(cls: Any, folder: Path) -> Any:
    with torch.device("meta"):
        return cls.from_config(read_json(folder / "config.json"))


def _shapes(files: list[Path]) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of every tensor, from the files' headers."""
    shapes = {}
    for file in files:
        with safe_open(file, "pt") as tensors:
            for key in tensors.keys():  # noqa: SIM118  no mapping, only has keys()
                view = tensors.get_slice(key)
                shapes[key] = (tuple(view.get_shape()), view.get_dtype())
    return shapes


def _part(
    name: str, path: Path, cls: type | None, shapes: dict[str, tuple[tuple[int, ...], str]], kind: str = "embedding"
) -> Part:
    parameters = sum(torch.Size(shape).numel() for shape, _ in shapes.values())
    dtypes = ", ".join(sorted({dtype for _, dtype in shapes.values()}))
    return Part(name, path, cls.__name__ if cls else kind, dtypes, parameters)


def _tried(name: str, path: Path, look: Callable[[], Part]) -> Part:
    try:
        return look()
    except Exception as error:  # safetensors raises its own kind for a corrupt file, KeyError, OSError...
        return Part(name, path, problem=first_line(error))
