"""A pipeline's speed, memory and arithmetic, as figures."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity

from amodal_ros.completion.device import peak_bytes, reset_peak
from amodal_ros.lab.bench.work import Meter, Network, counted, matrix_peak, parameters, seconds, text_encoders

#: Side of the made-up frame and of its objects in pixels; crops bring both to the model's resolution.
FRAME, OBJECT = 256, 64


def about(pipeline: Any, folder: Path) -> dict[str, Any]:
    """What is measured.

    Args:
        folder: what the pipeline, or its architecture, was read from.
    """
    backend, settings = pipeline.backend, pipeline.settings
    sampling, autoencoder = settings.sampling, backend.autoencoder
    decoder = {} if autoencoder.decoder is autoencoder.vae else {"decoder": parameters(autoencoder.decoder)}
    return {
        "machine": _machine(backend.device),
        "device": str(backend.device),
        "dtype": _name(backend.dtype),
        "resolution": backend.resolution,
        "reading": settings.reading.name,
        "steps": sampling.steps - settings.reading.first_step(sampling.steps),
        "samples": sampling.samples,
        "evaluations_per_step": 2 if _doubled(pipeline) else 1,
        "parameters": {
            "denoiser": parameters(backend.denoiser),
            "vae": parameters(autoencoder.vae),
            **decoder,
            "segmenter": parameters(pipeline.segmenter.model),
        },
        "text_encoders": text_encoders(folder),
    }


def bench(pipeline: Any, batches: list[int], repeat: int, plain: bool = True) -> dict[str, Any]:
    """Seconds per object and peak memory at several batch sizes, the fastest of `repeat` calls each; and what the
    networks take of it, beside the device's matrix peak."""
    backend, sampling = pipeline.backend, pipeline.settings.sampling
    networks = {network.name: network for network in counted(pipeline)}
    peaks = {dtype: matrix_peak(backend.device, dtype) for dtype in {n.dtype for n in networks.values()}}
    report: dict[str, Any] = {
        "matrix_peak": {_name(dtype): peak for dtype, peak in peaks.items()},
        "batches": [_batch(pipeline, size, repeat, networks, peaks) for size in batches],
    }
    if plain:
        from amodal_ros.lab.bench.diffusers_call import plain_call

        call, how = plain_call(backend, sampling.steps, _doubled(pipeline))
        report["plain"] = {"evaluations": how, **_measured(call, repeat, backend.device)}
        report["plain"]["seconds"] *= sampling.samples  # one picture for each
    return report


def counts(pipeline: Any) -> list[dict[str, Any]]:
    """The networks' operations for one object, without computing anything where the pipeline has no weights."""
    return [_row(network) for network in counted(pipeline)]


def _batch(
    pipeline: Any, size: int, repeat: int, networks: Mapping[str, Network], peaks: Mapping[torch.dtype, float]
) -> dict[str, Any]:
    image, masks = made_up_scene(size)

    def complete() -> Any:
        return pipeline.complete(image, masks, occluders="off", max_batch=size)

    whole = _measured(complete, repeat, pipeline.backend.device)
    meter, runs = Meter(pipeline), []
    for _ in range(repeat):  # apart from the whole: on a GPU every network is waited for here
        with meter.watching() as timed:
            complete()
        runs.append(timed)
    rows = [
        _row(
            dataclasses.replace(network, seconds=min(timed[name].seconds for timed in runs) / size),
            peaks[network.dtype],
        )
        for name, network in networks.items()
    ]
    return {
        "objects": size,
        "fit": pipeline.batch_limit is None or size <= pipeline.batch_limit,
        "seconds_per_object": whole["seconds"] / size,
        "segmenter_seconds_per_object": sum(row["seconds"] for row in rows if "segmenter" in row["name"]),
        "floor_seconds_per_object": sum(row["floor_seconds"] for row in rows),
        "peak_bytes": whole["peak_bytes"],
        "networks": rows,
    }


def _row(network: Network, peak: float | None = None) -> dict[str, Any]:
    """A network's figures per object, for JSON."""
    row: dict[str, Any] = {"name": network.name, "calls": network.calls, "flops": network.flops}
    row["dtype"] = _name(network.dtype)
    if peak is None:
        return row
    speed = network.flops / network.seconds if network.seconds else 0.0
    reached = {"flops_per_second": speed, "share_of_peak": speed / peak, "floor_seconds": network.flops / peak}
    return {**row, "seconds": network.seconds, **reached}


def made_up_scene(objects: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """A noise image and as many visible masks, one of which is never judged unoccluded."""
    image = np.random.default_rng(0).integers(0, 256, (FRAME, FRAME, 3), dtype=np.uint8)
    masks = []
    for k in range(objects):
        mask = np.zeros((FRAME, FRAME), bool)
        x, y = 24 * (k % 8), 48 * (k // 8 % 4)
        mask[y : y + OBJECT, x : x + OBJECT] = True
        masks.append(mask)
    return image, masks


def profile(pipeline: Any, objects: int) -> str:
    """The ten operators that most time goes to, for one call."""
    image, masks = made_up_scene(objects)
    cuda = pipeline.backend.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with torch.profiler.profile(activities=activities) as profiler:
        pipeline.complete(image, masks, occluders="off", max_batch=objects)
    key = "self_cuda_time_total" if cuda else "self_cpu_time_total"
    return profiler.key_averages().table(sort_by=key, row_limit=10, max_name_column_width=40)


def _measured(call: Callable[[], Any], repeat: int, device: torch.device) -> dict[str, Any]:
    """The fastest of some calls after one that does not count, and the most memory that any took."""
    reset_peak(device)
    seconds(call, device)
    return {"seconds": min(seconds(call, device) for _ in range(repeat)), "peak_bytes": peak_bytes(device)}


def _doubled(pipeline: Any) -> bool:
    """Whether Eq. 11 asks for two evaluations per step."""
    return pipeline.backend.has_mask_input and pipeline.settings.sampling.guidance > 0


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _machine(device: torch.device) -> str:
    if device.type == "meta":
        return "counted, not run"
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{torch.get_num_threads()} threads of {names[0] if names else platform.machine()}"
