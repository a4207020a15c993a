"""Images and label maps as arrays, without ROS."""

from __future__ import annotations

import struct
import sys
from array import array
from io import BytesIO
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from amodal_ros.scene import Source
from amodal_ros.stream.frames import Frames, cut_instances
from amodal_ros.stream.images import BadInput, depth_of, labels_of, rgb_of
from amodal_ros.stream.parameters import Parameters


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
    [
        ("mono8", "u1"),
        ("8UC1", "u1"),
        ("mono16", "u2"),
        ("16UC1", "u2"),
        ("32SC1", "i4"),
        ("16SC1", "i2"),
        ("32UC1", "u4"),
    ],
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


MOSAICS = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", MOSAICS)
@pytest.mark.parametrize("big", [False, True])
def test_every_bayer_pattern_gives_its_colour(pattern, bits, big):
    colour = {"R": 200, "G": 100, "B": 40}
    tile = np.array([colour[letter] for letter in MOSAICS[pattern]]).reshape(2, 2)
    mosaic = np.tile(tile, (4, 5)).astype(f"u{bits // 8}") << (bits - 8)
    rgb = rgb_of(message(mosaic, f"bayer_{pattern}{bits}", padding=2, big=big))
    assert rgb.dtype == np.uint8 and (rgb[2:-2, 2:-2] == (200, 100, 40)).all()


def yuv_of(rgb) -> tuple[int, int, int]:
    """BT.601 with 8-bit offsets, as video has it."""
    red, green, blue = (channel / 255 for channel in rgb)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return round(16 + 219 * luma), round(128 + 224 * (blue - luma) / 1.772), round(128 + 224 * (red - luma) / 1.402)


@pytest.mark.parametrize("encoding", ["yuv422", "uyvy", "yuv422_yuy2", "yuyv", "nv12", "nv21"])
def test_video_encodings_give_their_colour(encoding):
    y, u, v = yuv_of((200, 60, 90))
    height, width = 4, 6
    if encoding in ("nv12", "nv21"):
        pair = (u, v) if encoding == "nv12" else (v, u)
        rows = np.vstack([np.full((height, width), y), np.tile(pair, (height // 2, width // 2))])
    else:
        quad = (y, u, y, v) if encoding in ("yuv422_yuy2", "yuyv") else (u, y, v, y)
        rows = np.tile(quad, (height, width // 2))
    packed = message(rows.astype(np.uint8), encoding, padding=3)
    packed.height, packed.width = height, width
    rgb = rgb_of(packed)
    assert rgb.shape == (height, width, 3) and np.abs(rgb.astype(int) - (200, 60, 90)).max() <= 3
    packed.width = 5
    with pytest.raises(BadInput, match="even sides, got 5x4"):
        rgb_of(packed)


@pytest.mark.parametrize("bits", [10, 12, 14, 16])
@pytest.mark.parametrize("big", [False, True])
def test_deep_words_are_scaled_from_the_depth_they_use(bits, big):
    deep = RGB.astype(np.uint16) << (bits - 8)
    deep[0, 0] = (1 << bits) - 1
    expected = (deep >> (bits - 8)).astype(np.uint8)
    assert np.array_equal(rgb_of(message(deep, "rgb16", big=big)), expected)
    assert np.array_equal(rgb_of(message(deep[..., ::-1], "bgr16", big=big)), expected)
    assert np.array_equal(rgb_of(message(deep[..., ::-1], "16UC3", 4, big)), expected)
    assert np.array_equal(rgb_of(message(deep[..., 0], "mono16", big=big))[..., 1], expected[..., 0])


def test_unnamed_channels_with_alpha():
    assert np.array_equal(rgb_of(message(ALPHA[..., [2, 1, 0, 3]], "8UC4")), RGB)


def packed(name: str, suffix: str, pixels: np.ndarray, header: bytes = b"") -> SimpleNamespace:
    return SimpleNamespace(format=name, data=array("B", header + cv2.imencode(suffix, pixels)[1].tobytes()))


def test_compressed_label_maps():
    ids = np.array([[0, 1, 300], [7, 7, 65535]], np.uint16)
    assert np.array_equal(labels_of(packed("16UC1; png compressed ", ".png", ids)), ids)
    assert np.array_equal(labels_of(packed("png", ".png", ids.astype(np.uint8))), ids.astype(np.uint8))
    stream, palette = BytesIO(), Image.frombytes("P", (3, 1), bytes([0, 1, 5]))
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0, 0, 0, 128, 128, 0, 128])
    palette.save(stream, "PNG")
    assert labels_of(SimpleNamespace(format="png", data=stream.getvalue())).tolist() == [[0, 1, 5]], "indices are ids"
    for bad, text in [
        (packed("jpeg", ".jpg", ids.astype(np.uint8)), "lossless format such as png, got a JPEG"),
        (packed("png", ".png", RGB), "one channel of ids, got a picture of 3 channels"),
        (SimpleNamespace(format="png", data=b"\x89PNG broken"), "are no image"),
        (message(RGB, "rgb8"), "mono8, .* whose pixels are ids, got 'rgb8'"),
        (message(np.array([[2**31]], np.uint32), "32UC1"), "below 2147483648, got 2147483648"),
    ]:
        with pytest.raises(BadInput, match=text) as error:
            labels_of(bad)
        assert error.value.reason == "bad_mask"


def test_compressed_depth_of_both_kinds():
    millimetres = np.array([[1500, 0, 400]], np.uint16)
    for data in (
        packed("16UC1; compressedDepth png", ".png", millimetres, bytes(12)),
        packed("16UC1; png compressed ", ".png", millimetres),
    ):
        assert np.allclose(depth_of(data), [[1.5, 0.0, 0.4]])
    # As image_transport's plugin quantises metres: value = a / depth + b, a = z (z + 1), b = 1 - a / max, 0 is NaN.
    metres, z, furthest = np.array([[0.8, 2.5, np.nan]], np.float32), 100.0, 10.0
    a = z * (z + 1)
    b = 1 - a / furthest
    values = np.nan_to_num(a / metres + b, nan=0.0).astype(np.uint16)
    header = struct.pack("<iff", 0, a, b)
    depth = depth_of(packed("32FC1; compressedDepth png", ".png", values, header))
    assert np.allclose(depth, metres, atol=0.01, equal_nan=True) and depth.dtype == np.float32
    with pytest.raises(BadInput, match="got '32FC1; compressedDepth rvl'"):
        depth_of(SimpleNamespace(format="32FC1; compressedDepth rvl", data=header + bytes(40)))


def test_exotic_encodings_name_cv_bridge(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv_bridge", None)  # as where it is not installed
    with pytest.raises(BadInput, match="cv_bridge to convert 'yuv999'") as error:
        rgb_of(message(RGB[..., 0], "yuv999"))
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


def test_labelled_stuff_is_no_object_and_hides():
    labels = np.zeros((6, 8), np.uint16)
    labels[1:4, 1:3] = labels[1:4, 4:6] = 26000  # a car on both sides of
    labels[:, 3] = 17  # a pole, as Cityscapes has it
    messages = {"image": message(np.zeros((6, 8, 3), np.uint8), "rgb8"), "instance_mask": message(labels, "16UC1")}
    parameters = Parameters(label_divisor=1000)
    scene = Frames().scene(messages, 1, parameters)
    assert [thing.id for thing in scene.things] == [26000]
    done = scene.geometric(0)
    assert done.source is Source.GEOMETRIC and done.occlusion_ratio == pytest.approx(0.2)
    alone = Frames().scene(
        {**messages, "instance_mask": message(labels * (labels > 17), "16UC1")},
        1,
        Parameters(label_divisor=1000),
        "any",
    )
    assert not alone.things, "a map without values below the divisor has its stuff in the multiples"


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
