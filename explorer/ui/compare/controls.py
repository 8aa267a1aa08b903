"""The widgets of Compare. Those of a `CompareState` write into the URL, the only place where the state lives."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import streamlit as st

from explorer.experiments.measurement import MOST, RESULTS
from explorer.labels import NONE, SCOPES, numbered_classes
from explorer.ui import bar, dataset_access, measured_images, network_registry, user_models
from explorer.ui.compare import measurements
from explorer.ui.compare.comparison import load_state, update_state
from explorer.ui.compare.measurements import Choice, Request
from explorer.ui.compare.state import FEWEST, MOST_NETWORKS, CompareState
from explorer.ui.missing import PLACES
from explorer.ui.services.inference import ChosenNetwork
from explorer.ui.session import session
from explorer.ui.widgets import long_task
from explorer.ui.widgets.bound import bound, choice
from explorer.ui.widgets.callback_errors import report_errors, show_error
from explorer.ui.widgets.class_order import CHANGE, assumed_text, order_classes

GRIDS = {"smooth": "smooth", "true": "true grid"}


def choose_more_networks(state: CompareState) -> None:
    """A box for the third and the fourth network, and a button for another one: the bar has the first two."""
    names = [*dict.fromkeys([*network_registry.network_names(), *state.networks])]
    labels = network_registry.unique_labels(names)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        for place, name in enumerate(state.networks[FEWEST:], FEWEST):
            bound(
                st.selectbox,
                PLACES[place],
                [NONE, *(each for each in names if each == name or each not in state.networks)],
                key=f"compare_network_{place}",
                value=name,
                write=partial(_change_network, place),
                format_func=lambda name: labels.get(name, name),
                width=240,
            )
        unused = [name for name in names if name not in state.networks]
        if unused and len(state.networks) < MOST_NETWORKS:
            alike = [name for name in unused if network_registry.same_classes(name, state.networks[0])]
            another = (alike or unused)[0]
            st.button("+ Another network", on_click=_change_network, args=(len(state.networks), another))


def _change_network(place: int, name: str) -> None:
    before = load_state()
    if before is not None:
        names = [*before.networks[:place], *([] if name == NONE else [name]), *before.networks[place + 1 :]]
        update_state(networks=tuple(names), measured=())


def choose_view(state: CompareState) -> None:
    choose = partial(choice, state, prefix="compare", change=update_state)
    choose(
        "scope",
        "One colour scale for each",
        SCOPES,
        help="Layer: the networks can be compared at one relative depth. Network: the layers of one network can be "
        "compared. All: one scale for everything; weak maps then look empty.",
    )
    choose(
        "evidence",
        "Grad-CAM",
        {"positive": "what supports the class", "signed": "signed: what opposes it too"},
        help="Signed: Grad-CAM before its ReLU. Red supports the explained class, blue opposes it.",
    )
    choose(
        "grid",
        "Draw the maps",
        GRIDS,
        help="True grid: a map of 8×8 is drawn as 8×8 squares, which is all that the layer knows. Smooth: enlarged "
        "with values in between, which is easier to read and looks finer than it is.",
    )


def choose_depth(state: CompareState) -> None:
    bound(
        st.slider,
        "Relative depth",
        0.0,
        1.0,
        step=0.01,
        key="compare_depth",
        value=state.depth,
        write=lambda depth: update_state(depth=round(depth, 4)),
        width=320,
        help="0 is the input, 1 the output. Of each network the layer nearest to it is shown.",
    )


# --- measurements on a dataset ---------------------------------------------------------------------------------------


def choose_images(state: CompareState, choice: Choice, options: Mapping[str, bool]) -> None:
    """The one choice of data and number of images for all measurements of the page."""
    bound(
        st.selectbox,
        "Test images",
        list(options),
        key="compare_data",
        value=choice.data,
        write=lambda data: update_state(data=data, n=None, measured=()),
        format_func=dataset_access.data_title,
        width=260,
        help=f"For all measurements of this page. Layers are compared on at most {MOST['cka']} of them. Grad-CAMs "
        f"are measured on {MOST['shares']} first, and on more after a click.",
    )
    bound(
        st.selectbox,
        "How many",
        choice.counts,
        key="compare_n",
        value=choice.n,
        write=lambda n: update_state(n=n, measured=()),
        format_func=lambda count: f"all {count:,}" if count == choice.total else f"{count:,}",
        width=130,
    )


def show_assumed_classes(networks: Sequence[ChosenNetwork], choice: Choice) -> None:
    """Of networks that do not name their classes, which class of the images each output is taken for; their owner may
    name them in another order."""
    if not choice.is_labelled or not measured_images.data_is_here(choice.data):
        return
    for place, network in enumerate(networks):
        if network.checkpoint.class_names != numbered_classes(network.checkpoint.spec.classes):
            continue
        names = dataset_access.class_names(choice.data)
        st.caption(assumed_text(network.title, names))
        if user_models.is_owned(network.name):
            with st.popover(CHANGE, key=f"order-{place}"):
                ordered = order_classes(names, f"{network.name}-{choice.data}")
                st.button(
                    "Name its classes so",
                    key=f"name-classes-{place}",
                    disabled=ordered is None,
                    on_click=_name_classes,
                    args=(place, network.name, ordered),
                )
    show_error()


def _name_classes(place: int, name: str, class_names: tuple[str, ...]) -> None:
    with report_errors("the classes cannot be named"):
        renamed = user_models.update_metadata(name, None, class_names)
        bar.rename_network(name, renamed)
        _change_network(place, renamed)


def measure_everything(
    state: CompareState, choice: Choice, requests: Mapping[str, Request], compared: Sequence[ChosenNetwork]
) -> None:
    """A button for all that is not measured yet. What a link asks for is measured without a click, once."""
    lacking = [kind for kind, request in requests.items() if not measurements.is_measured(request, compared)]
    if not lacking or not choice.is_here:
        return
    linked = [kind for kind in lacking if kind in state.measured and state.data in ("", choice.data)]
    is_linked = bool(linked) and _started() != _identity(requests, compared)
    kinds = linked if is_linked else lacking
    if is_linked:
        _start(requests, compared)
    key = f"everything/{_identity({kind: requests[kind] for kind in kinds}, compared)}"

    def finish(_: Any) -> None:
        session().results.remove(key)  # they are in the store
        st.rerun()  # so that the tiles above show them

    long_task.long_task(
        key,
        "Measure everything" if len(lacking) > 1 else "Measure what is missing",
        lambda: long_task.run_sequentially([partial(measurements.work, requests[kind], compared) for kind in kinds]),
        finish,
        seconds=sum(measurements.seconds(requests[kind], compared) for kind in kinds),
        start=is_linked,
        on_click=partial(_ask, tuple(requests), requests, compared),
    )


def measure(
    state: CompareState, kind: str, requests: Mapping[str, Request], compared: Sequence[ChosenNetwork]
) -> dict[str, Any] | None:
    """The results of all networks by name, None while a button is there that measures those that are not known yet."""
    request = requests[kind]
    lacking = measurements.networks_to_measure(request, compared)
    if not lacking:
        return {network.name: measurements.find_result(request, network.name) for network in compared}
    key = request.key(*(network.name for network in compared))

    def finish(_: Any) -> None:
        session().results.remove(key)
        st.rerun()

    count = "1 network" if len(lacking) == 1 else f"{len(lacking)} networks"
    long_task.long_task(
        key,
        f"Measure {count} on {request.n:,} images",
        lambda: measurements.run(request, compared),
        finish,
        seconds=measurements.seconds(request, lacking),
        on_click=partial(_ask, (*state.measured, kind), requests, compared),
    )
    return None


def _ask(kinds: Sequence[str], requests: Mapping[str, Request], compared: Sequence[ChosenNetwork]) -> None:
    """Puts into the URL what was asked for, so that the link shows it; here the click has started it already."""
    _start(requests, compared)
    update_state(measured=tuple(kind for kind in RESULTS if kind in kinds))


def _identity(requests: Mapping[str, Request], compared: Sequence[ChosenNetwork]) -> str:
    names = ",".join(network.name for network in compared)
    return " ".join(request.key(names) for request in requests.values())


def _started() -> str:
    """The measurements that a link or a click has started in this session: Stop must not start them again."""
    return str(st.session_state.get("compare_started", ""))


def _start(requests: Mapping[str, Request], compared: Sequence[ChosenNetwork]) -> None:
    st.session_state["compare_started"] = _identity(requests, compared)
