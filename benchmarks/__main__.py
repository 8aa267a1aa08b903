"""`python -m benchmarks` measures speed; `tracing`, `training` and `runs` are its parts. `threads` explains on one
network from threads for a minute; `difficulty` trains on the shapes (minutes) and says how hard they are."""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Collection

import numpy as np
import torch
from captum.attr import LayerGradCam

from benchmarks.difficulty import difficulty_rows
from benchmarks.runs import run_rows
from benchmarks.threads import explain_in_threads
from benchmarks.training import training_rows
from explorer.architectures import Network, build
from explorer.attribution import grad_cam, magnitude
from explorer.datasets import shapes
from explorer.presets import preset
from explorer.tracing import EVERYTHING, STRIP_KINDS, Trace, trace
from explorer.training import device_name

NETWORKS = {"imagenet-resnet-50": ("ResNet-50 at 224", 15), "resnet-56": ("ResNet-56 at 32", 45)}  # title, rounds
STRIP_BOUND, EVERYTHING_BOUND, CAPTUM_BOUND, DRAWING_BOUND = 1.25, 1.6, 20, 5
CAPTUM_ROUNDS, DRAWING_ROUNDS = 5, 5

Row = tuple[str, str, str, int]  # figure, measured, bound, n


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "what", nargs="?", choices=["all", "tracing", "training", "runs", "threads", "difficulty"], default="all"
    )
    parser.add_argument("--seconds", type=float, default=60, help="how long the threads explain (default: 60)")
    parser.add_argument("--threads", type=int, default=4, help="how many (default: 4)")
    options = parser.parse_args(arguments)
    if options.what == "threads":
        return run_threads(options.seconds, options.threads)
    if options.what == "difficulty":
        return print_difficulty()
    measures = {"tracing": explaining_rows, "training": training_rows, "runs": run_rows}
    print("| figure | measured | bound | n |\n|---|---|---|---|")
    for name, part in measures.items():
        if options.what in ("all", name):
            for figure, measured, bound, n in part():
                print(f"| {figure} | {measured} | {bound} | {n} |", flush=True)
    print(
        "\nMedians over n rounds of one process, taken in turns: each round runs every way once and gives one ratio. "
        f"First weights and pictures of seed 0, float32. {device_name(torch.device('cpu'))}, torch {torch.__version__}."
    )
    return 0


def explaining_rows() -> list[Row]:
    rows: list[Row] = []
    for name, (title, rounds) in NETWORKS.items():
        network = build(preset(name).spec, seed=0).freeze()
        image = np.random.default_rng(0).standard_normal(network.spec.input_shape).astype(np.float32)
        rows += tracing_rows(network, image, title, rounds)
        if name == "imagenet-resnet-50":
            rows.append(captum_row(network, image, title))
    return [*rows, drawing_row()]


def print_difficulty() -> int:
    print("| network | test accuracy | bound | epochs | n |\n|---|---|---|---|---|")
    for name, accuracy, bound, epochs, n in difficulty_rows():
        print(f"| {name} | {accuracy:.1%} | {bound} | {epochs} | {n:,} |", flush=True)
    print(
        f"\n{shapes.load().name}, seed 0, one run each. {device_name(torch.device('cpu'))}, torch {torch.__version__}."
    )
    return 0


def bare(network: Network, image: np.ndarray) -> None:
    """What any explanation by gradients costs at least: one pass forward, one back to the image."""
    x = torch.tensor(image)[None].requires_grad_()
    logits = network(x)
    torch.autograd.grad(logits[0, int(logits.argmax())], x)


def explained(network: Network, image: np.ndarray, kinds: Collection[str] | None) -> Trace:
    """A trace, with Grad-CAM and gradient magnitude of each of its layers."""
    recorded = trace(network, image, kinds=kinds)
    for layer in recorded.layers:
        if layer.is_spatial:
            grad_cam(layer)
        magnitude(layer.gradient)
    return recorded


def captum_layer_by_layer(network: Network, image: np.ndarray, target: int) -> None:
    for name, kind in network.layers.values():
        if kind == "conv":
            x = torch.tensor(image)[None]
            LayerGradCam(network, network.get_submodule(name)).attribute(x, target, relu_attributions=True)


def seconds_of(ways: list[Callable[[], object]], rounds: int) -> list[list[float]]:
    """For each way its seconds in each round; a way's first call, outside the rounds, is thrown away."""
    for way in ways:
        way()
    seconds: list[list[float]] = [[] for _ in ways]
    for _ in range(rounds):
        for way, taken in zip(ways, seconds, strict=True):
            start = time.perf_counter()
            way()
            taken.append(time.perf_counter() - start)
    return seconds


def ratio(some: list[float], others: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(some, others, strict=True))


def held(recorded: Trace) -> float:
    """Megabytes of a trace's layers; memory that two of them share counts once."""
    arrays = [array for layer in recorded.layers for array in (layer.activation, layer.gradient)]
    return sum({array.__array_interface__["data"][0]: array.nbytes for array in arrays}.values()) / 1e6


def tracing_rows(network: Network, image: np.ndarray, title: str, rounds: int) -> list[Row]:
    ways: list[Callable[[], object]] = [
        lambda: bare(network, image),
        lambda: explained(network, image, STRIP_KINDS),
        lambda: explained(network, image, EVERYTHING),
    ]
    base, strip, everything = seconds_of(ways, rounds)
    rows = []
    for what, kinds, taken, bound in (
        ("every layer of the strip", STRIP_KINDS, strip, STRIP_BOUND),
        ("every operation", EVERYTHING, everything, EVERYTHING_BOUND),
    ):
        recorded = explained(network, image, kinds)
        figure = f"{title}: trace, Grad-CAM and gradient magnitude of {what} ({len(recorded.layers)}) / bare pass"
        milliseconds = f"{1e3 * statistics.median(taken):.0f} / {1e3 * statistics.median(base):.0f} ms"
        measured = f"{ratio(taken, base):.2f} ({milliseconds}, holds {held(recorded):.0f} MB)"
        rows.append((figure, measured, f"≤ {bound}", rounds))
    return rows


def captum_row(network: Network, image: np.ndarray, title: str) -> Row:
    target = trace(network, image, kinds=()).target
    ways: list[Callable[[], object]] = [
        lambda: explained(network, image, STRIP_KINDS),
        lambda: captum_layer_by_layer(network, image, target),
    ]
    ours, theirs = seconds_of(ways, CAPTUM_ROUNDS)
    measured = f"{ratio(theirs, ours):.0f} ({1e3 * statistics.median(theirs):.0f} ms)"
    return f"{title}: Captum's LayerGradCam, conv by conv / ours", measured, f"≥ {CAPTUM_BOUND}", CAPTUM_ROUNDS


def drawing_row() -> Row:
    (taken,) = seconds_of([lambda: (shapes.draw(20_000, seed=0), shapes.draw(4_000, seed=1))], DRAWING_ROUNDS)
    measured = f"{statistics.median(taken):.1f} s"
    return "Shapes: drawing 20,000 + 4,000 pictures with masks", measured, f"≤ {DRAWING_BOUND} s", DRAWING_ROUNDS


def run_threads(seconds: float, threads: int) -> int:
    network = build(preset("resnet-20").spec, seed=0).freeze()
    result = explain_in_threads(network, seconds, threads)
    print(
        f"{result.traces:,} traces of one shared {network.spec.name} by {threads} threads in {seconds:g} s: "
        f"{len(result.errors)} errors, largest difference to a serial map {result.worst:.1e} of its maximum "
        f"(bound 1e-5). {device_name(torch.device('cpu'))}, torch {torch.__version__}."
    )
    for error in result.errors:
        print(error, file=sys.stderr)
    return 1 if result.errors or result.worst > 1e-5 else 0


if __name__ == "__main__":
    sys.exit(main())
