"""The plain answerer: every object answered, the neediest by the model while the time lasts."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from amodal_ros.live.plain import PlainAnswerer, by_need
from amodal_ros.scene import Instance, MaskRegion, Scene, Source


def box(x: int, y: int, width: int, height: int) -> MaskRegion:
    return MaskRegion(x, y, np.ones((height, width), bool))


def street() -> Scene:
    """Two cars, each with a post before it, the nearer pair last and larger; and a car alone."""
    masks = {
        3: box(20, 30, 30, 20) - box(32, 25, 6, 28),
        4: box(32, 25, 6, 28),
        5: box(80, 40, 60, 40) - box(104, 30, 12, 55),
        6: box(104, 30, 12, 55),
        9: box(170, 50, 20, 20),
    }
    instances = tuple(Instance(i, mask.trim(), "car") for i, mask in masks.items())
    return Scene(np.zeros((100, 200, 3), np.uint8), instances, stamp=77)


class Model:
    """A pipeline's public face: answers the hull's box, slowly, and notes what it was asked."""

    name = "model"

    def __init__(self, seconds: float = 0.0) -> None:
        self.asked: list[list[MaskRegion]] = []
        self.seconds = seconds
        self.outcome = lambda completion: completion

    def complete(self, scene, *, which, seed, on_error, should_stop):
        assert on_error == "skip"
        self.asked.append([scene.masks[i] for i in which])
        results = []
        for i in which:
            end = time.perf_counter() + self.seconds
            while time.perf_counter() < end:
                if should_stop():
                    raise RuntimeError("interrupted")
                time.sleep(0.001)
            done = replace(scene.geometric(i), source=Source.INFERRED, expected_iou=0.9)
            results.append(self.outcome(done))
        return results


def sources(answers) -> dict[int, Source]:
    return {answer.instance.id: answer.completion.source for answer in answers}


def test_without_a_model_every_object_has_its_geometric_answer():
    frame = street()
    answers = PlainAnswerer().answer(frame)
    for k, answer in enumerate(answers):
        assert answer.instance is frame.things[k] and answer.inferred_at == 77
        assert answer.completion.amodal == frame.geometric(k).amodal
        assert answer.occluders == tuple(frame.things[j].id for j in frame.in_front_of(k))
    assert 4 in answers[0].occluders and sources(answers)[9] is Source.UNOCCLUDED


def test_the_model_gets_the_neediest_first_and_never_the_unoccluded():
    frame, model = street(), Model()
    answers = PlainAnswerer(model).answer(frame)
    asked = [mask for batch in model.asked for mask in batch]
    assert asked[0] == frame.things[2].visible  # the nearer car: larger, and more of it hidden
    assert frame.things[4].visible not in asked
    found = sources(answers)
    assert found[5] is Source.INFERRED and found[3] is Source.INFERRED and found[9] is Source.UNOCCLUDED
    assert set(answers[2].occluders) == {6}


def test_the_budget_leaves_the_rest_to_geometry():
    frame, model = street(), Model(seconds=0.6)
    answers = PlainAnswerer(model, frame_budget=0.5).answer(frame)
    assert [len(batch) for batch in model.asked] == [1]  # a batch that has begun is brought to its end
    assert sources(answers)[5] is Source.INFERRED and sources(answers)[3] is Source.GEOMETRIC


def test_no_budget_no_model():
    model = Model()
    assert Source.INFERRED not in sources(PlainAnswerer(model, frame_budget=0.0).answer(street())).values()
    assert model.asked == []


def test_later_batches_are_as_large_as_the_time_allows():
    model = Model(seconds=0.001)
    answerer = PlainAnswerer(model, frame_budget=60.0)
    answerer.answer(street())
    model.asked.clear()
    answerer.answer(street())
    assert len(model.asked) == 1 and len(model.asked[0]) >= 2


@pytest.mark.parametrize("outcome", ["none", "raise"])
def test_failures_are_visible_only_and_counted(outcome):
    model = Model()

    def fail(completion):
        if outcome == "raise":
            raise RuntimeError("out of memory")
        return None

    model.outcome = fail
    answerer = PlainAnswerer(model)
    answers = answerer.answer(street())
    failed = [a for a in answers if a.completion.source is Source.VISIBLE_ONLY]
    assert failed and all(a.completion.amodal == a.instance.visible for a in failed)
    assert answerer.diagnostics()["completions.failed"] == len(failed)
    assert sources(answers)[9] is Source.UNOCCLUDED
    model.outcome = lambda completion: completion
    assert sources(answerer.answer(street()))[5] is Source.INFERRED  # the next frame is not affected


def test_an_interruption_leaves_every_object_answered():
    frame, model = street(), Model(seconds=5.0)
    asked = iter([False, False])
    began = time.perf_counter()
    answers = PlainAnswerer(model).answer(frame, should_stop=lambda: next(asked, True))
    assert time.perf_counter() - began < 2.0
    assert len(answers) == 5 and Source.VISIBLE_ONLY not in sources(answers).values()


def test_tiny_objects_take_no_model():
    small = [box(10, 10, 5, 4), box(13, 8, 3, 9)]
    scene = Scene.of_masks(small, (40, 40))
    assert by_need([scene.geometric(0), scene.geometric(1)]) == []
