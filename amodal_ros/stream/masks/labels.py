"""Label maps: an image whose values are objects. Masks cannot overlap, and every object has its value as id."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from amodal_ros.io import LabelError, Labelled, cut_labels
from amodal_ros.scene.specks import without_specks
from amodal_ros.stream.images import BadInput
from amodal_ros.stream.masks.base import UNSAID, Flaw, Legend, Seeing, Seen, label_image
from amodal_ros.stream.parameters import Parameters

#: Background where 0 is a class: VisionClass keeps this number for what has no label.
OUT_OF_USE = 65535


def read(
    messages: Mapping[str, Any], shape: tuple[int, int], parameters: Parameters, flaw: Flaw, legend: Legend = UNSAID
) -> Seeing:
    """A sensor_msgs Image or CompressedImage; see `masks.read` and `cut`.

    Where there is a legend and no `label_divisor`, values are its classes; one of them may be what else is background.
    """
    divisor, background = parameters.label_divisor, parameters.background
    if not divisor and background in legend.names and background not in legend.nobody:
        background = OUT_OF_USE
    labels = label_image(messages["instance_mask"], shape, parameters, flaw, background)
    labelled = cut(labels, divisor, parameters.class_names, parameters.max_objects, background)

    def number(value: int) -> int:
        return value // divisor if divisor and value >= divisor else value

    return Seeing(
        [
            Seen(i.visible, i.id, i.class_id or legend.names.get(number(i.id), ""))
            for i in labelled.instances
            if number(i.id) not in legend.nobody
        ],
        [mask for mask, value in zip(labelled.stuff, labelled.stuff_ids) if number(value) not in legend.nobody],
    )


def cut(
    labels: np.ndarray,
    label_divisor: int = 0,
    class_names: tuple[str, ...] = (),
    max_objects: int = 256,
    background: int = 0,
) -> Labelled:
    """The objects of a label map (`io.cut_labels`), in ascending order of id, and its stuff, which can hide them;
    without specks (`scene.specks`).

    Raises:
        BadInput: reason ``bad_labels`` for a negative value and for what is no label map, ``too_many_objects``.
    """
    try:
        labels = without_specks(labels, background)
    except ValueError as error:
        raise BadInput("bad_labels", str(error)) from None
    try:
        return cut_labels(labels, label_divisor, (), class_names, max_objects, background)
    except LabelError as error:
        raise BadInput(error.reason, str(error)) from None
