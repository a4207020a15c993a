"""Fetching models: from a hub on this machine, through the real client, and never without being asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from builders import save_sam, save_stable_diffusion
from hub_server import serve_hub

from amodal_ros.models.layout import wanted_files, weight_files

ROOT = Path(__file__).resolve().parents[1]
PROFILE = "model: people/street-inpainting\nsegmenter: people/sam-small\n"


def amodal(*words, endpoint="http://127.0.0.1:9", home):
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "amodal_ros.cli", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=home, timeout=240)


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """Two repositories with the clutter that real ones have."""
    root = tmp_path_factory.mktemp("hub")
    pipeline = save_stable_diffusion(root / "people/street-inpainting", segmenter=False)
    save_sam(root / "people/sam-small")
    for clutter in ("unet/diffusion_pytorch_model.bin", "street-inpainting.ckpt", "safety_checker/model.safetensors"):
        (pipeline / clutter).parent.mkdir(exist_ok=True)
        (pipeline / clutter).write_bytes(b"large")
    (root / "people/pickled").mkdir()
    (root / "people/pickled/pytorch_model.bin").write_bytes(b"pickle")
    return root


@pytest.fixture
def profile(tmp_path):
    path = tmp_path / "street.yaml"
    path.write_text(PROFILE)
    return path


def test_download_then_use_without_network(hub, profile, tmp_path):
    with serve_hub(hub) as (endpoint, requests):
        fetched = amodal("models", "download", profile, endpoint=endpoint, home=tmp_path)
        assert fetched.returncode == 0, fetched.stderr
    files = {path.split("/resolve/")[1].split("/", 1)[1] for _, path, _ in requests if "/resolve/" in path}
    assert "unet/diffusion_pytorch_model.safetensors" in files and "config.json" in files
    assert not any(name.endswith((".bin", ".ckpt")) or "safety_checker" in name for name in files)
    check = amodal("models", "check", profile, home=tmp_path)
    assert check.returncode == 0 and "with mask input" in check.stdout, check.stdout + check.stderr


def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(tmp_path):
    """The client keeps whole chunks of 10 MiB."""
    repository = tmp_path / "hub" / "people" / "large"
    repository.mkdir(parents=True)
    (repository / "config.json").write_text("{}")
    (repository / "model.safetensors").write_bytes(bytes(25_000_000))
    with serve_hub(tmp_path / "hub", break_after=12_000_000) as (endpoint, requests):
        fetched = amodal("models", "download", "people/large", endpoint=endpoint, home=tmp_path)
    assert fetched.returncode == 0, fetched.stderr
    whole, rest = [asked for method, path, asked in requests if method == "GET" and "model.safetensors" in path]
    assert whole is None and rest == f"bytes={10 * 2**20}-"
    (copy,) = tmp_path.glob("hub/models--people--large/snapshots/*/model.safetensors")
    assert copy.read_bytes() == bytes(25_000_000)


def test_no_network_is_touched_unless_asked(hub, profile, tmp_path):
    with serve_hub(hub) as (endpoint, requests):
        for words in (["check", profile], ["list"], ["export", profile, tmp_path / "out"]):
            answer = amodal("models", *words, endpoint=endpoint, home=tmp_path)
            if words != ["list"]:
                assert answer.returncode == 1
                assert "people/street-inpainting is not on this machine (looked in" in answer.stderr
                assert f"`amodal models download {profile}`" in answer.stderr
        bench = amodal("bench", "people/street-inpainting", endpoint=endpoint, home=tmp_path)
        assert "`amodal models download people/street-inpainting`" in bench.stderr
    assert not requests


@pytest.mark.parametrize(
    ("repository", "message"),
    [
        ("people/street-inpainting", "gated. Accept its licence at http"),
        ("people/nothing", "no such repository, or a private one"),
        ("people/pickled", "has no safetensors weights; pickled ones are refused"),
    ],
)
def test_what_cannot_be_fetched_is_one_clear_error(hub, tmp_path, repository, message):
    with serve_hub(hub, gated=("people/street-inpainting",)) as (endpoint, _):
        answer = amodal("models", "download", repository, endpoint=endpoint, home=tmp_path)
    assert answer.returncode == 1 and repository in answer.stderr and message in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_hub_that_cannot_be_reached_is_one_clear_error(tmp_path):
    answer = amodal("models", "download", "people/sam-small", endpoint="http://127.0.0.1:9", home=tmp_path)
    assert answer.returncode == 1 and "people/sam-small: could not be fetched" in answer.stderr
    assert "Traceback" not in answer.stderr


# --- which files -----------------------------------------------------------------------------------------


def test_one_set_of_weights_per_component_is_wanted():
    names = [
        "model_index.json",
        "README.md",
        "sd_xl_base.safetensors",
        "scheduler/scheduler_config.json",
        "tokenizer/merges.txt",
        "tokenizer_2/spiece.model",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "text_encoder_2/model-00001-of-00002.safetensors",
        "text_encoder_2/model-00002-of-00002.safetensors",
        "text_encoder_2/model.safetensors.index.json",
        "text_encoder_2/flax_model.msgpack",
        "safety_checker/model.safetensors",
        "image_encoder/model.safetensors",
    ]
    assert sorted(wanted_files(names)) == [
        "model_index.json",
        "scheduler/scheduler_config.json",
        "text_encoder_2/model-00001-of-00002.safetensors",
        "text_encoder_2/model-00002-of-00002.safetensors",
        "text_encoder_2/model.safetensors.index.json",
        "tokenizer/merges.txt",
        "tokenizer_2/spiece.model",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
    ]
    assert wanted_files(["config.json", "model.safetensors", "pytorch_model.bin"]) == [
        "config.json",
        "model.safetensors",
    ]


@pytest.mark.parametrize("main", [None, "abc\n", "gone", ""])
def test_a_copied_cache_is_found(hub, profile, tmp_path, main):
    """Without refs/main, with a line's end in it, or with one that names nothing."""
    for place in ("people/street-inpainting", "people/sam-small"):
        cache = tmp_path / "hub" / f"models--{place.replace('/', '--')}"
        shutil.copytree(hub / place, cache / "snapshots" / "abc")
        if main is not None:
            (cache / "refs").mkdir()
            (cache / "refs" / "main").write_text(main)
    check = amodal("models", "check", profile, home=tmp_path)
    assert check.returncode == 0 and "with mask input" in check.stdout, check.stdout + check.stderr
    (cache / "snapshots" / "abd").mkdir()
    check = amodal("models", "check", profile, home=tmp_path)
    if main == "abc\n":
        assert check.returncode == 0
    else:
        assert check.returncode == 1 and "there are several (abc, abd)" in check.stderr


@pytest.mark.parametrize(
    ("names", "files", "variant"),
    [
        (["model.bf16.safetensors", "config.json"], ["model.bf16.safetensors"], "bf16"),
        (["model.fp16.safetensors", "model.fp32.safetensors"], ["model.fp32.safetensors"], "fp32"),
        (["model.safetensors", "model.non_ema.safetensors"], ["model.safetensors"], None),
        (["model.non_ema.safetensors"], ["model.non_ema.safetensors"], "non_ema"),
        (["model-00001-of-00001.bf16.safetensors"], ["model-00001-of-00001.bf16.safetensors"], "bf16"),
        (["model.safetensors", "model.fp16.safetensors"], ["model.safetensors"], None),
        (["model.fp16.safetensors", "config.json"], ["model.fp16.safetensors"], "fp16"),
        (["model.fp16-00001-of-00002.safetensors"], ["model.fp16-00001-of-00002.safetensors"], "fp16"),
        (["pytorch_model.bin", "lora.safetensors"], [], None),
    ],
)
def test_loading_prefers_plain_weights_and_takes_half_ones(names, files, variant):
    assert weight_files(names) == (files, variant)
