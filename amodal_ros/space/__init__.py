"""Where objects are in the world, from masks, a calibrated camera, and depth or the ground. No ROS, no torch."""

from amodal_ros.space.camera import PinholeCamera
from amodal_ros.space.ground import Ground
from amodal_ros.space.obstacle import Obstacle, Unplaced, all_with_depth, body, on_ground, with_depth
from amodal_ros.space.rigid import BODY_IN_OPTICAL, Rigid, quaternion
from amodal_ros.space.voxels import thin

__all__ = [
    "BODY_IN_OPTICAL",
    "Ground",
    "Obstacle",
    "PinholeCamera",
    "Rigid",
    "Unplaced",
    "all_with_depth",
    "body",
    "on_ground",
    "quaternion",
    "thin",
    "with_depth",
]
