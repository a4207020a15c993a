"""Which objects of a drive are seen whole: by the scene, without a model and without annotation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from amodal_ros.completion.crop import ObjectCrop
from amodal_ros.scene import MaskRegion, Scene
from training.pool import Crop

SMALLEST_SIDE = 24  # pixels of the longer side: smaller ones show no shape
VIEWS = 12  # of one track at most: a car that waits at a light must not fill the pool
DIP = 0.85  # a view this much smaller than the track's views around it is hidden by something that nobody labelled
NEIGHBOURS = 2  # views on either side that say what size is to be expected
MARGIN = 0.5  # as the pipeline cuts


def whole_views(frames: Iterable[Scene], side: int) -> Iterator[Crop]:
    """Crops around the objects of a drive that are seen whole, instance 1 first.

    An object is seen whole where nothing labelled touches it or can be in front of it, where it stays away from the
    frame's edge, and where it is not suddenly smaller than in its track's neighbouring views. Of every track the
    largest view counts, and others spread over its length.

    Args:
        frames: one after another; an instance's id is its track.
        side: of the crops in pixels.
    """
    tracks: dict[int, list[tuple[float, Crop]]] = defaultdict(list)
    for scene in frames:
        for i, thing in enumerate(scene.things):
            if stands_alone(scene, i):
                crop = ObjectCrop.around(scene.masks[i], MARGIN, side)
                others = [mask for j, mask in enumerate(scene.masks) if j != i]
                view = crop_around(crop, scene.image, [scene.masks[i], *others])
                tracks[thing.id].append((float(scene.masks[i].area), view))
    for views in tracks.values():
        yield from (views[k][1] for k in chosen_views([area for area, _ in views]))


def stands_alone(scene: Scene, i: int) -> bool:
    """Whether object i of a frame is seen whole, as far as the frame's masks can tell."""
    mask = scene.masks[i]
    if not mask or max(mask.width, mask.height) < SMALLEST_SIDE or not scene.unoccluded(i):
        return False
    grown = scene.order.grown[i]
    if grown.touches_edge(*scene.shape):
        return False
    return not any(grown.overlap(other) for j, other in enumerate(scene.masks) if j != i)


def chosen_views(areas: Sequence[float]) -> list[int]:
    """Positions of the views of one track to learn from: no dips, the largest, and others spread evenly; in order."""
    kept = [k for k in range(len(areas)) if areas[k] >= DIP * _expected(areas, k)]
    largest = max(kept, key=lambda k: areas[k])
    spread = {kept[round(p)] for p in np.linspace(0, len(kept) - 1, min(VIEWS - 1, len(kept)))}
    return sorted(spread | {largest})


def crop_around(crop: ObjectCrop, image: np.ndarray, masks: Sequence[MaskRegion]) -> Crop:
    """The crop's pixels, and its labels: 1 for the first mask, the others after it; at most 255."""
    labels = np.zeros((crop.resolution, crop.resolution), np.uint8)
    near = [mask for mask in masks[1:] if mask.within(*crop.box)][:254]
    for label, mask in reversed(list(enumerate([masks[0], *near], 1))):
        labels[crop.mask(mask)] = label
    return crop.image(image), labels


def _expected(areas: Sequence[float], k: int) -> float:
    around = [*areas[max(0, k - NEIGHBOURS) : k], *areas[k + 1 : k + 1 + NEIGHBOURS]]
    return float(np.median(around)) if around else areas[k]
