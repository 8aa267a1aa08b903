"""The small CNNs of tutorials: convolutions in turn, then fully connected layers, under any names."""

import math
from collections.abc import Mapping
from contextlib import suppress
from itertools import product

from torch import Tensor

from explorer.architectures import ArchitectureSpec, Stage
from explorer.weights_import.families import (
    NORMALISATION,
    SMALL_CNN,
    TUTORIAL,
    Candidate,
    KeyLayout,
    head_names,
    layout_of,
    linear_layers,
    natural,
    outputs,
    outputs_in_words,
    shape,
)
from explorer.weights_import.report import WeightsError

MOST = 6  # convolutions: larger networks have strides and branches that shapes do not tell
LARGEST_KERNEL = 7
SIZES = {1: (28, 32, 64, 128, 224), 3: (32, 28, 64, 96, 128, 224)}  # of pictures, by channels, the likeliest first
POOLED = {  # for the number of a convolution, from 1, of n
    "2×2 max-pooling behind each": lambda number, n: True,
    "2×2 max-pooling behind every second": lambda number, n: number % 2 == 0,
    "2×2 max-pooling behind the last": lambda number, n: number == n,
    "no pooling": lambda number, n: False,
}
WHERE = "The file does not say where the network pools, whether it pads, and how large its images are: which one is it?"


def small_cnn(state: Mapping[str, Tensor], name: str) -> KeyLayout | None:
    """The layout of `conv1`, `conv2`, `fc1`, ...: each geometry in which the convolutions give as many values as the
    first fully connected layer takes. None for a state dict that is no such network.

    Raises WeightsError where it looks like one, and no geometry fits.
    """
    convolutions = _modules(state, 4)
    kernels = {tuple(state[f"{conv}.weight"].shape[2:]) for conv in convolutions}
    if not 1 <= len(convolutions) <= MOST or any(h != w or h % 2 == 0 or h > LARGEST_KERNEL for h, w in kernels):
        return None
    channels = state[f"{convolutions[0]}.weight"].shape[1]
    widths = [channels, *(state[f"{conv}.weight"].shape[0] for conv in convolutions)]
    norms = sorted((key.removesuffix(".running_mean") for key in state if key.endswith(".running_mean")), key=natural)
    chained = all(state[f"{conv}.weight"].shape[1] == width for conv, width in zip(convolutions, widths, strict=False))
    if channels not in SIZES or not chained or len(norms) not in (0, len(convolutions)):
        return None
    layers, side = _classifier(state, widths[-1], name)
    if not layers:
        return None
    units = state[f"{layers[-1]}.weight"].shape[0]
    specs: dict[ArchitectureSpec, str] = {}
    for (words, pooled), padding, size in product(POOLED.items(), ("valid", "same"), SIZES[channels]):
        stages = tuple(
            Stage(1, out, 2 if pooled(number, len(convolutions)) else 1, state[f"{conv}.weight"].shape[2], padding)
            for number, (conv, out) in enumerate(zip(convolutions, widths[1:], strict=True), start=1)
        )
        if _side_after(stages, size) != side:
            continue
        spec = ArchitectureSpec(
            stages,
            block="conv",
            shortcut="none",
            norm="batch" if norms else "none",
            initialisation="pytorch",
            downsampling="max",
            head_pooling="flatten",
            hidden=tuple(state[f"{layer}.weight"].shape[0] for layer in layers[:-1]),
            bias_before_norm=bool(norms) and f"{convolutions[0]}.bias" in state,
            input_shape=(channels, size, size),
            **outputs(units),
        )
        padded = "no padding" if padding == "valid" else "padding"
        specs.setdefault(spec, f"CNN for {size}×{size} pixels, {words}, {padded}")
    if not specs:
        raise WeightsError(
            f"{name} looks like a CNN of {len(convolutions)} convolutions, but `{layers[0]}.weight` is "
            f"{shape(state[f'{layers[0]}.weight'])}, and no image of {', '.join(map(str, sorted(SIZES[channels])))} "
            f"pixels leaves {side}×{side} in {widths[-1]} channels with 2×2 max-pooling behind each convolution, every "
            "second, the last or none."
        )
    names = {f"stages.{index}.0.conv1": conv for index, conv in enumerate(convolutions)}
    names |= {f"stages.{index}.0.norm1": norm for index, norm in enumerate(norms)} | head_names(layers)
    candidates = [Candidate(title, spec, names) for spec, title in specs.items()]
    is_tutorial = widths == [3, 6, 16] and kernels == {(5, 5)} and candidates[0].spec.input_shape[1] == 32
    if is_tutorial:
        candidates[0] = Candidate("LeNet-style CNN of PyTorch's tutorial", candidates[0].spec, names)
    evidence = [
        f"{len(convolutions)} convolutions in turn, {', '.join(shape(state[f'{c}.weight']) for c in convolutions)}",
        f"`{layers[0]}.weight` is {shape(state[f'{layers[0]}.weight'])}: {side}×{side} values in {widths[-1]} channels",
        f"`{layers[-1]}.weight` is {shape(state[f'{layers[-1]}.weight'])}: {outputs_in_words(units)}",
    ]
    uncertain = [
        "the order of the layers, which is not in the file: as their names and shapes have it, one after the other",
        "pooling, padding and strides, which are not in the file: those with which the sizes fit",
        "the activation, which is not in the file: ReLU behind each layer but the last",
        f"{NORMALISATION}it is not in the file",
    ]
    if norms:
        uncertain.append("where the norms are: one behind each convolution, in the order of their names")
    return layout_of(TUTORIAL if is_tutorial else SMALL_CNN, candidates, evidence, uncertain, WHERE)


def _classifier(state: Mapping[str, Tensor], channels: int, name: str) -> tuple[tuple[str, ...], int]:
    """The fully connected layers, and the side of the square maps that the first one takes; none where none fit."""
    for linear in _modules(state, 2):
        values = state[f"{linear}.weight"].shape[1]
        side = math.isqrt(values // channels) if channels else 0
        if side and side * side * channels == values:
            with suppress(WeightsError):  # another one is the first
                return linear_layers(state, values, name), side
    return (), 0


def _modules(state: Mapping[str, Tensor], dimensions: int) -> list[str]:
    """The modules with weights of so many dimensions, in the order of their names."""
    found = [key for key, value in state.items() if key.endswith(".weight") and value.dim() == dimensions]
    return sorted((key.removesuffix(".weight") for key in found), key=natural)


def _side_after(stages: tuple[Stage, ...], side: int) -> int:
    """Of a square picture behind all convolutions and poolings."""
    for stage in stages:
        side = (side - (stage.kernel_size - 1 if stage.padding == "valid" else 0)) // stage.stride
    return side
