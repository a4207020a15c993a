"""Full-size architectures with random weights: parameters, memory, and some denoising steps at the native latent size.

Denoising alone, without autoencoder and segmenter, so that it ends on a CPU.

    PYTHONPATH=. ./env python -m benchmarks.full_size sdxl
"""

from __future__ import annotations

import argparse
import time

import torch

from amodal_ros.completion.device import choose_device, choose_dtype, peak_bytes
from amodal_ros.completion.sampler import guided_prediction
from amodal_ros.lab.bench.random_weights import random_pipeline
from amodal_ros.models import load_profile


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="profile")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--device")
    parser.add_argument("--dtype", default="bfloat16")
    args = parser.parse_args()

    device = choose_device(args.device)
    started = time.perf_counter()
    pipeline = random_pipeline(load_profile(args.model), device, choose_dtype(args.dtype, device))
    backend = pipeline.backend
    print(
        f"{args.model}: built in {time.perf_counter() - started:.0f} s, {args.dtype} on {device}, {torch.__version__}"
    )
    networks = {"denoiser": backend.denoiser, "vae": backend.autoencoder.vae, "segmenter": pipeline.segmenter.model}
    for name, network in networks.items():
        count = sum(p.numel() for p in network.parameters())
        size = sum(p.numel() * p.element_size() for p in network.parameters())
        print(f"  {name}: {count / 1e6:,.1f} M parameters, {size / 2**30:.2f} GiB")
    print(f"  latents {backend.latent_shape}; peak after building {peak_bytes(device) / 2**30:.2f} GiB")
    denoise(backend, args.steps, pipeline.settings.guidance)
    print(f"  peak {peak_bytes(device) / 2**30:.2f} GiB")


@torch.inference_mode()
def denoise(backend, steps: int, w: float) -> None:
    """The first steps of twenty, with Eq. 11's two evaluations each."""
    schedule = backend.schedule(20)
    z = torch.randn(1, *backend.latent_shape, device=backend.device, dtype=backend.dtype)
    known = empty = None
    if backend.has_mask_input:
        shape = {"flux": (1, z[0, 0].numel() // 4, backend.denoiser.config.in_channels - 4 * z.shape[1])}
        extra = backend.denoiser.config.in_channels - z.shape[1]
        shape = shape.get(backend.family, (1, extra, *z.shape[2:]))
        known, empty = torch.randn(2, *shape, device=backend.device, dtype=backend.dtype)
    for step in range(steps):
        started = time.perf_counter()
        prediction = guided_prediction(backend, z, schedule.timestep(step), known, empty, w)
        z, _ = schedule.step(prediction, step, z)
        z = z.to(backend.dtype)
        finite = bool(torch.isfinite(z).all())  # also waits for a GPU
        print(f"  step {step + 1}: {time.perf_counter() - started:.1f} s, output {tuple(z.shape)}, finite: {finite}")


if __name__ == "__main__":
    main()
