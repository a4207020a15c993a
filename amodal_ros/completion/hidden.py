"""How probable it is, pixel by pixel, that an object goes on behind something: several signs weighed into one figure.

A segmenter is sure of what it sees in a painted picture, and the picture may be wrong. So its opinion is one sign
beside those of the masks: where the hull would close, what can hide the pixel, how far it is from what is seen. The
weights are those of a logistic regression on objects whose truth is known, synthetic and pasted ones
(``python -m training.calibrate``); no amodal label of a benchmark goes in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from amodal_ros.completion.crop import ObjectCrop
from amodal_ros.scene import MaskRegion, Scene, convex_hull
from amodal_ros.scene.calibration import logit, sigmoid, weights
from amodal_ros.scene.worth import log_size

#: The segmenter's opinion (a logit) counts up to here: beyond it is surer than it can be.
SUREST = 5.0
#: Distances from V (in units of the root of its area) below this are all the same: else every outline gets a rim.
NEAREST = 0.1
#: No pixel further from V than this (in the same units) is thought to be hidden.
FARTHEST = 3.0

#: What speaks for a pixel, in the order of the columns of `signs`.
SIGNS = (
    "constant",
    "opinion",  # the segmenter's logit on the painted picture
    "in hull",  # of V
    "opinion in hull",
    "labelled",  # a labelled thing that can be in front covers it
    "labelled in hull",
    "opinion where labelled",
    "outside",  # of the frame
    "log distance",  # from V
)


@dataclass(frozen=True)
class View:
    """What is known around one object, in crop pixels: bool arrays (r, r).

    Attributes:
        visible: V.
        feasible: F without V.
        hull: the convex hull of V.
        labelled: a labelled thing that can be in front of it.
        outside: what lies outside the frame.
    """

    visible: np.ndarray
    feasible: np.ndarray
    hull: np.ndarray
    labelled: np.ndarray
    outside: np.ndarray

    @classmethod
    def of(cls, scene: Scene, i: int, crop: ObjectCrop) -> View:
        """Of thing i of a scene."""
        mask = scene.masks[i]
        visible = crop.mask(mask)
        hiding = MaskRegion.union_of(scene.masks[j].within(*crop.box) for j in scene.in_front_of(i))
        labelled = crop.mask(hiding)
        outside = crop.mask(MaskRegion(*crop.box[:2], ~scene.inside(crop.box)))
        feasible = crop.mask(scene.feasible(i, crop.box)) & ~visible
        return cls(visible, feasible, crop.mask(convex_hull(mask)), labelled, outside)

    @cached_property
    def open(self) -> np.ndarray:
        """The pixels in question: feasible and near enough."""
        return self.feasible & (self.distance < FARTHEST)

    @cached_property
    def distance(self) -> np.ndarray:
        """From V, in units of the root of its area; float32 (r, r)."""
        pixels = cv2.distanceTransform((~self.visible).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
        return pixels / math.sqrt(max(1, np.count_nonzero(self.visible)))


def signs(view: View, logits: np.ndarray) -> np.ndarray:
    """What speaks for each pixel of `view.open`: float (pixels, len(SIGNS)).

    Args:
        logits: the segmenter's mask of the painted picture, float (r, r), positive on the object.
    """
    at = view.open
    opinion = np.clip(logits[at], -SUREST, SUREST)
    hull, labelled = view.hull[at].astype(float), view.labelled[at].astype(float)
    columns = (
        np.ones_like(opinion),
        opinion,
        hull,
        opinion * hull,
        labelled,
        labelled * hull,
        opinion * labelled,
        view.outside[at].astype(float),
        np.log(NEAREST + view.distance[at]),
    )
    return np.stack(columns, axis=1)


def hidden_probability(view: View, logits: np.ndarray) -> np.ndarray:
    """The probability that a pixel is a hidden part of the object: float32 (r, r), 0 where nothing can hide it."""
    hidden = np.zeros(view.visible.shape, np.float32)
    if view.open.any():
        hidden[view.open] = sigmoid(signs(view, logits) @ weights("hidden pixel", SIGNS))
    return hidden


def overlap(view: View, hidden: np.ndarray, answer: np.ndarray) -> float:
    """The IoU of an answer with the truth if every pixel were right about itself: E|A * answer| / E|A + answer|.

    Args:
        hidden: `hidden_probability`.
        answer: bool (r, r); V is added to it.
    """
    added = answer & ~view.visible
    seen = float(np.count_nonzero(view.visible))
    right, missed = float(hidden[added].sum()), float(hidden[~added].sum())
    return (seen + right) / (seen + np.count_nonzero(added) + missed)


def leaned(hidden: np.ndarray, lean: float) -> np.ndarray:
    """Probabilities with `lean` added to the log-odds of all that are not 0; float32 (r, r)."""
    odds = hidden / np.maximum(1e-6, 1.0 - hidden) * math.exp(lean)
    return (odds / (1.0 + odds)).astype(np.float32)


#: What tells the IoU that an answer can expect, in the order of `answer_signs`.
ANSWER_SIGNS = (
    "constant",
    "overlap",  # logit of `overlap`
    "cut",  # mean probability along the outline of V: how much of it something else draws
    "log size",  # of V, pixels
    "at edge",  # V reaches the frame's border
    "sharpness",  # of the segmenter's opinion where something can hide the object
)


def answer_signs(scene: Scene, i: int, view: View, logits: np.ndarray, hidden: np.ndarray, share: float) -> np.ndarray:
    """What tells the worth of an answer for thing i: float (len(ANSWER_SIGNS),).

    Args:
        share: the answer's `overlap`.
    """
    mask = scene.masks[i]
    ring = cv2.dilate(view.visible.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool) & ~view.visible
    near = view.open & (view.distance < 1.0)
    sharp = np.abs(2.0 * sigmoid(logits[near]) - 1.0).mean() if near.any() else 1.0
    cut = hidden[ring].mean() if ring.any() else 0.0
    return np.array([1.0, logit(share), cut, log_size(mask), float(mask.touches_edge(*scene.shape)), sharp])


def with_overlap(signs: np.ndarray, share: float) -> np.ndarray:
    """The `answer_signs` of another answer for the same thing, whose `overlap` is `share`."""
    signs = signs.copy()
    signs[ANSWER_SIGNS.index("overlap")] = logit(share)
    return signs


def expected_iou(signs: np.ndarray) -> float:
    """The IoU that an answer with these `answer_signs` can expect, in [0, 1]. It rises with the `overlap`."""
    return float(sigmoid(signs @ weights("completed IoU", ANSWER_SIGNS)))
