"""What came in, what waits, and what became of it: received = answered + dropped by reason + waiting."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from amodal_ros.messages import stamp_text
from amodal_ros.stream.pairing import Pair, Pairer

#: Complete pairs that may wait for the worker, however fast it is.
BACKLOG = 10


@dataclass
class Count:
    """One topic's messages since the node was made.

    Attributes:
        used: images: answered; the other topics: paired with an image.
        lost: sent but never received, as far as the middleware tells.
        dropped: by reason.
        flaws: parts of messages that could not be used, or not as they were, by reason; the rest was.
    """

    received: int = 0
    used: int = 0
    lost: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    flaws: Counter[str] = field(default_factory=Counter)

    @property
    def waiting(self) -> int:
        """Neither used nor dropped yet."""
        return self.received - self.used - self.dropped.total()


class Intake:
    """Where callbacks store messages and the worker fetches pairs. Every method may be called from any thread.

    Complete pairs wait for the worker in order. After a hiccup it catches up, unless it is slower than the camera or
    the newest pair would wait too long: then the older ones are dropped (``superseded``).

    Args:
        topics: names; the first is the image.
        dropped: called with (topic, reason, text) after each drop, outside the lock.
    """

    def __init__(self, topics: tuple[str, ...], dropped: Callable[[str, str, str], None]) -> None:
        self.topics = topics
        self.last_pair = time.monotonic()  #: when the last pair was complete, or the intake opened
        self._counts = {topic: Count() for topic in topics}
        self._last_seen: dict[str, float] = {}
        self._report = dropped
        self._lock = threading.Condition()
        self._pairer: Pairer | None = None
        self._ready: deque[Pair] = deque()
        self._keep = 1
        self._drops: list[tuple[str, str, str]] = []

    # --- the callbacks' side --------------------------------------------------------------------------------

    def open(self, topics: tuple[str, ...], *, slop: int, seconds: float, size: int) -> None:
        """Take messages of these topics from now on; the arguments are those of `Pairer`."""
        with self._lock:
            self._pairer = Pairer(topics, self._drop, slop=slop, seconds=seconds, size=size)
            self._last_seen = dict.fromkeys(topics, time.monotonic())
            self.last_pair = time.monotonic()

    def close(self) -> None:
        """Drop what waits (``inactive``), count nothing more, and send the worker home."""
        with self._lock:
            if self._pairer is not None:
                self._pairer.clear("inactive")
                self._pairer = None
            self._supersede(keep=0, reason="inactive")
            self._lock.notify_all()
        self._flush()

    def offer(self, topic: str, stamp: int, message: object, size: int) -> None:
        """A message came.

        Args:
            stamp: nanoseconds; 0 is dropped (``zero_stamp``).
            size: bytes.
        """
        now = time.monotonic()
        with self._lock:
            if self._pairer is None:
                return
            self._counts[topic].received += 1
            self._last_seen[topic] = now
            if stamp == 0:
                self._drop(topic, "zero_stamp", f"{topic}: expected a header.stamp, got zero")
            elif (pair := self._pairer.add(topic, stamp, message, size, now)) is not None:
                self.last_pair = now
                for partner in pair.messages.keys() - {self.topics[0]}:
                    self._counts[partner].used += 1
                self._ready.append(pair)
                self._supersede(self._keep)
                self._lock.notify_all()
        self._flush()

    def heed(self, topic: str) -> None:
        """A message came that belongs to no image, and is taken to heart."""
        with self._lock:
            if self._pairer is not None:
                self._counts[topic].received += 1
                self._counts[topic].used += 1

    def lose(self, topic: str, count: int) -> None:
        """The middleware says that so many messages will never come."""
        with self._lock:
            self._counts[topic].lost += count

    def expire(self) -> None:
        """Drop what has waited too long; for a timer, so that a topic that fell silent is noticed."""
        with self._lock:
            if self._pairer is not None:
                self._pairer.expire(time.monotonic())
        self._flush()

    # --- the worker's side ----------------------------------------------------------------------------------

    def take(self, seconds: float = math.inf, catch_up: float = 0.0) -> Pair | None:
        """Wait for a pair. It must be given to `answered` or `drop`. None once the intake is closed.

        Args:
            seconds: that an answer takes.
            catch_up: how long the newest pair may wait for answers to older ones, seconds; 0 keeps only the newest.
        """
        with self._lock:
            self._keep = 1 + int(min(BACKLOG - 1, catch_up / max(seconds, 1e-6)))
            self._lock.wait_for(lambda: self._ready or self._pairer is None)
            self._supersede(self._keep if seconds < self._period() else 1)
            pair = self._ready.popleft() if self._ready else None
        self._flush()
        return pair

    def answered(self) -> None:
        """The pair that was taken has been answered."""
        with self._lock:
            self._counts[self.topics[0]].used += 1

    def drop(self, reason: str, text: str = "") -> None:
        """The pair that was taken will not be answered."""
        with self._lock:
            self._drop(self.topics[0], reason, text)
        self._flush()

    def flaw(self, topic: str, reason: str, text: str) -> None:
        """A part of a message cannot be used as it is; its rest is. An empty text is counted only."""
        with self._lock:
            self._counts[topic].flaws[reason] += 1
        if text:
            self._report(topic, reason, f"{topic}: {text}")

    # --- figures --------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, Count]:
        """A consistent copy of the counts by topic."""
        with self._lock:
            return {t: replace(c, dropped=Counter(c.dropped), flaws=Counter(c.flaws)) for t, c in self._counts.items()}

    def silence(self) -> dict[str, float]:
        """Seconds since the last message of each open topic (since the intake opened, if there was none)."""
        with self._lock:
            now = time.monotonic()
            return {topic: now - seen for topic, seen in self._last_seen.items()} if self._pairer else {}

    def newest(self) -> dict[str, int | None]:
        """Each open topic's newest stamp in nanoseconds, None if there was none."""
        with self._lock:
            return dict(self._pairer.newest) if self._pairer else {}

    # --- under the lock -------------------------------------------------------------------------------------

    def _drop(self, topic: str, reason: str, text: str = "") -> None:
        self._counts[topic].dropped[reason] += 1
        self._drops.append((topic, reason, text or self._explain(topic, reason)))

    def _period(self) -> float:
        """Seconds from one waiting pair's image to the next; 0 where time jumped back."""
        if len(self._ready) < 2:
            return math.inf
        return max(0.0, (self._ready[-1].stamp - self._ready[0].stamp) / (len(self._ready) - 1) / 1e9)

    def _supersede(self, keep: int, reason: str = "superseded") -> None:
        """Drop all complete pairs but the newest `keep`; the next one tells of a jump that a dropped one had."""
        while len(self._ready) > keep:
            pair = self._ready.popleft()
            self._drop(self.topics[0], reason)
            if pair.jumped and self._ready:
                self._ready[0] = replace(self._ready[0], jumped=True)

    def _explain(self, topic: str, reason: str) -> str:
        if reason == "unpaired" and self._pairer is not None:
            stamps = ", ".join(f"{t} {stamp_text(s)}" for t, s in self._pairer.newest.items())
            return f"{topic}: no partner with its stamp came in time; newest stamps: {stamps}"
        if reason == "duplicate":
            return f"{topic}: two messages with one stamp"
        if reason == "buffer_full":
            return f"{topic}: the pairing buffer is full (pair_buffer_mb)"
        if reason == "time_jump":
            return f"{topic}: stamps went back by more than half a second; starting anew"
        return ""

    def _flush(self) -> None:
        """Tell of drops after the lock is given back: a logger may take its time."""
        with self._lock:
            drops, self._drops = self._drops, []
        for drop in drops:
            self._report(*drop)
