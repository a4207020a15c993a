"""The node: ``ros2 launch amodal_ros amodal.launch.py image:=/camera/image_raw instance_mask:=/labels``."""

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from amodal_ros.node.launching import amodal_node, declare_arguments


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declare_arguments(), OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    return [amodal_node(context)]
