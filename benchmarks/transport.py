"""Images of a camera that has set nothing: how many arrive, and how late, with and without the node's profile.

    ./env python benchmarks/transport.py                    # minutes, on a machine that does nothing else
    ROS=jazzy ./env python benchmarks/transport.py --only 1242x375

Camera and receiver are processes of their own. The receiver is plain rclpy, with Fast DDS's default transports or with
what `amodal_node` sets for itself (``config/fastdds.xml``).
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from amodal_ros.messages import nanoseconds
from amodal_ros.node.fastdds import CHOSEN, large_images

sys.path.append(str(Path(__file__).resolve().parent))  # ./env keeps a script's own folder off the path

from fault_table.robot import START, default_environment, own_domain
from fault_table.table import machine

CAMERA = Path(__file__).with_name("fault_table") / "camera.py"
LOCALHOST = {"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}


@dataclass(frozen=True)
class Stream:
    """A camera's images; `env` is that of both ends, beside the profile."""

    width: int
    height: int
    rate: int
    count: int
    best_effort: bool = False
    local: bool = False

    def __str__(self) -> str:
        words = ["best effort"] * self.best_effort + ["discovery LOCALHOST"] * self.local
        return ", ".join([f"{self.width}x{self.height} at {self.rate} Hz", *words])


STREAMS = (
    *itertools.repeat(Stream(1242, 375, 10, 60), 3),
    Stream(1242, 375, 10, 60, local=True),
    Stream(1920, 1080, 30, 120),
    Stream(3840, 2160, 10, 40),
    Stream(7680, 4320, 1, 5),
    Stream(640, 480, 30, 90, best_effort=True),
    Stream(1242, 375, 10, 60, best_effort=True),
)


def received(stream: Stream, domain: int, profile: bool) -> tuple[int, float]:
    """How many images arrive at a process of its own, and how late the latest comes (seconds, from the promptest)."""
    env = default_environment(domain) | (LOCALHOST if stream.local else {})
    mine = {**env, **(large_images() if profile else {})}
    receiver = [sys.executable, __file__, "--receive", *map(str, (stream.rate, stream.count))]
    size = [f"--{name}={getattr(stream, name)}" for name in ("width", "height", "rate", "count")]
    words = ["--best-effort"] if stream.best_effort else []
    with (
        subprocess.Popen([*receiver, *words], env=mine, stdout=subprocess.PIPE, text=True) as listener,
        subprocess.Popen(
            [sys.executable, str(CAMERA), *size, *words], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as camera,
    ):
        camera.wait()
        out, _ = listener.communicate()
    arrived, late = out.split()[-2:]
    return int(arrived), float(late)


def receive(rate: int, count: int, best_effort: bool) -> None:
    """Prints the figures of `received` once nothing has come for three seconds."""
    rclpy.init()
    node = rclpy.create_node("receiver")
    arrivals: dict[int, float] = {}
    policy = ReliabilityPolicy.BEST_EFFORT if best_effort else ReliabilityPolicy.RELIABLE
    node.create_subscription(
        Image,
        "/image",
        lambda m: arrivals.setdefault(round((nanoseconds(m.header.stamp) - START) * rate / 1e9), time.monotonic()),
        QoSProfile(depth=10, reliability=policy),
    )
    node.create_subscription(Image, "/instance_mask", lambda _: None, QoSProfile(depth=10, reliability=policy))
    end = time.monotonic() + 30
    while time.monotonic() < end and len(arrivals) < count:
        rclpy.spin_once(node, timeout_sec=0.1)
        if arrivals:
            end = max(arrivals.values()) + 4 + 1 / rate
    delays = [at - k / rate for k, at in arrivals.items()]
    print(len(arrivals), f"{max(delays) - min(delays):.3f}" if delays else "nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="streams whose names hold this text")
    parser.add_argument("--receive", nargs=2, type=int, help=argparse.SUPPRESS)
    parser.add_argument("--best-effort", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.receive:
        receive(*args.receive, args.best_effort)
        return
    for name in CHOSEN:
        os.environ.pop(name, None)
    room = Path("/proc/sys/net/core/rmem_max").read_text().strip()
    print(f"{machine()}, net.core.rmem_max {room}")
    domain, _lock = own_domain()
    for stream in STREAMS:
        if args.only in str(stream):
            (plain, late), (ours, ours_late) = (received(stream, domain, profile) for profile in (False, True))
            print(f"{stream}: {plain} of {stream.count} ({late:.2f} s late), {ours} ({ours_late:.2f} s)", flush=True)


if __name__ == "__main__":
    main()
