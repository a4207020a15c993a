"""Who is in front of whom, as completions told it over time: per pair of tracks, fading."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from amodal_ros.scene import Scene
from amodal_ros.scene.order import entry

#: What was said fades with this time constant (seconds): things pass each other.
FADE = 2.0
#: A single completion may err: one counts for two thirds, many count fully.
DOUBT = 0.5


@dataclass
class _Said:
    """Faded sum of the evidence for the pair's second in front of its first, and of its weights."""

    total: float = 0.0
    weight: float = 0.0
    stamp: int = 0

    def faded(self, stamp: int) -> tuple[float, float]:
        left = math.exp(-max(0, stamp - self.stamp) / 1e9 / FADE)
        return self.total * left, self.weight * left


class Pairs:
    """Accumulates `scene.order.entry` per pair of ids. It asks for no completion: what comes is used."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self._into: dict[tuple[int, int], tuple[int, int]] = {}
        self._said: dict[tuple[int, int], _Said] = {}

    def __len__(self) -> int:
        return len(self._into) + len(self._said)

    def note(self, instance_id: int, stamp: int, into: Mapping[int, int]) -> None:
        """What one completion painted into the visible masks of others.

        Args:
            stamp: of the completed image, nanoseconds.
            into: pixels by the other's id; 0 where nothing was painted although it could have been.
        """
        for other, pixels in into.items():
            self._into[instance_id, other] = pixels, stamp
            back, when = self._into.get((other, instance_id), (0, None))
            if when is None or abs(stamp - when) > FADE * 1e9:
                continue
            first, second = sorted((instance_id, other))
            share = entry(pixels, back) if first == instance_id else entry(back, pixels)
            said = self._said.setdefault((first, second), _Said())
            total, weight = said.faded(stamp)
            said.total, said.weight, said.stamp = total + share, weight + 1.0, max(said.stamp, stamp)

    def told(self, scene: Scene) -> Scene:
        """The scene, its order told what is known of its pairs."""
        place = {thing.id: i for i, thing in enumerate(scene.things)}
        entries = {}
        for (first, second), said in self._said.items():
            i, j = place.get(first), place.get(second)
            if i is None or j is None or math.isnan(scene.order.by_masks[j, i]):
                continue
            total, weight = said.faded(scene.stamp)
            entries[i, j] = total / (weight + DOUBT)
        return scene.with_entries(entries)

    def forget(self, stamp: int) -> None:
        """Drops what has faded away."""
        old = stamp - int(3 * FADE * 1e9)
        self._into = {pair: told for pair, told in self._into.items() if told[1] >= old}
        self._said = {pair: said for pair, said in self._said.items() if said.stamp >= old}
