"""Faithfulness of a map: do its pixels matter to the network, and does it depend on the weights?"""

import copy
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

import numpy as np
from torch import nn

from explorer.architectures import Network, build
from explorer.architectures.modules import BranchGain
from explorer.attribution.explanation import Share, baseline, pictures_at_once, probabilities
from explorer.tracing import check_pass, read_only
from explorer.views import enlarge

READINGS: Mapping[str, str] = MappingProxyType(
    {
        "deletion": "The pixels that the map calls most important are taken out first. If it is right, the probability "
        "falls sooner than in a random order: the area is smaller (Petsiuk et al. 2018).",
        "insertion": "The pixels that the map calls most important are put in first. If it is right, the probability "
        "rises sooner than in a random order: the area is larger (Petsiuk et al. 2018).",
        "cascade": "Layer by layer from the head, what was learned is replaced by random weights. A map that explains "
        "this network must change. One that stays similar (rank correlation near 1) shows the image, not what the "
        "network learned (Adebayo et al. 2018).",
    }
)
"""How to read each result, in sentences of at most 25 words."""

_UNTRAINED = 2**40  # added to the seed of the random weights: trainings start from small seeds


@dataclass(frozen=True, eq=False)
class PerturbationCurve:
    """The target's probability while pixels are replaced ("deletion") or put in ("insertion"), in the map's order.

    `shares` (K + 1,) is the part of the pixels that is exchanged, from 0 to 1; `probabilities` (K + 1,) is then the
    target's; `random` (R, K + 1) the same for R random orders of the pixels. All float64.
    """

    kind: Literal["deletion", "insertion"]
    baseline: str
    shares: np.ndarray
    probabilities: np.ndarray
    random: np.ndarray

    @property
    def area(self) -> float:
        """Under the map's curve, 0..1, by trapezoids."""
        return float(np.trapezoid(self.probabilities, self.shares))

    @property
    def random_areas(self) -> np.ndarray:
        """Under each random order's curve, (R,)."""
        return np.trapezoid(self.random, self.shares, axis=1)


def perturbation_curve(
    network: Network,
    image: np.ndarray,
    values: np.ndarray,
    target: int,
    kind: Literal["deletion", "insertion"],
    start: str | None = None,
    steps: int = 32,
    random_orders: int = 5,
    seed: int = 0,
) -> Generator[Share[PerturbationCurve], None, None]:
    """Progress, and last the `PerturbationCurve` of a map `values` (H', W'), enlarged to the picture if smaller.

    `image` is float32 (C, H, W), normalised. The largest value comes first, and equal ones in an order drawn from
    `seed`, as the random orders are. `start` is the baseline, "mean" or "blur" (`explanation.baseline`): by default the
    mean for deletion and the blurred picture for insertion, as in the paper. Takes (random_orders + 1) · (steps + 1)
    passes forward. The network is only read.
    Raises ValueError for what `trace` cannot explain, a map that is not finite and of two dimensions, or steps out of
    1..H · W.
    """
    spec = network.spec
    check_pass(network, image, target)
    size = spec.input_shape[1:]
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"`values` must be a finite map (H, W), received {values.shape}; fold its channels first.")
    if not 1 <= steps <= size[0] * size[1] or random_orders < 0:
        raise ValueError(
            f"`steps` must be from 1 to the {size[0] * size[1]} pixels and `random_orders` at least 0, received "
            f"{steps} and {random_orders}."
        )
    start = start or ("mean" if kind == "deletion" else "blur")
    empty = baseline(image, start)
    before, after = (image, empty) if kind == "deletion" else (empty, image)
    generator = np.random.default_rng(seed)
    map_values = (values if values.shape == size else enlarge(values, size)).ravel()
    # Equal values in random order: in that of the pixels a map of zeros would begin at the top.
    orders = [np.lexsort((generator.random(map_values.size), -map_values))]
    orders += [generator.permutation(map_values.size) for _ in range(random_orders)]
    counts = np.rint(np.linspace(0, map_values.size, steps + 1)).astype(int)
    curves = np.empty((len(orders), steps + 1))
    at_once = pictures_at_once(spec)
    for row, order in enumerate(orders):
        rank = np.empty(order.size, int)
        rank[order] = np.arange(order.size)
        for first in range(0, steps + 1, at_once):
            exchanged = rank.reshape(size) < counts[first : first + at_once, None, None]  # (n, H, W)
            batch = np.where(exchanged[:, None], after, before).astype(np.float32)
            curves[row, first : first + at_once] = probabilities(network, batch, target)
            done = row * (steps + 1) + min(first + at_once, steps + 1)
            yield Share(done / curves.size)
    read_only(curves)
    yield Share(1.0, PerturbationCurve(kind, start, counts / map_values.size, curves[0], curves[1:]))


@dataclass(frozen=True, eq=False)
class CascadingRandomisation:
    """The map while layers become random, from the head backwards.

    `layers` names the layers that each of the K steps made random, beside those of the steps before. `original` (H, W)
    is the map of the network itself, `maps` (K, H, W) those after each step. `correlations` are Spearman's between each
    and the original, `absolute_correlations` between their absolute values (Adebayo et al. 2018 show both); None where
    all values of a map are equal.
    """

    original: np.ndarray
    layers: tuple[tuple[str, ...], ...]
    maps: np.ndarray
    correlations: tuple[float | None, ...]
    absolute_correlations: tuple[float | None, ...]


MakeMap = Callable[[Network, np.ndarray], np.ndarray | Generator[Share[np.ndarray], None, None]]
"""Of a network and a picture the map (H, W), at once or as a generator that ends with it."""


def cascading_randomisation(
    network: Network,
    image: np.ndarray,
    make_map: MakeMap,
    most: int = 24,
    seed: int = 0,
) -> Generator[Share[CascadingRandomisation], None, None]:
    """Progress, and last the `CascadingRandomisation` of the map that `make_map(network, image)` makes, (H, W).

    The layers with weights, each with the norm and the gain behind it, get initial values from the last to the first in
    at most `most` steps (statistics of norms too). Branches that start at 0 in training are whole here, with gains of
    1: at 0 no random weight of theirs would show. `make_map` is called once more than there are steps, with a private
    frozen copy: `network` is only read. Shares of a generator are passed on as parts of a step, so that closing this
    one ends that map.
    Raises ValueError where `most` is below 1 or a map is not finite and of two dimensions.
    """
    if most < 1:
        raise ValueError(f"`most` must be at least 1 step, received {most}.")
    randomised, groups = copy.deepcopy(network).freeze(), groups_from_head(network)
    random = _untrained(network, seed)
    count = min(most, len(groups))
    steps = [
        tuple(name for group in groups[i * len(groups) // count : (i + 1) * len(groups) // count] for name in group)
        for i in range(count)
    ]
    original = yield from _map(make_map, randomised, image, 0, count + 1)
    maps: list[np.ndarray] = []
    for names in steps:
        yield Share((len(maps) + 1) / (count + 1))
        _forget(randomised, names, random)
        maps.append((yield from _map(make_map, randomised, image, len(maps) + 1, count + 1)))
    yield Share(
        1.0,
        CascadingRandomisation(
            original,
            tuple(steps),
            np.stack(maps),
            tuple(spearman(original, values) for values in maps),
            tuple(spearman(np.abs(original), np.abs(values)) for values in maps),
        ),
    )


def partly_random(network: Network, count: int, seed: int = 0) -> Network:
    """A private frozen copy whose last `count` layers with weights, and the norms and gains behind them, have initial
    values, as in `cascading_randomisation`."""
    randomised, random = copy.deepcopy(network).freeze(), _untrained(network, seed)
    for names in groups_from_head(network)[:count]:
        _forget(randomised, names, random)
    return randomised


def _untrained(network: Network, seed: int) -> Network:
    """Fresh weights of the same layers but for gains. All branches are whole: those that start at 0 would give 0."""
    spec = network.spec
    whole = spec if spec.branch_start == "full" else replace(spec, branch_start="full")
    return build(whole, _UNTRAINED + seed, network.device)


def _forget(network: Network, names: Iterable[str], random: Network) -> None:
    for name in names:
        module = network.get_submodule(name)
        if isinstance(module, BranchGain):
            nn.init.ones_(module.weight)
        else:
            module.load_state_dict(random.get_submodule(name).state_dict())


def groups_from_head(network: Network) -> list[list[str]]:
    """The names of each layer with weights and of the norm and the gain that follow it, from the last layer to the
    first. A branch's gain is with its last convolution."""
    groups: list[list[str]] = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            groups.append([name])
        elif isinstance(module, nn.BatchNorm2d | BranchGain):
            if not groups:  # a norm of the picture itself
                groups.append([])
            groups[-1].append(name)
    return [group[::-1] for group in reversed(groups)]


def _map(
    make_map: MakeMap, network: Network, image: np.ndarray, before: int, count: int
) -> Generator[Share[CascadingRandomisation], None, np.ndarray]:
    """The map after `before` others of `count`, checked."""
    work = make_map(network, image)
    made = None if isinstance(work, Generator) else work
    if isinstance(work, Generator):
        with closing(work):
            for step in work:
                made = step.result
                if made is None:
                    yield Share((before + step.share) / count)
    if made is None:
        raise ValueError("`make_map` must end with a map, received none; yield it as the `result` of the last share.")
    values = np.array(made, np.float32)
    if values.ndim != 2 or not np.isfinite(values).all():
        raise ValueError(f"`make_map` must make a finite map (H, W), received {values.shape}; fold its channels first.")
    return values


def spearman(a: np.ndarray, b: np.ndarray) -> float | None:
    """Spearman's rank correlation of all values, -1..1: Pearson's of their ranks; equal values share their mean rank.
    None where all values of `a` or of `b` are equal. Raises ValueError where the shapes differ."""
    if a.shape != b.shape:
        raise ValueError(f"`a` and `b` must have one shape, received {a.shape} and {b.shape}.")
    first, second = _ranks(a), _ranks(b)
    first, second = first - first.mean(), second - second.mean()
    scale = np.sqrt((first @ first) * (second @ second))
    return float(np.clip(first @ second / scale, -1, 1)) if scale > 0 else None


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place.ravel()]
