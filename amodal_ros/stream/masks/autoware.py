"""Autoware: ``autoware_internal_perception_msgs/msg/SegmentationMask``, value k has the k-th classification; no ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amodal_ros.stream.masks.base import UNSAID, Flaw, Legend, Seeing, Seen, label_image
from amodal_ros.stream.masks.labels import cut
from amodal_ros.stream.parameters import Parameters

#: autoware_perception_msgs/msg/ObjectClassification's constants, in their order from 0.
CLASSES = (
    *("unknown", "car", "truck", "bus", "trailer", "motorcycle", "bicycle", "pedestrian", "animal", "hazard"),
    *("over_drivable", "under_drivable"),
)


def read(
    messages: Mapping[str, Any], shape: tuple[int, int], parameters: Parameters, flaw: Flaw, legend: Legend = UNSAID
) -> Seeing:
    """See `masks.read`. Each value is one instance; the next message may give it another value."""
    message = messages["instance_mask"]
    labels = label_image(message.image, shape, parameters, flaw)
    found = {i.id: i.visible for i in cut(labels, max_objects=parameters.max_objects).instances}
    seen = []
    for k, classification in enumerate(message.classification, 1):
        region = found.pop(k, None)
        if region is None:
            flaw("empty_mask", f"classification {k - 1}: no pixel has its value {k}")
        elif classification.label in legend.nobody:
            flaw("nobody", "")
        elif classification.probability < parameters.min_score:
            flaw("low_score", "")
        else:
            seen.append(Seen(region, None, _name(classification.label, legend), classification.probability))
    if found:
        flaw("extra_masks", f"values {', '.join(map(str, sorted(found)[:5]))} have no classification: no class")
    return Seeing(seen + [Seen(region) for region in found.values()])


def _name(number: int, legend: Legend) -> str:
    return legend.names.get(number) or (CLASSES[number] if number < len(CLASSES) else str(number))
