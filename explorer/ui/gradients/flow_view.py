"""A chart of gradient flows, its sentences and its numbers: of initial weights, and of a trained network."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import streamlit as st

from explorer import figures
from explorer.experiments.gradient_flow import MEASURES
from explorer.experiments.gradient_grid import band
from explorer.experiments.gradient_summary import findings, gradient_extent, remarks, setting
from explorer.figures import DASHES, Chapter, Chart, Series, SizeLine, Table
from explorer.labels import capital, label
from explorer.ui import lesson, navigation, network_registry
from explorer.ui.gradients import flow_measurements, profiles
from explorer.ui.gradients.flow_measurements import MeasuredFlow
from explorer.ui.gradients.state import GradientsState
from explorer.ui.markdown import as_text
from explorer.ui.network_text import source_text

READABLE_LINES = 12  # in one panel
SENTENCES = 3  # above the chart; it must stay in sight


def show_flows(
    state: GradientsState,
    found: list[MeasuredFlow],
    pictures: str,
    offer: Callable[[], None],
    beside: Sequence[MeasuredFlow] = (),
) -> None:
    """`pictures` names the batch; `offer` draws the button that measures more. The axis holds the sizes of `found` and
    of those `beside`, so that the steps of a training share one."""
    if not found:
        st.info("Nothing of this is measured yet.")
        offer()
        return
    is_grid = state.source == "initial"
    sample = "seed" if is_grid else "batch"
    sentences = _sentences(state, found, sample)
    _write(sentences)
    if said := remarks(found, state.what, sample):
        st.caption(as_text(" ".join(said)))
    lines = profiles.lines_of(found, state)
    size = profiles.what_is_measured(state.what, state.scale)
    alt = profiles.alt_of(found, size, sentences)
    legend = profiles.legend_of(found, lines)
    profiles.draw_profile(
        key="gradients_chart",
        data=profiles.profile(
            lines,
            legend,
            size=size,
            alt=alt,
            sample=sample,
            span=profiles.span_of([*lines, *profiles.lines_of(beside, state)]) if beside else None,
            source=f"{sample_of(found, pictures)}. {origin_of(state)}",
        ),
    )
    st.caption(circumstances(state, found, pictures))
    most = max(sum(line.panel == panel for line in lines) for panel in {line.panel for line in lines})
    if most > READABLE_LINES:
        st.caption(f"{most} lines are hard to tell apart; choose fewer, or point at a line to read its name.")
    offer()
    _numbers(state, found, pictures)


def _sentences(state: GradientsState, found: Sequence[MeasuredFlow], sample: str) -> list[str]:
    """What each group of networks shows."""
    sentences, is_grid = [], state.source == "initial"
    for group in (groups := flow_measurements.groups(found, is_grid)):
        said = findings(group, state.what, sample)
        of = setting([each.spec for each in group], initialisation=is_grid) if len(groups) > 1 else ""
        sentences.append(f"{capital(of)}: {' '.join(said)}" if of else " ".join(said))
    return sentences


@dataclass(frozen=True, eq=False)
class FlowView:
    """Measured networks as a view of the page shows them: `heading` names it in a report, `pictures` the batch,
    `origin` the trainings."""

    heading: str
    state: GradientsState
    found: Sequence[MeasuredFlow]
    pictures: str
    origin: str

    def chapter(self) -> Chapter:
        """Sentences, a chart for each panel, and the table."""
        state, found = self.state, self.found
        sample = {"initial": "seed", "checkpoint": "batch", "record": "run"}[state.source]
        size = profiles.what_is_measured(state.what, state.scale)
        about = f"{circumstances(state, found, self.pictures)} A gap is an exact 0, or no finite number. {self.origin}"
        panels: dict[str, list[SizeLine]] = {}
        for line in profiles.lines_of(found, state, "light"):
            lines, band = panels.setdefault(line.panel, []), line.band
            dash = DASHES[sum(other.series.colour == line.colour for other in lines) % len(DASHES)]
            values = (list(map(float, each)) for each in (band.depth, band.low, band.median, band.high))
            lines.append(SizeLine(Series(line.name, line.colour, dash), band.layers, *values))
        charts = [
            Chart(figures.size_chart(lines, size), f"{size}, {panel}" if panel else size, about)
            for panel, lines in panels.items()
        ]
        rows = numbers_of(found, state)
        table = Table([*rows[0]], [[str(cell) for cell in row.values()] for row in rows], texts=5)
        return Chapter(self.heading, [*_sentences(state, found, sample), *charts, table])


def _write(sentences: Sequence[str]) -> None:
    if lesson.hides("text"):
        return
    if len(sentences) == 1:
        st.markdown(f"**{as_text(sentences[0])}**")
        return
    bullets = [f"- {as_text(sentence)}" for sentence in sentences]
    st.markdown("\n".join(bullets[:SENTENCES]))
    if more := bullets[SENTENCES:]:
        with st.expander(f"{len(more)} more sentences, of the other networks"):
            st.markdown("\n".join(more))


def sample_of(found: Sequence[MeasuredFlow], pictures: str) -> str:
    """The n, the batch, the mode and the precision: `n = 3 seeds (0 to 2), 64 shapes, training mode, float32`."""
    counts = sorted({len(each.flows) for each in found})
    seeds = sorted({seed for each in found for seed in each.seeds if seed is not None})
    n = " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1]))))
    unit = "batch" if not seeds else "seed" if counts[-1] == 1 else "seeds"
    which = f" ({' to '.join(dict.fromkeys(map(str, (seeds[0], seeds[-1]))))})" if seeds else ""
    flows = [flow for each in found for flow in each.flows]
    modes, precisions = (
        " and ".join(sorted({getattr(flow, name) for flow in flows})) for name in ("mode", "precision")
    )
    return f"n = {n} {unit}{which}, {pictures}, {modes} mode, {precisions}"


def origin_of(state: GradientsState) -> str:
    """The data and seeds of the trainings of the view's networks; "" at initialisation."""
    if state.source == "initial":
        return ""
    step = state.step if state.source == "checkpoint" else None
    return source_text(network_registry.chosen_networks(state.networks, step))


def circumstances(state: GradientsState, found: Sequence[MeasuredFlow], pictures: str) -> str:
    """What the chart shows, of what, and how to read it."""
    shared = setting([each.spec for each in found], initialisation=state.source == "initial")
    said = [f"{capital(shared)}."] if shared else []
    said.append(f"{sample_of(found, pictures)}.")
    said.append(f"{capital(MEASURES[state.what])}, of the main path from the first layer to the last.")
    if any(len(each.flows) > 1 for each in found):
        said.append("The line is the median, the band reaches from smallest to largest.")
    said.append("Where it rises toward the first layer, a training step changes the first layers more than the last.")
    if state.scale == "relative":
        said.append("A size whose last layer has exactly 0 counts as not finite.")
    return " ".join(said)


def numbers_of(found: Sequence[MeasuredFlow], state: GradientsState) -> list[dict[str, Any]]:
    """The table: one row a network."""
    rows = []
    for each in found:
        sizes, extent, spec = band(each.flows, state.what), gradient_extent(each.flows, state.what), each.spec
        rows.append(
            {
                "network": each.name,
                **{name: label(name, getattr(spec, name)) for name in ("shortcut", "norm", "initialisation")},
                "activation": spec.activation_name,
                "n": extent.n,
                "first layer": f"{sizes.median[0]:.3g}",
                "last layer": f"{sizes.median[-1]:.3g}",
                "first / last": "" if extent.ratio is None else f"{extent.ratio:.3g}",
                "smallest to largest": extent.spread if extent.ratios else "",
                "layers": len(sizes.layers),
                "layers with an exact 0": int((sizes.zeros > 0).sum()),
                "layers with no finite number": int((sizes.not_finite > 0).sum()),
            }
        )
    return rows


def _numbers(state: GradientsState, found: list[MeasuredFlow], pictures: str) -> None:
    with st.expander("Table and CSV"):
        st.dataframe(numbers_of(found, state), hide_index=True, width="stretch")
        csv_button(state, lambda: flow_measurements.table(found, state.what, pictures))


def csv_button(state: GradientsState, data: Callable[[], str]) -> None:
    navigation.download_button(
        "All layers as CSV",
        data=data,
        file_name=f"gradients-{state.source}-{state.what}.csv",
        mime="text/csv",
        key="gradients_csv",
    )
