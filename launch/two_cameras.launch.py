"""One node per camera: ``ros2 launch amodal_ros two_cameras.launch.py cameras:=front,rear``.

Each has its camera's namespace: /front/image and /front/instance_mask in, /front/amodal_node/instances out. Arguments
of amodal.launch.py count for each; a topic without a leading slash is one in the camera's namespace.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from amodal_ros.node.launching import amodal_node, declare_arguments


def generate_launch_description() -> LaunchDescription:
    cameras = DeclareLaunchArgument("cameras", default_value="front,rear", description="Namespaces, one per camera")
    return LaunchDescription([cameras, *declare_arguments(), OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    cameras = LaunchConfiguration("cameras").perform(context).split(",")
    return [amodal_node(context, namespace=camera.strip()) for camera in cameras]
