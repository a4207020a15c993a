"""What goes wrong: the completion room's two exceptions, and what to do about a module that is not there."""

from __future__ import annotations


class ModelError(ValueError):
    """A model folder, component or weight that cannot be used; the message names it and what was expected."""


class Interrupted(Exception):
    """`should_stop` said yes between two denoising steps.

    Attributes:
        results: what `AmodalPipeline.complete` would have returned; None for every object not reached.
    """

    def __init__(self, results: list | None = None) -> None:
        super().__init__("completion interrupted between two denoising steps")
        self.results = results or []


#: Modules that a light installation lacks -> the extra that brings them.
EXTRAS = {
    **dict.fromkeys(("torch", "diffusers", "transformers", "accelerate", "safetensors", "huggingface_hub"), "models"),
    "rerun": "view",
    "segment_anything": "segment-anything",
    **dict.fromkeys(("torchao", "peft"), "foundation"),
}
#: Modules that come with ROS, beside the messages.
ROS = ("rclpy", "ament_index_python", "tf2_ros", "builtin_interfaces", "rcl_interfaces")


def remedy(error: ImportError) -> str | None:
    """What to do about a module that is missing, for people; None where every installation should have it."""
    name = (error.name or "").partition(".")[0]
    if name in EXTRAS:
        return f"needs {name}: pip install 'amodal_ros[{EXTRAS[name]}]'"
    if name in ROS or name.endswith("_msgs") or (error.name or "").startswith("amodal_ros.msg"):
        what = f"needs ROS 2 and the built package ({error})"
        return f"{what}: source your workspace, or make build and start it by ./env (docs/install.md)"
    if name == "amodal_ros":
        return f"{error}: the code has changed since it was installed; make build, or pip install, again"
    return None
