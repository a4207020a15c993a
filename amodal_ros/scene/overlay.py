"""A picture for people: what is seen of each object and what is thought to be hidden. No ROS."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from amodal_ros.scene import Answer, MaskRegion, Source

#: Dark images are lifted until half of their pixels are brighter than this, by no stronger gamma than this.
EXPOSURE, STRONGEST = 110.0, 0.5
#: What is left of the background's brightness and of its colours: what is drawn stands out.
DIMMED, COLOUR = 0.5, 0.4
#: How much of the object's colour covers its hidden part, between the stripes and in them; their width in pixels.
HIDDEN, STRIPES, STRIPE = 0.55, 0.9, 5
FONT, SCALE, LINE = cv2.FONT_HERSHEY_SIMPLEX, 0.4, 14
#: Source as it stands in the label, and what the legend says of it.
WORDS = {
    Source.UNKNOWN: ("?", "of unknown source"),
    Source.INFERRED: ("model", "completed on this image"),
    Source.PROPAGATED: ("moved", "completed earlier"),
    Source.UNOCCLUDED: ("open", "nothing labelled in front"),
    Source.GEOMETRIC: ("hull", "from geometry, no model"),
    Source.VISIBLE_ONLY: ("seen only", "not completed"),
    Source.GROUND_TRUTH: ("truth", "as it is"),
    Source.REMEMBERED: ("seen before", "from an earlier view"),
}
#: Smaller images have no room for a legend (height, width).
LEGEND_FROM = (120, 300)


def draw_overlay(
    image: np.ndarray, answers: Sequence[Answer], *, names: Mapping[int, str] | None = None, note: str = ""
) -> np.ndarray:
    """The image dimmed, each object's visible part outlined and its hidden part striped, with labels and a legend.

    A label reads ``id class occlusion% source``; the percentage is left out where nothing is hidden. The legend
    explains the words that occur, and says so where no hidden part was found.

    Args:
        image: RGB uint8 (height, width, 3); it is not changed.
        names: by id, what objects are called in place of ``id class``.
        note: what the legend begins with in place of its own remark.

    Returns:
        RGB uint8 (height, width, 3).
    """
    shape = image.shape[:2]
    exposed = _exposed(image)
    grey = cv2.cvtColor(cv2.cvtColor(exposed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    canvas = cv2.addWeighted(exposed, DIMMED * COLOUR, grey, DIMMED * (1 - COLOUR), 0)
    biggest_first = sorted(answers, key=lambda answer: -answer.completion.visible.area)
    for answer in biggest_first:
        seen = answer.completion.visible.clip(*shape)
        _paint(canvas, seen, exposed[_pixels(seen)])
    for answer in biggest_first:
        _stripe(canvas, (answer.completion.amodal - answer.completion.visible).clip(*shape), answer.instance.id)
    for answer in biggest_first:
        _outline(canvas, answer.completion.visible, colour_of(answer.instance.id))
    room = _legend(canvas, answers, note)
    _labels(canvas[:room], biggest_first, names or {})
    return canvas


def _exposed(image: np.ndarray) -> np.ndarray:
    """A dark image with its shadows lifted; others as they are."""
    middle = float(np.clip(np.median(image[::4, ::4]) if image.size else 255, 1, 254)) / 255
    gamma = float(np.clip(np.log(EXPOSURE / 255) / np.log(middle), STRONGEST, 1.0))
    return cv2.LUT(image, (255 * (np.arange(256) / 255) ** gamma).round().astype(np.uint8)) if gamma < 1 else image


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


def _stripe(canvas: np.ndarray, hidden: MaskRegion, number: int) -> None:
    """An object's hidden part: stripes in its colour within a bold outline."""
    if not hidden.area:
        return
    rows, columns = np.ogrid[hidden.y : hidden.y + hidden.height, hidden.x : hidden.x + hidden.width]
    share = np.where((rows + columns) // STRIPE % 2 == 0, STRIPES, HIDDEN)[..., None]
    _paint(canvas, hidden, (1 - share) * canvas[_pixels(hidden)] + share * np.array(colour_of(number)))
    _outline(canvas, hidden, colour_of(number), 2)


def _outline(canvas: np.ndarray, mask: MaskRegion, colour: tuple[int, int, int], thickness: int = 1) -> None:
    bits = np.ascontiguousarray(mask.bits).view(np.uint8)
    contours, _ = cv2.findContours(bits, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(mask.x, mask.y))
    cv2.drawContours(canvas, contours, -1, colour, thickness, cv2.LINE_AA)


def _legend(canvas: np.ndarray, answers: Sequence[Answer], note: str) -> int:
    """Write the legend along the lower edge; returns how many rows above it are free."""
    height, width = canvas.shape[:2]
    if height < LEGEND_FROM[0] or width < LEGEND_FROM[1]:
        return height
    hides = any((a.completion.amodal - a.completion.visible).clip(height, width).area for a in answers)
    remark = "striped: hidden" if hides else "no hidden part found" if answers else "no labelled object here"
    sources = sorted({answer.completion.source for answer in answers})
    entries = [note or remark, *(": ".join(WORDS[source]) for source in sources)]
    lines = [""]
    for entry in entries:
        longer = f"{lines[-1]}    {entry}" if lines[-1] else entry
        if cv2.getTextSize(longer, FONT, SCALE, 1)[0][0] <= width - 8:
            lines[-1] = longer
        else:
            lines.append(entry)
    top = height - LINE * len(lines) - 4
    canvas[top:] //= 4
    for k, line in enumerate(lines, 1):
        cv2.putText(canvas, line, (4, top + LINE * k - 2), FONT, SCALE, (235, 235, 235), 1, cv2.LINE_AA)
    return top


def _labels(canvas: np.ndarray, answers: Sequence[Answer], names: Mapping[int, str]) -> None:
    """Text above each object, moved up, or else down, where another label stands already."""
    height, width = canvas.shape[:2]
    taken: list[tuple[int, int, int, int]] = []
    for answer in answers:
        text = label(answer, names)
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


def label(answer: Answer, names: Mapping[int, str] | None = None) -> str:
    """What is written at an object: ``id class occlusion% source``; `names` by id replace the first two."""
    done, seen = answer.completion, answer.instance
    words = [(names or {}).get(seen.id, f"{seen.id} {seen.class_id}".rstrip())]
    if done.occlusion_ratio >= 0.005:  # not where it was not estimated (NaN)
        words.append(f"{100 * done.occlusion_ratio:.0f}%")
    words.append(WORDS[done.source][0])
    return " ".join(words)


def outlines(mask: MaskRegion) -> list[np.ndarray]:
    """Outer borders of a mask, simplified: float (n, 2) each, in pixels from the image's upper left corner."""
    if not mask.area:
        return []
    bits = np.ascontiguousarray(mask.bits).view(np.uint8)
    found, _ = cv2.findContours(bits, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1, offset=(mask.x, mask.y))
    return [contour[:, 0] + 0.5 for contour in found]


def _free_row(x: int, y: int, w: int, h: int, height: int, taken: list[tuple[int, int, int, int]]) -> int:
    """The nearest row above y, or else below, where the label covers no other; y itself if there is none."""
    for row in (*range(y, -1, -2), *range(y, height - h, 2)):
        if not any(x < tx + tw and tx < x + w and row < ty + th and ty < row + h for tx, ty, tw, th in taken):
            return row
    return min(y, max(0, height - h))
