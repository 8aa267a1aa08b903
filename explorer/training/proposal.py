"""`propose`: the deepest twins that learn within the budget on this machine, for training in one click."""

from collections.abc import Callable
from dataclasses import dataclass

from explorer.architectures import ArchitectureSpec
from explorer.datasets.shapes import Drawn
from explorer.presets import cifar
from explorer.training.config import TrainingConfig
from explorer.training.speed import Forecast, Speed, forecast

SECONDS = 60.0
LEAST_PASSES = 2.0
"""With fewer passes through the data the page warns: hardly any network learns."""


@dataclass(frozen=True)
class Rung:
    """Twins of that depth and `width`, the channels of the first stage, on `classes` shapes of `size` pixels a side,
    which learn within `passes` passes through the data."""

    depth: int
    width: int
    size: int
    classes: tuple[str, ...]
    passes: float

    @property
    def spec(self) -> ArchitectureSpec:
        """The residual one."""
        return cifar(self.depth, classes=len(self.classes), size=self.size, width=self.width)

    @property
    def drawn(self) -> Drawn:
        return Drawn(self.size, self.classes)

    @property
    def pictures(self) -> tuple[int, int, int]:
        """Training, validation and test pictures."""
        return self.drawn.counts


_THREE = ("ring", "triangle", "cross")
RUNGS = (
    Rung(56, 16, 16, _THREE, 12.0),
    Rung(44, 16, 16, _THREE, 5.0),
    Rung(44, 8, 16, _THREE, 5.0),
    Rung(38, 8, 16, _THREE, 4.5),
    Rung(32, 8, 16, _THREE, 4.0),
    Rung(20, 8, 16, _THREE, 4.0),
    Rung(14, 8, 16, _THREE, 4.0),
    Rung(8, 8, 16, _THREE, 4.0),
)
"""The deepest first. `python -m benchmarks rungs` and `one-click` measure them."""


def one_click(seconds: float = SECONDS, seed: int = 0) -> TrainingConfig:
    """The training of the proposed twins."""
    return TrainingConfig(seconds=seconds, batch_size=64, learning_rate=0.1, augment=False, seed=seed)


@dataclass(frozen=True)
class Proposal:
    """The first rung for which the budget suffices, else the last, with its forecast."""

    rung: Rung
    config: TrainingConfig
    forecast: Forecast

    @property
    def suffices(self) -> bool:
        return self.forecast.passes >= self.rung.passes


def propose(speed: Speed, seconds: float = SECONDS, seed: int = 0) -> Proposal:
    """The training of one click on a machine of that speed."""
    config = one_click(seconds, seed)
    for rung in RUNGS:
        proposal = Proposal(rung, config, forecast(speed, (rung.spec, rung.spec.twin()), config, rung.pictures))
        if proposal.suffices:
            break
    return proposal


def sufficient_budget(fits: Callable[[float], Forecast], passes: float = LEAST_PASSES) -> float | None:
    """The smallest budget in seconds, a round number of minutes up to a day, for which `fits` forecasts so many passes;
    None where there is none."""
    budgets = (60.0 * minutes for minutes in (*range(1, 10), *range(10, 60, 5), *range(60, 1441, 60)))
    return next((seconds for seconds in budgets if fits(seconds).passes >= passes), None)
