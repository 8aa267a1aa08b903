"""What one channel answers to natural pictures: the strongest and the weakest of them, and where."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, describe
from explorer.attribution.explanation import pictures_at_once
from explorer.checkpoints import Checkpoint
from explorer.experiments.agreement import images_for
from explorer.tracing import check_evaluation_mode

SHOWN = 9


@dataclass(frozen=True)
class Unit:
    """Channel `channel` of `layer`, a dotted name."""

    layer: str
    channel: int

    def __str__(self) -> str:
        return f"{self.layer}, channel {self.channel}"


@dataclass(frozen=True, eq=False)
class Colours:
    """Statistics of the pixels of pictures, as shares of 1 of a network's C colours: mean float64 (C,) and covariance
    float64 (C, C)."""

    mean: np.ndarray
    covariance: np.ndarray


@dataclass(frozen=True, eq=False)
class UnitAnswers:
    """What a unit answers to N pictures, in their order.

    `values` float32 (N,): the maximum of its feature map, by which pictures are ranked. `positions` int64 (N, 2): row
    and column of that maximum on the map, the first one of several. `is_flat` bool (N,): the whole map has one value,
    so that no place stands out. `colours` are those of all N pictures.
    """

    unit: Unit
    values: np.ndarray
    positions: np.ndarray
    is_flat: np.ndarray
    colours: Colours

    @property
    def n(self) -> int:
        return len(self.values)

    @property
    def shown(self) -> int:
        """Pictures at each end: `SHOWN`, or fewer where no picture may stand at both ends."""
        return min(SHOWN, max(1, self.n // 2))

    @property
    def strongest(self) -> np.ndarray:
        """int64 (shown,): the pictures with the largest values, the largest first; of equal ones the first."""
        return np.argsort(-self.values, kind="stable")[: self.shown]

    @property
    def weakest(self) -> np.ndarray:
        """int64 (shown,): the pictures with the smallest values, the smallest first; of equal ones the first."""
        return np.argsort(self.values, kind="stable")[: self.shown]


def box_of(spec: ArchitectureSpec, unit: Unit, position: Sequence[int]) -> tuple[int, int, int, int]:
    """The pixels of the network's input that the value at that position can depend on: top, left, bottom and right
    (both exclusive), cut at the edge. All of them where it depends on none."""
    found = describe(spec).reach(unit.layer, (unit.channel, int(position[0]), int(position[1])))
    if found is None:
        return 0, 0, spec.input_shape[1], spec.input_shape[2]
    return found.top, found.left, found.bottom + 1, found.right + 1


def macs_to(spec: ArchitectureSpec, layer: str) -> int:
    """Multiply-accumulates for one image up to that layer."""
    total = 0
    for entry in describe(spec).layers:
        total += entry.macs
        if entry.name == layer:
            break
    return total


def check_unit(spec: ArchitectureSpec, unit: Unit) -> None:
    """Raises ValueError for a layer without feature maps, or a channel that it does not have."""
    known = {entry.name: entry.output_shape for entry in describe(spec).layers if len(entry.output_shape) == 3}
    if unit.layer not in known:
        raise ValueError(
            f"`layer` must be one with feature maps, received {unit.layer[:80]!r}; choose a convolution or a block."
        )
    if unit.channel not in range(known[unit.layer][0]):
        raise ValueError(
            f"`channel` of `{unit.layer}` must be a whole number from 0 to {known[unit.layer][0] - 1}, received "
            f"{unit.channel!r}."
        )


class _Reached(Exception):
    """Ends a pass at the wanted layer."""


def map_of(network: Network, images: Tensor, unit: Unit, leak: float = 0.0) -> Tensor:
    """The unit's feature maps (N, H', W') of these inputs (N, C, H, W). Nothing behind its layer is computed.

    With `leak` a gradient also passes the ReLUs at values below 0, at that share; no value changes.
    """
    wanted = network.get_submodule(unit.layer)
    found: list[Tensor] = []

    def run(module: nn.Module, *inputs: object) -> Tensor:
        output: Tensor = module(*inputs)
        if leak and isinstance(module, nn.ReLU):
            passed: Tensor = leak * inputs[0]  # type: ignore[operator, assignment]
            output = output + (passed - passed.detach())
        if module is wanted:
            found.append(output)
            raise _Reached
        return output

    try:
        network(images, run)
    except _Reached:
        pass
    last = getattr(wanted, "channels_last", False)  # as some layers of an ONNX network have them
    return found[0][..., unit.channel] if last else found[0][:, unit.channel]


def natural_answers(
    checkpoint: Checkpoint, images: np.ndarray, unit: Unit
) -> Generator[tuple[float, UnitAnswers | None], None, None]:
    """What the unit answers to `images`, uint8 (N, 3, H, W), as Explore gives them to the network.

    Yields (fraction done, None) after every batch, and at the end 1 with the answers. Raises ValueError for a unit that
    the network does not have, fewer than 2 images, or a network in training mode.
    """
    spec, network = checkpoint.spec, checkpoint.network
    check_unit(spec, unit)
    check_evaluation_mode(network)
    if len(images) < 2:
        raise ValueError("`images` must hold two pictures or more, else none is stronger; choose more.")
    values, positions, is_flat = [], [], []
    total, products = np.zeros(spec.input_shape[0]), np.zeros((spec.input_shape[0],) * 2)
    at_once = pictures_at_once(spec)
    for first in range(0, len(images), at_once):
        batch = images_for(checkpoint, images[first : first + at_once])
        with torch.no_grad():
            maps = map_of(network, batch, unit)
            peaks, places = maps.flatten(1).max(dim=1)
            lows = maps.flatten(1).min(dim=1).values
        values.append(peaks.numpy(force=True))
        positions.append(np.stack(np.divmod(places.numpy(force=True), maps.shape[2]), axis=1))
        is_flat.append((peaks == lows).numpy(force=True))
        pixels = shares_of(checkpoint, batch).transpose(0, 1).flatten(1).double()  # (C, pixels)
        total += pixels.sum(1).numpy(force=True)
        products += (pixels @ pixels.T).numpy(force=True)
        yield min(0.999, (first + at_once) / len(images)), None
    count = len(images) * spec.input_shape[1] * spec.input_shape[2]
    mean = total / count
    colours = Colours(mean, products / count - np.outer(mean, mean))
    found = UnitAnswers(unit, np.concatenate(values), np.concatenate(positions), np.concatenate(is_flat), colours)
    if not np.isfinite(found.values).all():
        raise ValueError(f"the values of {unit} are not finite for some images; choose other weights.")
    yield 1.0, found


def shares_of(checkpoint: Checkpoint, inputs: Tensor) -> Tensor:
    """The pixels behind normalised inputs (N, C, H, W), 0..1."""
    mean, std = (torch.tensor(each, device=inputs.device)[:, None, None] for each in (checkpoint.mean, checkpoint.std))
    return inputs * std + mean
