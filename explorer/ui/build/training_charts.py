"""The log of a training as parts that the browser draws: curves, gradient maps, predictions and Grad-CAMs.

A recorded training (replay.py) is drawn by the same code. docs/decisions/2026-11-22-live-charts.md says why these are
not Streamlit's own charts.
"""

import base64
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from explorer import figures
from explorer.attribution import shared_axis
from explorer.figures import Chapter, Chart, GradientMap, Series, StepLine, Table
from explorer.labels import dial_text, label, stage_spans, stage_title
from explorer.numbers import finite
from explorer.runs import RunLog
from explorer.runs.dials import changes_of, reached
from explorer.training.dials import DialChange, by_step, describe_changes
from explorer.ui.viewer import place

MAX_POINTS = 600  # of one line: more than a panel has pixels
PICTURE_PX = 72  # pixels of a test picture on the page
CURVES = "Lines are means over the training batches since the last report, dots the validation images after each epoch."
OPACITY = 0.7  # of a Grad-CAM over its picture, where it is largest

Networks = Sequence[tuple[str, str]]
"""The name and the colour of each network."""

_component = place("live_charts", "<div class='live'></div>", ("training.css", "picture_tools.css"), "training.js")


def draw(part: Mapping[str, Any], key: str, source: str) -> None:
    """Draws one of the parts below; `source` stands below it where it is saved. The user's zoom stays as long as the
    key does."""
    _component(key=key, data={**part, "source": source})


def networks_of(names: Sequence[str], specs: Sequence[Mapping[str, Any]], theme: Any) -> Networks:
    """Of the names and the specs (as `ArchitectureSpec.to_dict`) of a run's request."""
    colours = [figures.network_colour(spec["shortcut"], theme) for spec in specs]
    return list(zip(names, colours, strict=True))


def training_curves(log: RunLog, networks: Networks) -> dict[str, Any]:
    """Loss on the left, accuracy (0..1, shown in per cent) on the right, over training steps.

    A line of the one chart and a line of the other that belong together have the same name, which no others have:
    "plain-20", "plain-20, validation". Pointing at a step, or reading with the arrow keys, shows all values there. A
    turned dial is an upright line with a label.
    """
    panels: list[dict[str, Any]] = [
        {"title": "Loss", "percent": False, "lines": _lines(log, networks, "loss")},
        {"title": "Accuracy", "percent": True, "lines": _lines(log, networks, "accuracy")},
    ]
    lines = [line for panel in panels for line in panel["lines"]]
    legend = {line["name"]: {name: line[name] for name in ("name", "colour", "dashed", "points")} for line in lines}
    about = "Loss and accuracy over training steps"
    changes = turned_dials(log)
    turned = [
        {"x": step, "text": ", ".join(dial_text(each.field, each.new, short=True) for each in group)}
        for step, group in by_step(changes)
    ]
    return {
        "kind": "curves",
        "about": about,
        "alt": " ".join(filter(None, [f"{about}. {_last_values(panels)}", describe_changes(changes)])),
        "last": max([1, *(line["x"][-1] for line in lines if line["x"]), *(mark["x"] for mark in turned)]),
        "legend": list(legend.values()),
        "panels": panels,
        "marks": turned,
    }


def turned_dials(log: RunLog) -> list[DialChange]:
    """The dials that were turned until now, without those that a resumed run has yet to repeat."""
    return [change for change in changes_of(log) if change.step <= reached(log)]


def _lines(log: RunLog, networks: Networks, quantity: str) -> list[dict[str, Any]]:
    """Of each network one of the training batches, and one with dots of the validations where there are some. A line
    has every n-th value and the last, so that a long training is drawn as quickly as a short one."""
    lines = []
    for index, (name, colour) in enumerate(networks):
        for events, points in ((log.progress, False), (log.validations, True)):
            reports = [(int(event["step"]), event["networks"][index]) for event in events]
            values = [(step, report[quantity]) for step, report in reports if report and report[quantity] is not None]
            every = max(1, math.ceil(len(values) / MAX_POINTS))
            shown = values[:-1:every] + values[-1:]
            if shown or not points:
                lines.append(
                    {
                        "name": f"{name}, validation" if points else name,
                        "colour": colour,
                        "dashed": index > 0 and networks[0][1] == colour,
                        "points": points,
                        "x": [step for step, _ in shown],
                        "y": finite([value for _, value in shown], 4),
                    }
                )
    return lines


def settings_table(settings: Mapping[str, Any]) -> Table:
    """The settings of a training in words, for a report."""
    words = {True: "yes", False: "no", None: "none"}
    rows = []
    for name, value in settings.items():
        is_word = value is None or isinstance(value, bool)
        rows.append([name.replace("_", " "), words[value] if is_word else label(name, value)])
    return Table(["setting", "value"], rows, texts=2)


def chapters(log: RunLog, networks: Networks, source: str) -> list[Chapter]:
    """Curves and gradient maps for a report; `source` names the data, n and the seed."""
    curves = training_curves(log, networks)
    panels = [(panel["title"], [_step_line(line) for line in panel["lines"]]) for panel in curves["panels"]]
    maps = [_gradient_map(log, index, *network) for index, network in enumerate(networks)]
    found: list[Chapter] = []
    if any(line["y"] for panel in curves["panels"] for line in panel["lines"]):
        text = f"{CURVES} {source}"
        drawn = figures.step_chart(panels, [(mark["x"], mark["text"]) for mark in curves["marks"]])
        found.append(Chapter("Loss and accuracy", [curves["alt"], Chart(drawn, curves["about"], text)]))
    if all(each.steps for each in maps):
        title = f"Size of the weight gradient of {' and '.join(each.title for each in maps)}"
        text = f"L2 norm by layer and training step; a gap has no number, or is exactly 0. {source}"
        found.append(Chapter("Gradient map", [Chart(figures.gradient_map_chart(maps), title, text)]))
    return found


def _step_line(line: Mapping[str, Any]) -> StepLine:
    series = Series(line["name"], line["colour"], "dash" if line["dashed"] else "solid")
    return StepLine(series, line["x"], line["y"], line["points"])


def _last_values(panels: Sequence[Mapping[str, Any]]) -> str:
    values = [
        f"{panel['title']} {line['name']} {line['y'][-1]:{'.1%' if panel['percent'] else '.3g'}}"
        for panel in panels
        for line in panel["lines"]
        if line["y"] and line["y"][-1] is not None
    ]
    return f"Now: {', '.join(values)}." if values else "Nothing measured yet."


def gradient_maps(log: RunLog, networks: Networks) -> dict[str, Any] | None:
    """Layer by step, one map for each network side by side, the weight gradient's size as colour on one scale; None
    before every network has a measured step.

    The layers run from the input at the top to the output at the bottom; a layer that one network lacks is hatched.
    """
    maps = [_gradient_map(log, index, *network) for index, network in enumerate(networks)]
    layers = shared_axis(*(each.layers for each in maps))
    steps = sorted({step for each in maps for step in each.steps})
    if not layers or not all(each.steps for each in maps):
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
        # Named where single layers are too slim for their names.
        "groups": [
            {"label": stage_title(layers[start]), "start": start, "end": end} for start, end in stage_spans(layers)
        ],
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


def _gradient_map(log: RunLog, index: int, name: str, colour: str) -> GradientMap:
    events = [event for event in log.gradients if event["network"] == index]
    layers: list[str] = next((event["layers"] for event in events if "layers" in event), [])
    return GradientMap(name, colour, layers, [event["step"] for event in events], [event["norms"] for event in events])


def predictions(
    events: Sequence[Mapping[str, Any]], log: RunLog, pictures: np.ndarray, networks: Networks
) -> dict[str, Any]:
    """The predictions of each network for every one of the run's test `pictures`, uint8 (N, C, H, W), at the steps of
    `events`, of which the last one is shown."""
    return {
        "kind": "predictions",
        "alt": f"What each network predicts for {len(pictures)} test images",
        **_pictures(events, log, pictures, networks),
    }


def cams(events: Sequence[Mapping[str, Any]], log: RunLog, pictures: np.ndarray, networks: Networks) -> dict[str, Any]:
    """Grad-CAM of each network on the first of the run's test `pictures`, uint8 (N, C, H, W), for their true classes,
    at the steps of `events`, of which the last one is shown. The maps of one step share a scale: its end is the largest
    of their values."""
    return {
        "kind": "cams",
        "alt": f"Grad-CAM of {' and '.join(name for name, _ in networks)} on test images, on one scale",
        "layer": " and ".join(dict.fromkeys(events[-1]["layers"])),
        **_pictures(events, log, pictures[: len(events[-1]["networks"][0]["maps"])], networks),
        "palette": base64.b64encode(figures.palette(figures.SEQUENTIAL).tobytes()).decode(),
        "opacity": OPACITY,
        "bar": {
            "image": figures.data_uri(figures.colour_bar(figures.SEQUENTIAL)),
            "title": "Grad-CAM: how strongly a place supports the true class; one scale for all maps of this step",
        },
    }


def _pictures(
    events: Sequence[Mapping[str, Any]], log: RunLog, pictures: np.ndarray, networks: Networks
) -> dict[str, Any]:
    assert log.start is not None
    return {
        "pictures": [
            figures.data_uri(figures.fit_to_screen(pixels, PICTURE_PX)) for pixels in pictures.transpose(0, 2, 3, 1)
        ],
        "labels": [int(label) for label in log.start["labels"][: len(pictures)]],
        "names": list(log.start["class_names"]),
        "networks": [{"title": name, "colour": colour} for name, colour in networks],
        "frames": [{"step": event["step"], "networks": event["networks"]} for event in events],
    }
