"""Memory and speed: what the switches do, and what happens when memory does not suffice."""

import importlib.util
import logging
import os
import tempfile

import numpy as np
import pytest
import torch
from builders import (
    save_flux,
    save_sdxl,
    save_stable_diffusion,
    scene_of_two,
    small_autoencoder,
    small_decoder,
)
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from amodal_ros.completion import AmodalPipeline, ModelError
from amodal_ros.completion.device import choose_device, choose_dtype, is_out_of_memory
from amodal_ros.scene import Source
from amodal_ros.settings.switches import Switches

QUICK = {"steps": 2, "answer": "completion"}
CPU = torch.device("cpu")
TORCHAO = importlib.util.find_spec("torchao") is not None


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return save_stable_diffusion(tmp_path_factory.mktemp("model"))


def painted(pipeline, **changes):
    image, disc, box = scene_of_two()
    (result,) = pipeline.complete(image, [disc], [box], trace=True, reading="equation", **changes)
    assert result.source is Source.INFERRED
    return result.trace.painted.astype(int)


# --- switches --------------------------------------------------------------------------------------------


def test_a_small_decoder_decodes_in_place_of_the_vae(folder, tmp_path):
    small_decoder().save_pretrained(tmp_path / "small")
    plain = AmodalPipeline.from_pretrained(folder, **QUICK)
    small = AmodalPipeline.from_pretrained(folder, decoder=str(tmp_path / "small"), **QUICK)
    assert isinstance(small.backend.autoencoder.decoder, AutoencoderTiny)
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(plain.backend.encode(image), small.backend.encode(image)), "encoding stays"
    assert not np.array_equal(painted(plain), painted(small))


def test_a_decoder_of_other_latents_is_refused(folder, tmp_path):
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    ).save_pretrained(tmp_path / "small")
    with pytest.raises(ModelError, match="decoder: expected 4 latent channels and 4 px per cell"):
        AmodalPipeline.from_pretrained(folder, decoder=str(tmp_path / "small"))


def test_another_vae_replaces_the_models_own(folder, tmp_path):
    torch.manual_seed(9)
    small_autoencoder().save_pretrained(tmp_path / "vae")
    other = AmodalPipeline.from_pretrained(folder, vae=str(tmp_path / "vae"), **QUICK)
    assert not np.array_equal(painted(other), painted(AmodalPipeline.from_pretrained(folder, **QUICK)))


def test_tiling_is_asked_of_the_vae(folder):
    assert AmodalPipeline.from_pretrained(folder, vae_tiling=True).backend.autoencoder.vae.use_tiling
    assert not AmodalPipeline.from_pretrained(folder).backend.autoencoder.vae.use_tiling


def test_the_scheduler_can_be_spaced_for_few_steps(folder):
    leading = AmodalPipeline.from_pretrained(folder).backend.schedule(4)
    trailing = AmodalPipeline.from_pretrained(folder, scheduler={"timestep_spacing": "trailing"}).backend.schedule(4)
    assert [int(leading.timestep(k)) for k in range(4)] == [751, 501, 251, 1]
    assert [int(trailing.timestep(k)) for k in range(4)] == [999, 749, 499, 249]


def test_only_sdxls_vae_is_upcast_from_half_precision(tmp_path):
    """Its original weights overflow in float16; diffusers writes the flag into every AutoencoderKL."""
    for name, build, expected in (
        ("sdxl", save_sdxl, torch.float32),
        ("sd", save_stable_diffusion, torch.float16),
        ("flux", save_flux, torch.float16),
    ):
        backend = AmodalPipeline.from_pretrained(build(tmp_path / name), dtype="float16").backend
        assert backend.autoencoder.vae.config.force_upcast and backend.autoencoder.vae.dtype == expected
        assert backend.dtype == torch.float16 and backend.encode(torch.zeros(1, 3, 32, 32)).dtype == torch.float16


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("build", [save_stable_diffusion, save_sdxl, save_flux])
def test_half_precision_completes(tmp_path, build, dtype):
    half = AmodalPipeline.from_pretrained(build(tmp_path), dtype=dtype, **QUICK)
    full = AmodalPipeline.from_pretrained(tmp_path, **QUICK)
    assert half.backend.dtype == getattr(torch, dtype)
    assert np.abs(painted(half) - painted(full)).mean() < 8


# --- adapters --------------------------------------------------------------------------------------------


def adapter(path, prefix, target, weight, rank=2):
    """A LoRA file for one linear layer, and what it adds to the layer's weight."""
    torch.manual_seed(3)
    down, up = torch.randn(rank, weight.shape[1]), torch.randn(weight.shape[0], rank)
    save_file({f"{prefix}.{target}.lora_A.weight": down, f"{prefix}.{target}.lora_B.weight": up}, path)
    return up @ down


@pytest.mark.parametrize(
    ("build", "prefix", "target"),
    [
        (save_stable_diffusion, "unet", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"),
        (save_sdxl, "unet", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"),
        (save_flux, "transformer", "transformer_blocks.0.attn.to_q"),
    ],
)
def test_an_adapter_is_merged_into_the_weights(tmp_path, build, prefix, target):
    folder = build(tmp_path / "model")
    before = dict(AmodalPipeline.from_pretrained(folder).backend.denoiser.state_dict())
    added = adapter(tmp_path / "few_steps.safetensors", prefix, target, before[f"{target}.weight"])
    for place in (tmp_path / "few_steps.safetensors", tmp_path):
        after = AmodalPipeline.from_pretrained(folder, lora=str(place)).backend.denoiser.state_dict()
        assert after.keys() == before.keys(), "no adapter layers stay behind"
        torch.testing.assert_close(after[f"{target}.weight"], before[f"{target}.weight"] + added, atol=1e-5, rtol=1e-5)
        changed = [key for key in before if not torch.equal(before[key], after[key])]
        assert changed == [f"{target}.weight"]


def test_an_adapter_for_another_network_is_named(folder, tmp_path):
    path = tmp_path / "flux.safetensors"
    adapter(path, "transformer", "transformer_blocks.0.attn.to_q", torch.zeros(16, 16))
    with pytest.raises(ModelError, match=r"flux.safetensors: does not fit UNet2DConditionModel"):
        AmodalPipeline.from_pretrained(folder, lora=str(path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"empty: expected one \*.safetensors file, found none"):
        AmodalPipeline.from_pretrained(folder, lora=str(tmp_path / "empty"))


# --- 8 bits and compilation ------------------------------------------------------------------------------


@pytest.mark.skipif(TORCHAO, reason="torchao is installed")
def test_quantization_without_its_package_says_what_to_install(tmp_path):
    with pytest.raises(ModelError, match="quantize: int8 needs the package torchao: pip install torchao"):
        AmodalPipeline.from_pretrained(save_flux(tmp_path), quantize="int8")


@pytest.mark.skipif(not TORCHAO, reason="torchao is not installed")
@pytest.mark.parametrize("kind", ["int8", "fp8"])
@pytest.mark.parametrize("build", [save_flux, save_sdxl, save_stable_diffusion])
def test_quantized_weights_take_a_byte_each_and_paint_alike(tmp_path, build, kind):
    plain = AmodalPipeline.from_pretrained(build(tmp_path), **QUICK)
    small = AmodalPipeline.from_pretrained(tmp_path, quantize=kind, **QUICK)
    assert eight_bits(small.backend.denoiser) == {"int8": torch.int8, "fp8": torch.float8_e4m3fn}[kind]
    assert not np.array_equal(painted(plain), painted(small)), "rounded"
    assert np.abs(painted(plain) - painted(small)).mean() < 8


def eight_bits(network):
    """The one dtype in which all linear layers are stored, a byte each."""
    weights = [m.weight for m in network.modules() if isinstance(m, torch.nn.Linear)]
    (dtype,) = {weight.qdata.dtype for weight in weights}
    assert dtype.itemsize == 1 and weights
    return dtype


@pytest.mark.skipif(not TORCHAO, reason="torchao is not installed")
def test_an_adapter_is_merged_before_the_weights_are_quantized(folder, tmp_path):
    target = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    before = AmodalPipeline.from_pretrained(folder).backend.denoiser.get_submodule(target).weight
    added = adapter(tmp_path / "few.safetensors", "unet", target, before)
    both = AmodalPipeline.from_pretrained(folder, lora=str(tmp_path / "few.safetensors"), quantize="int8", **QUICK)
    assert eight_bits(both.backend.denoiser) == torch.int8
    stored = both.backend.denoiser.get_submodule(target).weight.dequantize()
    torch.testing.assert_close(stored, before + added, atol=0.05, rtol=0.05)
    painted(both)


def test_compiling_ends_warmed_up(folder, monkeypatch):
    """Every batch size has been through the compiled denoiser before the first call."""
    sizes = []

    def compile_(self, **options):
        self.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))

    monkeypatch.setattr(torch.nn.Module, "compile", compile_)
    AmodalPipeline.from_pretrained(folder, compile=True, max_batch=5)
    assert sizes == [2, 4, 6, 8, 10], "both halves of Eq. 11 for one to five objects"


@pytest.mark.parametrize("said", ["", f"{tempfile.gettempdir()}/torchinductor_somebody", "/elsewhere"])
def test_what_was_compiled_outlives_a_restart(folder, monkeypatch, tmp_path, said):
    """PyTorch itself writes a folder that every boot empties into the environment, before it compiles anything."""
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **options: None)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", said)
    AmodalPipeline.from_pretrained(folder, compile=True, max_batch=1)
    kept = said if said == "/elsewhere" else str(tmp_path / "amodal_ros" / "compiled")
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == kept


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"quantize": "int4"}, "quantize: expected one of '', 'int8', 'fp8', got 'int4'"),
        ({"compile": "yes"}, "compile: expected bool, got 'yes'"),
        ({"speed": 1}, "unknown switch 'speed'; there are compile, decoder"),
    ],
)
def test_a_bad_switch_is_named(switches, message):
    with pytest.raises(ValueError, match=message):
        Switches().replace(**switches)


# --- devices ---------------------------------------------------------------------------------------------


def test_a_dtype_that_the_device_lacks_is_named():
    with pytest.raises(ValueError, match="dtype: expected float32, float16 or bfloat16, got 'int8'"):
        choose_dtype("int8", CPU)
    assert choose_dtype(None, CPU, "float16") == torch.float32 and choose_dtype("bfloat16", CPU) == torch.bfloat16


@pytest.mark.parametrize(
    ("flags", "expected"),
    [({"avx512_bf16"}, torch.bfloat16), ({"amx_bf16"}, torch.bfloat16), ({"avx512f"}, torch.float32)],
)
def test_a_profile_gets_bfloat16_only_where_the_cpu_multiplies_it(monkeypatch, flags, expected):
    monkeypatch.setattr("amodal_ros.completion.device._cpu_flags", lambda: frozenset(flags))
    assert choose_dtype(None, CPU, on_cpu="bfloat16") == expected
    assert choose_dtype("bfloat16", CPU, on_cpu="bfloat16") == torch.bfloat16, "asked for is taken"
    assert choose_dtype("float32", CPU, on_cpu="bfloat16") == torch.float32


def test_a_dtype_is_tried_on_the_device(monkeypatch):
    def conv2d(pixels, weights):
        raise RuntimeError("\"slow_conv2d_cpu\" not implemented for 'Half'")

    monkeypatch.setattr(torch.nn.functional, "conv2d", conv2d)
    with pytest.raises(ValueError, match=r"dtype: cpu does not compute in torch\.float16; choose float32"):
        choose_dtype("float16", CPU)


def test_a_device_that_is_not_there_is_named(folder):
    missing = f"cuda:{torch.cuda.device_count()}"
    for device in (missing, "toaster"):
        with pytest.raises(ValueError, match=f"device: expected one of this machine, got '{device}'"):
            choose_device(device)
    with pytest.raises(ValueError, match="device: expected one of this machine"):
        AmodalPipeline.from_pretrained(folder, device=missing)


# --- out of memory ---------------------------------------------------------------------------------------


class Small:
    """A denoiser's memory: more rows than it holds at once are out of memory."""

    def __init__(self, pipeline, monkeypatch, rows):
        self.batches = []
        predict = pipeline.backend.predict

        def limited(z, timestep, conditioning):
            if len(z) > rows:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            self.batches.append(len(z) // 2)
            return predict(z, timestep, conditioning)

        monkeypatch.setattr(pipeline.backend, "predict", limited)


def objects(count):
    image, disc, _ = scene_of_two()
    return image, [np.roll(disc, 5 * k, 1) for k in range(count)]


def test_a_batch_that_does_not_fit_is_halved_and_remembered(folder, monkeypatch, caplog):
    pipeline = AmodalPipeline.from_pretrained(folder, occluders="off", **QUICK)
    image, masks = objects(7)
    want = pipeline.complete(image, masks)
    memory = Small(pipeline, monkeypatch, rows=2)
    progress = []
    with caplog.at_level(logging.WARNING):
        got = pipeline.complete(image, masks, max_batch=7, progress=lambda *p: progress.append(p))
    assert pipeline.batch_limit == 1 and memory.batches == [1] * 14
    assert [r.source for r in got] == [Source.INFERRED] * 7
    assert all(a.amodal.iou(b.amodal) > 0.98 for a, b in zip(got, want))
    assert "7 objects at once do not fit into memory" in caplog.text and "going on with 3" in caplog.text
    assert "going on with 1" in caplog.text and "GiB" in caplog.text
    assert progress[-1][0] == progress[-1][1] - 1, "progress ends where it said it would"

    caplog.clear()
    memory.batches.clear()
    pipeline.complete(image, masks, max_batch=7)
    assert set(memory.batches) == {1} and not caplog.text, "the limit is remembered"


def test_a_moment_without_memory_is_forgotten(folder, monkeypatch):
    pipeline = AmodalPipeline.from_pretrained(folder, occluders="off", **QUICK)
    image, masks = objects(4)
    with monkeypatch.context() as moment:
        Small(pipeline, moment, rows=4)
        pipeline.complete(image, masks, max_batch=4)
    assert pipeline.batch_limit == 2
    for _ in range(16):  # two full batches each
        pipeline.complete(image, masks, max_batch=4)
    assert pipeline.batch_limit is None
    memory = Small(pipeline, monkeypatch, rows=8)
    pipeline.complete(image, masks, max_batch=4)
    assert set(memory.batches) == {4}


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "MPS backend out of memory (MPS allocated: 17.50 GB, other allocations: 400.00 MB)",
        "[enforce fail at alloc_cpu.cpp:114] DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_every_librarys_words_for_no_memory_are_understood(words):
    assert is_out_of_memory(RuntimeError(words)) and not is_out_of_memory(ValueError(words))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


def test_less_than_one_object_is_a_clear_error(folder, monkeypatch, caplog):
    pipeline = AmodalPipeline.from_pretrained(folder, occluders="off", **QUICK)
    Small(pipeline, monkeypatch, rows=1)
    image, masks = objects(2)
    with pytest.raises(ModelError, match=r"one object at 32 px does not fit into memory \(peak .* GiB, free .* GiB"):
        pipeline.complete(image, masks)
    skipped = pipeline.complete(image, masks, on_error="skip")
    assert [r.source for r in skipped] == [Source.VISIBLE_ONLY] * 2 and "does not fit" in caplog.text


def test_a_cpu_that_runs_out_is_understood_too(folder, monkeypatch):
    pipeline = AmodalPipeline.from_pretrained(folder, occluders="off", **QUICK)
    segment = pipeline.segmenter.segment

    def limited(images, points, labels):
        if len(images) > 2:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return segment(images, points, labels)

    monkeypatch.setattr(pipeline.segmenter, "segment", limited)
    image, masks = objects(4)
    assert [r.source for r in pipeline.complete(image, masks)] == [Source.INFERRED] * 4 and pipeline.batch_limit == 2


def test_a_model_that_does_not_fit_says_so(folder, monkeypatch):
    def no_memory(*args, **options):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("amodal_ros.completion.pipeline.load_segmenter", no_memory)
    with pytest.raises(ModelError, match=rf"{folder.name}: does not fit into memory \(peak"):
        AmodalPipeline.from_pretrained(folder)
