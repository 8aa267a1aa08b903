"""A report as one HTML file that opens without a network: text, tables, charts and pictures, all in the file."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.io import to_json
from plotly.offline import get_plotlyjs

from explorer.figures.names import escaped
from explorer.figures.tiles import data_uri

# Nothing may be loaded from anywhere: a browser refuses what this does not name.
_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
_STYLE = """
body { font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #10171a;
  background: #fff; max-width: 1080px; margin: 2rem auto; padding: 0 1.5rem }
h1, h2, h3 { line-height: 1.2 } h2 { margin-top: 2.5rem; border-top: 1px solid #d5dddf; padding-top: 1.2rem }
table { border-collapse: collapse; margin: 1rem 0 } .wide { overflow-x: auto }
th, td { border-bottom: 1px solid #d5dddf; padding: .3rem .8rem .3rem 0; text-align: left; vertical-align: top;
  overflow-wrap: anywhere }
pre { background: #f3f6f6; padding: 1rem; overflow-x: auto; white-space: pre-wrap }
figure { margin: 1.2rem 0 } figcaption { color: #45525a; font-size: .9rem }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem } .pictures figure { margin: 0; width: 150px }
.pictures img { width: 96px; image-rendering: pixelated; display: block }
th:first-child, td:first-child { min-width: 7rem }
.strip th, .strip td { border: 0; padding: .1rem .5rem .1rem 0; min-width: 0; font-size: .75rem; font-weight: normal }
.strip tr.titled > :first-child { min-width: 4.5rem } .strip td { max-width: 224px }
.strip img { image-rendering: pixelated; display: block }
"""


@dataclass(frozen=True)
class Table:
    """Texts: the names of the columns, and the rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, eq=False)
class Chart:
    """A Plotly figure, and in one sentence what it shows."""

    figure: go.Figure
    caption: str


@dataclass(frozen=True, eq=False)
class Thumbnail:
    """A picture, uint8 (H, W, 3), and the lines below it."""

    pixels: np.ndarray
    lines: Sequence[str]


@dataclass(frozen=True, eq=False)
class Strip:
    """Pictures that are compared, in rows: (title, pictures), a picture for each of `columns`, `side` pixels wide.
    `scale` is a colour bar, or None, and `caption` what is seen."""

    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Thumbnail]]]
    side: int
    scale: np.ndarray | None = None
    caption: str = ""


@dataclass(frozen=True, eq=False)
class Chapter:
    """One part of a report, drawn in the order of its fields; `details` are (title, text) that open on a click."""

    heading: str
    sentences: Sequence[str] = ()
    tables: Sequence[Table] = ()
    strips: Sequence[Strip] = ()
    charts: Sequence[Chart] = ()
    pictures: Sequence[Thumbnail] = ()
    details: Sequence[tuple[str, str]] = field(default=())


def report_html(title: str, chapters: Sequence[Chapter]) -> str:
    """The whole file. Every text is escaped here, and none is taken for markup; figures must have escaped theirs."""
    numbers = itertools.count()
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escaped(title)}</title><style>{_STYLE}</style>",
        f"<script>{get_plotlyjs()}</script></head><body><h1>{escaped(title)}</h1>",
    ]
    for chapter in chapters:
        parts.append(f"<section><h2>{escaped(chapter.heading)}</h2>")
        parts += [f"<p>{escaped(sentence)}</p>" for sentence in chapter.sentences]
        parts += [_table(table) for table in chapter.tables]
        parts += [_strip(strip) for strip in chapter.strips]
        parts += [_chart(chart, f"chart-{next(numbers)}") for chart in chapter.charts]
        if chapter.pictures:
            parts.append(f'<div class="pictures">{"".join(map(_thumbnail, chapter.pictures))}</div>')
        parts += [
            f"<details><summary>{escaped(name)}</summary><pre>{escaped(text)}</pre></details>"
            for name, text in chapter.details
        ]
        parts.append("</section>")
    parts.append("</body></html>\n")
    return "\n".join(parts)


def _table(table: Table) -> str:
    head = "".join(f"<th>{escaped(name)}</th>" for name in table.columns)
    rows = "".join("<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>" for row in table.rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _strip(strip: Strip) -> str:
    titled = any(title for title, _ in strip.rows)
    heads = [*([""] if titled else []), *strip.columns]
    rows = ""
    for title, cells in strip.rows:
        rows += f'<tr class="titled"><th>{escaped(title)}</th>' if titled else "<tr>"
        rows += "".join(_cell(cell, strip.side) for cell in cells) + "</tr>"
    head = "".join(f"<th>{escaped(name)}</th>" for name in heads)
    bar = "" if strip.scale is None else f'<img alt="Colour scale" src="{data_uri(strip.scale)}">'
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<figure class="strip wide">{table}{bar}<figcaption>{escaped(strip.caption)}</figcaption></figure>'


def _cell(thumbnail: Thumbnail, side: int) -> str:
    alt, lines = escaped(", ".join(thumbnail.lines)), "<br>".join(map(escaped, thumbnail.lines))
    return f'<td><img alt="{alt}" width="{side}" src="{data_uri(thumbnail.pixels)}">{lines}</td>'


def _chart(chart: Chart, place: str) -> str:
    figure = go.Figure(chart.figure)
    figure.update_layout(template="plotly_white", paper_bgcolor="#ffffff", plot_bgcolor="#ffffff")
    config: dict[str, Any] = {"displayModeBar": False, "responsive": True}
    draw = f"(f => Plotly.newPlot('{place}', f.data, f.layout, {_json(config)}))({_json(figure)})"
    return (
        f'<figure><div id="{place}" class="chart"></div><figcaption>{escaped(chart.caption)}</figcaption>'
        f"<script>{draw}</script></figure>"
    )


def _json(value: Any) -> str:
    """JSON that cannot end the script it stands in: to_json writes <, > and / of texts as their code points."""
    return str(to_json(value, validate=False))


def _thumbnail(thumbnail: Thumbnail) -> str:
    lines = "<br>".join(escaped(line) for line in thumbnail.lines)
    alt = escaped(", ".join(thumbnail.lines[:1]))
    return f'<figure><img alt="{alt}" src="{data_uri(thumbnail.pixels)}"><figcaption>{lines}</figcaption></figure>'
