"""Where a completion's arithmetic goes: operations and seconds of every network, the device's measured matrix peak, and
the floor that follows: the seconds below which no better schedule, compiler or batch gets that arithmetic."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop

from amodal_ros.completion import AmodalPipeline
from amodal_ros.completion.backends.prompt import PROMPT_FILE
from amodal_ros.completion.sampler import inpaint, renewals
from amodal_ros.models.layout import read_json

#: Attention on a CPU, which the counter of PyTorch does not know.
_ATTENTION = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda query, key, value, *rest, out_shape=None, **options: sdpa_flop(query, key, value)
    )
}
#: Sides of the square matrices that are multiplied, and the seconds for which each is.
SIDES, PROBE = {"cuda": (2048, 4096, 8192), "cpu": (512, 1024, 2048)}, 0.15


@dataclass
class Network:
    """What one network did.

    Attributes:
        calls: how often it was asked.
        flops: its operations, a multiplication and an addition counting as two; matrices, convolutions and attention.
        seconds: how long it took.
    """

    name: str
    dtype: torch.dtype
    calls: int = 0
    flops: int = 0
    seconds: float = 0.0


class Meter:
    """Counts and times the networks of a pipeline while it is used.

    A network within another (the segmenter's encoder) counts for itself.
    """

    def __init__(self, pipeline: AmodalPipeline) -> None:
        self._device = pipeline.backend.device
        self._parts = _parts(pipeline)
        self._denoiser = pipeline.backend.denoiser  # type: ignore[attr-defined]
        self._running: list[list[float]] = []  # of every call under way: seconds and operations of calls within it

    @contextmanager
    def watching(self, count: bool = False) -> Iterator[dict[str, Network]]:
        """The networks, filled in while the pipeline is used inside the context.

        Args:
            count: count operations, too, which is slow and leaves compiled code out of use.
        """
        networks = {name: Network(name, dtype) for name, (_, _, dtype) in self._parts.items()}
        counter = FlopCounterMode(display=False, custom_mapping=_ATTENTION) if count else None
        before = {name: vars(owner).get(method) for name, (owner, method, _) in self._parts.items()}
        for name, (owner, method, _) in self._parts.items():
            setattr(owner, method, self._metered(networks[name], getattr(owner, method), counter))
        try:
            if counter is None:
                yield networks
            else:
                with self._eager(), counter:
                    yield networks
        finally:
            for name, (owner, method, _) in self._parts.items():
                delattr(owner, method)
                if before[name] is not None:
                    setattr(owner, method, before[name])

    def _eager(self) -> Any:
        """Compiled code runs past the counter. Only where there is some: the compiler takes seconds to import."""
        compiled = getattr(self._denoiser, "_compiled_call_impl", None) is not None
        return torch.compiler.set_stance("force_eager") if compiled else nullcontext()

    def _metered(self, network: Network, call: Callable, counter: FlopCounterMode | None) -> Callable:
        def state() -> tuple[float, int]:
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            return time.perf_counter(), counter.get_total_flops() if counter is not None else 0

        def metered(*args: Any, **options: Any) -> Any:
            self._running.append([0.0, 0])
            started, done = state()
            try:
                return call(*args, **options)
            finally:
                ended, done_after = state()
                inner = self._running.pop()
                whole = [ended - started, done_after - done]
                network.calls += 1
                network.seconds += whole[0] - inner[0]
                network.flops += int(whole[1] - inner[1])
                if self._running:
                    self._running[-1] = [a + b for a, b in zip(self._running[-1], whole)]

        return metered


def _parts(pipeline: AmodalPipeline) -> dict[str, tuple[Any, str, torch.dtype]]:
    """Of every network the object and method that ask it, and the dtype that it computes in."""
    backend, segmenter = pipeline.backend, pipeline.segmenter
    autoencoder, model = backend.autoencoder, segmenter.model  # type: ignore[attr-defined]
    encoder = model.image_encoder if hasattr(model, "image_encoder") else model.vision_encoder
    dtype = next(model.parameters()).dtype
    return {
        "VAE encode": (autoencoder, "encode", autoencoder.vae.dtype),
        "denoiser": (backend, "predict", backend.dtype),
        "VAE decode": (autoencoder, "decode", autoencoder.decoder.dtype),
        "segmenter encoder": (encoder, "forward", dtype),
        "segmenter decoder": (segmenter, "segment", dtype),
    }


@torch.inference_mode()
def counted(pipeline: AmodalPipeline) -> list[Network]:
    """The networks' operations for one object, also of a pipeline on the device ``meta``, which has no weights and
    computes nothing."""
    backend, settings = pipeline.backend, pipeline.settings
    side, like = backend.resolution, {"device": backend.device, "dtype": backend.dtype}
    image, area = torch.zeros(1, 3, side, side, **like), torch.zeros(1, 1, side, side, **like)
    noises = [torch.zeros(1, *backend.latent_shape, **like) for _ in range(1 + renewals(backend, settings))]
    count = settings.points.positive + settings.points.negative
    points, labels = torch.zeros(1, count, 2), torch.ones(1, count, dtype=torch.int64)
    with Meter(pipeline).watching(count=True) as networks:
        for _ in range(settings.sampling.samples):
            painted = inpaint(backend, image, area, noises[0], settings, fresh=noises[1:])
            pipeline.segmenter.segment(painted, points, labels)
    return list(networks.values())


def matrix_peak(device: torch.device, dtype: torch.dtype) -> float:
    """Operations per second of the quickest matrix product of some sizes, measured now."""
    best = 0.0
    for side in SIDES["cuda" if device.type == "cuda" else "cpu"]:
        a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
        a @ b
        best = max(best, 2 * side**3 / _quickest(partial(torch.matmul, a, b), device))
    return best


def _quickest(call: Callable[[], Any], device: torch.device) -> float:
    """Seconds of the quickest of several calls, for `PROBE` seconds and three calls at least."""
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < PROBE:
        taken.append(seconds(call, device))
    return min(taken)


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    """How long a call takes, with what it has a GPU do."""
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def parameters(module: torch.nn.Module) -> int:
    """The number of a network's weights."""
    return sum(p.numel() for p in module.parameters())


@torch.inference_mode()
def text_encoders(folder: Path) -> dict[str, Any] | None:
    """What the empty prompt takes, once and while loading: operations and parameters of a pipeline folder's text
    encoders, from their configurations. None where its embedding is stored or nothing is known of them."""
    from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel

    classes = {cls.__name__: cls for cls in (CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel)}
    found = sorted(folder.glob("text_encoder*/config.json"))
    if (folder / PROMPT_FILE).is_file() or not found:
        return None
    total = {"flops": 0, "parameters": 0}
    for path in found:
        config = read_json(path)
        cls = classes[config["architectures"][0]]
        with torch.device("meta"):
            model = cls(cls.config_class(**config)).eval()
            tokens = torch.zeros(1, 512 if cls is T5EncoderModel else 77, dtype=torch.int64)
            with FlopCounterMode(display=False) as counter:
                model(tokens)
        total["flops"] += counter.get_total_flops()
        total["parameters"] += parameters(model)
    return total
