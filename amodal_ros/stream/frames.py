"""From messages to a `Scene`: the label map is cut into one mask per object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from amodal_ros.io import LabelError, Labelled, cut_labels
from amodal_ros.scene import Instance, Occluders, Scene
from amodal_ros.scene.specks import without_specks
from amodal_ros.stream.images import BadInput, depth_of, labels_of, rgb_of


def scene_of(
    messages: Mapping[str, object],
    stamp: int,
    label_divisor: int,
    class_names: Sequence[str],
    max_objects: int,
    occluders: Occluders,
) -> Scene:
    """One image with its objects.

    Args:
        messages: ``"image"`` and ``"instance_mask"``, and ``"depth"`` where it is used.
        stamp: of the image, nanoseconds.
        label_divisor, class_names, max_objects: as in `cut`.
        occluders: as in `scene.Scene`.

    Raises:
        BadInput: a message cannot be read, or the sizes differ.
    """
    image = rgb_of(messages["image"])
    labels = labels_of(messages["instance_mask"])
    _same_size("instance_mask", labels, image)
    depth = None
    if "depth" in messages:
        depth = depth_of(messages["depth"])
        _same_size("depth", depth, image)
    labelled = cut(labels, label_divisor, class_names, max_objects)
    return Scene(image, labelled.instances, labelled.stuff, depth=depth, occluders=occluders, stamp=stamp)


def cut_instances(
    labels: np.ndarray, label_divisor: int = 0, class_names: Sequence[str] = (), max_objects: int = 256
) -> tuple[Instance, ...]:
    """The objects of a label map alone: see `cut`."""
    return cut(labels, label_divisor, class_names, max_objects).instances


def cut(
    labels: np.ndarray, label_divisor: int = 0, class_names: Sequence[str] = (), max_objects: int = 256
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


def _same_size(name: str, plane: np.ndarray, image: np.ndarray) -> None:
    if plane.shape[:2] != image.shape[:2]:
        (height, width), (got_height, got_width) = image.shape[:2], plane.shape[:2]
        raise BadInput(
            "size_mismatch", f"{name}: expected the image's size {width}x{height}, got {got_width}x{got_height}"
        )
