"""Finite numbers for JSON and charts."""

import math
from typing import Any


def finite(value: Any, digits: int | None = None) -> Any:
    """`value`, or all that a list, array or dict holds, with None for numbers that are not finite.

    The others are rounded to `digits` significant digits, where that is given.
    """
    if hasattr(value, "tolist"):  # of numpy, which a queued run does not import
        value = value.tolist()
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return float(f"{value:.{digits}g}" if digits else value)
    if isinstance(value, dict):
        return {key: finite(item, digits) for key, item in value.items()}
    return [finite(item, digits) for item in value] if isinstance(value, list | tuple) else value
