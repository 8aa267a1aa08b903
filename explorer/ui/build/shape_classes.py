"""The choice of which drawn shapes a network learns to tell apart: a picture of each, with a checkbox."""

from dataclasses import replace
from functools import cache, partial

import streamlit as st

from explorer import figures
from explorer.datasets import shapes
from explorer.datasets.shapes import CLASS_NAMES, Drawn, Style
from explorer.ui.build import widgets
from explorer.ui.markdown import as_sentence

SIDE = 48  # pixels of a picture on the page
CELL = 90  # and of the column that holds it and its checkbox: three stand side by side on a phone
SCENE = 698  # one for all of them, in which they are large, upright and in the middle
PLAIN = Style(texture=0, clutter=0, noise=0)
FOUR = ("ring", "cross", "star", "arrow")


def choose_classes(drawn: Drawn) -> None:
    """The pictures with their checkboxes, and two choices of many at once."""
    st.markdown(f"**Shapes to tell apart**: {len(drawn.classes)} of {len(CLASS_NAMES)}", help=_HELP)
    with st.container(horizontal=True, gap="small"):
        for name in CLASS_NAMES:
            with st.container(width=CELL, gap="xsmall"):
                st.image(_picture(name), width=SIDE, output_format="PNG", alt=f"A drawn {name}")
                st.session_state[f"class_{name}"] = name in drawn.classes
                st.checkbox(name, key=f"class_{name}", on_change=_on_class, args=(name,))
    if "classes_error" in st.session_state:
        st.warning(as_sentence(st.session_state.pop("classes_error")))
    with st.container(horizontal=True, gap="small"):
        for key, label, classes in (("all", "All ten", CLASS_NAMES), ("four", f"Only {', '.join(FOUR)}", FOUR)):
            if classes != drawn.classes:
                st.button(label, key=f"classes_{key}", on_click=partial(_write, classes))


_HELP = (
    "Fewer classes need fewer steps to be told apart. Each has 2,000 training, 200 validation and 400 test images, "
    "the same ones in every choice."
)


def _on_class(name: str) -> None:
    """Adds the shape or takes it out; the last two stay."""
    drawn = shapes.named(widgets.load_state().data)
    if drawn is None:  # the link has changed meanwhile
        return
    others = tuple(each for each in drawn.classes if each != name)
    if st.session_state[f"class_{name}"]:
        _write((*others, name))
    elif len(others) >= shapes.FEWEST_CLASSES:
        _write(others)
    else:
        st.session_state["classes_error"] = (
            f"A network needs at least {shapes.FEWEST_CLASSES} shapes to tell apart, so {' and '.join(drawn.classes)} "
            "stay; choose another one first."
        )


def _write(classes: tuple[str, ...]) -> None:
    drawn = shapes.named(widgets.load_state().data) or Drawn()
    widgets.update_state(data=replace(drawn, classes=classes).key)


@cache
def _picture(name: str) -> str:
    """The shape alone on its ground, as an address that holds the PNG."""
    pixels, _ = shapes.sample(CLASS_NAMES.index(name), SCENE, 64, style=PLAIN)
    return figures.data_uri(pixels)
