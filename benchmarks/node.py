"""What the node costs beside the model: decode, pair, cut masks, order and occluders, fill and publish.

    ./env python benchmarks/node.py

Real messages go through the node's own intake, decoding, geometric answerer and message filling, one frame at a time,
and are published to a subscriber. Deserialisation of the inputs by rclpy stands beside it. The CPU time is this
thread's own: on a busy machine it is what remains steady.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from array import array
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from amodal_ros.live.plain import PlainAnswerer
from amodal_ros.msg import AmodalInstanceArray
from amodal_ros.node.outgoing import instances_message
from amodal_ros.stream.frames import Frames
from amodal_ros.stream.intake import Intake
from amodal_ros.stream.parameters import Parameters

WIDTH, HEIGHT = 1242, 375


def street(objects: int, seed: int) -> np.ndarray:
    """A label map of overlapping ellipses in rows, as cars stand in a street: far small ones behind near large ones."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((HEIGHT, WIDTH), np.uint16)
    for k in range(objects):
        scale = 0.25 + 0.75 * k / objects
        size = (int(rng.uniform(40, 80) * scale), int(rng.uniform(25, 60) * scale))
        centre = (int(rng.uniform(0, WIDTH)), int(150 + 180 * scale))
        cv2.ellipse(labels, centre, size, 0, 0, 360, 1000 + k, -1)
    return labels


def message(pixels: np.ndarray, encoding: str) -> Image:
    height, width = pixels.shape[:2]
    return Image(
        header=Header(frame_id="camera"),
        height=height,
        width=width,
        encoding=encoding,
        step=pixels.strides[0],
        data=array("B", pixels.tobytes()),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--frames", type=int, default=300)
    args = parser.parse_args()
    cv2.setNumThreads(1)

    rclpy.init()
    node = rclpy.create_node("benchmark")
    publisher = node.create_publisher(AmodalInstanceArray, "~/instances", 5)
    node.create_subscription(AmodalInstanceArray, "~/instances", lambda array: None, 5)

    topics = ("image", "instance_mask")
    intake = Intake(topics, lambda *drop: None)
    intake.open(topics, slop=0, seconds=2.0, size=256_000_000)
    answerer, frames, parameters = PlainAnswerer(), Frames(), Parameters()
    camera = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    raw_image = serialize_message(message(camera, "rgb8"))
    stages: dict[str, list[tuple[float, float]]] = {}
    sizes = []
    for k in range(args.frames + 10):
        raw_mask = serialize_message(message(street(args.objects, k), "16UC1"))
        clock = [now()]

        def lap(stage: str, clock: list = clock) -> None:
            clock.append(now())
            (wall, cpu), (wall_before, cpu_before) = clock[-1], clock[-2]
            stages.setdefault(stage, []).append((wall - wall_before, cpu - cpu_before))

        image, mask = deserialize_message(raw_image, Image), deserialize_message(raw_mask, Image)
        lap("deserialise inputs (rclpy)")
        intake.offer("image", k + 1, image, len(image.data))
        intake.offer("instance_mask", k + 1, mask, len(mask.data))
        pair = intake.take()
        lap("pair")
        scene = frames.scene(pair.messages, pair.stamp, parameters)
        lap("decode, cut masks")
        answers = answerer.answer(scene)
        lap("order, occluders, hulls")
        out = instances_message(image.header, scene.shape, answerer.name, answers)
        lap("fill")
        publisher.publish(out)
        lap("publish")
        intake.answered()
        sizes.append(len(serialize_message(out)))
        rclpy.spin_once(node, timeout_sec=0)
    rclpy.shutdown()
    report(stages, sizes, args.objects)


def now() -> tuple[float, float]:
    """Wall clock and this thread's CPU time, seconds."""
    return time.perf_counter(), time.thread_time()


def report(stages: dict[str, list[tuple[float, float]]], sizes: list[int], objects: int) -> None:
    model = next(
        (line.split(": ")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    print(f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}; {WIDTH}x{HEIGHT}, {objects} objects")
    print(f"{'':34s} {'wall ms':>17s} {'CPU ms':>17s}   (n = {len(sizes) - 10})")
    print(f"{'stage':34s} {'p50':>8s} {'p95':>8s} {'p50':>8s} {'p95':>8s}")
    values = {stage: np.array(seconds[10:]) * 1e3 for stage, seconds in stages.items()}
    own = sum(v for stage, v in values.items() if "rclpy" not in stage)
    for stage, milliseconds in {**values, "node work outside the model": own}.items():
        figures = np.percentile(milliseconds, [50, 95], axis=0).T.reshape(-1)
        print(f"{stage:34s}" + "".join(f" {figure:8.2f}" for figure in figures))
    print(f"bytes per message: median {np.median(sizes):.0f}, largest {max(sizes)}")


if __name__ == "__main__":
    main()
