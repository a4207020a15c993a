"""Rows D: transitions, memory and signals."""

from __future__ import annotations

import signal
import time

import numpy as np

from fault_table.robot import SECOND, START, Process, Robot
from fault_table.table import Seen, row

CYCLES = 200
#: MB; what an allocator may keep and the first activation imports, against the 50 and more that a model takes.
SLACK = 25.0


@row("D15", "an activation that fails after the worker has started")
def failing_activation() -> Seen:
    bad = "qos_overrides./image.subscription.reliability:=nonsense"
    with Robot() as robot:
        node = robot.start("autostart:=false", bad)
        robot.change("configure")
        first = robot.change("activate")
        began = time.monotonic()
        second = robot.change("activate")
        seconds = time.monotonic() - began
        state, heard = robot.state(), robot.node.count_subscribers("/image")
        settable = robot.set("occluders", "any")
        node.end()
    taken = bool(settable and settable.successful)
    ok = first is False and second is False and seconds < 10 and heard == 0 and taken
    seen = (
        f"{state} with {heard} subscriptions, second attempt failed in {seconds:.1f} s, "
        f"parameters {'taken' if taken else 'refused'}"
    )
    return Seen("a QoS override of nonsense, activate twice", "inactive, nothing left behind", seen, ok)


def _memory_of_cycles(robot: Robot, node: Process, cycles: int) -> list[float]:
    """Private megabytes after each cleanup."""
    after = []
    for _ in range(cycles):
        for transition in ("configure", "activate", "deactivate", "cleanup"):
            if not robot.change(transition, 120):
                raise RuntimeError(f"{transition} failed: {node.log[-200:]}")
        time.sleep(0.5)
        after.append(node.memory())
    return after


@row("D16", "memory after deactivation and cleanup, the shipped model")
def model_memory() -> Seen:
    with Robot() as robot:
        node = robot.start("autostart:=false", model="embedded")
        robot.change("configure")
        robot.change("activate", 120)
        active = node.memory()
        robot.change("deactivate", 60)
        robot.change("cleanup")
        time.sleep(0.5)
        first = node.memory()
        after = _memory_of_cycles(robot, node, 6)
    grown = after[-1] - first
    ok = grown < SLACK and first < active
    seen = f"active {active:.0f} MB; after cleanup {first:.0f} MB, six cycles later {after[-1]:.0f} MB"
    return Seen("seven activations", f"less than while active; grows by less than {SLACK:g} MB", seen, ok)


@row("D16", f"{CYCLES} lifecycle cycles", quick=False)
def many_cycles() -> Seen:
    with Robot() as robot:
        node = robot.start("autostart:=false")
        begun = _memory_of_cycles(robot, node, 5)[-1]
        threads = node.threads()
        after = _memory_of_cycles(robot, node, CYCLES - 5)[-1]
        more = node.threads() - threads
        robot.change("configure")
        robot.change("activate")
        robot.warm_up(node)
        got = robot.ask(START + k * SECOND // 10 for k in range(10))
    ok = got == 10 and after - begun < SLACK and more <= 0
    seen = f"all succeeded; {after - begun:+.0f} MB, {more:+d} threads; then {got} of 10 frames answered"
    return Seen(f"{CYCLES} times configure, activate, deactivate, cleanup", "all succeed, nothing piles up", seen, ok)


def _after_signals(count: int, numbers: tuple[int, ...], longest: float, seed: int) -> Seen:
    """Signals at random moments of lives of up to `longest` seconds."""
    rng = np.random.default_rng(seed)
    codes: dict[str, int] = {}
    for _ in range(count):
        with Robot() as robot:
            node = robot.start()
            time.sleep(rng.uniform(0.05, longest))
            for number in numbers:
                node.signal(number)
                time.sleep(rng.uniform(0, 0.3))
            code = node.wait(30)
            bad = "Traceback" in node.log or "terminate called" in node.log
            key = f"{code}{' with a traceback' if bad else ''}"
            codes[key] = codes.get(key, 0) + 1
    names = " and ".join(signal.Signals(number).name for number in numbers)
    ok = set(codes) <= {"0", "130"}
    seen = ", ".join(f"{n} ended with {code}" for code, n in sorted(codes.items()))
    return Seen(
        f"{names} to {count} nodes, {0.05} to {longest:g} s after their start", "0 or 130, no traceback", seen, ok
    )


@row("D17", "Ctrl-C at random moments", quick=False)
def interrupts() -> Seen:
    return _after_signals(25, (signal.SIGINT,), 5, 0)


@row("D17", "SIGTERM at random moments", quick=False)
def terminations() -> Seen:
    return _after_signals(15, (signal.SIGTERM,), 5, 1)


@row("D17", "Ctrl-C twice at random moments", quick=False)
def two_interrupts() -> Seen:
    return _after_signals(15, (signal.SIGINT, signal.SIGINT), 5, 2)


@row("D17", "Ctrl-C as the peers leave")
def leaving_together() -> Seen:
    codes = []
    for _ in range(8):
        with Robot() as robot:
            node = robot.start()
            robot.warm_up(node)
        # The robot's own end interrupts the node; its peer has gone at the same moment.
        codes.append(node.popen.returncode)
    return Seen("8 nodes interrupted while a publisher ends", "exit code 0 or 130", str(codes), set(codes) <= {0, 130})


@row("D18", "a manager's configure and activate beside autostart")
def managed() -> Seen:
    with Robot() as robot:
        robot.warm_up(robot.start())
        answers = [robot.change("configure"), robot.change("activate")]
        state = robot.state()
        got = robot.ask(START + k * SECOND // 10 for k in range(5))
    ok = answers == [True, True] and state == "active" and got == 5
    return Seen("configure and activate to an active node", "both done", f"{answers}, {state}, {got} of 5 answered", ok)
