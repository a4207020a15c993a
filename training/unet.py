"""Stage 2, the UNet: plain inpainting of images with holes.

It sees images and holes, never a pair of visible and amodal mask as input and answer. Most images show one whole object
as the pipeline would show it, with a hole where something could hide it; the others are any image with any hole.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch.nn import functional

from training.loop import Stage
from training.models import PROMPT_TOKENS, PROMPT_WIDTH, build_scheduler
from training.pool import Pools
from training.recipe import LATENT_STRIDE, Recipe
from training.samples import hole_for, object_sample, plain_image, to_model, unsharp

PLAIN_SHARE = 0.18  # of the images: any crop with any hole
KNOWN_SHARE, UNKNOWN_SHARE = 0.12, 0.05  # of those: the two "empty masks" of Eq. 11, nothing or all is a hole
UNSHARP_SHARE = 0.25  # of those
KNOWN_WEIGHT = 0.2  # of the known cells in the error: there the answer is given


class UNetStage(Stage):
    """Mean squared error of v (Salimans and Ho, 2022), mostly in the hole and mostly at the last noise level.

    At the last level the latents are pure noise and v is minus the clean image (Lin et al., 2024): what is learnt there
    is the mean of all images that fit the known part, which one denoising step paints.
    """

    name = "unet"

    def __init__(
        self, recipe: Recipe, pools: Pools, device: str, vae: AutoencoderTiny, model: UNet2DConditionModel
    ) -> None:
        self.model = model.to(device)
        self.vae = vae.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
        self.learning_rate = recipe.unet_learning_rate
        self.pools, self.batch_size, self.resolution = pools, recipe.unet_batch, recipe.resolution
        self.last_level_share = recipe.last_level_share
        self.scheduler = build_scheduler()
        self.prompt = torch.zeros(1, PROMPT_TOKENS, PROMPT_WIDTH, device=device)

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Images (B, 3, S, S) in [-1, 1] and holes (B, 1, S, S), 1 where the image is to be painted."""
        images, holes = zip(*(self._image_and_hole(rng) for _ in range(self.batch_size)), strict=True)
        return torch.from_numpy(to_model(list(images))), torch.from_numpy(np.stack(holes)[:, None].astype(np.float32))

    def _image_and_hole(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        if rng.random() > PLAIN_SHARE:
            sample = object_sample(self.pools, rng, self.resolution)
            return sample.image, sample.hole
        image, labels = plain_image(self.pools, rng, self.resolution)
        if rng.random() < UNSHARP_SHARE:
            image = unsharp(image, rng)
        chance = rng.random()
        if chance < KNOWN_SHARE:
            return image * 2 - 1, np.zeros(labels.shape, bool)
        if chance < KNOWN_SHARE + UNKNOWN_SHARE:
            return image * 2 - 1, np.ones(labels.shape, bool)
        return image * 2 - 1, hole_for(labels, self.pools, rng)

    def loss(self, batch: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator) -> torch.Tensor:
        images, holes = batch
        latents, condition = encode(self.vae, torch.cat([images, images * (1 - holes)])).chunk(2)
        mask = functional.max_pool2d(holes, LATENT_STRIDE)
        noise = torch.randn(latents.shape, generator=generator).to(latents.device)
        steps = self._timesteps(len(latents), generator).to(latents.device)
        noisy = self.scheduler.add_noise(latents, noise, steps)
        prompt = self.prompt.expand(len(latents), -1, -1)
        predicted = self.model(torch.cat([noisy, mask, condition], 1), steps, prompt).sample
        error = (predicted.float() - self.scheduler.get_velocity(latents, noise, steps)).square()
        weight = (KNOWN_WEIGHT + (1 - KNOWN_WEIGHT) * mask).expand_as(error)
        return (weight * error).sum() / weight.sum()

    def _timesteps(self, count: int, generator: torch.Generator) -> torch.Tensor:
        """The last level for most, levels spread evenly over the others: the loss varies most with the level."""
        levels = self.scheduler.config.num_train_timesteps
        steps = torch.full((count,), levels - 1)
        others = torch.randperm(count, generator=generator)[round(count * self.last_level_share) :]
        spread = (torch.arange(len(others)) + torch.rand(1, generator=generator)) / max(1, len(others))
        steps[others] = (spread * levels).long()
        return steps

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(folder)


@torch.no_grad()
def encode(vae: AutoencoderTiny, images: torch.Tensor) -> torch.Tensor:
    """Scaled latents of images (B, 3, S, S) in [-1, 1]."""
    latents = vae.encode(images.contiguous(memory_format=torch.channels_last)).latents
    return latents.float() * vae.config.scaling_factor


@torch.no_grad()
def paint(
    vae: AutoencoderTiny,
    unet: UNet2DConditionModel,
    images: torch.Tensor,
    holes: torch.Tensor,
    generator: torch.Generator,
    steps: int = 1,
) -> torch.Tensor:
    """What the two paint into holes (B, 1, S, S) of images (B, 3, S, S), by DDIM as the pipeline does it.

    All outside the hole's cells is the image's own latents (reading ``anchored``).
    """
    clean, condition = encode(vae, torch.cat([images, images * (1 - holes)])).chunk(2)
    mask = functional.max_pool2d(holes, LATENT_STRIDE)
    scheduler = build_scheduler()
    scheduler.set_timesteps(steps)
    z = torch.randn(clean.shape, generator=generator).to(clean.device)
    prompt = torch.zeros(len(z), PROMPT_TOKENS, PROMPT_WIDTH, device=z.device)
    for t in scheduler.timesteps:
        velocity = unet(torch.cat([z, mask, condition], 1), t, prompt).sample.float()
        z = scheduler.step(velocity, t, z).prev_sample
    return vae.decode((mask * z + (1 - mask) * clean) / vae.config.scaling_factor).sample.float().clamp(-1, 1)
