"""What a completion has to beat: the modal mask, its hull, the bounded hull, and a segmenter on the original image.

Each method answers for some things of a `Scene`, those that count. Methods that look at the neighbours' masks say so
(`sees_neighbours`) and are marked in every table: the paper's method sees only the object's own mask.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from amodal_ros.lab.datasets.base import Sample
from amodal_ros.scene import Instance, MaskRegion, Occluders, Scene, convex_hull

if TYPE_CHECKING:
    from amodal_ros.completion.segmenters import Segmenter


def scene_of(sample: Sample, use_depth: bool = False) -> Scene:
    """A data set's frame: its objects are the things, whatever else is labelled is stuff. The image is read on demand.

    Args:
        use_depth: let the data set's depth, if there is one, tell who is in front.
    """
    things = [Instance(k + 1, thing.visible, thing.class_id) for k, thing in enumerate(sample.objects)]
    depth = sample.read_depth() if use_depth and sample.read_depth else None
    return Scene(sample.read_image, things, sample.context, depth=depth, shape=sample.shape)


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

    def __call__(self, scene: Scene, which: Sequence[int]) -> list[Guess]:
        """One guess per thing at these positions, in order."""


@dataclass(frozen=True)
class MaskBaseline:
    """A baseline that needs no image: `guess` maps a scene, where `occluders` can hide, and a position to a mask."""

    name: str
    guess: Callable[[Scene, int], MaskRegion]
    occluders: Occluders = "off"

    @property
    def settings(self) -> dict:
        return {}

    @property
    def sees_neighbours(self) -> bool:
        return self.occluders != "off"

    def __call__(self, scene: Scene, which: Sequence[int]) -> list[Guess]:
        guesses, scene = [], scene.replace(occluders=self.occluders)
        for i in which:
            started = time.perf_counter()
            mask = self.guess(scene, i)
            guesses.append(Guess(mask, time.perf_counter() - started))
        return guesses


MODAL = MaskBaseline("modal", lambda scene, i: scene.masks[i])
HULL = MaskBaseline("hull", lambda scene, i: convex_hull(scene.masks[i]))
BOUNDED_HULL = MaskBaseline("bounded_hull", lambda scene, i: scene.bounded_hull(i), "instances")
#: The bounded hull that lets unlabelled pixels hide things too; fairer where not everything is labelled.
BOUNDED_HULL_ANY = MaskBaseline("bounded_hull_any", lambda scene, i: scene.bounded_hull(i), "any")
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

    def __call__(self, scene: Scene, which: Sequence[int]) -> list[Guess]:
        import torch

        image = torch.from_numpy(scene.image).permute(2, 0, 1)[None].float() / 127.5 - 1
        guesses = []
        for visible in (scene.masks[i] for i in which):
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
