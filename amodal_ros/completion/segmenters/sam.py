"""Segment Anything through `transformers.SamModel`. Pixels are prepared here, so torchvision is not needed."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import SamModel

from amodal_ros.completion.backends.loading import load_component, read_json

#: Segment Anything's own pixel statistics (RGB in [0, 1]).
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)


class Sam:
    """`Segmenter` on a `SamModel`."""

    kind = "sam"

    def __init__(self, model: SamModel, mean=IMAGE_MEAN, std=IMAGE_STD) -> None:
        self._model = model
        self._side = model.config.vision_config.image_size
        self._mean = torch.tensor(mean).reshape(1, 3, 1, 1)
        self._std = torch.tensor(std).reshape(1, 3, 1, 1)

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Sam:
        """Load a `SamModel` folder; pixel statistics come from ``preprocessor_config.json`` where present.

        Raises:
            ModelError: the folder or its weights cannot be used.
        """
        model = load_component(SamModel, folder, dtype).to(device)
        statistics = folder / "preprocessor_config.json"
        config = read_json(statistics) if statistics.is_file() else {}
        return cls(model, config.get("image_mean", IMAGE_MEAN), config.get("image_std", IMAGE_STD))

    @property
    def device(self) -> torch.device:
        return self._model.device

    def segment(
        self, images: torch.Tensor, points: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = images.shape[-2:]
        scale = self._side / max(height, width)
        inner = (max(1, round(height * scale)), max(1, round(width * scale)))
        out = self._model(
            pixel_values=self._prepare(images, inner),
            input_points=(points.to(self.device, torch.float32) * scale)[:, None].to(self._model.dtype),
            input_labels=labels.to(self.device)[:, None],
            multimask_output=True,
        )
        logits = out.pred_masks[:, 0].float()
        logits = F.interpolate(logits, (self._side, self._side), mode="bilinear", align_corners=False)
        logits = logits[..., : inner[0], : inner[1]]  # the padding goes
        logits = F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)
        return logits, out.iou_scores[:, 0].float()

    def _prepare(self, images: torch.Tensor, inner: tuple[int, int]) -> torch.Tensor:
        """[-1, 1] to normalised pixels: longer side to the model's, bottom and right padded with zeros."""
        pixels = (images.to(self.device, torch.float32) + 1) / 2
        if tuple(images.shape[-2:]) != inner:
            pixels = F.interpolate(pixels, inner, mode="bilinear", align_corners=False, antialias=True)
        pixels = (pixels - self._mean.to(pixels)) / self._std.to(pixels)
        return F.pad(pixels, (0, self._side - inner[1], 0, self._side - inner[0])).to(self._model.dtype)

    def free(self) -> None:
        self._model.to("cpu")
