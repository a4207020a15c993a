"""Label maps: an image whose values are objects. Masks cannot overlap, and every object has its value as id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from amodal_ros.io import LabelError, Labelled, cut_labels
from amodal_ros.scene.specks import without_specks
from amodal_ros.stream.images import BadInput
from amodal_ros.stream.masks.base import Flaw, Seeing, Seen, label_image
from amodal_ros.stream.parameters import Parameters


def read(messages: Mapping[str, Any], shape: tuple[int, int], parameters: Parameters, flaw: Flaw) -> Seeing:
    """A sensor_msgs Image or CompressedImage; see `masks.read` and `cut`."""
    labels = label_image(messages["instance_mask"], shape, parameters, flaw)
    labelled = cut(labels, parameters.label_divisor, parameters.class_names, parameters.max_objects)
    return Seeing([Seen(i.visible, i.id, i.class_id) for i in labelled.instances], list(labelled.stuff))


def cut(
    labels: np.ndarray, label_divisor: int = 0, class_names: tuple[str, ...] = (), max_objects: int = 256
) -> Labelled:
    """The objects of a label map (`io.cut_labels`), in ascending order of id, and its stuff, which can hide them;
    without specks (`scene.specks`).

    Raises:
        BadInput: reason ``bad_labels`` for a negative value and for what is no label map, ``too_many_objects``.
    """
    try:
        labels = without_specks(labels)
    except ValueError as error:
        raise BadInput("bad_labels", str(error)) from None
    try:
        return cut_labels(labels, label_divisor, (), class_names, max_objects)
    except LabelError as error:
        raise BadInput(error.reason, str(error)) from None
