"""The plain `diffusers` pipeline on a backend's own networks: what `amodal bench` compares with."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import diffusers
import numpy as np
import torch

from amodal_ros.completion.backends import Backend


def plain_call(backend: Backend, steps: int, doubled: bool) -> tuple[Callable[[], Any], str]:
    """One inpainting of one image by the family's pipeline, with as many evaluations of the denoiser per object.

    Args:
        doubled: Eq. 11 asks for two evaluations per step.

    Returns:
        The call, and in words how its evaluations were made equal.
    """
    build = {"stable_diffusion": _stable_diffusion, "sdxl": _sdxl, "flux": _flux}[backend.family]
    with warnings.catch_warnings():  # about settings of model cards, which nobody who measures can change
        warnings.simplefilter("ignore", FutureWarning)
        pipeline, options, how = build(backend, steps, doubled)
    pipeline.set_progress_bar_config(disable=True)
    side = backend.resolution
    image = torch.from_numpy(np.random.default_rng(0).random((1, 3, side, side), np.float32))
    area = torch.zeros(1, 1, side, side)
    area[..., side // 4 : side // 2, side // 4 : side // 2] = 1
    options |= {"image": image, "mask_image": area, "height": side, "width": side, "output_type": "pt"}
    return lambda: pipeline(**options), how


def _stable_diffusion(backend: Any, steps: int, doubled: bool) -> tuple[Any, dict, str]:
    pipeline = diffusers.StableDiffusionInpaintPipeline(
        vae=backend.autoencoder.vae,
        text_encoder=None,
        tokenizer=None,
        unet=backend.unet,
        scheduler=diffusers.DDIMScheduler.from_config(backend.scheduler_config),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    return pipeline, _guided(backend, steps, doubled), _how(steps, doubled)


def _sdxl(backend: Any, steps: int, doubled: bool) -> tuple[Any, dict, str]:
    pipeline = diffusers.StableDiffusionXLInpaintPipeline(
        vae=backend.autoencoder.vae,
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        unet=backend.unet,
        scheduler=diffusers.DDIMScheduler.from_config(backend.scheduler_config),
        add_watermarker=False,
    )
    return pipeline, {**_guided(backend, steps, doubled), "strength": 1.0}, _how(steps, doubled)


def _flux(backend: Any, steps: int, doubled: bool) -> tuple[Any, dict, str]:
    """These pipelines distil their guidance into the model, so two evaluations per step are twice the steps."""
    cls = diffusers.FluxFillPipeline if backend.has_mask_input else diffusers.FluxInpaintPipeline
    pipeline = cls(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler.from_config(backend.scheduler_config),
        vae=backend.autoencoder.vae,
        text_encoder=None,
        tokenizer=None,
        text_encoder_2=None,
        tokenizer_2=None,
        transformer=backend.transformer,
    )
    evaluations = steps * (2 if doubled else 1)
    options = {**backend.prompt, "num_inference_steps": evaluations, "guidance_scale": backend.distilled_guidance}
    return pipeline, {**options, "strength": 1.0}, f"{evaluations} steps, one evaluation each"


def _guided(backend: Any, steps: int, doubled: bool) -> dict[str, Any]:
    """Classifier-free guidance doubles what Eq. 11 doubles."""
    negative = {f"negative_{name}": tensor for name, tensor in backend.prompt.items()} if doubled else {}
    return {
        **backend.prompt,
        **negative,
        "num_inference_steps": steps,
        "guidance_scale": 7.5 if doubled else 1.0,
    }


def _how(steps: int, doubled: bool) -> str:
    return f"{steps} steps, {'two evaluations each (text guidance)' if doubled else 'one evaluation each'}"
