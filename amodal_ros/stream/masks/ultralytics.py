"""ultralytics_ros: ``ultralytics_ros/msg/YoloResult``, a Detection2DArray and one mask image per detection, no ids."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from amodal_ros.stream.images import BadInput, labels_of
from amodal_ros.stream.masks.base import UNSAID, Flaw, Legend, Seeing, Seen, fitted, region_of
from amodal_ros.stream.masks.detections import wanted
from amodal_ros.stream.parameters import Parameters


def read(
    messages: Mapping[str, Any], shape: tuple[int, int], parameters: Parameters, flaw: Flaw, legend: Legend = UNSAID
) -> Seeing:
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
        known = wanted(detection, parameters, flaw, legend) if detection else ("", math.nan)
        if known is None:
            continue
        try:
            values = fitted(labels_of(image), shape, parameters.mask_fit, f"mask {k}", flaw)
        except BadInput as error:
            flaw(error.reason, f"mask {k}: {error}")
            continue
        region = region_of(values)
        if not region.area:
            flaw("empty_mask", f"mask {k} of {known[0] or 'no class'}: a mask without a pixel")
            continue
        seen.append(Seen(region, (detection.id or None) if detection else None, *known))
    return Seeing(seen)
