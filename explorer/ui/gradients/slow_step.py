"""One training step in slow motion on the page Gradients: its networks, its settings, its measurement, its drawing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st
import torch

from explorer import figures
from explorer.architectures import build
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.errors import user_message
from explorer.experiments import training_step as steps
from explorer.experiments import training_step_sentences as words
from explorer.experiments.stored_gradients import LabelledBatch, labels_for
from explorer.experiments.training_step import SHARES, TrainingStep
from explorer.figures import DASHES, Chart, Part, Series, SizeLine, Table
from explorer.labels import ACTIVATION_RMS, OPTIMIZERS, STEP_PHASES, STEP_WEIGHTS, stage_spans, stage_title
from explorer.numbers import finite
from explorer.training import network_input
from explorer.training.config import OFFERED
from explorer.ui import client, dataset_access, forecasts, lesson, network_registry, url_query
from explorer.ui.gradients import flow_measurements
from explorer.ui.gradients.slow_state import NUMBERS, PICTURES, SlowState
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.missing import NO_NETWORK
from explorer.ui.network_text import source_text
from explorer.ui.parts import draw_table
from explorer.ui.question import Plan, offer, show_limits, take_home
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import ChosenNetwork
from explorer.ui.session import session
from explorer.ui.viewer import place
from explorer.ui.widgets.bound import bound, choice

TITLE = "One training step in slow motion"
METHOD = (
    "A training repeats one step thousands of times. Images go forward, and their loss comes out. Its gradient goes "
    "back layer by layer, and the optimiser changes every weight. Here is one step of the networks of the bar, piece "
    "by piece, on the same images."
)
USUAL = 16  # images
PICTURE_PX = 48
DIGITS = 4
GRADIENT, RATIO = "Weight gradient (L2 norm)", "Update / weights (L2 norms)"
_component = place("slow", "<div class='slow'></div>", ("training.css", "gradients.css", "slow.css"), "gradients.js")


@dataclass(frozen=True, eq=False)
class _Known:
    """The networks that have taken their step, each with it, and the batch."""

    networks: Sequence[ChosenNetwork]
    steps: Sequence[TrainingStep]
    batch: LabelledBatch


def load_state() -> SlowState:
    return SlowState.from_query(url_query.read())


def update_state(**changes: Any) -> None:
    """Puts the step with these changes into the URL; the link asks for it only after it was asked for."""
    state = replace(load_state(), **{"slow_take": False, "slow_at": 0} | changes)
    query = url_query.read()
    rest = {name: text for name, text in query.items() if name not in SlowState.within(query)}
    url_query.write(rest | state.to_query())


def show(step: int | None = None) -> None:
    """The section, with what its link asks for; a sentence where there is no network or no data. The networks are as
    they were after `step` steps of their training, None for what they became."""
    st.subheader(TITLE, anchor=False)
    lesson.explain(METHOD)
    if not network_registry.network_names():
        st.info(NO_NETWORK)
        return
    try:
        _show(load_state(), step)
    except (CheckpointError, ValueError) as error:  # damaged files, or data that cannot be read
        st.error(as_sentence(user_message(error)))


def _show(state: SlowState, step: int | None) -> None:
    pair = AppState.from_query(session().pair)
    names = [name for name in network_registry.pair(pair.first, pair.second) if name]
    network_registry.load_visibly(names)
    # Initial weights are those of no step.
    networks = network_registry.chosen_networks(names, step if state.slow == "trained" else None)
    if networks[0].checkpoint.spec.input_shape != networks[-1].checkpoint.spec.input_shape:
        st.info("The two networks take images of different sizes, so no batch fits both. The second one is left out.")
        networks = networks[:1]
    about = networks[0].checkpoint
    data = dataset_access.labelled_data(about.spec, about.class_names)
    if not data:
        st.info(
            "A training step needs labelled images of the network's classes, and none are here. Bring some on Build & "
            "train, in the tab Data, or choose another network in the bar."
        )
        return
    name = min(data, key=lambda each: each != dataset_access.data_key(about.data))
    whole = flow_measurements.batch(name, about.spec.input_shape[1])
    n = min(state.slow_pictures or USUAL, len(whole.labels))
    if not lesson.hides("controls"):
        _choose(state, n, len(whole.labels))
    batch = LabelledBatch(whole.images[:n], whole.labels[:n], f"{n} of {whole.words}", whole.class_names)
    plan = _plan(state, networks, batch, name)
    known: _Known | None = plan.known
    offer(plan, "slow", state.slow_take, lambda: update_state(slow_take=True))
    if known:
        for sentence in _sentences(known):
            lesson.explain(f"- {as_text(sentence)}")
        _component(key="slow", data=_drawn(state, known, plan), on_at_change=_move)
        if not lesson.hides("numbers"):
            with st.expander("The numbers, layer by layer"):
                draw_table(_table(known))
    show_limits(steps.LIMITS)
    if known:
        take_home(TITLE, METHOD, steps.LIMITS, plan, plan.answer(known), "training-step", "slow")


def _move() -> None:
    """The address follows the browser, which may send anything."""
    at = st.session_state["slow"]["at"]
    try:
        update_state(slow_at=at, slow_take=load_state().slow_take)
    except (ValueError, TypeError):
        return


# --- settings ---------------------------------------------------------------------------------------------------------


def _choose(state: SlowState, n: int, most: int) -> None:
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        choice(state, "slow", "From", STEP_WEIGHTS, prefix="step", change=update_state)
        choice(state, "slow_optimizer", "Optimiser", OPTIMIZERS, prefix="step", change=_change_optimizer)
        _number(state, "slow_rate", "Learning rate", 0.01)
        if state.slow_optimizer == "sgd":
            _number(state, "slow_momentum", "Momentum", 0.05)
        _number(state, "slow_decay", "Weight decay", 1e-4)
        _number(state, "slow_clip", "Clipping (0 = off)", 0.5)
        bound(
            st.selectbox,
            "Images",
            sorted({n, *(count for count in PICTURES if count <= most)}),
            key="step_pictures",
            value=n,
            write=lambda count: update_state(slow_pictures=count),
            width=100,
        )
        if state.slow == "initial":
            bound(
                st.number_input,
                "Seed",
                0,
                2**31,
                key="step_seed",
                value=state.slow_seed,
                write=lambda seed: update_state(slow_seed=int(seed)),
                help="Decides the initial weights; twins have the same.",
                width=120,
            )
    if state.slow_optimizer == "sgd" and state.slow_momentum:
        bound(
            st.toggle,
            "Nesterov's momentum",
            key="step_nesterov",
            value=state.slow_nesterov,
            write=lambda chosen: update_state(slow_nesterov=chosen),
        )


def _number(state: SlowState, name: str, title: str, step: float) -> None:
    low, high = OFFERED[NUMBERS[name]]
    bound(
        st.number_input,
        title,
        low,
        high,
        key=f"step_{name}",
        value=state.rate if name == "slow_rate" else getattr(state, name),
        write=lambda value: update_state(**{name: float(value)}),
        format="%g",
        step=step,
        width=150,
    )


def _change_optimizer(slow_optimizer: Any) -> None:
    """Each with its usual rate: Adam's steps are as large as its rate, whatever the gradient."""
    update_state(slow_optimizer=slow_optimizer, slow_rate=None)


# --- the measurement --------------------------------------------------------------------------------------------------


def _plan(state: SlowState, networks: Sequence[ChosenNetwork], batch: LabelledBatch, data: str) -> Plan:
    n = len(batch.labels)
    config = state.config(n)
    weights = f"initial/{state.slow_seed}" if state.slow == "initial" else "trained"
    settings = "/".join(map(str, config.to_dict().values()))
    keys = {each.name: f"slow/{each.name}/{weights}/{data}/{n}/{settings}" for each in networks}
    found = {name: step for name, key in keys.items() if (step := session().results.find(key)) is not None}
    missing = [each for each in networks if each.name not in found]
    there = [each for each in networks if each.name in found]

    def work() -> Iterator[tuple[float, Any]]:
        yield 0.0, None
        for index, each in enumerate(missing):
            for share, step in steps.training_step(*_start(state, each.checkpoint, batch), config):
                if step is not None:
                    session().results.put(keys[each.name], step)
                yield min(0.999, (index + share) / len(missing)), None
        yield 1.0, True

    whose = f"initial weights of seed {state.slow_seed}" if state.slow == "initial" else "the networks as they are"
    known = _Known(there, [found[each.name] for each in there], batch) if there else None
    return Plan(
        key="/".join(keys.values()),
        cost=f"{len(SHARES) + 2} passes of {n} images through {len(missing)} network{'s' * (len(missing) != 1)}",
        seconds=sum(steps.macs(each.checkpoint.spec, n) for each in missing) / 3 / forecasts.macs_a_second()
        + 0.2 * len(missing),
        work=work,
        known=known,
        answer=_parts,
        rows=_rows,
        source=f"{batch.words}, {whose}, training mode, float32; n = 1 step. {source_text(networks)}",
    )


def _start(state: SlowState, checkpoint: Checkpoint, batch: LabelledBatch) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """The network before the step, and the batch as it takes it."""
    network = build(checkpoint.spec, state.slow_seed) if state.slow == "initial" else checkpoint.network
    images = network_input(batch.images, checkpoint.mean, checkpoint.std, network.device)
    return network, images, torch.from_numpy(labels_for(checkpoint, batch).astype(np.int64))


# --- the answer -------------------------------------------------------------------------------------------------------


def _sentences(known: _Known) -> list[str]:
    titles = [each.title for each in known.networks]
    said = [text for title, step in zip(titles, known.steps, strict=True) for text in words.findings(title, step)]
    return [*said, *filter(None, [words.way_back(titles, known.steps)])]


def _drawn(state: SlowState, known: _Known, plan: Plan) -> dict[str, Any]:
    """`SlowData` in types.d.ts."""
    batch = known.batch
    first = known.steps[0]
    return {
        "key": plan.key,
        "at": state.slow_at,
        "source": plan.source,
        "phases": STEP_PHASES,
        "lanes": [ACTIVATION_RMS, GRADIENT, RATIO],
        "decades": [_decades([getattr(step, name) for step in known.steps]) for name in _LANES],
        "pictures": [
            figures.data_uri(figures.fit_to_screen(pixels, PICTURE_PX)) for pixels in batch.images.transpose(0, 2, 3, 1)
        ],
        "labels": [batch.class_names[label] for label in batch.labels],
        "shares": list(SHARES),
        "rule": words.rule(first.config),
        "settings": [words.settings(step) for step in known.steps],
        "networks": [
            {
                "title": each.title,
                "colour": each.colour,
                "dashed": each.dashed,
                "layers": list(step.layers),
                "stages": [[stage_title(step.layers[start]), start, end] for start, end in stage_spans(step.layers)],
                "lanes": [finite(getattr(step, name), DIGITS) for name in _LANES],
                "losses": finite(step.losses, DIGITS),
                "after": finite(step.new_losses, DIGITS),
                "path": finite(step.path, 6),
                "predicted": finite(step.predicted, 6),
                "norm": finite(step.norm, DIGITS),
                "worked": [words.worked(step, place) for place in range(len(step.layers))],
                "finding": " ".join(words.findings(each.title, step)),
            }
            for each, step in zip(known.networks, known.steps, strict=True)
        ],
    }


_LANES = ("activations", "gradients", "ratios")


def _decades(sizes: Sequence[np.ndarray]) -> list[int]:
    return list(figures.enclosing_decades(sizes))


_COLUMNS = ("network", "layer", "activation", "|w|", "|g|", "|Δw|", "|Δw| / |w|", "g·Δw")


def _lines(known: _Known) -> Iterator[tuple[str, str, list[float | None]]]:
    """The network, the layer and its numbers; of all other parameters the last one alone."""
    for each, step in zip(known.networks, known.steps, strict=True):
        numbers = (step.activations, step.weights, step.gradients, step.updates, step.ratios, step.changes)
        for layer, *row in zip(step.layers, *(of.tolist() for of in numbers), strict=True):
            yield each.title, layer, row
        yield each.title, "biases and norms", [None, None, None, None, None, step.rest]


def _table(known: _Known) -> Table:
    cells = [
        [title, layer, *("" if each is None else words.number(each) for each in row)]
        for title, layer, row in _lines(known)
    ]
    return Table(list(_COLUMNS), cells, 2)


def _rows(known: _Known) -> list[list[str]]:
    rows = [["network", "layer", "activation_rms", "weight", "gradient", "update", "update_to_weight", "first_order"]]
    for title, layer, row in _lines(known):
        rows.append([title, layer, *("" if each is None else f"{each:.9g}" for each in row)])
    for each, step in zip(known.networks, known.steps, strict=True):
        rows.append([each.title, "loss before, after, predicted and measured change"])
        rows[-1] += [f"{value:.9g}" for value in (step.loss, step.new_loss, step.predicted, step.measured)] + ["", ""]
    return rows


def _parts(known: _Known) -> list[Part]:
    """For the report: the sentences, the rule, the charts and the table."""
    series = [
        Series(each.title, figures.network_colour(each.checkpoint.spec.shortcut, client.theme()), DASHES[each.dashed])
        for each in known.networks
    ]
    first = known.steps[0]
    told = words.settings_of([each.title for each in known.networks], known.steps)
    rule = "; ".join([*words.rule(first.config), *told])
    charts = []
    for title, name in zip((ACTIVATION_RMS, GRADIENT, RATIO), _LANES, strict=True):
        lines = []
        for of, step in zip(series, known.steps, strict=True):
            sizes = getattr(step, name).tolist()
            depths = np.linspace(0, 1, len(sizes)).tolist()
            lines.append(SizeLine(of, step.layers, depths, sizes, sizes, sizes))
        charts.append(Chart(figures.size_chart(lines, title), title, "Layer by layer, shortcuts with weights too."))
    path = [(of, step.path.tolist(), step.predicted) for of, step in zip(series, known.steps, strict=True)]
    charts.append(
        Chart(
            figures.update_chart(path, SHARES),
            "The loss along the update",
            "Dotted: what the gradient predicts at the start.",
        )
    )
    return [*_sentences(known), f"The rule: {rule}.", *charts, _table(known)]
