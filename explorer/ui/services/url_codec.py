"""The base of every page's state: one value that the query of the URL holds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class UrlState:
    """Subclasses are frozen dataclasses. Every field has a default, and they raise ValueError for values that this app
    never writes. Here it checks fields of the type Literal, and whole numbers with an entry in INTEGERS."""

    INTEGERS: ClassVar[Mapping[str, tuple[int, int]]] = {}
    """Least and largest value by the name of the field, which may be None too."""
    _choices: ClassVar[Mapping[str, tuple[Any, ...]]] = {}

    def __init_subclass__(cls) -> None:
        hints = get_type_hints(cls).items()
        cls._choices = {name: get_args(hint) for name, hint in hints if get_origin(hint) is Literal}

    def __post_init__(self) -> None:
        for name, choices in self._choices.items():
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"`{name}` must be one of {', '.join(choices)}, received {value!r}.")
        for name, (least, largest) in self.INTEGERS.items():
            value = getattr(self, name)
            if value is not None and not (type(value) is int and least <= value <= largest):
                raise ValueError(f"`{name}` must be a whole number in {least}..{largest}, received {value!r:.40}.")

    def to_query(self) -> dict[str, str]:
        """Each field that differs from its default."""
        changed = {field.name: value for field in fields(self) if (value := getattr(self, field.name)) != field.default}
        return {name: self._encode(name, value) for name, value in changed.items()}

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """The state of that query. A field that cannot be read has its default, so that an old link shows something."""
        state: dict[str, Any] = {}
        for name in (field.name for field in fields(cls) if field.name in query):
            try:
                value = cls._decode(name, query[name])
                cls(**{name: value})
            except (ValueError, TypeError, RecursionError):
                continue
            state[name] = value
        return cls(**state)

    @classmethod
    def _encode(cls, name: str, value: Any) -> str:
        if value is None or isinstance(value, bool):
            return {None: "none", True: "yes", False: "no"}[value]
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

    @classmethod
    def _decode(cls, name: str, text: str) -> Any:
        """Raises ValueError."""
        return text


def parse_int(text: str) -> int:
    """0 or more. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"{text!r} is no whole number.")
    return int(text)
