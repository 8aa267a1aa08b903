"""What the states of all pages have in common: each is one value that stands in the page's link."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True)
class Linked:
    """The base of a frozen dataclass that decides what a page shows. Every field has a default, and the class raises
    ValueError for a value that could not have come from this app."""

    def to_query(self) -> dict[str, str]:
        """What stands in the URL: each field that differs from its default."""
        return {
            field.name: self._said(field.name, getattr(self, field.name))
            for field in fields(self)
            if getattr(self, field.name) != field.default
        }

    @classmethod
    def from_query(cls, query: Mapping[str, str]) -> Self:
        """The state of that URL. A part that cannot be read takes its default, so any old link shows something."""
        state: dict[str, Any] = {}
        for field in fields(cls):
            text = query.get(field.name)
            if text is None:
                continue
            try:
                value = cls._meant(field.name, text)
                cls(**{field.name: value})
            except (ValueError, TypeError, RecursionError):
                continue
            state[field.name] = value
        return cls(**state)

    @classmethod
    def _said(cls, name: str, value: Any) -> str:
        """How the field of that name writes this value into the link."""
        if value is None or isinstance(value, bool):
            return {None: "none", True: "yes", False: "no"}[value]
        return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)

    @classmethod
    def _meant(cls, name: str, text: str) -> Any:
        """The value that this text means in the field of that name. Raises ValueError where it means none."""
        return text


def whole(text: str) -> int:
    """The number from 0 that stands there. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"{text!r} is no whole number.")
    return int(text)
