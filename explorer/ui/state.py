"""`AppState`: everything that decides what Explore shows, as one value that fits into the URL."""

import json
import re
from dataclasses import dataclass
from typing import Any, Literal, get_args

from explorer.attribution import METHODS
from explorer.ui.link import Linked, whole

Scope = Literal["layer", "network", "both"]
Layers = Literal["main", "all"]
Tab = Literal["layer", "block", "methods", "channels", "trust"]
Questioned = Literal["grad_cam", "method"]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")  # of a network or layer; never a path
SAMPLE = re.compile(r"sample-([0-9])-([0-9]{1,6})")
UPLOAD = re.compile(r"upload-[0-9a-f]{16}")


# What a pass through the networks depends on, besides the networks: the browser asks with it.
PASS_FIELDS = ("picture", "target", "layers")
# What the browser owns: it draws another one by itself, and keeps it behind the hash of the address.
SELECTION_FIELDS = ("layer", "channel", "scope", "opacity")


@dataclass(frozen=True)
class AppState(Linked):
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

    @classmethod
    def _meant(cls, name: str, text: str) -> Any:
        if text == "none":
            return None
        return whole(text) if name in ("target", "channel", "opacity") else text


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
