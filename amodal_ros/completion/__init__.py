"""One image: visible mask -> amodal mask. The paper. No ROS.

Importing this package imports torch; `import amodal_ros` does not.
"""

from amodal_ros.completion.errors import Interrupted, ModelError
from amodal_ros.completion.pipeline import AmodalPipeline
from amodal_ros.completion.settings import PRESETS, TABLE_2, Settings

__all__ = ["PRESETS", "TABLE_2", "AmodalPipeline", "Interrupted", "ModelError", "Settings"]
