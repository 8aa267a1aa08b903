"""A run on the page: how it stands while it trains, what came of it, and the runs before it."""

import functools
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from explorer import figures, runs
from explorer.datasets import shapes
from explorer.datasets.downloadable import DOWNLOADABLE
from explorer.errors import user_message
from explorer.labels import OPTIMIZERS
from explorer.runs import Request, Run, RunLog, Status
from explorer.training import TrainingConfig
from explorer.ui import client, navigation, network_registry
from explorer.ui.build import classes, fields, live, logged
from explorer.ui.build_state import BuildState, canonical
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.network_text import balanced_accuracy_text
from explorer.ui.services.explore_state import AppState

LOOK_EVERY = 1.0  # seconds between two looks at a run
WORDS = {
    "queued": "waiting",
    "running": "training",
    "finished": "finished",
    "stopped": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
}


def show_run(state: BuildState, run_id: str) -> None:
    run = runs.find(run_id)
    if run is None:
        st.info("This run is not on this server: it was deleted, or the link is of another machine.")
        st.button("Build a network", on_click=lambda: fields.write(replace(fields.read(), run=None)))
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
    going_on = status.state in ("queued", "running")
    if status.state == "finished":
        _result(run, status.log)
    st.fragment(_followed, run_every=LOOK_EVERY if going_on else None)(run, request, going_on)


def _request(run: Run) -> Request:
    """With every field of a config, whatever the file lacks. Raises ValueError where it is damaged."""
    request = run.request()
    try:
        config = TrainingConfig.from_dict(request.config).to_dict()
    except ValueError as error:
        raise ValueError(f"The request of this run is damaged; start a new one. ({error})") from None
    kind, names = request.data.get("kind"), request.names
    if (
        not isinstance(kind, str)
        or len(names) != len(request.specs)
        or not all(isinstance(each, str) for each in names)
    ):
        raise ValueError("The request of this run is damaged; start a new one.")
    return replace(request, config=config)


def _settings(request: Request) -> str:
    config, data = request.config, request.data
    names = {"shapes": _shapes(data), "stored": "your own pictures"}
    what = (names | {name: each.title for name, each in DOWNLOADABLE.items()}).get(data["kind"]) or as_text(
        data["kind"]
    )
    budget = f"{config['epochs']} epochs" if config["epochs"] else f"{config['seconds']:g} s"
    made = time.strftime("%d %b, %H:%M", time.localtime(request.created))
    return (
        f"{made} · {what} · {budget} · {OPTIMIZERS[config['optimizer']]}, rate {config['learning_rate']:g}, batch "
        f"{config['batch_size']}{', class weights' if config['class_weights'] else ''} · seed {config['seed']}"
    )


def _shapes(data: Mapping[str, Any]) -> str:
    """The size and classes of a run's shapes, as far as its request names some."""
    try:
        drawn = shapes.Drawn.requested(data)
    except ValueError:
        return f"shapes, {as_text(str(data.get('size')))} pixels"
    some = f": {', '.join(drawn.classes)}" if drawn.classes != shapes.CLASS_NAMES else ""
    return f"shapes, {drawn.size} pixels{some}"


def _buttons(state: BuildState, run: Run, request: Request, status: Status) -> None:
    mine = request.owner == client.owner()
    with st.container(horizontal=True, vertical_alignment="center"):
        if mine and status.state in ("queued", "running"):
            asked = run.stop_mark.exists()
            st.button("Stopping" if asked else "Stop", key="stop", on_click=runs.stop, args=(run,), disabled=asked)
        if mine and status.state in ("stopped", "failed", "interrupted"):
            st.button("Resume", key="resume", type="primary", on_click=_resume, args=(run,))
        st.button("New training with these settings", key="again", on_click=_again, args=(state, request))
    _say_what_failed()


def _say_what_failed() -> None:
    if "run_error" in st.session_state:
        st.error(as_sentence(st.session_state.pop("run_error")))


def _resume(run: Run) -> None:
    try:
        runs.resume(run)
    except OSError as error:
        st.session_state["run_error"] = f"The run cannot go on ({error.strerror}); free some space on the disk."
    except ValueError as error:
        st.session_state["run_error"] = user_message(error)


def _again(state: BuildState, request: Request) -> None:
    chosen = {name: value for name, value in request.specs[0].items() if name not in ("input_shape", "classes")}
    wanted = replace(state, run=None, twin=len(request.specs) > 1, data=_data_of(request) or state.data)
    fields.write(wanted.with_spec(**chosen).with_config(**request.config))


def _data_of(request: Request) -> str | None:
    """The `data` of a BuildState for what the run trains on, None where its request is damaged."""
    kind = request.data["kind"]
    try:
        if kind == "shapes":
            return shapes.Drawn.requested(request.data).key
        return canonical(f"stored-{request.data.get('number')}" if kind == "stored" else kind)
    except ValueError:
        return None


def _followed(run: Run, request: Request, was_going_on: bool) -> None:
    with navigation.error_boundary():  # it runs alone too, and what goes wrong there does not reach the page's own
        _follow(run, request, was_going_on)


def _follow(run: Run, request: Request, was_going_on: bool) -> None:
    """What changes while the run goes on; drawn anew every second then."""
    status = runs.status(run)
    if was_going_on != (status.state in ("queued", "running")):
        st.rerun()
    log = status.log
    _standing(status)
    if not log.progress:
        return
    looks = [
        (name, figures.network_colour(spec["shortcut"], client.theme()))
        for name, spec in zip(request.names, request.specs, strict=True)
    ]
    live.draw(logged.curves(log, looks), "training_curves")
    st.caption(
        "Lines are means over the training batches since the last report, dots the validation pictures after each "
        "epoch."
    )
    samples = logged.samples(log, np.load(run.samples)) if log.start and run.samples.exists() else None
    if log.cams and samples:
        live.draw(live.cams(log.cams[-1:], samples, looks), "cams")
    if maps := logged.gradients(log, looks):
        st.markdown(
            "**Gradient map**: how large the gradient of each layer's weights is, at steps 0, 1, 2, 3, 4, 6, 8, …"
        )
        live.draw(maps, "gradient_maps")
    if log.predictions and samples:
        live.draw(live.predictions(log.predictions[-1:], samples, looks), "predictions")


def _standing(status: Status) -> None:
    log, last = status.log, status.log.progress[-1] if status.log.progress else None
    phase = log.phase or {}
    if status.state == "queued":
        st.info(f"Queued, {status.queue_position} ahead. It starts by itself; this page may be closed meanwhile.")
    elif status.state == "running" and phase.get("phase") == "downloading":
        share = min(1.0, phase["done"] / max(1, phase["total"]))
        st.progress(share, text=f"Downloading, {phase['done'] / 1e6:,.0f} of {phase['total'] / 1e6:,.0f} MB")
    elif status.state == "running" and (last is None or phase.get("phase") != "training"):
        st.progress(last["fraction"] if last else 0.0, text=f"{phase.get('phase', 'starting')}".capitalize())
    elif status.state == "running" and last is not None:
        left = last["seconds"] * (1 - last["fraction"]) / max(last["fraction"], 1e-3)
        st.progress(
            last["fraction"],
            text=f"Epoch {last['epoch'] + 1}, step {last['step']:,} · {last['images_per_second']:,.0f} images/s · "
            f"{int(left) // 60}:{int(left) % 60:02} left",
        )
    elif status.state in ("failed", "stopped", "interrupted"):
        saved = f"It was at step {last['step']:,}. " if last else ""
        words = {
            "failed": log.end["message"] if log.end else "",
            "stopped": f"Stopped. {saved}Resume continues where it was.",
            "interrupted": f"The training ended without a word: it was killed, or the machine was switched off. {saved}"
            "Resume continues from the last saved state.",
        }
        (st.error if status.state == "failed" else st.warning)(as_sentence(words[status.state]))


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
    """The last runs of this person; deleting one asks once."""
    _say_what_failed()
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
            on_click=lambda run=run: fields.write(replace(fields.read(), run=run.id, replay=None)),
            width="stretch",
        )
        if status.state not in ("queued", "running") and st.session_state.get("deleting") == run.id:
            words.markdown("Delete this run with its networks?")
            with end.container(horizontal=True, horizontal_alignment="right"):
                st.button("Yes, delete", key=f"yes_{run.id}", type="primary", on_click=_really_delete, args=(run,))
                st.button("Keep", key=f"keep_{run.id}", on_click=lambda: st.session_state.pop("deleting", None))
            continue
        words.markdown(f"{WORDS[status.state]}{_accuracies(status.log)} · {settings}")
        if status.state not in ("queued", "running"):
            with end.container(horizontal=True, horizontal_alignment="right"):
                ask = functools.partial(st.session_state.update, deleting=run.id)
                st.button("Delete", key=f"delete_{run.id}", on_click=ask)


def _accuracies(log: RunLog) -> str:
    networks = (log.end or {}).get("networks", ())
    return "".join(
        f" · {as_text(network['title'])} {network['test']['accuracy']:.1%}{balanced_accuracy_text(network['test'])}"
        for network in networks
    )


def _really_delete(run: Run) -> None:
    st.session_state.pop("deleting", None)
    try:
        runs.delete(run)
    except ValueError as error:
        st.session_state["run_error"] = user_message(error)
