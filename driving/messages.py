"""Messages of the server: the binary one of `viewer/static/message.js`, and those of components."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.types import Message
from streamlit.testing.v1 import AppTest

UnpackedMessage = tuple[dict[str, Any], bytes]


def unpack(content: bytes) -> UnpackedMessage:
    """The header, and the bytes that its places count from."""
    length = int.from_bytes(content[:4], "little")
    return json.loads(content[4 : 4 + length]), content[4 + length :]


def explain_request(pieces: Sequence[bytes], token: str = "", end: str = "http.request") -> Request:
    """A request to the explain endpoint, whose body comes in these pieces. `end` is that of the last ASGI message."""
    coming = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    coming.append({"type": end, "body": b"", "more_body": False})

    async def receive() -> Message:
        return coming.pop(0)

    return Request({"type": "http", "method": "POST", "headers": [(b"x-explorer-token", token.encode())]}, receive)


def picture(body: bytes, place: list[int]) -> np.ndarray:
    """uint8 (H, W) that the header names as [where it begins, height, width]."""
    start, height, width = place
    return np.frombuffer(body, np.uint8, height * width, start).reshape(height, width)


def component(app: AppTest, name: str) -> Any:
    """The message of the component of that name; StopIteration where the page has none."""
    return next(each.proto for each in app.get("bidi_component") if each.proto.component_name.endswith(name))
