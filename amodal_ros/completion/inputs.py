"""What the plain call hands in: masks become a scene, and bad ones are named."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from amodal_ros.scene import Mask, MaskRegion, Occluders, Scene
from amodal_ros.scene.scene import check_image, region_of

log = logging.getLogger(__name__)


def scene_of(
    image: np.ndarray, visible: Sequence[Mask], context: Sequence[Mask], occluders: Occluders, on_error: str
) -> Scene:
    """The masks to complete as things, the context as stuff. A bad mask becomes an empty one.

    Raises:
        ValueError: a mask cannot be used, and `on_error` is ``"raise"``.
    """
    check_image(image)
    shape = image.shape[:2]
    things = [_usable(mask, shape, f"visible mask {k}", on_error) for k, mask in enumerate(visible)]
    stuff = [_usable(mask, shape, f"context mask {k}", on_error) for k, mask in enumerate(context)]
    return Scene(image, things, stuff, occluders=occluders)


def check_things(scene: Scene, which: Sequence[int], on_error: str) -> list[int]:
    """Those of the chosen things that have a pixel to go by.

    Raises:
        ValueError: a position that is none, or, if `on_error` is ``"raise"``, a thing without any pixel.
    """
    if on_error not in ("raise", "skip"):
        raise ValueError(f"on_error: expected 'raise' or 'skip', got {on_error!r}")
    for i in which:
        if not 0 <= i < len(scene.things):
            raise ValueError(f"which: expected positions of things from 0 to {len(scene.things) - 1}, got {i}")
    return [i for i in which if _has_pixels(scene.masks[i], f"visible mask {i}", on_error)]


def _usable(mask: Mask, shape: tuple[int, int], what: str, on_error: str) -> MaskRegion:
    try:
        return region_of(mask, shape, what)
    except ValueError as error:
        if on_error == "raise":
            raise
        log.warning("%s", error)
        return MaskRegion.empty()


def _has_pixels(mask: MaskRegion, what: str, on_error: str) -> bool:
    if mask.area:
        return True
    problem = f"{what}: expected at least one pixel inside the image, got none"
    if on_error == "raise":
        raise ValueError(problem)
    log.warning("%s", problem)
    return False
