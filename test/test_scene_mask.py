"""`MaskRegion` against plain NumPy on a full plane, for any offsets and any cut of the box."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from amodal_ros.scene import MaskRegion

HEIGHT, WIDTH = 12, 16  # the frame
MARGIN = 24  # how far the plane reaches beyond it on every side
PLANE = (-MARGIN, -MARGIN, WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN)


@st.composite
def regions(draw) -> MaskRegion:
    """Inside, across or outside the frame; empty, loose and non-contiguous boxes too."""
    height, width = draw(st.tuples(st.integers(0, 7), st.integers(0, 9)))
    bits = draw(arrays(bool, (height, width)))
    if draw(st.booleans()):
        bits = bits[::-1, ::-1]
    return MaskRegion(draw(st.integers(-10, WIDTH)), draw(st.integers(-10, HEIGHT)), bits)


def plane(region: MaskRegion) -> np.ndarray:
    return region.window(*PLANE)


def brute_grow(bits: np.ndarray, radius: int) -> np.ndarray:
    """The union of all shifts by up to `radius`; the plane is wide enough that nothing comes round."""
    grown = np.zeros_like(bits)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if dx * dx + dy * dy <= radius * radius:
                grown |= np.roll(bits, (dy, dx), axis=(0, 1))
    return grown


@given(regions(), regions())
def test_set_algebra(a: MaskRegion, b: MaskRegion) -> None:
    both, either = plane(a) & plane(b), plane(a) | plane(b)
    assert np.array_equal(plane(a | b), either)
    assert np.array_equal(plane(a & b), both)
    assert np.array_equal(plane(a - b), plane(a) & ~plane(b))
    assert a.overlap(b) == b.overlap(a) == both.sum()
    assert a.iou(b) == (both.sum() / either.sum() if either.any() else 1.0)
    assert a.contains(b) == bool((plane(a) | ~plane(b)).all())
    assert (a == b) == np.array_equal(plane(a), plane(b))


@given(st.lists(regions(), max_size=4))
def test_union_of_any_number(many: list[MaskRegion]) -> None:
    expected = np.any([plane(r) for r in many], axis=0) if many else np.zeros(PLANE[:1:-1], bool)
    assert np.array_equal(plane(MaskRegion.union_of(iter(many))), expected)


@given(regions(), st.integers(-9, 9), st.integers(-9, 9))
def test_shift(a: MaskRegion, dx: int, dy: int) -> None:
    assert np.array_equal(plane(a.shift(dx, dy)), np.roll(plane(a), (dy, dx), axis=(0, 1)))


@given(regions(), st.integers(-12, 12), st.integers(-12, 12), st.integers(0, 20), st.integers(0, 20))
def test_windows(a: MaskRegion, x: int, y: int, width: int, height: int) -> None:
    rows, columns = slice(y + MARGIN, y + MARGIN + height), slice(x + MARGIN, x + MARGIN + width)
    assert np.array_equal(a.window(x, y, width, height), plane(a)[rows, columns])
    expected = np.zeros(PLANE[:1:-1], bool)
    expected[rows, columns] = plane(a)[rows, columns]
    assert np.array_equal(plane(a.within(x, y, width, height)), expected)


@given(regions())
def test_frame(a: MaskRegion) -> None:
    inside = plane(a)[MARGIN:-MARGIN, MARGIN:-MARGIN]
    assert np.array_equal(a.full(HEIGHT, WIDTH), inside)
    assert np.array_equal(a.clip(HEIGHT, WIDTH).full(HEIGHT, WIDTH), inside)
    assert a.clip(HEIGHT, WIDTH).area == inside.sum()
    interior = plane(a)[MARGIN + 1 : -MARGIN - 1, MARGIN + 1 : -MARGIN - 1]
    assert a.touches_edge(HEIGHT, WIDTH) == (interior.sum() < plane(a).sum())


@pytest.mark.parametrize("frame", [(1, 1), (1, 5), (2, 2), (5, 2)])
def test_everything_in_a_tiny_frame_touches_its_edge(frame: tuple[int, int]) -> None:
    assert MaskRegion(0, 0, np.ones((1, 1), bool)).touches_edge(*frame)
    assert not MaskRegion.empty().touches_edge(*frame)


@given(regions())
def test_trim_is_tight_and_equal(a: MaskRegion) -> None:
    tight = a.trim()
    assert tight == a and tight.area == a.area
    if a.area:
        assert tight.bits[[0, -1]].any(axis=1).all() and tight.bits[:, [0, -1]].any(axis=0).all()
    else:
        assert tight.bits.size == 0


@given(regions(), st.integers(-4, 13))
def test_grow_is_a_euclidean_disc(a: MaskRegion, radius: int) -> None:
    grown = plane(a.grow(radius))
    if radius >= 0:
        assert np.array_equal(grown, brute_grow(plane(a), radius))
    else:
        assert np.array_equal(grown, ~brute_grow(~plane(a), -radius))


def test_grow_agrees_on_both_sides_of_the_switch_to_the_distance_transform() -> None:
    bits = np.random.default_rng(0).random((40, 50)) < 0.01
    for radius in (10, 11, 25):
        padded = np.pad(bits, radius)
        assert np.array_equal(MaskRegion(0, 0, bits).grow(radius).bits, brute_grow(padded, radius))


@given(regions(), regions())
def test_connected_parts(a: MaskRegion, seed: MaskRegion) -> None:
    reached = plane(a) & plane(seed)
    while True:
        rows, columns = np.nonzero(np.pad(reached, 1))
        spread = np.zeros(np.add(reached.shape, 2), bool)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                spread[rows + dy, columns + dx] = True
        spread = spread[1:-1, 1:-1] & plane(a)
        if np.array_equal(spread, reached):
            break
        reached = spread
    assert np.array_equal(plane(a.connected_to(seed)), reached)


@given(regions())
def test_the_wire_keeps_every_pixel(a: MaskRegion) -> None:
    packed = a.pack()
    assert packed.dtype == np.uint8 and packed.size == a.height * -(-a.width // 8)
    for data in (packed, packed.tobytes()):
        assert MaskRegion.unpack(*a.box, data) == a


@given(arrays(np.uint8, (5, 7), elements=st.integers(0, 3)), st.integers(-9, 9), st.integers(-9, 9))
def test_from_full(labels: np.ndarray, x: int, y: int) -> None:
    region = MaskRegion.from_full(labels, x, y)
    assert np.array_equal(region.window(x, y, 7, 5), labels != 0)
    before = region.area
    labels[:] = 0  # the caller may reuse the array
    assert np.count_nonzero(region.bits) == before


def test_offsets_become_plain_integers() -> None:
    region = MaskRegion(np.int16(3), np.int64(-2), np.ones((1, 1), bool))
    assert type(region.x) is int and type(region.y) is int
    with pytest.raises(TypeError):
        MaskRegion(0.5, 0, np.ones((1, 1), bool))


@pytest.mark.parametrize("bits", [np.ones((2, 2)), np.ones((2, 2), np.uint8), np.ones(3, bool), [[True]]])
def test_bits_of_another_kind_are_refused(bits) -> None:
    with pytest.raises(ValueError, match="expected a bool array"):
        MaskRegion(0, 0, bits)


@pytest.mark.parametrize("mask", [np.ones((2, 2), np.float32), np.ones((2, 2, 3), bool), [[1]]])
def test_full_masks_of_another_kind_are_refused(mask) -> None:
    with pytest.raises(ValueError, match="expected a bool or integer array"):
        MaskRegion.from_full(mask)


@pytest.mark.parametrize(("width", "height", "size"), [(9, 2, 3), (0, 0, 1), (-8, -1, 1), (8, 1, 0)])
def test_packed_masks_of_another_size_are_refused(width: int, height: int, size: int) -> None:
    with pytest.raises(ValueError, match=r"expected \d+ bytes"):
        MaskRegion.unpack(0, 0, width, height, bytes(size))
