"""Full-size models without their weights: what is built from a configuration runs as fast, and takes as much memory, as
the trained one. What it paints means nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin

from amodal_ros.completion import AmodalPipeline, ModelError
from amodal_ros.completion.backends import backend_class
from amodal_ros.completion.backends.autoencoder import AUTOENCODERS, Autoencoder
from amodal_ros.completion.backends.loading import compile_cached, quantize_in_place
from amodal_ros.completion.backends.schedules import scheduler_config
from amodal_ros.completion.segmenters import segmenter_class
from amodal_ros.models.layout import DENOISERS, family_of, read_json
from amodal_ros.models.profiles import SHIPPED, Profile, is_hub_id

#: Configurations of the foundation models, each in a folder named like its hub repository.
ARCHITECTURES = SHIPPED / "architectures"


def random_pipeline(profile: Profile, device: torch.device, dtype: torch.dtype) -> AmodalPipeline:
    """The profile's architecture with random weights.

    Raises:
        ModelError: no configuration for one of the profile's places.
    """
    torch.manual_seed(0)
    folder = architecture(profile.model)
    cls, switches = backend_class(folder), profile.switches
    denoiser = random_model(cls.denoiser_class, folder / DENOISERS[family_of(folder)], device, dtype)
    quantize_in_place(denoiser, switches.quantize)
    vae = _random_autoencoder(architecture(switches.vae) if switches.vae else folder / "vae", device, dtype)
    decoder = _random_autoencoder(architecture(switches.decoder), device, dtype) if switches.decoder else None
    if switches.vae_tiling:
        for network in filter(None, (vae, decoder)):
            network.enable_tiling()
    prompt = {name: torch.randn(shape) for name, shape in cls.prompt_shapes(denoiser.config).items()}
    scheduler = scheduler_config(folder, switches.scheduler)
    backend = cls(denoiser, Autoencoder(vae, decoder), scheduler, prompt, profile.resolution)
    place = architecture(profile.segmenter) if profile.segmenter else folder / "segmenter"
    segmenter = segmenter_class(place)
    model = random_model(segmenter.model_class, place, device, dtype)
    if switches.compile:
        compile_cached(denoiser)
    pipeline = AmodalPipeline(backend, segmenter(model), profile.settings, profile.name)
    if switches.compile:
        pipeline.warm_up()
    return pipeline


def architecture(place: str) -> Path:
    """Where the configuration of a place lies: in its folder, or among the shipped architectures.

    Raises:
        ModelError: neither.
    """
    folder = ARCHITECTURES / place.split("/")[-1] if is_hub_id(place) else Path(place)
    if not folder.is_dir():
        known = ", ".join(sorted(path.name for path in ARCHITECTURES.iterdir() if path.is_dir()))
        raise ModelError(f"no configuration of {place} to build random weights from; there are {known}")
    return folder


def random_model(cls: type[Any], folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    """A model of a class of `diffusers` or `transformers` as its configuration describes it."""
    config = read_json(folder / "config.json")
    with _default_dtype(dtype), device:  # made where and as it is used: no full-precision copy in between
        if issubclass(cls, ConfigMixin):
            model = cls.from_config(config)
        else:
            known = {name: value for name, value in config.items() if name not in ("architectures", "model_type")}
            model = cls(cls.config_class(**known))
    # Casting again: some layers are made in float32 whatever the default.
    memory: dict[str, Any] = {"memory_format": torch.channels_last} if cls.__name__ != "FluxTransformer2DModel" else {}
    return torch.nn.Module.to(model.eval().requires_grad_(False), device, dtype, **memory)


def _random_autoencoder(folder: Path, device: torch.device, dtype: torch.dtype) -> Any:
    name = read_json(folder / "config.json").get("_class_name")
    if name not in AUTOENCODERS:
        raise ModelError(f"{folder}: expected one of {', '.join(AUTOENCODERS)}, got {name!r}")
    return random_model(AUTOENCODERS[name], folder, device, dtype)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
