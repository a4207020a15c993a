"""Scheduler files of every kind: the folder's noise levels, whoever saved them, or refused by name."""

from __future__ import annotations

import json

import diffusers
import pytest
import torch
from builders import RESOLUTION, save_flux, save_sdxl, save_stable_diffusion, small_autoencoder

from amodal_ros.cli import main
from amodal_ros.completion import AmodalPipeline, ModelError
from amodal_ros.completion.backends.autoencoder import Autoencoder
from amodal_ros.completion.backends.schedules import DiffusionSchedule, FlowSchedule

CPU = torch.device("cpu")
BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
#: As the shipped model was trained.
ZERO_SNR = dict(**BETAS, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
SAVERS = ("EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler", "PNDMScheduler")


def saved(folder, scheduler) -> dict:
    """What a scheduler of diffusers writes."""
    scheduler.save_pretrained(folder)
    return json.loads((folder / "scheduler_config.json").read_text())


def drawn(seed=0):
    return torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(seed))


def abar(zero_snr=False):
    levels = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
    if not zero_snr:
        return levels
    roots = levels.sqrt()
    return ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2


@pytest.mark.parametrize("name", SAVERS)
def test_a_file_saved_by_another_solver_samples_as_ddim_does(tmp_path, name):
    """Latents are not clipped, and the levels are the same, to the bit."""
    ddim = diffusers.DDIMScheduler(**ZERO_SNR, clip_sample=False)
    other = getattr(diffusers, name).from_config(ddim.config)
    config = saved(tmp_path, other)
    config.pop("clip_sample", None)
    ours, theirs = DiffusionSchedule(config, 8, CPU), DiffusionSchedule(dict(ddim.config), 8, CPU)
    z, prediction = 3 * drawn(), 3 * drawn(1)  # far beyond 1, as latents are
    for step in range(8):
        for got, want in zip(ours.step(prediction, step, z), theirs.step(prediction, step, z)):
            assert torch.equal(got, want) and got.abs().max() > 1.5
        assert ours.timestep(step) == theirs.timestep(step)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("steps", [1, 8, 20])
@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_x_t_is_on_the_level_that_the_step_arrives_at(spacing, steps, kind):
    config = {**BETAS, "timestep_spacing": spacing, "prediction_type": kind, "steps_offset": 1, "clip_sample": False}
    schedule = DiffusionSchedule({"_class_name": "DDIMScheduler", **config}, steps, CPU)
    x, noise = drawn(), drawn(1)
    for step in range(steps):
        z, t = schedule.noised(x, noise, step), int(schedule.timestep(step))
        torch.testing.assert_close(z, abar()[t].sqrt() * x + (1 - abar()[t]).sqrt() * noise, atol=1e-5, rtol=1e-5)
        velocity = abar()[t].sqrt() * noise - (1 - abar()[t]).sqrt() * x
        truth = {"epsilon": noise, "v_prediction": velocity, "sample": x}[kind]
        arrived, clean = schedule.step(truth, step, z)
        torch.testing.assert_close(arrived, schedule.noised(x, noise, step + 1), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(clean, x, atol=2e-3, rtol=2e-3)
    assert torch.equal(schedule.noised(x, noise, steps), x)


def test_what_a_file_leaves_out_is_its_own_classs_default():
    euler = DiffusionSchedule({"_class_name": "EulerDiscreteScheduler", **BETAS}, 10, CPU)
    assert [int(euler.timestep(k)) for k in (0, 9)] == [999, 0], "Euler spaces evenly, DDIM would lead"
    lcm = DiffusionSchedule({"_class_name": "LCMScheduler"}, 10, CPU)
    t = int(lcm.timestep(0))
    torch.testing.assert_close(lcm.noised(drawn() * 0, drawn(), 0), (1 - abar()[t]).sqrt() * drawn())  # LCM's betas
    pndm = DiffusionSchedule({"_class_name": "PNDMScheduler", **BETAS, "skip_prk_steps": True}, 10, CPU)
    assert int(pndm.timestep(9)) == 0 and len(pndm) == 10, "leading, without an offset"


def test_steps_are_those_of_ddim():
    """Against diffusers, on the levels that both visit."""
    ddim = diffusers.DDIMScheduler(**ZERO_SNR, clip_sample=False)
    ddim.set_timesteps(8)
    schedule = DiffusionSchedule(dict(ddim.config), 8, CPU)
    z = drawn()
    for step, t in enumerate(ddim.timesteps):
        want = ddim.step(drawn(step + 5), t, z)
        got = schedule.step(drawn(step + 5), step, z)
        torch.testing.assert_close(got, (want.prev_sample, want.pred_original_sample))
        z = want.prev_sample


def test_latents_are_clipped_where_the_file_says_so():
    config = {"_class_name": "DDIMScheduler", **BETAS, "clip_sample": True, "clip_sample_range": 2.0}
    _, clean = DiffusionSchedule(config, 4, CPU).step(drawn(), 0, 9 * drawn(1))
    assert clean.abs().max() == 2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_latents_keep_their_precision(dtype):
    schedule = DiffusionSchedule({"_class_name": "DDIMScheduler", **ZERO_SNR}, 4, CPU)
    z, clean = schedule.step(drawn().to(dtype), 3, drawn(1).to(dtype))
    assert z.dtype == clean.dtype == schedule.noised(z, z, 1).dtype == dtype


REFUSED = {
    "EDM": ({"_class_name": "EDMEulerScheduler"}, r"EDMEulerScheduler \(EDM\)"),
    "EDM of Euler": (
        {"_class_name": "EulerDiscreteScheduler", **BETAS, "timestep_type": "continuous"},
        r"EulerDiscreteScheduler \(EDM\)",
    ),
    "flow matching": ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, r"FlowMatchEulerDiscreteScheduler \(flow"),
    "flow sigmas": (
        {"_class_name": "UniPCMultistepScheduler", **BETAS, "use_flow_sigmas": True},
        "UniPCMultistepScheduler is set to flow matching",
    ),
    "thresholding": ({"_class_name": "DDIMScheduler", **BETAS, "thresholding": True}, "DDIMScheduler has thresholding"),
    "prediction": ({"_class_name": "DDIMScheduler", **BETAS, "prediction_type": "x0"}, "prediction_type.*got 'x0'"),
    "unknown": ({"_class_name": "MyScheduler"}, "got 'MyScheduler'"),
}


@pytest.mark.parametrize("kind", REFUSED)
@pytest.mark.parametrize("build", [save_stable_diffusion, save_sdxl])
def test_another_process_is_refused_by_name_in_check_and_loading(tmp_path, kind, build, capsys):
    config, message = REFUSED[kind]
    (build(tmp_path) / "scheduler" / "scheduler_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match=message):
        AmodalPipeline.from_pretrained(tmp_path)
    assert main(["models", "check", str(tmp_path)]) == 1
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "PROBLEM" in line]
    assert line.split()[0] == "scheduler" and config["_class_name"] in line


def test_flux_takes_flow_matching_only(tmp_path, capsys):
    save_flux(tmp_path)
    path = tmp_path / "scheduler" / "scheduler_config.json"
    path.write_text(json.dumps({"_class_name": "DDIMScheduler", **BETAS}))
    with pytest.raises(ModelError, match=r"expected flow matching .*got DDIMScheduler"):
        AmodalPipeline.from_pretrained(tmp_path)
    assert main(["models", "check", str(tmp_path)]) == 1 and "expected flow matching" in capsys.readouterr().out
    heun = FlowSchedule({"_class_name": "FlowMatchHeunDiscreteScheduler", "shift": 3.0}, 4, 256, CPU)
    euler = FlowSchedule({"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}, 4, 256, CPU)
    assert all(heun.timestep(k) == euler.timestep(k) for k in range(4))


def test_a_vae_with_statistics_centres_and_scales_its_latents():
    """As the pipelines of diffusers do it."""
    torch.manual_seed(0)
    mean, std = [0.5, -1.0, 0.1, 2.0], [2.0, 0.5, 1.5, 1.0]
    vae = small_autoencoder(latents_mean=mean, latents_std=std).eval()
    images = torch.rand(1, 3, RESOLUTION, RESOLUTION) * 2 - 1
    with torch.inference_mode():
        raw = vae.encode(images).latent_dist.mode()
        m, s = (torch.tensor(values).view(1, 4, 1, 1) for values in (mean, std))
        latents = Autoencoder(vae).encode(images)
        torch.testing.assert_close(latents, (raw - m) * vae.config.scaling_factor / s)
        want = vae.decode(latents * s / vae.config.scaling_factor + m).sample.clamp(-1, 1)
        torch.testing.assert_close(Autoencoder(vae).decode(latents), want)


def test_a_vae_with_statistics_of_other_channels_is_refused_in_check_too(tmp_path, capsys):
    save_stable_diffusion(tmp_path)
    small_autoencoder(latents_mean=[0.0] * 3, latents_std=[1.0] * 3).save_pretrained(tmp_path / "vae")
    with pytest.raises(ModelError, match="latents_mean: expected 4 values, got 3"):
        AmodalPipeline.from_pretrained(tmp_path)
    assert main(["models", "check", str(tmp_path)]) == 1
    assert "latents_mean: expected 4 values, got 3" in capsys.readouterr().out
