"""SDXL and Flux beside Stable Diffusion: small models of the real classes, against the pipelines of `diffusers`."""

import diffusers
import numpy as np
import pytest
import torch
from builders import RESOLUTION, save_clip, save_flux, save_sdxl, save_stable_diffusion, scene_of_two
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.pipelines.flux.pipeline_flux import calculate_shift
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel, T5TokenizerFast

from amodal_ros.completion import AmodalPipeline, Interrupted, ModelError
from amodal_ros.completion.backends import backend_class
from amodal_ros.completion.backends.flux import pack, unpack
from amodal_ros.completion.backends.schedules import FlowSchedule
from amodal_ros.completion.sampler import inpaint
from amodal_ros.lab.bench.diffusers_call import plain_call
from amodal_ros.scene import Source

CPU = torch.device("cpu")
BUILDERS = {
    "sd": lambda folder: save_stable_diffusion(folder),
    "sdxl": lambda folder: save_sdxl(folder),
    "sdxl without mask input": lambda folder: save_sdxl(folder, mask_input=False),
    "flux": lambda folder: save_flux(folder),
    "flux without mask input": lambda folder: save_flux(folder, mask_input=False),
}
NEW = [name for name in BUILDERS if name != "sd"]
#: Where the plain pipelines draw their noise.
PLAIN = {
    "sd": "stable_diffusion.pipeline_stable_diffusion_inpaint",
    "sdxl": "stable_diffusion_xl.pipeline_stable_diffusion_xl_inpaint",
    "flux": "flux.pipeline_flux_fill",
}
FLUX = dict(use_dynamic_shifting=True, shift=3.0)


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    torch.set_num_threads(1)
    return {
        name: AmodalPipeline.from_pretrained(build(tmp_path_factory.mktemp("model")), steps=3, answer="completion")
        for name, build in BUILDERS.items()
    }


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# --- what comes out --------------------------------------------------------------------------------------


@pytest.mark.parametrize("reading", ["equation", "soft", "start", "anchored", "anchored_real"])
@pytest.mark.parametrize("name", NEW)
def test_every_family_completes_an_object(pipelines, name, reading):
    image, disc, box = scene_of_two()
    (result,) = pipelines[name].complete(image, [disc], [box], reading=reading, trace=True)
    assert result.source is Source.INFERRED and result.amodal.contains(result.visible)
    assert result.trace.painted.std() > 0 and 1 <= len(result.trace.steps) <= 3


@pytest.mark.parametrize("name", NEW)
def test_batch_seed_and_guidance(pipelines, name):
    image, disc, box = scene_of_two()
    masks = [disc, box, np.roll(disc, 30, 1)]
    calls = [{"seed": 1}, {"seed": 1, "max_batch": 1}, {"seed": 2}, {"seed": 1, "guidance": 0.0}]
    base = {"occluders": "off", "trace": True, "reading": "equation"}
    together, alone, other, unguided = (
        [r.trace.painted.astype(int) for r in pipelines[name].complete(image, masks, **base, **call)] for call in calls
    )
    for k in range(3):
        assert np.abs(together[k] - alone[k]).max() <= 2, "a batch equals one by one, up to rounding"
        assert not np.array_equal(together[k], other[k]) and not np.array_equal(together[k], unguided[k])


@pytest.mark.parametrize("name", NEW)
def test_caller_can_interrupt(pipelines, name):
    image, disc, box = scene_of_two()
    answers = iter([False, True])
    with pytest.raises(Interrupted):
        pipelines[name].complete(image, [disc], [box], should_stop=lambda: next(answers))


def test_flux_takes_its_own_guidance_from_its_familys_profile(pipelines):
    assert pipelines["flux"].settings.sampling.guidance == 1.5 and pipelines["sdxl"].settings.sampling.guidance == 0.75


# --- against the plain pipelines -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sd", "sdxl", "flux"])
def test_the_denoiser_sees_what_the_plain_pipeline_shows_it(pipelines, name, monkeypatch):
    """The first step's inputs, given the same picture, mask, noise and prompt."""
    monkeypatch.setattr(DiagonalGaussianDistribution, "sample", lambda self, generator=None: self.mode())
    backend = pipelines[name].backend
    call, _ = plain_call(backend, 3, doubled=False)
    noise = drawn(1, *backend.latent_shape)
    monkeypatch.setattr(f"diffusers.pipelines.{PLAIN[name]}.randn_tensor", lambda shape, **_: noise.reshape(shape))
    seen = []
    hook = backend.denoiser.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append((args, kwargs)), with_kwargs=True
    )
    try:
        call()
        theirs = seen.pop(0)
        seen.clear()
        # The picture and mask of `plain_call`.
        side = backend.resolution
        image = torch.from_numpy(np.random.default_rng(0).random((1, 3, side, side), np.float32)) * 2 - 1
        area = torch.zeros(1, 1, side, side)
        area[..., side // 4 : side // 2, side // 4 : side // 2] = 1
        schedule = backend.schedule(3)
        with torch.inference_mode():
            conditioning = backend.mask_conditioning(area, backend.encode(image * (1 - area)))
            backend.predict(schedule.start(noise), schedule.timestep(0), conditioning)
        ours = seen[0]
    finally:
        hook.remove()
    ours, theirs = _named(*ours), _named(*theirs)
    assert ours.keys() == theirs.keys() and len(ours) >= 3
    for key, value in ours.items():
        a, b = value.float().squeeze(), theirs[key].float().squeeze()
        assert torch.allclose(a, b, atol=1e-5, rtol=1e-5), key


def _named(args, kwargs):
    """A denoiser's tensor inputs by name, whether they came by position or by keyword."""
    flat = {"sample": args[0], "timestep": args[1]} if args else {}
    for key, value in kwargs.items():
        flat |= value if isinstance(value, dict) else {key: value}
    if "txt_ids" in flat:  # positions are compared as positions, however their first column is filled
        flat["txt_ids"] = flat["txt_ids"].reshape(-1, 3)
    return {key: value for key, value in flat.items() if torch.is_tensor(value)}


@pytest.mark.parametrize("name", ["sd", "sdxl", "flux"])
def test_the_plain_pipeline_evaluates_as_often(pipelines, name):
    """What `amodal bench` compares: rows that go through the denoiser, per object."""
    pipeline = pipelines[name]
    rows = []
    hook = pipeline.backend.denoiser.register_forward_pre_hook(
        lambda module, args, kwargs: rows.append(len(args[0] if args else kwargs["hidden_states"])), with_kwargs=True
    )
    try:
        image, disc, box = scene_of_two()
        pipeline.complete(image, [disc], [box])
        ours = sum(rows)
        rows.clear()
        plain_call(pipeline.backend, 3, doubled=True)[0]()
    finally:
        hook.remove()
    assert ours == sum(rows) == 6


# --- the equations ---------------------------------------------------------------------------------------


def test_eq_7_and_11_on_sdxl_written_out(pipelines):
    backend, settings = pipelines["sdxl"].backend, pipelines["sdxl"].settings
    settings = settings.replace(reading="equation", steps=4, guidance=0.75, leakage=0.3)
    image, noise = drawn(2, 3, RESOLUTION, RESOLUTION).clamp(-1, 1), drawn(2, *backend.latent_shape, seed=1)
    area = torch.zeros(2, 1, RESOLUTION, RESOLUTION)
    area[..., 8:20, 4:24] = 1
    got = inpaint(backend, image, area, noise, settings)

    vae, unet = backend.autoencoder.vae, backend.unet
    ddim = diffusers.DDIMScheduler.from_config(backend.scheduler_config)
    ddim.set_timesteps(4)
    added = {
        "text_embeds": backend.prompt["pooled_prompt_embeds"].repeat(2, 1),
        "time_ids": torch.tensor([[RESOLUTION, RESOLUTION, 0.0, 0.0, RESOLUTION, RESOLUTION]] * 2),
    }
    embeds = backend.prompt["prompt_embeds"].repeat(2, 1, 1)
    with torch.inference_mode():

        def latents(pixels):
            return vae.encode(pixels).latent_dist.mode() * vae.config.scaling_factor

        def predicted(z, t, mask, known):
            return unet(torch.cat([z, mask, known], 1), t, embeds, added_cond_kwargs=added).sample

        x, mask = latents(image), area[:, :, ::4, ::4]
        z = noise
        for k, t in enumerate(ddim.timesteps):
            with_area = predicted(z, t, mask, latents(image * (1 - area)))
            without = predicted(z, t, torch.zeros_like(mask), x)
            out = ddim.step(1.75 * with_area - 0.75 * without, t, z)
            z_tilde = out.prev_sample if k < 3 else out.pred_original_sample  # the last step ends at x's own level
            x_t = ddim.add_noise(x, noise, ddim.timesteps[k + 1]) if k < 3 else x
            z = 0.3 * (mask * z_tilde + (1 - mask) * x_t) + 0.7 * x_t
        want = vae.decode(z / vae.config.scaling_factor).sample.clamp(-1, 1)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


def test_eq_7_and_11_on_flux_written_out(pipelines):
    backend, settings = pipelines["flux"].backend, pipelines["flux"].settings
    settings = settings.replace(reading="equation", steps=4, guidance=1.5, leakage=0.3)
    image, noise = drawn(2, 3, RESOLUTION, RESOLUTION).clamp(-1, 1), drawn(2, *backend.latent_shape, seed=1)
    area = torch.zeros(2, 1, RESOLUTION, RESOLUTION)
    area[..., 8:20, 4:24] = 1
    got = inpaint(backend, image, area, noise, settings)

    vae, transformer, cells = backend.autoencoder.vae, backend.transformer, RESOLUTION // 4
    fill = diffusers.FluxFillPipeline(
        diffusers.FlowMatchEulerDiscreteScheduler(**FLUX), vae, None, None, None, None, transformer
    )
    fill.scheduler.set_timesteps(sigmas=[1.0, 0.75, 0.5, 0.25], mu=calculate_shift(16))
    shift, scale = vae.config.shift_factor, vae.config.scaling_factor
    ids = fill._prepare_latent_image_ids(2, cells // 2, cells // 2, CPU, torch.float32)
    with torch.inference_mode():

        def latents(pixels):
            return (vae.encode(pixels).latent_dist.mode() - shift) * scale

        def conditioning(mask):
            known = fill._pack_latents(latents(image * (1 - mask)), 2, 4, cells, cells)
            blocks = mask[:, 0].view(2, cells, 4, cells, 4).permute(0, 2, 4, 1, 3).reshape(2, 16, cells, cells)
            return torch.cat([known, fill._pack_latents(blocks, 2, 16, cells, cells)], -1)

        def predicted(z, t, known):
            tokens = torch.cat([fill._pack_latents(z, 2, 4, cells, cells), known], -1)
            velocity = transformer(
                tokens,
                timestep=t.expand(2) / 1000,
                guidance=torch.tensor([30.0, 30.0]),
                pooled_projections=backend.prompt["pooled_prompt_embeds"].repeat(2, 1),
                encoder_hidden_states=backend.prompt["prompt_embeds"].repeat(2, 1, 1),
                txt_ids=torch.zeros(5, 3),
                img_ids=ids,
            ).sample
            return fill._unpack_latents(velocity, RESOLUTION, RESOLUTION, 4)

        x, mask = latents(image), area[:, :, ::4, ::4]
        z, sigmas = noise, fill.scheduler.sigmas
        for k, t in enumerate(fill.scheduler.timesteps):
            with_area = predicted(z, t, conditioning(area))
            without = predicted(z, t, conditioning(torch.zeros_like(area)))
            z_tilde = z + (sigmas[k + 1] - sigmas[k]) * (2.5 * with_area - 1.5 * without)
            x_t = sigmas[k + 1] * noise + (1 - sigmas[k + 1]) * x
            z = 0.3 * (mask * z_tilde + (1 - mask) * x_t) + 0.7 * x_t
        want = vae.decode(z / scale + shift).sample.clamp(-1, 1)
    torch.testing.assert_close(got, want, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["sdxl without mask input", "flux without mask input"])
def test_models_without_mask_input_blend_by_eq_5(pipelines, name):
    """Full strength inside M, exactly the condition image outside of it."""
    backend = pipelines[name].backend
    settings = pipelines[name].settings.replace(reading="equation", leakage=1.0, steps=3)
    image, noise = drawn(1, 3, RESOLUTION, RESOLUTION).clamp(-1, 1), drawn(1, *backend.latent_shape, seed=1)
    area = torch.zeros(1, 1, RESOLUTION, RESOLUTION)
    assert not backend.has_mask_input
    nothing = inpaint(backend, image, area, noise, settings)
    torch.testing.assert_close(nothing, backend.decode(backend.encode(image)).detach(), atol=1e-5, rtol=1e-5)
    area[..., 8:24, 8:24] = 1
    assert not torch.allclose(inpaint(backend, image, area, noise, settings), nothing)


# --- flow matching ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", [16, 256, 4096])
def test_flow_levels_are_the_schedulers_forward_process(tokens):
    schedule = FlowSchedule(FLUX, 20, tokens, CPU)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**FLUX)
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / 20, 20), mu=calculate_shift(tokens))
    x, noise = drawn(2, 4, 3, 3), drawn(2, 4, 3, 3, seed=1)
    for level in range(20):
        t = scheduler.timesteps[level]
        assert schedule.timestep(level) == t
        torch.testing.assert_close(schedule.noised(x, noise, level), scheduler.scale_noise(x, t[None], noise))
    assert torch.equal(schedule.noised(x, noise, 20), x), "after the last step x_t is x itself"
    assert torch.equal(schedule.noised(x, noise, 0), noise), "flow matching begins at pure noise"


def test_a_flow_step_with_the_true_velocity_lands_on_the_next_level():
    schedule = FlowSchedule(FLUX, 20, 256, CPU)
    x, noise = drawn(1, 4, 3, 3), drawn(1, 4, 3, 3, seed=1)
    for level in range(20):
        z, clean = schedule.step(noise - x, level, schedule.noised(x, noise, level))
        torch.testing.assert_close(z, schedule.noised(x, noise, level + 1), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(clean, x, atol=1e-5, rtol=1e-5)


def test_a_flow_can_start_on_the_way():
    """The reading `start` begins at a later level."""
    schedule = FlowSchedule(FLUX, 10, 256, CPU)
    x, noise = drawn(1, 4, 3, 3), drawn(1, 4, 3, 3, seed=1)
    z = schedule.noised(x, noise, 7)
    for step in range(7, 10):
        z, _ = schedule.step(noise - x, step, z)
    torch.testing.assert_close(z, x, atol=1e-5, rtol=1e-5)


def test_packing_is_that_of_the_pipelines_and_undone():
    grid = drawn(2, 4, 8, 8)
    assert torch.equal(pack(grid), diffusers.FluxPipeline._pack_latents(grid, 2, 4, 8, 8))
    assert torch.equal(unpack(pack(grid)), grid)


# --- prompts ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["sd", "sdxl", "flux"])
def test_the_empty_prompt_is_what_the_plain_pipeline_encodes(tmp_path, family):
    """With text encoders in the folder; they are dropped, and stored embeddings take their place."""
    if family == "sd":
        folder = save_stable_diffusion(tmp_path)
        (folder / "prompt_embeds.safetensors").unlink()
        save_clip(folder, "", 8)
    else:
        folder = (save_sdxl if family == "sdxl" else save_flux)(tmp_path, text_encoders=True)
    backend = AmodalPipeline.from_pretrained(folder).backend
    clip = CLIPTextModel.from_pretrained(folder / "text_encoder"), CLIPTokenizer.from_pretrained(folder / "tokenizer")
    ddim = diffusers.DDIMScheduler()
    with torch.inference_mode():
        if family == "sd":
            parts = backend.autoencoder.vae, *clip, backend.unet, ddim, None, None
            pipeline = diffusers.StableDiffusionPipeline(*parts, requires_safety_checker=False)
            want = {"prompt_embeds": pipeline.encode_prompt("", CPU, 1, False)[0]}
        elif family == "sdxl":
            second = CLIPTextModelWithProjection.from_pretrained(folder / "text_encoder_2")
            tokenizers = clip[1], CLIPTokenizer.from_pretrained(folder / "tokenizer_2")
            pipeline = diffusers.StableDiffusionXLPipeline(
                backend.autoencoder.vae, clip[0], second, *tokenizers, backend.unet, ddim, add_watermarker=False
            )
            embeds, _, pooled, _ = pipeline.encode_prompt("", do_classifier_free_guidance=False)
            want = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
        else:
            t5 = T5EncoderModel.from_pretrained(folder / "text_encoder_2")
            tokenizer = T5TokenizerFast.from_pretrained(folder / "tokenizer_2")
            scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
            pipeline = diffusers.FluxPipeline(
                scheduler, backend.autoencoder.vae, *clip, t5, tokenizer, backend.transformer
            )
            embeds, pooled, _ = pipeline.encode_prompt("", None)
            want = {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled}
    assert backend.prompt.keys() == want.keys()
    for name, tensor in want.items():
        torch.testing.assert_close(backend.prompt[name], tensor)
    kept = [value for value in vars(backend).values() if isinstance(value, torch.nn.Module)]
    assert len(kept) == 1, "only the denoiser stays; the autoencoder has its own place"


# --- parts that do not fit -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "changes", "message"),
    [
        (save_sdxl, {"in_channels": 8}, "expected 4 or 9 input channels"),
        (save_flux, {"in_channels": 48}, "expected 16 or 96 input channels"),
        (save_sdxl, {"cross_attention_dim": 24}, r"prompt embedding prompt_embeds: expected \(1, 77, 24\)"),
        (save_flux, {"pooled_projection_dim": 9}, r"prompt embedding pooled_prompt_embeds: expected \(1, 9\)"),
    ],
)
def test_parts_that_do_not_fit_are_named(tmp_path, build, changes, message):
    backend, cls = AmodalPipeline.from_pretrained(build(tmp_path)).backend, backend_class(tmp_path)
    denoiser = cls.denoiser_class.from_config({**backend.denoiser.config, **changes})
    with pytest.raises(ModelError, match=message):
        cls(denoiser, backend.autoencoder, {}, backend.prompt, RESOLUTION)
    with pytest.raises(ModelError, match="resolution: expected a multiple of"):
        cls(backend.denoiser, backend.autoencoder, {}, backend.prompt, RESOLUTION + 1)
