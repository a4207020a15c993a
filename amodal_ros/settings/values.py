"""Small checked values that settings are made of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args, get_origin, get_type_hints


def number(default: float, low: float, high: float) -> Any:
    """A field that takes numbers in [low, high], whole ones where its type is int."""
    return dataclasses.field(default=default, metadata={"between": (low, high)})


@dataclasses.dataclass(frozen=True)
class Value:
    """A group of settings; every one is checked when the value is made.

    Raises:
        ValueError: a number out of range, a word that is no choice, a flag that is none; the message names it.
    """

    name: ClassVar[str] = ""  #: what stands for the whole value in files and on command lines

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            kind, value = hints(type(self))[option.name], getattr(self, option.name)
            if get_origin(kind) is Literal:
                if value is False and "off" in get_args(kind):  # YAML reads a bare off as false
                    object.__setattr__(self, option.name, "off")
                elif value not in get_args(kind):
                    raise ValueError(f"{option.name}: expected one of {', '.join(get_args(kind))}, got {value!r}")
            elif kind is bool:
                if not isinstance(value, bool):
                    raise ValueError(f"{option.name}: expected true or false, got {value!r}")
            elif kind in (int, float):
                _check_number(option.name, kind, value, *option.metadata["between"])
            elif not isinstance(value, kind):
                raise ValueError(f"{option.name}: expected its settings by name, got {value!r}")

    def changed(self, what: str, changes: Mapping[str, Any]) -> Any:
        """A changed copy.

        Raises:
            ValueError: this value does not have a setting of that name; `what` says whose value it is.
        """
        own = [option.name for option in dataclasses.fields(self)]
        for key in changes:
            if key not in own:
                who = f"{what} {self.name}" if self.name else what
                raise ValueError(f"{key}: {who} does not use it; it takes {', '.join(own) or 'no setting'}")
        return dataclasses.replace(self, **changes)

    def as_plain(self) -> Any:
        """As it stands in a file: a mapping, under the value's name if it has one."""
        own = {}
        for option in dataclasses.fields(self):
            value = getattr(self, option.name)
            own[option.name] = value.as_plain() if isinstance(value, Value) else value
        return ({self.name: own} if own else self.name) if self.name else own


def hints(kind: type[Value]) -> dict[str, Any]:
    """The types of a value's fields, by name."""
    if kind not in _HINTS:
        found = get_type_hints(kind)
        _HINTS[kind] = {option.name: found[option.name] for option in dataclasses.fields(kind)}
    return _HINTS[kind]


_HINTS: dict[type, dict[str, Any]] = {}


def parsed(name: str, kind: Any, text: str) -> Any:
    """A field's value from its text on a command line.

    Raises:
        ValueError: it is not of that type.
    """
    try:
        if kind is bool:
            return {"true": True, "false": False}[text.lower()]
        return kind(text) if kind in (int, float) else text
    except (ValueError, KeyError):
        raise ValueError(f"{name}: expected {kind.__name__}, got {text!r}") from None


def _check_number(name: str, kind: type, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise ValueError(f"{name}: expected a number in [{low}, {high}], got {value!r}")
    if kind is int and not isinstance(value, int):
        raise ValueError(f"{name}: expected a whole number, got {value!r}")
