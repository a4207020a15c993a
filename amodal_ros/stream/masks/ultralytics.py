"""ultralytics_ros: ``ultralytics_ros/msg/YoloResult``, a Detection2DArray and one mask image per detection, no ids."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from amodal_ros.stream.images import BadInput, labels_of
from amodal_ros.stream.masks.base import Flaw, Seeing, Seen, fitted, region_of
from amodal_ros.stream.masks.detections import hypothesis
from amodal_ros.stream.parameters import Parameters


def read(messages: Mapping[str, Any], shape: tuple[int, int], parameters: Parameters, flaw: Flaw) -> Seeing:
    """See `masks.read`. A mask without a detection is an object of no class."""
    message = messages["instance_mask"]
    detections, masks = message.detections.detections, message.masks
    if len(masks) > len(detections):
        flaw("extra_masks", f"{len(masks)} masks for {len(detections)} detections: the last ones have no class")
    if len(masks) < len(detections):
        flaw("no_mask", f"{len(masks)} masks for {len(detections)} detections: does the segmenter run a -seg model?")
    seen = []
    for k, (detection, image) in enumerate(zip_longest(detections, masks)):
        if image is None:
            break
        name, score = hypothesis(detection, parameters) if detection else ("", float("nan"))
        if score < parameters.min_score:
            flaw("low_score", "")
            continue
        try:
            values = fitted(labels_of(image), shape, parameters.mask_fit, f"mask {k}", flaw)
        except BadInput as error:
            flaw(error.reason, f"mask {k}: {error}")
            continue
        region = region_of(values)
        if not region.area:
            flaw("empty_mask", f"mask {k} of {name or 'no class'}: a mask without a pixel")
            continue
        seen.append(Seen(region, (detection.id or None) if detection else None, name, score))
    return Seeing(seen)
