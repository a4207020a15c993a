"""One-step schedules from scheduler files of `diffusers`.

A file names a class, and what it leaves out is that class's default, never another's.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from amodal_ros.errors import ModelError
from amodal_ros.models.layout import read_json

#: What decides the noise levels of diffusion, and which of them are visited.
_LEVELS = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr",
           "timestep_spacing", "steps_offset")  # fmt: skip
#: Flow matching along straight lines, whichever solver the file names.
_FLOW_CLASSES = ("FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler")
#: Samplers of models that were distilled to few steps, which visit levels of their own.
_FEW_STEPS = ("LCMScheduler", "TCDScheduler")
#: TCD's gamma, where nothing else is said: the default of its class.
_TCD_ETA = 0.3
#: Below this abar noise cannot be told from an x that is divided by its root; `diffusers` stops there too.
_LEAST_ABAR = 2.0**-24


class DiffusionSchedule:
    """Eq. 2, from each visited level to the next and at last to x itself, keeping a share c of the predicted noise:
    z_t' = sqrt(abar_t') x + sqrt(1 - abar_t') (c eps_predicted + sqrt(1 - c^2) eps_fresh).

    c is 1, which is DDIM without added noise, whatever solver the file names; but for the samplers that few-step models
    are made for: 0 for LCM, gamma's for TCD, and what ancestral Euler leaves. The noise levels, their spacing and the
    prediction type are those of the file.

    Args:
        config: a scheduler's configuration, as `scheduler_config.json` holds it.

    Raises:
        ModelError: the configuration is of another forward process; the message names it.
        ValueError: more steps than a few-step sampler has.
    """

    def __init__(self, config: Mapping[str, Any], steps: int, device: torch.device) -> None:
        full = diffusion_config(config)
        scheduler = _spaced(full, steps)
        self._timesteps = scheduler.timesteps.to(device)
        self.first_level = int(scheduler.timesteps[0])
        self._prediction = full["prediction_type"]
        self._clip = full["clip_sample_range"] if full["clip_sample"] else None
        abar = scheduler.alphas_cumprod[scheduler.timesteps]
        if self._prediction == "epsilon":
            abar = abar.clamp(min=_LEAST_ABAR)
        abar = torch.cat([abar, torch.ones(1)])
        # Scalars on the CPU: they take part in any precision and on any device.
        self._signal, self._noise = list((abar**0.5).unbind()), list(((1 - abar) ** 0.5).unbind())
        self._kept = _kept_noise(full, scheduler.timesteps, abar, scheduler.alphas_cumprod)
        self._boundary = _boundary(full, scheduler.timesteps)
        #: How many fresh noises sampling takes, one for each level between the first and the clean one.
        self.renewals = len(self) - 1 if min(self._kept) < 1 else 0

    def __len__(self) -> int:
        return len(self._timesteps)

    def timestep(self, step: int) -> torch.Tensor:
        return self._timesteps[step]

    def start(self, noise: torch.Tensor) -> torch.Tensor:
        return noise

    def noised(self, x: torch.Tensor, noise: torch.Tensor, level: int) -> torch.Tensor:
        """Eq. 1: sqrt(abar_t) x + sqrt(1 - abar_t) eps."""
        return x if level >= len(self) else self._signal[level] * x + self._noise[level] * noise

    def renewed(self, noise: torch.Tensor, fresh: torch.Tensor | None, step: int) -> torch.Tensor:
        c = self._kept[step]
        return noise if fresh is None else c * noise + (1 - c * c) ** 0.5 * fresh

    def step(
        self, prediction: torch.Tensor, step: int, z: torch.Tensor, fresh: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        a, b = self._signal[step], self._noise[step]
        if self._prediction == "epsilon":
            clean, noise = (z - b * prediction) / a, prediction
        elif self._prediction == "v_prediction":
            clean, noise = a * z - b * prediction, a * prediction + b * z
        else:
            clean, noise = prediction, (z - a * prediction) / b
        if self._clip is not None:
            clean = clean.clamp(-self._clip, self._clip)
        if self._boundary is not None:
            skip, out = self._boundary[step]
            clean = skip * z + out * clean
        return self._signal[step + 1] * clean + self._noise[step + 1] * self.renewed(noise, fresh, step), clean


def _spaced(full: Mapping[str, Any], steps: int) -> Any:
    """A scheduler of `diffusers` that knows which levels are visited."""
    name, options = full["_class_name"], {level: full[level] for level in _LEVELS}
    if name not in _FEW_STEPS:
        scheduler = DDIMScheduler(**options)
    else:
        most = full["original_inference_steps"]
        if steps > most:
            raise ValueError(f"steps: expected at most {most}, those that {name} was distilled from, got {steps}")
        scheduler = getattr(diffusers, name)(**options, original_inference_steps=most)
    scheduler.set_timesteps(steps)
    return scheduler


def _kept_noise(
    full: Mapping[str, Any], timesteps: torch.Tensor, abar: torch.Tensor, every: torch.Tensor
) -> list[float]:
    """c of every step: how much of the predicted noise is in z after it; the rest is drawn afresh.

    Args:
        abar: of the visited levels and of the clean one.
        every: abar of all levels that the model was trained on.
    """
    name, here, there = full["_class_name"], abar[:-2], abar[1:-1]  # the last step ends where there is no noise
    if name == "LCMScheduler":
        kept = torch.zeros(len(here))
    elif name == "TCDScheduler":  # down to (1 - gamma) t' without noise, and up to t' with it
        low = every[((1 - full["eta"]) * timesteps[1:]).long()]
        kept = ((there * (1 - low)) / (low * (1 - there))) ** 0.5
    elif name == "EulerAncestralDiscreteScheduler":  # sigma_down / sigma_t' = sigma_t' / sigma_t
        kept = ((here * (1 - there)) / (there * (1 - here))) ** 0.5
    else:
        kept = torch.ones(len(here))
    return [*kept.tolist(), 1.0]


def _boundary(full: Mapping[str, Any], timesteps: torch.Tensor) -> list[tuple[float, float]] | None:
    """LCM's boundary condition, by which its answer to no noise is z itself: the shares of z and of the clean guess."""
    if full["_class_name"] != "LCMScheduler":
        return None
    scaled = (timesteps * full["timestep_scaling"]).double()
    spread = 0.5  # sigma_data, which is written into the class
    both = scaled**2 + spread**2
    return list(zip((spread**2 / both).tolist(), (scaled / both**0.5).tolist()))


def scheduler_config(folder: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """A pipeline folder's scheduler file with changes.

    Raises:
        ModelError: the file is missing or none, or a change is none that its class knows.
    """
    config = read_json(folder / "scheduler" / "scheduler_config.json") | dict(changes)
    known = {"_class_name", *_defaults(config.get("_class_name", "DDIMScheduler"))}
    if "beta_start" in known:  # what counts here, whether or not the class knows it
        known |= {"clip_sample", "clip_sample_range", *_LEVELS}
    unknown = sorted(set(changes) - known)
    if unknown:
        raise ModelError(f"scheduler: unknown key {unknown[0]!r}; there are {', '.join(sorted(known))}")
    return config


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
    full["_class_name"] = name
    if name == "TCDScheduler" and not 0 <= full["eta"] <= 1:
        raise ModelError(f"scheduler: eta: expected a number from 0 to 1, got {full['eta']!r}")
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
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    # Asked for in every step there, and a part of the configuration here.
    return {**defaults, "eta": _TCD_ETA} if name == "TCDScheduler" else defaults


def _other_process(name: str, full: Mapping[str, Any]) -> str:
    kind = (
        "EDM" if "sigma_data" in full or "timestep_type" in full else "flow matching" if "Flow" in name else "another"
    )
    return f"{name} ({kind})"


class FlowSchedule:
    """Euler steps along the straight lines of flow matching: x_t = sigma * eps + (1 - sigma) * x."""

    renewals = 0

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

    def renewed(self, noise: torch.Tensor, fresh: torch.Tensor | None, step: int) -> torch.Tensor:
        return noise

    def step(
        self, prediction: torch.Tensor, step: int, z: torch.Tensor, fresh: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The prediction is the velocity eps - x."""
        clean = z - self._sigmas[step] * prediction
        return self._scheduler.step(prediction, self._timesteps[step], z).prev_sample, clean
