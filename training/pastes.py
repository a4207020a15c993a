"""Real objects pasted over each other: images with exact amodal truth, made of objects that were photographed whole.

A folder of objects has ``<source>/NNNNN.jpg`` crops with ``NNNNN.png`` label maps (1 is the whole object, 2 and up are
other labelled instances). No amodal label of a benchmark is used: the truth of a pasted object is the object itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from amodal_ros.scene.mask import MaskRegion

#: Shares of the images: nothing is pasted, a thing beside the object, else over it.
UNTOUCHED, BESIDE = 0.25, 0.2
#: Of what is pasted over an object, so much carries a label.
LABELLED = 0.75
#: Share of the images whose frame cuts the object.
CUT = 0.15
#: Softness of a pasted outline (pixels).
SEAM = 0.7


@dataclass(frozen=True)
class Cutout:
    """A whole object: RGB uint8 (height, width, 3), its mask and the label map around it, (height, width)."""

    image: np.ndarray
    labels: np.ndarray

    @property
    def mask(self) -> np.ndarray:
        return self.labels == 1


@dataclass(frozen=True)
class Paste:
    """One image with truth.

    Attributes:
        image: RGB uint8 (height, width, 3).
        visible: masks of everything labelled, inside the frame; the first `len(amodal)` have truth.
        amodal: the whole objects; may leave the frame.
    """

    image: np.ndarray
    visible: tuple[MaskRegion, ...]
    amodal: tuple[MaskRegion, ...]


def object_files(folder: Path) -> list[Path]:
    """Label maps of all objects with a mask, in a fixed order.

    Raises:
        FileNotFoundError: there is none.
    """
    files = sorted(folder.glob("*/*.png"))
    if not files:
        raise FileNotFoundError(f"{folder}: expected <source>/NNNNN.png label maps beside .jpg crops")
    return files


def read_cutout(file: Path) -> Cutout:
    """The object of one label map and its image."""
    image = cv2.imread(str(file.with_suffix(".jpg")))[..., ::-1]
    return Cutout(np.ascontiguousarray(image), cv2.imread(str(file), cv2.IMREAD_UNCHANGED))


def paste(files: Sequence[Path], rng: np.random.Generator) -> Paste:
    """An object in its own surroundings, and often another one before or beside it; 1 to 2.5 times enlarged.

    Args:
        files: of `object_files`; two are drawn.
    """
    base = read_cutout(_drawn(files, rng))
    image, labels = _enlarged(base, rng.uniform(1.0, 2.5))
    if rng.random() < 0.5:
        image, labels = image[:, ::-1].copy(), labels[:, ::-1].copy()
    whole = MaskRegion.from_full(labels == 1)
    others = [MaskRegion.from_full(labels == k) for k in np.unique(labels) if k > 1]
    kind = rng.random()
    amodal, in_front, labelled = [whole], [], True
    if kind >= UNTOUCHED:
        thing = read_cutout(_drawn(files, rng))
        cut, at = _placed(thing, labels == 1, kind < UNTOUCHED + BESIDE, rng)
        image = _over(image, cut, at)
        in_front = [MaskRegion.from_full(cut.mask, *at)]
        labelled = bool(rng.random() < LABELLED)
    window = _frame(labels.shape, whole, rng)
    x, y, width, height = window
    image = np.ascontiguousarray(image[y : y + height, x : x + width])
    hiding = in_front[0] if in_front else MaskRegion.empty()
    masks = [whole - hiding, *(in_front if labelled else ()), *(m - hiding for m in others)]
    visible = [m.shift(-x, -y).clip(height, width).trim() for m in masks]
    amodal = [m.shift(-x, -y) for m in (whole, *(in_front if labelled else ()))]
    kept = [k for k, mask in enumerate(visible) if mask.area]
    return Paste(
        image,
        tuple(visible[k] for k in kept),
        tuple(amodal[k] for k in kept if k < len(amodal)),
    )


def _drawn(files: Sequence[Path], rng: np.random.Generator) -> Path:
    """Any object of any source, every source as often: most are people, and the world is not."""
    sources = sorted({file.parent for file in files})
    source = sources[int(rng.integers(len(sources)))]
    own = [file for file in files if file.parent == source]
    return own[int(rng.integers(len(own)))]


def _enlarged(cutout: Cutout, scale: float) -> tuple[np.ndarray, np.ndarray]:
    height, width = cutout.labels.shape
    size = round(width * scale), round(height * scale)
    image = cv2.resize(cutout.image, size, interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA)
    return image, cv2.resize(cutout.labels, size, interpolation=cv2.INTER_NEAREST)


def _placed(
    thing: Cutout, target: np.ndarray, beside: bool, rng: np.random.Generator
) -> tuple[Cutout, tuple[int, int]]:
    """A cut-out of comparable size and where its corner goes: over a part of `target`, or just touching it."""
    ys, xs = np.nonzero(target)
    rows, columns = np.nonzero(thing.mask)
    tight = Cutout(
        thing.image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1],
        thing.labels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1],
    )
    size = np.sqrt(len(ys)) / np.sqrt(len(rows))
    wanted = rng.uniform(0.05, 0.8)
    for _ in range(30):
        image, labels = _enlarged(tight, float(size * np.exp(rng.uniform(-0.9, 0.5))))
        pick = int(rng.integers(len(ys)))
        # Its centre goes near the object's: over a random pixel, moved outwards by up to its own size.
        outwards = rng.normal(0, 0.5, 2) * labels.shape
        at = (
            int(xs[pick] - labels.shape[1] / 2 + outwards[1]),
            int(ys[pick] - labels.shape[0] / 2 + outwards[0]),
        )
        region = MaskRegion.from_full(labels == 1, *at)
        hidden = region.overlap(MaskRegion.from_full(target)) / len(ys)
        if beside:
            # Moved apart until nothing overlaps; the last step leaves them touching.
            step = np.sign(np.array(at) + np.array(labels.shape[::-1]) / 2 - [xs.mean(), ys.mean()]).astype(int)
            step = np.where(step == 0, 1, step)
            while hidden:
                at = (at[0] + int(step[0]), at[1] + int(step[1]))
                hidden = MaskRegion.from_full(labels == 1, *at).overlap(MaskRegion.from_full(target))
            return Cutout(image, np.where(labels == 1, 1, 0).astype(np.uint8)), at
        if abs(hidden - wanted) < 0.1:
            break
    if not beside and hidden > 0.85:
        at = (at[0] + labels.shape[1] // 2, at[1])
    return Cutout(image, np.where(labels == 1, 1, 0).astype(np.uint8)), at


def _over(image: np.ndarray, cut: Cutout, at: tuple[int, int]) -> np.ndarray:
    """The image with a cut-out laid over it, softly along its outline."""
    height, width = image.shape[:2]
    x, y = at
    place = np.array([[1, 0, x], [0, 1, y]], np.float64)
    cover = cv2.GaussianBlur(cut.mask.astype(np.float32), (0, 0), SEAM, borderType=cv2.BORDER_CONSTANT)
    cover = cv2.warpAffine(cover, place, (width, height))[..., None]
    laid = cv2.warpAffine(cut.image, place, (width, height), borderMode=cv2.BORDER_REFLECT)
    return (image * (1 - cover) + laid * cover).round().astype(np.uint8)


def _frame(shape: tuple[int, int], whole: MaskRegion, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """(x, y, width, height) of the frame: all of the image, or so that an edge cuts the object by up to 40 %."""
    height, width = shape
    x0, y0, x1, y1 = 0, 0, width, height
    if rng.random() < CUT:
        side, share = int(rng.integers(4)), rng.uniform(0.05, 0.4)
        if side == 0:
            x0 = whole.x + round(share * whole.width)
        elif side == 1:
            x1 = whole.x + round((1 - share) * whole.width)
        elif side == 2:
            y0 = whole.y + round(share * whole.height)
        else:
            y1 = whole.y + round((1 - share) * whole.height)
    return x0, y0, x1 - x0, y1 - y0
