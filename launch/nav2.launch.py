"""The node led by Nav2's lifecycle manager.

The node has no bond to the manager, so `bond_timeout` is 0: else the manager takes it for dead and resets its graph.
Where a manager runs already, its parameters want the same, and the node's name in `node_names`.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from amodal_ros.node.launching import amodal_node, declare_arguments


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declare_arguments(), OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Node]:
    manager = Node(
        package="nav2_lifecycle_manager",
        executable="lifecycle_manager",
        name="lifecycle_manager_amodal",
        namespace=LaunchConfiguration("namespace"),
        parameters=[
            {"autostart": True, "node_names": [LaunchConfiguration("name").perform(context)], "bond_timeout": 0.0}
        ],
        output="screen",
    )
    return [amodal_node(context, autostart=False), manager]
