"""The widgets that edit a `CompareState`. As in `controls`, the URL is the only place where the state lives."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from explorer import figures
from explorer.datasets import shapes
from explorer.images import MAX_BYTES, ImageError
from explorer.ui import controls, resources
from explorer.ui.compare import FEWEST, MOST, CompareState, change, labels, read
from explorer.ui.controls import GALLERY_COLUMNS, GALLERY_SIDE, PREDICTED

SCOPES = {"layer": "layer", "network": "network", "both": "all"}
GRIDS = {"smooth": "smooth", "true": "true grid"}


def _on_change(key: str, field: str, convert: Callable[[Any], Any] = lambda value: value) -> Callable[[], None]:
    return lambda: change(**{field: convert(st.session_state[key])})


def choose_networks(state: CompareState) -> None:
    names = labels([*dict.fromkeys([*resources.network_names(), *state.networks])])
    st.session_state["compare_networks"] = list(state.networks)
    st.multiselect(
        "Networks",
        list(names),
        key="compare_networks",
        format_func=lambda name: names[name],
        max_selections=MOST,
        on_change=_on_networks,
        help="Two to four. The first is the one that the others are compared with. More are on the page Models.",
    )
    if st.session_state.pop("compare_too_few", False):
        st.warning("It takes two networks to compare, so the last two stay: add another one first.")


def _on_networks() -> None:
    chosen = tuple(st.session_state["compare_networks"])
    before = read()
    if len(chosen) < FEWEST or before is None:
        st.session_state["compare_too_few"] = True
        return
    same = resources.class_names(chosen[0]) == resources.class_names(before.networks[0])
    change(networks=chosen, **({} if same else {"target": None}))


def choose_target(state: CompareState) -> None:
    first, *others = (resources.class_names(name) for name in state.networks)
    shared = [index for index, name in enumerate(first) if all(name in names for names in others)]
    st.session_state["compare_target"] = state.target if state.target in shared else PREDICTED
    st.selectbox(
        "Class to explain",
        [PREDICTED, *shared],
        key="compare_target",
        format_func=lambda index: "what each network predicts" if index == PREDICTED else first[index],
        on_change=_on_change("compare_target", "target", lambda index: None if index == PREDICTED else index),
        disabled=not shared,
        help="A class that all of these networks know.",
    )


def choose_view(state: CompareState) -> None:
    st.session_state["compare_scope"] = state.scope
    st.segmented_control(
        "One colour scale for each",
        list(SCOPES),
        key="compare_scope",
        format_func=lambda scope: SCOPES[scope],
        on_change=_on_change("compare_scope", "scope"),
        required=True,
        help="Layer: the networks can be compared at one relative depth. Network: the layers of one network can be "
        "compared. All: one scale for everything; weak maps then look empty.",
    )
    st.session_state["compare_grid"] = state.grid
    st.segmented_control(
        "Draw the maps",
        list(GRIDS),
        key="compare_grid",
        format_func=lambda grid: GRIDS[grid],
        on_change=_on_change("compare_grid", "grid"),
        required=True,
        help="True grid: a map of 8×8 is drawn as 8×8 squares, which is all that the layer knows. Smooth: enlarged "
        "with values in between, which is easier to read and looks finer than it is.",
    )


def choose_depth(state: CompareState) -> None:
    st.session_state["compare_depth"] = state.depth
    st.slider(
        "Relative depth",
        0.0,
        1.0,
        step=0.01,
        key="compare_depth",
        on_change=_on_change("compare_depth", "depth", lambda depth: round(depth, 4)),
        width=320,
        help="0 is the input, 1 the output. Of each network the layer nearest to it is shown.",
    )


def choose_picture(state: CompareState) -> None:
    source = st.segmented_control(
        "Picture",
        ["Shape", "File", "Camera"],
        default="Shape" if state.sample else "File",
        key="compare_source",
        required=True,
    )
    if source == "File":
        st.file_uploader(
            "A photo or drawing",
            key="compare_upload",
            on_change=_on_picture,
            args=("compare_upload",),
            max_upload_size=MAX_BYTES // 2**20,
            help="JPEG, PNG, GIF, BMP, WEBP or TIFF, up to 50 megapixels and 64 MB. It stays in the memory of your "
            "session and leaves it with you.",
        )
    elif source == "Camera":
        st.camera_input("Take a picture", key="compare_camera", on_change=_on_picture, args=("compare_camera",))
    else:
        _gallery(state)
    if source != "Shape" and "compare_picture_error" in st.session_state:
        st.error(st.session_state["compare_picture_error"])


def _on_picture(key: str) -> None:
    st.session_state.pop("compare_picture_error", None)
    file = st.session_state[key]
    if file is None:
        return
    try:
        change(picture=resources.keep_picture(file.getvalue(), file.name))
    except ImageError as error:
        st.session_state["compare_picture_error"] = f"{error} The picture that was shown stays."


def _gallery(state: CompareState) -> None:
    label, number = state.sample or (6, 6)
    st.session_state["compare_scene"] = number
    columns = st.columns([3, 2], vertical_alignment="bottom")
    columns[0].number_input(
        "Scene",
        0,
        999_999,
        key="compare_scene",
        on_change=lambda: change(picture=f"sample-{label}-{st.session_state['compare_scene']}"),
        help="One scene shows each of the ten shapes with the same colours, place, clutter and noise.",
    )
    columns[1].button(
        "Next",
        key="compare_next",
        on_click=lambda: change(picture=f"sample-{label}-{(number + 1) % 1_000_000}"),
        width="stretch",
    )
    pictures = [resources.sample(index, number)[0] for index in range(len(shapes.CLASS_NAMES))]
    chosen = label if state.sample else None
    controls.clickable_grid(
        figures.picture_grid(
            figures.tile(pictures, GALLERY_COLUMNS, GALLERY_SIDE),
            shapes.CLASS_NAMES,
            GALLERY_COLUMNS,
            GALLERY_SIDE,
            chosen,
        ),
        f"compare_gallery_{number}_{chosen}",  # a new key forgets the last click, so the same tile can be clicked again
        lambda tile: change(picture=f"sample-{tile}-{number}"),
        alt="The ten drawn shapes of this scene",
    )
    st.session_state["compare_shape"] = chosen
    st.pills(
        "Shape",
        list(range(len(shapes.CLASS_NAMES))),
        key="compare_shape",
        format_func=lambda index: shapes.CLASS_NAMES[index],
        on_change=_on_shape,
        args=(label, number),
        label_visibility="collapsed",
    )


def _on_shape(before: int, number: int) -> None:
    label = st.session_state["compare_shape"]  # None where the chosen one was clicked again
    change(picture=f"sample-{before if label is None else label}-{number}")
