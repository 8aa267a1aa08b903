"""A report as one HTML file that opens without a network: text, tables, charts and pictures, all in the file."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.io import templates, to_json
from plotly.offline import get_plotlyjs

from explorer.figures.charts import NETWORK_COLOURS
from explorer.figures.raster import colour_bar, data_uri
from explorer.figures.text_escaping import without_bidi

# Nothing may be loaded from anywhere: a browser refuses everything that this does not name.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
_GROUNDS = {"light": "white", "dark": "dark"}


@dataclass(frozen=True)
class Table:
    """Texts: the names of the columns, and the rows. The first `texts` columns hold words, the others numbers."""

    kind: ClassVar = "table"
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    texts: int = 1


@dataclass(frozen=True, eq=False)
class Chart:
    """A Plotly figure, its title, and sentences about it. The figure has escaped its names itself."""

    kind: ClassVar = "chart"
    figure: go.Figure
    title: str
    text: str


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A picture, uint8 (H, W, 3), and the lines below it."""

    pixels: np.ndarray
    lines: Sequence[str]


@dataclass(frozen=True, eq=False)
class Strip:
    """Pictures that are compared, in rows: (title, pictures), a picture or None for each of `columns`, `side` pixels
    wide. `palette` names their colours, `ends` what its first and last stand for, and `caption` describes them."""

    kind: ClassVar = "strip"
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Thumbnail | None]]]
    side: int
    palette: str = ""
    caption: str = ""
    ends: tuple[str, str] = ("", "")


@dataclass(frozen=True, eq=False)
class Gallery:
    """Pictures side by side."""

    kind: ClassVar = "gallery"
    pictures: Sequence[Thumbnail]


@dataclass(frozen=True)
class Details:
    """A text that opens at a click on its title."""

    kind: ClassVar = "details"
    title: str
    text: str


Part = str | Table | Chart | Strip | Gallery | Details


@dataclass(frozen=True, eq=False)
class Chapter:
    """One section of a report: its parts from top to bottom, of which a `str` is a paragraph."""

    heading: str
    parts: Sequence[Part]


def report_html(title: str, chapters: Sequence[Chapter]) -> str:
    """The whole file, which is light or dark as its reader's system is. Every text is escaped, and none is taken for
    markup. Networks in its charts have the colours of the light theme."""
    page = _ENVIRONMENT.get_template("report.html.jinja")
    looks = {theme: templates[f"plotly_{ground}"].to_plotly_json() for theme, ground in _GROUNDS.items()}
    pairs = zip(NETWORK_COLOURS["light"].values(), NETWORK_COLOURS["dark"].values(), strict=True)
    data = {"templates": to_json(looks, validate=False), "colours": to_json(dict(pairs), validate=False)}
    return page.render(title=title, chapters=chapters, policy=_POLICY, plotly=get_plotlyjs(), **data)


def _figure_json(chart: Chart) -> str:
    """JSON that cannot end the script it stands in: to_json writes <, > and / of texts as their code points."""
    figure = go.Figure(chart.figure)
    figure.update_layout(template=None, paper_bgcolor="rgba(0,0,0,0)", plot_bgcolor="rgba(0,0,0,0)")
    return str(to_json(figure, validate=False))


def _without_bidi(value: Any) -> Any:
    return without_bidi(value) if type(value) is str else value  # markup that is safe already is a subclass


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    finalize=_without_bidi,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {"json": _figure_json, "data_uri": data_uri, "colour_bar": colour_bar}
