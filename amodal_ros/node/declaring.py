"""A node's parameters as ROS declares them."""

from __future__ import annotations

import dataclasses
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.node import Node

from amodal_ros.stream.options import Chosen, checked, one_of, options_of


def declare(node: Node, kind: type[Chosen]) -> Chosen:
    """Declare every parameter of `kind` and read what the start gave.

    Raises:
        ValueError: a value of the wrong type or out of range; the message names the parameter.
    """
    values = {}
    for name, option in options_of(kind).items():
        # What was given is read whatever its type, so that one place says what was expected.
        given = node.declare_parameter(name, _ros(option.default), ParameterDescriptor(dynamic_typing=True)).value
        node.undeclare_parameter(name)
        values[name] = checked(option, given)
        try:
            node.declare_parameter(name, _ros(values[name]), _descriptor(option), ignore_override=True)
        except Exception as error:  # rclpy's exceptions here share no base class
            raise ValueError(f"parameter {name}: {error}") from None
    return kind(**values)


def _ros(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _descriptor(option: dataclasses.Field) -> ParameterDescriptor:
    meta = option.metadata
    constraints = [one_of(meta["choices"])] if meta["choices"] else []
    constraints.append("may change at any time" if meta["live"] else "may change while the node is not active")
    descriptor = ParameterDescriptor(
        name=option.name, description=meta["description"], additional_constraints="; ".join(constraints)
    )
    if meta["between"] is not None:
        low, high = meta["between"]
        if isinstance(option.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        else:
            descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return descriptor
