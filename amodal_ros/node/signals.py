"""SIGINT and SIGTERM at any moment of the process's life: the first ends it in order, the second at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM})
#: Exit code of a process that a signal ended.
INTERRUPTED = 130


class Watch:
    """Holds both signals back, in the calling thread and in all that it starts, and takes them one by one.

    A handler would run in the middle of anything, imports included; and rclpy's own shuts the context down under those
    who use it and triggers guard conditions that may have been freed. To be made first, in the main thread.

    Attributes:
        told: set by the first signal. The second one ends the process at once, with exit code 130.
    """

    def __init__(self) -> None:
        self.told = threading.Event()
        self._lock = threading.Lock()
        self._tell: Callable[[], None] = lambda: None
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        threading.Thread(target=self._wait, name="amodal-signals", daemon=True).start()

    def call(self, tell: Callable[[], None]) -> None:
        """Have `tell` called at the first signal; at once where that one has come."""
        with self._lock:
            self._tell = tell
            if self.told.is_set():
                tell()

    def _wait(self) -> None:
        signal.sigwait(SIGNALS)
        try:
            with self._lock:
                self.told.set()
                self._tell()
        finally:
            signal.sigwait(SIGNALS)
            os._exit(INTERRUPTED)
