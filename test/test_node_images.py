"""Images and label maps as arrays, without ROS."""

from __future__ import annotations

import sys
from array import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from amodal_ros.node.frames import cut_instances
from amodal_ros.node.images import BadInput, depth_of, labels_of, rgb_of


def message(pixels: np.ndarray, encoding: str, padding: int = 0, big: bool = False) -> SimpleNamespace:
    """A sensor_msgs/Image by its fields; rows padded with 0xAA."""
    pixels = pixels.astype(pixels.dtype.newbyteorder(">")) if big else pixels
    height, width = pixels.shape[:2]
    rows = np.ascontiguousarray(pixels).view(np.uint8).reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=0xAA)
    return SimpleNamespace(
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=int(big),
        step=rows.shape[1],
        data=array("B", rows.tobytes()),
    )


RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
ALPHA = np.dstack([RGB, np.full((5, 7), 9, np.uint8)])


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels"),
    [
        ("rgb8", RGB),
        ("bgr8", RGB[..., ::-1]),
        ("8UC3", RGB[..., ::-1]),
        ("rgba8", ALPHA),
        ("bgra8", ALPHA[..., [2, 1, 0, 3]]),
    ],
)
def test_colour_encodings(encoding, pixels, padding):
    assert np.array_equal(rgb_of(message(pixels, encoding, padding)), RGB)


@pytest.mark.parametrize(("encoding", "shift"), [("mono8", 0), ("8UC1", 0), ("mono16", 8), ("16UC1", 8)])
@pytest.mark.parametrize("big", [False, True])
def test_grey_encodings(encoding, shift, big):
    grey = RGB[..., 0]
    pixels = grey.astype(np.uint16) << shift if shift else grey
    assert np.array_equal(rgb_of(message(pixels, encoding, big=big)), np.dstack([grey] * 3))


def test_rgb8_and_labels_are_views():
    image = message(RGB, "rgb8")
    assert np.shares_memory(rgb_of(image), np.frombuffer(image.data, np.uint8))
    labels = message(RGB[..., 0].astype(np.int32), "32SC1", padding=3)
    assert np.shares_memory(labels_of(labels), np.frombuffer(labels.data, np.uint8))


@pytest.mark.parametrize(
    ("encoding", "dtype"),
    [("mono8", "u1"), ("8UC1", "u1"), ("mono16", "u2"), ("16UC1", "u2"), ("32SC1", "i4")],
)
@pytest.mark.parametrize("big", [False, True])
def test_label_maps(encoding, dtype, big):
    labels = np.array([[0, 1], [200, 255]], dtype)
    assert np.array_equal(labels_of(message(labels, encoding, padding=3, big=big)), labels)


def test_depth_in_metres_and_millimetres():
    assert np.allclose(
        depth_of(message(np.array([[1.5, np.nan]], np.float32), "32FC1")), [[1.5, np.nan]], equal_nan=True
    )
    assert np.allclose(depth_of(message(np.array([[1500, 0]], np.uint16), "16UC1")), [[1.5, 0.0]])
    with pytest.raises(BadInput, match="rgb8"):
        depth_of(message(RGB, "rgb8"))


def test_compressed():
    packed = SimpleNamespace(format="png", data=array("B", cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()))
    assert np.array_equal(rgb_of(packed), RGB)
    for data in (b"", b"\xff\xd8 not a jpeg"):
        with pytest.raises(BadInput, match="bytes of 'jpeg' are no image"):
            rgb_of(SimpleNamespace(format="jpeg", data=data))


def test_exotic_encodings_name_cv_bridge(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)  # as where it is not installed
    with pytest.raises(BadInput, match="cv_bridge to convert 'bayer_rggb8'") as error:
        rgb_of(message(RGB[..., 0], "bayer_rggb8"))
    assert error.value.reason == "bad_image"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"step": 3}, "step of at least 21 bytes, got 3"),
        ({"data": b"123"}, "expected 105 bytes .* got 3"),
        ({"width": 0}, "at least one pixel"),
    ],
)
def test_sizes_that_cannot_be(change, text):
    broken = message(RGB, "rgb8")
    broken.__dict__.update(change)
    with pytest.raises(BadInput, match=text):
        rgb_of(broken)


label_maps = arrays.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int32]),
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=12),
    elements=st.sampled_from([0, 0, 1, 2, 3, 100, 101, 250]),
)


@given(label_maps, st.sampled_from([0, 10, 100]))
def test_cutting_a_label_map_says_what_comparing_every_value_says(labels, divisor):
    instances = cut_instances(labels, divisor, ["zero", "one"])
    present = np.unique(labels).tolist()
    below = any(0 < v < divisor for v in present)  # then that is where stuff is, and multiples are objects
    expected = [v for v in present if v and (not divisor or (v >= divisor if below else v % divisor))]
    assert [instance.id for instance in instances] == expected
    for instance in instances:
        assert np.array_equal(instance.visible.full(*labels.shape), labels == instance.id)
        assert instance.visible == instance.visible.trim() and instance.visible.box == instance.visible.trim().box
        number = instance.id // divisor if divisor else None
        assert instance.class_id == {0: "zero", 1: "one"}.get(number, "")


def test_negative_labels_and_too_many_are_refused():
    with pytest.raises(BadInput, match="got -7") as negative:
        cut_instances(np.array([[0, 3], [-7, 3]], np.int32))
    assert negative.value.reason == "bad_labels"
    many = np.arange(600, dtype=np.uint16).reshape(20, 30).repeat(3, 0).repeat(3, 1)
    with pytest.raises(BadInput, match="at most 256 objects, got 599") as crowd:
        cut_instances(many)
    assert crowd.value.reason == "too_many_objects"
    assert len(cut_instances(many, max_objects=599)) == 599


def ellipses(count: int = 30, height: int = 480, width: int = 640) -> np.ndarray:
    """A segmenter's map: `count` objects that overlap here and there."""
    labels, rng = np.zeros((height, width), np.uint16), np.random.default_rng(1)
    for value in range(1, count + 1):
        centre = int(rng.integers(0, width)), int(rng.integers(height // 3, height))
        cv2.ellipse(labels, centre, (width // 14, height // 10), 0, 0, 360, value, -1)
    return labels


@pytest.mark.parametrize("salt", ["their ids", "any ids", "one id"])
def test_two_percent_of_salt_is_taken_out_of_a_label_map(salt):
    clean = ellipses()
    rng = np.random.default_rng(0)
    where = rng.random(clean.shape) < 0.02
    noisy = clean.copy()
    noisy[where] = {"their ids": rng.integers(1, 31, where.sum()), "any ids": rng.integers(1, 65536, where.sum())}.get(
        salt, 255
    )
    expected = {i.id: i.visible for i in cut_instances(clean)}
    got = {i.id: i.visible for i in cut_instances(noisy)}
    assert got.keys() == expected.keys()
    for value, mask in got.items():
        assert mask.iou(expected[value]) > 0.9
        assert max(mask.width - expected[value].width, mask.height - expected[value].height) <= 2


def camera_images():
    rng = np.random.default_rng(0)
    flat = cv2.GaussianBlur(rng.integers(0, 256, (480, 640)).astype(np.uint8), (0, 0), 6)
    yield rng.normal(120, 30, (480, 640)).clip(0, 255).astype(np.uint8)
    yield cv2.normalize(flat, None, 0, 255, cv2.NORM_MINMAX)  # no noise at all: bands of one value all over the frame


@pytest.mark.parametrize("picture", camera_images())
def test_a_camera_image_is_no_label_map(picture):
    with pytest.raises(BadInput, match="camera image") as error:
        cut_instances(picture)
    assert error.value.reason == "bad_labels"


def test_small_and_thin_objects_of_a_clean_map_stay():
    labels = ellipses(10)
    labels[10:300, 7] = 77  # a pole of one pixel
    labels[5, 5], labels[8, 400:403] = 78, 79
    assert {77, 78, 79} <= {i.id for i in cut_instances(labels)}
