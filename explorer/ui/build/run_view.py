"""A run on the page: its progress, its result, and the earlier runs of the user."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import streamlit as st

from explorer import runs
from explorer.architectures import ArchitectureSpec
from explorer.architectures.words import variant_words
from explorer.datasets import shapes
from explorer.datasets.downloadable import DOWNLOADABLE
from explorer.errors import user_message
from explorer.figures import Chapter, Details, Part, Table
from explorer.labels import OPTIMIZERS, run_state
from explorer.runs import Request, Run, RunLog, Status
from explorer.training import TrainingConfig
from explorer.training.dials import describe_changes
from explorer.ui import client, navigation, network_registry
from explorer.ui.build import classes, dials, training_charts, widgets
from explorer.ui.build_state import BuildState, canonical
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.network_text import balanced_accuracy_text
from explorer.ui.services.explore_state import AppState
from explorer.ui.widgets.callback_errors import report_errors, show_error

POLL_INTERVAL_S = 1.0


def show_run(state: BuildState, run_id: str) -> None:
    run = runs.find(run_id)
    if run is None:
        st.info("This run is not on this server: it was deleted, or the link is of another machine.")
        st.button("Build a network", on_click=widgets.update_state, kwargs={"run": None})
        return
    try:
        request = _request(run)
    except ValueError as error:
        st.error(as_sentence(user_message(error)))
        return
    status = runs.status(run)
    title, names = run.title(), " and ".join(request.names)
    st.header(as_text(title) if title else names, anchor=False)
    st.caption((f"{names} · " if title else "") + _settings(request))
    _buttons(state, run, request, status)
    # In a container, so that both fragments keep their places, by which Streamlit knows them, when the run ends: the
    # browser may ask for one of them once more just then.
    with st.container():
        if status.state == "finished":
            _result(run, status.log)
    goes_on = _goes_on(status)
    every = POLL_INTERVAL_S if goes_on else None
    st.fragment(dials.follow, run_every=every)(run, request, request.owner == client.owner())
    st.fragment(_follow, run_every=every)(run, request, goes_on)


def _goes_on(status: Status) -> bool:
    return status.state in ("queued", "running")


def _request(run: Run) -> Request:
    """The run's request with a complete config. Raises ValueError where it is damaged."""
    request = run.request()
    try:
        config = TrainingConfig.from_dict(request.config).to_dict()
        ArchitectureSpec.from_dict(request.specs[0])
    except ValueError as error:
        raise ValueError(f"The request of this run is damaged; start a new one. ({error})") from None
    texts = (request.data.get("kind"), *request.names)
    if len(request.names) != len(request.specs) or not all(isinstance(text, str) for text in texts):
        raise ValueError("The request of this run is damaged; start a new one.")
    return replace(request, config=config)


def _settings(request: Request) -> str:
    config = request.config
    budget = f"{config['epochs']} epochs" if config["epochs"] else f"{config['seconds']:g} s"
    made = time.strftime("%d %b, %H:%M", time.localtime(request.created))
    return (
        f"{made} · {_data(request.data)} · {budget} · {OPTIMIZERS[config['optimizer']]}, rate "
        f"{config['learning_rate']:g}, batch {config['batch_size']}"
        f"{', class weights' if config['class_weights'] else ''} · seed {config['seed']}"
        + "".join(f" · {word}" for word in variant_words(ArchitectureSpec.from_dict(request.specs[0])))
    )


def _source(request: Request, log: RunLog) -> str:
    """What stands below a saved picture of the run."""
    n = (log.start or {}).get("train_images")
    return f"{' and '.join(request.names)}: {_settings(request)}." + (f" n = {n:,} training images." if n else "")


def _data(data: Mapping[str, Any]) -> str:
    """The title of a run's data; of the shapes the size and classes, as far as its request names them."""
    kind = data["kind"]
    if kind == "stored":
        return "your own images"
    if kind != "shapes":
        return DOWNLOADABLE[kind].title if kind in DOWNLOADABLE else as_text(kind)
    try:
        drawn = shapes.Drawn.requested(data)
    except ValueError:
        return f"shapes, {as_text(str(data.get('size')))} pixels"
    some = f": {', '.join(drawn.classes)}" if drawn.classes != shapes.CLASS_NAMES else ""
    return f"shapes, {drawn.size} pixels{some}"


def _buttons(state: BuildState, run: Run, request: Request, status: Status) -> None:
    mine = request.owner == client.owner()
    with st.container(horizontal=True, vertical_alignment="center"):
        if mine and _goes_on(status):
            stops = run.stop_mark.exists()
            st.button("Stopping" if stops else "Stop", key="stop", on_click=runs.stop, args=(run,), disabled=stops)
        elif mine and status.state != "finished":
            st.button("Resume", key="resume", type="primary", on_click=_resume, args=(run,))
        st.button("New training with these settings", key="again", on_click=_again, args=(state, request))
        if status.log.progress:
            names = " and ".join(request.names)
            stem = f"training-{'-'.join(request.names)}-{run.id[:8]}"
            navigation.report_button(f"Training of {names}", lambda: _chapters(run, request), stem, "run-report")
    show_error()


def _chapters(run: Run, request: Request) -> list[Chapter]:
    """The run for a report: its results, its settings, and its charts as far as it has come."""
    status = runs.status(run)
    log, networks = status.log, training_charts.networks_of(request.names, request.specs, "light")
    ended: list[dict[str, Any]] = log.end["networks"] if log.end and status.state == "finished" else []
    results: list[Part] = [
        runs.summary(log) if ended else f"This training has no result: it is {run_state(status.state)}."
    ]
    if ended:
        rows = [
            [
                each["title"],
                f"{each['test']['accuracy']:.2%}",
                f"{each['test']['n']:,}",
                f"{each['steps']:,}",
                each["outcome"],
            ]
            for each in ended
        ]
        results.append(Table(["network", "test accuracy", "n", "steps", "outcome"], rows))
    settings = training_charts.settings_table({"data": _data(request.data), **request.config})
    specs = [
        Details(f"Spec of {name}", json.dumps(spec, indent=2))
        for name, spec in zip(request.names, request.specs, strict=True)
    ]
    return [
        Chapter("Results", results),
        Chapter("Settings", [_settings(request), settings, *_turned(log), *specs]),
        *training_charts.chapters(log, networks, _source(request, log)),
    ]


def _turned(log: RunLog) -> list[str]:
    """The dials that were turned, for a report."""
    changes = training_charts.turned_dials(log)
    return [describe_changes(changes, len(changes))] if changes else []


def _resume(run: Run) -> None:
    with report_errors("The run cannot go on"):
        runs.resume(run)


def _again(state: BuildState, request: Request) -> None:
    chosen = {name: value for name, value in request.specs[0].items() if name not in ("input_shape", "classes")}
    wanted = replace(state, run=None, twin=len(request.specs) > 1, data=_data_of(request) or state.data)
    wanted = replace(wanted, grey=request.specs[0]["input_shape"][0] == 1)
    widgets.save_state(wanted.with_spec(**chosen).with_config(**request.config))


def _data_of(request: Request) -> str | None:
    """The run's data as the `data` of a BuildState, None where its request is damaged."""
    kind = request.data["kind"]
    try:
        if kind == "shapes":
            return shapes.Drawn.requested(request.data).key
        return canonical(f"stored-{request.data.get('number')}" if kind == "stored" else kind)
    except ValueError:
        return None


@navigation.error_boundary()  # a fragment runs alone too, and its errors do not reach the boundary of the page
def _follow(run: Run, request: Request, went_on: bool) -> None:
    """All that changes during the run: a fragment, which runs every second then."""
    status = runs.status(run)
    if went_on != _goes_on(status):
        st.rerun()
    log = status.log
    _progress(status)
    if not log.progress:
        return
    networks = training_charts.networks_of(request.names, request.specs, client.theme())
    source = _source(request, log)
    training_charts.draw(training_charts.training_curves(log, networks), "training_curves", source)
    st.caption(training_charts.CURVES)
    pictures = np.load(run.samples) if log.start and run.samples.exists() else None
    if log.cams and pictures is not None:
        training_charts.draw(training_charts.cams(log.cams[-1:], log, pictures, networks), "cams", source)
    if maps := training_charts.gradient_maps(log, networks):
        st.markdown(
            "**Gradient map**: how large the gradient of each layer's weights is, at steps 0, 1, 2, 3, 4, 6, 8, …"
        )
        training_charts.draw(maps, "gradient_maps", source)
    if log.predictions and pictures is not None:
        part = training_charts.predictions(log.predictions[-1:], log, pictures, networks)
        training_charts.draw(part, "predictions", source)


def _progress(status: Status) -> None:
    log, phase = status.log, status.log.phase or {}
    last = log.progress[-1] if log.progress else None
    saved = f"It was at step {last['step']:,}. " if last else ""
    match status.state:
        case "queued":
            st.info(f"Queued, {status.queue_position} ahead. It starts by itself; this page may be closed meanwhile.")
        case "running" if phase.get("phase") == "downloading":
            share = min(1.0, phase["done"] / max(1, phase["total"]))
            st.progress(share, text=f"Downloading, {phase['done'] / 1e6:,.0f} of {phase['total'] / 1e6:,.0f} MB")
        case "running" if last and phase.get("phase") == "training":
            left = int(last["seconds"] * (1 - last["fraction"]) / max(last["fraction"], 1e-3))
            st.progress(
                last["fraction"],
                text=f"Epoch {last['epoch'] + 1}, step {last['step']:,} · {last['images_per_second']:,.0f} images/s · "
                f"{left // 60}:{left % 60:02} left",
            )
        case "running":
            st.progress(last["fraction"] if last else 0.0, text=str(phase.get("phase", "starting")).capitalize())
        case "failed":
            st.error(as_sentence(log.end["message"] if log.end else ""))
        case "stopped":
            st.warning(as_sentence(f"Stopped. {saved}Resume continues where it was."))
        case "interrupted":
            ended = "The training ended unexpectedly: its process was killed, or the machine was switched off."
            st.warning(as_sentence(f"{ended} {saved}Resume continues from the last saved state."))


def _result(run: Run, log: RunLog) -> None:
    st.markdown(as_sentence(runs.summary(log)))
    networks: list[dict[str, Any]] = log.end["networks"] if log.end else []
    names = [f"run-{run.id}-{network['name']}" for network in networks]
    with st.container(horizontal=True):
        if st.button(
            "Explore them side by side" if len(names) > 1 else "Explore it", key="explore_run", type="primary"
        ):
            picture = network_registry.sample_for(names[0])
            view = AppState(first=names[0], second=names[1] if len(names) > 1 else None, picture=picture)
            navigation.switch_page("explore", view.to_query())
        for network in networks:
            navigation.download_button(
                f"Download {network['title']}",
                data=run.network_file(network["name"]).read_bytes,
                file_name=f"{network['name']}.safetensors",
                mime="application/octet-stream",
                key=f"download_{network['name']}",
                help="The weights, with the spec, the settings and all figures in the file's header.",
            )
    recomputed = runs.recomputed(networks)
    if recomputed:
        st.caption(as_sentence(recomputed))
    classes.show_classes((log.start or {}).get("class_names"), networks)


def show_earlier_runs(state: BuildState) -> None:
    """The last runs of this user; deleting one takes a confirmation."""
    show_error()
    earlier = [run for run in runs.list_runs(client.owner())[: network_registry.RECENT_RUNS + 1] if run.id != state.run]
    if not earlier:
        return
    st.subheader("Your earlier runs", anchor=False)
    for run in earlier[: network_registry.RECENT_RUNS]:
        status = runs.status(run)
        try:
            request = _request(run)
            known_as, settings = " and ".join(request.names), _settings(request)
        except ValueError as error:
            known_as, settings = "A damaged run", as_sentence(user_message(error))
        name, words, end = st.columns([5, 12, 5], vertical_alignment="center")
        name.button(
            as_text(run.title() or known_as),
            key=f"open_{run.id}",
            on_click=widgets.update_state,
            kwargs={"run": run.id, "replay": None},
            width="stretch",
        )
        if not _goes_on(status) and st.session_state.get("deleting") == run.id:
            words.markdown("Delete this run with its networks?")
            with end.container(horizontal=True, horizontal_alignment="right"):
                st.button("Yes, delete", key=f"yes_{run.id}", type="primary", on_click=_delete, args=(run,))
                st.button("Keep", key=f"keep_{run.id}", on_click=lambda: st.session_state.pop("deleting", None))
            continue
        words.markdown(f"{run_state(status.state)}{_accuracies(status.log)} · {settings}")
        if not _goes_on(status):
            with end.container(horizontal=True, horizontal_alignment="right"):
                confirm = partial(st.session_state.update, deleting=run.id)
                st.button("Delete", key=f"delete_{run.id}", on_click=confirm)


def _accuracies(log: RunLog) -> str:
    networks = (log.end or {}).get("networks", ())
    return "".join(
        f" · {as_text(network['title'])} {network['test']['accuracy']:.1%}{balanced_accuracy_text(network['test'])}"
        for network in networks
    )


def _delete(run: Run) -> None:
    st.session_state.pop("deleting", None)
    with report_errors("the run cannot be deleted", "try again"):
        runs.delete(run)
