"""`ObstacleNode`: AmodalInstanceArray, depth or none, and CameraInfo in; point cloud, markers, detections out."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import CameraInfo, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from amodal_ros.msg import AmodalInstanceArray
from amodal_ros.node.base import BaseNode
from amodal_ros.node.diagnostics import Traffic, answers_status, inputs_status, traffic_complaints
from amodal_ros.node.inputs import Fit, places
from amodal_ros.node.obstacles.outgoing import cloud_message, detections_message, markers_message
from amodal_ros.node.obstacles.transforms import Transforms
from amodal_ros.space import Rigid
from amodal_ros.stream.intake import Count
from amodal_ros.stream.obstacle_parameters import ObstacleParameters
from amodal_ros.stream.obstacles import Surveyor
from amodal_ros.stream.placing import SPACING, UNWANTED, Obstacles

CAMERA = "camera_info"
TOPICS = ("instances", "depth", CAMERA)


class ObstacleNode(BaseNode[ObstacleParameters]):
    """The lifecycle node. Topics, parameters, drop reasons and diagnostics: ``docs/obstacles.md``.

    Args:
        options: for `rclpy.node.Node`.

    Raises:
        ValueError: a parameter's value at start cannot be used.
    """

    _worker: Surveyor | None

    def __init__(self, **options: Any) -> None:
        self._transforms: Transforms | None = None
        self._vision: Any = None  # the module vision_msgs.msg, where it is installed
        self._listening_since = time.monotonic()
        self._missed_before: Counter[str] = Counter()
        super().__init__("amodal_obstacles", ObstacleParameters, TOPICS, **options)

    # --- lifecycle ------------------------------------------------------------------------------------------

    def configure(self) -> None:
        """Check that objects can be placed at all; make the publishers."""
        chosen = self._chosen
        if not (chosen.use_depth or chosen.knows_ground):
            raise ValueError(
                "camera_height: expected metres above the ground, got 0.0; or use_depth true, or ground 'tf'"
            )
        self.offer(PointCloud2, "~/obstacles", 5)
        self.offer(MarkerArray, "~/markers", 1)
        try:
            import vision_msgs.msg as vision
        except ImportError:
            self.get_logger().info("no ~/detections_3d: vision_msgs is not installed")
        else:
            self._vision = vision
            self.offer(vision.Detection3DArray, "~/detections_3d", 5)

    def load(self) -> None:
        """Listen to TF where it is needed."""
        chosen = self._chosen
        if chosen.ground == "tf" or chosen.target_frame:
            why = "ground 'tf'" if chosen.ground == "tf" else f"target_frame {chosen.target_frame!r}"
            self._transforms = Transforms(self, why)

    def listen(self) -> str:
        """Subscribe to the inputs and answer."""
        chosen = self._chosen
        topics = TOPICS[:2] if chosen.use_depth else TOPICS[:1]
        self.intake.open(
            topics,
            slop=round(chosen.pair_slop * 1e9),
            seconds=chosen.pair_buffer,
            size=chosen.pair_buffer_mb * 1_000_000,
        )
        worker = Surveyor(
            self.intake,
            self._transforms or (lambda *_: Rigid.identity()),
            self._answered,
            self._show,
            chosen,
            self._timings,
            self._log.warn,
            self.resolve_topic_name(CAMERA),
        )

        def take(info: CameraInfo) -> None:
            self.intake.heed(CAMERA)
            worker.camera_info = info

        self._listening_since = time.monotonic()
        self.serve(worker)
        self.hear(CAMERA, (Fit(self.resolve_topic_name(CAMERA), CameraInfo, once=True),), take)
        self.hear("instances", (Fit(self.resolve_topic_name("instances"), AmodalInstanceArray),))
        if chosen.use_depth:
            self.hear("depth", places(self.resolve_topic_name("depth"), compressed=False))
        by = "depth" if chosen.use_depth else "the ground"
        return f"objects are placed by {by}, in {chosen.target_frame or 'the frame of the camera'}"

    def unload(self) -> None:
        """Listen to TF no more."""
        if self._transforms is not None:
            self._transforms.close()
        self._transforms = None

    def _fall_silent(self) -> None:
        super()._fall_silent()
        self.unload()

    # --- topics ---------------------------------------------------------------------------------------------

    def _header(self, array: AmodalInstanceArray) -> Header:
        return Header(stamp=array.header.stamp, frame_id=self._chosen.target_frame or array.header.frame_id)

    def _answered(self, array: AmodalInstanceArray, obstacles: Obstacles, to_target: Rigid) -> None:
        header = self._header(array)
        self.publish("~/obstacles", cloud_message(header, obstacles))
        if self._vision is not None and self.wanted("~/detections_3d"):
            self.publish("~/detections_3d", detections_message(header, obstacles, to_target, self._vision))

    def _show(self, array: AmodalInstanceArray, obstacles: Obstacles, to_target: Rigid) -> None:
        if self.wanted("~/markers"):
            size = self._chosen.voxel_size or SPACING
            self.publish("~/markers", markers_message(self._header(array), obstacles, to_target, size))

    # --- telling --------------------------------------------------------------------------------------------

    def report(
        self, counts: dict[str, Count], since: float, before: dict[str, Count]
    ) -> tuple[list[DiagnosticStatus], Mapping[str, str]]:
        """Two statuses: inputs and obstacles."""
        common = self.traffic(counts, since, before)
        if self._worker is not None and self._worker.camera_info is None:  # once is enough
            common["silence"][CAMERA] = time.monotonic() - self._listening_since
        traffic = Traffic(**common)
        complaints, name = traffic_complaints(traffic), self.get_fully_qualified_name()
        figures, trouble = self._missed(self._worker)
        return [
            inputs_status(name, traffic, complaints),
            answers_status(f"{name}: obstacles", traffic, "arrays", figures, trouble),
        ], complaints

    def _missed(self, worker: Surveyor | None) -> tuple[dict[str, object], str]:
        """Figures of objects without a place and depth without use, and what of it is new and a fault."""
        now: Counter[str] = Counter()
        if worker is not None:
            now.update({f"unplaced.{reason}": n for reason, n in worker.unplaced.items()})
            now.update({f"depth_unused.{reason}": n for reason, n in worker.depth_unused.items()})
        fresh, self._missed_before = now - self._missed_before, now
        faults = {key: n for key, n in sorted(fresh.items()) if key.partition(".")[2] not in UNWANTED}
        return dict(sorted(now.items())), ", ".join(f"{n} {key}" for key, n in faults.items())
