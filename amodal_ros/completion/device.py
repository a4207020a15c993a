"""The device: what it can compute, how much memory was taken, and what is left when it does not suffice."""

from __future__ import annotations

import resource

import torch
import torch.nn.functional as F

from amodal_ros.completion.backends.loading import first_line

GIB = 2**30


def choose_device(device: str | torch.device | None = None) -> torch.device:
    """A device that is there; by default a CUDA device if there is one, else the CPU.

    Raises:
        ValueError: no such device.
    """
    try:
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise ValueError(f"device: expected one of this machine, got {str(device)!r}: {first_line(error)}") from None
    return chosen


#: What the kernel calls instructions that multiply bfloat16. Elsewhere it is emulated, slower than float32.
NATIVE_BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16"})


def choose_dtype(
    dtype: str | torch.dtype | None, device: torch.device, on_gpu: str = "float16", on_cpu: str = "float32"
) -> torch.dtype:
    """A dtype that the device computes in; by default `on_gpu` on a GPU.

    On a CPU `on_cpu`, but bfloat16 only where the CPU multiplies it natively: a rule and no race between dtypes at
    start, so that a machine always gives the same mask for the same seed.

    Raises:
        ValueError: another dtype, or one that the device lacks.
    """
    if on_cpu == "bfloat16" and not NATIVE_BFLOAT16 & _cpu_flags():
        on_cpu = "float32"
    named = dtype or (on_gpu if device.type == "cuda" else on_cpu)
    chosen = getattr(torch, named, None) if isinstance(named, str) else named
    if chosen not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"dtype: expected float32, float16 or bfloat16, got {dtype!r}")
    lacks = f"dtype: {device} does not compute in {chosen}; choose float32"
    if device.type == "cuda" and chosen == torch.bfloat16 and not torch.cuda.is_bf16_supported(False):
        raise ValueError(f"{lacks} or float16")  # it would be emulated, many times slower
    try:
        F.conv2d(
            torch.zeros(1, 1, 2, 2, device=device, dtype=chosen), torch.zeros(1, 1, 1, 1, device=device, dtype=chosen)
        )
    except RuntimeError:
        raise ValueError(lacks) from None
    return chosen


#: How allocators and libraries say that memory does not suffice, beside the classes made for it.
NO_MEMORY = (
    "DefaultCPUAllocator",
    "out of memory",  # CUDA, HIP, and MPS
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "unable to find an engine to execute this computation",  # cuDNN without room for any workspace
    "CUSOLVER_STATUS_ALLOC_FAILED",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory does not suffice. Few libraries have a class for it."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or (
        isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    )


def peak_bytes(device: torch.device) -> int:
    """Most memory taken: on a GPU by tensors since `reset_peak`, on a CPU by the process since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def reset_peak(device: torch.device) -> None:
    """Start `peak_bytes` anew, where that is possible: on a GPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def describe(device: torch.device) -> str:
    """Peak and free memory in words."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return f"peak {peak_bytes(device) / GIB:.1f} GiB, free {free / GIB:.1f} of {total / GIB:.1f} GiB on {device}"
    return f"peak {peak_bytes(device) / GIB:.1f} GiB, free {_available() / GIB:.1f} GiB on the CPU"


def _cpu_flags() -> frozenset[str]:
    """What the CPU can do, in the kernel's words; empty where the system does not say."""
    try:
        with open("/proc/cpuinfo") as lines:
            return next((frozenset(line.split()) for line in lines if line.startswith("flags")), frozenset())
    except OSError:
        return frozenset()


def _available() -> int:
    """Bytes that the system can hand out."""
    try:
        with open("/proc/meminfo") as lines:
            fields = dict(line.split(":", 1) for line in lines)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 0
