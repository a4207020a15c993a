"""What a session says about itself: counts, rates and quantiles for people."""

from __future__ import annotations

import statistics
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence

import numpy as np

from amodal_ros.scene import Answer, Completion, Source

#: Quantiles are taken over this many of the latest values.
RECENT = 2000


class Figures:
    """Counts since the session started; quantiles over the latest values. The caller does the locking."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._sources: Counter[Source] = Counter()
        self._frames = self._completions = self._failures = self._interruptions = 0
        self._crashes = 0
        self._busy = 0.0
        self._last_error = ""
        self._staleness: deque[float] = deque(maxlen=RECENT)
        self._answer_seconds: deque[float] = deque(maxlen=RECENT)
        self._call_seconds: deque[float] = deque(maxlen=16)

    def answered(self, answers: Iterable[Answer], stamp: int, seconds: float) -> None:
        """Notes one frame's answers and how long they took."""
        self._frames += 1
        self._answer_seconds.append(seconds)
        for answer in answers:
            source = answer.completion.source
            self._sources[source] += 1
            if source in (Source.INFERRED, Source.PROPAGATED):
                self._staleness.append((stamp - answer.inferred_at) / 1e9)

    def completed(self, results: Sequence[Completion | None], seconds: float, error: str, interrupted: bool) -> None:
        """Notes one call of the model; `error`: what failed in it, empty if nothing did."""
        self._busy += seconds
        if interrupted:
            self._interruptions += 1
            return
        failed = sum(r is None or r.source is Source.VISIBLE_ONLY for r in results)
        self._failures += failed
        self._completions += len(results) - failed
        if error:
            self._last_error = error
        if failed < len(results):
            self._call_seconds.append(seconds)

    def worker_failed(self, error: BaseException) -> None:
        """Notes that the worker's loop ended unexpectedly and begins again."""
        self._crashes += 1
        self._last_error = f"{type(error).__name__}: {error}"

    def typical_call(self) -> float | None:
        """Median seconds of the latest calls of the model; None before the first."""
        return statistics.median(self._call_seconds) if self._call_seconds else None

    def summary(self) -> dict[str, float | int | str]:
        elapsed = max(1e-9, time.monotonic() - self._started)
        return {
            "frames": self._frames,
            **{f"objects.{source.name}": self._sources[source] for source in Source if self._sources[source]},
            **_quantiles("staleness", self._staleness),
            **_quantiles("answer", self._answer_seconds),
            **_quantiles("completion", self._call_seconds),
            "completions": self._completions,
            "completions.failed": self._failures,
            "completions.interrupted": self._interruptions,
            "completions_per_second": self._completions / elapsed,
            "budget_used": min(1.0, self._busy / elapsed),
            **({"worker.crashes": self._crashes} if self._crashes else {}),
            **({"last_error": self._last_error} if self._last_error else {}),
        }


def _quantiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    return {f"{name}.p{q}_s": float(np.percentile(seconds, q)) for q in (50, 95)} if seconds else {}
