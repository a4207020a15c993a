"""``vision_msgs/msg/LabelInfo``: what a segmenter's class numbers mean. It is published once, beside the masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amodal_ros.stream.masks.base import Flaw, Legend

#: Classes with these names, in any case and between any underscores, are no objects.
NOBODY = frozenset({"background", "bg", "void", "ignore", "ignored", "unlabeled", "unlabelled"})
#: As VisionClass has it, the largest number of 16 bits is "UNLABELED", and that of 8 where there are no more classes.
UNLABELLED, UNLABELLED_8 = 65535, 255


def read(message: Any, flaw: Flaw) -> Legend:
    """The legend of a LabelInfo; what cannot be used of it is told to `flaw`, and left out."""
    names: dict[int, str] = {}
    for entry in message.class_map:
        number, name = entry.class_id, entry.class_name.strip()
        if not name:
            flaw("no_name", f"class {number} has no name")
        elif names.setdefault(number, name) != name:
            flaw("two_names", f"class {number} is {names[number]!r} and {name!r}: the first name holds")
    if not names:
        flaw("no_names", "expected classes with their names in class_map, got none")
        return Legend()
    return legend_of(names)


def legend_of(names: Mapping[int, str]) -> Legend:
    """What names tell: see `NOBODY` and `UNLABELLED`, which a name of its own makes a class.

    >>> sorted(legend_of({0: "road", 1: "car", 2: "__ignore__"}).nobody)
    [2, 255, 65535]
    """
    largest = (UNLABELLED, UNLABELLED_8) if max(names) <= UNLABELLED_8 else (UNLABELLED,)
    unsaid = {number for number in largest if number not in names}
    return Legend(names, frozenset(unsaid | {n for n, name in names.items() if name.strip(" _").lower() in NOBODY}))
