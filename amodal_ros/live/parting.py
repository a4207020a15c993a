"""One mask of several objects, cut between them: labels merge what touches, and trackers lend one's id to another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import cv2
import numpy as np

from amodal_ros.scene import MaskRegion
from amodal_ros.scene.mask import wider

#: A mask is of several objects where it covers at least this share of where each of them is expected, and where what it
#: has beyond the others' places is an object's own place by so much: else somebody went before it. Those that shared a
#: mask in the image before are known to be there: less will do.
COVERED, OWN, STILL_OWN = 0.7, 0.5, 0.25


def held(masks: Sequence[MaskRegion], places: Sequence[MaskRegion]) -> np.ndarray:
    """Which masks' boxes hold the middle of which places' boxes: bool (masks, places). Others cannot be of several."""
    (a, b) = (np.array([r.box for r in regions], float).reshape(-1, 4) for regions in (masks, places))
    middles = b[:, :2] + b[:, 2:] / 2
    return ((a[:, None, :2] <= middles) & (middles <= (a[:, :2] + a[:, 2:])[:, None])).all(axis=2)


def cut(mask: MaskRegion, places: Mapping[int, MaskRegion], sharing: Collection[int]) -> dict[int, MaskRegion]:
    """The parts of a mask that belong to objects which are expected at these places, by id.

    A pixel is of the object that is expected nearest to it.

    Args:
        sharing: who shared a mask in the image before.

    Returns:
        None of them where the mask is one object's: it is more like one of the places than like several together.
    """
    places = {id: place for id, place in places.items() if place.overlap(mask) >= COVERED * place.area}
    while len(places) > 1:
        margins = {id: _own(id, mask, places) - (STILL_OWN if id in sharing else OWN) for id in places}
        least = min(margins, key=lambda id: margins[id])
        if margins[least] >= 0.0:
            break
        del places[least]
    together = MaskRegion.union_of(places.values())
    if len(places) < 2 or together.iou(mask) <= max(place.iou(mask) for place in places.values()):
        return {}
    window = wider(mask.box, 1)
    distances = [cv2.distanceTransform((~p.window(*window)).view(np.uint8), cv2.DIST_L2, 3) for p in places.values()]
    nearest, bits = np.argmin(distances, axis=0), mask.window(*window)
    return {id: MaskRegion.from_full(bits & (nearest == k), *window[:2]) for k, id in enumerate(places)}


def _own(id: int, mask: MaskRegion, places: Mapping[int, MaskRegion]) -> float:
    """How much what the mask has beyond the other places is like this one, in [0, 1]."""
    beyond = mask - MaskRegion.union_of(place for other, place in places.items() if other != id)
    return beyond.overlap(places[id]) / max(1, beyond.area, places[id].area)
