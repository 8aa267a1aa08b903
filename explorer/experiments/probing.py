"""What each layer of a network knows of the classes: linear probes, separability and dead channels, in one pass.

The features of a layer are the means of its channels over all positions. A linear classifier that is fitted to them is
a probe (Alain and Bengio 2016, "Understanding intermediate layers using linear classifier probes"); theirs is fitted by
gradient descent, and this one by ridge regression, which has a closed form.
"""

import math
from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, Recorder, describe
from explorer.architectures.modules import ACTIVATION_CLASSES
from explorer.architectures.operators import ACTIVATIONS, Operation
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments.agreement import images_for
from explorer.experiments.throughput import on_all_cores
from explorer.intervals import Accuracy, accuracy
from explorer.tracing import STRIP_KINDS, check_evaluation_mode

TRAIN, TEST = 2_000, 1_000
"""Pictures that a probe is fitted to, and others that it is tested on."""
Layers = Literal["blocks", "main", "all"]
RIDGE = 1e-3
"""The penalty of the weights, as a share of the number of pictures; features are standardised."""

_BATCH_MACS = 2_000_000_000  # a tenth of a second on one core: a measurement that is not wanted any more ends soon
_LARGEST_BATCH = 25  # of small pictures: an image of 50 takes a fifth longer
_MOST_VALUES = 50_000_000  # features in memory, 200 MB
_SHARE_OF_PASS = 0.9  # of the time of a measurement, for the progress


@dataclass(frozen=True, eq=False)
class Probes:
    """What was measured in each of L layers of one network.

    `channels` is int64 (L,). Of `n_train` pictures that the probe of a layer was fitted to and `n_test` others, `right`
    counts the latter that it classifies rightly, int64 (L,); -1 where the layer's outputs are not finite. `chance` is
    the share of the most frequent class among those. `separability` is float64 (L,), 0..1: the share of the variance of
    the features, on the test pictures, that lies between the classes; NaN where nothing varies. Without labels
    `n_train` is 0, and both are -1 and NaN throughout.

    `dead` counts the channels that are 0 everywhere on all `n` pictures, after the layer's activation: int64 (L,), -1
    for a layer without one of its own.
    """

    layers: tuple[str, ...]
    channels: np.ndarray
    right: np.ndarray
    separability: np.ndarray
    dead: np.ndarray
    chance: float
    classes: int
    n_train: int
    n_test: int
    n: int

    def accuracies(self) -> tuple[Accuracy | None, ...]:
        """Of each layer's probe, with Wilson's interval; None where there is none."""
        return tuple(accuracy(int(each), self.n_test) if each >= 0 else None for each in self.right)

    @property
    def separability_of_nothing(self) -> float:
        """What labels in random order give on average: (classes - 1) / (pictures - 1)."""
        return (self.classes - 1) / max(1, self.n_test - 1)


def strip_layers(spec: ArchitectureSpec, layers: Layers = "blocks") -> tuple[str, ...]:
    """The layers with feature maps of at least two pixels, in execution order, as a `Trace` has them: "blocks" and what
    is outside of them, "main" convolutions, shortcuts and blocks, "all" every visible operation."""
    found = []
    for layer in describe(spec).layers:
        is_wanted = layers == "all" or (
            layer.kind in STRIP_KINDS and (layers == "main" or spec.block_of(layer.name) is None)
        )
        if is_wanted and len(layer.output_shape) == 3 and math.prod(layer.output_shape[1:]) > 1:
            found.append(layer.name)
    return tuple(found)


def activated(network: Network, layers: Sequence[str]) -> dict[str, str]:
    """By layer, that of its activation: the layer itself, or what follows it with nothing but norms between. A layer
    whose output goes into a sum, or elsewhere, has none of its own and is left out."""
    origins = describe(network.spec).origins
    followers: dict[str, list[str]] = {}
    for name, origin in origins.items():
        for before in origin.inputs:
            followers.setdefault(before, []).append(name)

    def module(name: str) -> nn.Module:
        return network.get_submodule(origins[name].module)

    found = {}
    for layer in layers:
        place = layer
        while not _is_activation(module(place)):
            following = followers.get(place, [])
            if len(following) != 1 or not (_is_norm(module(following[0])) or _is_activation(module(following[0]))):
                break
            place = following[0]
        else:
            found[layer] = place
    return found


def _is_activation(module: nn.Module) -> bool:
    if isinstance(module, Operation):
        return module.operator in ACTIVATIONS
    return isinstance(module, tuple(ACTIVATION_CLASSES.values()))


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.BatchNorm2d) or (
        isinstance(module, Operation) and module.operator.endswith("Normalization")
    )


class _Features(Recorder):
    """Takes the mean of each channel, and whether it is anywhere not 0, of the modules that are asked for."""

    def __init__(self, network: Network, wanted: Mapping[str, str], activations: Mapping[str, str]) -> None:
        """`wanted` are modules by layer; `activations` the modules that activate them."""
        super().__init__(network, kinds=())
        self.pooled_by = {module: [name for name in wanted if wanted[name] == module] for module in wanted.values()}
        self.alive_by = {
            module: [name for name in activations if activations[name] == module] for module in activations.values()
        }
        self.pooled: dict[str, Tensor] = {}
        self.alive: dict[str, Tensor] = {}

    def compute(self, module: nn.Module, *inputs: object) -> Tensor:
        output = super().compute(module, *inputs)
        name = self.layers[module][0]
        if name in self.pooled_by or name in self.alive_by:
            values = output.movedim(-1, 1) if getattr(module, "channels_last", False) else output
            if values.ndim == 4:
                for layer in self.pooled_by.get(name, ()):
                    self.pooled[layer] = values.mean((2, 3))  # (N, C)
                for layer in self.alive_by.get(name, ()):
                    self.alive[layer] = (values != 0).any(3).any(2).any(0)  # (C,)
        return output


def probes(
    checkpoint: Checkpoint,
    train: Split | None,
    test: Split,
    layers: Sequence[str] | None = None,
    threads: int | None = None,
) -> Generator[tuple[float, Probes | None], None, None]:
    """The `Probes` of a network: by default of its blocks and of what is outside of them (`strip_layers`). Without
    `train`, or where it has fewer than two classes, nothing is asked of the labels.

    One pass of all pictures gives the features; yields (fraction done, None) and ends with (1.0, the result). `threads`
    are those of `on_all_cores`. The network is left as it was found. Raises ValueError for a network in training mode
    or no pictures.
    """
    network = checkpoint.network
    check_evaluation_mode(network)
    if not len(test):
        raise ValueError("`test` holds no images, so there is nothing to measure; choose another split.")
    names = tuple(layers if layers is not None else strip_layers(checkpoint.spec))
    described = describe(checkpoint.spec)
    wanted = {name: described.origins[name].module for name in names}
    activations = {
        layer: described.origins[name].module for layer, name in activated(network, names).items() if layer in wanted
    }
    is_labelled = train is not None and len(np.unique(train.labels)) > 1
    images = [*train.images, *test.images] if train is not None and is_labelled else [*test.images]
    channels = [described.shape(name)[0] for name in names]
    features = {
        name: np.empty((len(images), size), np.float32) for name, size in zip(names, channels, strict=True)
    } if is_labelled else {}  # fmt: skip
    size = batch_size(checkpoint.spec)

    def one(start: int) -> dict[str, np.ndarray]:
        part = slice(start, min(start + size, len(images)))
        recorder = _Features(network, wanted if is_labelled else {}, activations)
        with torch.no_grad():
            network(images_for(checkpoint, np.stack(images[part])), recorder)
        for name, pooled in recorder.pooled.items():
            features[name][part] = pooled.numpy(force=True)
        return {name: alive.numpy(force=True) for name, alive in recorder.alive.items()}

    alive = {name: np.zeros(count, bool) for name, count in zip(names, channels, strict=True) if name in activations}
    starts = range(0, len(images), size)
    threads = threads if network.device.type == "cpu" else 1
    with closing(on_all_cores((partial(one, start) for start in starts), threads)) as batches:
        for done, found in enumerate(batches, start=1):
            for name, own in found.items():
                alive[name] |= own
            if done < len(starts):
                yield _SHARE_OF_PASS * done / len(starts), None
    right = np.full(len(names), -1)
    separate = np.full(len(names), np.nan)
    if train is not None and is_labelled:
        classes = len(checkpoint.class_names)
        calls = (
            partial(_of_layer, features[name], train.labels, test.labels, max(classes, int(train.labels.max()) + 1))
            for name in names
        )
        with closing(on_all_cores(calls, threads)) as results:
            for index, (count, share) in enumerate(results):
                right[index], separate[index] = count, share
                if index + 1 < len(names):
                    yield _SHARE_OF_PASS + (1 - _SHARE_OF_PASS) * (index + 1) / len(names), None
    counts = Counter(test.labels.tolist())
    yield (
        1.0,
        Probes(
            layers=names,
            channels=np.array(channels, np.int64),
            right=right,
            separability=separate,
            dead=np.array([int((~alive[name]).sum()) if name in alive else -1 for name in names], np.int64),
            chance=max(counts.values()) / len(test) if is_labelled else 0.0,
            classes=len(counts) if is_labelled else 0,
            n_train=len(train) if train is not None and is_labelled else 0,
            n_test=len(test) if is_labelled else 0,
            n=len(images),
        ),
    )


def batch_size(spec: ArchitectureSpec) -> int:
    """Pictures in one batch."""
    return max(1, min(_LARGEST_BATCH, _BATCH_MACS // max(1, describe(spec).macs)))


def counts(spec: ArchitectureSpec, layers: Sequence[str], train: int = TRAIN, test: int = TEST) -> tuple[int, int]:
    """How many pictures a measurement of these layers takes: so many, or fewer where their features need more than 200
    MB."""
    values = sum(describe(spec).shape(name)[0] for name in layers)
    share = min(1.0, _MOST_VALUES / max(1, values * (train + test)))
    return max(1, int(train * share)), max(1, int(test * share))


def macs(spec: ArchitectureSpec, layers: Sequence[str], train: int, test: int) -> float:
    """Multiply-accumulates of a measurement: the passes, and the ridge regressions of all layers."""
    described = describe(spec)
    fits = 0.0
    for name in layers:
        channels = described.shape(name)[0]
        few, many = sorted((channels, train))
        fits += few * few * (many + few / 3) if train else 0.0
    return (train + test) * described.macs + fits


def _of_layer(features: np.ndarray, train: np.ndarray, test: np.ndarray, classes: int) -> tuple[int, float]:
    """How many test pictures the probe of a layer classifies rightly, and the separability; (-1, NaN) where the
    features, of the training and then of the test pictures, are not finite."""
    if not np.isfinite(features).all():
        return -1, math.nan
    before, behind = features[: len(train)], features[len(train) :]
    probe = fit(before, train, classes)
    return int((probe(behind) == test).sum()), separability(behind, test)


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear classifier of standardised features: scores = (x - mean) / std @ weights + bias."""

    mean: np.ndarray
    std: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(N, C) -> float64 (N, classes)."""
        return (features.astype(np.float64) - self.mean) / self.std @ self.weights + self.bias

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """The class of the largest score, int64 (N,)."""
        return self.scores(features).argmax(1)


def fit(features: np.ndarray, labels: np.ndarray, classes: int, ridge: float = RIDGE) -> Probe:
    """The probe of features (N, C) and labels (N,), by ridge regression on one column for each class, 1 for it and 0
    for the others.

    W = (XᵀX + λ I)⁻¹ Xᵀ (Y - mean of Y) with X the standardised features and λ = `ridge` · N (Hoerl and Kennard 1970,
    equation 2.1); where C > N the same by the other order, Xᵀ (X Xᵀ + λ I)⁻¹. A channel that is the same for every
    picture counts as 0.
    """
    values = features.astype(np.float64)
    mean, std = values.mean(0), values.std(0)
    std[std <= 1e-7 * np.abs(mean).max(initial=0)] = np.inf  # rounding alone
    std[std == 0] = np.inf
    x = torch.from_numpy((values - mean) / std)
    y = torch.from_numpy(np.eye(classes)[labels])
    bias = y.mean(0)
    penalty = ridge * len(values)
    if x.shape[1] <= x.shape[0]:
        matrix = x.T @ x + penalty * torch.eye(x.shape[1], dtype=x.dtype)
        weights = torch.cholesky_solve(x.T @ (y - bias), torch.linalg.cholesky(matrix))
    else:
        matrix = x @ x.T + penalty * torch.eye(x.shape[0], dtype=x.dtype)
        weights = x.T @ torch.cholesky_solve(y - bias, torch.linalg.cholesky(matrix))
    return Probe(mean, std, weights.numpy(), bias.numpy())


def separability(features: np.ndarray, labels: np.ndarray) -> float:
    """tr S_B / tr S_T, 0..1, of features (N, C): the sum of the squares between the class means, over that of all
    features (Fukunaga 1990, "Introduction to Statistical Pattern Recognition", section 10.2). NaN where nothing varies.
    """
    values = features.astype(np.float64)
    values = values - values.mean(0)
    total = float(np.square(values).sum())
    if total <= 1e-20 * max(1.0, float(np.square(features.astype(np.float64)).sum())):
        return math.nan
    between = 0.0
    for label in np.unique(labels):
        own = values[labels == label]
        between += len(own) * float(np.square(own.mean(0)).sum())
    return between / total


def finding(title: str, found: Probes) -> str:
    """What the probes say of a network, in plain sentences; "" without any."""
    there = [(name, each) for name, each in zip(found.layers, found.accuracies(), strict=True) if each is not None]
    if not there:
        return ""
    (first, start), (best, most) = there[0], max(there, key=lambda each: each[1].share)
    text = f"{title}: a probe of {first} is right for {start.share:.1%} of {found.n_test:,} images"
    if best != first:
        text += f", and the best one, of {best}, for {most.share:.1%} ({most.low:.1%} to {most.high:.1%})"
    text += "."
    if at_chance := sum(each.low <= found.chance for _, each in there):
        which = "all layers" if at_chance == len(there) else f"{at_chance} of {len(there)} layers"
        text += f" In {which}, chance explains the accuracy as well ({found.chance:.1%})."
    last, end = there[-1]
    if end.high < most.low:
        text += f" After {best} the classes are harder to tell apart again: {end.share:.1%} in {last}."
    return text
