"""Training in small: every stage runs, resumes and exports a folder that the libraries load."""

from __future__ import annotations

import csv
from dataclasses import replace

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("diffusers")
pytest.importorskip("transformers")

from diffusers import AutoencoderTiny, DDIMScheduler, UNet2DConditionModel  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from transformers import SamModel  # noqa: E402

from amodal_ros.lab.bags.make import write_frames  # noqa: E402
from amodal_ros.lab.bags.sources import folder_frames  # noqa: E402
from amodal_ros.models import find_model, load_profile  # noqa: E402
from training import pool as pool_module  # noqa: E402
from training.boxes import cut_out  # noqa: E402
from training.loop import Budget  # noqa: E402
from training.occluders import HIDDEN, random_hiding  # noqa: E402
from training.pool import Pool, Pools, draw_streets, write_pool  # noqa: E402
from training.recipe import Recipe  # noqa: E402
from training.samples import hole_for, object_sample, plain_image  # noqa: E402
from training.sources import Source, bag_frames, drive_frames, object_crops, open_pools  # noqa: E402
from training.train import run_stage  # noqa: E402
from training.wholes import VIEWS, chosen_views, whole_views  # noqa: E402

TINY = Recipe(
    resolution=48,
    pool_side=64,
    crops=8,
    vae_channels=8,
    vae_blocks=1,
    vae_batch=2,
    unet_channels=(8, 16),
    unet_batch=4,
    segmenter_width=32,
    segmenter_layers=1,
    segmenter_patch=12,
    segmenter_batch=4,
)
TRAINED = ("vae", "unet", "segmenter")


@pytest.fixture(scope="module")
def run(tmp_path_factory, request):
    """A finished tiny run on streets and a drive: every stage two steps. OpenCV's threads run beforehand, as in any
    process that used it."""
    threads = cv2.getNumThreads()
    request.addfinalizer(lambda: cv2.setNumThreads(threads))
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.float32), (31, 31), 5)
    patch = pytest.MonkeyPatch()
    patch.setattr(pool_module, "CHUNK", 8)
    request.addfinalizer(patch.undo)
    out = tmp_path_factory.mktemp("run")
    _write_drive(out / "drive", frames=6)
    sources = [Source.parse(["streets", "2"]), Source.parse([f"folder:{out / 'drive'}"])]
    for stage in ("pool", *TRAINED, "export"):
        run_stage(stage, out, TINY, Budget(minutes=1, steps=2), "cpu", sources)
    return out


def _write_drive(folder, frames: int) -> None:
    """A red box (id 7) drives to the right behind a post (id 9); a green one (id 8) hangs on the frame's left edge; a
    blue one (id 5) stands alone."""
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    for n in range(frames):
        labels = np.zeros((120, 320), np.uint16)
        labels[40:80, 30 + 20 * n : 90 + 20 * n] = 7
        labels[0:40, 0:40] = 8
        labels[20:110, 150:160] = 9
        labels[60:100, 270:310] = 5
        image = np.full((120, 320, 3), 90, np.uint8)
        for label, colour in ((7, (200, 20, 20)), (8, (20, 200, 20)), (9, (250, 250, 250)), (5, (20, 20, 200))):
            image[labels == label] = colour
        cv2.imwrite(str(folder / "images" / f"{n:03d}.png"), image[..., ::-1])
        cv2.imwrite(str(folder / "labels" / f"{n:03d}.png"), labels)


def _steps(folder) -> list[int]:
    with open(folder / "loss.csv") as file:
        return [int(float(row[0])) for row in csv.reader(file)]


def test_pool_holds_streets_and_lone_objects(run):
    pool = Pool.open(run / "pool" / "streets")
    assert pool.images.shape == (8, 64, 64, 3) and all(image.std() > 1 for image in pool.images)
    assert pool.whole.any() and not pool.whole.all()
    assert pool.labels[pool.whole].max() == 1, "an object that stands alone is the only one"


def test_streets_are_drawn_once(run):
    folder = run / "pool" / "streets"
    before = (folder / "images.npy").stat().st_mtime_ns
    draw_streets(folder, TINY.crops, TINY.pool_side)
    assert (folder / "images.npy").stat().st_mtime_ns == before


def test_a_drive_teaches_what_is_seen_whole(tmp_path):
    _write_drive(tmp_path / "drive", frames=6)
    crops = list(whole_views(drive_frames(tmp_path / "drive"), 64))
    colours = [tuple(np.median(image[labels == 1], axis=0).astype(int)) for image, labels in crops]
    red, blue, green = (200, 20, 20), (20, 20, 200), (20, 200, 20)
    assert colours.count(blue) == 6, "every view of what stands alone"
    assert green not in colours, "the frame's edge cuts it"
    # Frames 0 to 2 have the box left of the post, with room; from frame 3 on the post is in front of it or touches it.
    assert 2 <= colours.count(red) <= 3
    for _, labels in crops:
        ys, xs = np.nonzero(labels == 1)
        assert abs((max(np.ptp(ys), np.ptp(xs)) + 1) / 64 - 0.5) < 0.05, "half of the crop, as the pipeline cuts"


@pytest.mark.parametrize("compressed", [False, True])
def test_a_bag_teaches_the_same(tmp_path, compressed):
    _write_drive(tmp_path / "drive", frames=4)
    write_frames(folder_frames(tmp_path / "drive"), tmp_path / "bag", 10, compressed=compressed)
    from_folder = list(drive_frames(tmp_path / "drive"))
    from_bag = list(bag_frames(tmp_path / "bag"))
    with pytest.raises(ValueError, match=r"no messages on /other; .* it has .*labels"):
        list(bag_frames(tmp_path / "bag", "/other"))
    assert len(from_bag) == 4
    for one, other in zip(from_folder, from_bag):
        assert [i.id for i in one.things] == [i.id for i in other.things] == [5, 7, 8, 9]
        assert all(a.visible == b.visible for a, b in zip(one.things, other.things))
        assert np.abs(one.image.astype(int) - other.image).mean() < 3


def test_views_of_a_track():
    growing = [100.0 * 1.1**k for k in range(40)]
    chosen = chosen_views(growing)
    assert len(chosen) <= VIEWS and chosen[-1] == 39 and chosen[0] == 0
    assert max(np.diff(chosen)) <= 5, "spread over the track"
    dipped = [100, 101, 60, 103, 104, 105, 80, 107, 108]
    assert not {2, 6} & set(chosen_views(dipped)), "behind a post that nobody labelled"
    assert chosen_views([50.0]) == [0]


def test_the_samples_share_follows_the_pools(run):
    red, blue = (np.full((5, 64, 64, 3), colour, np.uint8) for colour in ((200, 0, 0), (0, 0, 200)))
    labels, whole = np.ones((5, 64, 64), np.uint8), np.ones(5, bool)
    pools = Pools([Pool(red, labels, whole), Pool(blue, labels, whole)], [3, 1])
    rng = np.random.default_rng(0)
    share = np.mean([pools.crop(rng)[0][0, 0, 0] == 200 for _ in range(400)])
    assert abs(share - 0.75) < 0.08
    assert open_pools(run / "pool").shares.tolist() == pytest.approx([2 / 3, 1 / 3]), "as the command said"


def test_objects_folder(tmp_path):
    image, labels = np.full((60, 80, 3), 50, np.uint8), np.zeros((60, 80), np.uint8)
    image[20:40, 30:60], labels[20:40, 30:60], labels[45:55, 18:28] = 220, 1, 2
    cv2.imwrite(str(tmp_path / "a.jpg"), image)
    cv2.imwrite(str(tmp_path / "a.png"), labels)
    cv2.imwrite(str(tmp_path / "no_labels.jpg"), image)
    ((crop, ids),) = object_crops(tmp_path, 60)
    assert crop[ids == 1].mean() > 180 and set(np.unique(ids)) == {0, 1, 2}


def test_a_box_becomes_a_mask_or_is_left_out():
    rng = np.random.default_rng(0)
    image = (np.array([40, 120, 60]) + rng.normal(0, 6, (100, 120, 3))).clip(0, 255).astype(np.uint8)
    truth = np.zeros((100, 120), np.uint8)
    cv2.ellipse(truth, (60, 50), (40, 25), 0, 0, 360, 1, -1)
    image[truth > 0] = (30, 30, 200)
    mask = cut_out(image, (20, 25, 101, 76))
    assert mask is not None and (mask & (truth > 0)).sum() / (mask | (truth > 0)).sum() > 0.95
    assert cut_out(image, (2, 2, 118, 98)) is None, "what does not fill its box is no good cut"
    assert cut_out(image, (0, 0, 120, 100)) is None, "nothing around it to tell it from"


def test_plain_images_and_holes_are_well_formed(run):
    pools = open_pools(run / "pool")
    for seed in range(30):
        rng = np.random.default_rng(seed)
        image, labels = plain_image(pools, rng, 48)
        assert image.shape == (48, 48, 3) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 1
        hole = hole_for(labels, pools, rng)
        assert hole.shape == labels.shape and hole.dtype == bool and hole.any()


def test_objects_are_shown_as_the_pipeline_shows_them(run):
    pools = open_pools(run / "pool")
    hidden = []
    for seed in range(40):
        sample = object_sample(pools, np.random.default_rng(seed), 48)
        assert sample.image.shape == (48, 48, 3) and sample.image.dtype == np.float32
        assert sample.visible.any() and not (sample.visible & ~sample.whole).any()
        assert not (sample.hole & sample.visible).any(), "what is visible is known"
        assert not (sample.whole & ~sample.visible & ~sample.hole).any(), "what is to be learnt lies in the hole"
        hidden.append(1 - sample.visible.sum() / sample.whole.sum())
    assert min(hidden) == 0 and max(hidden) > 0.3, "whole objects and hidden ones"


def test_things_in_front_hide_a_part():
    thing = np.zeros((64, 64), bool)
    thing[20:44, 16:48] = True
    for seed in range(60):
        hiding = random_hiding(np.random.default_rng(seed), thing, thing)
        if hiding is not None:
            assert HIDDEN[0] < (hiding & thing).sum() / thing.sum() < HIDDEN[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["clouds"], "streets, folder, bag, objects, got 'clouds'"),
        (["folder"], "folder:PATH"),
        (["streets:here"], "streets alone"),
        (["bag:/not/there"], "/not/there"),
        (["bag:.:/camera"], "IMAGE_TOPIC:LABELS_TOPIC"),
        (["streets", "0"], "above 0"),
        (["streets", "often"], "above 0"),
    ],
)
def test_a_source_that_cannot_be_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        Source.parse(words)


def test_a_source_without_whole_objects_is_refused(tmp_path):
    with pytest.raises(ValueError, match="drive: no object in it is seen whole"):
        write_pool(tmp_path / "drive", [])


@pytest.mark.parametrize("name", TRAINED)
def test_stage_leaves_a_curve_a_sheet_and_a_finite_loss(run, name):
    assert (run / name / "loss.png").exists() and (run / name / "sheet.png").exists()
    losses = np.loadtxt(run / name / "loss.csv", delimiter=",")
    assert losses.shape == (2, 3) and np.isfinite(losses).all()


def test_training_resumes_where_it_stopped(run, tmp_path):
    run_stage("vae", run, TINY, Budget(minutes=1, steps=2), "cpu")
    assert _steps(run / "vae") == [1, 2], "a spent budget trains no further"
    run_stage("vae", run, TINY, Budget(minutes=1, steps=4), "cpu")
    assert _steps(run / "vae") == [1, 2, 3, 4]
    state = torch.load(run / "vae" / "checkpoint.pt", weights_only=True)
    assert state["step"] == 4 and state["optimizer"]["state"][0]["step"] == 4


def test_a_run_goes_on_from_an_exported_model(run, tmp_path):
    source = Source.parse([f"folder:{run / 'drive'}"])
    for stage in ("pool", *TRAINED, "export"):
        run_stage(stage, tmp_path, TINY, Budget(minutes=1, steps=1), "cpu", [source], start=run / "export")
    before, after = (UNet2DConditionModel.from_pretrained(folder / "export" / "unet") for folder in (run, tmp_path))
    change = max((a - b).abs().max().item() for a, b in zip(before.parameters(), after.parameters()))
    assert 0 < change < 0.01, "one step away from where it started"
    kept = [load_file(folder / "export" / "vae" / "diffusion_pytorch_model.safetensors") for folder in (run, tmp_path)]
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0]), "latents keep their meaning"


def test_an_earlier_stage_that_is_missing_is_named(tmp_path):
    with pytest.raises(ValueError, match="run --stage pool first"):
        run_stage("unet", tmp_path, TINY, Budget(minutes=1, steps=1), "cpu")


def test_an_exported_model_is_used_as_the_shipped_one(run):
    assert find_model(run / "export").profile.settings == load_profile("embedded").settings


def test_export_loads_with_the_libraries(run):
    folder = run / "export"
    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    vae = AutoencoderTiny.from_pretrained(folder / "vae")
    segmenter = SamModel.from_pretrained(folder / "segmenter")
    scheduler = DDIMScheduler.from_pretrained(folder / "scheduler")
    prompt = load_file(folder / "prompt_embeds.safetensors")["prompt_embeds"]
    assert unet.config.in_channels == 9 and scheduler.config.prediction_type == "v_prediction"
    assert str(run) not in (folder / "unet" / "config.json").read_text(), "no trace of where it was trained"
    assert prompt.shape[-1] == unet.config.cross_attention_dim
    assert vae.config.scaling_factor > 0 and segmenter.config.vision_config.image_size == 48
    assert {load_file(next((folder / name).glob("*.safetensors"))).popitem()[1].dtype for name in TRAINED} == {
        torch.float16
    }


def test_resolution_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="multiple of 16, got 40"):
        replace(TINY, resolution=40)
