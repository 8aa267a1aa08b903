"""What a training on this machine comes to before it starts: the first proposal, and what would be enough."""

import math
import threading
import time
from dataclasses import replace
from functools import lru_cache

import streamlit as st

from explorer import runs
from explorer.architectures import ArchitectureSpec
from explorer.datasets import downloadable, shapes
from explorer.labels import duration
from explorer.machine import core_limit
from explorer.presets import PRESETS
from explorer.runs import speed as machine_speed
from explorer.training import Forecast, Speed, propose
from explorer.training import forecast as forecast_of
from explorer.training.proposal import LEAST_PASSES, RUNGS, Rung, one_click, sufficient_budget
from explorer.ui import dataset_access, navigation
from explorer.ui.build_state import QUICK_TRAINING, BuildState, blocks_a_stage, difference, regular_stages
from explorer.ui.services.caches import CACHES
from explorer.ui.services.training_rate import macs_a_second as macs_a_second
from explorer.ui.session import session

CLASSROOM = next(rung for rung in RUNGS if rung.depth == 38)  # what one click trains where the machine is slow
CIFAR_COUNTS = (50_000, 0, 10_000)  # of what is not downloaded yet
POLL_INTERVAL_S = 1.0
_measuring = threading.Lock()
_failed = (-math.inf, "")  # when the speed could not be measured, in seconds since 1970, and why


def speed() -> Speed | None:
    """How fast this machine trains, as it was measured last; None before the first measurement.

    Raises ValueError, one sentence, where it could not be measured in the last minute.
    """
    known = machine_speed.last_measured()
    failed_at, reason = _failed
    if known is None and time.time() - failed_at < machine_speed.FRESH_S:
        raise ValueError(reason)
    return known


def measure_beside() -> None:
    """Measures the speed beside the page, in some seconds, where it is not known, or is older than a minute and no run
    of this server trains. An attempt that failed is repeated after a minute."""
    known = machine_speed.last_measured()
    is_due = known is None or not machine_speed.is_fresh(known) and not runs.any_alive()
    if is_due and time.time() - _failed[0] > machine_speed.FRESH_S and _measuring.acquire(blocking=False):
        threading.Thread(target=_measure, daemon=True).start()


def is_measuring() -> bool:
    return _measuring.locked()


def _measure() -> None:
    global _failed
    try:
        machine_speed.measure()
    except ValueError as error:
        _failed = (time.time(), str(error))
    finally:
        _measuring.release()


def rerun_when_known(waiting: str) -> None:
    """Says `waiting` until the speed is known, or why it is not, and then runs the page again, which keeps its form."""
    st.fragment(_await_speed, run_every=POLL_INTERVAL_S)(waiting)


@navigation.error_boundary()
def _await_speed(waiting: str) -> None:
    try:
        is_known = speed() is not None
    except ValueError:
        is_known = True
    if is_known:
        st.rerun()
    st.caption(waiting)


def proposal() -> BuildState | None:
    """The form of what learns in a minute here, the same for the whole visit; None without a measured speed."""
    if session().proposal is None:
        try:
            measured = speed()
        except ValueError:
            return None
        session().proposal = form_of(propose(measured).rung) if measured else None
    return session().proposal


def first_form() -> BuildState:
    """The form of a visitor who has chosen nothing yet, the same for the whole visit: the proposal, or that of a
    classroom where the speed was not known at first."""
    form = session().first_form or proposal() or form_of(CLASSROOM)
    session().first_form = form
    return form


@lru_cache(CACHES["ui.forecasts.form_of"].entries)
def form_of(rung: Rung) -> BuildState:
    """The form that trains these twins in one click."""
    preset = f"resnet-{rung.depth}"
    state = BuildState(
        preset=preset if preset in PRESETS else "resnet-32",
        config=difference(one_click().to_dict(), QUICK_TRAINING),
        data=rung.drawn.key,
    )
    return state.with_spec(
        stages=regular_stages(rung.spec.stages[0].blocks, rung.width),
        stem={**state.spec_fields()["stem"], "channels": rung.width},
    )


def counts(data: str) -> tuple[int, int, int]:
    """Training, validation and test pictures of the `data` of a BuildState. Raises ValueError where it is damaged."""
    if drawn := shapes.named(data):
        return drawn.counts
    if data in downloadable.DOWNLOADABLE and not dataset_access.is_available(data) or data == "own":
        return CIFAR_COUNTS
    return dataset_access.summary(data).totals


def forecast(state: BuildState, specs: tuple[ArchitectureSpec, ...], measured: Speed) -> Forecast:
    """On a machine of that speed. Raises ValueError where the data is damaged."""
    return forecast_of(measured, specs, state.training(), counts(state.data))


def sentence(state: BuildState, specs: tuple[ArchitectureSpec, ...], found: Forecast) -> str:
    """How far the training of that form comes, or how long it takes, on this machine."""
    config = state.training()
    passes = f"{found.passes:,.0f}" if found.passes >= 10 else f"{found.passes:.2g}"
    steps = f"{found.steps:,} steps of {config.batch_size}{' for each network' if len(specs) > 1 else ''}"
    share = core_limit()
    limit = f" This app may use {share:.2g} of a core." if share < 1 else ""
    total = duration(found.seconds + found.measuring)
    if config.epochs:
        return f"About {total} on this machine with start and test: {steps}, {passes} passes through the data.{limit}"
    return (
        f"{duration(found.seconds)}: about {steps}, {passes} passes through the data, on this machine; {total} with "
        f"start and test.{limit}"
    )


def remedies(state: BuildState, found: Forecast, measured: Speed) -> dict[str, BuildState]:
    """What would be enough where the form's budget buys fewer than `LEAST_PASSES` passes: forms with fewer layers,
    smaller pictures, more minutes, by their labels; each suffices by itself."""

    def suffices(form: BuildState) -> bool:
        try:
            return forecast(form, specs_of(form), measured).passes >= LEAST_PASSES
        except ValueError:
            return False

    config, fields = state.training(), state.spec_fields()
    if found.passes >= LEAST_PASSES or config.epochs and config.epochs >= LEAST_PASSES:
        return {}
    if config.seconds is None:
        epochs = math.ceil(LEAST_PASSES)
        return {f"Train for {epochs} epochs": state.with_config(epochs=epochs)}
    changed: dict[str, BuildState] = {}
    for n in range((blocks_a_stage(fields) or 1) - 1, 0, -1):
        fewer = state.with_regular_stages(n, fields["stages"][0]["channels"])
        if suffices(fewer):
            changed[f"{specs_of(fewer)[0].depth} layers"] = fewer
            break
    drawn = shapes.named(state.data)
    if drawn and drawn.size > 16:
        smaller = replace(state, data=replace(drawn, size=16).key)
        if suffices(smaller):
            changed["16 pixels"] = smaller
    seconds = sufficient_budget(lambda budget: forecast(state.with_config(seconds=budget), specs_of(state), measured))
    if seconds is not None:
        changed[f"Train for {duration(seconds)}"] = state.with_config(seconds=seconds)
    return changed


def specs_of(state: BuildState) -> tuple[ArchitectureSpec, ...]:
    """The networks of the form. Raises ValueError where they cannot exist."""
    spec = state.network(*dataset_access.data_shape(state.data))
    try:
        return (spec, spec.twin()) if state.twin else (spec,)
    except ValueError:
        return (spec,)


def what_is_proposed(state: BuildState, found: Forecast) -> str:
    """Why the proposal is what it is; empty for any other form."""
    rung = next((rung for rung in RUNGS if form_of(rung) == state), None)
    if rung is None or state != proposal():
        return ""
    data = f"three shapes ({', '.join(rung.classes)}) at {rung.size} pixels"
    if found.passes < rung.passes:
        return f"This machine is slow now: this pair, on {data}, needs {rung.passes:g} passes through it to learn."
    return (
        "This is the deepest pair that learns in a minute on this machine. "
        f"It needs {rung.passes:g} passes through its data: {data}."
    )
