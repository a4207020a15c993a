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

from training import pool as pool_module  # noqa: E402
from training.loop import Budget  # noqa: E402
from training.pool import Pool, draw_pool  # noqa: E402
from training.recipe import Recipe  # noqa: E402
from training.samples import hole_for, random_image  # noqa: E402
from training.train import run_stage  # noqa: E402

TINY = Recipe(
    resolution=48,
    crops=8,
    vae_channels=8,
    vae_blocks=1,
    vae_batch=2,
    unet_channels=(8, 16),
    unet_batch=4,
    segmenter_width=32,
    segmenter_layers=1,
    segmenter_patch=12,
    segmenter_batch=2,
)
TRAINED = ("vae", "unet", "segmenter")


@pytest.fixture(scope="module")
def run(tmp_path_factory, request):
    """A finished tiny run: every stage two steps. OpenCV's threads run beforehand, as in any process that used it."""
    threads = cv2.getNumThreads()
    request.addfinalizer(lambda: cv2.setNumThreads(threads))
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000, 3), np.float32), (31, 31), 5)
    patch = pytest.MonkeyPatch()
    patch.setattr(pool_module, "CHUNK", 8)
    request.addfinalizer(patch.undo)
    out = tmp_path_factory.mktemp("run")
    for stage in ("pool", *TRAINED, "export"):
        run_stage(stage, out, TINY, Budget(minutes=1, steps=2), "cpu")
    return out


def _steps(folder) -> list[int]:
    with open(folder / "loss.csv") as file:
        return [int(float(row[0])) for row in csv.reader(file)]


def test_pool_holds_streets_and_lone_objects(run):
    pool = Pool.open(run / "pool")
    assert pool.images.shape == (8, 48, 48, 3) and all(image.std() > 1 for image in pool.images)
    assert pool.alone.any() and not pool.alone.all()
    assert pool.labels[pool.alone].max() == 1, "an object that stands alone is the only one"


def test_pool_is_drawn_once(run):
    before = (run / "pool" / "images.npy").stat().st_mtime_ns
    draw_pool(run / "pool", TINY.crops, TINY.resolution)
    assert (run / "pool" / "images.npy").stat().st_mtime_ns == before


def test_images_and_holes_are_well_formed(run):
    pool = Pool.open(run / "pool")
    for seed in range(30):
        rng = np.random.default_rng(seed)
        image, labels = random_image(pool, rng)
        assert image.shape == (48, 48, 3) and image.dtype == np.float32
        assert image.min() >= 0 and image.max() <= 1
        hole = hole_for(labels, pool, rng)
        assert hole.shape == labels.shape and hole.dtype == bool and hole.any()


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
