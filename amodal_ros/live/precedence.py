"""Answers first: what works behind them stands still while one is made."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: An answer that takes longer than this no longer holds up what works behind it (seconds).
LONGEST = 0.05


class Precedence:
    """Taken by the thread that answers; whoever works behind it asks `wait` often.

    On a CPU the two share caches, memory and Python's lock: two cores make an answer in three quarters of the time
    while the model stands still.
    """

    def __init__(self) -> None:
        self._free = threading.Event()
        self._free.set()
        self._depth, self._until = 0, 0.0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Within, who asks `wait` waits. For one thread, which may take it again within."""
        if self._depth == 0:
            self._until = time.monotonic() + LONGEST
            self._free.clear()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            if self._depth == 0:
                self._free.set()

    @contextmanager
    def lent(self) -> Iterator[None]:
        """Within, nobody waits though it is taken: who answers has nothing to do but wait for the others."""
        self._free.set()
        try:
            yield
        finally:
            if self._depth:
                self._free.clear()

    def wait(self) -> None:
        """Returns when no answer is being made, or the one that is takes too long."""
        if not self._free.is_set():
            self._free.wait(max(0.0, self._until - time.monotonic()))
