"""A camera and a segmenter as a stranger writes them: plain rclpy, no profile. Run as a process of its own.

``foreign_camera.py WIDTH HEIGHT HZ COUNT [best_effort] [compressed]``
"""

from __future__ import annotations

import sys
import time
from array import array

import cv2
import numpy as np
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image


def main() -> None:
    width, height, hz, count = (int(word) for word in sys.argv[1:5])
    words = sys.argv[5:]
    reliability = ReliabilityPolicy.BEST_EFFORT if "best_effort" in words else ReliabilityPolicy.RELIABLE
    rclpy.init()
    node = rclpy.create_node("foreign_camera")
    qos = QoSProfile(depth=10, reliability=reliability)
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    pixels = np.zeros((height, width), np.uint16)
    pixels[40:160, 40:160], pixels[100:200, 120:220] = 7, 9
    if "compressed" in words:
        image_publisher = node.create_publisher(CompressedImage, "/camera/image_raw/compressed", qos)
        labels_publisher = node.create_publisher(CompressedImage, "/labels", qos)
        image = CompressedImage(format="rgb8; jpeg compressed bgr8", data=encoded(".jpg", picture))
        labels = CompressedImage(format="16UC1; png compressed ", data=encoded(".png", pixels))
    else:
        image_publisher = node.create_publisher(Image, "/camera/image_raw", qos)
        labels_publisher = node.create_publisher(Image, "/labels", qos)
        image, labels = plain(picture, "rgb8"), plain(pixels, "16UC1")
    while not (image_publisher.get_subscription_count() and labels_publisher.get_subscription_count()):
        time.sleep(0.02)
    time.sleep(0.5)  # the other end has to know this one, too: what is sent earlier is lost, as DDS has it
    started = time.monotonic()
    for k in range(count):
        time.sleep(max(0.0, started + k / hz - time.monotonic()))
        image.header.stamp = labels.header.stamp = rclpy.time.Time(seconds=1_700_000_000 + k / hz).to_msg()
        image_publisher.publish(image)
        labels_publisher.publish(labels)
    print("SENT", count, flush=True)
    for publisher in (image_publisher, labels_publisher):
        publisher.wait_for_all_acked()


def plain(pixels: np.ndarray, encoding: str) -> Image:
    height, width = pixels.shape[:2]
    return Image(
        height=height, width=width, encoding=encoding, step=pixels.strides[0], data=array("B", pixels.tobytes())
    )


def encoded(suffix: str, pixels: np.ndarray) -> array:
    return array("B", cv2.imencode(suffix, pixels)[1].tobytes())


if __name__ == "__main__":
    main()
