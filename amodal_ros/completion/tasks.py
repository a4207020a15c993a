"""What is on its way through the pipeline: the samples of one call's objects, and how they become answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from amodal_ros.completion.backends.loading import first_line
from amodal_ros.completion.crop import ObjectCrop
from amodal_ros.completion.hidden import View
from amodal_ros.completion.judge import admissible, agreement_of, best_candidate, entries, judged
from amodal_ros.completion.trace import Trace
from amodal_ros.scene import Completion, MaskRegion, Scene, Source
from amodal_ros.settings.method import Settings


@dataclass(frozen=True)
class Call:
    """What all objects of one call share."""

    scene: Scene
    settings: Settings
    seed: int
    trace: bool
    renewals: int


@dataclass
class Task:
    """One sample of one object on its way through the method; arrays in crop pixels."""

    index: int
    sample: int
    crop: ObjectCrop
    view: View
    condition: np.ndarray
    area: np.ndarray
    noise: np.ndarray
    fresh: np.ndarray
    points: np.ndarray
    labels: np.ndarray
    trace: Trace | None = None
    logits: np.ndarray = field(init=False)  # `choose_candidate` sets these two
    guess: MaskRegion = field(init=False)
    error: Exception | None = None


class Steps:
    """Counts denoising steps over all batches of a call and asks the caller between them."""

    def __init__(
        self, settings: Settings, should_stop: Callable[[], bool], progress: Callable[[int, int], None] | None
    ) -> None:
        self._should_stop, self._progress = should_stop, progress
        steps = settings.sampling.steps
        self._per_batch = steps - settings.reading.first_step(steps)
        self._done = self._total = 0

    def plan(self, batches: int) -> None:
        """So many batches are left; a batch that ran out of memory has to be done again."""
        self._total = self._done + batches * self._per_batch

    def between(self) -> bool:
        if self._progress is not None:
            self._progress(self._done, self._total)
        self._done += 1
        return self._should_stop()


def choose_candidate(task: Task, logits: np.ndarray, predicted: np.ndarray, call: Call) -> None:
    """The candidate that counts, and its agreement with the known pixels (score = IoU(mask * K, V))."""
    regions = [task.crop.region(candidate) for candidate in logits]
    best, scores = best_candidate(regions, predicted, call.scene, task.index, call.settings.judgement)
    task.guess, task.logits = regions[best], logits[best]
    if task.trace is not None:
        trace = task.trace
        trace.candidates, trace.predicted, trace.scores, trace.chosen = logits > 0, predicted, scores, best


def told_by(scene: Scene, painted: dict[int, list[Task]]) -> Scene:
    """The scene, told what the completions of its objects say about who is in front."""
    guesses = {i: tasks[0].guess for i, tasks in painted.items() if all(t.error is None for t in tasks)}
    return scene.with_entries(entries(scene, guesses))


def completion_of(scene: Scene, tasks: list[Task], call: Call) -> Completion:
    """One object's answer from its samples: the best that is known of it.

    Raises:
        Exception: what a sample failed with.
    """
    for task in tasks:
        if task.error is not None:
            raise task.error
    i, judgement, trace = tasks[0].index, call.settings.judgement, tasks[0].trace
    logits = np.mean([t.logits for t in tasks], axis=0)
    view = tasks[0].view if scene is call.scene else None  # what is known is another where the order was told more
    verdict = judged(scene, i, tasks[0].crop, logits, judgement, view)
    if trace is not None:
        trace.amodal, trace.verdict = tasks[0].crop.mask(verdict.amodal), verdict
    return Completion(
        scene.masks[i],
        verdict.amodal,
        scene.shape,
        Source.INFERRED,
        verdict.expected_iou,
        around=partial(scene.possible, i),
        hull_iou=verdict.hull_iou,
        agreement=agreement_of([admissible(t.guess, scene, i, judgement) for t in tasks]),
        occluders=scene.in_front_of(i),
        estimates_outside=verdict.kind in ("completion", "likely") or not scene.masks[i].touches_edge(*scene.shape),
        enters={j: tasks[0].guess.overlap(scene.masks[j]) for j in call.scene.in_front_of(i)},
        trace=trace,
    )


def failure_of(scene: Scene, i: int, error: Exception) -> Completion:
    """The answer for an object that could not be completed."""
    geometric = scene.geometric(i)
    reason = f"{type(error).__name__}: {first_line(error)}"
    return dataclasses.replace(geometric, amodal=scene.masks[i], source=Source.VISIBLE_ONLY, error=reason)
