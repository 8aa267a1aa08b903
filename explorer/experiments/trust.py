"""Which method's map can be trusted: all of them beside exact masks, exchanged pixels and random weights.

Each picture's true class is explained. Three maps that know nothing of the network stand beside the methods: the
object's mask, the centre of the picture, and noise.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
import torch

from explorer.architectures import ArchitectureSpec, Network
from explorer.attribution import METHODS, as_map, cost, explain, parameters_of
from explorer.attribution.batches import FAST, fast_maps
from explorer.attribution.explanation import baseline, pictures_at_once, probabilities
from explorer.attribution.faithfulness import groups_from_head, partly_random, spearman
from explorer.attribution.methods import Value, without_rule
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments.agreement import class_order, images_for
from explorer.experiments.cam_metrics import as_seen
from explorer.experiments.throughput import on_all_cores
from explorer.intervals import Mean, accuracy, bootstrap_means
from explorer.labels import CONTROL_MAPS, EVIDENCE, RANDOM_LEVELS
from explorer.tracing import check_evaluation_mode

CONTROLS = tuple(CONTROL_MAPS)
SETTINGS: Mapping[str, Mapping[str, Value]] = MappingProxyType(
    {"integrated_gradients": {"steps": 20}, "smoothgrad": {"samples": 20}, "rise": {"masks": 300}}
)
"""Fewer steps than Explore takes of the methods of many passes; the others have their defaults."""
MOST_PASSES = 6000  # of all pictures of a method of many passes together
FEWEST_PICTURES = 40  # of such a method, whatever it costs
CURVE_PICTURES = 60
USUAL = 200  # pictures
RANDOM_PICTURES = 50
RANDOM_PICTURES_SLOW = 6
CURVE_STEPS = 8
SEED = 0
_CHUNK = 16

Measure = Literal["hits", "shares", "deletions", "insertions"]


@dataclass(frozen=True, eq=False)
class TrustTable:
    """The measures of each of `methods` (M) on each of N pictures, float64; NaN where a picture was not measured.

    `hits` (M, N) is 1 where the map's largest value lies on the object, else 0. `shares` (M, N) is the share of its
    positive values there, 0..1; NaN for a map without such. `deletions` and `insertions` (M, N) are areas under the
    target's probability, 0..1. `correlations` (M, L, N) are Spearman's between the absolute map of the network and that
    after each of `levels` was made random. `covered` (N,) is the object's share of the picture, 0..1. `layer` is that
    of the class activation maps.
    """

    methods: tuple[str, ...]
    levels: tuple[str, ...]
    layer: str
    hits: np.ndarray
    shares: np.ndarray
    deletions: np.ndarray
    insertions: np.ndarray
    correlations: np.ndarray
    covered: np.ndarray

    @property
    def n(self) -> int:
        return len(self.covered)

    def pointing(self, method: str) -> Mean:
        """How often the map points at the object, with Wilson's interval."""
        found = _known(self.hits[self.methods.index(method)])
        right = accuracy(int(found.sum()), len(found))
        return Mean(right.share, right.low, right.high, right.n)

    def mean(self, measure: Measure, method: str) -> Mean | None:
        """Of the pictures that were measured; None where there is none."""
        return self._means[measure, method]

    def similarity(self, method: str, level: str) -> Mean | None:
        """The mean rank correlation once `level` is random; None where no map has an order."""
        return self._means[level, method]

    def beside(self, measure: Measure, method: str, control: str) -> Mean | None:
        """The mean difference of the method from a control, picture by picture, on those that both have."""
        return self._means[measure, method, control]

    @cached_property
    def _means(self) -> Mapping[tuple[str, ...], Mean | None]:
        """All of them at once: the samples of the bootstrap serve every row of as many pictures."""
        rows: dict[tuple[str, ...], np.ndarray] = {}
        places = {name: self.methods.index(name) for name in CONTROLS}
        for row, method in enumerate(self.methods):
            for measure in get_args(Measure):
                values = getattr(self, measure)
                rows[measure, method] = _known(values[row])
                for name, place in places.items():
                    rows[measure, method, name] = _known(values[row] - values[place])
            for index, level in enumerate(self.levels):
                rows[level, method] = _known(self.correlations[row, index])
        measured = [key for key, known in rows.items() if known.size]
        means = bootstrap_means([rows[key] for key in measured])
        return {**dict.fromkeys(rows), **dict(zip(measured, means, strict=True))}

    @property
    def ranked(self) -> tuple[str, ...]:
        """The methods and controls, the one that points at the object most often first."""
        found = {name: self.pointing(name) for name in self.methods}
        return tuple(sorted(found, key=lambda name: (-found[name].value, -found[name].n)))


def _known(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]


def title_of(method: str) -> str:
    """The title of a method, of "gradient", "grad_cam" or "signed_grad_cam", or of a control."""
    own = {"gradient": "Gradient", "grad_cam": EVIDENCE["positive"], "signed_grad_cam": EVIDENCE["signed"]}
    own |= CONTROL_MAPS
    return own.get(method) or METHODS[method].title


def methods_of(spec: ArchitectureSpec) -> tuple[str, ...]:
    """The methods that can explain a network of this spec. Raises ValueError for one without feature maps."""
    layer_of(spec)
    known = dict.fromkeys((*FAST, *METHODS))
    return tuple(name for name in known if name != "deep_lift" or not without_rule(spec))


def layer_of(spec: ArchitectureSpec) -> str:
    """The layer of the class activation maps: the last one with feature maps."""
    parameters = parameters_of("grad_cam_pp", spec)
    if not parameters:
        raise ValueError(f"{spec.name} has no layer with feature maps; choose another network.")
    return str(parameters[0].default)


def pictures_of(method: str, spec: ArchitectureSpec, n: int) -> int:
    """Of n pictures those that a method explains: all, or a quarter, within limits, where each takes many passes."""
    if method in FAST or method in CONTROLS:
        return n
    return min(n, max(FEWEST_PICTURES, min(n // 4, MOST_PASSES // _passes(method, spec))))


def _passes(method: str, spec: ArchitectureSpec) -> int:
    return cost(method, spec, SETTINGS.get(method, {})).passes


def passes(spec: ArchitectureSpec, n: int) -> int:
    """Passes, forward or back, that `trust` takes for n pictures."""
    return sum(job.passes for job in _jobs(spec, methods_of(spec), n))


# --- the measures of one map ------------------------------------------------------------------------------------------


def points_at(values: np.ndarray, mask: np.ndarray, draw: np.random.Generator) -> bool:
    """The pointing game (Zhang et al. 2018, section 4.1), without their margin: whether the largest value of a map
    (H, W) lies on the mask. Of several that are equal one is drawn, so that a map of one value hits by chance."""
    places = np.flatnonzero(values == values.max())
    return bool(mask.ravel()[draw.choice(places)])


def share_on_mask(values: np.ndarray, mask: np.ndarray) -> float:
    """The share of a map's positive values on the mask, 0..1; NaN where no value is positive."""
    positive = np.maximum(values, 0).astype(np.float64)
    total = positive.sum()
    return float(positive[mask].sum() / total) if total > 0 else np.nan


def curve_areas(
    network: Network,
    image: np.ndarray,
    maps: np.ndarray,
    target: int,
    kind: Literal["deletion", "insertion"],
    steps: int = CURVE_STEPS,
    seed: int = SEED,
) -> np.ndarray:
    """The areas under `perturbation_curve` of maps (M, H, W) on one picture, float64 (M,), in one batch: both ends of
    all curves are the same."""
    empty = baseline(image, "mean" if kind == "deletion" else "blur")
    before, after = (image, empty) if kind == "deletion" else (empty, image)
    counts = np.rint(np.linspace(0, maps[0].size, steps + 1)).astype(int)
    ranks = np.empty(maps.shape, int)
    for each, rank in zip(maps, ranks, strict=True):
        order = np.lexsort((np.random.default_rng(seed).random(each.size), -each.ravel()))
        rank.ravel()[order] = np.arange(each.size)
    exchanged = ranks[:, None] < counts[1:-1, None, None]  # (M, steps - 1, H, W)
    inner = np.where(exchanged[:, :, None], after, before).reshape(-1, *image.shape)
    found = probabilities(network, np.concatenate([[before, after], inner.astype(np.float32)]), target)
    curves = np.empty((len(maps), steps + 1))
    curves[:, 0], curves[:, -1] = found[:2]
    curves[:, 1:-1] = found[2:].reshape(len(maps), steps - 1)
    return np.trapezoid(curves, counts / maps[0].size, axis=1)


def control(name: str, mask: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """A map (H, W) that knows nothing of the network: the "mask" itself, "noise", evenly distributed, or the "centre",
    a Gaussian whose standard deviation is a quarter of the shorter side."""
    if name == "mask":
        return mask.astype(np.float32)
    if name == "noise":
        return draw.random(mask.shape)
    rows, columns = (np.arange(side) - (side - 1) / 2 for side in mask.shape)
    spread = min(mask.shape) / 4
    return np.asarray(np.exp(-(rows[:, None] ** 2 + columns**2) / (2 * spread**2)))


# --- all of them ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Job:
    """A part of the work: `kind` of measure, for the methods `names`, on the pictures `which`; it takes `passes`."""

    kind: Literal["maps", "curves", "random"]
    names: tuple[str, ...]
    which: tuple[int, ...]
    passes: int


def _jobs(spec: ArchitectureSpec, methods: Sequence[str], n: int) -> list[_Job]:
    """Pictures are taken in one random order, so that fewer pictures are among those of every larger choice."""
    order = [int(each) for each in np.random.default_rng(SEED).permutation(n)]
    fast = tuple(name for name in methods if name in FAST)
    slow = {name: _passes(name, spec) for name in methods if name not in FAST}
    both = (*CONTROLS, *fast)
    at_once = min(_CHUNK, pictures_at_once(spec))
    once = 2 + 2 * ("guided_backprop" in fast) + 4 * ("deep_lift" in fast)  # passes of `fast_maps`
    jobs = []
    for name, each in slow.items():
        for index, at in enumerate(order[: pictures_of(name, spec, n)]):
            areas = 2 * (CURVE_STEPS + 1) if index < CURVE_PICTURES else 0
            jobs.append(_Job("maps", (name,), (at,), each + areas))
    for at in order[:RANDOM_PICTURES_SLOW]:
        jobs += [_Job("random", (name,), (at,), (1 + len(RANDOM_LEVELS)) * each) for name, each in slow.items()]
    for first in range(0, n, at_once):
        which = tuple(order[first : first + at_once])
        jobs.append(_Job("maps", both, which, once * len(which)))
    for at in order[:CURVE_PICTURES]:
        jobs.append(_Job("curves", both, (at,), once + 2 * (2 + len(both) * (CURVE_STEPS - 1))))
    for first in range(0, min(n, RANDOM_PICTURES), at_once):
        which = tuple(order[first : min(first + at_once, RANDOM_PICTURES)])
        jobs.append(_Job("random", both, which, (1 + len(RANDOM_LEVELS)) * once * len(which)))
    return jobs


def trust(
    checkpoint: Checkpoint, split: Split, class_names: Sequence[str], threads: int | None = None
) -> Generator[tuple[float, TrustTable | None], None, None]:
    """The `TrustTable` of all methods of a network on the pictures of `split`, which has masks.

    The labels of `split` count `class_names`. All pictures are explained by the fast methods, fewer by those of many
    passes (`pictures_of`); up to `CURVE_PICTURES` are measured by deletion and insertion, in `CURVE_STEPS` steps, and
    up to `RANDOM_PICTURES`, or `RANDOM_PICTURES_SLOW`, under random weights. `threads` are those of `on_all_cores`.

    Yields (fraction done, None) and ends with (1.0, the table). Closing the generator ends the work within a map. The
    network is left as it was found, and threads may share it. Raises ValueError for a split without masks or pictures,
    other classes, a network in training mode or without feature maps, or logits that are not finite.
    """
    order = class_order(checkpoint, class_names)
    check_evaluation_mode(checkpoint.network)
    if split.masks is None:
        raise ValueError("`split` has no masks, so nobody knows where the objects are; choose the drawn shapes.")
    if not len(split):
        raise ValueError("`split` holds no images, so there is nothing to explain; choose another split.")
    methods, layer = methods_of(checkpoint.spec), layer_of(checkpoint.spec)
    rows = {name: row for row, name in enumerate((*methods, *CONTROLS))}
    work = _Work(checkpoint, split, [order[label] for label in split.labels], layer)
    n, count = len(split), len(rows)
    found = {name: np.full((count, n), np.nan) for name in ("hits", "shares", "deletions", "insertions")}
    correlations = np.full((count, len(RANDOM_LEVELS), n), np.nan)
    jobs = _jobs(checkpoint.spec, methods, n)
    done, total = 0, sum(job.passes for job in jobs)
    curved = {job.which[0] for job in jobs if job.kind == "curves"}
    threads = threads if checkpoint.network.device.type == "cpu" else 1
    with closing(on_all_cores((partial(work.measured, job, curved) for job in jobs), threads)) as results:
        for job, measured in zip(jobs, results, strict=True):
            for measure, name, at, value in measured:
                if measure == "correlations":
                    correlations[rows[name], :, at] = value
                else:
                    found[measure][rows[name], at] = value
            done += job.passes
            if done < total:
                yield done / total, None
    covered = np.array([work.mask(at).mean() for at in range(n)])
    yield 1.0, TrustTable(tuple(rows), tuple(RANDOM_LEVELS), layer, **found, correlations=correlations, covered=covered)


_Measured = list[tuple[str, str, int, float | list[float]]]
"""Of each: the measure, the method, the picture, the value."""


class _Work:
    """What all jobs share; threads only read it."""

    def __init__(self, checkpoint: Checkpoint, split: Split, targets: Sequence[int], layer: str) -> None:
        self.checkpoint, self.split, self.targets, self.layer = checkpoint, split, targets, layer
        with torch.no_grad():
            logits = checkpoint.network(images_for(checkpoint, split.images[:1]))
        if not logits.isfinite().all():
            raise ValueError("the network's logits are not finite; choose other weights.")
        layers = len(groups_from_head(checkpoint.network))
        counts = {"head": 1, "half": max(1, layers // 2), "all": layers}
        self.random = [partly_random(checkpoint.network, counts[level], SEED) for level in RANDOM_LEVELS]

    def mask(self, at: int) -> np.ndarray:
        assert self.split.masks is not None
        return as_seen(self.checkpoint, self.split.masks[at])

    def measured(self, job: _Job, curved: set[int]) -> _Measured:
        images = images_for(self.checkpoint, self.split.images[list(job.which)]).numpy(force=True)
        whole = self.maps(self.checkpoint.network, job.names, job.which, images, 0)
        if job.kind == "random":
            return self.correlated(job, images, whole)
        found: _Measured = []
        for place, at in enumerate(job.which):
            maps = np.stack([whole[name][place] for name in job.names])
            if job.kind == "maps":
                mask, draw = self.mask(at), np.random.default_rng([SEED, at])
                for name, values in zip(job.names, maps, strict=True):
                    found.append(("hits", name, at, float(points_at(values, mask, draw))))
                    found.append(("shares", name, at, share_on_mask(values, mask)))
            if job.kind == "curves" or (at in curved and job.names[0] not in CONTROLS):
                target = self.targets[at]
                for measure, kind in _CURVES.items():
                    areas = curve_areas(self.checkpoint.network, images[place], maps, target, kind)
                    found += [(measure, name, at, area) for name, area in zip(job.names, areas.tolist(), strict=True)]
        return found

    def correlated(self, job: _Job, images: np.ndarray, whole: Mapping[str, np.ndarray]) -> _Measured:
        levels = [self.maps(each, job.names, job.which, images, 1 + index) for index, each in enumerate(self.random)]
        return [
            ("correlations", name, at, [_alike(whole[name][place], maps[name][place]) for maps in levels])
            for name in job.names
            for place, at in enumerate(job.which)
        ]

    def maps(
        self, network: Network, names: Sequence[str], which: Sequence[int], images: np.ndarray, draw: int
    ) -> dict[str, np.ndarray]:
        """By method (N, H, W). `draw` numbers the noise: it differs from call to call as a random map does."""
        targets = [self.targets[at] for at in which]
        found: dict[str, np.ndarray] = {}
        if fast := [name for name in names if name in FAST]:
            found |= fast_maps(network, images, targets, self.layer, fast)
        for name in names:
            if name in CONTROLS:
                drawn = [np.random.default_rng([SEED, at, draw, 1]) for at in which]
                found[name] = np.stack(
                    [control(name, self.mask(at), each) for at, each in zip(which, drawn, strict=True)]
                )
            elif name not in FAST:
                settings = SETTINGS.get(name, {})
                pairs = zip(images, targets, strict=True)
                found[name] = np.stack([_explained(network, image, target, name, settings) for image, target in pairs])
        return {name: np.nan_to_num(values) for name, values in found.items()}


_CURVES: Mapping[str, Literal["deletion", "insertion"]] = {"deletions": "deletion", "insertions": "insertion"}


def _explained(
    network: Network, image: np.ndarray, target: int, method: str, settings: Mapping[str, Value]
) -> np.ndarray:
    *_, last = explain(network, image, target, method, settings, SEED)
    assert last.result is not None
    return as_map(last.result)


def _alike(one: np.ndarray, other: np.ndarray) -> float:
    found = spearman(np.abs(one), np.abs(other))
    return np.nan if found is None else found
