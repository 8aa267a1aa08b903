"""Explore with two networks of one name: their titles, colours, rows and downloads tell them apart, and stay text."""

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from explorer.figures import NETWORK_COLOURS
from explorer.presets import cifar
from explorer.ui.explore.tabs import TABS
from explorer.ui.network_registry import unique_labels
from explorer.ui.services.offered_networks import unique_titles
from tests.messages import message
from tests.test_pages import kept_run, open_app

EVIL = "**a** | <img src=x> [b](c)"


def open_two(**query: str) -> AppTest:
    run = kept_run(cifar(8))
    run.write_title(EVIL)
    app = open_app(first="shapes-resnet-8", second=f"run-{run.id}-net-0", **query)
    assert not app.error
    return app


def networks(app: AppTest, part: str) -> list[dict[str, Any]]:
    """Of the strip, or of the predictions."""
    header = message(app)[0]
    found: list[dict[str, Any]] = (header if part == "strip" else header[part])["networks"]
    return found


def test_titles_lines_rows_and_downloads_tell_them_apart() -> None:
    app = open_two()
    for part in ("strip", "predictions"):
        assert [network["title"] for network in networks(app, part)] == ["ResNet-8 · Shapes", f"{EVIL} · ResNet-8"]
    for part in ("strip", "predictions"):
        assert {network["colour"] for network in networks(app, part)} == {NETWORK_COLOURS["light"]["residual"]}
        assert [network["dashed"] for network in networks(app, part)] == [False, True]
    for chart in message(app)[0]["charts"]:
        assert [bool(series["dash"]) for series in chart["series"]] == [False, True]
        assert all(f"{EVIL} · ResNet-8: " in words for words in chart["hover"])


@pytest.mark.parametrize("tab", TABS)
def test_a_title_that_somebody_chose_is_only_text_in_every_tab(tab: str) -> None:
    app = open_two(tab=tab)
    said = [element.value for kind in (app.markdown, app.caption, app.info) for element in kind]
    said += [each.proto.label for each in app.get("download_button")]
    assert not [text for text in said if "<img" in text.replace("\\<img", "") or "**a**" in text or "[b](c)" in text]


def test_what_nobody_else_is_called_stays_short() -> None:
    different = {"shapes-plain-8": "plain-8", "shapes-resnet-8": "ResNet-8"}
    assert unique_titles(different, unique_labels(different)) == different
    alike = {"shapes-plain-8": "plain-8", "cifar10jpeg-plain-8": "plain-8", "shapes-resnet-8": "ResNet-8"}
    assert list(unique_titles(alike, unique_labels(alike)).values()) == [
        "plain-8 · Shapes",
        "plain-8 · CIFAR-10 (JPEG copy)",
        "ResNet-8",
    ]
