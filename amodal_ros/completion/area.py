"""Section 4.3: the soft inpainting area M, Eq. 10, in crop pixels and in latent cells."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from amodal_ros.scene.hull import convex_hull
from amodal_ros.scene.mask import MaskRegion, dilate
from amodal_ros.settings.method import Settings
from amodal_ros.settings.readings import Anchored


def hull_area(visible: np.ndarray) -> np.ndarray:
    """Eq. 10: M = convex hull of the union of all contours of V; bool (height, width) in, the same out."""
    return convex_hull(MaskRegion.from_full(visible)).full(*visible.shape)


def inpainting_area(visible: np.ndarray, feasible: np.ndarray, outside: np.ndarray, settings: Settings) -> np.ndarray:
    """M for the settings' reading, all arrays bool (height, width) in crop pixels.

    Args:
        visible: V.
        feasible: F, where hidden parts can lie (`scene.Scene.feasible`).
        outside: what lies outside the frame.

    The readings of Eq. 7 take M = hull(V), or V itself for Table 2's row without an area. The anchored readings keep
    V's pixels and paint around them: the hull grown by a distance tied to the object's size, minus V, cut to F when
    the area is ``"feasible"`` (always for ``anchored_real``, whose real background must not be painted over). A hull
    never leaves the frame by itself, so where V touches the frame's edge the strip outside within reach of V belongs to
    the area.
    """
    if settings.area == "visible":
        return visible
    hull = hull_area(visible)
    reading = settings.reading
    if not isinstance(reading, Anchored):
        return hull & (feasible | visible) if settings.area == "feasible" else hull
    distance = round(reading.area_growth * object_size(visible))
    near = dilate(visible, distance)
    beyond = outside & near if (outside & dilate(visible, 2)).any() else np.zeros_like(visible)
    reach = dilate(hull, distance) & ~outside
    if settings.area == "feasible":
        reach &= dilate(feasible, 1)
    reach |= beyond
    return reach & ~visible


def object_size(visible: np.ndarray) -> int:
    """The longer side of the visible mask's box in pixels."""
    return max(cv2.boundingRect(visible.view(np.uint8))[2:])


def latent_area(area: torch.Tensor, factor: int) -> torch.Tensor:
    """M on latent cells: area-resized, then thresholded so that no pixel of the area is lost.

    Args:
        area: (batch, 1, height, width) of 0 and 1.
        factor: pixels per latent cell along one side.

    Returns:
        (batch, 1, height / factor, width / factor) of 0 and 1.
    """
    return (F.avg_pool2d(area, factor) > 0).to(area.dtype)
