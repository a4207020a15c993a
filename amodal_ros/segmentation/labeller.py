"""From images to label maps with ids that last, which the node's `masks: labels` reads."""

from __future__ import annotations

from collections.abc import Collection
from types import SimpleNamespace
from typing import Protocol

import numpy as np

from amodal_ros.live.identity import Identities
from amodal_ros.live.session import LiveSession
from amodal_ros.scene import Instance, MaskRegion, Scene
from amodal_ros.stream.masks import Seen

#: A label map's value is class * DIVISOR + id, the first class being 1: values below it would be stuff.
DIVISOR = 10_000


class Segmenter(Protocol):
    """What the labeller needs of `model.InstanceSegmenter`."""

    names: list[str]

    def segment(self, image: np.ndarray, min_score: float = 0.5) -> list[Seen]: ...


class Labeller:
    """Label maps of a stream of images.

    Args:
        classes: names of those that count; empty: all.
        min_score: objects that the model is less sure of are left out.

    Raises:
        ValueError: a class that the model does not know, or a score outside [0, 1].
    """

    def __init__(self, segmenter: Segmenter, classes: Collection[str] = (), min_score: float = 0.5) -> None:
        if unknown := [name for name in classes if name not in segmenter.names]:
            raise ValueError(f"classes: the model knows {', '.join(segmenter.names)}; got {', '.join(unknown)}")
        if not 0.0 <= min_score <= 1.0:
            raise ValueError(f"min_score: expected a score in [0, 1], got {min_score!r}")
        self._segmenter, self._classes, self._min_score = segmenter, frozenset(classes), min_score
        self._identities = Identities()
        # Remembers whole shapes, by which objects are known again, without a model for completions.
        self._memory = LiveSession(SimpleNamespace(name="memory"), budget=0.0)  # type: ignore[arg-type]

    @property
    def class_names(self) -> list[str]:
        """The node's parameter ``class_names``, which goes with ``label_divisor`` `DIVISOR`."""
        return ["", *self._segmenter.names]

    def reset(self) -> None:
        """Time went back: nobody is remembered."""
        self._identities.clear()
        self._memory.reset()

    def label(self, image: np.ndarray, stamp: int) -> np.ndarray:
        """The label map of an image: int32 (height, width), 0 is background.

        Args:
            image: RGB uint8 (height, width, 3).
            stamp: nanoseconds.
        """
        seen = self._segmenter.segment(image, self._min_score)
        seen = [s for s in seen if not self._classes or s.class_id in self._classes]
        found = self._identities.identify(stamp, image, [s.mask for s in seen], [s.class_id for s in seen])
        owned = [(id, mask, one.class_id) for one, owners in zip(seen, found) for id, mask in owners]
        labels = np.zeros(image.shape[:2], np.int32)
        numbers = {name: k for k, name in enumerate(self.class_names)}
        whose: dict[int, list[MaskRegion]] = {}
        for id, mask, class_id in sorted(owned, key=lambda one: -one[1].area):  # the smaller ones on top
            whose.setdefault(id, []).append(mask)
            x, y, width, height = mask.box
            value = numbers.get(class_id, 1) * DIVISOR + (id - 1) % (DIVISOR - 1) + 1
            labels[y : y + height, x : x + width][mask.bits] = value
        things = [Instance(id, MaskRegion.union_of(masks)) for id, masks in sorted(whose.items())]
        answers = self._memory.answer(Scene(image, things, stamp=stamp))
        self._identities.learn({answer.instance.id: answer.completion.amodal for answer in answers})
        return labels
