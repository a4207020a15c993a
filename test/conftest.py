"""Every test process has a DDS domain to itself: two runs on one machine, or a robot nearby, do not hear each other."""

import importlib.util
import os
import random
import sys
from pathlib import Path

from hypothesis import settings

# For `training`, which is not installed. Last, so that the installed amodal_ros with its messages comes first.
sys.path.append(str(Path(__file__).resolve().parents[1]))

# The same examples in every run; HYPOTHESIS_PROFILE=explore draws new ones.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

os.environ["ROS_DOMAIN_ID"] = str(random.SystemRandom().randint(1, 101))
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

if importlib.util.find_spec("torchvision"):
    # Beside a CPU build of torch, torchvision's wheel imports only if two operators are known; transformers and
    # segment-anything import it wherever it is installed.
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        import torch

        OPERATORS = torch.library.Library("torchvision", "DEF")
        for _name in ("nms", "qnms"):
            OPERATORS.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
