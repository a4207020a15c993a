"""The folder that ships: fp16 weights in the layout of a `diffusers` inpainting pipeline, a segmenter, a model card."""

from __future__ import annotations

import csv
import json
import platform
from pathlib import Path

import diffusers
import torch
import yaml
from diffusers import AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import save_file
from transformers import SamImageProcessor, SamModel

from amodal_ros.models.profiles import FOLDER_PROFILE, SHIPPED
from training.models import PROMPT_TOKENS, PROMPT_WIDTH, build_scheduler, save_component
from training.pool import Pool

TRAINED = ("vae", "unet", "segmenter")
CARD = Path(__file__).with_name("model_card.md")


def export(run: Path, target: Path) -> None:
    """Write the averaged weights of a run's last checkpoints, and the shipped model's settings, to `target`.

    Args:
        run: the `--out` folder of `training.train`, with `vae/`, `unet/` and `segmenter/` in it.
        target: made when missing, else overwritten file by file.
    """
    save_component(AutoencoderTiny.from_pretrained(run / "vae").half(), target / "vae")
    save_component(UNet2DConditionModel.from_pretrained(run / "unet").half(), target / "unet")
    SamModel.from_pretrained(run / "segmenter").half().save_pretrained(target / "segmenter")
    SamImageProcessor.from_pretrained(run / "segmenter").save_pretrained(target / "segmenter")
    build_scheduler().save_pretrained(target / "scheduler")
    prompt = {"prompt_embeds": torch.zeros(1, PROMPT_TOKENS, PROMPT_WIDTH, dtype=torch.float16)}
    save_file(prompt, target / "prompt_embeds.safetensors")
    (target / "model_index.json").write_text(json.dumps(_model_index(), indent=2) + "\n")
    settings = yaml.safe_load((SHIPPED / "embedded.yaml").read_text())["settings"]  # they suit every model made here
    (target / FOLDER_PROFILE).write_text(yaml.safe_dump({"settings": settings}, sort_keys=False))
    (target / "README.md").write_text(CARD.read_text() + _figures(run, target))
    for path in target.rglob("*.safetensors"):
        path.chmod(0o644)  # written for the owner alone, and a node may run as somebody else


def _model_index() -> dict:
    return {
        "_class_name": "StableDiffusionInpaintPipeline",
        "_diffusers_version": diffusers.__version__,
        "feature_extractor": [None, None],
        "image_encoder": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": [None, None],
        "tokenizer": [None, None],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderTiny"],
    }


def _figures(run: Path, target: Path) -> str:
    """The card's table: what was trained for how long, from the runs' own records."""
    lines = ["| network | parameters | steps | minutes | last loss |", "| --- | --- | --- | --- | --- |"]
    for name in TRAINED:
        if not (run / name / "loss.csv").exists():
            continue  # kept from the model that the run started from
        weights = next((target / name).glob("*.safetensors"))
        parameters = weights.stat().st_size / 2 / 1e6  # fp16
        with open(run / name / "loss.csv") as file:
            rows = [[float(value) for value in row] for row in csv.reader(file)]
        last = [loss for _, _, loss in rows[-100:]]
        step, seconds, _ = rows[-1]
        lines.append(
            f"| {name} | {parameters:.1f} M | {step:,.0f} | {seconds / 60:.0f} | {sum(last) / len(last):.4f} |"
        )
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {_processor()}"
    folders = sorted(path.parent for path in run.glob("pool/*/images.npy"))
    pools = [f"{folder.name} {len(Pool.open(folder)):,}" for folder in folders]
    return "\n".join(["", *lines, "", f"Crops: {', '.join(pools)}. Machine: {machine}."]) + "\n"


def _processor() -> str:
    names = [line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")]
    return f"{len(names)} cores of {names[0]}" if names else platform.processor()


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
