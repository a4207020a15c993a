"""The node in launch files: its arguments, which are its parameters, and the action that starts it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, List  # noqa: UP035 - launch knows only this List

import yaml
from launch import LaunchContext
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

from amodal_ros.node import arguments
from amodal_ros.node.fastdds import share
from amodal_ros.segmentation.labeller import DIVISOR
from amodal_ros.segmentation.model import class_names, find
from amodal_ros.stream.obstacle_parameters import OBSTACLE_OPTIONS
from amodal_ros.stream.parameters import OPTIONS

SEGMENTER = "amodal_segmenter"
#: From the end of a process to its new start (seconds).
RESPAWN_DELAY = 2.0

#: argument, its default the same -> description
TOPICS = {
    "image": "Topic of the camera image, rectified",
    "instance_mask": "Topic of the masks: a label map (0 is background, each other value one object), or as masks says",
    "detections": "Topic of the detections of instance_mask's values; read if masks is detections",
    "depth": "Topic of the depth image; read if use_depth",
    "label_info": "Topic of the LabelInfo that names the masks' classes, if there is one",
}


def _boolean(text: str) -> bool:
    value = yaml.safe_load(text)
    if not isinstance(value, bool):
        raise ValueError
    return value


def _strings(text: str) -> list[str]:
    value = yaml.safe_load(text)
    if not isinstance(value, list):
        raise ValueError
    return [str(item) for item in value]


def _numbers(text: str) -> list[int]:
    value = yaml.safe_load(text)
    if not isinstance(value, list) or not all(type(item) is int for item in value):
        raise ValueError
    return value


#: type of a parameter's default -> (what to write, what reads it, its type for launch)
KINDS: dict[type | str, tuple[str, Callable[[str], Any], Any]] = {
    bool: ("true or false", _boolean, bool),
    int: ("a whole number", int, int),
    float: ("a number", float, float),
    str: ("text", str, str),
    "numbers": ("a list such as '[255]'", _numbers, List[int]),  # noqa: UP006
    tuple: ("a list such as '[car, person]'", _strings, List[str]),  # noqa: UP006
}


def declare_arguments() -> list[DeclareLaunchArgument]:
    """Every argument of the node: topics, name and namespace, a file of parameters, and each parameter."""
    declared = [
        DeclareLaunchArgument("params_file", default_value=share("config", "amodal.yaml"), description="YAML file"),
        DeclareLaunchArgument("name", default_value="amodal_node", description="Name of the node"),
        DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and its topics"),
        DeclareLaunchArgument("respawn", default_value="false", description="Start a node that has died again"),
    ]
    declared += [
        DeclareLaunchArgument(name, default_value=name, description=description) for name, description in TOPICS.items()
    ]
    descriptions = {name: option.metadata["description"] for name, option in OPTIONS.items()}
    descriptions["use_sim_time"] = "Take the time from /clock, for replay"
    return declared + [_parameter(name, text, "params_file") for name, text in descriptions.items()]


def declare_segmenter_argument() -> DeclareLaunchArgument:
    """The model that makes the masks where there is only a camera."""
    return DeclareLaunchArgument(
        "segmenter_model",
        default_value="",
        description="Only a camera: folder or hub id of an instance segmentation model for amodal_segmenter, "
        "whose masks amodal_node takes. Empty: the masks come from elsewhere",
    )


def declare_obstacle_arguments() -> list[DeclareLaunchArgument]:
    """What `amodal_obstacles` has beside `declare_arguments`: both nodes take the parameters that both have."""
    file = share("config", "obstacles.yaml")
    return [
        DeclareLaunchArgument("obstacles_params_file", default_value=file, description="YAML file of amodal_obstacles"),
        DeclareLaunchArgument("obstacles_name", default_value="amodal_obstacles", description="Name of that node"),
        DeclareLaunchArgument("camera_info", default_value="camera_info", description="Topic of the calibration"),
        *(
            _parameter(name, option.metadata["description"], "obstacles_params_file")
            for name, option in OBSTACLE_OPTIONS.items()
            if name not in OPTIONS
        ),
    ]


def _parameter(name: str, description: str, file: str) -> DeclareLaunchArgument:
    what = f"{description} ({KINDS[_kind(name)][0]}). Empty: as in {file}"
    return DeclareLaunchArgument(name, default_value="", description=what)


def amodal_node(
    context: LaunchContext,
    action: type[Node] = Node,
    namespace: str | None = None,
    topics: Mapping[str, str] = MappingProxyType({}),
    **fixed: Any,
) -> Node:
    """The node by the arguments of `declare_arguments`.

    Args:
        action: `launch_ros.actions.Node`, or `LifecycleNode`.
        namespace: in place of the argument's.
        topics: of inputs, in place of the arguments'.
        fixed: parameters that no argument changes.

    Raises:
        ValueError: an argument or the file of parameters cannot be used; the message names it.
    """
    parameters = _parameters(context, "params_file", OPTIONS, fixed)
    return action(
        package="amodal_ros",
        executable="amodal_node",
        name=LaunchConfiguration("name"),
        # Always given: without one launch writes parameters for all nodes, and a file that names this node wins.
        namespace=LaunchConfiguration("namespace") if namespace is None else namespace,
        parameters=parameters,
        remappings=[(name, topics.get(name) or LaunchConfiguration(name)) for name in TOPICS],
        output="screen",
        **_respawn(context),
    )


def camera_nodes(context: LaunchContext) -> list[Node]:
    """`amodal_node`, and where ``segmenter_model`` is given `amodal_segmenter` before it.

    Raises:
        ValueError: as `amodal_node`, or the model is not on this machine; the message says how to get it.
    """
    model = LaunchConfiguration("segmenter_model").perform(context)
    if not model:
        return [amodal_node(context)]
    names = ["", *class_names(find(model))]
    shared = {
        name: _value(name, text)
        for name in ("device", "image_transport", "min_score", "use_sim_time")
        if (text := LaunchConfiguration(name).perform(context))
    }
    segmenter = Node(
        package="amodal_ros",
        executable="amodal_segmenter",
        name=SEGMENTER,
        namespace=LaunchConfiguration("namespace"),
        parameters=[{"model": model, **shared}],
        remappings=[("image", LaunchConfiguration("image"))],
        output="screen",
        **_respawn(context),
    )
    topics = {"instance_mask": f"{SEGMENTER}/labels"}
    return [segmenter, amodal_node(context, topics=topics, masks="labels", label_divisor=DIVISOR, class_names=names)]


def obstacle_node(context: LaunchContext) -> Node:
    """`amodal_obstacles` behind the `amodal_node` of the same arguments.

    Raises:
        ValueError: as `amodal_node`.
    """
    return Node(
        package="amodal_ros",
        executable="amodal_obstacles",
        name=LaunchConfiguration("obstacles_name"),
        namespace=LaunchConfiguration("namespace"),
        parameters=_parameters(context, "obstacles_params_file", OBSTACLE_OPTIONS, {}),
        remappings=[
            ("instances", f"{LaunchConfiguration('name').perform(context)}/instances"),
            *((name, LaunchConfiguration(name)) for name in ("camera_info", "depth")),
        ],
        output="screen",
        **_respawn(context),
    )


def _respawn(context: LaunchContext) -> dict[str, Any]:
    wanted, _ = _read("respawn", LaunchConfiguration("respawn").perform(context))
    return {"respawn": wanted, "respawn_delay": RESPAWN_DELAY}


def _parameters(context: LaunchContext, file: str, options: Iterable[str], fixed: dict[str, Any]) -> list[Any]:
    """The file of parameters, and over it what the arguments give."""
    path = LaunchConfiguration(file).perform(context)
    arguments.read_file(path)  # launch itself passes over a file that is missing
    given = {
        name: _value(name, text)
        for name in [*options, "use_sim_time"]
        if name not in fixed and (text := LaunchConfiguration(name).perform(context))
    }
    return [path, given | fixed]


def _kind(name: str) -> type | str:
    options = {**OBSTACLE_OPTIONS, **OPTIONS}
    default = options[name].default if name in options else False  # use_sim_time, respawn
    return "numbers" if isinstance(default, tuple) and isinstance(default[0], int) else type(default)


def _value(name: str, text: str) -> ParameterValue:
    value, kind = _read(name, text)
    return ParameterValue(value, value_type=kind)


def _read(name: str, text: str) -> tuple[Any, Any]:
    """An argument's value, and its type for launch."""
    expected, read, kind = KINDS[_kind(name)]
    try:
        return read(text), kind
    except (yaml.YAMLError, ValueError):
        raise ValueError(f"argument {name}: expected {expected}, got {text!r}") from None
