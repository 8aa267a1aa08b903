"""A picture that is made for one channel by gradient ascent (Erhan et al. 2009; Olah, Mordvintsev and Schubert 2017,
"Feature Visualization").

The picture is a sum of waves in decorrelated colours, and is moved by some pixels before each step. All of it is
our own code; the colours come from the statistics of the pictures beside which it is shown.
"""

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.architectures import ArchitectureSpec, describe
from explorer.checkpoints import Checkpoint
from explorer.experiments.units.natural import Colours, Unit, UnitAnswers, check_unit, map_of
from explorer.tracing import check_evaluation_mode

STEPS = 128  # some seconds for a ResNet-20 at 32 pixels on two slow cores
RATE = 0.05  # of Adam
START = 0.01  # standard deviation of each wave's amplitude at first
LEAK = 0.01  # share of a gradient that passes a ReLU at 0: a unit that is silent at first could never be woken
CHEAP_MACS = 200_000_000  # of a pass up to which a second picture, which minimises, is made too


@dataclass(frozen=True, eq=False)
class OptimisedPicture:
    """A picture, uint8 (H, W, 3), as the network sees it. `value` is the maximum of the unit's feature map, `start`
    the same before the first step, `position` its row and column."""

    pixels: np.ndarray
    value: float
    start: float
    position: tuple[int, int]


@dataclass(frozen=True, eq=False)
class OptimisedPictures:
    """Those of one unit and seed: one that maximises its value and, where it was asked for, one that minimises it."""

    unit: Unit
    seed: int
    steps: int
    maximising: OptimisedPicture
    minimising: OptimisedPicture | None


class Waves:
    """Pictures (N, C, H, W) of shares 0..1 from the amplitudes of waves, `parameters` (N, C, H, W / 2 + 1, 2).

    A wave of frequency f has 1 / f of its amplitude, as in natural pictures (Field 1987). The C colours are mixed by
    the square root of their covariance. So unit amplitudes have the colours of the pictures that `colours` are of. A
    logistic function keeps all of it in 0..1; around the mean colour its slope is 1.
    """

    def __init__(self, colours: Colours, size: tuple[int, int]) -> None:
        height, width = size
        rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
        frequencies = np.maximum(np.hypot(rows, columns), 1 / max(size))
        scale = 1 / frequencies
        self.size = size
        self.scale = torch.tensor(scale / np.sqrt((scale**2).mean()) * np.sqrt(height * width), dtype=torch.float32)
        values, vectors = np.linalg.eigh(colours.covariance)
        root = vectors * np.sqrt(np.clip(values, 1e-6, None)) @ vectors.T
        mean = np.clip(colours.mean, 0.05, 0.95)
        self.mix = torch.tensor(root / (mean * (1 - mean))[:, None], dtype=torch.float32)
        self.centre = torch.tensor(np.log(mean / (1 - mean)), dtype=torch.float32)[:, None, None]

    def picture(self, parameters: Tensor) -> Tensor:
        waves = torch.view_as_complex(parameters) * self.scale
        values = torch.fft.irfft2(waves, s=self.size)  # (N, C, H, W)
        mixed = torch.einsum("dc,nchw->ndhw", self.mix, values)
        return torch.sigmoid(mixed + self.centre)


def minimises(spec: ArchitectureSpec, answers: UnitAnswers) -> bool:
    """Whether a second picture that minimises is worth its time: it is cheap, and no natural picture has silenced the
    unit already, as behind a ReLU, where no value is below 0."""
    return describe(spec).macs <= CHEAP_MACS and not answers.is_flat[answers.weakest[0]]


def optimise(
    checkpoint: Checkpoint, unit: Unit, colours: Colours, seed: int = 0, steps: int = STEPS, minimise: bool = False
) -> Generator[tuple[float, OptimisedPictures | None], None, None]:
    """A picture that makes the maximum of the unit's map large, and with `minimise` another that makes it small.

    What is maximised is a soft maximum of the map M, s log(sum(exp(M / s))) with its standard deviation s: of the
    maximum itself only one place would learn. The best picture of all steps is kept. `colours` are those of the
    natural pictures beside it. Yields (fraction, None) after every step, then 1 with the pictures. The same seed gives
    the same bits. Raises ValueError as `natural_answers`.
    """
    spec, network = checkpoint.spec, checkpoint.network
    check_unit(spec, unit)
    check_evaluation_mode(network)
    device = network.device
    channels, height, width = spec.input_shape
    signs = torch.tensor([1.0, -1.0] if minimise else [1.0], device=device)
    generator = torch.Generator().manual_seed(seed)
    waves = Waves(colours, (height, width))
    waves.scale, waves.mix, waves.centre = (each.to(device) for each in (waves.scale, waves.mix, waves.centre))
    start = START * torch.randn(1, channels, height, width // 2 + 1, 2, generator=generator)
    parameters = start.repeat(len(signs), 1, 1, 1, 1).to(device).requires_grad_()
    adam = torch.optim.Adam([parameters], RATE)
    mean, std = (torch.tensor(each, device=device)[:, None, None] for each in (checkpoint.mean, checkpoint.std))
    reach = max(1, max(height, width) // 16)  # pixels of the jitter

    def seen(pictures: Tensor) -> tuple[np.ndarray, Tensor]:
        """The pictures in 256 levels, as they are saved, and the maps of these."""
        levels = (pictures.detach() * 255).round()
        with torch.no_grad():
            maps = map_of(network, (levels / 255 - mean) / std, unit)
        return levels.permute(0, 2, 3, 1).to(torch.uint8).numpy(force=True), maps

    first = waves.picture(parameters)
    _, first_maps = seen(first)
    best, peaks = first.detach(), signs * first_maps.amax((1, 2))
    for step in range(steps):
        with torch.enable_grad():
            down, right = torch.randint(-reach, reach + 1, (2,), generator=generator).tolist()
            pictures = waves.picture(parameters).roll((down, right), (2, 3))
            maps = map_of(network, (pictures - mean) / std, unit, LEAK)
            objective = (signs * _soft_maximum(maps)).sum()
            (parameters.grad,) = torch.autograd.grad(-objective, parameters)
        reached = signs * maps.detach().amax((1, 2))
        is_better = reached > peaks
        peaks = torch.where(is_better, reached, peaks)
        best = torch.where(is_better[:, None, None, None], pictures.detach(), best)
        adam.step()
        yield (step + 1) / (steps + 1), None
    pixels, maps = seen(best)
    made = []
    for index in range(len(signs)):
        row, column = divmod(int(maps[index].argmax()), maps.shape[2])
        made.append(
            OptimisedPicture(
                np.ascontiguousarray(np.broadcast_to(pixels[index], (height, width, 3))),
                float(maps[index].max()),
                float(first_maps[index].max()),
                (row, column),
            )
        )
    yield 1.0, OptimisedPictures(unit, seed, steps, made[0], made[1] if len(made) > 1 else None)


def _soft_maximum(maps: Tensor) -> Tensor:
    """Of each map (N, H, W), (N,)."""
    values = maps.flatten(1)
    spread = values.detach().std(1, correction=0, keepdim=True) + 1e-3
    return spread[:, 0] * torch.logsumexp(values / spread, 1)
