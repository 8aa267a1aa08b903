"""`fit`: a straight-line training loop that yields its progress and leaves the weights in the network."""

import math
import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import Network
from explorer.datasets import Dataset, Split
from explorer.training.config import Device, Precision, TrainingConfig, learning_rate_at
from explorer.training.record import EpochResult, Evaluation, GradientSizes, Outcome, Progress, TrainingRecord

PADDING = 4  # pixels around a picture before a random crop; He et al. 2015, section 4.2
VERIFY_EVERY = 10  # steps between two looks at whether everything is still finite


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


def is_gradient_step(step: int) -> bool:
    """Whether weight gradients are measured at `step`: 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, ... (two a doubling)."""
    return step < 2 or step & (step - 1) == 0 or (step % 3 == 0 and (step // 3) & (step // 3 - 1) == 0)


def fit(network: Network, dataset: Dataset, config: TrainingConfig, report_every: float = 0.5) -> Iterator[Progress]:
    """Trains `network` in place; yields about every `report_every` seconds, after each epoch, and at the end.

    The whole training split lies on the device as uint8, in the order of the dataset, and is normalised and
    augmented there, batch by batch. Batches and augmentation follow from the seed alone, so twins see the same. On a
    CPU one seed gives the same weights twice. The last `Progress` carries the `TrainingRecord`; the network is then
    on the CPU, in evaluation mode. Closing the generator early leaves the weights of that moment.

    When the loss or a weight is no longer finite, the training ends with outcome "diverged" and the last weights
    that were seen to be finite.

    Raises ValueError where dataset and network do not fit together, or the network is frozen.
    """
    _check_fit(network, dataset, config)
    device = choose_device(config.device)
    dtype = choose_precision(device, config.precision)
    images, labels = _on_device(dataset.train, device)
    mean, std = _statistics(dataset, device)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = torch.compile(network) if config.compile else network
    optimizer = _optimizer(network, config)
    layers = {
        name: module.weight for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
    }
    steps_an_epoch = max(1, len(labels) // config.batch_size)  # the rest of an epoch is left out: equal batches
    batch_size = min(config.batch_size, len(labels))

    outcome: Outcome = "finished"
    step, epoch, fraction = 0, 0, 0.0
    curve: list[EpochResult] = []
    gradient_steps: list[int] = []
    gradient_norms: list[tuple[float, ...]] = []
    finite = _snapshot(network)
    training_seconds, started, reported = 0.0, time.perf_counter(), -math.inf
    while fraction < 1 and outcome == "finished":
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 % 2**62 + epoch)
        order = torch.randperm(len(labels), generator=generator)
        losses: list[Tensor] = []
        hits: list[Tensor] = []
        network.train()
        for index in range(steps_an_epoch):
            tick = time.perf_counter()
            chosen = order[index * batch_size : (index + 1) * batch_size].to(device)
            pixels = images[chosen]  # (B, H, W, 3) uint8
            if config.augment:
                pixels = augment(pixels, generator)
            batch = normalise(pixels, mean, std)  # (B, 3, H, W) float32, channels last
            target = labels[chosen]
            rate = learning_rate_at(config, fraction)
            for group in optimizer.param_groups:
                group["lr"] = rate

            with (
                _seeded_dropout(network, generator, device),
                torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16),
            ):
                logits = forward(batch)
            loss = F.cross_entropy(logits.float(), target, label_smoothing=config.label_smoothing)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if is_gradient_step(step):
                gradient_steps.append(step)
                gradient_norms.append(_norms([weight.grad for weight in layers.values()]))
            if config.clip is not None:
                nn.utils.clip_grad_norm_(network.parameters(), config.clip)
            optimizer.step()

            losses.append(loss.detach())
            hits.append((logits.argmax(1) == target).float().mean())
            step += 1
            training_seconds += time.perf_counter() - tick
            elapsed = time.perf_counter() - started
            done = step / (steps_an_epoch * config.epochs) if config.epochs else elapsed / (config.seconds or 1)
            fraction = min(1.0, done)
            if step % VERIFY_EVERY == 0 or index == steps_an_epoch - 1 or fraction >= 1:
                if _all_finite(network, losses[-VERIFY_EVERY:]):
                    finite = _snapshot(network)
                else:
                    network.load_state_dict(finite)
                    outcome = "diverged"
            if fraction >= 1 or outcome == "diverged":
                break
            if time.perf_counter() - reported > report_every:
                reported = time.perf_counter()
                speed = step * batch_size / training_seconds
                yield Progress(step, epoch, fraction, elapsed, speed, rate, _mean(losses), _mean(hits))
        epoch += 1
        train = Evaluation(_mean(losses), _mean(hits), len(losses) * batch_size)
        validation = (
            evaluate(network, dataset.validation, dataset.mean, dataset.std) if len(dataset.validation) else None
        )
        elapsed = time.perf_counter() - started
        curve.append(EpochResult(step, elapsed, rate, train, validation))
        speed = step * batch_size / training_seconds
        progress = Progress(step, epoch, fraction, elapsed, speed, rate, train.loss, train.accuracy, validation)
        if fraction < 1 and outcome == "finished":
            yield progress
    record = TrainingRecord(
        config=config,
        outcome=outcome,
        steps=step,
        seconds=elapsed,
        images_per_second=speed,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        train_images=len(labels),
        epochs=tuple(curve),
        weight_gradients=GradientSizes(tuple(layers), tuple(gradient_steps), tuple(gradient_norms)),
        device=device_name(device),
        precision=str(dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
        versions={"torch": torch.__version__, "python": platform.python_version()},
    )
    network.to("cpu").eval()
    yield replace(progress, record=record)


@torch.no_grad()
def evaluate(
    network: Network,
    split: Split,
    mean: tuple[float, float, float],
    std: tuple[float, float, float],
    batch_size: int = 500,
) -> Evaluation:
    """Loss and accuracy over all of `split`, in float32 and evaluation mode; leaves the network's mode as it was.

    Raises ValueError for a split without pictures.
    """
    if not len(split):
        raise ValueError("`split` holds no pictures, so there is nothing to evaluate on; choose another split.")
    predictions, losses = [], 0.0
    device = next(network.parameters()).device
    was_training = network.training
    network.eval()
    statistics = [torch.tensor(values, device=device) for values in (mean, std)]
    try:
        for start in range(0, len(split), batch_size):
            pixels = torch.from_numpy(split.images[start : start + batch_size].copy()).to(device).permute(0, 2, 3, 1)
            labels = torch.from_numpy(split.labels[start : start + batch_size].copy()).to(device)
            logits = network(normalise(pixels, *statistics))
            losses += F.cross_entropy(logits, labels, reduction="sum").item()
            predictions.append((logits.argmax(1) == labels).sum().item())
    finally:
        network.train(was_training)
    return Evaluation(losses / len(split), sum(predictions) / len(split), len(split))


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """A random crop of each picture padded by 4 black pixels, and a flip of every second: uint8 (B, H, W, 3), same."""
    batch, height, width, _ = pixels.shape
    padded = F.pad(pixels, (0, 0, PADDING, PADDING, PADDING, PADDING))
    draw = torch.rand(3, batch, generator=generator)
    top, left = (draw[:2] * (2 * PADDING + 1)).long()
    rows = top[:, None] + torch.arange(height)  # (B, H)
    columns = left[:, None] + torch.arange(width)  # (B, W)
    columns = torch.where(draw[2, :, None] < 0.5, columns, columns.flip(1))
    rows, columns = rows.to(pixels.device), columns.to(pixels.device)
    picture = torch.arange(batch, device=pixels.device)
    return padded[picture[:, None, None], rows[:, :, None], columns[:, None, :]]


def normalise(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) -> float32 (B, 3, H, W) in channels-last memory: (pixels / 255 - mean) / std."""
    return ((pixels.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def device_name(device: torch.device) -> str:
    """What a figure says it was measured on: the GPU's name, or the processor's."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple GPU"
    name = torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine()
    return f"CPU ({name}, {torch.get_num_threads()} threads)"


def _check_fit(network: Network, dataset: Dataset, config: TrainingConfig) -> None:
    if network.spec.input_shape != dataset.input_shape:
        raise ValueError(
            f"the network takes pictures of shape {network.spec.input_shape}, {dataset.name} has "
            f"{dataset.input_shape}; set `input_shape` of the spec to the data's."
        )
    if network.spec.classes != len(dataset.class_names):
        raise ValueError(
            f"the network has {network.spec.classes} classes, {dataset.name} has {len(dataset.class_names)}; set "
            f"`classes` of the spec to the data's."
        )
    if not all(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError("`network` is frozen, others may be looking at it; train a copy after `requires_grad_()`.")
    if len(dataset.train) < 2:
        raise ValueError(f"{dataset.name} has {len(dataset.train)} training pictures; at least 2 are needed.")


def _on_device(split: Split, device: torch.device) -> tuple[Tensor, Tensor]:
    images = torch.from_numpy(np.ascontiguousarray(split.images.transpose(0, 2, 3, 1)))  # (N, H, W, 3)
    return images.to(device), torch.from_numpy(split.labels.copy()).to(device)


def _statistics(dataset: Dataset, device: torch.device) -> tuple[Tensor, Tensor]:
    return torch.tensor(dataset.mean, device=device), torch.tensor(dataset.std, device=device)


def _optimizer(network: Network, config: TrainingConfig) -> torch.optim.Optimizer:
    if config.optimizer == "adam":
        return torch.optim.Adam(network.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    return torch.optim.SGD(
        network.parameters(),
        config.learning_rate,
        momentum=config.momentum,
        nesterov=config.nesterov and config.momentum > 0,
        weight_decay=config.weight_decay,
    )


@contextmanager
def _seeded_dropout(network: Network, generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Dropout draws from torch's global generator: seeded here by the training's own, and put back afterwards."""
    if not network.spec.dropout:
        yield
        return
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield


def _norms(gradients: list[Tensor | None]) -> tuple[float, ...]:
    """In float64: float32 cannot hold the squares of a plain-56's gradients without norm, and would say exactly 0."""
    return tuple(
        torch.linalg.vector_norm(gradient.cpu(), dtype=torch.float64).item()
        for gradient in gradients
        if gradient is not None
    )


def _mean(values: list[Tensor]) -> float:
    return torch.stack(values).mean().item()


def _snapshot(network: Network) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _all_finite(network: Network, losses: list[Tensor]) -> bool:
    floats = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    flat = torch.cat([torch.stack(losses).flatten(), *(tensor.flatten() for tensor in floats)])
    return bool(flat.isfinite().all())
