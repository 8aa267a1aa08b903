"""The path of a training on a surface: its principal axes, and where its steps lie (Li et al. 2018, section 7)."""

from collections.abc import Mapping, Sequence
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


@dataclass(frozen=True, eq=False)
class Path:
    """Where a training went, seen from its last weights, the centre: `places` float64 (P, 3), the step and two
    coordinates. `held` is the share of the squared distances to the centre that the two axes hold, 0..1."""

    places: np.ndarray
    held: float


def displacements(network: Network, snapshots: Sequence[tuple[int, Weights]], moved: str = "kernels") -> np.ndarray:
    """The weights of each snapshot less those of the network, float32 (P, weights). Raises ValueError for snapshots of
    another network."""
    rows = []
    for step, weights in snapshots:
        change = {}
        for name, own in network.named_parameters():
            if name not in weights or weights[name].shape != own.shape:
                raise ValueError(f"the weights kept at step {step} are of another network: `{name}` does not fit.")
            moves = own.dim() > 1 or moved == "all"
            change[name] = weights[name].float().cpu() - own.cpu() if moves else torch.zeros_like(own)
        rows.append(flat(change).float().numpy())
    return np.stack(rows) if rows else np.zeros((0, 0), np.float32)


def principal_directions(network: Network, changes: np.ndarray) -> tuple[Direction, Direction]:
    """The two directions of unit length along which the path's distances to the centre are largest: PCA of the
    displacements, not centred, as in Li et al. Signs are such that the first step lies on the positive side.

    Raises ValueError for fewer than two snapshots that differ.
    """
    gram = changes.astype(np.float64) @ changes.T.astype(np.float64)  # (P, P): far smaller than the weights
    values, vectors = np.linalg.eigh(gram)
    if len(values) < 2 or values[-2] <= 1e-12 * max(values[-1], 1e-300):
        raise ValueError(
            "the path has no two directions: it needs weights at two or more steps that differ; use random directions."
        )
    made = []
    for place in (-1, -2):
        axis = (vectors[:, place] @ changes.astype(np.float64)) / np.sqrt(values[place])
        if axis @ changes[0] < 0:
            axis = -axis
        made.append(_as_direction(network, axis))
    return made[0], made[1]


def _as_direction(network: Network, vector: np.ndarray) -> Direction:
    direction: Direction = {}
    start = 0
    for name, own in network.named_parameters():
        part = vector[start : start + own.numel()]
        direction[name] = torch.from_numpy(part.reshape(own.shape).astype(np.float32)).to(own.device)
        start += own.numel()
    return direction


def project(steps: Sequence[int], changes: np.ndarray, axes: Sequence[Direction]) -> Path:
    """The nearest point of the surface to each displacement: least squares, since random directions are not exactly
    orthogonal. The second coordinate is 0 along one axis."""
    basis = np.stack([flat(axis).numpy() for axis in axes])  # (A, weights)
    products = changes.astype(np.float64) @ basis.T  # (P, A)
    places = np.linalg.lstsq(basis @ basis.T, products.T, rcond=None)[0].T  # (P, A)
    total = float((changes.astype(np.float64) ** 2).sum())
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
