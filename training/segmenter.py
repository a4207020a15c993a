"""Stage 3, the segmenter: SAM's architecture, points in, masks of what the image shows out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch.nn import functional
from transformers import SamImageProcessor, SamModel

from amodal_ros.completion.points import draw_points
from training.loop import Stage
from training.pool import Pools
from training.recipe import Recipe
from training.samples import SETTINGS, object_sample, plain_image, to_model, unsharp
from training.unet import paint

POSITIVE, NEGATIVE = 12, 9  # points at most
PAINTED_SHARE = 0.75  # of the images: whole objects into whose holes the UNet paints, as those to segment at use are
DECODED_SHARE = 0.4  # of the others: once through the autoencoder
SMALLEST = 20  # pixels: smaller instances are not asked for
NOT_A_POINT = -10  # the label by which SAM ignores padding


class SegmenterStage(Stage):
    """Focal and Dice loss of SAM's three masks, the best counting most, and the error of its predicted IoUs.

    One denoising step paints the smooth mean of what could be in a hole; there is no outline but where all images that
    fit agree. So most images are such paintings, and the answer is the outline that the hidden part really has.
    """

    name = "segmenter"

    def __init__(
        self,
        recipe: Recipe,
        pools: Pools,
        device: str,
        vae: AutoencoderTiny,
        unet: UNet2DConditionModel,
        model: SamModel,
    ) -> None:
        self.model = model.to(device)
        self.vae = vae.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.unet = unet.to(device).eval().requires_grad_(False)
        self.learning_rate = recipe.segmenter_learning_rate
        self.pools, self.batch_size, self.resolution = pools, recipe.segmenter_batch, recipe.resolution
        self.painted = round(PAINTED_SHARE * self.batch_size)
        self.processor = image_processor(recipe)
        self.mean, self.std = (
            torch.tensor(values, device=device).view(3, 1, 1)
            for values in (self.processor.image_mean, self.processor.image_std)
        )

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, ...]:
        """Images (B, 3, S, S) in [-1, 1], holes (B, 1, S, S), masks (B, 1, S, S), points (B, 1, K, 2): x, y in pixels,
        and their labels (B, 1, K). The first `painted` images have their holes painted in `loss`."""
        rows = [self._object(rng) for _ in range(self.painted)]
        rows += [self._plain(rng) for _ in range(self.batch_size - self.painted)]
        images, holes, masks, points, labels = zip(*rows, strict=True)
        stacked = (np.stack(arrays)[:, None] for arrays in (holes, masks, points, labels))
        holes, masks, points, labels = (torch.from_numpy(array) for array in stacked)
        return torch.from_numpy(to_model(list(images))), holes.float(), masks.float(), points, labels

    def _object(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        sample = object_sample(self.pools, rng, self.resolution)
        drawn = draw_points(sample.visible, sample.feasible, sample.outside, SETTINGS.points, rng)
        return sample.image, sample.hole, sample.whole, *_padded(*drawn)

    def _plain(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        while True:
            image, instances = plain_image(self.pools, rng, self.resolution)
            ids = np.flatnonzero(np.bincount(instances.ravel())[1:] >= SMALLEST) + 1
            if len(ids):
                break
        mask = instances == rng.choice(ids)
        positive = 9 if rng.random() < 0.5 else int(rng.integers(1, POSITIVE + 1))
        points, labels = _points(mask, positive, int(rng.integers(0, NEGATIVE + 1)), rng)
        return unsharp(image, rng) * 2 - 1, np.zeros_like(mask), mask, points, labels

    def loss(self, batch: tuple[torch.Tensor, ...], generator: torch.Generator) -> torch.Tensor:
        images, holes, masks, points, labels = batch
        single = torch.rand(1, generator=generator).item() < 0.25  # SAM's fourth mask, for one unambiguous answer
        output = self.model(
            pixel_values=self.pixels(images, holes, generator),
            input_points=points,
            input_labels=labels,
            multimask_output=not single,
        )
        logits = functional.interpolate(output.pred_masks.flatten(0, 1).float(), masks.shape[-2:], mode="bilinear")
        target = masks.expand_as(logits)
        errors = 20 * _focal(logits, target) + _dice(logits, target)
        # SAM trains the best mask alone, which lets the three drift apart. But the pipeline chooses by the visible
        # part, which tells nothing about the hidden one: each has to be right there.
        error = (errors.min(1).values + errors.mean(1)).mean() / 2
        iou = _iou(logits > 0, target > 0)
        return error + functional.mse_loss(output.iou_scores.flatten(0, 1).float(), iou)

    @torch.no_grad()
    def pixels(self, images: torch.Tensor, holes: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """What the segmenter sees: painted, decoded or sharp images, normalised as its processor says."""
        n = self.painted
        decoded = n + round(DECODED_SHARE * (len(images) - n))
        parts = [paint(self.vae, self.unet, images[:n], holes[:n], generator), images[decoded:]]
        if decoded > n:
            parts.insert(1, self.vae.decode(self.vae.encode(images[n:decoded]).latents).sample.float().clamp(-1, 1))
        return (torch.cat(parts) / 2 + 0.5 - self.mean) / self.std

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
    return _padded(chosen[:, ::-1], np.repeat([1, 0], [positive, len(chosen) - positive]))


def _padded(points: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    padding = POSITIVE + NEGATIVE - len(points)
    return (
        np.pad(points.astype(np.float32), ((0, padding), (0, 0))),
        np.pad(labels.astype(np.int64), (0, padding), constant_values=NOT_A_POINT),
    )


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
