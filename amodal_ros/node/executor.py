"""What spins the node: rclpy's thread pool would stall its frames."""

from __future__ import annotations

import threading
import time

from rclpy.callback_groups import CallbackGroup
from rclpy.context import Context
from rclpy.executors import ConditionReachedException, Executor, ShutdownException, TimeoutException
from rclpy.task import Task


class NodeExecutor(Executor):
    """Runs callbacks in the spinning thread, and those of one slow group beside it, each in a thread of its own.

    rclpy's `MultiThreadedExecutor` (at least up to 9.1, see ros2/rclpy#1452) submits a callback again and again until
    a thread of its pool has begun it, and holds the interpreter lock meanwhile: on two cores frames stalled for up to
    two seconds. Callbacks that only store need no threads.

    Args:
        slow: the group whose callbacks may take long.
    """

    def __init__(self, slow: CallbackGroup, *, context: Context | None = None) -> None:
        super().__init__(context=context)
        self._slow = slow
        self._begun: list[Task] = []

    def spin_once(self, timeout_sec: float | None = None) -> None:
        """Wait for one callback and run it, or begin it if it is slow.

        Raises:
            Exception: what the callback, or a slow one that has ended since, has raised.
        """
        try:
            callback, entity, _ = self.wait_for_ready_callbacks(timeout_sec)
        except (ConditionReachedException, ShutdownException, TimeoutException):
            return
        if entity is not None and entity.callback_group is self._slow:
            threading.Thread(target=callback, name="amodal-transition", daemon=True).start()
            while not (callback.executing() or callback.done()):  # until then rclpy would offer it again
                time.sleep(1e-4)
            self._begun.append(callback)
        else:
            callback()
            callback.result()
        ended = [task for task in self._begun if task.done()]
        self._begun = [task for task in self._begun if not task.done()]
        for task in ended:
            task.result()
