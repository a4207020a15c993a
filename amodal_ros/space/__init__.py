"""Where objects are in the world, from masks, a calibrated camera, and depth or the ground. No ROS, no torch."""

from amodal_ros.space.camera import PinholeCamera
from amodal_ros.space.ground import Ground
from amodal_ros.space.obstacle import Obstacle, Unplaced, on_ground, with_depth
from amodal_ros.space.voxels import thin

__all__ = ["Ground", "Obstacle", "PinholeCamera", "Unplaced", "on_ground", "thin", "with_depth"]
