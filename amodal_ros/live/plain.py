"""`PlainAnswerer`: every frame for itself. The neediest objects are completed while the frame's time lasts."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from amodal_ros.live.session import Pipeline
from amodal_ros.scene import Answer, Completion, Scene, Source

log = logging.getLogger(__name__)

#: Objects with fewer visible pixels are left to geometry: nothing recognisable can be painted from them.
MIN_AREA = 100
#: Objects per call of the model at most.
BATCH = 8


class PlainAnswerer:
    """Answers frames one by one, without memory.

    Every object gets its geometric answer. Those that something can hide are then completed, the neediest first,
    until the time is over; a batch that has begun is brought to its end.

    Args:
        pipeline: completes objects; None answers all of them by geometry.
        frame_budget: seconds per frame for the model; an attribute, which may change at any time.
        seed: of every completion.
    """

    def __init__(
        self,
        pipeline: Pipeline | None = None,
        *,
        frame_budget: float = math.inf,
        seed: int = 0,
    ) -> None:
        self.name = pipeline.name if pipeline else "geometric"
        self._pipeline, self.frame_budget, self._seed = pipeline, frame_budget, seed
        self._interrupt = threading.Event()
        self._lock = threading.Lock()
        self._figures: Counter[str] = Counter()
        self._last_error = ""
        self._pace: float | None = None  # seconds per object, lately

    def start(self) -> None:
        with self._lock:
            self._figures.clear()
            self._last_error = ""
        self._interrupt.clear()

    def stop(self) -> None:
        self._interrupt.set()

    def reset(self) -> None:
        """Nothing is remembered."""

    def answer(self, scene: Scene, should_stop: Callable[[], bool] = lambda: False) -> list[Answer]:
        """One answer per thing, in the scene's order; what the model did not get to is answered by geometry."""
        started = time.perf_counter()
        completions = [scene.geometric(i) for i in range(len(scene.things))]
        if self._pipeline is not None:
            deadline = started + self.frame_budget
            self._complete(scene, completions, deadline, lambda: self._interrupt.is_set() or should_stop())
        with self._lock:
            self._figures.update(f"objects.{c.source.name}" for c in completions)
        return [
            Answer(thing, done, scene.stamp, scene.ids(done.occluders))
            for thing, done in zip(scene.things, completions)
        ]

    def prepare(self) -> None:
        """Nothing: no image has to do with the one before."""

    def diagnostics(self) -> Mapping[str, float | int | str]:
        with self._lock:
            error = {"last_error": self._last_error} if self._last_error else {}
            return {**self._figures, "seconds_per_object": self._pace or 0.0, **error}

    def _complete(
        self, scene: Scene, completions: list[Completion], deadline: float, should_stop: Callable[[], bool]
    ) -> None:
        """Replace geometric answers by the model's, in order of need, until the time is over."""
        queue = by_need(completions)
        while queue and not should_stop():
            left = deadline - time.perf_counter()
            if left <= 0:
                return
            size = int(min(BATCH, max(1.0, left / self._pace))) if self._pace else 1
            batch, queue = queue[:size], queue[size:]
            began = time.perf_counter()
            for i, done in self._batch(scene, completions, batch, should_stop):
                completions[i] = done
            if not should_stop():
                self._pace = (time.perf_counter() - began) / len(batch)

    def _batch(
        self, scene: Scene, completions: list[Completion], batch: list[int], should_stop: Callable[[], bool]
    ) -> list[tuple[int, Completion]]:
        """The model's answers for some objects; VISIBLE_ONLY for those that it failed on, none when interrupted."""
        assert self._pipeline is not None
        reason = "the object cannot be completed"
        try:
            results = self._pipeline.complete(
                scene, which=batch, seed=self._seed, on_error="skip", should_stop=should_stop
            )
        except Exception as error:
            if should_stop():
                return []
            log.warning("the completion of %d objects failed: %s", len(batch), error)
            results, reason = [None] * len(batch), f"{type(error).__name__}: {error}"
        answers = []
        for i, result in zip(batch, results):
            if result is None:
                visible = completions[i].visible
                result = replace(completions[i], amodal=visible, source=Source.VISIBLE_ONLY, error=reason)
            if result.source is Source.VISIBLE_ONLY:
                with self._lock:
                    self._figures["completions.failed"] += 1
                    self._last_error = result.error
            answers.append((i, result))
        return answers


def by_need(completions: list[Completion]) -> list[int]:
    """Positions of the objects that the model can help, neediest first: occluded, large and near.

    Need is the number of pixels that the bounded hull already guesses, and of those that are seen: large and near
    objects have many of both. Objects that no one hides and tiny ones take no model.
    """
    candidates = [i for i, c in enumerate(completions) if c.source is Source.GEOMETRIC and c.visible.area >= MIN_AREA]

    def need(i: int) -> float:
        c = completions[i]
        return c.amodal.area - c.visible.area + 0.1 * c.visible.area

    return sorted(candidates, key=need, reverse=True)
