"""A sheet of pictures whose tiles can be clicked and reached with the arrow keys, as a component."""

from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from explorer.figures import GAP

_HERE = Path(__file__).parent

_component = st.components.v2.component(
    "picture_grid",
    html="<div class='grid'></div>",
    css=(_HERE / "grid.css").read_text(),
    js=(_HERE / "grid.js").read_text(),
)


def picture_grid(
    sheet: str,
    labels: Sequence[str],
    columns: int,
    side: int,
    chosen: int | None,
    *,
    key: str,
    on_click: Callable[[int], None],
    alt: str,
) -> None:
    """Draws a sheet of `figures.sheet`, given as `figures.data_uri`; a click calls `on_click` with the number of the
    tile. `labels` are shown on hover and read aloud, `chosen` is framed.

    No Plotly: a chart is built and mounted anew at every rerun.
    """

    def select() -> None:
        tile = st.session_state[key]["tile"]
        if tile is not None:
            on_click(int(tile))

    data = {
        "sheet": sheet,
        "labels": list(labels),
        "columns": columns,
        "rows": -(-len(labels) // columns),
        "width": columns * (side + GAP),
        "chosen": -1 if chosen is None else chosen,
        "alt": alt,
    }
    _component(key=key, data=data, on_tile_change=select)
