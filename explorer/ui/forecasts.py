"""What a training on this machine comes to before it starts: the first proposal, and what would be enough."""

import math
import threading
from dataclasses import dataclass, replace

import streamlit as st

from explorer import runs
from explorer.architectures import ArchitectureSpec
from explorer.datasets import downloadable, shapes
from explorer.machine import core_limit
from explorer.presets import PRESETS
from explorer.runs import speed as machine_speed
from explorer.training import Forecast, Speed, TrainingConfig, propose
from explorer.training import forecast as forecast_of
from explorer.training.proposal import LEAST_PASSES, RUNGS, Rung, one_click, sufficient_budget
from explorer.ui import trainings
from explorer.ui.build_state import QUICK, BuildState, blocks_a_stage, difference, regular_stages
from explorer.ui.session import session
from explorer.ui.widgets.long_task import duration

CLASSROOM = next(rung for rung in RUNGS if rung.depth == 38)  # what one click trains where the machine is slow
CIFAR_COUNTS = (50_000, 0, 10_000)  # of what is not downloaded yet
_measuring = threading.Lock()


def speed() -> Speed:
    """How fast this machine trains: measured at the first call, which takes some seconds, and again beside the page
    when the last measurement is older than a minute and no run of this server trains.

    Raises ValueError, one sentence, where it cannot be measured; it is tried again after a minute.
    """
    kept = machine_speed.last_measured()
    if kept is None:
        with _measuring, st.spinner("Measuring how fast this machine trains, once, for some seconds"):
            return machine_speed.last_measured() or _measure()
    if not machine_speed.is_fresh(kept) and not _measuring.locked() and not runs.any_alive():
        threading.Thread(target=_measure_again, daemon=True).start()
    return kept


def _measure() -> Speed:
    for reason in _failures():
        raise ValueError(reason)
    try:
        return machine_speed.measure()
    except ValueError as error:
        _failures.clear()  # its minute begins now
        _failures().append(str(error))
        raise


@st.cache_resource(ttl=machine_speed.FRESH_S, show_spinner=False)
def _failures() -> list[str]:
    """Why the speed could not be measured, for a minute: it is not tried again at each run of the page."""
    return []


def _measure_again() -> None:
    if _measuring.acquire(blocking=False):
        try:
            machine_speed.measure()
        except ValueError:
            pass  # the last measurement stays
        finally:
            _measuring.release()


def first_form() -> BuildState:
    """The form of a visitor who has chosen nothing yet, the same for the whole visit: what learns in a minute here."""
    form = session().first_form
    if form is None:
        try:
            form = form_of(propose(speed()).rung)
        except ValueError:
            form = form_of(CLASSROOM)
        session().first_form = form
    return form


def form_of(rung: Rung) -> BuildState:
    """The form that trains these twins in one click."""
    config = one_click().to_dict()
    preset = f"resnet-{rung.depth}"
    state = BuildState(
        preset=preset if preset in PRESETS else "resnet-32", config=difference(config, QUICK), data=rung.drawn.key
    )
    return state.with_spec(
        stages=regular_stages(rung.spec.stages[0].blocks, rung.width),
        stem={**state.spec_fields()["stem"], "channels": rung.width},
    )


def counts(data: str) -> tuple[int, int, int]:
    """Training, validation and test pictures of the `data` of a BuildState. Raises ValueError where it is damaged."""
    drawn = shapes.named(data)
    if drawn:
        return drawn.counts
    if data in downloadable.DOWNLOADABLE and not trainings.is_ready(data) or data == "own":
        return CIFAR_COUNTS
    totals = [sum(row[index] for row in trainings.card(data).counts) for index in range(3)]
    return totals[0], totals[1], totals[2]


def forecast(state: BuildState, specs: tuple[ArchitectureSpec, ...], measured: Speed) -> Forecast:
    """On a machine of that speed. Raises ValueError where the data is damaged."""
    return forecast_of(measured, specs, state.training(), counts(state.data))


def sentence(state: BuildState, specs: tuple[ArchitectureSpec, ...], found: Forecast) -> str:
    """How far the training of that form comes, or how long it takes, on this machine."""
    config = state.training()
    passes = f"{found.passes:,.0f}" if found.passes >= 10 else f"{found.passes:.2g}"
    each = " for each network" if len(specs) > 1 else ""
    share = core_limit()
    limit = f" This app may use {share:.2g} of a core." if share < 1 else ""
    total = duration(found.seconds + found.measuring)
    if config.epochs:
        return (
            f"About {total} on this machine with start and test: {found.steps:,} steps of {config.batch_size}{each}, "
            f"{passes} passes through the data.{limit}"
        )
    return (
        f"{duration(found.seconds)}: about {found.steps:,} steps of {config.batch_size}{each}, {passes} passes through "
        f"the data, on this machine; {total} with start and test.{limit}"
    )


@dataclass(frozen=True)
class Remedy:
    """One change of the form after which the budget buys enough passes."""

    label: str
    form: BuildState


def remedies(state: BuildState, found: Forecast, measured: Speed) -> list[Remedy]:
    """What would be enough where the form's budget buys fewer than `LEAST_PASSES` passes: fewer layers, smaller
    pictures, more minutes; each that suffices by itself."""
    config = state.training()
    if found.passes >= LEAST_PASSES or config.epochs and config.epochs >= LEAST_PASSES:
        return []
    if config.seconds is None:
        epochs = math.ceil(LEAST_PASSES)
        return [Remedy(f"Train for {epochs} epochs", state.with_config(epochs=epochs))]
    changed: list[Remedy] = []
    fields = state.spec_fields()
    width = fields["stages"][0]["channels"]
    blocks = blocks_a_stage(fields)
    if blocks is not None:
        for n in range(blocks - 1, 0, -1):
            fewer = state.with_spec(stages=regular_stages(n, width))
            depth = _depth(fewer)
            if depth and _passes(fewer, measured) >= LEAST_PASSES:
                changed.append(Remedy(f"{depth} layers", fewer))
                break
    drawn = shapes.named(state.data)
    if drawn and drawn.size > 16:
        smaller = replace(state, data=replace(drawn, size=16).key)
        if _passes(smaller, measured) >= LEAST_PASSES:
            changed.append(Remedy("16 pixels", smaller))
    seconds = sufficient_budget(lambda budget: _forecast_for(state, budget, measured))
    if seconds is not None:
        changed.append(
            Remedy(f"Train for {duration(seconds).replace('.0 h', ' h')}", state.with_config(seconds=seconds))
        )
    return changed


def _specs(state: BuildState) -> tuple[ArchitectureSpec, ...]:
    """The networks of the form. Raises ValueError where they cannot exist."""
    spec = state.network(*trainings.data_shape(state.data))
    try:
        return (spec, spec.twin()) if state.twin else (spec,)
    except ValueError:
        return (spec,)


def _depth(state: BuildState) -> int | None:
    try:
        return _specs(state)[0].depth
    except ValueError:
        return None


def _passes(state: BuildState, measured: Speed) -> float:
    try:
        return forecast(state, _specs(state), measured).passes
    except ValueError:
        return 0.0


def _forecast_for(state: BuildState, seconds: float, measured: Speed) -> Forecast:
    config: TrainingConfig = replace(state.training(), seconds=seconds)
    return forecast_of(measured, _specs(state), config, counts(state.data))


def what_is_proposed(state: BuildState, found: Forecast) -> str:
    """Why the first form is what it is, in one sentence; empty for any other form."""
    if state != first_form():
        return ""
    rung = _rung_of(state)
    if rung is None:
        return ""
    data = f"three shapes ({', '.join(rung.classes)}) at {rung.size} pixels"
    if found.passes < rung.passes:
        return f"This machine is slow now: this pair, on {data}, needs {rung.passes:g} passes through it to learn."
    return (
        f"A minute suffices for this one on this machine: the deepest pair for which it buys enough passes through the "
        f"data ({rung.passes:g}), on {data}."
    )


def _rung_of(state: BuildState) -> Rung | None:
    return next((rung for rung in RUNGS if form_of(rung) == state), None)
