"""Camera and masks to obstacles: `amodal_node`, and `amodal_obstacles` behind it.

``ros2 launch amodal_ros obstacles.launch.py image:=/camera/image_rect instance_mask:=/labels
camera_info:=/camera/camera_info camera_height:=1.65``
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch_ros.actions import Node

from amodal_ros.node.launching import (
    camera_nodes,
    declare_arguments,
    declare_obstacle_arguments,
    declare_segmenter_argument,
    obstacle_node,
)


def generate_launch_description() -> LaunchDescription:
    declared = [*declare_arguments(), declare_segmenter_argument(), *declare_obstacle_arguments()]
    return LaunchDescription([*declared, OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    return [*camera_nodes(context), obstacle_node(context)]
