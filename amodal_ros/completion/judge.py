"""What is known judges the guess: which candidate counts, what of it can be, and the vote of several samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amodal_ros.completion.settings import Judgement
from amodal_ros.scene import MaskRegion, Scene


def best_candidate(
    candidates: Sequence[MaskRegion], predicted: np.ndarray, scene: Scene, i: int, judgement: Judgement
) -> tuple[int, np.ndarray]:
    """Which of the segmenter's masks of thing i counts, and every one's score = IoU(mask * K, V).

    Args:
        candidates: in frame coordinates.
        predicted: the segmenter's own estimates of their IoU, float (candidates,).
    """
    scores = np.array([scene.score(i, candidate) for candidate in candidates])
    # Known pixels judge; where several candidates explain them alike the segmenter's own opinion decides.
    worth = predicted if judgement.choice == "predicted" else scores * np.clip(predicted, 0.05, 1.0)
    return int(np.argmax(worth)), scores


def admissible(guess: MaskRegion, scene: Scene, i: int, judgement: Judgement) -> MaskRegion:
    """A guess without what cannot be: A \\ V lies within F, A contains V and hangs together with it."""
    mask = scene.masks[i]
    shape = guess
    if scene.occluders != "off":
        shape = (guess & mask) | (guess & scene.feasible(i, guess.box))
    return (shape | mask).connected_to(mask).trim() if judgement.keep_visible else shape.trim()


def majority(shapes: Sequence[MaskRegion]) -> tuple[MaskRegion, float]:
    """The pixels in more than half of the shapes, and the shapes' mean IoU with it (NaN for a single shape)."""
    if len(shapes) == 1:
        return shapes[0], float("nan")
    box = MaskRegion.union_of(shapes).box
    votes = np.sum([s.window(*box) for s in shapes], axis=0)
    most = MaskRegion.from_full(votes * 2 > len(shapes), *box[:2])
    return most, float(np.mean([s.iou(most) for s in shapes]))
