"""The path of a training on a surface: its principal axes, and where its steps lie (Li et al. 2018, section 7)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.architectures import Network
from explorer.experiments.loss_surface.directions import Direction, flat

Weights = Mapping[str, Tensor]
"""Parameters by their names, as a snapshot holds them; more names do no harm."""

Span = tuple[tuple[float, float], tuple[float, float]]
"""The least and the largest coordinate along both axes."""

MARGIN = 0.15  # of the path's extent, around it
FEWEST_STEPS = 3  # whose weights span two directions around their mean
BLOCK_VALUES = 2**18  # of the displacements that are there in float64 at once


@dataclass(frozen=True, eq=False)
class Path:
    """Where a training went, seen from its last weights, the centre: `places` float64 (P, 3), the step and two
    coordinates. `held` is the share of the squared distances to the centre that the two axes hold, 0..1."""

    places: np.ndarray
    held: float


def displacements(network: Network, snapshots: Sequence[tuple[int, Weights]], moved: str = "kernels") -> np.ndarray:
    """The weights of each snapshot less those of the network, float32 (P, weights). Raises ValueError for snapshots of
    another network."""
    parameters = dict(network.named_parameters())
    changes = np.zeros((len(snapshots), sum(own.numel() for own in parameters.values())), np.float32)
    for row, (step, weights) in zip(changes, snapshots, strict=True):
        start = 0
        for name, own in parameters.items():
            if name not in weights or weights[name].shape != own.shape:
                raise ValueError(f"the weights kept at step {step} are of another network: `{name}` does not fit.")
            if own.dim() > 1 or moved == "all":
                change = weights[name].detach().float().cpu() - own.detach().cpu()
                row[start : start + own.numel()] = change.flatten().numpy()
            start += own.numel()
    return changes


def _blocks(changes: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some columns of all rows after others, in float64: a copy of all at once would take twice what the rows do."""
    size = max(1, BLOCK_VALUES // max(1, len(changes)))
    for start in range(0, changes.shape[1], size):
        columns = slice(start, start + size)
        yield columns, changes[:, columns].astype(np.float64)


def principal_directions(network: Network, changes: np.ndarray) -> tuple[Direction, Direction]:
    """The two directions of unit length along which the places of the path vary most: PCA of the displacements less
    their mean, as the published code of Li et al. does it. Signs are such that the first step lies on the positive
    side of the network.

    Raises ValueError for fewer than `FEWEST_STEPS` snapshots that differ.
    """
    gram = np.zeros((len(changes), len(changes)))  # (P, P): far smaller than the weights
    for _, part in _blocks(changes):
        part -= part.mean(0)
        gram += part @ part.T
    values, vectors = np.linalg.eigh(gram)
    if len(values) < FEWEST_STEPS or values[-2] <= 1e-12 * max(values[-1], 1e-300):
        raise ValueError(
            f"the path has no two directions: it needs weights at {FEWEST_STEPS} or more steps that differ; use random "
            "directions."
        )
    weights = vectors[:, [-1, -2]].T / np.sqrt(values[[-1, -2]])[:, None]  # (2, P)
    axes, first = np.empty((2, changes.shape[1]), np.float32), np.zeros(2)
    for columns, part in _blocks(changes):
        along = weights @ (part - part.mean(0))
        axes[:, columns] = along
        first += along @ part[0]
    axes[first < 0] *= -1
    return _as_direction(network, axes[0]), _as_direction(network, axes[1])


def _as_direction(network: Network, vector: np.ndarray) -> Direction:
    direction: Direction = {}
    start = 0
    for name, own in network.named_parameters():
        part = vector[start : start + own.numel()]
        direction[name] = torch.from_numpy(part.reshape(own.shape).copy()).to(own.device)
        start += own.numel()
    return direction


def project(steps: Sequence[int], changes: np.ndarray, axes: Sequence[Direction]) -> Path:
    """The nearest point of the surface to each displacement, as it is and not less the mean. Least squares, since
    random directions are not exactly orthogonal. The second coordinate is 0 along one axis."""
    basis = np.stack([flat(axis).float().numpy() for axis in axes])  # (A, weights)
    products, square, total = np.zeros((len(changes), len(axes))), np.zeros((len(axes), len(axes))), 0.0
    for columns, part in _blocks(changes):
        along = basis[:, columns].astype(np.float64)
        products += part @ along.T  # (P, A)
        square += along @ along.T
        total += float(np.vdot(part, part))
    places = np.linalg.lstsq(square, products.T, rcond=None)[0].T  # (P, A)
    held = float((places * products).sum() / total) if total else 1.0
    both = np.zeros((len(changes), 2))
    both[:, : places.shape[1]] = places
    return Path(np.column_stack([np.asarray(steps, np.float64), both]), min(1.0, max(0.0, held)))


def range_of(path: Path) -> Span:
    """The least and largest coordinate of both axes that show the whole path and the centre, with a margin."""
    spans = []
    for column in (1, 2):
        low, high = min(0.0, path.places[:, column].min()), max(0.0, path.places[:, column].max())
        room = MARGIN * max(high - low, 1e-6)
        spans.append((float(low - room), float(high + room)))
    return spans[0], spans[1]
