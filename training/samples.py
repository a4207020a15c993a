"""Training samples from the pools: whole objects as the pipeline shows them, and plain images with any hole."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from amodal_ros.completion.area import inpainting_area
from amodal_ros.completion.condition import background_pixels, condition_image
from amodal_ros.completion.crop import ObjectCrop
from amodal_ros.models import load_profile
from amodal_ros.scene import MaskRegion
from amodal_ros.settings.readings import Black, Contrast, Histogram
from training.holes import random_hole
from training.occluders import random_hiding, random_thing
from training.pool import Crop, Pools

#: How the shipped model is used; crops, condition images and areas are made by the pipeline's own functions.
SETTINGS = load_profile("embedded").settings
NOTHING_HIDDEN = 0.3  # of the objects: the right answer is what is visible
ANYTHING_HIDES = 0.5  # of the objects: the area is not bound to things in front
BEYOND_FRAME = 0.1  # of the objects: what hides them counts as outside the frame
SLOPPY, FEW_PIXELS, UNSHARP = 0.36, 0.25, 0.2  # shares of rough outlines, of small objects magnified, of bad optics
SMALLEST = 60  # pixels of the pool that have to be visible


class Sample(NamedTuple):
    """One object to complete and its answer, in crop pixels.

    Attributes:
        image: (S, S, 3) float32 in about [-1, 1], the condition image (Eq. 8) with the hidden part shown.
        hole: (S, S) bool, the area M (Eq. 10), where the image is to be painted.
        whole, visible: (S, S) bool, the object in `image`, and V.
        feasible, outside: (S, S) bool, where hidden parts can lie; what lies outside the frame.
    """

    image: np.ndarray
    hole: np.ndarray
    whole: np.ndarray
    visible: np.ndarray
    feasible: np.ndarray
    outside: np.ndarray


def object_sample(pools: Pools, rng: np.random.Generator, side: int) -> Sample:
    """A whole object, something put in front of it or nothing, cut and shown as the pipeline would cut and show it."""
    image, thing, hidden, visible = _object_and_hiding(pools, rng)
    if rng.random() < FEW_PIXELS:
        few = int(rng.uniform(24, 100))
        small = cv2.resize(image, (few, few), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, thing.shape, interpolation=cv2.INTER_LINEAR)
    region = MaskRegion.from_full(visible)
    crop = ObjectCrop.around(region, SETTINGS.crop.margin, side)
    v = crop.mask(region)
    whole = _cut(thing | visible, crop) | v
    front = _cut(hidden, crop) & ~v
    feasible, outside = _surroundings(pools, rng, crop, thing, v, front)
    pixels = lit(crop.image(image).astype(np.float32) / 255, rng)
    if rng.random() < UNSHARP:
        pixels = unsharp(pixels, rng)
    signed = pixels * 2 - 1
    hole = inpainting_area(v, feasible, outside, SETTINGS)
    shown = v | (whole & hole)  # at use nothing beyond the area is the object
    return Sample(condition_image(shown, signed, _background(signed, v, rng)), hole, shown, v, feasible, outside)


def plain_image(pools: Pools, rng: np.random.Generator, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Any crop as it is: (side, side, 3) float32 RGB in [0, 1] and visible instances (side, side) uint8."""
    image, labels = pools.crop(rng)
    part = int(rng.integers(min(side, len(labels)), len(labels) + 1))
    y, x = rng.integers(0, len(labels) - part + 1, 2)
    image, labels = image[y : y + part, x : x + part], labels[y : y + part, x : x + part]
    image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    labels = cv2.resize(labels, (side, side), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return lit(image, rng), np.ascontiguousarray(labels)


def hole_for(labels: np.ndarray, pools: Pools, rng: np.random.Generator) -> np.ndarray:
    """A random hole for an image with these visible instances; (S, S) bool, True where it is to be painted."""
    return random_hole(rng, labels, cv2.resize(pools.crop(rng)[1], labels.shape, interpolation=cv2.INTER_NEAREST))


def unsharp(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image in [0, 1], blurred or noisy or both or as it is; the same shape and range."""
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.5))
    if rng.random() < 0.4:
        image = image + rng.normal(0, rng.uniform(0.01, 0.08), image.shape).astype(np.float32)
    return image.clip(0, 1)


def lit(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Another exposure and white balance, in [0, 1]."""
    gain = rng.uniform(0.75, 1.25) * rng.uniform(0.92, 1.08, 3)
    return np.ascontiguousarray((image * gain.astype(np.float32)).clip(0, 1))


def to_model(images: list[np.ndarray]) -> np.ndarray:
    """(S, S, 3) in [-1, 1] each -> (B, 3, S, S) float32."""
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2), np.float32)


def _object_and_hiding(pools: Pools, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Image, whole object, what is in front of it, and what is left to be seen, in the pool's pixels."""
    while True:
        image, labels = _bent(*pools.crop(rng, whole=True), rng)
        thing, hidden = labels == 1, np.zeros(labels.shape, bool)
        if thing.sum() < 2 * SMALLEST:
            continue
        if rng.random() > NOTHING_HIDDEN:
            hiding = random_hiding(rng, thing, _another(pools, rng))
            if hiding is None:
                continue
            hidden = hiding
        visible = thing & ~hidden
        if rng.random() < SLOPPY:
            visible = _roughened(visible, rng)
        if visible.sum() >= SMALLEST:
            return image, thing, hidden, visible


def _surroundings(
    pools: Pools, rng: np.random.Generator, crop: ObjectCrop, thing: np.ndarray, v: np.ndarray, front: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Where hidden parts can lie, and what of it is outside the frame: as `scene.Scene` would have it."""
    chance, nowhere = rng.random(), np.zeros_like(v)
    if chance < ANYTHING_HIDES:
        return ~v, nowhere
    beside = [random_thing(rng, thing, _another(pools, rng)) & ~thing for _ in range(rng.integers(3))]
    feasible = front | (np.any([_cut(m, crop) for m in beside], 0) & ~v if beside else nowhere)
    outside = front if chance < ANYTHING_HIDES + BEYOND_FRAME else nowhere
    return (feasible if feasible.any() else ~v), outside


def _another(pools: Pools, rng: np.random.Generator) -> np.ndarray:
    return pools.crop(rng, whole=True)[1] == 1


def _cut(mask: np.ndarray, crop: ObjectCrop) -> np.ndarray:
    return crop.mask(MaskRegion.from_full(mask))


def _bent(image: np.ndarray, labels: np.ndarray, rng: np.random.Generator) -> Crop:
    """Mirrored, squeezed or widened by up to a fifth, turned a little."""
    across = np.exp(rng.uniform(-0.22, 0.22)) if rng.random() < 0.6 else 1.0
    across *= -1 if rng.random() < 0.5 else 1
    angle = np.deg2rad(rng.normal(0, 4)) if rng.random() < 0.4 else 0.0
    side = len(labels)
    middle = np.full(2, side / 2 - 0.5)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([across, 1])
    place = np.column_stack([turn, middle - turn @ middle])
    bent = cv2.warpAffine(image, place, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return bent, cv2.warpAffine(labels, place, (side, side), flags=cv2.INTER_NEAREST)


def _roughened(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Its outline off by a pixel or two, as segmenters and annotators leave it."""
    soft = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), rng.uniform(0.5, 2.0))
    return soft > 0.5 + np.clip(rng.normal(0, 0.15), -0.35, 0.35)


def _background(signed: np.ndarray, visible: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The pipeline's backgrounds, mostly the one that the model ships with; (S, S, 3) in [-1, 1]."""
    chance, side = rng.random(), len(signed)
    if chance < 0.95:
        condition = Contrast() if chance < 0.8 else Histogram() if chance < 0.9 else Black()
        return background_pixels(signed, visible, condition, rng)
    noise = rng.uniform(-1, 1, 3) + rng.normal(0, 1, signed.shape) * rng.uniform(0, 0.8)
    blur = float(np.exp(rng.uniform(0, np.log(side / 6))))
    return cv2.GaussianBlur(noise.astype(np.float32), (0, 0), blur).clip(-1, 1)
