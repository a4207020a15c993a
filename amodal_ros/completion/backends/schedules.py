"""One-step schedules from scheduler files of `diffusers`.

A file names a class, and what it leaves out is that class's default, never another's.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from amodal_ros.errors import ModelError

#: What decides the noise levels of diffusion, and which of them are visited.
_LEVELS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr",
           "timestep_spacing", "steps_offset")  # fmt: skip
#: Flow matching along straight lines, whichever solver the file names.
_FLOW_CLASSES = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler")
#: Below this abar noise cannot be told from an x that is divided by its root; `diffusers` stops there too.
_LEAST_ABAR = 2.0**-24


class DiffusionSchedule:
    """DDIM without added noise: Eq. 2 with sigma = 0, from each visited level to the next and at last to x itself.

    The noise levels, their spacing and the prediction type are those of the file, whatever solver it names.

    Args:
        config: a scheduler's configuration, as `scheduler_config.json` holds it.

    Raises:
        ModelError: the configuration is of another forward process; the message names it.
    """

    def __init__(self, config: Mapping[str, Any], steps: int, device: torch.device) -> None:
        full = diffusion_config(config)
        scheduler = DDIMScheduler(**{name: full[name] for name in _LEVELS})
        scheduler.set_timesteps(steps)
        self._timesteps = scheduler.timesteps.to(device)
        self._prediction = full["prediction_type"]
        self._clip = full["clip_sample_range"] if full["clip_sample"] else None
        abar = scheduler.alphas_cumprod[scheduler.timesteps]
        if self._prediction == "epsilon":
            abar = abar.clamp(min=_LEAST_ABAR)
        abar = torch.cat([abar, torch.ones(1)])
        # Scalars on the CPU: they take part in any precision and on any device.
        self._signal, self._noise = list((abar**0.5).unbind()), list(((1 - abar) ** 0.5).unbind())

    def __len__(self) -> int:
        return len(self._timesteps)

    def timestep(self, step: int) -> torch.Tensor:
        return self._timesteps[step]

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        return noise

    def noised(self, x: torch.Tensor, noise: torch.Tensor, level: int) -> torch.Tensor:
        """Eq. 1: sqrt(abar_t) x + sqrt(1 - abar_t) eps."""
        return x if level >= len(self) else self._signal[level] * x + self._noise[level] * noise

    def step(self, prediction: torch.Tensor, step: int, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = self._signal[step], self._noise[step]
        if self._prediction == "epsilon":
            clean, noise = (z - b * prediction) / a, prediction
        elif self._prediction == "v_prediction":
            clean, noise = a * z - b * prediction, a * prediction + b * z
        else:
            clean, noise = prediction, (z - a * prediction) / b
        if self._clip is not None:
            clean = clean.clamp(-self._clip, self._clip)
        return self._signal[step + 1] * clean + self._noise[step + 1] * noise, clean


def diffusion_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A scheduler's configuration with the defaults of its own class, checked to be Eq. 1's process.

    Latents are clipped only where the file says so: they have no bounds, and DDIM's default is meant for pixels.

    Raises:
        ModelError: an unknown class, EDM, flow matching, thresholding, or a prediction that is none of Eq. 1.
    """
    name = config.get("_class_name", "DDIMScheduler")
    defaults = _defaults(name)
    full = {"rescale_betas_zero_snr": False, "clip_sample_range": 1.0, **defaults, **config}
    full["clip_sample"] = config.get("clip_sample", False)
    if "beta_start" not in defaults or full.get("timestep_type") == "continuous":
        raise ModelError(f"scheduler: expected one of Eq. 1's process (with betas), got {_other_process(name, full)}")
    if full.get("use_flow_sigmas") or full["prediction_type"] == "flow_prediction":
        raise ModelError(f"scheduler: {name} is set to flow matching, which this family was not trained for")
    if full.get("thresholding"):
        raise ModelError(
            f"scheduler: {name} has thresholding, which is for pixels and not for latents; set it to false"
        )
    if full["prediction_type"] not in ("epsilon", "v_prediction", "sample"):
        expected = "epsilon, v_prediction or sample"
        raise ModelError(f"scheduler: {name}: prediction_type: expected {expected}, got {full['prediction_type']!r}")
    full.setdefault("timestep_spacing", "linspace")  # classes without the option space evenly
    full.setdefault("steps_offset", 0)
    return full


def flow_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A flow matching scheduler's configuration with the defaults of its own class.

    Raises:
        ModelError: of another process.
    """
    name = config.get("_class_name", FlowMatchEulerDiscreteScheduler.__name__)
    if name not in _FLOW_CLASSES:
        raise ModelError(f"scheduler: expected flow matching ({', '.join(_FLOW_CLASSES)}), got {name}")
    known = inspect.signature(FlowMatchEulerDiscreteScheduler.__init__).parameters
    full = {**_defaults(FlowMatchEulerDiscreteScheduler.__name__), **_defaults(name), **config}
    return {key: value for key, value in full.items() if key in known} | {"stochastic_sampling": False}


def _defaults(name: str) -> dict[str, Any]:
    cls = getattr(diffusers, name, None)
    if not (inspect.isclass(cls) and hasattr(cls, "set_timesteps")):
        raise ModelError(f"scheduler: expected a scheduler of diffusers, got {name!r}")
    parameters = inspect.signature(cls.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def _other_process(name: str, full: Mapping[str, Any]) -> str:
    kind = (
        "EDM" if "sigma_data" in full or "timestep_type" in full else "flow matching" if "Flow" in name else "another"
    )
    return f"{name} ({kind})"


class FlowSchedule:
    """Euler steps along the straight lines of flow matching: x_t = sigma * eps + (1 - sigma) * x."""

    def __init__(self, config: Mapping[str, Any], steps: int, tokens: int, device: torch.device) -> None:
        """
        Args:
            tokens: length of the image's token sequence; larger images keep more noise for longer.

        Raises:
            ModelError: the configuration is of another process.
        """
        full = flow_config(config)
        self._scheduler = FlowMatchEulerDiscreteScheduler(**full)
        lengths = [full["base_image_seq_len"], full["max_image_seq_len"]]
        shifts = [full["base_shift"], full["max_shift"]]
        slope = (shifts[1] - shifts[0]) / (lengths[1] - lengths[0])
        shift = shifts[0] + slope * (tokens - lengths[0])  # beyond either length the line goes on
        self._scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps), mu=shift, device=device)
        self._timesteps, self._sigmas = self._scheduler.timesteps, self._scheduler.sigmas

    def __len__(self) -> int:
        return len(self._timesteps)

    def timestep(self, step: int) -> torch.Tensor:
        return self._timesteps[step]

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        return noise

    def noised(self, x: torch.Tensor, noise: torch.Tensor, level: int) -> torch.Tensor:
        """Eq. 1 of this family: the scheduler's interpolation between x and noise. Its own `scale_noise` remembers
        where sampling stands, so it cannot be asked for another level."""
        sigma = self._sigmas[level]
        return sigma * noise + (1 - sigma) * x

    def step(self, prediction: torch.Tensor, step: int, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The prediction is the velocity eps - x."""
        clean = z - self._sigmas[step] * prediction
        return self._scheduler.step(prediction, self._timesteps[step], z).prev_sample, clean
