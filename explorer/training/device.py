"""What to compute on, in what precision, and with how many threads."""

import os
import platform

import torch

from explorer.training.config import Device, Precision


def choose_device(wish: Device = "auto") -> torch.device:
    """The device to compute on; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises ValueError where the wished device is not there.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish == "auto":
        return torch.device(next(name for name, found in there.items() if found))
    if not there[wish]:
        raise ValueError(f'`device` "{wish}" is not available on this machine; use "auto" or "cpu".')
    return torch.device(wish)


def choose_precision(device: torch.device, wish: Precision = "auto") -> torch.dtype:
    """float32 or bfloat16; "auto" takes bfloat16 where it is faster: GPUs that compute in it, processors with AMX,
    and AMD's with AVX-512 BF16.

    Not Intel's with AVX-512 BF16 alone: there a ResNet-20 step was 10 % slower than in float32 (measured, its dot
    product runs at half the rate of float32's). Never float16: plain-56 has been reported to reach NaN in it, and
    bfloat16 has float32's range.
    """
    if wish != "auto":
        return torch.float32 if wish == "float32" else torch.bfloat16
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        fast = able.get("amx_bf16") or (able.get("avx512_bf16") and "AMD" in able.get("cpu_name", ""))
        return torch.bfloat16 if fast else torch.float32
    return torch.float32


def device_name(device: torch.device) -> str:
    """What a figure says it was measured on: the GPU's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    name = torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine()
    count = torch.get_num_threads()
    return f"CPU ({name}, {count} thread{'' if count == 1 else 's'})"


def use_threads(count: int | None = None) -> None:
    """By default one thread less than there are cores, and no more than OMP_NUM_THREADS allows.

    The threads of one operation wait for each other, so with one on every core all wait whenever another process
    runs: two busy torch threads beside a process on 2 cores took 3.1 s for a training step of 0.11 s.
    """
    if count is not None and not 1 <= count <= 1024:
        raise ValueError(f"the number of threads must be a whole number from 1 to 1024, received {count}.")
    torch.set_num_threads(count or min(torch.get_num_threads(), max(1, (os.cpu_count() or 1) - 1)))
