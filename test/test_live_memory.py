"""The rules of memory and priority one by one: what is shown, kept, forgotten, and who gets the model."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from live_scenes import HEIGHT, WIDTH, Oracle, Thing, film, passing, standing

from amodal_ros.live import following
from amodal_ros.live.motion import Similarity
from amodal_ros.live.priority import Priority
from amodal_ros.live.session import LiveSession
from amodal_ros.live.track import SHAPES, Shape, Track
from amodal_ros.live.tracks import Tracks
from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Scene, Source

SECOND = 1_000_000_000


def block(x: int, y: int, width: int, height: int) -> MaskRegion:
    return MaskRegion(x, y, np.ones((height, width), bool))


def shape(worth: float = 0.9, score: float = 1.0, stamp: int = SECOND, source: Source = Source.INFERRED) -> Shape:
    return Shape(stamp, source, block(0, 0, 9, 9), worth, score, moved=block(0, 0, 9, 9))


def track(*shapes: Shape, stamp: int = SECOND, **options) -> Track:
    return Track(1, SECOND, stamp, block(0, 0, 40, 40), shapes=list(shapes), **options)


# --- what is shown and kept ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("score", "shown"), [(0.5, False), (0.7, True)])
def test_a_shape_that_contradicts_the_known_pixels_is_not_shown(score, shown):
    assert (track(shape(score=score)).best() is not None) == shown


def test_what_is_remembered_is_worth_less_with_time_and_with_another_size():
    old, now = shape(), 11 * SECOND
    assert old.value(SECOND) - old.value(now) == pytest.approx(0.1, abs=0.05)
    before = old.value(SECOND)
    old.pose = Similarity(2.0)
    assert before - old.value(SECOND) == pytest.approx(0.05, abs=0.03)
    fresh = shape(worth=0.85, stamp=now)
    assert track(shape(), fresh, stamp=now).best() is fresh


@pytest.mark.parametrize(("preference", "heard"), [(0.2, True), (0.05, False)])
def test_a_completion_is_shown_unless_a_view_is_expected_to_be_better_by_the_preference(preference, heard):
    view, completion = shape(0.9, source=Source.GEOMETRIC), shape(0.8)
    assert (track(view, completion, preference=preference).best() is completion) == heard


def test_what_a_moved_shape_leaves_unexplained_costs_only_where_it_is_guessed():
    """The answer holds the visible mask as it is: a shape that hardly hides loses hardly anything by it."""
    known, guessed = shape(score=0.8), shape(score=0.8)
    known.guessed, guessed.guessed = 0.1, 0.6
    assert known.value(SECOND) == pytest.approx(0.9 - 0.9 * 0.2 * 0.1)
    assert guessed.value(SECOND) == pytest.approx(0.9 - 0.9 * 0.2 * 0.6)


@pytest.mark.parametrize(("answer", "hull", "gain"), [(0.5, 0.42, 0.08), (0.1, 0.12, 0.0), (0.1, np.nan, 0.0)])
def test_a_completion_is_worth_as_much_more_than_geometry_as_the_judge_found_it_better_than_the_hull(
    answer, hull, gain
):
    known = Tracks()
    frame, _ = passing()[0]
    known.observe(frame)
    i = next(i for i in range(len(frame.things)) if not frame.unoccluded(i))
    request = known.request(frame.things[i].id)
    geometric = frame.geometric(i)
    done = dataclasses.replace(geometric, source=Source.INFERRED, expected_iou=answer, hull_iou=hull)
    known.settle(request, done)
    best = known.get(frame.things[i].id).best()
    assert best.source is Source.INFERRED and best.worth == pytest.approx(geometric.expected_iou + gain)


def test_the_newest_shape_stays_and_the_least_worth_of_the_others_goes():
    known = [shape(worth) for worth in (0.9, 0.7, 0.8)]
    assert len(known) == SHAPES
    kept, newest = track(*known), shape(0.1)
    kept.add(newest)
    assert newest in kept.shapes and known[1] not in kept.shapes and len(kept.shapes) == SHAPES


def test_while_a_better_view_explains_the_object_worse_ones_are_not_collected():
    shots, tracks = passing(), Tracks()
    session = LiveSession(Oracle(shots), in_line=0, tracks=tracks)
    hidden = 0
    for frame, _ in shots:
        for answer in session.answer(frame):
            if answer.instance.id == 1 and answer.completion.source is Source.REMEMBERED:
                hidden += 1
                assert len(tracks.get(1).shapes) == 1
    assert hidden > 5


def test_a_shape_that_keeps_failing_is_forgotten():
    """A tall thing stands beside a wall; then one as coloured and as wide, but low, has its id."""
    wall = block(120, 20, 40, 80)
    image = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    tracks = Tracks()
    session = LiveSession(Oracle([]), in_line=0, tracks=tracks)
    for k in range(12):
        tall, low = block(60, 20, 60, 60), block(60, 62, 60, 18)
        visible = tall if k < 4 else low
        frame = Scene(image, [Instance(1, visible), Instance(2, wall)], stamp=SECOND + k * SECOND // 10)
        session.answer(frame)
        if k == 4:
            changed = frame.stamp
    assert tracks.get(1).shapes and all(s.stamp >= changed for s in tracks.get(1).shapes)


def test_a_remembered_shape_follows_the_outline_where_nothing_else_tells():
    """No texture to follow, and the object comes nearer: only the outline says how large it is now."""
    car = Thing(1, lambda k: (60 - 0.9 * k, 84 + 0.5 * k, 60 * 1.03**k), (180, 60, 60))
    post = Thing(2, lambda k: (180 - 5 * k, 118, 50) if k > 5 else None, (60, 60, 190), 1.6)
    image, tracks = np.full((HEIGHT, WIDTH, 3), 120, np.uint8), Tracks()
    session = LiveSession(Oracle([]), in_line=0, tracks=tracks)
    shots = film([car, post], 14)
    for frame, _ in shots:
        session.answer(frame.replace(image=image))
    oldest = min(tracks.get(1).shapes, key=lambda s: s.stamp)
    frames = len(shots) - 1 - (oldest.stamp - SECOND) * 10 // SECOND
    assert frames >= 3 and oldest.pose.scale > 1.03 ** (0.5 * frames) and oldest.score > 0.9


def test_a_completion_of_what_had_this_id_before_is_not_given_to_what_has_it_now():
    red, green = np.full((HEIGHT, WIDTH, 3), (200, 30, 30), np.uint8), np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    tracks, mask = Tracks(), block(40, 20, 40, 40)
    tracks.observe(Scene(red, [Instance(1, mask)], stamp=SECOND))
    request = tracks.request(1)
    tracks.observe(Scene(green, [Instance(1, mask)], stamp=SECOND + SECOND // 10))
    assert tracks.jumps == 1
    tracks.settle(request, Completion(mask, mask.grow(5), (HEIGHT, WIDTH), Source.INFERRED))
    assert all(s.source is not Source.INFERRED for s in tracks.get(1).shapes)


# --- who gets the model --------------------------------------------------------------------------------------


def answer() -> Answer:
    visible = block(0, 0, 40, 40)
    return Answer(Instance(1, visible), Completion(visible, visible, (HEIGHT, WIDTH), Source.GEOMETRIC), 0)


def test_waiting_counts_without_bound():
    now = 100 * SECOND
    needy = track(stamp=now, geometric=0.3, asked=now - SECOND // 10)
    content = [
        track(shape(0.95, stamp=now), stamp=now, geometric=0.9, asked=now - wait * SECOND) for wait in (1, 3, 60)
    ]
    first = Priority().priority(answer(), needy, now)
    waited = [Priority().priority(answer(), one, now) for one in content]
    assert waited == sorted(waited) and waited[0] < first < waited[-1]
    assert waited[2] / waited[1] == pytest.approx(20, rel=0.05), "in proportion to the time"


def test_a_first_completion_comes_before_a_second_one():
    now = 10 * SECOND
    never = track(stamp=now, geometric=0.5)
    never.first_stamp = now
    once = track(stamp=now, geometric=0.5, asked=now - SECOND // 2)
    assert Priority().priority(answer(), never, now) > Priority().priority(answer(), once, now)


def test_the_model_goes_round_when_all_are_alike():
    things = []
    for k in range(4):
        things.append(Thing(2 * k + 1, standing(5 + 78 * k, 70, 48), (200, 80, 40)))
        things.append(Thing(2 * k + 2, standing(27 + 78 * k, 84, 40), (40, 160, 90), 0.7))
    shots = film(things, 24)
    pipeline = Oracle(shots)
    session = LiveSession(pipeline, in_line=1)
    for frame, _ in shots:
        session.answer(frame)
    needy = set(pipeline.asked)
    assert len(needy) >= 4 and set(pipeline.asked[: len(needy)]) == needy, "everyone once before anyone twice"


def test_of_the_steps_that_do_not_explain_an_object_well_the_best_one_is_taken(monkeypatch):
    monkeypatch.setattr(following, "WELL_EXPLAINED", 1.0)  # so that all of them are tried
    place, tried = Shape.place, {}

    def noted(self, pose, scene, i):
        place(self, pose, scene, i)
        tried.setdefault(self, []).append(self.score)

    monkeypatch.setattr(Shape, "place", noted)
    shots, tracks, differed = passing(), Tracks(), 0
    session = LiveSession(Oracle(shots), in_line=0, tracks=tracks)
    for frame, _ in shots:
        tried.clear()
        session.answer(frame)
        for shape, scores in tried.items():
            assert shape.score == max(scores)
            differed += scores[-2] < max(scores[:-2], default=0.0)
    assert differed, "the last one that was tried is not always the best"
