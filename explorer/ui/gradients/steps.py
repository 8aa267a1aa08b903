"""The steps that a training recorded: the browser draws each of them, without a run of the page."""

from collections.abc import Mapping
from typing import Any

import streamlit as st

from explorer.experiments.gradient_summary import findings
from explorer.numbers import finite
from explorer.ui.gradients import controls, flow_measurements, profiles
from explorer.ui.gradients.flow_measurements import RecordedFlow
from explorer.ui.gradients.flow_view import csv_button, numbers_of, origin_of
from explorer.ui.gradients.profiles import ProfileLine
from explorer.ui.gradients.state import GradientsState
from explorer.ui.viewer import place

_component = place("steps", "<div class='steps'></div>", profiles.STYLES, "gradients.js")


def show_steps(state: GradientsState, records: Mapping[str, RecordedFlow], steps: list[int]) -> None:
    """`steps` are those that all of `records` have, at least one."""
    found = [flow_measurements.measured_records(records, step) for step in steps]
    lines = [profiles.lines_of(each, state) for each in found]
    size = profiles.what_is_measured("weights", state.scale)
    alt = profiles.alt_of(found[0], f"{size} at {len(steps)} recorded steps", [])
    chart = profiles.profile(
        lines[0],
        [],
        size=size,
        alt=alt,
        sample="run",
        span=profiles.span_of([line for each in lines for line in each]),
        source=f"n = 1 run each, {words_for(records)}. {origin_of(state)}",
    )
    chart["lost"] = any(bool(line.band.not_finite.any()) for each in lines for line in each)
    _component(
        key="steps",
        data={
            "networks": " ".join(records),
            "steps": steps,
            "step": max((step for step in steps if step <= (state.step or 0)), default=steps[0]),
            "chart": chart,
            "sizes": [[finite(line.band.median, profiles.DIGITS) for line in each] for each in lines],
            "sentences": [" ".join(findings(each, sample="run")) for each in found],
            "curves": _accuracies(records, lines[0]),
        },
        on_step_change=_move,
    )
    with st.expander("Table and CSV"):
        rows = [
            {"step": step} | row for step, each in zip(steps, found, strict=True) for row in numbers_of(each, state)
        ]
        st.dataframe(rows, hide_index=True, width="stretch")
        pictures = words_for(records)
        csv_button(state, lambda: flow_measurements.record_table(dict(zip(steps, found, strict=True)), pictures))


def words_for(records: Mapping[str, RecordedFlow]) -> str:
    """The batch that the gradients of a step are of."""
    sizes = sorted({str(each.batch_size) for each in records.values() if each.batch_size})
    return f"the training batch of that step{', ' + ' and '.join(sizes) + ' images' if sizes else ''}"


def _accuracies(records: Mapping[str, RecordedFlow], lines: list[ProfileLine]) -> dict[str, Any] | None:
    """Accuracy over steps, as the browser draws the curves of a training; None where none was recorded."""
    drawn: list[dict[str, Any]] = [
        {
            "name": f"{line.name}, {part}",
            "colour": line.colour,
            "dashed": part == "train" or line.dashed,
            "points": True,
            "x": [step for step, _ in values],
            "y": [accuracy for _, accuracy in values],
        }
        for line, record in zip(lines, records.values(), strict=True)
        for part, values in record.accuracies.items()
        if values
    ]
    if not drawn:
        return None
    return {
        "kind": "curves",
        "about": "Accuracy over training steps",
        "alt": "Accuracy over training steps.",
        "last": max(line["x"][-1] for line in drawn),
        "legend": [{name: line[name] for name in ("name", "colour", "dashed", "points")} for line in drawn],
        "panels": [{"title": "Accuracy", "percent": True, "lines": drawn}],
    }


def _move() -> None:
    """The address follows the browser, which may send anything."""
    step = st.session_state["steps"]["step"]
    try:
        controls.update_state(step=step)
    except ValueError:
        return


def records_of(state: GradientsState) -> dict[str, RecordedFlow]:
    """The records of the view's networks that have one."""
    return {name: found for name in state.networks if (found := flow_measurements.recorded(name)) is not None}
