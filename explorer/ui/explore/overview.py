"""What another picture changes, in one message: predictions, depth strip, and what the layer's detail shows.

The page around it need not run again, and the browser lays out nothing but this.
"""

import asyncio
import secrets
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import streamlit as st

from explorer.ui import resources
from explorer.ui.explore import layers
from explorer.ui.explore.detail import SCALE, last_change, rows_of, take_view, view
from explorer.ui.explore.explained import Explained, last
from explorer.ui.explore.predictions import predictions
from explorer.ui.explore.strip import pack_strip
from explorer.ui.gallery import sheets
from explorer.ui.packing import STORE, Packing
from explorer.ui.passes import Passes, Pictures
from explorer.ui.services.caches import CACHES, LruCache

_LEAD = """
<div class="lead"><h3>Depth strip</h3><p>Every layer from input to output. <b>Grad-CAM</b>: where this layer's channels
speak for the explained class; the bar under it is its largest value. <b>Strongest map</b>: its most active channel.
Look for where the object appears and how strong it is there, and whether the gradient keeps its size on the way back to
the input. Click a layer for its detail.</p></div>
"""

_HERE = Path(__file__).parent

_component = st.components.v2.component(
    "overview",
    html=f"<div class='overview'><div class='around'></div>{_LEAD}<div class='strip'></div></div>",
    css=SCALE + "".join((_HERE / name).read_text() for name in ("predictions.css", "strip.css")),
    js=STORE + "".join((_HERE / name).read_text() for name in ("predictions.js", "strip.js", "overview.js")),
)


Packed = tuple[Packing, dict[str, Any]]


class Desk:
    """What the overview of one session is made from, by a run of its page or without one (`drawings.py`).

    `token` is known to the browser of this session alone. `last` holds the last `Explained` of the session, as
    "explained". `asked` counts what was asked for without a run: only the newest is worth an answer, and `turn` lets
    one at a time be computed.
    """

    def __init__(self, passes: Passes, pictures: Pictures, last: dict[str, Explained]) -> None:
        self.token = secrets.token_hex(16)
        self.passes, self.pictures, self.last = passes, pictures, last
        self.packed: LruCache[Packed] = LruCache(CACHES["ui.explore.overview.Desk"])
        self.asked = 0
        self.turn = asyncio.Lock()


DESKS: WeakValueDictionary[str, Desk] = WeakValueDictionary()  # by token; each goes with its session


@st.cache_resource(show_spinner=False, scope="session")
def desk() -> Desk:
    """This session's own."""
    own = Desk(resources.passes(), resources.pictures(), last())
    DESKS[own.token] = own
    return own


def overview(explained: Explained) -> None:
    data = message(explained, last_change(), desk())
    _component(key="overview", data=data, on_view_change=lambda: take_view("overview"))


def message(explained: Explained, change: int | None, desk: Desk) -> bytes:
    """All of it, with the number of the last change that is in it. What is drawn is packed once; what is chosen in it
    may be another at each run."""
    seen = view(explained, change)
    state = explained.state
    header = {"seen": seen, "picture": state.picture, "sheets": sheets(state.sample), "token": desk.token}
    # The chosen layer goes with it; that costs little, and all that one looks at comes at once.
    chosen = (seen["view"]["layer"], seen["view"]["channel"]) if state.tab == "layer" else None
    key = f"{explained.drawing}/{chosen}/{explained.subject.title}/{explained.subject.notes}"
    with desk.passes.lock:
        packing, drawn = desk.packed.get(key, lambda: _pack(explained, chosen))
    return packing.pack(drawn | header)


def _pack(explained: Explained, chosen: tuple[str, int | None] | None) -> Packed:
    packing = Packing()
    strip = pack_strip(packing, rows_of(explained.looked))
    inside = layers.inside(packing, explained, *chosen) if chosen else None
    said = predictions(packing, explained.subject, explained.looked)
    return packing, {**strip, "key": explained.drawing, "inside": inside, "predictions": said}
