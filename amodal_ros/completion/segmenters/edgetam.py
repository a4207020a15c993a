"""EdgeTAM, a SAM 2 for phones, through `transformers.EdgeTamModel`."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch
from transformers import EdgeTamConfig, EdgeTamModel

from amodal_ros.completion.segmenters.sam2 import Sam2
from amodal_ros.errors import ModelError
from amodal_ros.models.layout import read_json


class EdgeTam(Sam2):
    """`Segmenter` on an `EdgeTamModel`."""

    kind = "edgetam"
    model_class, config_class = EdgeTamModel, EdgeTamConfig
    aliases = ("EdgeTamVideoModel",)

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
        """Load an `EdgeTamModel` folder, or the video model's, of which the image model is a part.

        Raises:
            ModelError: the package of its image encoder is missing, or the folder or its weights cannot be used.
        """
        vision = read_json(folder / "config.json").get("vision_config") or {}
        encoder = (vision.get("backbone_config") or {}).get("model_type", "timm_wrapper")
        if encoder == "timm_wrapper" and importlib.util.find_spec("timm") is None:
            raise ModelError(f"{folder}: EdgeTAM needs the package timm: pip install timm (which brings torchvision)")
        return super().from_folder(folder, device, dtype)
