"""What is trained: the sizes of the three networks and how each is fed. One object, so that tests can shrink it."""

from __future__ import annotations

from dataclasses import dataclass, replace

LATENT_CHANNELS = 4
LATENT_STRIDE = 4  # pixels per latent: at this resolution a stride of 8, as Stable Diffusion has it, loses the outlines


@dataclass(frozen=True)
class Recipe:
    """Sizes that fit an hour or two on a small machine. `resolution` is the side of the square crop in pixels.

    The UNet has two downsamplings behind the autoencoder's two: `resolution` must be a multiple of 16.
    """

    resolution: int = 96
    pool_side: int = 160  # crops are kept larger: what is cut around the visible part of an object is a part of one
    crops: int = 16_000  # street crops drawn once, before training
    vae_channels: int = 32
    vae_blocks: int = 3  # residual blocks at the latents' resolution; one less per doubling
    vae_batch: int = 16
    vae_learning_rate: float = 6e-4
    unet_channels: tuple[int, ...] = (64, 128, 256)
    unet_batch: int = 16
    unet_learning_rate: float = 6e-4
    last_level_share: float = 0.8  # of the images: shown at pure noise, the one level that one-step use has
    segmenter_width: int = 192
    segmenter_layers: int = 6
    segmenter_patch: int = 6  # masks come out at 4 / patch of the resolution
    segmenter_batch: int = 16
    segmenter_learning_rate: float = 8e-4

    def __post_init__(self) -> None:
        if self.resolution % 16:
            raise ValueError(f"resolution must be a multiple of 16, got {self.resolution}")
        if self.resolution % self.segmenter_patch:
            raise ValueError(f"segmenter_patch must divide resolution {self.resolution}, got {self.segmenter_patch}")

    def for_gpu(self) -> Recipe:
        """The same networks with batches that fill a GPU."""
        return replace(self, vae_batch=128, unet_batch=256, segmenter_batch=64)

    def to_go_on(self) -> Recipe:
        """For weights that are trained already: half the learning rate, a quarter for the segmenter."""
        return replace(
            self,
            unet_learning_rate=self.unet_learning_rate / 2,
            segmenter_learning_rate=self.segmenter_learning_rate / 4,
        )
