"""From parameters to an answerer: files are checked first, device memory is taken later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from amodal_ros.live.answerer import Answerer
from amodal_ros.live.plain import PlainAnswerer
from amodal_ros.live.precedence import Precedence
from amodal_ros.models import find_model, load_profile
from amodal_ros.scene import Occluders
from amodal_ros.stream.collector import paused
from amodal_ros.stream.parameters import Parameters


@dataclass(frozen=True)
class Loaded:
    """An answerer with its device memory.

    Attributes:
        occluders: what can hide an object in its scenes (`scene.Scene`).
        precedence: taken while a frame is answered.
        free: gives the memory back; the answerer is of no use afterwards.
        memory: bytes of device memory in use now, 0 without a GPU.
    """

    answerer: Answerer
    occluders: Occluders = "instances"
    device: str = "none"
    precedence: Precedence = field(default_factory=Precedence)
    free: Callable[[], None] = lambda: None
    memory: Callable[[], int] = lambda: 0

    def follow(self, parameters: Parameters) -> None:
        """Takes on what may change while frames are answered."""
        if isinstance(self.answerer, PlainAnswerer):
            self.answerer.frame_budget = parameters.frame_budget


def check(parameters: Parameters) -> None:
    """Check that the model is there, without loading it.

    Raises:
        ValueError: the model or its segmenter is missing; the message says where it was looked for.
    """
    if load_profile(parameters.model).model:  # else it is "geometric", which has no network
        find_model(parameters.model, parameters.segmenter or None)


@paused()
def load(parameters: Parameters) -> Loaded:
    """Make the answerer, which takes device memory.

    Raises:
        ValueError: the model cannot be loaded.
    """
    profile = load_profile(parameters.model)
    if not profile.model:
        return Loaded(PlainAnswerer(), what_hides(parameters, profile.settings.occluders))
    import torch

    from amodal_ros.completion import AmodalPipeline
    from amodal_ros.live.session import LiveSession
    from amodal_ros.live.tracks import Tracks

    pipeline = AmodalPipeline.from_pretrained(
        parameters.model,
        segmenter=parameters.segmenter or None,
        device=None if parameters.device == "auto" else parameters.device,
    )
    precedence = Precedence()
    if parameters.live:
        pipeline.before_layers(precedence.wait)
        answerer: Answerer = LiveSession(
            pipeline,
            budget=parameters.live_budget,
            batch=parameters.live_batch,
            tracks=Tracks(preference=parameters.live_preference),
            precedence=precedence,
        )
    else:
        answerer = PlainAnswerer(pipeline, frame_budget=parameters.frame_budget)
    device = pipeline.backend.device
    memory = (lambda: torch.cuda.memory_allocated(device)) if device.type == "cuda" else (lambda: 0)
    occluders = what_hides(parameters, pipeline.settings.occluders)
    return Loaded(answerer, occluders, str(device), precedence, pipeline.free, memory)


def what_hides(parameters: Parameters, of_model: Occluders) -> Occluders:
    """What can hide an object: as the parameters say, else by depth where there is one, else as the model's profile."""
    return parameters.occluders or ("depth" if parameters.use_depth else of_model)
