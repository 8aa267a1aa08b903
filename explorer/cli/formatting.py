"""From values to text for a terminal."""

from collections.abc import Sequence
from typing import Any

from explorer.images import DecodedImage

SHOWN_CLASSES = 20


def table(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """Columns of equal width under their header; numbers to the right, text to the left, nothing for None."""
    columns = []
    for name, *values in zip(header, *rows, strict=True):
        cells = [str(name), *map(_cell, values)]
        width = max(map(len, cells))
        right = any(isinstance(value, int | float) for value in values)
        columns.append([text.rjust(width) if right else text.ljust(width) for text in cells])
    return ["  ".join(line).rstrip() for line in zip(*columns, strict=True)]


def _cell(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return "×".join(map(str, value))
    return "" if value is None else str(value)


def percent(share: float) -> str:
    return f"{share:.2%}"


def describe_classes(names: Sequence[str]) -> str:
    """The classes as a clause: `knows 3 classes: ring, star, cross.`"""
    more = f" and {len(names) - SHOWN_CLASSES:,} more" if len(names) > SHOWN_CLASSES else ""
    return f"knows {len(names):,} classes: {', '.join(names[:SHOWN_CLASSES])}{more}."


def heading(file: str, picture: DecodedImage) -> str:
    height, width, _ = picture.pixels.shape
    return f"{file} ({picture.format}, {width} × {height} pixels)"


def notes_block(notes: Sequence[str]) -> list[str]:
    return [f"Note: {note}" for note in notes]


def error_line(error: Exception) -> str:
    """The error's text on one line, with a full stop."""
    text = str(error)
    if isinstance(error, OSError) and error.strerror:
        text = f"`{error.filename}` cannot be read or written: {error.strerror}"
    text = escape_control(" ".join(text.split()))
    return text if text.endswith(".") else f"{text}."


def escape_control(line: str) -> str:
    """`line` without control characters, which names of files and classes may hold."""
    return "".join(letter if letter.isprintable() else "?" for letter in line)
