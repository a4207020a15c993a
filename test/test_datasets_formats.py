"""Every loader on its documented format: each field, each pitfall."""

import json
import pickle
import shutil

import numpy as np
import pytest
from dataset_fixtures import (
    FISH_SHAPE,
    HEIGHT,
    WIDTH,
    annotation,
    case_folder,
    coco_a,
    fishbowl_generated,
    fishbowl_release,
    kins,
    polygon,
    rectangle,
    region,
    rle,
    sailvos,
    write_image,
    write_json,
)
from PIL import Image

from amodal_ros.lab.datasets.base import DatasetError
from amodal_ros.lab.datasets.coco_a import BsdsA, CocoA
from amodal_ros.lab.datasets.coco_masks import from_polygons, from_rle
from amodal_ros.lab.datasets.fishbowl import FishBowl
from amodal_ros.lab.datasets.folder import Folder
from amodal_ros.lab.datasets.kins import Kins
from amodal_ros.lab.datasets.sailvos import SailVos
from amodal_ros.scene import MaskRegion

SHAPE = (HEIGHT, WIDTH)


def only(dataset):
    (sample,) = dataset
    return sample


def full(mask, shape=SHAPE):
    return mask.full(*shape)


# --- encodings -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [rectangle(3, 5, 7, 9), np.zeros(SHAPE, bool), np.ones(SHAPE, bool)])
@pytest.mark.parametrize("form", ["text", "bytes", "runs"])
def test_run_lengths_of_every_form(mask, form):
    encoded = rle(mask, compressed=form != "runs")
    if form == "bytes":
        encoded["counts"] = encoded["counts"].encode()
    assert np.array_equal(full(from_rle(encoded, SHAPE)), mask)


def test_run_lengths_of_a_ragged_mask():
    mask = np.random.default_rng(0).random(SHAPE) < 0.5
    assert np.array_equal(full(from_rle(rle(mask), SHAPE)), mask)


@pytest.mark.parametrize("counts", ["", "1", "zzzz", "PPPPPPPPPPP", "\x01", [1, 2], [-5, 2405], "garbage!"])
def test_malformed_run_lengths_are_refused(counts):
    with pytest.raises(ValueError, match="malformed"):
        from_rle({"size": list(SHAPE), "counts": counts}, SHAPE)


def test_run_lengths_of_another_size_are_refused():
    with pytest.raises(ValueError, match="expected"):
        from_rle(rle(rectangle(0, 0, 2, 2)), (WIDTH, HEIGHT))


def test_polygon_corners_may_lie_on_the_far_edge():
    mask = from_polygons([polygon(WIDTH - 10, HEIGHT - 6, 10, 6)], SHAPE)
    assert np.array_equal(full(mask), rectangle(WIDTH - 10, HEIGHT - 6, 10, 6))


def test_polygon_crumbs_are_left_out():
    assert from_polygons([[1, 1, 5, 5], polygon(10, 10, 4, 4)], SHAPE).area == 16


@pytest.mark.parametrize(
    "polygons", [[], [[1, 1, 5, 5]], [[1, 2, 3, 4, 5, 6, 7]], [[0, 0, 1e9, 0, 5, 5]], [[0, 0, float("nan"), 0, 5, 5]]]
)
def test_malformed_polygons_are_refused(polygons):
    with pytest.raises(ValueError, match="polygon"):
        from_polygons(polygons, SHAPE)


# --- COCO-A and BSDS-A -----------------------------------------------------------------------------------


def test_coco_a_fields(tmp_path):
    regions = [region(20, 10, 15, 15, 1), region(5, 12, 20, 10, 2, hidden=(20, 10, 15, 15))]
    sample = only(CocoA(coco_a(tmp_path, [annotation(1, 10, regions)])))
    whole, hidden = sample.objects
    assert sample.frame_id == "COCO_val2014_000000000000" and sample.shape == SHAPE
    assert sample.read_image().shape == (*SHAPE, 3)
    assert not sample.truth_leaves_frame
    assert whole.visible == whole.amodal == MaskRegion.from_full(rectangle(20, 10, 15, 15))
    assert whole.occlusion == 0
    assert hidden.amodal == MaskRegion.from_full(rectangle(5, 12, 20, 10))
    assert hidden.visible == MaskRegion.from_full(rectangle(5, 12, 15, 10))
    assert hidden.occlusion == pytest.approx(0.25)
    assert hidden.class_id == "dougnut"  # names are free text; only case and spaces are cleaned


def test_coco_a_takes_the_annotator_that_was_asked_for(tmp_path):
    first, second = [region(20, 10, 15, 15, 1)], [region(1, 1, 5, 5, 1), region(30, 1, 5, 5, 2)]
    # Not in the images' order: position says nothing.
    annotations = [annotation(1, 11, first), annotation(2, 10, first), annotation(3, 10, second, "b")]
    root = coco_a(tmp_path, annotations, images=2)
    assert [len(s.objects) for s in CocoA(root)] == [1, 1]
    assert [len(s.objects) for s in CocoA(root, annotator=2)] == [2]
    everybody = list(CocoA(root, annotator="all"))
    assert [len(s.objects) for s in everybody] == [1, 2, 1]
    assert len({o.source for s in everybody[:2] for o in s.objects}) == 1, "one image is one source"


def test_coco_a_without_stuff_keeps_it_as_context(tmp_path):
    regions = [region(0, 0, WIDTH, HEIGHT, 2, isStuff=1), region(20, 10, 15, 15, 1)]
    root = coco_a(tmp_path, [annotation(1, 10, regions)])
    assert len(only(CocoA(root)).objects) == 2
    things = only(CocoA(root, things_only=True))
    assert len(things.objects) == 1 and things.context[0].area == WIDTH * HEIGHT
    assert "things only" in CocoA(root, things_only=True).protocol


def test_coco_a_gaps_in_order_and_odd_sizes_do_not_matter(tmp_path):
    entry = annotation(1, 10, [region(20, 10, 15, 15, 7)])
    entry["size"] = 12
    del entry["depth_constraint"]
    assert len(only(CocoA(coco_a(tmp_path, [entry]))).objects) == 1


def test_coco_a_visible_mask_may_be_empty(tmp_path):
    hidden = region(5, 5, 10, 10, 2, hidden=(0, 0, WIDTH, HEIGHT))
    (target,) = only(CocoA(coco_a(tmp_path, [annotation(1, 10, [hidden])]))).objects
    assert not target.visible and target.occlusion == 1


def test_coco_a_reads_single_annotations_beside_their_images(tmp_path):
    write_image(tmp_path / "1.jpg")
    write_json(tmp_path, "1.json", annotation(1, 10, [region(20, 10, 15, 15, 1)]))
    assert only(CocoA(tmp_path)).shape == SHAPE


@pytest.mark.parametrize(
    "content", [[], {"images": [], "annotations": []}, {"images": [{"id": 1}], "annotations": [{"segmentation": []}]}]
)
def test_coco_a_refuses_another_schema(tmp_path, content):
    write_json(tmp_path, "annotations/COCO_amodal_val2014.json", content)
    with pytest.raises(DatasetError, match="another schema"):
        CocoA(tmp_path)


def test_bsds_a_finds_its_own_files(tmp_path):
    write_image(tmp_path / "BSR/BSDS500/data/images/test/2018.jpg")
    image = {"id": 2018, "file_name": "2018.jpg", "width": WIDTH, "height": HEIGHT, "license": "?", "bsds_url": ""}
    annotations = [annotation(k, 2018, [region(1, 1, 9, 9, 1)]) for k in range(6)]
    write_json(tmp_path, "annotations/BSDS_amodal_test.json", {"images": [image], "annotations": annotations})
    assert len(BsdsA(tmp_path)) == 1 and len(BsdsA(tmp_path, annotator="all")) == 6
    assert only(BsdsA(tmp_path)).read_image().shape == (*SHAPE, 3)


# --- KINS ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [2019, 2020])
def test_kins_fields_of_both_versions(tmp_path, version):
    sample = only(Kins(kins(tmp_path, version), version))
    car, van = sample.objects
    assert sample.frame_id == "000007", "the frame is named by its file, not by image_id"
    assert (car.class_id, van.class_id) == ("car", "van")
    assert car.amodal == MaskRegion.from_full(rectangle(5, 10, 20, 12))
    assert car.visible == MaskRegion.from_full(rectangle(5, 10, 10, 12))
    assert car.occlusion == pytest.approx(0.5) and van.occlusion == 0
    assert sample.read_image().shape == (*SHAPE, 3)


def test_kins_merges_several_polygons(tmp_path):
    parts = [polygon(5, 10, 20, 12), polygon(40, 10, 5, 5), [1, 1, 2, 2]]
    car = only(Kins(kins(tmp_path, a_segm=parts))).objects[0]
    assert car.amodal.area == 20 * 12 + 25


def test_kins_visible_mask_may_be_empty(tmp_path):
    car = only(Kins(kins(tmp_path / "new", i_segm=[]))).objects[0]
    assert not car.visible and car.occlusion == 1
    nothing = rle(np.zeros(SHAPE, bool))
    assert not only(Kins(kins(tmp_path / "old", 2019, inmodal_seg=nothing), 2019)).objects[0].visible


def test_kins_visible_mask_may_stick_out(tmp_path):
    car = only(Kins(kins(tmp_path, i_segm=[polygon(3, 10, 12, 12)]))).objects[0]
    assert car.occlusion == pytest.approx(0.5), "only what lies in the amodal mask counts"


def test_kins_version_and_file_must_agree(tmp_path):
    root = kins(tmp_path, 2019)
    (root / "update_test_2020.json").write_text((root / "instances_val.json").read_text())
    with pytest.raises(DatasetError, match=r"another schema.*a_segm"):
        Kins(root, 2020)


def test_kins_unknown_category_keeps_its_number(tmp_path):
    assert only(Kins(kins(tmp_path, category_id=3))).objects[0].class_id == "3"


def test_kins_2020_takes_run_lengths_too(tmp_path):
    car = only(
        Kins(kins(tmp_path, a_segm=rle(rectangle(5, 10, 20, 12)), i_segm=rle(rectangle(5, 10, 10, 12))))
    ).objects[0]
    assert (car.visible.area, car.amodal.area, car.occlusion) == (120, 240, 0.5)
    broken = Kins(kins(tmp_path / "b", a_segm=rle(rectangle(0, 0, 2, 2, (10, 10)))))
    with pytest.raises(DatasetError, match=r"object 1: mask of size \[10, 10\], expected \[40, 60\]"):
        only(broken)


# --- SAIL-VOS --------------------------------------------------------------------------------------------


def test_sailvos_fields(tmp_path):
    sample = only(SailVos(sailvos(tmp_path)))
    person, car = sample.objects
    assert sample.frame_id == "scene_a/images/000003"
    assert (person.class_id, car.class_id) == ("person", "car")
    assert person.occlusion == 0, "a boundary gap is no occlusion"
    assert car.occlusion == 0.5 and car.visible.area == 100 and car.amodal.area == 200
    assert car.source == "9/12", "one thing of a video is one source"
    assert sample.read_image().shape == (*SHAPE, 3)


def test_sailvos_leaves_out_what_is_hidden_too_much(tmp_path):
    sample = only(SailVos(sailvos(tmp_path), max_occlusion=0.4))
    assert [o.class_id for o in sample.objects] == ["person"] and len(sample.context) == 1


# --- FishBowl --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [fishbowl_generated, fishbowl_release])
def test_fishbowl_fields_of_both_layouts(tmp_path, build):
    dataset = FishBowl(build(tmp_path))
    assert len(dataset) == 16
    sample = dataset.sample(dataset.frames[12])
    behind = next(o for o in sample.objects if o.id == "8")
    assert np.array_equal(full(behind.amodal, FISH_SHAPE), rectangle(160, 110, 60, 30, FISH_SHAPE))
    assert np.array_equal(full(behind.visible, FISH_SHAPE), rectangle(160, 110, 40, 30, FISH_SHAPE))
    assert behind.occlusion == pytest.approx(1 / 3)
    assert behind.source == "00001/8"
    assert sample.read_image().shape == (*FISH_SHAPE, 3)


def test_fishbowl_after_postprocessing(tmp_path):
    sample = next(iter(FishBowl(fishbowl_generated(tmp_path, postprocessed=True))))
    assert {o.id: o.amodal.area for o in sample.objects} == {"3": 3600, "8": 1800}


def test_fishbowl_joins_renders_by_id_not_by_position(tmp_path):
    root = fishbowl_generated(tmp_path, postprocessed=True)
    (root / "00001/object000").rename(root / "00001/swap")
    (root / "00001/object001").rename(root / "00001/object000")
    (root / "00001/swap").rename(root / "00001/object001")
    sample = next(iter(FishBowl(root)))
    assert {o.id: o.amodal.area for o in sample.objects} == {"3": 3600, "8": 1800}


def test_fishbowl_frames_come_in_any_order(tmp_path):
    dataset = FishBowl(fishbowl_generated(tmp_path))
    brightness = [dataset.sample(f"00001/{t:05d}").read_image().mean() for t in (9, 2, 3, 14)]
    assert brightness == pytest.approx([90, 20, 30, 140], abs=4)


def test_fishbowl_masks_may_be_empty(tmp_path):
    root = fishbowl_generated(tmp_path)
    for name in ("00001", "00001_object8"):
        entries = json.loads((root / name / "objects.json").read_text())
        fish = next(e for e in entries if e["id"] == 8)
        fish["masks"][0] = rle(np.zeros(FISH_SHAPE, bool))
        (root / name / "objects.json").write_text(json.dumps(entries))
    assert [o.id for o in next(iter(FishBowl(root))).objects] == ["3"]


@pytest.mark.parametrize("build", [fishbowl_generated, fishbowl_release])
def test_fishbowl_filter_of_savos(tmp_path, build):
    dataset = FishBowl(build(tmp_path), savos_filter=True)
    rates = [o.occlusion for sample in dataset for o in sample.objects]
    assert rates and all(0.1 < rate < 0.7 for rate in rates)
    assert all(o.id == "8" for sample in dataset for o in sample.objects), "the other fish is never hidden"
    assert all(sample.context for sample in dataset), "what is not scored can still hide things"


def test_fishbowl_filter_needs_a_fish_to_be_seen_often(tmp_path):
    dataset = FishBowl(fishbowl_release(tmp_path, frames=10), savos_filter=True)
    assert not any(sample.objects for sample in dataset)


class Hostile:
    def __reduce__(self):
        return print, ("code ran",)


def test_fishbowl_pickle_runs_no_code(tmp_path, capsys):
    (tmp_path / "test_data.pkl").write_bytes(pickle.dumps({"00001_3": Hostile()}))
    with pytest.raises(DatasetError, match=r"refused to load builtins\.print"):
        FishBowl(tmp_path)
    assert "code ran" not in capsys.readouterr().out


# --- plain folders ---------------------------------------------------------------------------------------


def test_folder_fields(tmp_path):
    root = case_folder(tmp_path, "a", image_id="x", instances=[{"index": 0, "name": "bus"}])
    case_folder(tmp_path, "b", occluder=False, image_id="x")
    first, second = Folder(root)
    (bus,) = first.objects
    assert bus.class_id == "bus" and bus.occlusion == 0.5 and bus.visible.area == 100
    assert first.context[0].area == 600 and second.context == ()
    assert bus.source == second.objects[0].source, "two composites of one image share their objects"


def test_folder_may_be_one_case(tmp_path):
    assert only(Folder(case_folder(tmp_path) / "case")).frame_id == "."


def test_folder_masks_are_read_as_everywhere(tmp_path):
    root = case_folder(tmp_path, "case10")
    case_folder(tmp_path, "case2")
    case = root / "case2"
    soft = rectangle(5, 5, 20, 10) * np.uint8(200) + rectangle(0, 0, 5, 40) * np.uint8(40)
    Image.fromarray(np.dstack([soft * 0 + 255, rectangle(5, 5, 10, 10) * np.uint8(255)]), "LA").save(
        case / "inst_car_1_modal.png"
    )
    Image.fromarray(soft).save(case / "inst_car_1_amodal.png")
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(np.zeros((WIDTH, HEIGHT, 3), np.uint8)).save(case / "image.png", exif=exif)
    first, second = Folder(root)
    assert [first.frame_id, second.frame_id] == ["case2", "case10"]
    assert first.read_image().shape == (*SHAPE, 3)
    assert [(o.id, o.visible.area, o.amodal.area) for o in first.objects] == [("00", 100, 200), ("car_1", 100, 200)]


# --- names -----------------------------------------------------------------------------------------------


def entries_again(root, name, *file_names):
    """Every entry of an annotation file again under these file names, with annotations of its own."""
    content = json.loads((root / name).read_text())
    (image,), annotations = content["images"], content["annotations"]
    content["images"], content["annotations"] = [], []
    for k, file_name in enumerate(file_names):
        content["images"].append({**image, "id": 70 + k, "file_name": file_name})
        content["annotations"] += [{**a, "id": 10 * k + i, "image_id": 70 + k} for i, a in enumerate(annotations)]
    write_json(root, name, content)
    return len(content["images"]), len(content["annotations"])


@pytest.mark.parametrize(
    "build, cls, name, files",
    [
        (kins, Kins, "update_test_2020.json", ["000007.png", "000007.png"]),
        (kins, Kins, "update_test_2020.json", ["a/000007.png", "b/000007.png", "000008.png"]),
        (lambda root: coco_a(root, [annotation(1, 10, [region(1, 1, 9, 9, 1)])]), CocoA,
         "annotations/COCO_amodal_val2014.json", ["1.jpg", "1.png", "sub/1.jpg"]),
        (sailvos, SailVos, "valid.json", ["s/images/3.bmp", "s/images/3.png", "s/images/3.bmp"]),
    ],
)  # fmt: skip
def test_entries_that_share_a_file_or_a_stem_are_all_there(tmp_path, build, cls, name, files):
    root = build(tmp_path)
    images, annotations = entries_again(root, name, *files)
    dataset = cls(root)
    assert len(dataset) == len(set(dataset.frames)) == images
    samples = [dataset.sample(frame) for frame in dataset.frames]
    assert sum(len(sample.objects) for sample in samples) == annotations
    assert len({(s.frame_id, o.id) for s in samples for o in s.objects}) == annotations
    assert len(CocoA(root, annotator="all")) == images if cls is CocoA else True


def test_annotations_of_one_id_are_told_apart(tmp_path):
    assert [o.id for o in only(Kins(kins(tmp_path, id=2))).objects] == ["2", "2#2"]


@pytest.mark.parametrize("build, cls, name", [(kins, Kins, "update_test_2020.json"), (sailvos, SailVos, "valid.json")])
def test_annotations_without_an_image_are_told(tmp_path, build, cls, name):
    root = build(tmp_path)
    content = json.loads((root / name).read_text())
    content["annotations"][0]["image_id"] = 99
    write_json(root, name, content)
    with pytest.raises(DatasetError, match="object 1: no image has the image_id 99"):
        cls(root)
    tolerant = cls(root, skip_bad=True)
    assert len(only(tolerant).objects) == 1 and len(tolerant.bad) == 1
    content["images"] *= 2
    write_json(root, name, content)
    assert "two images have the id" in cls(root, skip_bad=True).bad[0]


# --- bad data --------------------------------------------------------------------------------------------


def two_regions(**changes):
    """COCO-A with a good region and one with these changes."""
    regions = [region(1, 1, 9, 9, 1), region(20, 1, 9, 9, 2, **changes)]
    return lambda root: coco_a(root, [annotation(1, 10, regions)])


SMALL = rle(rectangle(0, 0, 2, 2, (10, 10)))
NONSENSE = {"size": [HEIGHT, WIDTH], "counts": "1"}
BROKEN = {
    "polygon": (two_regions(segmentation=[1, 2, 3]), CocoA, "region 2"),
    "mask left out": (two_regions(occlude_rate=0.4), CocoA, "region 2.*without visible_mask"),
    "crumbs only": (lambda root: kins(root, a_segm=[[1, 2]]), Kins, "object 1.*polygon"),
    "no list": (lambda root: kins(root, i_segm=None, a_segm="x"), Kins, "object 1"),
    "run lengths": (lambda root: sailvos(root, visible_mask=NONSENSE), SailVos, "object 2.*malformed"),
    "mask size": (lambda root: sailvos(root, visible_mask=SMALL), SailVos, "object 2.*size"),
    "rate": (lambda root: sailvos(root, occlude_rate=7), SailVos, "object 2.*occlude_rate"),
}


@pytest.mark.parametrize("build, cls, message", BROKEN.values(), ids=list(BROKEN))
def test_a_bad_object_stops_with_its_name_or_is_skipped(tmp_path, build, cls, message):
    root = build(tmp_path)
    with pytest.raises(DatasetError, match=message) as caught:
        list(cls(root))
    assert str(caught.value).startswith(cls.name)
    tolerant = cls(root, skip_bad=True)
    assert sum(len(sample.objects) for sample in tolerant) == 1
    assert sum(len(sample.objects) for sample in tolerant) == 1 and len(tolerant.bad) == 1, "counted once"


def broken_image(path, how):
    if how == "missing":
        path.unlink()
    elif how == "cut short":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "no image":
        path.write_text("<html>404</html>")
    else:
        write_image(path, HEIGHT, WIDTH + 1)


@pytest.mark.parametrize(
    "how, message",
    [("missing", "missing"), ("cut short", "unreadable"), ("no image", "unreadable"), ("size", "annotated as 60x40")],
)
@pytest.mark.parametrize(
    "build, cls, image",
    [
        (two_regions(), CocoA, "val2014/COCO_val2014_000000000000.jpg"),
        (kins, Kins, "testing/image_2/000007.png"),
        (sailvos, SailVos, "scene_a/images/000003.bmp"),
    ],
    ids=["jpg", "png", "bmp"],
)
def test_a_bad_image_is_told_when_it_is_read(tmp_path, how, message, build, cls, image):
    root = build(tmp_path)
    broken_image(root / image, how)
    with pytest.raises(DatasetError, match=message) as caught:
        only(cls(root)).read_image()
    assert image in str(caught.value)


@pytest.mark.parametrize("cls", [CocoA, BsdsA, Kins, SailVos, FishBowl, Folder])
def test_a_missing_root_is_told(tmp_path, cls):
    with pytest.raises(DatasetError, match="nowhere"):
        cls(tmp_path / "nowhere")


def test_half_a_json_file_is_told(tmp_path):
    root = kins(tmp_path)
    file = root / "update_test_2020.json"
    file.write_text(file.read_text()[:200])
    with pytest.raises(DatasetError, match="not valid JSON"):
        Kins(root)


def test_a_video_that_ends_early_is_told(tmp_path):
    root = fishbowl_generated(tmp_path)
    (root / "00001/video.mp4").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"video\.mp4"):
        next(iter(FishBowl(root))).read_image()


def test_a_fish_without_its_render_is_told(tmp_path):
    root = fishbowl_generated(tmp_path)
    shutil.rmtree(root / "00001_object8")
    with pytest.raises(DatasetError, match="fish 8"):
        list(FishBowl(root))


def test_folder_masks_must_fit(tmp_path):
    root = case_folder(tmp_path)
    (root / "case/inst_00_amodal.png").unlink()
    with pytest.raises(DatasetError, match=r"object 00.*inst_00_amodal"):
        list(Folder(root))


def test_a_folder_without_masks_is_told(tmp_path):
    """Not as if nobody had been asked for."""
    root = case_folder(tmp_path)
    case_folder(tmp_path, "bare")
    for mask in (root / "bare").glob("inst_*"):
        mask.unlink()
    with pytest.raises(DatasetError, match=r"bare: expected inst_XX_modal\.png"):
        list(Folder(root))
    skipping = Folder(root, skip_bad=True)
    assert len(list(skipping)) == 1 and len(skipping.bad) == 1
