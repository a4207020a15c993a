"""How an object moved between two images: a similarity (scale and shift), from sparse optical flow or from boxes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import cv2
import numpy as np

from amodal_ros.scene.mask import MaskRegion

#: Corners per object that are followed by optical flow, and the fewest that make a step.
CORNERS, FEWEST = 24, 6
#: Standard deviation of the scale between consecutive images, and the largest change that is believed.
SCALE_CHANGE, LARGEST_CHANGE = 0.1, 1.25
#: Scales beyond this factor between two images of one track are a mistake, not a motion.
LARGEST_SCALE = 5.0


@dataclass(frozen=True)
class Similarity:
    """The map p -> scale * p + (dx, dy) on pixel coordinates (x, y); a pixel's centre has whole coordinates.

    >>> Similarity(2.0, 1.0, 0.0).then(Similarity(0.5, 0.0, 3.0))
    Similarity(scale=1.0, dx=0.5, dy=3.0)
    """

    scale: float = 1.0
    dx: float = 0.0
    dy: float = 0.0

    def then(self, after: Similarity) -> Similarity:
        """This map followed by another one."""
        return Similarity(after.scale * self.scale, after.scale * self.dx + after.dx, after.scale * self.dy + after.dy)

    def inverse(self) -> Similarity:
        return Similarity(1.0 / self.scale, -self.dx / self.scale, -self.dy / self.scale)

    def repeated(self, times: float) -> Similarity:
        """The same motion so many times, as when images were missed; implausible, but finite, after a long gap."""
        power = abs(math.log(self.scale))
        most = 2.0 * math.log(LARGEST_SCALE) / power if power else math.inf
        scale = self.scale ** max(-most, min(most, times))
        sum_of_powers = times if abs(self.scale - 1.0) < 1e-6 else (scale - 1.0) / (self.scale - 1.0)
        return Similarity(scale, self.dx * sum_of_powers, self.dy * sum_of_powers)

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Moves points, float (n, 2)."""
        return self.scale * xy + (self.dx, self.dy)

    def is_plausible(self) -> bool:
        return math.isfinite(self.dx + self.dy) and 1.0 / LARGEST_SCALE < self.scale < LARGEST_SCALE

    def mask(self, region: MaskRegion, frame_shape: tuple[int, int]) -> MaskRegion:
        """Moves a mask; what lands further than one frame size outside the frame is cut off."""
        if not region.area:
            return region
        height, width = frame_shape
        left = max(math.floor(self.scale * (region.x - 0.5) + self.dx), -width)
        top = max(math.floor(self.scale * (region.y - 0.5) + self.dy), -height)
        right = min(math.ceil(self.scale * (region.x + region.width - 0.5) + self.dx), 2 * width - 1) + 1
        bottom = min(math.ceil(self.scale * (region.y + region.height - 0.5) + self.dy), 2 * height - 1) + 1
        if left >= right or top >= bottom:
            return MaskRegion.empty()
        local = np.array(
            [
                [self.scale, 0.0, self.scale * region.x + self.dx - left],
                [0.0, self.scale, self.scale * region.y + self.dy - top],
            ]
        )
        grey = np.ascontiguousarray(region.bits).view(np.uint8) * np.uint8(255)
        moved = cv2.warpAffine(grey, local, (right - left, bottom - top), flags=cv2.INTER_LINEAR)
        return MaskRegion(left, top, moved >= 128)


#: Matched points: where they were and where they are now, two float (n, 2).
Matches = tuple[np.ndarray, np.ndarray]
#: Where points are now, whether each was found, and how much its patch changed.
Tracked = tuple[np.ndarray, np.ndarray, np.ndarray]


def fit_points(matches: Sequence[Matches], tolerance: float = 1.0) -> list[tuple[Similarity, int]]:
    """For each object the similarity that moves where its points were onto where they are, whatever a minority says.

    Iteratively reweighted least squares with Tukey's weights, from the median displacement. The scale stays near 1
    where the points lie too close together to tell. All objects at once: each has a few dozen points.

    Args:
        matches: of each object; n >= 1 in pixels.
        tolerance: standard deviation of a good match in pixels.

    Returns:
        The similarities and how many matches each explains.
    """
    if not matches:
        return []
    counts = np.array([len(source) for source, _ in matches])
    known = np.arange(counts.max()) < counts[:, None]
    # Points as complex numbers, (objects, points), from the middle of each object's; what is not known has no weight.
    offsets, wanted = np.zeros((2, *known.shape), complex)
    offsets[known], wanted[known] = (np.concatenate(side) @ (1, 1j) for side in zip(*matches))
    centre = offsets.sum(1) / counts
    offsets, wanted = offsets - centre[:, None], wanted - centre[:, None]
    every, half = np.arange(len(matches)), counts // 2
    moves = np.where(known, wanted - offsets, complex(np.inf, np.inf)).view(float).reshape(*known.shape, 2)
    ordered = np.sort(moves, axis=1)
    shift = (ordered[every, (counts - 1) // 2] + ordered[every, half]) @ (0.5, 0.5j)
    scale = np.ones(len(matches))
    spread, steady = np.full(len(matches), np.inf), (tolerance / SCALE_CHANGE) ** 2
    for _ in range(8):
        residual = np.where(known, np.abs(scale[:, None] * offsets + shift[:, None] - wanted), np.inf)
        # Starts as wide as half of the matches need, then closes in on the good ones.
        middle = np.sort(residual, axis=1)[every, half]
        before, spread = spread, np.minimum(spread, np.maximum(tolerance, middle))
        weight = np.maximum(0.0, 1.0 - (residual / (4.0 * spread[:, None])) ** 2) ** 2
        total = weight.sum(1)
        goes_on = (total >= 1e-6) & ((before != spread) | (spread != tolerance))
        if not goes_on.any():
            break
        total = np.maximum(total, 1e-6)
        mean, mean_wanted = (weight * offsets).sum(1) / total, (weight * wanted).sum(1) / total
        about, about_wanted = offsets - mean[:, None], wanted - mean_wanted[:, None]
        power = (weight * (about * about.conj()).real).sum(1)
        found = ((weight * (about.conj() * about_wanted).real).sum(1) + steady) / (power + steady)
        scale = np.where(goes_on, found, scale)
        shift = np.where(goes_on, mean_wanted - found * mean, shift)
    inliers = np.count_nonzero(residual < 4.0 * tolerance, axis=1)
    moved = shift + centre - scale * centre
    found = zip(scale.tolist(), moved.real.tolist(), moved.imag.tolist())
    return [(Similarity(*values), count) for values, count in zip(found, inliers.tolist())]


class Flow:
    """Sparse optical flow (pyramidal Lucas-Kanade) between consecutive images of a stream."""

    WINDOW, LEVELS = (15, 15), 3

    def __init__(self) -> None:
        self._grey: np.ndarray | None = None
        self._found: dict[int, tuple[MaskRegion, np.ndarray]] = {}  # by identity of the mask, which is kept with it

    def prepare(self, masks: Sequence[MaskRegion]) -> None:
        """Looks for corners of objects in the latest image, so that `follow` need not."""
        if (grey := self._grey) is not None:
            self._found = {id(mask): (mask, _corners(grey, mask)) for mask in masks}

    def follow(self, image: np.ndarray, masks: Sequence[MaskRegion]) -> list[Matches]:
        """Follows corners of objects from the previous image to this one, which is kept for the next call.

        Args:
            image: RGB uint8 (height, width, 3).
            masks: the objects' visible masks in the PREVIOUS image; empty for objects that need no answer.

        Returns:
            Per object where corners were and where they are now, two float32 (n, 2); n = 0 for the first image.
        """
        return self.begin(image, masks)()

    def begin(
        self, image: np.ndarray, masks: Sequence[MaskRegion], beside: Executor | None = None
    ) -> Callable[[], list[Matches]]:
        """As `follow`, but what takes long, a single call of OpenCV, works beside; returns what waits for it."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        before, self._grey = self._grey, grey
        prepared, self._found = self._found, {}
        none = np.empty((0, 2), np.float32)
        if before is None or before.shape != grey.shape:
            return lambda: [(none, none)] * len(masks)
        corners = [
            prepared[id(mask)][1] if id(mask) in prepared else _corners(before, mask) if mask.area else none
            for mask in masks
        ]
        start = np.concatenate([none, *corners])
        if not len(start):
            return lambda: [(none, none)] * len(masks)
        track = partial(self._track, before, grey, start)
        tracked = track if beside is None else beside.submit(track).result
        bounds = np.cumsum([0, *map(len, corners)]).tolist()

        def split() -> list[Matches]:
            end, found, _ = tracked()
            found = found.ravel() > 0
            return [(start[a:b][found[a:b]], end[a:b][found[a:b]]) for a, b in pairwise(bounds)]

        return split

    def _track(self, before: np.ndarray, now: np.ndarray, start: np.ndarray) -> Tracked:
        return cv2.calcOpticalFlowPyrLK(
            before, now, start, None, winSize=self.WINDOW, maxLevel=self.LEVELS, minEigThreshold=1e-3
        )


def _corners(grey: np.ndarray, mask: MaskRegion) -> np.ndarray:
    """Corners inside a mask, float32 (n, 2); its rim is left out, where half of a patch is background."""
    inside = mask.clip(*grey.shape)
    crop = grey[inside.y : inside.y + inside.height, inside.x : inside.x + inside.width]
    if min(crop.shape) < 4:
        return np.empty((0, 2), np.float32)
    core = cv2.erode(np.ascontiguousarray(inside.bits).view(np.uint8), np.ones((5, 5), np.uint8))
    # Large objects are searched at lower resolution: corners need only be good, not exact.
    stride = max(1, round(max(crop.shape) / 96))
    small, core = np.ascontiguousarray(crop[::stride, ::stride]), np.ascontiguousarray(core[::stride, ::stride])
    apart = max(2, round(math.sqrt(core.size / CORNERS) / 2))
    found = cv2.goodFeaturesToTrack(small, CORNERS, 0.02, apart, mask=core)
    if found is None:
        return np.empty((0, 2), np.float32)
    return (found.reshape(-1, 2) * stride + (inside.x, inside.y)).astype(np.float32)


def flow_steps(matches: Sequence[Matches]) -> list[Similarity | None]:
    """The step that each object's followed corners agree on; None where they are too few or disagree."""
    enough = [k for k, (start, _) in enumerate(matches) if len(start) >= FEWEST]
    steps: list[Similarity | None] = [None] * len(matches)
    for k, (step, inliers) in zip(enough, fit_points([matches[k] for k in enough])):
        believable = 1.0 / LARGEST_CHANGE < step.scale < LARGEST_CHANGE
        if believable and inliers >= max(FEWEST, len(matches[k][0]) // 2):
            steps[k] = step
    return steps


def box_step(before: MaskRegion, now: MaskRegion) -> Similarity:
    """The step between two visible masks when nothing better is known: the shift of their boxes' nearest sides."""
    x = _nearest_shift(before.x, before.width, now.x, now.width)
    y = _nearest_shift(before.y, before.height, now.y, now.height)
    return Similarity(1.0, float(x), float(y))


def _nearest_shift(start: int, size: int, start_now: int, size_now: int) -> int:
    low, high = start_now - start, start_now + size_now - start - size
    return low if abs(low) <= abs(high) else high
