"""From messages to a `Frame`: the label map is cut into one mask per object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from amodal_ros.node.images import BadInput, depth_of, labels_of, rgb_of
from amodal_ros.scene import Frame, Instance, MaskRegion


def frame_of(
    messages: Mapping[str, object], stamp: int, label_divisor: int, class_names: Sequence[str], max_objects: int
) -> Frame:
    """One image with its objects.

    Args:
        messages: ``"image"`` and ``"instance_mask"``, and ``"depth"`` where it is used.
        stamp: of the image, nanoseconds.
        label_divisor, class_names, max_objects: as in `cut_instances`.

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
    return Frame(image, cut_instances(labels, label_divisor, class_names, max_objects), stamp, depth)


def cut_instances(
    labels: np.ndarray, label_divisor: int = 0, class_names: Sequence[str] = (), max_objects: int = 256
) -> tuple[Instance, ...]:
    """The objects of a label map, in ascending order of id.

    Args:
        labels: integers (height, width); 0 is background, every other value is an object's id.
        label_divisor: if > 0, value // label_divisor is the class, and its multiples are stuff and no objects.
        class_names: names by class.
        max_objects: more than this is taken for a broken label map.

    Raises:
        BadInput: reason ``bad_labels`` for a negative value, ``too_many_objects``.
    """
    labels = np.ascontiguousarray(labels)
    ids, boxes = _boxes(labels)
    if ids.size and ids[0] < 0:
        raise BadInput("bad_labels", f"label map: expected values from 0 (background) up, got {ids[0]}")
    wanted = (ids % label_divisor != 0) if label_divisor else (ids != 0)
    ids, boxes = ids[wanted], boxes[wanted]
    if ids.size > max_objects:
        raise BadInput("too_many_objects", f"label map: expected at most {max_objects} objects, got {ids.size}")
    instances = []
    for value, (x0, y0, x1, y1) in zip(ids.tolist(), boxes.tolist()):
        bits = labels[y0:y1, x0:x1] == value
        number = value // label_divisor if label_divisor else -1
        name = class_names[number] if 0 <= number < len(class_names) else ""
        instances.append(Instance(value, MaskRegion(x0, y0, bits), name))
    return tuple(instances)


def _boxes(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values other than 0, ascending, and their boxes (x0, y0, x1, y1), found over runs of equal pixels in rows.

    Sorting the few thousand runs is far quicker than sorting the pixels.
    """
    height, width = labels.shape
    begins = np.ones((height, width), bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    values = labels.reshape(-1)[starts]
    stops = np.append(starts[1:], labels.size)
    kept = values != 0
    starts, stops, values = starts[kept], stops[kept], values[kept]
    if not values.size:
        return values, np.zeros((0, 4), int)
    order = np.argsort(values, kind="stable")
    starts, stops, values = starts[order], stops[order], values[order]
    first = np.flatnonzero(np.append(True, values[1:] != values[:-1]))
    rows, columns = np.divmod(starts, width)
    boxes = np.stack(
        [
            np.minimum.reduceat(columns, first),
            np.minimum.reduceat(rows, first),
            np.maximum.reduceat(columns + stops - starts, first),
            np.maximum.reduceat(rows, first) + 1,
        ],
        axis=1,
    )
    return values[first], boxes


def _same_size(name: str, plane: np.ndarray, image: np.ndarray) -> None:
    if plane.shape[:2] != image.shape[:2]:
        (height, width), (got_height, got_width) = image.shape[:2], plane.shape[:2]
        raise BadInput(
            "size_mismatch", f"{name}: expected the image's size {width}x{height}, got {got_width}x{got_height}"
        )
