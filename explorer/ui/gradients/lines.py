"""Measured flows of networks as the lines of a chart: which colour, dash, mark and width each has."""

from collections.abc import Sequence

from explorer import figures
from explorer.experiments.gradient_grid import band
from explorer.figures import FlowKey, FlowLine
from explorer.labels import FAMILIES, NORMS, label, norm_of, shortcuts_of
from explorer.ui import client
from explorer.ui.gradients.measured import Measured
from explorer.ui.gradients.state import GradientsState


def flow_lines(found: Sequence[Measured], state: GradientsState, sample: str) -> list[FlowLine]:
    """Colours tell plain from residual, squares projections; of a grid dashes tell networks without norm and widths
    depths, else dashes the second network of a family."""
    specs = [each.spec for each in found]
    depths = sorted({spec.depth for spec in specs})
    varied = [name for name in ("initialisation", "activation") if len({getattr(spec, name) for spec in specs}) > 1]
    lines: list[FlowLine] = []
    for each, spec in zip(found, specs, strict=True):
        sizes = band(each.flows, state.what)
        sizes = sizes.relative() if state.scale == "relative" else sizes
        colour = figures.network_colour(spec.shortcut, client.theme())
        is_grid = sample == "seed"
        own = [norm_of(spec.norm)] if is_grid and spec.norm == "none" else []
        own += [shortcuts_of(spec.shortcut)] if is_grid and spec.shortcut == "projection" else []
        lines.append(
            FlowLine(
                name=each.name + (f" ({', '.join(own)})" if own else ""),
                label=str(spec.depth) if is_grid else spec.name,
                colour=colour,
                band=sizes,
                dashed=spec.norm == "none" if is_grid else any(line.colour == colour for line in lines),
                squares=is_grid and spec.shortcut == "projection",
                width=1.5 + 0.6 * depths.index(spec.depth) if is_grid else 2.2,
                panel=", ".join(label(name, getattr(spec, name)) for name in varied) if is_grid else "",
            )
        )
    return lines


def flow_keys(found: Sequence[Measured], sample: str, lines: Sequence[FlowLine]) -> list[FlowKey]:
    if sample != "seed":
        return [FlowKey(line.name, line.colour, line.dashed) for line in lines]
    shortcuts, norms = {each.spec.shortcut for each in found}, {each.spec.norm for each in found}
    keys = [
        FlowKey(name, figures.network_colour(shortcut, client.theme()), squares=shortcut == "projection")
        for shortcut, name in FAMILIES.items()
        if shortcut in shortcuts
    ]
    keys += [FlowKey(norm_of(norm), dashed=norm == "none") for norm in NORMS if norm in norms]
    return [*keys, FlowKey("number at a line: depth, the deeper the thicker", "rgba(0,0,0,0)")]
