"""A recorded training on the page: it plays in the browser, with no training on this machine."""

from dataclasses import replace
from typing import Any

import streamlit as st

from explorer import recordings, runs
from explorer.errors import user_message
from explorer.figures import Chapter
from explorer.recordings import Recording
from explorer.runs.log import parsed
from explorer.ui import client, forecasts, navigation, network_registry
from explorer.ui.build import training_charts, widgets
from explorer.ui.build_state import RECORDINGS, BuildState
from explorer.ui.markdown import as_sentence
from explorer.ui.services.caches import CACHES
from explorer.ui.services.explore_state import AppState
from explorer.ui.viewer import place

_component = place("replay", "<div class='replay'></div>", ("training.css", "picture_tools.css"), "training.js")


def offer_replay() -> None:
    """A button for each recorded training that is here."""
    try:
        found = recordings.names()
    except ValueError:  # Explore says what is damaged
        return
    for name in found:
        if name in RECORDINGS:
            st.button(
                f"Watch {RECORDINGS[name]}",
                key=f"replay_{name}",
                icon=":material/play_circle:",
                on_click=widgets.update_state,
                kwargs={"replay": name},
                help="A recorded training. It plays in 20 seconds, or step by step. Nothing is trained for it.",
            )


def show_replay(name: str) -> None:
    st.header(f"A recorded training: {RECORDINGS[name]}", anchor=False)
    try:
        recording = recordings.load(name)
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        _back()
        return
    st.caption(_circumstances(recording))
    with st.container(horizontal=True):
        first, second = (network["shipped"] for network in recording.facts["networks"])
        if st.button("Explore these two networks", key="explore_recorded", type="primary"):
            navigation.switch_page("explore", AppState(first=first, second=second).to_query())
        _back()
        navigation.report_button(
            f"Recorded training: {RECORDINGS[name]}", lambda: _chapters(recording), f"training-{name}", "replay-report"
        )
    st.markdown(
        "Both start from the same weights and see the same images in the same order. The gradient map shows them "
        "apart from step 0 on, the accuracy only later."
    )
    _component(key="replay", data=parts(name, client.theme()))
    st.caption(f"{training_charts.CURVES} The gradient map has the steps 0, 1, 2, 3, 4, 6, 8, … of the training.")
    st.markdown(ending(recording))


def _chapters(recording: Recording) -> list[Chapter]:
    """The whole training for a report."""
    log, request = parsed(recording.metrics), recording.request
    networks = training_charts.networks_of(request["names"], request["specs"], "light")
    return [
        Chapter("Results", [ending(recording)]),
        Chapter("Settings", [_circumstances(recording), training_charts.settings_table(request["config"])]),
        *training_charts.chapters(log, networks, _circumstances(recording)),
    ]


def _back() -> None:
    st.button("Build a network", key="back", on_click=_leave)


def _leave() -> None:
    """To the form as it was; to the first form where a link named the recording and nothing else."""
    form = replace(widgets.load_state(), replay=None)
    widgets.save_state(forecasts.first_form() if form == BuildState() else form)


@st.cache_resource(max_entries=CACHES["ui.build.replay.parts"].entries, show_spinner=False)
def parts(name: str, theme: str) -> dict[str, Any]:
    """All that the browser draws, of the whole training: it shows each part up to the step that it has come to."""
    recording = recordings.load(name)
    log, pictures = parsed(recording.metrics), recording.samples
    networks = training_charts.networks_of(recording.request["names"], recording.request["specs"], theme)
    curves = training_charts.training_curves(log, networks)
    drawn = {
        "curves": curves,
        "map": training_charts.gradient_maps(log, networks),
        "cams": training_charts.cams(log.cams, log, pictures, networks),
        "predictions": training_charts.predictions(log.predictions, log, pictures, networks),
    }
    source = f"{' and '.join(name for name, _ in networks)}. {_circumstances(recording)}"
    return {"last": curves["last"], **{kind: part and {**part, "source": source} for kind, part in drawn.items()}}


def _circumstances(recording: Recording) -> str:
    facts, config = recording.facts, recording.request["config"]
    return (
        f"Recorded once: {facts['steps']:,} steps, {config['epochs']} epochs of the shapes, seed {facts['seed']}, on "
        f"{facts['device']} in {facts['precision']}."
    )


def ending(recording: Recording) -> str:
    """The result of the training beside that of the networks that come with the app."""
    networks = recording.facts["networks"]
    summary = runs.summary(parsed(recording.metrics))
    if all(network["same_weights"] for network in networks):
        return f"{summary} These are the networks that come with the app, bit for bit."
    known = [network_registry.read_header(network["shipped"]) for network in networks]
    shipped = " and ".join(f"{header.spec.name} {header.metrics['test']['accuracy']:.1%}" for header in known)
    return (
        f"{summary} The networks that come with the app have the same recipe and the same seed, but other weights. "
        f"They were trained on {known[0].record['device']} in {known[0].record['precision']}, where rounding differs "
        f"from the first step on. Their test accuracies: {shipped}."
    )
