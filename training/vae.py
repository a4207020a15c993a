"""Stage 1, the autoencoder: it bounds the outlines and colours of everything after it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch.nn import functional

from training.loop import Stage
from training.models import build_vae, save_component
from training.pool import Pools
from training.recipe import Recipe
from training.samples import hole_for, object_sample, plain_image, to_model, unsharp

OBJECT_SHARE = 0.5  # of the images: one object before a plain background, as the condition image (Eq. 8) is
MASKED_SHARE = 0.25  # images with a grey hole: the UNet's condition is one
UNSHARP_SHARE = 0.2
TINT = 10.0  # without it brightness takes all channels first, and greens and reds stay grey for thousands of steps
WHITENING = 0.1
LATENT_NOISE = 0.1  # the decoder meets latents off by up to this standard deviation, as a UNet's are


class VaeStage(Stage):
    """L1 and L2 on colours, L1 on edges, L2 on tints. Latents are drawn to white ones: no KL term, no critic."""

    name = "vae"

    def __init__(self, recipe: Recipe, pools: Pools, device: str) -> None:
        self.model: AutoencoderTiny = build_vae(recipe).to(device, memory_format=torch.channels_last)
        self.learning_rate = recipe.vae_learning_rate
        self.pools, self.batch_size, self.resolution = pools, recipe.vae_batch, recipe.resolution

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor]:
        return (torch.from_numpy(to_model([self._image(rng) for _ in range(self.batch_size)])),)

    def _image(self, rng: np.random.Generator) -> np.ndarray:
        if rng.random() < OBJECT_SHARE:
            sample = object_sample(self.pools, rng, self.resolution)
            image, hole = sample.image, sample.hole
        else:
            image, labels = plain_image(self.pools, rng, self.resolution)
            if rng.random() < UNSHARP_SHARE:
                image = unsharp(image, rng)
            image, hole = image * 2 - 1, hole_for(labels, self.pools, rng)
        if rng.random() < MASKED_SHARE:
            image[hole] = 0
        return image

    def loss(self, batch: tuple[torch.Tensor], generator: torch.Generator) -> torch.Tensor:
        images = batch[0].contiguous(memory_format=torch.channels_last)
        latents = self.model.encode(images).latents.float()
        spread = torch.rand(len(images), 1, 1, 1, generator=generator).to(images.device) * LATENT_NOISE
        noise = torch.randn(latents.shape, generator=generator).to(images.device)
        painted = self.model.decode(latents + spread * noise).sample.float()
        colours = functional.l1_loss(painted, images) + 2 * functional.mse_loss(painted, images)
        edges = sum(functional.l1_loss(painted.diff(dim=d), images.diff(dim=d)) for d in (2, 3))
        tint = functional.mse_loss(_tint(painted), _tint(images))
        return colours + edges + TINT * tint + WHITENING * _unwhiteness(latents)

    @torch.no_grad()
    def save(self, folder: Path) -> None:
        """Measures the latents' standard deviation too: the pipeline multiplies latents by `scaling_factor`, 1 / it."""
        (images,) = self.batch(np.random.default_rng(0))
        latents = self.model.encode(images.to(self.model.device)).latents
        self.model.register_to_config(scaling_factor=1 / latents.std().item())
        save_component(self.model, folder)


def _tint(images: torch.Tensor) -> torch.Tensor:
    """(B, 3, S, S): what is left without brightness."""
    return images - images.mean(1, keepdim=True)


def _unwhiteness(latents: torch.Tensor) -> torch.Tensor:
    """How far (B, C, h, w) latents are from mean 0, variance 1 and no correlation between channels."""
    values = latents.transpose(0, 1).flatten(1)
    covariance = torch.cov(values)
    return values.mean(1).square().mean() + (covariance - torch.eye(len(values), device=values.device)).square().mean()
