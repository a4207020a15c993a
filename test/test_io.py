"""Files that people have: what each kind of image, mask and label map is read as, through functions and commands."""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from amodal_ros import cli
from amodal_ros.io import (
    ReadError,
    cut_labels,
    image_shape,
    images_in,
    natural,
    read_image,
    read_labels,
    read_mask,
    unique_names,
)

GREY = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5
RGB = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
INSIDE = np.zeros((6, 8), bool)
INSIDE[1:4, 2:6] = True
IDS = np.zeros((6, 8), np.uint8)
IDS[1:3, 1:3], IDS[3:5, 4:6], IDS[0, 7] = 1, 2, 7


def png(width: int, height: int, bits: int, kind: int, rows: list[bytes]) -> bytes:
    """A PNG of depths and kinds that Pillow does not write."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def palette_image(indices: np.ndarray, colours: list[tuple[int, int, int]]) -> Image.Image:
    image = Image.frombytes("P", indices.shape[::-1], indices.tobytes())
    image.putpalette([value for colour in colours for value in colour])
    return image


VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128), (128, 0, 128), (0, 128, 128), (128, 128, 128)]


# --- images ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp", "PNG", "npy"])
def test_colour_images(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    if suffix == "npy":
        np.save(path, RGB)
    else:
        Image.fromarray(RGB).save(path, lossless=True)
    assert np.array_equal(read_image(path), RGB)
    assert image_shape(path) == RGB.shape[:2]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_exif_turns_an_image_everywhere(tmp_path, suffix, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image.{suffix}"
    stored = np.kron(RGB[:3, :4], np.ones((8, 8, 1), np.uint8))  # blocks that JPEG keeps
    Image.fromarray(stored).save(path, exif=exif, quality=100, lossless=True)
    flips = {2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}  # mirrored x, y
    x, y = flips.get(orientation, (0, 0))
    upright = stored.transpose(1, 0, 2) if orientation >= 5 else stored
    upright = upright[:: -1 if y else 1, :: -1 if x else 1]
    got = read_image(path)
    assert image_shape(path) == got.shape[:2] == upright.shape[:2]
    assert np.abs(got.astype(int) - upright).mean() < 12


@pytest.mark.parametrize(("bits", "brightest"), [(8, 200), (10, 1000), (12, 4000), (14, 9000), (16, 65535)])
@pytest.mark.parametrize("suffix", ["png", "tif", "pgm", "npy"])
def test_grey_of_more_than_8_bits_is_neither_white_nor_black(tmp_path, bits, brightest, suffix):
    values = np.linspace(0, brightest, 48).reshape(6, 8).astype(np.uint16)
    path = tmp_path / f"grey.{suffix}"
    np.save(path, values) if suffix == "npy" else Image.fromarray(values).save(path)
    assert np.array_equal(read_image(path), np.dstack([values >> (bits - 8)] * 3))


def test_images_of_other_kinds(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE).save(path)
    assert np.array_equal(read_image(path), RGB), "48 colours fit a palette"
    Image.fromarray(INSIDE).save(path)
    assert np.array_equal(read_image(path), np.dstack([INSIDE * np.uint8(255)] * 3))
    path.write_bytes(png(2, 1, 4, 0, [b"\x0f"]))
    assert read_image(path)[0, :, 0].tolist() == [0, 255]
    Image.fromarray(np.dstack([RGB, GREY])).save(path)
    assert np.array_equal(read_image(path), RGB)
    Image.fromarray(np.full((1, 50), 9, np.uint8)).save(path)
    assert read_image(path).shape == (1, 50, 3)
    Image.fromarray(RGB).resize((64, 48), 0).convert("CMYK").save(tmp_path / "c.jpg", quality=100)
    enlarged = np.array(Image.fromarray(RGB).resize((64, 48), 0))
    assert np.abs(read_image(tmp_path / "c.jpg").astype(int) - enlarged).mean() < 12
    Image.fromarray(np.linspace(0, 1, 48, dtype=np.float32).reshape(6, 8)).save(tmp_path / "f.tif")
    assert read_image(tmp_path / "f.tif")[-1, -1].tolist() == [255] * 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", None, "missing"),
        ("a.jpg", b"<html>404</html>", "unreadable"),
        ("a.npy", b"no array", "unreadable"),
        ("a.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        ("a.tif", np.full((2, 2), 7.5, np.float32), r"floats in \[0, 1\], got 7.5"),
        ("a.tif", np.full((2, 2), -1, np.int32), "16 bits, got -1"),
    ],
)
def test_what_is_no_image_is_named(tmp_path, name, content, message):
    path = tmp_path / name
    if isinstance(content, np.ndarray):
        Image.fromarray(content).save(path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ReadError, match=message) as error:
        read_image(path)
    assert str(path) in str(error.value)


# --- masks ----------------------------------------------------------------------------------------------------


def cut_out(mode: str) -> Image.Image:
    opacity = INSIDE * np.uint8(255)
    if mode == "P":
        image = palette_image(np.where(INSIDE, 2, 0).astype(np.uint8), VOC)
        image.info["transparency"] = 0
        return image
    return Image.fromarray(np.dstack([RGB, opacity] if mode == "RGBA" else [RGB[..., 0], opacity]), mode)


MASKS = {
    "0 and 255": Image.fromarray(INSIDE * np.uint8(255)),
    "0 and 1": Image.fromarray(INSIDE.astype(np.uint8)),
    "0 and an id": Image.fromarray(INSIDE * np.uint8(7)),
    "1 bit": Image.fromarray(INSIDE),
    "16 bits": Image.fromarray(INSIDE * np.uint16(65535)),
    "16 bits, 1": Image.fromarray(INSIDE.astype(np.uint16)),
    "RGBA": cut_out("RGBA"),
    "LA": cut_out("LA"),
    "transparent palette": cut_out("P"),
    "opaque RGBA": Image.fromarray(np.dstack([INSIDE * np.uint8(255)] * 3 + [np.full((6, 8), 255, np.uint8)])),
    "colour on black": Image.fromarray(INSIDE[..., None] * np.array([128, 0, 0], np.uint8)),
    "palette": palette_image(INSIDE.astype(np.uint8), VOC),
    "palette of grey": palette_image((~INSIDE).astype(np.uint8), [(255, 255, 255), (0, 0, 0)]),
    "soft": Image.fromarray(np.where(INSIDE, np.uint8(150), np.uint8(0)) + GREY % 100),
    "soft 16 bits": Image.fromarray(np.where(INSIDE, np.uint16(40000), np.uint16(0)) + GREY.astype(np.uint16) * 100),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks(tmp_path, kind):
    MASKS[kind].save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", INSIDE.shape), INSIDE)


@pytest.mark.parametrize("suffix", ["tif", "npy"])
@pytest.mark.parametrize("top", [1.0, 0.75])
def test_masks_of_floats(tmp_path, suffix, top):
    values = np.where(INSIDE, top, 0.25).astype(np.float32)
    path = tmp_path / f"mask.{suffix}"
    np.save(path, values) if suffix == "npy" else Image.fromarray(values).save(path)
    assert np.array_equal(read_mask(path), INSIDE)


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossy_masks_are_cut_at_half(tmp_path, suffix, mode):
    mask = np.zeros((64, 80), bool)
    mask[10:40, 20:61] = True
    path = tmp_path / f"mask.{suffix}"
    Image.fromarray(mask * np.uint8(255)).convert(mode).save(path, quality=60)
    got = read_mask(path)
    assert (got & mask).sum() / (got | mask).sum() > 0.97
    assert np.count_nonzero(np.array(Image.open(path).convert("L"))) > got.sum(), "noise around it is not the object"


def test_what_is_no_mask_is_named(tmp_path):
    path = tmp_path / "mask.png"
    Image.fromarray(INSIDE).save(path)
    with pytest.raises(ReadError, match="mask of 8x6, but its image is 6x8"):
        read_mask(path, (8, 6))
    palette_image(IDS, [*VOC, (9, 9, 9)]).save(path)
    with pytest.raises(ReadError, match="the values 0, 1, 2, 7; give a label map as --labels"):
        read_mask(path)
    Image.fromarray(RGB).save(path)
    with pytest.raises(ReadError, match="several colours"):
        read_mask(path)
    np.save(tmp_path / "m.npy", np.where(INSIDE, 9.0, -9.0))
    with pytest.raises(ReadError, match=r"floats in \[0, 1\], got -9 to 9"):
        read_mask(tmp_path / "m.npy")
    Image.fromarray(INSIDE).save(tmp_path / "m.tif", save_all=True, append_images=[Image.fromarray(INSIDE)])
    with pytest.raises(ReadError, match="a stack of 2 pages"):
        read_mask(tmp_path / "m.tif")


# --- label maps -----------------------------------------------------------------------------------------------


def panoptic(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=2).astype(np.uint8)


WIDE = np.where(IDS > 0, IDS.astype(np.int32) * 300_000 + 11, 0).astype(np.int32)
LABELS = {
    "8 bits.png": (Image.fromarray(IDS), IDS),
    "8 bits.PNG": (Image.fromarray(IDS), IDS),
    "8 bits.webp": (Image.fromarray(IDS), IDS),
    "8 bits.bmp": (Image.fromarray(IDS), IDS),
    "1 bit.png": (Image.fromarray(INSIDE), INSIDE),
    "palette.png": (palette_image(IDS, VOC), IDS),
    "palette.gif": (palette_image(IDS, VOC), IDS),
    "16 bits.png": (Image.fromarray(IDS * np.uint16(9000)), IDS * np.uint16(9000)),
    "16 bits.tiff": (Image.fromarray(IDS * np.uint16(9000)), IDS * np.uint16(9000)),
    "32 bits.tif": (Image.fromarray(WIDE), WIDE),
    "panoptic.png": (Image.fromarray(panoptic(WIDE)), WIDE),
    "panoptic.webp": (Image.fromarray(panoptic(WIDE)), WIDE),
    "grey as RGB.png": (Image.fromarray(np.dstack([IDS] * 3)), IDS),
    "opaque RGBA.png": (Image.fromarray(np.dstack([panoptic(WIDE), np.full((6, 8), 255, np.uint8)])), WIDE),
    "cut out.png": (Image.fromarray(np.dstack([panoptic(WIDE), INSIDE * np.uint8(255)])), WIDE * INSIDE),
}


@pytest.mark.parametrize("name", LABELS)
def test_label_maps(tmp_path, name):
    image, expected = LABELS[name]
    image.save(tmp_path / name, lossless=True, optimize=False)
    got = read_labels(tmp_path / name, IDS.shape)
    assert got.dtype in (np.uint8, np.uint16, np.int32)
    assert np.array_equal(got, expected)


@given(st.lists(st.integers(1, 2**24 - 1).filter(lambda i: i % 255), min_size=1, max_size=20, unique=True))
def test_panoptic_ids_are_kept(tmp_path_factory, ids):
    path = tmp_path_factory.getbasetemp() / "panoptic.png"
    ids = [1, *ids]  # 1 is on no drawing
    Image.fromarray(panoptic(np.array([ids], np.int32))).save(path)
    assert read_labels(path).tolist() == [ids]


@pytest.mark.parametrize(("bits", "data"), [(2, b"\x1b"), (4, b"\x01\x23")])
def test_few_bits_are_not_stretched(tmp_path, bits, data):
    (tmp_path / "few.png").write_bytes(png(4, 1, bits, 0, [data]))
    assert read_labels(tmp_path / "few.png").tolist() == [[0, 1, 2, 3]]


DRAWINGS = {
    "pure": [(255, 0, 0), (0, 255, 0), (0, 0, 255)],
    "VOC": VOC[1:4],
    "with mixed ones": [(255, 165, 0), (0, 255, 0), (17, 3, 99)],
    "white": [(255, 255, 255), (44, 160, 44), (31, 119, 180)],
}


@pytest.mark.parametrize("kind", DRAWINGS)
def test_a_colour_coded_map_is_asked_about(tmp_path, kind):
    colours = np.array([[(0, 0, 0), *DRAWINGS[kind]]], np.uint8)
    Image.fromarray(colours).save(tmp_path / "map.png")
    with pytest.raises(ReadError, match="--colours-are-ids"):
        read_labels(tmp_path / "map.png")
    ids = read_labels(tmp_path / "map.png", colours_are_ids=True)
    assert ids.tolist() == [[r + 256 * g + 65536 * b for r, g, b in colours[0].tolist()]]


@pytest.mark.parametrize(
    ("name", "image", "message"),
    [
        ("a.jpg", Image.fromarray(IDS), "JPEG changes values"),
        ("a.webp", Image.fromarray(panoptic(WIDE)), "lossy WebP changes values"),
        ("a.tif", Image.fromarray(-IDS.astype(np.int32)), "from 0 .background. up, got -7"),
        ("a.tif", Image.fromarray(IDS / np.float32(9)), "integers or colours, got float32"),
        ("a.png", Image.fromarray(np.dstack([panoptic(WIDE), GREY])), "half transparent"),
        ("a.png", Image.fromarray(IDS[:, :7]), "label map of 7x6, but its image is 8x6"),
        ("a.png", png(1, 1, 16, 2, [b"\0\1\0\2\0\3"]), "16 bits are read as 8"),
    ],
)
def test_what_is_no_label_map_is_named(tmp_path, name, image, message):
    path = tmp_path / name
    path.write_bytes(image) if isinstance(image, bytes) else image.save(path)
    with pytest.raises(ReadError, match=message):
        read_labels(path, IDS.shape)


def test_ids_beyond_32_bits_are_refused(tmp_path):
    np.save(tmp_path / "a.npy", IDS.astype(np.int64))
    assert np.array_equal(read_labels(tmp_path / "a.npy"), IDS)
    np.save(tmp_path / "a.npy", np.array([[2**40]]))
    with pytest.raises(ReadError, match="32 bits"):
        read_labels(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("values", "objects"),
    [
        ([0, 7, 23, 26000, 26001, 24005], [24005, 26000, 26001]),  # Cityscapes: stuff below 1000, cars from 26000
        ([0, 3, 1000, 2001], [1000, 2001]),  # MMDetection: class + 1000 * instance
        ([0, 7000, 23000, 26001, 26002], [26001, 26002]),  # Panoptic-DeepLab: stuff is instance 0
    ],
)
def test_a_divisor_parts_stuff_from_objects(values, objects):
    labels = np.array([values], np.int32)
    labelled = cut_labels(labels, divisor=1000)
    assert [instance.id for instance in labelled.instances] == objects
    stuff = np.zeros(labels.shape, bool)
    for region in labelled.stuff:
        stuff |= region.full(*labels.shape)
    assert labels[stuff].tolist() == [v for v in values if v and v not in objects]


def test_ignored_labels_are_no_objects():
    labelled = cut_labels(np.array([[0, 1, 255, 255]], np.uint8), ignore=[255])
    assert [instance.id for instance in labelled.instances] == [1]
    assert [region.area for region in labelled.stuff] == [2]


# --- names ----------------------------------------------------------------------------------------------------


def test_natural_order(tmp_path):
    for name in ("10.png", "2.PNG", "1.png", "frame_3.jpg", "frame_20.jpg", ".hidden.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in images_in(tmp_path)] == ["1.png", "2.PNG", "10.png", "frame_3.jpg", "frame_20.jpg"]


@given(st.lists(st.text("a1090_.", min_size=1, max_size=6), unique=True))
def test_any_names_can_be_ordered(names):
    ordered = sorted(names, key=natural)
    assert sorted(ordered) == sorted(names) and ordered == sorted(reversed(ordered), key=natural)


@given(st.lists(st.tuples(st.sampled_from(["a.png", "b.png", "x/a.png", "x/a.jpg", "y/a.png"]), st.integers(1, 3))))
def test_no_two_entries_share_a_name(entries):
    names = unique_names(entries)
    assert len(set(names)) == len(entries)
    for name, (file, _) in zip(names, entries):
        assert name.startswith((Path(file).stem, str(Path(file).with_suffix(""))))


# --- through the command --------------------------------------------------------------------------------------


def complete(tmp_path: Path, *options: str) -> list[dict]:
    Image.fromarray(RGB).save(tmp_path / "image.png")
    out = tmp_path / "out"
    args = ["complete", str(tmp_path / "image.png"), *options, "--model", "geometric", "--out", str(out)]
    assert cli.main(args) == 0
    return json.loads((out / "completions.json").read_text())["objects"]


def test_complete_takes_a_palette_label_map_by_its_indices(tmp_path):
    path = tmp_path / "labels.png"
    palette_image(IDS, VOC).save(path)
    assert [row["id"] for row in complete(tmp_path, "--labels", str(path))] == [1, 2, 7]


def test_complete_knows_cityscapes_and_stuff_can_hide(tmp_path, capsys):
    labels = np.zeros((6, 8), np.uint16)
    labels[1:4, 1:3], labels[1:4, 4:6] = 26000, 26000  # a car on both sides of
    labels[:, 3] = 17  # a pole
    Image.fromarray(labels).save(tmp_path / "labels.png")
    (car,) = complete(tmp_path, "--labels", str(tmp_path / "labels.png"), "--label-divisor", "1000")
    assert "labels.png: no objects, but they can hide: 17" in capsys.readouterr().err
    assert car["id"] == 26000 and car["source"] == "GEOMETRIC" and car["occlusion_ratio"] == pytest.approx(0.2)


def test_complete_asks_about_void(tmp_path, capsys):
    Image.fromarray(np.where(INSIDE, np.uint8(255), IDS)).save(tmp_path / "labels.png")
    options = ["--labels", str(tmp_path / "labels.png")]
    assert 255 in [row["id"] for row in complete(tmp_path, *options)]
    assert "--ignore-labels 255" in capsys.readouterr().err
    assert 255 not in [row["id"] for row in complete(tmp_path, *options, "--ignore-labels", "255")]


def test_complete_takes_a_cut_out_and_refuses_an_empty_mask(tmp_path, capsys):
    cut_out("RGBA").save(tmp_path / "mask.png")
    (row,) = complete(tmp_path, str(tmp_path / "mask.png"))
    assert row["amodal_box"] == [2, 1, 4, 3]
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "empty.png")
    args = ["complete", str(tmp_path / "image.png"), str(tmp_path / "empty.png"), "--model", "geometric"]
    assert cli.main(args) == 1 and "at least one pixel" in capsys.readouterr().err


@pytest.mark.parametrize("shape", [(1, 50), (50, 1), (4320, 7680)])
def test_complete_of_odd_sizes(tmp_path, shape):
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 2 + 1, : shape[1] // 2] = 255
    cv2.imwrite(str(tmp_path / "thin.png"), np.full(shape, 99, np.uint8))
    cv2.imwrite(str(tmp_path / "mask.png"), mask if mask.any() else np.full(shape, 255, np.uint8))
    args = [
        str(tmp_path / "thin.png"),
        str(tmp_path / "mask.png"),
        "--model",
        "geometric",
        "--out",
        str(tmp_path / "o"),
    ]
    assert cli.main(["complete", *args]) == 0
