"""Images <-> latents of unit variance, for every family."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, AutoencoderTiny

from amodal_ros.completion.backends.loading import load_component, to_device
from amodal_ros.errors import ModelError
from amodal_ros.models.layout import read_json
from amodal_ros.settings.switches import Switches

AUTOENCODERS = {"AutoencoderKL": AutoencoderKL, "AutoencoderTiny": AutoencoderTiny}
Network: TypeAlias = AutoencoderKL | AutoencoderTiny


class Autoencoder:
    """E and D. A second, smaller network of the same latents may decode."""

    def __init__(self, vae: Network, decoder: Network | None = None) -> None:
        """
        Raises:
            ModelError: the decoder's latents have another shape than the VAE's.
        """
        self.vae, self.decoder = vae, decoder or vae
        # Asked once: the properties walk the whole network.
        self._device, self._dtype, self._decoder_dtype = vae.device, vae.dtype, self.decoder.dtype
        _check_statistics(vae)
        _check_statistics(self.decoder)
        self.channels: int = vae.config.latent_channels
        self.factor = _latent_factor(vae)
        theirs = (self.decoder.config.latent_channels, _latent_factor(self.decoder))
        if theirs != (self.channels, self.factor):
            raise ModelError(
                f"decoder: expected {self.channels} latent channels and {self.factor} px per cell as the VAE has, "
                f"got {theirs[0]} and {theirs[1]}"
            )

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        switches: Switches,
        heeds_force_upcast: bool = False,
    ) -> Autoencoder:
        """``vae/`` of a pipeline folder, or what the switches name in its place.

        Args:
            heeds_force_upcast: compute in float32 where float16 was asked and ``force_upcast`` is configured. SDXL's
                original VAE overflows in float16; the other families carry the flag by default and do not.

        Raises:
            ModelError: a network is missing or its weights cannot be used.
        """
        place = Path(switches.vae) if switches.vae else folder / "vae"
        upcast = heeds_force_upcast and dtype == torch.float16 and read_json(place / "config.json").get("force_upcast")
        vae = _load(place, torch.float32 if upcast else dtype)
        decoder = _load(Path(switches.decoder), dtype) if switches.decoder else None
        for network in filter(None, (vae, decoder)):
            # channels-last suits convolutions on CPUs and GPUs alike and costs nothing.
            to_device(network, device, memory_format=torch.channels_last)
            if switches.vae_tiling:
                network.enable_tiling()
        return cls(vae, decoder)

    def encode(self, images: torch.Tensor) -> torch.Tensor:
        """E(x): the mean latents, with the offset and scale that the denoiser was trained with."""
        encoded = self.vae.encode(images.to(self._device, self._dtype))
        latents = encoded.latent_dist.mode() if hasattr(encoded, "latent_dist") else encoded.latents
        mean, std = _statistics(self.vae, latents)
        return (latents - mean) * self.vae.config.scaling_factor / std

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """D(z), images clipped to [-1, 1]; NaN where they overflow."""
        latents = latents.to(self._decoder_dtype)
        mean, std = _statistics(self.decoder, latents)
        latents = latents * std / self.decoder.config.scaling_factor + mean
        sample = self.decoder.decode(latents).sample
        return sample.masked_fill(~torch.isfinite(sample), torch.nan).clamp(-1, 1)


def _load(folder: Path, dtype: torch.dtype) -> Network:
    name = read_json(folder / "config.json").get("_class_name")
    if name not in AUTOENCODERS:
        raise ModelError(f"{folder}: expected one of {', '.join(AUTOENCODERS)}, got {name!r}")
    return load_component(AUTOENCODERS[name], folder, dtype)


def _statistics(vae: Network, latents: torch.Tensor) -> tuple[float | torch.Tensor, float | torch.Tensor]:
    """What latents are centred on and divided by: per channel where the configuration has ``latents_mean/std``."""

    def per_channel(name: str) -> torch.Tensor | None:
        values = vae.config.get(name)
        return None if values is None else latents.new_tensor(values).view(1, -1, 1, 1)

    mean, std = per_channel("latents_mean"), per_channel("latents_std")
    return (vae.config.get("shift_factor") or 0.0) if mean is None else mean, 1.0 if std is None else std


def _check_statistics(vae: Network) -> None:
    for name in ("latents_mean", "latents_std"):
        values = vae.config.get(name)
        if values is not None and len(values) != vae.config.latent_channels:
            raise ModelError(f"vae: {name}: expected {vae.config.latent_channels} values, got {len(values)}")


def _latent_factor(vae: Network) -> int:
    """Pixels per latent cell along one side."""
    tiny = isinstance(vae, AutoencoderTiny)
    return 2 ** (len(vae.config.encoder_block_out_channels if tiny else vae.config.block_out_channels) - 1)
