"""The networks that a page offers to its browser: it asks for them by name, without a run of the page."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from explorer import figures
from explorer.checkpoints import Checkpoint
from explorer.pretrained import TwinAccuracy
from explorer.runs.weight_snapshots import nearest
from explorer.ui.services.inference import STEP_MARK, ChosenNetwork
from explorer.ui.services.layer_rows import LabelledPictures


@dataclass(frozen=True)
class DepthPoint:
    """The accuracies of pretrained `twins`, and the `picture` of an AppState on which they part, where it is drawn."""

    twins: TwinAccuracy
    picture: str | None


@dataclass(frozen=True, eq=False)
class Measurable:
    """What the rows of the strip need of a network: see `Subject`. `digest` identifies its weights, in any thread."""

    owner: str | None
    digest: Callable[[], str]
    pictures: LabelledPictures | None


@dataclass(frozen=True, eq=False)
class OfferedNetworks:
    """By the name of each network: what loads it, in any thread, and its words in a list, which no other has. `twins`
    are the names of pretrained ones, each by that of the other; `for_data` those of a pair for that data, and `depths`
    the accuracies of all pairs for it, the shallowest first. `measured` says by what the networks on the page can be
    measured. `steps` are those of each network's training whose weights are kept, in their order, and `load_step` loads
    it at one of them."""

    load: Mapping[str, Callable[[], Checkpoint]]
    labels: Mapping[str, str]
    theme: Literal["light", "dark"]
    twins: Mapping[str, str] = field(default_factory=dict)
    for_data: Mapping[str, Sequence[str]] = field(default_factory=dict)
    depths: Mapping[str, Sequence[DepthPoint]] = field(default_factory=dict)
    measured: Mapping[str, Measurable] = field(default_factory=dict)
    steps: Mapping[str, Sequence[int]] = field(default_factory=dict)
    load_step: Callable[[str, int], Checkpoint] | None = None

    def beside(self, names: Sequence[str], step: int | None = None) -> list[ChosenNetwork]:
        """The networks of those names, with their colours beside each other, each at the last of its steps that is not
        behind `step`. Raises CheckpointError, and KeyError for a name that is not offered."""
        return [self._at(network, step) for network in self._finished(names)]

    def film(self, names: Sequence[str]) -> tuple[int, ...]:
        """The steps at which one of these networks at least is not what it became, in their order."""
        return tuple(sorted({step for name in names for step in self.steps.get(name, ())[:-1]}))

    def _at(self, network: ChosenNetwork, step: int | None) -> ChosenNetwork:
        at = kept_step(self.steps.get(network.name, ()), step)
        if at is None or self.load_step is None:
            return network
        checkpoint = self.load_step(network.name, at)
        name = name_at(network.name, at)
        return replace(network, name=name, checkpoint=checkpoint, step=at, finished=network.checkpoint)

    def _finished(self, names: Sequence[str]) -> list[ChosenNetwork]:
        networks = {name: self.load[name]() for name in names}
        titles = unique_titles({name: loaded.spec.name for name, loaded in networks.items()}, self.labels)
        chosen: list[ChosenNetwork] = []
        for name, loaded in networks.items():
            colour = figures.network_colour(loaded.spec.shortcut, self.theme)
            dashed = any(other.colour == colour for other in chosen)
            chosen.append(ChosenNetwork(name, loaded, colour, dashed, titles[name]))
        return chosen


def kept_step(steps: Sequence[int], step: int | None) -> int | None:
    """The last of a network's kept `steps` that is not behind `step`; None for what it became."""
    return None if step is None or not steps or step >= steps[-1] else nearest(steps, step)


def name_at(name: str, step: int | None) -> str:
    """The name of a network at one of its kept steps, which no link can hold."""
    return name if step is None else f"{name}{STEP_MARK}{step}"


def unique_titles(architectures: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """A title for each network beside the others, by name: that of its architecture, or its label in a list where two
    have the same."""
    count = Counter(architectures.values())
    return {name: title if count[title] == 1 else labels[name] for name, title in architectures.items()}
