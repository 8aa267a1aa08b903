"""Sizes of gradients along the depth of networks, as the browser draws them: `profile_panel.js`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from explorer import figures
from explorer.experiments.gradient_flow import Quantity
from explorer.experiments.gradient_grid import GradientBand, band
from explorer.experiments.gradient_summary import names_of
from explorer.labels import FAMILIES, NORMS, label, norm_of, shortcuts_of
from explorer.numbers import finite
from explorer.ui import client
from explorer.ui.gradients.flow_measurements import MeasuredFlow
from explorer.ui.gradients.state import GradientsState
from explorer.ui.viewer import place

SIZES: dict[Quantity, str] = {
    "weights": "Weight gradient (L2 norm)",
    "activations": "RMS of ∂loss/∂activation at convolutions",
    "blocks": "RMS of ∂loss/∂activation at blocks",
}
NAMED_LINES = 4  # in one panel, whose names stand at them; of more the depths
DIGITS = 4  # of a size in the browser: more than a chart shows

STYLES = ("training.css", "gradients.css", "picture_tools.css")
draw_profile = place("profile", "<div class='live'></div>", STYLES, "gradients.js")


@dataclass(frozen=True, eq=False)
class ProfileLine:
    """The gradient of one network along its depth. `label` stands at the line, `name` in its reading. Lines of one
    `panel` are drawn into one chart."""

    name: str
    label: str
    colour: str
    band: GradientBand
    dashed: bool = False
    squares: bool = False
    width: float = 2.2
    panel: str = ""


def span_of(lines: Sequence[ProfileLine]) -> tuple[int, int]:
    """The powers of ten that enclose every size above zero of all lines, at least one decade."""
    return figures.enclosing_decades(
        [size for line in lines for size in (line.band.low, line.band.median, line.band.high)]
    )


def profile(
    lines: Sequence[ProfileLine],
    legend: Sequence[dict[str, Any]],
    *,
    size: str,
    alt: str,
    sample: str = "seed",
    span: tuple[int, int] | None = None,
    source: str = "",
) -> dict[str, Any]:
    """Size against relative depth, from the first layer on the left to the last on the right.

    A line is the median of the n, and a band reaches from the smallest to the largest; sizes that are not finite are
    None. All panels share the decades of `span`, by default those of the lines. `size` says what is measured, `sample`
    what n counts, `source` what it was measured on.
    """
    panels = list(dict.fromkeys(line.panel for line in lines)) or [""]
    return {
        "kind": "profile",
        "alt": alt,
        "source": source,
        "size": size,
        "sample": sample,
        "decades": list(span or span_of(lines)),
        "lost": any(bool(line.band.not_finite.any()) for line in lines),
        "legend": list(legend),
        "panels": [
            {"title": panel, "lines": [_line(line) for line in lines if line.panel == panel]} for panel in panels
        ],
    }


def _look(name: str, colour: str, dashed: bool = False, squares: bool = False, width: float = 2.0) -> dict[str, Any]:
    return {"name": name, "colour": colour, "dashed": dashed, "squares": squares, "width": width}


def _line(line: ProfileLine) -> dict[str, Any]:
    sizes = line.band
    return _look(line.name, line.colour, line.dashed, line.squares, line.width) | {
        "label": line.label,
        "n": sizes.n,
        "layers": list(sizes.layers),
        "x": finite(sizes.depth, DIGITS),
        **{name: finite(getattr(sizes, name), DIGITS) for name in ("median", "low", "high")},
        "zeros": sizes.zeros.tolist(),
        "lost": sizes.not_finite.tolist(),
    }


def lines_of(
    found: Sequence[MeasuredFlow], state: GradientsState, theme: Literal["light", "dark"] | None = None
) -> list[ProfileLine]:
    """Colours tell plain from residual. At initialisation squares tell projections, dashes networks without norm where
    others have one, and widths depths; else dashes tell the second network of a family. `theme` is by default that of
    the page."""
    theme = theme or client.theme()
    specs, is_grid = [each.spec for each in found], state.source == "initial"
    depths, norms = sorted({spec.depth for spec in specs}), {spec.norm for spec in specs}
    varied = [name for name in ("initialisation", "activation") if len({getattr(spec, name) for spec in specs}) > 1]
    panels = [", ".join(label(name, getattr(spec, name)) for name in varied) if is_grid else "" for spec in specs]
    lines: list[ProfileLine] = []
    for each, spec, panel in zip(found, specs, panels, strict=True):
        sizes = band(each.flows, state.what)
        colour = figures.network_colour(spec.shortcut, theme)
        marks = [norm_of(spec.norm)] if is_grid and len(norms) > 1 else []
        marks += [shortcuts_of(spec.shortcut)] if is_grid and spec.shortcut == "projection" else []
        name = each.name + (f" ({', '.join(marks)})" if marks else "")
        lines.append(
            ProfileLine(
                name=name,
                label=name if panels.count(panel) <= NAMED_LINES and len(set(panels)) == 1 else str(spec.depth),
                colour=colour,
                band=sizes.relative() if state.scale == "relative" else sizes,
                dashed=spec.norm == "none" and len(norms) > 1
                if is_grid
                else any(line.colour == colour for line in lines),
                squares=is_grid and spec.shortcut == "projection",
                width=1.6 + 0.6 * depths.index(spec.depth) if is_grid and len(depths) > 1 else 2.2,
                panel=panel,
            )
        )
    return lines


def legend_of(found: Sequence[MeasuredFlow], lines: Sequence[ProfileLine]) -> list[dict[str, Any]]:
    """What colours, dashes and marks mean, where the names do not stand at the lines."""
    if all(line.label == line.name for line in lines):
        return []
    shortcuts, norms = {each.spec.shortcut for each in found}, {each.spec.norm for each in found}
    theme = client.theme()
    looks = [
        _look(name, figures.network_colour(shortcut, theme), squares=shortcut == "projection")
        for shortcut, name in FAMILIES.items()
        if shortcut in shortcuts
    ]
    if len(norms) > 1:
        looks += [_look(norm_of(norm), "currentColor", dashed=norm == "none") for norm in NORMS if norm in norms]
    return [*looks, _look("number at a line: depth, the deeper the thicker", "")]


def alt_of(found: Sequence[MeasuredFlow], what: str, sentences: Sequence[str]) -> str:
    """The chart in words, for those who cannot see it."""
    return f"{what}, against relative depth, of {', '.join(dict.fromkeys(names_of(found)))}. {' '.join(sentences[:2])}"


def what_is_measured(what: Quantity, scale: str) -> str:
    """`Weight gradient (L2 norm), last layer = 1`."""
    return SIZES[what] + (", last layer = 1" if scale == "relative" else "")
