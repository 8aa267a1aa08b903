"""The classes of a dataset: whether they can be trained, and how often each is classified rightly."""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from explorer import runs
from explorer.datasets.balance import NAMED, quoted
from explorer.ui.dataset_access import DatasetSummary
from explorer.ui.markdown import as_sentence


def missing_pictures(summary: DatasetSummary) -> str:
    """Why that data cannot train a network, in one sentence with the remedy; empty where it can."""
    without = [name for name, (train, _, _) in zip(summary.class_names, summary.counts, strict=True) if not train]
    if without:
        return f"{_have(without)} no training images; add some or remove the folder, and upload the images again."
    if not any(test for _, _, test in summary.counts):
        return "There are no test images to measure the result on; give each class 2 or more, and upload them again."
    return ""


def show_classes(names: object, networks: Sequence[dict[str, Any]]) -> None:
    """Accuracy, n and 95 % interval of each class for each network; nothing where that was not measured."""
    found = [runs.class_accuracies(network["test"]) for network in networks]
    if not isinstance(names, list) or not all(len(each) == len(names) > 0 for each in found):
        return
    counts = [each.n if each else 0 for each in found[0]]
    for count, words in ((0, "no test images, so no accuracy"), (1, "one test image, so no interval")):
        some = [str(name) for name, n in zip(names, counts, strict=True) if n == count]
        if some:
            st.caption(as_sentence(f"{_have(some)} {words}."))
    rows: list[dict[str, Any]] = [{"class": name, "n": n} for name, n in zip(names, counts, strict=True)]
    for network, each in zip(networks, found, strict=True):
        title = network["title"]
        for row, measured in zip(rows, each, strict=True):
            row[title] = 100 * measured.share if measured else None
            row[f"{title}, 95 % interval"] = (
                f"{100 * measured.low:.1f} to {100 * measured.high:.1f}" if measured and measured.n > 1 else ""
            )
    shares = {network["title"]: st.column_config.NumberColumn(format="%.1f%%") for network in networks}
    with st.expander("Accuracy of each class"):
        st.dataframe(rows, hide_index=True, column_config=shares, key="classes")


def _have(names: Sequence[str]) -> str:
    """The subject and verb of a sentence on these classes."""
    if len(names) == 1:
        return f"The class {quoted(names[0])} has"
    listed = ", ".join(map(quoted, names[:NAMED]))
    return f"The classes {listed}{f' and {len(names) - NAMED:,} more' if len(names) > NAMED else ''} have"
