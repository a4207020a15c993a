"""Somebody else's camera and segmenter in one process: nothing of amodal_ros is imported here."""

from __future__ import annotations

import argparse
import time
from array import array

import cv2
import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header

START = 1_700_000_000


def main() -> None:
    args = _arguments()
    rclpy.init()
    node = rclpy.create_node("camera")
    policy = ReliabilityPolicy.BEST_EFFORT if args.best_effort else ReliabilityPolicy.RELIABLE
    qos = QoSProfile(depth=10, reliability=policy)  # ROS's default, and most drivers'
    images, masks = (node.create_publisher(Image, topic, qos) for topic in ("/image", "/instance_mask"))
    rgb, labels = _scene(args.width, args.height)
    data = array("B", rgb.tobytes()), array("B", labels.tobytes())
    deadline = time.monotonic() + 40
    while not (images.get_subscription_count() and masks.get_subscription_count()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(args.settle)
    print("MATCHED", flush=True)
    began = time.monotonic()
    for k in range(args.count):
        time.sleep(max(0.0, began + k / args.rate - time.monotonic()))
        seconds, rest = divmod(args.first + round(k * 1e9 / args.rate), 1_000_000_000)
        head = Header(stamp=Time(sec=START + seconds, nanosec=rest), frame_id="camera")
        for publisher, content, encoding, step in zip(
            (images, masks), data, ("rgb8", "16UC1"), (3 * args.width, 2 * args.width), strict=True
        ):
            publisher.publish(
                Image(header=head, height=args.height, width=args.width, encoding=encoding, step=step, data=content)
            )
        print("SENT", k + 1, flush=True)
    time.sleep(3)  # what is on its way may be asked for again


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=480)
    parser.add_argument("--rate", type=float, default=15.0)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--first", type=int, default=0, help="nanoseconds from the first stamp of all")
    parser.add_argument("--settle", type=float, default=1.0)
    parser.add_argument("--best-effort", action="store_true")
    return parser.parse_args()


def _scene(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    labels = np.zeros((height, width), np.uint16)
    cv2.circle(labels, (width * 2 // 5, height // 2), height // 4, 7, -1)
    labels[height // 3 : height - 4, width // 2 : width * 3 // 4] = 9
    return rgb, labels


if __name__ == "__main__":
    main()
