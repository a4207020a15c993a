"""Profiles: models by name, file, folder and hub id; what does not fit is said before anything is loaded."""

import json
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from builders import RESOLUTION, save_flux, save_sam, save_sdxl, save_stable_diffusion, scene_of_two, small_decoder
from safetensors.torch import save_file

from amodal_ros.cli import main
from amodal_ros.completion import AmodalPipeline, ModelError, Settings
from amodal_ros.lab.bench.random_weights import architecture, random_model
from amodal_ros.models import find_model, load_profile, shipped_names
from amodal_ros.models.hub import WITHDRAWN
from amodal_ros.settings.readings import Equation
from amodal_ros.settings.switches import Switches

FOUNDATION = ("sd15", "sd2", "sdxl", "flux")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return save_stable_diffusion(tmp_path_factory.mktemp("models") / "street")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    """No model of this machine's own cache takes part."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


# --- shipped profiles ------------------------------------------------------------------------------------


def test_profiles_of_the_paper_are_shipped():
    assert {"embedded", "geometric", *FOUNDATION} < set(shipped_names())
    papers = {"sd15": 0.75, "sd2": 0.75, "sdxl": 0.75, "flux": 1.5}
    for name, w in papers.items():
        profile = load_profile(name)
        assert profile.settings == Settings().replace(guidance=w), "as published, on a crop, keeping what is visible"
        assert profile.settings.reading == Equation(leakage=0.3, object_noise=0.3)
        assert (
            profile.mask_input
            and profile.licence
            and profile.resolution == (512 if name.startswith("sd1") or name == "sd2" else 1024)
        )
    assert load_profile("flux").switches.quantize == "int8"


def test_no_shipped_profile_names_a_withdrawn_repository():
    for name in shipped_names():
        assert not set(load_profile(name).places.values()) & WITHDRAWN.keys()


def test_profiles_need_no_torch():
    code = "import sys; from amodal_ros.models import *; list(map(load_profile, shipped_names()))"
    subprocess.run([sys.executable, "-c", f"{code}; assert 'torch' not in sys.modules"], check=True)


@pytest.mark.parametrize("name", [*FOUNDATION, "sd-turbo", "sdxl-turbo"])
def test_shipped_architectures_fit_their_profiles(name):
    """Built without memory: what `amodal bench --random-weights` builds has the sizes that the models are known for."""
    from amodal_ros.completion.backends import backend_class
    from amodal_ros.models.layout import DENOISERS

    millions = {"sd15": 859.5, "sd2": 865.9, "sdxl": 2567.5, "flux": 11902.4}
    millions |= {"sd-turbo": 865.9, "sdxl-turbo": 2567.5}
    profile = load_profile(name)
    place = architecture(profile.model)
    cls = backend_class(place)
    assert cls.family == profile.family
    denoiser = random_model(cls.denoiser_class, place / DENOISERS[cls.family], torch.device("meta"), torch.bfloat16)
    assert sum(p.numel() for p in denoiser.parameters()) / 1e6 == pytest.approx(millions[name], abs=0.1)
    assert (denoiser.config.in_channels > denoiser.config.out_channels) == profile.mask_input


# --- finding ---------------------------------------------------------------------------------------------


def test_a_name_that_is_not_here_says_where_it_looked_and_how_to_get_it(tmp_path):
    with pytest.raises(ModelError) as error:
        AmodalPipeline.from_pretrained("sd15")
    message = str(error.value)
    assert "stable-diffusion-v1-5/stable-diffusion-inpainting is not on this machine" in message
    assert str(tmp_path / "hub" / "models--stable-diffusion-v1-5--stable-diffusion-inpainting") in message
    assert "`amodal models download sd15`" in message


def test_a_hub_id_finds_the_profile_that_is_about_it(caplog):
    assert load_profile("black-forest-labs/FLUX.1-Fill-dev") == load_profile("flux")
    assert load_profile("somebody/else").settings == Settings()
    assert load_profile("runwayml/stable-diffusion-inpainting") == load_profile("sd15")
    assert "runwayml/stable-diffusion-inpainting was withdrawn by its owner" in caplog.text


def test_geometric_has_nothing_to_load():
    with pytest.raises(ModelError, match=r"'geometric' has no network.*Scene"):
        AmodalPipeline.from_pretrained("geometric")


def test_an_unknown_name_lists_what_there_is():
    with pytest.raises(ModelError, match=r"expected one of embedded, flux, geometric, sd-turbo, sd15.*got 'sd99'"):
        find_model("sd99")


# --- own profiles ----------------------------------------------------------------------------------------


def write(path, **content):
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_profile_extends_another_and_paths_are_relative_to_it(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "weights")
    small_decoder().save_pretrained(tmp_path / "small")
    own = write(
        tmp_path / "mine.yaml",
        extends="sd15",
        model="./weights",
        segmenter="./weights/segmenter",
        resolution=RESOLUTION,
        settings={"steps": 3, "answer": "completion"},
        switches={"decoder": "./small", "scheduler": {"timestep_spacing": "trailing"}},
    )
    pipeline = AmodalPipeline.from_pretrained(own, leakage=0.5)
    assert (
        pipeline.name == "mine" and pipeline.settings.sampling.steps == 3 and pipeline.settings.reading.leakage == 0.5
    )
    assert pipeline.settings.reading.object_noise == 0.3, "from sd15"
    assert type(pipeline.backend.autoencoder.decoder).__name__ == "AutoencoderTiny"
    assert int(pipeline.backend.schedule(4).timestep(0)) == 999
    assert AmodalPipeline.from_pretrained(own, decoder="").backend.autoencoder.decoder is not None


def test_a_folder_keeps_what_the_profile_that_names_it_leaves_open(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "weights")
    small_decoder().save_pretrained(tmp_path / "weights" / "decoder")
    (tmp_path / "weights" / "segmenter").rename(tmp_path / "weights" / "sam")
    write(
        tmp_path / "weights" / "amodal.yaml",
        dtype="bfloat16",
        resolution=RESOLUTION,
        segmenter="./sam",
        switches={"decoder": "./decoder", "vae_tiling": True},
    )
    found = find_model(write(tmp_path / "mine.yaml", model="./weights", switches={"vae_tiling": False})).profile
    assert (found.dtype, found.resolution, found.switches.vae_tiling) == ("bfloat16", RESOLUTION, False)
    assert found.switches.decoder == str(tmp_path / "weights" / "decoder")
    own = write(tmp_path / "own.yaml", model="./weights", dtype="float32", resolution=2 * RESOLUTION)
    found = find_model(write(tmp_path / "heir.yaml", extends="own.yaml"))
    assert (found.profile.dtype, found.profile.resolution) == ("float32", 2 * RESOLUTION), "what it extends has said it"
    assert found.segmenter == tmp_path / "weights" / "sam" and own.is_file()


def test_extends_lies_beside_the_profile_and_a_loop_is_named(tmp_path, monkeypatch):
    (tmp_path / "robot").mkdir()
    write(tmp_path / "robot" / "base.yaml", dtype="bfloat16")
    own = write(tmp_path / "robot" / "own.yaml", extends="./base.yaml")
    monkeypatch.chdir(tmp_path)
    assert load_profile(own).dtype == "bfloat16"
    write(tmp_path / "robot" / "base.yaml", extends="own.yaml")
    with pytest.raises(ValueError, match=r"extends: a loop: own.yaml -> base.yaml -> own.yaml"):
        load_profile(own)
    write(tmp_path / "robot" / "own.yaml", extends="missing.yaml")
    with pytest.raises(ValueError, match=rf"looked for {tmp_path}/robot/missing.yaml"):
        load_profile(own)


@pytest.mark.parametrize("variant", ["fp16", "bf16", "fp32"])
@pytest.mark.parametrize("build", [save_stable_diffusion, save_flux])
def test_weights_that_are_there_as_a_variant_only(tmp_path, build, variant, capsys):
    build(tmp_path / "model")
    for path in list((tmp_path / "model").rglob("*model.safetensors")):
        path.rename(path.with_name(path.name.replace(".safetensors", f".{variant}.safetensors")))
    assert main(["models", "check", str(tmp_path / "model")]) == 0
    assert "PROBLEM" not in capsys.readouterr().out
    assert AmodalPipeline.from_pretrained(tmp_path / "model").backend.resolution == RESOLUTION


def test_a_pipeline_in_one_file_says_how_to_convert_it(tmp_path, capsys):
    name = "model.diffusion_model.input_blocks.0.0.weight"
    single = tmp_path / "sd-v1-5-inpainting.safetensors"
    for tensors, what in (
        ({name: torch.zeros(8, 9, 3, 3)}, "diffusers.StableDiffusionInpaintPipeline.from_single_file("),
        ({name: torch.zeros(8, 4, 3, 3), "conditioner.x": torch.zeros(1)}, "diffusers.StableDiffusionXLPipeline.from_"),
        ({"double_blocks.0.x": torch.zeros(1)}, "Flux's transformer alone"),
        ({"x": torch.zeros(1)}, "is neither a pipeline nor a folder of one"),
    ):
        save_file(tensors, single)
        for place in (single, tmp_path):
            assert main(["models", "check", str(place)]) == 1
            assert what in capsys.readouterr().err
    single.write_bytes(b"\xff" * 20)
    assert main(["models", "check", str(single)]) == 1 and "corrupt?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"modell": "a/b"}, r"own.yaml: unknown key 'modell'; there are extends, cpu_dtype, dtype"),
        ({"settings": {"step": 3}}, r"own.yaml: unknown setting 'step'"),
        ({"settings": {"leakage": 3}}, r"own.yaml: leakage: expected a number in \[0, 1\], got 3"),
        ({"settings": [1]}, r"own.yaml: settings: expected a mapping"),
        ({"switches": {"fast": True}}, r"own.yaml: unknown switch 'fast'"),
        ({"dtype": "int8"}, r"own.yaml: dtype: expected one of float16, bfloat16, float32, got 'int8'"),
        ({"family": "kandinsky"}, r"own.yaml: family: expected one of"),
        ({"resolution": "large"}, r"own.yaml: resolution: expected a number of pixels"),
        ({"mask_input": "yes"}, r"own.yaml: mask_input: expected true or false"),
        ({"extends": "sd99"}, r"own.yaml: model: expected one of"),
        ({"model": 3}, r"own.yaml: expected a path or a hub id, got 3"),
    ],
)
def test_a_malformed_profile_names_file_and_key(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        load_profile(write(tmp_path / "own.yaml", **content))


def test_a_profile_that_is_no_mapping(tmp_path):
    (tmp_path / "own.yaml").write_text("- a\n- b\n")
    with pytest.raises(ValueError, match=r"own.yaml: expected a mapping, got list"):
        load_profile(tmp_path / "own.yaml")
    (tmp_path / "own.yaml").write_text("a: [b\n")
    with pytest.raises(ValueError, match=r"own.yaml: "):
        load_profile(tmp_path / "own.yaml")


def test_a_folder_of_another_family_is_named_with_the_right_profile(tmp_path):
    save_sdxl(tmp_path / "weights")
    own = write(tmp_path / "own.yaml", extends="sd15", model="./weights", segmenter="")
    with pytest.raises(ModelError, match=r"weights: profile 'own' is for stable_diffusion, got sdxl; use sdxl"):
        find_model(own)


@pytest.mark.parametrize(("build", "base"), [(save_stable_diffusion, "sd2"), (save_sdxl, "sdxl"), (save_flux, "flux")])
def test_four_channels_where_nine_were_expected(tmp_path, build, base):
    build(tmp_path / "weights", mask_input=False)
    own = write(tmp_path / "own.yaml", extends=base, model="./weights", segmenter="", switches={"vae": ""})
    with pytest.raises(ModelError, match=r"profile 'own' expects a denoiser with mask input, got \d+ input channels"):
        find_model(own)


# --- check, export, bench --------------------------------------------------------------------------------


@pytest.mark.parametrize("build", [save_stable_diffusion, save_sdxl, save_flux])
def test_check_says_what_is_there(tmp_path, build, capsys):
    build(tmp_path / "model")
    assert main(["models", "check", str(tmp_path / "model")]) == 0
    out = capsys.readouterr().out
    assert "with mask input" in out and "SamModel" in out and "F32" in out and "PROBLEM" not in out


def break_it(folder, how):
    unet = folder / "unet"
    if how == "missing":
        shutil.rmtree(folder / "vae")
    elif how == "corrupt":
        (unet / "diffusion_pytorch_model.safetensors").write_bytes(b"junk")
    elif how == "pickled":
        (unet / "diffusion_pytorch_model.safetensors").rename(unet / "diffusion_pytorch_model.bin")
    elif how == "other shapes":
        config = json.loads((unet / "config.json").read_text())
        (unet / "config.json").write_text(json.dumps({**config, "block_out_channels": [8, 24]}))
    elif how == "does not fit":
        save_sdxl(folder.parent / "other")
        (folder / "prompt_embeds.safetensors").unlink()
        (folder.parent / "other" / "prompt_embeds.safetensors").rename(folder / "prompt_embeds.safetensors")


@pytest.mark.parametrize(
    ("how", "part", "message"),
    [
        ("missing", "vae", "not found"),
        ("corrupt", "unet", ""),
        ("pickled", "unet", "Pickled weights"),
        ("other shapes", "unet", "config.json says (24"),
        ("does not fit", "together", "expected (1, 77, 8), any number of tokens, got (1, 7, 16)"),
    ],
)
def test_check_names_what_is_wrong_and_where(tmp_path, how, part, message, capsys):
    folder = save_stable_diffusion(tmp_path / "model")
    break_it(folder, how)
    assert main(["models", "check", str(folder)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "PROBLEM" in line]
    assert line.split()[0] == part and message in line and str(folder) in line


@pytest.mark.parametrize("build", [save_sdxl, save_flux])
def test_an_exported_folder_gives_the_same_masks_alone(tmp_path, build, capsys):
    """With text encoders, a segmenter from elsewhere, a small decoder and settings, all gathered in one place."""
    build(tmp_path / "model", text_encoders=True)
    small_decoder().save_pretrained(tmp_path / "small")
    save_sam(tmp_path / "sam", seed=4)
    own = write(
        tmp_path / "mine.yaml",
        model="./model",
        segmenter="./sam",
        resolution=RESOLUTION,
        settings={"steps": 2, "answer": "completion", "guidance": 0.6},
        switches={"decoder": "./small"},
    )
    before = AmodalPipeline.from_pretrained(own)
    assert main(["models", "export", str(own), str(tmp_path / "robot" / "model")]) == 0
    for place in ("model", "small", "sam", "mine.yaml"):
        (tmp_path / place).rename(tmp_path / f"{place}.gone")
    (tmp_path / "robot").rename(tmp_path / "elsewhere")
    after = AmodalPipeline.from_pretrained(tmp_path / "elsewhere" / "model")
    assert not list((tmp_path / "elsewhere").rglob("text_encoder*")) and after.settings == before.settings
    image, disc, box = scene_of_two()
    a, b = (p.complete(image, [disc], [box], trace=True)[0] for p in (before, after))
    assert a.amodal == b.amodal and (a.trace.painted == b.trace.painted).all()
    assert main(["models", "export", str(tmp_path / "elsewhere" / "model"), str(tmp_path / "elsewhere")]) == 1
    assert "expected a folder that is new or empty" in capsys.readouterr().err


def test_list_names_every_profile(capsys):
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    for name in shipped_names():
        assert any(line.startswith(f"{name} ") for line in out.splitlines())
    assert "sd2-community/stable-diffusion-2-inpainting" in out and "Non-Commercial" in out


@pytest.mark.parametrize("build", [save_stable_diffusion, save_sdxl, save_flux])
@pytest.mark.parametrize("random", [False, True])
def test_bench_times_us_beside_the_plain_pipeline(tmp_path, build, random, capsys):
    folder = build(tmp_path / "model")
    options = ["--steps", "2", "--repeat", "1", "--batch", "1", "2", "--json", str(tmp_path / "bench.json")]
    assert main(["bench", str(folder), *options, *(["--random-weights"] if random else [])]) == 0
    out, report = capsys.readouterr().out, json.loads((tmp_path / "bench.json").read_text())
    assert ("RANDOM WEIGHTS" in out) == random == report["random_weights"]
    assert [row["objects"] for row in report["batches"]] == [1, 2] and report["evaluations_per_step"] == 2
    assert all(row["seconds_per_object"] > 0 and row["peak_bytes"] > 0 for row in report["batches"])
    assert report["plain"]["seconds"] > 0 and report["steps"] == 2 and report["parameters"]["denoiser"] > 1000


@pytest.mark.parametrize(("guidance", "evaluations"), [("0", 1), ("0.5", 2)])
def test_bench_with_guidance_takes_two_evaluations_a_step(folder, tmp_path, guidance, evaluations):
    options = ["--steps", "1", "--repeat", "1", "--batch", "1", "--no-plain", "--json", str(tmp_path / "bench.json")]
    assert main(["bench", str(folder), *options, "--guidance", guidance]) == 0
    assert json.loads((tmp_path / "bench.json").read_text())["evaluations_per_step"] == evaluations


def test_bench_refuses_what_it_cannot_measure(folder, capsys):
    assert main(["bench", str(folder), "--batch", "0"]) == 1
    assert main(["bench", "somebody/else", "--random-weights"]) == 1
    err = capsys.readouterr().err
    assert "expected whole numbers from 1" in err and "no configuration of somebody/else" in err


def test_switches_and_settings_are_told_apart(folder):
    pipeline = AmodalPipeline.from_pretrained(folder, vae_tiling=True, steps=4)
    assert pipeline.settings.sampling.steps == 4 and pipeline.backend.autoencoder.vae.use_tiling
    with pytest.raises(ValueError, match="unknown setting 'tiling'"):
        AmodalPipeline.from_pretrained(folder, tiling=True)
    assert Switches() == Switches().replace()
