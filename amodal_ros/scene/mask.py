"""`MaskRegion`: a binary mask cut to its box, the currency of the whole package.

A full-frame mask at 1242x375 is 466 kB and almost all of it is zero. Objects are small, so every mask here is
a small array with a signed offset into the frame. A mask may lie partly or wholly outside the frame: amodal
shapes do.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import index

import cv2
import numpy as np

#: Beyond this radius an exact distance transform is faster than a disc-shaped dilation (120x80 mask, one core).
_LARGE_RADIUS = 10


@dataclass(frozen=True, eq=False)
class MaskRegion:
    """A binary mask at a signed offset in an image plane.

    Attributes:
        x: column of the mask's left edge in the frame; negative when it starts left of the frame.
        y: row of the mask's top edge in the frame.
        bits: bool array (height, width). Never write into it: regions share memory. Its box need not be tight.

    Two regions are equal when they cover the same pixels, however their boxes are cut.

    Raises:
        ValueError: `bits` is no two-dimensional bool array.
        TypeError: x or y is no whole number.

    >>> car = MaskRegion(-2, 1, np.ones((3, 4), bool))
    >>> car.area, car.clip(10, 10).area, car.box
    (12, 6, (-2, 1, 4, 3))
    """

    x: int
    y: int
    bits: np.ndarray

    def __post_init__(self) -> None:
        bits = self.bits
        if not isinstance(bits, np.ndarray) or bits.ndim != 2 or bits.dtype != np.bool_:
            got = f"{bits.dtype} {bits.shape}" if isinstance(bits, np.ndarray) else type(bits).__name__
            raise ValueError(f"mask bits: expected a bool array (height, width), got {got}")
        if type(self.x) is not int or type(self.y) is not int:  # NumPy integers overflow and do not serialise
            object.__setattr__(self, "x", index(self.x))
            object.__setattr__(self, "y", index(self.y))

    # --- making one ---------------------------------------------------------------------------------------

    @staticmethod
    def empty() -> MaskRegion:
        """A mask without any pixel."""
        return MaskRegion(0, 0, np.zeros((0, 0), bool))

    @staticmethod
    def from_full(mask: np.ndarray, x: int = 0, y: int = 0) -> MaskRegion:
        """Cut a mask to the box of its pixels; the pixels are copied, so the caller may reuse the array.

        Args:
            mask: (height, width) array, bool, or integer where non-zero is set.
            x, y: where the array's first pixel lies in the frame.

        Raises:
            ValueError: the array is not two-dimensional or is neither bool nor integer.
        """
        if not isinstance(mask, np.ndarray) or mask.ndim != 2 or mask.dtype.kind not in "bui":
            got = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
            raise ValueError(f"mask: expected a bool or integer array (height, width), got {got}")
        if mask.size == 0:
            return MaskRegion.empty()
        if mask.dtype != np.bool_:
            mask = mask != 0
        left, top, width, height = cv2.boundingRect(_bytes(mask))
        return MaskRegion(x + left, y + top, mask[top : top + height, left : left + width].copy())

    @staticmethod
    def union_of(regions: Iterable[MaskRegion]) -> MaskRegion:
        """The union of any number of regions, in one pass over their common box."""
        regions = [r for r in regions if r.area]
        if not regions:
            return MaskRegion.empty()
        box = _common_box(regions)
        return MaskRegion(*box[:2], painted(regions, box))

    @staticmethod
    def unpack(x: int, y: int, width: int, height: int, data: bytes | array[int] | np.ndarray) -> MaskRegion:
        """The inverse of `pack`: rows padded to whole bytes, most significant bit first.

        Args:
            data: ``height * ceil(width / 8)`` bytes (bytes, array.array or uint8 array).

        Raises:
            ValueError: a negative size, or the number of bytes does not fit it.
        """
        packed = np.frombuffer(data, np.uint8)
        stride = (width + 7) // 8
        if width < 0 or height < 0 or packed.size != height * stride:
            expected = f"{max(0, height) * max(0, stride)} bytes"
            raise ValueError(f"packed mask of {width}x{height}: expected {expected}, got {packed.size}")
        if packed.size == 0:
            return MaskRegion.empty()
        bits = np.unpackbits(packed.reshape(height, stride), axis=1, count=width)
        return MaskRegion(x, y, bits.view(bool))

    # --- what it is ---------------------------------------------------------------------------------------

    @property
    def width(self) -> int:
        return self.bits.shape[1]

    @property
    def height(self) -> int:
        return self.bits.shape[0]

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) in frame coordinates."""
        return self.x, self.y, self.width, self.height

    @cached_property
    def area(self) -> int:
        """Number of set pixels, outside the frame included."""
        return int(np.count_nonzero(self.bits))

    def __bool__(self) -> bool:
        return self.area > 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MaskRegion):
            return NotImplemented
        a, b = self.trim(), other.trim()
        return a.box == b.box and np.array_equal(a.bits, b.bits)

    __hash__ = None  # type: ignore[assignment]  # compares by content

    def __repr__(self) -> str:
        return f"MaskRegion(x={self.x}, y={self.y}, {self.width}x{self.height}, area={self.area})"

    # --- windows ------------------------------------------------------------------------------------------

    def window(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """The mask's pixels in any window of the plane: bool (height, width), False where the mask is not."""
        out = np.zeros((height, width), bool)
        x0, y0 = max(self.x, x), max(self.y, y)
        x1, y1 = min(self.x + self.width, x + width), min(self.y + self.height, y + height)
        if x0 < x1 and y0 < y1:
            out[y0 - y : y1 - y, x0 - x : x1 - x] = self.bits[y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]
        return out

    def full(self, height: int, width: int) -> np.ndarray:
        """The mask on a full frame, bool (height, width); what lies outside the frame is lost."""
        return self.window(0, 0, width, height)

    def clip(self, height: int, width: int) -> MaskRegion:
        """The part inside a frame of this size."""
        return self.within(0, 0, width, height)

    def within(self, x: int, y: int, width: int, height: int) -> MaskRegion:
        """The part inside a window, as a view."""
        rows, columns = self.bits.shape
        left, top = max(0, x - self.x), max(0, y - self.y)
        right, bottom = min(columns, x + width - self.x), min(rows, y + height - self.y)
        if left >= right or top >= bottom:
            return MaskRegion.empty()
        if right - left == columns and bottom - top == rows:
            return self
        return MaskRegion(self.x + left, self.y + top, self.bits[top:bottom, left:right])

    def trim(self) -> MaskRegion:
        """The same pixels in their tightest box."""
        if self.bits.size == 0:
            return MaskRegion.empty()
        left, top, width, height = cv2.boundingRect(_bytes(self.bits))
        return self.within(self.x + left, self.y + top, width, height)

    def touches_edge(self, height: int, width: int) -> bool:
        """Whether a set pixel lies on the frame's border or beyond it."""
        return self.within(1, 1, width - 2, height - 2).area < self.area

    # --- set algebra --------------------------------------------------------------------------------------

    def __or__(self, other: MaskRegion) -> MaskRegion:
        return MaskRegion.union_of((self, other))

    def __and__(self, other: MaskRegion) -> MaskRegion:
        mine, theirs = self.within(*other.box), other.within(*self.box)
        if mine.bits.size == 0:
            return MaskRegion.empty()
        return MaskRegion(mine.x, mine.y, mine.bits & theirs.bits)

    def __sub__(self, other: MaskRegion) -> MaskRegion:
        return MaskRegion(self.x, self.y, self.bits & ~other.window(*self.box))

    def overlap(self, other: MaskRegion) -> int:
        """Number of pixels in both."""
        (height, width), (rows, columns) = self.bits.shape, other.bits.shape
        x0, y0 = max(self.x, other.x), max(self.y, other.y)
        x1, y1 = min(self.x + width, other.x + columns), min(self.y + height, other.y + rows)
        if x0 >= x1 or y0 >= y1:
            return 0
        mine = self.bits[y0 - self.y : y1 - self.y, x0 - self.x : x1 - self.x]
        return int(np.count_nonzero(mine & other.bits[y0 - other.y : y1 - other.y, x0 - other.x : x1 - other.x]))

    def iou(self, other: MaskRegion) -> float:
        """Intersection over union, in [0, 1]; two empty masks agree (1)."""
        both = self.overlap(other)
        either = self.area + other.area - both
        return both / either if either else 1.0

    def contains(self, other: MaskRegion) -> bool:
        """Whether every pixel of `other` is set here too."""
        return self.overlap(other) == other.area

    # --- geometry -----------------------------------------------------------------------------------------

    def shift(self, dx: int, dy: int) -> MaskRegion:
        """The mask moved by whole pixels."""
        return MaskRegion(self.x + int(dx), self.y + int(dy), self.bits)

    def grow(self, radius: int) -> MaskRegion:
        """All pixels within `radius` (Euclidean) of the mask; the inverse, erosion by the same disc, when negative."""
        if radius == 0 or not self.area:
            return self
        margin = radius if radius > 0 else 1  # erosion needs to see that what is outside the box is not set
        x, y, width, height = self.x - margin, self.y - margin, self.width + 2 * margin, self.height + 2 * margin
        bits = self.window(x, y, width, height)
        return MaskRegion(x, y, dilate(bits, radius) if radius > 0 else ~dilate(~bits, -radius))

    def connected_to(self, seed: MaskRegion) -> MaskRegion:
        """Only the 8-connected parts of this mask that share a pixel with `seed`."""
        if not self.area:
            return self
        parts, labels = cv2.connectedComponents(_bytes(self.bits), connectivity=8, ltype=cv2.CV_32S)
        if parts == 2 and self.overlap(seed):
            return self
        kept = np.zeros(parts, bool)
        kept[labels[(self & seed).window(*self.box)]] = True
        return self if kept[1:].all() else MaskRegion(self.x, self.y, kept[labels])

    # --- the wire -----------------------------------------------------------------------------------------

    def pack(self) -> np.ndarray:
        """The bits as they travel in ``amodal_ros/msg/Mask``: uint8, rows padded to whole bytes, MSB first."""
        return np.packbits(self.bits, axis=1).reshape(-1)


def painted(masks: Iterable[MaskRegion], box: tuple[int, int, int, int]) -> np.ndarray:
    """Which pixels of a box (x, y, width, height) any of the masks has: bool (height, width)."""
    x, y, width, height = box
    canvas = np.zeros((height, width), bool)
    for mask in masks:
        part = mask.within(*box)
        canvas[part.y - y : part.y - y + part.height, part.x - x : part.x - x + part.width] |= part.bits
    return canvas


def wider(box: tuple[int, int, int, int], by: int) -> tuple[int, int, int, int]:
    """A box (x, y, width, height) with so many pixels more on each side."""
    x, y, width, height = box
    return x - by, y - by, width + 2 * by, height + 2 * by


def slice_of(box: tuple[int, int, int, int], whole: tuple[int, int, int, int]) -> tuple[slice, slice]:
    """Where a box lies in the array of a box that contains it: rows and columns."""
    x, y, width, height = box
    return slice(y - whole[1], y - whole[1] + height), slice(x - whole[0], x - whole[0] + width)


def _common_box(regions: list[MaskRegion]) -> tuple[int, int, int, int]:
    x = min(r.x for r in regions)
    y = min(r.y for r in regions)
    right = max(r.x + r.width for r in regions)
    bottom = max(r.y + r.height for r in regions)
    return x, y, right - x, bottom - y


def _bytes(bits: np.ndarray) -> np.ndarray:
    """A bool array as OpenCV takes it: contiguous uint8, without a copy where possible."""
    return np.ascontiguousarray(bits).view(np.uint8)


@lru_cache(maxsize=2 * _LARGE_RADIUS)
def _disc(radius: int) -> np.ndarray:
    rows, columns = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return (rows**2 + columns**2 <= radius**2).astype(np.uint8)


def dilate(bits: np.ndarray, radius: int) -> np.ndarray:
    """All pixels of the array within `radius` of a set one; nothing is set beyond the array."""
    if radius <= _LARGE_RADIUS:
        return cv2.dilate(_bytes(bits), _disc(radius)).view(bool)
    # Distances are square roots of whole numbers: the nearest one above the radius is more than 1e-4 away.
    return cv2.distanceTransform(_bytes(~bits), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) < radius + 1e-4
