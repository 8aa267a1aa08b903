"""What all questions of Gradients have in common: what is said and drawn of the flows that were found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from explorer import figures
from explorer.experiments.gradient_flow import MEASURES
from explorer.experiments.gradient_grid import band
from explorer.experiments.gradient_summary import INITIALISATION, gradient_extent, guidance, summarise
from explorer.figures import FlowLine
from explorer.labels import capital, label
from explorer.ui import client, navigation
from explorer.ui.charts import chart
from explorer.ui.gradients import controls, measured
from explorer.ui.gradients.lines import flow_keys, flow_lines
from explorer.ui.gradients.measured import Measured
from explorer.ui.gradients.state import GradientsState
from explorer.ui.markdown import as_text

READABLE = 12  # lines in one panel
SENTENCES = 2  # above the chart; it must stay in sight
SHORT = {
    "weights": "weight gradient (L2 norm)",
    "activations": "gradient at convolution outputs (RMS)",
    "blocks": "gradient at block outputs (RMS)",
}


@dataclass(frozen=True, eq=False)
class Flows:
    """What is drawn: the networks, the batch and the moment in words, what the n are, and decades to keep to."""

    found: list[Measured]
    pictures: str
    when: str = INITIALISATION
    sample: str = "seed"
    span: tuple[int, int] | None = None
    step: int | None = None


def show_flows(state: GradientsState, view: Flows, offer: Callable[[], None]) -> None:
    if not view.found:
        controls.choose_view(state)
        st.info("Nothing of this is measured yet.")
        offer()
        return
    _sentences(state, view)
    lines = flow_lines(view.found, state, view.sample)
    reaches = [gradient_extent(each.flows, state.what) for each in view.found]
    if words := guidance([_whole_name(line) for line in lines], reaches):
        st.markdown(as_text(words))
    controls.choose_view(state)
    unit = f"{MEASURES[state.what]}{', last layer = 1' if state.scale == 'relative' else ''}"
    most = max(sum(line.panel == panel for line in lines) for panel in {line.panel for line in lines})
    chart(
        figures.gradient_flow_chart(
            lines,
            flow_keys(view.found, view.sample, lines),
            size=capital(SHORT[state.what]) + (", last layer = 1" if state.scale == "relative" else ""),
            sample=view.sample,
            span=view.span,
            theme=client.theme(),
        ),
        "gradients_chart",
        f"{capital(unit)}, against relative depth, of {', '.join(dict.fromkeys(line.name for line in lines))}. "
        + _verdicts(state, view)[0],
    )
    st.caption(_explanation(state, view, lines, unit))
    if most > READABLE:
        st.caption(f"{most} lines are hard to tell apart; choose fewer, or point at a line to read its name.")
    offer()
    _numbers(state, view)


def _whole_name(line: FlowLine) -> str:
    return f"{line.name}, {line.panel}" if line.panel else line.name


def _verdicts(state: GradientsState, view: Flows) -> list[str]:
    return [
        summarise(group, view.pictures, state.what, view.when, view.sample)
        for group in measured.groups(view.found, view.when)
    ]


def _sentences(state: GradientsState, view: Flows) -> None:
    said = _verdicts(state, view)
    for sentence in said[:SENTENCES]:
        st.markdown(f"**{as_text(sentence)}**" if len(said) == 1 else f"- {as_text(sentence)}")
    if len(said) > SENTENCES:
        with st.expander(f"{len(said) - SENTENCES} more sentences, of the other networks"):
            st.markdown("\n".join(f"- {as_text(sentence)}" for sentence in said[SENTENCES:]))


def _explanation(state: GradientsState, view: Flows, lines: Sequence[FlowLine], unit: str) -> str:
    counts = sorted({each.band.n for each in lines})
    modes = " and ".join(sorted({flow.mode for each in view.found for flow in each.flows}))
    text = f"{capital(unit)}, of the main path from the first layer to the last; {view.pictures}, {modes} mode"
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


def _numbers(state: GradientsState, view: Flows) -> None:
    with st.expander("The numbers"):
        rows = []
        for each in view.found:
            sizes, found = band(each.flows, state.what), gradient_extent(each.flows, state.what)
            rows.append(
                {
                    "network": each.name,
                    "shortcut": label("shortcut", each.spec.shortcut),
                    "norm": label("norm", each.spec.norm),
                    "initialisation": label("initialisation", each.spec.initialisation),
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
            data=lambda: measured.table(view.found, state.what, view.pictures, view.step),
            file_name=f"gradients-{state.source}-{state.what}.csv",
            mime="text/csv",
            key="gradients_csv",
        )
