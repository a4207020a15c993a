"""Contact sheets to look at: a loss does not say whether a car is a car."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional

from training.loop import Stage
from training.pool import Pools
from training.samples import object_sample, plain_image, to_model
from training.segmenter import SegmenterStage
from training.unet import UNetStage, paint
from training.vae import VaeStage

COLUMNS, SEED = 12, 7
ROOM = 2  # pixels between pictures

Rows = list[torch.Tensor]


def save_sheet(stage: Stage, folder: Path) -> Path:
    """Draw `sheet.png` into the stage's folder and return its path.

    vae: image, reconstruction. unet: image, hole, painted in one step, in eight. segmenter: image with points, mask,
    truth.
    """
    assert isinstance(stage, VaeStage | UNetStage | SegmenterStage)
    stage.model.eval()
    with torch.inference_mode():
        if isinstance(stage, VaeStage):
            rows = _vae_rows(stage)
        elif isinstance(stage, UNetStage):
            rows = [row for seed in (SEED, SEED + 1) for row in _unet_rows(stage, seed)]
        else:
            rows = _segmenter_rows(stage)
    cv2.imwrite(str(folder / "sheet.png"), _tile(rows)[..., ::-1])
    return folder / "sheet.png"


def _vae_rows(stage: VaeStage) -> Rows:
    rng = np.random.default_rng(SEED)
    images = [plain_image(stage.pools, rng, stage.resolution)[0] * 2 - 1 for _ in range(2 * COLUMNS)]
    shown = _tensor(images, stage)
    painted = stage.model.decode(stage.model.encode(shown).latents).sample
    return [row for half in (slice(COLUMNS), slice(COLUMNS, None)) for row in (shown[half], painted[half])]


def _unet_rows(stage: UNetStage, seed: int) -> Rows:
    samples = _samples(stage.pools, stage.resolution, seed)
    images = _tensor([sample.image for sample in samples], stage)
    holes = torch.from_numpy(np.stack([sample.hole for sample in samples])[:, None]).to(images)
    painted = [
        paint(stage.vae, stage.model, images, holes, torch.Generator().manual_seed(SEED), steps) for steps in (1, 8)
    ]
    return [images, images * (1 - holes), *painted]


def _samples(pools: Pools, side: int, seed: int) -> list:
    rng = np.random.default_rng(seed)
    return [object_sample(pools, rng, side) for _ in range(COLUMNS)]


def _segmenter_rows(stage: SegmenterStage) -> Rows:
    device = stage.mean.device
    batches = [stage.batch(np.random.default_rng([SEED, n])) for n in range(-(-COLUMNS // stage.batch_size))]
    shown, found, truth = [], [], []
    for images, holes, masks, points, labels in ([t.to(device) for t in batch] for batch in batches):
        pixels = stage.pixels(images, holes, torch.Generator().manual_seed(SEED))
        output = stage.model(pixel_values=pixels, input_points=points, input_labels=labels)
        best = output.iou_scores[:, 0].argmax(-1)
        logits = output.pred_masks[torch.arange(len(best)), 0, best][:, None]
        found.append(functional.interpolate(logits, masks.shape[-2:], mode="bilinear") > 0)
        truth.append(masks)
        shown.append(_dotted((pixels * stage.std + stage.mean) * 2 - 1, points[:, 0].long(), labels[:, 0]))
    as_rgb = [torch.cat(masks).float().expand(-1, 3, -1, -1) * 2 - 1 for masks in (found, truth)]
    return [row[:COLUMNS] for row in (torch.cat(shown), *as_rgb)]


def _dotted(images: torch.Tensor, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Images with prompt points, green on and red off the object."""
    for image, spots, kinds in zip(images, points, labels, strict=True):
        for (x, y), kind in zip(spots.tolist(), kinds.tolist(), strict=True):
            if kind >= 0:
                image[:, y, x] = torch.tensor([-1.0, 1.0, -1.0] if kind else [1.0, -1.0, -1.0])
    return images


def _tensor(images: list[np.ndarray], stage: Stage) -> torch.Tensor:
    return torch.from_numpy(to_model(images)).to(next(stage.model.parameters()).device)


def _tile(rows: Rows) -> np.ndarray:
    """Rows of (N, 3, S, S) in [-1, 1] -> one uint8 RGB picture."""
    pictures = [functional.pad(row, (ROOM,) * 4, value=1.0).permute(2, 0, 3, 1).flatten(1, 2) for row in rows]
    return ((torch.cat(pictures).clamp(-1, 1) + 1) * 127.5).byte().cpu().numpy()
