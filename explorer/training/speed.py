"""How fast this machine trains: what a forecast of the time is made from."""

import os
import time

import torch
import torch.nn.functional as F

from explorer.architectures import Stage, Stem, build, describe
from explorer.architectures.spec import ArchitectureSpec
from explorer.training.device import choose_device

_REFERENCE = ArchitectureSpec((Stage(2, 16), Stage(2, 32, 2), Stage(2, 64, 2)), stem=Stem(16))
_BATCH = 32


def training_speed(seconds: float = 0.4) -> float:
    """Multiply-accumulates of the forward pass that a training gets through in a second, measured for `seconds` on a
    ResNet-14. A network of m MACs learns from about this / m pictures a second: within a factor of two or so, since
    layers differ in how well they use a processor."""
    device = choose_device()
    network = build(_REFERENCE).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images = torch.zeros(_BATCH, *_REFERENCE.input_shape, device=device).to(memory_format=torch.channels_last)
    labels = torch.zeros(_BATCH, dtype=torch.long, device=device)
    steps, started = -1, 0.0  # the first step warms up
    while steps < 1 or time.perf_counter() - started < seconds:
        loss = F.cross_entropy(network(images), labels)
        torch.autograd.grad(loss, list(network.parameters()))
        loss.item()  # waits for a GPU
        steps += 1
        if steps == 0:
            started = time.perf_counter()
    elapsed = time.perf_counter() - started
    # A training has all cores but one; this process may have been given fewer.
    threads = max(1, (os.cpu_count() or 1) - 1) / torch.get_num_threads() if device.type == "cpu" else 1.0
    return steps * _BATCH * describe(_REFERENCE).macs / elapsed * max(1.0, threads)


def training_memory(parameters: int, activation_bytes: int, batch_size: int, optimizer: str) -> int:
    """About how many bytes a training step of one network needs: weights, gradients, the optimiser's moments, and
    the outputs of all layers for one batch, which wait for the backward pass."""
    copies = 4 if optimizer == "adam" else 3
    return 4 * copies * parameters + activation_bytes * batch_size
