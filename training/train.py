"""`python -m training.train --out DIR`: make a model, from crops to a folder that the pipeline loads."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from transformers import SamModel

from amodal_ros.lab.bags.files import BagError
from training.export import export
from training.loop import Budget, Stage, fit
from training.models import build_segmenter, build_unet, save_component
from training.recipe import Recipe
from training.segmenter import SegmenterStage
from training.sheets import save_sheet
from training.sources import Source, fill_pools, open_pools
from training.unet import UNetStage
from training.vae import VaeStage

STAGES = ("pool", "vae", "unet", "segmenter", "export")  # in this order
MINUTES = {"vae": 20.0, "unet": 90.0, "segmenter": 40.0}
SEED = 1


def main() -> None:
    parser = _parser()
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = Recipe() if device == "cpu" else Recipe().for_gpu()
    try:
        sources = [Source.parse(words) for words in arguments.pool or [["streets"]]]
        for name in STAGES if arguments.stage == "all" else (arguments.stage,):
            budget = Budget(arguments.minutes or MINUTES.get(name, 0.0), arguments.steps)
            run_stage(name, arguments.out, recipe, budget, device, sources, arguments.start)
    except (ValueError, BagError) as error:
        parser.error(str(error))


def run_stage(
    name: str,
    out: Path,
    recipe: Recipe,
    budget: Budget,
    device: str,
    sources: list[Source] | None = None,
    start: Path | None = None,
) -> None:
    """Run or resume one of `STAGES`. Everything is read from and written to subfolders of `out`.

    Args:
        sources: what `pool` fills the pools from; street crops when None.
        start: an exported model to go on from; its autoencoder is kept as it is.

    Raises:
        ValueError: a source holds nothing to learn from, or an earlier stage is missing.
    """
    if name == "pool":
        fill_pools(out / "pool", sources or [Source("streets", None)], recipe)
    elif name == "export":
        export(out, out / "export")
    elif name == "vae" and start:
        save_component(AutoencoderTiny.from_pretrained(start / "vae"), out / "vae")
    else:
        stage = _build(name, out, recipe.to_go_on() if start else recipe, device, start)
        fit(stage, out / name, budget)
        save_sheet(stage, out / name)


def _build(name: str, out: Path, recipe: Recipe, device: str, start: Path | None) -> Stage:
    for needed in ("pool", "vae", "unet")[: STAGES.index(name)]:
        if not (out / needed).is_dir():
            raise ValueError(f"{out / needed} is missing: run --stage {needed} first")
    torch.manual_seed(SEED)
    pools = open_pools(out / "pool")
    if name == "vae":
        return VaeStage(recipe, pools, device)
    vae = AutoencoderTiny.from_pretrained(out / "vae").float()
    if name == "unet":
        unet = UNet2DConditionModel.from_pretrained(start / "unet").float() if start else build_unet(recipe)
        return UNetStage(recipe, pools, device, vae, unet)
    segmenter = SamModel.from_pretrained(start / "segmenter").float() if start else build_segmenter(recipe)
    unet = UNet2DConditionModel.from_pretrained(out / "unet").float()
    return SegmenterStage(recipe, pools, device, vae, unet, segmenter)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__.split("`: ")[1])
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; call again to resume it")
    parser.add_argument("--stage", choices=("all", *STAGES), default="all")
    parser.add_argument(
        "--pool",
        nargs="+",
        action="append",
        metavar=("KIND[:PATH]", "SHARE"),
        help="what to learn from, and how often relative to the others (default 1): streets, folder:DIR (a drive:"
        " images/ and labels/), bag:BAG (the same as topics), objects:DIR (NAME.jpg, and NAME.png in which 1 is a whole"
        " object); can be given many times (default: streets)",
    )
    parser.add_argument(
        "--start", type=Path, help="an exported model to go on from, such as amodal_ros/models/embedded"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, help=f"of each stage, earlier runs counted in (default {MINUTES})")
    length.add_argument("--steps", type=int, help="of each stage, in place of minutes")
    parser.add_argument("--threads", type=int, help="CPU threads (default: all)")
    return parser


if __name__ == "__main__":
    main()
