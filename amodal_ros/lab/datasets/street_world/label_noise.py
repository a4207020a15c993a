"""Visible masks as a real segmenter would give them: ragged, with gaps, leaking, sometimes merged with a neighbour."""

from __future__ import annotations

import cv2
import numpy as np

from amodal_ros.scene.mask import MaskRegion

HIGHEST = 3
GRAIN = 5  # pixels between independent wobbles of an outline
LEAK_CHANCE = (0.0, 0.0, 0.25, 0.4)  # per object, by level
GAP_CHANCE = (0.0, 0.0, 0.5, 0.8)
MERGE_CHANCE = (0.0, 0.0, 0.0, 0.8)  # per frame


def roughen(
    masks: dict[int, MaskRegion], level: int, shape: tuple[int, int], rng: np.random.Generator
) -> dict[int, MaskRegion]:
    """Noisy versions of disjoint masks; they stay disjoint and inside the frame.

    Level 1 wobbles the outline by one or two pixels; 2 wobbles it more, cuts gaps and lets some masks leak into what is
    beside them; 3 does all of it more strongly and may merge two neighbours: the larger takes the smaller's pixels.

    Args:
        masks: visible masks by id, nearest first; where two noisy masks claim a pixel, the nearer has it.
        level: 0 (unchanged) to 3.
        shape: (height, width) of the frame.

    Returns:
        masks by id in the same order; an id is missing when it was merged into a neighbour or nothing of it was left.

    Raises:
        ValueError: the level is not 0, 1, 2 or 3.
    """
    if level not in range(HIGHEST + 1):
        raise ValueError(f"noise: expected a level from 0 to {HIGHEST}, got {level}")
    if level == 0:
        return dict(masks)
    masks = {id: mask for id, mask in masks.items() if mask.area}
    if rng.random() < MERGE_CHANCE[level]:
        masks = _merge(masks, rng)
    taken, noisy = np.zeros(shape, bool), {}
    for id, mask in masks.items():
        wobbled = _wobble(mask, level, rng)
        if rng.random() < LEAK_CHANCE[level]:
            wobbled |= _blob(mask, rng, 0.12 + 0.06 * level)
        if rng.random() < GAP_CHANCE[level]:
            wobbled -= _blob(mask, rng, 0.04 + 0.03 * level)
        wobbled = wobbled.clip(*shape)
        x, y, w, h = wobbled.box
        free = wobbled.bits & ~taken[y : y + h, x : x + w]
        taken[y : y + h, x : x + w] |= free
        if free.any():
            noisy[id] = MaskRegion.from_full(free, x, y)
    return noisy


def _wobble(mask: MaskRegion, level: int, rng: np.random.Generator) -> MaskRegion:
    """Blur, add smooth noise, threshold: thin parts get lost, as they do in a low-resolution mask head."""
    sigma = min(0.7 * level, 0.06 * np.sqrt(mask.area))
    pad = int(np.ceil(3 * sigma)) + 1
    soft = cv2.GaussianBlur(np.pad(mask.bits, pad).astype(np.float32), (0, 0), max(sigma, 0.3))
    height, width = soft.shape
    coarse = rng.standard_normal((height // GRAIN + 2, width // GRAIN + 2), np.float32)
    noise = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    shift = np.clip(0.25 * noise, -0.45, 0.45)  # only pixels near the outline can change
    return MaskRegion.from_full(soft + shift > 0.5, mask.x - pad, mask.y - pad)


def _blob(mask: MaskRegion, rng: np.random.Generator, size: float) -> MaskRegion:
    """A lump on the mask's outline, `size` of the square root of its area in radius."""
    edge = mask - mask.grow(-1)
    ys, xs = np.nonzero(edge.bits)
    k = int(rng.integers(len(ys)))
    radius = max(1.0, size * np.sqrt(mask.area) * rng.uniform(0.6, 1.2))
    axes = (max(1, round(radius * rng.uniform(0.7, 1.4))), max(1, round(radius)))
    reach = max(axes) + 1
    canvas = np.zeros((2 * reach + 1, 2 * reach + 1), np.uint8)
    cv2.ellipse(canvas, (reach, reach), axes, float(rng.integers(180)), 0, 360, 1, cv2.FILLED)
    return MaskRegion.from_full(canvas, edge.x + int(xs[k]) - reach, edge.y + int(ys[k]) - reach)


def _merge(masks: dict[int, MaskRegion], rng: np.random.Generator) -> dict[int, MaskRegion]:
    ids = list(masks)
    grown = {id: masks[id].grow(2) for id in ids}
    pairs = [(a, b) for i, a in enumerate(ids) for b in ids[i + 1 :] if grown[a].overlap(masks[b]) > 8]
    if not pairs:
        return masks
    a, b = pairs[int(rng.integers(len(pairs)))]
    kept, gone = (a, b) if masks[a].area >= masks[b].area else (b, a)
    return {id: mask | masks[gone] if id == kept else mask for id, mask in masks.items() if id != gone}
