"""What the detail of one layer draws: signed overlays, framed pictures, kernels, and charts of blocks and of trust."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from explorer.attribution import PerturbationCurve
from explorer.figures.charts import Series
from explorer.figures.names import escaped, in_template
from explorer.figures.tiles import ColourScale, data_uri, nearest

_FRAME = (33, 167, 156)  # as the frame of a chosen feature map
_STRONG = 0.8  # of the diverging scale: the ends themselves are nearly black
_GAP = 5  # pixels between kernels
_THUMBNAIL = 40  # pixels of a map below the cascade


@dataclass(frozen=True, eq=False)
class DepthLine:
    """One network's values along `names`, from input to output; None where there is none."""

    series: Series
    names: Sequence[str]
    values: Sequence[float | None]


@dataclass(frozen=True, eq=False)
class CascadeLine:
    """One network's maps while it forgets: `names` of the steps, the first "trained"; of each the map, uint8
    (H, W, 3), already painted, and its correlation with the first, -1..1, or None."""

    series: Series
    names: Sequence[str]
    maps: Sequence[np.ndarray]
    correlations: Sequence[float | None]


def signed_overlay(pixels: np.ndarray, values: np.ndarray, top: float, opacity: float) -> np.ndarray:
    """A map (H, W) of both signs over pixels (H, W, 3) without their colours, uint8: red speaks for, blue against.

    Where the map is 0 the grey picture stays; towards +-`top` the colour covers it, up to `opacity`. The diverging
    scale itself is white around 0, and would hide the picture just where there is nothing to say.
    """
    grey = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    share = np.clip(np.abs(values) / top, 0, 1) if top > 0 else np.zeros_like(values)
    colours = ColourScale.signed(1.0).paint(np.sign(values) * _STRONG)
    alpha = (opacity * np.sqrt(share))[..., None]
    return (grey * (1 - alpha) + colours * alpha).round().astype(np.uint8)


def framed(pixels: np.ndarray, box: Sequence[int], side: int) -> np.ndarray:
    """A picture enlarged to about `side` pixels, with the frame of `box`: top, left, bottom, right (exclusive)."""
    large = nearest(pixels, side)
    factor = large.shape[0] // pixels.shape[0]
    top, left, bottom, right = (int(edge) * factor for edge in box)
    width = max(2, side // 48)
    for rows, columns in (
        (slice(top, top + width), slice(left, right)),
        (slice(bottom - width, bottom), slice(left, right)),
        (slice(top, bottom), slice(left, left + width)),
        (slice(top, bottom), slice(right - width, right)),
    ):
        large[rows, columns] = _FRAME
    return large


def kernel_pictures(values: np.ndarray, top: float) -> list[np.ndarray]:
    """Kernels, float32 (out, in, kh, kw), as uint8 (kh, kw, 3) each, on one scale to +-`top`.

    Those that see three channels are pictures in R, G and B in which mid-grey is 0; of others each input channel is a
    map of its own on the diverging scale.
    """
    if values.shape[1] == 3:
        shares = (values / top + 1) / 2 if top > 0 else np.full_like(values, 0.5)
        return list((np.clip(shares, 0, 1).transpose(0, 2, 3, 1) * 255).round().astype(np.uint8))
    return list(ColourScale.signed(top).paint(values.reshape(-1, *values.shape[2:])))


def kernel_sheet(pictures: Sequence[np.ndarray], columns: int, side: int) -> np.ndarray:
    """Kernels in rows of `columns`, each enlarged to about `side` pixels, uint8 (H, W, 4): the gaps between them are
    transparent, since grey is the colour of a weight of 0."""
    large = [nearest(pixels, side) for pixels in pictures]
    height, width = large[0].shape[:2]
    rows = -(-len(large) // columns)
    sheet = np.zeros((rows * (height + _GAP) - _GAP, min(columns, len(large)) * (width + _GAP) - _GAP, 4), np.uint8)
    for index, pixels in enumerate(large):
        top, left = index // columns * (height + _GAP), index % columns * (width + _GAP)
        sheet[top : top + height, left : left + width, :3] = pixels
        sheet[top : top + height, left : left + width, 3] = 255
    return sheet


def depth_chart(title: str, lines: Sequence[DepthLine], chosen: str) -> go.Figure:
    """Ratios along depth, from 0, with a line at 1, where both sides are equally large, and a bar at `chosen`."""
    names = list(dict.fromkeys(name for line in lines for name in line.names))
    figure = go.Figure(
        layout=dict(
            height=250,
            margin={"l": 0, "r": 8, "t": 34, "b": 0},
            title={"text": title, "font": {"size": 13}},
            xaxis={
                "automargin": True,
                "fixedrange": True,
                "tickangle": -60,
                "type": "category",
                "tickfont": {"size": 10},
            },
            yaxis={"automargin": True, "rangemode": "tozero", "fixedrange": True},
            legend={"orientation": "h", "y": 1.02, "x": 1, "xanchor": "right", "yanchor": "bottom"},
            showlegend=len(lines) > 1,
        )
    )
    if chosen in names:
        figure.add_vline(x=names.index(chosen), line={"color": "rgba(128,128,128,0.35)", "width": 8})
    for line in lines:
        figure.add_scatter(
            x=list(line.names),
            y=list(line.values),
            mode="lines+markers",
            name=escaped(line.series.title),
            line={"color": line.series.colour, "dash": line.series.dash},
            hovertemplate="%{x}: %{y:.3g}<extra>" + in_template(line.series.title) + "</extra>",
        )
    figure.add_hline(y=1, line={"color": "rgba(128,128,128,0.8)", "width": 1, "dash": "dot"})
    return figure


def trust_chart(panels: Sequence[tuple[str, Sequence[tuple[Series, PerturbationCurve]]]]) -> go.Figure:
    """Panels side by side, each with its title: the probability of the target against the share of pixels exchanged.

    Thick lines are the map's order, thin pale ones the random orders.
    """
    figure = make_subplots(cols=len(panels), subplot_titles=[title for title, _ in panels], horizontal_spacing=0.08)
    for column, (_, lines) in enumerate(panels, start=1):
        for series, curve in lines:
            shared = {"legendgroup": series.title, "mode": "lines", "row": 1, "col": column}
            for number, order in enumerate(curve.random):
                figure.add_scatter(
                    x=curve.shares,
                    y=order,
                    name=f"{escaped(series.title)}, random orders",
                    # No opacity of the trace: each such layer makes the whole panel a little darker in Chromium.
                    line={"color": _pale(series.colour), "width": 1, "dash": series.dash},
                    hoverinfo="skip",
                    showlegend=column == 1 and number == 0,
                    **shared,
                )
            figure.add_scatter(
                x=curve.shares,
                y=curve.probabilities,
                name=f"{escaped(series.title)}, the map's order",
                line={"color": series.colour, "width": 3, "dash": series.dash},
                hovertemplate="%{x:.0%} of the pixels: %{y:.1%}<extra>" + in_template(series.title) + "</extra>",
                showlegend=column == 1,
                **shared,
            )
    ticks = [0, 0.25, 0.5, 0.75, 1]
    figure.update_xaxes(
        tickformat=".0%", tickvals=ticks, range=[0, 1], fixedrange=True, title_text="share of the pixels"
    )
    figure.update_yaxes(tickformat=".0%", range=[-0.02, 1.02], fixedrange=True)
    figure.update_layout(
        height=340,
        margin={"l": 0, "r": 24, "t": 30, "b": 0},
        legend={"orientation": "h", "y": -0.28, "x": 0, "yanchor": "top"},
    )
    return figure


def _pale(colour: str) -> str:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.35)"


def cascade_chart(lines: Sequence[CascadeLine]) -> go.Figure:
    """Rank correlation with the trained network's map while layers become random from the head on; below each step
    the map itself, a row for each network."""
    rows = len(lines)
    steps = max(len(line.names) for line in lines)
    chart, row = 200, 72
    height = chart + rows * row
    figure = go.Figure()
    for place, line in enumerate(lines):
        figure.add_scatter(
            x=list(range(len(line.names))),
            y=list(line.correlations),
            customdata=list(line.names),
            mode="lines+markers",
            name=escaped(line.series.title),
            line={"color": line.series.colour, "dash": line.series.dash},
            hovertemplate="%{customdata}: %{y:.2f}<extra>" + in_template(line.series.title) + "</extra>",
        )
        top = (rows - place) * row
        figure.add_annotation(
            text=escaped(line.series.title),
            x=0,
            y=top / height,
            xref="paper",
            yref="paper",
            xanchor="left",
            yanchor="top",
            showarrow=False,
            font={"color": line.series.colour, "size": 11},
        )
        for index, pixels in enumerate(line.maps):
            figure.add_layout_image(
                source=data_uri(nearest(pixels, _THUMBNAIL)),
                x=index,
                y=(top - 18) / height,
                sizex=0.94,
                sizey=(row - 26) / height,
                xref="x",
                yref="paper",
                xanchor="center",
                yanchor="top",
                sizing="contain",
            )
    figure.add_hline(y=0, line={"color": "rgba(128,128,128,0.8)", "width": 1, "dash": "dot"})
    figure.update_layout(
        height=height + 60,
        margin={"l": 0, "r": 8, "t": 30, "b": 30},
        xaxis={"range": [-0.6, steps - 0.4], "fixedrange": True, "showticklabels": False, "zeroline": False},
        yaxis={
            "range": [-1.05, 1.05],
            "domain": [rows * row / height + 0.02, 1],
            "fixedrange": True,
            "title": {"text": "rank correlation"},
            "tickvals": [-1, 0, 1],
        },
        legend={"orientation": "h", "y": 1.01, "x": 1, "xanchor": "right", "yanchor": "bottom"},
        showlegend=True,
    )
    return figure
