"""Stable Diffusion XL: two text encoders, a pooled embedding and the picture's size beside the prompt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.loaders import StableDiffusionXLLoraLoaderMixin

from amodal_ros.completion.backends.prompt import Prompt, clip_embedding, stored_prompt
from amodal_ros.completion.backends.stable_diffusion import StableDiffusion


class SDXL(StableDiffusion):
    """`Backend` on the components of ``StableDiffusionXLInpaintPipeline``."""

    family = "sdxl"
    lora_loader = StableDiffusionXLLoraLoaderMixin
    heeds_force_upcast = True
    added_embedding = "text_time"

    def _check(self, config: Any, channels: int) -> None:
        super()._check(config, channels)
        side = self.resolution
        # Original size, corner of the crop, target size, each (height, width): a picture that nobody cropped.
        self._time_ids = torch.tensor([[side, side, 0, 0, side, side]], device=self.device, dtype=self.dtype)

    @staticmethod
    def prompt_shapes(config: Any) -> dict[str, tuple[int, ...]]:
        # Six numbers describe the picture's size; the refiner, which has an aesthetic score instead, does not inpaint.
        pooled = config.projection_class_embeddings_input_dim - 6 * config.addition_time_embed_dim
        return {"prompt_embeds": (1, 77, config.cross_attention_dim), "pooled_prompt_embeds": (1, pooled)}

    @classmethod
    def empty_prompt(cls, folder: Path, dtype: torch.dtype) -> Prompt:
        """As ``StableDiffusionXLInpaintPipeline`` encodes the prompt "": both encoders' last hidden state but one, side
        by side, and the second one's pooled output."""
        stored = stored_prompt(folder, ["prompt_embeds", "pooled_prompt_embeds"])
        if stored:
            return stored
        first, second = clip_embedding(folder, "", dtype), clip_embedding(folder, "_2", dtype, projected=True)
        embeds = torch.cat([first.last_but_one, second.last_but_one], dim=-1)
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": second.pooled}

    def added_conditions(self, batch: int) -> dict[str, torch.Tensor]:
        return {
            "text_embeds": self.prompt["pooled_prompt_embeds"].expand(batch, -1),
            "time_ids": self._time_ids.expand(batch, -1),
        }
