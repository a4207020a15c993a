"""Where objects are in the world: camera, ground, obstacles from depth and from the ground."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from amodal_ros.lab.datasets import streets
from amodal_ros.lab.datasets.street_world.camera import EYE_HEIGHT, Camera
from amodal_ros.scene import MaskRegion
from amodal_ros.space import Ground, PinholeCamera, Unplaced, all_with_depth, on_ground, thin, with_depth

CAMERA = PinholeCamera(700.0, 710.0, 620.0, 180.0, 1242, 375)
GROUND = Ground.level(1.65)


def info(**changes: object) -> SimpleNamespace:
    fields = {
        "width": 640,
        "height": 480,
        "k": [500.0, 0, 320, 0, 510, 240, 0, 0, 1],
        "p": [480.0, 0, 310, 0, 0, 490, 230, 0, 0, 0, 1, 0],
        "d": [-0.3, 0.1, 0.0, 0.0, 0.0],
        "distortion_model": "plumb_bob",
        "binning_x": 0,
        "binning_y": 0,
        "roi": SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0),
        **changes,
    }
    return SimpleNamespace(**fields)


def box(x: int, y: int, width: int, height: int) -> MaskRegion:
    return MaskRegion(x, y, np.ones((height, width), bool))


def wall(z: float) -> np.ndarray:
    """A depth image of a wall across the view."""
    return np.full((375, 1242), z, np.float32)


# --- camera -----------------------------------------------------------------------------------------------------


@given(st.floats(-50, 1300), st.floats(-50, 400), st.floats(0.5, 80))
def test_a_pixel_at_a_depth_projects_back_to_itself(u: float, v: float, z: float) -> None:
    point = CAMERA.rays(np.array([u]), np.array([v])) * z
    assert point[0, 2] == pytest.approx(z)
    np.testing.assert_allclose(CAMERA.project(point)[0], (u, v), atol=1e-6)


def test_a_rectified_image_has_the_camera_p_and_a_raw_one_k_with_its_lens() -> None:
    rectified, raw = PinholeCamera.from_info(info()), PinholeCamera.from_info(info(), rectified=False)
    assert (rectified.fx, rectified.cx, rectified.distortion) == (480, 310, ())
    assert (raw.fx, raw.cx, raw.distortion[0]) == (500, 320, -0.3)
    # The lens pulls the corner inwards, so that its ray points further out than a straight one.
    bent, straight = (
        c.rays(np.array([600.0]), np.array([400.0]))[0] for c in (raw, PinholeCamera.from_info(info(d=[]), False))
    )
    assert bent[0] > straight[0] and bent[1] > straight[1]


def test_without_p_the_camera_is_k_and_without_both_it_is_refused() -> None:
    assert PinholeCamera.from_info(info(p=[0.0] * 12)).fx == 500
    with pytest.raises(ValueError, match="K is all zeros"):
        PinholeCamera.from_info(info(k=[0.0] * 9, p=[0.0] * 12))
    with pytest.raises(ValueError, match="lens"):
        PinholeCamera.from_info(info(distortion_model="spherical"), rectified=False)


def test_binning_and_region_of_interest_shift_and_scale_the_camera() -> None:
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=400, height=300)
    camera = PinholeCamera.from_info(info(binning_x=2, binning_y=2, roi=roi))
    assert (camera.fx, camera.cx, camera.cy, camera.width, camera.height) == (240, 105, 95, 200, 150)


def test_a_scaled_image_keeps_its_rays_and_a_cut_one_is_refused() -> None:
    half = CAMERA.resized(621, 188)
    corner = half.rays(np.array([-0.5]), np.array([-0.5])), CAMERA.rays(np.array([-0.5]), np.array([-0.5]))
    np.testing.assert_allclose(*corner, atol=1e-9)
    with pytest.raises(ValueError, match="1242x375 and"):
        CAMERA.resized(640, 480)


# --- ground -----------------------------------------------------------------------------------------------------


@given(st.floats(0.3, 3), st.floats(-0.2, 0.3), st.floats(-0.2, 0.2), st.floats(2, 40), st.floats(-5, 5))
def test_a_ray_through_a_point_of_the_ground_meets_it_there(
    height: float, pitch: float, roll: float, z: float, x: float
) -> None:
    ground = Ground.level(height, pitch, roll)
    down = np.asarray(ground.down)
    y = (height - down[0] * x - down[2] * z) / down[1]  # the plane's equation, solved for y
    assert ground.meet(np.array([[x / z, y / z, 1.0]]))[0] == pytest.approx(z, rel=1e-6)


def test_the_horizon_is_never_met_and_pitch_and_roll_turn_the_right_way() -> None:
    level = GROUND.meet(np.array([[0, 0, 1.0], [0, -0.1, 1.0], [0, 0.1, 1.0]]))
    assert np.isinf(level[:2]).all() and level[2] == pytest.approx(16.5)
    assert Ground.level(1.65, pitch=0.05).meet(np.array([[0, 0.1, 1.0]]))[0] < level[2]  # looking down: nearer
    rolled = Ground.level(1.65, roll=0.05).meet(np.array([[0.5, 0.1, 1.0], [-0.5, 0.1, 1.0]]))
    assert rolled[0] < rolled[1]  # the right side is lower


def test_a_transform_to_a_base_on_the_ground_gives_the_same_plane() -> None:
    optical_to_base = np.array([[0, 0, 1.0], [-1, 0, 0], [0, -1, 0]])  # REP 103
    ground = Ground.from_transform(optical_to_base, np.array([0.3, 0.0, 1.2]))
    assert ground.down == (0, 1, 0) and ground.height == 1.2


def test_the_ground_is_fitted_to_depth_among_clutter_and_noise() -> None:
    truth = Ground.level(1.4, pitch=0.04, roll=0.03)
    rows, columns = np.mgrid[:375, :1242]
    z = truth.meet(CAMERA.rays(columns.ravel(), rows.ravel())).reshape(375, 1242)
    rng = np.random.default_rng(0)
    depth = np.where(z < 40, z * rng.normal(1, 0.01, z.shape), np.nan).astype(np.float32)
    depth[200:320, 300:600] = 8.0
    fitted = Ground.fit(depth, CAMERA)
    assert fitted is not None and fitted.height == pytest.approx(1.4, abs=0.05)
    assert np.degrees(np.arccos(np.dot(fitted.down, truth.down))) < 0.5
    assert Ground.fit(np.full((375, 1242), np.nan, np.float32), CAMERA) is None
    assert Ground.fit(wall(5.0), CAMERA) is None  # a wall is no ground


@pytest.mark.parametrize("height", [0.0, -1.0, float("nan")])
def test_a_camera_below_the_ground_is_refused(height: float) -> None:
    with pytest.raises(ValueError, match="above 0 m"):
        Ground.level(height)


# --- on the ground ------------------------------------------------------------------------------------------------


def test_a_board_stands_where_its_lowest_amodal_row_meets_the_ground() -> None:
    z = 12.0
    foot = round(CAMERA.cy + CAMERA.fy * 1.65 / z)
    amodal, visible = box(600, foot - 100, 40, 100), box(600, foot - 100, 40, 30)
    found = on_ground(visible, amodal, GROUND, CAMERA)
    assert found.distance == pytest.approx(z, rel=0.02) and found.near == found.distance
    assert found.far > 20  # the visible part alone would stand far behind
    assert found.points[:, 2].min() == pytest.approx(z, rel=0.02) == found.points[:, 2].max()
    assert found.size[0] == pytest.approx(40 / CAMERA.fx * z, rel=0.15)
    assert found.size[1] == pytest.approx(100 / CAMERA.fy * z, rel=0.15)
    assert 0.6 < found.hidden.mean() < 0.8  # seven tenths of the rows
    assert not found.truncated and not found.by_depth
    wide = on_ground(visible, amodal, GROUND, CAMERA, possible=box(600, foot - 100, 40, 120))
    assert wide.near < found.near and wide.distance == found.distance


def test_a_foot_that_something_hides_stands_between_that_and_where_the_mask_ends() -> None:
    mask, beside, below = box(600, 150, 40, 80), box(640, 190, 60, 120), box(590, 220, 60, 90)
    alone = on_ground(mask, mask, GROUND, CAMERA)
    assert on_ground(mask, mask, GROUND, CAMERA, hiding=[beside]).distance == alone.distance
    occluder = on_ground(below, below, GROUND, CAMERA).distance
    between = on_ground(mask, mask - below, GROUND, CAMERA, hiding=[beside, below])
    guess = on_ground(mask, mask - below, GROUND, CAMERA).distance
    assert between.distance == pytest.approx(np.sqrt(occluder * guess)) and occluder == between.near < guess


def test_above_the_horizon_there_is_no_place_and_a_cut_foot_says_so() -> None:
    with pytest.raises(Unplaced, match="above the horizon"):
        on_ground(box(600, 20, 40, 60), box(600, 20, 40, 60), GROUND, CAMERA)
    cut = on_ground(box(600, 300, 40, 75), box(600, 300, 40, 75), GROUND, CAMERA)
    assert cut.truncated and cut.near == 0.0
    estimated = on_ground(box(600, 300, 40, 75), box(600, 300, 40, 95), GROUND, CAMERA)
    assert estimated.truncated and 0 < estimated.near == estimated.distance < cut.distance


@settings(deadline=None)
@given(st.integers(-30, 1230), st.integers(100, 370), st.integers(1, 120), st.integers(1, 200), st.data())
def test_points_lie_on_the_amodal_mask_and_hidden_ones_off_the_visible_one(
    x: int, y: int, width: int, height: int, data: st.DataObject
) -> None:
    amodal = box(x, y, width, height)
    kept = data.draw(st.integers(1, height))
    visible = box(x, y, width, kept)
    try:
        found = on_ground(visible, amodal, GROUND, CAMERA)
    except Unplaced:
        return
    u, v = np.rint(CAMERA.project(found.points)).astype(int).T
    assert ((u >= x) & (u < x + width) & (v >= y) & (v < y + height)).all()
    np.testing.assert_array_equal(found.hidden, v >= y + kept)
    assert found.near <= found.distance <= found.far


# --- with depth -----------------------------------------------------------------------------------------------------


def slanted(u: np.ndarray) -> np.ndarray:
    """Depth of an upright wall that recedes to the right."""
    return 1 / (1 / 8.0 - 0.0001 * (u - 500))


def test_hidden_pixels_continue_the_plane_that_is_seen() -> None:
    depth = np.broadcast_to(slanted(np.arange(1242)), (375, 1242)).astype(np.float32).copy()
    depth[:, 600:] = 4.0  # something nearer covers the right part
    visible, amodal = box(500, 100, 100, 80), box(500, 100, 180, 80)
    found = with_depth(visible, amodal, depth, CAMERA)
    u, _ = CAMERA.project(found.points[found.hidden]).T
    assert found.hidden.sum() > 50
    np.testing.assert_allclose(found.points[found.hidden][:, 2], slanted(u), atol=0.05)
    assert found.by_depth and found.near == pytest.approx(8.0, abs=0.1)


@pytest.mark.parametrize("fill", [np.nan, 0.0, np.inf, -1.0])
def test_sparse_depth_with_any_sign_of_unknown_and_stray_values(fill: float) -> None:
    rng = np.random.default_rng(1)
    depth = wall(fill)
    known = rng.random(depth.shape) < 0.05
    depth[known] = 10 * rng.normal(1, 0.01, known.sum())
    depth[known & (rng.random(depth.shape) < 0.1)] = 40.0  # seen through a window
    found = with_depth(box(400, 100, 100, 100), box(400, 100, 150, 100), depth, CAMERA)
    assert np.abs(found.points[:, 2] - 10).max() < 1.0 and found.hidden.any()
    with pytest.raises(Unplaced, match=r"of its 9 visible pixels"):
        with_depth(box(400, 100, 3, 3), box(400, 100, 3, 3), wall(fill), CAMERA)


def test_hidden_points_stand_behind_what_hides_them_and_not_where_it_is_free() -> None:
    depth = wall(30.0)
    depth[100:200, 400:450] = 10.0  # the object's visible part
    depth[100:200, 450:500] = 10.5  # what hides it leans over its plane
    found = with_depth(box(400, 100, 50, 100), box(400, 100, 200, 100), depth, CAMERA)
    u, _ = CAMERA.project(found.points).T
    assert u.max() < 500  # further right one sees past the object
    assert found.points[found.hidden][:, 2].min() > 10.5


def test_a_depth_image_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="1242x375, got 640x480"):
        with_depth(box(1, 1, 5, 5), box(1, 1, 5, 5), np.ones((480, 640), np.float32), CAMERA)


def test_a_hidden_part_continues_the_face_that_its_nearest_seen_pixel_lies_in() -> None:
    """The flat front of a car is seen from pixel 500 to 600, and its side, which recedes faster, from there to 620."""

    def side(u: np.ndarray) -> np.ndarray:
        return 1 / (1 / slanted(np.array(600)) - 0.0003 * (u - 600))

    u = np.arange(1242)
    depth = np.broadcast_to(np.where(u < 600, slanted(u), side(u)), (375, 1242)).astype(np.float32)
    visible, amodal = box(500, 100, 120, 80), box(440, 100, 240, 80)
    found = with_depth(visible, amodal, np.where(visible.full(375, 1242), depth, 4.0), CAMERA)
    hidden = found.points[found.hidden]
    columns = CAMERA.project(hidden)[:, 0]
    left, right = columns < 500, columns > 620
    np.testing.assert_allclose(hidden[left, 2], slanted(columns[left]), rtol=2e-3)
    np.testing.assert_allclose(hidden[right, 2], np.minimum(side(columns[right]), side(np.array(616)) + 1.5), rtol=2e-3)


BENT = PinholeCamera(700.0, 710.0, 620.0, 180.0, 1242, 375, (-0.05, 0.01, 0.0, 0.0))


@pytest.mark.parametrize("camera", [CAMERA, BENT], ids=["straight", "bent"])
def test_objects_placed_together_are_where_each_is_alone(camera: PinholeCamera) -> None:
    frame = streets.scene(701)
    depth = frame.depth * np.random.default_rng(0).normal(1, 0.005, frame.depth.shape).astype(np.float32)
    things = [(thing.visible, thing.amodal, 0.5) for thing in frame.objects if thing.visible.area]
    nowhere = (box(3, 3, 2, 2), box(3, 3, 2, 2), 0.5)
    together = all_with_depth([nowhere, *things], depth, camera)
    assert isinstance(together[0], Unplaced) and len(together) == len(things) + 1 > 10
    for (visible, amodal, _), one in zip(things, together[1:]):
        try:
            alone = with_depth(visible, amodal, depth, camera)
        except Unplaced as error:
            assert str(one) == str(error)
            continue
        assert not isinstance(one, Unplaced)
        np.testing.assert_allclose(one.points, alone.points, rtol=1e-4)
        np.testing.assert_array_equal(one.hidden, alone.hidden)


# --- voxels ---------------------------------------------------------------------------------------------------------


@given(st.integers(0, 200), st.floats(0.01, 2.0), st.integers(0, 2**31))
def test_one_point_per_cube_and_none_lost(count: int, size: float, seed: int) -> None:
    points = np.random.default_rng(seed).normal(0, 3, (count, 3)).astype(np.float32)
    kept = points[thin(points, size)]
    cubes = lambda p: {tuple(c) for c in np.floor(p / size).astype(int).tolist()}  # noqa: E731
    assert len(cubes(kept)) == len(kept) and cubes(kept) == cubes(points)
    first = {tuple(c): i for i, c in reversed(list(enumerate(np.floor(points / size).astype(int).tolist())))}
    assert thin(points, size).tolist() == sorted(first.values())
    assert len(thin(points, 0.0)) == count


# --- against the truth of streets ------------------------------------------------------------


def test_on_streets_the_true_shape_gives_the_true_place() -> None:
    street = Camera.for_size(*streets.KITTI_SIZE)
    camera = PinholeCamera(street.focal, street.focal, street.cx, street.cy, street.width, street.height)
    ground, contact, shares = Ground.level(EYE_HEIGHT), [], []
    for seed in range(700, 706):
        frame = streets.scene(seed)
        for thing in frame.objects:
            if not thing.labelled or thing.visible.area < 25 or thing.amodal.y + thing.amodal.height >= camera.height:
                continue
            found = on_ground(thing.visible, thing.amodal, ground, camera)
            contact.append(abs(found.distance - thing.footprint[:, 1].min()) / found.distance)
            try:
                hidden = (solid := with_depth(thing.visible, thing.amodal, frame.depth, camera)).points[solid.hidden]
            except Unplaced:
                continue
            if len(hidden):
                u, v = np.rint(camera.project(hidden)).astype(int).T
                shares.append(
                    np.mean(np.abs(hidden[:, 2] - thing.surface[v - thing.amodal.y, u - thing.amodal.x]) < 0.3)
                )
    assert np.median(contact) < 0.03 and np.mean(shares) > 0.6
