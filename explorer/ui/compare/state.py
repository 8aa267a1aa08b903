"""`CompareState`: one view of Compare, as one value that fits into the URL."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from explorer.experiments.cam_metrics import Target
from explorer.experiments.measurement import RESULTS
from explorer.images import Paper
from explorer.ui.services.explore_state import DATA_NAME, MAX_INDEX, MOST_STEPS, AppState, Evidence, Scope
from explorer.ui.services.url_codec import UrlState, parse_int

Grid = Literal["smooth", "true"]
Tab = Literal["maps", "layers", "object", "methods", "ensemble", "settings"]
FEWEST, MOST_NETWORKS = 2, 4
WEIGHTS = re.compile(r"uniform|learned|kept-[0-9a-f]{32}")


@dataclass(frozen=True)
class CompareState(UrlState):
    """One view of the Compare page.

    `networks` are 2 to 4 different names; `picture`, `frame`, `paper`, `target`, `scope` and `evidence` are as in an
    `AppState`, `target` counts in the classes of the first network. `depth`, 0 at the input to 1 at the output, is the
    relative depth of the detail: networks of different depth share no layers, but each has a layer nearest to it.
    `grid` says whether maps are drawn with their true pixels. `data` and `n` are the test images of all measurements,
    "" and None the default ones; `explained` is the class whose Grad-CAM is measured on the object. `measured` are the
    measurements that a link asks for. `tab` is the open one. `weights` are those of the ensemble: "uniform", "learned"
    on the validation images, or "kept-" and the id of a kept ensemble. `step` is as in an `AppState`. Raises ValueError
    for values that this app never writes.
    """

    INTEGERS: ClassVar = {"target": (0, MAX_INDEX), "n": (1, 10**8), "step": (0, MOST_STEPS)}

    networks: tuple[str, ...] = ("shapes-plain-20", "shapes-resnet-20")
    picture: str = "sample-6-6"
    target: int | None = None
    depth: float = 1.0
    scope: Scope = "layer"
    grid: Grid = "smooth"
    tab: Tab = "maps"
    data: str = ""
    n: int | None = None
    explained: Target = "label"
    measured: tuple[str, ...] = ()
    frame: str | None = None
    paper: Paper | None = None
    evidence: Evidence = "positive"
    weights: str = "uniform"
    step: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not FEWEST <= len(self.networks) <= MOST_NETWORKS or len(set(self.networks)) < len(self.networks):
            raise ValueError(
                f"`networks` must be {FEWEST} to {MOST_NETWORKS} different names, received {self.networks!r}."
            )
        for name in self.networks:
            AppState(first=name, picture=self.picture, frame=self.frame, paper=self.paper)  # which has the same rules
        if not 0 <= self.depth <= 1:
            raise ValueError(f"`depth` must lie in 0..1, received {self.depth!r}.")
        if not WEIGHTS.fullmatch(self.weights):
            raise ValueError(f"`weights` must be uniform, learned or kept ones, received {self.weights[:80]!r}.")
        if not DATA_NAME.fullmatch(self.data):
            raise ValueError(f"`data` must be the name of a set of images, received {self.data[:80]!r}.")
        if self.measured != tuple(kind for kind in RESULTS if kind in self.measured):
            raise ValueError(f"`measured` must be some of {', '.join(RESULTS)}, received {self.measured!r}.")

    @property
    def sample(self) -> tuple[int, int] | None:
        """(label, number) of a drawn picture, or None."""
        return AppState(picture=self.picture).sample

    @classmethod
    def _encode(cls, name: str, value: Any) -> str:
        return f"{value:.4f}".rstrip("0").rstrip(".") if name == "depth" else super()._encode(name, value)

    @classmethod
    def _decode(cls, name: str, text: str) -> Any:
        if name in ("networks", "measured"):
            return tuple(text.split(","))
        if name == "depth" and not re.fullmatch(r"[01]|[01]?\.[0-9]{1,4}", text):
            raise ValueError(f"`depth` must be a short number, received {text!r}.")
        if name in cls.INTEGERS:
            return parse_int(text)
        return float(text) if name == "depth" else text
