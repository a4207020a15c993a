"""What spins the node: rclpy's thread pool would stall its frames."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from itertools import chain
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.context import Context
from rclpy.executors import (
    ConditionReachedException,
    Executor,
    ExternalShutdownException,
    ShutdownException,
    TimeoutException,
)
from rclpy.task import Task

log = logging.getLogger(__name__)

#: After a moment without memory spinning goes on so much later (seconds).
RETRY = 0.1
#: Spinning that fails for so long, and not for want of memory, ends (seconds).
PATIENCE = 10.0


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
        failing_since, spoilt = None, False
        while self._context.ok() and not self._is_shutdown and not self._stopped.is_set():
            try:
                spoilt = spoilt and not self._release()
                self.spin_once()
                failing_since = None
            except ExternalShutdownException:
                raise
            except Exception as error:  # rclpy's own work between callbacks; a middleware without memory raises its own
                now = time.monotonic()
                failing_since = failing_since or now
                if not isinstance(error, MemoryError) and now - failing_since > PATIENCE:
                    raise
                spoilt = True
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
        lane.put(callback, entity)
        with self._tasks_lock:  # else rclpy would offer it again until it executes
            self._tasks[:] = [entry for entry in self._tasks if entry[0] is not callback]

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
        try:
            callback()
            error = callback.exception()
        except Exception as raised:  # the task's own work
            error = raised
        if error is None:
            return
        # Where taking the message failed, rclpy leaves the entity and its group taken for good.
        _free(entity)
        self._tell(error)

    def _release(self) -> bool:
        """Free what rclpy took and could not run, or it would never be offered again. Between callbacks only.

        Returns:
            False where a slow callback still runs: what else its group has is not freed yet.
        """
        with self._tasks_lock:
            self._tasks[:] = [entry for entry in self._tasks if entry[1] is None]
        busy = [group for group, lane in self._lanes.items() if not lane.idle]
        for node in self.get_nodes():
            waited_for = node.subscriptions, node.timers, node.services, node.clients, node.guards, node.waitables
            for entity in chain.from_iterable(waited_for):
                if entity.callback_group not in busy:
                    _free(entity)
        return not busy

    def _tell(self, error: Exception) -> None:
        with suppress(Exception):  # without memory even telling fails
            self._failed(error)


def _free(entity: Any) -> None:
    """Have rclpy offer an entity again, and the others of its group."""
    if entity is None or entity.callback_group is None:
        return
    entity._executor_event = False
    if not entity.callback_group.can_execute(entity):
        with suppress(AssertionError):  # another one of the group runs
            entity.callback_group.ending_execution(entity)


class _Lane:
    """A thread that runs one slow group's callbacks in order."""

    def __init__(self, run: Callable[[Task, Any], None]) -> None:
        self._run = run
        self._waiting: queue.SimpleQueue[tuple[Task, Any] | None] = queue.SimpleQueue()
        self._given = self._done = 0
        self._thread = threading.Thread(target=self._work, name="amodal-slow-callbacks", daemon=True)
        self._thread.start()

    def put(self, callback: Task, entity: Any) -> None:
        self._waiting.put((callback, entity))
        self._given += 1

    @property
    def idle(self) -> bool:
        """Whether nothing waits or runs; asked by the thread that puts."""
        return self._given == self._done

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
            self._done += 1
