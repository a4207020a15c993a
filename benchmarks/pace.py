"""How fast the processor is while something else is measured: virtual machines share theirs with others.

    ./env python benchmarks/pace.py            # the pace of 10 seconds

Two runs compare when their paces do.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np

#: Seconds between two samples: each takes a few milliseconds.
EVERY = 0.5


def work() -> float:
    """Milliseconds of processor time that a fixed piece of work takes, of small arrays, OpenCV and plain Python."""
    began = time.thread_time()
    for k in range(150):
        mask = np.zeros((60, 80), bool)
        mask[10 + k % 20 : 40, 20:60] = True
        grown = cv2.dilate(mask.view(np.uint8), np.ones((7, 7), np.uint8)).view(bool)
        around = int(np.count_nonzero(grown & ~mask))
        sum(pair[0] for pair in {i: (i, around) for i in range(30)}.values())
        np.linalg.solve(np.eye(3) + k, np.ones(3))
    return 1e3 * (time.thread_time() - began)


@contextmanager
def paced() -> Iterator[list[tuple[int, float]]]:
    """Samples `work` in a thread of its own; yields the samples: wall time (ns) and milliseconds."""
    samples: list[tuple[int, float]] = []
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(EVERY):
            samples.append((time.time_ns(), work()))

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        ended.set()
        thread.join()


def told(samples: Iterable[tuple[int, float]], begin: int = 0, end: int = sys.maxsize) -> dict[str, float]:
    """p50 and p95 of the samples between two wall times (ns)."""
    values = [value for when, value in samples if begin <= when <= end]
    return {f"p{q}": round(float(np.percentile(values, q)), 2) for q in (50, 95)} if values else {}


if __name__ == "__main__":
    with paced() as seen:
        time.sleep(10.0)
    print(json.dumps(told(seen)))
