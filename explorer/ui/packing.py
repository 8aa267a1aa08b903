"""Arrays for the browser: one header and all numbers in one message, which `depth.js` unpacks."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from explorer.ui.markdown import in_order

HERE = Path(__file__).parent
STORE = (HERE / "depth.js").read_text()  # in front of each component that shows a part of the depth
_ALIGNED = 4  # bytes: a browser reads float32 only there


class Packing:
    """Collects arrays, and packs them behind a header that says where each begins."""

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

    def pack(self, header: Mapping[str, Any]) -> bytes:
        """The header's length (uint32, little-endian), the header as JSON in UTF-8, and the arrays. Names that somebody
        chose do not turn the words around them about."""
        words = json.dumps(header, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        text = in_order(words).encode(errors="replace")  # a name may hold half a character
        text += b" " * (-len(text) % _ALIGNED)
        return b"".join([len(text).to_bytes(4, "little"), text, *self._parts])


def number(value: float) -> float | None:
    """As JSON has it, which knows no infinity."""
    return float(value) if math.isfinite(value) else None
