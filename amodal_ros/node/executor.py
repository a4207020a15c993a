"""What spins the node: rclpy's thread pool would stall its frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

from rclpy.callback_groups import CallbackGroup
from rclpy.context import Context
from rclpy.executors import ConditionReachedException, Executor, ShutdownException, TimeoutException
from rclpy.task import Task


class NodeExecutor(Executor):
    """Runs callbacks in the spinning thread, and those of slow groups beside it, each in a thread of its own.

    rclpy's `MultiThreadedExecutor` (at least up to 9.1, see ros2/rclpy#1452) submits a callback again and again until
    a thread of its pool has begun it, and holds the interpreter lock meanwhile: on two cores frames stalled for up to
    two seconds. Callbacks that only store need no threads.

    Made for `spin` and `spin_once`; slow callbacks are plain functions.

    Args:
        slow: the groups whose callbacks may take long.
    """

    def __init__(self, slow: Collection[CallbackGroup], *, context: Context | None = None) -> None:
        super().__init__(context=context)
        self._slow = slow
        self._begun: list[tuple[threading.Thread, Task]] = []

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback and run it, or begin it if it is slow.

        Raises:
            Exception: what the callback has raised, or a slow one that had ended before.
        """
        self._raise_from_ended()
        try:
            callback, entity, _ = self.wait_for_ready_callbacks(timeout_sec)
        except (ConditionReachedException, ShutdownException, TimeoutException):
            return
        if entity is not None and entity.callback_group in self._slow:
            self._begin(callback)
        else:
            callback()
            callback.result()

    def shutdown(self, timeout_sec: float | None = None) -> bool:
        """As rclpy's, but slow callbacks that have begun have ended, too."""
        done = super().shutdown(timeout_sec)
        for thread, _ in self._begun:
            thread.join(timeout_sec)
        return done and not any(thread.is_alive() for thread, _ in self._begun)

    def _begin(self, callback: Task) -> None:
        thread = threading.Thread(target=callback, name="amodal-slow-callback", daemon=True)
        thread.start()
        self._begun.append((thread, callback))
        while thread.is_alive() and not (callback.executing() or callback.done()):
            time.sleep(1e-4)  # until it executes rclpy would offer it again

    def _raise_from_ended(self) -> None:
        ended = [entry for entry in self._begun if not entry[0].is_alive()]
        self._begun = [entry for entry in self._begun if entry not in ended]
        for _, task in ended:
            task.result()
