"""The thread that segments for `amodal_segmenter`: image in, label map out. Only the newest image is worth its time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from amodal_ros.segmentation.labeller import Labeller
from amodal_ros.stream.images import rgb_of
from amodal_ros.stream.intake import Intake
from amodal_ros.stream.pairing import Pair
from amodal_ros.stream.serving import Note, Server
from amodal_ros.stream.timings import Timings


class SegmentingServer(Server):
    """Labels images until the intake closes.

    Args:
        publish: called with (image message, label map).
        note: as in `Server`.
    """

    def __init__(
        self,
        intake: Intake,
        labeller: Labeller,
        publish: Callable[[object, np.ndarray], None],
        timings: Timings,
        note: Note,
    ) -> None:
        super().__init__(intake, timings, lambda: 0.0, note)
        self._labeller, self._publish = labeller, publish

    def answer(self, pair: Pair) -> bool:
        """The label map of one image."""
        if pair.jumped:
            self._labeller.reset()
            self.time_jumps += 1
        image = rgb_of(pair.messages["image"])
        with self.timings.measure("segment"):
            labels = self._labeller.label(image, pair.stamp)
        if self._interrupt.is_set():
            return False
        with self.timings.measure("publish"):
            self._publish(pair.messages["image"], labels)
        self.objects = Counter(seen=len(np.unique(labels[labels > 0])))
        return True
