"""The node: ``ros2 launch amodal_ros amodal.launch.py image:=/camera/image_raw instance_mask:=/segmentation/labels``.

Parameters come from `params_file`; the arguments that name a parameter go over it.
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CONFIG = os.path.join(get_package_share_directory("amodal_ros"), "config", "amodal.yaml")

#: argument -> (default, description)
TOPICS = {
    "image": ("image", "Topic of the camera image, rectified"),
    "instance_mask": ("instance_mask", "Topic of the label map: 0 is background, each other value one tracked object"),
    "depth": ("depth", "Topic of the depth image; read if use_depth"),
}
#: argument -> (default, type, description)
PARAMETERS = {
    "model": ("embedded", str, "geometric (no network), embedded (shipped weights), or a model folder"),
    "device": ("auto", str, "auto (CUDA if there is one), or a torch device such as cpu or cuda:0"),
    "live": ("false", bool, "Remember completions over frames and refine them behind the answers"),
    "image_transport": ("raw", str, "Type of the image topic: raw or compressed"),
    "use_depth": ("false", bool, "Wait for a depth image too"),
    "autostart": ("true", bool, "Configure and activate without being asked"),
    "use_sim_time": ("false", bool, "Take the time from /clock, for replay"),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [DeclareLaunchArgument("params_file", default_value=CONFIG, description="YAML file of parameters")]
    arguments += [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in TOPICS.items()
    ]
    arguments += [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, _, description) in PARAMETERS.items()
    ]
    node = Node(
        package="amodal_ros",
        executable="amodal_node",
        name="amodal_node",
        output="screen",
        parameters=[
            LaunchConfiguration("params_file"),
            {
                name: ParameterValue(LaunchConfiguration(name), value_type=kind)
                for name, (_, kind, _) in PARAMETERS.items()
            },
        ],
        remappings=[(name, LaunchConfiguration(name)) for name in TOPICS],
    )
    return LaunchDescription([*arguments, node])
