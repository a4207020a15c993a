"""All that can be chosen: how the method completes (`method`, `readings`), how a model runs (`switches`). No torch."""

from amodal_ros.settings.method import PRESETS, TABLE_2, Settings, preset
from amodal_ros.settings.switches import Switches

__all__ = ["PRESETS", "TABLE_2", "Settings", "Switches", "preset"]
