"""What the shattering of a pair at depth 56 costs beside its passes, taken in turns in one run."""

import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from benchmarks.rows import Row, at_most
from explorer.architectures import Network, build
from explorer.datasets import shapes
from explorer.experiments import gradient_geometry
from explorer.experiments.gradient_geometry import PICTURES
from explorer.experiments.gradient_geometry.shattering import AT_ONCE
from explorer.experiments.stored_gradients import drawn_batch
from explorer.experiments.throughput import on_all_cores
from explorer.machine import cores
from explorer.presets import cifar

ROUNDS, DEPTH, SEEDS = 5, 56, 3
SECONDS, MOST = 8.0, 1.25


def geometry_rows(rounds: int = ROUNDS, depth: int = DEPTH, seeds: int = SEEDS) -> list[Row]:
    """The seconds of a pair with so many seeds, and its ratio to the bare forward and backward passes of the same
    pictures, networks and threads."""
    batch = drawn_batch(shapes.Drawn())
    pair = (cifar(depth, "none"), cifar(depth))
    asked = [(spec, seed) for seed in range(seeds) for spec in pair]
    networks = [build(spec, seed).freeze().to(memory_format=torch.channels_last) for spec, seed in asked]
    pictures = torch.randn(AT_ONCE, *pair[0].input_shape).contiguous(memory_format=torch.channels_last)
    passes = [partial(_pass, network, pictures) for network in networks for _ in range(PICTURES // AT_ONCE)]

    def bare() -> None:
        for _ in on_all_cores(passes):
            pass

    def measured() -> None:
        for _ in gradient_geometry.measure("shattering", asked, batch):
            pass

    _seconds(bare)
    both, computed = [], []
    for _ in range(rounds):
        theirs, before = _seconds(bare), time.process_time()
        both.append((theirs, _seconds(measured)))
        computed.append((time.process_time() - before) / cores())
    shares, walls = [ours / theirs for theirs, ours in both], [ours for _, ours in both]
    middle, seconds = statistics.median(shares), statistics.median(walls)
    what = f"plain-{depth} and ResNet-{depth}, {seeds} seeds, {PICTURES} pictures of 32 pixels each"
    return [
        Row(
            f"Shattering of {what}",
            f"{seconds:.1f} s ({min(walls):.1f} to {max(walls):.1f}) on {cores()} cores, of which each computed "
            f"{statistics.median(computed):.1f} s",
            rounds,
            at_most(seconds, SECONDS, " s"),
        ),
        Row(
            f"Shattering of {what}, times its passes",
            f"{middle:.2f} ({min(shares):.2f} to {max(shares):.2f})",
            rounds,
            at_most(middle, MOST),
        ),
    ]


def _pass(network: Network, pictures: Tensor) -> None:
    """Forward, and backward to the pixels alone."""
    images = pictures.clone().requires_grad_()
    with torch.enable_grad():
        logits = network(images)[:, 0].sum()
    torch.autograd.grad(logits, images)


def _seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started
