"""``vision_msgs/msg/Detection2DArray`` beside one label image: Isaac ROS, SAM 3 nodes and others publish them so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from amodal_ros.scene import MaskRegion
from amodal_ros.stream.masks.base import Flaw, Seeing, Seen, class_name, label_image, region_of
from amodal_ros.stream.masks.labels import cut
from amodal_ros.stream.parameters import Parameters


def read(messages: Mapping[str, Any], shape: tuple[int, int], parameters: Parameters, flaw: Flaw) -> Seeing:
    """See `masks.read`. Which pixels are a detection's:

    - those of its id's value, where every detection's id is a number that the image has;
    - those that are set in its box, where the image has one value only (a binary mask) and that is not its position's;
    - else those of its position's value, the first detection's being 1.

    Values that no detection has are objects without a class.
    """
    detections = list(messages["detections"].detections)
    labels = label_image(messages["instance_mask"], shape, parameters, flaw)
    regions = {i.id: i.visible for i in cut(labels, max_objects=parameters.max_objects).instances}
    values = _values(detections, list(regions))
    if values is None:
        return _boxed(detections, region_of(labels), shape, parameters, flaw)
    seen = []
    for value, detection in zip(values, detections):
        name, score = hypothesis(detection, parameters)
        region = regions.pop(value, None)
        if region is None:
            flaw("no_mask", f"detection {detection.id or value}: no pixel of the image has its value {value}")
        elif score < parameters.min_score:
            flaw("low_score", "")
        else:
            seen.append(Seen(region, detection.id or None, name, score))
    if regions:
        flaw("extra_masks", f"values {', '.join(map(str, sorted(regions)[:5]))} belong to no detection: no class")
    return Seeing(seen + [Seen(region) for region in regions.values()])


def hypothesis(detection: Any, parameters: Parameters) -> tuple[str, float]:
    """The likeliest class of a Detection2D, and its score; an empty name and NaN where it has none."""
    best = max(detection.results, key=lambda result: result.hypothesis.score, default=None)
    if best is None:
        return "", math.nan
    return class_name(best.hypothesis.class_id, parameters), best.hypothesis.score


def _values(detections: Sequence[Any], present: Sequence[int]) -> list[int] | None:
    """The image's value for each detection; None where its one value is a binary mask's."""
    ids = [int(d.id) if d.id.isdecimal() else -1 for d in detections]
    if ids and set(ids) <= set(present):
        return ids
    if len(present) == 1 and (present[0] != 1 or len(detections) > 1):
        return None
    return list(range(1, len(detections) + 1))


def _boxed(
    detections: Sequence[Any], mask: MaskRegion, shape: tuple[int, int], parameters: Parameters, flaw: Flaw
) -> Seeing:
    """A binary mask cut by the boxes of detections; what lies in no box is no object."""
    seen = []
    for k, detection in enumerate(detections):
        name, score = hypothesis(detection, parameters)
        if score < parameters.min_score:
            flaw("low_score", "")
            continue
        box = _box(detection.bbox)
        region = mask.within(*box).trim() if box else MaskRegion.empty()
        if region.area:
            seen.append(Seen(region, detection.id or None, name, score))
        else:
            flaw("empty_mask", f"detection {detection.id or k}: the mask has no pixel in its box {box}")
    return Seeing(seen)


def _box(bbox: Any) -> tuple[int, int, int, int] | None:
    """(x, y, width, height) of the pixels that a BoundingBox2D reaches; None where it has numbers that are none."""
    x, y = bbox.center.position.x, bbox.center.position.y
    edges = np.array([x - bbox.size_x / 2, y - bbox.size_y / 2, x + bbox.size_x / 2, y + bbox.size_y / 2])
    if not np.isfinite(edges).all():
        return None
    left, top = np.floor(edges[:2]).astype(int).tolist()
    right, bottom = np.ceil(edges[2:]).astype(int).tolist()
    return left, top, max(0, right - left), max(0, bottom - top)
