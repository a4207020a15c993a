"""The method end to end on small models of the real classes: what a caller sees."""

import json
import logging
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import RESOLUTION, save_sam, save_stable_diffusion, scene_of_two

from amodal_ros.completion import TABLE_2, AmodalPipeline, Interrupted, ModelError, Settings, judge
from amodal_ros.completion.crop import ObjectCrop
from amodal_ros.completion.points import draw_points
from amodal_ros.completion.trace import draw_trace
from amodal_ros.scene import MaskRegion, Scene, Source, convex_hull
from amodal_ros.settings.method import Judgement, Points, Sampling, WholeImage, preset
from amodal_ros.settings.readings import Equation, Histogram, Real, Soft

READINGS = ("equation", "soft", "start", "anchored", "anchored_real")
#: What the shipped model is set to, but quick: the masks around an object count.
QUICK = {"steps": 4, "occluders": "instances", "choice": "known", "answer": "best", "negative": 9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_stable_diffusion(tmp_path_factory.mktemp("inpainting"))


@pytest.fixture(scope="module")
def pipeline(folder):
    torch.set_num_threads(1)
    return AmodalPipeline.from_pretrained(folder, **QUICK)


@pytest.fixture(scope="module")
def blended(tmp_path_factory):
    """A four-channel model with the small autoencoder."""
    folder = save_stable_diffusion(tmp_path_factory.mktemp("blended"), mask_input=False, autoencoder="tiny")
    return AmodalPipeline.from_pretrained(folder, **QUICK)


# --- what comes out --------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["pipeline", "blended"])
@pytest.mark.parametrize("occluders", ["instances", "any", "off"])
@pytest.mark.parametrize("reading", READINGS)
def test_every_reading_completes_an_object(request, model, reading, occluders):
    image, disc, box = scene_of_two()
    (result,) = request.getfixturevalue(model).complete(image, [disc], [box], reading=reading, occluders=occluders)
    assert result.source is Source.INFERRED
    assert result.amodal.contains(result.visible) and result.visible == MaskRegion.from_full(disc)
    assert 0 <= result.occlusion_ratio <= 1 and 0 <= result.truncation_ratio <= 1
    assert result.possible.contains(result.amodal)
    assert result.occluders == (1,)
    if occluders == "instances":
        hidden = (result.amodal - result.visible).clip(*disc.shape)
        assert MaskRegion.from_full(box).grow(3).contains(hidden), "a hidden part must be hidden by something"


@pytest.mark.parametrize("changes", TABLE_2.values(), ids=list(TABLE_2))
def test_table_2_switches_run_in_the_papers_preset(pipeline, changes):
    image, disc, box = scene_of_two()
    (result,) = pipeline.complete(image, [disc], [box], preset="paper", steps=4, **changes)
    assert result.source is Source.INFERRED


def test_readings_and_switches_paint_differently(pipeline):
    image, disc, box = scene_of_two()
    bar = np.zeros_like(disc)
    bar[:, 36:42] = True  # the disc's two halves have a wide gap: V and its hull differ on latent cells too
    disc, box = disc & ~bar, bar
    painted = {}
    variants = {reading: {"reading": reading} for reading in READINGS}
    equation = {"reading": "equation", "area": "hull"}
    variants |= {name: {**equation, **changes} for name, changes in TABLE_2.items() if changes}
    variants["no guidance"] = {**equation, "guidance": 0.0}
    variants["nothing known"] = {**equation, "empty_mask": "unknown"}
    for name, changes in variants.items():
        (result,) = pipeline.complete(image, [disc], [box], trace=True, **changes)
        painted[name] = result.trace.painted
    names = list(painted)
    for k, a in enumerate(names):
        for b in names[k + 1 :]:
            assert not np.array_equal(painted[a], painted[b]), f"{a} and {b} paint the same"


def test_equation_changes_nothing_outside_the_area_and_soft_does(blended):
    """With a VAE between, compare latents: outside M the literal Eq. 7 is exactly x."""
    from amodal_ros.completion.sampler import inpaint

    backend = blended.backend
    kept = {}
    for reading in ("equation", "soft"):
        latents = []
        x = torch.rand(1, 3, RESOLUTION, RESOLUTION, generator=torch.Generator().manual_seed(0)) * 2 - 1
        area = torch.zeros(1, 1, RESOLUTION, RESOLUTION)
        area[..., :16, :16] = 1
        noise = torch.randn(1, *backend.latent_shape, generator=torch.Generator().manual_seed(1))
        settings = Settings().replace(reading=reading, steps=4)
        inpaint(backend, x, area, noise, settings, observe=lambda step, clean, out=latents: out.append(clean))
        with torch.inference_mode():
            kept[reading] = torch.allclose(latents[-1][..., 4:, 4:], backend.encode(x)[..., 4:, 4:], atol=1e-5)
    assert kept == {"equation": True, "soft": False}


@pytest.mark.parametrize(("reading", "times"), [("anchored", 1), ("equation", 2)])
def test_x_is_encoded_again_only_for_readings_that_blend_it_inside_the_area(pipeline, monkeypatch, reading, times):
    encoded = []
    encode = pipeline.backend.encode
    monkeypatch.setattr(pipeline.backend, "encode", lambda images: encoded.append(1) or encode(images))
    image, disc, box = scene_of_two()
    pipeline.complete(image, [disc], [box], reading=reading, guidance=0.0)
    assert len(encoded) == times


def test_an_object_that_nothing_hides_takes_no_model(pipeline):
    image, disc, _ = scene_of_two()
    (result,) = pipeline.complete(image, [disc])
    assert result.source is Source.UNOCCLUDED and result.amodal == result.visible and result.occlusion_ratio == 0


def test_the_best_answer_is_one_of_four_and_says_what_it_expects(pipeline, monkeypatch):
    monkeypatch.setattr(judge, "LEAN", dict.fromkeys(judge.LEAN, 0.0))  # with a lean another one can be preferred
    image, disc, box = scene_of_two()
    (painted,) = pipeline.complete(image, [disc], [box], answer="completion")
    (best,) = pipeline.complete(image, [disc], [box], answer="best", trace=True)
    assert 0 < best.expected_iou < 1 and 0 < painted.expected_iou <= best.expected_iou
    verdict = best.trace.verdict
    assert verdict.kind in ("visible", "hull", "completion", "likely") and verdict.amodal == best.amodal
    assert best.possible.contains(best.amodal)


def test_no_objects(pipeline):
    assert pipeline.complete(scene_of_two()[0], []) == []


def test_several_samples_vote_and_agree_in_part(pipeline):
    image, disc, box = scene_of_two()
    (one,) = pipeline.complete(image, [disc], [box])
    (three,) = pipeline.complete(image, [disc], [box], samples=3)
    assert np.isnan(one.agreement) and 0 < three.agreement <= 1
    assert three.amodal.contains(three.visible)


# --- batching and seeds ----------------------------------------------------------------------------------


def four_objects():
    image, disc, box = scene_of_two(60, 120)
    return image, [disc, box, np.roll(disc, 40, 1), np.roll(box, -60, 1)]


def test_a_batch_equals_one_by_one_and_order_does_not_matter(pipeline):
    image, masks = four_objects()
    together = pipeline.complete(image, masks, seed=5)
    alone = pipeline.complete(image, masks, seed=5, max_batch=1)
    order = [2, 0, 3, 1]
    permuted = pipeline.complete(image, [masks[k] for k in order], seed=5)
    assert any(r.source is Source.INFERRED for r in together)
    for k in range(4):
        assert together[k].amodal.iou(alone[k].amodal) > 0.98
        assert together[order[k]].amodal.iou(permuted[k].amodal) > 0.98


def test_a_seed_fixes_the_mask(pipeline):
    image, disc, box = scene_of_two()
    first, again, other = (
        pipeline.complete(image, [disc], [box], seed=seed, trace=True, samples=2)[0] for seed in (1, 1, 2)
    )
    assert first.amodal == again.amodal and np.array_equal(first.trace.painted, again.trace.painted)
    assert not np.array_equal(first.trace.painted, other.trace.painted)


def test_all_objects_and_both_guidance_halves_share_a_pass(pipeline, monkeypatch):
    image, masks = four_objects()
    sizes = []
    predict = pipeline.backend.predict
    monkeypatch.setattr(pipeline.backend, "predict", lambda z, t, c: sizes.append(len(z)) or predict(z, t, c))
    scene = Scene(image, masks)
    todo = sum(not scene.unoccluded(i) for i in range(4))
    pipeline.complete(scene)
    assert sizes == [2 * todo] * QUICK["steps"]


def test_caller_can_interrupt_between_steps(pipeline):
    image, masks = four_objects()
    asked = []

    def should_stop():
        asked.append(True)
        return len(asked) == 7

    with pytest.raises(Interrupted) as stopped:
        pipeline.complete(image, masks, should_stop=should_stop, max_batch=1, occluders="off")
    done = [r for r in stopped.value.results if r is not None]
    assert len(stopped.value.results) == 4 and len(done) == 1 and done[0].source is Source.INFERRED


def test_something_more_urgent_is_let_in_before_every_layer(folder, pipeline):
    image, disc, box = scene_of_two()
    polite, layers = AmodalPipeline.from_pretrained(folder, **QUICK), []
    polite.before_layers(lambda: layers.append(1))
    (expected,), (result,) = (p.complete(image, [disc], [box]) for p in (pipeline, polite))
    assert len(layers) > 50 * QUICK["steps"]
    assert result.amodal == expected.amodal


def test_a_compiled_network_stays_whole(folder):
    model = AmodalPipeline.from_pretrained(folder)
    model.backend.denoiser.compile()
    model.before_layers(lambda: None)
    let_in = [
        any(module._forward_pre_hooks for module in network.modules())
        for network in (model.backend.denoiser, model.segmenter.model)
    ]
    assert let_in == [False, True]


def test_progress_counts_up_to_the_end(pipeline):
    image, masks = four_objects()
    seen = []
    pipeline.complete(
        image, masks, max_batch=2, occluders="off", progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(k, 8) for k in range(8)]


# --- the pieces ------------------------------------------------------------------------------------------


def test_crop_passes_the_frames_edge_and_maps_back():
    region = MaskRegion(-4, 40, np.ones((30, 20), bool))
    visible = region.clip(60, 80)
    crop = ObjectCrop.around(visible, 0.5, 64)
    assert crop.x < 0 and crop.width == crop.height == 40
    back = crop.region(np.where(crop.mask(visible), 1.0, -1.0))
    assert back.iou(visible) > 0.85
    image = np.zeros((60, 80, 3), np.uint8)
    image[:, 0] = 200
    assert (crop.image(image)[:, 0] > 150).all(), "the border repeats outside the frame"


def test_a_single_pixel_survives_the_crop():
    crop = ObjectCrop.whole(400, 1200, 32)
    assert crop.mask(MaskRegion(700, 100, np.ones((1, 1), bool))).any()


def test_points_are_nine_from_v_and_the_rest_from_known_background():
    visible, feasible, outside = (np.zeros((32, 32), bool) for _ in range(3))
    visible[10:20, 10:16], feasible[:, 16:], outside[:4] = True, True, True
    points, labels = draw_points(visible, feasible, outside, Points(9, 9), np.random.default_rng(0))
    assert (labels == 1).sum() == 9 and (labels == 0).sum() == 9
    for (x, y), label in zip(points.astype(int), labels):
        assert visible[y, x] == bool(label)
        assert label or not (feasible[y, x] or outside[y, x] or visible[y - 1 : y + 2, x - 1 : x + 2].any())
    points, labels = draw_points(visible, ~visible, outside, Points(9, 9), np.random.default_rng(0))
    assert (labels == 1).all() and len(points) == 9, "nothing known, no points off the object"


def test_trace_keeps_every_stage_and_draws(pipeline):
    image, disc, box = scene_of_two()
    (result,) = pipeline.complete(image, [disc], [box], trace=True)
    trace = result.trace
    assert len(trace.steps) == 4 and trace.candidates.shape == (3, RESOLUTION, RESOLUTION)
    assert trace.area.any() and trace.feasible.any() and 0 <= trace.chosen < 3
    figure = draw_trace(trace, truth=trace.amodal)
    assert figure.dtype == np.uint8 and figure.ndim == 3 and figure.std() > 10


# --- bad input -------------------------------------------------------------------------------------------

BAD_MASKS = {
    "empty": (np.zeros((60, 80), bool), "visible mask 1: expected at least one pixel"),
    "another shape": (np.ones((60, 81), bool), r"visible mask 1: expected bool of the image's size \(60, 80\)"),
    "another dtype": (np.ones((60, 80), np.uint8), "visible mask 1: expected bool .* got uint8"),
    "outside": (MaskRegion(200, 0, np.ones((3, 3), bool)), "visible mask 1: expected at least one pixel inside"),
    "no mask": ("car", "visible mask 1: expected a bool array or a MaskRegion, got str"),
}


@pytest.mark.parametrize(("bad", "message"), BAD_MASKS.values(), ids=list(BAD_MASKS))
def test_a_bad_mask_is_named_and_loses_no_other(pipeline, caplog, bad, message):
    image, disc, box = scene_of_two()
    with pytest.raises(ValueError, match=message):
        pipeline.complete(image, [disc, bad], [box])
    with caplog.at_level(logging.WARNING):
        good, skipped = pipeline.complete(image, [disc, bad], [box], on_error="skip")
    assert skipped is None and good.source is Source.INFERRED and "visible mask 1" in caplog.text


@pytest.mark.parametrize("image", [np.zeros((60, 80), np.uint8), np.zeros((60, 80, 3), np.float32), "image.png"])
def test_a_bad_image_is_named(pipeline, image):
    with pytest.raises(ValueError, match="image: expected RGB uint8"):
        pipeline.complete(image, [np.ones((60, 80), bool)])


@pytest.mark.parametrize("kind", ["one pixel", "everything", "duplicate"])
@pytest.mark.parametrize("reading", READINGS)
def test_extreme_masks_complete(pipeline, kind, reading):
    image, disc, box = scene_of_two()
    pixel = np.zeros_like(disc)
    pixel[30, 40] = True
    visible = {"one pixel": [pixel], "everything": [np.ones_like(disc)], "duplicate": [disc, disc.copy()]}[kind]
    for result in pipeline.complete(image, visible, [box], reading=reading):
        assert result.amodal.contains(result.visible) and 0 <= result.occlusion_ratio <= 1


def test_a_failing_batch_is_counted_and_loses_nothing_else(pipeline, monkeypatch, caplog):
    image, masks = four_objects()
    segment, calls = pipeline.segmenter.segment, []

    def fails_once(*args):
        calls.append(1)
        if len(calls) == 1:
            raise RuntimeError("device lost")
        return segment(*args)

    monkeypatch.setattr(pipeline.segmenter, "segment", fails_once)
    results = pipeline.complete(image, masks, on_error="skip", max_batch=1, occluders="off")
    assert [r.source for r in results] == [Source.VISIBLE_ONLY] + [Source.INFERRED] * 3
    assert results[0].amodal == results[0].visible and "device lost" in caplog.text
    with pytest.raises(RuntimeError, match="device lost"):
        calls.clear()
        pipeline.complete(image, masks, occluders="off")


def test_an_object_that_breaks_its_batch_loses_no_other(pipeline, monkeypatch):
    image, masks = four_objects()
    masks = masks[:3]
    segment = pipeline.segmenter.segment
    (alone,) = pipeline.complete(image, masks[1:2], occluders="off", trace=True)
    first_point = torch.from_numpy(alone.trace.points[0])

    def fails_on_one(images, points, labels):
        if any(torch.equal(row[0], first_point) for row in points):
            raise RuntimeError("bad prompt")
        return segment(images, points, labels)

    monkeypatch.setattr(pipeline.segmenter, "segment", fails_on_one)
    results = pipeline.complete(image, masks, on_error="skip", max_batch=4, occluders="off")
    assert [bool(r.error) for r in results] == [False, True, False]
    assert results[1].source is Source.VISIBLE_ONLY and results[1].error == "RuntimeError: bad prompt"


def test_an_object_that_cannot_be_prepared_loses_no_other(pipeline, monkeypatch, caplog):
    image, masks = four_objects()
    task = pipeline._task

    def fails_on_one(call, i, sample):
        if i == 1:
            raise ValueError("no crop")
        return task(call, i, sample)

    monkeypatch.setattr(pipeline, "_task", fails_on_one)
    results = pipeline.complete(image, masks, on_error="skip", occluders="off")
    assert [r.source is Source.VISIBLE_ONLY for r in results] == [False, True, False, False]
    assert results[1].error == "ValueError: no crop" and "no crop" in caplog.text
    with pytest.raises(ValueError, match="no crop"):
        pipeline.complete(image, masks, occluders="off")


@pytest.mark.parametrize("part", ["decoder", "segmenter"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_overflows_is_no_answer(pipeline, monkeypatch, part, value):
    """One object of three overflows; the others are none the worse."""
    image, masks = four_objects()
    if part == "decoder":
        decode = pipeline.backend.autoencoder.decoder.decode

        def overflowing(latents):
            out = decode(latents)
            out.sample[1, 0, 3, 3] = value
            return out

        monkeypatch.setattr(pipeline.backend.autoencoder.decoder, "decode", overflowing)
    else:
        segment = pipeline.segmenter.segment

        def overflowing(*args):
            logits, predicted = segment(*args)
            logits[1, 2] = value
            return logits, predicted

        monkeypatch.setattr(pipeline.segmenter, "segment", overflowing)
    for named in ("paper", None):
        results = pipeline.complete(
            image, masks[:3], on_error="skip", max_batch=3, preset=named, occluders="off", answer="completion"
        )
        assert [r.source is Source.VISIBLE_ONLY for r in results] == [False, True, False]
        assert results[1].amodal == results[1].visible and f"{part} returned NaN or infinity" in results[1].error
    with pytest.raises(ModelError, match="NaN or infinity"):
        pipeline.complete(image, masks[:3], max_batch=3, occluders="off")


@pytest.mark.parametrize("wide", [False, True])
def test_a_thin_mask_survives_where_one_axis_shrinks_and_the_other_grows(wide):
    shape = (20, 200) if wide else (200, 20)
    line = np.zeros(shape, bool)
    if wide:
        line[:, 101] = True
    else:
        line[101] = True
    crop = ObjectCrop.whole(*shape, 64)
    assert crop.mask(MaskRegion.from_full(line)).any()
    picture = np.repeat(line[..., None], 3, 2).astype(np.uint8) * 255
    assert crop.image(picture).mean() == pytest.approx(255 / 200, rel=0.3)  # none of its light is lost


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reading": "literal"}, "reading: expected one of equation"),
        ({"leakage": 1.5}, r"leakage: expected a number in \[0, 1\], got 1.5"),
        ({"steps": 2.5}, "steps: expected a whole number"),
        ({"colour": 1}, "unknown setting 'colour'"),
        ({"preset": "best"}, "preset: expected one of paper"),
        ({"occluders": "all"}, "occluders: expected one of"),
        ({"on_error": "ignore"}, "on_error: expected"),
    ],
)
def test_a_bad_setting_is_named(pipeline, changes, message):
    image, disc, _ = scene_of_two()
    with pytest.raises(ValueError, match=message):
        pipeline.complete(image, [disc], **changes)


# --- loading ---------------------------------------------------------------------------------------------


def test_weights_are_the_processs_own_and_go_with_the_pipeline(tmp_path):
    """A model folder may be replaced under a running node."""
    folder = save_stable_diffusion(tmp_path)
    pipeline = AmodalPipeline.from_pretrained(folder, device="cpu", **QUICK)
    assert str(folder) not in Path("/proc/self/maps").read_text()
    image, disc, box = scene_of_two()
    (before,) = pipeline.complete(image, [disc], [box])
    for path in folder.rglob("*.safetensors"):
        path.write_bytes(b"")
    (after,) = pipeline.complete(image, [disc], [box])
    assert after.amodal == before.amodal
    parts = [
        weakref.ref(m) for m in (pipeline.backend.unet, pipeline.backend.autoencoder.vae, pipeline.segmenter.model)
    ]
    pipeline.free()
    assert [part() for part in parts] == [None] * 3
    pipeline.free()  # as often as one likes


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def break_folder(folder, how):
    if how == "missing vae":
        (folder / "vae").rename(folder / "vae.old")
    elif how == "no weights":
        next((folder / "unet").glob("*.safetensors")).rename(folder / "unet" / "weights.bin")
    elif how == "foreign unet":
        edit(folder / "unet" / "config.json", _class_name="Transformer2DModel")
    elif how == "weights do not match":
        edit(folder / "unet" / "config.json", block_out_channels=[16, 16])
    elif how == "more layers than weights":
        edit(folder / "unet" / "config.json", layers_per_block=2)
    elif how == "corrupt weights":
        next((folder / "vae").glob("*.safetensors")).write_bytes(b"not a tensor")
    elif how == "unknown family":
        edit(folder / "model_index.json", _class_name="KandinskyPipeline")
    elif how == "no prompt":
        (folder / "prompt_embeds.safetensors").unlink()
    elif how == "wrong channels":
        save_stable_diffusion(folder.parent / "other", mask_input=False)
        (folder / "unet").rename(folder / "unet.old")
        (folder.parent / "other" / "unet").rename(folder / "unet")
        edit(folder / "vae" / "config.json", latent_channels=4)
        edit(folder / "unet" / "config.json", in_channels=7)
    elif how == "no segmenter":
        (folder / "segmenter").rename(folder / "segmenter.old")
    elif how == "foreign segmenter":
        edit(folder / "segmenter" / "config.json", model_type="clipseg")
    elif how == "broken json":
        (folder / "model_index.json").write_text("{")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("missing vae", "vae"),
        ("no weights", r"unet: expected weights as \*.safetensors"),
        ("foreign unet", "unet: expected a UNet2DConditionModel, got a Transformer2DModel"),
        ("weights do not match", "unet"),
        ("more layers than weights", "unet"),
        ("corrupt weights", "vae"),
        ("unknown family", "model_index.json: expected one of .*got 'KandinskyPipeline'"),
        ("no prompt", "expected text_encoder/ with tokenizer/, or prompt_embeds.safetensors"),
        ("wrong channels", "unet"),
        ("no segmenter", "segmenter folder not found"),
        ("foreign segmenter", "expected model_type to be one of"),
        ("broken json", "model_index.json: expected a JSON file"),
    ],
)
def test_a_broken_folder_is_one_clear_error(tmp_path, how, message):
    folder = save_stable_diffusion(tmp_path / "model")
    break_folder(folder, how)
    with pytest.raises(ModelError, match=message) as error:
        AmodalPipeline.from_pretrained(folder)
    assert str(folder) in str(error.value)


def test_an_unknown_model_name_says_where_it_looked(tmp_path):
    with pytest.raises(ValueError, match="sd99"):
        AmodalPipeline.from_pretrained("sd99")


def test_a_folder_brings_its_settings_and_the_segmenter_may_lie_elsewhere(tmp_path):
    folder = save_stable_diffusion(tmp_path / "model", segmenter=False)
    (folder / "amodal.yaml").write_text("settings:\n  reading: soft\n  steps: 3\n")
    sam = save_sam(tmp_path / "sam")
    pipeline = AmodalPipeline.from_pretrained(folder, segmenter=sam, steps=5)
    assert pipeline.settings.reading == Soft() and pipeline.settings.sampling.steps == 5
    assert AmodalPipeline.from_pretrained(folder, segmenter=sam, preset="paper").settings.reading == Equation()


def test_text_encoders_are_used_once_and_dropped(tmp_path):
    """A folder with a text encoder in place of the stored embedding."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = save_stable_diffusion(tmp_path / "model")
    (folder / "prompt_embeds.safetensors").unlink()
    config = CLIPTextConfig(
        vocab_size=4, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2
    )
    CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    (tmp_path / "vocab.json").write_text(json.dumps({"<|startoftext|>": 0, "<|endoftext|>": 1, "a": 2, "a</w>": 3}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(tmp_path / "vocab.json"), str(tmp_path / "merges.txt"), model_max_length=7)
    tokenizer.save_pretrained(folder / "tokenizer")
    pipeline = AmodalPipeline.from_pretrained(folder, **QUICK)
    image, disc, box = scene_of_two()
    assert pipeline.complete(image, [disc], [box])[0].source is Source.INFERRED
    assert not any(isinstance(value, CLIPTextModel) for value in vars(pipeline.backend).values())


def test_convex_hull_stays_the_papers_area_in_the_preset(pipeline):
    image, disc, box = scene_of_two()
    (result,) = pipeline.complete(image, [disc], [box], trace=True, preset="paper", steps=2)
    crop = ObjectCrop.whole(60, 80, RESOLUTION)
    hull = convex_hull(MaskRegion.from_full(crop.mask(MaskRegion.from_full(disc)))).full(RESOLUTION, RESOLUTION)
    assert np.array_equal(result.trace.area, hull)


# --- settings ----------------------------------------------------------------------------------------------


def test_the_paper_is_published_whole(pipeline):
    """Its w, its steps and one sample, whatever the model is set to, and nothing of ours."""
    for family, w in (("stable_diffusion", 0.75), ("sdxl", 0.75), ("flux", 1.5)):
        ours = Settings().replace(reading="anchored", condition="contrast", steps=8, guidance=0.0, samples=3)
        paper = ours.replace(**preset("paper", family))
        assert paper.sampling == Sampling(steps=20, guidance=w, samples=1)
        assert paper.reading == Equation(0.3, 0.3) and paper.condition == Histogram() and paper.area == "hull"
        assert paper.crop == WholeImage() and paper.points == Points(9, 0) and paper.occluders == "off"
        assert paper.judgement == Judgement("predicted", keep_visible=False, answer="completion")
    assert pipeline.changed(preset="paper", steps=3).sampling == Sampling(steps=3, guidance=0.75)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reading": "anchored", "leakage": 0.2},
            "leakage: the reading anchored does not use it; it takes area_growth",
        ),
        ({"reading": "start", "leakage": 0.2}, "leakage: the reading start does not use it; it takes strength"),
        ({"strength": 0.2}, "strength: the reading equation does not use it"),
        ({"reading": "anchored", "object_noise": 0.2}, "object_noise: the reading anchored does not use it"),
        ({"condition": "contrast", "blur": 0.1}, "blur: the condition contrast does not use it"),
        ({"crop": "none", "margin": 0.1}, "margin: the crop none does not use it"),
        ({"reading": "anchored_real", "condition": "black"}, "condition: the reading anchored_real goes with real"),
        ({"reading": "anchored", "area": "visible"}, "area: the reading anchored goes with feasible or hull"),
        ({"sampling": {"step": 3}}, "step: sampling does not use it; it takes steps, guidance"),
        ({"sampling": 3}, "sampling: expected its settings by name, got 3"),
        ({"points.steps": 3}, "unknown setting 'points.steps'"),
    ],
)
def test_a_setting_without_effect_is_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        Settings().replace(**changes)


def test_settings_by_name_by_path_by_group_and_from_what_they_write():
    wanted = Settings(reading=Soft(0.2, 0.1), sampling=Sampling(steps=3), occluders="off")
    assert Settings().replace(reading="soft", leakage=0.2, object_noise=0.1, steps=3) == wanted
    assert (
        Settings().replace(**{"reading": {"soft": {"leakage": 0.2, "object_noise": 0.1}}, "sampling.steps": 3})
        == wanted
    )
    assert Settings().replace(**wanted.as_plain()) == wanted
    assert Settings().replace(sampling={"steps": 3}, reading=Soft(0.2, 0.1), occluders=False) == wanted, "YAML's off"
    anchored = wanted.replace(reading="anchored_real")
    assert anchored.condition == Real() and anchored.area == "feasible", "a reading brings what it goes with"
    assert anchored.replace(reading="soft").condition == Histogram()


def test_each_reading_moves_with_each_of_its_settings(pipeline):
    """What can be set has an effect."""
    image, disc, _ = scene_of_two()
    bar = np.zeros_like(disc)
    bar[:, 36:42] = True
    painted = {}
    for reading, name, values in [
        *((r, "leakage", (0.05, 0.95)) for r in ("equation", "soft")),
        *((r, "object_noise", (0.0, 0.9)) for r in ("equation", "soft", "start")),
        ("start", "strength", (0.3, 0.9)),
        *((r, "area_growth", (0.0, 1.0)) for r in ("anchored", "anchored_real")),
    ]:
        low, high = (
            pipeline.complete(image, [disc & ~bar], [bar], trace=True, reading=reading, **{name: v})[0].trace.painted
            for v in values
        )
        painted[reading, name] = not np.array_equal(low, high)
    assert all(painted.values()), painted


def test_a_scene_and_its_masks_complete_alike(pipeline):
    image, masks = four_objects()
    plain = pipeline.complete(image, masks[:2], masks[2:], seed=3)
    scene = Scene(image, masks[:2], masks[2:])
    assert [r.amodal for r in pipeline.complete(scene, seed=3)] == [r.amodal for r in plain]
    (one,) = pipeline.complete(scene, which=[1], seed=3)
    assert one.amodal == plain[1].amodal and one.occluders == plain[1].occluders
    off = pipeline.complete(scene, which=[1], occluders="off")
    assert off[0].source is Source.INFERRED
    with pytest.raises(ValueError, match="which: expected positions of things from 0 to 1, got 2"):
        pipeline.complete(scene, which=[2])


def test_every_sample_has_a_noise_of_its_own_and_every_object_the_same(pipeline, monkeypatch):
    image, masks = four_objects()
    starts, predict = [], pipeline.backend.predict
    monkeypatch.setattr(pipeline.backend, "predict", lambda z, t, c: starts.append(z.clone()) or predict(z, t, c))
    pipeline.complete(image, masks[:2], reading="equation", guidance=0.0, samples=2, occluders="off")
    noise = starts[0]  # object 0 twice, object 1 twice
    assert len(noise) == 4 and not torch.equal(noise[0], noise[1])
    assert torch.equal(noise[0], noise[2]) and torch.equal(noise[1], noise[3])


def test_object_noise_is_of_the_readings_that_have_it(pipeline):
    image, disc, box = scene_of_two()
    for reading, noisy in (("equation", True), ("start", True), ("anchored", False), ("anchored_real", False)):
        trace = pipeline.complete(image, [disc], [box], reading=reading, trace=True)[0].trace
        changed = np.abs(trace.condition[trace.visible].astype(int) - trace.image[trace.visible]).max()
        assert (changed > 5) == noisy, reading


def test_the_segmenters_own_opinion_decides_alone_or_between_equals():
    from amodal_ros.completion.judge import best_candidate

    mask, wrong = MaskRegion(10, 10, np.ones((10, 10), bool)), MaskRegion(40, 40, np.ones((10, 10), bool))
    scene = Scene.of_masks([mask], (60, 80))
    predicted = np.array([0.5, 0.9, 0.95])
    known, _ = best_candidate([mask, mask, wrong], predicted, scene, 0, Judgement("known"))
    alone, _ = best_candidate([mask, mask, wrong], predicted, scene, 0, Judgement("predicted"))
    assert (known, alone) == (1, 2)
