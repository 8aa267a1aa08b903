"""The ten drawn shapes of one scene, as a component: a click, another scene or "Next" chooses the picture."""

from collections.abc import Callable, Collection
from functools import lru_cache

import numpy as np
import streamlit as st

from explorer import figures
from explorer.datasets import shapes
from explorer.ui.packing import HERE, STORE
from explorer.ui.passes import drawn

COLUMNS = 5
SCENES = 1_000_000

_component = st.components.v2.component(
    "gallery",
    html="<div class='gallery'></div>",
    css=(HERE / "gallery.css").read_text(),
    js=STORE + (HERE / "gallery.js").read_text(),
)


def gallery(sample: tuple[int, int] | None, change: Callable[..., None], known: Collection[str]) -> None:
    """`change(picture=...)` is called with what was chosen, unless the page has a drawing that takes it alone. `known`
    are the classes of the networks: where some shapes are among them, the others are marked as strange."""
    label, number = sample or (6, 6)
    data = {
        "picture": f"sample-{label}-{number}",
        "shown": sample is not None,
        "names": list(shapes.CLASS_NAMES),
        "strange": [name not in known for name in shapes.CLASS_NAMES] if set(shapes.CLASS_NAMES) & set(known) else [],
        "columns": COLUMNS,
        "scenes": SCENES,
        "sheets": sheets((label, number)),
    }
    _component(key="gallery", data=data, on_picture_change=lambda: _take(change))


def _take(change: Callable[..., None]) -> None:
    """What the browser says was chosen may be anything."""
    said = st.session_state["gallery"]["picture"]
    try:
        change(picture=said)
    except (ValueError, TypeError):
        return


def draw_ahead(sample: tuple[int, int] | None) -> None:
    """The scene that "Next" would show: it is drawn while the person looks at this one."""
    if sample:
        scene((sample[1] + 1) % SCENES)


def sheets(sample: tuple[int, int] | None) -> dict[str, str]:
    """The scene of that picture, by its number."""
    return {str(sample[1]): scene(sample[1])} if sample else {}


@lru_cache(maxsize=200)
def scene(number: int) -> str:
    """The ten shapes of that scene on one sheet, five in a row, as an address that holds the PNG."""
    pictures = np.stack([drawn(index, number)[0] for index in range(len(shapes.CLASS_NAMES))])
    return figures.data_uri(figures.sheet(pictures, COLUMNS, pictures.shape[1]))
