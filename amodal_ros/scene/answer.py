"""What is known of one object: an `Instance` as it was seen, its `Completion`, and the `Answer` that goes out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cached_property
from typing import Any

from amodal_ros.scene.mask import MaskRegion


class Source(IntEnum):
    """Where an amodal mask comes from; the values are those of ``amodal_ros/msg/AmodalInstance``."""

    UNKNOWN = 0
    INFERRED = 1  # completed by the model on this image
    PROPAGATED = 2  # completed on an earlier image and moved with the object
    UNOCCLUDED = 3  # no labelled instance can be in front, away from the frame's edge: amodal = visible
    GEOMETRIC = 4  # the bounded hull, no model
    VISIBLE_ONLY = 5  # the completion failed: nothing is said beyond what is seen, a lower bound
    GROUND_TRUTH = 6
    REMEMBERED = 7  # a better view from an earlier image, without the model, moved with the object

    def __str__(self) -> str:  # an IntEnum would print its number
        return self.name

    def __format__(self, spec: str) -> str:
        return format(self.name, spec)


@dataclass(frozen=True)
class Completion:
    """One object's answer in frame coordinates.

    Attributes:
        visible: the modal mask, inside the frame.
        amodal: the whole object; contains `visible`, may leave the frame.
        frame_shape: (height, width) of the frame that the ratios refer to.
        source: where `amodal` comes from.
        expected_iou: estimate of the IoU of `amodal` with the true whole object, in [0, 1]; NaN if unknown.
        around: tells where the object can be if a mask is the best guess at it, that mask included; None: nowhere else.
        agreement: mean IoU of the samples with their majority in [0, 1]; NaN if one was drawn.
        hull_iou: what `expected_iou` would be of a completed object's bounded hull; NaN if unknown.
        occluders: which masks can be in front: positions in `scene.Scene.masks`.
        enters: pixels that the model painted into other masks, by their position: evidence of who is in front.
        estimates_outside: whether `amodal` says how far the object goes on outside the frame. What reaches the edge
            and was not completed does not.
        error: why the completion failed, where it did; `source` is VISIBLE_ONLY then.
        trace: what the method did on the way, when asked for (`completion.trace.Trace`).
    """

    visible: MaskRegion
    amodal: MaskRegion
    frame_shape: tuple[int, int]
    source: Source
    expected_iou: float = math.nan
    around: Callable[[MaskRegion], MaskRegion] | None = field(default=None, repr=False)
    agreement: float = math.nan
    hull_iou: float = math.nan
    occluders: tuple[int, ...] = ()
    enters: Mapping[int, int] = field(default_factory=dict, repr=False)
    estimates_outside: bool = True
    error: str = ""
    trace: Any = field(default=None, repr=False)

    @cached_property
    def possible(self) -> MaskRegion:
        """Where the object can be, for safety; contains `amodal`. Computed when it is first asked for."""
        return self.amodal if self.around is None else self.around(self.amodal)

    @property
    def occlusion_ratio(self) -> float:
        """1 - |V| / |A inside the frame|, in [0, 1]: what other things hide. NaN where it was not estimated."""
        if self.source is Source.VISIBLE_ONLY:
            return math.nan
        inside = self.amodal.clip(*self.frame_shape).area
        return 1.0 - min(1.0, self.visible.area / inside) if inside else 0.0

    @property
    def truncation_ratio(self) -> float:
        """|A outside the frame| / |A|, in [0, 1]: what the frame's edge cuts off. NaN where it was not estimated."""
        if not self.estimates_outside:
            return math.nan
        whole = self.amodal.area
        return 1.0 - self.amodal.clip(*self.frame_shape).area / whole if whole else 0.0

    @property
    def touches_edge(self) -> bool:
        """Whether the visible mask reaches the frame's border."""
        return self.visible.touches_edge(*self.frame_shape)


@dataclass(frozen=True)
class Instance:
    """One tracked object as the segmenter upstream saw it.

    Attributes:
        id: the label map's value; the same id in the next frame is the same object.
        visible: its modal mask.
        class_id: the class's name, empty if unknown.
        score: the detector's, usually in [0, 1]; NaN if it gives none.
        track_id: the id as the tracker published it, where that is text; else empty.
    """

    id: int
    visible: MaskRegion
    class_id: str = ""
    score: float = math.nan
    track_id: str = ""


@dataclass(frozen=True)
class Answer:
    """What is published for one instance.

    Attributes:
        instance: whom the answer is for.
        completion: its masks, ratios, source and expected IoU; its `occluders` are positions in the scene.
        inferred_at: stamp in nanoseconds of the image that the amodal shape rests on.
        occluders: ids of the instances that can be in front.
    """

    instance: Instance
    completion: Completion
    inferred_at: int
    occluders: tuple[int, ...] = ()
