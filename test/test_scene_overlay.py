"""The picture for people."""

from __future__ import annotations

import numpy as np
import pytest

from amodal_ros.scene import Answer, Completion, Instance, MaskRegion, Source
from amodal_ros.scene.overlay import colour_of, draw_overlay


def box(x: int, y: int, width: int, height: int) -> MaskRegion:
    return MaskRegion(x, y, np.ones((height, width), bool))


def answer(number: int, visible: MaskRegion, amodal: MaskRegion, shape=(375, 1242)) -> Answer:
    done = Completion(visible, amodal, shape, Source.GEOMETRIC)
    return Answer(Instance(number, visible, "car"), done, 0)


def test_background_is_dimmed_and_hidden_parts_carry_the_objects_colour():
    image = np.full((375, 1242, 3), 100, np.uint8)
    kept = image.copy()
    picture = draw_overlay(image, [answer(3, box(300, 100, 80, 60), box(300, 100, 160, 60))])
    assert np.array_equal(image, kept) and picture.shape == image.shape and picture.dtype == np.uint8
    assert (picture[300, 50] < 60).all()  # background
    assert (picture[130, 340] > 70).all()  # seen
    hidden, colour = picture[130, 420].astype(int), np.array(colour_of(3))
    assert np.argmax(hidden) == np.argmax(colour) and np.ptp(hidden) > 30


def test_the_hidden_part_is_what_catches_the_eye():
    """Of a grey street in the shade: more colour than anything else, and bright enough to see the rest by."""
    image = np.full((375, 1242, 3), 30, np.uint8)
    visible = box(300, 100, 80, 60)
    picture = draw_overlay(image, [answer(2, visible, box(300, 100, 160, 60))]).astype(int)
    spread = np.ptp(picture, axis=2)
    assert spread[104:156, 384:456].mean() > 4 * spread[104:156, 304:376].mean() + 40
    assert picture[250:300, 50:200].mean() > 30 and picture[104:156, 304:376].mean() > 60


def test_the_legend_explains_the_words_that_occur():
    """And where nothing is hidden, or nobody answered, it says so: each is another strip."""
    image = np.full((375, 1242, 3), 100, np.uint8)
    whole = answer(2, box(300, 100, 80, 60), box(300, 100, 80, 60))
    hidden = answer(2, box(300, 100, 80, 60), box(300, 100, 160, 60))
    pictures = [draw_overlay(image, given) for given in ([], [whole], [hidden])] + [draw_overlay(image, [], note="x")]
    strips = [picture[-16:].tobytes() for picture in pictures]
    assert len({*strips}) == 4 and all((picture[-16:] > 150).any() for picture in pictures)


def test_objects_are_called_by_given_names():
    image, given = np.full((375, 1242, 3), 100, np.uint8), [answer(2, *[box(300, 100, 80, 60)] * 2)]
    assert (draw_overlay(image, given) == draw_overlay(image, given, names={2: "2 car"})).all()
    assert (draw_overlay(image, given) != draw_overlay(image, given, names={2: "bus"})).any()


def test_colours_are_steady_and_apart():
    assert colour_of(7) == colour_of(7)
    colours = np.array([colour_of(k) for k in range(10_000, 10_200)], int)
    for step in range(1, 25):
        assert np.abs(colours[step:] - colours[:-step]).sum(axis=1).min() > 50, f"ids {step} apart"


@pytest.mark.parametrize("shape", [(375, 1242), (24, 32), (1, 1)])
def test_anything_that_leaves_the_frame_or_does_not_fit_is_drawn_all_the_same(shape):
    height, width = shape
    image = np.zeros((height, width, 3), np.uint8)
    whole = box(0, 0, width, height)
    answers = [answer(k, whole, box(-5, -7, width + 20, height + 30), shape) for k in range(40)]
    assert draw_overlay(image, answers).shape == image.shape
    assert draw_overlay(image, []).shape == image.shape
