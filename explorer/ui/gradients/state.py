"""`GradientsState`: everything that decides what the page `Gradients` shows, as one value that fits into the URL."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

from explorer.architectures import ArchitectureSpec
from explorer.architectures.spec import Activation, Initialisation, Norm, Shortcut
from explorer.experiments import stored_gradients
from explorer.experiments.gradient_flow import Mode, Quantity
from explorer.experiments.gradient_grid import ACTIVATIONS, DEPTHS, INITIALISATIONS, NORMS, SHORTCUTS, grid
from explorer.ui import dataset_access
from explorer.ui.build_state import canonical
from explorer.ui.services.explore_state import MOST_STEPS, NAME
from explorer.ui.services.url_codec import UrlState, parse_int

Source = Literal["initial", "checkpoint", "record"]
Scale = Literal["absolute", "relative"]

FACTORS: dict[str, tuple[Any, ...]] = {
    "depths": DEPTHS,
    "shortcuts": SHORTCUTS,
    "norms": NORMS,
    "initialisations": INITIALISATIONS,
    "activations": ACTIVATIONS,
}
MOST_SEEDS = 10


@dataclass(frozen=True)
class GradientsState(UrlState):
    """One view of the page `Gradients`.

    `source` says where the gradients come from: initial weights (the grid of `depths` to `activations`, each a tuple in
    the order of `FACTORS`, with `seeds` seeds each), networks as they are (`first` and perhaps `second`, in `mode`), or
    what their trainings recorded at `step`, None for the first one. Networks as they are may be shown at a `step` of
    their training, None for the finished ones. `data` names the labelled pictures of the batch, None the ones that fit.
    `what` is measured, shown at `scale`. Raises ValueError for what could not have come from this page.
    """

    INTEGERS: ClassVar = {"seeds": (1, MOST_SEEDS), "step": (0, MOST_STEPS)}

    source: Source = "initial"
    what: Quantity = "weights"
    scale: Scale = "absolute"
    depths: tuple[int, ...] = (20,)
    shortcuts: tuple[Shortcut, ...] = ("none", "identity")
    norms: tuple[Norm, ...] = ("batch",)
    initialisations: tuple[Initialisation, ...] = ("he",)
    activations: tuple[Activation, ...] = ("relu",)
    seeds: int = 3
    data: str | None = None
    first: str = "shapes-plain-20"
    second: str | None = "shapes-resnet-20"
    mode: Mode = "evaluation"
    step: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.seeds is None:
            raise ValueError("a view needs a number of seeds.")
        for name, options in FACTORS.items():
            chosen = getattr(self, name)
            if not chosen or chosen != tuple(option for option in options if option in chosen):
                raise ValueError(f"`{name}` must be some of {options}, in this order, received {chosen!r}.")
        for network in self.networks:
            if not isinstance(network, str) or not NAME.fullmatch(network):
                raise ValueError(f"{network!r} is not the name of a network.")
        if self.data is not None:
            object.__setattr__(self, "data", canonical(self.data))

    @property
    def networks(self) -> tuple[str, ...]:
        """The names of one or two networks."""
        return (self.first,) if self.second is None else (self.first, self.second)

    @property
    def grid_data(self) -> str:
        """The data that the grid is measured on."""
        return self.data or "shapes-32"

    def specs(self) -> tuple[ArchitectureSpec, ...]:
        """The networks of the grid, for the pictures of `grid_data`. Raises ValueError where one cannot take them."""
        (_, size, _), classes = dataset_access.data_shape(self.grid_data)
        return grid(**{name: getattr(self, name) for name in FACTORS}, classes=classes, size=size)

    def to_query(self) -> dict[str, str]:
        """Names the source always, so that no view has the empty query, which opens the page."""
        return {"source": self.source} | super().to_query()

    @classmethod
    def shown(cls, query: Mapping[str, str]) -> Self:
        """The view of that query; the first card's where the query asks for none. The names of networks alone ask for
        none: those of other pages travel along."""
        own = {field.name for field in fields(cls)} - {"first", "second", "step"}
        return cls.from_query(query) if own & {*query} else cls.from_query(CARDS[0].to_query())

    @classmethod
    def _decode(cls, name: str, text: str) -> Any:
        if name in FACTORS:
            parts = text.split(",")[:20]
            return tuple(option for option in FACTORS[name] if str(option) in parts)
        if name in cls.INTEGERS and text != "none":
            return parse_int(text)
        return None if name in ("second", "data", "step", "seeds") and text == "none" else text


def _initial(norm: Norm, initialisation: Initialisation) -> GradientsState:
    return GradientsState(
        depths=(stored_gradients.DEPTH,), norms=(norm,), initialisations=(initialisation,), scale="relative"
    )


CARDS = (
    _initial(*stored_gradients.VANISHING),
    _initial(*stored_gradients.EXPLODING),
    GradientsState(
        source="checkpoint", first=stored_gradients.TRAINED[0], second=stored_gradients.TRAINED[1], scale="relative"
    ),
)
"""The views that the page opens with: what is measured of them comes with the app."""
