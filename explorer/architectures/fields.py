"""Checks of the fields of a dataclass: their types, choices and limits, and the JSON object that they come from."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from reprlib import repr as shown  # a value in a sentence: cut where it is long
from typing import Any, Literal, get_args, get_origin

WRONG = "a spec is incomplete or has a field of the wrong type: "


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Raises ValueError for a value outside of these limits; it has to be a whole number where the limits are."""
    whole = isinstance(low, int)
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float) or not low <= value <= high:
        limits = f"whole number from {low} to {high}" if whole else f"number from {low:g} to {high:g}"
        raise ValueError(f"`{name}` must be a {limits}, received {shown(value)}.")


@cache
def _fields(kind: Any) -> tuple[tuple[str, bool, tuple[Any, ...] | None, bool], ...]:
    """Of each field of the dataclass: its name, whether None is its default, the choices of its Literal, and whether
    it is a bool. A page makes thousands of specs, and most of their time went into these questions."""
    return tuple(
        (
            field.name,
            field.default is None,
            get_args(field.type) if get_origin(field.type) is Literal else None,
            field.type is bool,
        )
        for field in fields(kind)
    )


def check_fields(values: Any, limits: Mapping[str, tuple[float, float]], prefix: str = "") -> None:
    """Raises ValueError for a field of the dataclass `values` that is no choice of its Literal, no bool, or a number
    outside of its `limits`. None is allowed where it is the default. `prefix` stands before the name of the field."""
    kind: Any = type(values)
    for field, may_be_none, choices, is_bool in _fields(kind):
        name, value = prefix + field, getattr(values, field)
        if value is None and may_be_none:
            continue
        if choices is not None and value not in choices:
            legal = ", ".join(map(repr, choices))
            raise ValueError(f"`{name}` must be one of {legal}, received {shown(value)}.")
        if is_bool and not isinstance(value, bool):
            raise ValueError(f"`{name}` must be true or false, received {shown(value)}.")
        if field in limits:
            check_number(name, value, *limits[field])


def fields_of(kind: Any, values: Any, what: str, where: str = "") -> dict[str, Any]:
    """A copy of the JSON object `values`, which has fields of the dataclass `kind`, and all that have no default.

    Raises ValueError, which begins with `where` and calls the object `what`, for anything else.
    """
    if not isinstance(values, dict):
        received = "null" if values is None else type(values).__name__
        raise ValueError(f"{where}{what} must be a JSON object, received {received}.")
    known = {field.name: field.default is MISSING for field in fields(kind)}
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"{where}{what} has no field `{shown(unknown[0])[1:-1]}`; it has {', '.join(known)}.")
    missing = [name for name, needed in known.items() if needed and name not in values]
    if missing:
        raise ValueError(f"{WRONG}{what} lacks '{missing[0]}'.")
    return dict(values)
