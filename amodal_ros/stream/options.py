"""Parameters of a node as a dataclass: name, default, range, description, and whether it may change while it is active.

The dataclass is the one place: the node declares from it, and its file in ``config/`` and the launch files are tested
against it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, TypeVar


def option(
    default: Any,
    description: str,
    *,
    between: tuple[float, float] | None = None,
    choices: tuple[str, ...] = (),
    live: bool = False,
) -> Any:
    """A parameter. `live`: it may change while the node is active, and counts from the next frame on."""
    metadata = {"description": description, "between": between, "choices": choices, "live": live}
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Options:
    """The parameters of a node; each field is an `option`.

    Raises:
        ValueError: a value that is no choice.
    """

    def __post_init__(self) -> None:
        for each in dataclasses.fields(self):
            value, choices = getattr(self, each.name), each.metadata["choices"]
            if choices and value not in choices:
                raise ValueError(f"{each.name}: expected {one_of(choices)}, got {value!r}")


Chosen = TypeVar("Chosen", bound=Options)

#: A default's type -> what a value is called.
_KINDS = {bool: "true or false", int: "a whole number", float: "a number with a decimal point", str: "text"}


def options_of(kind: type[Options] | Options) -> dict[str, dataclasses.Field]:
    """The options of a node by name."""
    return {each.name: each for each in dataclasses.fields(kind)}


def checked(option: dataclasses.Field, value: Any) -> Any:
    """A value as the dataclass has it.

    Args:
        value: as ROS or YAML gives it: None where the list was empty, which has no type.

    Raises:
        ValueError: another type than the option's; the message says what to write.
    """
    name, default = option.name, option.default
    if isinstance(default, tuple):
        if value is None or len(value) == 0:
            return default
        kind, called = (int, "whole numbers") if isinstance(default[0], int) else (str, "text")
        if isinstance(value, str) or not all(type(entry) is kind for entry in value):
            raise ValueError(f"{name}: expected a list of {called}, got {value!r}")
        return tuple(value)
    if value is False and "off" in option.metadata["choices"]:
        return "off"  # YAML's reading of the bare word
    if type(value) is not type(default):
        got = "an empty list" if value is None else repr(value)
        hint = ""
        if isinstance(default, float) and type(value) is int:
            hint = f"; write {float(value)}"
        elif isinstance(default, str) and isinstance(value, (int, float)):
            hint = f"; write '{str(value).lower()}', with quotes"
        raise ValueError(f"{name}: expected {_KINDS[type(default)]}, got {got}{hint}")
    return value


def changed(parameters: Chosen, values: dict[str, Any], active: bool) -> Chosen:
    """Parameters after some were set.

    Raises:
        ValueError: a value cannot be used, or not while the node is active; the message says why.
    """
    options = options_of(parameters)
    after = dataclasses.replace(parameters, **{name: checked(options[name], value) for name, value in values.items()})
    for name in values:
        if active and not options[name].metadata["live"] and getattr(after, name) != getattr(parameters, name):
            raise ValueError(f"{name}: cannot change while the node is active; deactivate it first")
    return after


def one_of(choices: tuple[str, ...]) -> str:
    named = f"one of {', '.join(filter(None, choices))}"
    return f"{named}, or empty" if "" in choices else named
