"""Measured flows of networks as the lines of a chart: which colour, dash, mark and width each has."""

from collections.abc import Sequence

from explorer import figures
from explorer.experiments.gradient_grid import band
from explorer.figures import FlowKey, FlowLine
from explorer.ui import resources
from explorer.ui.gradients.controls import WORDS
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
        colour = figures.network_colour(spec.shortcut, resources.theme())
        is_grid = sample == "seed"
        own = ["no norm"] if is_grid and spec.norm == "none" else []
        own += [f"{spec.shortcut} shortcuts"] if is_grid and spec.shortcut == "projection" else []
        lines.append(
            FlowLine(
                name=each.name + (f" ({', '.join(own)})" if own else ""),
                label=str(spec.depth) if is_grid else spec.name,
                colour=colour,
                layers=sizes.layers,
                depth=sizes.depth,
                median=sizes.median,
                low=sizes.low,
                high=sizes.high,
                zeros=sizes.zeros,
                not_finite=sizes.not_finite,
                n=sizes.n,
                dashed=spec.norm == "none" if is_grid else any(line.colour == colour for line in lines),
                squares=is_grid and spec.shortcut == "projection",
                width=1.5 + 0.6 * depths.index(spec.depth) if is_grid else 2.2,
                panel=", ".join(WORDS[f"{name}s"][getattr(spec, name)] for name in varied) if is_grid else "",
            )
        )
    return lines


def flow_keys(found: Sequence[Measured], sample: str, lines: Sequence[FlowLine]) -> list[FlowKey]:
    if sample != "seed":
        return [FlowKey(line.name, line.colour, line.dashed) for line in lines]
    colours = figures.NETWORK_COLOURS[resources.theme()]
    there = {each.spec.shortcut for each in found}
    keys = [FlowKey("plain", colours["plain"])] if "none" in there else []
    keys += [FlowKey("ResNet, identity", colours["residual"])] if "identity" in there else []
    keys += [FlowKey("ResNet, projection", colours["residual"], squares=True)] if "projection" in there else []
    norms = {each.spec.norm for each in found}
    keys += [FlowKey("BatchNorm")] if "batch" in norms else []
    keys += [FlowKey("no norm", dashed=True)] if "none" in norms else []
    return [*keys, FlowKey("number at a line: depth, the deeper the thicker", "rgba(0,0,0,0)")]
