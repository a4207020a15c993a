"""Rows E: nothing stalls, freezes or dies quietly."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import tempfile
import time
from pathlib import Path

import numpy as np

from amodal_ros.messages import nanoseconds
from fault_table import frames
from fault_table.robot import DEADLINE, SECOND, START, Robot, pace
from fault_table.table import CannotRun, Seen, row

REPOSITORY = Path(__file__).resolve().parents[2]
MODEL = REPOSITORY / "amodal_ros" / "models" / "embedded"
WIDTH, HEIGHT = 640, 480


def _hopeless_map(pixels: np.ndarray, sent: str, encoding: str) -> Seen:
    """A label map that is none: what it costs, whether it is told, and whether the next frame is answered."""
    with Robot() as robot:
        node = robot.start()
        robot.warm_up(node)
        began = time.monotonic()
        for k in range(5):
            stamp = START + k * SECOND // 10
            robot.send(
                stamp, frames.image(stamp, frames.picture(WIDTH, HEIGHT)), frames.labels(stamp, pixels, encoding)
            )
        good = START + SECOND
        robot.send(good)
        answered = robot.answer_to(good, 20) is not None
        seconds = time.monotonic() - began
        told = robot.wait_status("answers", lambda s: s.get("level"), 10)
        said = bool(node.lines("WARN"))
    ok = answered and seconds < 5 and said
    good_frame = f"the good frame {'answered' if answered else 'not answered'} after {seconds:.1f} s"
    seen = f"{good_frame}; log {'warns' if said else 'is silent'}; {told.get('message')}"
    return Seen(sent, "told; the next frame answered within 5 s", seen, ok)


@row("E19", "a grey camera image wired to instance_mask")
def camera_as_labels() -> Seen:
    noise = np.random.default_rng(0).normal(0, 12, (HEIGHT, WIDTH))
    ramp = np.linspace(0, 200, WIDTH)[None]
    grey = np.clip(ramp + noise, 0, 255).astype(np.uint8)
    return _hopeless_map(grey, f"5 grey images of {WIDTH}x{HEIGHT} as label maps", "mono8")


@row("E19", "a label map with 2 % salt")
def salt() -> Seen:
    rng = np.random.default_rng(0)
    labels = frames.label_map(WIDTH, HEIGHT)
    places = rng.random(labels.shape) < 0.02
    labels[places] = rng.integers(1, 200, places.sum())
    with Robot() as robot:
        node = robot.start()
        robot.warm_up(node)
        stamps = [START + k * SECOND // 10 for k in range(10)]
        began = time.monotonic()
        for stamp in stamps:
            robot.send(stamp, frames.image(stamp, frames.picture(WIDTH, HEIGHT)), frames.labels(stamp, labels))
        good = START + 5 * SECOND
        robot.send(good)
        answered = robot.answer_to(good, 30) is not None
        seconds = time.monotonic() - began
        counts = robot.wait_counted()
    seen = f"the good frame {'answered' if answered else 'not answered'} after {seconds:.1f} s; {counts}"
    return Seen(
        f"10 maps of {WIDTH}x{HEIGHT} with 2 % salt, 200 ids",
        "the next frame answered within 5 s",
        seen,
        answered and seconds < 5,
    )


@row("E20", "a moment without memory")
def no_memory() -> Seen:
    with Robot() as robot:
        node = robot.start()
        robot.warm_up(node)
        pid = node.popen.pid
        used = int(Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.prlimit(pid, resource.RLIMIT_AS, (used, resource.RLIM_INFINITY))
        for k in range(30):
            stamp = START + k * SECOND // 10
            robot.send(
                stamp,
                frames.image(stamp, frames.picture(WIDTH, HEIGHT)),
                frames.labels(stamp, frames.label_map(WIDTH, HEIGHT)),
            )
            time.sleep(0.1)
        resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        time.sleep(1)
        got = robot.ask((START + (100 + k) * SECOND // 10 for k in range(20)), 10)
        reports = len(robot.reports)
        robot.wait(lambda: len(robot.reports) > reports + 1, 10)
        reporting = len(robot.reports) > reports + 1
        settable = robot.set("max_objects", 99)
    ok = got == 20 and reporting and bool(settable and settable.successful)
    seen = (
        f"{got} of 20 frames answered afterwards; diagnostics {'go on' if reporting else 'stand still'}; "
        f"parameters {'taken' if settable else 'without answer'}"
    )
    return Seen("3 s in which no memory is given", "everything as before afterwards", seen, ok)


def growing(step: int) -> np.ndarray:
    """A label map in which the front object grows by 1.12 a step."""
    labels = np.zeros((96, 128), np.uint16)
    half = min(40, int(6 * 1.12**step))
    labels[48 - half : 48 + half, 40 - half // 2 : 40 + half] = frames.BACK
    labels[30:80, 70:80] = frames.FRONT
    return labels


@row("E21", "900 s of pause behind an object that grows")
def long_pause() -> Seen:
    with Robot() as robot:
        node = robot.start(model="embedded")
        robot.warm_up(node)
        rgb = frames.picture(128, 96)
        robot.make_image = lambda stamp: frames.image(stamp, rgb)
        for k in range(15):
            stamp = START + k * SECOND // 10
            robot.send(stamp, labels=frames.labels(stamp, growing(k)))
            robot.answer_to(stamp, 5)
        after = [START + 900 * SECOND + k * SECOND // 10 for k in range(20)]
        for stamp in after:
            robot.send(stamp, labels=frames.labels(stamp, growing(15)))
            time.sleep(0.1)
        got = robot.answered(after, 10)
        ages = [
            (nanoseconds(array.header.stamp) - nanoseconds(entry.inferred_at)) / 1e9
            for _, array in robot.answers
            for entry in array.instances
        ]
        failed = robot.wait_counted().get("dropped.failed", 0)
    # The first frame after a jump of stamps may wait for a second one that confirms it.
    ok = got >= 19 and not failed and max(ages) < 60
    seen = f"{got} of 20 answered, {failed} failed, the oldest shape {max(ages):.1f} s old"
    return Seen("15 frames, 900 s, 20 frames, live", "answered; nothing of before the pause is used", seen, ok)


@row("E22", "live in a process of nice 15 that may not become less nice")
def nice() -> Seen:
    prefix: tuple[str, ...] = ("nice", "-n", "15")
    if os.getuid() == 0:  # root may, unless it gives that right away
        if not shutil.which("setpriv"):
            raise CannotRun("no setpriv to give root's privileges away")
        prefix = ("setpriv", "--bounding-set=-sys_nice", "--inh-caps=-sys_nice", *prefix)
    with Robot() as robot:
        node = robot.start(model="embedded", prefix=prefix)
        robot.warm_up(node)
        rgb, labels = frames.picture(128, 96), frames.label_map(128, 96)
        for k in pace(60, 10):
            stamp = START + k * SECOND // 10
            robot.send(stamp, frames.image(stamp, rgb), frames.labels(stamp, labels))
        model = robot.wait_status("model", lambda s: int(s.get("completions", 0)) > 0, 20)
        bad = node.lines("PermissionError") or node.lines("Traceback")
    done = int(model.get("completions", 0))
    seen = f"{done} completions; {bad[0] if bad else 'no error'}"
    return Seen("60 frames to a nice node", "completions go on", seen, done > 0 and not bad)


@row("E26", "one corrupt stamp on one topic")
def corrupt_stamp() -> Seen:
    results = []
    for corrupt in (5 * SECOND, START + 30_000_000 * SECOND):
        with Robot() as robot:
            robot.warm_up(robot.start())
            stamps = [START + k * SECOND // 10 for k in range(40)]
            for k, stamp in enumerate(stamps):
                # Masks come three frames later: good images wait when the corrupt one comes.
                robot.publish("/image", frames.image(corrupt if k == 20 else stamp))
                if k >= 3:
                    robot.publish("/instance_mask", frames.labels(stamps[k - 3]))
                time.sleep(0.05)
            results.append(robot.answered([s for k, s in enumerate(stamps) if k != 20 and k < 37], 3))
    return Seen(
        "40 frames, one stamped 1970 or 951 years ahead",
        "the 36 others answered",
        f"{results[0]} and {results[1]} answered",
        results == [36, 36],
    )


@row("E27", "a bag that loops, masks 0.8 s late")
def late_masks_in_a_loop() -> Seen:
    with Robot() as robot:
        robot.warm_up(robot.start())
        stamps = [START + k * SECOND // 10 for k in range(30)]
        late = 8
        queue: list[int] = []
        for _ in range(2):
            for stamp in stamps:
                robot.publish("/image", frames.image(stamp))
                queue.append(stamp)
                if len(queue) > late:
                    robot.publish("/instance_mask", frames.labels(queue.pop(0)))
                time.sleep(0.1)
        for stamp in queue:
            robot.publish("/instance_mask", frames.labels(stamp))
            time.sleep(0.1)
        robot.wait(lambda: len(robot.answers) >= 60, 3)
        got = len(robot.answers)
    # Images of the first round whose masks come after the jump may be lost; none of the second round.
    second = got - (30 - late)
    return Seen(
        "30 frames twice, each mask 8 frames late",
        "all 30 of the second round",
        f"{got} answered, {min(30, max(0, second))} beyond the first 22",
        got >= 52,
    )


@row("E28", "weights cut in place while they are used", quick=False)
def cut_weights() -> Seen:
    with Robot() as robot, tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        shutil.copytree(MODEL, model)
        node = robot.start(model=str(model))
        robot.warm_up(node)
        rgb = frames.picture(128, 96)
        robot.make_image = lambda stamp: frames.image(stamp, rgb)
        robot.make_labels = lambda stamp: frames.labels(stamp, frames.label_map(128, 96, shift=stamp // SECOND % 3))
        before = robot.ask((START + k * SECOND // 10 for k in range(20)), 10)
        for path in model.rglob("*.safetensors"):
            os.truncate(path, 100)
        after = robot.ask((START + (30 + k) * SECOND // 10 for k in range(60)), 10)
        code = node.popen.poll()
        failed = int(robot.status("model").get("completions.failed", 0))
    ok = code is None and after == 60 and not failed
    end = "still running" if code is None else f"ended with {code}"
    seen = f"{before} of 20 answered before, {after} of 60 after, {failed} completions failed, {end}"
    return Seen("all weights truncated on disk", "the node goes on with what it has loaded", seen, ok)


@row("E29", "stamps that are all equal, or decrease")
def standing_stamps() -> Seen:
    said, texts = [], []
    for step in (0, -SECOND // 100):
        with Robot() as robot:
            node = robot.start()
            robot.warm_up(node)
            for k in range(50):
                robot.send(START + k * step)
                time.sleep(0.05)
            status = robot.wait_status("inputs", lambda s: s.get("level"), 4)
            lines = [line for line in node.lines("WARN") if "stamp" in line]
            said.append(bool(lines))
            texts.append(lines[-1][-110:] if lines else status.get("message", ""))
    return Seen("50 frames of one stamp; 50 of decreasing stamps", "a log line on each", "; ".join(texts), all(said))


@row("E19", "a worker that does not answer is told", quick=False)
def stopped_worker() -> Seen:
    with Robot() as robot:
        node = robot.start()
        robot.warm_up(node)
        rng = np.random.default_rng(0)
        labels = np.zeros((1080, 1920), np.uint16)
        for k in range(240):  # many large overlapping things: the most that a frame may cost
            x, y = rng.integers(0, 1700), rng.integers(0, 900)
            labels[y : y + rng.integers(20, 180), x : x + rng.integers(20, 220)] = k + 1
        began = time.monotonic()
        robot.send(START, frames.image(START, frames.picture(1920, 1080)), frames.labels(START, labels))
        answered = robot.answer_to(START, DEADLINE) is not None
        seconds = time.monotonic() - began
        levels = [s.level[0] for report in robot.reports for s in report.status if "answers" in s.name]
        node.signal(signal.SIGINT)
        code = node.wait(20)
    ok = (answered and seconds < 2) or any(levels)
    told = "warned" if any(levels) else "were OK"
    seen = f"{'answered' if answered else 'not answered'} after {seconds:.1f} s, diagnostics {told}, ended with {code}"
    return Seen(
        "one map of 1920x1080 with 240 things", "answered within 2 s, or a warning", seen, ok and code in (0, 130)
    )
