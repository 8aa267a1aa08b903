"""What a training shows while it runs, as a component: what a person has zoomed into stays when new numbers arrive.

Each part is data that the browser draws, so that a recorded training (replay.py) is drawn by the same code.

Streamlit's own charts lose the zoom at new data or have no keyboard control; docs/decisions/2026-11-22-live-charts.md
lists them.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explorer import figures
from explorer.attribution import shared_axis
from explorer.figures import Curve, GradientMap
from explorer.labels import stage_spans, stage_title
from explorer.numbers import finite
from explorer.ui.viewer import place

_MOST_POINTS = 600  # of one line: more than a panel has pixels
_SIDE = 72  # pixels of a test picture on the page
_OPACITY = 0.7  # of a Grad-CAM over its picture, where it is largest

_component = place("live_charts", "<div class='live'></div>", ("training.css", "picture_tools.css"), "training.js")


@dataclass(frozen=True, eq=False)
class Samples:
    """The test pictures that a training looks at again and again: uint8 (N, H, W, 3), the number of each one's class,
    and the names of all classes."""

    pictures: Sequence[np.ndarray]
    labels: Sequence[int]
    names: Sequence[str]


def draw(part: Mapping[str, Any], key: str) -> None:
    """Draws one of the parts below. What the person has zoomed into stays as long as the key does."""
    _component(key=key, data=dict(part))


def training_curves(loss: Sequence[Curve], accuracy: Sequence[Curve]) -> dict[str, Any]:
    """Loss on the left, accuracy (0..1, shown in per cent) on the right, over training steps.

    A curve of the one chart and a curve of the other that belong together have the same name, which no others have:
    "plain-20 training", "plain-20 validation". Pointing at a step, or reading with the arrow keys, shows all values
    there.
    """
    panels = [("Loss", False, loss), ("Accuracy", True, accuracy)]
    names = dict.fromkeys((curve.name, curve.colour, curve.dashed, curve.points) for curve in [*loss, *accuracy])
    last = max((curve.steps[-1] for curve in [*loss, *accuracy] if curve.steps), default=1)
    about = "Loss and accuracy over training steps"
    return {
        "kind": "curves",
        "about": about,
        "alt": f"{about}. {_last_values(panels)}",
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


def gradient_maps(maps: Sequence[GradientMap]) -> dict[str, Any] | None:
    """Layer by step, one map for each network side by side, the weight gradient's size as colour on one scale; None
    where nothing is measured yet.

    The layers run from the input at the top to the output at the bottom; a layer that one network lacks is hatched.
    """
    layers = shared_axis(*(each.layers for each in maps))
    steps = sorted({step for each in maps for step in each.steps})
    if not layers or not steps:
        return None
    low, high = figures.decades(maps)
    ticks = range(low, high + 1, max(1, math.ceil((high - low) / 5)))
    about = (
        f"Size of the weight gradient of {len(layers)} layers at {len(steps)} training steps, from 1e{low} to "
        f"1e{high}, of {' and '.join(each.title for each in maps)}"
    )
    return {
        "kind": "map",
        "about": about,
        "alt": f"{about}.",
        "rows": list(layers),
        "columns": [int(step) for step in steps],
        "groups": _groups(layers),
        "panels": [
            {
                "title": each.title,
                "colour": each.colour,
                "image": figures.data_uri(figures.paint_gradients(each, layers, steps, low, high)),
                "sizes": finite(figures.size_table(each, layers, steps), 4),
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


def predictions(
    events: Sequence[Mapping[str, Any]], samples: Samples, looks: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """What each network says of every sample, at the steps of `events`, of which the last one is shown."""
    return {
        "kind": "predictions",
        "alt": f"What each network says of {len(samples.pictures)} test pictures",
        **_samples(samples, looks, len(samples.pictures)),
        "frames": [{"step": event["step"], "networks": event["networks"]} for event in events],
    }


def cams(events: Sequence[Mapping[str, Any]], samples: Samples, looks: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Grad-CAM of each network on the first samples, for their true classes, at the steps of `events`, of which the
    last one is shown. All maps of one step share a scale, which ends at the largest of their values."""
    layers = dict.fromkeys(events[-1]["layers"])
    return {
        "kind": "cams",
        "alt": f"Grad-CAM of {' and '.join(name for name, _ in looks)} on test pictures, on one scale",
        "layer": " and ".join(layers),
        **_samples(samples, looks, len(events[-1]["networks"][0]["maps"])),
        "palette": base64.b64encode(figures.palette(figures.SEQUENTIAL).tobytes()).decode(),
        "opacity": _OPACITY,
        "bar": {
            "image": figures.data_uri(figures.colour_bar(figures.SEQUENTIAL)),
            "title": "Grad-CAM: how strongly a place speaks for the true class; one scale for all maps of this step",
        },
        "frames": [{"step": event["step"], "networks": event["networks"]} for event in events],
    }


def _samples(samples: Samples, looks: Sequence[tuple[str, str]], count: int) -> dict[str, Any]:
    return {
        "pictures": [figures.data_uri(figures.shown(pixels, _SIDE)) for pixels in samples.pictures[:count]],
        "labels": [int(label) for label in samples.labels[:count]],
        "names": list(samples.names),
        "networks": [{"title": name, "colour": colour} for name, colour in looks],
    }


def _last_values(panels: Sequence[tuple[str, bool, Sequence[Curve]]]) -> str:
    said = [
        f"{title} {curve.name} {found:.1%}" if percent else f"{title} {curve.name} {found:.3g}"
        for title, percent, curves in panels
        for curve in curves
        if curve.values and (found := finite(curve.values[-1], 4)) is not None
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
        "y": finite([curve.values[index] for index in chosen], 4),
    }


def _groups(layers: Sequence[str]) -> list[dict[str, Any]]:
    """Neighbouring layers of one stage: what is named where single layers are too slim for their names."""
    spans = stage_spans(layers)
    return [{"label": stage_title(layers[start]), "start": start, "end": end} for start, end in spans]
