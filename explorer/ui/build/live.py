"""Charts of a training while it runs, as a component: what a person has zoomed into stays when new numbers arrive.

Streamlit's own charts do not all keep it (measured with 1.67 in Chromium: `st.plotly_chart` is mounted anew and
`st.echarts_chart` set anew at each change of data, so the zoom is lost at once; `st.vega_lite_chart` keeps it, but
takes the mouse wheel from the page and has no keys).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures
from explorer.attribution import shared_axis
from explorer.figures import Curve, GradientMap

_HERE = Path(__file__).parent
_MOST_POINTS = 600  # of one line: more than a panel has pixels

_component = st.components.v2.component(
    "live_charts",
    html="<div class='live'></div>",
    css=(_HERE / "live.css").read_text(),
    js=(_HERE / "live.js").read_text(),
)


def training_curves(loss: Sequence[Curve], accuracy: Sequence[Curve], *, key: str = "training_curves") -> None:
    """Loss on the left, accuracy (0..1, shown in per cent) on the right, over training steps.

    A curve of the one chart and a curve of the other that belong together have the same name, which no others have:
    "plain-20 training", "plain-20 validation". Pointing at a step, or reading with the arrow keys, shows all values
    there.
    """
    panels = [("Loss", False, loss), ("Accuracy", True, accuracy)]
    names = dict.fromkeys((curve.name, curve.colour, curve.dashed, curve.points) for curve in [*loss, *accuracy])
    last = max((curve.steps[-1] for curve in [*loss, *accuracy] if curve.steps), default=1)
    data = {
        "kind": "curves",
        "alt": "Loss and accuracy over training steps. " + _last_values(panels),
        "last": max(int(last), 1),
        "legend": [
            {"name": name, "colour": colour, "dashed": dashed, "points": points}
            for name, colour, dashed, points in names
        ],
        "panels": [
            {"title": title, "percent": percent, "lines": [_line(curve) for curve in curves]}
            for title, percent, curves in panels
        ],
    }
    _component(key=key, data=data)


def gradient_maps(maps: Sequence[GradientMap], *, key: str = "gradient_maps") -> None:
    """Layer by step, one map for each network side by side, the weight gradient's size as colour on one scale.

    The layers run from the input at the top to the output at the bottom; a layer that one network lacks is hatched.
    """
    layers = shared_axis(*(each.layers for each in maps))
    steps = sorted({step for each in maps for step in each.steps})
    if not layers or not steps:
        st.caption("The sizes of the gradients arrive with the first training step.")
        return
    low, high = figures.decades(maps)
    ticks = range(low, high + 1, max(1, math.ceil((high - low) / 5)))
    data = {
        "kind": "map",
        "alt": (
            f"Size of the weight gradient of {len(layers)} layers at {len(steps)} training steps, from 1e{low} to "
            f"1e{high}, of {' and '.join(each.title for each in maps)}."
        ),
        "rows": list(layers),
        "columns": [int(step) for step in steps],
        "groups": _groups(layers),
        "panels": [
            {
                "title": each.title,
                "colour": each.colour,
                "image": figures.data_uri(figures.paint_gradients(each, layers, steps, low, high)),
                "sizes": [[_plain(size) for size in row] for row in figures.size_table(each, layers, steps)],
            }
            for each in maps
        ],
        "bar": {
            "image": figures.data_uri(figures.colour_bar(figures.SEQUENTIAL)),
            "title": "size (L2 norm) of the weight gradient, logarithmic",
            "ticks": [{"label": f"1e{power}", "at": (power - low) / (high - low)} for power in ticks],
            "zero": f"rgb{figures.ZERO}",
        },
    }
    _component(key=key, data=data)


def _last_values(panels: Sequence[tuple[str, bool, Sequence[Curve]]]) -> str:
    said = [
        f"{title} {curve.name} {found:.1%}" if percent else f"{title} {curve.name} {found:.3g}"
        for title, percent, curves in panels
        for curve in curves
        if curve.values and (found := _plain(curve.values[-1])) is not None
    ]
    return "Now: " + ", ".join(said) + "." if said else "Nothing measured yet."


def _line(curve: Curve) -> dict[str, Any]:
    """Every n-th value and the last, so that a long training stays as quick to draw as a short one."""
    every = max(1, math.ceil(len(curve.steps) / _MOST_POINTS))
    chosen = sorted({*range(0, len(curve.steps), every), len(curve.steps) - 1} - {-1})
    return {
        "name": curve.name,
        "colour": curve.colour,
        "dashed": curve.dashed,
        "points": curve.points,
        "x": [int(curve.steps[index]) for index in chosen],
        "y": [_plain(curve.values[index]) for index in chosen],
    }


def _groups(layers: Sequence[str]) -> list[dict[str, Any]]:
    """Neighbouring layers of one stage: what is named where single layers are too slim for their names."""
    groups: list[dict[str, Any]] = []
    for index, name in enumerate(layers):
        parts = name.split(".")
        label = f"stage {int(parts[1]) + 1}" if parts[0] == "stages" else parts[0]
        if not groups or groups[-1]["label"] != label:
            groups.append({"label": label, "start": index})
        groups[-1]["end"] = index + 1
    return groups


def _plain(value: float | np.floating | None) -> float | None:
    """4 significant digits as JSON has them; None for what is missing or not finite."""
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None
