"""`LiveSession` and its worker: answers keep coming whatever the model does."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from live_scenes import Broken, Oracle, Slow, parked

from amodal_ros.live import precedence
from amodal_ros.live.precedence import Precedence
from amodal_ros.live.priority import Priority
from amodal_ros.live.session import LiveSession
from amodal_ros.scene import Completion, Source

WAIT = 10.0  # seconds for anything to happen on a busy machine


def sources(answers):
    return {answer.completion.source for answer in answers}


def until(done, what: str):
    end = time.monotonic() + WAIT
    while not done():
        assert time.monotonic() < end, f"did not happen in {WAIT} s: {what}"
        time.sleep(0.005)


class running:
    """A started session that is stopped at the end."""

    def __init__(self, session: LiveSession) -> None:
        self.session = session

    def __enter__(self) -> LiveSession:
        self.session.start()
        return self.session

    def __exit__(self, *_: object) -> None:
        self.session.stop()


def test_later_frames_show_what_the_worker_completed():
    shots = parked(frames=3)
    pipeline, hold = Oracle(shots), threading.Event()
    with running(LiveSession(pipeline, patience=0.0)) as session:
        assert sources(session.answer(shots[0][0])) & {Source.GEOMETRIC, Source.INFERRED}  # the worker may be quick
        assert session.drain(WAIT)
        pipeline.before = lambda should_stop: hold.wait(WAIT)  # else it may complete the next frame before its answer
        later = session.answer(shots[1][0])
        figures = session.diagnostics()
        hold.set()
    propagated = [a for a in later if a.completion.source is Source.PROPAGATED]
    assert propagated and all(a.inferred_at == shots[0][0].stamp for a in propagated)
    assert Source.GEOMETRIC not in sources(later)
    assert figures["completions"] >= len(propagated)
    assert 0.09 < figures["staleness.p95_s"] <= 0.11


def test_without_a_budget_memory_answers_alone():
    shots = parked(frames=3)
    pipeline = Oracle(shots)
    with running(LiveSession(pipeline, budget=0.0)) as session:
        for frame, _ in shots:
            assert len(session.answer(frame)) == len(frame.things)
        assert session.drain(WAIT) and session.diagnostics()["budget_used"] == 0
    assert not pipeline.asked


def test_answers_keep_their_pace_while_a_completion_takes_forever():
    shots = parked(frames=20)
    pipeline = Slow(shots)
    with running(LiveSession(pipeline)) as session:
        session.answer(shots[0][0])
        assert pipeline.working.wait(WAIT)
        began = time.perf_counter()
        for frame, _ in shots[1:]:
            assert len(session.answer(frame)) == len(frame.things)
        assert time.perf_counter() - began < 5.0
        assert pipeline.working.is_set(), "the first completion is still under way"
        pipeline.go.set()
        until(lambda: session.diagnostics()["completions"], "the slow completion")
        late = session.answer(shots[-1][0])
    assert any(a.inferred_at == shots[0][0].stamp for a in late), "what came late is moved to the present"


def test_a_completion_that_is_ready_in_time_is_in_its_own_frames_answer():
    shots = parked(frames=3)
    with running(LiveSession(Oracle(shots), batch=8, patience=WAIT)) as session:
        session.answer(shots[0][0])
        assert session.drain(WAIT)
        assert Source.INFERRED in sources(session.answer(shots[1][0]))


def behind(first: Precedence) -> tuple[threading.Thread, threading.Event]:
    """Something that works behind answers: it asks once, in a thread of its own, and says when it may go on."""
    went_on = threading.Event()
    thread = threading.Thread(target=lambda: (first.wait(), went_on.set()), daemon=True)
    thread.start()
    return thread, went_on


def test_what_works_behind_an_answer_stands_still_until_it_is_made(monkeypatch):
    monkeypatch.setattr(precedence, "LONGEST", WAIT)
    first = Precedence()
    first.wait()  # nobody answers: returns at once
    with first.taken():
        with first.taken():
            _, went_on = behind(first)
            assert not went_on.wait(0.05)
        assert not went_on.wait(0.05), "the outer one still answers"
        with first.lent():
            assert went_on.wait(WAIT / 2)
        _, went_on = behind(first)
        assert not went_on.wait(0.05), "it is no longer lent"
    assert went_on.wait(WAIT / 2)


def test_an_answer_that_takes_long_does_not_stop_the_model(monkeypatch):
    monkeypatch.setattr(precedence, "LONGEST", 0.01)
    first = Precedence()
    with first.taken():
        thread, went_on = behind(first)
        thread.join(WAIT / 2)
        assert went_on.is_set()


@pytest.mark.parametrize("options", [{"patience": WAIT}, {"in_line": 8}])
def test_a_model_that_stands_back_completes_what_its_answer_waits_for(monkeypatch, options):
    monkeypatch.setattr(precedence, "LONGEST", 2 * WAIT)
    shots, first = parked(frames=3), Precedence()
    pipeline = Oracle(shots)
    pipeline.before = lambda should_stop: first.wait()
    with running(LiveSession(pipeline, batch=8, precedence=first, **options)) as session:
        began = time.monotonic()
        session.answer(shots[0][0])
        assert session.drain(WAIT) and time.monotonic() - began < WAIT, "it was let in at once"
        assert Source.INFERRED in sources(session.answer(shots[1][0]))


def test_the_model_stands_still_while_an_answer_is_made(monkeypatch):
    monkeypatch.setattr(precedence, "LONGEST", 2 * WAIT)
    shots, first = parked(frames=2), Precedence()
    pipeline, answering = Slow(shots), []
    with running(LiveSession(pipeline, precedence=first, patience=0.0)) as session:
        session.answer(shots[0][0])
        assert pipeline.working.wait(WAIT)
        observe = session._tracks.observe
        monkeypatch.setattr(
            session._tracks, "observe", lambda scene: (answering.append(first._free.is_set()), observe(scene))
        )
        session.answer(shots[1][0])
        assert answering == [False] and first._free.is_set()
        pipeline.go.set()


def test_stop_interrupts_and_start_begins_again():
    shots = parked(frames=2)
    pipeline = Slow(shots)
    session, before = LiveSession(pipeline), set(threading.enumerate())
    for _ in range(2):
        session.start()
        session.answer(shots[0][0])
        assert pipeline.working.wait(WAIT)
        began = time.monotonic()
        session.stop()
        assert time.monotonic() - began < WAIT / 2
        assert session.diagnostics()["completions.interrupted"] == 1
        assert session.diagnostics()["tracks"] == 0
        pipeline.working.clear()
    assert pipeline.interrupted == 2
    assert set(threading.enumerate()) <= before
    session.stop()  # once more does no harm
    assert len(session.answer(shots[1][0])) == len(shots[1][0].things), "still answers, from geometry"


def test_a_reset_interrupts_and_discards_the_completion_under_way():
    shots = parked(frames=2)
    pipeline = Slow(shots)
    with running(LiveSession(pipeline)) as session:
        session.answer(shots[0][0])
        assert pipeline.working.wait(WAIT)
        session.reset()
        until(lambda: pipeline.interrupted, "the interruption")
        assert sources(session.answer(shots[1][0])) <= {Source.GEOMETRIC, Source.UNOCCLUDED}


def test_the_worker_survives_a_model_that_raises():
    shots = parked(frames=6)
    pipeline = Broken(shots, calls=[0, 1])
    with running(LiveSession(pipeline, patience=0.0)) as session:
        session.answer(shots[0][0])
        assert session.drain(WAIT)
        answers = session.answer(shots[1][0])
        figures = session.diagnostics()
    assert figures["completions.failed"] == 2 and figures["completions"] > 0
    assert sources(answers) & {Source.INFERRED, Source.PROPAGATED}


class Skipping(Broken):
    """Fails as `AmodalPipeline` does with ``on_error="skip"``: it answers, and says why it could not."""

    def complete(self, scene, *, which, **options):
        try:
            return super().complete(scene, which=which, **options)
        except RuntimeError as error:
            masks = [scene.masks[i] for i in which]
            return [Completion(m, m, scene.shape, Source.VISIBLE_ONLY, error=str(error)) for m in masks]


@pytest.mark.parametrize("kind", [Broken, Skipping])
def test_a_hopeless_model_is_not_asked_without_pause(kind):
    shots = parked(frames=1)
    pipeline = kind(shots)
    with running(LiveSession(pipeline)) as session:
        end = time.monotonic() + 0.8
        stamp = shots[0][0].stamp
        while time.monotonic() < end:
            session.answer(shots[0][0].replace(stamp=(stamp := stamp + 10_000_000)))
        assert 1 <= pipeline.count <= 5
        figures = session.diagnostics()
    assert figures["completions.failed"] == pipeline.count and "out of memory" in figures["last_error"]


def test_a_worker_that_crashes_begins_again():
    class Stumbling(Priority):
        stumbles = 2

        def order(self, *args):
            if threading.current_thread().name == "amodal-live" and Stumbling.stumbles:
                Stumbling.stumbles -= 1
                raise SystemExit("gone")
            return super().order(*args)

    shots = parked(frames=2)
    with running(LiveSession(Oracle(shots), patience=0.0, priority=Stumbling())) as session:
        session.answer(shots[0][0])
        until(lambda: session.diagnostics()["completions"], "a completion after two crashes")
        figures = session.diagnostics()
    assert figures["worker.crashes"] == 2 and figures["last_error"] == "SystemExit: gone"


def test_a_nicer_process_keeps_its_worker_and_gets_its_threads_back():
    script = """
import os, sys, time
os.nice(15)
import torch
from live_scenes import Oracle, parked
from amodal_ros.live.session import LiveSession
torch.set_num_threads(4)
shots = parked(frames=1)
session = LiveSession(Oracle(shots))
session.start()
session.answer(shots[0][0])
assert session.drain(20)
figures = session.diagnostics()
assert figures["completions"] and "worker.crashes" not in figures, figures
session.stop()
assert torch.get_num_threads() == 4, torch.get_num_threads()
"""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)


def test_the_budget_is_a_share_of_the_time():
    shots = parked(frames=40)
    pipeline = Oracle(shots)
    pipeline.before = lambda should_stop: time.sleep(0.03)
    with running(LiveSession(pipeline, budget=0.25, patience=0.0)) as session:
        for frame, _ in shots:
            session.answer(frame)
            time.sleep(0.03)
        used = session.diagnostics()["budget_used"]
    assert 0.05 < used < 0.35


def test_answers_and_figures_can_be_asked_from_many_threads():
    shots = parked(frames=10)
    errors = []
    with running(LiveSession(Oracle(shots))) as session:

        def ask(session=session):
            try:
                for frame, _ in shots:
                    session.answer(frame)
                    session.diagnostics()
                    session.reset()
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(WAIT)
    assert not errors
    assert np.isfinite(session.diagnostics()["answer.p95_s"])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="priorities are per thread on Linux")
def test_the_worker_steps_back_behind_the_answers():
    shots = parked(frames=1)
    pipeline, nice = Oracle(shots), []
    pipeline.before = lambda should_stop: nice.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
    with running(LiveSession(pipeline)) as session:
        session.answer(shots[0][0])
        assert session.drain(WAIT)
    assert nice and min(nice) >= min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)
