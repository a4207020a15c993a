"""What spins the node: rclpy's thread pool would stall its frames."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.context import Context
from rclpy.executors import ConditionReachedException, Executor, ShutdownException, TimeoutException
from rclpy.task import Task

log = logging.getLogger(__name__)

#: After a moment without memory spinning goes on so much later (seconds).
RETRY = 0.1


def _log_failure(error: Exception) -> None:
    log.error("a callback failed: %s: %s", type(error).__name__, error, exc_info=error)


class NodeExecutor(Executor):
    """Runs callbacks in the spinning thread, and those of each slow group beside it, in a thread of the group's own.

    rclpy's `MultiThreadedExecutor` (at least up to 9.1, see ros2/rclpy#1452) submits a callback again and again until
    a thread of its pool has begun it, and holds the interpreter lock meanwhile: on two cores frames stalled for up to
    two seconds. Callbacks that only store need no threads. The threads are made here once: to make one later may block
    for good when memory is short.

    Made for `spin` and `spin_once`; slow callbacks are plain functions.

    Args:
        slow: the mutually exclusive groups whose callbacks may take long.
        failed: called with what a callback raised, from any thread; spinning goes on. By default it is logged.
    """

    def __init__(
        self,
        slow: Collection[CallbackGroup],
        *,
        failed: Callable[[Exception], None] = _log_failure,
        context: Context | None = None,
    ) -> None:
        super().__init__(context=context)
        self._failed = failed
        self._stopped = threading.Event()
        self._lanes = {group: _Lane(self._run) for group in slow}

    def spin(self) -> None:
        """Run callbacks until `stop`, `shutdown` or the context's end, whatever they raise.

        Raises:
            ExternalShutdownException: the context was shut down.
        """
        while self._context.ok() and not self._is_shutdown and not self._stopped.is_set():
            try:
                self.spin_once()
            except MemoryError as error:  # rclpy's own work between callbacks
                self._tell(error)
                time.sleep(RETRY)

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback and run it, or hand it to its group's thread if it is slow."""
        try:
            callback, entity, _ = self.wait_for_ready_callbacks(timeout_sec)
        except (ConditionReachedException, ShutdownException, TimeoutException):
            return
        lane = self._lanes.get(entity.callback_group) if entity is not None else None
        if lane is None:
            self._run(callback, entity)
            return
        with self._tasks_lock:  # else rclpy would offer it again until it executes
            self._tasks[:] = [entry for entry in self._tasks if entry[0] is not callback]
        lane.put(callback, entity)

    def stop(self) -> None:
        """Have `spin` return; from any thread."""
        self._stopped.set()
        self.wake()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """As rclpy's, but slow callbacks that have begun have ended, too; False where one has not in time."""
        self._stopped.set()
        ended = [lane.end(timeout_sec) for lane in self._lanes.values()]
        return all(ended) and super().shutdown(timeout_sec)

    def _run(self, callback: Task, entity: Any) -> None:
        callback()
        error = callback.exception()
        if error is None:
            return
        if entity is not None and entity.callback_group is not None:
            # Where taking the message failed, rclpy leaves both taken for good.
            entity._executor_event = False
            if not entity.callback_group.can_execute(entity):
                entity.callback_group.ending_execution(entity)
        self._tell(error)

    def _tell(self, error: Exception) -> None:
        with suppress(Exception):  # without memory even telling fails
            self._failed(error)


class _Lane:
    """A thread that runs one slow group's callbacks in order."""

    def __init__(self, run: Callable[[Task, Any], None]) -> None:
        self._run = run
        self._waiting: queue.SimpleQueue[tuple[Task, Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="amodal-slow-callbacks", daemon=True)
        self._thread.start()

    def put(self, callback: Task, entity: Any) -> None:
        self._waiting.put((callback, entity))

    def end(self, seconds: float | None) -> bool:
        """Let what has begun end, and nothing else begin; whether it has ended in time."""
        with suppress(queue.Empty):
            while True:
                self._waiting.get_nowait()
        self._waiting.put(None)
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (given := self._waiting.get()) is not None:
            self._run(*given)
