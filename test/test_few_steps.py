"""Few-step models: their samplers against diffusers, the readings of Eq. 7 at few steps, their profiles as shipped."""

import diffusers
import numpy as np
import pytest
import torch
from builders import RESOLUTION, save_sam, save_sdxl, save_stable_diffusion, scene_of_two, small_autoencoder
from safetensors.torch import save_file

from amodal_ros.cli import main
from amodal_ros.completion import AmodalPipeline, ModelError, Settings
from amodal_ros.completion.backends.schedules import DiffusionSchedule
from amodal_ros.completion.sampler import inpaint, renewals
from amodal_ros.models import load_profile
from amodal_ros.scene import Source

CPU = torch.device("cpu")
BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SAMPLERS = {
    "LCM": {"_class_name": "LCMScheduler", **BETAS},
    "TCD": {"_class_name": "TCDScheduler", **BETAS},
    "TCD of gamma 1": {"_class_name": "TCDScheduler", **BETAS, "eta": 1.0},
    "Euler ancestral": {"_class_name": "EulerAncestralDiscreteScheduler", **BETAS, "timestep_spacing": "trailing"},
    "Euler": {"_class_name": "EulerDiscreteScheduler", **BETAS, "timestep_spacing": "trailing"},
}
ABAR = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)


def drawn(seed=0, shape=(2, 4, 3, 3)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


# --- samplers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options"), [("LCMScheduler", {}), ("TCDScheduler", {}), ("TCDScheduler", {"eta": 1.0})]
)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_distilled_samplers_step_as_those_of_diffusers(name, options, steps):
    theirs = getattr(diffusers, name)(**BETAS)
    theirs.set_timesteps(steps)
    ours = DiffusionSchedule({"_class_name": name, **BETAS, **options}, steps, CPU)
    z = drawn()
    for step, t in enumerate(theirs.timesteps):
        assert ours.timestep(step) == t
        prediction, draw = drawn(10 + step), torch.Generator().manual_seed(step)
        want = theirs.step(prediction, t, z, generator=draw, **options)
        fresh = drawn(step) if step < ours.renewals else None
        got, clean = ours.step(prediction, step, z, fresh)
        if hasattr(want, "denoised"):
            torch.testing.assert_close(clean, want.denoised, atol=1e-4, rtol=1e-4)
        if step + 1 < steps:  # at last TCD stops at the level 0, which is not yet clean
            torch.testing.assert_close(got, want.prev_sample, atol=1e-4, rtol=1e-4)
        else:
            assert torch.equal(got, clean)
        z = want.prev_sample


def test_ancestral_euler_steps_as_that_of_diffusers():
    theirs = diffusers.EulerAncestralDiscreteScheduler(**BETAS, timestep_spacing="trailing")
    theirs.set_timesteps(4)
    ours = DiffusionSchedule(SAMPLERS["Euler ancestral"], 4, CPU)
    z = drawn()
    for step, t in enumerate(theirs.timesteps[:-1]):
        scale, next_scale = ((1 + theirs.sigmas[k] ** 2) ** 0.5 for k in (step, step + 1))  # theirs keep x at its size
        want = theirs.step(drawn(10 + step), t, z * scale, generator=torch.Generator().manual_seed(step))
        got, clean = ours.step(drawn(10 + step), step, z, drawn(step))
        torch.testing.assert_close(clean, want.pred_original_sample, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(got, want.prev_sample / next_scale, atol=1e-4, rtol=1e-3)
        z = got


@pytest.mark.parametrize("name", SAMPLERS)
def test_where_the_model_is_right_about_x_blending_changes_nothing(name):
    """z~ of a true prediction is x_t at the level after the step, with the noise that the step renewed."""
    schedule = DiffusionSchedule(SAMPLERS[name], 4, CPU)
    x, noise = drawn(1), drawn(2)
    for step in range(4):
        fresh = drawn(20 + step) if step < schedule.renewals else None
        z, true = schedule.noised(x, noise, step), noise
        z_tilde, _ = schedule.step(true, step, z, fresh)
        noise = schedule.renewed(noise, fresh, step)
        torch.testing.assert_close(z_tilde, schedule.noised(x, noise, step + 1), atol=1e-3, rtol=1e-3)
    assert schedule.renewals == (0 if name == "Euler" else 3)


def test_the_noise_of_a_blend_keeps_its_variance():
    """With noise of its own in x_t only 0.3^2 + 0.7^2 = 0.58 of it would be left after an LCM step."""
    schedule, s = DiffusionSchedule(SAMPLERS["LCM"], 2, CPU), 0.3
    shape = (4, 4, 64, 64)
    nothing, noise, fresh = torch.zeros(shape), drawn(1, shape), drawn(2, shape)
    prediction = schedule.noised(nothing, noise, 0) / (1 - ABAR[999]) ** 0.5  # the clean guess is 0
    z, _ = schedule.step(prediction, 0, schedule.noised(nothing, noise, 0), fresh)
    variance = float(1 - ABAR[int(schedule.timestep(1))])
    shared = s * z + (1 - s) * schedule.noised(nothing, schedule.renewed(noise, fresh, 0), 1)
    kept = s * z + (1 - s) * schedule.noised(nothing, noise, 1)
    assert shared.var().item() == pytest.approx(variance, rel=0.02)
    assert kept.var().item() == pytest.approx(0.58 * variance, rel=0.02)


# --- readings --------------------------------------------------------------------------------------------


class Toy:
    """A backend whose latents are the picture's first channel, and whose model guesses what it is told to."""

    latent_factor, device, dtype = 1, CPU, torch.float32

    def __init__(self, guess, sampler="LCM", mask_input=True):
        self.guess, self.config, self.has_mask_input = guess, SAMPLERS[sampler], mask_input

    def encode(self, images):
        return images[:, :1]

    def decode(self, latents):
        return latents

    def schedule(self, steps):
        self.current = DiffusionSchedule(self.config, steps, CPU)
        return self.current

    def mask_conditioning(self, area, outside):
        return torch.full_like(area, float(area.any()))  # whether there is an area to paint

    def predict(self, z, timestep, conditioning):
        a, b = ABAR[timestep].sqrt(), (1 - ABAR[timestep]).sqrt()
        return (z - a * self.guess(z, conditioning)) / b


SIDE = 8
X, P = drawn(3, (1, 1, SIDE, SIDE)).clamp(-1, 1), drawn(4, (1, 1, SIDE, SIDE)).clamp(-1, 1)
M = torch.zeros(1, 1, SIDE, SIDE)
M[..., 2:6, 1:5] = 1


def paint(backend, steps, **changes):
    settings = Settings().replace(steps=steps, **{"guidance": 0.0, **changes})
    fresh = [drawn(30 + k, X.shape) for k in range(renewals(backend, settings))]
    return inpaint(backend, X.expand(-1, 3, -1, -1), M, drawn(5, X.shape), settings, fresh=fresh)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [1, 2, 4])
@pytest.mark.parametrize(
    ("reading", "want"),
    [
        ({"equation": {"leakage": 0.3}}, X + 0.3 * M * (P - X)),
        ({"soft": {"leakage": 0.3}}, X + 0.3 * (P - X)),
        ("anchored", M * P + (1 - M) * X),
        ({"start": {"strength": 1.0}}, P),
    ],
)
def test_a_consistent_model_paints_the_same_whatever_the_steps(sampler, steps, reading, want):
    """A model that always guesses P: what a reading makes of it does not depend on sampler or number of steps."""
    got = paint(Toy(lambda z, conditioning: P, sampler), steps, reading=reading)
    torch.testing.assert_close(got, want, atol=2e-3, rtol=2e-3)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 20])
def test_eq_7_paints_most_in_one_step(steps):
    """A model that, but for pure noise, repeats a share k of what it sees: from step to step x takes over, since each
    guess is made of the last blend. The share of P that is left, in closed form, against the sampler."""
    s, k = 0.3, 0.6
    toy = Toy(None, "LCM")
    noises, seen = [drawn(5, X.shape), *(drawn(30 + k, X.shape) for k in range(steps))], []

    def guess(z, conditioning):
        level = len(seen)
        seen.append(level)
        clean = (z - toy.current.noised(0 * X, noises[level], level)) / toy.current.noised(X * 0 + 1, 0 * X, level)
        return P if level == 0 else k * clean + (1 - k) * P

    toy.guess = guess
    got = paint(toy, steps, reading={"soft": {"leakage": s}})
    limit = s * (1 - k) / (1 - s * k)
    share = limit + (s - limit) * (s * k) ** (steps - 1)
    torch.testing.assert_close(got, X + share * (P - X), atol=2e-3, rtol=2e-3)
    assert limit < share <= s + 1e-9


@pytest.mark.parametrize(("w", "s"), [(0.75, 0.3), (1.5, 0.3), (0.4, 0.5)])
def test_at_one_step_guidance_is_leakage(w, s):
    """Where the model repeats x under an empty M, Eq. 11 at one step does what s * (1 + w) does at half the price."""
    toy = Toy(lambda z, conditioning: conditioning * P + (1 - conditioning) * X)
    guided = paint(toy, 1, reading={"equation": {"leakage": s}}, guidance=w)
    torch.testing.assert_close(guided, X + s * (1 + w) * M * (P - X), atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(paint(toy, 1, reading={"equation": {"leakage": s * (1 + w)}}), guided, atol=2e-3, rtol=0)


def test_without_mask_input_the_first_step_sees_nothing_of_the_object():
    """What the model is shown at one step is pure noise, whatever x is; from the second step on it sees the blend."""
    shown = []
    toy = Toy(lambda z, conditioning: shown.append(z.clone()) or P, mask_input=False)
    paint(toy, 2)
    assert torch.equal(shown[0], drawn(5, X.shape)) and len(shown) == 2
    with pytest.raises(ValueError, match=r"steps: expected at least 2 with a model without mask input.*got 1"):
        paint(toy, 1)
    paint(Toy(toy.guess), 1)  # with a mask input it sees x there


@pytest.mark.parametrize(
    ("steps", "strength", "taken"), [(20, 0.3, 6), (4, 0.3, 1), (2, 0.3, 1), (4, 0.5, 2), (1, 0.3, 1)]
)
def test_start_takes_whole_steps(steps, strength, taken):
    shown = []
    toy = Toy(lambda z, conditioning: shown.append(1) or P, "Euler")
    paint(toy, steps, reading={"start": {"strength": strength}})
    assert len(shown) == taken


# --- profiles as shipped ---------------------------------------------------------------------------------

FEW = ("sd-turbo", "sd15-hyper", "sd15-lcm", "sdxl-hyper", "sdxl-lcm", "sdxl-lightning", "sdxl-turbo")
LAYER = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A cache of the hub that holds tiny models under the names that the shipped profiles give."""
    torch.set_num_threads(1)
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    def place(reference):
        repository, _, inside = reference.partition(":")
        snapshot = cache / f"models--{repository.replace('/', '--')}" / "snapshots" / "0"
        snapshot.mkdir(parents=True, exist_ok=True)
        return snapshot / inside if inside else snapshot

    def fill(name):
        profile = load_profile(name)
        build = {"sdxl": save_sdxl, "stable_diffusion": save_stable_diffusion}[profile.family]
        save_sam(place(profile.segmenter))
        folder = build(place(profile.model), mask_input=profile.mask_input)
        if profile.switches.vae:
            small_autoencoder().save_pretrained(place(profile.switches.vae))
        if profile.switches.lora:
            adapter(place(profile.switches.lora))
        return folder

    return fill


def adapter(path, layer=LAYER, width=16, rank=2, prefix="unet"):
    a, b = drawn(6, (rank, width)), drawn(7, (width, rank))
    save_file({f"{prefix}.{layer}.lora_A.weight": a, f"{prefix}.{layer}.lora_B.weight": b}, path)
    return b @ a


@pytest.mark.parametrize("name", FEW)
def test_few_step_profiles_complete_from_the_hubs_cache(hub, name, capsys):
    folder, profile = hub(name), load_profile(name)
    assert main(["models", "check", name]) == 0
    assert ("  lora  " in capsys.readouterr().out) == bool(profile.switches.lora)
    pipeline = AmodalPipeline.from_pretrained(name, resolution=RESOLUTION)
    backend, settings = pipeline.backend, pipeline.settings
    assert backend.has_mask_input == profile.mask_input == ("turbo" not in name)
    assert settings.sampling.steps <= 4 and settings.sampling.guidance == 0 and settings.reading.leakage == 0.525
    if profile.switches.lora:
        plain = AmodalPipeline.from_pretrained(folder).backend.denoiser.state_dict()
        changed = {key for key, value in backend.denoiser.state_dict().items() if not torch.equal(value, plain[key])}
        assert changed == {f"{LAYER}.weight"}, "the adapter is merged"

    seen, forward = [], backend.denoiser.forward
    backend.denoiser.forward = lambda z, t, **options: seen.append((int(t), len(z))) or forward(z, t, **options)
    image, disc, box = scene_of_two()
    first, again, other = (pipeline.complete(image, [disc], [box], seed=seed)[0] for seed in (0, 0, 1))
    assert first.source is Source.INFERRED and first.amodal == again.amodal
    levels = {1: [999], 4: [999, 759, 499, 259] if "lcm" in name else [999, 749, 499, 249]}[settings.sampling.steps]
    if "turbo" not in name:  # whose spacing is that of the folder's file
        assert seen[: len(levels)] == [(t, 1) for t in levels], "one evaluation each"
    assert other.source is Source.INFERRED


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
@pytest.mark.parametrize("reading", ["equation", "soft", "start", "anchored", "anchored_real"])
def test_every_reading_completes_in_few_steps(hub, reading, steps):
    hub("sd15-lcm")
    pipeline = AmodalPipeline.from_pretrained("sd15-lcm", resolution=RESOLUTION)
    image, disc, box = scene_of_two()
    both = pipeline.complete(image, [disc, box], reading=reading, steps=steps, occluders="off")
    assert [r.source for r in both] == [Source.INFERRED] * 2


def test_renewed_noise_follows_the_seed_and_not_the_batch(hub):
    hub("sd15-lcm")
    pipeline = AmodalPipeline.from_pretrained("sd15-lcm", resolution=RESOLUTION)
    image, disc, box = scene_of_two()

    def painted(masks, i, seed):
        return pipeline.complete(image, masks, occluders="off", seed=seed, trace=True)[i].trace.painted.astype(int)

    assert np.abs(painted([disc], 0, 3) - painted([box, disc], 1, 3)).max() <= 1, "rounding alone"
    assert np.abs(painted([disc], 0, 3) - painted([disc], 0, 4)).mean() > 1


def test_an_adapter_made_without_mask_input_fits_one_with(hub, tmp_path):
    """Its first layer has four channels: it changes what is done with z, and nothing else."""
    folder = hub("sd15-lcm")
    before = AmodalPipeline.from_pretrained(folder).backend.unet.conv_in.weight
    a, b = drawn(6, (2, 4, 3, 3)), drawn(7, (8, 2, 1, 1))
    path = tmp_path / "plain.safetensors"
    save_file({"unet.conv_in.lora_A.weight": a, "unet.conv_in.lora_B.weight": b}, path)
    after = AmodalPipeline.from_pretrained(folder, lora=str(path)).backend.unet.conv_in.weight
    added = torch.einsum("or,rihw->oihw", b[..., 0, 0], a)
    torch.testing.assert_close(after[:, :4], before[:, :4] + added, atol=1e-5, rtol=1e-5)
    assert torch.equal(after[:, 4:], before[:, 4:])


# --- what does not go together ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"steps": 60}, ValueError, "steps: expected at most 50, those that LCMSch.* was distilled from, got 60"),
        (
            {"scheduler": {"spacing": "trailing"}},
            ModelError,
            "scheduler: unknown key 'spacing'; there are .*",
        ),
        ({"scheduler": {"eta": 0.5}}, ModelError, "scheduler: unknown key 'eta'"),
        (
            {"scheduler": {"_class_name": "TCDScheduler", "eta": 2}},
            ModelError,
            "eta: expected .* 0 to 1, got 2",
        ),
        (
            {"scheduler": {"_class_name": "LMCScheduler"}},
            ModelError,
            "expected a scheduler of diff.*'LMC",
        ),
    ],
)
def test_a_bad_combination_is_one_clear_error_while_loading(hub, changes, error, message):
    hub("sd15-lcm")
    with pytest.raises(error, match=message):
        AmodalPipeline.from_pretrained("sd15-lcm", resolution=RESOLUTION, **changes)


def test_few_steps_from_a_level_that_is_no_noise_are_warned_about_once(tmp_path, caplog):
    pipeline = AmodalPipeline.from_pretrained(save_stable_diffusion(tmp_path), steps=4)
    image, disc, _ = scene_of_two()
    pipeline.complete(image, [disc], occluders="off")
    (said,) = [record.getMessage() for record in caplog.records if "pure noise" in record.getMessage()]
    assert said.startswith("4 steps begin at level 751") and "timestep_spacing: trailing" in said
    caplog.clear()
    AmodalPipeline.from_pretrained(tmp_path, steps=4, scheduler={"timestep_spacing": "trailing"})
    AmodalPipeline.from_pretrained(tmp_path, steps=20)
    assert not caplog.records


def test_one_step_of_turbo_is_refused_while_loading_and_in_a_call(hub):
    hub("sd-turbo")
    with pytest.raises(ValueError, match="steps: expected at least 2 with a model without mask input"):
        AmodalPipeline.from_pretrained("sd-turbo", resolution=RESOLUTION, steps=1)
    pipeline = AmodalPipeline.from_pretrained("sd-turbo", resolution=RESOLUTION)
    image, disc, _ = scene_of_two()
    with pytest.raises(ValueError, match="steps: expected at least 2"):
        pipeline.complete(image, [disc], occluders="off", on_error="skip", steps=1)


def test_an_adapter_without_its_package_says_what_to_install(hub, monkeypatch, capsys):
    hub("sd15-lcm")
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    with pytest.raises(ModelError, match=r"pytorch_lora_weights.safetensors: needs the package peft: pip install peft"):
        AmodalPipeline.from_pretrained("sd15-lcm", resolution=RESOLUTION)
    assert main(["models", "check", "sd15-lcm"]) == 1 and "needs the package peft" in capsys.readouterr().out


def test_what_is_not_here_says_how_to_get_it(hub, tmp_path):
    """The adapter alone is missing."""
    hub("sd15-lcm")
    for file in tmp_path.rglob("pytorch_lora_weights.safetensors"):
        file.unlink()
    with pytest.raises(ModelError, match=r"lcm-lora-sdv1-5.* is not on this machine.*amodal models download sd15-lcm"):
        AmodalPipeline.from_pretrained("sd15-lcm")
