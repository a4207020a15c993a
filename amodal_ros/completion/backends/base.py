"""What the sampler asks of a diffusion family; each family is one file that answers."""

from __future__ import annotations

from typing import Protocol

import torch


class Schedule(Protocol):
    """Noise levels 0 (most noise) to len (clean), and a one-step solver between them.

    Blending after each step (Eq. 7) rewrites what a multistep solver remembers, so only one-step solvers fit.

    Attributes:
        renewals: how many fresh noises sampling takes: one for each level between the first and the clean one where the
            sampler renews noise, else 0.
    """

    renewals: int

    def __len__(self) -> int: ...

    def timestep(self, step: int) -> torch.Tensor:
        """What the denoiser is told at this step."""

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        """Unit noise scaled to level 0."""

    def noised(self, x: torch.Tensor, noise: torch.Tensor, level: int) -> torch.Tensor:
        """Eq. 1, the family's forward process: x_t at a level; level len gives x itself."""

    def renewed(self, noise: torch.Tensor, fresh: torch.Tensor | None, step: int) -> torch.Tensor:
        """The noise at the level after `step`: of the present noise what the sampler keeps, the rest fresh."""

    def step(
        self, prediction: torch.Tensor, step: int, z: torch.Tensor, fresh: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """From level `step` to the next: the new latents, and the present guess of the clean ones.

        Args:
            fresh: the noise that a sampler which renews it takes; None keeps what was predicted.
        """


class Backend(Protocol):
    """A latent inpainting model.

    Images are (batch, 3, resolution, resolution) in [-1, 1]; latents (batch, *latent_shape).
    """

    family: str
    resolution: int  #: pixels along one side
    latent_factor: int  #: pixels per latent cell along one side
    latent_shape: tuple[int, int, int]  #: channels, height, width
    has_mask_input: bool  #: whether M enters the denoiser; otherwise Eq. 5 blends
    device: torch.device
    dtype: torch.dtype

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """E(x): the mean latents, scaled to about unit variance. No draw: a seed fixes everything elsewhere."""

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """D(z), images clipped to [-1, 1]."""

    def schedule(self, steps: int) -> Schedule:
        """The schedule of `steps` steps, for one sampling.

        Raises:
            ValueError: more steps than the sampler has.
        """

    def mask_conditioning(self, area: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
        """What the denoiser sees of M and of x outside of it; asked only of models with a mask input.

        Args:
            area: M, (batch, 1, resolution, resolution).
            outside: E(x (1 - M)).
        """

    def predict(self, z: torch.Tensor, timestep: torch.Tensor, conditioning: torch.Tensor | None) -> torch.Tensor:
        """The denoiser's output for the empty prompt."""
