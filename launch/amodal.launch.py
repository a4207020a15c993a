"""The node: ``ros2 launch amodal_ros amodal.launch.py image:=/camera/image_raw instance_mask:=/labels``."""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

CONFIG = os.path.join(get_package_share_directory("amodal_ros"), "config", "amodal.yaml")

#: argument, its default the same -> description
TOPICS = {
    "image": "Topic of the camera image, rectified",
    "instance_mask": "Topic of the label map: 0 is background, each other value one tracked object",
    "depth": "Topic of the depth image; read if use_depth",
}
#: argument -> (type, description). Left empty, the value of params_file holds.
PARAMETERS = {
    "model": (str, "geometric (no network), embedded (shipped weights), another profile, or a model folder"),
    "device": (str, "auto (CUDA if there is one), or a torch device such as cpu or cuda:0"),
    "live": (bool, "Remember completions over frames and refine them behind the answers: true or false"),
    "image_transport": (str, "Type of the image topic: raw or compressed"),
    "use_depth": (bool, "Wait for a depth image too: true or false"),
    "autostart": (bool, "Configure and activate without being asked: true or false"),
    "use_sim_time": (bool, "Take the time from /clock, for replay: true or false"),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [DeclareLaunchArgument("params_file", default_value=CONFIG, description="YAML file of parameters")]
    arguments += [
        DeclareLaunchArgument(name, default_value=name, description=description) for name, description in TOPICS.items()
    ]
    arguments += [
        DeclareLaunchArgument(name, default_value="", description=f"{description}. Empty: as in params_file")
        for name, (_, description) in PARAMETERS.items()
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=_node)])


def _node(context: LaunchContext) -> list[Node]:
    given = {
        name: ParameterValue(value, value_type=kind)
        for name, (kind, _) in PARAMETERS.items()
        if (value := LaunchConfiguration(name).perform(context))
    }
    return [
        Node(
            package="amodal_ros",
            executable="amodal_node",
            name="amodal_node",
            output="screen",
            parameters=[LaunchConfiguration("params_file"), given],
            remappings=[(name, LaunchConfiguration(name)) for name in TOPICS],
        )
    ]
