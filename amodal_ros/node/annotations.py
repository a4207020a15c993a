"""Answers as ``foxglove_msgs/ImageAnnotations``: outlines and words that Foxglove draws over the camera's own image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from builtin_interfaces.msg import Time

from amodal_ros.scene import Answer
from amodal_ros.scene.overlay import colour_of, label, outlines

#: Opacity of what is filled, lines in pixels, size of words.
FILLED, SEEN, WHOLE, FONT = 0.3, 1.0, 2.0, 12.0


def image_annotations(messages: Any, stamp: Time, answers: Sequence[Answer]) -> Any:
    """One ImageAnnotations for an image.

    Per object the visible outline, the outline of the hidden part, filled, and what the overlay writes.

    Args:
        messages: the module ``foxglove_msgs.msg``.
    """
    array = messages.ImageAnnotations()
    if hasattr(array, "timestamp"):  # of newer versions; older ones have those of the parts only
        array.timestamp = stamp
    for answer in answers:
        done = answer.completion
        colour = [channel / 255 for channel in colour_of(answer.instance.id)]
        line = messages.Color(r=colour[0], g=colour[1], b=colour[2], a=1.0)
        filled = messages.Color(r=colour[0], g=colour[1], b=colour[2], a=FILLED)
        for mask, thickness, fill in (
            (done.visible, SEEN, messages.Color()),
            (done.amodal - done.visible, WHOLE, filled),
        ):
            for points in outlines(mask):
                array.points.append(
                    messages.PointsAnnotation(
                        timestamp=stamp,
                        type=messages.PointsAnnotation.LINE_LOOP,
                        points=[messages.Point2(x=float(x), y=float(y)) for x, y in points],
                        outline_color=line,
                        fill_color=fill,
                        thickness=thickness,
                    )
                )
        array.texts.append(
            messages.TextAnnotation(
                timestamp=stamp,
                position=messages.Point2(x=float(done.visible.x), y=float(done.visible.y)),
                text=label(answer),
                font_size=FONT,
                text_color=messages.Color(r=1.0, g=1.0, b=1.0, a=1.0),
                background_color=messages.Color(a=0.6),
            )
        )
    return array
