"""What the command line gives the node, checked before it counts: ROS itself passes over names that no node declares.

A name that can only be meant for this node must be right. In a section for many nodes (``/**``) it may be another's, so
there the log names it, and nothing is refused.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import itertools
import os
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

from amodal_ros import __version__
from amodal_ros.node.program import AMODAL_NODE, Program
from amodal_ros.stream.options import one_of

#: Declared when their topic is subscribed to, so nothing is known about them at the start.
LATER = "qos_overrides."


@dataclass(frozen=True)
class Arguments:
    """The part of a command line that gives parameters.

    Attributes:
        parameters: (node's name or "", parameter's name) of each ``-p``.
        files: paths of each ``--params-file``.
    """

    parameters: list[tuple[str, str]] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """Parameters that a file gives to the nodes that `pattern` names, such as ``/**`` or ``/front/amodal_node``."""

    pattern: str
    names: list[str]

    @property
    def shared(self) -> bool:
        """Whether other nodes may be meant."""
        return "*" in self.pattern

    def matches(self, node: str) -> bool:
        """Whether the node of this fully qualified name is meant, by the rules of rcl."""
        tokens = self.pattern.strip("/").split("/")
        rules = {"**": r"(/\w+)*", "*": r"/\w+"}
        return re.fullmatch("".join(rules.get(token, "/" + re.escape(token)) for token in tokens), node) is not None


def parse(argv: list[str], program: Program = AMODAL_NODE) -> Arguments:
    """Read a command line, the program's name left out.

    Raises:
        ValueError: words that nothing reads; the message names the first.
        SystemExit: ``--help`` was asked for and answered.
    """
    own, ros = _split(argv)
    described = program.help + "\n".join(map(_described, program.options().values()))
    parser = argparse.ArgumentParser(program.name, description=described, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--version", action="version", version=f"amodal_ros {__version__}")
    _, unread = parser.parse_known_args(own)
    if unread:
        example = f"{program.name} --ros-args {program.example}"
        raise ValueError(f"expected --ros-args before {unread[0]!r}, as in: {example}")
    given = Arguments()
    for option, value in itertools.pairwise(ros):
        if option in ("-p", "--param"):
            name, assigned, _ = value.partition(":=")
            if not assigned:
                raise ValueError(f"{option} {value}: expected NAME:=VALUE")
            node, _, name = name.rpartition(":")
            given.parameters.append((node, name))
        elif option == "--params-file":
            given.files.append(value)
    return given


def _described(option: dataclasses.Field[Any]) -> str:
    """A parameter with its default, as ``--help`` has it."""
    default = option.default
    if isinstance(default, bool):
        default = str(default).lower()
    elif isinstance(default, tuple):
        default = str([*default])
    choices = option.metadata["choices"]
    text = f"{option.metadata['description']} ({one_of(choices)})" if choices else option.metadata["description"]
    text = textwrap.fill(text, 88, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return f"  {option.name}:={default if default != '' else repr('')}\n{text}"


def read_file(path: str | os.PathLike[str]) -> list[Section]:
    """The sections of a file of parameters.

    Raises:
        ValueError: it is missing, no YAML, or has no section with ``ros__parameters``.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except OSError as error:
        raise ValueError(f"parameter file {path}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"parameter file {path}: expected YAML: {' '.join(str(error).split())}") from None
    sections = list(_sections(content, ""))
    if not sections:
        raise ValueError(
            f"parameter file {path}: expected '/**: ros__parameters: NAME: VALUE', found no ros__parameters"
        )
    return sections


def check(given: Arguments, node: str, declared: Iterable[str]) -> list[str]:
    """Compare names with those that the node declared.

    Args:
        node: its fully qualified name.
        declared: names of its parameters.

    Returns:
        What may be a mistake, as sentences.

    Raises:
        ValueError: a name that can only be meant for this node is not one of its parameters, or a file is not readable.
    """
    declared = sorted(declared)
    for target, name in given.parameters:
        if target in ("", node, node.rpartition("/")[2]) and (unknown := _unknown(name, declared)):
            raise ValueError(f"-p {unknown}")
    doubts = []
    for path in given.files:
        sections = read_file(path)
        meant = [section for section in sections if section.matches(node)]
        for section in meant:
            for unknown in filter(None, (_unknown(name, declared) for name in section.names)):
                if not section.shared:
                    raise ValueError(f"parameter file {path}, {section.pattern}: {unknown}")
                doubts.append(f"parameter file {path}, {section.pattern}: {unknown}; it is left to other nodes")
        if not meant:
            found = ", ".join(section.pattern for section in sections)
            doubts.append(f"parameter file {path} has nothing for {node}: its sections are for {found}")
    return doubts


def check_command(argv: list[str] | None, program: Program = AMODAL_NODE) -> Arguments:
    """`parse` and `read_file` for a whole command line (None: the process's), before ROS reads it.

    Raises:
        ValueError: as these do.
    """
    given = parse(sys.argv[1:] if argv is None else argv, program)
    for path in given.files:
        read_file(path)
    return given


def _split(argv: list[str]) -> tuple[list[str], list[str]]:
    """Words outside and inside of ``--ros-args ... --``."""
    own: list[str] = []
    ros: list[str] = []
    inside = False
    for word in argv:
        if word == "--ros-args":
            inside = True
        elif inside and word == "--":
            inside = False
        else:
            (ros if inside else own).append(word)
    return own, ros


def _sections(content: Any, pattern: str) -> Iterator[Section]:
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if key == "ros__parameters":
            yield Section(pattern or "/", list(_names(value, "")))
        else:
            yield from _sections(value, f"{pattern}/{str(key).strip('/')}")


def _names(content: Any, prefix: str) -> Iterator[str]:
    """Names of nested parameters, joined by dots as ROS does."""
    for key, value in content.items() if isinstance(content, dict) else ():
        name = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict):
            yield from _names(value, name)
        else:
            yield name


def _unknown(name: str, declared: list[str]) -> str:
    """Why `name` is no parameter; empty if it is one."""
    if name in declared or name.startswith(LATER):
        return ""
    close = difflib.get_close_matches(name, declared, n=1)
    return f"{name}: no such parameter" + (f"; {close[0]} is one" if close else f"; there are {', '.join(declared)}")
