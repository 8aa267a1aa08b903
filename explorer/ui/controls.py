"""The widgets that edit an `AppState`.

The URL is the only place where the state lives. Before a widget is drawn its value is set from the state; when a
person changes it, a callback writes the changed state into the URL, and the rerun that follows reads it there.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from explorer.downloads import DownloadProgress
from explorer.errors import user_message
from explorer.labels import NONE
from explorer.ui import address, gone, resources, selection
from explorer.ui.bound import bound
from explorer.ui.markdown import as_sentence, in_order
from explorer.ui.state import SELECTION_FIELDS, AppState

PREDICTED = -1


def read() -> AppState:
    """The state in the URL, with networks that are here and can be compared; an old link may name others."""
    state = selection.apply(AppState.from_query(address.query()))
    names = resources.network_names()
    if not names:
        return state
    first, second = state.first, state.second
    if not resources.is_network(first):
        if second is not None and resources.is_network(second):
            beside = gone.companion(second)
            first, second = (beside, second) if beside else (second, None)
        else:
            first = AppState.first if AppState.first in names else names[0]
    return replace(state, first=first, second=_partner(first, second))


def lost() -> dict[str, str]:
    """The networks in the URL that are not here, as `gone.of` names them."""
    state = AppState.from_query(address.query())
    return gone.of((state.first, state.second))


def _partner(first: str, second: str | None) -> str | None:
    """`second` where it can stand beside `first`, else the twin of `first`; None stays alone."""
    fits = second is not None and second != first and resources.is_network(second)
    if second is None or (fits and resources.know_the_same(first, second)):
        return second
    return resources.twin_name(first)


def change(**changes: Any) -> None:
    """Puts the state with these changes into the URL, or tells the viewer, which owns the selection. The URL goes on
    naming networks that are gone, until others are chosen: they may be brought again."""
    state, before = read(), AppState.from_query(address.query())
    if not {"first", "second"} & set(changes) and lost():
        state = replace(state, first=before.first, second=before.second)
    selected = {name: changes.pop(name) for name in SELECTION_FIELDS if name in changes}
    if selected:
        selection.change(before, **selected)
    changed = replace(state, **changes)
    address.write(replace(changed, **selection.of(AppState())).to_query())


def choose_networks(state: AppState) -> None:
    names = list(resources.network_names())
    names += [name for name in (state.first, state.second) if name and name not in names]  # of a link
    labels = resources.labels(names)
    bound(
        st.selectbox,
        "First network",
        names,
        key="first",
        value=state.first,
        write=lambda name: choose_first(name, read().second),
        format_func=labels.__getitem__,
    )
    known = resources.class_names(state.first)
    alike = [name for name in names if name != state.first and resources.class_names(name) == known]
    choose_second(
        "second", state.second, alike, labels, change, help="Only networks that know the same classes can be compared."
    )


def choose_second(
    key: str,
    value: str | None,
    names: Sequence[str],
    labels: Mapping[str, str],
    change: Callable[..., None],
    **more: Any,
) -> None:
    """The second of two networks, or none; `change(second=...)` puts it into the state of the page."""
    bound(
        st.selectbox,
        "Second network",
        [NONE, *names],
        key=key,
        value=value or NONE,  # no value would show as nothing chosen
        write=lambda name: change(second=None if name == NONE else name),
        format_func=lambda name: labels.get(name, name),
        **more,
    )


def choose_first(first: str, second: str | None) -> None:
    """Looks with `first`, and with `second` or a twin beside it; a target of other classes means nothing there."""
    changes = {"first": first, "second": _partner(first, second)}
    if not resources.know_the_same(first, read().first):
        changes["target"] = None
    change(**changes)


def class_label(index: int, class_names: tuple[str, ...]) -> str:
    """What the list of classes to explain says of one of them, in words that fit into a sidebar."""
    return "what each one predicts" if index == PREDICTED else in_order(class_names[index])


def choose_target(state: AppState, class_names: tuple[str, ...]) -> None:
    choose_class("target", state.target, range(len(class_names)), class_names, change)


def choose_class(
    key: str,
    value: int | None,
    classes: Sequence[int],
    class_names: tuple[str, ...],
    change: Callable[..., None],
    **more: Any,
) -> None:
    """The class to explain, or what each network predicts; `change(target=...)` puts it into the state of the page."""
    bound(
        st.selectbox,
        "Class to explain",
        [PREDICTED, *classes],
        key=key,
        value=value if value in classes else PREDICTED,
        write=lambda index: change(target=None if index == PREDICTED else index),
        format_func=lambda index: class_label(index, class_names),
        **more,
    )


def choose_channel(key: str, channel: int | None, channels: int, strongest: int, help: str) -> int:
    """The field of a channel; `strongest` where none of those is chosen."""
    return int(
        bound(
            st.number_input,
            "Channel",
            0,
            channels - 1,
            key=key,
            value=channel if channel is not None and channel < channels else min(strongest, channels - 1),
            write=lambda chosen: change(channel=chosen),
            help=help,
            width=140,
        )
    )


def choose_view(state: AppState) -> None:
    bound(
        st.toggle,
        "All layers",
        key="all_layers",
        value=state.layers == "all",
        write=lambda on: change(layers="all" if on else "main"),
        help="Also norms, activations, sums and pooling; otherwise convolutions, shortcuts and blocks.",
    )


def offer_download(label: str, download: Callable[[], Iterator[DownloadProgress]]) -> None:
    """A button that downloads, with progress and Cancel; afterwards the page runs again, or says why it failed."""
    if not st.button(label, key="download"):
        return
    place = st.empty()
    with place.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, text="Connecting")
        st.button("Cancel", key="cancel_download")  # any click ends this run of the script, and with it the download
    try:
        for transfer in download():
            share = min(1.0, transfer.done_bytes / transfer.total_bytes)
            again = f", attempt {transfer.attempt}" if transfer.attempt > 1 else ""
            bar.progress(share, text=f"{transfer.done_bytes / 1e6:,.0f} of {transfer.total_bytes / 1e6:,.0f} MB{again}")
    except ValueError as error:
        place.empty()
        st.error(as_sentence(user_message(error)))
        return
    st.rerun()
