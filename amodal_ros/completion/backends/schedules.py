"""One-step schedules over schedulers of `diffusers`."""

from __future__ import annotations

import numpy as np
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler


class DiffusionSchedule:
    """DDIM without added noise: Eq. 2 with sigma = 0. Reads the betas, spacing and prediction type of any scheduler
    configuration that Stable Diffusion folders hold."""

    def __init__(self, config: dict, steps: int, device: torch.device) -> None:
        self._scheduler = DDIMScheduler.from_config(config)
        self._scheduler.set_timesteps(steps, device=device)
        self._timesteps = self._scheduler.timesteps

    def __len__(self) -> int:
        return len(self._timesteps)

    def timestep(self, step: int) -> torch.Tensor:
        return self._timesteps[step]

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        return noise * self._scheduler.init_noise_sigma

    def noised(self, x: torch.Tensor, noise: torch.Tensor, level: int) -> torch.Tensor:
        """Eq. 1: sqrt(abar_t) x + sqrt(1 - abar_t) eps."""
        if level >= len(self):
            return x
        timestep = self._timesteps[level].reshape(1).expand(x.shape[0])
        return self._scheduler.add_noise(x, noise, timestep)

    def step(self, prediction: torch.Tensor, step: int, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = self._scheduler.step(prediction, self._timesteps[step], z, eta=0.0)
        return out.prev_sample, out.pred_original_sample


class FlowSchedule:
    """Euler steps along the straight lines of flow matching: x_t = sigma * eps + (1 - sigma) * x."""

    def __init__(self, config: dict, steps: int, tokens: int, device: torch.device) -> None:
        """
        Args:
            tokens: length of the image's token sequence; larger images keep more noise for longer.
        """
        self._scheduler = FlowMatchEulerDiscreteScheduler.from_config(config)
        lengths = [config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)]
        shifts = [config.get("base_shift", 0.5), config.get("max_shift", 1.15)]
        slope = (shifts[1] - shifts[0]) / (lengths[1] - lengths[0])
        shift = shifts[0] + slope * (tokens - lengths[0])  # beyond either length the line goes on
        self._scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift, device=device)
        self._timesteps, self._sigmas = self._scheduler.timesteps, self._scheduler.sigmas

    def __len__(self) -> int:
        return len(self._timesteps)

    def timestep(self, step: int) -> torch.Tensor:
        return self._timesteps[step]

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        return noise

    def noised(self, x: torch.Tensor, noise: torch.Tensor, level: int) -> torch.Tensor:
        """Eq. 1 of this family: the scheduler's interpolation between x and noise. Its own `scale_noise` remembers
        where sampling stands, so it cannot be asked for another level."""
        sigma = self._sigmas[level]
        return sigma * noise + (1 - sigma) * x

    def step(self, prediction: torch.Tensor, step: int, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The prediction is the velocity eps - x."""
        clean = z - self._sigmas[step] * prediction
        return self._scheduler.step(prediction, self._timesteps[step], z).prev_sample, clean
