"""`AppState`: everything that decides what a page shows, as one value that fits into the URL."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Literal, Self, get_args

Scope = Literal["layer", "network", "both"]
Layers = Literal["main", "all"]

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
    blocks. Raises ValueError for a text that could not have come from this app.
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

    def __post_init__(self) -> None:
        for name in (self.first, self.second, self.layer):
            if name is not None and not NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not the name of a network or layer.")
        if self.first is None or self.picture is None or self.opacity is None:
            raise ValueError("a view needs a network, a picture and an opacity.")
        if self.layers not in get_args(Layers):
            raise ValueError(f"`layers` must be one of {', '.join(get_args(Layers))}, received {self.layers!r}.")
        if not SAMPLE.fullmatch(self.picture) and not UPLOAD.fullmatch(self.picture):
            raise ValueError(f"`picture` must be a sample or an upload, received {self.picture!r}.")
        if self.scope not in get_args(Scope):
            raise ValueError(f"`scope` must be one of {', '.join(get_args(Scope))}, received {self.scope!r}.")
        for number, highest in ((self.target, 100_000), (self.channel, 100_000), (self.opacity, 100)):
            if number is not None and not 0 <= number <= highest:
                raise ValueError(f"a number in the link must lie in 0..{highest}, received {number}.")

    @property
    def sample(self) -> tuple[int, int] | None:
        """(label, number) of a drawn picture, or None."""
        match = SAMPLE.fullmatch(self.picture)
        return (int(match[1]), int(match[2])) if match else None

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
