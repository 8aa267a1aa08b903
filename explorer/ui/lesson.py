"""What a lesson makes of every page: parts that its link hides (`hide=menu,text`), and large type (`present=1`).

Both travel with every change of the page. Nothing that is hidden is a matter of safety.
"""

import time
from collections.abc import Iterable
from typing import Literal

import streamlit as st

from explorer.labels import listed
from explorer.ui import streamlit_internals, url_query
from explorer.ui.viewer import place

Part = Literal["menu", "controls", "numbers", "downloads", "text"]
PARTS: dict[Part, str] = {
    "menu": "the menu of pages",
    "controls": "the settings",
    "numbers": "tables of numbers",
    "downloads": "downloads",
    "text": "explanations and findings",
}
"""What a link may hide, in words."""

_carrier = place("lesson", "", (), "lesson.js")


def hides(part: Part) -> bool:
    return part in hidden()


def explain(text: str) -> None:
    """Writes a text that a lesson may hide."""
    if not hides("text"):
        st.markdown(text)


def hidden() -> tuple[Part, ...]:
    """What the link hides, in the order of `PARTS`; other names are ignored."""
    asked = url_query.read().get("hide", "").split(",")
    return tuple(part for part in PARTS if part in asked)


def is_presented() -> bool:
    return url_query.read().get("present") == "1"


def fields(parts: Iterable[Part]) -> dict[str, str]:
    """The fields of a link that hides these parts."""
    asked = {*parts}
    return {"hide": ",".join(part for part in PARTS if part in asked)} if asked else {}


def begin_page() -> None:
    """Styles the page: hides parts of it, and enlarges the others for a presentation."""
    streamlit_internals.style_page({*hidden()}, is_presented())


def end_page() -> None:
    """Says what the link hides, and draws the button of the presentation, which stands above the page."""
    if parts := hidden():
        with st.container(horizontal=True, vertical_alignment="center", key="lesson_end"):
            st.markdown(f"This lesson hides {listed([PARTS[part] for part in parts])}.", width="content")
            st.button("Show everything", key="lesson_show", on_click=url_query.travel, args=("hide", ""))
    presented = is_presented()
    with st.container(key="present"):
        st.button(
            "Leave" if presented else "Present",
            key="present_button",
            icon=":material/close_fullscreen:" if presented else ":material/slideshow:",
            help="Ends the large type (Escape)." if presented else "Large type and no menu, for a projector.",
            type="secondary" if presented else "tertiary",  # over the page, or over the menu
            on_click=url_query.travel,
            args=("present", "" if presented else "1"),
        )
    if travelling := url_query.travelling():
        # Streamlit calls a component whose data are the same only once, and each run may have another address.
        data = {"fields": travelling, "run": time.monotonic_ns()}
        _carrier(data=data, height=0, on_leave_change=lambda: url_query.travel("present", ""))
