"""Section 4.1: denoising with leakage (Eq. 4-7) and mask guidance (Eq. 11).

z are latents, x the condition image's latents E(x), x_t the condition image noised to the level of step t (Eq. 1),
M the area on latent cells. One noise is drawn per object and serves both as the start of z and in every x_t: a noise of
its own in x_t would lose variance in the blend of Eq. 7. So where a few-step sampler renews the noise of z, that of x_t
is renewed with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from amodal_ros.completion.area import latent_area
from amodal_ros.completion.backends.base import Backend
from amodal_ros.errors import Interrupted
from amodal_ros.settings.method import EmptyMask, Settings


@torch.inference_mode()
def inpaint(
    backend: Backend,
    image: torch.Tensor,
    area: torch.Tensor,
    noise: torch.Tensor,
    settings: Settings,
    should_stop: Callable[[], bool] = lambda: False,
    observe: Callable[[int, torch.Tensor], None] | None = None,
    fresh: Sequence[torch.Tensor] = (),
) -> torch.Tensor:
    """Paint a batch of condition images.

    Args:
        image: x, (batch, 3, resolution, resolution) in about [-1, 1].
        area: M, (batch, 1, resolution, resolution) of 0 and 1.
        noise: eps, shaped like the latents, one draw per object.
        should_stop: asked before every step.
        observe: called after every step with its number and the model's present guess of the clean latents.
        fresh: further noises like `noise`, as many as `renewals` says; without them noise is kept.

    Returns:
        The inpainted image, (batch, 3, resolution, resolution) in [-1, 1].

    Raises:
        Interrupted: `should_stop` said yes.
    """
    outside = backend.encode(image * (1 - area)) if backend.has_mask_input else None
    # Readings that paint around V take x outside M alone: as the model is told it. Encoding is a sixth of the time.
    told = outside if settings.reading.keeps_visible else None
    x = backend.encode(image) if told is None else told
    mask = latent_area(area, backend.latent_factor)
    strength = leakage_strength(mask, settings, backend.has_mask_input)
    w = settings.sampling.guidance
    known = empty = None
    if outside is not None:
        known = backend.mask_conditioning(area, outside)
        if w > 0:
            everything = x if told is None else backend.encode(image)
            empty = empty_conditioning(backend, area, everything, settings.sampling.empty_mask)

    schedule = backend.schedule(settings.sampling.steps)
    first = settings.reading.first_step(len(schedule))
    z = schedule.noised(x, noise, first) if first else schedule.start(noise)
    for step in range(first, len(schedule)):
        if should_stop():
            raise Interrupted
        prediction = guided_prediction(backend, z, schedule.timestep(step), known, empty, w)
        renewing = fresh[step] if step < len(fresh) else None
        z_tilde, clean = schedule.step(prediction, step, z, renewing)  # Eq. 4
        noise = schedule.renewed(noise, renewing, step)
        x_t = schedule.noised(x, noise, step + 1)  # Eq. 1, at the level after the step
        z = leak(z_tilde, x_t, *strength)  # Eq. 7
        if observe is not None:
            observe(step, leak(clean, x, *strength))
    return backend.decode(z)


def empty_conditioning(backend: Backend, area: torch.Tensor, x: torch.Tensor, meaning: EmptyMask) -> torch.Tensor:
    """What the denoiser sees of Eq. 11's empty M: nothing masked (all of x known), or nothing known.

    Args:
        area: of the shape of M; its values do not count.
        x: E(x).
    """
    if meaning == "known":
        return backend.mask_conditioning(torch.zeros_like(area), x)
    black = area.new_zeros(len(area), 3, *area.shape[2:])
    return backend.mask_conditioning(torch.ones_like(area), backend.encode(black))


def renewals(backend: Backend, settings: Settings) -> int:
    """How many further noises per object `inpaint` takes.

    Raises:
        ValueError: settings that cannot work with this model: more steps than its sampler has, or so few that the model
            never sees the object.
    """
    schedule, reading = backend.schedule(settings.sampling.steps), settings.reading
    # Pure noise says nothing of x, and only blending or a mask input brings x in.
    if not backend.has_mask_input and len(schedule) == 1 and reading.first_step(1) == 0:
        what = "with a model without mask input, which sees nothing of the object in its first step"
        raise ValueError(f"steps: expected at least 2 {what}, got 1")
    return schedule.renewals


def leak(z: torch.Tensor, x_t: torch.Tensor, mask: torch.Tensor | float, s: torch.Tensor | float) -> torch.Tensor:
    """Eq. 7: s * (M * z + (1 - M) * x_t) + (1 - s) * x_t. With s = 1 it is Eq. 5, plain inpainting."""
    return s * (mask * z + (1 - mask) * x_t) + (1 - s) * x_t


def leakage_strength(
    mask: torch.Tensor, settings: Settings, has_mask_input: bool
) -> tuple[torch.Tensor | float, torch.Tensor | float]:
    """M and s of Eq. 7 for a reading: the pair that `leak` takes.

    A model without a mask input knows no M, so in Eq. 11 its empty M gives x_t; put into Eq. 7 the effective strength
    inside M is s * (1 + w), at most 1.
    """
    return settings.reading.blend(mask, 1.0 if has_mask_input else 1.0 + settings.sampling.guidance)


def guided_prediction(
    backend: Backend,
    z: torch.Tensor,
    timestep: torch.Tensor,
    known: torch.Tensor | None,
    empty: torch.Tensor | None,
    w: float,
) -> torch.Tensor:
    """Eq. 11: (1 + w) * pred(M) - w * pred(empty M), both halves in one pass through the denoiser."""
    if known is None or empty is None or w == 0:
        return backend.predict(z, timestep, known)
    with_area, without = backend.predict(torch.cat([z, z]), timestep, torch.cat([known, empty])).chunk(2)
    return mask_guidance(with_area, without, w)


def mask_guidance(with_area: torch.Tensor, without: torch.Tensor, w: float) -> torch.Tensor:
    """Eq. 11 on two predictions of one shape."""
    return (1 + w) * with_area - w * without
