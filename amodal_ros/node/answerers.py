"""From parameters to an answerer: files are checked first, device memory is taken later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amodal_ros.live.answerer import Answerer
from amodal_ros.live.plain import PlainAnswerer
from amodal_ros.models import find_model, load_profile
from amodal_ros.node.parameters import Settings
from amodal_ros.scene import Occluders


@dataclass(frozen=True)
class Loaded:
    """An answerer with its device memory.

    Attributes:
        occluders: what can hide an object in its scenes (`scene.Scene`).
        free: gives the memory back; the answerer is of no use afterwards.
        memory: bytes of device memory in use now, 0 without a GPU.
    """

    answerer: Answerer
    occluders: Occluders = "instances"
    device: str = "none"
    free: Callable[[], None] = lambda: None
    memory: Callable[[], int] = lambda: 0


#: Checks a model's files and returns what loads it. The second argument tells the parameters at any later time.
Prepare = Callable[[Settings, Callable[[], Settings]], Callable[[], Loaded]]


def prepare(settings: Settings, current: Callable[[], Settings]) -> Callable[[], Loaded]:
    """Check that the model is there, without loading it.

    Raises:
        ValueError: the model or its segmenter is missing; the message says where it was looked for.
    """
    profile = load_profile(settings.model)
    if not profile.model:  # "geometric", which has no network
        return lambda: Loaded(PlainAnswerer(), what_hides(settings, profile.settings.occluders))
    find_model(settings.model, settings.segmenter or None)
    return lambda: _load(settings, current)


def _load(settings: Settings, current: Callable[[], Settings]) -> Loaded:
    import torch

    from amodal_ros.completion import AmodalPipeline
    from amodal_ros.live.session import LiveSession

    pipeline = AmodalPipeline.from_pretrained(
        settings.model,
        segmenter=settings.segmenter or None,
        device=None if settings.device == "auto" else settings.device,
    )
    if settings.live:
        answerer: Answerer = LiveSession(pipeline, budget=settings.live_budget, batch=settings.live_batch)
    else:
        answerer = PlainAnswerer(pipeline, frame_budget=lambda: current().frame_budget)
    device = pipeline.backend.device
    memory = (lambda: torch.cuda.memory_allocated(device)) if device.type == "cuda" else (lambda: 0)
    occluders = what_hides(settings, pipeline.settings.occluders)
    return Loaded(answerer, occluders, str(device), pipeline.free, memory)


def what_hides(settings: Settings, of_model: Occluders) -> Occluders:
    """What can hide an object: as the parameters say, else by depth where there is one, else as the model's profile."""
    return settings.occluders or ("depth" if settings.use_depth else of_model)
