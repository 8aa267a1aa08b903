"""`CompareState`: everything that decides what Compare shows, as one value that fits into the URL."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from explorer.ui.services.explore_state import MAX_INDEX, NAME, SAMPLE, UPLOAD, AppState, Scope
from explorer.ui.services.url_codec import UrlState, parse_int

Grid = Literal["smooth", "true"]
FEWEST, MOST = 2, 4


@dataclass(frozen=True)
class CompareState(UrlState):
    """One view of the Compare page.

    `networks` are 2 to 4 names, no two alike; `picture` and `target` are as in an `AppState`, `target` counting in
    the classes of the first network. `depth`, 0 at the input to 1 at the output, is the relative depth that the
    detail shows: networks of different depth have no layers in common, but each has one that is nearest to it.
    `scope` says which maps share a colour scale, `grid` whether maps are drawn with their true pixels.
    Raises ValueError for a text that could not have come from this app.
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
            if not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a network.")
        if not SAMPLE.fullmatch(self.picture) and not UPLOAD.fullmatch(self.picture):
            raise ValueError(f"`picture` must be a sample or an upload, received {self.picture!r}.")
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
