"""The base of every page's state: one value that the query of the URL holds."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class UrlState:
    """Subclasses are frozen dataclasses. Every field has a default, and they raise ValueError for values that this app
    never writes."""

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
