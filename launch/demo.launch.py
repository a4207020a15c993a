"""A bag, the node and its overlay: ``ros2 launch amodal_ros demo.launch.py bag:=PATH``.

The bag needs a camera image and label maps; ``amodal bag make streets OUT`` writes one. The overlay is shown by
rqt_image_view where that is installed. Arguments of amodal.launch.py, such as ``model``, count here too. When one
process ends, all do.
"""

import os

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.event_handlers import OnProcessExit
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from amodal_ros.node.fastdds import share

#: argument -> (default, description); None: must be given
ARGUMENTS = {
    "bag": (None, "Folder of the bag to play"),
    "rate": ("1.0", "Speed of replay"),
    "loop": ("true", "Play again and again"),
    "image": ("/camera/image_raw", "The bag's camera image topic"),
    "instance_mask": ("/segmentation/labels", "The bag's label map topic"),
    "viewer": ("true", "Show the overlay with rqt_image_view"),
}
SWITCH = ["true", "false"]


def generate_launch_description() -> LaunchDescription:
    arguments = [
        DeclareLaunchArgument(
            name, default_value=default, description=description, choices=SWITCH if default == "true" else None
        )
        for name, (default, description) in ARGUMENTS.items()
    ]
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(share("launch", "amodal.launch.py")),
        launch_arguments={"use_sim_time": "true"}.items(),
    )
    together = RegisterEventHandler(OnProcessExit(on_exit=[Shutdown(reason="a part of the demo has ended")]))
    return LaunchDescription(
        [*arguments, together, OpaqueFunction(function=_player), node, OpaqueFunction(function=_viewer)]
    )


def _player(context: LaunchContext) -> list[Action]:
    bag, rate, loop, image, labels = (
        LaunchConfiguration(name).perform(context) for name in ("bag", "rate", "loop", "image", "instance_mask")
    )
    if not os.path.isdir(bag):
        raise ValueError(f"argument bag: expected the folder of a bag, got {bag!r}")
    command = [os.path.join(get_package_prefix("amodal_ros"), "lib", "amodal_ros", "amodal"), "bag", "play", bag]
    command += ["--rate", rate, "--clock", *(["--loop"] if loop == "true" else []), "--wait-for", image, labels]
    return [ExecuteProcess(cmd=command, output="screen")]


def _viewer(context: LaunchContext) -> list[Action]:
    if LaunchConfiguration("viewer").perform(context) != "true":
        return []
    namespace, name = (LaunchConfiguration(argument).perform(context).strip("/") for argument in ("namespace", "name"))
    overlay = "/".join(["", *filter(None, [namespace, name]), "overlay"])
    try:
        get_package_prefix("rqt_image_view")
    except PackageNotFoundError:
        return [LogInfo(msg=f"rqt_image_view is not installed; the overlay is on {overlay}")]
    return [Node(package="rqt_image_view", executable="rqt_image_view", arguments=[overlay])]
