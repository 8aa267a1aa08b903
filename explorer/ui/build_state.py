"""`BuildState`: everything that decides what Build & train shows, as one value that fits into the URL."""

import json
import re
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Self

from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.architectures.spec import MAXIMUM, NEWER_FIELDS, SHORTCUT_GAINS, Shortcut
from explorer.datasets import shapes
from explorer.presets import PRESETS
from explorer.runs.directory import MOST_SNAPSHOTS
from explorer.training import TrainingConfig
from explorer.training.config import OFFERED
from explorer.ui.services.url_codec import UrlState, parse_int

DATA = re.compile(r"cifar10|fashion-mnist|own|stored-[0-9a-f]{64}")
RUN = re.compile(r"[0-9a-f]{32}")
RECORDINGS = {"shapes-56": "plain-56 and ResNet-56"}
"""The recorded trainings that a link may name, and their networks."""
MAX_CHANGES_LENGTH = 4000  # characters of changes in a link
MAX_LAYERS = 1202  # He et al. 2015, section 4.2: the deepest; to describe it takes some seconds
WIDTHS = (4, 256)  # of the first of three stages of equal length
MAX_BLOCKS = 18  # blocks a stage: 6 · 18 + 2 = 110 layers, the deepest network of the paper's table 6 but one
LIMITS = {**OFFERED, "dropout": (0.0, 0.95), "stochastic_depth": (0.0, 0.95), "shortcut_gain": SHORTCUT_GAINS}
"""The limits of the form's fields. A link with a value outside of them takes the default."""
QUICK_TRAINING: dict[str, Any] = TrainingConfig(seconds=60.0, batch_size=64).to_dict()
"""The training that one click starts: a minute, and small steps, so that there are many of them in it."""


@dataclass(frozen=True)
class BuildState(UrlState):
    """One view of the Build & train page.

    `preset` names a preset, `spec` its changed fields and `config` the changed fields of `QUICK_TRAINING`, both as JSON
    objects of fields. Each field of the spec is legal by itself, but together they need not make a network that exists:
    a form is filled in step by step, and `network` says what to change. `data` is what to train on, see `canonical`;
    "own" while nothing is uploaded yet. `twin` says whether the twin is trained too, `grey` whether the networks take
    grey images, `free` whether stages are edited one by one. `run` is the run that is looked at, None for the form;
    `replay` the recorded training that is watched. `snapshots` is the number of steps whose weights the run keeps, None
    for the usual number.
    Raises ValueError for a text that could not have come from this app.
    """

    INTEGERS: ClassVar = {"snapshots": (0, MOST_SNAPSHOTS)}

    preset: str = "resnet-20"
    spec: str = "{}"
    config: str = "{}"
    data: str = "shapes-32"
    twin: bool = True
    free: bool = False
    run: str | None = None
    replay: str | None = None
    grey: bool = False
    snapshots: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset not in PRESETS:
            raise ValueError(f"there is no preset {self.preset!r}.")
        _check_spec_fields(_changes(self.spec))
        _check_config_fields(_changes(self.config))
        object.__setattr__(self, "data", canonical(self.data))
        if self.run is not None and not RUN.fullmatch(self.run):
            raise ValueError(f"{self.run!r} is not the number of a run.")
        if self.replay is not None and self.replay not in RECORDINGS:
            raise ValueError(f"there is no recorded training {self.replay!r}.")

    def spec_fields(self) -> dict[str, Any]:
        """The fields of the spec as they stand in the form (`ArchitectureSpec.to_dict`), possible or not."""
        return PRESETS[self.preset].spec.to_dict() | json.loads(self.spec)

    def config_fields(self) -> dict[str, Any]:
        return QUICK_TRAINING | json.loads(self.config)

    def network(self, input_shape: tuple[int, int, int], classes: int) -> ArchitectureSpec:
        """The spec for pictures of that shape, or for grey ones. Raises ValueError that says what to change."""
        input_shape = (1, *input_shape[1:]) if self.grey else input_shape
        spec = ArchitectureSpec.from_dict({**self.spec_fields(), "input_shape": list(input_shape), "classes": classes})
        if spec.depth > MAX_LAYERS:
            raise ValueError(f"it has {spec.depth:,} layers, and at most {MAX_LAYERS:,} fit here; use fewer blocks.")
        return spec

    def training(self) -> TrainingConfig:
        return TrainingConfig.from_dict(self.config_fields())

    def with_spec(self, **changes: Any) -> Self:
        if changes.get("block", "bottleneck") != "bottleneck":  # which alone has groups and channels inside
            stages = changes.get("stages", self.spec_fields()["stages"])
            changes |= {"stages": [{name: stage[name] for name in stage if name != "inner"} for stage in stages]}
            changes |= {"groups": 1} if "groups" in self.spec_fields() else {}
        return replace(self, spec=difference(self.spec_fields() | changes, PRESETS[self.preset].spec.to_dict()))

    def with_regular_stages(self, blocks: int, width: int, **changes: Any) -> Self:
        """With the stages of a 6n + 2 network, whose shortcuts stay as they are."""
        stages = regular_stages(blocks, width)
        for stage, before in zip(stages, self.spec_fields()["stages"], strict=False):
            if before.get("shortcut"):
                stage["shortcut"] = before["shortcut"]
        return self.with_spec(stages=stages, **changes)

    def with_config(self, **changes: Any) -> Self:
        return replace(self, config=difference(self.config_fields() | changes, QUICK_TRAINING))

    def with_textbook(self) -> Self:
        """With the training that the preset's source gives it; where that has no length, a minute."""
        settings = {**QUICK_TRAINING, **PRESETS[self.preset].settings}
        settings["seconds"] = None if settings["epochs"] else QUICK_TRAINING["seconds"]
        return replace(self, config=difference(json.loads(json.dumps(settings)), QUICK_TRAINING))

    def to_query(self) -> dict[str, str]:
        """Never empty: an empty one is that of a visitor who has chosen nothing yet, and shows the first proposal."""
        return super().to_query() or {"preset": self.preset}

    @property
    def shortcut(self) -> Shortcut:
        return self.spec_fields()["shortcut"]

    @classmethod
    def _decode(cls, name: str, text: str) -> Any:
        if name in cls.INTEGERS:
            return parse_int(text)
        if name not in ("twin", "grey", "free"):
            return text
        if text not in ("yes", "no"):
            raise ValueError(f"`{name}` must be yes or no, received {text!r}.")
        return text == "yes"


def blocks_a_stage(fields: dict[str, Any]) -> int | None:
    """n, where the stages are those of a 6n + 2 network: three of n blocks that double channels and halve the side."""
    stages = fields["stages"]
    if len(stages) != 3 or not fields["stem"]:
        return None
    n, width = stages[0]["blocks"], stages[0]["channels"]
    plain = [{name: value for name, value in stage.items() if name != "shortcut"} for stage in stages]
    fits = plain == regular_stages(n, width) and n <= MAX_BLOCKS and WIDTHS[0] <= width <= WIDTHS[1]
    return n if fits and fields["stem"]["channels"] == width else None


def regular_stages(blocks: int, width: int) -> list[dict[str, Any]]:
    """The stages of a 6n + 2 network with `blocks` = n blocks a stage and `width` channels in the first."""
    return [
        {"blocks": blocks, "channels": width * 2**index, "stride": 1 + (index > 0), "kernel_size": 3, "padding": "same"}
        for index in range(3)
    ]


def canonical(data: str) -> str:
    """The same data as a link names it: "shapes-32", "shapes-16-ring-star" with its classes in their order, "cifar10",
    "stored-..." or "own". Raises ValueError with one sentence for any other text."""
    if isinstance(data, str) and data.startswith("shapes-"):
        drawn = shapes.Drawn.read(data)
        if drawn.seed:
            raise ValueError(f"the shapes of a link have the seed 0, received {data!r}; leave the seed out.")
        return shapes.Drawn(drawn.size, drawn.classes).key
    if not isinstance(data, str) or not DATA.fullmatch(data):
        raise ValueError(f"there is no data {data!r}.")
    return data


def _changes(text: str) -> dict[str, Any]:
    """The JSON object in the text. Raises ValueError where there is none."""
    if not isinstance(text, str) or len(text) > MAX_CHANGES_LENGTH:
        raise ValueError("the link is too long.")
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"{text!r} is not a JSON object.")
    return values


_SMALLEST = ArchitectureSpec((Stage(1, 16),))  # of a block with everything that a field may change


def _check_spec_fields(changes: dict[str, Any]) -> None:
    """Raises ValueError where a field is illegal for all values of the others."""
    for name, value in changes.items():
        if name in ("input_shape", "classes"):
            raise ValueError(f"`{name}` follows from the data.")
        if name not in ("stages", "stem"):
            with_it = {"preactivation": True} if name == "head_norm" else {}
            ArchitectureSpec.from_dict(_SMALLEST.to_dict() | with_it | {name: value})
            _check_limit(name, value)
            continue
        if name == "stages" and not (isinstance(value, list) and 1 <= len(value) <= MAXIMUM["stages"]):
            raise ValueError(f"`stages` must be a list of 1 to {MAXIMUM['stages']}, received {value!r}.")
        kind, parts = (Stage, value) if name == "stages" else (Stem, [value] if value is not None else [])
        try:
            newer = {field.name: NEWER_FIELDS[field.name] for field in fields(kind) if field.name in NEWER_FIELDS}
            is_whole = all(asdict(kind(**part)) == newer | part for part in parts)
        except TypeError as error:
            raise ValueError(f"`{name}` has a field of the wrong type: {error}.") from None
        if not is_whole:
            raise ValueError(f"`{name}` lacks a field, received {value!r}.")


def _check_config_fields(changes: dict[str, Any]) -> None:
    TrainingConfig.from_dict(QUICK_TRAINING | changes)
    for name, value in changes.items():
        if name in ("device", "compile"):
            raise ValueError(f"`{name}` follows from the machine.")
        _check_limit(name, value)


def _check_limit(name: str, value: Any) -> None:
    if name in LIMITS and value is not None and not LIMITS[name][0] <= value <= LIMITS[name][1]:
        raise ValueError(f"`{name}` must lie in {LIMITS[name][0]:g}..{LIMITS[name][1]:g}, received {value!r}.")


def difference(values: dict[str, Any], base: dict[str, Any]) -> str:
    """The fields of `values` that are not those of `base`, as the JSON object of a link."""
    changed = {name: value for name, value in values.items() if value != base.get(name, NEWER_FIELDS.get(name))}
    return json.dumps(changed, sort_keys=True, separators=(",", ":"))
