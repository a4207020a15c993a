"""What a caller hands in: checked once, with an error that names the value."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from amodal_ros.scene import MaskRegion

log = logging.getLogger(__name__)

Mask: TypeAlias = MaskRegion | np.ndarray


def check_image(image: np.ndarray) -> None:
    """Raises ValueError unless it is RGB uint8 (height, width, 3)."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.dtype} {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise ValueError(f"image: expected RGB uint8 (height, width, 3), got {got}")


def regions_of(
    masks: Sequence[Mask], shape: tuple[int, int], on_error: str, wanted: int
) -> tuple[list[MaskRegion], set[int]]:
    """Masks as regions inside the frame, and the positions of those that cannot be used.

    Args:
        masks: bool (height, width) arrays or regions.
        shape: the image's (height, width).
        on_error: ``"raise"``, or ``"skip"``: what cannot be used is logged, and empty.
        wanted: so many of the masks, the first ones, are to be completed and must not be empty.

    Raises:
        ValueError: a mask cannot be used, and `on_error` is ``"raise"``.
    """
    regions, bad = [], set()
    for k, mask in enumerate(masks):
        what = f"visible mask {k}" if k < wanted else f"context mask {k - wanted}"
        try:
            regions.append(_region(mask, shape, what, may_be_empty=k >= wanted))
        except ValueError as error:
            if on_error == "raise":
                raise
            log.warning("%s", error)
            bad.add(k)
            regions.append(MaskRegion.empty())
    return regions, bad


def _region(mask: Mask, shape: tuple[int, int], what: str, may_be_empty: bool) -> MaskRegion:
    if isinstance(mask, np.ndarray):
        if mask.dtype != np.bool_ or mask.shape != tuple(shape):
            raise ValueError(f"{what}: expected bool of the image's size {tuple(shape)}, got {mask.dtype} {mask.shape}")
        mask = MaskRegion.from_full(mask)
    elif not isinstance(mask, MaskRegion):
        raise ValueError(f"{what}: expected a bool array or a MaskRegion, got {type(mask).__name__}")
    region = mask.clip(*shape).trim()
    if not region.area and not may_be_empty:
        raise ValueError(f"{what}: expected at least one pixel inside the image, got none")
    return region
