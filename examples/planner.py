"""A planner's subscriber: keeps clear of whole objects, and of old or uncertain ones more.

Run it beside the node: ``ros2 run amodal_ros amodal_node`` and ``python examples/planner.py``. No torch is needed.
"""

from __future__ import annotations

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node

from amodal_ros.messages import age, mask_to_array
from amodal_ros.msg import AmodalInstance, AmodalInstanceArray

MAX_AGE = 0.5  # seconds; an older shape is where the object was
#: Sources whose hidden part is an estimate; the others say that nothing is hidden, or nothing about what is.
ESTIMATED = {AmodalInstance.INFERRED, AmodalInstance.PROPAGATED, AmodalInstance.GEOMETRIC}


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
    hidden = amodal & ~visible  # bool (height, width): free space behind an occluder that is not free
    seconds = age(array, instance)
    caution = "old" if seconds > MAX_AGE else "estimate" if instance.source in ESTIMATED else "as seen"
    return (
        f"{instance.class_id or 'object'} {instance.id}: {instance.occlusion_ratio:.0%} hidden "
        f"({hidden.sum()} px), {caution}, {seconds:.2f} s old, hidden by {sorted(instance.occluders)}"
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
