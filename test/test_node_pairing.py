"""Pairing by stamp, without ROS: no message is lost from the books, pairs match and come in order."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amodal_ros.stream.intake import Intake
from amodal_ros.stream.pairing import JUMP, Pairer

MS = 1_000_000
TOPICS = ("image", "instance_mask")


class Bench:
    """A pairer with what it paired and dropped."""

    def __init__(self, topics=TOPICS, **options) -> None:
        self.drops: list[tuple[str, str]] = []
        self.pairs: list = []
        self.pairer = Pairer(topics, lambda *drop: self.drops.append(drop), **options)

    def add(self, topic: str, ms: int, now: float = 0.0, size: int = 1) -> None:
        pair = self.pairer.add(topic, ms * MS, (topic, ms), size, now)
        if pair is not None:
            self.pairs.append(pair)

    @property
    def stamps(self) -> list[int]:
        return [pair.stamp // MS for pair in self.pairs]


def test_masks_come_late_and_every_image_is_paired():
    bench = Bench()
    for k in range(1, 11):
        bench.add("image", 100 * k, now=0.1 * k)
        if k > 3:
            bench.add("instance_mask", 100 * (k - 3), now=0.1 * k)
    assert bench.stamps == [100 * k for k in range(1, 8)] and not bench.drops
    assert bench.pairer.waiting("image") == 3


def test_exact_pairing_takes_no_neighbour():
    bench = Bench()
    bench.add("image", 100)
    bench.add("instance_mask", 101)
    assert not bench.pairs
    bench.add("instance_mask", 100)
    assert bench.stamps == [100]


def test_slop_takes_the_nearest_within_it():
    bench = Bench(slop=20 * MS)
    bench.add("instance_mask", 85)
    bench.add("instance_mask", 110)
    bench.add("image", 100)
    assert bench.pairs[0].messages["instance_mask"] == ("instance_mask", 110)
    bench.add("image", 200)
    bench.add("instance_mask", 221)
    assert bench.stamps == [100]


def test_three_topics_wait_for_all():
    bench = Bench(("image", "instance_mask", "depth"))
    for topic in ("depth", "image", "instance_mask"):
        assert not bench.pairs
        bench.add(topic, 5)
    assert set(bench.pairs[0].messages) == {"image", "instance_mask", "depth"}


def test_reasons():
    bench = Bench(seconds=1.0, size=3)
    bench.add("image", 100, now=0.0)
    bench.add("image", 100, now=0.1)
    assert bench.drops == [("image", "duplicate")]
    bench.add("image", 200, now=0.2)
    bench.add("instance_mask", 200, now=0.3)
    assert bench.drops[1:] == [("image", "skipped")] and bench.stamps == [200]
    bench.add("instance_mask", 100, now=0.4)
    assert bench.drops[2:] == [("instance_mask", "late")]
    bench.add("image", 300, now=0.5)
    bench.pairer.expire(2.0)
    assert bench.drops[3:] == [("image", "unpaired")]
    for ms in (400, 500, 600, 700):
        bench.add("image", ms, now=2.0)
    assert bench.drops[4:] == [("image", "buffer_full")]
    bench.pairer.clear("inactive")
    assert Counter(bench.drops[5:]) == {("image", "inactive"): 3}


def test_a_bag_that_loops_loses_nothing_and_marks_the_pair():
    bench = Bench()
    for ms in (9000, 9100):
        bench.add("image", ms)
        bench.add("instance_mask", ms)
    bench.add("image", 9200)  # its mask is still on the way when the bag loops
    bench.add("image", 0)
    bench.add("instance_mask", 9200)
    bench.add("instance_mask", 0)
    bench.add("image", 100)
    bench.add("instance_mask", 100)
    assert bench.stamps == [9000, 9100, 9200, 0, 100] and not bench.drops
    assert [pair.jumped for pair in bench.pairs] == [False, False, False, False, True]
    assert [pair.believed for pair in bench.pairs] == [True, True, True, False, True]  # 0 alone may be a broken stamp


def test_masks_that_are_late_when_a_bag_loops_lose_no_image_of_the_new_round():
    bench = Bench()
    rounds = [*range(9000, 10000, 100), *range(0, 2000, 100)]
    for k, ms in enumerate(rounds):
        bench.add("image", ms, now=0.1 * k)
        if k >= 8:
            bench.add("instance_mask", rounds[k - 8], now=0.1 * k)
    new = [ms for ms in bench.stamps if ms < 5000]
    assert new == list(range(0, 1200, 100)), bench.drops
    assert [pair.jumped for pair in bench.pairs].count(True) == 1


@pytest.mark.parametrize("broken", [0, 10**9])
def test_one_broken_stamp_costs_only_itself(broken):
    bench = Bench(seconds=100.0)
    for k in range(1, 12):
        bench.add("image", 50_000 + 100 * k)
        if k == 6:
            bench.add("image", broken)
        if k > 3:
            bench.add("instance_mask", 50_000 + 100 * (k - 3))
    assert bench.stamps == [50_000 + 100 * k for k in range(1, 9)]
    assert not any(pair.jumped for pair in bench.pairs) and len(bench.drops) <= 1


@pytest.mark.parametrize("broken", [1, 10**9])
def test_a_broken_stamp_that_the_segmenter_copied_is_answered_and_not_believed(broken):
    bench = Bench(seconds=100.0)
    for ms in (50_000, 50_100, broken, 50_200, 50_300):
        bench.add("image", ms)
        bench.add("instance_mask", ms)
    assert bench.stamps == [50_000, 50_100, broken, 50_200, 50_300] and not bench.drops
    assert [pair.believed for pair in bench.pairs] == [True, True, False, True, True]
    assert not any(pair.jumped for pair in bench.pairs)


def test_after_a_gap_the_second_pair_is_believed():
    bench = Bench(seconds=100.0)
    for ms in (1_000, 1_100, 900_000, 900_100, 900_200):
        bench.add("image", ms)
        bench.add("instance_mask", ms)
    assert [pair.believed for pair in bench.pairs] == [True, True, False, True, True] and not bench.drops


def test_a_stamp_that_was_answered_is_a_duplicate():
    bench = Bench()
    for _ in range(3):
        bench.add("image", 100)
        bench.add("instance_mask", 100)
    assert bench.stamps == [100] and Counter(bench.drops) == {(topic, "duplicate"): 2 for topic in TOPICS}


def test_a_small_step_back_is_jitter():
    bench = Bench()
    bench.add("image", 300)
    bench.add("image", 200)
    bench.add("instance_mask", 200)
    bench.add("instance_mask", 300)
    assert bench.stamps == [200, 300] and not bench.drops
    assert not any(pair.jumped for pair in bench.pairs)


@given(
    st.lists(st.tuples(st.sampled_from(TOPICS), st.integers(0, 30), st.integers(0, 300)), max_size=80),
    st.sampled_from([0, 40 * MS, 120 * MS]),
)
def test_every_message_is_paired_dropped_or_held_once(arrivals, slop):
    bench = Bench(slop=slop, seconds=1.0, size=12)
    now = 0.0
    for topic, step, wait in arrivals:
        now += wait / 1000
        bench.add(topic, 100 * step, now)
    received, dropped = Counter(topic for topic, _, _ in arrivals), Counter(topic for topic, _ in bench.drops)
    for topic in TOPICS:
        assert received[topic] == len(bench.pairs) + dropped[topic] + bench.pairer.waiting(topic)
        used = [pair.messages[topic] for pair in bench.pairs]
        assert all(name == topic for name, _ in used)
    assert sum(bench.pairer.waiting(topic) for topic in TOPICS) <= 12
    for pair in bench.pairs:
        assert abs(pair.messages["instance_mask"][1] - pair.messages["image"][1]) * MS <= slop
        assert pair.messages["image"][1] * MS == pair.stamp
    believed = [pair for pair in bench.pairs if pair.believed]
    for before, after in itertools.pairwise(believed):
        assert after.jumped == (before.stamp - after.stamp > JUMP) and (after.stamp > before.stamp or after.jumped)


@given(st.lists(st.tuples(st.sampled_from([*TOPICS, "take", "drop"]), st.integers(0, 12)), max_size=60))
def test_the_books_balance_at_every_moment(events):
    intake = Intake(TOPICS, lambda topic, reason, text: None)
    intake.open(TOPICS, slop=0, seconds=60.0, size=1000)
    taken = 0
    for event, step in events:
        if event in TOPICS:
            intake.offer(event, step * 100 * MS, event, 1)
        elif taken:
            taken -= 1
            intake.answered() if event == "take" else intake.drop("failed")
        elif intake._ready:
            intake.take(seconds=0.03, catch_up=0.01 * step)
            taken += 1
        image = intake.counts()["image"]
        assert image.waiting == intake._pairer.waiting("image") + len(intake._ready) + taken
        mask = intake.counts()["instance_mask"]
        assert mask.waiting == intake._pairer.waiting("instance_mask")
    for _ in range(taken):
        intake.answered()
    intake.close()
    assert [count.waiting for count in intake.counts().values()] == [0, 0]
    assert intake.take() is None


@pytest.mark.parametrize("topic", TOPICS)
def test_nothing_is_counted_while_closed(topic):
    intake = Intake(TOPICS, lambda *drop: None)
    intake.offer(topic, 5, "message", 1)
    assert intake.counts()[topic].received == 0 and intake.take() is None


def test_a_partner_a_little_older_than_the_last_pair_still_serves_the_next_image():
    bench = Bench(slop=20 * MS)
    bench.add("image", 100)
    bench.add("instance_mask", 110)
    bench.add("image", 115)
    bench.add("instance_mask", 97)  # within the slop of the second image, and after the first one's pair
    assert [pair.stamp for pair in bench.pairs] == [100 * MS, 115 * MS] and not bench.drops
