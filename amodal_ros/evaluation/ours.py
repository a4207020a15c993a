"""The method itself as one of the methods that an evaluation compares."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from amodal_ros.evaluation.baselines import Case, Guess
from amodal_ros.scene.frame import Source

if TYPE_CHECKING:
    from amodal_ros.completion import AmodalPipeline

#: Pseudo model: the answer without any network (`scene.Surroundings.geometric`).
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
        if pipeline is None and set(overrides) - {"occluders"}:
            unused = ", ".join(sorted(set(overrides) - {"occluders"}))
            raise ValueError(f"model {GEOMETRIC}: it has no setting but occluders, got {unused}")
        self.name = name
        self.overrides = dict(overrides)
        self._pipeline = pipeline
        self._seed = seed
        self._on_error = on_error

    @property
    def settings(self) -> dict[str, Any]:
        """Every setting that was in force."""
        if self._pipeline is None:
            return {"occluders": "instances", **self.overrides}
        return asdict(self._pipeline.settings.replace(**self.overrides))

    @property
    def sees_neighbours(self) -> bool:
        return self.settings["occluders"] != "off"

    def __call__(self, case: Case) -> list[Guess]:
        started = time.perf_counter()
        if self._pipeline is None:
            surroundings = case.surroundings(self.settings["occluders"])
            completions = [surroundings.geometric(i) for i in range(len(case.objects))]
        else:
            completions = self._pipeline.complete(
                case.image,
                case.visible,
                context=case.context,
                depth=case.depth,
                seed=self._seed,
                on_error=self._on_error,
                **self.overrides,
            )
        seconds = (time.perf_counter() - started) / len(completions)
        # A mask that the pipeline could not use comes back as None: nothing better than the visible mask is known.
        return [
            Guess(c.amodal, seconds, c.source.name) if c else Guess(v, seconds, Source.VISIBLE_ONLY.name)
            for c, v in zip(completions, case.visible)
        ]
