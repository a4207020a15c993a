"""The one thread of a node that answers: whatever one frame does, the next one is answered."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from amodal_ros.stream.collector import sparing
from amodal_ros.stream.images import BadInput
from amodal_ros.stream.intake import Intake
from amodal_ros.stream.pairing import Pair
from amodal_ros.stream.timings import Timings

#: How long an answer takes is the median of so many.
LATEST = 5
#: After it ended unexpectedly answering begins again so much later (seconds).
RETRY = 0.1

Note = Callable[[str, str], None]


class Server(threading.Thread):
    """Answers what an intake has until that closes.

    Args:
        catch_up: seconds, as in `Intake.take`; asked before each frame.
        note: called with (subject, line) about something unusual that is no drop.

    Attributes:
        parameters: the node's, which may change at any time; for servers that go by them.
    """

    parameters: Any

    def __init__(self, intake: Intake, timings: Timings, catch_up: Callable[[], float], note: Note) -> None:
        super().__init__(name="amodal-worker", daemon=True)
        self.answered_stamp: int | None = None  #: the latest answered image's stamp, nanoseconds
        self.objects: Counter[str] = Counter()  #: the latest answer's objects, by what they rest on
        self.time_jumps = 0
        self.crashes = 0  #: how often the loop has ended unexpectedly, and begun again
        self.last_crash = ""
        self.intake, self.timings, self.note = intake, timings, note
        self._catch_up = catch_up
        self._since: float | None = None
        self._interrupt = threading.Event()
        self._seconds: deque[float] = deque(maxlen=LATEST)

    def answer(self, pair: Pair) -> bool:
        """Answer one pair, for `answered`; False where it was given up.

        Raises:
            BadInput: the pair cannot be answered; it is counted as dropped for the error's reason.
        """
        raise NotImplementedError

    def prepare(self) -> None:
        """Called once a pair has been answered and counted: what the next one would have to do can be done now."""

    def show(self, pair: Pair) -> None:
        """Called once a pair has been answered and counted: what is for people, and may fail."""

    def interrupt(self) -> None:
        """Give up the frame at hand as soon as can be. Close the intake first."""
        self._interrupt.set()

    def busy(self) -> float:
        """Seconds since the frame at hand was taken; 0 between frames."""
        since = self._since
        return time.monotonic() - since if since is not None else 0.0

    @sparing()
    def run(self) -> None:
        while True:
            try:
                return self._serve()
            except BaseException as error:  # a thread that ends takes the node's answers with it
                self.crashes += 1
                self.last_crash = f"{type(error).__name__}: {error}"
                self.note("worker", f"answering ended unexpectedly ({self.last_crash}); it begins again")
                self._interrupt.wait(RETRY)

    def _serve(self) -> None:
        while (pair := self._next()) is not None:
            started = self._since = time.monotonic()
            self.timings.add("wait", started - pair.completed)
            try:
                self._answer(pair)
                self._seconds.append(time.monotonic() - started)
            except BadInput as error:
                self.intake.drop(error.reason, str(error))
            except BaseException as error:  # whatever a frame does, the next one is answered
                self.intake.drop("failed", f"the answer failed: {type(error).__name__}: {error}")
                if not isinstance(error, Exception):
                    raise
            finally:
                self._since = None

    def _next(self) -> Pair | None:
        catch_up = self._catch_up()
        return self.intake.take(statistics.median(self._seconds or [catch_up]), catch_up)

    def _answer(self, pair: Pair) -> None:
        if not self.answer(pair):
            self.intake.drop("inactive")
            return
        self.intake.answered()
        self.timings.add("latency", time.monotonic() - pair.completed)
        self.answered_stamp = pair.stamp
        # The frame is answered: what fails now is worth no more than a line.
        try:
            self.prepare()
        except Exception as error:
            self.note("prepare", f"preparing for the next frame failed: {type(error).__name__}: {error}")
        try:
            self.show(pair)
        except Exception as error:
            self.note("overlay", f"what is for people failed: {type(error).__name__}: {error}")
