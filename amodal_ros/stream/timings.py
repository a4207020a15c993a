"""How long the stages of an answer take, over the latest frames."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

#: Percentiles are taken over this many of the latest frames.
RECENT = 300


class Timings:
    """Seconds per stage. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=RECENT))

    def add(self, stage: str, seconds: float) -> None:
        with self._lock:
            self._seconds[stage].append(seconds)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Adds what the block takes, unless it raises."""
        began = time.perf_counter()
        yield
        self.add(stage, time.perf_counter() - began)

    def percentiles(self) -> dict[str, tuple[float, float]]:
        """Median and 95th percentile per stage, seconds."""
        with self._lock:
            recent = {stage: np.array(values) for stage, values in self._seconds.items()}
        return {s: (float(np.median(v)), float(np.percentile(v, 95))) for s, v in recent.items()}
