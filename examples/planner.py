"""A planner's subscriber: keeps clear of whole objects, and of old or uncertain ones more.

Run it beside the node: ``ros2 run amodal_ros amodal_node`` and ``python examples/planner.py``. No torch is needed.
"""

from __future__ import annotations

import math

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from amodal_ros.messages import age, mask_to_array
from amodal_ros.msg import AmodalInstance, AmodalInstanceArray

MAX_AGE = 0.5  # seconds; an older shape is where the object was
#: Sources whose hidden part is an estimate; the others say that nothing is hidden, or nothing about what is.
ESTIMATED = {
    AmodalInstance.INFERRED,
    AmodalInstance.PROPAGATED,
    AmodalInstance.REMEMBERED,
    AmodalInstance.GEOMETRIC,
}


class Planner(Node):
    def __init__(self, **options: object) -> None:
        super().__init__("planner", **options)
        self.create_subscription(AmodalInstanceArray, "/amodal_node/instances", self.on_instances, 5)

    def on_instances(self, array: AmodalInstanceArray) -> None:
        for instance in array.instances:
            self.get_logger().info(describe(array, instance))


def describe(array: AmodalInstanceArray, instance: AmodalInstance) -> str:
    """What a planner can take from one instance."""
    visible = mask_to_array(instance.visible, array.image_height, array.image_width)
    amodal = mask_to_array(instance.amodal, array.image_height, array.image_width)
    possible = mask_to_array(instance.possible, array.image_height, array.image_width)
    hidden = (amodal & ~visible).sum()  # pixels behind an occluder that are not free
    at_most = (possible & ~visible).sum()  # for safety: where it can be in any case
    seconds = age(array, instance)
    caution = "old" if seconds > MAX_AGE else "estimate" if instance.source in ESTIMATED else "as seen"
    share = "?" if math.isnan(instance.occlusion_ratio) else f"{instance.occlusion_ratio:.0%}"
    return (
        f"{instance.class_id or 'object'} {instance.id}: {share} hidden ({hidden} px, at most {at_most}), {caution}, "
        f"{seconds:.2f} s old, expected IoU {instance.expected_iou:.2f}, hidden by {sorted(instance.occluders)}"
    )


def main() -> None:
    rclpy.init()
    try:
        rclpy.spin(Planner())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    main()
