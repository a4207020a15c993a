"""Stage 3, the segmenter: SAM's architecture, points in, visible masks out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch.nn import functional
from transformers import SamImageProcessor, SamModel

from training.loop import Stage
from training.models import build_segmenter
from training.pool import Pool
from training.recipe import Recipe
from training.samples import random_image, to_model, unsharp

PROMPTS = 3  # instances per image: they share the image's embedding
POSITIVE, NEGATIVE = 12, 9  # points at most; half of the images have the method's nine positive ones
ALONE_SHARE = 0.75  # of the images: those to segment at use show one object
DECODED_SHARE = 0.5  # images that went through the autoencoder, as those to segment at use do
SMALLEST = 20  # pixels: smaller instances are not asked for
NOT_A_POINT = -10  # the label by which SAM ignores padding


class SegmenterStage(Stage):
    """Focal and Dice loss of the best of SAM's three masks, and the error of its predicted IoUs."""

    name = "segmenter"

    def __init__(self, recipe: Recipe, pool: Pool, device: str, vae: AutoencoderTiny) -> None:
        self.model: SamModel = build_segmenter(recipe).to(device)
        self.vae = vae.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.learning_rate = recipe.segmenter_learning_rate
        self.pool, self.batch_size = pool, recipe.segmenter_batch
        self.processor = image_processor(recipe)
        self.mean, self.std = (
            torch.tensor(values, device=device).view(3, 1, 1)
            for values in (self.processor.image_mean, self.processor.image_std)
        )

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """Images (B, 3, S, S) in [-1, 1], masks (B, P, S, S), points (B, P, K, 2): x, y in pixels, labels (B, P, K)."""
        images, masks, points, labels = zip(*(self._prompted_image(rng) for _ in range(self.batch_size)), strict=True)
        arrays = (to_model(list(images)), np.stack(masks), np.stack(points), np.stack(labels))
        return tuple(torch.from_numpy(array) for array in arrays)

    def _prompted_image(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        while True:
            image, instances = random_image(self.pool, rng, ALONE_SHARE)
            ids = np.flatnonzero(np.bincount(instances.ravel())[1:] >= SMALLEST) + 1
            if len(ids):
                break
        masks = [instances == i for i in rng.choice(ids, PROMPTS)]
        positive = 9 if rng.random() < 0.5 else int(rng.integers(1, POSITIVE + 1))
        prompts = [_points(mask, positive, int(rng.integers(0, NEGATIVE + 1)), rng) for mask in masks]
        points, labels = (np.stack(arrays) for arrays in zip(*prompts, strict=True))
        return unsharp(image, rng), np.stack(masks).astype(np.float32), points, labels

    def loss(self, batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> torch.Tensor:
        images, masks, points, labels = batch
        single = torch.rand(1, generator=generator).item() < 0.25  # SAM's fourth mask, for one unambiguous answer
        output = self.model(
            pixel_values=(self._some_decoded(images, generator) / 2 + 0.5 - self.mean) / self.std,
            input_points=points,
            input_labels=labels,
            multimask_output=not single,
        )
        logits = functional.interpolate(output.pred_masks.flatten(0, 1).float(), masks.shape[-2:], mode="bilinear")
        target = masks.flatten(0, 1)[:, None].expand_as(logits)
        best = (20 * _focal(logits, target) + _dice(logits, target)).min(1).values.mean()
        iou = _iou(logits > 0, target > 0)
        return best + functional.mse_loss(output.iou_scores.flatten(0, 1).float(), iou)

    @torch.no_grad()
    def _some_decoded(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        count = round(DECODED_SHARE * len(images))
        latents = self.vae.encode(images[:count]).latents
        latents = latents + 0.1 * torch.randn(latents.shape, generator=generator).to(latents)
        decoded = self.vae.decode(latents).sample.float().clamp(-1, 1)
        return torch.cat([decoded, images[count:]])

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
        self.processor.save_pretrained(folder)


def image_processor(recipe: Recipe) -> SamImageProcessor:
    """What `preprocessor_config.json` says: square input at the recipe's resolution, colours to [-1, 1]."""
    side = recipe.resolution
    mask_side = 4 * side // recipe.segmenter_patch
    return SamImageProcessor(
        size={"longest_edge": side},
        pad_size={"height": side, "width": side},
        mask_size={"longest_edge": mask_side},
        mask_pad_size={"height": mask_side, "width": mask_side},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.5, 0.5, 0.5],
    )


def _points(mask: np.ndarray, positive: int, negative: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Points drawn uniformly on and off the mask, padded to a fixed number: (K, 2) float32 x, y; (K,) int64 labels."""
    on, off = np.argwhere(mask), np.argwhere(~mask)
    chosen = on[rng.integers(len(on), size=positive)]
    if negative and len(off):
        chosen = np.concatenate([chosen, off[rng.integers(len(off), size=negative)]])
    points = np.zeros((POSITIVE + NEGATIVE, 2), np.float32)
    labels = np.full(POSITIVE + NEGATIVE, NOT_A_POINT, np.int64)
    points[: len(chosen)] = chosen[:, ::-1]
    labels[:positive] = 1
    labels[positive : len(chosen)] = 0
    return points, labels


def _focal(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Focal loss with gamma 2 per mask, (N, 3, S, S) -> (N, 3)."""
    error = functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    return ((1 - torch.exp(-error)).square() * error).mean((2, 3))


def _dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Dice loss per mask, (N, 3, S, S) -> (N, 3)."""
    inside = logits.sigmoid()
    return 1 - (2 * (inside * target).sum((2, 3)) + 1) / ((inside + target).sum((2, 3)) + 1)


def _iou(mask: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """IoU of binary masks, (N, 3, S, S) -> (N, 3)."""
    return (mask & target).sum((2, 3)) / (mask | target).sum((2, 3)).clamp(min=1)
