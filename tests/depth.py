"""What the browser is given of the strip and of the layers, as `depth.js` reads it."""

import html
import json
import re
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest

Packed = tuple[dict[str, Any], bytes]


def unpack(content: bytes) -> Packed:
    """The header, and the bytes that its places count from."""
    length = int.from_bytes(content[:4], "little")
    return json.loads(content[4 : 4 + length]), content[4 + length :]


def picture(body: bytes, place: list[int]) -> np.ndarray:
    """uint8 (H, W) that the header names as [where it begins, height, width]."""
    start, height, width = place
    return np.frombuffer(body, np.uint8, height * width, start).reshape(height, width)


def component(app: AppTest, name: str) -> Any:
    """The message of the component of that name; StopIteration where the page has none."""
    return next(each.proto for each in app.get("bidi_component") if each.proto.component_name.endswith(name))


def written(app: AppTest) -> list[str]:
    """The words of what the page writes as HTML."""
    return [html.unescape(re.sub("<[^>]*>", " ", each.proto.body)) for each in app.get("html")]


def view(app: AppTest) -> dict[str, Any]:
    """The view that the head of the layer was told."""
    told: dict[str, Any] = json.loads(component(app, "layer_head").json)
    return told["view"]


def strip(app: AppTest) -> Packed:
    return unpack(component(app, "depth_strip").bytes)


def explained(app: AppTest) -> dict[str, str]:
    """The class that is explained, by network; of the first tab."""
    inside = strip(app)[0]["inside"] or unpack(component(app, "layer_detail").bytes)[0]
    return {network["title"]: network["target"] for network in inside["networks"]}
