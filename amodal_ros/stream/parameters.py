"""Every parameter of the node: name, default, range, description, and whether it may change while the node is active.

`Parameters` is the one place: the node declares from it, and ``config/amodal.yaml`` and the launch file are tested
against it.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from amodal_ros.scene import Occluders


def _option(
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
class Parameters:
    """The node's parameters.

    Raises:
        ValueError: a value that is no choice, or that does not go with another one.
    """

    model: str = _option(
        "embedded", "'geometric' (no network), 'embedded' (shipped weights), another profile, or a model folder"
    )
    segmenter: str = _option("", "A segmenter's folder or .pth file; empty: the model's own")
    device: str = _option("auto", "'auto' (CUDA if there is one), or a torch device such as 'cpu' or 'cuda:0'")
    occluders: Occluders | Literal[""] = _option(  # noqa: RUF009 - a string, as the others
        "",
        "What can hide an object: labelled neighbours; these and what use_depth shows to be nearer; these and all "
        "unlabelled pixels; or anything. Empty: depth with use_depth, else what the model's profile says",
        choices=("", "instances", "depth", "any", "off"),
    )
    live: bool = _option(True, "Remember completions over frames and refine them behind the answers")
    live_budget: float = _option(
        1.0, "If live: share of the time that the model may work behind the answers; 0: never", between=(0.0, 1.0)
    )
    live_batch: int = _option(1, "If live: objects per call of the model; a GPU takes several", between=(1, 64))
    frame_budget: float = _option(
        0.1,
        "Seconds per frame for completions; objects beyond it are answered GEOMETRIC. Not used if live",
        between=(0.0, 600.0),
        live=True,
    )
    image_transport: str = _option(
        "raw", "Type of the topic image: sensor_msgs Image or CompressedImage", choices=("raw", "compressed")
    )
    use_depth: bool = _option(
        False, "Wait for a depth image too; it decides who is in front, and shows what hides without a label"
    )
    label_divisor: int = _option(
        0,
        "If > 0, label // label_divisor is the class, and labels below it (where there are none: its multiples) are "
        "stuff: no objects, but they can hide",
        between=(0, 2**31 - 1),
        live=True,
    )
    class_names: tuple[str, ...] = _option(("",), "Class names by class number; needs label_divisor", live=True)
    max_objects: int = _option(
        256, "A label map with more objects is refused as broken", between=(1, 100_000), live=True
    )
    pair_slop: float = _option(
        0.0, "Seconds by which stamps of image and mask may differ; 0: exact", between=(0.0, 10.0)
    )
    pair_buffer: float = _option(
        2.0, "Seconds that a message waits for its partners: the segmenter's latency and more", between=(0.01, 600.0)
    )
    pair_buffer_mb: int = _option(256, "Megabytes that may wait for partners in all", between=(1, 65536))
    catch_up: float = _option(
        0.1,
        "After a hiccup frames that wait are answered in order while that delays the newest by at most so many "
        "seconds, else only the newest; 0: always only the newest",
        between=(0.0, 1.0),
        live=True,
    )
    autostart: bool = _option(True, "Configure and activate without being asked")

    def __post_init__(self) -> None:
        for option in dataclasses.fields(self):
            value, choices = getattr(self, option.name), option.metadata["choices"]
            if choices and value not in choices:
                raise ValueError(f"{option.name}: expected {one_of(choices)}, got {value!r}")
        if self.occluders == "depth" and not self.use_depth:
            raise ValueError("occluders: 'depth' needs use_depth, got use_depth false")
        if any(self.class_names) and not self.label_divisor:
            raise ValueError("class_names: expected label_divisor > 0, which tells the class, got 0")


OPTIONS = {option.name: option for option in dataclasses.fields(Parameters)}


#: A default's type -> what a value is called.
_KINDS = {bool: "true or false", int: "a whole number", float: "a number with a decimal point", str: "text"}


def checked(name: str, value: Any) -> Any:
    """A value as `Parameters` has it.

    Args:
        value: as ROS or YAML gives it: None where the list was empty, which has no type.

    Raises:
        ValueError: another type than the parameter's; the message says what to write.
    """
    default = OPTIONS[name].default
    if isinstance(default, tuple):
        if value is None or len(value) == 0:
            return default
        if isinstance(value, str) or not all(isinstance(entry, str) for entry in value):
            raise ValueError(f"{name}: expected a list of text, got {value!r}")
        return tuple(value)
    if value is False and "off" in OPTIONS[name].metadata["choices"]:
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


def changed(parameters: Parameters, values: dict[str, Any], active: bool) -> Parameters:
    """Parameters after some were set.

    Raises:
        ValueError: a value cannot be used, or not while the node is active; the message says why.
    """
    after = dataclasses.replace(parameters, **{name: checked(name, value) for name, value in values.items()})
    for name in values:
        if active and not OPTIONS[name].metadata["live"] and getattr(after, name) != getattr(parameters, name):
            raise ValueError(f"{name}: cannot change while the node is active; deactivate it first")
    return after


def one_of(choices: tuple[str, ...]) -> str:
    named = f"one of {', '.join(filter(None, choices))}"
    return f"{named}, or empty" if "" in choices else named
