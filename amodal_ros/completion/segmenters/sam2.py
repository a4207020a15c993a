"""Segment Anything 2 and 2.1 through `transformers.Sam2Model`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from transformers import Sam2Config, Sam2Model

from amodal_ros.completion.backends.loading import load_component, to_device
from amodal_ros.completion.segmenters.pixels import Pixels
from amodal_ros.models.layout import read_json


class Sam2:
    """`Segmenter` on a `Sam2Model`."""

    kind = "sam2"
    model_class: type[Any] = Sam2Model
    config_class: type[Any] = Sam2Config
    #: Other classes that a folder may name: those whose weights the model is a part of.
    aliases = ("Sam2VideoModel",)

    def __init__(self, model: Any, pixels: Pixels | None = None) -> None:
        self.model = model
        self._pixels = pixels or Pixels()

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
        """Load a `Sam2Model` folder. The published checkpoints are the video model's; the image model is a part of it.

        Raises:
            ModelError: the folder or its weights cannot be used.
        """
        config = read_json(folder / "config.json")
        parts = {name: config.get(name) for name in ("vision_config", "prompt_encoder_config", "mask_decoder_config")}
        model = load_component(cls.model_class, folder, dtype, cls.aliases, config=cls.config_class(**parts))
        return cls(to_device(model, device), Pixels.from_folder(folder))

    @property
    def device(self) -> torch.device:
        return self.model.device

    def segment(
        self, images: torch.Tensor, points: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        height, width = images.shape[-2:]
        side = self.model.config.prompt_encoder_config.image_size
        scale = torch.tensor([side / width, side / height], device=self.device)  # to a square, whatever the shape
        out = self.model(
            pixel_values=self._pixels.prepare(images, (side, side), self.device).to(self.model.dtype),
            input_points=(points.to(self.device, torch.float32) * scale)[:, None].to(self.model.dtype),
            input_labels=labels.to(self.device, torch.int32)[:, None],
            multimask_output=True,
        )
        logits = F.interpolate(out.pred_masks[:, 0].float(), (height, width), mode="bilinear", align_corners=False)
        return logits, out.iou_scores[:, 0].float()
