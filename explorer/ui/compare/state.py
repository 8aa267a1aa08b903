"""`CompareState`: one view of Compare, as one value that fits into the URL."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from explorer.ui.services.explore_state import MAX_INDEX, AppState, Scope
from explorer.ui.services.url_codec import UrlState, parse_int

Grid = Literal["smooth", "true"]
FEWEST, MOST = 2, 4


@dataclass(frozen=True)
class CompareState(UrlState):
    """One view of the Compare page.

    `networks` are 2 to 4 different names; `picture`, `target` and `scope` are as in an `AppState`, `target` counts in
    the classes of the first network. `depth`, 0 at the input to 1 at the output, is the relative depth of the detail:
    networks of different depth share no layers, but each has a layer nearest to it. `grid` says whether maps are drawn
    with their true pixels. Raises ValueError for values that this app never writes.
    """

    INTEGERS: ClassVar = {"target": (0, MAX_INDEX)}

    networks: tuple[str, ...] = ("shapes-plain-20", "shapes-resnet-20")
    picture: str = "sample-6-6"
    target: int | None = None
    depth: float = 1.0
    scope: Scope = "layer"
    grid: Grid = "smooth"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not FEWEST <= len(self.networks) <= MOST or len(set(self.networks)) < len(self.networks):
            raise ValueError(f"`networks` must be {FEWEST} to {MOST} different names, received {self.networks!r}.")
        for name in self.networks:
            AppState(first=name, picture=self.picture)  # which has the same rules for both
        if not 0 <= self.depth <= 1:
            raise ValueError(f"`depth` must lie in 0..1, received {self.depth!r}.")

    @property
    def sample(self) -> tuple[int, int] | None:
        """(label, number) of a drawn picture, or None."""
        return AppState(picture=self.picture).sample

    @classmethod
    def _encode(cls, name: str, value: Any) -> str:
        return f"{value:.4f}".rstrip("0").rstrip(".") if name == "depth" else super()._encode(name, value)

    @classmethod
    def _decode(cls, name: str, text: str) -> Any:
        if name == "networks":
            return tuple(text.split(","))
        if name == "depth" and not re.fullmatch(r"[01]|[01]?\.[0-9]{1,4}", text):
            raise ValueError(f"`depth` must be a short number, received {text!r}.")
        if name == "target":
            return parse_int(text)
        return float(text) if name == "depth" else text
