"""Label maps: every value an object, and how values part into objects, stuff and nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from amodal_ros.io.pixels import Pixels, ReadError, read_pixels, size_text
from amodal_ros.scene import Instance, MaskRegion

#: Green, yellow, blue, magenta, cyan and white as R + 256 G + 65536 B. (Red is 255, which counting reaches.)
_PURE = (0x00FF00, 0x00FFFF, 0xFF0000, 0xFF00FF, 0xFFFF00, 0xFFFFFF)
#: More objects than this are taken for something else than a label map.
MAX_OBJECTS = 1000


#: The boxes of a map's values together, in frames: more are values scattered all over it, and no objects.
MOST_ROOM = 16


class LabelError(ValueError):
    """A label map that cannot be used.

    Attributes:
        reason: ``"bad_labels"`` or ``"too_many_objects"``.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(f"label map: {text}")
        self.reason = reason


@dataclass(frozen=True)
class Labelled:
    """What a label map holds.

    Attributes:
        instances: the objects, in ascending order of id.
        stuff: one mask per value that is labelled and no object: it is not completed, but it can hide objects.
        stuff_ids: their values.
    """

    instances: tuple[Instance, ...]
    stuff: tuple[MaskRegion, ...] = ()
    stuff_ids: tuple[int, ...] = ()


def read_labels(path: Path | str, shape: tuple[int, int] | None = None, colours_are_ids: bool = False) -> np.ndarray:
    """A label map file as its ids: uint8, uint16 or int32 (height, width); 0 is background.

    Integers of 1 to 32 bits and palette indices are ids. Colours are ids as COCO's panoptic maps have them, R + 256 G +
    65536 B; where all of them look like a drawing's (pure red, the VOC palette), only if `colours_are_ids` says so.
    Equal channels are grey. Transparent pixels are background.

    Args:
        shape: the image's (height, width), which it must have.

    Raises:
        ReadError: missing, cut short, of another size, lossy, or of values that are no ids.
    """
    pixels = read_pixels(path)
    if pixels.pages > 1:
        raise ReadError(path, f"expected one label map, got a stack of {pixels.pages} pages")
    if pixels.inexact:
        raise ReadError(path, f"expected ids as they were written, but {pixels.inexact}; save label maps as PNG")
    labels = _ids(pixels, path, colours_are_ids)
    if shape is not None and labels.shape != tuple(shape):
        raise ReadError(path, f"label map of {size_text(labels.shape)}, but its image is {size_text(shape)}")
    if labels.dtype == np.int32 and labels.min() < 0:
        raise ReadError(path, f"expected ids from 0 (background) up, got {labels.min()}")
    return labels


def cut_labels(
    labels: np.ndarray,
    divisor: int = 0,
    ignore: Collection[int] = (),
    class_names: Sequence[str] = (),
    max_objects: int = MAX_OBJECTS,
    background: int = 0,
) -> Labelled:
    """The objects of a label map, and its stuff.

    Args:
        labels: integers (height, width); every value but `background` is an object's id or stuff.
        divisor: if > 0, value // divisor is the class. Values below it are stuff, as Cityscapes and MMDetection write
            it; in a map without such values its multiples are, as Panoptic-DeepLab writes it.
        ignore: values that are no objects, such as VOC's 255.
        class_names: names by class.
        max_objects: more than this, or more kinds of stuff, is taken for a broken label map.

    Raises:
        LabelError: reason ``bad_labels`` for a negative value and for values scattered all over the image,
            ``too_many_objects``.
    """
    labels = np.ascontiguousarray(labels)
    ids, boxes = _boxes(labels, background)
    if ids.size and ids[0] < 0:
        raise LabelError("bad_labels", f"expected values from 0 (background) up, got {ids[0]}")
    stuff = _is_stuff(ids, divisor) | np.isin(ids, list(ignore))
    for what, count in (("objects", np.count_nonzero(~stuff)), ("kinds of stuff", np.count_nonzero(stuff))):
        if count > max_objects:
            raise LabelError("too_many_objects", f"expected at most {max_objects} {what}, got {count}")
    room = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1).sum() / max(1, labels.size)
    if room > MOST_ROOM:
        raise LabelError(
            "bad_labels",
            f"expected objects that lie together, but the boxes of its {ids.size} values cover the image {room:.0f} "
            f"times (at most {MOST_ROOM}): is it a camera image or full of noise?",
        )
    instances, hiding = [], []
    for value, (x0, y0, x1, y1), is_stuff in zip(ids.tolist(), boxes.tolist(), stuff.tolist()):
        region = MaskRegion(x0, y0, labels[y0:y1, x0:x1] == value)
        number = value // divisor if divisor else -1
        name = class_names[number] if 0 <= number < len(class_names) else ""
        if is_stuff:
            hiding.append(region)
        else:
            instances.append(Instance(value, region, name))
    return Labelled(tuple(instances), tuple(hiding), tuple(ids[stuff].tolist()))


def _is_stuff(ids: np.ndarray, divisor: int) -> np.ndarray:
    if not divisor:
        return np.zeros(ids.shape, bool)
    below = ids < divisor
    return below if below.any() else ids % divisor == 0


def _ids(pixels: Pixels, path: Path | str, colours_are_ids: bool) -> np.ndarray:
    values = pixels.values
    if values.ndim == 3:
        values = _colour_ids(values, path, colours_are_ids)
    if values.dtype not in (np.uint8, np.uint16, np.int32):
        raise ReadError(path, f"expected a label map of integers or colours, got {values.dtype}")
    if pixels.alpha is not None:
        if not np.isin(pixels.alpha, (0, 255)).all():
            raise ReadError(path, "expected a label map, got half transparent pixels")
        values = np.where(pixels.alpha == 0, values.dtype.type(0), values)
    return values


def _colour_ids(colours: np.ndarray, path: Path | str, colours_are_ids: bool) -> np.ndarray:
    red, green, blue = np.moveaxis(colours, 2, 0)
    if np.array_equal(red, green) and np.array_equal(green, blue):
        return red
    ids = red.astype(np.int32) + 256 * green.astype(np.int32) + 65536 * blue.astype(np.int32)
    if not colours_are_ids and _drawn(np.unique(ids)):
        raise ReadError(
            path,
            "expected ids, got what looks like a drawing: its colours could be classes, or objects. If every colour is "
            "one object, say --colours-are-ids (id = R + 256 G + 65536 B); else give a label map of integers",
        )
    return ids


def _drawn(ids: np.ndarray) -> bool:
    """Whether colours are ones that drawings are made of: all of VOC's palette, or one of them pure, as counted ids
    never get to be."""
    channels = np.stack([ids & 255, ids >> 8 & 255, ids >> 16])
    return bool(((channels % 32 == 0) | (channels == 255)).all() or np.isin(ids, _PURE).any())


def _boxes(labels: np.ndarray, background: int) -> tuple[np.ndarray, np.ndarray]:
    """Values other than the background, ascending, and their boxes (x0, y0, x1, y1).

    They are found over runs of equal pixels in rows: sorting the few thousand runs is far quicker than sorting the
    pixels.
    """
    height, width = labels.shape
    begins = np.ones((height, width), bool)
    np.not_equal(labels[:, 1:], labels[:, :-1], out=begins[:, 1:])
    starts = np.flatnonzero(begins)
    values = labels.reshape(-1)[starts]
    stops = np.append(starts[1:], labels.size)
    kept = values != background
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
