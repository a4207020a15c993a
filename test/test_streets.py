"""Synthetic streets: exact truth, repeatable, kept apart from training, and frozen."""

import itertools

import numpy as np
import pytest

from amodal_ros.lab.datasets import streets
from amodal_ros.lab.datasets.street_world import kinds, placement
from amodal_ros.lab.datasets.street_world.freeze import counts
from amodal_ros.lab.datasets.streets import TEST_SEEDS, TEST_UNSEEN_SEEDS, TRAIN_SEEDS, crop_sample, scene, sequence

SMALL = (188, 620)
SPLITS = ("test", "test-unseen")


def same(a, b) -> bool:
    return np.array_equal(a.image, b.image) and np.array_equal(a.depth, b.depth) and a.objects == b.objects


# --- single scenes --------------------------------------------------------------------------------------------


def test_a_seed_is_one_scene():
    assert same(scene(5, SMALL), scene(5, SMALL))
    assert not np.array_equal(scene(5, SMALL).image, scene(6, SMALL).image)


@pytest.mark.parametrize("size", [(375, 1242), (96, 128), (240, 100)])
def test_any_size(size):
    frame = scene(1, size)
    assert frame.image.shape == (*size, 3) and frame.image.dtype == np.uint8
    assert frame.depth.shape == size and frame.depth.dtype == np.float32
    assert frame.shape == size


@pytest.mark.parametrize("seed, unseen", [*itertools.product(range(6), (False, True))])
def test_visible_is_amodal_minus_all_that_is_in_front(seed, unseen):
    frame = scene(seed, SMALL, unseen=unseen)
    assert len({thing.id for thing in frame.objects}) == len(frame.objects) > 0
    hidden_by = np.zeros(SMALL, bool)
    for thing in frame.objects:
        whole = thing.amodal.full(*SMALL)
        assert np.array_equal(thing.visible.full(*SMALL), whole & ~hidden_by)
        assert thing.visible.area == thing.visible.clip(*SMALL).area
        assert thing.occlusion == pytest.approx(1 - thing.visible.area / whole.sum())
        hidden_by |= whole


def test_amodal_masks_leave_the_frame():
    beyond = [t.amodal.area > t.amodal.clip(*SMALL).area for seed in range(4) for t in scene(seed, SMALL).objects]
    assert 0.05 < np.mean(beyond) < 0.7


def test_an_object_is_drawn_where_its_mask_says():
    """Taking out what is drawn last, the nearest, changes the pixels of its mask and leaves the far ones alone."""
    rng = np.random.Generator(np.random.PCG64(3))
    street, camera = _bare_street(rng), streets.Camera.for_size(*SMALL)
    street.add("car", 1, streets.Pose(0.5, 14.0, 0.6))
    street.add("pole", 2, streets.Pose(0.4, 8.0))
    both = streets.view.look(street, camera, streets.Pose())
    mask = both.drawn[0][1].mask
    street.things.pop()
    without = streets.view.look(street, camera, streets.Pose())
    changed = (both.image != without.image).any(axis=2)
    inner = mask.grow(-1).full(*SMALL)
    assert changed[inner].mean() > 0.95
    above = np.arange(SMALL[0])[:, None] < 0.45 * SMALL[0]  # no shadow falls there
    assert not changed[above & ~mask.grow(2).full(*SMALL)].any()


def test_depth_image_agrees_with_the_objects():
    for seed in range(3):
        frame = scene(seed, SMALL)
        for thing in frame.objects:
            if thing.visible.area > 100:
                seen = np.median(frame.depth[thing.visible.full(*SMALL)])
                assert abs(seen - thing.depth) < 0.35 * thing.depth + 3.0  # metres; a long bus seen at an angle


def test_the_nearer_middle_does_not_decide_who_is_in_front():
    """Both walkers are farther than the middle of a bus; it hides the one on the far side, not the one on ours."""
    bus = placement.footprint(kinds.build("bus", 3), streets.Pose(2.0, 10.0, 0.0))
    walker = placement.footprint(kinds.build("pedestrian", 3), streets.Pose(5.2, 12.0, 0.0))
    ours = placement.footprint(kinds.build("pedestrian", 3), streets.Pose(0.45, 12.0, 0.0))
    assert placement.back_to_front([bus, walker]) == [1, 0]
    assert placement.back_to_front([bus, ours]) == [0, 1]


@pytest.mark.parametrize("arguments", [{"seed": -1}, {"seed": 0, "size": (4, 600)}, {"seed": 0, "objects": -2}])
def test_bad_arguments_are_named(arguments):
    with pytest.raises(ValueError, match=r"-1|\(4, 600\)|-2"):
        scene(**arguments)


def test_truth_names_the_ids_it_has():
    frame = scene(0, SMALL)
    assert frame.truth(frame.objects[0].id) is frame.objects[0]
    with pytest.raises(KeyError, match="9999"):
        frame.truth(9999)


# --- kept apart from training ---------------------------------------------------------------------------------


def test_unseen_kinds_and_training_kinds_have_nothing_in_common():
    seen = {t.kind for seed in range(8) for t in scene(seed, SMALL).objects}
    unseen = {t.kind for seed in range(8) for t in scene(seed, SMALL, unseen=True).objects}
    assert seen <= set(kinds.VEHICLES | kinds.WALKERS | kinds.FURNITURE)
    assert unseen <= set(kinds.UNSEEN_VEHICLES | kinds.UNSEEN_WALKERS | kinds.UNSEEN_FURNITURE)
    assert len(seen) >= 8 and len(unseen) >= 8 and not seen & unseen


def test_seed_ranges_are_disjoint():
    ranges = sorted((r.start, r.stop) for r in (TRAIN_SEEDS, TEST_SEEDS, TEST_UNSEEN_SEEDS))
    assert all(a_stop <= b_start for (_, a_stop), (b_start, _) in itertools.pairwise(ranges))


@pytest.mark.parametrize("alone", [False, True])
def test_training_crops(alone):
    rng, again = (np.random.Generator(np.random.PCG64(11)) for _ in range(2))
    for _ in range(20):
        image, ids, names = crop_sample(rng, 96, alone)
        assert image.shape == (96, 96, 3) and image.dtype == np.uint8
        assert ids.shape == (96, 96) and ids.dtype == np.int32
        assert set(np.unique(ids)) <= set(range(len(names) + 1))
        assert set(names) <= set(kinds.VEHICLES | kinds.WALKERS | kinds.FURNITURE)
        assert len(names) == 1 or not alone
        twin = crop_sample(again, 96, alone)
        assert np.array_equal(image, twin[0]) and np.array_equal(ids, twin[1]) and names == twin[2]


# --- the frozen lists -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_the_generator_still_draws_what_was_frozen(split):
    assert streets.fingerprint(split) == streets.frozen_fingerprint(split)


@pytest.mark.parametrize("split, least, seeds", [("test", 400, TEST_SEEDS), ("test-unseen", 200, TEST_UNSEEN_SEEDS)])
def test_lists_hold_enough_of_every_occlusion(split, least, seeds):
    cases = streets.test_list(split)
    occluded = [case.occlusion for case in cases if case.occlusion > 0]
    assert len(occluded) >= least and max(occluded) <= 0.8 and len(cases) - len(occluded) >= 50
    assert min(np.histogram(occluded, [0, 0.1, 0.3, 0.5, 0.8])[0]) >= 30
    assert all(case.seed in seeds for case in cases)
    assert len({(case.seed, case.id) for case in cases}) == len(cases)


@pytest.mark.parametrize("split", SPLITS)
def test_listed_cases_are_what_the_scenes_hold(split):
    cases = {(case.seed, case.id): case.occlusion for case in streets.test_list(split)}
    for frame, ids in itertools.islice(streets.test_frames(split), 3):
        assert ids
        for id in ids:
            thing = frame.truth(id)
            assert counts(thing, frame)
            assert thing.occlusion == pytest.approx(cases[frame.seed, id], abs=1e-4)


def test_unknown_split():
    with pytest.raises(ValueError, match="validation"):
        streets.test_list("validation")


# --- labels ---------------------------------------------------------------------------------------------------


def test_things_leave_out_what_stands_along_the_street():
    frame = scene(0)
    things, everything = (frame.instances(labels) for labels in ("things", "all"))
    assert {i.id for i in things} < {i.id for i in everything}
    assert all(frame.truth(i.id).labelled for i in things)
    assert {i.class_id for i in everything} - {i.class_id for i in things} <= set(kinds.FURNITURE)
    assert all(i.visible == frame.truth(i.id).visible for i in everything)
    with pytest.raises(ValueError, match="stuff"):
        frame.instances("stuff")


@pytest.mark.parametrize("level", [1, 2, 3])
def test_noisy_labels_stay_disjoint_repeatable_and_in_the_frame(level):
    for seed in range(4):
        frame = scene(seed)
        noisy = frame.instances("all", level)
        assert noisy and noisy == frame.instances("all", level)
        total = sum((i.visible.full(*frame.shape).astype(int) for i in noisy), np.zeros(frame.shape, int))
        assert total.max() == 1 and total.sum() == sum(i.visible.area for i in noisy)
        clean = {i.id for i in frame.instances("all")}
        assert {i.id for i in noisy} <= clean


def test_each_level_of_noise_is_worse_and_none_is_absurd():
    means = []
    for level in range(4):
        scores = []
        for seed in range(5):
            frame = scene(seed)
            noisy = {i.id: i.visible for i in frame.instances("things", level)}
            scores += [t.visible.iou(noisy[t.id]) for t in frame.objects if t.id in noisy and t.visible.area > 400]
        means.append(np.mean(scores))
    assert means[0] == 1.0 and means[0] > means[1] > means[2] > means[3] > 0.7
    with pytest.raises(ValueError, match="4"):
        scene(0).instances(noise=4)


# --- drives ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def drives():
    return [list(sequence(seed, 50, SMALL, objects=12)) for seed in (2, 3)]


def test_a_drive_keeps_ids_kinds_and_time(drives):
    for frames in drives:
        assert len(frames) == 50
        assert [f.stamp for f in frames] == [i * 100_000_000 for i in range(50)]
        kind_of = {}
        for thing in itertools.chain.from_iterable(f.objects for f in frames):
            assert kind_of.setdefault(thing.id, thing.kind) == thing.kind
    again = list(itertools.islice(sequence(2, 50, SMALL, objects=12), 3))
    assert all(same(a, b) for a, b in zip(again, drives[0], strict=False))


def test_objects_move_smoothly(drives):
    """At 10 Hz an object of some size overlaps with where it was a frame before."""
    overlaps = []
    for frames in drives:
        for before, after in itertools.pairwise(frames):
            old = {t.id: t.amodal for t in before.objects if t.kind in kinds.VEHICLES and t.amodal.area > 300}
            overlaps += [old[t.id].iou(t.amodal) for t in after.objects if t.id in old and t.amodal.area > 300]
    assert np.median(overlaps) > 0.7 and np.mean(np.array(overlaps) > 0.2) > 0.97


def test_objects_enter_leave_and_get_hidden_after_being_whole(drives):
    entered = left = hidden = cut = 0
    for frames in drives:
        for id in {t.id for f in frames for t in f.objects if t.labelled}:
            seen = [next((t for t in f.objects if t.id == id), None) for f in frames]
            shown = [t is not None and t.visible.area > 30 for t in seen]
            entered += not shown[0] and any(shown)
            left += shown[0] and not shown[-1]
            whole = [i for i, t in enumerate(seen) if shown[i] and t.occlusion == 0]
            hidden += any(t is not None and t.occlusion > 0.4 for t in seen[whole[0] :]) if whole else 0
            cut += any(t is not None and 0.2 < t.amodal.clip(*SMALL).area / t.amodal.area < 0.8 for t in seen)
    assert min(entered, left, hidden, cut) >= 2, (entered, left, hidden, cut)


def test_nothing_collides(drives):
    """Amodal truth is worth nothing if bodies stand in each other."""
    rng = np.random.Generator(np.random.PCG64(4))
    street, drive = _bare_street(rng), streets.traffic.Drive.drawn(rng)
    streets.traffic.furnish(street, rng, 10, drive, 5.0)
    assert len(street.things) >= 6
    for seconds in (0.0, 1.5, 3.0, 4.5):
        prints = [placement.footprint(t.shape(), t.at(seconds)) for t in street.things]
        assert all(placement.gap(a, b) > 0 for a, b in itertools.combinations(prints, 2))


def test_drive_arguments_are_checked_at_once():
    with pytest.raises(ValueError, match="-1"):
        sequence(0, -1)
    with pytest.raises(ValueError, match="0"):
        sequence(0, 5, rate=0)


def _bare_street(rng) -> placement.Street:
    backdrop = streets.Backdrop(rng, unseen=False, crossing=20.0)
    return placement.Street(backdrop, placement.drawn_light(rng), streets.Sensor.drawn(rng))
