"""`LiveSession`: every frame answered at once, completions refined behind it by one worker."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from amodal_ros.errors import Interrupted
from amodal_ros.live.figures import Figures
from amodal_ros.live.pairs import Pairs
from amodal_ros.live.precedence import Precedence
from amodal_ros.live.priority import Priority
from amodal_ros.live.track import Request
from amodal_ros.live.tracks import Tracks
from amodal_ros.scene import Answer, Completion, Scene, Source

log = logging.getLogger(__name__)

#: A stamp further back than this is a clock that jumped (a bag that loops), not jitter (seconds).
CLOCK_JUMP = 0.5
#: After a call of the model that raised, the worker waits this long, doubling up to the longest (seconds).
RETRY, LONGEST_RETRY = 0.1, 5.0
#: So much nicer than the process is the worker's thread; 19 is the most modest.
NICENESS = 10


class Pipeline(Protocol):
    """What the session needs of `amodal_ros.completion.AmodalPipeline`."""

    name: str

    def complete(
        self,
        scene: Scene,
        *,
        which: Sequence[int],
        seed: int,
        on_error: str,
        should_stop: Callable[[], bool],
    ) -> Sequence[Completion | None]: ...


@dataclass
class _Latest:
    """The latest scene and its answers so far."""

    scene: Scene
    answers: list[Answer]
    era: int


class LiveSession:
    """Answers every object of every frame in bounded time from memory; a worker spends the compute behind it.

    Each answer is UNOCCLUDED, INFERRED (completed on this image), PROPAGATED (completed earlier and moved with the
    object), REMEMBERED (a better view from earlier, moved) or GEOMETRIC (nothing remembered explains the object).

    Args:
        pipeline: completes objects; shared with nobody else while the session runs.
        budget: share of the time that the model may work, in [0, 1]. 0: memory and geometry alone, no worker.
        batch: objects per call of the model.
        patience: how long `answer` may wait for completions of its own frame, in seconds since it was called; it
            waits only while the model has lately been fast enough.
        priority: who gets the model first, and who never.
        tracks: the memory and its bounds.
        precedence: taken while an answer is made; `Precedence.wait` is for the model, to be asked between its layers.
        in_line: instead of a worker, complete this many objects within every `answer`: same frames, same decisions,
            whatever the wall clock. For tests and evaluation.
        late: completions in line count from the next frame on, as those of a worker that takes its time.
        seed: of every completion: the same object keeps its noise, which steadies its mask.

    Raises:
        ValueError: a parameter is out of range.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        *,
        budget: float = 1.0,
        batch: int = 1,
        patience: float = 0.02,
        priority: Priority | None = None,
        tracks: Tracks | None = None,
        precedence: Precedence | None = None,
        in_line: int | None = None,
        late: bool = False,
        seed: int = 0,
    ) -> None:
        if not 0.0 <= budget <= 1.0:
            raise ValueError(f"budget: expected a share in [0, 1], got {budget!r}")
        if batch < 1:
            raise ValueError(f"batch: expected at least 1 object, got {batch!r}")
        if in_line is not None and in_line < 0:
            raise ValueError(f"in_line: expected at least 0 completions per frame, got {in_line!r}")
        self.name = pipeline.name
        self._pipeline = pipeline
        self._budget, self._batch, self._patience = budget, batch, patience
        self._priority = priority or Priority()
        self._precedence = precedence or Precedence()
        self._in_line, self._late, self._seed = in_line, late, seed
        self._lock = threading.Condition()
        self._tracks = Tracks() if tracks is None else tracks
        self._pairs = Pairs()
        self._latest: _Latest | None = None
        self._worker: threading.Thread | None = None
        self._interrupt = threading.Event()
        self._busy = False
        self._era = 0  # counts resets: a completion that began before the last one is void
        self._figures = Figures()

    # --- lifecycle ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts the worker; does nothing when it runs."""
        with self._lock:
            if self._worker is not None:
                return
            self._interrupt.clear()
            self._figures = Figures()
            self._tracks.open()
            if self._in_line is None and self._budget > 0.0:
                self._worker = threading.Thread(target=self._work, name="amodal-live", daemon=True)
                self._worker.start()

    def stop(self) -> None:
        """Interrupts what runs between two denoising steps, ends the worker and forgets everything."""
        self._interrupt.set()
        with self._lock:
            worker, self._worker = self._worker, None
            self._lock.notify_all()
        if worker is not None:
            worker.join()
        self.reset()
        with self._lock:
            self._tracks.close()

    def reset(self) -> None:
        """Forgets what earlier frames taught and interrupts a completion under way."""
        with self._lock:
            self._clear()

    def drain(self, timeout: float | None = None) -> bool:
        """Waits until the model has nothing left to do for the latest frame; False when that took too long."""
        with self._lock:
            return self._lock.wait_for(lambda: not self._busy and (self._worker is None or not self._urgent()), timeout)

    # --- answering ------------------------------------------------------------------------------------------

    def answer(self, scene: Scene, should_stop: Callable[[], bool] = lambda: False) -> list[Answer]:
        """One answer per thing, in the scene's order, in bounded time.

        Args:
            scene: the next image of the stream. A stamp far before the last one clears the memory.
            should_stop: ends waiting, and completions that run in line.
        """
        with self._precedence.taken():
            return self._answers(scene, should_stop)

    def prepare(self) -> None:
        """Does between images what the next answer would have to; called by the thread that answers."""
        with self._lock:
            self._tracks.prepare()

    def _answers(self, scene: Scene, should_stop: Callable[[], bool]) -> list[Answer]:
        started = time.perf_counter()
        with self._lock:
            if self._latest is not None and scene.stamp < self._latest.scene.stamp - int(CLOCK_JUMP * 1e9):
                self._clear()
            self._tracks.expect(scene)
            scene = self._pairs.told(scene)
        for i in range(len(scene.things)):
            scene.geometric(i)  # without the lock: the worker need not wait for it
        with self._lock:
            self._tracks.observe(scene)
            self._pairs.forget(scene.stamp)
            latest = _Latest(scene, [self._answer(scene, i) for i in range(len(scene.things))], self._era)
            self._latest = latest
            self._lock.notify_all()
        early = list(latest.answers)
        if self._in_line is None:
            self._await(latest, started + self._patience, should_stop)
        else:
            self._complete_in_line(latest, self._in_line, should_stop)
        with self._lock:
            answers = early if self._late else list(latest.answers)
            self._figures.answered(answers, scene.stamp, time.perf_counter() - started)
            return answers

    def _answer(self, scene: Scene, i: int) -> Answer:
        """The best that is known about thing i now: nothing hides it, a remembered shape, or the bounded hull."""
        thing = scene.things[i]
        track = self._tracks.get(thing.id)
        completion, stamp = scene.geometric(i), scene.stamp
        shape = track.best() if track and completion.source is not Source.UNOCCLUDED else None
        if shape is not None and (shape.source is Source.INFERRED or shape.stamp != scene.stamp):
            visible = scene.masks[i]
            source = shape.source
            if shape.stamp != scene.stamp:
                source = Source.PROPAGATED if source is Source.INFERRED else Source.REMEMBERED
            amodal = (visible | shape.hidden).connected_to(visible)
            completion = replace(
                completion,
                amodal=amodal,
                source=source,
                expected_iou=min(1.0, max(0.0, shape.value(scene.stamp))),
                agreement=shape.agreement,
                estimates_outside=shape.estimates_outside or not visible.touches_edge(*scene.shape),
            )
            stamp = shape.stamp
        return Answer(thing, completion, stamp, scene.ids(completion.occluders))

    def _await(self, latest: _Latest, deadline: float, should_stop: Callable[[], bool]) -> None:
        """Gives completions of this very frame a chance to be in its answer."""
        with self._lock:
            while self._worker is not None and latest is self._latest and not should_stop():
                left = deadline - time.perf_counter()
                typical = self._figures.typical_call()
                if typical is None or typical > left or not (self._busy or self._urgent()):
                    return
                with self._precedence.lent():
                    self._lock.wait(left)

    def _complete_in_line(self, latest: _Latest, objects: int, should_stop: Callable[[], bool]) -> None:
        while objects > 0 and not should_stop():
            with self._lock:
                chosen = self._urgent()[: min(objects, self._batch)] if latest is self._latest else []
                requests = self._request(latest, chosen)
            if not chosen:
                return
            with self._precedence.lent():
                self._complete(latest, chosen, requests, should_stop)
            objects -= len(chosen)

    # --- completing -----------------------------------------------------------------------------------------

    def _work(self) -> None:
        """The worker: the most urgent objects of the latest frame, again and again, within the budget.

        Whatever raises, it goes on: a worker that ended would leave the answers to geometry in silence.
        """
        retry = RETRY
        with _yielding_to_answers():
            while not self._interrupt.is_set():
                try:
                    seconds = self._work_once()
                except BaseException as error:
                    log.error("the worker behind the answers failed: %s: %s", type(error).__name__, error)
                    seconds = None
                    with self._lock:
                        self._busy = False
                        self._figures.worker_failed(error)
                        self._lock.notify_all()
                retry = min(2 * retry, LONGEST_RETRY) if seconds is None else RETRY
                rest = retry if seconds is None else seconds * (1.0 / self._budget - 1.0)
                self._interrupt.wait(max(0.0, rest))

    def _work_once(self) -> float | None:
        """Waits for something to complete and completes it; the seconds that it took, None when the model failed."""
        with self._lock:
            self._lock.wait_for(lambda: self._interrupt.is_set() or self._urgent())
            latest, chosen = self._latest, self._urgent()[: self._batch]
            if self._interrupt.is_set() or latest is None:
                return 0.0
            requests = self._request(latest, chosen)
            self._busy = True
        started = time.perf_counter()
        worked = self._complete(latest, chosen, requests, lambda: False)
        return time.perf_counter() - started if worked else None

    def _urgent(self) -> list[int]:
        latest = self._latest
        if latest is None:
            return []
        tracks = [self._tracks.get(answer.instance.id) for answer in latest.answers]
        return self._priority.order(latest.answers, tracks, latest.scene.stamp)

    def _request(self, latest: _Latest, chosen: Sequence[int]) -> list[Request]:
        return [self._tracks.request(latest.scene.things[i].id) for i in chosen]

    def _complete(
        self, latest: _Latest, chosen: list[int], requests: list[Request], should_stop: Callable[[], bool]
    ) -> bool:
        """Has the model complete objects of a frame and remembers what came of it; False when it failed."""

        def stop() -> bool:
            return self._interrupt.is_set() or self._era != latest.era or should_stop()

        results: list[Completion | None] = [None] * len(chosen)
        error: Exception | None = None
        interrupted = False
        started = time.perf_counter()
        try:
            results[:] = self._pipeline.complete(
                latest.scene, which=chosen, seed=self._seed, on_error="skip", should_stop=stop
            )
        except Interrupted as stopped:
            results[: len(stopped.results)], interrupted = stopped.results, True
        except Exception as raised:  # whatever the model does, the session lives and the objects fall back
            error = raised
        with self._lock:
            self._busy = False
            for request, result in zip(requests, results):
                self._tracks.settle(request, result)
            self._note_order(latest.scene, chosen, results)
            if latest is self._latest:
                for i in chosen:
                    latest.answers[i] = self._answer(latest.scene, i)
            failed = [result.error for result in results if result is not None and result.error]
            reason = f"{type(error).__name__}: {error}" if error is not None else next(iter(failed), "")
            self._figures.completed(results, time.perf_counter() - started, reason, interrupted)
            self._lock.notify_all()
        return error is None and not (failed and len(failed) == len(results))

    def _note_order(self, scene: Scene, chosen: Sequence[int], results: Sequence[Completion | None]) -> None:
        """Remembers which completions entered which others: evidence of who is in front."""
        things = scene.things
        for i, result in zip(chosen, results):
            if result is not None:
                into = {things[j].id: pixels for j, pixels in result.enters.items() if j < len(things)}
                self._pairs.note(things[i].id, scene.stamp, into)

    def _clear(self) -> None:
        self._tracks.clear()
        self._pairs.clear()
        self._latest = None
        self._era += 1

    # --- figures --------------------------------------------------------------------------------------------

    def diagnostics(self) -> Mapping[str, float | int | str]:
        with self._lock:
            tracks = self._tracks
            memory = {"tracks": len(tracks), "memory_mb": tracks.nbytes / 1e6, "identity_jumps": tracks.jumps}
            return {**self._figures.summary(), **memory}


@contextmanager
def _yielding_to_answers() -> Iterator[None]:
    """Has the calling thread step back, so that answering stays first: half of the cores, lower priority."""
    if sys.platform == "linux":  # priorities are per thread there, per process elsewhere
        thread = threading.get_native_id()
        with suppress(OSError):  # it is a courtesy, and some sandboxes refuse it
            nicer = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, min(19, nicer))
    torch = sys.modules.get("torch")  # a pipeline on torch has imported it; the session itself does not need it
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()  # of the whole process, which has them back afterwards
    torch.set_num_threads(max(1, threads // 2))
    try:
        yield
    finally:
        torch.set_num_threads(threads)
