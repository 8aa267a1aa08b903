"""A study on the page: its progress, what its runs say so far, and its files."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from explorer import figures, studies
from explorer.datasets import shapes
from explorer.figures import DASHES, Chapter, Chart, GradientMap, Part, Series, StudyLine, StudyPanel, Table
from explorer.files import csv_bytes
from explorer.intervals import Mean
from explorer.labels import run_state
from explorer.studies import EngineError, Result, Study, StudyFolder, StudyProgress, driver
from explorer.studies.analysis import (
    DEPTH,
    ERRORS,
    SHORTCUT,
    Analysis,
    Change,
    Difference,
    Errors,
    analyse,
    field_words,
    noun,
    place,
    rows,
)
from explorer.studies.local import default_places
from explorer.studies.ray_connection import check_wished
from explorer.studies.ready_made import (
    ABLATION,
    ABLATION_NOTE,
    IDENTITY_OF_ABLATION,
    PLAIN_OF_HE,
    PUBLISHED,
    PUBLISHED_PLAIN,
    READY_MADE,
    RESNETS_OF_HE,
)
from explorer.studies.study import PLAIN, words
from explorer.training import choose_device
from explorer.ui import client, lesson, navigation
from explorer.ui.experiments.controls import update_state
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.parts import draw
from explorer.ui.question import show_limits
from explorer.ui.session import session
from explorer.ui.widgets.callback_errors import report_errors, show_error

POLL_INTERVAL_S = 2.0
_DELETING = "deleting_study"
MOST_MAPS = 4  # gradient maps side by side
LIMITS = (
    "The intervals are of these networks, images and settings; a longer training may end otherwise.",
    "Each interval takes the seeds for independent and the errors for about normal, which few seeds cannot show.",
    "The training error is that of the last epoch's own batches, while the weights still changed.",
)
OF_THE_CLOCK = (
    "These runs end by the clock, so runs of one seed take different numbers of steps, as networks and machine allow. "
    "Differences between such runs are of equal time, not of equal training."
)


def show(study_id: str) -> None:
    """Raises ValueError where the study is damaged."""
    folder = studies.find(study_id)
    if folder is None:
        show_error()
        st.info("This study is not on this server: it was deleted, or the link is of another machine.")
        st.button("Build a study", key="study_new", on_click=update_state, kwargs={"study": ""})
        return
    study, found = folder.study(), studies.progress(folder)
    where = " · on Ray" if _is_on_ray(folder) else ""
    st.markdown(f"**{as_text(study.name)}** · {as_text(_settings(study))}{where}")
    show_error()
    if not lesson.hides("controls"):
        _buttons(folder, found)
    goes_on = _goes_on(folder, found)
    seen = (found.state, len(found.results), goes_on)
    st.fragment(_follow, run_every=POLL_INTERVAL_S if goes_on else None)(folder, seen)
    analysis = analyse(study, found.results)
    parts = answer(study, found, analysis, client.theme())
    draw(parts, f"study-{folder.id[:8]}", source(study))
    if found.results:
        _take_home(folder, study)
    _runs(found)
    show_limits(limits(study))


def source(study: Study) -> str:
    """What stands below a saved chart."""
    return f"{study.name} · {_settings(study)}."


def _settings(study: Study) -> str:
    axes = "; ".join(
        f"{field_words(axis.field)} {', '.join(words(axis.field, value) for value in axis.values)}"
        for axis in study.axes
    )
    seeds = f"{len(study.seeds)} seed{'s' * (len(study.seeds) != 1)}"
    config = study.config
    budget = (
        f"{config['epochs']} epoch{'s' * (config['epochs'] != 1)}"
        if config.get("epochs")
        else f"{config.get('seconds')} s"
    )
    training = f"{budget}, rate {config.get('learning_rate')}, batch {config.get('batch_size')}"
    return "; ".join([axes, *_pictures(study), seeds, training])


def _pictures(study: Study) -> list[str]:
    """What all runs train on; [] where an axis says it."""
    if {"data", "size"} & {axis.field for axis in study.axes}:
        return []
    if study.data["kind"] != "shapes":
        return [{"stored": "uploaded images"}.get(study.data["kind"], study.data["kind"])]
    drawn = shapes.Drawn.requested(study.data)
    return [f"drawn shapes of {len(drawn.classes)} kinds at {drawn.size} pixels"]


def limits(study: Study) -> tuple[str, ...]:
    """What its numbers cannot show."""
    axes = {axis.field for axis in study.axes}
    by_clock = "seconds" in axes or ("epochs" not in axes and study.config.get("seconds"))
    return (*LIMITS, OF_THE_CLOCK) if by_clock else LIMITS


def _goes_on(folder: StudyFolder, found: StudyProgress) -> bool:
    """Whether something may still change by itself. A paused study whose runs have ended has no process any more."""
    if found.state == "paused" and studies.is_driven(folder):
        return True
    return found.state in ("new", "running") or any(each.state in ("running", "queued") for each in found.trials)


def _buttons(folder: StudyFolder, found: StudyProgress) -> None:
    is_own, goes_on = folder.owner == client.owner(), _goes_on(folder, found)
    with st.container(horizontal=True):
        if is_own:
            driven = studies.is_driven(folder)
            stops = driven and folder.stop_mark.exists()
            if driven and found.state == "running" and not stops:
                st.button("Pause", key="study_pause", on_click=_reporting, args=(driver.pause, folder))
            if found.state not in ("new", "finished") and (driven or goes_on):
                st.button(
                    "Stopping" if stops else "Stop", key="study_stop", disabled=stops, on_click=_reporting,
                    args=(driver.stop, folder),
                )  # fmt: skip
            if found.state != "finished" and (not driven or found.state == "paused"):
                st.button("Resume", key="study_resume", type="primary", on_click=_resume, args=(folder,))
                if not driven and _is_on_ray(folder):
                    st.button("Resume on this machine", key="study_resume_here", on_click=_resume_here, args=(folder,))
        st.button("Build another study", key="study_new", on_click=update_state, kwargs={"study": ""})
        if is_own and (not goes_on or found.state == "new"):
            st.button("Delete", key="study_delete", on_click=lambda: st.session_state.update({_DELETING: folder.id}))
    if is_own and st.session_state.get(_DELETING) == folder.id:
        count = sum(each.state != "waiting" for each in found.trials)
        runs = f" with its {count} run{'s' * (count != 1)} and their networks" if count else ""
        st.markdown(f"Delete this study{runs}? Nothing else is removed.")
        with st.container(horizontal=True):
            st.button("Yes, delete", key="study_yes", type="primary", on_click=_delete, args=(folder,))
            st.button("Keep", key="study_keep", on_click=lambda: st.session_state.pop(_DELETING, None))


def check_engine(engine: str) -> None:
    """Raises ValueError, one sentence, where there is no such engine now. Starts nothing."""
    try:
        if engine == "ray":
            check_wished()
    except EngineError as error:
        raise ValueError(str(error)) from None


def _is_on_ray(folder: StudyFolder) -> bool:
    return folder.settings().get("engine") == "ray"


def _reporting(act: Callable[[StudyFolder], None], folder: StudyFolder) -> None:
    with report_errors("The study can be neither paused nor stopped"):
        act(folder)


def _resume(folder: StudyFolder) -> None:
    with report_errors("The study cannot go on"):
        check_engine("ray" if _is_on_ray(folder) else "local")
        driver.start(folder)


def _resume_here(folder: StudyFolder) -> None:
    with report_errors("The study cannot go on"):
        places = default_places(choose_device(folder.study().device).type)  # type: ignore[arg-type]
        driver.change_engine(folder, "local", places)
        driver.start(folder)


def _delete(folder: StudyFolder) -> None:
    st.session_state.pop(_DELETING, None)
    with report_errors("The study cannot be deleted", "try again"):
        driver.delete(folder)
        update_state(study="")


@navigation.error_boundary()
def _follow(folder: StudyFolder, seen: tuple[str, int, bool]) -> None:
    """The progress; the page runs again when a run or the study has ended, or the state has changed."""
    found = studies.progress(folder)
    if (found.state, len(found.results), _goes_on(folder, found)) != seen:
        st.rerun()
    done, total = found.count("finished"), len(found.trials)
    share = sum(each.fraction for each in found.trials) / max(1, total)
    going = [f"{each.trial.title} ({each.fraction:.0%})" for each in found.trials if each.state == "running"]
    now = f" · training: {'; '.join(going[:4])}" if going else ""
    if found.state != "finished":
        st.progress(min(1.0, share), text=as_text(f"{done} of {total} runs finished{now} · {found.state}"))
    if found.message:
        st.warning(as_sentence(found.message))


def _take_home(folder: StudyFolder, study: Study) -> None:
    stem = f"study-{folder.id[:8]}"

    def table() -> bytes:
        results = studies.progress(folder).results
        return csv_bytes(rows(study, results, analyse(study, results)))

    def chapters() -> Sequence[Chapter]:
        found = studies.progress(folder)
        parts = answer(study, found, analyse(study, found.results), "light")
        return [Chapter(study.name, [source(study), *parts, *limits(study)])]

    with st.container(horizontal=True):
        navigation.download_button(
            "Results (CSV)", data=table, file_name=f"{stem}.csv", mime="text/csv", key="study-csv"
        )  # fmt: skip
        navigation.report_button(study.name, chapters, stem, "study-report")


def _runs(found: StudyProgress) -> None:
    if lesson.hides("controls"):
        return
    with st.expander(f"The {len(found.trials)} runs"):
        lines = []
        for each in found.trials:
            text = as_text(f"{each.trial.title}: {run_state(each.state)}")
            known = each.state != "waiting" and "build" in session().pages
            link = f" · [open]({navigation.view_url('build', {'run': each.run_id})})" if known else ""
            lines.append(f"- {text}{link}" + (f" · {as_sentence(each.message)}" if each.message else ""))
        st.markdown("\n".join(lines))


# --- the answer -------------------------------------------------------------------------------------------------------


def answer(study: Study, found: StudyProgress, analysis: Analysis, theme: Any) -> list[Part]:
    """The sentences first, then the charts and the table; nothing but the first sentence before a run has ended."""
    if not analysis.trained:
        return [*analysis.paragraph]
    values = _values(study, analysis.axis or SHORTCUT)
    labels = [words(analysis.axis or SHORTCUT, value) for value in values]
    axis = field_words(analysis.axis or SHORTCUT)
    parts: list[Part] = [" ".join(analysis.paragraph)]
    spans = "Each point is the mean over the seeds, each whisker its 95 % t-interval; one seed has none."
    panels = _error_panels(study, analysis, values, theme)
    has_published = any(panel.published for panel in panels)
    whiskers = spans
    if has_published:
        whiskers += " The grey marks are not ours: CIFAR-10, and a training of 64,000 steps. The paper prints no "
        whiskers += "errors of plain networks; theirs are read off a figure, above 60 % and not drawn at 110 layers."
    chart = figures.study_chart(panels, labels, axis, "error")
    parts.append(Chart(chart, f"Training and test error against {axis}", whiskers))
    if analysis.differences:
        reference = noun(analysis.differences[0].reference)
        drawn = figures.difference_chart(_difference_panels(study, analysis, values, theme), labels, axis, "difference")
        text = f"Error of {reference} less that of the others, seed by seed: above 0 the others are better. {spans}"
        text += f" {ABLATION_NOTE}" if _ablation(study, analysis.axis) else ""
        parts += [Chart(drawn, f"Paired differences against {axis}", text), _difference_table(study, analysis)]
    return [*parts, *_gradients(study, found.results, theme)]


def _values(study: Study, field: str) -> Sequence[Any]:
    return next((axis.values for axis in study.axes if axis.field == field), ("all",))


def _series(study: Study, theme: Any) -> dict[Any, Series]:
    """The line of each shortcut; without that axis one for all."""
    base = str(study.spec.get("shortcut", PLAIN))
    kinds = next((axis.values for axis in study.axes if axis.field == SHORTCUT), (None,))
    made: dict[Any, Series] = {}
    for kind in kinds:
        colour = figures.network_colour(kind or base, theme)
        dash = DASHES[sum(each.colour == colour for each in made.values()) % len(DASHES)]
        made[kind] = Series("all networks" if kind is None else words(SHORTCUT, kind), colour, dash)
    return made


def _panel_lines(
    study: Study, axis: str, found: dict[tuple[Any, Any, Any], Errors], values: Sequence[Any], theme: Any
) -> list[StudyPanel]:
    """A panel for each quantity and each combination of the further axes; `found` by (the others' cell, shortcut,
    value of the axis)."""
    panels = []
    for name, title in ERRORS.items():
        for others in dict.fromkeys(key[0] for key in found):
            lines = []
            for kind, series in _series(study, theme).items():
                means: list[Mean | None] = []
                for value in values:
                    errors = found.get((others, kind, value))
                    means.append(errors.of(name) if errors else None)
                if any(means):
                    lines.append(StudyLine(series, means))
            heading = title.capitalize() + (f", {place(others)}" if others else "")
            is_theirs = name == "test" and study.name == READY_MADE["degradation"].title and axis == "depth"
            of_he = ((PUBLISHED, RESNETS_OF_HE), (PUBLISHED_PLAIN, PLAIN_OF_HE)) if is_theirs else ()
            theirs = [(name, [found.get(value) for value in values]) for name, found in of_he]
            panels.append(StudyPanel(heading, lines, theirs))
    return panels


def _key(cell: Sequence[tuple[str, Any]], axis: str, kind: Any) -> tuple[Any, Any, Any]:
    own = dict(cell)
    others = tuple(pair for pair in cell if pair[0] not in (axis, SHORTCUT))
    return others, kind, own[axis] if axis else "all" if kind is None else kind


def _error_panels(study: Study, analysis: Analysis, values: Sequence[Any], theme: Any) -> list[StudyPanel]:
    found = {_key(each.cell, analysis.axis, dict(each.cell).get(SHORTCUT)): each.errors for each in analysis.cells}
    return _panel_lines(study, analysis.axis, found, values, theme)


def _difference_panels(study: Study, analysis: Analysis, values: Sequence[Any], theme: Any) -> list[StudyPanel]:
    found = {_key(each.at, analysis.axis, each.kind): each.errors for each in analysis.differences}
    panels = _panel_lines(study, analysis.axis, found, values, theme)
    theirs = _ablation(study, analysis.axis)
    line = [(ABLATION, [theirs.get(value) for value in values])] if theirs else []
    of_test = ERRORS["test"].capitalize()
    return [StudyPanel(panel.title, panel.lines, line if panel.title == of_test else ()) for panel in panels]


def _ablation(study: Study, axis: str) -> dict[Any, Mean]:
    """The published differences at the depths of this study, whose twins differ in nothing else; {} of another one."""
    fields = {each.field: each.values for each in study.axes}
    if axis != DEPTH or {*fields} != {DEPTH, SHORTCUT} or not {PLAIN, "identity"} <= {*fields[SHORTCUT]}:
        return {}
    return {depth: found for depth, found in IDENTITY_OF_ABLATION.items() if depth in fields[DEPTH]}


def _difference_table(study: Study, analysis: Analysis) -> Table:
    """The differences, published ones and, below them, what the axis adds to them, in percentage points."""

    def pair(each: Difference | Change) -> str:
        return f"{words(SHORTCUT, each.reference)} − {words(SHORTCUT, each.kind)}"

    made = [[f"{place(each.at) or 'all'}: {pair(each)}", *_cells(each.errors)] for each in analysis.differences]
    for depth, theirs in _ablation(study, analysis.axis).items():
        made.append([f"{DEPTH} {depth}: plain − identity, {ABLATION.lower()}", *_cells(Errors(None, theirs))])
    for each in analysis.interactions:
        step = f"{field_words(each.axis)} {words(each.axis, each.first)} → {words(each.axis, each.last)}"
        where = f", {place(each.at)}" if each.at else ""
        made.append([f"{step}{where}: change of {pair(each)}", *_cells(each.errors)])
    return Table(["difference of errors, points", *ERRORS.values()], made)


def _cells(errors: Errors) -> list[str]:
    found = [errors.of(name) for name in ERRORS]
    return [figures.mean_words(each) if each else "–" for each in found]


def _gradients(study: Study, results: Sequence[Result], theme: Any) -> list[Part]:
    """The gradient maps of the first seed at the last value of every other axis that has any."""
    mapped = [each for each in results if each.gradients]
    if not mapped:
        return []
    order = {cell: number for number, cell in enumerate(study.cells())}

    def others(each: Result) -> tuple[tuple[str, Any], ...]:
        return tuple(pair for pair in each.cell if pair[0] != SHORTCUT)

    last = max(mapped, key=lambda each: (order[each.cell], -study.seeds.index(each.seed)))
    chosen = [each for each in mapped if others(each) == others(last) and each.seed == last.seed]
    maps = []
    for each in sorted(chosen, key=lambda each: order[each.cell])[:MOST_MAPS]:
        kind = dict(each.cell).get(SHORTCUT)
        layers: list[str] = next((event["layers"] for event in each.gradients if "layers" in event), [])
        title = each.title if kind is None else words(SHORTCUT, kind)
        colour = figures.network_colour(str(kind or study.spec.get("shortcut", PLAIN)), theme)
        steps, norms = [[event[name] for event in each.gradients] for name in ("step", "norms")]
        maps.append(GradientMap(title, colour, layers, steps, norms))
    where = ", ".join(filter(None, [place(others(last)), f"seed {last.seed}"]))
    text = f"At {where}: the L2 norm of each layer's weight gradient by training step, on one scale."
    return [Chart(figures.gradient_map_chart(maps), "Gradient maps side by side", text)]
