"""Instance segmentation by a model of `transformers`, such as Mask2Former."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from amodal_ros.errors import ModelError
from amodal_ros.models import hub
from amodal_ros.models.layout import read_json
from amodal_ros.scene import MaskRegion
from amodal_ros.stream.masks import Seen


def find(model: str) -> Path:
    """The folder of a model that is on this machine; the network is not asked.

    Args:
        model: a folder, or a hub id such as ``facebook/mask2former-swin-tiny-coco-instance``.

    Raises:
        ModelError: it is not there, or is no instance segmentation model; the message says what to do.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if not hub.HUB_ID.fullmatch(model) or model.startswith("."):
            raise ModelError(f"segmentation model: expected a folder or a hub id, got {model!r}")
        cached = hub.cached(model)
        if cached is None:
            raise ModelError(
                f"segmentation model {model!r} is not on this machine (looked in {hub.cache_folder(model)}). Fetch it "
                f"with `hf download {model}`; nothing is downloaded without being asked"
            )
        folder = cached
    for name in ("config.json", "preprocessor_config.json"):
        if not (folder / name).is_file():
            raise ModelError(f"segmentation model {folder}: {name} is missing; expected a folder of transformers")
    return folder


def class_names(folder: Path) -> list[str]:
    """The names of a model's classes, by their numbers."""
    names = read_json(folder / "config.json").get("id2label") or {}
    return [str(names.get(str(k), "")) for k in range(max(map(int, names), default=-1) + 1)]


class InstanceSegmenter:
    """An instance segmentation model, loaded.

    Args:
        model: as in `find`.
        device: a torch device; None: CUDA if there is one.

    Raises:
        ModelError: it is not there, or cannot be loaded.
    """

    def __init__(self, model: str, device: str | None = None) -> None:
        import torch
        from transformers import AutoImageProcessor, AutoModelForInstanceSegmentation, AutoModelForUniversalSegmentation
        from transformers.utils.logging import disable_progress_bar

        folder = find(model)
        self.names = class_names(folder)  #: of classes, by their numbers
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        disable_progress_bar()
        universal = AutoModelForUniversalSegmentation, AutoModelForInstanceSegmentation
        try:
            self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            kinds = [kind for kind in universal if self._known(kind, folder)]
            if not kinds or not hasattr(self._processor, "post_process_instance_segmentation"):
                raise ModelError("expected a model for instance segmentation, such as Mask2Former")
            loaded = kinds[0].from_pretrained(folder, local_files_only=True, use_safetensors=True)
        except Exception as error:  # whatever a folder of another kind makes the library stumble over
            raise ModelError(f"segmentation model {folder}: {str(error).strip() or type(error).__name__}") from error
        self._model = loaded.eval().requires_grad_(False).to(self.device)

    @staticmethod
    def _known(kind: Any, folder: Path) -> bool:
        from transformers import AutoConfig

        return type(AutoConfig.from_pretrained(folder, local_files_only=True)) in kind._model_mapping

    def segment(self, image: np.ndarray, min_score: float = 0.5) -> list[Seen]:
        """The objects of an image, without ids.

        Args:
            image: RGB uint8 (height, width, 3).
            min_score: objects that the model is less sure of are left out, in [0, 1].
        """
        import torch

        inputs = self._processor(images=image, return_tensors="pt")
        tensors = {name: value.to(self.device) for name, value in inputs.items() if torch.is_tensor(value)}
        with torch.inference_mode():
            outputs = self._model(**tensors)
        found = self._processor.post_process_instance_segmentation(
            outputs, threshold=min_score, target_sizes=[image.shape[:2]]
        )[0]
        return list(self._seen(found, image.shape[:2]))

    def _seen(self, found: dict, shape: tuple[int, int]) -> Iterator[Seen]:
        """What the library's results hold: a map of segments' numbers, -1 for none, or a mask per object."""
        segments = found["segmentation"]
        for k, info in enumerate(found.get("segments_info", ())):
            mask = (segments[k] > 0) if segments.ndim == 3 else (segments == info["id"])
            region = MaskRegion.from_full(mask.cpu().numpy()).clip(*shape)
            if region.area:
                number = int(info["label_id"])
                name = self.names[number] if number < len(self.names) else str(number)
                yield Seen(region, None, name, float(info.get("score", np.nan)))
