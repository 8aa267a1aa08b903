"""Signed overlays, framed images and kernels of one layer, and charts of blocks and of faithfulness."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from PIL import Image, ImageDraw
from plotly.subplots import make_subplots

from explorer.attribution import PerturbationCurve
from explorer.figures.charts import Series, add_line, empty_chart, log_axis_of, translucent
from explorer.figures.raster import ColourScale, data_uri, grid, upscale_nearest
from explorer.figures.text_escaping import escape_html

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
    """One network's maps while its layers become random: `names` of the steps, the first "trained"; for each step the
    painted map, uint8 (H, W, 3), and its correlation with the first map, -1..1, or None."""

    series: Series
    names: Sequence[str]
    maps: Sequence[np.ndarray]
    correlations: Sequence[float | None]


def signed_overlay(pixels: np.ndarray, values: np.ndarray, top: float, opacity: float) -> np.ndarray:
    """A signed map (H, W) over pixels (H, W, 3) in grey, uint8: red speaks for the class, blue against it.

    Where the map is 0 the grey image stays; towards +-`top` the colour covers it, up to `opacity`. The diverging scale
    itself is white around 0 and would hide the image there.
    """
    grey = np.repeat(pixels.mean(axis=2, keepdims=True), 3, axis=2)
    share = np.clip(np.abs(values) / top, 0, 1) if top > 0 else np.zeros_like(values)
    colours = ColourScale.signed(1.0).paint(np.sign(values) * _STRONG)
    alpha = (opacity * np.sqrt(share))[..., None]
    return (grey * (1 - alpha) + colours * alpha).round().astype(np.uint8)


def framed(pixels: np.ndarray, box: Sequence[int], side: int, cell: Sequence[int] | None = None) -> np.ndarray:
    """An image enlarged to about `side` pixels, with the frame of `box`: top, left, bottom, right (exclusive). `cell`
    gets a small frame in black and white, which is seen on any picture."""
    large = upscale_nearest(pixels, side)
    factor = large.shape[0] // pixels.shape[0]
    top, left, bottom, right = (int(edge) * factor for edge in box)
    picture = Image.fromarray(large)
    drawing = ImageDraw.Draw(picture)
    drawing.rectangle((left, top, right - 1, bottom - 1), outline=_FRAME, width=max(2, side // 48))
    if cell is not None:
        top, left, bottom, right = (int(edge) * factor for edge in cell)
        drawing.rectangle((left - 2, top - 2, right + 1, bottom + 1), outline="black")
        drawing.rectangle((left - 1, top - 1, right, bottom), outline="white")
    return np.asarray(picture)


def kernel_pictures(values: np.ndarray, top: float) -> list[np.ndarray]:
    """Kernels, float32 (out, in, kh, kw), as uint8 (kh, kw, 3) each, on one scale to +-`top`.

    Kernels of three input channels are images in R, G and B in which mid-grey is 0; of others each input channel is a
    map on the diverging scale.
    """
    if values.shape[1] == 3:
        shares = (values / top + 1) / 2 if top > 0 else np.full_like(values, 0.5)
        return list((np.clip(shares, 0, 1).transpose(0, 2, 3, 1) * 255).round().astype(np.uint8))
    return list(ColourScale.signed(top).paint(values.reshape(-1, *values.shape[2:])))


def kernel_sheet(pictures: Sequence[np.ndarray], columns: int, side: int) -> np.ndarray:
    """Kernels in rows of `columns`, each enlarged to about `side` pixels, uint8 (H, W, 4). The gaps are transparent,
    since grey is the colour of a weight of 0."""
    large = [np.pad(upscale_nearest(each, side), ((0, 0), (0, 0), (0, 1)), constant_values=255) for each in pictures]
    return grid(large, large[0].shape, min(columns, len(large)), _GAP, fill=0)


def depth_chart(title: str, lines: Sequence[DepthLine], chosen: str, sizes: bool = False) -> go.Figure:
    """Ratios along depth, from 0, with a line at 1, where both sides are equally large, or `sizes` on a logarithmic
    axis; and a bar at `chosen`."""
    names = list(dict.fromkeys(name for line in lines for name in line.names))
    xaxis = {"automargin": True, "tickangle": -60, "type": "category", "tickfont": {"size": 10}}
    heading = {"text": title, "font": {"size": 13}}
    yaxis = log_axis_of([size for line in lines for size in line.values]) if sizes else {"rangemode": "tozero"}
    figure = empty_chart(250, (8, 34, 0), xaxis, yaxis, title=heading, showlegend=len(lines) > 1)
    figure.update_layout(legend={"x": 1, "xanchor": "right"})
    if chosen in names:
        figure.add_vline(x=names.index(chosen), line={"color": "rgba(128,128,128,0.35)", "width": 8})
    for line in lines:
        add_line(figure, line.series, line.names, line.values, "%{x}: %{y:.3g}")
    if not sizes:
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
            # No opacity of the trace: each such layer makes the whole panel a little darker in Chromium.
            pale = {"color": translucent(series.colour, 0.35), "width": 1, "dash": series.dash}
            name = f"{escape_html(series.title)}, random orders"
            for index, order in enumerate(curve.random):
                is_first = column == 1 and index == 0
                figure.add_scatter(
                    x=curve.shares, y=order, name=name, line=pale, hoverinfo="skip", showlegend=is_first, **shared
                )
            name = f"{escape_html(series.title)}, the map's order"
            hover = "%{x:.0%} of the pixels: %{y:.1%}"
            add_line(
                figure, series, curve.shares, curve.probabilities, hover, name=name, showlegend=column == 1, **shared
            )
            figure.data[-1].line.width = 3
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


def cascade_chart(lines: Sequence[CascadeLine]) -> go.Figure:
    """Rank correlation with the trained network's map while layers become random from the head on; below each step
    the map itself, a row for each network."""
    rows = len(lines)
    steps = max(len(line.names) for line in lines)
    chart, row = 200, 72
    height = chart + rows * row
    xaxis = {"range": [-0.6, steps - 0.4], "showticklabels": False, "zeroline": False}
    yaxis: dict[str, Any] = {"range": [-1.05, 1.05], "domain": [rows * row / height + 0.02, 1], "tickvals": [-1, 0, 1]}
    yaxis |= {"title": {"text": "rank correlation"}}
    figure = empty_chart(height + 60, (8, 30, 30), xaxis, yaxis, showlegend=True)
    figure.update_layout(legend={"x": 1, "xanchor": "right", "y": 1.01})
    for place, line in enumerate(lines):
        places = list(range(len(line.names)))
        add_line(figure, line.series, places, line.correlations, "%{customdata}: %{y:.2f}", customdata=list(line.names))
        top = (rows - place) * row
        figure.add_annotation(
            text=escape_html(line.series.title),
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
                source=data_uri(upscale_nearest(pixels, _THUMBNAIL)),
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
    return figure
