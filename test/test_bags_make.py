"""Bags from folders, through the command line as a user runs it."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_frames import HEIGHT, WIDTH, save_folder, scene
from dataset_fixtures import case_folder, kins
from PIL import Image

from amodal_ros import cli
from amodal_ros.lab.bags.files import BagError, BagReader
from amodal_ros.lab.bags.make import (
    CAMERA_TOPIC,
    IMAGE_TOPIC,
    LABELS_TOPIC,
    TRUTH_TOPIC,
    write_frames,
)
from amodal_ros.lab.bags.sources import folder_frames, streets_frames
from amodal_ros.lab.bags.typed import answers_of
from amodal_ros.stream.images import labels_of, rgb_of

CAMVID = Path(__file__).resolve().parents[2] / "shared" / "data" / "camvid_val"


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_make_folder(tmp_path, storage):
    frames = scene(3)
    folder = save_folder(tmp_path / "drive", frames)
    out = tmp_path / "bag"
    assert cli.main(["bag", "make", str(folder), str(out), "--rate", "5", "--storage", storage]) == 0
    with BagReader(out) as bag:
        assert bag.duration == pytest.approx(0.4)
        images = [rgb_of(r.message()) for r in bag.records([IMAGE_TOPIC])]
        labels = [labels_of(r.message()) for r in bag.records([LABELS_TOPIC])]
        truth = [answers_of(r.message()) for r in bag.records([TRUTH_TOPIC])]
    for frame, image, label, answers in zip(frames, images, labels, truth, strict=True):
        np.testing.assert_array_equal(image, frame.image)
        np.testing.assert_array_equal(label, frame.labels)
        assert {a.instance.id: a.completion.amodal for a in answers} == {t.id: t.amodal for t in frame.truth}


def test_limit_and_no_truth(tmp_path):
    folder = save_folder(tmp_path / "drive", scene(3))
    shutil.rmtree(folder / "truth")
    assert cli.main(["bag", "make", str(folder), str(tmp_path / "bag"), "--limit", "2"]) == 0
    with BagReader(tmp_path / "bag") as bag:
        assert bag.counts[IMAGE_TOPIC] == 2
        assert TRUTH_TOPIC not in bag.topics


def test_truth_holds_only_what_is_seen_and_never_less(tmp_path):
    (frame,) = scene(1)
    folder = save_folder(tmp_path / "drive", [frame])
    board, post = frame.truth
    hidden = np.where(frame.labels == post.id, 0, frame.labels)
    cv2.imwrite(str(folder / "labels" / "0000.png"), hidden)  # the post is not seen at all
    cv2.imwrite(str(folder / "truth" / "0000" / f"{board.id}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    write_frames(folder_frames(folder), tmp_path / "bag", rate=10)
    with BagReader(tmp_path / "bag") as bag:
        (answer,) = answers_of(next(bag.records([TRUTH_TOPIC])).message())
    assert answer.instance.id == board.id
    assert answer.completion.amodal == answer.completion.visible


@pytest.mark.parametrize("key", ["P2:", "P_rect_02:"])
def test_camera_info_comes_from_a_kitti_calibration(tmp_path, key):
    folder = save_folder(tmp_path / "drive", scene(1))
    calibration = tmp_path / "calib.txt"
    calibration.write_text(f"P0: 1 2 3\n{key} 721.5 0 609.6 44.9 0 721.5 172.9 0.2 0 0 1 0.003\n")
    args = ["bag", "make", str(folder), str(tmp_path / "bag"), "--calibration", str(calibration)]
    assert cli.main(args) == 0
    with BagReader(tmp_path / "bag") as bag:
        info = next(bag.records([CAMERA_TOPIC])).message()
    np.testing.assert_allclose(info.k, [721.5, 0, 609.6, 0, 721.5, 172.9, 0, 0, 1])
    np.testing.assert_allclose(info.p[:4], [721.5, 0, 609.6, 44.9])
    assert (info.distortion_model, list(info.d)) == ("plumb_bob", [0] * 5)


def test_frames_come_in_natural_order_whatever_the_suffix(tmp_path):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for number in (10, 2, 1):
        Image.fromarray(np.full((2, 3, 3), number, np.uint8)).save(
            tmp_path / "images" / f"{number}.webp", lossless=True
        )
        Image.fromarray(np.full((2, 3), number, np.uint8)).save(tmp_path / "labels" / f"{number}.PNG")
    frames = list(folder_frames(tmp_path))
    assert [int(frame.image[0, 0, 0]) for frame in frames] == [1, 2, 10]
    assert [int(frame.labels[0, 0]) for frame in frames] == [1, 2, 10]
    Image.fromarray(np.zeros((2, 3), np.uint8)).save(tmp_path / "labels" / "2.tif")
    with pytest.raises(BagError, match=r"2\.tif: expected one file of that name, but there is 2\.PNG too"):
        folder_frames(tmp_path)


def test_cityscapes_names_and_void(tmp_path):
    frame = "aachen_000000_000019"
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    Image.fromarray(np.zeros((1, 4, 3), np.uint8)).save(tmp_path / "images" / f"{frame}_leftImg8bit.png")
    instances = np.array([[0, 7, 26001, 255]], np.uint16)
    Image.fromarray(instances).save(tmp_path / "labels" / f"{frame}_gtFine_instanceIds.png")
    Image.fromarray(np.zeros((1, 4, 4), np.uint8)).save(tmp_path / "labels" / f"{frame}_gtFine_color.png")
    args = ["bag", "make", str(tmp_path), str(tmp_path / "bag"), "--ignore-labels", "255"]
    assert cli.main(args) == 0
    with BagReader(tmp_path / "bag") as bag:
        (record,) = bag.records([LABELS_TOPIC])
        assert labels_of(record.message()).tolist() == [[0, 7, 26001, 0]]


def test_an_image_is_turned_as_exif_says_and_a_dark_frame_does_not_flash(tmp_path):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.zeros((2, 3, 3), np.uint8)).save(tmp_path / "images" / "1.jpg", exif=exif)
    for number, brightest in ((2, 4000), (3, 200)):  # 12 bits; then somebody holds a hand before the camera
        values = np.linspace(0, brightest, 6).reshape(3, 2).astype(np.uint16)
        Image.fromarray(values).save(tmp_path / "images" / f"{number}.png")
    for number in (1, 2, 3):
        Image.fromarray(np.ones((3, 2), np.uint8)).save(tmp_path / "labels" / f"{number}.png")
    turned, bright, dark = folder_frames(tmp_path)
    assert turned.image.shape == (3, 2, 3)
    assert (bright.image.max(), dark.image.max()) == (4000 >> 4, 200 >> 4)


def test_a_drawing_in_place_of_labels_is_asked_about(tmp_path, capsys):
    folder = save_folder(tmp_path / "drive", scene(1))
    drawing = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    drawing[3:9, 3:9] = (0, 255, 0)
    Image.fromarray(drawing).save(folder / "labels" / "0000.png")
    shutil.rmtree(folder / "truth")
    args = ["bag", "make", str(folder), str(tmp_path / "bag")]
    assert cli.main(args) == 1 and "--colours-are-ids" in capsys.readouterr().err
    assert cli.main([*args, "--colours-are-ids"]) == 0


@pytest.mark.parametrize(
    ("images", "camera"), [("image_2", 2), ("image_3", 3), ("image_02/data", 2), ("image_03/data", 3), ("images", 2)]
)
def test_calibration_takes_the_camera_that_the_images_are_from(tmp_path, images, camera):
    folder = save_folder(tmp_path / "drive", scene(1))
    if images != "images":
        (folder / images).parent.mkdir(exist_ok=True)
        (folder / "images").rename(folder / images)
    calibration = tmp_path / "calib.txt"
    calibration.write_text("".join(f"P{k}: {700 + k} 0 20 0 0 700 12 0 0 0 1 0\n" for k in range(4)))
    args = ["bag", "make", str(folder), str(tmp_path / "bag"), "--images", images, "--calibration", str(calibration)]
    assert cli.main(args) == 0
    with BagReader(tmp_path / "bag") as bag:
        assert next(bag.records([CAMERA_TOPIC])).message().k[0] == 700 + camera


@pytest.mark.skipif(not CAMVID.is_dir(), reason="needs the CamVid frames beside the checkout")
def test_real_frames(tmp_path):
    assert cli.main(["bag", "make", str(CAMVID), str(tmp_path / "bag"), "--rate", "15", "--limit", "15"]) == 0
    with BagReader(tmp_path / "bag") as bag:
        assert bag.counts[IMAGE_TOPIC] == bag.counts[LABELS_TOPIC] == 15
        assert bag.duration == pytest.approx(14 / 15)


# --- bad input ----------------------------------------------------------------------------------------------------


def _no_label(folder: Path) -> None:
    (folder / "labels" / "0001.png").unlink()


def _small_label(folder: Path) -> None:
    cv2.imwrite(str(folder / "labels" / "0001.png"), np.zeros((HEIGHT, WIDTH - 1), np.uint16))


def _small_truth(folder: Path) -> None:
    cv2.imwrite(str(folder / "truth" / "0001" / "7.png"), np.zeros((HEIGHT - 1, WIDTH), np.uint8))


def _named_truth(folder: Path) -> None:
    (folder / "truth" / "0001" / "7.png").rename(folder / "truth" / "0001" / "car.png")


def _broken_image(folder: Path) -> None:
    (folder / "images" / "0001.png").write_bytes(b"not a picture")


def _broken_label(folder: Path) -> None:
    path = folder / "labels" / "0001.png"
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_no_label, "label map is missing; expected .*labels/0001.png"),
        (_small_label, "0001.png: label map of 39x24, but its image is 40x24"),
        (_small_truth, "7.png: mask of 40x23, but its image is 40x24"),
        (_named_truth, "car.png: expected the object's id"),
        (_broken_image, "0001.png"),
        (_broken_label, "labels/0001.png: unreadable image"),
        (lambda folder: shutil.rmtree(folder / "labels"), "expected a folder labels/"),
        (lambda folder: [p.unlink() for p in (folder / "images").iterdir()], "no image in it"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_a_spoilt_folder_is_one_error_and_no_bag(tmp_path, capsys, spoil, message):
    folder = save_folder(tmp_path / "drive", scene(2))
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        write_frames(folder_frames(folder), tmp_path / "bag", rate=10)
    assert not (tmp_path / "bag").exists()
    assert cli.main(["bag", "make", str(folder), str(tmp_path / "bag")]) == 1
    assert "amodal bag:" in capsys.readouterr().err


def test_a_negative_label_is_refused(tmp_path):
    (frame,) = scene(1)
    labels = frame.labels.astype(np.int32)
    labels[0, 0] = -1
    with pytest.raises(BagError, match=r"from 0 .background. up, got -1"):
        write_frames([dataclasses.replace(frame, labels=labels)], tmp_path / "bag", rate=10)
    assert not (tmp_path / "bag").exists()


@pytest.mark.parametrize("rate", [0, -1, float("nan")])
def test_a_rate_that_is_none(tmp_path, rate):
    with pytest.raises(BagError, match="rate"):
        write_frames(scene(1), tmp_path / "bag", rate)


def test_a_calibration_without_the_camera(tmp_path):
    folder = save_folder(tmp_path / "drive", scene(1))
    (tmp_path / "calib.txt").write_text("P0: 1 2 3\n")
    with pytest.raises(BagError, match="P_rect_02"):
        folder_frames(folder, calibration=tmp_path / "calib.txt")


def test_an_existing_out_is_refused(tmp_path, capsys):
    folder = save_folder(tmp_path / "drive", scene(1))
    assert cli.main(["bag", "make", str(folder), str(tmp_path)]) == 1
    assert "exists already" in capsys.readouterr().err


# --- data sets ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2019, 2020])
def test_make_kins(tmp_path, version):
    root, out = kins(tmp_path / "kins", version), tmp_path / "bag"
    (root / "calib").mkdir()
    (root / "calib" / "000007.txt").write_text("P2: 700 0 20 0 0 700 12 0 0 0 1 0\n")
    args = ["bag", "make", "kins", str(root), str(out), "--option", f"version={version}"]
    assert cli.main([*args, "--calibration", str(root / "calib")]) == 0
    with BagReader(out) as bag:
        labels = next(bag.records([LABELS_TOPIC])).message()
        info = next(bag.records([CAMERA_TOPIC])).message()
        car, van = answers_of(next(bag.records([TRUTH_TOPIC])).message())
    assert labels.encoding == "32SC1"
    assert set(np.unique(labels_of(labels))) == {0, 1, 2}
    assert (info.k[0], info.k[2]) == (700, 20)
    assert (car.instance.id, car.instance.class_id) == (1, "car")
    assert car.completion.occlusion_ratio == pytest.approx(0.5, abs=0.1)
    assert (van.instance.class_id, van.completion.occlusion_ratio) == ("van", 0)


def test_other_data_sets_number_their_objects(tmp_path):
    root, out = case_folder(tmp_path / "cases"), tmp_path / "bag"
    assert cli.main(["bag", "make", "folder", str(root.parent), str(out)]) == 0
    with BagReader(out) as bag:
        ids = [int(v) for v in np.unique(labels_of(next(bag.records([LABELS_TOPIC])).message())) if v]
        truth = [a.instance.id for a in answers_of(next(bag.records([TRUTH_TOPIC])).message())]
    assert set(truth) < set(ids)  # the occluder is in the label map and has no truth


def test_a_data_set_that_is_not_there(tmp_path, capsys):
    args = ["bag", "make", "kins", str(tmp_path), str(tmp_path / "bag"), "--option", "version=2019"]
    assert cli.main(args) == 1
    assert "instances_val.json" in capsys.readouterr().err


def test_an_unknown_data_set_names_those_there_are(tmp_path, capsys):
    assert cli.main(["bag", "make", "kitti", str(tmp_path), str(tmp_path / "bag")]) == 1
    assert "kins" in capsys.readouterr().err


# --- synthetic streets --------------------------------------------------------------------------------------------


def test_make_streets(tmp_path):
    args = ["bag", "make", "streets", str(tmp_path / "bag"), "--seconds", "0.4", "--size", "320", "96", "--seed", "5"]
    assert cli.main(args) == 0
    with BagReader(tmp_path / "bag") as bag:
        assert bag.counts[IMAGE_TOPIC] == bag.counts[TRUTH_TOPIC] == 4
        info = next(bag.records([CAMERA_TOPIC])).message()
        arrays = [record.message() for record in bag.records([TRUTH_TOPIC])]
        labels = [labels_of(record.message()) for record in bag.records([LABELS_TOPIC])]
    assert (info.width, info.height) == (320, 96)
    assert info.k[0] > 0
    for array, label in zip(arrays, labels, strict=True):
        assert [entry.id for entry in array.instances] == [int(v) for v in np.unique(label) if v]
        assert all(entry.class_id for entry in array.instances)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("folder OUT --skip-bad", "--skip-bad: means nothing for a folder"),
        ("folder OUT --size 9 9", "--size: means nothing for a folder"),
        ("streets OUT --calibration c", "--calibration: means nothing for streets"),
        ("kins root OUT --images i", "--images: means nothing for a data set"),
    ],
)
def test_an_option_of_another_source_is_not_passed_over(tmp_path, capsys, words, said):
    assert cli.main(["bag", "make", *words.replace("OUT", str(tmp_path / "bag")).split()]) == 1
    assert said in capsys.readouterr().err


def test_a_long_drive_goes_along_several_streets():
    frames = list(streets_frames(seconds=21.0, objects=6, rate=2.0, size=(160, 48), seed=3))
    first, second = frames[:40], frames[40:]
    alone = list(streets_frames(seconds=20.0, objects=6, rate=2.0, size=(160, 48), seed=3))
    assert len(frames) == 42
    assert all(np.array_equal(a.image, b.image) and np.array_equal(a.labels, b.labels) for a, b in zip(first, alone))
    ids = [{truth.id for frame in part for truth in frame.truth} for part in (first, second)]
    assert ids[0] and max(ids[0]) <= 6 and all(6 < i <= 12 for i in ids[1])


@pytest.mark.parametrize("option", [("--seconds", "0"), ("--rate", "0"), ("--size", "1", "1"), ("--seed", "-1")])
def test_streets_out_of_range(tmp_path, option):
    assert cli.main(["bag", "make", "streets", str(tmp_path / "bag"), *option]) == 1
    assert not (tmp_path / "bag").exists()
