"""`amodal lifecycle`: the state of a running node and its transitions, where there is no `ros2`."""

from __future__ import annotations

import argparse
from typing import Any

TRANSITIONS = ("configure", "activate", "deactivate", "cleanup", "shutdown")
#: A node that does not show up in so many seconds is not there.
DISCOVERY = 5.0

EXAMPLES = (
    "amodal lifecycle",
    "amodal lifecycle activate --node /front/amodal_node",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.add_argument(
        "transition", nargs="?", choices=TRANSITIONS, help="what to do; without it the state is printed"
    )
    parser.add_argument("--node", default="/amodal_node", help="the node's name with its namespace")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for the transition; models load slowly")


def run(args: argparse.Namespace) -> int:
    """Print the state of the node, after the transition if there is one. Returns 1 if that failed."""
    import rclpy

    rclpy.init()
    try:
        node = rclpy.create_node("amodal_lifecycle", start_parameter_services=False, enable_rosout=False)
        return _run(node, "/" + args.node.strip("/"), args.transition, args.timeout)
    finally:
        rclpy.try_shutdown()


def _run(node: Any, name: str, transition: str | None, timeout: float) -> int:
    from lifecycle_msgs.srv import ChangeState, GetAvailableTransitions, GetState

    def ask(kind: type, service: str, request: Any, seconds: float) -> Any:
        import rclpy

        client = node.create_client(kind, f"{name}/{service}")
        if not client.wait_for_service(DISCOVERY):
            raise ValueError(f"{name}: no such lifecycle node")
        future = client.call_async(request)
        rclpy.spin_until_future_complete(node, future, timeout_sec=seconds)
        if not future.done():
            raise ValueError(f"{name}: no answer within {seconds:g} s")
        return future.result()

    def state() -> str:
        return ask(GetState, "get_state", GetState.Request(), DISCOVERY).current_state.label

    done = True
    if transition is not None:
        possible = ask(
            GetAvailableTransitions, "get_available_transitions", GetAvailableTransitions.Request(), DISCOVERY
        )
        ids = {each.transition.label: each.transition.id for each in possible.available_transitions}
        if transition not in ids:
            raise ValueError(f"{name} is {state()}: expected {' or '.join(sorted(ids))}, got {transition}")
        request = ChangeState.Request()
        request.transition.id = ids[transition]
        done = ask(ChangeState, "change_state", request, timeout).success
    print(f"{name}: {'' if done else f'{transition} failed, its log says why; '}{state()}")
    return 0 if done else 1
