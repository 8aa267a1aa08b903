"""What another picture changes, in one message: predictions, depth strip, and what the layer's detail shows.

The page around it need not run again, and the browser lays out nothing but this.
"""

from typing import Any

import streamlit as st

from explorer.ui import layers
from explorer.ui.detail import rows_of, take_view, view
from explorer.ui.explained import Explained
from explorer.ui.gallery import sheets
from explorer.ui.packing import HERE, STORE, Packing
from explorer.ui.predictions import predictions
from explorer.ui.strip import pack_strip

_LEAD = """
<div class="lead"><h3>Depth strip</h3><p>Every layer from input to output. <b>Grad-CAM</b>: where this layer's channels
speak for the explained class. <b>Strongest map</b>: its most active channel. Look for where the object appears, and
whether the gradient keeps its size on the way back to the input. Click a layer for its detail.</p></div>
"""

_component = st.components.v2.component(
    "overview",
    html=f"<div class='overview'><div class='around'></div>{_LEAD}<div class='strip'></div></div>",
    css="".join((HERE / name).read_text() for name in ("scale.css", "predictions.css", "strip.css")),
    js=STORE + "".join((HERE / name).read_text() for name in ("predictions.js", "strip.js", "overview.js")),
)


def overview(explained: Explained) -> None:
    _component(key="overview", data=message(explained), on_view_change=lambda: take_view("overview"))


def message(explained: Explained) -> bytes:
    """All of it. What is drawn is packed once; what is chosen in it may be another at each run."""
    seen = view(explained)
    state = explained.state
    header = {"seen": seen, "picture": state.picture, "sheets": sheets(state.sample)}
    # The chosen layer goes with it; that costs little, and all that one looks at comes at once.
    chosen = (seen["view"]["layer"], seen["view"]["channel"]) if state.tab == "layer" else None
    said = f"{explained.subject.title}/{explained.subject.notes}"
    packing, drawn = _packed(f"{explained.drawing}/{chosen}/{said}", explained, chosen)
    return packing.pack(drawn | header)


@st.cache_resource(max_entries=3, show_spinner=False, scope="session")
def _packed(key: str, _explained: Explained, _chosen: tuple[str, int | None] | None) -> tuple[Packing, dict[str, Any]]:
    packing = Packing()
    strip = pack_strip(packing, rows_of(_explained.looked))
    inside = layers.inside(packing, _explained, *_chosen) if _chosen else None
    said = predictions(packing, _explained.subject, _explained.looked)
    return packing, {**strip, "key": _explained.drawing, "inside": inside, "predictions": said}
