"""How model folders look: which pipeline classes, which files. Imports no torch."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from amodal_ros.errors import ModelError

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

#: Variants by precision, best first; None are plain files.
FULL, HALF = (None, "fp32"), ("fp16", "bf16")
#: Weights, whole or in shards, and their variant, which stands before the shard's number or behind it.
_WEIGHTS = re.compile(r"(?:diffusion_pytorch_model|model)(?:\.(\w+))?(?:-\d+-of-\d+)?(?:\.(\w+))?\.safetensors")
#: Suffixes of pipelines in one file.
SINGLE_FILES = (".safetensors", ".ckpt")
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


def how_to_convert(path: Path) -> str:
    """What to do with a whole pipeline in one file, as a sentence that begins with the file's name."""
    pipeline, what = _single_file(path)
    if not pipeline:
        return f"{path.name} {what}"
    return (
        f"{path.name} is a whole pipeline in one file ({what}). Convert it once, on a machine with network: python -c "
        f"\"import diffusers; diffusers.{pipeline}.from_single_file('{path.name}').save_pretrained('FOLDER')\", then "
        "name FOLDER"
    )


def _single_file(path: Path) -> tuple[str, str]:
    """The pipeline that a file of one holds, and what it is in words, from the names of its tensors."""
    if path.suffix != ".safetensors":
        return "StableDiffusionInpaintPipeline", "pickled: only from a source that you trust"
    try:
        with path.open("rb") as stream:
            tensors = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    except (OSError, ValueError, MemoryError, OverflowError):
        return "", "is no safetensors file (corrupt?)"
    if any("double_blocks." in name for name in tensors):
        return "", "holds Flux's transformer alone: fetch the pipeline's folder instead"
    first = tensors.get("model.diffusion_model.input_blocks.0.0.weight")
    if first is None:
        return "", "is neither a pipeline nor a folder of one"
    xl = any(name.startswith("conditioner.") for name in tensors)
    inpainting = first["shape"][1] == 9
    kind = f"StableDiffusion{'XL' if xl else ''}{'Inpaint' if inpainting else ''}Pipeline"
    return kind, f"{first['shape'][1]} input channels"


def family_of(folder: Path) -> str:
    """The family of a pipeline folder.

    Raises:
        ModelError: the folder is missing, or its model_index.json is, or names an unknown pipeline.
    """
    if not folder.is_dir():
        raise ModelError(f"model folder not found: {folder}")
    single = sorted(p for p in folder.iterdir() if p.suffix in SINGLE_FILES)
    if single and not (folder / "model_index.json").is_file():
        raise ModelError(f"{folder / 'model_index.json'} not found, but {how_to_convert(single[0])}")
    name = read_json(folder / "model_index.json").get("_class_name")
    if name not in FAMILIES:
        raise ModelError(f"{folder / 'model_index.json'}: expected one of {', '.join(FAMILIES)}, got {name!r}")
    return FAMILIES[name]


def weight_files(names: Iterable[str], prefer_half: bool = False) -> tuple[list[str], str | None]:
    """Which of a component's files are its weights, and their variant: None for plain ones, one of `FULL` or `HALF`, or
    what else there is, if it is all there is.

    Args:
        prefer_half: take the half-precision files where both are there; otherwise the full ones.
    """
    found: dict[str | None, list[str]] = {}
    for match in filter(None, map(_WEIGHTS.fullmatch, sorted(names))):
        found.setdefault(match[1] or match[2], []).append(match.string)
    order = (*HALF, *FULL) if prefer_half else (*FULL, *HALF)
    only = next(iter(found)) if len(found) == 1 else None
    variant = next((variant for variant in order if variant in found), only)
    return found.get(variant, []), variant


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
