"""`launch` and `launch_ros` for tests where they are not installed: what our launch files use of them, and as strict.

Actions take the real ones' arguments and no others, substitutions are performed when the real ones perform them, typed
parameters are coerced as theirs, and packages and executables must be installed. `execute` runs a launch file and gives
the processes that would start, with their command lines and environment.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any, List, get_args, get_origin  # noqa: UP035

import pytest
import yaml
from ament_index_python.packages import get_package_prefix


@dataclass
class Process:
    """A process that would start."""

    action: Action
    cmd: list[str]
    env: dict[str, str]


@dataclass
class LaunchContext:
    launch_configurations: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    handlers: list[Any] = field(default_factory=list)
    events: list[Any] = field(default_factory=list)


class Substitution:
    def perform(self, context: LaunchContext) -> str:
        raise NotImplementedError


class LaunchConfiguration(Substitution):
    def __init__(self, variable_name: str, *, default: Any = None) -> None:
        self.name, self.default = variable_name, default

    def perform(self, context: LaunchContext) -> str:
        if self.name in context.launch_configurations:
            return context.launch_configurations[self.name]
        if self.default is None:
            raise LookupError(f"launch configuration '{self.name}' does not exist")
        return perform(context, self.default)


def substitutions(value: Any) -> list[Any]:
    """Text and substitutions, one or several, as a list."""
    items = [value] if isinstance(value, (str, Substitution)) else list(value)
    if not all(isinstance(item, (str, Substitution)) for item in items):
        raise TypeError(f"expected text or substitutions, got {value!r}")
    return items


def perform(context: LaunchContext, value: Any) -> str:
    return "".join(item if isinstance(item, str) else item.perform(context) for item in substitutions(value))


class Action:
    def __init__(self, *, condition: Any = None) -> None:
        if condition is not None and not callable(getattr(condition, "evaluate", None)):
            raise TypeError("condition: expected a Condition")

    def execute(self, context: LaunchContext) -> Iterable[Any] | None:
        return None


class LaunchDescription:
    def __init__(self, initial_entities: Iterable[Any] | None = None) -> None:
        self.entities = list(initial_entities or [])

    def execute(self, context: LaunchContext) -> Iterable[Any]:
        return self.entities


class DeclareLaunchArgument(Action):
    def __init__(
        self,
        name: str,
        *,
        default_value: Any = None,
        description: str | None = None,
        choices: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        assert isinstance(name, str) and isinstance(description, (str, type(None)))
        if choices is not None and isinstance(default_value, str) and default_value not in choices:
            raise RuntimeError(f'Provided default_value "{default_value}" is not in provided choices "{choices}".')
        self.name, self.description, self.choices = name, description, choices
        self.default = None if default_value is None else substitutions(default_value)

    def execute(self, context: LaunchContext) -> None:
        if self.name not in context.launch_configurations:
            if self.default is None:
                raise RuntimeError(f'Required launch argument "{self.name}" was not provided.')
            context.launch_configurations[self.name] = perform(context, self.default)
        value = context.launch_configurations[self.name]
        if self.choices is not None and value not in self.choices:
            raise RuntimeError(f'Argument "{self.name}" provided value "{value}" is not valid.')


class OpaqueFunction(Action):
    def __init__(self, *, function: Callable, args: Any = (), kwargs: Any = None, **rest: Any) -> None:
        super().__init__(**rest)
        self.call = lambda context: function(context, *args, **(kwargs or {}))

    def execute(self, context: LaunchContext) -> Any:
        return self.call(context)


class LogInfo(Action):
    def __init__(self, *, msg: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.msg = substitutions(msg)

    def execute(self, context: LaunchContext) -> None:
        context.logged.append(perform(context, self.msg))


class PythonLaunchDescriptionSource:
    def __init__(self, launch_file_path: Any) -> None:
        self.path = substitutions(launch_file_path)


class IncludeLaunchDescription(Action):
    def __init__(self, source: Any, *, launch_arguments: Iterable[tuple] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert isinstance(source, PythonLaunchDescriptionSource)
        self.source = source
        self.arguments = [(substitutions(name), substitutions(value)) for name, value in launch_arguments or ()]

    def execute(self, context: LaunchContext) -> list[LaunchDescription]:
        for name, value in self.arguments:
            context.launch_configurations[perform(context, name)] = perform(context, value)
        return [load(Path(perform(context, self.source.path)))]


class Shutdown(Action):
    def __init__(self, *, reason: str = "", due_to_sigint: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class OnProcessExit:
    def __init__(self, *, target_action: Any = None, on_exit: Any, handle_once: bool = False) -> None:
        self.target, self.entities = target_action, on_exit


class RegisterEventHandler(Action):
    def __init__(self, event_handler: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert isinstance(event_handler, (OnProcessExit, OnStateTransition))
        self.handler = event_handler

    def execute(self, context: LaunchContext) -> None:
        context.handlers.append(self.handler)


class EmitEvent(Action):
    def __init__(self, *, event: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert isinstance(event, ChangeState)
        self.event = event

    def execute(self, context: LaunchContext) -> None:
        context.events.append(self.event)


class ExecuteProcess(Action):
    def __init__(
        self,
        *,
        cmd: Iterable[Any],
        name: Any = None,
        prefix: Any = None,
        cwd: Any = None,
        env: Mapping | None = None,
        additional_env: Mapping | None = None,
        shell: bool = False,
        output: str = "log",
        emulate_tty: bool = False,
        sigterm_timeout: Any = "5",
        sigkill_timeout: Any = "5",
        respawn: bool = False,
        respawn_delay: float | None = None,
        on_exit: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cmd, self.respawn = [substitutions(part) for part in cmd], respawn
        self.additional_env = {
            name: substitutions(value) for name, value in (additional_env or {}).items() if substitutions(name)
        }

    def command(self, context: LaunchContext) -> list[str]:
        return [perform(context, part) for part in self.cmd]

    def execute(self, context: LaunchContext) -> None:
        env = {name: perform(context, value) for name, value in self.additional_env.items()}
        context.processes.append(Process(self, self.command(context), env))


class ParameterValue:
    def __init__(self, value: Any, *, value_type: Any = None) -> None:
        assert value_type in (None, bool, int, float, str, List[bool], List[int], List[float], List[str])  # noqa: UP006
        if not is_substitution(value) and value_type is not None and not is_instance(value, value_type):
            raise TypeError(f"value='{value}' is not an instance of {value_type}")
        self.value, self.type = value, value_type

    def evaluate(self, context: LaunchContext) -> Any:
        if not is_substitution(self.value):
            return self.value
        text = perform(context, self.value)
        if self.type in (str, int, float):
            return self.type(text)
        value = yaml.safe_load(text)
        if self.type is not None and not is_instance(value, self.type):
            raise ValueError(f"Cannot convert value '{text}' to '{self.type}'")
        return value


def is_substitution(value: Any) -> bool:
    return isinstance(value, Substitution) or (
        isinstance(value, (list, tuple)) and any(isinstance(item, Substitution) for item in value)
    )


def is_instance(value: Any, kind: Any) -> bool:
    if get_origin(kind) is list:
        return isinstance(value, list) and all(isinstance(item, get_args(kind)[0]) for item in value)
    return isinstance(value, kind)


class Node(ExecuteProcess):
    def __init__(
        self,
        *,
        executable: Any,
        package: Any = None,
        name: Any = None,
        namespace: Any = None,
        exec_name: Any = None,
        parameters: list | None = None,
        remappings: Iterable[tuple] | None = None,
        ros_arguments: list | None = None,
        arguments: list | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(cmd=[*(arguments or []), *(["--ros-args", *ros_arguments] if ros_arguments else [])], **kwargs)
        if not isinstance(parameters, (list, type(None))):
            raise TypeError("parameters: expected a list")
        for given in parameters or []:
            assert isinstance(given, (str, os.PathLike, Substitution, Mapping))
        self.package, self.executable = substitutions(package), substitutions(executable)
        self.name = None if name is None else substitutions(name)
        self.namespace = None if namespace is None else substitutions(namespace)
        self.parameters = parameters or []
        self.remappings = [(substitutions(old), substitutions(new)) for old, new in remappings or ()]

    def command(self, context: LaunchContext) -> list[str]:
        package, executable = perform(context, self.package), perform(context, self.executable)
        program = Path(get_package_prefix(package), "lib", package, executable)
        if not os.access(program, os.X_OK):
            raise LookupError(f"executable '{executable}' not found on the libexec directory '{program.parent}'")
        cmd = [str(program), *super().command(context), "--ros-args"]
        name = namespace = None
        if self.name is not None:
            name = perform(context, self.name)
            assert re.fullmatch(r"[A-Za-z_]\w*", name), f"not a node's name: {name!r}"
            cmd += ["-r", f"__node:={name}"]
        if self.namespace is not None:
            namespace = "/" + perform(context, self.namespace).strip("/")
            cmd += ["-r", f"__ns:={namespace}"]
        section = "/".join([namespace.rstrip("/"), name]) if name and namespace else "/**"
        for given in self.parameters:
            if isinstance(given, Mapping):
                path = write({section: {"ros__parameters": {k: evaluate(context, v) for k, v in given.items()}}})
            else:
                path = str(given) if isinstance(given, os.PathLike) else perform(context, given)
                if not os.path.isfile(path):
                    continue  # the real one logs a line and goes on
            cmd += ["--params-file", path]
        for old, new in self.remappings:
            cmd += ["-r", f"{perform(context, old)}:={perform(context, new)}"]
        return cmd


class LifecycleNode(Node):
    def __init__(self, *, name: Any, namespace: Any, **kwargs: Any) -> None:
        super().__init__(name=name, namespace=namespace, **kwargs)


def evaluate(context: LaunchContext, value: Any) -> Any:
    if isinstance(value, ParameterValue):
        return value.evaluate(context)
    if is_substitution(value):
        return yaml.safe_load(perform(context, value) or "''")
    if isinstance(value, (list, tuple)):
        if not value or any(type(item) is not type(value[0]) for item in value):
            raise TypeError("Expected a non-empty sequence, with items of uniform type.")
        return list(value)
    if not isinstance(value, (float, int, str, bool, bytes)):
        raise TypeError(f"not a parameter's value: {value!r}")
    return value


def write(parameters: dict) -> str:
    with tempfile.NamedTemporaryFile("w", prefix="launch_params_", delete=False) as file:
        yaml.dump(parameters, file, default_flow_style=False)
    return file.name


class ChangeState:
    def __init__(self, *, lifecycle_node_matcher: Callable, transition_id: int) -> None:
        assert callable(lifecycle_node_matcher) and isinstance(transition_id, int)
        self.matches, self.transition = lifecycle_node_matcher, transition_id


class OnStateTransition:
    def __init__(
        self,
        *,
        entities: Iterable[Any],
        target_lifecycle_node: Any = None,
        transition: Any = None,
        start_state: Any = None,
        goal_state: Any = None,
        matcher: Any = None,
        handle_once: bool = False,
    ) -> None:
        if not isinstance(target_lifecycle_node, (LifecycleNode, type(None))):
            raise RuntimeError("OnStateTransition requires a 'LifecycleNode' action as the target")
        self.target, self.start, self.goal, self.entities = target_lifecycle_node, start_state, goal_state, entities


def matches_action(action: Action) -> Callable[[Action], bool]:
    return lambda other: other is action


MODULES = {
    "launch": (LaunchContext, LaunchDescription),
    "launch.action": (Action,),
    "launch.actions": (
        DeclareLaunchArgument,
        EmitEvent,
        ExecuteProcess,
        IncludeLaunchDescription,
        LogInfo,
        OpaqueFunction,
        RegisterEventHandler,
        Shutdown,
    ),
    "launch.event_handlers": (OnProcessExit,),
    "launch.events": (matches_action,),
    "launch.launch_description_sources": (PythonLaunchDescriptionSource,),
    "launch.substitutions": (LaunchConfiguration,),
    "launch_ros": (),
    "launch_ros.actions": (LifecycleNode, Node),
    "launch_ros.event_handlers": (OnStateTransition,),
    "launch_ros.events": (),
    "launch_ros.events.lifecycle": (ChangeState,),
    "launch_ros.parameter_descriptions": (ParameterValue,),
}


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in for both packages until the test ends."""
    for name, members in MODULES.items():
        module = ModuleType(name)
        for member in members:
            setattr(module, member.__name__, member)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "amodal_ros.node.launching", raising=False)


def load(path: Path) -> LaunchDescription:
    scope: dict[str, Any] = {"__file__": str(path)}
    exec(compile(path.read_text(), str(path), "exec"), scope)
    description = scope["generate_launch_description"]()
    assert isinstance(description, LaunchDescription)
    return description


def execute(path: Path, **arguments: str) -> LaunchContext:
    """Run a launch file with arguments as on the command line."""
    context = LaunchContext(dict(arguments))
    _visit(load(path), context)
    return context


def _visit(entity: Any, context: LaunchContext) -> None:
    for sub_entity in entity.execute(context) or ():
        if not isinstance(sub_entity, (Action, LaunchDescription)):
            raise TypeError(f"expected an action, got {sub_entity!r}")
        _visit(sub_entity, context)


def declared(path: Path) -> dict[str, DeclareLaunchArgument]:
    """The arguments of a launch file, as ``ros2 launch -s`` lists them, without those of the files that it includes."""
    return {each.name: each for each in load(path).entities if isinstance(each, DeclareLaunchArgument)}
