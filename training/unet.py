"""Stage 2, the UNet: plain inpainting of images with random holes.

It never meets a pair of visible and amodal mask. Holes are random shapes, some of them around visible instances.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch.nn import functional

from training.loop import Stage
from training.models import PROMPT_TOKENS, PROMPT_WIDTH, build_scheduler, build_unet
from training.pool import Pool
from training.recipe import LATENT_STRIDE, Recipe
from training.samples import hole_for, random_image, to_model, unsharp

KNOWN_SHARE, UNKNOWN_SHARE = 0.10, 0.03  # the two "empty masks" of mask guidance (Eq. 11): nothing or all is a hole
ALONE_SHARE = 0.65  # of the images: the condition image (Eq. 8) is one
UNSHARP_SHARE = 0.25
LEVELS_PER_IMAGE = 2  # noise levels at which each image is shown in a step: encoding costs a third of the UNet's step


class UNetStage(Stage):
    """Mean squared error of v (Salimans and Ho, 2022) over the whole image."""

    name = "unet"

    def __init__(self, recipe: Recipe, pool: Pool, device: str, vae: AutoencoderTiny) -> None:
        self.model: UNet2DConditionModel = build_unet(recipe).to(device)
        self.vae = vae.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.learning_rate = recipe.unet_learning_rate
        self.pool, self.batch_size = pool, recipe.unet_batch // LEVELS_PER_IMAGE
        self.scheduler = build_scheduler()
        self.prompt = torch.zeros(1, PROMPT_TOKENS, PROMPT_WIDTH, device=device)

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, 3, S, S) in [-1, 1] and holes (B, 1, S, S), 1 where the image is to be painted."""
        images, holes = zip(*(self._image_and_hole(rng) for _ in range(self.batch_size)), strict=True)
        return torch.from_numpy(to_model(list(images))), torch.from_numpy(np.stack(holes)[:, None].astype(np.float32))

    def _image_and_hole(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        image, labels = random_image(self.pool, rng, ALONE_SHARE)
        if rng.random() < UNSHARP_SHARE:
            image = unsharp(image, rng)
        chance = rng.random()
        if chance < KNOWN_SHARE:
            return image, np.zeros(labels.shape, bool)
        if chance < KNOWN_SHARE + UNKNOWN_SHARE:
            return image, np.ones(labels.shape, bool)
        hole = hole_for(labels, self.pool, rng)
        if rng.random() < 0.5:  # samplers cut the image by the hole in pixels or in latents: learn both
            cells = hole.reshape(len(hole) // LATENT_STRIDE, LATENT_STRIDE, -1, LATENT_STRIDE).any((1, 3))
            hole = cells.repeat(LATENT_STRIDE, 0).repeat(LATENT_STRIDE, 1)
        return image, hole

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator) -> torch.Tensor:
        images, holes = batch
        condition = self._encode(images * (1 - holes))
        mask = functional.max_pool2d(holes, LATENT_STRIDE)
        latents = self._encode(images).repeat(LEVELS_PER_IMAGE, 1, 1, 1)
        known = torch.cat([mask, condition], 1).repeat(LEVELS_PER_IMAGE, 1, 1, 1)
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        steps = self._evenly_spread_timesteps(len(latents), generator).to(latents.device)
        noisy = self.scheduler.add_noise(latents, noise, steps)
        prompt = self.prompt.expand(len(latents), -1, -1)
        predicted = self.model(torch.cat([noisy, known], 1), steps, prompt).sample
        return functional.mse_loss(predicted.float(), self.scheduler.get_velocity(latents, noise, steps))

    @torch.no_grad()
    def _encode(self, images: torch.Tensor) -> torch.Tensor:
        return self.vae.encode(images).latents.float() * self.vae.config.scaling_factor

    def _evenly_spread_timesteps(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """Uniform in [0, T), spread over the batch: the loss varies most with the level."""
        spread = (torch.arange(count) / count + torch.rand(1, generator=generator)) % 1
        return (spread * self.scheduler.config.num_train_timesteps).long()

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)
