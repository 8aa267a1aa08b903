"""The device, the precision and the number of threads to compute with."""

import os
import platform
import time

import torch
import torch.nn.functional as F
from torch import nn

from explorer.machine import cores, idle_cores
from explorer.training.config import Device, Precision

_WITHOUT_BFLOAT16 = ("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
_works: set[str] = set()  # devices that have computed a convolution in this process
_fails: dict[str, tuple[float, str]] = {}  # devices that failed to: when, and why
_TRY_AGAIN_S = 60.0


def choose_device(wish: Device = "auto") -> torch.device:
    """The device to compute on; "auto" is the first of CUDA, Apple's MPS and the CPU that computes a small convolution
    forward and back.

    Raises ValueError with the reason where the wished device cannot be used.
    """
    if wish == "auto":
        return torch.device(next((name for name in ("cuda", "mps") if _problem(name) is None), "cpu"))
    problem = _problem(wish)
    if problem is not None:
        raise ValueError(f'`device` "{wish}" is not available on this machine{problem}; use "auto" or "cpu".')
    return torch.device(wish)


def memory_format(network: nn.Module) -> torch.memory_format:
    """The layout in which the weights of that network and its batches are trained.

    It is `channels_last`, in which convolutions of a CPU are faster, or `contiguous_format` for a network with a 1×1
    convolution of a larger stride and fewer than 8 input channels: there oneDNN's weight gradient writes beyond its
    memory and the process dies (torch 2.14.1 on a CPU with AVX2 alone).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and max(module.stride) > 1:
            if module.in_channels // module.groups < 8:
                return torch.contiguous_format
    return torch.channels_last


def unused_device() -> str:
    """Why "auto" does not use a GPU that is there, as one sentence; empty where it does, or where there is none."""
    for name, title in (("cuda", "GPU"), ("mps", "Apple GPU")):
        problem = _problem(name)
        if problem is None:
            return ""
        if problem:
            return f"The {title} of this machine is not used{problem}; the CPU computes instead."
    return ""


def _problem(name: str) -> str | None:
    """None where the device computes, "" where there is none, else ": " and the reason in one line.

    An old GPU passes `is_available()` and has no kernels in this torch: only a computation shows it.
    """
    if name == "cpu" or name in _works:
        return None
    if not (torch.cuda.is_available() if name == "cuda" else torch.backends.mps.is_available()):
        return ""
    if name in _fails and time.monotonic() - _fails[name][0] < _TRY_AGAIN_S:
        return _fails[name][1]
    try:
        images = torch.ones(2, 3, 8, 8, device=name, requires_grad=True)
        weights = torch.ones(4, 3, 3, 3, device=name, requires_grad=True)
        loss = F.conv2d(images, weights, padding=1).sum()
        gradients = torch.autograd.grad(loss, [images, weights])
        sum(gradient.sum() for gradient in gradients).item()  # type: ignore[union-attr]  # waits for the device
    except Exception as error:  # drivers and builds of torch raise many kinds
        lines = str(error).strip().splitlines() or [type(error).__name__]
        _fails[name] = time.monotonic(), f": {lines[0][:150].rstrip('.')}"
        return _fails[name][1]
    _works.add(name)
    return None


def choose_precision(device: torch.device, wish: Precision = "auto") -> torch.dtype:
    """float32 or bfloat16; "auto" takes bfloat16 where it is faster: GPUs that compute in it, processors with AMX,
    and AMD's with AVX-512 BF16.

    Intel's with AVX-512 BF16 alone are slower in it than in float32, and so is oneDNN where ONEDNN_MAX_CPU_ISA excludes
    these instructions. float16 lacks the range of float32. Figures: docs/decisions/2026-11-22-bfloat16.md.
    """
    if wish != "auto":
        return torch.float32 if wish == "float32" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        fast = able.get("amx_bf16") or (able.get("avx512_bf16") and "AMD" in able.get("cpu_name", ""))
        fast = fast and os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() not in _WITHOUT_BFLOAT16
        return torch.bfloat16 if fast else torch.float32
    return torch.float32


def device_name(device: torch.device, threads: int | None = None) -> str:
    """The GPU's name, or the processor's with the threads of each network, as measured figures carry it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    name = torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine()
    count = threads or torch.get_num_threads()
    return f"CPU ({name}, {count} thread{'' if count == 1 else 's'})"


def use_threads(count: int | None = None) -> None:
    """Sets the number of torch's threads: `count`, by default one for each core that this process may use and that is
    idle now, and no more than OMP_NUM_THREADS allows. Raises ValueError for a count that is not in 1..1024.

    More threads than idle cores slow every step, since the threads of one operation wait for each other
    (docs/decisions/2026-11-22-threads.md).
    """
    if count is not None and not 1 <= count <= 1024:
        raise ValueError(f"the number of threads must be a whole number from 1 to 1024, received {count}.")
    most = min(torch.get_num_threads(), cores())
    if count is None and most > 1:
        most = max(1, min(most, int(min(idle_cores(), most) + 0.35)))
    torch.set_num_threads(count or most)
