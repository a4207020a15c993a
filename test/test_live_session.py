"""`LiveSession` decision by decision: completions in line, so that the clock on the wall plays no part."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from live_scenes import HEIGHT, WIDTH, Broken, Oracle, Thing, edited, film, parked, passing, standing

from amodal_ros.live.priority import Priority
from amodal_ros.live.session import LiveSession
from amodal_ros.live.tracks import Tracks
from amodal_ros.scene import Instance, MaskRegion, Scene, Source

SECOND = 1_000_000_000
MOVED = (Source.PROPAGATED, Source.REMEMBERED)
HIDDEN = (Source.GEOMETRIC, Source.INFERRED, *MOVED)


def replay(session: LiveSession, shots, instance_id: int):
    """(answer, truth) of one object, frame by frame; every answer is checked for what must always hold."""
    answers = []
    for frame, truth in shots:
        result = session.answer(frame)
        assert [a.instance for a in result] == list(frame.things)
        for i, answer in enumerate(result):
            _check(answer, i, frame)
            if answer.instance.id == instance_id:
                answers.append((answer, truth[instance_id]))
    return answers


def _check(answer, i, frame):
    completion = answer.completion
    assert completion.amodal.contains(completion.visible)
    hidden = completion.amodal - completion.visible
    assert frame.feasible(i, hidden.box).contains(hidden), "hidden parts lie under what can hide them"
    assert (answer.inferred_at < frame.stamp) == (completion.source in MOVED)
    assert completion.possible.contains(completion.amodal)
    assert completion.source not in MOVED or 0.0 <= completion.expected_iou <= 1.0
    assert (completion.source is Source.UNOCCLUDED) == frame.unoccluded(i)
    assert set(answer.occluders) == {frame.things[j].id for j in frame.in_front_of(i)}


def inside_iou(answer, truth) -> float:
    return answer.completion.amodal.clip(HEIGHT, WIDTH).iou(truth.clip(HEIGHT, WIDTH))


# --- memory ---------------------------------------------------------------------------------------------------


def test_an_object_seen_whole_is_remembered_while_a_bus_hides_it():
    shots = passing()
    answers = replay(LiveSession(Oracle(shots), in_line=0), shots, 1)
    whole = [a for a, _ in answers if a.completion.source is Source.UNOCCLUDED]
    hidden = [k for k, (a, t) in enumerate(answers) if a.completion.visible.area < 0.7 * t.area]
    assert len(whole) > 5 and len(hidden) > 5
    assert all(answers[k][0].completion.source is Source.REMEMBERED for k in hidden)
    assert min(inside_iou(*answers[k]) for k in hidden) > 0.85
    forgetful = replay(LiveSession(Oracle(shots), in_line=0, tracks=Tracks(max_tracks=0)), shots, 1)
    gains = [inside_iou(*answers[k]) - inside_iou(*forgetful[k]) for k in hidden]
    assert np.mean(gains) > 0.15, "better than the bounded hull of what is left to see"


def test_a_completion_that_comes_a_frame_late_is_heard():
    """As behind a worker: the answer to its own image is out, and the next image has a hull of its own to offer."""
    car = Thing(1, lambda k: (90 + 1.5 * k, 84, 80), (180, 60, 60))
    shots = film([car, Thing(2, standing(140, 112, 110), (60, 60, 190), 0.8)], 8)
    session = LiveSession(Oracle(shots), in_line=1, late=True)
    sources = [session.answer(frame)[0].completion.source for frame, _ in shots]
    assert sources == [Source.GEOMETRIC] + 7 * [Source.PROPAGATED]


def test_a_completion_moves_with_its_object():
    """The car is never seen whole: it comes in behind a parked bus, and the model is asked on one frame only."""
    car = Thing(1, lambda k: (90 + 1.5 * k, 84, 80), (180, 60, 60))
    bus = Thing(2, standing(140, 112, 110), (60, 60, 190), 0.8)
    shots = film([car, bus], 12)
    pipeline = Oracle(shots)
    session = LiveSession(pipeline, in_line=1)
    first = session.answer(shots[0][0])
    assert first[0].completion.source is Source.INFERRED and first[0].inferred_at == shots[0][0].stamp
    pipeline.before = lambda should_stop: (_ for _ in ()).throw(RuntimeError("no second completion"))
    for answer, truth in replay(session, shots[1:], 1):
        assert answer.completion.source is Source.PROPAGATED and answer.inferred_at == shots[0][0].stamp
        assert inside_iou(answer, truth) > 0.9


def test_a_better_view_replaces_a_guess_and_a_worse_one_does_not():
    shots = passing()
    session = LiveSession(Oracle(shots), in_line=2)
    answers = replay(session, shots, 1)
    hidden = {frame.stamp: 1 - a.completion.visible.area / t.area for (frame, _), (a, t) in zip(shots, answers)}
    rests_on = [hidden[a.inferred_at] for (f, _), (a, _) in zip(shots, answers) if hidden[f.stamp] > 0.5]
    assert len(rests_on) > 5 and max(rests_on) < 0.3, "however often the model completes the hidden car"


def test_without_a_completion_the_bounded_hull_answers():
    shots = parked(frames=3)
    for frame, _ in shots:
        for i, answer in enumerate(LiveSession(Oracle(shots), in_line=0).answer(frame)):
            expected = frame.geometric(i)
            assert answer.completion.source is expected.source and answer.completion.amodal == expected.amodal


def test_an_object_that_leaves_and_comes_back_is_known_again():
    shots = edited(passing(26), lambda k, i: None if i.id == 1 and 10 <= k < 14 else i)
    answers = replay(LiveSession(Oracle(shots), in_line=0), shots, 1)[10:]
    back = [(a, t) for a, t in answers if 0.15 < a.completion.visible.area / t.area < 0.8]
    assert back and all(a.completion.source is Source.REMEMBERED for a, _ in back)
    assert min(inside_iou(a, t) for a, t in back) > 0.8


# --- identity ---------------------------------------------------------------------------------------------------


def two_behind_walls():
    """A low red car and a tall green van, both seen whole for ten frames, then both half hidden."""
    red = Thing(1, lambda k: (30 + 2 * k, 60, 60), (190, 50, 50), 0.4)
    green = Thing(2, lambda k: (190 + 2 * k, 80, 56), (50, 180, 60), 0.9)
    walls = [Thing(n, standing(x, 100, 60), (120, 120, 120), 1.1) for n, x in ((3, 100), (4, 260))]
    return film([red, green, *walls], 26)


def test_swapped_ids_do_not_swap_shapes():
    shots = two_behind_walls()
    swap = edited(shots, lambda k, i: replace(i, id=3 - i.id) if k >= 20 and i.id in (1, 2) else i)
    session = LiveSession(Oracle(shots), in_line=0)
    for instance_id in (1, 2):
        before, after = replay(LiveSession(Oracle(shots), in_line=0), swap, instance_id)[19:21]
        assert before[0].completion.source is Source.REMEMBERED
        assert after[0].completion.source is Source.GEOMETRIC, "nothing is known of the object that has this id now"
    replay(session, swap, 1)
    assert session.diagnostics()["identity_jumps"] == 2


def test_an_id_reused_for_another_object_starts_afresh():
    shots = two_behind_walls()

    def one_id(k, instance):
        """Id 1 is the red car first, then the green van."""
        if instance.id not in (1, 2):
            return instance
        return replace(instance, id=1) if (instance.id == 2) == (k >= 20) else None

    reused = edited(shots, one_id)
    answers = replay(LiveSession(Oracle(shots), in_line=0), reused, 1)
    assert answers[19][0].completion.source is Source.REMEMBERED
    since = shots[20][0].stamp
    assert all(a.inferred_at >= since for a, _ in answers[20:]), "nothing of the red car is left"


def test_masks_that_flicker_by_a_few_pixels_keep_their_memory():
    rng = np.random.default_rng(0)
    shots = passing()
    flickering = []
    for frame, truth in shots:
        taken, instances = MaskRegion.empty(), []
        for instance in frame.things:
            rough = (instance.visible.grow(int(rng.integers(-2, 3))).clip(*frame.shape) - taken).trim()
            taken = taken | rough
            if rough:
                instances.append(replace(instance, visible=rough))
        flickering.append((frame.replace(things=instances), truth))
    session = LiveSession(Oracle(flickering), in_line=0)
    answers = replay(session, flickering, 1)
    forgetful = replay(LiveSession(Oracle(shots), in_line=0, tracks=Tracks(max_tracks=0)), flickering, 1)
    hidden = [k for k, (a, t) in enumerate(answers) if a.completion.visible.area < 0.6 * t.area]
    remembered, hulls = (np.mean([inside_iou(*run[k]) for k in hidden]) for run in (answers, forgetful))
    assert len(hidden) > 4 and remembered > hulls + 0.2
    assert session.diagnostics()["identity_jumps"] == 0


# --- the clock --------------------------------------------------------------------------------------------------


def test_a_clock_that_jumps_back_clears_the_memory_and_jitter_does_not():
    shots = passing()
    for back, expected in ((SECOND // 20, Source.REMEMBERED), (20 * SECOND, Source.GEOMETRIC)):
        session = LiveSession(Oracle(shots), in_line=0)
        for frame, _ in shots[:16]:
            session.answer(frame)  # the bus is over the car by then
        answer = session.answer(shots[16][0].replace(stamp=shots[15][0].stamp - back))[0]
        assert answer.completion.source is expected


def test_reset_forgets():
    shots = parked(frames=3)
    session = LiveSession(Oracle(shots), in_line=8, batch=8)
    session.answer(shots[0][0])
    session.reset()
    assert session.diagnostics()["tracks"] == 0
    assert {a.completion.source for a in LiveSession(Oracle(shots), in_line=0).answer(shots[1][0])} <= {
        Source.GEOMETRIC,
        Source.UNOCCLUDED,
    }


def test_the_same_frames_give_the_same_decisions():
    shots = passing()
    runs = []
    for _ in range(2):
        pipeline = Oracle(shots)
        session = LiveSession(pipeline, in_line=1)
        answers = [session.answer(frame) for frame, _ in shots]
        runs.append(
            (pipeline.asked, [[(a.completion.source, a.inferred_at, a.completion.amodal) for a in r] for r in answers])
        )
    assert runs[0] == runs[1]


def test_what_is_prepared_between_images_changes_no_answer():
    skin = np.random.default_rng(1).integers(0, 60, (HEIGHT, WIDTH, 3)).astype(np.uint8)  # corners to be followed
    shots = [(frame.replace(image=frame.image // 2 + skin), truth) for frame, truth in passing()]
    runs = []
    for prepares in (False, True):
        session, answers = LiveSession(Oracle(shots), in_line=1, late=True), []
        for frame, _ in shots:
            answers.append(session.answer(frame))
            if prepares:
                session.prepare()
        runs.append([[(a.completion.source, a.inferred_at, a.completion.amodal) for a in each] for each in answers])
    assert runs[0] == runs[1]
    assert any(source is Source.PROPAGATED for answers in runs[0] for source, _, _ in answers)


def test_a_reset_while_an_image_is_looked_at_leaves_it_to_geometry():
    (first, _), (second, _), *_ = passing()
    tracks = Tracks()
    tracks.observe(first)
    tracks.expect(second)
    tracks.clear()  # as from another thread
    tracks.observe(second)
    assert all(tracks.get(thing.id).first_stamp == second.stamp for thing in second.things)


def test_corners_are_not_followed_over_an_image_that_was_not_observed(monkeypatch):
    (first, _), (second, _), (third, _), *_ = passing()
    for skipped, traces in ((None, True), (second, False)):
        tracks, traced = Tracks(), []
        tracks.observe(first)
        if skipped is not None:
            tracks.expect(skipped)  # and its answer fails
        begin = tracks._flow.begin
        monkeypatch.setattr(
            tracks._flow,
            "begin",
            lambda image, masks, *rest, begin=begin, to=traced: to.extend(masks) or begin(image, masks, *rest),
        )
        tracks.observe(third)
        assert any(mask.area for mask in traced) is traces


# --- bounds -----------------------------------------------------------------------------------------------------


def flood(frames: int, per_frame: int, size: int = 12):
    """New ids in every frame, side by side so that every second one may be hidden."""
    for k in range(frames):
        instances = tuple(
            Instance(
                1 + k * per_frame + n,
                MaskRegion(4 + (n % 20) * (size + 1), 4 + n // 20 * (size + 1), np.ones((size, size), bool)),
            )
            for n in range(per_frame)
        )
        yield Scene(np.zeros((HEIGHT, WIDTH, 3), np.uint8), instances, stamp=SECOND + k * SECOND // 10)


def test_memory_is_bounded_in_tracks():
    session = LiveSession(Oracle([]), in_line=0, tracks=Tracks(forget_after=1e6, max_tracks=30))
    for frame in flood(10, 40):
        assert len(session.answer(frame)) == 40
        assert session.diagnostics()["tracks"] <= 30


def test_memory_is_bounded_in_bytes():
    session = LiveSession(Oracle([]), in_line=0, tracks=Tracks(forget_after=1e6, max_bytes=100_000))
    for frame in flood(10, 40):
        session.answer(frame)
        assert session.diagnostics()["memory_mb"] <= 0.1


def test_a_frame_ends_when_the_next_one_is_answered():
    """Its image is a camera's: left to the cycle collector, a hundred of them waited for it."""
    session, seen = LiveSession(Oracle(passing()), in_line=0), []
    gc.disable()
    try:
        for frame, _ in passing():
            assert all(answer.completion.possible for answer in session.answer(frame))
            seen.append(weakref.ref(frame))
            del frame
        assert sum(ref() is not None for ref in seen) <= 1
    finally:
        gc.enable()


def test_tracks_that_end_are_forgotten_after_a_time():
    session = LiveSession(Oracle([]), in_line=0, tracks=Tracks(forget_after=0.35))
    for frame in flood(20, 5):
        session.answer(frame)
        assert session.diagnostics()["tracks"] <= 20


# --- who gets the model -------------------------------------------------------------------------------------------


def test_nobody_waits_forever():
    shots = parked(count=4, frames=40)
    pipeline = Oracle(shots)
    session = LiveSession(pipeline, in_line=1)
    needy = {a.instance.id for a in session.answer(shots[0][0]) if a.completion.source in HIDDEN}
    for frame, _ in shots[1:]:
        session.answer(frame)
    assert len(needy) >= 4
    assert set(pipeline.asked) == needy
    for window in range(0, 40 - 3 * len(needy)):
        assert set(pipeline.asked[window : window + 3 * len(needy)]) == needy


def test_the_more_hidden_and_the_larger_come_first():
    def pair(n, x, width, gap):
        """Car 2n + 1 behind wall 2n + 2, which starts `gap` of the car's width to its right."""
        return [
            Thing(2 * n + 1, standing(x, 60, width), (200, 60, 60)),
            Thing(2 * n + 2, standing(x + gap * width, 78, width), (60, 60, 200), 0.9),
        ]

    shots = film([*pair(0, 10, 50, 0.85), *pair(1, 120, 50, 0.45), *pair(2, 240, 24, 0.45)], 1)
    pipeline = Oracle(shots)
    LiveSession(pipeline, in_line=6).answer(shots[0][0])
    order = [i for i in pipeline.asked if i % 2]
    assert order == [3, 1, 5] or order == [3, 5, 1]
    assert order[0] == 3, "as hidden as 5, but larger; as large as 1, but more hidden"


def test_a_class_can_weigh_more_or_never_take_the_model():
    shots = parked(count=4, frames=1)
    classes = {1: "dog", 3: "tree"}
    shots = edited(shots, lambda k, i: replace(i, class_id=classes.get(i.id, "car")))
    pipeline = Oracle(shots)
    LiveSession(pipeline, in_line=100, priority=Priority(class_weights={"dog": 100.0, "tree": 0.0})).answer(shots[0][0])
    assert pipeline.asked[0] == 1 and 3 not in pipeline.asked


def test_small_and_unhidden_objects_never_take_the_model():
    shots = passing()
    pipeline = Oracle(shots)
    session = LiveSession(pipeline, in_line=10, priority=Priority(min_area=400))
    for frame, _ in shots:
        before = len(pipeline.asked)
        answers = session.answer(frame)
        for answer in answers:
            if answer.completion.source is Source.UNOCCLUDED or answer.instance.visible.area < 400:
                assert answer.instance.id not in pipeline.asked[before:]
    assert pipeline.asked


def test_an_image_is_completed_once_per_object():
    shots = parked(frames=1)
    pipeline = Oracle(shots)
    session = LiveSession(pipeline, in_line=100, batch=3)
    for _ in range(5):  # a stalled camera
        answers = session.answer(shots[0][0])
    assert len(pipeline.asked) == len(set(pipeline.asked))
    assert all(a.completion.source is Source.INFERRED for a in answers if a.instance.id in pipeline.asked)


def growing(frames: int = 6):
    """A car (id 1) half hidden by another (id 2), both 1.12 times as large in every next image."""
    things = [
        Thing(1, lambda k: (60 - 15 * 1.12**k, 90, 40 * 1.12**k), (180, 60, 60)),
        Thing(2, lambda k: (60, 96, 40 * 1.12**k), (60, 60, 190), 0.7),
    ]
    return film(things, frames)


def test_an_object_that_grew_comes_back_after_a_quarter_of_an_hour():
    shots = growing()
    late, _ = shots[-1]
    session = LiveSession(Oracle(shots), in_line=0)
    for frame, _ in shots:
        session.answer(frame)
    answer, _ = session.answer(late.replace(stamp=late.stamp + 900 * SECOND))
    assert answer.completion.amodal.contains(answer.completion.visible)


def test_what_was_unseen_for_longer_than_forget_after_is_not_believed():
    (first, _), (second, _) = shots = parked(frames=2)
    for gap, moved in ((SECOND, True), (10 * SECOND, False)):
        session = LiveSession(Oracle(shots), in_line=8, tracks=Tracks(forget_after=3.0))
        session.answer(first)
        session._in_line = 0
        sources = {a.completion.source for a in session.answer(second.replace(stamp=first.stamp + gap))}
        assert bool(sources & set(MOVED)) == moved


# --- failures -----------------------------------------------------------------------------------------------------


def test_a_failing_model_costs_its_completions_and_nothing_else():
    shots = parked(frames=4)
    session = LiveSession(Broken(shots, calls=[0, 1]), in_line=1)
    sources = [Counter(a.completion.source for a in session.answer(frame)) for frame, _ in shots]
    figures = session.diagnostics()
    assert sources[1][Source.INFERRED] == 0 and sources[2][Source.INFERRED] == 1
    assert (figures["completions.failed"], figures["completions"]) == (2, 2)
    assert figures["last_error"] == "RuntimeError: out of memory"


def test_an_object_that_the_model_skips_falls_back():
    shots = parked(frames=2)
    pipeline = Oracle(shots)
    complete = pipeline.complete
    pipeline.complete = lambda *args, **options: [None for _ in complete(*args, **options)]
    session = LiveSession(pipeline, in_line=100)
    assert all(a.completion.source in (Source.GEOMETRIC, Source.UNOCCLUDED) for a in session.answer(shots[0][0]))
    assert session.diagnostics()["completions.failed"] == len(pipeline.asked) > 0


@pytest.mark.parametrize("options", [{"budget": -0.1}, {"budget": 1.5}, {"batch": 0}, {"in_line": -1}])
def test_bad_parameters_are_named(options):
    shots = parked(frames=1)
    with pytest.raises(ValueError, match=next(iter(options))):
        LiveSession(Oracle(shots), **options).answer(shots[0][0])


def test_bad_class_weights_are_named():
    with pytest.raises(ValueError, match="bus"):
        Priority(class_weights={"bus": float("nan")})


def test_an_empty_frame_has_no_answers():
    assert LiveSession(Oracle([]), in_line=1).answer(Scene(np.zeros((HEIGHT, WIDTH, 3), np.uint8))) == []


def test_the_session_does_not_import_torch():
    code = "import sys, amodal_ros.live.session; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
