"""A private copy of a network that is moved along directions, and what it says there."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import GraphSpec, Network
from explorer.architectures.folding import fold
from explorer.experiments.loss_surface.directions import Direction
from explorer.experiments.loss_surface.settings import SurfaceSettings

Move = Sequence[tuple[float, Sequence[Tensor]]]
"""Steps along directions, each as `Origin.along` gives it."""


@dataclass(frozen=True, eq=False)
class Labelled:
    """Images, float32 (N, C, H, W), normalised, in channels-last memory, and their labels, int64 (N,), which count the
    network's own outputs."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


def norms(network: Network) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


class Origin:
    """Where the surface has its centre: the network as it is evaluated, and its parameters that move.

    With frozen statistics a norm is a factor and an offset of each channel, so it goes into the convolution before it
    where that is possible. This is linear in the kernels: it is done once for the centre and once for each direction,
    and not at every point. `network` is a copy; the one that is given stays as it is.
    """

    def __init__(self, network: Network, settings: SurfaceSettings) -> None:
        self.given = network
        self.is_recomputed = settings.statistics == "recomputed"
        self.network = copy.deepcopy(network)
        self.is_folded = False
        if not self.is_recomputed and settings.moved == "kernels":
            try:
                self.network = fold(network)
                self.is_folded = True
            except ValueError:
                pass  # its norms stand elsewhere, or it has none
        self.network.freeze().to(memory_format=torch.channels_last)
        one_axis_moves = settings.moved == "all"
        self.names = [name for name, each in self.network.named_parameters() if each.dim() > 1 or one_axis_moves]
        self.weights = [each.detach().clone() for each in self._parameters(self.network)]

    def along(self, direction: Direction) -> list[Tensor]:
        """What a step of 1 along the direction adds to each of the parameters that move."""
        if not self.is_folded:
            return [direction[name].contiguous(memory_format=_format(direction[name])) for name in self.names]
        moved = copy.deepcopy(self.given)
        with torch.no_grad():
            for name, parameter in moved.named_parameters():
                parameter.add_(direction[name])
        after = self._parameters(fold(moved).to(memory_format=torch.channels_last))
        return [(there - here).detach() for there, here in zip(after, self.weights, strict=True)]

    def _parameters(self, network: Network) -> list[nn.Parameter]:
        parameters = dict(network.named_parameters())
        return [parameters[name] for name in self.names]


class Placed:
    """A copy of an origin's network for one thread."""

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.network = copy.deepcopy(origin.network)
        self._moving = origin._parameters(self.network)
        self._norms = norms(self.network) if origin.is_recomputed else []
        for norm in self._norms:
            norm.momentum = 1.0  # the statistics of the last pass alone
        spec = self.network.spec
        if not isinstance(spec, GraphSpec) and not spec.preactivation:
            # There nothing else takes the input of an activation, so it may be overwritten.
            for module in self.network.modules():
                if isinstance(module, nn.ReLU):
                    module.inplace = True

    @torch.no_grad()
    def move(self, steps: Move) -> None:
        """Writes the weights of that place: centre + Σ step · direction."""
        for place, (parameter, centre) in enumerate(zip(self._moving, self.origin.weights, strict=True)):
            target = parameter.data
            if not steps:
                target.copy_(centre)
            for index, (step, direction) in enumerate(steps):
                torch.add(target if index else centre, direction[place], alpha=step, out=target)

    @torch.inference_mode()
    def statistics(self, pictures: Labelled) -> Tensor:
        """Sets the statistics of all norms to those of all these pictures at this place: (N, classes), the logits of
        that pass in training mode, in which each norm divides by the biased variance."""
        for norm in self._norms:
            norm.reset_running_stats()  # a place without finite numbers leaves none behind
            norm.train()
        try:
            return self.network(pictures.images)
        finally:
            for norm in self._norms:
                norm.eval()

    @torch.inference_mode()
    def logits(self, pictures: Labelled, part: slice, at_once: int) -> Tensor:
        """(N, classes), in evaluation mode."""
        found = [
            self.network(pictures.images[start : min(start + at_once, part.stop)])
            for start in range(part.start, part.stop, at_once)
        ]
        return torch.cat(found)


@torch.inference_mode()
def sums(logits: Tensor, labels: Tensor, temperature: float) -> tuple[float, float]:
    """The sum of the cross-entropies, and the number of wrong answers; both NaN where a logit is not finite."""
    if not logits.isfinite().all():
        return float("nan"), float("nan")
    losses = F.cross_entropy(logits.double() / temperature, labels, reduction="sum")
    return float(losses), float((logits.argmax(1) != labels).sum())


def _format(weights: Tensor) -> torch.memory_format:
    return torch.channels_last if weights.dim() == 4 else torch.contiguous_format
