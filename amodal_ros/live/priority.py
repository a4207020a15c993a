"""Which objects get the model next.

The model is worth its time where a fresh completion is expected to be better than what is shown now: that covers a
changed outline or size (the shown shape explains less), occlusion (more is guessed), and an object that has come into
the open. Waiting multiplies it without bound, so that no object waits forever.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from amodal_ros.live.track import Track
from amodal_ros.scene import Answer, Source

#: An object that nothing can be gained for still has this much to gain: its shape is a guess after all.
LEAST_GAIN = 0.03
#: Objects waiting for their first completion count as having waited this much longer (seconds).
FIRST_WAIT = 1.0
#: Objects of this many pixels across count fully; smaller ones in proportion.
FULL_SIZE = 64.0


@dataclass(frozen=True)
class Priority:
    """Orders objects by what completing them now would bring.

    Attributes:
        min_area: objects with fewer visible pixels never take the model.
        class_weights: factor on the priority by class name, 1 where unnamed; 0 means never.
    """

    min_area: int = 100
    class_weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        for name, weight in (self.class_weights or {}).items():
            if not (math.isfinite(weight) and weight >= 0):
                raise ValueError(f"class_weights[{name!r}]: expected a finite number >= 0, got {weight!r}")

    def order(self, answers: list[Answer], tracks: list[Track | None], stamp: int) -> list[int]:
        """Positions of the answers that can use the model, most urgent first; ties by position."""
        priority = {
            i: self.priority(answer, track, stamp)
            for i, (answer, track) in enumerate(zip(answers, tracks))
            if track is not None
        }
        return sorted((i for i in priority if priority[i] > 0), key=lambda i: -priority[i])

    def priority(self, answer: Answer, track: Track, stamp: int) -> float:
        """0 for objects that never take the model or have had it on this image."""
        visible = answer.instance.visible
        if answer.completion.source is Source.UNOCCLUDED or visible.area < self.min_area or track.asked == stamp:
            return 0.0
        weight = (self.class_weights or {}).get(answer.instance.class_id, 1.0)
        size = min(1.0, math.sqrt(visible.area) / FULL_SIZE)
        waited = (stamp - (track.first_stamp if track.asked is None else track.asked)) / 1e9
        waited = max(0.0, waited) + (FIRST_WAIT if track.asked is None else 0.0)
        shown = track.best()
        now = shown.value(stamp) if shown else track.geometric
        gain = max(0.0, track.worth_of_asking - now) + LEAST_GAIN
        return weight * size * gain * (waited + 0.01)
