"""The classes of images in the order of the outputs of a network that does not name its own: shown and changeable."""

from collections.abc import Sequence

import streamlit as st

from explorer.ui.markdown import as_text

SHOWN = 12
CHANGE = "Change the order of the classes"


def assumed_text(network: str, class_names: Sequence[str]) -> str:
    """Which class each output of the network stands for, as Markdown."""
    pairs = ", ".join(f"class {index} is {as_text(name)}" for index, name in enumerate(class_names[:SHOWN]))
    more = ", …" if len(class_names) > SHOWN else ""
    return f"{as_text(network)} does not name its classes. Assumed: {pairs}{more}."


def order_classes(class_names: Sequence[str], key: str) -> tuple[str, ...] | None:
    """The classes in the order that a user typed, at first that of `class_names`; None, and why, for other ones."""
    text = st.text_area(
        "The classes in the order of the network's outputs, one a line",
        "\n".join(class_names),
        key=f"class-order-{key}",
        help="Folders are in the order of their names or numbers. torchvision's ImageFolder sorts numbers as texts: "
        "0, 1, 10, 2.",
    )
    ordered = tuple(line.strip() for line in text.splitlines() if line.strip())
    if sorted(ordered) != sorted(class_names):
        st.info(f"Each of the {len(class_names):,} classes of the images must stand on one line.")
        return None
    return ordered
