"""Stable Diffusion 1.5 and 2 and everything of their layout: a UNet with (9 channels) or without (4) a mask input."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin

from amodal_ros.completion.area import latent_area
from amodal_ros.completion.backends.autoencoder import Autoencoder
from amodal_ros.completion.backends.loading import (
    compile_cached,
    load_component,
    quantization,
    quantize_in_place,
    to_device,
)
from amodal_ros.completion.backends.lora import merge_lora
from amodal_ros.completion.backends.prompt import Prompt, check_prompt, clip_embedding, stored_prompt
from amodal_ros.completion.backends.schedules import DiffusionSchedule, diffusion_config, scheduler_config
from amodal_ros.errors import ModelError
from amodal_ros.settings.switches import Switches

log = logging.getLogger(__name__)

#: Sampling starts from pure noise; below this share of the trained levels too much of the picture is expected in it.
PURE_NOISE = 0.8


class StableDiffusion:
    """`Backend` on the components of ``StableDiffusionInpaintPipeline``."""

    family = "stable_diffusion"
    denoiser_class = UNet2DConditionModel
    lora_loader = StableDiffusionLoraLoaderMixin
    heeds_force_upcast = False
    #: What the UNet is told beside the prompt, as its configuration names it.
    added_embedding: str | None = None

    def __init__(
        self,
        unet: UNet2DConditionModel,
        autoencoder: Autoencoder,
        scheduler_config: dict,
        prompt: Prompt,
        resolution: int | None = None,
    ) -> None:
        """
        Args:
            prompt: the empty prompt's embedding, of `prompt_shapes`.
            resolution: pixels along one side; by default the UNet's own.

        Raises:
            ModelError: channels, widths or the resolution do not fit each other.
        """
        self.unet, self.autoencoder = unet, autoencoder
        self.scheduler_config = self.checked_scheduler(scheduler_config)
        self._schedules: dict[int, DiffusionSchedule] = {}
        self.device, self.dtype = unet.device, unet.dtype  # asked once: each asking walks the network
        self.prompt = {name: tensor.to(self.device, self.dtype) for name, tensor in prompt.items()}
        self.latent_factor = autoencoder.factor
        self.resolution = resolution or unet.config.sample_size * self.latent_factor
        cells, channels = self.resolution // self.latent_factor, autoencoder.channels
        self.latent_shape = (channels, cells, cells)
        self.has_mask_input = unet.config.in_channels == 2 * channels + 1
        self._check(unet.config, channels)

    def _check(self, config: Any, channels: int) -> None:
        if not self.has_mask_input and config.in_channels != channels:
            raise ModelError(
                f"unet: expected {channels} or {2 * channels + 1} input channels for a VAE of {channels} latent "
                f"channels, got {config.in_channels}"
            )
        if self.resolution % self.latent_factor:
            raise ModelError(f"resolution: expected a multiple of {self.latent_factor}, got {self.resolution}")
        if config.addition_embed_type != self.added_embedding:
            raise ModelError(
                f"unet: expected addition_embed_type {self.added_embedding!r} in the family {self.family}, got "
                f"{config.addition_embed_type!r}; does model_index.json name the right pipeline?"
            )
        check_prompt(self.prompt, self.prompt_shapes(config))

    #: A scheduler file's content, complete. Raises ModelError where it is of another process.
    checked_scheduler = staticmethod(diffusion_config)

    @staticmethod
    def prompt_shapes(config: Any) -> dict[str, tuple[int, ...]]:
        """The empty prompt's embedding that a UNet of this configuration takes."""
        return {"prompt_embeds": (1, 77, config.cross_attention_dim)}

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        resolution: int | None = None,
        switches: Switches | None = None,
    ) -> StableDiffusion:
        """Load the folder layout of the family's inpainting pipeline.

        Raises:
            ModelError: a component is missing, foreign, or does not match its configuration.
        """
        switches = switches or Switches()
        config = scheduler_config(folder, switches.scheduler)
        unet = load_component(UNet2DConditionModel, folder / "unet", dtype, **quantization(switches))
        if switches.lora:
            merge_lora(unet, Path(switches.lora), cls.lora_loader, "load_lora_into_unet")
            quantize_in_place(unet, switches.quantize)
        prompt = cls.empty_prompt(folder, dtype)
        autoencoder = Autoencoder.from_folder(folder, device, dtype, switches, cls.heeds_force_upcast)
        # channels-last suits convolutions on CPUs and GPUs alike and costs nothing.
        to_device(unet, device, memory_format=torch.channels_last)
        backend = cls(unet, autoencoder, config, prompt, resolution)
        if switches.compile:
            compile_cached(unet)
        return backend

    @classmethod
    def empty_prompt(cls, folder: Path, dtype: torch.dtype) -> Prompt:
        """The empty prompt's embedding, stored or computed.

        Raises:
            ModelError: neither a stored embedding nor a text encoder with its tokenizer is there.
        """
        stored = stored_prompt(folder, ["prompt_embeds"])
        return stored or {"prompt_embeds": clip_embedding(folder, "", dtype).last}

    @property
    def denoiser(self) -> UNet2DConditionModel:
        return self.unet

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        return self.autoencoder.encode(images).to(self.dtype)

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        return self.autoencoder.decode(latents)

    def schedule(self, steps: int) -> DiffusionSchedule:
        if steps not in self._schedules:  # it remembers nothing of a sampling, so one serves all
            self._schedules[steps] = schedule = DiffusionSchedule(self.scheduler_config, steps, self.device)
            if (first := schedule.first_level) < PURE_NOISE * self.scheduler_config["num_train_timesteps"]:
                log.warning(
                    "%d steps begin at level %d, where the model does not expect pure noise; the scheduler's "
                    "timestep_spacing: trailing begins at the last level",
                    steps,
                    first,
                )
        return self._schedules[steps]

    def mask_conditioning(self, area: torch.Tensor, outside: torch.Tensor) -> torch.Tensor:
        return torch.cat([latent_area(area, self.latent_factor).to(outside), outside], dim=1)

    def predict(self, z: torch.Tensor, timestep: torch.Tensor, conditioning: torch.Tensor | None) -> torch.Tensor:
        inputs = z if conditioning is None else torch.cat([z, conditioning], dim=1)
        return self.unet(
            inputs,
            timestep,
            encoder_hidden_states=self.prompt["prompt_embeds"].expand(len(inputs), -1, -1),
            added_cond_kwargs=self.added_conditions(len(inputs)),
            return_dict=False,
        )[0]

    def added_conditions(self, batch: int) -> dict[str, torch.Tensor] | None:
        """What the UNet is told beside the prompt."""
        return None
