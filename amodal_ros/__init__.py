"""Amodal masks for tracked objects: a tuning-free method and its ROS 2 node.

Importing this package costs nothing: torch, OpenCV and ROS are imported by the rooms that need them
(see ``docs/design.md``).
"""

__version__ = "0.1.0"
