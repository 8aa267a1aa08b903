"""`ExperimentsState`: one view of Experiments, as one value that fits into the URL."""

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from explorer.ui.services.explore_state import DATA_NAME, MAX_INDEX, NAME
from explorer.ui.services.url_codec import UrlState, parse_int

Removed = Literal["single", "pairs", "sets", "swaps"]
QuestionName = Literal[
    "lesions", "shift", "dial", "attack", "robust", "trust", "fold", "unit", "time", "surface", "study"
]  # fmt: skip
Dial = Literal["rotation", "scale", "x", "y", "brightness", "contrast", "blur", "noise", "jpeg"]
MOST_OTHERS = 2
MOST_IMAGES = 10_000
ReadyStudy = Literal["shortcut-depth", "degradation", "norm", "which-shortcut", "hybrid", "learning-rate"]
STUDY = re.compile(r"[0-9a-f]{32}|")  # also the id of a measured surface
STEP = re.compile(r"(\d{1,3}(\.\d{1,4})?)?", re.ASCII)
REACHES = (0.001, 100.0)  # of a surface, from the network
AXES = re.compile(r"[\w.:|;,*+ -]*", re.ASCII)
MOST_AXES = 2000  # characters: an address may be longer, but not by much
MOST_SEEDS, MOST_EPOCHS, MOST_AT_ONCE = 20, 1000, 64


@dataclass(frozen=True)
class ExperimentsState(UrlState):
    """One view of the page; the bar has the pair of networks, the picture and the class.

    `question` is the open one. `others` are up to two networks beside the pair. `data` and `n` are the labelled test
    images, "" the ones that fit, None as many as the question proposes. `removed` says what is taken out of the
    networks, `dial` what is changed in the image. `epsilon` is that of an attack on one image in levels of 255,
    `against` the network it is made for, `goal` the class that it shall answer, None for any other one. `steps` are
    those of PGD, 0 for FGSM. A unit is `channel` of `layer` of the `network`, None for the one that the page chooses;
    `seed` is that of its optimised picture. `study` is the id of the study that is shown, "" while one is built from
    the ready-made `ready` with other `axes` ("depth:8|20;shortcut:none|identity"), `seeds` and `epochs`, "" and None
    for its own; `engine` trains its runs, `places` at once, None for its own number. `surface` is the id of the loss
    surface that is shown, "" for the form. A surface has `along` directions of the kind `directions`, `points` on each
    up to `reach`, "" for the usual one, and BatchNorm's `statistics`; `curvature` is measured at no place, the centre
    or several. `quantity` of the images of `split` is drawn. `measure`: the link asks for the measurement. Raises
    ValueError for values that this app never writes.
    """

    INTEGERS: ClassVar = {
        "n": (1, MOST_IMAGES),
        "epsilon": (0, 16),
        "seeds": (1, MOST_SEEDS),
        "epochs": (1, MOST_EPOCHS),
        "places": (1, MOST_AT_ONCE),
        "points": (3, 1001),
        **dict.fromkeys(("goal", "channel", "seed"), (0, MAX_INDEX)),
    }

    question: QuestionName = "lesions"
    others: tuple[str, ...] = ()
    data: str = ""
    n: int | None = None
    removed: Removed = "single"
    dial: Dial = "rotation"
    epsilon: int = 4
    against: Literal["first", "second"] = "first"
    goal: int | None = None
    steps: Literal["10", "0"] = "10"
    layer: str | None = None
    channel: int | None = None
    network: Literal["first", "second"] = "first"
    seed: int = 0
    study: str = ""
    ready: ReadyStudy = "shortcut-depth"
    axes: str = ""
    seeds: int | None = None
    epochs: int | None = None
    places: int | None = None
    surface: str = ""
    along: Literal["1", "2"] = "1"
    statistics: Literal["frozen", "recomputed", "both"] = "both"
    directions: Literal["filter", "none", "path"] = "filter"
    points: int | None = None
    reach: str = ""
    curvature: Literal["", "none", "centre", "places"] = ""
    quantity: Literal["loss", "error"] = "loss"
    split: Literal["train", "test"] = "train"
    engine: Literal["local", "ray"] = "local"
    measure: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.others) > MOST_OTHERS or not all(isinstance(n, str) and NAME.fullmatch(n) for n in self.others):
            raise ValueError(f"`others` must be up to {MOST_OTHERS} names of networks, received {self.others!r:.80}.")
        if not DATA_NAME.fullmatch(self.data) or None in (self.epsilon, self.seed):
            raise ValueError(f"`data` must be the name of a set of images, received {self.data[:80]!r}.")
        if self.layer is not None and not NAME.fullmatch(self.layer):
            raise ValueError(f"`layer` must be the name of a layer, received {self.layer!r:.80}.")

        low, high = REACHES
        is_reach = STEP.fullmatch(self.reach) and (not self.reach or low <= float(self.reach) <= high)
        if not STUDY.fullmatch(self.surface) or not is_reach:
            raise ValueError(
                f"`surface` must be the id of a surface and `reach` a number from {low:g} to {high:g}, received "
                f"{self.reach[:80]!r}."
            )
        if not STUDY.fullmatch(self.study):
            raise ValueError(f"`study` must be the id of a study, received {self.study[:80]!r}.")
        if len(self.axes) > MOST_AXES:
            raise ValueError(f"The axes take more than {MOST_AXES:,} characters; leave some values out.")
        if not AXES.fullmatch(self.axes):
            raise ValueError(f"`axes` must be the axes of a study, received {self.axes[:80]!r}.")

    def to_query(self) -> dict[str, str]:
        """Names the question always, so that no view has the empty query, which opens the page."""
        return {"question": self.question} | super().to_query()

    @classmethod
    def _decode(cls, name: str, text: str) -> Any:
        if name == "others":
            return tuple(text.split(","))
        if name == "measure":
            return text == "yes"
        return parse_int(text) if name in cls.INTEGERS else text
