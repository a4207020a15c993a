"""A node's process: from the command line to the exit code."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.signals import SignalHandlerOptions

from amodal_ros.node import arguments
from amodal_ros.node.base import BaseNode
from amodal_ros.node.executor import NodeExecutor
from amodal_ros.node.logs import RosHandler, Throttled
from amodal_ros.node.program import Program
from amodal_ros.node.signals import Watch

#: What still runs so long after the process was told to end is left behind: the system takes its memory (seconds).
PATIENCE = 3.0


def run(program: Program, args: list[str] | None, watch: Watch) -> int:
    """Run a node until `watch` is told to end it. Returns 0, or 2 if an argument or a parameter cannot be used."""
    try:
        node = _node(program, args)
    except ValueError as error:
        print(f"{program.name}: {error}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    logging.getLogger("amodal_ros").addHandler(RosHandler(Throttled(node.get_logger())))
    executor = NodeExecutor(slow=node.slow, failed=node.note_failure)
    executor.add_node(node)
    watch.call(executor.stop)
    with suppress(ExternalShutdownException):
        executor.spin()
    node.end()
    # A transition that runs ends first: it would start what `close` ends.
    if not (executor.shutdown(PATIENCE) and node.close(PATIENCE)):
        os._exit(0)  # a step of a model or its loading, which nothing can interrupt, still uses what would be destroyed
    node.destroy_node()
    rclpy.try_shutdown()
    return 0


def _node(program: Program, args: list[str] | None) -> BaseNode:
    given = arguments.check_command(args, program)
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # rclpy's exceptions here share no base class
        raise ValueError(str(error)) from None
    node = program.make()
    declared = node.get_parameters_by_prefix("")
    for doubt in arguments.check(given, node.get_fully_qualified_name(), declared):
        node.get_logger().warn(doubt)
    return node
