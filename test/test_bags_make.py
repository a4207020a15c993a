"""Bags from folders, through the command line as a user runs it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from bag_frames import HEIGHT, WIDTH, save_folder, scene
from PIL import Image

from amodal_ros import cli
from amodal_ros.bags.files import BagError, BagReader
from amodal_ros.bags.make import (
    CAMERA_TOPIC,
    IMAGE_TOPIC,
    LABELS_TOPIC,
    TRUTH_TOPIC,
    write_frames,
)
from amodal_ros.bags.messages import answers_of
from amodal_ros.bags.sources import folder_frames, read_labels
from amodal_ros.node.images import labels_of, rgb_of

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


@pytest.mark.parametrize(
    ("values", "name"),
    [
        (np.array([[0, 200]], np.uint8), "a.png"),
        (np.array([[0, 60000]], np.uint16), "a.png"),
        (np.array([[0, 8_000_123]], np.int32), "a.tif"),
    ],
)
def test_label_maps_of_any_depth(tmp_path, values, name):
    Image.fromarray(values).save(tmp_path / name)
    got = read_labels(tmp_path / name)
    assert got.dtype == values.dtype
    np.testing.assert_array_equal(got, values)


def test_panoptic_and_palette_label_maps(tmp_path):
    Image.fromarray(np.array([[[5, 2, 1]]], np.uint8)).save(tmp_path / "rgb.png")
    assert read_labels(tmp_path / "rgb.png")[0, 0] == 5 + 2 * 256 + 65536
    palette = Image.fromarray(np.array([[3, 0]], np.uint8), "P")
    palette.putpalette([0, 0, 0, 9, 9, 9, 8, 8, 8, 200, 10, 30])
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "palette.png"), [[3, 0]])


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
        (_small_label, "0001.png: the image is 40x24, its label map 39x24"),
        (_small_truth, "7.png: 40x23, but its image is 40x24"),
        (_named_truth, "car.png: expected the object's id"),
        (_broken_image, "0001.png"),
        (_broken_label, "labels/0001.png: not a readable label map"),
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


def save_kins(root: Path) -> Path:
    """One KINS image of 2020 with two cars, the second hidden in its right half, and KITTI's calibration."""
    images = root / "testing" / "image_2"
    images.mkdir(parents=True)
    cv2.imwrite(str(images / "000007.png"), np.full((HEIGHT, WIDTH, 3), 90, np.uint8))
    (root / "calib").mkdir()
    (root / "calib" / "000007.txt").write_text("P2: 700 0 20 0 0 700 12 0 0 0 1 0\n")

    def box(x0: int, y0: int, x1: int, y1: int) -> list[list[int]]:
        return [[x0, y0, x1, y0, x1, y1, x0, y1]]

    def car(id: int, amodal: list, visible: list, order: int) -> dict:
        return dict(id=id, image_id=3, category_id=4, a_segm=amodal, i_segm=visible, oco_id=1, ico_id=order,
                    a_bbox=[0, 0, 1, 1], i_bbox=[0, 0, 1, 1])  # fmt: skip

    content = {
        "images": [{"id": 3, "file_name": "000007.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 4, "name": "car"}],
        "annotations": [
            car(71234, box(20, 4, 36, 20), box(20, 4, 36, 20), 1),
            car(71235, box(4, 6, 28, 16), box(4, 6, 20, 16), 2),
        ],
    }
    (root / "update_test_2020.json").write_text(json.dumps(content))
    return root


def test_make_kins(tmp_path):
    root, out = save_kins(tmp_path / "kins"), tmp_path / "bag"
    assert cli.main(["bag", "make", "kins", str(root), str(out), "--calibration", str(root / "calib")]) == 0
    with BagReader(out) as bag:
        labels = next(bag.records([LABELS_TOPIC])).message()
        info = next(bag.records([CAMERA_TOPIC])).message()
        front, hidden = answers_of(next(bag.records([TRUTH_TOPIC])).message())
    assert labels.encoding == "32SC1"
    assert set(np.unique(labels_of(labels))) == {0, 71234, 71235}
    assert (info.k[0], info.k[2]) == (700, 20)
    assert (front.instance.id, front.instance.class_id, front.completion.occlusion_ratio) == (71234, "car", 0)
    assert hidden.completion.occlusion_ratio == pytest.approx(1 / 3, abs=0.05)


def test_options_reach_the_data_set(tmp_path, capsys):
    root = save_kins(tmp_path / "kins")
    args = ["bag", "make", "kins", str(root), str(tmp_path / "bag"), "--option", "version=2019"]
    assert cli.main(args) == 1
    assert "instances_val.json" in capsys.readouterr().err


def test_an_unknown_data_set_names_those_there_are(tmp_path, capsys):
    assert cli.main(["bag", "make", "kitti", str(tmp_path), str(tmp_path / "bag")]) == 1
    assert "kins" in capsys.readouterr().err
