"""`GeometryState`: the question on the geometry of gradients that is open, beside what else Gradients shows."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from explorer.architectures import ArchitectureSpec
from explorer.architectures.spec import Initialisation, Norm, Shortcut
from explorer.experiments.gradient_geometry import GeometryQuestion
from explorer.experiments.gradient_grid import DEPTHS, INITIALISATIONS, NORMS, SHORTCUTS, grid
from explorer.ui import dataset_access
from explorer.ui.build_state import canonical
from explorer.ui.services.url_codec import UrlState, parse_int

MOST_SEEDS = 10

FACTORS: dict[str, tuple[Any, ...]] = {
    "geometry_depths": DEPTHS,
    "geometry_shortcuts": SHORTCUTS,
    "geometry_norms": NORMS,
    "geometry_initialisations": INITIALISATIONS,
}


@dataclass(frozen=True)
class GeometryState(UrlState):
    """One question of the page to networks with their initial weights. Its fields stand in the query beside those of
    `GradientsState`.

    `geometry` is the question. The networks are all combinations of the values of `FACTORS`, each in their order; each
    is measured with seeds 0 to `geometry_seeds` less one, on pictures of `geometry_data`. `measure`: the link asks for
    the measurement. Raises ValueError for what could not have come from this page.
    """

    INTEGERS: ClassVar = {"geometry_seeds": (1, MOST_SEEDS)}

    geometry: GeometryQuestion = "shattering"
    geometry_depths: tuple[int, ...] = (56,)
    geometry_shortcuts: tuple[Shortcut, ...] = ("none", "identity")
    geometry_norms: tuple[Norm, ...] = ("batch",)
    geometry_initialisations: tuple[Initialisation, ...] = ("he",)
    geometry_seeds: int = 3
    geometry_data: str = "shapes-32"
    measure: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.geometry_seeds is None:
            raise ValueError("a question needs a number of seeds.")
        for name, options in FACTORS.items():
            chosen = getattr(self, name)
            if not chosen or chosen != tuple(option for option in options if option in chosen):
                raise ValueError(f"`{name}` must be some of {options}, in this order, received {chosen!r:.80}.")
        object.__setattr__(self, "geometry_data", canonical(self.geometry_data))

    def specs(self) -> tuple[ArchitectureSpec, ...]:
        """The networks, for the pictures of `geometry_data`. Raises ValueError where one cannot take them."""
        (_, size, _), classes = dataset_access.data_shape(self.geometry_data)
        return grid(
            self.geometry_depths,
            self.geometry_shortcuts,
            self.geometry_norms,
            self.geometry_initialisations,
            activations=("relu",),
            classes=classes,
            size=size,
        )

    def to_query(self) -> dict[str, str]:
        """Names the question always, so that no view has the empty query, which opens the page."""
        return {"geometry": self.geometry} | super().to_query()

    @classmethod
    def without(cls, query: Mapping[str, str]) -> dict[str, str]:
        """The fields of a query that belong to others."""
        own = {field.name for field in fields(cls)}
        return {name: text for name, text in query.items() if name not in own}

    @classmethod
    def within(cls, query: Mapping[str, str]) -> dict[str, str]:
        """The fields of a query that belong to this state."""
        return {name: text for name, text in query.items() if name not in cls.without(query)}

    @classmethod
    def _decode(cls, name: str, text: str) -> Any:
        if name in FACTORS:
            parts = text.split(",")[:20]
            return tuple(option for option in FACTORS[name] if str(option) in parts)
        if name == "measure":
            return text == "yes"
        return parse_int(text) if name in cls.INTEGERS else text
