"""``vision_msgs/msg/Detection2DArray`` beside one label image: Isaac ROS, SAM 3 nodes and others publish them so."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from amodal_ros.scene import MaskRegion
from amodal_ros.stream.masks.base import UNSAID, Flaw, Legend, Seeing, Seen, class_name, label_image
from amodal_ros.stream.masks.labels import cut
from amodal_ros.stream.parameters import Parameters


def read(
    messages: Mapping[str, Any], shape: tuple[int, int], parameters: Parameters, flaw: Flaw, legend: Legend = UNSAID
) -> Seeing:
    """See `masks.read`. Which pixels are a detection's:

    - those of its id's value, where every detection's id is a number that the image has;
    - those that are set in its box, where the image has one value only (a binary mask) and that is not its position's;
    - else those of its position's value, the first detection's being 1, or 0 where that is not the background.

    Values that no detection has are objects without a class.
    """
    detections = list(messages["detections"].detections)
    background = parameters.background
    labels = label_image(messages["instance_mask"], shape, parameters, flaw, background)
    found = cut(labels, max_objects=parameters.max_objects, background=background)
    regions = {i.id: i.visible for i in found.instances}
    values = _values(detections, list(regions), 0 if background else 1)
    if values is None:
        (mask,) = regions.values()
        return _boxed(detections, mask, parameters, flaw, legend)
    seen = []
    for value, detection in zip(values, detections):
        region = regions.pop(value, None)
        if region is None:
            flaw("no_mask", f"detection {detection.id or value}: no pixel of the image has its value {value}")
        elif (known := wanted(detection, parameters, flaw, legend)) is not None:
            seen.append(Seen(region, detection.id or None, *known))
    if regions:
        flaw("extra_masks", f"values {', '.join(map(str, sorted(regions)[:5]))} belong to no detection: no class")
    return Seeing(seen + [Seen(region) for region in regions.values()])


def wanted(detection: Any, parameters: Parameters, flaw: Flaw, legend: Legend) -> tuple[str, float] | None:
    """The likeliest class of a Detection2D, and its score: an empty name and NaN where it has none. None, counted,
    where it is left out: its score is too low, or its class is nobody.
    """
    best = max(detection.results, key=lambda result: result.hypothesis.score, default=None)
    if best is None:
        return "", math.nan
    name, score = best.hypothesis.class_id, best.hypothesis.score
    if score < parameters.min_score:
        flaw("low_score", "")
        return None
    if not (name.isascii() and name.isdecimal()):
        return name, score
    if int(name) in legend.nobody:
        flaw("nobody", "")
        return None
    return class_name(int(name), parameters, legend) or name, score


def _values(detections: Sequence[Any], present: Sequence[int], first: int) -> list[int] | None:
    """The image's value for each detection; None where its one value is a binary mask's.

    Args:
        first: value of the first detection, where its position tells.
    """
    ids = [int(d.id) if d.id.isascii() and d.id.isdecimal() else -1 for d in detections]
    if ids and set(ids) <= set(present):
        return ids
    if len(present) == 1 and (present[0] != first or len(detections) > 1):
        return None
    return list(range(first, first + len(detections)))


def _boxed(detections: Sequence[Any], mask: MaskRegion, parameters: Parameters, flaw: Flaw, legend: Legend) -> Seeing:
    """A binary mask cut by the boxes of detections; what lies in no box is no object."""
    seen = []
    for k, detection in enumerate(detections):
        known = wanted(detection, parameters, flaw, legend)
        if known is None:
            continue
        box = _box(detection.bbox)
        region = mask.within(*box).trim() if box else MaskRegion.empty()
        if region.area:
            seen.append(Seen(region, detection.id or None, *known))
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
