"""The dials of a run on its page: its user turns them while it trains."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, NamedTuple

import streamlit as st

from explorer import runs
from explorer.labels import dial_text, listed
from explorer.runs import Request, Run, Status
from explorer.runs.dials import ask, changes_of, pending, reached, why_not
from explorer.training import TrainingConfig
from explorer.training.config import OFFERED
from explorer.training.dials import DialChange, DialField, describe_changes, dials_at
from explorer.ui import navigation
from explorer.ui.markdown import as_sentence
from explorer.ui.widgets.callback_errors import report_errors, show_error

SHOWN = 5  # steps of the history; the report has them all on its charts
WIDTH_PX = 147  # two beside each other on a phone


class Dial(NamedTuple):
    """A dial as a number field: what stands above it, its limits, and what one press of a key adds."""

    title: str
    limits: tuple[float, float]
    step: float
    help: str


DIALS: dict[DialField, Dial] = {
    "rate_factor": Dial(
        "Learning rate ×",
        (0.0, 100.0),
        0.1,
        "A factor on the learning rate that the schedule has at each step. The schedule itself goes on as it was.",
    ),
    "weight_decay": Dial("Weight decay", OFFERED["weight_decay"], 1e-4, "The L2 penalty of the weights."),
    "clip": Dial(
        "Clipping (0 = off)", OFFERED["clip"], 0.5, "The largest allowed norm of the gradients of all weights together."
    ),
    "label_smoothing": Dial(
        "Label smoothing",
        OFFERED["label_smoothing"],
        0.05,
        "The share of each label that is spread over all classes. The training loss of both networks changes with it.",
    ),
}


@navigation.error_boundary()  # a fragment runs alone too, and its errors do not reach the boundary of the page
def follow(run: Run, request: Request, mine: bool) -> None:
    """The dials of a run, and how they were turned: a fragment of its own, so that the charts stay as they are."""
    status = runs.status(run)
    if status.state not in ("queued", "running"):
        _show_turned(run, status)
        return
    changes, at = changes_of(status.log), reached(status.log)
    turned = [change for change in changes if change.step <= at]
    if mine:
        reason = why_not(run, status)
        wanted = pending(run, status.log)
        config = TrainingConfig.from_dict(request.config)
        now: Mapping[DialField, float | None] = asdict(dials_at(config, changes, at))  # type: ignore[assignment]
        st.markdown("**Change it while it trains**")
        if reason:
            st.caption(as_sentence(reason))
        if not run.study_mark.exists():
            with st.container(horizontal=True, gap="small"):
                for field in DIALS:
                    with st.container(width=WIDTH_PX, gap="xxsmall"):
                        _dial(run, field, {**now, **wanted}[field], bool(reason))
                        st.caption(_since(field, now[field], turned, wanted))
            both = ", on both networks" if len(request.specs) > 1 else ""
            st.caption(
                f"A dial acts from the next step on{both}. The learning rate is that of the schedule times its dial. "
                "The log keeps each change, and a resumed run repeats it at its step."
            )
        show_error()
    _history(turned)
    ahead = [change for change in changes if change.step > at]
    if ahead:
        steps = listed([f"{dial_text(each.field, each.new)} from step {each.step:,} on" for each in ahead])
        st.caption(f"The run was resumed and repeats its changes: {steps}.")


def _show_turned(run: Run, status: Status) -> None:
    """The dials that were turned in a run that has ended, and what came too late."""
    turned = [change for change in changes_of(status.log) if change.step <= reached(status.log)]
    _history(turned)
    if turned:
        st.caption("A new training with these settings begins with the dials as they were at the start.")
    if wanted := pending(run, status.log):
        values = listed([dial_text(field, value) for field, value in wanted.items()])
        late = status.state == "finished"
        st.caption(
            f"Asked for after the last step, and without effect: {values}."
            if late
            else f"Asked for and not used yet: {values}. It acts once the run is resumed."
        )


def _history(turned: list[DialChange]) -> None:
    if turned:
        st.caption(describe_changes(turned, SHOWN))


def _dial(run: Run, field: DialField, value: float | None, disabled: bool) -> None:
    """The field shows `value` until its user types another one, and again when somebody else has turned it."""
    dial, key, shown = DIALS[field], f"dial_{field}_{run.id}", value or 0.0
    if key not in st.session_state or st.session_state.get(f"{key}_shown") != shown:
        st.session_state[key] = st.session_state[f"{key}_shown"] = shown
    low, high = dial.limits
    st.number_input(
        dial.title,
        min(low, shown),
        max(high, shown),  # a link may have brought more than the form offers
        step=dial.step,
        format="%g",
        key=key,
        help=dial.help,
        disabled=disabled,
        on_change=_turn,
        args=(run, field, key),
    )


def _turn(run: Run, field: DialField, key: str) -> None:
    value: Any = st.session_state[key]
    st.session_state.pop(f"{key}_shown", None)  # whatever comes of it, the field then shows what is so
    with report_errors("the dial cannot be turned"):
        ask(run, {field: None if field == "clip" and not value else value})


def _since(
    field: DialField, value: float | None, turned: list[DialChange], wanted: Mapping[DialField, float | None]
) -> str:
    """Since when the dial has its value."""
    if field in wanted:
        return "asked for; acts from the next step on"
    last = next((change for change in reversed(turned) if change.field == field), None)
    if last is None:
        return f"{_number(field, value)} from the start"
    return f"{_number(field, value)} since step {last.step:,}, was {_number(field, last.old)}"


def _number(field: DialField, value: float | None) -> str:
    factor = "×\u00a0" if field == "rate_factor" else ""  # a space that keeps them in one line
    return "off" if value is None else f"{factor}{value:.4g}"
