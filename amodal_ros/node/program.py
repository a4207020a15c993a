"""The executables of this package's nodes. Imports nothing by itself: it comes before signals are watched."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from amodal_ros.node.base import BaseNode


@dataclass(frozen=True)
class Program:
    """An executable with one node.

    Attributes:
        example: ROS arguments as a user would write them.
        topics: a table of them, for ``--help``.
        page: what explains it all.
        options: imports and returns the node's parameters.
        make: imports and makes the node.
    """

    name: str
    example: str
    topics: str
    page: str
    options: Callable[[], Mapping[str, Field]]
    make: Callable[[], BaseNode]

    @property
    def help(self) -> str:
        """How ``--help`` begins; the parameters follow."""
        return (
            "The node is configured by ROS arguments:\n\n"
            f"  {self.name} --ros-args {self.example}\n"
            f"  {self.name} --ros-args --params-file my.yaml -r __ns:=/front\n\n"
            f"Topics:\n{self.topics}\nParameters ({self.page} has more to say):\n"
        )


def _amodal_options() -> Mapping[str, Field]:
    from amodal_ros.stream.parameters import OPTIONS

    return OPTIONS


def _amodal_node() -> BaseNode:
    from amodal_ros.node.node import AmodalNode

    return AmodalNode()


AMODAL_NODE = Program(
    "amodal_node",
    "-r image:=/camera/image_raw -r instance_mask:=/segmentation/labels -p model:=geometric",
    """\
  image            camera image, rectified          -> ~/instances    whole masks of every labelled object
  instance_mask    label map, 0 is background          ~/overlay      a picture for people
  depth            with use_depth                      /diagnostics   rates, drops by reason, latency
""",
    "docs/node.md",
    _amodal_options,
    _amodal_node,
)


def _obstacle_options() -> Mapping[str, Field]:
    from amodal_ros.stream.obstacle_parameters import OBSTACLE_OPTIONS

    return OBSTACLE_OPTIONS


def _obstacle_node() -> BaseNode:
    from amodal_ros.node.obstacles.node import ObstacleNode

    return ObstacleNode()


AMODAL_OBSTACLES = Program(
    "amodal_obstacles",
    "-r instances:=/amodal_node/instances -r camera_info:=/camera/camera_info -p camera_height:=1.65",
    """\
  instances        amodal_node's ~/instances        -> ~/obstacles     points: x, y, z, hidden, id, source
  camera_info      the camera's calibration            ~/detections_3d where vision_msgs is installed
  depth            with use_depth                      ~/markers       for RViz and Foxglove
                                                       /diagnostics    rates, drops and objects left out by reason
""",
    "docs/obstacles.md",
    _obstacle_options,
    _obstacle_node,
)


def _segmenter_options() -> Mapping[str, Field]:
    from amodal_ros.segmentation.parameters import SEGMENTER_OPTIONS

    return SEGMENTER_OPTIONS


def _segmenter_node() -> BaseNode:
    from amodal_ros.node.segmenter import SegmenterNode

    return SegmenterNode()


AMODAL_SEGMENTER = Program(
    "amodal_segmenter",
    "-r image:=/camera/image_raw -p model:=facebook/mask2former-swin-tiny-coco-instance",
    """\
  image            camera image, rectified          -> ~/labels       label map with ids that last, for amodal_node
                                                       /diagnostics   rates, drops by reason, latency
""",
    "docs/masks.md",
    _segmenter_options,
    _segmenter_node,
)
