"""Measured surfaces on the page: their progress, what is known so far, and their files."""

from functools import partial

import streamlit as st

from explorer import figures
from explorer.experiments import surface_runs
from explorer.experiments.loss_surface import Surface, sentences
from explorer.experiments.surface_runs import RESUMABLE, SurfaceProgress, SurfaceRun
from explorer.ui import client, lesson, navigation
from explorer.ui.experiments.controls import update_state
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.experiments.surface_answer import ShownSurface, answer, choose_view, take_home
from explorer.ui.markdown import as_sentence, as_text
from explorer.ui.parts import draw
from explorer.ui.question import show_limits
from explorer.ui.widgets.callback_errors import report_errors, show_error
from explorer.ui.widgets.deletion import delete_button

POLL_INTERVAL_S = 2.0
_Seen = tuple[str, int, int]  # the state, the surfaces that have points, and the eighths that are known
REDRAWN = 8  # times while it is measured: a redrawn scene turns back


def show(state: ExperimentsState) -> None:
    """Raises ValueError where the run is damaged."""
    run = surface_runs.find(state.surface)
    if run is None:
        st.info("This surface is not on this server: it was deleted, or the link is of another machine.")
        st.button("Measure a surface", key="surface_new", on_click=update_state, kwargs={"surface": ""})
        return
    request, found = run.request(), surface_runs.progress(run)
    st.markdown(f"**{as_text(request['title'])}**")
    show_error()
    if not lesson.hides("controls"):
        _buttons(run, found)
    goes_on = found.state in ("new", "waiting", "measuring")
    st.fragment(_follow, run_every=POLL_INTERVAL_S if goes_on else None)(run, _seen(found))
    shown = _shown(run, found)
    if shown:
        choose_view(state, shown)
        draw(answer(shown, state), f"surface-{run.id[:8]}", str(request["source"]))
        take_home(shown, state, str(request["title"]), str(request["source"]), f"surface-{run.id[:8]}")
    if not lesson.hides("text"):
        with st.expander("What the numbers mean"):
            st.markdown("\n".join(f"- {as_text(each)}" for each in sentences.DEFINITIONS))
    show_limits(sentences.LIMITS)


def _shown(run: SurfaceRun, found: SurfaceProgress) -> list[ShownSurface]:
    """The surfaces of which a point is known."""
    facts = run.networks()
    shown = []
    for asked, surface in zip(run.surfaces(), found.surfaces, strict=True):
        if surface is not None and _is_begun(surface):
            of = facts[asked.network]
            colour = figures.network_colour(of.shortcut, client.theme())
            shown.append(ShownSurface(of.title, colour, of.classes, surface))
    return shown


def _seen(found: SurfaceProgress) -> _Seen:
    return found.state, sum(map(_is_begun, found.surfaces)), int(found.share * REDRAWN)


def _is_begun(surface: Surface | None) -> bool:
    return surface is not None and bool(surface.measured.any())


def _buttons(run: SurfaceRun, found: SurfaceProgress) -> None:
    with st.container(horizontal=True):
        if run.owner == client.owner():
            stops = run.stop_mark.exists()
            if found.state in ("waiting", "measuring"):
                st.button(
                    "Stopping" if stops else "Stop", key="surface_stop", disabled=stops, on_click=surface_runs.stop,
                    args=(run,),
                )  # fmt: skip
            if found.state in (*RESUMABLE, "new"):
                st.button("Resume", key="surface_resume", type="primary", on_click=_resume, args=(run,))
            if found.state in (*RESUMABLE, "new", "finished"):
                delete_button(run.id, partial(_delete, run), key="surface_delete")
        st.button("Another surface", key="surface_new", on_click=update_state, kwargs={"surface": ""})


def _resume(run: SurfaceRun) -> None:
    with report_errors("The surface cannot go on"):
        surface_runs.start(run)


def _delete(run: SurfaceRun) -> None:
    with report_errors("The surface cannot be deleted", "try again"):
        surface_runs.delete(run)
        update_state(surface="")


@navigation.error_boundary()
def _follow(run: SurfaceRun, seen: _Seen) -> None:
    """The progress; the page runs again when the state has changed, a surface has its first points, or an eighth more
    is known."""
    found = surface_runs.progress(run)
    if _seen(found) != seen:
        st.rerun()
    if found.state != "finished":
        words = {"waiting": "waiting for an earlier surface", "new": "not started"}.get(found.state, found.state)
        st.progress(min(1.0, found.share), text=as_text(f"{found.share:.0%} · {words}"))
    if found.message:
        st.warning(as_sentence(found.message))
