"""`python -m training.train --out DIR`: make the shipped model, from nothing to a folder that the pipeline loads."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderTiny

from training.export import export
from training.loop import Budget, Stage, fit
from training.pool import Pool, draw_pool
from training.recipe import Recipe
from training.segmenter import SegmenterStage
from training.sheets import save_sheet
from training.unet import UNetStage
from training.vae import VaeStage

STAGES = ("pool", "vae", "unet", "segmenter", "export")  # in this order; unet and segmenter can run at the same time
MINUTES = {"vae": 20.0, "unet": 90.0, "segmenter": 40.0}
SEED = 1


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = Recipe() if device == "cpu" else Recipe().for_gpu()
    for name in STAGES if arguments.stage == "all" else (arguments.stage,):
        budget = Budget(arguments.minutes or MINUTES.get(name, 0.0), arguments.steps)
        run_stage(name, arguments.out, recipe, budget, device)


def run_stage(name: str, out: Path, recipe: Recipe, budget: Budget, device: str) -> None:
    """Run or resume one of `STAGES`. Everything is read from and written to subfolders of `out`."""
    if name == "pool":
        draw_pool(out / "pool", recipe.crops, recipe.resolution)
    elif name == "export":
        export(out, out / "export")
    else:
        stage = _build(name, out, recipe, device)
        fit(stage, out / name, budget)
        save_sheet(name, out, recipe)


def _build(name: str, out: Path, recipe: Recipe, device: str) -> Stage:
    torch.manual_seed(SEED)
    pool = Pool.open(out / "pool")
    if name == "vae":
        return VaeStage(recipe, pool, device)
    vae = AutoencoderTiny.from_pretrained(out / "vae")
    return (UNetStage if name == "unet" else SegmenterStage)(recipe, pool, device, vae)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__.split("`: ")[1])
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; call again to resume it")
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help=f"of each stage, earlier runs counted in (default {MINUTES})")
    length.add_argument("--steps", type=int, help="of each stage, in place of minutes")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    return parser


if __name__ == "__main__":
    main()
