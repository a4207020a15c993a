"""Segment Anything's own checkpoints (``sam_vit_*.pth``) through its own package, an optional extra."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch

from amodal_ros.completion.backends.loading import first_line
from amodal_ros.completion.segmenters.pixels import PaddedSquare, Pixels
from amodal_ros.errors import ModelError

#: Width of the image encoder -> the package's name for the model.
KINDS = {768: "vit_b", 1024: "vit_l", 1280: "vit_h"}


class SegmentAnything:
    """`Segmenter` on a `segment_anything.modeling.Sam`."""

    kind = "segment_anything"

    def __init__(self, model: Any) -> None:
        self.model = model
        # The package multiplies float32 coordinates by this matrix, whatever the precision of the rest.
        model.prompt_encoder.pe_layer.float()
        self._pixels = Pixels()

    @classmethod
    def from_file(cls, path: Path, device: torch.device, dtype: torch.dtype) -> SegmentAnything:
        """Load a checkpoint. Only tensors are read from the pickle: no code of the file is run.

        Raises:
            ModelError: the package is missing, or the file is no such checkpoint.
        """
        kind, state = checkpoint(path)
        model = _build(path, kind)
        model.load_state_dict(state)
        return cls(model.eval().requires_grad_(False).to(device, dtype))

    @property
    def device(self) -> torch.device:
        return self.model.device

    def segment(
        self, images: torch.Tensor, points: torch.Tensor, labels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        square = PaddedSquare(self.model.image_encoder.img_size, *images.shape[-2:])
        dtype = next(self.model.parameters()).dtype
        pixels = square.pad(self._pixels.prepare(images, square.inner, self.device)).to(dtype)
        points, labels = points.to(self.device, torch.float32) * square.scale, labels.to(self.device)
        results = []
        # The decoder takes many prompts on one image, not one prompt on each of many.
        for embedding, point, label in zip(self.model.image_encoder(pixels), points, labels):
            sparse, dense = self.model.prompt_encoder(points=(point[None], label[None]), boxes=None, masks=None)
            results.append(
                self.model.mask_decoder(
                    image_embeddings=embedding[None],
                    image_pe=self.model.prompt_encoder.get_dense_pe().to(dtype),
                    sparse_prompt_embeddings=sparse.to(dtype),
                    dense_prompt_embeddings=dense,
                    multimask_output=True,
                )
            )
        masks, scores = (torch.cat(part) for part in zip(*results))
        return square.unpad(masks), scores.float()


def checkpoint(path: Path) -> tuple[str, dict[str, torch.Tensor]]:
    """The package's name for a checkpoint's model, and its tensors. They stay in the file until they are used.

    Raises:
        ModelError: the package is missing; or the file holds something else, is broken, wants to run code, or its
            tensors are not those of the model.
    """
    state = _tensors(path)
    width = state["image_encoder.pos_embed"].shape[-1]
    if width not in KINDS:
        raise ModelError(f"{path}: expected an image encoder of width {', '.join(map(str, KINDS))}, got {width}")
    with torch.device("meta"):
        expected = _build(path, KINDS[width]).state_dict()
    for wrong, names in (("missing", expected.keys() - state.keys()), ("foreign", state.keys() - expected.keys())):
        if names:
            problem = f"{len(names)} tensors {wrong}, the first {min(names)}"
            raise ModelError(f"{path}: not the weights of {KINDS[width]}: {problem}")
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            problem = f"{name}: expected {tuple(tensor.shape)}, got {tuple(state[name].shape)}"
            raise ModelError(f"{path}: not the weights of {KINDS[width]}: {problem}")
    return KINDS[width], state


def _build(path: Path, kind: str) -> Any:
    """A model of the package, of random weights."""
    try:
        from segment_anything import sam_model_registry
    except (ImportError, RuntimeError) as error:  # a torchvision that does not fit torch raises RuntimeError
        raise ModelError(
            f"{path}: needs the packages segment-anything and torchvision ({first_line(error)}): "
            "pip install segment-anything torchvision, or use a folder of facebook/sam-vit-huge instead"
        ) from None
    return sam_model_registry[kind]()


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    """A checkpoint's tensors.

    Raises:
        ModelError: the file holds something else, is broken, or wants to run code.
    """
    mapped = zipfile.is_zipfile(path)  # the older format is a bare pickle, and read whole
    with path.open("rb") as stream:
        if not mapped and stream.read(1) != b"\x80":
            raise ModelError(f"{path}: expected a checkpoint of tensors, got another kind of file")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception:  # broken pickles raise many kinds, with pages of advice
        raise ModelError(f"{path}: expected a checkpoint of tensors; it is corrupt, or wants to run code") from None
    if not isinstance(state, dict) or "image_encoder.pos_embed" not in state:
        raise ModelError(
            f"{path}: expected a Segment Anything checkpoint such as sam_vit_h_4b8939.pth; those of MobileSAM, "
            "EfficientSAM and SAM 2 are other networks"
        )
    return state
