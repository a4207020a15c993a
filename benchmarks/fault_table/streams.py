"""Rows S: streams as they are. Fuzz, restarts, stopped processes, jitter, stamps of every kind, many nodes."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from array import array
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
from sensor_msgs.msg import Image

from amodal_ros.msg import AmodalInstanceArray
from fault_table import frames
from fault_table.robot import SECOND, START, WARM_UP, Process, Robot, pace
from fault_table.table import PASS, CannotRun, Seen, row

FUZZ = 2000


def malformed(rng: np.random.Generator, message: Image) -> Image:
    """The message with one or two of its fields broken."""
    for _ in range(rng.integers(1, 3)):
        match rng.integers(0, 9):
            case 0:
                message.encoding = str(
                    rng.choice(["", "rgb9", "rgb8 ", "é", "8UC", "bayer_", "64FC7", "32FC1", "16UC1", "rgb8"])
                )
            case 1:
                message.height = int(rng.choice([0, 1, 47, 49, 2**31, 2**32 - 1]))
            case 2:
                message.width = int(rng.choice([0, 1, 63, 65, 2**31, 2**32 - 1]))
            case 3:
                message.step = int(rng.choice([0, 1, 7, 2**31, 2**32 - 1]))
            case 4:
                message.data = message.data[: rng.integers(0, max(1, len(message.data)))]
            case 5:
                message.is_bigendian = int(rng.choice([1, 2, 255]))
            case 6:
                message.data = message.data[:0]
            case 7:
                data = np.frombuffer(message.data, np.uint8).copy()
                data[rng.random(data.size) < 0.3] = 255
                message.data = array("B", data.tobytes())
            case 8:
                message.header.frame_id = "\N{SNOWMAN}" * 300
    return message


@row("S", f"fuzz: {FUZZ} malformed messages", quick=False)
def fuzz() -> Seen:
    rng = np.random.default_rng(0)
    with Robot() as robot:
        node = robot.start()
        robot.warm_up(node)
        before = robot.wait_counted()
        for k in pace(FUZZ // 2, 60):
            stamp = START + k * SECOND // 60
            image, labels = frames.image(stamp), frames.labels(stamp)
            robot.send(stamp, malformed(rng, image), malformed(rng, labels))
        counts = robot.wait_counted()
        got = robot.ask(START + (100 + k) * SECOND // 10 for k in range(20))
        ended, noise = node.popen.poll(), len(node.lines("WARN"))
        bad = node.lines("Traceback")
    received = counts["received"] - before["received"]
    told = counts["answered"] + counts["dropped"] - before["answered"] - before["dropped"]
    ok = ended is None and got == 20 and received == told == FUZZ // 2 and not bad
    seen = (
        f"{received} images received, {told} answered or dropped by reason; {noise} warnings in the log; "
        f"then {got} of 20 good frames answered"
    )
    return Seen(
        f"{FUZZ // 2} images and {FUZZ // 2} label maps with broken fields",
        "every one counted, every good frame answered",
        seen,
        ok,
    )


@row("S", "publishers that are killed and start again", quick=False)
def restarts() -> Seen:
    with Robot() as robot:
        robot.warm_up(robot.start())
        robot.withdraw()
        sent = got = 0
        for k in range(5):
            first = 60 * k * SECOND
            camera = robot.camera("--width=160", "--height=120", "--rate=10", "--count=1000", f"--first={first}")
            camera.says("SENT 20", deadline=60)
            camera.signal(signal.SIGKILL)
            camera.wait()
            count = len(camera.lines("SENT"))
            sent += count
            got += robot.answered([START + first + j * SECOND // 10 for j in range(count)], 5)
    # What a killed process had not handed over yet is lost with it.
    return Seen(
        f"5 cameras, each killed after about 20 frames ({sent} in all)",
        "all but the one at hand of each",
        f"{got} answered",
        got >= sent - 5,
    )


@row("S", "the node stopped for 3 s (SIGSTOP, SIGCONT)")
def stopped_node() -> Seen:
    with Robot() as robot:
        node = robot.start()
        robot.warm_up(node)
        stamps = [START + k * SECOND // 10 for k in range(80)]
        for k in pace(len(stamps), 10):
            if k == 20:
                node.signal(signal.SIGSTOP)
            if k == 50:
                node.signal(signal.SIGCONT)
            robot.send(stamps[k])
        running = robot.answered(stamps[:20] + stamps[55:], 10)
        counts = robot.wait_counted()
        adds_up = counts["received"] == counts["answered"] + counts["dropped"]
    ok = running == 45 and adds_up
    return Seen(
        "80 frames at 10 Hz, stopped for 30 of them",
        "45 of 45 outside the stop and half a second after",
        f"{running} of 45; received = answered + dropped: {adds_up}",
        ok,
    )


@row("S", "a planner stopped for 5 s")
def stopped_planner() -> Seen:
    planner = (
        "import rclpy\nfrom amodal_ros.msg import AmodalInstanceArray\n"
        "rclpy.init()\nnode = rclpy.create_node('planner')\n"
        "def told(array):\n    print('GOT', array.header.stamp.sec, flush=True)\n"
        "node.create_subscription(AmodalInstanceArray, '/amodal_node/instances', told, 5)\nrclpy.spin(node)\n"
    )
    with Robot() as robot:
        node = robot.start()
        robot.warm_up(node)
        other = robot.run(sys.executable, "-c", planner)
        for k in range(100):  # until it hears
            robot.send(START - 5 * SECOND + k * SECOND // 20)
            if other.says("GOT", deadline=0.2):
                break
        stamps = [START + k * SECOND // 10 for k in range(100)]
        for k in pace(len(stamps), 10):
            if k == 20:
                other.signal(signal.SIGSTOP)
            if k == 70:
                other.signal(signal.SIGCONT)
            robot.send(stamps[k])
        got = robot.answered(stamps, 5)
        heard = len(other.lines(f"GOT {START // SECOND + 8}")) + len(other.lines(f"GOT {START // SECOND + 9}"))
    ok = got == 100 and heard == 20
    return Seen(
        "100 frames at 10 Hz to two subscribers, one stopped",
        "the other hears all; the stopped one hears again",
        f"the other heard {got} of 100; the stopped one {heard} of the last 20",
        ok,
    )


@row("S", "60 frames per second with jitter")
def jitter() -> Seen:
    with Robot() as robot:
        robot.warm_up(robot.start())
        before = robot.wait_counted()
        stamps = [START + k * SECOND // 60 for k in range(300)]
        for k in pace(len(stamps), 60, jitter=0.9):
            robot.send(stamps[k])
        got = robot.answered(stamps, 3)
        counts = robot.wait_counted()
        order = robot.stamps()
    received = counts["received"] - before["received"]
    dropped = counts["dropped"] - before["dropped"]
    ok = received == 300 and got + dropped == 300 and order == sorted(order)
    return Seen(
        "300 frames of 64x48, each up to 0.9 periods late",
        "received 300, in order, each answered or counted",
        f"{received} received, {got} answered, {dropped} superseded, in order: {order == sorted(order)}",
        ok,
    )


@row("S", "stamps of every kind")
def stamps() -> Seen:
    """Each kind of stream gets 20 frames; how many of them must be answered stands beside."""
    step = SECOND // 10
    kinds: dict[str, tuple[list[int], int]] = {
        "steady": ([START + k * step for k in range(20)], 20),
        "near zero (boot time)": ([SECOND + k * step for k in range(20)], 18),
        "1 ns apart": ([START + 100 * SECOND + k for k in range(20)], 20),
        "back by 0.2 s every fifth": (
            [START + 200 * SECOND + k * step - (2 * step if k % 5 == 4 else 0) for k in range(20)],
            15,
        ),
        "a jump of an hour ahead": ([START + (300 + 3600 * (k >= 10)) * SECOND + k * step for k in range(20)], 18),
        "a jump of an hour back": ([START + (9000 - 3600 * (k >= 10)) * SECOND + k * step for k in range(20)], 18),
        "the last two seconds of 2038's 31 bits": ([(2**31 - 2) * SECOND + k * step for k in range(20)], 20),
        "all zero": ([0] * 20, 0),
    }
    got = {}
    for name, (stream, _) in kinds.items():
        with Robot() as robot:
            node = robot.start()
            robot.warm_up(node)
            for k in pace(len(stream), 10):
                robot.send(stream[k])
            answered = robot.answered(stream, 2)
            got[name] = -1 if node.popen.poll() is not None else answered
    ok = all(got[name] >= least for name, (_, least) in kinds.items())
    seen = "; ".join(f"{name}: {count}" for name, count in got.items())
    return Seen("8 streams of 20 frames", "; ".join(f"{name}: {least}" for name, (_, least) in kinds.items()), seen, ok)


def _eight(robot: Robot) -> tuple[int, int, int]:
    """Eight nodes: how many become active, how many answer, and the answers to 30 frames in all."""
    nodes: list[Process] = []
    heard: Counter[int] = Counter()
    for k in range(8):
        inputs = ("-r image:=/image", "-r instance_mask:=/instance_mask")
        nodes.append(robot.start(f"-r __ns:=/robot{k}", *inputs))
        topic, listener = f"/robot{k}/amodal_node/instances", partial(_count, heard, k)
        robot.node.create_subscription(AmodalInstanceArray, topic, listener, 50)
    active = sum(bool(node.says("active: model", deadline=120)) for node in nodes)
    for k in range(200):  # until each has answered once
        robot.send(WARM_UP + k * SECOND // 20)
        if robot.wait(lambda: len(heard) == 8, 0.1):
            break
    robot.wait(lambda: False, 2)
    heard.clear()
    for k in pace(30, 5):
        robot.send(START + k * SECOND // 5)
    robot.wait(lambda: heard.total() == 240, 15)
    return active, len(heard), heard.total()


def _count(heard: Counter[int], k: int, answer: AmodalInstanceArray) -> None:
    heard[k] += 1


@row("S", "eight nodes on one camera", quick=False)
def eight_nodes() -> Seen:
    with Robot() as robot:
        active, answering, total = _eight(robot)
    return Seen(
        "8 nodes, 30 frames at 5 Hz to each",
        "8 active, 240 answers",
        f"{active} active, {answering} answer, {total} answers",
        (active, total) == (8, 240),
    )


@row("S", "eight nodes where /dev/shm has 64 MB, as in a container", quick=False)
def eight_nodes_in_a_container() -> Seen:
    may = ["unshare", "--mount", "true"]
    if not shutil.which("unshare") or subprocess.run(may, capture_output=True, check=False).returncode:
        raise CannotRun("needs the right to mount a small /dev/shm (unshare --mount)")
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.json"
        again = f"{sys.executable} {Path(__file__).parents[1] / 'faults.py'} --only 'eight nodes on' --json {rows}"
        small = f"mount -t tmpfs -o size=64m tmpfs /dev/shm && exec {again}"
        done = subprocess.run(["unshare", "--mount", "sh", "-c", small], capture_output=True, text=True, check=False)
        if not rows.exists():
            raise CannotRun(f"a small /dev/shm cannot be mounted: {done.stderr[-100:]}")
        (result,) = json.loads(rows.read_text())["rows"]
    return Seen(result["sent"], result["expected"], result["seen"], result["verdict"] == PASS)
