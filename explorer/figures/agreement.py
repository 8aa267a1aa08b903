"""Charts of many images: accuracies, confusions, agreement, similarity of layers, cams on the object."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.experiments.agreement import Agreement
from explorer.experiments.cam_metrics import ObjectShares
from explorer.figures.charts import GREY, Series, add_line, empty_chart
from explorer.figures.raster import SIZE_COLOURS
from explorer.figures.text_escaping import escape_html, shortened
from explorer.intervals import Accuracy
from explorer.labels import stage_of, stage_spans
from explorer.numbers import finite

NAMED_CLASSES = 30  # beyond that the names of the classes do not fit beside a matrix
NUMBERED_CLASSES = 20  # beyond that the counts do not fit into its cells
MATRIX_CLASSES = 60  # beyond that the texts of a matrix take megabytes, and its cells are two pixels: no matrix
_CELLS = 350  # pixels of one confusion matrix
_LONGEST = 16  # letters of a class name on an axis; hovering shows all
_CELL_AXIS = {"fixedrange": True, "showgrid": False, "zeroline": False, "ticks": "", "ticklabelstandoff": 4}


def accuracy_chart(lines: Sequence[tuple[Series, Accuracy]]) -> go.Figure:
    """A dot for each network with its interval, from top to bottom."""
    xaxis = {"tickformat": ".1%", "title": {"text": "accuracy with 95 % interval"}, "nticks": 6}
    yaxis = {"autorange": "reversed", "ticks": ""}
    figure = empty_chart(38 * len(lines) + 50, (16, 4, 40), xaxis, yaxis, showlegend=False)
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


def largest_mistake(matrices: Sequence[np.ndarray]) -> float:
    """The largest share of a label's images that one of the networks takes for another class, 0..1."""
    classes = len(matrices[0])
    others = [_shares(counts)[~np.eye(classes, dtype=bool)] for counts in matrices]
    return max((float(shares.max()) for shares in others if classes > 1), default=0.0)


def _shares(counts: np.ndarray) -> np.ndarray:
    shares: np.ndarray = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def confusion_chart(
    matrices: Sequence[np.ndarray], titles: Sequence[str], class_names: Sequence[str], top: float | None = None
) -> go.Figure:
    """Confusion matrices, int (classes, classes) of counts, rows labels and columns predictions, two in a row.

    Mistakes alone are coloured, as shares of the label's images, on one scale for all networks up to `top`, by default
    their `largest_mistake`. The diagonal is grey, else its ninety-odd per cent would take the whole scale.

    The chart is shared: it is not to be changed.
    """
    kept = tuple(tuple(map(tuple, np.asarray(counts).tolist())) for counts in matrices)
    # Of a thousand classes the key alone has a million numbers, and 32 of those would fill the server's memory.
    draw = _confusion_chart if len(class_names) <= NAMED_CLASSES else _confusion_chart.__wrapped__
    return draw(kept, tuple(titles), tuple(class_names), top)


@lru_cache(maxsize=32)  # Plotly takes a tenth of a second, and a page draws it in every run
def _confusion_chart(
    kept: tuple[tuple[tuple[int, ...], ...], ...],
    titles: tuple[str, ...],
    class_names: tuple[str, ...],
    top: float | None,
) -> go.Figure:
    matrices = [np.array(counts) for counts in kept]
    columns = min(2, len(matrices))
    rows = -(-len(matrices) // columns)
    figure = make_subplots(
        rows,
        columns,
        subplot_titles=[escape_html(title) for title in titles],
        horizontal_spacing=0.2 if columns > 1 else 0,
    )
    classes = len(class_names)
    diagonal = np.eye(classes, dtype=bool)
    top = largest_mistake(matrices) if top is None else top
    for index, (counts, shares) in enumerate(zip(matrices, map(_shares, matrices), strict=True)):
        place = {"row": index // columns + 1, "col": index % columns + 1}
        mistakes = np.ma.array(shares, mask=diagonal)
        _add_cells(figure, mistakes, _confusion_hover(counts, class_names), xgap=1, ygap=1, **place)
        if classes <= NUMBERED_CLASSES:
            is_dark = (shares < 0.6 * top) & ~diagonal
            labels, predictions = np.nonzero(counts)
            figure.add_scatter(
                x=predictions,
                y=labels,
                mode="text",
                text=[f"{count:,}" for count in counts[labels, predictions]],
                textfont={
                    "size": 11,
                    "color": np.where(is_dark[labels, predictions], "#FFFFFF", "#000000").tolist(),
                },
                hoverinfo="skip",
                showlegend=False,
                **place,
            )
    axis: dict[str, Any] = _CELL_AXIS | {"showticklabels": False}
    if classes <= NAMED_CLASSES:
        names = [escape_html(shortened(name, _LONGEST)) for name in class_names]
        axis = _CELL_AXIS | {"tickvals": list(range(classes)), "ticktext": names}
    figure.update_xaxes(title={"text": "predicted", "standoff": 10}, tickangle=-45, **axis)
    figure.update_yaxes(autorange="reversed", automargin=True, **axis)
    figure.update_yaxes(title={"text": "label", "standoff": 14}, col=1)
    title = {"text": "mistakes, share of the label's images", "side": "top"}
    colour_bar: dict[str, Any] = {"title": title, "tickformat": ".1~%", "nticks": 3, "tickangle": 0}
    colour_bar |= {"orientation": "h", "thickness": 10, "len": 0.45, "x": 0, "xanchor": "left", "xpad": 0}
    colour_bar |= {"y": 1, "yref": "container", "yanchor": "top", "ypad": 0}
    figure.update_layout(
        height=rows * (_CELLS + 90) + 70,
        margin={"l": 0, "r": 0, "t": 90, "b": 20},
        coloraxis={"colorscale": SIZE_COLOURS, "cmin": 0, "cmax": top or 0.01, "colorbar": colour_bar},
    )
    return figure


def _add_cells(figure: go.Figure, values: np.ma.MaskedArray, hover: np.ndarray, **more: Any) -> None:
    """A cell for each value, coloured by the figure's `coloraxis`; those that are masked are grey."""
    masked = np.ma.getmaskarray(values)
    grey = {"colorscale": [[0, GREY], [1, GREY]], "showscale": False}
    for cells, own, colours in (
        (values.filled(np.nan), ~masked, {"coloraxis": "coloraxis"}),
        (np.where(masked, 1.0, np.nan), masked, grey),
    ):
        figure.add_heatmap(
            x=list(range(values.shape[1])),
            y=list(range(values.shape[0])),
            z=finite(cells),
            hovertext=np.where(own, hover, ""),  # each cell once: texts are most of the bytes
            hovertemplate="%{hovertext}<extra></extra>",
            hoverongaps=False,
            **colours,
            **more,
        )


def _confusion_hover(counts: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    names = [escape_html(name) for name in class_names]
    totals = counts.sum(axis=1)
    return np.array(
        [
            [f"{label} called {said}: {counts[row, column]:,} of {totals[row]:,}" for column, said in enumerate(names)]
            for row, label in enumerate(names)
        ],
        dtype=object,
    )


def agreement_chart(pairs: Sequence[tuple[Series, Series, Agreement]]) -> go.Figure:
    """Two bars for each pair: to the left the images that only the first network has right, to the right those of the
    second. McNemar's test compares these counts."""
    rows = _distinct([f"{first.title} | {second.title}" for first, second, _ in pairs])
    most = max([1, *(max(counts.only_a, counts.only_b) for _, _, counts in pairs)])
    xaxis = {"range": [-2.1 * most, 2.1 * most], "visible": False}  # room for the texts
    yaxis = {"autorange": "reversed", "visible": False}
    figure = empty_chart(36 * len(pairs) + 16, (0, 4, 4), xaxis, yaxis, showlegend=False)
    figure.update_layout(barmode="relative", bargap=0.3)
    for row, (first, second, counts) in zip(rows, pairs, strict=True):
        alike = first.colour == second.colour  # two of one family: the second is hatched
        for sign, series, count in ((-1, first, counts.only_a), (1, second, counts.only_b)):
            figure.add_bar(
                y=[row],
                x=[sign * count],
                orientation="h",
                marker={"color": series.colour, "pattern": {"shape": "/" if alike and sign > 0 else ""}},
                hovertext=f"only {escape_html(series.title)} is right: {count:,}",
                hoverinfo="text",
            )
            figure.add_scatter(  # a bar of no length would not show its text
                y=[row],
                x=[sign * count],
                mode="text",
                text=f"&nbsp;only {escape_html(shortened(series.title, 30))}: {count:,}&nbsp;",
                textposition="middle left" if sign < 0 else "middle right",
                hoverinfo="skip",
            )
    return figure


def similarity_chart(
    values: np.ma.MaskedArray,
    layers: tuple[Sequence[str], Sequence[str]],
    titles: tuple[str, str],
    reasons: tuple[Mapping[str, str], Mapping[str, str]] = ({}, {}),
) -> go.Figure:
    """CKA of the layers of A (from bottom to top) with those of B (from left to right), a masked array (A, B).

    The scale is always 0..1; a debiased estimate below 0 shows as 0. Masked values are grey, and hovering says why:
    `reasons` by layer, of A and of B.
    """
    hover = np.empty(values.shape, dtype=object)
    for row, layer_a in enumerate(layers[0]):
        for column, layer_b in enumerate(layers[1]):
            why = reasons[0].get(layer_a) or reasons[1].get(layer_b) or "The estimate divides by zero here."
            value = values[row, column]
            words = f"not defined. {why}" if value is np.ma.masked else f"{value:.3f}"
            hover[row, column] = f"{escape_html(layer_a)} | {escape_html(layer_b)}: {words}"
    height, width = values.shape
    figure = go.Figure()
    _add_cells(figure, values.round(4), hover)
    for axis, names, title in zip("yx", layers, titles, strict=True):
        spans = stage_spans(names)
        across = {"x0": 0, "x1": 1, "xref": "paper"} if axis == "y" else {"y0": 0, "y1": 1, "yref": "paper"}
        for start, _ in spans[1:]:
            line = {f"{axis}0": start - 0.5, f"{axis}1": start - 0.5}
            figure.add_shape(type="line", line={"color": "#FFFFFF", "width": 1.5}, **line, **across)
        ticks = {
            "tickvals": [(start + end - 1) / 2 for start, end in spans],
            "ticktext": [escape_html(stage_of(names[start])) for start, _ in spans],
        }
        text = f"{escape_html(title)}, input → output"
        figure.update_layout({f"{axis}axis": _CELL_AXIS | ticks | {"title": {"text": text, "standoff": 16}}})
    figure.update_yaxes(range=[-0.5, height - 0.5], automargin=True, tickangle=-90)
    figure.update_xaxes(range=[-0.5, width - 0.5])
    colour_bar = {"title": {"text": "linear CKA"}, "thickness": 12, "tickvals": [0, 0.25, 0.5, 0.75, 1]}
    figure.update_layout(
        width=660,
        height=560,
        margin={"l": 0, "r": 0, "t": 8, "b": 60},
        coloraxis={"colorscale": SIZE_COLOURS, "cmin": 0, "cmax": 1, "colorbar": colour_bar},
    )
    return figure


def object_share_chart(lines: Sequence[tuple[Series, ObjectShares, Mapping[str, float]]]) -> go.Figure:
    """The share of the cams on the object along relative depth: a line for each network with a band of one standard
    error up and down, and in grey the object's share of the image. Layers without a relative depth, 0..1, are left
    out."""
    chance = lines[0][1].chance
    xaxis = {"title": {"text": "relative depth, input 0 → output 1"}, "range": [-0.02, 1.02]}
    yaxis = {"title": {"text": "share of the Grad-CAM on the object"}, "tickformat": ".0%", "rangemode": "tozero"}
    figure = empty_chart(380, (0, 30, 40), xaxis, yaxis, hovermode="closest")
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
        texts = [_share_hover(found, index, mean[index], error[index]) for index in places]
        shares = [mean[index] for index in places]
        add_line(figure, series, x, shares, "%{customdata}", customdata=texts, marker={"size": 6})
    note = {"text": f"chance: the object covers {chance:.1%}", "xanchor": "right", "yanchor": "bottom"}
    line = {"color": GREY, "dash": "dash", "width": 1.5}
    figure.add_hline(y=chance, line=line, annotation=note | {"showarrow": False})
    return figure


def _share_hover(found: ObjectShares, index: int, mean: float | None, error: float | None) -> str:
    value = "no map that is not zero" if mean is None else f"{mean:.1%}"
    spread = "" if error is None else f" ± {error:.1%}"
    counts = f"{found.n[index]:,} maps, {found.zero[index]:,} zero"
    return f"{escape_html(found.layers[index])}: {value}{spread} ({counts})"


def _distinct(names: Sequence[str]) -> list[str]:
    """Names for an axis, on which equal ones would share a place: zero-width spaces tell them apart."""
    return [f"{escape_html(name)}{chr(0x200B) * list(names[:index]).count(name)}" for index, name in enumerate(names)]
