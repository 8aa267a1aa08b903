"""The binary message for the browser: a JSON header and all arrays behind it. `viewer/static/message.js` reads it."""

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from explorer.ui.markdown import without_bidi

_ALIGNED = 4  # bytes: a browser reads float32 only there


class MessageWriter:
    """Collects arrays, and writes them behind a header that says where each begins."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._length = 0

    def add(self, values: np.ndarray) -> int:
        """Where `values`, uint8 or float32, begin: bytes after the header."""
        if values.dtype not in (np.uint8, np.float32):
            raise TypeError(f"`values` must be uint8 or float32, received {values.dtype}.")
        start = self._length
        content = values.tobytes()
        padding = -len(content) % _ALIGNED
        self._parts += [content, bytes(padding)]
        self._length += len(content) + padding
        return start

    def picture(self, values: np.ndarray) -> list[int]:
        """[where it begins, height, width] of (H, W) or (H, W, 3)."""
        return [self.add(values), *values.shape[:2]]

    def write(self, header: Mapping[str, Any]) -> bytes:
        """The header's length (uint32, little-endian), the header as JSON in UTF-8, and the arrays. Names that a user
        chose cannot reverse the text around them."""
        content = json_bytes(header)
        content += b" " * (-len(content) % _ALIGNED)
        return b"".join([len(content).to_bytes(4, "little"), content, *self._parts])


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """The document as JSON in UTF-8. Names that a user chose cannot reverse the text around them."""
    text = json.dumps(document, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return without_bidi(text).encode(errors="replace")  # a name may hold half a character


def json_float(value: float) -> float | None:
    """None for infinity and NaN, which JSON cannot hold."""
    return float(value) if math.isfinite(value) else None
