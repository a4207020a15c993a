"""What every Segment Anything model is fed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F

from amodal_ros.models.layout import read_json

#: Segment Anything's own pixel statistics (RGB in [0, 1]).
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class Pixels:
    """[-1, 1] to normalised pixels. Prepared here, so torchvision is not needed."""

    def __init__(self, mean: Sequence[float] = IMAGE_MEAN, std: Sequence[float] = IMAGE_STD) -> None:
        self._mean = torch.tensor(mean).reshape(1, 3, 1, 1)
        self._std = torch.tensor(std).reshape(1, 3, 1, 1)

    @classmethod
    def from_folder(cls, folder: Path) -> Pixels:
        """Statistics from ``preprocessor_config.json`` where present."""
        path = folder / "preprocessor_config.json"
        config = read_json(path) if path.is_file() else {}
        return cls(config.get("image_mean", IMAGE_MEAN), config.get("image_std", IMAGE_STD))

    def prepare(self, images: torch.Tensor, size: tuple[int, int], device: torch.device) -> torch.Tensor:
        """Images (batch, 3, height, width) in [-1, 1] to float32 (batch, 3, *size)."""
        pixels = (images.to(device, torch.float32) + 1) / 2
        if tuple(images.shape[-2:]) != size:
            pixels = F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)
        return (pixels - self._mean.to(pixels)) / self._std.to(pixels)


class PaddedSquare:
    """Segment Anything 1's geometry: the longer side becomes the model's, bottom and right are padded with zeros."""

    def __init__(self, side: int, height: int, width: int) -> None:
        self.side, self.size = side, (height, width)
        self.scale = side / max(height, width)
        self.inner = (max(1, round(height * self.scale)), max(1, round(width * self.scale)))

    def pad(self, pixels: torch.Tensor) -> torch.Tensor:
        return F.pad(pixels, (0, self.side - self.inner[1], 0, self.side - self.inner[0]))

    def unpad(self, logits: torch.Tensor) -> torch.Tensor:
        """The model's low-resolution masks (batch, k, h, w) on the image's pixels."""
        logits = F.interpolate(logits.float(), (self.side, self.side), mode="bilinear", align_corners=False)
        logits = logits[..., : self.inner[0], : self.inner[1]]
        return F.interpolate(logits, self.size, mode="bilinear", align_corners=False)
