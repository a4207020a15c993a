"""The node led by launch: configured at the start, activated once it is inactive, its states known to other files.

The pattern for a graph of several managed nodes: wait for the states of others in the same way.
"""

import lifecycle_msgs.msg
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.events import matches_action
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState

from amodal_ros.node.launching import amodal_node, declare_arguments


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription([*declare_arguments(), OpaqueFunction(function=_start)])


def _start(context: LaunchContext) -> list[Action]:
    node = amodal_node(context, LifecycleNode, autostart=False)

    def change(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    transitions = lifecycle_msgs.msg.Transition
    configured = OnStateTransition(
        target_lifecycle_node=node,
        start_state="configuring",
        goal_state="inactive",
        entities=[change(transitions.TRANSITION_ACTIVATE)],
    )
    return [RegisterEventHandler(configured), node, change(transitions.TRANSITION_CONFIGURE)]
