"""What masks alone can tell: regions, hulls, order, what can hide. NumPy and OpenCV only."""

from amodal_ros.scene.answer import Answer, Completion, Instance, Source
from amodal_ros.scene.hull import convex_hull
from amodal_ros.scene.mask import MaskRegion
from amodal_ros.scene.scene import Mask, Occluders, Scene

#: A scene made of masks alone: ``Surroundings(masks, (height, width), occluders, depth)``.
Surroundings = Scene.of_masks

__all__ = [
    "Answer",
    "Completion",
    "Instance",
    "Mask",
    "MaskRegion",
    "Occluders",
    "Scene",
    "Source",
    "Surroundings",
    "convex_hull",
]
