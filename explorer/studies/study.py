"""`Study`: axes and seeds over one network and one training, and the runs that they expand to."""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from reprlib import repr as shown  # a value in a sentence: cut where it is long
from typing import TYPE_CHECKING, Any, Self

from explorer.runs import Request

if TYPE_CHECKING:
    from explorer.architectures import ArchitectureSpec

MAX_RUNS = 500
PLAIN = "none"
SEED_LIMIT = 2**31
LONGEST_LABEL = 80
FIELD = re.compile(r"[A-Za-z_]\w{0,60}", re.ASCII)

Cell = tuple[tuple[str, Any], ...]
"""One combination of values of the axes: (field, value) in the order of the axes."""

RESIZING = ("depth", "width", "size", "data")
"""Fields that are neither of a spec nor of a training config."""
SPEC_FIELDS = {"init": "initialisation"}
"""Shorter names of a spec's fields."""
NOT_AXES = {"seed": "seeds", "device": "device", "stages": "depth", "stem": "width", "input_shape": "size"}
"""Fields that are no axes, and the part of a study that stands for them."""


@dataclass(frozen=True)
class Axis:
    """One `field` and the `values` that it takes, in their order.

    Fields are depth (weighted layers; all stages get equally many blocks), width (channels of the first stage; the
    others keep their ratio to it), size (pixels a side), data (as links name it: "shapes-16-ring-star", "cifar10"),
    every field of an `ArchitectureSpec` or `TrainingConfig` that is one value, and "init" for "initialisation".
    A `shortcut` is "none", "identity" or "projection", or one for each stage ("none,identity,identity"), each with the
    gain of the shortcut behind it where that is not 1 ("identity*0.5"). Raises ValueError for an axis without values
    or with one twice.
    """

    field: str
    values: tuple[Any, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.field, str) or not FIELD.fullmatch(self.field):
            raise ValueError(f"`field` of an axis must be a name, received {shown(self.field)}.")
        if not isinstance(self.values, tuple) or not self.values:
            raise ValueError(f"the axis `{self.field}` needs one value or more, received {shown(self.values)}.")
        for value in self.values:
            parts = value if isinstance(value, tuple) else (value,)
            if not all(isinstance(part, str | int | float | None) and part == part for part in parts):
                raise ValueError(f"the axis `{self.field}` takes texts, numbers and lists, received {shown(value)}.")
        if len({*self.values}) < len(self.values):  # 1 and 1.0 are one value: cells are compared by it
            raise ValueError(f"the axis `{self.field}` has one value twice; leave one of them out.")

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Raises ValueError for anything but what `Study.to_dict` gives."""
        if not isinstance(values, dict) or {*values} != {"field", "values"} or not isinstance(values["values"], list):
            raise ValueError(f'an axis must be {{"field": NAME, "values": [...]}}, received {shown(values)}.')
        return cls(values["field"], tuple(tuple(each) if isinstance(each, list) else each for each in values["values"]))


@dataclass(frozen=True)
class Trial:
    """One run of a study: the `cells` of its one or two networks, in their order, and what to train.

    Twins of one trial start from the same weights, as far as they share layers, and see the same batches; so do all
    trials of one `seed`.
    """

    cells: tuple[Cell, ...]
    seed: int
    request: Request

    @property
    def title(self) -> str:
        """The values that all of its networks share, and the seed: "depth 20, seed 1"."""
        shared = [pair for pair in self.cells[0] if all(pair in cell for cell in self.cells)]
        return ", ".join([*(f"{field} {words(field, value)}" for field, value in shared), f"seed {self.seed}"])

    def to_dict(self) -> dict[str, Any]:
        return {"cells": self.cells, "seed": self.seed, "request": asdict(self.request)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Raises ValueError, TypeError or KeyError for anything but what `to_dict` gives."""
        cells = tuple(tuple((str(field), _frozen(value)) for field, value in cell) for cell in values["cells"])
        request = Request.from_dict(values["request"])
        if len(cells) != len(request.specs):
            raise ValueError("a trial has one cell for each of its networks.")
        return cls(cells, int(values["seed"]), request)


@dataclass(frozen=True)
class Study:
    """Trainings of one network and its variants; JSON throughout.

    `spec` is an `ArchitectureSpec.to_dict`, `config` a `TrainingConfig.to_dict` and `data` that of a `Request`. Every
    combination of the values of `axes` is one cell, and every cell is trained once with each of `seeds`. With `pairs`
    the plain network of an axis "shortcut" is trained in one run with the first other kind. `device` is that of each
    run, "auto" the machine's own. `threads` is the number of torch's threads of each run, 0 for this machine's cores
    shared among the places. Raises ValueError for impossible values, except those of spec, config and axes, which
    `trials` checks.
    """

    name: str
    spec: dict[str, Any]
    config: dict[str, Any]
    data: dict[str, Any]
    axes: tuple[Axis, ...]
    seeds: tuple[int, ...] = (0,)
    pairs: bool = True
    device: str = "auto"
    threads: int = 0

    def __post_init__(self) -> None:
        kinds = {"name": str, "spec": dict, "config": dict, "data": dict, "axes": tuple, "seeds": tuple}
        for name, kind in (kinds | {"pairs": bool, "device": str, "threads": int}).items():
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"`{name}` of a study cannot be {shown(getattr(self, name))}.")
        if not isinstance(self.data.get("kind"), str):
            raise ValueError(f"`data` of a study needs a `kind`, received {shown(self.data.get('kind'))}.")
        if not 1 <= len(self.name) <= 200 or not self.name.isprintable():
            raise ValueError("`name` of a study must be a line of 1 to 200 characters.")
        if not all(isinstance(axis, Axis) for axis in self.axes):
            raise ValueError("`axes` of a study must be axes.")
        fields = [axis.field for axis in self.axes]
        for field in fields:
            if fields.count(field) > 1:
                raise ValueError(f"the study has two axes `{field}`; give one of them all values.")
            if field in NOT_AXES:
                raise ValueError(f"`{field}` is no axis; use `{NOT_AXES[field]}` of the study.")
        if {"data", "size"} <= {*fields}:
            raise ValueError("the axes `data` and `size` both choose the pictures; use one of them.")
        for seed in self.seeds:
            if type(seed) is not int or not 0 <= seed < SEED_LIMIT:
                raise ValueError(f"`seeds` must be whole numbers from 0 to {SEED_LIMIT - 1}, received {shown(seed)}.")
        if not self.seeds or len({*self.seeds}) < len(self.seeds):
            raise ValueError("`seeds` must be one whole number or more, each once.")
        if self.device not in ("auto", "cpu", "cuda", "mps"):
            raise ValueError(f'`device` must be "auto", "cpu", "cuda" or "mps", received {shown(self.device)}.')
        if isinstance(self.threads, bool) or not 0 <= self.threads <= 1024:
            raise ValueError(f"`threads` must be a whole number from 0 to 1024, received {shown(self.threads)}.")

    @property
    def networks(self) -> int:
        """The number of networks to train."""
        return math.prod(len(axis.values) for axis in self.axes) * len(self.seeds)

    @property
    def runs(self) -> int:
        """The number of runs: twins that are trained together are one."""
        kinds = self._shortcut_groups()
        return self.networks // sum(map(len, kinds)) * len(kinds) if kinds else self.networks

    def cells(self) -> tuple[Cell, ...]:
        """Every combination of the axes' values, the last axis changing fastest. Raises ValueError for more than
        `MAX_RUNS` runs."""
        self.check_size()
        return tuple(
            tuple((axis.field, value) for axis, value in zip(self.axes, values, strict=True))
            for values in product(*(axis.values for axis in self.axes))
        )

    def check_size(self) -> None:
        """Raises ValueError for more than `MAX_RUNS` runs."""
        if self.runs > MAX_RUNS:
            raise ValueError(
                f"this study comes to {self.runs:,} runs, and {MAX_RUNS} are the most; take fewer values or seeds."
            )

    def trials(self, owner: str = "", created: float = 0.0) -> tuple[Trial, ...]:
        """The runs, seed by seed and in the order of the cells, so that every cell has its first result early.

        Raises ValueError, which names the cell, where a network or training cannot exist; and for more than `MAX_RUNS`
        runs.
        """
        from explorer.architectures import ArchitectureSpec  # here: the process of a study needs no torch
        from explorer.training import TrainingConfig, choose_device

        self.check_size()
        device = choose_device(self.device).type  # type: ignore[arg-type]  # one of them, as __post_init__ says
        base = ArchitectureSpec.from_dict(self.spec)
        config = TrainingConfig.from_dict(self.config)
        made: list[Trial] = []
        for seed in self.seeds:
            for cells in self._grouped():
                requests = [_request(base, config, self.data, cell, seed, device) for cell in cells]
                first = requests[0]
                specs = tuple(spec for request in requests for spec in request.specs)
                names = tuple(name for request in requests for name in request.names)
                request = replace(first, specs=specs, names=names, owner=owner, created=created, threads=self.threads)
                made.append(Trial(cells, seed, request))
        return tuple(made)

    def _shortcut_groups(self) -> list[tuple[Any, ...]]:
        """The values of the axis "shortcut", those together that are trained in one run; [] without that axis."""
        values = next((axis.values for axis in self.axes if axis.field == "shortcut"), ())
        others = [value for value in values if value != PLAIN]
        if self.pairs and PLAIN in values and others:
            return [(PLAIN, others[0]), *((value,) for value in others[1:])]
        return [(value,) for value in values]

    def _grouped(self) -> Iterator[tuple[Cell, ...]]:
        """The cells, those together that are trained in one run."""
        groups = self._shortcut_groups()
        choices: list[list[tuple[Any, ...]]] = [
            groups if axis.field == "shortcut" else [(value,) for value in axis.values] for axis in self.axes
        ]
        for chosen in product(*choices):
            yield tuple(
                tuple(
                    (axis.field, values[min(index, len(values) - 1)])
                    for axis, values in zip(self.axes, chosen, strict=True)
                )
                for index in range(max((len(values) for values in chosen), default=1))
            )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; `from_dict` is its inverse."""
        return json.loads(json.dumps(asdict(self)))

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """The study that `to_dict` described. Raises ValueError for anything else."""
        if not isinstance(values, dict):
            raise ValueError(f"a study must be a JSON object, received {shown(values)}.")
        known = ("name", "spec", "config", "data", "axes", "seeds", "pairs", "device", "threads")
        unknown = [name for name in values if name not in known]
        if unknown:
            raise ValueError(f"a study has no field `{shown(unknown[0])[1:-1]}`; it has {', '.join(known)}.")
        missing = [name for name in known[:5] if name not in values]
        if missing:
            raise ValueError(f"the study lacks `{missing[0]}`.")
        for name in ("axes", "seeds"):
            if not isinstance(values.get(name, []), list | tuple):
                raise ValueError(f"`{name}` of a study must be a list, received {shown(values[name])}.")
        axes = tuple(Axis.from_dict(axis) for axis in values["axes"])
        return cls(**{**values, "axes": axes} | ({"seeds": tuple(values["seeds"])} if "seeds" in values else {}))


def words(field: str, value: Any) -> str:
    """The value of an axis as a label: "plain", "identity", "0.5 × identity", "20"."""
    if field == "shortcut" and isinstance(value, str):
        kinds, gain = _shortcut(value)
        names = ["plain" if kind == PLAIN else kind for kind in kinds]
        text = ", ".join(names)
        return text if gain == 1 else f"{gain:g} × {text}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _cited(field: str, value: Any) -> str:
    """The value in a sentence on it, which may be anything."""
    text = words(field, value)
    return text if text.isprintable() and len(text) <= LONGEST_LABEL else shown(value)


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _shortcut(text: str) -> tuple[list[str], float]:
    """The shortcuts in a value of the axis, one or one for each stage, and their gain. Raises ValueError."""
    kinds, star, gain = text.partition("*")
    try:
        return [kind.strip() for kind in kinds.split(",")], float(gain) if star else 1.0
    except ValueError:
        raise ValueError(f"a shortcut is `identity`, or `identity*0.5` with a gain; received {shown(text)}.") from None


def _request(
    base: "ArchitectureSpec", config: Any, data: dict[str, Any], cell: Cell, seed: int, device: str
) -> Request:
    """The training of the one network of a cell. Raises ValueError, which names the cell."""
    from explorer.architectures import ArchitectureSpec
    from explorer.training import TrainingConfig

    values = dict(cell)
    settings = config.to_dict() | {"seed": seed}
    fields = base.to_dict()
    try:
        data = _data(data, values)
        for name, value in values.items():
            name = SPEC_FIELDS.get(name, name)
            if name in settings:
                settings[name] = value
                other = {"epochs": "seconds", "seconds": "epochs"}.get(name)
                settings |= {other: None} if other else {}
            elif name == "shortcut":
                fields = _with_shortcut(fields, value)
            elif name not in RESIZING:
                fields[name] = list(value) if isinstance(value, tuple) else value
        fields = _resized(fields, values, data)
        spec = ArchitectureSpec.from_dict(fields)
        trained = TrainingConfig.from_dict(settings)
    except ValueError as error:
        where = ", ".join(f"{field} {_cited(field, value)}" for field, value in cell)
        raise ValueError(f"{where}: {error}" if where else str(error)) from None
    return Request(specs=(spec.to_dict(),), config=trained.to_dict(), data=data, device=device, names=(spec.name,))


def _data(data: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The data of a cell. Raises ValueError."""
    from explorer.datasets import shapes

    if "data" in values:
        key = str(values["data"])
        drawn = shapes.named(key)
        if drawn:
            return drawn.request
        if key.startswith("stored-"):
            return {"kind": "stored", "number": key.removeprefix("stored-")}
        return {"kind": key}
    if "size" in values:
        if data.get("kind") != "shapes":
            raise ValueError("an axis `size` needs drawn shapes; other pictures have the size of their data.")
        return shapes.Drawn.requested({**data, "size": values["size"]}).request
    return data


def _with_shortcut(fields: dict[str, Any], value: Any) -> dict[str, Any]:
    """The spec's fields with that value of the axis "shortcut". Raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"`shortcut` must be a text, received {shown(value)}.")
    kinds, gain = _shortcut(value)
    plain = {*kinds} == {PLAIN}
    fields = {name: each for name, each in fields.items() if name != "shortcut_gain" or not plain}
    fields["stages"] = [
        {name: each for name, each in stage.items() if name != "shortcut"} for stage in fields["stages"]
    ]
    fields["shortcut"] = kinds[0]
    if len(kinds) > 1:
        if len(kinds) != len(fields["stages"]):
            raise ValueError(f"{len(kinds)} shortcuts for {len(fields['stages'])} stages; give one, or one a stage.")
        fields["stages"] = [{**stage, "shortcut": kind} for stage, kind in zip(fields["stages"], kinds, strict=True)]
    return fields | ({"shortcut_gain": gain} if gain != 1 else {})


def _resized(fields: dict[str, Any], values: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    """The spec's fields with the cell's depth and width, for the pictures of the data. Raises ValueError."""
    from explorer.architectures.spec import CONVOLUTIONS_IN_BLOCK
    from explorer.datasets import downloadable, shapes

    stages, stem = fields["stages"], fields.get("stem")
    if "depth" in values:
        depth = values["depth"]
        hidden = fields.get("hidden")
        fixed = (stem is not None) + (len(hidden) if isinstance(hidden, list | tuple) else 0) + 1
        step = CONVOLUTIONS_IN_BLOCK.get(fields.get("block", "basic"), 2) * len(stages)
        if type(depth) is not int or depth < fixed + step or (depth - fixed) % step:
            raise ValueError(
                f"`depth` must be {step}n + {fixed} for {len(stages)} stages of equal length, received {shown(depth)}."
            )
        stages = [{**stage, "blocks": (depth - fixed) // step} for stage in stages]
    if "width" in values:
        width, first = values["width"], stages[0]["channels"]
        if type(width) is not int or width < 1:
            raise ValueError(f"`width` must be a whole number of channels, received {shown(width)}.")
        stem = stem and {**stem, "channels": _scaled(stem["channels"], width, first)}
        stages = [
            {**stage, "channels": _scaled(stage["channels"], width, first)}
            | ({"inner": _scaled(stage["inner"], width, first)} if stage.get("inner") else {})
            for stage in stages
        ]
    channels = fields.get("input_shape", [3])[0]
    fields = {**fields, "stages": stages, "stem": stem}
    if data.get("kind") == "shapes":
        drawn = shapes.Drawn.requested(data)
        fields |= {"input_shape": [channels, drawn.size, drawn.size], "classes": len(drawn.classes)}
    elif data.get("kind") in downloadable.DOWNLOADABLE:
        about = downloadable.DOWNLOADABLE[data["kind"]]
        fields |= {"input_shape": [channels, 32, 32], "classes": len(about.class_names)}
    elif data.get("kind") != "stored":
        raise ValueError(f"there is no data of the kind {shown(data.get('kind'))}; use shapes, or upload some.")
    return fields


def _scaled(channels: int, width: int, first: int) -> int:
    if channels * width % first:
        raise ValueError(f"`width` {width} would make {channels} channels {channels * width / first:g}; use another.")
    return channels * width // first
