"""The node: ``ros2 launch amodal_ros amodal.launch.py image:=/camera/image_raw instance_mask:=/labels``."""

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from amodal_ros.node.launching import camera_nodes, declare_arguments, declare_segmenter_argument


def generate_launch_description() -> LaunchDescription:
    declared = [*declare_arguments(), declare_segmenter_argument()]
    return LaunchDescription([*declared, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    return camera_nodes(context)
