"""The choice of the picture that is looked at: a drawn shape, a file or the camera, on every page that has one."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
import streamlit as st

from explorer import figures
from explorer.datasets import shapes
from explorer.images import MAX_BYTES, ImageError
from explorer.ui import resources
from explorer.ui.grid import picture_grid

GALLERY_COLUMNS = 5
GALLERY_SIDE = 64


class HasPicture(Protocol):
    """A page's state: `sample` is (label, number) of a drawn picture, None of an uploaded one."""

    @property
    def sample(self) -> tuple[int, int] | None: ...


def choose_picture(state: HasPicture, change: Callable[..., None]) -> None:
    """`change(picture=...)` puts what was chosen into the state of the page."""
    source = st.segmented_control(
        "Picture",
        ["Shape", "File", "Camera"],
        default="Shape" if state.sample else "File",
        key="source",
        required=True,
    )
    if source == "File":
        st.file_uploader(
            "A photo or drawing",
            key="upload",
            on_change=_on_picture,
            args=("upload", change),
            max_upload_size=MAX_BYTES // 2**20,
            help="JPEG, PNG, GIF, BMP, WEBP or TIFF, up to 50 megapixels and 64 MB. It stays in the memory of your "
            "session and leaves it with you.",
        )
    elif source == "Camera":
        st.camera_input("Take a picture", key="camera", on_change=_on_picture, args=("camera", change))
    else:
        _gallery(state, change)
    if source != "Shape" and "picture_error" in st.session_state:
        st.error(st.session_state["picture_error"])


def _on_picture(key: str, change: Callable[..., None]) -> None:
    st.session_state.pop("picture_error", None)
    file = st.session_state[key]
    if file is None:
        return
    try:
        change(picture=resources.keep_picture(file.getvalue(), file.name))
    except ImageError as error:
        st.session_state["picture_error"] = f"{error} The picture that was shown stays."


def _gallery(state: HasPicture, change: Callable[..., None]) -> None:
    label, number = state.sample or (6, 6)
    st.session_state["gallery_number"] = number
    columns = st.columns([3, 2], vertical_alignment="bottom")
    columns[0].number_input(
        "Scene",
        0,
        999_999,
        key="gallery_number",
        on_change=lambda: change(picture=f"sample-{label}-{st.session_state['gallery_number']}"),
        help="One scene shows each of the ten shapes with the same colours, place, clutter and noise.",
    )
    columns[1].button(
        "Next",
        key="gallery_next",
        on_click=lambda: change(picture=f"sample-{label}-{(number + 1) % 1_000_000}"),
        width="stretch",
    )
    chosen = label if state.sample else None
    picture_grid(
        _scene(number),
        shapes.CLASS_NAMES,
        GALLERY_COLUMNS,
        GALLERY_SIDE,
        chosen,
        key="gallery",
        on_click=lambda tile: change(picture=f"sample-{tile}-{number}"),
        alt="The ten drawn shapes of this scene",
    )
    st.session_state["gallery_label"] = chosen
    st.pills(
        "Shape",
        list(range(len(shapes.CLASS_NAMES))),
        key="gallery_label",
        format_func=lambda index: shapes.CLASS_NAMES[index],
        on_change=_on_label_change,
        args=(label, number, change),
        label_visibility="collapsed",
    )


@st.cache_data(max_entries=200, show_spinner=False)
def _scene(number: int) -> str:
    """The ten drawn shapes of that scene on one sheet, as an address that holds the PNG."""
    pictures = np.stack([resources.sample(index, number)[0] for index in range(len(shapes.CLASS_NAMES))])
    return figures.data_uri(figures.sheet(pictures, GALLERY_COLUMNS, GALLERY_SIDE))


def draw_ahead(state: HasPicture) -> None:
    """The scene that "Next" would show: it is drawn while the person looks at this one."""
    if state.sample:
        _scene((state.sample[1] + 1) % 1_000_000)


def _on_label_change(before: int, number: int, change: Callable[..., None]) -> None:
    label = st.session_state["gallery_label"]  # None where the chosen one was clicked again
    change(picture=f"sample-{before if label is None else label}-{number}")
