"""What to train in one click: the deepest twins that learn within the budget on this machine."""

from collections.abc import Callable
from dataclasses import dataclass

from explorer.architectures import ArchitectureSpec
from explorer.datasets.shapes import Drawn
from explorer.presets import cifar
from explorer.training.config import TrainingConfig
from explorer.training.speed import Forecast, Speed, forecast

SECONDS = 60.0
LEAST_PASSES = 2.0
"""With fewer passes through the data hardly any network learns something: the page warns."""


@dataclass(frozen=True)
class Rung:
    """Twins of that depth and width (channels of the first stage), on `classes` shapes of `size` pixels a side, which
    learn when the budget buys `passes` passes through the data."""

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
"""From the deepest on. `python -m benchmarks rungs` trains each for as many passes as it needs here and measures on
pictures of another drawing; `python -m benchmarks one-click` shows what one click gives on the test pictures."""


def one_click(seconds: float = SECONDS, seed: int = 0) -> TrainingConfig:
    """How the proposed twins are trained."""
    return TrainingConfig(seconds=seconds, batch_size=64, learning_rate=0.1, augment=False, seed=seed)


@dataclass(frozen=True)
class Proposal:
    """The first of the rungs that the budget suffices for, or the last where it suffices for none, and what it buys."""

    rung: Rung
    config: TrainingConfig
    forecast: Forecast

    @property
    def suffices(self) -> bool:
        return self.forecast.passes >= self.rung.passes


def propose(speed: Speed, seconds: float = SECONDS, seed: int = 0) -> Proposal:
    """What one click trains on a machine of that speed."""
    config = one_click(seconds, seed)
    for rung in RUNGS:
        proposal = Proposal(rung, config, forecast(speed, (rung.spec, rung.spec.twin()), config, rung.pictures))
        if proposal.suffices:
            break
    return proposal


def enough(fits: Callable[[float], Forecast], passes: float = LEAST_PASSES) -> float | None:
    """The budget in seconds, a whole number of minutes up to a day, for which `fits` forecasts so many passes."""
    minutes = 1
    while minutes <= 1440:
        if fits(60.0 * minutes).passes >= passes:
            return 60.0 * minutes
        minutes = minutes + 1 if minutes < 10 else minutes + 5 if minutes < 60 else minutes + 60
    return None
