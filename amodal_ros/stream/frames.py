"""From messages to a `Scene`: instances are read, judged by score and class, and given ids that last."""

from __future__ import annotations

import math
from collections import OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np

from amodal_ros.live.identity import Identities
from amodal_ros.scene import Answer, Instance, MaskRegion, Occluders, Scene
from amodal_ros.stream import masks
from amodal_ros.stream.images import BadInput, depth_of, rgb_of
from amodal_ros.stream.masks import UNSAID, Flaw, Legend, Seen
from amodal_ros.stream.masks.labels import cut
from amodal_ros.stream.parameters import Parameters

#: Numbers for ids that are text begin here, and are remembered for so many of them.
TEXT_IDS, REMEMBERED = 2**31, 4096


class Frames:
    """Makes scenes of a stream's messages, and remembers who is who.

    Args:
        flaw: told (reason, text) of every part of a message that cannot be used as it is.
    """

    def __init__(self, flaw: Flaw = lambda reason, text: None) -> None:
        self._flaw = flaw
        self._texts = _Texts()
        self._identities = Identities()
        self._tracked: set[int] = set()  # ids of the latest scene's objects that have theirs from here

    def reset(self) -> None:
        """Time went back: nobody is where they were."""
        self._identities.clear()

    def scene(
        self,
        messages: Mapping[str, Any],
        stamp: int,
        parameters: Parameters,
        occluders: Occluders = "instances",
        believed: bool = True,
        legend: Legend = UNSAID,
    ) -> Scene:
        """One image with its objects, in ascending order of id.

        Args:
            messages: ``"image"`` and ``"instance_mask"``, and ``"detections"`` and ``"depth"`` where they are used.
            stamp: of the image, nanoseconds.
            occluders: as in `scene.Scene`.
            believed: whether the stamp is; if not, nothing is learnt from the frame.
            legend: as in `masks.read`.

        Raises:
            BadInput: a message cannot be read, or the sizes differ.
        """
        image = rgb_of(messages["image"])
        shape = image.shape[:2]
        self._check_frames(messages)
        seeing = masks.read(messages, shape, parameters, self._flaw, legend)
        depth = None
        if "depth" in messages:
            depth = depth_of(messages["depth"])
            _same_size("depth", depth, image)
        things, stuff = [], list(seeing.stuff)
        for seen in seeing.instances:
            if seen.class_id and seen.class_id in parameters.stuff_classes:
                stuff.append(seen.mask)
            else:
                things.append(seen)
        if len(things) > parameters.max_objects:
            raise BadInput(
                "too_many_objects",
                f"instance_mask: expected at most {parameters.max_objects} objects, got {len(things)}",
            )
        instances = self._identified(things, stamp, image, parameters.track if believed else "never")
        return Scene(image, instances, stuff, depth=depth, occluders=occluders, stamp=stamp)

    def learn(self, scene: Scene, answers: Sequence[Answer]) -> None:
        """Remember the whole shapes of the latest scene's objects: by these they are known again."""
        if self._tracked:
            wholes = {a.instance.id: a.completion.amodal for a in answers if a.instance.id in self._tracked}
            self._identities.learn(wholes)

    # --- ids ------------------------------------------------------------------------------------------------

    def _identified(self, things: Sequence[Seen], stamp: int, image: np.ndarray, track: str) -> list[Instance]:
        """Instances with ids that are unique and last. What one id was given to twice is one object in pieces."""
        named: dict[int, list[tuple[Seen, str]]] = defaultdict(list)
        nameless = []
        for seen in things:
            number, text = self._number(seen.id)
            if number is None or track == "always":
                nameless.append(seen)
            else:
                named[number].append((seen, text))
        self._tracked = set()
        if track == "never":
            free = (n for n in count(1) if n not in named)
            found = [[(next(free), seen.mask)] for seen in nameless]
        else:
            found = self._identities.identify(
                stamp, image, [s.mask for s in nameless], [s.class_id for s in nameless], taken=set(named)
            )
            self._tracked = {number for owners in found for number, _ in owners}
        for seen, owners in zip(nameless, found):
            for number, mask in owners:
                named[number].append((replace(seen, mask=mask), ""))
        return [_instance(number, pieces) for number, pieces in sorted(named.items())]

    def _number(self, given: int | str | None) -> tuple[int | None, str]:
        """An id as a number and, where it is one, as text; None where it tells nobody from another."""
        if given is None or isinstance(given, int):
            return given, ""
        text = given.strip()
        if text in ("", "-1"):  # what trackers call nobody
            return None, ""
        if text.isascii() and text.isdecimal() and int(text) < TEXT_IDS:
            return int(text), given
        number, is_new = self._texts.number(text)
        self._flaw(
            "text_id", f"id {given!r} is no number: {number} stands for it, and track_id keeps it" if is_new else ""
        )
        return number, given

    def _check_frames(self, messages: Mapping[str, Any]) -> None:
        """Masks of another frame than the image's are another camera's, or their publisher does not pass it on."""
        frame = messages["image"].header.frame_id if hasattr(messages["image"], "header") else ""
        for topic in messages.keys() & {"instance_mask", "detections"}:
            header = getattr(messages[topic], "header", None)
            theirs = header.frame_id if header is not None else ""
            if frame and theirs and theirs != frame:
                self._flaw(
                    "other_frame", f"{topic} has frame_id {theirs!r}, the image {frame!r}: is it of this camera?"
                )


class _Texts:
    """Numbers for ids that are text: the same text keeps its number while it is among the latest."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[str, int] = OrderedDict()
        self._next = TEXT_IDS

    def number(self, text: str) -> tuple[int, bool]:
        """The number of a text, and whether it is new."""
        is_new = text not in self._numbers
        if is_new:
            self._numbers[text] = self._next
            self._next = TEXT_IDS + (self._next + 1) % TEXT_IDS
            if len(self._numbers) > REMEMBERED:
                self._numbers.popitem(last=False)
        self._numbers.move_to_end(text)
        return self._numbers[text], is_new


def _instance(number: int, pieces: Sequence[tuple[Seen, str]]) -> Instance:
    largest, text = max(pieces, key=lambda piece: piece[0].mask.area)
    mask = largest.mask if len(pieces) == 1 else MaskRegion.union_of([seen.mask for seen, _ in pieces])
    score = max((s.score for s, _ in pieces if not math.isnan(s.score)), default=math.nan)
    return Instance(number, mask, largest.class_id, score, text)


def cut_instances(
    labels: np.ndarray, label_divisor: int = 0, class_names: Sequence[str] = (), max_objects: int = 256
) -> tuple[Instance, ...]:
    """The objects of a label map alone: see `masks.labels.cut`."""
    return cut(labels, label_divisor, tuple(class_names), max_objects).instances


def _same_size(name: str, plane: np.ndarray, image: np.ndarray) -> None:
    if plane.shape[:2] != image.shape[:2]:
        (height, width), (got_height, got_width) = image.shape[:2], plane.shape[:2]
        raise BadInput(
            "size_mismatch", f"{name}: expected the image's size {width}x{height}, got {got_width}x{got_height}"
        )
