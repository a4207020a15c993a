"""Object crop <-> frame: the window of the image that the diffusion model works on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from amodal_ros.scene.mask import MaskRegion

#: No crop is smaller than this (pixels): a one-pixel object still gets surroundings.
MIN_SIDE = 16


@dataclass(frozen=True)
class ObjectCrop:
    """A window of the frame, resized to `resolution` x `resolution` pixels; it may pass the frame's edge."""

    x: int
    y: int
    width: int
    height: int
    resolution: int

    @staticmethod
    def around(visible: MaskRegion, margin: float, resolution: int) -> ObjectCrop:
        """A square around a visible mask, `margin` times its longer side wider on each side."""
        x, y, width, height = visible.trim().box
        side = max(MIN_SIDE, math.ceil(max(width, height) * (1 + 2 * margin)))
        return ObjectCrop(x + (width - side) // 2, y + (height - side) // 2, side, side, resolution)

    @staticmethod
    def whole(height: int, width: int, resolution: int) -> ObjectCrop:
        """The whole image, squeezed to a square."""
        return ObjectCrop(0, 0, width, height, resolution)

    @property
    def box(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) in frame pixels."""
        return self.x, self.y, self.width, self.height

    def image(self, frame: np.ndarray) -> np.ndarray:
        """The window's pixels, uint8 (resolution, resolution, 3); the frame's border repeats outside of it."""
        height, width = frame.shape[:2]
        beyond = -self.y, self.y + self.height - height, -self.x, self.x + self.width - width
        top, bottom, left, right = (max(0, pixels) for pixels in beyond)
        window = frame[self.y + top : self.y + self.height - bottom, self.x + left : self.x + self.width - right]
        if top or bottom or left or right:
            window = cv2.copyMakeBorder(window, top, bottom, left, right, cv2.BORDER_REPLICATE)
        return self._resize(window)

    def mask(self, region: MaskRegion) -> np.ndarray:
        """A frame mask in crop pixels, bool (resolution, resolution); a mask in the window never vanishes."""
        window = region.window(*self.box)
        if not window.any():
            return np.zeros((self.resolution, self.resolution), bool)
        # Bytes resize several times as fast as floats, and round a share of one half up, too.
        out = self._resize(window.view(np.uint8) * np.uint8(255)) >= 128
        return out if out.any() else self._resize(window.astype(np.float32)) > 0

    def region(self, logits: np.ndarray) -> MaskRegion:
        """A mask painted in the crop back in frame pixels: set where `logits` (resolution, resolution) > 0."""
        back = cv2.resize(
            np.ascontiguousarray(logits, np.float32), (self.width, self.height), interpolation=cv2.INTER_LINEAR
        )
        return MaskRegion.from_full(back > 0, self.x, self.y)

    def _resize(self, window: np.ndarray) -> np.ndarray:
        """Axes that shrink first, by area, then those that grow: OpenCV's area mode samples both where one grows."""
        width, height = min(self.width, self.resolution), min(self.height, self.resolution)
        if (width, height) != (self.width, self.height):
            window = cv2.resize(window, (width, height), interpolation=cv2.INTER_AREA)
        if (width, height) != (self.resolution, self.resolution):
            window = cv2.resize(window, (self.resolution, self.resolution), interpolation=cv2.INTER_LINEAR)
        return window
