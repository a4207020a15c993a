"""A picture for people: what is seen of each object and what is thought to be hidden. No ROS."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

from amodal_ros.scene import Answer, MaskRegion, Source

#: Brightness that is left of the background and of the objects' visible pixels.
BACKGROUND, SEEN = 0.45, 0.85
#: How much of the object's colour covers its hidden part.
HIDDEN = 0.6
FONT, SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.4
#: Source as it stands in the label.
WORDS = {
    Source.UNKNOWN: "?",
    Source.INFERRED: "model",
    Source.PROPAGATED: "moved",
    Source.UNOCCLUDED: "open",
    Source.GEOMETRIC: "hull",
    Source.VISIBLE_ONLY: "seen only",
    Source.GROUND_TRUTH: "truth",
    Source.REMEMBERED: "seen before",
}


def draw_overlay(image: np.ndarray, answers: Sequence[Answer]) -> np.ndarray:
    """The image dimmed, each object's visible part outlined and its hidden part filled, with a label.

    A label reads ``id class occlusion% source``; the percentage is left out where nothing is hidden.

    Args:
        image: RGB uint8 (height, width, 3); it is not changed.

    Returns:
        RGB uint8 (height, width, 3).
    """
    canvas = cv2.convertScaleAbs(image, alpha=BACKGROUND)
    shape = image.shape[:2]
    biggest_first = sorted(answers, key=lambda answer: -answer.completion.visible.area)
    for answer in biggest_first:
        seen = answer.completion.visible.clip(*shape)
        _paint(canvas, seen, image[_pixels(seen)] * SEEN)
    for answer in biggest_first:
        colour = colour_of(answer.instance.id)
        hidden = (answer.completion.amodal - answer.completion.visible).clip(*shape)
        _paint(canvas, hidden, (1 - HIDDEN) * canvas[_pixels(hidden)] + HIDDEN * np.array(colour))
    for answer in biggest_first:
        _outline(canvas, answer.completion.visible, colour_of(answer.instance.id))
    _labels(canvas, biggest_first)
    return canvas


def colour_of(number: int) -> tuple[int, int, int]:
    """A bright RGB colour, always the same for an id.

    The steps were searched for: they keep the colours of any two ids that are up to 24 apart distinct. Steps of the
    golden ratio give ids that differ by 8, 13 or 21 nearly the same.
    """
    hue, saturation = number * 0.692413 % 1.0, 0.4 + 0.6 * (number * 0.575209 % 1.0)
    r, g, b = colorsys.hsv_to_rgb(hue, saturation, 1.0)
    return round(255 * r), round(255 * g), round(255 * b)


def _pixels(mask: MaskRegion) -> tuple[slice, slice]:
    return slice(mask.y, mask.y + mask.height), slice(mask.x, mask.x + mask.width)


def _paint(canvas: np.ndarray, mask: MaskRegion, pixels: np.ndarray) -> None:
    canvas[_pixels(mask)][mask.bits] = pixels[mask.bits].astype(np.uint8)


def _outline(canvas: np.ndarray, mask: MaskRegion, colour: tuple[int, int, int]) -> None:
    bits = np.ascontiguousarray(mask.bits).view(np.uint8)
    contours, _ = cv2.findContours(bits, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(mask.x, mask.y))
    cv2.drawContours(canvas, contours, -1, colour, 1, cv2.LINE_AA)


def _labels(canvas: np.ndarray, answers: Sequence[Answer]) -> None:
    """Text above each object, moved up, or else down, where another label stands already."""
    height, width = canvas.shape[:2]
    taken: list[tuple[int, int, int, int]] = []
    for answer in answers:
        text = _text(answer)
        (w, h), below = cv2.getTextSize(text, FONT, SCALE, 1)
        h += below + 2
        visible = answer.completion.visible
        x = int(np.clip(visible.x + (visible.width - w) // 2, 0, max(0, width - w)))
        y = _free_row(x, max(0, visible.y - h - 1), w, h, height, taken)
        taken.append((x, y, w, h))
        background = canvas[y : y + h, x : x + w]
        background[:] = background // 4
        pale = tuple((channel + 255) // 2 for channel in colour_of(answer.instance.id))  # dark blue reads badly
        cv2.putText(canvas, text, (x, y + h - below), FONT, SCALE, pale, 1, cv2.LINE_AA)


def _text(answer: Answer) -> str:
    done = answer.completion
    words = [str(answer.instance.id), answer.instance.class_id]
    if done.occlusion_ratio >= 0.005:  # not where it was not estimated (NaN)
        words.append(f"{100 * done.occlusion_ratio:.0f}%")
    words.append(WORDS[done.source])
    return " ".join(word for word in words if word)


def _free_row(x: int, y: int, w: int, h: int, height: int, taken: list[tuple[int, int, int, int]]) -> int:
    """The nearest row above y, or else below, where the label covers no other; y itself if there is none."""
    for row in (*range(y, -1, -2), *range(y, height - h, 2)):
        if not any(x < tx + tw and tx < x + w and row < ty + th and ty < row + h for tx, ty, tw, th in taken):
            return row
    return min(y, max(0, height - h))
