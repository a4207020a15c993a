"""`amodal_segmenter` over real topics, with a small random model of the real class."""

from __future__ import annotations

import time

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy")

from builders import save_mask2former  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from ros_graph import DEADLINE, image, spinning, stamp_message  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402
from test_node_process import process  # noqa: E402

from amodal_ros.node.executor import NodeExecutor  # noqa: E402
from amodal_ros.node.segmenter import SegmenterNode  # noqa: E402
from amodal_ros.stream.images import labels_of  # noqa: E402

SECOND = 1_000_000_000


def test_images_become_label_maps_under_their_header(tmp_path):
    save_mask2former(tmp_path)
    context = rclpy.Context()
    rclpy.init(context=context)
    given = {"model": str(tmp_path), "device": "cpu", "min_score": 0.0}
    node = SegmenterNode(context=context, parameter_overrides=[Parameter(n, value=v) for n, v in given.items()])
    robot, labels = rclpy.create_node("robot", context=context), []
    try:
        camera = robot.create_publisher(Image, "image", 10)
        robot.create_subscription(Image, "/amodal_segmenter/labels", labels.append, 10)
        executor = NodeExecutor(slow=node.slow, context=context)
        with spinning(context, executor, node), spinning(context, SingleThreadedExecutor(context=context), robot):
            wait(lambda: camera.get_subscription_count() and robot.count_publishers("/amodal_segmenter/labels"))
            for k in range(1, 4):
                pixels = np.random.default_rng(k).integers(0, 256, (48, 64, 3), np.uint8)
                camera.publish(image(k * SECOND, pixels))
                wait(lambda k=k: len(labels) == k)
            camera.publish(image(4 * SECOND, np.zeros((8, 8, 3), np.uint8), "yuv999"))
            wait(lambda: node.intake.counts()["image"].dropped["bad_image"])
            assert node.intake.counts()["image"].used == 3
            node.close()
    finally:
        context.try_shutdown()
    assert [m.header.stamp for m in labels] == [stamp_message(k * SECOND) for k in (1, 2, 3)]
    values = labels_of(labels[0])
    assert labels[0].encoding == "32SC1" and values.shape == (48, 64) and labels[0].header.frame_id == "camera_optical"
    assert {value // 10_000 for value in np.unique(values).tolist() if value} <= {1, 2} and values.any()


def wait(done) -> None:
    end = time.monotonic() + DEADLINE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_without_a_model_it_says_what_it_needs():
    with process("-c", "import sys; from amodal_ros.node.main import segmenter; sys.exit(segmenter())") as node:
        assert "expected a folder or hub id of an instance segmentation model" in node.line("cannot configure")
