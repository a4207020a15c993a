"""How masks are compared: overlap, bins, intervals, paired differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amodal_ros.lab.evaluation.metrics import BINS, Record, bootstrap_means, interval, overlap, summarise
from amodal_ros.scene import MaskRegion


def block(x, y, width, height):
    return MaskRegion(x, y, np.ones((height, width), bool))


def record(k, occlusion, ours, hull=(1, 2), source=None, frame="f"):
    return Record(frame, str(k), source or str(k), "car", occlusion, {"hull": hull, "ours": ours})


def test_masks_are_compared_inside_the_frame():
    truth, guess = block(0, 0, 4, 4), block(-4, 0, 8, 4)
    assert overlap(guess, truth, (10, 10)) == (16, 16)


def test_truth_outside_the_frame_counts_where_it_is_known():
    truth, guess = block(0, 0, 4, 4), block(-4, 0, 8, 4)
    assert overlap(guess, truth, (10, 10), truth_leaves_frame=True) == (16, 32)


@given(st.tuples(*[st.integers(-5, 12)] * 2), st.tuples(*[st.integers(1, 9)] * 2))
def test_overlap_is_that_of_full_masks(corner, size):
    truth, guess = block(2, 2, 5, 5), block(*corner, *size)
    full_truth, full_guess = truth.full(10, 10), guess.full(10, 10)
    assert overlap(guess, truth, (10, 10)) == ((full_truth & full_guess).sum(), (full_truth | full_guess).sum())


@pytest.mark.parametrize(
    "rate, bins",
    [
        (0.0, {"all", "unoccluded"}),
        (0.1, {"all", "(0, 0.1]", "(0, 0.5]", "(0, 0.8]"}),
        (0.3, {"all", "(0.1, 0.3]", "(0, 0.5]", "(0, 0.8]"}),
        (0.5, {"all", "(0.3, 0.5]", "(0, 0.5]", "(0, 0.8]"}),
        (0.8, {"all", "(0.5, 0.8]", "(0, 0.8]"}),
        (0.9, {"all"}),
    ],
)
def test_bins_exclude_their_lower_and_include_their_upper_end(rate, bins):
    assert set(summarise([record(0, rate, (1, 1))], ["ours"])) == bins <= set(BINS)


def test_objects_cut_by_the_frame_are_shown_apart():
    cut = Record("f", "9", "9", "car", 0.2, {"ours": (1, 4)}, truncation=0.5)
    summary = summarise([record(0, 0.2, (3, 4)), cut], ["ours"])
    assert summary["cut by the frame"]["methods"]["ours"]["mean"] == 0.25
    assert summary["all"]["methods"]["ours"]["mean"] == 0.5


def test_mean_is_over_objects_and_pooled_over_pixels():
    records = [record(0, 0.2, (1, 2)), record(1, 0.2, (90, 100), frame="g"), record(2, 0.2, (70, 100), frame="g")]
    figures = summarise(records, ["ours"])["all"]["methods"]["ours"]
    assert figures["mean"] == pytest.approx((0.5 + 0.9 + 0.7) / 3)
    assert figures["pooled"] == pytest.approx(161 / 202)
    assert figures["frame_mean"] == pytest.approx((0.5 + 0.8) / 2)


def test_interval_covers_the_true_mean_about_19_times_in_20():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        draws = bootstrap_means(rng.beta(8, 2, (60, 1)), np.arange(60), resamples=300)
        low, high = interval(draws[:, 0])
        hits += low <= 0.8 <= high
    assert 180 <= hits <= 199


def test_cases_of_one_source_are_resampled_together():
    rng = np.random.default_rng(2)
    per_source = np.repeat(rng.uniform(0.2, 1.0, 20), 10)[:, None]
    alone = interval(bootstrap_means(per_source, np.arange(200))[:, 0])
    together = interval(bootstrap_means(per_source, np.repeat(np.arange(20), 10))[:, 0])
    assert together[1] - together[0] > 2.5 * (alone[1] - alone[0])


def test_paired_difference_is_sharper_than_two_intervals():
    rng = np.random.default_rng(3)
    hard = rng.integers(20, 95, 80)
    records = [record(k, 0.2, (h + 3, 100), hull=(h, 100)) for k, h in enumerate(hard)]
    bin_ = summarise(records, ["hull", "ours"], reference="ours")["all"]
    assert bin_["differences"]["hull"]["mean"] == pytest.approx(0.03)
    assert bin_["differences"]["hull"]["interval"] == pytest.approx((0.03, 0.03))
    low, high = bin_["methods"]["ours"]["interval"]
    assert high - low > 0.05


def test_a_method_equal_to_the_reference_differs_by_exactly_nothing():
    records = [record(k, 0.2, (k + 1, 7), hull=(k + 1, 7)) for k in range(5)]
    difference = summarise(records, ["hull", "ours"], "ours")["all"]["differences"]["hull"]
    assert difference == {"mean": 0.0, "interval": (0.0, 0.0)}


def test_resampled_means_are_means_whatever_the_sources_sizes():
    """A source with many cases may be drawn twice or not at all: the mean divides by what was drawn."""
    draws = bootstrap_means(np.ones((9, 1)), np.array([0, 1, 1, 2, 2, 2, 2, 2, 2]), resamples=50)
    assert np.allclose(draws, 1.0)
