"""A street at one moment through one camera: the clean image, every object's mask, and depth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from amodal_ros.lab.datasets.street_world import placement, render
from amodal_ros.lab.datasets.street_world.camera import NEAR, Camera, Pose
from amodal_ros.lab.datasets.street_world.placement import Street, Thing

SHADOW_BLUR = (9, 9)


@dataclass(frozen=True)
class View:
    """What the camera sees.

    Attributes:
        image: RGB uint8 (height, width, 3), without the sensor's defects.
        drawn: (thing, sprite, distance in metres), nearest first.
        depth: float32 (height, width) in metres, 0 where unknown; None unless asked for.
    """

    image: np.ndarray
    drawn: list[tuple[Thing, render.Sprite, float]]
    depth: np.ndarray | None


def look(
    street: Street,
    camera: Camera,
    eye: Pose,
    seconds: float = 0.0,
    reach: float = 0.0,
    with_depth: bool = False,
    plain: np.ndarray | None = None,
) -> View:
    """Draw a street.

    Args:
        eye: where the camera is and where it looks.
        seconds: time since the start.
        reach: how far beyond the image objects are drawn, as a fraction of its width and height.
        plain: RGB uint8 (height, width, 3) to stand in for the street's own surroundings and shadows.
    """
    image = street.backdrop.draw(camera, eye) if plain is None else plain
    depth = street.backdrop.depth(camera, eye) if with_depth else None
    placed = [(thing, thing.shape(seconds), thing.at(seconds).seen_from(eye)) for thing in street.things]
    placed = [found for found in placed if placement.footprint(*found[1:])[:, 1].max() > NEAR]
    if plain is None:
        _cast_shadows(image, street, placed, camera, eye)
    right, down = int(reach * camera.width), int(reach * camera.height)
    bounds = (-right, -down, camera.width + right, camera.height + down)
    drawn = []
    for i in placement.back_to_front([placement.footprint(shape, pose) for _, shape, pose in placed]):
        thing, shape, pose = placed[i]
        sprite = render.draw(shape, pose, camera, street.sun, bounds, with_depth)
        if sprite is None:
            continue
        render.blend(image, sprite)
        if depth is not None:
            _nearer(depth, sprite, pose.z)
        drawn.append((thing, sprite, float(np.hypot(pose.x, pose.z))))
    return View(image, drawn[::-1], depth)


def _cast_shadows(image: np.ndarray, street: Street, placed: list, camera: Camera, eye: Pose) -> None:
    light: np.ndarray = np.full(image.shape[:2], 255, np.uint8)
    for _, shape, pose in placed:
        render.shadow(light, shape, pose, camera, eye, street.sun)
    light = cv2.blur(light, SHADOW_BLUR)
    below = slice(max(0, int(camera.cy)), None)
    image[below] = (
        cv2.multiply(image[below], cv2.merge([light[below]] * 3), scale=1 / 255) if image[below].size else image[below]
    )


def _nearer(depth: np.ndarray, sprite: render.Sprite, distance: float) -> None:
    height, width = depth.shape
    inside = sprite.mask.clip(height, width)
    if not inside.area:
        return
    assert sprite.depth is not None
    x, y, w, h = inside.box
    patch = sprite.depth[y - sprite.y : y - sprite.y + h, x - sprite.x : x - sprite.x + w]
    depth[y : y + h, x : x + w] = np.where(
        inside.bits, np.where(patch > 0, patch, distance), depth[y : y + h, x : x + w]
    )
