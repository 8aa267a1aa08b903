"""The question of the loss surface: its form, its cost, what is kept of it, and its start."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.errors import user_message
from explorer.experiments import loss_surface, surface_runs
from explorer.experiments.loss_surface import SurfaceSettings, sentences, stored
from explorer.experiments.loss_surface.measurement import check_statistics
from explorer.experiments.loss_surface.path import FEWEST_STEPS
from explorer.experiments.loss_surface.placed import norms
from explorer.experiments.loss_surface.settings import MOST_POINTS, REACH, Normalisation
from explorer.experiments.surface_runs import AskedSurface, NetworkFacts, SurfaceRun
from explorer.ui import client, dataset_access, forecasts, lesson, measured_images, network_registry, user_models
from explorer.ui.experiments import controls, surface_view
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.images import choose_images, images_of
from explorer.ui.experiments.question import AskedNetwork
from explorer.ui.experiments.state import REACHES, ExperimentsState
from explorer.ui.experiments.surface_answer import ShownSurface, answer, choose_view, take_home
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.network_text import source_text
from explorer.ui.parts import draw
from explorer.ui.question import show_limits
from explorer.ui.widgets.bound import bound, choice
from explorer.ui.widgets.callback_errors import report_errors, show_error

TITLE = "What does the loss look like around a network?"
METHOD = (
    "All weights are moved along one random direction, or two, and the loss is measured at every point. Twins move "
    "along the same random numbers. BatchNorm's statistics stay as they were in training, or are measured at each "
    "point anew."
)
ALONG = {"1": "one direction", "2": "two directions"}
DIRECTIONS = {"filter": "filter-normalised", "none": "raw", "path": "of the training's path"}
SWITCH = {"frozen": "frozen", "recomputed": "recomputed", "both": "both"}
CURVED = {"none": "no", "centre": "at the centre", "places": "at several places"}
PLACES = {1: 9, 2: 3}  # a side of a surface along one direction, and over two
MOST_LISTED = 12  # earlier surfaces


def show(state: ExperimentsState) -> None:
    """The surface of the URL, or the form of a new one with what is kept of it."""
    st.subheader(TITLE, anchor=False)
    lesson.explain(METHOD)
    if state.surface:
        surface_view.show(state)
        return
    show_error()
    networks = controls.asked_networks(state)
    network_registry.load_visibly(each.name for each in networks)
    usual = stored.USUAL[int(state.along)].n
    if not lesson.hides("controls"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            choose_images(state, networks, usual)
            controls.choose_others(state, networks)
        _choose(state)
    controls.show_changes(None, False)
    found = images_of(state, networks, usual)
    if found is not None:
        try:
            _offer(state, networks, *found)
        except ValueError as error:
            st.error(as_sentence(user_message(error)))
    _definitions()
    _earlier()


def settings_of(state: ExperimentsState, n: int) -> list[SurfaceSettings]:
    """Those of the form, one for each kind of statistics. Raises ValueError for impossible ones."""
    dimensions = int(state.along)
    usual = stored.USUAL[dimensions]
    curvature = {"": None, "none": 0, "centre": 1, "places": PLACES[dimensions]}[state.curvature]
    made = stored.usual(
        dimensions,
        "none" if state.directions == "none" else "filter",
        axes="path" if state.directions == "path" else "random",
        points=state.points or usual.points,
        reach=float(state.reach) if state.reach else None,
        n=n,
        seed=state.seed,
        curvature=curvature,
    )
    kinds = stored.STATISTICS if state.statistics == "both" else (state.statistics,)
    return [replace(made, statistics=kind) for kind in kinds]


def _choose(state: ExperimentsState) -> None:
    usual = stored.USUAL[int(state.along)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        _switch(state, "statistics", "BatchNorm's statistics", SWITCH)
        _switch(state, "along", "Along", ALONG)
        _switch(state, "directions", "Directions", DIRECTIONS)
    with st.expander("Points, range, seed and curvature"), st.container(horizontal=True, vertical_alignment="bottom"):
        most = MOST_POINTS[usual.dimensions]
        bound(
            st.number_input, "Points a side", 3, most, step=2, key="surface_points", width=140,
            value=min(most, state.points or usual.points), write=lambda points: update_state(points=int(points) | 1),
            help="Odd, so that the network itself is one of them.",
        )  # fmt: skip
        kind: Normalisation = "none" if state.directions == "none" else "filter"
        if state.directions != "path":
            bound(
                st.number_input, "From −x to x", *REACHES, step=0.05, format="%g", key="surface_reach", width=140,
                value=float(state.reach or REACH[kind]),
                write=lambda reach: update_state(reach=f"{reach:.4f}".rstrip("0").rstrip(".")),
            )  # fmt: skip
            bound(
                st.number_input, "Seed", 0, 100_000, key="surface_seed", value=state.seed, width=120,
                write=lambda seed: update_state(seed=int(seed)), help="Decides the random directions.",
            )  # fmt: skip
        shown = state.curvature or ("centre" if usual.curvature else "none")
        bound(
            st.segmented_control, "Eigenvalues of the Hessian", list(CURVED), key="surface_curvature", value=shown,
            write=lambda name: update_state(curvature=name), format_func=CURVED.__getitem__, required=True,
        )  # fmt: skip


def _switch(state: ExperimentsState, field: str, label: str, words: dict[str, str]) -> None:
    also: dict[str, dict[str, Any]] = {"along": {"points": None, "n": None}, "directions": {"reach": ""}}
    changes = also.get(field, {})
    choice(
        state, field, label, words, prefix="surface", change=lambda **chosen: update_state(**changes, **chosen)
    )  # fmt: skip


def _offer(state: ExperimentsState, networks: Sequence[AskedNetwork], data: str, n: int) -> None:
    """What is kept of the surfaces that the form describes, and the button that measures the rest, with its cost."""
    wanted = [(each, settings) for settings in settings_of(state, n) for each in networks]
    for each, settings in wanted:
        check_statistics(each.chosen.checkpoint.spec, settings, bool(norms(each.chosen.checkpoint.network)))
    facts = [_facts(each) for each in networks]
    steps = {each.name: stored.steps_of(of.run) for each, of in zip(networks, facts, strict=True)}
    without = [of.title for of in facts if steps[of.name] < FEWEST_STEPS]
    if state.directions == "path" and without:
        raise ValueError(
            f"weights of fewer than {FEWEST_STEPS} steps of {without[0]}'s training were kept, so its path gives no "
            "directions. Train it on Build & train with snapshots of the weights, or choose random directions."
        )
    keys = [_key(each, settings, data) for each, settings in wanted]
    known = [stored.load(key) if key else None for key in keys]
    source = (
        f"{n:,} training and {n:,} test images of {dataset_access.data_title(data)}, seed {state.seed} of the "
        f"directions. {source_text([each.chosen for each in networks])}"
    )
    shown = [
        ShownSurface(each.chosen.title, each.series.colour, each.chosen.checkpoint.spec.classes, found)
        for (each, _), found in zip(wanted, known, strict=True)
        if found is not None
    ]
    missing = [entry for entry, found in zip(wanted, known, strict=True) if found is None]
    if missing:
        expected = loss_surface.cost(
            [(each.chosen.checkpoint.spec, settings) for each, settings in missing],
            forecasts.macs_a_second(),
            [steps[each.name] for each, _ in missing],
        )
        st.markdown(as_sentence(f"{_count(len(missing))} to measure: {expected.sentence}"))
        try:
            expected.check()
        except ValueError as error:  # what is kept is shown all the same
            st.error(as_sentence(user_message(error)))
        else:
            st.button(
                "Measure", key="surface_start", type="primary", on_click=_start,
                args=(networks, facts, wanted, keys, data, n, source),
            )  # fmt: skip
    else:
        st.caption(as_text(f"{_count(len(shown))} kept: measured before, on these images with these weights."))
    if shown:
        choose_view(state, shown)
        parts = answer(shown, state)
        draw(parts, f"surface-{state.along}", source)
        take_home(shown, state, TITLE, source, "loss-surface")


def _count(number: int) -> str:
    return f"{number} surface{'s' * (number != 1)}"


def _key(each: AskedNetwork, settings: SurfaceSettings, data: str) -> str:
    """The key of the kept surface; "" where it may not be kept, or has a path, which belongs to its run."""
    if data.startswith("stored-") or _has_path(_facts(each)) or not measured_images.data_is_here(data):
        return ""
    owned = network_registry.digests_of_owner([each.name])
    if owned is None:
        return ""
    owner, (digest,) = owned
    return stored.key(digest, measured_images.content(data), settings, owner)


def _facts(each: AskedNetwork) -> NetworkFacts:
    spec = each.chosen.checkpoint.spec
    trained = user_models.RUN_NETWORK_ID.fullmatch(each.name)
    run, file = trained.groups() if trained else ("", "")
    return NetworkFacts(each.chosen.title, each.name, spec.shortcut, spec.classes, run, file)


def _has_path(facts: NetworkFacts) -> bool:
    return stored.steps_of(facts.run) > 1


def _start(
    networks: Sequence[AskedNetwork],
    facts: Sequence[NetworkFacts],
    wanted: Sequence[tuple[AskedNetwork, SurfaceSettings]],
    keys: Sequence[str],
    data: str,
    n: int,
    source: str,
) -> None:
    with report_errors("The surface cannot be kept"):
        places = {each.name: number for number, each in enumerate(networks)}
        _, class_names = dataset_access.test_split(data)
        settings = wanted[0][1]
        kinds = {SWITCH[own.statistics]: None for _, own in wanted}
        run = surface_runs.create(
            f"{' and '.join(each.chosen.title for each in networks)}, {ALONG[str(settings.dimensions)]}, "
            f"{' and '.join(kinds)} statistics",
            source,
            [(of, each.chosen.checkpoint) for of, each in zip(facts, networks, strict=True)],
            dataset_access.train_and_test(data, n),
            class_names,
            [
                AskedSurface(places[each.name], own, key)
                for (each, own), key in zip(wanted, keys, strict=True)
            ],
            client.owner(),
        )  # fmt: skip
        try:
            surface_runs.start(run)
        except ValueError:
            surface_runs.delete(run)  # nothing has begun, and the form is still there
            raise
        update_state(surface=run.id)


def _definitions() -> None:
    if not lesson.hides("text"):
        with st.expander("What the numbers mean"):
            st.markdown("\n".join(f"- {as_text(each)}" for each in sentences.DEFINITIONS))
    show_limits(sentences.LIMITS)


def _earlier() -> None:
    """The last surfaces of this user."""
    mine = surface_runs.list_surfaces(client.owner())[:MOST_LISTED]
    if not mine or lesson.hides("controls"):
        return
    st.markdown("**Your surfaces**")
    for run in mine:
        try:
            found = surface_runs.progress(run)
            label = f"{run.request()['title']} · {found.state}" + (f" {found.share:.0%}" if found.share < 1 else "")
        except ValueError:  # damaged, or deleted meanwhile in another tab
            if run.request_file.exists():
                st.button(
                    "A damaged surface · Delete", key=f"surface_{run.id}", on_click=_delete_damaged, args=(run,)
                )  # fmt: skip
            continue
        st.button(as_text(label), key=f"surface_{run.id}", on_click=update_state, kwargs={"surface": run.id})


def _delete_damaged(run: SurfaceRun) -> None:
    with report_errors("The surface cannot be deleted"):
        surface_runs.delete(run)
