"""The node live at camera rate for as long as you like: does anything pile up?

    ./env python benchmarks/soak.py --json benchmarks/soak.json
    ./env python benchmarks/soak.py --json build/soak.json --minutes 3

The node is a process of its own in a default environment, with the shipped model behind its answers. A synthetic drive
goes round, restamped, so that time never jumps. Figures are written once a minute, so a run that is cut short with
Ctrl-C leaves what it has measured.
"""

from __future__ import annotations

import argparse
import itertools
import json
import struct
import sys
import time
from pathlib import Path

import numpy as np

sys.path.append(str(Path(__file__).resolve().parent))  # ./env keeps a script's own folder off the path

from fault_table.bags import drive
from fault_table.robot import SECOND, START, Process, Robot, pace
from fault_table.table import machine
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from amodal_ros.lab.bags.files import BagReader
from amodal_ros.lab.bags.make import IMAGE_TOPIC, LABELS_TOPIC
from amodal_ros.messages import nanoseconds

MEMORY_PERIOD = 50  # frames between two looks at the node's memory
GROWTH = 0.2  # the p95 of the last quarter may exceed that of the first by so much
FLAT = 0.05  # memory of the last quarter beside that of the second (the first fills caches)


def main() -> int:
    """Returns 1 if something piled up or was lost."""
    args = _arguments()
    bag = args.out / "drive"
    if not bag.exists():
        drive(bag, args.drive)
    frames = list(_frames(bag))
    with Robot() as robot:
        node = robot.start(model=args.model)
        robot.warm_up(node)
        before = robot.wait_counted()
        sent, memory = _send(robot, node, frames, args)
        result = _figures(robot, sent, memory, args, before, done=True)
    args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))
    return 0 if result["ok"] else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=10.0, help="frames per second")
    parser.add_argument("--drive", type=float, default=60.0, help="seconds of street that go round")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--out", type=Path, default=Path("build/soak"), help="folder for the drive")
    parser.add_argument("--json", type=Path, required=True)
    return parser.parse_args()


def _frames(bag: Path) -> list[tuple[bytearray, bytearray]]:
    """Serialized image and label map of every frame."""
    with BagReader(bag) as reader:
        images, labels = ([bytearray(r.raw) for r in reader.records([t])] for t in (IMAGE_TOPIC, LABELS_TOPIC))
    return list(zip(images, labels, strict=True))


def _send(
    robot: Robot, node: Process, frames: list[tuple[bytearray, bytearray]], args: argparse.Namespace
) -> tuple[dict[int, float], list[float]]:
    """Publish at `args.rate`; returns when each stamp was sent (monotonic seconds), and the node's memory in MB."""
    sent: dict[int, float] = {}
    memory: list[float] = []
    robot.withdraw()
    publishers = [
        robot.node.create_publisher(Image, topic, QoSProfile(depth=20)) for topic in ("/image", "/instance_mask")
    ]
    robot.wait(lambda: all(p.get_subscription_count() for p in publishers))
    time.sleep(1)
    around = itertools.cycle(frames)
    try:
        for k in pace(round(60 * args.minutes * args.rate), args.rate):
            stamp = START + round(k * SECOND / args.rate)
            sent[stamp] = time.monotonic()
            for publisher, raw in zip(publishers, next(around), strict=True):
                struct.pack_into("<iI", raw, 4, *divmod(stamp, SECOND))  # header.stamp, behind CDR's own four bytes
                publisher.publish(bytes(raw))
            if k % MEMORY_PERIOD == 0:
                memory.append(node.memory())
            if k and k % round(60 * args.rate) == 0:
                figures = _figures(robot, dict(sent), memory, args, {}, done=False)
                args.json.write_text(json.dumps(figures, indent=1) + "\n")
                p95, most = figures["latency_p95_ms_by_quarter"], max(figures["latency_most_ms_by_quarter"])
                print(f"{k} frames: {p95} ms, at most {most}, {memory[-1]:.0f} MB", flush=True)
    except KeyboardInterrupt:
        print("cut short", file=sys.stderr)
    return sent, memory


def _figures(
    robot: Robot,
    sent: dict[int, float],
    memory: list[float],
    args: argparse.Namespace,
    before: dict[str, int],
    done: bool,
) -> dict:
    counts = {}
    if done:
        robot.answered(sent, 20)
        after = robot.wait_counted()
        counts = {key: n - before.get(key, 0) for key, n in after.items()}
    latency = {nanoseconds(array.header.stamp): arrived for arrived, array in list(robot.answers)}
    seconds = np.array([latency[stamp] - began for stamp, began in sorted(sent.items()) if stamp in latency])
    parts = [1e3 * part for part in np.array_split(seconds, 4) if part.size]
    quarters = [round(float(np.percentile(part, 95)), 1) for part in parts]
    usage = [round(float(np.mean(part)), 1) for part in np.array_split(np.array(memory), 4) if part.size]
    ratio = quarters[-1] / quarters[0] if quarters else float("nan")
    lost = counts.get("received", 0) - counts.get("answered", 0)
    model = robot.status("model")
    return {
        "machine": machine(),
        "minutes": round(len(sent) / args.rate / 60, 2),
        "rate_hz": args.rate,
        "model": args.model,
        "frames": {"sent": len(sent), "heard_answers": len(seconds), **counts},
        "latency_p95_ms_by_quarter": quarters,
        "latency_most_ms_by_quarter": [round(float(part.max()), 1) for part in parts],
        "p95_last_to_first": round(ratio, 3),
        "memory_mb_by_quarter": usage,
        "completions": int(model.get("completions", 0)),
        "completions_failed": int(model.get("completions.failed", 0)),
        "ok": bool(
            done
            and counts.get("received") == len(sent)
            and lost == 0
            and ratio <= 1 + GROWTH
            and len(usage) == 4
            and usage[3] <= usage[1] * (1 + FLAT)
        ),
    }


if __name__ == "__main__":
    sys.exit(main())
