"""One-step schedules over schedulers of `diffusers`."""

from __future__ import annotations

import torch
from diffusers import DDIMScheduler


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
