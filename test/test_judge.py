"""Order from completion, the probability of a hidden pixel, the best answer and its worth, where an object can be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from amodal_ros.completion import hidden, judge
from amodal_ros.completion.crop import ObjectCrop
from amodal_ros.live.pairs import FADE, Pairs
from amodal_ros.scene import MaskRegion, Scene
from amodal_ros.scene.order import ENTRY_PIXELS, ENTRY_WEIGHT, MARGIN, entry
from amodal_ros.scene.worth import SURELY_BEHIND
from amodal_ros.settings.method import Judgement

BEST = Judgement("known", True, "best")
SECOND = 1_000_000_000


def block(x: int, y: int, width: int, height: int) -> MaskRegion:
    return MaskRegion(x, y, np.ones((height, width), bool))


def side_by_side(**options) -> Scene:
    """Two blocks of one height that meet in a straight line: the masks alone cannot tell who is in front."""
    return Scene.of_masks([block(20, 20, 40, 40), block(60, 20, 40, 40)], (80, 120), **options)


# --- order ------------------------------------------------------------------------------------------------------


@given(st.floats(0, 1e5), st.floats(0, 1e5))
def test_entry_is_antisymmetric_bounded_and_says_nothing_of_a_few_pixels(a, b):
    assert entry(a, b) == -entry(b, a) and abs(entry(a, b)) < 1
    assert entry(a, b) == pytest.approx((a - b) / (a + b + ENTRY_PIXELS))


def test_what_enters_further_goes_on_behind():
    scene = side_by_side()
    assert scene.in_front_of(0) == (1,) and scene.in_front_of(1) == (0,), "open by the masks"
    guesses = {0: block(20, 20, 70, 40), 1: block(58, 20, 42, 40)}
    told = scene.with_entries(judge.entries(scene, guesses))
    assert told.in_front_of(0) == (1,) and told.in_front_of(1) == ()
    assert told.unoccluded(1) and not told.unoccluded(0)
    even = scene.with_entries(judge.entries(scene, {0: block(20, 20, 50, 40), 1: block(50, 20, 50, 40)}))
    assert even.in_front_of(0) == (1,) and even.in_front_of(1) == (0,)


def test_depth_is_not_overruled_by_completions():
    depth = np.full((80, 120), 10.0)
    depth[:, 60:] = 5.0
    told = side_by_side(depth=depth).with_entries({(0, 1): -0.99})
    assert told.in_front_of(0) == (1,) and told.in_front_of(1) == ()


def test_in_live_the_order_accumulates_and_fades():
    pairs = Pairs()
    scene = side_by_side()
    pairs.note(1, 0, {2: 900})
    assert pairs.told(scene) is scene, "one side alone says nothing"
    evidence = []
    for k in range(1, 5):
        pairs.note(2, k, {1: 0})
        pairs.note(1, k, {2: 900})
        evidence.append(pairs.told(scene.replace(stamp=k)).order.evidence[1, 0])
    assert 0 < MARGIN < evidence[0] < evidence[-1] < ENTRY_WEIGHT
    assert pairs.told(scene.replace(stamp=4)).in_front_of(1) == ()
    later = pairs.told(scene.replace(stamp=int(3 * FADE * SECOND)))
    assert later.order.evidence[1, 0] < MARGIN and later.in_front_of(1) == (0,)
    pairs.forget(10 * int(FADE * SECOND))
    assert len(pairs) == 0


# --- the best answer ----------------------------------------------------------------------------------------------


def view_and_logits(occluders="instances", painted: float = 20.0):
    """A car whose right third a box hides; the model paints it that many pixels further, on the box."""
    shape = (80, 120)
    car, box = block(20, 30, 40, 24), block(60, 20, 20, 40)
    scene = Scene.of_masks([car, box], shape, occluders=occluders)
    crop = ObjectCrop.around(car, 0.5, 96)
    guess = crop.mask(block(20, 30, 40 + int(painted), 24))
    return scene, crop, np.where(guess, 4.0, -4.0).astype(np.float32)


def test_probabilities_lie_where_something_can_hide():
    scene, crop, logits = view_and_logits()
    view = hidden.View.of(scene, 0, crop)
    chance = hidden.hidden_probability(view, logits)
    assert (chance[~view.feasible] == 0).all() and chance.min() >= 0 and chance.max() <= 1
    assert hidden.signs(view, logits).shape == (view.open.sum(), len(hidden.SIGNS))
    painted = chance[view.open & (logits > 0)].mean()
    assert painted > 2 * chance[view.open & (logits < 0)].mean(), "the model's opinion counts"


@given(arrays(np.float32, (8, 8), elements=st.floats(0, 0.96875, width=32)), arrays(bool, (8, 8)))
def test_overlap_is_the_expected_intersection_over_the_expected_union(chance, answer):
    seen = np.zeros((8, 8), bool)
    seen[2:5, 2:5] = True
    chance = np.where(seen, 0, chance)
    blank = np.zeros((8, 8), bool)
    view = hidden.View(seen, ~seen, blank, blank, blank)
    both = np.where(seen, 1.0, chance)
    expected = (both * (answer | seen)).sum() / ((answer | seen) + both * ~(answer | seen)).sum()
    assert hidden.overlap(view, chance, answer) == pytest.approx(expected, abs=1e-5)
    shifted = hidden.leaned(chance, 0.7)
    some = chance > 0.01
    assert np.allclose(
        np.log(shifted[some] / (1 - shifted[some])) - np.log(chance[some] / (1 - chance[some])), 0.7, atol=1e-2
    )


def test_an_object_that_the_model_leaves_as_it_is_stays_as_it_is():
    scene, crop, logits = view_and_logits("any", painted=0)
    logits[logits < 0] = -12.0
    verdict = judge.judged(scene, 0, crop, logits, BEST)
    assert verdict.amodal.iou(scene.masks[0]) > 0.97


def test_what_is_painted_behind_an_occluder_is_believed_and_a_vague_guess_is_worth_less():
    scene, crop, logits = view_and_logits()
    verdict = judge.judged(scene, 0, crop, logits, BEST)
    hidden_part = verdict.amodal - scene.masks[0]
    assert hidden_part.area > 100 and scene.masks[1].grow(3).contains(hidden_part)
    more = np.where(logits > 0, logits, -0.5)  # the model is less sure where the object ends
    assert 0 < judge.judged(scene, 0, crop, more, BEST).expected_iou < verdict.expected_iou < 1
    painted = judge.judged(scene, 0, crop, logits, Judgement("known", True, "completion"))
    assert painted.kind == "completion" and painted.amodal.iou(block(20, 30, 60, 24)) > 0.9


# --- where it can be ------------------------------------------------------------------------------------------------


@given(st.integers(10, 60), st.integers(5, 40), st.sampled_from(["instances", "any", "off"]))
def test_possible_holds_the_answer_and_nothing_that_is_surely_behind(x, width, mode):
    front, mine, behind = block(x + width, 10, 20, 60), block(x, 30, width, 20), block(x, 10, width, 18)
    scene = Scene.of_masks([mine, front, behind], (80, 160), occluders=mode)
    done = scene.geometric(0)
    assert done.possible.contains(done.amodal) and 0 < done.expected_iou < 1
    for j in (1, 2):
        if scene.order.evidence[j, 0] < -SURELY_BEHIND:
            assert not done.possible.overlap(scene.masks[j])
    assert 1 not in scene.in_front_of(0) or done.possible.overlap(front)


def test_what_the_masks_order_with_little_evidence_stays_possible():
    """A thing that ends a little higher in the image is taken to be behind; for safety it can still hide."""
    mine, other = block(20, 30, 40, 20), block(10, 26, 10, 21)
    scene = Scene.of_masks([mine, other], (90, 120))
    evidence = scene.order.evidence[1, 0]
    assert -SURELY_BEHIND < evidence < -MARGIN and scene.in_front_of(0) == ()
    assert scene.geometric(0).possible.overlap(other) and not scene.geometric(0).amodal.overlap(other)


def test_ratios_that_nobody_estimated_are_not_a_number():
    scene = Scene.of_masks([block(0, 10, 30, 20), block(60, 10, 20, 20)], (60, 100))
    cut, free = scene.geometric(0), scene.geometric(1)
    assert math.isnan(cut.truncation_ratio) and free.truncation_ratio == 0.0
    assert cut.expected_iou < free.expected_iou


def test_possible_ends_one_frame_beyond_the_frame():
    """A truck that fills half of the image and is cut by its edge may go on for long; a message must end somewhere."""
    scene = Scene.of_masks([block(0, 0, 300, 200)], (200, 640))
    possible = scene.geometric(0).possible
    assert possible.x < -300 and MaskRegion(-640, -200, np.ones((600, 1920), bool)).contains(possible)


def test_an_empty_guess_is_possible_nowhere():
    scene = side_by_side()
    assert not scene.possible(0, MaskRegion.empty()) and not scene.possible(0, MaskRegion(5, 5, np.zeros((3, 3), bool)))


def test_the_completion_alone_is_answered_where_settings_say_so():
    scene, crop, logits = view_and_logits()
    logits[:] = 9.0  # all of the crop is painted
    best, painted = (judge.judged(scene, 0, crop, logits, Judgement("known", True, a)) for a in ("best", "completion"))
    nothing = judge.judged(scene, 0, crop, -logits, Judgement("known", True, "completion"))
    assert painted.kind == nothing.kind == "completion" and nothing.amodal == scene.masks[0]
    assert painted.amodal.area >= best.amodal.area


def test_a_guess_is_cut_to_what_something_hides():
    scene, *_ = view_and_logits()
    everywhere = block(0, 0, 120, 80)
    cut = judge.admissible(everywhere, scene, 0, BEST)
    assert cut.contains(scene.masks[0]) and scene.feasible(0, cut.box).contains(cut - scene.masks[0])
    apart = judge.admissible(scene.masks[0] | block(110, 5, 5, 5), scene.replace(occluders="off"), 0, BEST)
    assert apart == scene.masks[0], "what hangs together with V"
    loose = judge.admissible(block(110, 5, 5, 5), scene.replace(occluders="off"), 0, Judgement(keep_visible=False))
    assert loose == block(110, 5, 5, 5), "as published: nothing of ours"
