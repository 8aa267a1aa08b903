"""Charts of many pictures: accuracies, confusions, agreement, similarity of layers, cams on the object."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.colors import sample_colorscale
from plotly.subplots import make_subplots

from explorer.experiments.agreement import Agreement
from explorer.experiments.cam_metrics import ObjectShares
from explorer.figures.charts import Series
from explorer.figures.names import escaped, shortened
from explorer.figures.tiles import SEQUENTIAL
from explorer.intervals import Accuracy
from explorer.labels import stage_of, stage_spans
from explorer.numbers import finite

_STEPS = [step / 32 for step in range(33)]
# Not by its name: Streamlit's theme takes the first colour of Inferno, #000004, for a placeholder and draws it pink.
_SIZES = [[step, colour] for step, colour in zip(_STEPS, sample_colorscale(SEQUENTIAL, _STEPS), strict=True)]
NEUTRAL = "#80868A"  # grey: legible on light and dark, and in no palette
NAMED_CLASSES = 30  # beyond that the names of the classes do not fit beside a matrix
NUMBERED_CLASSES = 20  # beyond that the counts do not fit into its cells
MATRIX_CLASSES = 60  # beyond that the texts of a matrix take megabytes, and its cells are two pixels: no matrix
_CELLS = 350  # pixels of one confusion matrix
_LONGEST = 16  # letters of a class name on an axis; hovering shows all


def accuracy_chart(lines: Sequence[tuple[Series, Accuracy]]) -> go.Figure:
    """A dot for each network with its interval, from top to bottom."""
    figure = go.Figure(
        layout=dict(
            height=38 * len(lines) + 50,
            margin={"l": 0, "r": 16, "t": 4, "b": 40},
            xaxis={
                "tickformat": ".1%",
                "title": {"text": "accuracy with 95 % interval"},
                "fixedrange": True,
                "nticks": 6,
            },
            yaxis={"autorange": "reversed", "automargin": True, "fixedrange": True, "ticks": ""},
            showlegend=False,
        )
    )
    names = _distinct([series.title for series, _ in lines])
    for name, (series, found) in zip(names, lines, strict=True):
        share, n = found.share, f"{found.right:,} of {found.n:,}"
        figure.add_scatter(
            x=[share],
            y=[name],
            mode="markers",
            marker={"color": series.colour, "size": 11},
            error_x={"type": "data", "symmetric": False, "array": [found.high - share]}
            | {"arrayminus": [share - found.low], "color": series.colour, "thickness": 2, "width": 6},
            hovertemplate=f"%{{y}}: {share:.2%}, {n}; {found.low:.2%} to {found.high:.2%}<extra></extra>",
        )
    return figure


def confusion_chart(matrices: Sequence[np.ndarray], titles: Sequence[str], class_names: Sequence[str]) -> go.Figure:
    """Confusion matrices, int (classes, classes) of counts, rows labels and columns predictions, two in a row.

    Coloured are the mistakes alone, as shares of the label's pictures, on one scale for all networks; the diagonal is
    grey, else its ninety-odd per cent would leave nothing for the rest to be seen by.
    """
    columns = min(2, len(matrices))
    rows = -(-len(matrices) // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[escaped(title) for title in titles],
        horizontal_spacing=0.2 if columns > 1 else 0,
    )
    classes = len(class_names)
    places = list(range(classes))
    top = 0.0
    numbered: list[tuple[np.ndarray, np.ndarray, dict[str, int]]] = []
    for index, counts in enumerate(matrices):
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        mistakes = np.where(np.eye(classes, dtype=bool), np.nan, shares)
        if classes > 1:
            top = max(top, float(np.nanmax(mistakes)))
        hover = _confusion_hover(counts, class_names)
        at = {"row": index // columns + 1, "col": index % columns + 1}
        kept = np.eye(classes, dtype=bool)
        common: dict[str, Any] = {"x": places, "y": places, "xgap": 1, "ygap": 1, "hoverongaps": False}
        common |= {"hovertemplate": "%{hovertext}<extra></extra>"} | at
        words = np.where(kept, "", hover)  # each cell's once: they are most of what a browser gets
        figure.add_heatmap(z=finite(mistakes), hovertext=words, coloraxis="coloraxis", **common)
        grey = {"colorscale": [[0, NEUTRAL], [1, NEUTRAL]], "showscale": False}
        words = np.where(kept, hover, "")
        figure.add_heatmap(z=finite(np.where(kept, 1.0, np.nan)), hovertext=words, **grey, **common)
        numbered.append((counts, shares, at))
    for counts, shares, at in numbered if classes <= NUMBERED_CLASSES else ():
        rows_of, columns_of = np.nonzero(counts)
        dark = (shares < 0.6 * top) & ~np.eye(classes, dtype=bool)
        figure.add_scatter(
            x=columns_of,
            y=rows_of,
            mode="text",
            text=[f"{counts[row, column]:,}" for row, column in zip(rows_of, columns_of, strict=True)],
            textfont={
                "size": 11,
                "color": ["#FFFFFF" if dark[tuple(cell)] else "#000000" for cell in np.argwhere(counts)],
            },
            hoverinfo="skip",
            showlegend=False,
            **at,
        )
    shown = [escaped(shortened(name, _LONGEST)) for name in class_names]
    named = {"tickvals": places, "ticktext": shown} if classes <= NAMED_CLASSES else {"showticklabels": False}
    axis: dict[str, Any] = {"fixedrange": True, "showgrid": False, "zeroline": False, "ticks": "", **named}
    axis["ticklabelstandoff"] = 4
    figure.update_xaxes(title={"text": "predicted", "standoff": 10}, tickangle=-45, **axis)
    figure.update_yaxes(autorange="reversed", automargin=True, **axis)
    figure.update_yaxes(title={"text": "label", "standoff": 14}, col=1)
    figure.update_layout(
        height=rows * (_CELLS + 90) + 70,
        margin={"l": 0, "r": 0, "t": 90, "b": 20},
        coloraxis={
            "colorscale": _SIZES,
            "cmin": 0,
            "cmax": top or 0.01,
            "colorbar": {
                "title": {"text": "mistakes, share of the label's pictures", "side": "top"},
                "tickformat": ".1%",
            }
            | {"orientation": "h", "thickness": 10, "len": 0.45, "x": 0, "xanchor": "left", "xpad": 0}
            | {"y": 1, "yref": "container", "yanchor": "top", "ypad": 0},
        },
    )
    return figure


def _confusion_hover(counts: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    names = [escaped(name) for name in class_names]
    totals = counts.sum(axis=1)
    return np.array(
        [
            [f"{label} called {said}: {counts[row, column]:,} of {totals[row]:,}" for column, said in enumerate(names)]
            for row, label in enumerate(names)
        ],
        dtype=object,
    )


def agreement_chart(pairs: Sequence[tuple[Series, Series, Agreement]]) -> go.Figure:
    """For each pair a bar to the left, what only its first network has right, and one to the right, only its second:
    the two counts that McNemar's test compares."""
    figure = go.Figure()
    rows = _distinct([f"{first.title} | {second.title}" for first, second, _ in pairs])
    most = max([1, *(max(counts.only_a, counts.only_b) for _, _, counts in pairs)])
    for row, (first, second, counts) in zip(rows, pairs, strict=True):
        alike = first.colour == second.colour  # two of one family: the second is hatched
        for sign, series, count in ((-1, first, counts.only_a), (1, second, counts.only_b)):
            figure.add_bar(
                y=[row],
                x=[sign * count],
                orientation="h",
                marker={"color": series.colour, "pattern": {"shape": "/" if alike and sign > 0 else ""}},
                hovertext=f"only {escaped(series.title)} is right: {count:,}",
                hoverinfo="text",
            )
            figure.add_scatter(  # a bar of no length would not show its text
                y=[row],
                x=[sign * count],
                mode="text",
                text=f"&nbsp;only {escaped(shortened(series.title, 30))}: {count:,}&nbsp;",
                textposition="middle left" if sign < 0 else "middle right",
                hoverinfo="skip",
            )
    axis = {"range": [-2.1 * most, 2.1 * most], "visible": False, "fixedrange": True}  # room for the texts
    figure.update_layout(
        height=36 * len(pairs) + 16,
        margin={"l": 0, "r": 0, "t": 4, "b": 4},
        barmode="relative",
        bargap=0.3,
        xaxis=axis,
        yaxis={"autorange": "reversed", "visible": False, "fixedrange": True},
        showlegend=False,
    )
    return figure


def similarity_chart(
    values: np.ma.MaskedArray,
    layers: tuple[Sequence[str], Sequence[str]],
    titles: tuple[str, str],
    reasons: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> go.Figure:
    """CKA of the layers of A (from bottom to top) with those of B (from left to right), a masked array (A, B).

    The scale is always 0..1, whatever the values; below 0, where only the debiased estimate comes, it shows 0. What
    is masked is grey, and hovering says why: `reasons` by layer, of A and of B.
    """
    known = np.ma.getmaskarray(values)
    hover = np.empty(values.shape, dtype=object)
    for row, layer_a in enumerate(layers[0]):
        for column, layer_b in enumerate(layers[1]):
            if known[row, column]:
                why = reasons[0].get(layer_a) or reasons[1].get(layer_b) or "The estimate divides by zero here."
                words = f"not defined. {why}"
            else:
                words = f"{values[row, column]:.3f}"
            hover[row, column] = f"{escaped(layer_a)} | {escaped(layer_b)}: {words}"
    height, width = values.shape
    figure = go.Figure()
    common: dict[str, Any] = {"x": list(range(width)), "y": list(range(height)), "hoverongaps": False}
    common["hovertemplate"] = "%{hovertext}<extra></extra>"
    of_values = np.where(known, "", hover)  # each cell's once: they are most of what a browser gets
    shown = values.filled(np.nan).round(4)
    figure.add_heatmap(z=finite(shown), hovertext=of_values, coloraxis="coloraxis", **common)
    grey: dict[str, Any] = {"colorscale": [[0, NEUTRAL], [1, NEUTRAL]], "showscale": False}
    figure.add_heatmap(z=finite(np.where(known, 1.0, np.nan)), hovertext=np.where(known, hover, ""), **grey, **common)
    for axis, names in (("y", layers[0]), ("x", layers[1])):
        starts, ticks, texts = _stages(names)
        for start in starts[1:]:
            line = {f"{axis}0": start - 0.5, f"{axis}1": start - 0.5}
            across = {"x0": 0, "x1": 1, "xref": "paper"} if axis == "y" else {"y0": 0, "y1": 1, "yref": "paper"}
            figure.add_shape(type="line", line={"color": "#FFFFFF", "width": 1.5}, **line, **across)
        title = f"{escaped(titles[axis == 'x'])}, input → output"
        place = {"tickvals": ticks, "ticktext": texts, "title": {"text": title, "standoff": 16}}
        place |= {"fixedrange": True, "showgrid": False, "zeroline": False, "ticks": "", "ticklabelstandoff": 4}
        figure.update_layout({f"{axis}axis": place})
    figure.update_yaxes(range=[-0.5, height - 0.5], automargin=True, tickangle=-90)
    figure.update_xaxes(range=[-0.5, width - 0.5])
    figure.update_layout(
        width=660,
        height=560,
        margin={"l": 0, "r": 0, "t": 8, "b": 60},
        coloraxis={
            "colorscale": _SIZES,
            "cmin": 0,
            "cmax": 1,
            "colorbar": {"title": {"text": "linear CKA"}, "thickness": 12, "tickvals": [0, 0.25, 0.5, 0.75, 1]},
        },
    )
    return figure


def object_share_chart(lines: Sequence[tuple[Series, ObjectShares, Mapping[str, float]]]) -> go.Figure:
    """How much of the cams lies on the object along relative depth, a line for each network with a band of one
    standard error up and down; the object's share of the picture is the grey line. Of each network the layers are
    drawn that have a relative depth, 0..1."""
    chance = lines[0][1].chance
    figure = go.Figure(
        layout=dict(
            height=380,
            margin={"l": 0, "r": 0, "t": 30, "b": 40},
            xaxis={"title": {"text": "relative depth, input 0 → output 1"}, "fixedrange": True, "range": [-0.02, 1.02]},
            yaxis={"title": {"text": "share of the Grad-CAM on the object"}, "tickformat": ".0%", "rangemode": "tozero"}
            | {"fixedrange": True, "automargin": True},
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            hovermode="closest",
        )
    )
    for series, found, depths in lines:
        mean, error = (finite(values.filled(np.nan)) for values in (found.mean, found.error))
        places = [index for index, layer in enumerate(found.layers) if layer in depths]
        x = [depths[found.layers[index]] for index in places]
        ends = [(at, mean[index], error[index]) for at, index in zip(x, places, strict=True)]
        ends = [end for end in ends if None not in end]
        figure.add_scatter(
            x=[at for at, _, _ in [*ends, *reversed(ends)]],
            y=[*(middle + half for _, middle, half in ends), *(middle - half for _, middle, half in reversed(ends))],
            fill="toself",
            fillcolor=series.colour,
            opacity=0.2,
            line={"width": 0},
            hoverinfo="skip",
            showlegend=False,
        )
        figure.add_scatter(
            x=x,
            y=[mean[index] for index in places],
            mode="lines+markers",
            name=escaped(series.title),
            line={"color": series.colour, "dash": series.dash, "width": 2},
            marker={"size": 6},
            hovertext=[_share_hover(series.title, found, index, mean[index], error[index]) for index in places],
            hoverinfo="text",
        )
    figure.add_hline(
        y=chance,
        line={"color": NEUTRAL, "dash": "dash", "width": 1.5},
        annotation={
            "text": f"chance: the object covers {chance:.1%}",
            "xanchor": "right",
            "yanchor": "bottom",
            "showarrow": False,
        },
    )
    return figure


def _share_hover(title: str, found: ObjectShares, index: int, mean: float | None, error: float | None) -> str:
    value = "no map that is not zero" if mean is None else f"{mean:.1%}"
    spread = "" if error is None else f" ± {error:.1%}"
    counts = f"{found.n[index]:,} maps, {found.zero[index]:,} zero"
    return f"{escaped(title)}, {escaped(found.layers[index])}: {value}{spread} ({counts})"


def _stages(layers: Sequence[str]) -> tuple[list[int], list[float], list[str]]:
    """Where a stage begins, the middle of each, and its name: "stem", "stages.0"."""
    spans = stage_spans(layers)
    middles = [(start + end - 1) / 2 for start, end in spans]
    return [start for start, _ in spans], middles, [escaped(stage_of(layers[start])) for start, _ in spans]


def _distinct(names: Sequence[str]) -> list[str]:
    """For an axis, where two of one name would be one place: spaces that nobody sees tell them apart."""
    return [f"{escaped(name)}{chr(0x200B) * list(names[:index]).count(name)}" for index, name in enumerate(names)]
