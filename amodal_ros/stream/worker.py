"""The one thread that answers: pair in, array out."""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable

from amodal_ros.live.plain import PlainAnswerer
from amodal_ros.scene import Answer, Scene
from amodal_ros.stream.answerers import Loaded
from amodal_ros.stream.frames import scene_of
from amodal_ros.stream.images import BadInput
from amodal_ros.stream.intake import Intake
from amodal_ros.stream.pairing import Pair
from amodal_ros.stream.parameters import Parameters
from amodal_ros.stream.timings import Timings

#: How long an answer takes is the median of so many.
LATEST = 5
#: After it ended unexpectedly answering begins again so much later (seconds).
RETRY = 0.1
#: Answers a frame whose stamp is not believed: it neither uses nor disturbs what is remembered.
GEOMETRY = PlainAnswerer()

Publish = Callable[[object, Scene, list[Answer]], None]


class Worker(threading.Thread):
    """Answers pairs until the intake closes, then gives the model's memory back.

    Args:
        loaded: started; the worker stops and frees it at its end.
        publish, show: called with (image message, scene, answers); `show` after the answers are out.
        parameters: an attribute, which may change at any time.
        note: called with a line about something unusual that is no drop.
    """

    def __init__(
        self,
        intake: Intake,
        loaded: Loaded,
        publish: Publish,
        show: Publish,
        parameters: Parameters,
        timings: Timings,
        note: Callable[[str, str], None],
    ) -> None:
        super().__init__(name="amodal-worker", daemon=True)
        self.objects: Counter[str] = Counter()  #: the latest answered frame's objects by source
        self.answered_stamp: int | None = None  #: the latest answered image's stamp, nanoseconds
        self.time_jumps = 0
        self.crashes = 0  #: how often the loop has ended unexpectedly, and begun again
        self.last_crash = ""
        self.parameters = parameters
        self._intake, self._timings = intake, timings
        self._loaded: Loaded | None = loaded
        self._since: float | None = None
        self._publish, self._show, self._note = publish, show, note
        self._interrupt = threading.Event()
        self._seconds: deque[float] = deque(maxlen=LATEST)

    def interrupt(self) -> None:
        """Give up the frame at hand between two denoising steps. Close the intake first."""
        self._interrupt.set()

    def busy(self) -> float:
        """Seconds since the frame at hand was taken; 0 between frames."""
        since = self._since
        return time.monotonic() - since if since is not None else 0.0

    def run(self) -> None:
        loaded, self._loaded = self._loaded, None  # whoever keeps the worker for its figures keeps no model
        assert loaded is not None
        try:
            while True:
                try:
                    return self._serve(loaded)
                except BaseException as error:  # a thread that ends takes the node's answers with it
                    self.crashes += 1
                    self.last_crash = f"{type(error).__name__}: {error}"
                    self._note("worker", f"answering ended unexpectedly ({self.last_crash}); it begins again")
                    self._interrupt.wait(RETRY)
        finally:
            loaded.answerer.stop()
            loaded.free()

    def _serve(self, loaded: Loaded) -> None:
        """Answer pairs until the intake closes."""
        while (pair := self._next()) is not None:
            started = self._since = time.monotonic()
            try:
                self._answer(loaded, pair)
                self._seconds.append(time.monotonic() - started)
            except BadInput as error:
                self._intake.drop(error.reason, str(error))
            except BaseException as error:  # whatever a frame does, the next one is answered
                self._intake.drop("failed", f"the answer failed: {type(error).__name__}: {error}")
                if not isinstance(error, Exception):
                    raise
            finally:
                self._since = None

    def _next(self) -> Pair | None:
        catch_up = self.parameters.catch_up
        return self._intake.take(statistics.median(self._seconds or [catch_up]), catch_up)

    def _answer(self, loaded: Loaded, pair: Pair) -> None:
        self._timings.add("wait", time.monotonic() - pair.completed)
        parameters = self.parameters
        loaded.follow(parameters)
        if pair.jumped:
            loaded.answerer.reset()
            self.time_jumps += 1
            self._note("time_jump", "stamps went back (a bag that loops?): what was remembered is forgotten")
        with self._timings.measure("decode"):
            scene = scene_of(
                pair.messages,
                pair.stamp,
                parameters.label_divisor,
                parameters.class_names,
                parameters.max_objects,
                loaded.occluders,
            )
        with self._timings.measure("answer"):
            answerer = loaded.answerer if pair.believed else GEOMETRY
            answers = answerer.answer(scene, self._interrupt.is_set)
        if self._interrupt.is_set():
            self._intake.drop("inactive")
            return
        with self._timings.measure("publish"):
            self._publish(pair.messages["image"], scene, answers)
        self._intake.answered()
        self._timings.add("latency", time.monotonic() - pair.completed)
        self.objects = Counter(answer.completion.source.name for answer in answers)
        self.answered_stamp = pair.stamp
        try:
            self._show(pair.messages["image"], scene, answers)
        except Exception as error:  # the frame is answered; a picture for people is not worth more than a line
            self._note("overlay", f"the overlay failed: {type(error).__name__}: {error}")
