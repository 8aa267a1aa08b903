"""What every question of the page Experiments has, and the way to a question's measurement."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from explorer.figures import Part, Series
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.services.inference import ChosenNetwork
from explorer.ui.widgets.long_task import TaskSteps


@dataclass(frozen=True, eq=False)
class Plan:
    """One measurement of some networks: `key` names all that it depends on.

    `cost` says in words what has to be computed; it takes about `seconds`, 0 where all of it is known. `work` measures
    what is not known yet. `known` is what is known, None where nothing is. Of that, `answer` gives sentences first,
    then charts and tables, and `rows` those of a CSV file. Downloads are made outside of the session.
    `kept` says in a sentence whose answers were measured before, "" for none, and `again` is the key, the work and the
    seconds of measuring them once more.
    """

    key: str
    cost: str
    seconds: float
    work: Callable[[], TaskSteps[Any]]
    known: Any
    answer: Callable[[Any], Sequence[Part]]
    rows: Callable[[Any], Sequence[Sequence[str]]]
    source: str
    kept: str = ""
    again: tuple[str, Callable[[], TaskSteps[Any]], float] | None = None


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
    bar. `takes_attack`: it makes the attack that is set on Explore.
    """

    title: str
    method: str
    limits: tuple[str, ...]
    controls: Callable[[ExperimentsState, Sequence[AskedNetwork]], None]
    plan: Callable[[ExperimentsState, Sequence[AskedNetwork]], Plan | None]
    own_dials: Callable[[ExperimentsState], Sequence[str]] | None = None
    takes_attack: bool = False
