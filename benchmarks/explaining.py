"""What an explanation of all layers costs, beside the bare passes and beside what other libraries take for the same."""

import importlib
import statistics
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from captum.attr import LayerGradCam
from torchcam.methods import GradCAM as TorchcamGradCAM

from benchmarks.rows import Row, at_least, at_most, compared, ratios
from explorer.architectures import Network, build
from explorer.attribution import grad_cam, magnitude
from explorer.datasets import shapes
from explorer.presets import preset
from explorer.tracing import EVERYTHING, STRIP_KINDS, Trace, trace
from explorer.ui.services import process_tuning

NETWORKS = {
    "imagenet-resnet-18": ("ResNet-18 at 224", 18),
    "imagenet-resnet-50": ("ResNet-50 at 224", 18),
    "resnet-56": ("ResNet-56 at 32", 48),
}  # title, rounds: so many that the `orders` come out even, as those of the others do
STRIP_BOUND, EVERYTHING_BOUND, CAPTUM_BOUND, DRAWING_BOUND = 1.25, 1.6, 20, 5
OTHERS_ROUNDS, DRAWING_ROUNDS = 8, 5


def explaining_rows() -> Iterator[Row]:
    with threads_of_the_app():
        for name, (title, rounds) in NETWORKS.items():
            network = build(preset(name).spec, seed=0).freeze()
            image = np.random.default_rng(0).standard_normal(network.spec.input_shape).astype(np.float32)
            yield from tracing_rows(network, image, title, rounds)
            yield from others_rows(network, image, title)
        yield drawing_row()


@contextmanager
def threads_of_the_app() -> Iterator[None]:
    """torch computes on as many threads as in the server ."""
    before = torch.get_num_threads()
    torch.set_num_threads(process_tuning.threads())
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bare(network: Network, image: np.ndarray) -> None:
    """What any explanation by gradients costs at least: one pass forward, one back to the image. The network is frozen,
    so neither this nor a trace computes gradients of weights."""
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


def orders(ways: int, rounds: int) -> list[list[int]]:
    """An order of the ways for each round: what one leaves behind, in caches and in the allocator, is the next one's to
    pay. Over as many rounds as there are ways, or twice as many of an odd number of them, each way stands at each place
    and behind each other equally often (a Williams square)."""
    first = [place // 2 if place % 2 == 0 else ways - (place + 1) // 2 for place in range(ways)]
    square = [[(way + shift) % ways for way in first] for shift in range(ways)]
    if ways % 2:
        square += [row[::-1] for row in square]
    return [square[number % len(square)] for number in range(rounds)]


def seconds_of(ways: list[Callable[[], object]], rounds: int) -> list[list[float]]:
    """For each way its seconds in each round; a way's first call, outside the rounds, is thrown away."""
    for way in ways:
        way()
    seconds: list[list[float]] = [[] for _ in ways]
    for order in orders(len(ways), rounds):
        for which in order:
            start = time.perf_counter()
            ways[which]()
            seconds[which].append(time.perf_counter() - start)
    return seconds


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
        measured = f"{compared(taken, base).removesuffix(')')}, holds {held(recorded):.0f} MB)"
        rows.append(Row(figure, measured, rounds, at_most(statistics.median(ratios(taken, base)), bound)))
    return rows


def convolutions(network: Network) -> list[str]:
    return [name for name, kind in network.layers.values() if kind == "conv"]


def torchcam_all_layers(network: Network, image: np.ndarray, target: int) -> None:
    with TorchcamGradCAM(network, [network.get_submodule(name) for name in convolutions(network)]) as method:
        scores = network(torch.tensor(image)[None].requires_grad_())
        method(target, scores)


def grad_cam_layer_by_layer(network: Network, image: np.ndarray, target: int) -> None:
    """pytorch-grad-cam sums the maps of the layers it is given, so each layer's own map needs a call of its own."""
    # Of requirements-bench.txt: only this part needs it, and what it brings along.
    targets = importlib.import_module("pytorch_grad_cam.utils.model_targets")
    method_of = importlib.import_module("pytorch_grad_cam").GradCAM

    for name in convolutions(network):
        with method_of(network, [network.get_submodule(name)]) as method:
            method(torch.tensor(image)[None].requires_grad_(), [targets.ClassifierOutputTarget(target)])


def others_rows(network: Network, image: np.ndarray, title: str) -> list[Row]:
    target = trace(network, image, kinds=()).target
    others: dict[str, Callable[[Network, np.ndarray, int], None]] = {
        "Captum's LayerGradCam, conv by conv": captum_layer_by_layer,
        "torchcam's GradCAM, all convs at once": torchcam_all_layers,
        "pytorch-grad-cam, conv by conv": grad_cam_layer_by_layer,
    }
    ways: list[Callable[[], object]] = [lambda: explained(network, image, STRIP_KINDS)]
    ways += [lambda other=other: other(network, image, target) for other in others.values()]  # type: ignore[misc]
    ours, *theirs = seconds_of(ways, OTHERS_ROUNDS)
    rows = []
    for name, taken in zip(others, theirs, strict=True):
        bounded = title.startswith("ResNet-50") and "Captum" in name
        bound = at_least(statistics.median(ratios(taken, ours)), CAPTUM_BOUND) if bounded else None
        figure = f"{title}: {name} / ours, all layers of the strip"
        rows.append(Row(figure, compared(taken, ours), OTHERS_ROUNDS, bound))
    return rows


def drawing_row() -> Row:
    (taken,) = seconds_of([lambda: (shapes.draw(20_000, seed=0), shapes.draw(4_000, seed=1))], DRAWING_ROUNDS)
    middle = statistics.median(taken)
    measured = f"{middle:.1f} s ({min(taken):.1f} to {max(taken):.1f})"
    figure = "Shapes: drawing 20,000 + 4,000 pictures with masks"
    return Row(figure, measured, DRAWING_ROUNDS, at_most(middle, DRAWING_BOUND, " s"))
