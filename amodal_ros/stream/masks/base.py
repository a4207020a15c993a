"""The seam between messages and scenes: `Seen` instances, and what is common to all that show them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np

from amodal_ros.scene import MaskRegion
from amodal_ros.stream.images import BadInput, labels_of
from amodal_ros.stream.parameters import Parameters

#: Told (reason, text) of a part of a message that cannot be used, or not as it is; an empty text is counted only.
Flaw = Callable[[str, str], None]


@dataclass(frozen=True)
class Seen:
    """One instance as its segmenter says.

    Attributes:
        mask: its visible pixels inside the image; instances may overlap.
        id: as published, which may be text; None where there is none.
        class_id: the class's name, empty if unknown.
        score: the detector's, usually in [0, 1]; NaN if it gives none.
    """

    mask: MaskRegion
    id: int | str | None = None
    class_id: str = ""
    score: float = math.nan


@dataclass(frozen=True)
class Seeing:
    """What a message shows: instances, and stuff that is no object but can hide them."""

    instances: list[Seen] = field(default_factory=list)
    stuff: list[MaskRegion] = field(default_factory=list)


@dataclass(frozen=True)
class Legend:
    """What the numbers of classes mean, as the segmenter says.

    Attributes:
        names: by number.
        nobody: classes that are background, or of which nothing is known.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    nobody: frozenset[int] = frozenset()


#: Nothing was said.
UNSAID = Legend()


class Reader(Protocol):
    """A kind of message, read; the arguments are those of `masks.read`."""

    def __call__(
        self, messages: Mapping[str, Any], shape: tuple[int, int], parameters: Parameters, flaw: Flaw, legend: Legend
    ) -> Seeing: ...


@dataclass(frozen=True)
class Placing:
    """How a mask of another size lies on the image: image pixel (c, r) shows the mask's pixel that contains
    (left + (c + 0.5) * across, top + (r + 0.5) * down)."""

    across: float
    down: float
    left: float = 0.0
    top: float = 0.0

    def plane(self, values: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
        """Values (h, w) at every pixel of an image of `shape`, by nearest neighbour."""
        rows = np.floor(self.top + (np.arange(shape[0]) + 0.5) * self.down).astype(int)
        columns = np.floor(self.left + (np.arange(shape[1]) + 0.5) * self.across).astype(int)
        return values[rows.clip(0, values.shape[0] - 1)[:, None], columns.clip(0, values.shape[1] - 1)]

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Points (n, 2) of the mask as points of the image; pixels' centres have whole coordinates."""
        return (xy + 0.5 - (self.left, self.top)) / (self.across, self.down) - 0.5


def placing(size: tuple[int, int], shape: tuple[int, int], how: str, what: str) -> Placing | None:
    """How a mask of `size` lies on an image of `shape`, both (height, width); None where they are the same.

    Args:
        how: the parameter ``mask_fit``.

    Raises:
        BadInput: reason ``size_mismatch`` where `how` does not allow it.
    """
    if size == shape:
        return None
    (height, width), (image_height, image_width) = size, shape
    same_aspect = abs(width - image_width * height / image_height) < 1.0
    same_aspect |= abs(height - image_height * width / image_width) < 1.0
    if not height or not width or how == "off" or (how == "auto" and not same_aspect):
        raise BadInput(
            "size_mismatch",
            f"{what}: expected the image's size {image_width}x{image_height}, got {width}x{height}"
            + ("" if how == "off" or same_aspect else "; mask_fit says whether it was stretched or letterboxed"),
        )
    if how == "letterbox":
        scale = min(width / image_width, height / image_height)
        return Placing(scale, scale, (width - scale * image_width) / 2, (height - scale * image_height) / 2)
    return Placing(width / image_width, height / image_height)


def fitted(values: np.ndarray, shape: tuple[int, int], how: str, what: str, flaw: Flaw) -> np.ndarray:
    """A mask or label map brought to the image's size: `placing`, counted as ``resized``."""
    place = placing(values.shape[:2], shape, how, what)
    if place is None:
        return values
    flaw("resized", "")
    return place.plane(values, shape)


def label_image(
    message: Any, shape: tuple[int, int], parameters: Parameters, flaw: Flaw, background: int = 0
) -> np.ndarray:
    """An image message as integers of the image's size; the values to ignore are `background`."""
    labels = labels_of(message)
    if background > np.iinfo(labels.dtype).max:
        labels = labels.astype(np.int32)
    for value in parameters.ignore_labels:
        if value not in (-1, background) and (ignored := labels == value).any():
            labels = np.where(ignored, labels.dtype.type(background), labels)
    return fitted(labels, shape, parameters.mask_fit, "instance_mask", flaw)


def region_of(values: np.ndarray) -> MaskRegion:
    """The pixels of a mask image, (height, width), that are not 0, cut to their box."""
    if values.dtype != np.uint8:
        return MaskRegion.from_full(values)
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(values))
    return MaskRegion(left, top, values[top : top + height, left : left + width] != 0)


def class_name(number: int, parameters: Parameters, legend: Legend) -> str:
    """The name of a class: the parameter ``class_names`` goes before what the segmenter says; empty if neither does."""
    own = parameters.class_names[number] if 0 <= number < len(parameters.class_names) else ""
    return own or legend.names.get(number, "")
