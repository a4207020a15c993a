"""Segment Anything through `transformers.SamModel`."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import SamModel

from amodal_ros.completion.backends.loading import load_component, to_device
from amodal_ros.completion.segmenters.pixels import PaddedSquare, Pixels


class Sam:
    """`Segmenter` on a `SamModel`."""

    kind = "sam"
    model_class = SamModel
    aliases: tuple[str, ...] = ()

    def __init__(self, model: SamModel, pixels: Pixels | None = None) -> None:
        self.model = model
        self._pixels = pixels or Pixels()
        self.device, self._dtype = model.device, model.dtype  # asked once: the properties walk the whole network

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Sam:
        """Load a `SamModel` folder.

        Raises:
            ModelError: the folder or its weights cannot be used.
        """
        return cls(to_device(load_component(SamModel, folder, dtype), device), Pixels.from_folder(folder))

    def segment(
        self, images: torch.Tensor, points: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        square = PaddedSquare(self.model.config.vision_config.image_size, *images.shape[-2:])
        out = self.model(
            pixel_values=square.pad(self._pixels.prepare(images, square.inner, self.device)).to(self._dtype),
            input_points=(points.to(self.device, torch.float32) * square.scale)[:, None].to(self._dtype),
            input_labels=labels.to(self.device)[:, None],
            multimask_output=True,
        )
        return square.unpad(out.pred_masks[:, 0]), out.iou_scores[:, 0].float()
