"""How model folders look: which pipeline classes, which files. Imports no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from amodal_ros.completion.errors import ModelError

#: ``_class_name`` of model_index.json -> family, which is also the backend's module.
FAMILIES = {
    "StableDiffusionInpaintPipeline": "stable_diffusion",
    "StableDiffusionPipeline": "stable_diffusion",
    "StableDiffusionXLInpaintPipeline": "sdxl",
    "StableDiffusionXLPipeline": "sdxl",
    "FluxFillPipeline": "flux",
    "FluxPipeline": "flux",
}
#: Where the denoiser lies, by family.
DENOISERS = {"stable_diffusion": "unet", "sdxl": "unet", "flux": "transformer"}
#: The parts of a pipeline that are used. Safety checkers and image encoders are not.
COMPONENTS = (
    "scheduler",
    "unet",
    "transformer",
    "vae",
    "text_encoder",
    "tokenizer",
    "text_encoder_2",
    "tokenizer_2",
    "segmenter",
    "decoder",
    "lora",
)
#: Beside them: the pipeline's class, and what an exported model brings (the empty prompt's embedding, its profile).
ROOT_FILES = ("model_index.json", "prompt_embeds.safetensors", "amodal.yaml")

#: Weights of the usual precision, and of the variant "fp16"; either whole or in shards.
_WEIGHTS = re.compile(r"(diffusion_pytorch_model|model)(\.fp16)?(-\d+-of-\d+)?(\.fp16)?\.safetensors")
_TEXT = (".json", ".txt", "spiece.model")


def read_json(path: Path) -> dict:
    """A JSON object from a file.

    Raises:
        ModelError: the file is missing or is no JSON object.
    """
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise ModelError(f"{path} not found") from None
    except (json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise ModelError(f"{path}: expected a JSON file: {error}") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content


def family_of(folder: Path) -> str:
    """The family of a pipeline folder.

    Raises:
        ModelError: the folder is missing, or its model_index.json is, or names an unknown pipeline.
    """
    if not folder.is_dir():
        raise ModelError(f"model folder not found: {folder}")
    name = read_json(folder / "model_index.json").get("_class_name")
    if name not in FAMILIES:
        raise ModelError(f"{folder / 'model_index.json'}: expected one of {', '.join(FAMILIES)}, got {name!r}")
    return FAMILIES[name]


def weight_files(names: Iterable[str], prefer_half: bool = False) -> tuple[list[str], str | None]:
    """Which of a component's files are its weights, and their variant: None for plain ones, or "fp16".

    Args:
        prefer_half: take the half-precision files where both are there; otherwise the plain ones.
    """
    matches = [match for match in map(_WEIGHTS.fullmatch, sorted(names)) if match]
    half = [m.string for m in matches if m[2] or m[4]]
    plain = [m.string for m in matches if not (m[2] or m[4])]
    return (half, "fp16") if half and (prefer_half or not plain) else (plain, None)


def wanted_files(names: Iterable[str]) -> list[str]:
    """What to fetch of a repository: configuration, tokenizers, and one set of safetensors per component, in half
    precision where there is one. Never pickles, other frameworks' weights or whole-pipeline files."""
    names = list(names)
    folders = [f"{part}/" for part in COMPONENTS] if "model_index.json" in names else [""]
    wanted = [name for name in ROOT_FILES if name in names]
    for folder in folders:
        inside = [n.removeprefix(folder) for n in names if n.startswith(folder)]
        inside = [n for n in inside if "/" not in n]
        weights, _ = weight_files(inside, prefer_half=True)
        wanted += [folder + n for n in inside if n in weights or n.endswith(_TEXT)]
    return wanted
