"""What is known judges the guess: which of the segmenter's masks counts, what of it can be, which answer is best."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from amodal_ros.completion.crop import ObjectCrop
from amodal_ros.completion.hidden import (
    View,
    answer_signs,
    expected_iou,
    hidden_probability,
    leaned,
    overlap,
    with_overlap,
)
from amodal_ros.scene import MaskRegion, Scene
from amodal_ros.scene.order import entry
from amodal_ros.settings.method import Judgement

#: What an answer leans to, as log-odds on every pixel when candidates are compared. Where anything may hide an object
#: most of what is hidden has no label and the signs are weak: leaning to the hidden side costs whole objects little and
#: gives occluded ones more. Where occluders are labelled the signs are strong and a lean to what is seen is right.
#: Chosen with a look at the images of docs/benchmarks.md ("The judge"), which says what it trades.
LEAN = {"instances": -0.4, "any": 0.4}
#: Pixels that are hidden with more than this probability are a candidate.
LIKELY = (0.25, 0.35, 0.5, 0.65)


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


@dataclass(frozen=True)
class Verdict:
    """What is answered for one object, and why.

    Attributes:
        amodal: in frame coordinates.
        kind: which candidate it is: one of `visible`, `hull`, `completion`, or `likely` (what is probably hidden).
        expected_iou: with the truth, in [0, 1].
        hull_iou: the same for the bounded hull.
        signs: what told it (`hidden.ANSWER_SIGNS`).
        scene, crop, logits: what it was told from.
        view, hidden: what was known, and how probable it is that a pixel is hidden, float32 (r, r).
    """

    amodal: MaskRegion
    kind: str
    expected_iou: float
    hull_iou: float
    signs: np.ndarray
    scene: Scene
    crop: ObjectCrop
    logits: np.ndarray
    view: View
    hidden: np.ndarray


def judged(
    scene: Scene, i: int, crop: ObjectCrop, logits: np.ndarray, judgement: Judgement, view: View | None = None
) -> Verdict:
    """The best answer for thing i: nothing is hidden, the bounded hull, the completion, or what is probably hidden.

    Every candidate has an expected IoU, which is compared; only what was painted counts where `judgement` says so.

    Args:
        logits: the segmenter's mask of what was painted, the mean over samples, float (r, r), positive on the object.
        view: what is known around it, where the caller has it already.
    """
    view = view or View.of(scene, i, crop)
    hidden = hidden_probability(view, logits)
    shapes = {"completion": admissible(crop.region(logits), scene, i, judgement)}
    shapes |= {"visible": scene.masks[i], "hull": scene.bounded_hull(i)}
    cells: dict[str | float, np.ndarray] = {kind: crop.mask(shape) for kind, shape in shapes.items()}
    # What is likely stays in crop pixels until it is chosen.
    cells |= {threshold: _connected(hidden > threshold, view.visible) for threshold in LIKELY}
    leaning = leaned(hidden, LEAN["any" if scene.occluders in ("any", "off") else "instances"])
    eligible = cells if judgement.answer == "best" else ("completion",)
    best = max(eligible, key=lambda kind: overlap(view, leaning, cells[kind]))
    if isinstance(best, float):
        kind, amodal = "likely", admissible(crop.region(hidden - best), scene, i, judgement)
    else:
        kind, amodal = best, shapes[best]
    told = answer_signs(scene, i, view, logits, hidden, overlap(view, hidden, cells[best]))
    of_hull = with_overlap(told, overlap(view, hidden, cells["hull"]))
    return Verdict(amodal, kind, expected_iou(told), expected_iou(of_hull), told, scene, crop, logits, view, hidden)


def _connected(added: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """V and what hangs together with it, bool (r, r)."""
    return MaskRegion.from_full(added | visible).connected_to(MaskRegion.from_full(visible)).full(*visible.shape)


def agreement_of(shapes: Sequence[MaskRegion]) -> float:
    """Mean IoU of samples with their majority, in [0, 1]; NaN for a single one."""
    if len(shapes) == 1:
        return float("nan")
    box = MaskRegion.union_of(shapes).box
    votes = np.sum([s.window(*box) for s in shapes], axis=0)
    most = MaskRegion.from_full(votes * 2 > len(shapes), *box[:2])
    return float(np.mean([s.iou(most) for s in shapes]))


def entries(scene: Scene, guesses: Mapping[int, MaskRegion]) -> dict[tuple[int, int], float]:
    """What the completions of one image say about who is in front, by pair of things that touch (`scene.order.entry`).

    Args:
        guesses: what the model painted, by position, not cut to what is feasible.
    """
    touching = np.isfinite(scene.order.by_masks)
    return {
        (i, j): entry(guesses[i].overlap(scene.masks[j]), guesses[j].overlap(scene.masks[i]))
        for i, j in itertools.combinations(sorted(guesses), 2)
        if touching[j, i]
    }
