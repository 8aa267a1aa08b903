"""The choice of an image: a drawn shape, a file or the camera."""

from collections.abc import Callable, Collection
from typing import Protocol

import streamlit as st

from explorer.images import MAX_BYTES, ImageError
from explorer.ui.markdown import as_sentence
from explorer.ui.session import session
from explorer.ui.viewer.places import camera, gallery, upload


class HasImage(Protocol):
    """A page's state: `is_drawn` and `sample` are those of an AppState."""

    @property
    def is_drawn(self) -> bool: ...

    @property
    def sample(self) -> tuple[int, int] | None: ...


def image_picker(state: HasImage, change: Callable[..., None], known: Collection[str], *, viewer: bool = False) -> None:
    """`change(picture=...)` puts the choice into the state of the page; `known` are its networks' classes. On a page
    with the `viewer`, that takes files by itself."""
    source = st.segmented_control(
        "Picture",
        ["Shape", "File", "Camera"],
        default="Shape" if state.is_drawn else "File",
        key="source",
        required=True,
    )
    if source == "File" and viewer:
        upload()
    elif source == "File":
        image_upload("A photo or drawing", "upload", change)
    elif source == "Camera" and viewer:
        camera()
    elif source == "Camera":
        st.camera_input("Take a picture", key="camera", on_change=_on_picture, args=("camera", change))
    else:
        gallery(state.sample, change, known)
    if source != "Shape" and "picture_error" in st.session_state:
        st.error(as_sentence(st.session_state["picture_error"]))


def image_upload(label: str, key: str, change: Callable[..., None]) -> None:
    st.file_uploader(
        label,
        key=key,
        on_change=_on_picture,
        args=(key, change),
        max_upload_size=MAX_BYTES // 2**20,
        help="JPEG, PNG, GIF, BMP, WEBP or TIFF, up to 50 megapixels and 64 MB. It stays in the memory of your session "
        "and leaves it with you.",
    )


def _on_picture(key: str, change: Callable[..., None]) -> None:
    st.session_state.pop("picture_error", None)
    if file := st.session_state[key]:
        try:
            change(picture=session().uploads.add(file.getvalue(), file.name))
        except ImageError as error:
            st.session_state["picture_error"] = f"{error} The picture that was shown stays."
