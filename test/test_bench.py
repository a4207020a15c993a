"""`amodal bench`: what it counts against formulas of its own, what it times, what it prints."""

import json
import time

import pytest
import torch
from builders import save_flux, save_sam2, save_sdxl, save_stable_diffusion, scene_of_two
from diffusers.models.attention_processor import Attention

from amodal_ros.cli import main
from amodal_ros.completion import AmodalPipeline
from amodal_ros.lab.bench.work import Meter, counted, matrix_peak, text_encoders

CPU = torch.device("cpu")
ROWS = ["VAE encode", "denoiser", "VAE decode", "segmenter encoder", "segmenter decoder"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    torch.set_num_threads(1)
    return save_stable_diffusion(tmp_path_factory.mktemp("models") / "street")


def by_hand(network, call):
    """Operations of a network's convolutions, linear layers and attention, from the shapes that pass them."""
    total = []

    def layer(module, args, out):
        inputs = module.weight[0].numel() if isinstance(module, torch.nn.Conv2d) else module.in_features
        total.append(2 * out.numel() * inputs)

    def attention(module, args, options, out):
        x, context = args[0], options.get("encoder_hidden_states")
        batch, queries = x.shape[:2] if x.ndim == 3 else (x.shape[0], x[0, 0].numel())
        keys = queries if context is None else context.shape[1]
        total.append(2 * 2 * batch * queries * keys * module.to_q.out_features)

    hooks = []
    for module in network.modules():
        if isinstance(module, (torch.nn.Linear, torch.nn.Conv2d)):
            hooks.append(module.register_forward_hook(layer))
        if isinstance(module, Attention):
            hooks.append(module.register_forward_hook(attention, with_kwargs=True))
    call()
    for hook in hooks:
        hook.remove()
    return sum(total)


@pytest.mark.parametrize("build", [save_stable_diffusion, save_sdxl])
def test_operations_are_those_of_the_layers(tmp_path, build):
    pipeline = AmodalPipeline.from_pretrained(build(tmp_path), steps=3, guidance=0.5)
    backend, vae = pipeline.backend, pipeline.backend.autoencoder.vae
    image, z = torch.zeros(1, 3, 32, 32), torch.zeros(1, *backend.latent_shape)
    known = backend.mask_conditioning(image[:, :1], z)
    pair = torch.cat([z, z]), backend.schedule(3).timestep(0), torch.cat([known, known])
    want = {
        "VAE encode": 2 * by_hand(vae, lambda: backend.encode(image)),  # x, and x outside M
        "denoiser": 3 * by_hand(backend.unet, lambda: backend.predict(*pair)),
        "VAE decode": by_hand(vae, lambda: backend.decode(z)),
    }
    got = {network.name: network for network in counted(pipeline)}
    assert list(got) == ROWS and [n.calls for n in got.values()] == [2, 3, 1, 1, 1]
    assert {name: got[name].flops for name in want} == want
    assert got["segmenter encoder"].flops > 0 and got["segmenter decoder"].flops > 0


def test_what_a_call_does_is_what_was_counted(folder):
    """One object of several, with samples and without Eq. 11's second half."""
    pipeline = AmodalPipeline.from_pretrained(folder, steps=2, guidance=0.0, samples=2, occluders="off")
    image, disc, box = scene_of_two()
    with Meter(pipeline).watching(count=True) as networks:
        pipeline.complete(image, [disc, box])
    for each, once in zip(networks.values(), counted(pipeline)):
        assert each.flops == pytest.approx(2 * once.flops, rel=0.01), each.name  # some are done once per batch
    assert "predict" not in vars(pipeline.backend), "the pipeline is as it was"


@pytest.mark.parametrize("build", [save_stable_diffusion, save_sam2])
def test_a_network_within_another_counts_for_itself(tmp_path, build, folder):
    other = {"segmenter": build(tmp_path)} if build is save_sam2 else {}
    pipeline = AmodalPipeline.from_pretrained(folder, steps=1, occluders="off", **other)
    encoder = pipeline.segmenter.model.vision_encoder
    forward = type(encoder).forward
    encoder.forward = lambda *args, **options: time.sleep(0.2) or forward(encoder, *args, **options)
    image, disc, _ = scene_of_two()
    started = time.perf_counter()
    with Meter(pipeline).watching() as networks:
        pipeline.complete(image, [disc])
    whole = time.perf_counter() - started
    assert 0.2 < networks["segmenter encoder"].seconds < whole
    assert sum(network.seconds for network in networks.values()) <= whole
    assert all(network.calls for network in networks.values())


def test_the_matrix_peak_is_above_one_product(monkeypatch):
    monkeypatch.setattr("amodal_ros.lab.bench.work.SIDES", {"cpu": (64, 256)})
    monkeypatch.setattr("amodal_ros.lab.bench.work.PROBE", 0.01)
    a = torch.randn(256, 256)
    a @ a
    started = time.perf_counter()
    for _ in range(3):
        a @ a
    once = 3 * 2 * 256**3 / (time.perf_counter() - started)
    assert matrix_peak(CPU, torch.float32) > 0.2 * once


@pytest.mark.parametrize("build", [save_stable_diffusion, save_sdxl, save_flux])
def test_the_table_and_the_json_say_the_same(tmp_path, build, capsys, monkeypatch):
    monkeypatch.setattr("amodal_ros.lab.bench.work.SIDES", {"cpu": (64,)})
    model = build(tmp_path / "model")
    options = ["--steps", "2", "--repeat", "1", "--batch", "2", "--no-plain", "--json", str(tmp_path / "bench.json")]
    assert main(["bench", str(model), *options]) == 0
    out, report = capsys.readouterr().out, json.loads((tmp_path / "bench.json").read_text())
    (batch,) = report["batches"]
    rows = batch["networks"]
    assert [row["name"] for row in rows] == ROWS
    peak = report["matrix_peak"]["float32"]
    for row in rows:
        assert row["floor_seconds"] == pytest.approx(row["flops"] / peak)
        assert row["share_of_peak"] == pytest.approx(row["flops"] / row["seconds"] / peak)
        (line,) = [line for line in out.splitlines() if line.startswith(row["name"])]
        assert line.split()[-6:][0] == str(row["calls"]) and line.endswith(f"{1e3 * row['floor_seconds']:.2f}")
    assert batch["floor_seconds_per_object"] == pytest.approx(sum(row["floor_seconds"] for row in rows))
    together = next(line for line in out.splitlines() if line.startswith("together"))
    assert f"{sum(row['flops'] for row in rows) / 1e9:,.2f}" in together
    assert "matrix peak, measured now: float32" in out and "embedding is stored" in out


def test_count_needs_no_weights_and_agrees_with_the_run(folder, tmp_path, capsys):
    bare = tmp_path / "bare"
    for path in folder.rglob("*.json"):  # configurations alone
        (bare / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
        (bare / path.relative_to(folder)).write_bytes(path.read_bytes())
    assert main(["bench", str(bare), "--count", "--steps", "2", "--json", str(tmp_path / "count.json")]) == 0
    out, report = capsys.readouterr().out, json.loads((tmp_path / "count.json").read_text())
    pipeline = AmodalPipeline.from_pretrained(folder, steps=2)
    pipeline.backend.prompt["prompt_embeds"] = torch.zeros(1, 77, 8)  # as many tokens as a real one has
    assert [row["flops"] for row in report["networks"]] == [network.flops for network in counted(pipeline)]
    assert "counted, not run" in out and "together" in out and "ms" not in out.split()


def test_text_encoders_are_a_row_where_the_folder_has_them(tmp_path):
    save_sdxl(tmp_path / "two", text_encoders=True)
    figures = text_encoders(tmp_path / "two")
    assert figures["flops"] > 1000 and figures["parameters"] > 1000
    assert text_encoders(save_sdxl(tmp_path / "stored")) is None


def test_bench_of_a_few_step_profile_by_count(capsys):
    """At full size: Stable Diffusion 1.5's UNet is known for 2 * 0.40 TFLOP an evaluation, its decoder for 2 * 1.24."""
    assert main(["bench", "sd15-lcm", "--count"]) == 0
    out = capsys.readouterr().out
    figures = {line[:18].strip(): line[18:].split() for line in out.splitlines()}
    calls, gflop = figures["denoiser"][:2]
    assert calls == "4" and float(gflop.replace(",", "")) / 4 == pytest.approx(803, rel=0.01)
    assert float(figures["VAE decode"][1].replace(",", "")) == pytest.approx(2514, rel=0.01)
    assert "text encoders: 123.1 M" in out
