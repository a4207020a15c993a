"""Flux: flow matching on packed latents, with (FLUX.1-Fill) or without a mask input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel
from diffusers.loaders import FluxLoraLoaderMixin

from amodal_ros.completion.backends.autoencoder import Autoencoder
from amodal_ros.completion.backends.loading import (
    compile_cached,
    load_component,
    quantization,
    quantize_in_place,
    to_device,
)
from amodal_ros.completion.backends.lora import merge_lora
from amodal_ros.completion.backends.prompt import Prompt, check_prompt, clip_embedding, load_tokenizer, stored_prompt
from amodal_ros.completion.backends.schedules import FlowSchedule, flow_config, scheduler_config
from amodal_ros.errors import ModelError
from amodal_ros.settings.switches import Switches

#: Pixels along one side unless told otherwise; a transformer's configuration does not say.
RESOLUTION = 1024
#: T5 tokens of the empty prompt, as the pipelines of `diffusers` pad it.
PROMPT_TOKENS = 512
#: Latent cells along one side of a token.
PATCH = 2


class Flux:
    """`Backend` on the components of ``FluxFillPipeline`` and ``FluxPipeline``.

    Latents stay unpacked outside of `predict`, so that the sampler sees the grid it sees everywhere.
    """

    family = "flux"
    denoiser_class = FluxTransformer2DModel

    def __init__(
        self,
        transformer: FluxTransformer2DModel,
        autoencoder: Autoencoder,
        scheduler_config: dict,
        prompt: Prompt,
        resolution: int | None = None,
    ) -> None:
        """
        Args:
            prompt: the empty prompt's embeddings, of `prompt_shapes`.
            resolution: pixels along one side; 1024 by default.

        Raises:
            ModelError: channels, widths or the resolution do not fit each other.
        """
        self.transformer, self.autoencoder = transformer, autoencoder
        self.scheduler_config = self.checked_scheduler(scheduler_config)
        self.device, self.dtype = (
            transformer.device,
            transformer.dtype,
        )  # asked once: each asking walks the network
        self.prompt = {name: tensor.to(self.device, self.dtype) for name, tensor in prompt.items()}
        self.latent_factor = autoencoder.factor
        self.resolution = resolution or RESOLUTION
        cells = self.resolution // self.latent_factor
        self.latent_shape = (autoencoder.channels, cells, cells)
        # The mask input: the packed latents of what is known, and every pixel of the mask.
        plain = PATCH**2 * autoencoder.channels
        filling = 2 * plain + PATCH**2 * autoencoder.factor**2
        channels = transformer.config.in_channels
        self.has_mask_input = channels == filling
        if channels not in (plain, filling):
            raise ModelError(
                f"transformer: expected {plain} or {filling} input channels for a VAE of {autoencoder.channels} latent "
                f"channels and {autoencoder.factor} px per cell, got {channels}"
            )
        check_prompt(self.prompt, self.prompt_shapes(transformer.config))
        if self.resolution % (PATCH * self.latent_factor):
            raise ModelError(f"resolution: expected a multiple of {PATCH * self.latent_factor}, got {self.resolution}")
        tokens = self.prompt["prompt_embeds"].shape[1]
        self._text_ids = torch.zeros(tokens, 3, device=self.device, dtype=self.dtype)
        self._image_ids = _positions(cells // PATCH).to(self.device, self.dtype)
        #: The distilled guidance that the pipelines of `diffusers` use: 30 for Fill, 3.5 for the plain model.
        self.distilled_guidance = 30.0 if self.has_mask_input else 3.5

    #: A scheduler file's content, complete. Raises ModelError where it is of another process.
    checked_scheduler = staticmethod(flow_config)

    @staticmethod
    def prompt_shapes(config: Any) -> dict[str, tuple[int, ...]]:
        """The empty prompt's embeddings that a transformer of this configuration takes."""
        return {
            "prompt_embeds": (1, PROMPT_TOKENS, config.joint_attention_dim),
            "pooled_prompt_embeds": (1, config.pooled_projection_dim),
        }

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        resolution: int | None = None,
        switches: Switches | None = None,
    ) -> Flux:
        """Load the folder layout of ``FluxFillPipeline``.

        Raises:
            ModelError: a component is missing, foreign, or does not match its configuration.
        """
        switches = switches or Switches()
        config = scheduler_config(folder, switches.scheduler)
        prompt = cls.empty_prompt(folder, dtype)  # first: its 9 GB text encoder is gone before the transformer comes
        transformer = load_component(FluxTransformer2DModel, folder / "transformer", dtype, **quantization(switches))
        if switches.lora:
            merge_lora(transformer, Path(switches.lora), FluxLoraLoaderMixin, "load_lora_into_transformer")
            quantize_in_place(transformer, switches.quantize)
        autoencoder = Autoencoder.from_folder(folder, device, dtype, switches)
        backend = cls(to_device(transformer, device), autoencoder, config, prompt, resolution)
        if switches.compile:
            compile_cached(transformer)
        return backend

    @classmethod
    def empty_prompt(cls, folder: Path, dtype: torch.dtype) -> Prompt:
        """The empty prompt's embedding, stored or computed: T5's last hidden state, and CLIP's pooled output.

        Raises:
            ModelError: neither a stored embedding nor the text encoders with their tokenizers are there.
        """
        stored = stored_prompt(folder, ("prompt_embeds", "pooled_prompt_embeds"))
        if stored:
            return stored
        from transformers import T5EncoderModel, T5TokenizerFast

        pooled = clip_embedding(folder, "", dtype).pooled
        tokenizer = load_tokenizer(T5TokenizerFast, folder / "tokenizer_2")
        tokens = tokenizer("", padding="max_length", max_length=PROMPT_TOKENS, return_tensors="pt")
        encoder = load_component(T5EncoderModel, folder / "text_encoder_2", dtype)
        with torch.inference_mode():
            embeds = encoder(tokens.input_ids).last_hidden_state.clone()
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}

    @property
    def denoiser(self) -> FluxTransformer2DModel:
        return self.transformer

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return self.autoencoder.encode(images).to(self.dtype)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.autoencoder.decode(latents)

    def schedule(self, steps: int) -> FlowSchedule:
        return FlowSchedule(self.scheduler_config, steps, len(self._image_ids), self.device)

    def mask_conditioning(self, area: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
        """Packed: (batch, tokens, channels). Flux sees every pixel of the mask, a token's pixels as its channels."""
        known = pack(outside)
        pixels = pack(F.pixel_unshuffle(area, self.latent_factor))
        return torch.cat([known, pixels.to(known)], dim=-1)

    def predict(self, z: torch.Tensor, timestep: torch.Tensor, conditioning: torch.Tensor | None) -> torch.Tensor:
        tokens = pack(z)
        if conditioning is not None:
            tokens = torch.cat([tokens, conditioning], dim=-1)
        batch = len(z)
        guidance = None
        if self.transformer.config.guidance_embeds:
            guidance = torch.full((batch,), self.distilled_guidance, device=self.device)
        velocity = self.transformer(
            hidden_states=tokens,
            timestep=timestep.expand(batch).to(self.dtype) / 1000,  # in the model's dtype first, as the pipelines do
            guidance=guidance,
            pooled_projections=self.prompt["pooled_prompt_embeds"].expand(batch, -1),
            encoder_hidden_states=self.prompt["prompt_embeds"].expand(batch, -1, -1),
            txt_ids=self._text_ids,
            img_ids=self._image_ids,
            return_dict=False,
        )[0]
        return unpack(velocity)


def pack(grid: torch.Tensor) -> torch.Tensor:
    """2 x 2 cells to a token: (batch, channels, height, width) to (batch, height / 2 * width / 2, 4 * channels)."""
    return F.pixel_unshuffle(grid, PATCH).flatten(2).transpose(1, 2)


def unpack(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens of a square back on the grid."""
    side = round(tokens.shape[1] ** 0.5)
    return F.pixel_shuffle(tokens.transpose(1, 2).unflatten(2, (side, side)), PATCH)


def _positions(side: int) -> torch.Tensor:
    """(0, row, column) of every token of a square, (side * side, 3)."""
    rows, columns = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3)
