"""The judge's constants: what the calibration counts; its fits do what they promise on objects made up here."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from amodal_ros.scene import MaskRegion, Scene, calibration, worth
from training import calibrate
from training.calibrate import HELD, Case, Example, Holding, Spread

SHAPE = (120, 240)


def block(x: int, y: int, width: int, height: int) -> MaskRegion:
    return MaskRegion(x, y, np.ones((height, width), bool))


def half_hidden(seen: int, behind: int, kind: str = "paste") -> Example:
    """A bar of which `behind` pixels lie behind a wall, answered by what is seen of it."""
    bar, wall = block(100 - seen, 50, seen + behind, 20), block(100, 10, 100, 100)
    scene = Scene.of_masks([bar - wall, wall], SHAPE)
    return Example(Case(scene, (bar,), kind, False), 0, scene.masks[0], np.zeros(0))


@pytest.fixture
def constants(tmp_path, monkeypatch):
    """Constants that a test may write over."""
    file = tmp_path / "calibration.json"
    shutil.copy(calibration.FILE, file)
    monkeypatch.setattr(calibration, "FILE", file)
    calibration.forget()
    yield
    monkeypatch.undo()
    calibration.forget()


def test_hidden_pixels_are_counted_by_place_and_distance():
    example = half_hidden(seen=40, behind=20)
    spread = Spread.of(example)
    assert spread.missing == pytest.approx(20 / 60) and spread.answered == 0
    labelled = dict(zip(worth.PLACES, spread.hidden))["labelled"]
    assert labelled.sum() == pytest.approx(spread.missing), "all of it lies behind the wall, and near"
    assert np.flatnonzero(labelled).max() < np.searchsorted(calibrate.STEPS, 20 / 28) + 1
    assert spread.held(dict.fromkeys(worth.PLACES, worth.FARTHEST)) == pytest.approx(1.0)
    assert spread.held(dict.fromkeys(worth.PLACES, 0.0)) == 0
    whole = spread.held({"labelled": 10 / 28.3, "outside": 0.0, "unlabelled": 0.0})
    assert whole == pytest.approx(0.5, abs=0.06), "half of the hidden length is half of the hidden pixels"


def test_possible_reaches_as_far_as_objects_like_it_went_on(constants):
    rng = np.random.default_rng(0)
    examples = [
        half_hidden(seen=40, behind=int(rng.integers(2, 40)), kind=kind)
        for kind in ("paste", "street")
        for _ in range(30)
    ]
    spreads = [Spread.of(e) for e in examples]
    for place, found in calibrate.fit_reach(spreads).items():
        calibrate.write(f"hidden {place}", dict(zip(worth.REACH_SIGNS, found)))
    calibrate.write("possible", {"log-odds": calibrate.fit_least(spreads)})
    holding = Holding.of(examples)
    assert holding.shares.mean() >= HELD - 0.01
    region = examples[0].case.scene.possible(0, examples[0].amodal)
    assert not region.overlap(block(175, 10, 25, 100)), "nothing went on that far"
    assert holding.areas.max() < 4


def test_the_gap_of_a_right_estimate_is_what_chance_makes_and_that_of_a_wrong_one_is_not():
    rng = np.random.default_rng(1)
    expected = rng.uniform(0.3, 0.95, 600)
    actual = expected + rng.normal(0, 0.1, 600)
    largest, by_chance = calibrate.gap(expected, actual)
    assert 0 < largest < 2 * by_chance < 0.06
    largest, by_chance = calibrate.gap(np.minimum(1.0, expected + 0.15), actual)
    assert largest > 0.14 > 4 * by_chance


def test_reaches_are_bounded_whatever_the_constants_say(constants):
    calibrate.write("hidden outside", dict.fromkeys(worth.REACH_SIGNS, 0.0))
    for told in ([1.0, 0.0, 0.0, 4.6], [1.0, 1.0, 1.0, 9.9], [1.0, 0.0, 1.0, 4.6]):
        found = worth.reaches_of(np.array(told), -20.0)
        assert set(found) == set(worth.PLACES) and all(0 <= reach <= worth.FARTHEST for reach in found.values())
