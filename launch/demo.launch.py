"""A bag, the node and its overlay: ``ros2 launch amodal_ros demo.launch.py bag:=PATH``.

The bag needs a camera image and label maps; ``amodal bag make streets OUT`` writes one. The overlay is shown by
rqt_image_view.
"""

import os

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

SHARE = get_package_share_directory("amodal_ros")

#: argument -> (default, description); None: must be given
ARGUMENTS = {
    "bag": (None, "Folder of the bag to play"),
    "rate": ("1.0", "Speed of replay"),
    "image": ("/camera/image_raw", "The bag's camera image topic"),
    "instance_mask": ("/segmentation/labels", "The bag's label map topic"),
    "model": ("", "geometric (no network), embedded (shipped weights), or a model folder. Empty: the default"),
    "viewer": ("true", "Show the overlay with rqt_image_view"),
}


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in ARGUMENTS.items()
    ]
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(os.path.join(SHARE, "launch", "amodal.launch.py")),
        launch_arguments={
            **{name: LaunchConfiguration(name) for name in ("image", "instance_mask", "model")},
            "use_sim_time": "true",
        }.items(),
    )
    player = ExecuteProcess(
        cmd=[
            "ros2",
            "bag",
            "play",
            LaunchConfiguration("bag"),
            "--clock",
            "--loop",
            "--rate",
            LaunchConfiguration("rate"),
        ],
        output="screen",
    )
    viewer = Node(
        package="rqt_image_view",
        executable="rqt_image_view",
        arguments=["/amodal_node/overlay"],
        condition=IfCondition(LaunchConfiguration("viewer")),
    )
    return LaunchDescription([*arguments, node, player, viewer])
