"""The networks that a page offers to its browser: it asks for them by name, without a run of the page."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from explorer import figures
from explorer.checkpoints import Checkpoint
from explorer.pretrained import TwinAccuracy
from explorer.ui.services.inference import ChosenNetwork
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
    measured."""

    load: Mapping[str, Callable[[], Checkpoint]]
    labels: Mapping[str, str]
    theme: Literal["light", "dark"]
    twins: Mapping[str, str] = field(default_factory=dict)
    for_data: Mapping[str, Sequence[str]] = field(default_factory=dict)
    depths: Mapping[str, Sequence[DepthPoint]] = field(default_factory=dict)
    measured: Mapping[str, Measurable] = field(default_factory=dict)

    def beside(self, names: Sequence[str]) -> list[ChosenNetwork]:
        """The networks of those names, with their colours beside each other. Raises CheckpointError, and KeyError for a
        name that is not offered."""
        networks = {name: self.load[name]() for name in names}
        titles = unique_titles({name: loaded.spec.name for name, loaded in networks.items()}, self.labels)
        chosen: list[ChosenNetwork] = []
        for name, loaded in networks.items():
            colour = figures.network_colour(loaded.spec.shortcut, self.theme)
            dashed = any(other.colour == colour for other in chosen)
            chosen.append(ChosenNetwork(name, loaded, colour, dashed, titles[name]))
        return chosen


def unique_titles(architectures: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
    """A title for each network beside the others, by name: that of its architecture, or its label in a list where two
    have the same."""
    count = Counter(architectures.values())
    return {name: title if count[title] == 1 else labels[name] for name, title in architectures.items()}
