"""The node's process."""

from __future__ import annotations

import logging
import sys

import rclpy
from rclpy.executors import ExternalShutdownException

from amodal_ros.node.executor import NodeExecutor
from amodal_ros.node.logs import RosHandler, Throttled
from amodal_ros.node.node import AmodalNode


def main(args: list[str] | None = None) -> int:
    """Run the node until it is interrupted. Returns 0, or 2 if a parameter's value cannot be used."""
    rclpy.init(args=args)
    try:
        node = AmodalNode()
    except ValueError as error:
        print(f"amodal_node: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    logging.getLogger("amodal_ros").addHandler(RosHandler(Throttled(node.get_logger())))
    executor = NodeExecutor(slow=node.slow)
    executor.add_node(node)
    try:
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        executor.shutdown()  # a transition that runs ends first: it would start what `close` ends
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
