"""The chart of gradient flows, what it says in sentences, and its numbers: the same for all sources of Gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from explorer import figures
from explorer.experiments.gradient_flow import MEASURES
from explorer.experiments.gradient_grid import band
from explorer.experiments.gradient_summary import INITIALISATION, gradient_extent, guidance, summarise
from explorer.figures import FlowKey, FlowLine
from explorer.labels import FAMILIES, NORMS, capital, label, norm_of, shortcuts_of
from explorer.ui import client, navigation
from explorer.ui.charts import chart
from explorer.ui.gradients import controls, flow_measurements
from explorer.ui.gradients.flow_measurements import MeasuredFlow
from explorer.ui.gradients.state import GradientsState
from explorer.ui.markdown import as_text

READABLE_LINES = 12  # in one panel
SENTENCES = 2  # above the chart; it must stay in sight
SHORT = {
    "weights": "weight gradient (L2 norm)",
    "activations": "gradient at convolution outputs (RMS)",
    "blocks": "gradient at block outputs (RMS)",
}


@dataclass(frozen=True, eq=False)
class FlowComparison:
    """The networks, the batch and the moment in words, what n counts, and fixed decades of the axis or None."""

    found: list[MeasuredFlow]
    pictures: str
    when: str = INITIALISATION
    sample: str = "seed"
    span: tuple[int, int] | None = None
    step: int | None = None


def show_flows(state: GradientsState, view: FlowComparison, offer: Callable[[], None]) -> None:
    """`offer` draws the button that measures more."""
    if not view.found:
        controls.choose_view(state)
        st.info("Nothing of this is measured yet.")
        offer()
        return
    sentences = [
        summarise(group, view.pictures, state.what, view.when, view.sample)
        for group in flow_measurements.groups(view.found, view.when)
    ]
    bullets = [f"- {as_text(sentence)}" for sentence in sentences]
    if len(sentences) == 1:
        st.markdown(f"**{as_text(sentences[0])}**")
    else:
        st.markdown("\n".join(bullets[:SENTENCES]))
    if more := bullets[SENTENCES:]:
        with st.expander(f"{len(more)} more sentences, of the other networks"):
            st.markdown("\n".join(more))
    lines = flow_lines(view.found, state, view.sample)
    names = [f"{line.name}, {line.panel}" if line.panel else line.name for line in lines]
    if reading := guidance(names, [gradient_extent(each.flows, state.what) for each in view.found]):
        st.markdown(as_text(reading))
    controls.choose_view(state)
    last = ", last layer = 1" if state.scale == "relative" else ""
    unit = capital(MEASURES[state.what]) + last
    chart(
        figures.gradient_flow_chart(
            lines,
            flow_keys(view.found, view.sample, lines),
            size=capital(SHORT[state.what]) + last,
            sample=view.sample,
            span=view.span,
            theme=client.theme(),
        ),
        "gradients_chart",
        f"{unit}, against relative depth, of {', '.join(dict.fromkeys(line.name for line in lines))}. {sentences[0]}",
    )
    st.caption(_explanation(state, view, lines, unit))
    most = max(sum(line.panel == panel for line in lines) for panel in {line.panel for line in lines})
    if most > READABLE_LINES:
        st.caption(f"{most} lines are hard to tell apart; choose fewer, or point at a line to read its name.")
    offer()
    _numbers(state, view)


def flow_lines(found: Sequence[MeasuredFlow], state: GradientsState, sample: str) -> list[FlowLine]:
    """Colours tell plain from residual. At initialisation (`sample` is "seed") squares tell projections, dashes
    networks without norm, and widths depths; else dashes tell the second network of a family."""
    specs = [each.spec for each in found]
    depths = sorted({spec.depth for spec in specs})
    varied = [name for name in ("initialisation", "activation") if len({getattr(spec, name) for spec in specs}) > 1]
    is_grid = sample == "seed"
    lines: list[FlowLine] = []
    for each, spec in zip(found, specs, strict=True):
        sizes = band(each.flows, state.what)
        colour = figures.network_colour(spec.shortcut, client.theme())
        marks = [norm_of(spec.norm)] if is_grid and spec.norm == "none" else []
        marks += [shortcuts_of(spec.shortcut)] if is_grid and spec.shortcut == "projection" else []
        lines.append(
            FlowLine(
                name=each.name + (f" ({', '.join(marks)})" if marks else ""),
                label=str(spec.depth) if is_grid else spec.name,
                colour=colour,
                band=sizes.relative() if state.scale == "relative" else sizes,
                dashed=spec.norm == "none" if is_grid else any(line.colour == colour for line in lines),
                squares=is_grid and spec.shortcut == "projection",
                width=1.5 + 0.6 * depths.index(spec.depth) if is_grid else 2.2,
                panel=", ".join(label(name, getattr(spec, name)) for name in varied) if is_grid else "",
            )
        )
    return lines


def flow_keys(found: Sequence[MeasuredFlow], sample: str, lines: Sequence[FlowLine]) -> list[FlowKey]:
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


def _explanation(state: GradientsState, view: FlowComparison, lines: Sequence[FlowLine], unit: str) -> str:
    counts = sorted({each.band.n for each in lines})
    modes = " and ".join(sorted({flow.mode for each in view.found for flow in each.flows}))
    text = f"{unit}, of the main path from the first layer to the last; {view.pictures}, {modes} mode"
    if view.sample == "seed":
        seeds = sorted({seed for each in view.found for seed in each.seeds if seed is not None})
        text += f"; n = {' to '.join(dict.fromkeys(map(str, (counts[0], counts[-1]))))}, seed"
        text += f"s {seeds[0]} to {seeds[-1]}" if len(seeds) > 1 else f" {seeds[0]}"
        text += ": the line is the median, the band reaches from smallest to largest" if counts[-1] > 1 else ""
    else:
        text += f"; n = 1 {view.sample} each"
    text += ". Zeros lie on the dotted line below the decades."
    if state.scale == "relative":
        text += " Where the last layer has exactly 0 there is nothing to divide by: such sizes count as not finite."
    return text


def _numbers(state: GradientsState, view: FlowComparison) -> None:
    with st.expander("The numbers"):
        rows = []
        for each in view.found:
            sizes, found = band(each.flows, state.what), gradient_extent(each.flows, state.what)
            rows.append(
                {
                    "network": each.name,
                    **{name: label(name, getattr(each.spec, name)) for name in ("shortcut", "norm", "initialisation")},
                    "activation": each.spec.activation_name,
                    "n": found.n,
                    "first layer": f"{sizes.median[0]:.3g}",
                    "last layer": f"{sizes.median[-1]:.3g}",
                    "first / last": "" if found.ratio is None else f"{found.ratio:.3g}",
                    "layers": len(sizes.layers),
                    "layers with an exact 0": int((sizes.zeros > 0).sum()),
                    "layers with no finite number": int((sizes.not_finite > 0).sum()),
                }
            )
        st.dataframe(rows, hide_index=True, width="stretch")
        navigation.download_button(
            "All layers as CSV",
            data=lambda: flow_measurements.table(view.found, state.what, view.pictures, view.step),
            file_name=f"gradients-{state.source}-{state.what}.csv",
            mime="text/csv",
            key="gradients_csv",
        )
