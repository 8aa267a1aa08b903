"""The places of the viewer on the page, which Streamlit mounts, and the values that the browser sends from them."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import streamlit as st

from explorer.datasets import shapes
from explorer.images import MAX_BYTES
from explorer.ui.services.sample_sheets import COLUMNS, SCENES, scene_sheets
from explorer.ui.viewer import place

_LEAD = """
<div class="lead"><h3>Depth strip</h3><p>Every layer from input to output. <b>Grad-CAM</b>: where this layer's channels
speak for the explained class; the bar under it is its largest value. <b>Most active channel</b>: its feature map.
Look for where the object appears and how strong it is there, and whether the gradient keeps its size on the way back to
the input. Click a layer for its detail.</p></div>
"""
_connection = place("connection", "", ())
introduction = place("introduction", "<div class='introduction'></div>", ("introduction.css",))
overview = place(  # predictions and depth strip
    "overview",
    f"<div class='overview'><p class='error' role='alert' hidden></p><div class='around'></div>{_LEAD}"
    "<div class='strip'></div></div>",
    ("scale.css", "predictions.css", "strip.css", "picture_tools.css"),
)
layer_header = place("header", "<div class='head'></div>", ("detail.css",))
layer_panel = place("layers", "<div class='layers'></div>", ("scale.css", "detail.css", "picture_tools.css"))
_pickers = place("pickers", "<div class='pickers'></div>", ("pickers.css",))
_upload = place("upload", "<div class='upload'></div>", ("upload.css",))
_camera = place("camera", "<div class='upload'></div>", ("upload.css",))
_gallery = place("gallery", "<div class='gallery'></div>", ("gallery.css",))


def connection(data: Mapping[str, Any], on_choice: Callable[[Any], None], on_selection: Callable[[Any], None]) -> None:
    """Shows nothing: sends the viewer its view (`RunData` in types.d.ts). The browser sends what was chosen there, and
    the selection where a panel of the server needs it; both may be anything."""
    _connection(
        data=data,
        height=0,
        on_choice_change=lambda: on_choice(st.session_state["connection"]["choice"]),
        on_selection_change=lambda: on_selection(st.session_state["connection"]["selection"]),
    )


def pickers(
    networks: Sequence[Mapping[str, Any]], twins: Mapping[str, str], classes: Sequence[str], known: int
) -> None:
    """Where networks, the class to explain and the set of layers are chosen (`PickersData` in types.d.ts)."""
    _pickers(data={"networks": networks, "twins": twins, "classes": classes, "known": known})


def upload() -> None:
    """Where a picture file is chosen, dropped or pasted: the viewer sends it to its own address."""
    limit = MAX_BYTES // 2**20
    formats = f"JPEG, PNG, GIF, BMP, WEBP or TIFF, up to 50 megapixels and {limit} MB. "
    data = {"limit": limit, "help": f"{formats}It stays in the memory of your session and leaves it with you."}
    _upload(data=data)


def camera() -> None:
    """Where a picture is taken: the viewer sends it to its own address."""
    _camera(data={"limit": MAX_BYTES // 2**20})


def gallery(sample: tuple[int, int] | None, change: Callable[..., None], known: Collection[str]) -> None:
    """The ten drawn shapes of one scene. `change(picture=...)` is called with what was chosen on a page without the
    viewer. `known` are the classes of the networks: where some shapes are among them, the others are marked."""
    label, number = sample or (6, 6)
    data = {
        "picture": f"sample-{label}-{number}",
        "shown": sample is not None,
        "names": list(shapes.CLASS_NAMES),
        "strange": [name not in known for name in shapes.CLASS_NAMES] if set(shapes.CLASS_NAMES) & set(known) else [],
        "columns": COLUMNS,
        "scenes": SCENES,
        "sheets": scene_sheets((label, number)),
    }
    _gallery(data=data, on_picture_change=lambda: _take(change))


def _take(change: Callable[..., None]) -> None:
    """The picture that the browser sends may be anything."""
    try:
        change(picture=st.session_state["gallery"]["picture"])
    except (ValueError, TypeError):
        return
