"""Contact sheets to look at: a loss does not say whether a car is a car."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch.nn import functional
from transformers import SamModel

from training.models import PROMPT_TOKENS, PROMPT_WIDTH, build_scheduler
from training.pool import Pool
from training.recipe import LATENT_STRIDE, Recipe
from training.samples import hole_for, random_image, to_model
from training.segmenter import SegmenterStage

COLUMNS, STEPS, SEED = 12, 20, 7
ROOM = 2  # pixels between pictures


def save_sheet(name: str, out: Path, recipe: Recipe) -> Path:
    """Draw `sheet.png` into the stage's folder and return its path.

    vae: image, reconstruction. unet: image, masked image, 20 DDIM steps. segmenter: image with points, mask, truth.
    """
    pool = Pool.open(out / "pool")
    vae = AutoencoderTiny.from_pretrained(out / "vae")
    with torch.inference_mode():
        if name == "vae":
            rows = _vae_rows(pool, vae)
        elif name == "unet":
            rows = _unet_rows(pool, vae, UNet2DConditionModel.from_pretrained(out / "unet"))
        else:
            rows = _segmenter_rows(recipe, pool, vae, SamModel.from_pretrained(out / "segmenter"))
    path = out / name / "sheet.png"
    cv2.imwrite(str(path), _tile(rows)[..., ::-1])
    return path


def _vae_rows(pool: Pool, vae: AutoencoderTiny) -> list[torch.Tensor]:
    rng = np.random.default_rng(SEED)
    images = torch.from_numpy(to_model([random_image(pool, rng)[0] for _ in range(2 * COLUMNS)]))
    painted = vae.decode(vae.encode(images).latents).sample
    return [row for half in (slice(COLUMNS), slice(COLUMNS, None)) for row in (images[half], painted[half])]


def _unet_rows(pool: Pool, vae: AutoencoderTiny, unet: UNet2DConditionModel) -> list[torch.Tensor]:
    rng = np.random.default_rng(SEED)
    images, holes = [], []
    for _ in range(2 * COLUMNS):
        image, labels = random_image(pool, rng)
        images.append(image)
        holes.append(hole_for(labels, pool, rng))
    x = torch.from_numpy(to_model(images))
    hole = torch.from_numpy(np.stack(holes)[:, None].astype(np.float32))
    painted = _inpaint(x, hole, vae, unet)
    halves = (slice(COLUMNS), slice(COLUMNS, None))
    return [row for half in halves for row in (x[half], (x * (1 - hole))[half], painted[half])]


def _inpaint(x: torch.Tensor, hole: torch.Tensor, vae: AutoencoderTiny, unet: UNet2DConditionModel) -> torch.Tensor:
    scale = vae.config.scaling_factor
    known = torch.cat([functional.max_pool2d(hole, LATENT_STRIDE), vae.encode(x * (1 - hole)).latents * scale], 1)
    scheduler = build_scheduler()
    scheduler.set_timesteps(STEPS)
    z = torch.randn(known[:, 1:].shape, generator=torch.Generator().manual_seed(SEED))
    prompt = torch.zeros(len(x), PROMPT_TOKENS, PROMPT_WIDTH)
    for t in scheduler.timesteps:
        z = scheduler.step(unet(torch.cat([z, known], 1), t, prompt).sample, t, z).prev_sample
    return vae.decode(z / scale).sample


def _segmenter_rows(recipe: Recipe, pool: Pool, vae: AutoencoderTiny, model: SamModel) -> list[torch.Tensor]:
    stage = SegmenterStage(recipe, pool, "cpu", vae)
    batches = [stage.batch(np.random.default_rng([SEED, n])) for n in range(-(-COLUMNS // stage.batch_size))]
    images, masks, points, labels = (torch.cat(parts)[:COLUMNS] for parts in zip(*batches, strict=True))
    pixels = (images / 2 + 0.5 - stage.mean) / stage.std
    output = model(pixel_values=pixels, input_points=points[:, :1], input_labels=labels[:, :1])
    best = output.iou_scores[:, 0].argmax(-1)
    logits = output.pred_masks[torch.arange(len(best)), 0, best][:, None]
    found = functional.interpolate(logits, masks.shape[-2:], mode="bilinear") > 0
    shown = images.clone()
    for image, spots, kinds in zip(shown, points[:, 0].long(), labels[:, 0], strict=True):
        for (x, y), kind in zip(spots.tolist(), kinds.tolist(), strict=True):
            if kind >= 0:
                image[:, y, x] = torch.tensor([-1.0, 1.0, -1.0] if kind else [1.0, -1.0, -1.0])
    as_rgb = [mask.float().expand(-1, 3, -1, -1) * 2 - 1 for mask in (found, masks[:, :1])]
    return [shown, *as_rgb]


def _tile(rows: list[torch.Tensor]) -> np.ndarray:
    """Rows of (N, 3, S, S) in [-1, 1] -> one uint8 RGB picture."""
    pictures = [functional.pad(row, (ROOM,) * 4, value=1.0).permute(2, 0, 3, 1).flatten(1, 2) for row in rows]
    return ((torch.cat(pictures).clamp(-1, 1) + 1) * 127.5).byte().numpy()
