"""The seam between a node and the method: anything that answers a `Scene` with one `Answer` per thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from amodal_ros.scene import Answer, Scene


class Answerer(Protocol):
    """What the node drives. Loading happens before: an answerer is built ready to start.

    `answer` and `prepare` are called from one worker thread; every other method may be called from any thread at any
    time.
    """

    name: str  #: the model's name, published with every array

    def start(self) -> None:
        """Take device memory and warm up."""

    def stop(self) -> None:
        """Interrupt what runs, give device memory back; `start` may follow."""

    def reset(self) -> None:
        """Forget what earlier frames taught (time jumped back)."""

    def answer(self, scene: Scene, should_stop: Callable[[], bool] = lambda: False) -> list[Answer]:
        """One answer per thing, in the scene's order; `should_stop` is asked between denoising steps.

        When `should_stop` says yes the things that were not completed get their geometric answer.
        """

    def prepare(self) -> None:
        """Called when an answer is out: what the next one would have to do can be done now."""

    def diagnostics(self) -> Mapping[str, float | int | str]:
        """Figures since `start`, for people: counts per source, seconds per stage, device, memory."""
