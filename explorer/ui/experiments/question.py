"""What every question of the page Experiments has, and the way to a question's measurement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from explorer.figures import Series
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.question import Plan as Plan
from explorer.ui.services.inference import ChosenNetwork


@dataclass(frozen=True)
class AskedNetwork:
    """A network of the question, and its line in a chart."""

    chosen: ChosenNetwork
    series: Series

    @property
    def name(self) -> str:
        return self.chosen.name


@dataclass(frozen=True)
class Question:
    """A question: its `title`, a sentence on how it is answered, and what the answer does not show.

    `controls` draws its own widgets. `plan` gives its measurement; None where it has shown why there is none.
    `own_dials` are those of the image's that the question turns itself, None where it is not about the image of the
    bar. `takes_attack`: it makes the attack that is set on Explore. `of_one`: it is about one of the networks.
    """

    title: str
    method: str
    limits: tuple[str, ...]
    controls: Callable[[ExperimentsState, Sequence[AskedNetwork]], None]
    plan: Callable[[ExperimentsState, Sequence[AskedNetwork]], Plan | None]
    own_dials: Callable[[ExperimentsState], Sequence[str]] | None = None
    takes_attack: bool = False
    of_one: bool = False
