"""`AppState` and `BuildState`: everything that decides what a page shows, as one value that fits into the URL."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.architectures.spec import MAXIMUM, Shortcut
from explorer.attribution import METHODS
from explorer.presets import PRESETS
from explorer.training import TrainingConfig

Scope = Literal["layer", "network", "both"]
Layers = Literal["main", "all"]
Tab = Literal["layer", "block", "methods", "channels", "trust"]
Questioned = Literal["grad_cam", "method"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")  # of a network or layer; never a path
SAMPLE = re.compile(r"sample-([0-9])-([0-9]{1,6})")
UPLOAD = re.compile(r"upload-[0-9a-f]{16}")


@dataclass(frozen=True)
class AppState:
    """One view of the Explore page.

    `first` and `second` name pretrained networks; `second` is None when one is looked at alone. `picture` is
    "sample-LABEL-NUMBER" (a drawn shape) or "upload-DIGEST" (a picture of this session). `target` is the class to
    explain, None for what each network predicts. `layer` and `channel` are what the detail shows. `scope` says which
    maps share a colour scale. `layers` "all" shows every visible operation, "main" convolutions, shortcuts and
    blocks. `tab` is the open part of the layer's detail, `method` and `parameters` (a JSON object of those that a
    person set) what "More methods" shows, `questioned` whose map "Can I trust this map?" is asked of.
    Raises ValueError for a text that could not have come from this app.
    """

    first: str = "shapes-plain-20"
    second: str | None = "shapes-resnet-20"
    picture: str = "sample-6-6"
    target: int | None = None
    layer: str | None = None
    channel: int | None = None
    scope: Scope = "layer"
    opacity: int = 70
    layers: Layers = "main"
    tab: Tab = "layer"
    method: str = "integrated_gradients"
    parameters: str = "{}"
    questioned: Questioned = "grad_cam"

    def __post_init__(self) -> None:
        for name in (self.first, self.second, self.layer):
            if name is not None and not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a network or layer.")
        if self.first is None or self.picture is None or self.opacity is None:
            raise ValueError("a view needs a network, a picture and an opacity.")
        for field, allowed in (("layers", Layers), ("tab", Tab), ("questioned", Questioned)):
            if getattr(self, field) not in get_args(allowed):
                words = ", ".join(get_args(allowed))
                raise ValueError(f"`{field}` must be one of {words}, received {getattr(self, field)!r}.")
        if self.method not in METHODS:
            raise ValueError(f"`method` must be one of {', '.join(METHODS)}, received {self.method!r}.")
        _check_parameters(self.parameters)
        if not SAMPLE.fullmatch(self.picture) and not UPLOAD.fullmatch(self.picture):
            raise ValueError(f"`picture` must be a sample or an upload, received {self.picture!r}.")
        if self.scope not in get_args(Scope):
            raise ValueError(f"`scope` must be one of {', '.join(get_args(Scope))}, received {self.scope!r}.")
        for number, highest in ((self.target, 100_000), (self.channel, 100_000), (self.opacity, 100)):
            whole = isinstance(number, int) and not isinstance(number, bool)
            if number is not None and not (whole and 0 <= number <= highest):
                raise ValueError(
                    f"a number in the link must be whole and lie in 0..{highest}, received {number!r:.40}."
                )

    @property
    def sample(self) -> tuple[int, int] | None:
        """(label, number) of a drawn picture, or None."""
        match = SAMPLE.fullmatch(self.picture)
        return (int(match[1]), int(match[2])) if match else None

    def chosen(self) -> dict[str, int | float | str]:
        """The parameters of the method that a person set; a link may hold others than the method takes."""
        chosen: dict[str, int | float | str] = json.loads(self.parameters)
        return chosen

    def to_query(self) -> dict[str, str]:
        """What stands in the URL: each field that differs from its default; None is "none"."""
        return {
            field.name: "none" if getattr(self, field.name) is None else str(getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """The state of that URL. A part that cannot be read takes its default, so any old link shows something."""
        state: dict[str, str | int | None] = {}
        for field in fields(cls):
            text = query.get(field.name)
            if text is None:
                continue
            value: str | int | None = None if text == "none" else text
            if field.name in ("target", "channel", "opacity") and value is not None:
                if not re.fullmatch(r"[0-9]{1,9}", text):
                    continue
                value = int(text)
            try:
                cls(**{field.name: value})  # type: ignore[arg-type]
            except (ValueError, TypeError):
                continue
            state[field.name] = value
        return cls(**state)  # type: ignore[arg-type]


def _check_parameters(text: str) -> None:
    if not isinstance(text, str) or len(text) > 400:
        raise ValueError("`parameters` must be a short JSON object.")
    try:
        chosen = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(f"`parameters` must be a JSON object, received {text!r}.") from None
    if not isinstance(chosen, dict):
        raise ValueError(f"`parameters` must be a JSON object, received {text!r}.")
    for name, value in chosen.items():
        if isinstance(value, bool) or not isinstance(value, int | float | str) or not NAME.fullmatch(name):
            raise ValueError(f"`parameters` must hold numbers and words, received {text!r}.")
        if not (NAME.fullmatch(value) if isinstance(value, str) else abs(value) <= 1e6):
            raise ValueError(f"a parameter must be a word or a number up to a million, received {value!r}.")


DATA = re.compile(r"shapes-32|shapes-64|cifar10|fashion-mnist|own|stored-[0-9a-f]{64}")
RUN = re.compile(r"[0-9a-f]{32}")
LONGEST = 4000  # characters of changes in a link
MOST_LAYERS = 1202  # He et al. 2015, section 4.2: the deepest; to describe it takes some seconds
LIMITS: dict[str, tuple[float, float]] = {
    "seconds": (1.0, 86_400.0),
    "epochs": (1, 10_000),
    "batch_size": (2, 65_536),
    "learning_rate": (1e-6, 100.0),
    "momentum": (0.0, 0.999),
    "weight_decay": (0.0, 1.0),
    "label_smoothing": (0.0, 0.99),
    "clip": (0.0, 1000.0),
    "seed": (0, 2**31),
    "dropout": (0.0, 0.95),
}
"""What the form's fields take: nothing starts from a link that a person could not see there."""
QUICK: dict[str, Any] = TrainingConfig(seconds=60.0, batch_size=64).to_dict()
"""The training that one click starts: a minute, and small steps, so that there are many of them in it."""


@dataclass(frozen=True)
class BuildState:
    """One view of the Build & train page.

    `preset` names a preset, `spec` what was changed of its spec and `config` what was changed of `QUICK`, both as
    JSON objects of fields. Each field of the spec is legal by itself, but together they need not make a network that
    exists: a form is filled in step by step, and `network` says what to change. `data` is what to train on, "own"
    while nothing is uploaded yet; `twin` says whether the twin is trained too, `free` whether stages are edited one
    by one. `run` is the run that is looked at, None for the form.
    Raises ValueError for a text that could not have come from this app.
    """

    preset: str = "resnet-20"
    spec: str = "{}"
    config: str = "{}"
    data: str = "shapes-32"
    twin: bool = True
    free: bool = False
    run: str | None = None

    def __post_init__(self) -> None:
        if self.preset not in PRESETS:
            raise ValueError(f"there is no preset {self.preset!r}.")
        _check_spec_fields(_changes(self.spec))
        _check_config_fields(_changes(self.config))
        if not isinstance(self.data, str) or not DATA.fullmatch(self.data):
            raise ValueError(f"there is no data {self.data!r}.")
        if self.run is not None and not RUN.fullmatch(self.run):
            raise ValueError(f"{self.run!r} is not the number of a run.")

    def spec_fields(self) -> dict[str, Any]:
        """The fields of the spec as they stand in the form (`ArchitectureSpec.to_dict`), possible or not."""
        return PRESETS[self.preset].spec.to_dict() | json.loads(self.spec)

    def config_fields(self) -> dict[str, Any]:
        return QUICK | json.loads(self.config)

    def network(self, input_shape: tuple[int, int, int], classes: int) -> ArchitectureSpec:
        """The spec for pictures of that shape. Raises ValueError that says what to change."""
        spec = ArchitectureSpec.from_dict({**self.spec_fields(), "input_shape": list(input_shape), "classes": classes})
        if spec.depth > MOST_LAYERS:
            raise ValueError(f"it has {spec.depth:,} layers, and at most {MOST_LAYERS:,} fit here; use fewer blocks.")
        return spec

    def training(self) -> TrainingConfig:
        return TrainingConfig.from_dict(self.config_fields())

    def with_spec(self, **changes: Any) -> Self:
        return replace(self, spec=_difference(self.spec_fields() | changes, PRESETS[self.preset].spec.to_dict()))

    def with_config(self, **changes: Any) -> Self:
        return replace(self, config=_difference(self.config_fields() | changes, QUICK))

    def with_textbook(self) -> Self:
        """With the training that the preset's source gives it; where that has no length, a minute."""
        settings = {**QUICK, **PRESETS[self.preset].settings}
        settings["seconds"] = None if settings["epochs"] else QUICK["seconds"]
        return replace(self, config=_difference(json.loads(json.dumps(settings)), QUICK))

    @property
    def shortcut(self) -> Shortcut:
        return self.spec_fields()["shortcut"]

    def to_query(self) -> dict[str, str]:
        """What stands in the URL: each field that differs from its default."""
        texts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            field.name: {True: "yes", False: "no"}.get(texts[field.name], texts[field.name])
            for field in fields(self)
            if texts[field.name] != field.default
        }

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """The state of that URL. A part that cannot be read takes its default, so any old link shows something."""
        state: dict[str, Any] = {}
        for field in fields(cls):
            value: Any = query.get(field.name)
            if value is None:
                continue
            if isinstance(field.default, bool):
                value = {"yes": True, "no": False}.get(value, field.default)
            try:
                cls(**{field.name: value})
            except (ValueError, TypeError, RecursionError):
                continue
            state[field.name] = value
        return cls(**state)


def _changes(text: str) -> dict[str, Any]:
    """The JSON object in the text. Raises ValueError where there is none."""
    if not isinstance(text, str) or len(text) > LONGEST:
        raise ValueError("the link is too long.")
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError(f"{text!r} is not a JSON object.")
    return values


_SMALLEST = ArchitectureSpec((Stage(1, 16),), block="conv", shortcut="none")


def _check_spec_fields(changes: dict[str, Any]) -> None:
    """Raises ValueError where a field could not be that by itself, whatever the others are."""
    for name, value in changes.items():
        if name in ("input_shape", "classes"):
            raise ValueError(f"`{name}` follows from the data.")
        if name == "stages" and not (isinstance(value, list) and 1 <= len(value) <= MAXIMUM["stages"]):
            raise ValueError(f"`stages` must be a list of 1 to {MAXIMUM['stages']}, received {value!r}.")
        try:
            whole = all(asdict(Stage(**part)) == part for part in value) if name == "stages" else True
            if name == "stem" and value is not None:
                whole = asdict(Stem(**value)) == value
        except TypeError as error:
            raise ValueError(f"`{name}` has a field of the wrong type: {error}.") from None
        if not whole:
            raise ValueError(f"`{name}` lacks a field, received {value!r}.")
        if name not in ("stages", "stem"):
            ArchitectureSpec.from_dict(_SMALLEST.to_dict() | {name: value})
            _check_limit(name, value)


def _check_config_fields(changes: dict[str, Any]) -> None:
    TrainingConfig.from_dict(QUICK | changes)
    for name, value in changes.items():
        if name in ("device", "compile"):
            raise ValueError(f"`{name}` follows from the machine.")
        _check_limit(name, value)


def _check_limit(name: str, value: Any) -> None:
    if name in LIMITS and value is not None and not LIMITS[name][0] <= value <= LIMITS[name][1]:
        raise ValueError(f"`{name}` must lie in {LIMITS[name][0]:g}..{LIMITS[name][1]:g}, received {value!r}.")


def _difference(values: dict[str, Any], base: dict[str, Any]) -> str:
    changed = {name: value for name, value in values.items() if value != base[name]}
    return json.dumps(changed, sort_keys=True, separators=(",", ":"))
