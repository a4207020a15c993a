"""Image, label map and depth of one moment find each other by stamp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: A stamp further back than this is a clock that jumped (a bag that loops); less is jitter (nanoseconds).
JUMP = 500_000_000
#: A stamp further ahead than this is a gap, or one broken stamp (nanoseconds).
GAP = 10_000_000_000


@dataclass(frozen=True)
class Pair:
    """The messages of one moment.

    Attributes:
        stamp: of the image, nanoseconds.
        messages: by topic.
        completed: when the last of them came, seconds on the caller's clock.
        jumped: time went back by more than `JUMP` since the pair before.
        believed: False for a jump of the stamps that no second image confirms yet: it may be one broken stamp, copied
            onto the mask, and nothing should be forgotten for it.
    """

    stamp: int
    messages: dict[str, object]
    completed: float
    jumped: bool = False
    believed: bool = True


@dataclass(frozen=True, eq=False)
class _Held:
    stamp: int
    message: object
    size: int
    arrived: float
    epoch: int  # how often its topic's stamps had gone back before


class Pairer:
    """Holds messages until their partners come, within bounds of time and bytes. Not thread-safe.

    Pairs come out in the order of their stamps, except after a jump back. Every message that is added comes out in a
    pair, is reported to `drop` once, or is still held.

    Args:
        topics: names; the first is the image, whose stamp is the pair's.
        drop: called with (topic, reason) for every message that will find no partner. Reasons: ``unpaired`` (its time
            in the buffer is over), ``skipped`` (no partner came before a newer image had its own), ``late`` (an image
            as new was paired before), ``duplicate``, ``buffer_full``, ``time_jump``.
        slop: how far a partner's stamp may be off the image's, nanoseconds.
        seconds: how long a message may wait for its partners.
        size: how many bytes may wait in all.
    """

    def __init__(
        self,
        topics: Sequence[str],
        drop: Callable[[str, str], None],
        *,
        slop: int = 0,
        seconds: float = 2.0,
        size: int = 256_000_000,
    ) -> None:
        self.newest: dict[str, int | None] = dict.fromkeys(topics)  #: stamp of each topic's newest message
        self._image = topics[0]
        self._held: dict[str, list[_Held]] = {topic: [] for topic in topics}
        self._drop = drop
        self._slop, self._seconds, self._size = slop, seconds, size
        self._bytes = 0
        self._paired: int | None = None  # the last pair's stamp
        self._epoch = dict.fromkeys(topics, 0)
        self._suspect: dict[str, int | None] = dict.fromkeys(topics)  # a stamp that jumped, until a second one does

    def waiting(self, topic: str) -> int:
        """How many messages of a topic are held."""
        return len(self._held[topic])

    def add(self, topic: str, stamp: int, message: object, size: int, now: float) -> Pair | None:
        """Take a message in; returns the pair that it completes, if any.

        Args:
            stamp: nanoseconds.
            size: bytes.
            now: seconds on any clock that does not go back.
        """
        self.expire(now)
        epoch = self._follow(topic, stamp)
        if stamp == self._paired or any(held.stamp == stamp for held in self._held[topic]):
            self._drop(topic, "duplicate")
            return None
        if self._is_late(topic, stamp):
            self._drop(topic, "late")
            return None
        self._held[topic].append(_Held(stamp, message, size, now, epoch))
        self._bytes += size
        pair = self._match(topic, stamp, now)
        while self._bytes > self._size:
            oldest = min((t for t in self._held if self._held[t]), key=lambda t: self._held[t][0].arrived)
            self._remove(oldest, self._held[oldest][0], "buffer_full")
        return pair

    def expire(self, now: float) -> None:
        """Drop what has waited too long."""
        self._drop_where(lambda topic, held: now - held.arrived > self._seconds, "unpaired")

    def clear(self, reason: str) -> None:
        """Drop all that is held and forget the past."""
        self._drop_where(lambda topic, held: True, reason)
        self._paired = None
        self._suspect = dict.fromkeys(self._suspect)
        self.newest = dict.fromkeys(self.newest)

    def _follow(self, topic: str, stamp: int) -> int:
        """Note a topic's newest stamp; returns the message's epoch.

        One stamp can be broken: a jump is believed when a second message confirms it. After one back what the buffer
        holds of the time before is of no use; topics jump one after the other, and what has jumped already stays.
        """
        newest, suspect = self.newest[topic], self._suspect[topic]
        self._suspect[topic] = None
        if newest is None or -GAP <= newest - stamp <= JUMP:
            self.newest[topic] = stamp if newest is None else max(newest, stamp)
        elif suspect is None or not -GAP <= suspect - stamp <= JUMP:
            self._suspect[topic] = stamp
            return self._epoch[topic] + 1
        else:
            self._epoch[topic] += 1
            self.newest[topic] = max(stamp, suspect)
            self._drop_before(self._epoch[topic], stamp)
        return self._epoch[topic]

    def _drop_before(self, epoch: int, stamp: int) -> None:
        self._drop_where(lambda _, held: held.epoch < epoch and held.stamp - stamp > JUMP, "time_jump")

    def _is_late(self, topic: str, stamp: int) -> bool:
        """Whether a message lies before the last pair (but not so far before that time has jumped)."""
        return self._paired is not None and self._is_past(topic, stamp) and self._paired - stamp <= JUMP

    def _is_past(self, topic: str, stamp: int) -> bool:
        """Whether no image after the last pair can need this message."""
        assert self._paired is not None
        return stamp <= (self._paired if topic == self._image else self._paired - self._slop)

    def _match(self, topic: str, stamp: int, now: float) -> Pair | None:
        images = self._within(self._image, stamp) if topic != self._image else [self._held[topic][-1]]
        for image in images:
            partners = {t: self._within(t, image.stamp)[:1] for t in self._held if t != self._image}
            if all(partners.values()):
                chosen = {self._image: image, **{t: held for t, (held,) in partners.items()}}
                return self._take(chosen, now)
        return None

    def _within(self, topic: str, stamp: int) -> list[_Held]:
        """Held messages within the slop, nearest first."""
        near = [held for held in self._held[topic] if abs(held.stamp - stamp) <= self._slop]
        return sorted(near, key=lambda held: abs(held.stamp - stamp))

    def _take(self, chosen: dict[str, _Held], now: float) -> Pair:
        stamp = chosen[self._image].stamp
        for topic, held in chosen.items():
            self._remove(topic, held)
        messages = {topic: held.message for topic, held in chosen.items()}
        if chosen[self._image].epoch > self._epoch[self._image]:
            return Pair(stamp, messages, now, believed=False)
        jumped = self._paired is not None and self._paired - stamp > JUMP
        self._paired = stamp
        epoch = max(held.epoch for held in chosen.values())
        if jumped:
            self._drop_before(epoch, stamp)
        self._drop_where(lambda topic, held: held.epoch <= epoch and self._is_past(topic, held.stamp), "skipped")
        return Pair(stamp, messages, now, jumped)

    def _drop_where(self, hopeless: Callable[[str, _Held], bool], reason: str) -> None:
        for topic, queue in self._held.items():
            for held in [held for held in queue if hopeless(topic, held)]:
                self._remove(topic, held, reason)

    def _remove(self, topic: str, held: _Held, reason: str | None = None) -> None:
        self._held[topic].remove(held)
        self._bytes -= held.size
        if reason is not None:
            self._drop(topic, reason)
