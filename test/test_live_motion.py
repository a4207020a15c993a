"""Motion between images and fits to outlines, on known transforms."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from amodal_ros.live.motion import Flow, Similarity, box_step, fit_points, flow_steps
from amodal_ros.live.outline import Fit, ShapeField, ShapeFields, fit_outlines, hiding, lies_on, own_outline
from amodal_ros.scene import MaskRegion, Scene

similarities = st.builds(Similarity, st.floats(0.5, 2.0), st.floats(-100, 100), st.floats(-100, 100))  # scale, dx, dy


def car(x: int = 40, y: int = 40, width: int = 80, height: int = 40) -> MaskRegion:
    """A shape whose outline tells where it is: a body with a cabin."""
    bits = np.zeros((height, width), bool)
    bits[height // 2 :] = True
    bits[: height // 2, width // 8 : width // 2] = True
    return MaskRegion(x, y, bits)


def centre(mask: MaskRegion) -> np.ndarray:
    return np.argwhere(mask.bits).mean(0)[::-1] + np.array([mask.x, mask.y])


def about(middle: np.ndarray, scale: float, dx: float, dy: float) -> Similarity:
    """Scaled about a point, then shifted."""
    return Similarity(scale, *(middle * (1 - scale) + np.array([dx, dy])))


# --- similarities -------------------------------------------------------------------------------------------


@given(similarities, similarities)
def test_maps_compose_and_invert(a, b):
    points = np.array([[0.0, 0.0], [10.0, -3.0], [200.0, 90.0]])
    np.testing.assert_allclose(a.then(b).points(points), b.points(a.points(points)), atol=1e-6)
    np.testing.assert_allclose(a.then(a.inverse()).points(points), points, atol=1e-6)
    np.testing.assert_allclose(a.repeated(2).points(points), a.then(a).points(points), atol=1e-6)
    np.testing.assert_allclose(a.repeated(0).points(points), points, atol=1e-6)


@given(similarities, st.floats(0, 1e7))
def test_a_motion_repeated_over_a_long_gap_is_finite_and_believed_only_within_reason(motion, times):
    repeated = motion.repeated(times)
    assert np.isfinite([repeated.scale, repeated.dx, repeated.dy]).all() and repeated.scale > 0
    if times * abs(np.log(motion.scale)) > 2:
        assert not repeated.is_plausible()


@given(similarities)
def test_a_moved_mask_has_the_moved_area_and_centre(motion):
    assume(abs(motion.scale - 1) > 0.01)
    mask = car()
    moved = motion.mask(mask, (1000, 1000))
    half_a_pixel_all_around = 0.5 * 2 * (mask.width + mask.height) * motion.scale
    assert moved.area == pytest.approx(mask.area * motion.scale**2, abs=half_a_pixel_all_around)
    np.testing.assert_allclose(centre(moved), motion.points(centre(mask)), atol=1.0)


@given(st.integers(-150, 150), st.integers(-150, 150))
def test_whole_shifts_are_exact(dx, dy):
    assert Similarity(1.0, dx, dy).mask(car(), (1000, 1000)) == car().shift(dx, dy)


def test_a_mask_far_outside_the_frame_is_cut_off_not_allocated():
    assert Similarity(1.0, 1e7, 0.0).mask(car(), (100, 200)).area == 0
    assert (
        Similarity(4.9, 0.0, 0.0).mask(MaskRegion(0, 0, np.ones((500, 500), bool)), (100, 200)).bits.size <= 9 * 20000
    )


# --- points and flow ----------------------------------------------------------------------------------------


@given(similarities, st.integers(0, 2**32 - 1), st.integers(0, 7))
def test_matches_give_the_motion_in_spite_of_outliers(motion, seed, outliers):
    rng = np.random.default_rng(seed)
    source = rng.uniform(0, 100, (24, 2))
    # The fit starts from a pure shift, as between consecutive images.
    motion = Similarity(1 + (motion.scale - 1) / 10, motion.dx, motion.dy)
    target = motion.points(source)
    target[:outliers] += rng.choice([-1, 1], (outliers, 2)) * rng.uniform(30, 80, (outliers, 2))
    ((found, inliers),) = fit_points([(source, target)])
    assert inliers >= 24 - outliers
    np.testing.assert_allclose(found.points(source), motion.points(source), atol=0.2)


@given(st.lists(st.integers(1, 24), min_size=1, max_size=5), st.integers(0, 2**32 - 1))
def test_every_object_moves_by_its_own_matches_however_many_are_asked_about(counts, seed):
    rng = np.random.default_rng(seed)
    matches = []
    for n in counts:
        source = rng.uniform(0, 200, (n, 2)).astype(np.float32)
        matches.append((source, (source * rng.uniform(0.9, 1.1) + rng.normal(0, 3, (n, 2))).astype(np.float32)))
    for one, (together, agree) in zip(matches, fit_points(matches)):
        ((alone, agree_alone),) = fit_points([one])
        assert agree == agree_alone
        np.testing.assert_allclose([*vars(together).values()], [*vars(alone).values()], atol=1e-6)


def textured(seed: int, height: int = 160, width: int = 240) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 255, (height, width)).astype(np.uint8)
    blurred = cv2.equalizeHist(cv2.GaussianBlur(noise, (0, 0), 2.0))
    return np.repeat(blurred[..., None], 3, axis=2)


@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(0.95, 1.05))
def test_flow_follows_an_object_over_a_still_background(dx, dy, scale):
    still, skin, mask = textured(1), textured(2), car(60, 40, 120, 80)
    motion = about(np.array([120.0, 80.0]), scale, dx, dy)
    matrix = np.array([[scale, 0, motion.dx], [0, scale, motion.dy]])
    before, after = still.copy(), still.copy()
    before[mask.full(160, 240)] = skin[mask.full(160, 240)]
    there = motion.mask(mask, (160, 240)).full(160, 240)
    after[there] = cv2.warpAffine(skin, matrix, (240, 160))[there]
    flow = Flow()
    assert len(flow.follow(before, [mask])[0][0]) == 0, "nothing can be followed into the first image"
    (step,) = flow_steps(flow.follow(after, [mask]))
    assert step is not None
    corners = np.array([[60.0, 120.0], [180.0, 120.0], [120.0, 40.0]])
    np.testing.assert_allclose(step.points(corners), motion.points(corners), atol=1.0)


def test_corners_sought_beforehand_are_those_sought_when_the_image_comes():
    before, masks = textured(1), [car(20, 30, 80, 60), car(120, 50, 90, 70)]
    after = np.roll(before, (2, 5), axis=(0, 1))
    unprepared, prepared = Flow(), Flow()
    for flow in (unprepared, prepared):
        flow.follow(before, masks)
    prepared.prepare(masks[:1])  # the other one is sought when it is asked for
    found = list(zip(unprepared.follow(after, masks), prepared.follow(after, masks)))
    assert all(len(start) > 6 for (start, _), _ in found)
    for alone, beforehand in found:
        np.testing.assert_array_equal(alone, beforehand)
    np.testing.assert_array_equal(unprepared.follow(before, masks), prepared.follow(before, masks))


def test_flow_says_nothing_about_a_flat_surface():
    flat = np.full((160, 240, 3), 90, np.uint8)
    flow = Flow()
    flow.follow(flat, [car()])
    assert flow_steps(flow.follow(flat, [car()])) == [None]


@given(st.integers(-30, 30), st.integers(0, 60))
def test_a_box_moves_by_the_side_that_nothing_hides(dx, eaten):
    before = MaskRegion(40, 40, np.ones((30, 80), bool))
    now = MaskRegion(40 + dx, 40, np.ones((30, 80 - eaten), bool))  # an occluder ate the right end
    assume(eaten == 0 or abs(dx - eaten) > abs(dx))
    assert box_step(before, now) == Similarity(1.0, dx, 0.0)


# --- outlines -----------------------------------------------------------------------------------------------


def test_the_distance_field_is_signed_and_in_pixels():
    field = ShapeField(MaskRegion(10, 20, np.ones((40, 40), bool)))
    points = np.array([[30.0, 40.0], [9.5, 40.0], [6.5, 40.0], [49.5, 40.0], [46.5, 40.0]])
    distance, *slopes = (values[0] for values in ShapeFields([field]).sample(*points.T[:, None]))
    gradient = np.stack(slopes, axis=1)
    np.testing.assert_allclose(distance[1:], [0.0, 3.0, 0.0, -3.0], atol=0.3)
    assert distance[0] < -15
    np.testing.assert_allclose(gradient[[2, 4]], [[-1, 0], [1, 0]], atol=0.1)


@given(st.floats(0.95, 1.05), st.floats(-4, 4), st.floats(-4, 4), st.integers(0, 45))
def test_a_whole_shape_is_fitted_to_what_an_occluder_leaves_of_it(scale, dx, dy, eaten):
    frame = (200, 300)
    whole = car(60, 60, 100, 60)
    truth = about(np.array([110.0, 90.0]), scale, dx, dy)
    there = truth.mask(whole, frame)
    wall = MaskRegion(there.x + there.width - eaten, 20, np.ones((160, 60), bool))
    scene = Scene.of_masks([there - wall, wall], frame)
    outline, cut = own_outline(scene.masks[0], hiding(scene, 0), frame)
    assert len(cut), "where the wall touches, the boundary may be the wall's"
    (found,) = fit_outlines([Fit(ShapeField(whole), Similarity(), outline, cut)], iterations=12)
    corners = np.array([[60.0, 60.0], [160.0, 120.0]])
    np.testing.assert_allclose(found.points(corners), truth.points(corners), atol=2.0)
    assert found.mask(whole, frame).iou(there) > 0.93


@given(st.lists(st.tuples(st.integers(12, 60), st.integers(12, 60), st.floats(-5, 5)), min_size=1, max_size=4))
def test_every_shape_is_fitted_to_its_own_outline_however_many_are(sizes):
    fits = []
    for width, height, off in sizes:
        mask = car(60, 50, 2 * width, 2 * height)
        beside = MaskRegion(60 + width, 40, np.ones((2 * height, width), bool))
        fits.append(Fit(ShapeField(mask), Similarity(1.02, off, -off), *own_outline(mask, beside, (400, 400))))
    for one, together in zip(fits, fit_outlines(fits)):
        (alone,) = fit_outlines([one])
        np.testing.assert_allclose([*vars(together).values()], [*vars(alone).values()], atol=1e-6)


def test_the_frames_edge_is_nobodys_outline():
    mask = MaskRegion(0, 50, np.ones((40, 60), bool))
    scene = Scene.of_masks([mask], (200, 300))
    outline, cut = own_outline(mask, hiding(scene, 0), (200, 300))
    assert (cut[:, 0] == 0).all() and (outline[:, 0] > 0).all()


def test_without_an_outline_the_prediction_stands():
    pose = Similarity(1.1, 3.0, -2.0)
    assert fit_outlines([Fit(ShapeField(car()), pose, np.empty((0, 2)), np.empty((0, 2)))]) == [pose]


def test_points_lie_on_a_mask_or_not():
    on = lies_on(car(10, 10), np.array([[10.0, 49.0], [9.0, 49.0], [10.0, 10.0], [1e6, -1e6]]))
    assert on.tolist() == [True, False, False, False]


def test_a_mask_is_moved_to_the_half_pixel():
    """Pixels' centres have whole coordinates: a box of pixels 10 to 19 reaches from 9.5 to 19.5."""
    mask = MaskRegion(10, 10, np.ones((10, 10), bool))
    for motion, first, last in [
        (Similarity(2.0, 0.0, 0.0), 19.0, 39.0),
        (Similarity(3.0, 0.0, 0.0), 28.5, 58.5),
    ]:
        moved = motion.mask(mask, (400, 400)).trim()
        assert abs((moved.x - 0.5) - first) <= 0.5 and abs((moved.x + moved.width - 0.5) - last) <= 0.5
        assert abs((moved.x + (moved.width - 1) / 2) - (first + last) / 2) <= 0.26, "to neither side"


@given(st.integers(20, 120), st.integers(16, 60))
def test_a_shape_fitted_to_its_own_outline_stays(width, height):
    mask = car(60, 50, 2 * (width // 2), 2 * (height // 2))
    outline, cut = own_outline(mask, MaskRegion.empty(), (400, 400))
    (fitted,) = fit_outlines([Fit(ShapeField(mask), Similarity(), outline, cut)])
    assert abs(fitted.scale - 1) * max(mask.width, mask.height) < 0.5
    np.testing.assert_allclose(fitted.points(outline), outline, atol=0.45)


def test_a_box_whose_left_end_is_hidden_moves_by_its_right_one():
    before, now = MaskRegion(40, 40, np.ones((30, 80), bool)), MaskRegion(75, 40, np.ones((30, 50), bool))
    assert box_step(before, now) == Similarity(1.0, 5.0, 0.0)
    assert box_step(before, MaskRegion(45, 52, np.ones((20, 80), bool))) == Similarity(1.0, 5.0, 2.0)
