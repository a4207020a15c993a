"""What spins the node: fast callbacks in order, slow ones beside them, and nothing lost at the end."""

from __future__ import annotations

import threading
from contextlib import contextmanager

import pytest

rclpy = pytest.importorskip("rclpy")

from rclpy._rclpy_pybind11 import RCLError  # noqa: E402
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup  # noqa: E402
from ros_graph import DEADLINE  # noqa: E402

from amodal_ros.node.executor import NodeExecutor  # noqa: E402


@contextmanager
def spun(failed=pytest.fail):
    """A node, the group of its slow callbacks, and an executor that nobody spins yet."""
    context = rclpy.Context()
    rclpy.init(context=context)
    node, slow = rclpy.create_node("spun", context=context), MutuallyExclusiveCallbackGroup()
    executor = NodeExecutor([slow], failed=failed, context=context)
    executor.add_node(node)
    try:
        yield node, slow, executor
    finally:
        executor.shutdown()
        node.destroy_node()
        context.shutdown()


def spin_until(executor, done) -> None:
    for _ in range(1000):
        if done():
            return
        executor.spin_once(timeout_sec=DEADLINE / 1000)
    raise AssertionError("did not happen")


def test_fast_callbacks_go_on_while_a_slow_one_runs_and_shutdown_waits_for_it():
    entered, release, ended, ticks = threading.Event(), threading.Event(), threading.Event(), []
    with spun() as (node, slow, executor):

        def wait() -> None:
            once.cancel()
            entered.set()
            release.wait(DEADLINE)
            ended.set()

        once = node.create_timer(0.0, wait, callback_group=slow)
        node.create_timer(0.001, lambda: ticks.append(threading.current_thread()))
        spin_until(executor, lambda: entered.is_set() and len(ticks) > 5)
        assert not ended.is_set() and set(ticks) == {threading.main_thread()}
        threading.Timer(0.2, release.set).start()
        assert executor.shutdown() and ended.is_set()


@pytest.mark.parametrize("is_slow", [False, True])
def test_what_a_callback_raises_is_told_and_the_next_one_runs(is_slow):
    told, calls = [], []
    with spun(told.append) as (node, slow, executor):

        def fail() -> None:
            calls.append(1)
            raise ValueError("no")

        node.create_timer(0.001, fail, callback_group=slow if is_slow else None)
        spin_until(executor, lambda: len(told) > 2)
    assert all(str(error) == "no" for error in told) and len(calls) >= 3


@pytest.mark.parametrize("is_slow", [False, True])
def test_a_message_that_could_not_be_taken_does_not_close_its_topic(is_slow, monkeypatch):
    told, calls, failures = [], [], [MemoryError(), MemoryError()]
    with spun(told.append) as (node, slow, executor):
        take = executor._take_timer

        def take_without_memory(timer):
            if failures:
                raise failures.pop()
            return take(timer)

        monkeypatch.setattr(executor, "_take_timer", take_without_memory)
        node.create_timer(0.001, lambda: calls.append(1), callback_group=slow if is_slow else None)
        spin_until(executor, lambda: len(calls) > 2)
    assert [type(error) for error in told] == [MemoryError] * 2


def test_spinning_outlives_a_moment_without_memory_and_starts_no_thread(monkeypatch):
    calls, told = [], []
    with spun(told.append) as (node, slow, executor):
        monkeypatch.setattr(threading.Thread, "start", lambda thread: pytest.fail("a thread was made"))
        wait, failures = executor.wait_for_ready_callbacks, [MemoryError()]

        def wait_without_memory(*args):
            if failures:
                raise failures.pop()
            return wait(*args)

        def work() -> None:
            calls.append(1)
            if len(calls) > 2:
                executor.stop()

        monkeypatch.setattr(executor, "wait_for_ready_callbacks", wait_without_memory)
        node.create_timer(0.001, work, callback_group=slow)
        executor.spin()
    assert len(calls) > 2 and len(told) == 1


@pytest.mark.parametrize("is_slow", [False, True])
def test_what_was_taken_when_memory_ended_is_offered_again(is_slow, monkeypatch):
    """rclpy marks what is ready before it makes the task that would run it; the middleware fails in its own words."""
    calls, told, failures = [], [], [MemoryError(), RCLError("failed to allocate"), MemoryError()]
    with spun(told.append) as (node, slow, executor):
        make = rclpy.executors.Task

        def make_without_memory(*args, **kwargs):
            if failures:
                raise failures.pop()
            return make(*args, **kwargs)

        def work() -> None:
            calls.append(1)
            if len(calls) > 2:
                executor.stop()

        monkeypatch.setattr(rclpy.executors, "Task", make_without_memory)
        node.create_timer(0.001, work, callback_group=slow if is_slow else None)
        end = threading.Timer(DEADLINE, executor.stop)
        end.start()
        executor.spin()
        end.cancel()
    assert len(calls) > 2 and [type(error) for error in told] == [MemoryError, RCLError, MemoryError]


def test_a_task_that_fails_itself_ends_no_thread_and_leaves_its_group(monkeypatch):
    calls, told, failures = [], [], [MemoryError()]
    with spun(told.append) as (node, slow, executor):
        call = rclpy.executors.Task.__call__

        def call_without_memory(task):
            if failures and threading.current_thread() is not threading.main_thread():
                raise failures.pop()
            return call(task)

        monkeypatch.setattr(rclpy.executors.Task, "__call__", call_without_memory)
        node.create_timer(0.001, lambda: calls.append(1), callback_group=slow)
        spin_until(executor, lambda: len(calls) > 2)
    assert [type(error) for error in told] == [MemoryError]


def test_spinning_that_only_fails_ends(monkeypatch):
    monkeypatch.setattr("amodal_ros.node.executor.PATIENCE", 0.3)
    with spun(lambda error: None) as (_, _, executor):

        def wait(*args):
            raise RCLError("broken")

        monkeypatch.setattr(executor, "wait_for_ready_callbacks", wait)
        with pytest.raises(RCLError):
            executor.spin()


def test_a_slow_callback_runs_once_at_a_time():
    running, most, runs = [], [], []
    with spun() as (node, slow, executor):

        def work() -> None:
            running.append(1)
            most.append(len(running))
            threading.Event().wait(0.005)
            running.pop()
            runs.append(1)

        node.create_timer(0.001, work, callback_group=slow)
        node.create_timer(0.001, work, callback_group=slow)
        spin_until(executor, lambda: len(runs) > 10)
        executor.shutdown()
    assert max(most) == 1
