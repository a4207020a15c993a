"""Masks as segmenters publish them, read without ROS: rings, sizes, and which pixels are whose."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace as Message

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amodal_ros.scene import MaskRegion
from amodal_ros.stream.images import BadInput
from amodal_ros.stream.masks import autoware, detections, label_info, labels
from amodal_ros.stream.masks.base import Legend, placing
from amodal_ros.stream.masks.yolo import fill_ring
from amodal_ros.stream.parameters import Parameters

SHAPE = (40, 60)


def outline(mask: np.ndarray) -> np.ndarray:
    """The border of a mask's largest part, as segmenters draw it."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return max(contours, key=len)[:, 0].astype(float)


@given(
    st.lists(st.tuples(st.integers(0, 59), st.integers(0, 39), st.integers(1, 9)), min_size=1, max_size=4),
    st.tuples(st.integers(-30, 30), st.integers(-20, 20)),
)
def test_a_ring_filled_is_the_mask_that_it_was_drawn_around_inside_the_image(discs, shift):
    canvas = np.zeros((100, 140), np.uint8)
    for x, y, radius in discs:
        cv2.circle(canvas, (x + 40, y + 30), radius, 1, -1)
    ring = outline(canvas)
    solid = np.zeros_like(canvas)
    cv2.drawContours(solid, [ring.astype(np.int32)[:, None]], -1, 1, -1)
    expected = MaskRegion.from_full(solid, shift[0] - 40, shift[1] - 30).clip(*SHAPE)
    try:
        filled, crossed = fill_ring(ring - (40, 30) + shift, SHAPE)
    except BadInput as error:
        assert error.reason == "outside_image" and not expected.area
        return
    assert filled == expected and not crossed


@pytest.mark.parametrize(
    ("ring", "reason"),
    [
        ([], "bad_ring"),
        ([(3, 3), (9, 9)], "bad_ring"),
        ([(3, 3), (9, np.nan), (9, 3)], "bad_ring"),
        ([(3, 3), (9, np.inf), (9, 3)], "bad_ring"),
        ([(-9, -9), (-3, -9), (-3, -3)], "outside_image"),
        ([(1e12, 1e12), (2e12, 1e12), (2e12, 2e12)], "outside_image"),
    ],
)
def test_rings_that_enclose_nothing_are_refused(ring, reason):
    with pytest.raises(BadInput) as error:
        fill_ring(np.array(ring, float).reshape(-1, 2), SHAPE)
    assert error.value.reason == reason


def test_a_ring_that_crosses_itself_is_told_from_one_that_is_ragged():
    bow = np.array([(5, 5), (25, 25), (25, 5), (5, 25)], float)
    filled, crossed = fill_ring(bow, SHAPE)
    assert crossed and 150 < filled.area < 300
    ragged = np.array([(5, 5), (30, 5), (6, 6), (30, 7), (6, 8), (30, 30), (5, 30)], float)
    assert not fill_ring(ragged, SHAPE)[1]
    bridge = np.array(
        [(5, 5), (15, 5), (15, 15), (30, 15), (30, 5), (40, 5), (40, 25), (30, 25), (30, 15), (15, 15), (5, 15)]
    )
    assert not fill_ring(bridge.astype(float), SHAPE)[1], "two parts joined by one line"


@pytest.mark.parametrize("how", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", [(640, 640), (160, 160), (20, 30), (97, 311)])
def test_a_mask_of_another_size_comes_back_to_the_image(size, how):
    """An image of a square, brought to the mask's size as segmenters do, and back: at most a pixel's width is lost."""
    image = np.zeros((375, 1242), np.uint8)
    image[100:300, 200:700] = 1
    if how == "letterbox":
        scale = min(size[0] / 375, size[1] / 1242)
        inner = cv2.resize(image, (round(1242 * scale), round(375 * scale)), interpolation=cv2.INTER_AREA)
        small = np.zeros(size, np.uint8)
        top, left = (size[0] - inner.shape[0]) // 2, (size[1] - inner.shape[1]) // 2
        small[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    else:
        small = cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA)
        scale = min(size[0] / 375, size[1] / 1242)
    back = placing(size, image.shape, how, "mask").plane(small, image.shape)
    changed = back != image
    near = cv2.dilate(image, np.ones((3, 3))) != cv2.erode(image, np.ones((3, 3)))
    reach = 2 * int(np.ceil(1.5 / scale)) + 1
    assert not changed[cv2.dilate(near.astype(np.uint8), np.ones((reach, reach))) == 0].any()


def test_rings_and_planes_are_placed_alike():
    place = placing((64, 64), (30, 60), "letterbox", "mask")
    mask = np.zeros((64, 64), np.uint8)
    mask[20:40, 10:50] = 1
    by_plane = MaskRegion.from_full(place.plane(mask, (30, 60)))
    by_ring, _ = fill_ring(place.points(outline(mask)), (30, 60))
    assert by_plane.iou(by_ring) > 0.9


def test_other_proportions_are_refused_unless_they_are_said():
    assert placing((375, 1242), (375, 1242), "off", "mask") is None
    assert placing((188, 621), (375, 1242), "auto", "mask") is not None, "half the size, rounded"
    with pytest.raises(BadInput, match="mask_fit says"):
        placing((640, 640), (375, 1242), "auto", "mask")
    with pytest.raises(BadInput, match=r"expected the image's size 1242x375, got 621x188$"):
        placing((188, 621), (375, 1242), "off", "mask")


def detection(id: str = "", name: str = "", score: float = 0.9, box=(0.0, 0.0, 0.0, 0.0)) -> Message:
    x, y, width, height = box
    center = Message(position=Message(x=x + width / 2, y=y + height / 2), theta=0.0)
    results = [Message(hypothesis=Message(class_id=name, score=score))] if name else []
    return Message(id=id, results=results, bbox=Message(center=center, size_x=width, size_y=height))


def grey(values: np.ndarray) -> Message:
    height, width = values.shape
    data = values.astype(np.uint8).tobytes()
    return Message(encoding="mono8", height=height, width=width, step=width, is_bigendian=0, data=data)


def read(values: np.ndarray, *found: Message, legend: Legend = Legend(), **parameters):  # noqa: B008 - frozen
    flaws: Counter = Counter()
    messages = {"instance_mask": grey(values), "detections": Message(detections=found)}
    seeing = detections.read(messages, values.shape, Parameters(**parameters), lambda r, t: flaws.update([r]), legend)
    return seeing.instances, flaws


def test_detections_find_their_pixels_by_id_by_position_and_by_box():
    values = np.zeros(SHAPE, np.uint8)
    values[5:15, 5:15], values[20:30, 30:50] = 1, 2
    second, first = MaskRegion.from_full(values == 2), MaskRegion.from_full(values == 1)
    by_id, _ = read(values, detection("2", "car"), detection("1", "person"))
    assert [(s.id, s.class_id) for s in by_id] == [("2", "car"), ("1", "person")] and by_id[0].mask == second
    by_position, _ = read(values, detection("", "car", 0.25), detection("", "person"))
    assert by_position[0].mask == first and by_position[0].score == 0.25 and by_position[0].id is None
    binary = np.where(values, 255, 0)
    by_box, flaws = read(binary, detection("a", "car", box=(29, 19, 22, 12)), detection("b", "dog", box=(0, 0, 4, 4)))
    assert [s.id for s in by_box] == ["a"] and by_box[0].mask == second and flaws == {"empty_mask": 1}


def test_what_detections_and_values_lack_is_counted_and_the_rest_is_read():
    values = np.zeros(SHAPE, np.uint8)
    values[5:15, 5:15], values[20:30, 30:50] = 1, 7
    seen, flaws = read(values, detection("", "car"), detection("", "person"))
    assert [(s.class_id, s.mask.x) for s in seen] == [("car", 5), ("", 30)]
    assert flaws == {"no_mask": 1, "extra_masks": 1}
    seen, flaws = read(values, detection("", "car", 0.2), min_score=0.5)
    assert [s.class_id for s in seen] == [""] and flaws["low_score"] == 1


def test_values_to_ignore_are_background():
    values = np.full(SHAPE, 255, np.uint8)
    values[5:15, 5:15] = 3
    messages = {"instance_mask": grey(values)}
    ignored = labels.read(messages, SHAPE, Parameters(ignore_labels=(255,)), lambda r, t: None)
    assert [s.id for s in ignored.instances] == [3]
    assert len(labels.read(messages, SHAPE, Parameters(), lambda r, t: None).instances) == 2


def test_where_255_is_background_0_is_an_object():
    """DepthAI: a value is an instance's position in the list of detections; 255 is nobody."""
    values = np.full(SHAPE, 255, np.uint8)
    values[5:15, 5:15], values[20:30, 30:50] = 0, 1
    first, second = (MaskRegion.from_full(values == k) for k in (0, 1))
    messages = {"instance_mask": grey(values)}
    alone = labels.read(messages, SHAPE, Parameters(background=255), lambda r, t: None).instances
    assert [(s.id, s.mask) for s in alone] == [(0, first), (1, second)]
    beside, flaws = read(values, detection("", "car"), detection("", "person"), background=255)
    assert [(s.class_id, s.mask) for s in beside] == [("car", first), ("person", second)] and not flaws
    (single,), _ = read(np.where(values == 0, 0, 255), detection("", "car"), background=255)
    assert single.mask == first


def test_specks_are_background_whatever_its_value():
    values = np.full((200, 200), 255, np.uint8)
    values[20:120, 20:120] = 0
    noisy = values.copy()
    noisy[np.random.default_rng(3).random(values.shape) < 0.02] = 7
    seen = labels.read({"instance_mask": grey(noisy)}, values.shape, Parameters(background=255), lambda r, t: None)
    (only,) = seen.instances
    assert only.id == 0 and only.mask.iou(MaskRegion.from_full(values == 0)) > 0.97


def legend(**names: int) -> Legend:
    class_map = [Message(class_id=number, class_name=name) for name, number in names.items()]
    return label_info.read(Message(class_map=class_map), pytest.fail)


def test_a_legend_names_values_and_classes_and_tells_what_is_background():
    values = np.zeros(SHAPE, np.uint8)
    values[5:15, 5:15], values[20:30, 30:50], values[:3, :], values[37:, :] = 1, 2, 3, 255
    said = legend(background=0, car=1, person=2, VOID=3)
    seen = labels.read({"instance_mask": grey(values)}, SHAPE, Parameters(), pytest.fail, said).instances
    assert [(s.id, s.class_id) for s in seen] == [(1, "car"), (2, "person")]
    many = legend(car=1, person=2, traffic_cone=255, wheel=300)
    seen = labels.read({"instance_mask": grey(values)}, SHAPE, Parameters(), pytest.fail, many).instances
    assert [s.class_id for s in seen] == ["car", "person", "", "traffic_cone"]


def test_a_legend_names_the_classes_of_divided_values():
    values = np.zeros(SHAPE, np.int32)
    values[5:15, 5:15], values[20:30, 30:50], values[:3, :], values[37:, :] = 1007, 2001, 3, 1
    message = Message(**{**vars(grey(values)), "encoding": "32SC1", "step": 240, "data": values.tobytes()})
    said = legend(road=0, car=1, person=2, void=3)
    seeing = labels.read({"instance_mask": message}, SHAPE, Parameters(label_divisor=1000), pytest.fail, said)
    assert [(s.id, s.class_id) for s in seeing.instances] == [(1007, "car"), (2001, "person")]
    assert seeing.stuff == [MaskRegion.from_full(values == 1)], "0 stays background, and void hides nobody"


def test_a_legend_names_the_numbers_of_detections():
    values = np.zeros(SHAPE, np.uint8)
    values[5:15, 5:15], values[20:30, 30:50], values[:3, :] = 1, 2, 3
    found = [detection("", "1"), detection("", "0"), detection("", "dog")]
    seen, flaws = read(values, *found, legend=legend(background=0, car=1))
    assert [s.class_id for s in seen] == ["car", "dog"] and flaws == {"nobody": 1}
    seen, _ = read(values, *found, legend=legend(person=0, car=1), class_names=["", "van"], masks="detections")
    assert [s.class_id for s in seen] == ["van", "person", "dog"], "what the user says holds"
    kinds = [Message(label=label, probability=0.9) for label in (1, 7, 0)]
    message = Message(image=grey(values), classification=kinds)
    seen = autoware.read({"instance_mask": message}, SHAPE, Parameters(), lambda r, t: None, legend(void=0, tram=7))
    assert [s.class_id for s in seen.instances] == ["car", "tram"]
