"""What masks alone can tell: regions, hulls, order, occluders. NumPy and OpenCV only."""

from amodal_ros.scene.frame import Answer, Completion, Frame, Instance, Source
from amodal_ros.scene.hull import convex_hull
from amodal_ros.scene.mask import MaskRegion
from amodal_ros.scene.occluders import Occluders, Surroundings

__all__ = [
    "Answer",
    "Completion",
    "Frame",
    "Instance",
    "MaskRegion",
    "Occluders",
    "Source",
    "Surroundings",
    "convex_hull",
]
