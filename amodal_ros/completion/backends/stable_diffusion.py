"""Stable Diffusion 1.5 and 2 and everything of their layout: a UNet with (9 channels) or without (4) a mask input."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from safetensors.torch import load_file

from amodal_ros.completion.area import latent_area
from amodal_ros.completion.backends.loading import load_component, read_json
from amodal_ros.completion.backends.schedules import DiffusionSchedule
from amodal_ros.completion.errors import ModelError
from amodal_ros.completion.settings import EmptyMask

AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
#: The empty prompt's embedding, in place of the text encoder: {"prompt_embeds": (1, tokens, width)}.
PROMPT_FILE = "prompt_embeds.safetensors"


class StableDiffusion:
    """`Backend` on the components of ``StableDiffusionInpaintPipeline``."""

    family = "stable_diffusion"

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL | AutoencoderTiny,
        scheduler_config: dict,
        prompt_embeds: torch.Tensor,
        resolution: int | None = None,
    ) -> None:
        """
        Args:
            prompt_embeds: the empty prompt's embedding, (1, tokens, width of the UNet's cross-attention).
            resolution: pixels along one side; by default the UNet's own.

        Raises:
            ModelError: channels, widths or the resolution do not fit each other.
        """
        self._unet, self._vae = unet, vae
        self._scheduler_config = dict(scheduler_config)
        self.latent_factor = _latent_factor(vae)
        self.resolution = resolution or unet.config.sample_size * self.latent_factor
        channels = vae.config.latent_channels
        self.has_mask_input = unet.config.in_channels == 2 * channels + 1
        if not self.has_mask_input and unet.config.in_channels != channels:
            raise ModelError(
                f"unet: expected {channels} or {2 * channels + 1} input channels for a VAE of {channels} latent "
                f"channels, got {unet.config.in_channels}"
            )
        if prompt_embeds.ndim != 3 or prompt_embeds.shape[-1] != unet.config.cross_attention_dim:
            raise ModelError(
                f"prompt embedding: expected (1, tokens, {unet.config.cross_attention_dim}), "
                f"got {tuple(prompt_embeds.shape)}"
            )
        if self.resolution % self.latent_factor:
            raise ModelError(f"resolution: expected a multiple of {self.latent_factor}, got {self.resolution}")
        cells = self.resolution // self.latent_factor
        self.latent_shape = (channels, cells, cells)
        self._prompt = prompt_embeds.to(unet.device, unet.dtype)

    @classmethod
    def from_folder(cls, folder: Path, device: torch.device, dtype: torch.dtype, resolution: int | None = None):
        """Load the folder layout of ``StableDiffusionInpaintPipeline``.

        Raises:
            ModelError: a component is missing, foreign, or does not match its configuration.
        """
        unet = load_component(UNet2DConditionModel, folder / "unet", dtype, "UNet2DConditionModel")
        vae = load_autoencoder(folder / "vae", dtype)
        scheduler_config = read_json(folder / "scheduler" / "scheduler_config.json")
        prompt_embeds = empty_prompt(folder, dtype)
        # channels-last suits convolutions on CPUs and GPUs alike and costs nothing.
        unet.to(device, memory_format=torch.channels_last)
        vae.to(device, memory_format=torch.channels_last)
        return cls(unet, vae, scheduler_config, prompt_embeds, resolution)

    @property
    def device(self) -> torch.device:
        return self._unet.device

    @property
    def dtype(self) -> torch.dtype:
        return self._unet.dtype

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        encoded = self._vae.encode(images.to(self.device, self._vae.dtype))
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        return latents.to(self.dtype) * self._vae.config.scaling_factor

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        latents = latents.to(self._vae.dtype) / self._vae.config.scaling_factor
        return self._vae.decode(latents).sample.clamp(-1, 1)

    def schedule(self, steps: int) -> DiffusionSchedule:
        return DiffusionSchedule(self._scheduler_config, steps, self.device)

    def mask_conditioning(self, image: torch.Tensor, area: torch.Tensor) -> torch.Tensor | None:
        if not self.has_mask_input:
            return None
        outside = self.encode(image * (1 - area))
        return torch.cat([latent_area(area, self.latent_factor).to(outside), outside], dim=1)

    def empty_conditioning(self, image: torch.Tensor, meaning: EmptyMask) -> torch.Tensor | None:
        nothing = torch.zeros_like(image[:, :1])
        return self.mask_conditioning(image, nothing if meaning == "known" else nothing + 1)

    def predict(self, z: torch.Tensor, timestep: torch.Tensor, conditioning: torch.Tensor | None) -> torch.Tensor:
        inputs = z if conditioning is None else torch.cat([z, conditioning], dim=1)
        prompt = self._prompt.expand(len(inputs), -1, -1)
        return self._unet(inputs, timestep, encoder_hidden_states=prompt, return_dict=False)[0]

    def free(self) -> None:
        self._unet.to("cpu")
        self._vae.to("cpu")


def load_autoencoder(folder: Path, dtype: torch.dtype) -> AutoencoderKL | AutoencoderTiny:
    """The VAE of a folder, of either class."""
    name = read_json(folder / "config.json").get("_class_name")
    if name not in AUTOENCODERS:
        raise ModelError(f"{folder}: expected one of {', '.join(AUTOENCODERS)}, got {name!r}")
    return load_component(AUTOENCODERS[name], folder, dtype)


def empty_prompt(folder: Path, dtype: torch.dtype) -> torch.Tensor:
    """The empty prompt's embedding: stored, or computed once with text encoders that are dropped again.

    Raises:
        ModelError: neither a stored embedding nor a text encoder with its tokenizer is there.
    """
    stored = folder / PROMPT_FILE
    if stored.is_file():
        try:
            return load_file(stored)["prompt_embeds"].to(dtype)
        except Exception as error:
            raise ModelError(f"{stored}: expected a tensor 'prompt_embeds': {error}") from error
    if not (folder / "text_encoder").is_dir():
        raise ModelError(f"{folder}: expected text_encoder/ with tokenizer/, or {PROMPT_FILE}; found neither")
    from transformers import CLIPTextModel, CLIPTokenizer

    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    encoder = load_component(CLIPTextModel, folder / "text_encoder", dtype)
    tokens = tokenizer("", padding="max_length", max_length=tokenizer.model_max_length, return_tensors="pt")
    with torch.inference_mode():
        return encoder(tokens.input_ids)[0].clone()


def _latent_factor(vae: AutoencoderKL | AutoencoderTiny) -> int:
    if isinstance(vae, AutoencoderTiny):
        return 2 ** (len(vae.config.encoder_block_out_channels) - 1)
    return 2 ** (len(vae.config.block_out_channels) - 1)
