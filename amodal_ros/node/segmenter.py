"""`SegmenterNode`: camera image in, label map with ids that last out."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import Image

from amodal_ros.node.base import BaseNode
from amodal_ros.node.diagnostics import Traffic, answers_status, inputs_status, traffic_complaints
from amodal_ros.node.inputs import places
from amodal_ros.segmentation.labeller import Labeller
from amodal_ros.segmentation.model import InstanceSegmenter, find
from amodal_ros.segmentation.parameters import SegmenterParameters
from amodal_ros.segmentation.worker import SegmentingServer
from amodal_ros.stream.collector import paused
from amodal_ros.stream.intake import Count

TOPICS = ("image",)
#: Seconds that an image waits at most, and megabytes that wait at most: nobody else has to come.
WAIT, BUFFER = 2.0, 256_000_000


class SegmenterNode(BaseNode[SegmenterParameters]):
    """The lifecycle node: ``docs/masks.md``, "Only a camera".

    Args:
        options: for `rclpy.node.Node`.

    Raises:
        ValueError: a parameter's value at start cannot be used.
    """

    _worker: SegmentingServer | None

    def __init__(self, **options: Any) -> None:
        self._labeller: Labeller | None = None
        super().__init__("amodal_segmenter", SegmenterParameters, TOPICS, **options)

    def configure(self) -> None:
        """Check the model's files; make the publisher."""
        if not self._chosen.model:
            raise ValueError("model: expected a folder or hub id of an instance segmentation model, got none")
        find(self._chosen.model)
        self.offer(Image, "~/labels", 5)

    @paused()
    def load(self) -> None:
        """Load the model."""
        chosen = self._chosen
        segmenter = InstanceSegmenter(chosen.model, None if chosen.device == "auto" else chosen.device)
        self._labeller = Labeller(segmenter, [name for name in chosen.classes if name], chosen.min_score)

    def listen(self) -> str:
        """Subscribe to the camera and label."""
        labeller = self._labeller
        assert labeller is not None
        self.intake.open(TOPICS, slop=0, seconds=WAIT, size=BUFFER)
        self.serve(SegmentingServer(self.intake, labeller, self._labelled, self._timings, self._log.warn))
        self.hear("image", places(self.resolve_topic_name("image"), self._chosen.image_transport == "compressed"))
        return f"model {self._chosen.model}, {len(labeller.class_names) - 1} classes"

    def unload(self) -> None:
        """Give the model's memory back."""
        self._labeller = None

    def _fall_silent(self) -> None:
        super()._fall_silent()
        self.unload()

    def _labelled(self, image: Any, labels: np.ndarray) -> None:
        height, width = labels.shape
        data = array("B", labels.tobytes())
        self.publish(
            "~/labels",
            Image(header=image.header, height=height, width=width, encoding="32SC1", step=4 * width, data=data),
        )

    def report(
        self, counts: dict[str, Count], since: float, before: dict[str, Count]
    ) -> tuple[list[DiagnosticStatus], Mapping[str, str]]:
        """Two statuses: inputs and labels."""
        traffic = Traffic(**self.traffic(counts, since, before))
        complaints, name = traffic_complaints(traffic), self.get_fully_qualified_name()
        return [
            inputs_status(name, traffic, complaints),
            answers_status(f"{name}: labels", traffic, "images"),
        ], complaints
