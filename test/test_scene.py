"""Hull, order, feasible region, bounded hull and score, on random and on hand-made frames; and on real masks."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from amodal_ros.lab.datasets.coco_a import CocoA
from amodal_ros.lab.datasets.folder import Folder
from amodal_ros.scene import Completion, MaskRegion, Scene, Source, convex_hull

HEIGHT, WIDTH = 30, 40
FRAME = (HEIGHT, WIDTH)
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@st.composite
def crowds(draw) -> list[MaskRegion]:
    """Rectangles with ragged bits: overlapping, duplicate, empty, across the frame's edge or wholly outside it."""
    masks = []
    for _ in range(draw(st.integers(1, 5))):
        bits = np.ones(draw(st.tuples(st.integers(1, 14), st.integers(1, 18))), bool)
        if draw(st.booleans()):
            bits &= draw(arrays(bool, bits.shape, fill=st.just(True)))
        masks.append(MaskRegion(draw(st.integers(-20, WIDTH)), draw(st.integers(-16, HEIGHT)), bits))
    if draw(st.booleans()):
        masks.append(masks[0])
    return masks


def block(x: int, y: int, width: int, height: int) -> MaskRegion:
    return MaskRegion(x, y, np.ones((height, width), bool))


# --- hull -------------------------------------------------------------------------------------------------


@given(arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 12))), st.integers(-9, 9), st.integers(-9, 9))
def test_hull_is_every_pixel_that_no_line_separates_from_the_mask(bits: np.ndarray, x: int, y: int) -> None:
    hull = convex_hull(MaskRegion(x, y, bits))
    rows, columns = np.nonzero(bits)
    # A pixel lies outside when some direction puts it beyond all pixels of the mask. Edges of the hull join two
    # pixels: directions across and along all such pairs, and the axes for a single pixel, are enough.
    dy, dx = (rows[:, None] - rows).ravel(), (columns[:, None] - columns).ravel()
    axes = [[1, 0], [-1, 0], [0, 1], [0, -1]]
    directions = np.unique(np.concatenate([np.stack([-dx, dy], 1), np.stack([dy, dx], 1), axes]), axis=0)
    if not rows.size:
        assert not hull
        return
    r, c = np.indices(bits.shape).reshape(2, -1)
    reach = (directions @ np.stack([rows, columns])).max(axis=1)
    inside = (directions @ np.stack([r, c]) <= reach[:, None]).all(axis=0).reshape(bits.shape)
    assert np.array_equal(hull.window(x, y, bits.shape[1], bits.shape[0]), inside)
    assert hull.contains(MaskRegion(x, y, bits))
    assert convex_hull(hull) == hull


# --- order ------------------------------------------------------------------------------------------------


@given(crowds(), st.randoms(use_true_random=False))
def test_order_does_not_depend_on_the_order_of_the_list(masks: list[MaskRegion], random) -> None:
    front = Scene.of_masks(masks, FRAME).order.in_front
    shuffled = random.sample(range(len(masks)), len(masks))
    again = Scene.of_masks([masks[k] for k in shuffled], FRAME).order.in_front
    assert np.array_equal(again, front[np.ix_(shuffled, shuffled)])


@given(crowds())
def test_of_two_that_touch_at_least_one_can_be_in_front(masks: list[MaskRegion]) -> None:
    scene = Scene.of_masks(masks, FRAME)
    front = scene.order.in_front
    assert not front.diagonal().any()
    for i, mine in enumerate(scene.masks):
        for j in range(i):
            touch = mine.grow(3).overlap(scene.masks[j].grow(3)) > 0
            assert (front[i, j] or front[j, i]) == touch


@pytest.mark.parametrize("bulging_first", [True, False])
def test_what_bulges_into_the_other_is_in_front(bulging_first: bool) -> None:
    box = block(5, 5, 20, 20)
    ball = MaskRegion(15, 16, np.ones((1, 1), bool)).grow(6)
    hidden = box - ball
    ball = ball - block(0, 25, WIDTH, HEIGHT)  # level lower edges
    order = Scene.of_masks([ball, hidden] if bulging_first else [hidden, ball], FRAME).order.in_front
    near, far = (0, 1) if bulging_first else (1, 0)
    assert order[near, far] and not order[far, near]


def test_on_a_straight_seam_the_lower_one_is_in_front() -> None:
    order = Scene.of_masks([block(5, 5, 10, 10), block(15, 5, 10, 18)], FRAME).order.in_front
    assert order.tolist() == [[False, False], [True, False]]


def test_without_any_sign_both_can_be_in_front() -> None:
    order = Scene.of_masks([block(5, 5, 10, 10), block(15, 5, 10, 10)], FRAME).order.in_front
    assert order.tolist() == [[False, True], [True, False]]


def test_depth_overrules_the_masks_and_unknown_depth_does_not() -> None:
    masks = [block(5, 5, 10, 10), block(15, 5, 10, 18)]
    depth = np.full(FRAME, 9.0, np.float32)
    depth[:, 5:15] = 5.0  # the higher one is nearer
    assert Scene.of_masks(masks, FRAME, depth=depth).order.in_front.tolist() == [[False, True], [False, False]]
    for unknown in (np.nan, 0.0, -1.0, np.inf):
        depth[:, 5:15] = unknown
        assert Scene.of_masks(masks, FRAME, depth=depth).order.in_front.tolist() == [[False, False], [True, False]]


def test_depth_is_compared_where_two_things_meet() -> None:
    bus, pedestrian = block(0, 5, 38, 15), block(30, 8, 3, 14)
    depth = np.full(FRAME, 50.0, np.float32)
    depth[:, :38] = np.linspace(3, 15, 38)
    depth[8:22, 30:33] = 11.0  # nearer than the bus there, farther than its middle
    order = Scene.of_masks([bus - pedestrian, pedestrian], FRAME, depth=depth).order.in_front
    assert order.tolist() == [[False, False], [True, False]]


# --- feasible region, bounded hull, score -----------------------------------------------------------------

BOX = (-12, -12, WIDTH + 24, HEIGHT + 24)


@given(crowds(), st.sampled_from(["instances", "any", "off"]))
def test_feasible_region(masks: list[MaskRegion], mode: str) -> None:
    scene = Scene.of_masks(masks, FRAME, mode)
    for i, mine in enumerate(scene.masks):
        feasible = scene.feasible(i, BOX)
        assert feasible.box == BOX
        assert not feasible.overlap(mine)
        assert (feasible | mine).contains(MaskRegion(*BOX[:2], ~block(0, 0, WIDTH, HEIGHT).window(*BOX)))
        occluders = MaskRegion.union_of(scene.masks[j] for j in scene.in_front_of(i))
        assert (feasible | mine).contains(occluders)
        if mode != "off":
            others = [m for j, m in enumerate(scene.masks) if j != i and j not in scene.in_front_of(i)]
            assert not feasible.overlap(MaskRegion.union_of(others) - occluders)
        part = (3, -4, 17, 20)  # any window shows the same region
        assert np.array_equal(scene.feasible(i, part).bits, feasible.window(*part))


@given(crowds(), st.sampled_from(["instances", "any", "off"]))
def test_geometric_answers(masks: list[MaskRegion], mode: str) -> None:
    scene = Scene.of_masks(masks, FRAME, mode)
    for i, mine in enumerate(scene.masks):
        answer = scene.geometric(i)
        assert answer.visible == mine
        assert answer.amodal.contains(mine)
        assert answer.amodal.clip(*FRAME) == answer.amodal  # nothing is known to lie outside
        assert convex_hull(mine).contains(answer.amodal)
        assert (mine | scene.feasible(i, BOX)).contains(answer.amodal)
        assert answer.possible.contains(answer.amodal)
        assert answer.source is Source.VISIBLE_ONLY or 0.0 <= answer.occlusion_ratio <= 1.0
        if mine.touches_edge(*FRAME):
            assert math.isnan(answer.truncation_ratio), "how far it goes on outside was not estimated"
        else:
            assert answer.truncation_ratio == 0.0
        if mine:
            assert scene.score(i, answer.amodal) == scene.score(i, mine) == 1.0
            assert answer.source == (Source.UNOCCLUDED if scene.unoccluded(i) else Source.GEOMETRIC)
        else:
            assert answer.source == Source.VISIBLE_ONLY and math.isnan(answer.occlusion_ratio)


@given(crowds(), arrays(bool, (20, 20)), st.integers(-10, WIDTH), st.integers(-10, HEIGHT))
def test_score_is_the_iou_on_known_pixels(masks: list[MaskRegion], bits: np.ndarray, x: int, y: int) -> None:
    scene = Scene.of_masks(masks, FRAME)
    guess = MaskRegion(x, y, bits)
    window = (-40, -40, 120, 120)
    for i, mine in enumerate(scene.masks):
        if not mine:
            assert scene.score(i, guess) == 0.0
            continue
        known = ~scene.feasible(i, window).bits
        a, v = guess.window(*window) & known, mine.window(*window)
        assert scene.score(i, guess) == pytest.approx((a & v).sum() / (a | v).sum())


def test_only_what_an_occluder_hides_is_filled() -> None:
    cup = block(5, 2, 20, 23) - block(12, 2, 6, 6) - block(12, 18, 6, 7)  # an H
    lid = block(12, 18, 6, 10)  # stands lower, in the lower notch
    scene = Scene.of_masks([cup, lid], FRAME)
    assert scene.geometric(0).amodal == cup | block(12, 18, 6, 7)
    assert scene.geometric(0).occluders == (1,)
    assert scene.geometric(1).source == Source.UNOCCLUDED


@pytest.mark.parametrize("sloppy", [0, 1, 2])
def test_a_crack_between_object_and_occluder_is_bridged(sloppy: int) -> None:
    hidden = block(4, 4, 30, 20) - block(14, 4, 10, 22)
    pole = block(14, 0, 10, 28)
    scene = Scene.of_masks([hidden.grow(-sloppy), pole.grow(-sloppy)], FRAME)
    assert scene.geometric(0).amodal.iou(convex_hull(hidden.grow(-sloppy))) > 0.99  # round corners in the crack


def test_alone_at_the_edge_is_not_called_unoccluded() -> None:
    assert Scene.of_masks([block(0, 5, 5, 5)], FRAME).geometric(0).source == Source.GEOMETRIC
    assert Scene.of_masks([block(1, 5, 5, 5)], FRAME).geometric(0).source == Source.UNOCCLUDED
    assert Scene.of_masks([block(5, 5, 1, 1)], FRAME).geometric(0).amodal.area == 1
    assert Scene.of_masks([block(-3, -3, 50, 50)], FRAME).geometric(0).amodal == block(0, 0, WIDTH, HEIGHT)


def test_an_empty_scene_has_no_order() -> None:
    assert Scene.of_masks([], FRAME).order.in_front.shape == (0, 0)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match=r"occluders: expected one of .* got 'some'"):
        Scene.of_masks([], FRAME, "some")
    with pytest.raises(ValueError, match="depth: expected the frame's size"):
        Scene.of_masks([], FRAME, depth=np.ones((2, 2)))


# --- real masks -------------------------------------------------------------------------------------------


def mean_iou(dataset, low: float, high: float) -> float:
    values = []
    for sample in dataset:
        masks = [thing.visible for thing in sample.objects]
        scene = Scene(None, masks, sample.context, shape=sample.shape)
        for i, thing in enumerate(sample.objects):
            if low < thing.occlusion <= high:
                values.append(scene.geometric(i).amodal.iou(thing.amodal.clip(*sample.shape)))
    return float(np.mean(values))


@pytest.mark.skipif(not (DATA / "paste_coco").is_dir(), reason="no composites beside the checkout")
def test_composites() -> None:
    assert mean_iou(Folder(DATA / "paste_coco"), 0.0, 0.5) > 0.825  # modal mask 0.700, hull 0.667


@pytest.mark.skipif(not (DATA / "cocoa").is_dir(), reason="no COCO-A annotations beside the checkout")
def test_coco_a_with_the_order_that_masks_tell() -> None:
    assert mean_iou(CocoA(DATA / "cocoa"), 0.0, 0.5) > 0.865  # modal mask 0.787, hull 0.822
    assert mean_iou(CocoA(DATA / "cocoa"), -1.0, 0.0) > 0.975  # hull 0.857


# --- stuff, and depth -------------------------------------------------------------------------------------


def van_behind_a_pole() -> tuple[MaskRegion, MaskRegion, np.ndarray]:
    """A van of 44 x 30 pixels at 10 m before a wall at 20 m, cut by a pole at 5 m; the frame is 120 x 60."""
    whole, pole = block(30, 16, 44, 30), block(48, 4, 6, 50)
    depth = np.full((60, 120), 20.0, np.float32)
    depth[16:46, 30:74] = 10.0
    depth[4:54, 48:54] = 5.0
    return whole - pole, pole, depth


def test_stuff_hides() -> None:
    van, pole, _ = van_behind_a_pole()
    alone = Scene(None, [van], shape=(60, 120))
    assert alone.geometric(0).source is Source.UNOCCLUDED
    answer = Scene(None, [van], [pole], shape=(60, 120)).geometric(0)
    assert answer.source is Source.GEOMETRIC and answer.amodal == block(30, 16, 44, 30) and answer.occluders == (1,)


def test_a_road_as_stuff_hides_nothing_and_a_wall_neither() -> None:
    van = block(30, 16, 44, 30) - block(38, 40, 28, 6)  # between its wheels one sees the road
    road, wall = block(0, 36, 120, 24) - block(30, 16, 44, 30) | block(38, 40, 28, 6), block(0, 0, 120, 36) - van
    assert Scene(None, [van], [road, wall], shape=(60, 120)).geometric(0).source is Source.UNOCCLUDED
    assert Scene.of_masks([van, road, wall], (60, 120)).geometric(0).source is Source.GEOMETRIC, "as things they could"


def sparse(depth: np.ndarray, share: float, noise: float) -> np.ndarray:
    rng = np.random.default_rng(0)
    noisy = depth * (1 + noise * rng.standard_normal(depth.shape))
    return np.where(rng.random(depth.shape) < share, noisy, np.nan).astype(np.float32)


@pytest.mark.parametrize(("share", "noise", "least"), [(1.0, 0.0, 1.0), (1.0, 0.03, 0.98), (0.2, 0.02, 0.95)])
def test_depth_shows_what_hides_without_a_label(share: float, noise: float, least: float) -> None:
    van, _, depth = van_behind_a_pole()
    scene = Scene(None, [van], depth=sparse(depth, share, noise), occluders="depth", shape=(60, 120))
    answer = scene.geometric(0)
    assert answer.source is Source.GEOMETRIC and answer.amodal.iou(block(30, 16, 44, 30)) >= least
    behind = block(28, 10, 50, 6)  # the wall above the van is farther away
    assert scene.feasible(0, behind.box).overlap(behind - block(46, 4, 10, 50)) < 0.03 * behind.area


def test_without_depth_of_its_own_an_object_has_its_labelled_neighbours() -> None:
    van, pole, depth = van_behind_a_pole()
    for unknown in (np.zeros_like(depth), np.where(van.full(60, 120), np.nan, depth)):
        scene = Scene(None, [van], [pole], depth=unknown, occluders="depth", shape=(60, 120))
        assert scene.geometric(0).amodal == block(30, 16, 44, 30)
        assert Scene(None, [van], depth=unknown, occluders="depth", shape=(60, 120)).unoccluded(0)


def test_the_ground_before_an_object_does_not_hide_it() -> None:
    """The road is nearer than the van wherever it lies lower, and yet in front of nothing."""
    height, width = 120, 240
    rows = np.arange(height)[:, None] * np.ones(width)
    depth = np.where(rows > 50, 1.5 * 200 / np.maximum(rows - 48, 1), 60.0).astype(np.float32)
    van = block(100, 40, 50, 38) - block(110, 72, 30, 6)
    depth[40:78, 100:150][van.window(100, 40, 50, 38)] = depth[77, 0]
    scene = Scene(None, [van], depth=depth, occluders="depth", shape=(height, width))
    assert scene.geometric(0).source is Source.UNOCCLUDED
    below = block(90, 82, 70, 25)
    assert scene.feasible(0, below.box).overlap(below) == 0
    depth[60:100, 120:130] = 3.0  # a bin that nobody labelled stands on the road
    hidden = Scene(None, [van - block(120, 60, 10, 40)], depth=depth, occluders="depth", shape=(height, width))
    assert hidden.feasible(0, (120, 60, 10, 18)).area > 150


@given(crowds(), st.integers(0, 5))
def test_depth_never_breaks_a_scene(masks: list[MaskRegion], seed: int) -> None:
    rng = np.random.default_rng(seed)
    depth = rng.choice([np.nan, 0.0, -1.0, np.inf, 1.0, 5.0, 5.1], FRAME).astype(np.float32)
    scene = Scene(None, masks[:3], masks[3:], depth=depth, occluders="depth", shape=FRAME)
    for i, mine in enumerate(scene.masks[: len(scene.things)]):
        assert not scene.feasible(i, BOX).overlap(mine)
        assert scene.geometric(i).amodal.contains(mine)


# --- margins, ratios --------------------------------------------------------------------------------------


def test_a_little_evidence_rules_nobody_out() -> None:
    near_even = Scene.of_masks([block(2, 2, 12, 20), block(14, 2, 12, 21)], FRAME)  # one pixel lower of twenty
    assert 0 < near_even.order.evidence[1, 0] < 0.5
    assert near_even.order.in_front.tolist() == [[False, True], [True, False]]
    clear = Scene.of_masks([block(2, 2, 12, 20), block(14, 2, 12, 25)], FRAME)
    assert clear.order.in_front.tolist() == [[False, False], [True, False]]


@pytest.mark.parametrize(("nearer", "decided"), [(0.99, False), (0.9, True)])
def test_depths_that_hardly_differ_do_not_decide(nearer: float, decided: bool) -> None:
    depth = np.full(FRAME, 10.0, np.float32)
    depth[:, 14:] = 10.0 * nearer
    order = Scene.of_masks([block(2, 2, 12, 20), block(14, 2, 12, 20)], FRAME, depth=depth).order
    assert order.in_front[0, 1] != decided and order.in_front[1, 0]


def test_ratios_tell_what_is_hidden_from_what_is_cut_off() -> None:
    done = Completion(block(0, 0, 10, 10), block(-20, 0, 30, 20), FRAME, Source.INFERRED)
    assert done.occlusion_ratio == pytest.approx(0.5), "of the 10 x 20 pixels inside the frame half are seen"
    assert done.truncation_ratio == pytest.approx(2 / 3), "20 of 30 columns lie outside"
