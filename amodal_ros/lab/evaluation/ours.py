"""The method itself as one of the methods that an evaluation compares."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from amodal_ros.completion.options import only_occluders
from amodal_ros.lab.evaluation.baselines import Guess
from amodal_ros.scene import Occluders, Scene, Source

if TYPE_CHECKING:
    from amodal_ros.completion import AmodalPipeline

#: Pseudo model: the answer without any network (`scene.Scene.geometric`).
GEOMETRIC = "geometric"


class Ours:
    """Completion by the pipeline, or by geometry alone.

    Args:
        name: what its column is called.
        pipeline: None for the geometric answer.
        overrides: settings that differ from the pipeline's own, and ``preset``; the geometric answer knows only
            ``occluders``.
        seed: fixes every random draw.
        on_error: ``"raise"``, or ``"skip"`` to answer a failed completion with the visible mask.
    """

    def __init__(
        self,
        name: str,
        pipeline: AmodalPipeline | None,
        overrides: Mapping[str, Any],
        seed: int = 0,
        on_error: str = "raise",
    ) -> None:
        if pipeline is None:
            only_occluders(overrides)
        self.name = name
        self.overrides = dict(overrides)
        self._pipeline = pipeline
        self._seed = seed
        self._on_error = on_error

    @property
    def occluders(self) -> Occluders:
        """What can hide an object in the scenes that this method sees."""
        if self._pipeline is None:
            return only_occluders(self.overrides)
        return self._pipeline.changed(**self.overrides).occluders

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting that was in force."""
        if self._pipeline is None:
            return {"occluders": self.occluders}
        return self._pipeline.changed(**self.overrides).as_plain()

    @property
    def sees_neighbours(self) -> bool:
        return self.occluders != "off"

    def __call__(self, scene: Scene, which: Sequence[int]) -> list[Guess]:
        started = time.perf_counter()
        scene = scene.replace(occluders=self.occluders)
        if self._pipeline is None:
            completions = [scene.geometric(i) for i in which]
        else:
            completions = self._pipeline.complete(
                scene, which=which, seed=self._seed, on_error=self._on_error, **self.overrides
            )
        seconds = (time.perf_counter() - started) / len(completions)
        # A mask that the pipeline could not use comes back as None: nothing better than the visible mask is known.
        return [
            Guess(c.amodal, seconds, c.source.name) if c else Guess(v, seconds, Source.VISIBLE_ONLY.name)
            for c, v in zip(completions, (scene.masks[i] for i in which))
        ]
