"""`AppState`: everything that decides what Explore shows, as one value that fits into the URL."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from explorer.architectures.spec import INSIDE_BLOCK
from explorer.attribution import METHODS
from explorer.datasets import shapes
from explorer.datasets.shapes import Drawn
from explorer.experiments.attacks import AimedAttack
from explorer.images import PAPERS, PHOTOS, Dials, Frame, Paper
from explorer.ui.services.url_codec import UrlState, parse_int

Scope = Literal["layer", "network", "both"]
Layers = Literal["blocks", "main", "all"]
Tab = Literal["layer", "block", "methods", "channels", "trust"]
MapSource = Literal["grad_cam", "method"]
Evidence = Literal["positive", "signed"]
ReceptiveField = Literal["theoretical", "effective"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")  # of a network or layer; never a path
DATA_NAME = re.compile(r"[\w .()-]{0,300}", re.ASCII)  # of a set of labelled images
SAMPLE = re.compile(r"sample-([0-9])-([0-9]{1,6})")
TEST = re.compile(r"test-(shapes-[0-9]{2}[a-z-]{0,80})-([0-9]{1,6})")
AT = re.compile(r"probabilities|([A-Za-z0-9][A-Za-z0-9_.-]{0,79}:)?[0-9]{1,6}(,[0-9]{1,6}){0,3}")
CHANGE = re.compile(r"[\w.@:~,-]{0,4000}", re.ASCII)  # interventions; whether they fit is said where they are applied
ROWS = re.compile(r"[a-z]{1,20}(,[a-z]{1,20}){0,11}")  # rows of the strip; those that there are not show nothing
UPLOAD = re.compile(r"upload-[0-9a-f]{16}")

# A pass depends on these, besides the networks: the browser sends them with each request.
PASS_FIELDS = ("picture", "frame", "paper", "target", "layers", "dials", "change", "attack", "step")
# The browser owns these: it draws a change by itself and keeps it in the fragment of the URL.
SELECTION_FIELDS = ("layer", "channel", "scope", "opacity", "evidence", "at", "field", "rows")

MAX_INDEX = 100_000  # of a class or channel
MOST_STEPS = 10**9  # of a training


@dataclass(frozen=True)
class AppState(UrlState):
    """One view of the Explore page.

    `second` is None for one network alone. `picture` is "sample-LABEL-NUMBER" (a shape of a drawn scene),
    "test-DATA-NUMBER" (a test picture of the drawn data with that key, numbered from 0), a name in `PHOTOS`, or
    "upload-DIGEST" (an image of this session). `frame` is the text of a `Frame` of it, None for the part that each
    network gets by itself. `paper` is the colour under its transparent parts, None for that of each network's training
    images. `dials` is the text of the `Dials` that change it, and `attack` that of the `AimedAttack` on the result.
    `target` is the class to explain, None for each network's prediction.
    `evidence` says whether a Grad-CAM shows what supports the class alone, or "signed" what opposes it too.
    `scope` says which maps share a colour scale. `layers` are those of the depth strip: "blocks" and the convolutions
    outside of them, "main" convolutions, shortcuts and blocks, "all" every visible operation. `tab` is the open tab.
    `at` is the value whose arithmetic is shown: "ROW,COLUMN" of the map of `channel` of `layer`, "LAYER:PLACE" of any
    layer, or "probabilities", which is each network's probability of the class that it explains. `field` says whether
    the "effective" receptive field of that value is drawn beside the "theoretical" one.
    `method` and `parameters`, a JSON object of those that the user set, belong to "More methods"; `questioned` is the
    map of "Can I trust this map?". `step` is that of the training at which the networks are shown, None for the
    finished ones; a network without weights of the past is shown as it ended. `change` holds interventions, as
    `interventions.parse_all` reads them. `rows` names further rows of the strip, with commas; None for none.

    Raises ValueError for a text that this app never writes.
    """

    INTEGERS: ClassVar = {
        "target": (0, MAX_INDEX),
        "channel": (0, MAX_INDEX),
        "opacity": (0, 100),
        "step": (0, MOST_STEPS),
    }

    first: str = "shapes-plain-20"
    second: str | None = "shapes-resnet-20"
    picture: str = "sample-6-6"
    target: int | None = None
    layer: str | None = None
    channel: int | None = None
    scope: Scope = "layer"
    opacity: int = 70
    layers: Layers = "blocks"
    dials: str = ""
    tab: Tab = "layer"
    method: str = "integrated_gradients"
    parameters: str = "{}"
    questioned: MapSource = "grad_cam"
    frame: str | None = None
    paper: Paper | None = None
    at: str | None = None
    change: str = ""
    evidence: Evidence = "positive"
    field: ReceptiveField = "theoretical"
    rows: str | None = None
    attack: str = ""
    step: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.first is None or self.picture is None or self.opacity is None:
            raise ValueError("a view needs a network, an image and an opacity.")
        for name in (self.first, self.second, self.layer):
            if name is not None and not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a network or layer.")
        if not self.is_everywhere and not UPLOAD.fullmatch(self.picture):
            raise ValueError(
                f"`picture` must be a sample, a test image, a photo or an upload, received {self.picture!r}."
            )
        if self.frame is not None:
            Frame.parse(self.frame)
        if self.paper not in (None, *PAPERS):
            raise ValueError(f"`paper` must be one of {', '.join(PAPERS)}, received {self.paper!r:.40}.")
        if self.at is not None and not AT.fullmatch(self.at):
            raise ValueError(f"`at` must be the place of a value, received {self.at!r:.40}.")
        if self.rows is not None and not ROWS.fullmatch(self.rows):
            raise ValueError(f"`rows` must be names with commas, received {self.rows!r:.40}.")
        if not CHANGE.fullmatch(self.change):
            raise ValueError(f"`change` must name interventions, received {self.change!r:.40}.")
        object.__setattr__(self, "dials", Dials.from_text(self.dials).to_text())  # one text for each change
        object.__setattr__(self, "attack", AimedAttack.from_text(self.attack).to_text())
        if self.method not in METHODS:
            raise ValueError(f"`method` must be one of {', '.join(METHODS)}, received {self.method!r}.")
        _check_parameters(self.parameters)

    @property
    def sample(self) -> tuple[int, int] | None:
        """(label, number) of a drawn shape, or None."""
        match = SAMPLE.fullmatch(self.picture)
        return (int(match[1]), int(match[2])) if match else None

    @property
    def test(self) -> tuple[Drawn, int] | None:
        """The data and the number in its test split of a drawn test picture, or None."""
        match = TEST.fullmatch(self.picture)
        drawn = shapes.named(match[1]) if match else None
        if match is None or drawn is None or not int(match[2]) < drawn.counts[2]:
            return None
        return drawn, int(match[2])

    @property
    def is_everywhere(self) -> bool:
        """Whether every machine has the picture: the app draws it, or brings it."""
        return self.sample is not None or self.test is not None or self.picture in PHOTOS

    def chosen(self) -> dict[str, int | float | str]:
        """The method's parameters that the user set; a link may hold others than the method has."""
        chosen: dict[str, int | float | str] = json.loads(self.parameters)
        return chosen

    def to_query(self) -> dict[str, str]:
        query = super().to_query()
        if self.layers == AppState.layers and self._is_inside_block:
            query["layers"] = self.layers
        return query

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """As in any state; and a link that names a layer inside a block, but no `layers`, shows that layer: links from
        before there were "blocks" mean "main"."""
        state = super().from_query(query)
        return replace(state, layers="main") if "layers" not in query and state._is_inside_block else state

    @property
    def _is_inside_block(self) -> bool:
        return self.layer is not None and INSIDE_BLOCK.match(self.layer) is not None

    @classmethod
    def _decode(cls, name: str, text: str) -> Any:
        if text == "none":
            return None
        return parse_int(text) if name in cls.INTEGERS else text


def _check_parameters(text: str) -> None:
    if not isinstance(text, str) or len(text) > 400:
        raise ValueError("`parameters` must be a short JSON object.")
    try:
        chosen = json.loads(text)
    except (ValueError, RecursionError):
        chosen = None
    if not isinstance(chosen, dict):
        raise ValueError(f"`parameters` must be a JSON object, received {text!r}.")
    for name, value in chosen.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str) or not NAME.fullmatch(name):
            raise ValueError(f"`parameters` must hold numbers and words, received {text!r}.")
        if not (NAME.fullmatch(value) if isinstance(value, str) else abs(value) <= 1e6):
            raise ValueError(f"a parameter must be a word or a number up to a million, received {value!r}.")
