"""One image: visible mask -> amodal mask. The paper. No ROS.

torch is imported when `AmodalPipeline` is first asked for, not before: settings and options stay cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from amodal_ros.errors import Interrupted, ModelError
from amodal_ros.settings.method import PRESETS, TABLE_2, Settings, preset

if TYPE_CHECKING:
    from amodal_ros.completion.pipeline import AmodalPipeline

__all__ = ["PRESETS", "TABLE_2", "AmodalPipeline", "Interrupted", "ModelError", "Settings", "preset"]


def __getattr__(name: str) -> Any:
    if name == "AmodalPipeline":
        from amodal_ros.completion.pipeline import AmodalPipeline

        return AmodalPipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
