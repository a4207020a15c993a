"""The method's settings as command-line options, shared by every command that completes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any, get_args

from amodal_ros.scene import Occluders
from amodal_ros.settings.method import PRESETS, Settings
from amodal_ros.settings.readings import READINGS


def add_setting_arguments(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Options that change the model's default `Settings`."""
    parser.add_argument(
        "--reading", choices=list(READINGS), help="how Eq. 7 is read (docs/method.md); the model's own by default"
    )
    parser.add_argument(
        "--occluders",
        choices=get_args(Occluders),
        help="what can hide an object: labelled things (instances), these and what a depth image shows to be nearer "
        "(depth), these and unlabelled pixels (any), anything (off)",
    )
    parser.add_argument("--preset", choices=PRESETS, help="'paper': what was published, nothing of ours")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any other setting by name or path, e.g. --set samples=3 or --set condition=black",
    )


def chosen_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What the options change, as keywords for `AmodalPipeline`.

    Raises:
        ValueError: an unknown setting, a malformed KEY=VALUE, or depth that decides and is not there.
    """
    changes: dict[str, Any] = {}
    for item in args.set:
        name, equals, text = item.partition("=")
        if not equals:
            raise ValueError(f"--set: expected KEY=VALUE, got {item!r}")
        changes[name] = Settings.parse(name, text)
    for name in ("reading", "occluders", "preset"):
        if getattr(args, name) is not None:
            changes[name] = getattr(args, name)
    if changes.get("occluders") == "depth" and not args.depth:
        raise ValueError("--occluders depth: expected --depth too: it shows what is nearer")
    return changes


def only_occluders(changes: Mapping[str, Any]) -> Occluders:
    """What can hide an object, for the model without network, which knows no other setting.

    Raises:
        ValueError: another setting was given.
    """
    unused = sorted(set(changes) - {"occluders"})
    if unused:
        raise ValueError(f"model geometric: it has no setting but occluders, got {', '.join(unused)}")
    return changes.get("occluders", "instances")
