"""The method's settings as command-line options, shared by every command that completes."""

from __future__ import annotations

import argparse
from typing import Any, get_args

from amodal_ros.completion.settings import PRESETS, Reading, Settings
from amodal_ros.scene.occluders import Occluders


def add_setting_arguments(parser: argparse.ArgumentParser) -> None:
    """Options that change the model's default `Settings`."""
    parser.add_argument("--reading", choices=get_args(Reading), help="reading of Eq. 7; the model's own by default")
    parser.add_argument(
        "--occluders",
        choices=get_args(Occluders),
        help="what can hide an object: labelled things (instances), these and unlabelled pixels (any), anything (off)",
    )
    parser.add_argument("--preset", choices=list(PRESETS), help="'paper': what was published, nothing of ours")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="any other setting, e.g. --set samples=3"
    )


def chosen_settings(args: argparse.Namespace) -> dict[str, Any]:
    """What the options change, as keywords for `AmodalPipeline`.

    Raises:
        ValueError: an unknown setting or a malformed KEY=VALUE.
    """
    changes: dict[str, Any] = {}
    for item in args.set:
        name, equals, text = item.partition("=")
        if not equals:
            raise ValueError(f"--set: expected KEY=VALUE, got {item!r}")
        changes[name] = Settings.parse(name, text)
    for name in ("reading", "occluders"):
        if getattr(args, name) is not None:
            changes[name] = getattr(args, name)
    if args.preset is not None:
        changes["preset"] = args.preset
    return changes
