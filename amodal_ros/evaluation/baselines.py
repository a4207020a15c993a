"""What a completion has to beat: the modal mask, its hull, the bounded hull, and a segmenter on the original image.

Each method answers one `Case`, a frame with the objects that count. Methods that look at the neighbours' masks say so
(`sees_neighbours`) and are marked in every table: the paper's method sees only the object's own mask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from amodal_ros.datasets.base import DatasetObject, Sample
from amodal_ros.scene.hull import convex_hull
from amodal_ros.scene.mask import MaskRegion
from amodal_ros.scene.occluders import Occluders, Surroundings

if TYPE_CHECKING:
    from amodal_ros.completion.segmenters import Segmenter


class Case:
    """One frame of an evaluation: which of its objects count, and what all methods share.

    Attributes:
        sample: the frame.
        objects: those that count; they go through a method together.
        depth: float32 (height, width) in metres, if it is to decide who is in front.
    """

    def __init__(self, sample: Sample, objects: Sequence[DatasetObject], use_depth: bool = False) -> None:
        self.sample = sample
        self.objects = list(objects)
        self.depth = sample.read_depth() if use_depth and sample.read_depth else None
        self._surroundings: dict[Occluders, Surroundings] = {}

    @cached_property
    def visible(self) -> list[MaskRegion]:
        return [o.visible for o in self.objects]

    @cached_property
    def context(self) -> list[MaskRegion]:
        """Visible masks of everything else that is labelled."""
        counted = {o.id for o in self.objects}
        others = [o.visible for o in self.sample.objects if o.id not in counted and o.visible]
        return [*others, *self.sample.context]

    @cached_property
    def image(self) -> np.ndarray:
        """RGB uint8 (height, width, 3), read once and only if a method asks."""
        return self.sample.read_image()

    def surroundings(self, occluders: Occluders) -> Surroundings:
        """What the masks tell about each other; object i of `objects` is mask i."""
        if occluders not in self._surroundings:
            masks = [*self.visible, *self.context]
            self._surroundings[occluders] = Surroundings(masks, self.sample.shape, occluders, self.depth)
        return self._surroundings[occluders]


@dataclass(frozen=True)
class Guess:
    """A method's amodal mask for one object, the seconds it took, and the name of its `scene.Source` if it has one."""

    mask: MaskRegion
    seconds: float
    answer: str = ""


class Method(Protocol):
    """Anything that guesses amodal masks."""

    @property
    def name(self) -> str:
        """What its column is called."""

    @property
    def sees_neighbours(self) -> bool:
        """Whether it looks at the neighbours' masks."""

    @property
    def settings(self) -> dict[str, Any]:
        """What a rerun would need to know."""

    def __call__(self, case: Case) -> list[Guess]:
        """One guess per object of the case, in order."""


@dataclass(frozen=True)
class MaskBaseline:
    """A baseline that needs no image: `guess` maps a case and an object's position to a mask."""

    name: str
    guess: Callable[[Case, int], MaskRegion]
    sees_neighbours: bool = False

    @property
    def settings(self) -> dict:
        return {}

    def __call__(self, case: Case) -> list[Guess]:
        guesses = []
        for i in range(len(case.objects)):
            started = time.perf_counter()
            mask = self.guess(case, i)
            guesses.append(Guess(mask, time.perf_counter() - started))
        return guesses


MODAL = MaskBaseline("modal", lambda case, i: case.visible[i])
HULL = MaskBaseline("hull", lambda case, i: convex_hull(case.visible[i]))
BOUNDED_HULL = MaskBaseline(
    "bounded_hull", lambda case, i: case.surroundings("instances").bounded_hull(i), sees_neighbours=True
)
#: The bounded hull that lets unlabelled pixels hide things too; fairer where not everything is labelled.
BOUNDED_HULL_ANY = MaskBaseline(
    "bounded_hull_any", lambda case, i: case.surroundings("any").bounded_hull(i), sees_neighbours=True
)
BASELINES = (MODAL, HULL, BOUNDED_HULL, BOUNDED_HULL_ANY)


class SegmenterBaseline:
    """A promptable segmenter as modal baseline: points drawn from V on the original image (the paper's SAM and SAM 2).

    The mask with the best predicted IoU counts.

    Args:
        segmenter: loaded by `completion.segmenters.load_segmenter`.
        points: how many are drawn from V; nine in the paper.
        seed: fixes the draw.
    """

    sees_neighbours = False

    def __init__(self, segmenter: Segmenter, points: int = 9, seed: int = 0) -> None:
        self.name = segmenter.kind
        self.settings = {"points": points, "seed": seed}
        self._segmenter = segmenter

    def __call__(self, case: Case) -> list[Guess]:
        import torch

        image = torch.from_numpy(case.image).permute(2, 0, 1)[None].float() / 127.5 - 1
        guesses = []
        for visible in case.visible:
            started = time.perf_counter()
            with torch.inference_mode():
                points = torch.from_numpy(self._draw(visible))[None]
                labels = torch.ones(points.shape[:2], dtype=torch.int64)
                logits, predicted = self._segmenter.segment(image, points, labels)
            best = logits[0, int(predicted[0].argmax())].cpu().numpy() > 0
            guesses.append(Guess(MaskRegion.from_full(best), time.perf_counter() - started))
        return guesses

    def _draw(self, visible: MaskRegion) -> np.ndarray:
        """float32 (points, 2) as (x, y); with replacement only where V has fewer pixels."""
        ys, xs = np.nonzero(visible.bits)
        count = self.settings["points"]
        rng = np.random.default_rng(self.settings["seed"])
        picked = rng.choice(len(xs), count, replace=len(xs) < count)
        return np.stack([xs[picked] + visible.x, ys[picked] + visible.y], axis=1).astype(np.float32)
