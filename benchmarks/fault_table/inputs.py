"""Rows A: frames arrive, without anyone setting anything."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import PointCloud2

from fault_table import frames
from fault_table.bags import best_effort, drive, run_cli
from fault_table.robot import SECOND, START, Robot
from fault_table.table import CannotRun, Seen, row

FASTEST = 1920 * 1080 * 20  # pixels a second that two cores read, pair and answer without a frame superseded
COUNT = 20  # frames of a row that is not about losses


def from_camera(width: int, height: int, rate: float, count: int, *options: str) -> Seen:
    """A foreign camera's frames: counted where answered, above what this machine can answer where received."""
    size = ("--width", str(width), "--height", str(height), "--rate", str(rate), "--count", str(count))
    with Robot() as robot:
        node = robot.start()
        robot.warm_up(node)
        robot.withdraw()
        before = robot.wait_counted()
        camera = robot.camera(*size, *options)
        camera.says(f"SENT {count}", deadline=count / rate + 60)
        got = robot.answered([START + round(k * SECOND / rate) for k in range(count)], 10)
        after = robot.wait_counted()
        sent = len(camera.lines("SENT"))
        dropped = {k[8:]: n - before.get(k, 0) for k, n in after.items() if k.startswith("dropped.")}
        received = after.get("received", 0) - before.get("received", 0)
    lost = ", ".join(f"{n} {reason}" for reason, n in dropped.items() if n) or "none"
    seen = f"{received} received, {got} answered, dropped: {lost}"
    sent_text = f"{sent} frames of {width}x{height} at {rate:g} Hz"
    if width * height * rate > FASTEST:
        return Seen(sent_text, f"{count} received", seen, received == count)
    return Seen(sent_text, f"{count} answered", seen, got == count)


@row("A1", "VGA camera, reliable, nothing set")
def vga() -> Seen:
    return from_camera(640, 480, 15, 60)


@row("A1", "1242x375 camera, reliable, nothing set")
def kitti() -> Seen:
    return from_camera(1242, 375, 10, 60)


@row("A1", "1080p camera, reliable, nothing set")
def full_hd() -> Seen:
    return from_camera(1920, 1080, 10, 40)


@row("A1", "1080p camera at 30 Hz, reliable, nothing set", quick=False)
def full_hd_video() -> Seen:
    return from_camera(1920, 1080, 30, 120)


@row("A1", "VGA camera, best effort, nothing set")
def best_effort_camera() -> Seen:
    room = int(Path("/proc/sys/net/core/rmem_max").read_text())
    if room < 2 * 640 * 480 * 3:
        raise CannotRun(f"wants larger socket buffers than {room} bytes (sysctl net.core.rmem_max)")
    return from_camera(640, 480, 15, 60, "--best-effort")


@row("A1", "4K camera, reliable, nothing set", quick=False)
def four_k() -> Seen:
    return from_camera(3840, 2160, 2, 10)


@row("A1", "a best-effort camera leaves, a reliable one comes")
def changing_cameras() -> Seen:
    with Robot() as robot:
        robot.warm_up(robot.start())
        robot.withdraw()
        got = []
        for k, option in enumerate(("--best-effort", "--settle=1", "--best-effort")):
            first = 10 * k * SECOND
            camera = robot.camera("--width=320", "--height=240", "--count=20", "--rate=10", f"--first={first}", option)
            camera.says("SENT 20", deadline=60)
            got.append(robot.answered([START + first + j * SECOND // 10 for j in range(20)], 5))
            camera.end()
    return Seen(
        "20 frames of 320x240 from each of three cameras in turn", "20, 20, 20 answered", str(got), got == 3 * [20]
    )


def answers_with(prepare: Callable[[Robot], None], *arguments: str, expected: str, sent: str) -> Seen:
    """Frames of another kind than the usual: all are answered."""
    with Robot() as robot:
        prepare(robot)
        robot.warm_up(robot.start(*arguments), 15)
        got = robot.ask(START + k * SECOND // 10 for k in range(COUNT))
    return Seen(sent, expected, f"{got} of {COUNT} answered", got == COUNT)


@row("A2", "compressed images, topic remapped to the base name")
def compressed_base() -> Seen:
    def prepare(robot: Robot) -> None:
        robot.image_topic = "/camera/image_raw/compressed"
        robot.make_image = lambda stamp: frames.compressed(stamp, frames.picture())

    options = ("image_transport:=compressed", "-r image:=/camera/image_raw")
    return answers_with(
        prepare, *options, sent=f"{COUNT} JPEG images on /camera/image_raw/compressed", expected="all answered"
    )


@row("A2", "compressed images, topic remapped to .../compressed")
def compressed_full() -> Seen:
    def prepare(robot: Robot) -> None:
        robot.image_topic = "/camera/image_raw/compressed"
        robot.make_image = lambda stamp: frames.compressed(stamp, frames.picture())

    options = ("image_transport:=compressed", "-r image:=/camera/image_raw/compressed")
    return answers_with(prepare, *options, sent=f"{COUNT} JPEG images on the very topic", expected="all answered")


@row("A2", "label maps as PNG in CompressedImage")
def compressed_labels() -> Seen:
    def prepare(robot: Robot) -> None:
        robot.mask_topic = "/labels/compressed"
        robot.make_labels = lambda stamp: frames.compressed(stamp, frames.label_map(), "png", "16UC1; png compressed")

    return answers_with(
        prepare, "-r instance_mask:=/labels/compressed", sent=f"{COUNT} label maps as PNG", expected="all answered"
    )


def told_about(robot: Robot, *words: str, deadline: float = 15) -> tuple[str, bool]:
    """What diagnostics say of the inputs, once they hold each word."""
    status = robot.wait_status("inputs", lambda s: all(word in s.get("message", "") for word in words), deadline)
    message = status.get("message", "")
    return message, all(word in message for word in words)


@row("A2", "a raw node on a compressed topic")
def raw_on_compressed() -> Seen:
    with Robot() as robot:
        robot.image_topic = "/camera/compressed"
        robot.make_image = lambda stamp: frames.compressed(stamp, frames.picture())
        robot.start("-r image:=/camera/compressed")
        stamps = [START + k * SECOND // 10 for k in range(80)]
        got = robot.ask(stamps, 10, 1)
        message, told = ("", True) if got else told_about(robot, "CompressedImage")
    seen = f"{got} answered" if got else f"inputs: {message}"
    return Seen("JPEG images for 8 s, image_transport raw", "answers, or a word on the type", seen, bool(got) or told)


@row("A2", "a point cloud on the image topic")
def wrong_type() -> Seen:
    with Robot() as robot:
        robot.make_image = lambda stamp: PointCloud2(header=frames.header(stamp))
        robot.start()
        robot.ask([START + k * SECOND // 10 for k in range(60)], 10, 0)
        message, told = told_about(robot, "PointCloud2")
    return Seen("PointCloud2 on /image for 6 s", "diagnostics name the type", f"inputs: {message}", told)


def _encodings() -> dict[str, np.ndarray]:
    rgb = frames.picture()
    yuv = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV)
    two = np.dstack([yuv[..., 0], np.where(np.arange(rgb.shape[1]) % 2, yuv[..., 2], yuv[..., 1])])
    planar = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    bayer = {f"bayer_{order}8": grey for order in ("rggb", "bggr", "gbrg", "grbg")}
    bayer |= {f"bayer_{order}16": grey.astype(np.uint16) << 8 for order in ("rggb", "bggr", "gbrg", "grbg")}
    wide = rgb.astype(np.uint16) << 8
    return {
        "rgb8": rgb,
        "bgr8": rgb,
        "8UC3": rgb,
        "rgba8": np.dstack([rgb, grey]),
        "bgra8": np.dstack([rgb, grey]),
        "8UC4": np.dstack([rgb, grey]),
        "mono8": grey,
        "8UC1": grey,
        "mono16": grey.astype(np.uint16) << 4,  # 12 bits
        "16UC1": grey.astype(np.uint16) << 2,  # 10 bits
        "rgb16": wide,
        "bgr16": wide,
        "16UC3": wide,
        "yuv422": two[..., ::-1],
        "uyvy": two[..., ::-1],
        "yuv422_yuy2": two,
        "nv12": planar,
        "nv21": planar,
        **bayer,
    }


@row("A3", "every encoding of real cameras")
def encodings() -> Seen:
    with Robot() as robot:
        node = robot.start()
        robot.warm_up(node)
        good: list[str] = []
        bad: list[str] = []
        for k, (encoding, pixels) in enumerate(_encodings().items()):
            stamp = START + k * SECOND
            robot.send(stamp, frames.message(stamp, pixels, encoding, frames.HEIGHT, frames.WIDTH))
            (good if robot.answer_to(stamp, 3) else bad).append(encoding)
    total = len(good) + len(bad)
    seen = f"{len(good)} answered" + (f"; not: {', '.join(bad)}" if bad else "")
    return Seen(f"{total} encodings", f"{total} answered", seen, not bad)


@row("A3", "label maps of every integer kind, and one in colour")
def label_encodings() -> Seen:
    kinds = {
        "mono8": np.uint8,
        "8UC1": np.uint8,
        "mono16": np.uint16,
        "16UC1": np.uint16,
        "16SC1": np.int16,
        "32SC1": np.int32,
    }
    with Robot() as robot:
        node = robot.start()
        robot.warm_up(node)
        bad = []
        for k, (encoding, kind) in enumerate({**kinds, "32UC1": np.uint32}.items()):
            stamp = START + k * SECOND
            robot.send(stamp, labels=frames.labels(stamp, frames.label_map().astype(kind), encoding))
            array = robot.answer_to(stamp, 3)
            if array is None or [entry.id for entry in array.instances] != [frames.BACK, frames.FRONT]:
                bad.append(encoding)
        robot.send(START + 20 * SECOND, labels=frames.labels(START + 20 * SECOND, frames.picture(), "rgb8"))
        refused = node.says("WARN", "rgb8", deadline=10)
    ok = not bad and bool(refused)
    seen = f"{7 - len(bad)} answered with both ids, {'rgb8 refused with a reason' if refused else 'rgb8 not refused'}"
    return Seen(
        "7 integer encodings, then rgb8",
        "7 answered, rgb8 refused",
        seen + (f"; not: {', '.join(bad)}" if bad else ""),
        ok,
    )


@row("A4", "a bag of a best-effort camera through the demo", quick=False)
def best_effort_bag() -> Seen:
    with tempfile.TemporaryDirectory() as folder:
        bag, out = best_effort(drive(Path(folder) / "bag", seconds=4)), Path(folder) / "demo"
        command = ("-m", "amodal_ros.cli", "demo", "--bag", str(bag), "--out", str(out), "--model", "geometric")
        done = run_cli(sys.executable, *command)
        summary = json.loads((out / "summary.json").read_text()) if (out / "summary.json").exists() else {"frames": {}}
    counted = summary["frames"]
    answered = counted.get("answered", 0)
    seen = f"{counted.get('received', 0)} received, {answered} answered, dropped: {counted.get('dropped')}"
    seen += f", exit code {done.returncode} {done.stderr[-200:] if done.returncode else ''}"
    return Seen(
        "40 frames of 1242x375 in a best-effort bag", "40 answered", seen, answered == 40 and done.returncode == 0
    )
