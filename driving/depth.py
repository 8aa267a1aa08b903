"""What the browser is given of the strip and of the layers, as `depth.js` reads it."""

import html
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.types import Message
from streamlit.testing.v1 import AppTest

Packed = tuple[dict[str, Any], bytes]


def unpack(content: bytes) -> Packed:
    """The header, and the bytes that its places count from."""
    length = int.from_bytes(content[:4], "little")
    return json.loads(content[4 : 4 + length]), content[4 + length :]


def question(pieces: Sequence[bytes], end: str = "http.request") -> Request:
    """What the address of drawings gets: a body in these pieces, after which the browser has sent all or left."""
    coming = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    coming.append({"type": end, "body": b"", "more_body": False})

    async def receive() -> Message:
        return coming.pop(0)

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def picture(body: bytes, place: list[int]) -> np.ndarray:
    """uint8 (H, W) that the header names as [where it begins, height, width]."""
    start, height, width = place
    return np.frombuffer(body, np.uint8, height * width, start).reshape(height, width)


def component(app: AppTest, name: str) -> Any:
    """The message of the component of that name; StopIteration where the page has none."""
    return next(each.proto for each in app.get("bidi_component") if each.proto.component_name.endswith(name))


def written(app: AppTest) -> list[str]:
    """The words of what the page writes as HTML, and of the predictions."""
    said = [html.unescape(re.sub("<[^>]*>", " ", each.proto.body)) for each in app.get("html")]
    if not any(each.proto.component_name.endswith("overview") for each in app.get("bidi_component")):
        return said
    shown = strip(app)[0]["predictions"]
    pictures = [f"{picture['title']}, {picture['size']} {picture['words']}" for picture in shown["pictures"]]
    networks = [
        " ".join(
            [
                f"{network['title']}, {network['accuracy']}",
                *(row["name"] for row in network["classes"]),
                network["verdict"],
            ]
        )
        for network in shown["networks"]
    ]
    return [*said, *pictures, *networks, shown["note"] or ""]


def view(app: AppTest) -> dict[str, Any]:
    """The view that the head of the layer was told."""
    told: dict[str, Any] = json.loads(component(app, "layer_head").json)
    return told["view"]


def strip(app: AppTest) -> Packed:
    """What the overview was told: the strip, the predictions, and the chosen layer."""
    return unpack(component(app, "overview").bytes)


def explained(app: AppTest) -> dict[str, str]:
    """The class that is explained, by network; of the first tab."""
    return {network["title"]: network["target"] for network in strip(app)[0]["inside"]["networks"]}
