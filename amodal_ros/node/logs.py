"""Log lines that do not flood: one per subject every few seconds."""

from __future__ import annotations

import logging
import threading
import time

from rclpy.impl.rcutils_logger import RcutilsLogger

PERIOD = 5.0


class Throttled:
    """Warnings by subject. rclpy's own throttle counts by line of code, and here all warnings pass one line."""

    def __init__(self, logger: RcutilsLogger) -> None:
        self._logger = logger
        self._lock = threading.Lock()
        self._last: dict[str, float] = {}

    def warn(self, subject: str, text: str) -> None:
        """Log `text` unless this subject had a line within the last `PERIOD` seconds."""
        now = time.monotonic()
        with self._lock:
            if now - self._last.get(subject, -PERIOD) < PERIOD:
                return
            self._last[subject] = now
        self._logger.warning(text)


class RosHandler(logging.Handler):
    """Sends the library's log records, from rooms that know no ROS, to the node's log."""

    def __init__(self, throttled: Throttled) -> None:
        super().__init__(logging.WARNING)
        self._throttled = throttled

    def emit(self, record: logging.LogRecord) -> None:
        self._throttled.warn(f"{record.name}:{record.msg}", record.getMessage())
