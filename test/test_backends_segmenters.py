"""Segmenters: small SAM and SAM 2 models in the published layouts, and the official checkpoints where installed."""

import importlib.util
import io
import json
import pickle
import sys
import types

import numpy as np
import pytest
import torch
from builders import RESOLUTION, save_edgetam, save_lively, save_sam, save_sam2, save_stable_diffusion, scene_of_two
from PIL import Image
from transformers import Sam2Model, SamConfig, SamModel

from amodal_ros.cli import main
from amodal_ros.completion import AmodalPipeline, ModelError
from amodal_ros.completion.segmenters import load_segmenter
from amodal_ros.completion.segmenters.segment_anything import SegmentAnything
from amodal_ros.scene import Source

CPU = torch.device("cpu")


def save_lively_sam(folder):
    save_lively(SamModel.from_pretrained(save_sam(folder)), folder)
    return folder


KINDS = {
    "sam": save_lively_sam,
    "sam2": save_sam2,
    "sam2 of a video": lambda folder: save_sam2(folder, video=True),
    "edgetam": save_edgetam,
    "edgetam of a video": lambda folder: save_edgetam(folder, video=True),
}
OFFICIAL = all(importlib.util.find_spec(name) for name in ("segment_anything", "torchvision"))


def loaded(folder):
    return load_segmenter(folder, CPU, torch.float32)


def images(height=RESOLUTION, width=RESOLUTION):
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("build", KINDS.values(), ids=list(KINDS))
def test_candidates_have_the_images_size(tmp_path, build):
    points, labels = torch.tensor([[[3.0, 4.0], [20.0, 9.0]]] * 2), torch.tensor([[1, 0]] * 2)
    for height, width in ((RESOLUTION, RESOLUTION), (40, 56)):
        logits, predicted = loaded(build(tmp_path)).segment(images(height, width), points, labels)
        assert logits.shape == (2, 3, height, width) and predicted.shape == (2, 3)
        assert logits.dtype == predicted.dtype == torch.float32 and torch.isfinite(logits).all()


@pytest.mark.parametrize("build", KINDS.values(), ids=list(KINDS))
def test_a_batch_equals_one_by_one_and_points_matter(tmp_path, build):
    segmenter = loaded(build(tmp_path))
    points, labels = torch.tensor([[[3.0, 4.0]], [[20.0, 9.0]]]), torch.ones(2, 1, dtype=torch.int64)
    together = segmenter.segment(images(), points, labels)
    for k in range(2):
        alone = segmenter.segment(images()[k : k + 1], points[k : k + 1], labels[k : k + 1])
        for a, b in zip(together, alone):
            torch.testing.assert_close(a[k : k + 1], b, atol=1e-5, rtol=1e-4)
    moved, _ = segmenter.segment(images(), points + 7, labels)
    off, _ = segmenter.segment(images(), points, 1 - labels)
    scale = together[0].abs().max()
    assert (moved - together[0]).abs().max() > 1e-3 * scale and (off - together[0]).abs().max() > 1e-3 * scale


@pytest.mark.parametrize(("build", "cls"), [(save_lively_sam, SamModel), (save_sam2, Sam2Model)])
def test_the_model_is_shown_normalised_pixels_and_scaled_points(tmp_path, build, cls):
    """Against the model of `transformers` called by hand."""
    segmenter = loaded(build(tmp_path))
    model = cls.from_pretrained(tmp_path)
    points, labels = torch.tensor([[[3.0, 4.0], [20.0, 9.0]]] * 2), torch.tensor([[1, 0]] * 2)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pixels = ((images() + 1) / 2 - mean.view(3, 1, 1)) / std.view(3, 1, 1)
    with torch.inference_mode():
        out = model(pixel_values=pixels, input_points=points[:, None], input_labels=labels[:, None])
        logits, predicted = segmenter.segment(images(), points, labels)
    torch.testing.assert_close(predicted, out.iou_scores[:, 0])
    want = torch.nn.functional.interpolate(out.pred_masks[:, 0], (RESOLUTION,) * 2, mode="bilinear")
    torch.testing.assert_close(logits, want, atol=1e-5, rtol=1e-4)


def test_a_video_checkpoint_gives_the_image_models_masks(tmp_path):
    """The published SAM 2 weights are the video model's."""
    video = loaded(save_sam2(tmp_path / "video", video=True))
    assert json.loads((tmp_path / "video" / "config.json").read_text())["model_type"] == "sam2_video"
    video.model.save_pretrained(tmp_path / "image")
    points, labels = torch.tensor([[[3.0, 4.0]]] * 2), torch.ones(2, 1, dtype=torch.int64)
    for a, b in zip(
        video.segment(images(), points, labels), loaded(tmp_path / "image").segment(images(), points, labels)
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.skipif(importlib.util.find_spec("timm") is not None, reason="timm is installed")
def test_edgetam_without_its_package_says_what_to_install(tmp_path):
    config = json.loads((save_edgetam(tmp_path) / "config.json").read_text())
    config["vision_config"]["backbone_config"] = {"model_type": "timm_wrapper", "architecture": "repvit_m1"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="EdgeTAM needs the package timm: pip install timm"):
        loaded(tmp_path)


def test_slimsam_is_a_sam_of_other_widths(tmp_path):
    """Its published configuration, which leaves everything else at its default and its parts without a type."""
    parts = {"vision_config": {"hidden_size": 168, "mlp_dim": 696, "model_type": ""}}
    empty = {name: {"model_type": ""} for name in ("prompt_encoder_config", "mask_decoder_config")}
    config = {"architectures": ["SamModel"], "initializer_range": 0.02, "model_type": "sam", **parts, **empty}
    SamModel(SamConfig(vision_config={"hidden_size": 168, "mlp_dim": 696})).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = loaded(tmp_path).model
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(9.7, abs=0.1)  # 38.9 MB of float32


@pytest.mark.parametrize("build", KINDS.values(), ids=list(KINDS))
def test_a_segmenter_completes_an_object(tmp_path, build):
    folder = save_stable_diffusion(tmp_path / "model", segmenter=False)
    pipeline = AmodalPipeline.from_pretrained(
        folder, segmenter=build(tmp_path / "segmenter"), steps=2, answer="completion"
    )
    image, disc, box = scene_of_two()
    (result,) = pipeline.complete(image, [disc], [box], trace=True)
    assert result.source is Source.INFERRED and result.trace.candidates.shape == (3, RESOLUTION, RESOLUTION)


def test_pixel_statistics_come_from_the_folder(tmp_path):
    save_lively_sam(tmp_path)
    points, labels = torch.tensor([[[3.0, 4.0]]] * 2), torch.ones(2, 1, dtype=torch.int64)
    before, _ = loaded(tmp_path).segment(images(), points, labels)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0, 0, 0], "image_std": [1, 1, 1]}))
    after, _ = loaded(tmp_path).segment(images(), points, labels)
    assert (before - after).abs().max() > 1e-3 * before.abs().max()


# --- official checkpoints --------------------------------------------------------------------------------


@pytest.mark.skipif(OFFICIAL, reason="the package segment-anything is installed")
def test_without_the_package_the_error_says_what_to_install(tmp_path):
    path = tmp_path / "sam_vit_b_01ec64.pth"
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 2, 2, 768)}, path)
    with pytest.raises(ModelError, match=r"sam_vit_b_01ec64.pth: needs the packages segment-anything and torchvision"):
        loaded(path)


@pytest.fixture
def official(monkeypatch):
    """The package itself. What it imports of torchvision, which its models do not use, may be missing."""
    if importlib.util.find_spec("torchvision") is None:
        for name in ("torchvision", "torchvision.ops", "torchvision.ops.boxes", "torchvision.transforms",
                     "torchvision.transforms.functional"):  # fmt: skip
            monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
        for name in ("batched_nms", "box_area"):
            setattr(sys.modules["torchvision.ops.boxes"], name, None)
        for name in ("resize", "to_pil_image"):
            setattr(sys.modules["torchvision.transforms.functional"], name, None)
    return pytest.importorskip("segment_anything", reason="the package segment-anything is not installed")


def a_jpeg() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.mark.parametrize("junk", [b"", b"junk", pickle.dumps(print), a_jpeg()])
@pytest.mark.parametrize("name", ["sam.pth", "mobile_sam.pt", "photo.jpg"])
def test_a_checkpoint_that_is_none_is_refused(tmp_path, name, junk):
    path = tmp_path / name
    path.write_bytes(junk)
    with pytest.raises(ModelError, match=rf"{name}: expected a checkpoint of tensors"):
        loaded(path)


@pytest.mark.parametrize("content", ["jpeg", "mobile", "good"])
def test_check_and_loading_follow_the_same_rules(official, tmp_path, content, capsys):
    model, path = save_stable_diffusion(tmp_path / "model", segmenter=False), tmp_path / "mobile_sam.pt"
    if content == "jpeg":
        path.write_bytes(a_jpeg())
    elif content == "mobile":
        torch.save({"image_encoder.patch_embed.seq.0.c.weight": torch.zeros(1)}, path)
    else:
        torch.save(official.sam_model_registry["vit_b"]().state_dict(), path)
    said = main(["models", "check", str(model), "--segmenter", str(path)])
    out = capsys.readouterr().out
    if content == "good":
        assert said == 0 and "segment_anything vit_b" in out and "93.7 M" in out
        assert loaded(path).kind == "segment_anything", "whatever the file's name ends in"
    else:
        assert said == 1 and "mobile_sam.pt: expected a" in out
        with pytest.raises(ModelError, match=r"mobile_sam.pt: expected a"):
            AmodalPipeline.from_pretrained(model, segmenter=path)


def test_a_checkpoint_of_something_else_is_refused(official, tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "sam.pth")
    with pytest.raises(ModelError, match=r"sam.pth: expected a Segment Anything checkpoint"):
        loaded(tmp_path / "sam.pth")
    torch.save({"image_encoder.pos_embed": torch.zeros(1, 2, 2, 768)}, tmp_path / "sam.pth")
    with pytest.raises(
        ModelError, match=r"sam.pth: not the weights of vit_b: \d+ tensors missing, the first image_enc"
    ):
        loaded(tmp_path / "sam.pth")


def test_an_official_checkpoint_is_loaded_by_its_width(official, tmp_path):
    """SAM ViT-B at full size with random weights."""
    model = official.sam_model_registry["vit_b"]()
    torch.save(model.state_dict(), tmp_path / "any_name.pth")
    state = loaded(tmp_path / "any_name.pth").model.state_dict()
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_official_models_run_in_half_precision(official, dtype):
    model = official_model().to(dtype)
    points, labels = torch.tensor([[[30.0, 40.0], [7.0, 20.0]]]), torch.tensor([[1, 0]])
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        logits, predicted = SegmentAnything(model).segment(picture, points, labels)
        want, _ = SegmentAnything(official_model()).segment(picture, points, labels)
    assert logits.dtype == predicted.dtype == torch.float32
    assert torch.isfinite(logits).all() and ((logits > 0) == (want > 0)).float().mean() > 0.95


def test_official_models_give_the_packages_masks(official):
    """A small model of the package's classes, asked through the segmenter and by the package's own call."""
    model = official_model()
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 64, 64), dtype=np.uint8))
    points, labels = torch.tensor([[[30.0, 40.0], [7.0, 20.0]]]), torch.tensor([[1, 0]])
    with torch.inference_mode():
        logits, predicted = SegmentAnything(model).segment(pixels[None].float() / 127.5 - 1, points, labels)
        request = {"image": pixels, "original_size": (64, 64), "point_coords": points, "point_labels": labels}
        (want,) = model([request], multimask_output=True)
    torch.testing.assert_close(predicted, want["iou_predictions"], atol=1e-3, rtol=1e-3)
    assert 0.02 < (logits > 0).float().mean() < 0.98
    assert ((logits > 0) == want["masks"]).float().mean() > 0.999


def official_model():
    """A small model of the package's classes."""
    from segment_anything import modeling

    torch.manual_seed(0)
    encoder = dict(img_size=64, embed_dim=16, depth=2, num_heads=2, window_size=2, global_attn_indexes=[1])
    model = modeling.Sam(
        modeling.ImageEncoderViT(**encoder, out_chans=16, use_rel_pos=True),
        modeling.PromptEncoder(16, (4, 4), (64, 64), 4),
        modeling.MaskDecoder(
            transformer_dim=16,
            transformer=modeling.TwoWayTransformer(depth=1, embedding_dim=16, num_heads=2, mlp_dim=8),
        ),
    ).eval()
    for parameter in model.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize(("kind", "scale"), [("sam", (32 / 56, 32 / 56)), ("sam2", (32 / 56, 32 / 40))])
def test_points_reach_the_model_in_its_own_pixels(tmp_path, kind, scale):
    """On an image of 40 x 56: SAM pads it to a square, SAM 2 squeezes it into one; x stays x and y stays y."""
    segmenter, seen = loaded(KINDS[kind](tmp_path)), {}
    forward = segmenter.model.forward
    segmenter.model.forward = lambda **given: seen.update(given) or forward(**given)
    points = torch.tensor([[[50.0, 4.0], [7.0, 30.0]]])
    segmenter.segment(images(40, 56)[:1], points, torch.ones(1, 2, dtype=torch.int64))
    torch.testing.assert_close(seen["input_points"][0, 0], points[0] * torch.tensor(scale))


def test_a_bright_patch_stays_where_it_is(tmp_path):
    """What the model is shown lies where the points are told to lie."""
    picture = -torch.ones(1, 3, 40, 56)
    picture[..., 24:32, 42:49] = 1.0
    for kind in ("sam", "sam2"):
        segmenter, seen = loaded(KINDS[kind](tmp_path / kind)), {}
        forward = segmenter.model.forward
        segmenter.model.forward = lambda forward=forward, seen=seen, **given: seen.update(given) or forward(**given)
        segmenter.segment(picture, torch.tensor([[[45.0, 27.5]]]), torch.ones(1, 1, dtype=torch.int64))
        x, y = seen["input_points"][0, 0, 0].tolist()
        shown = seen["pixel_values"][0, 0]
        assert shown[round(y), round(x)] > 0.9 * shown.max()
