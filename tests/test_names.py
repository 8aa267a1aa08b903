"""Names that somebody chose to break the page with, one by one: whatever Streamlit is given to show is only text.

`e2e/test_names.py` has what a browser makes of all of them at once.
"""

import io
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from explorer import checkpoints
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.presets import cifar
from tests.messages import give_file
from tests.test_models import OWNER, check, give, open_models, trained
from tests.test_pages import open_app

HTML = "<img src=x onerror=window.evil=1>"
MARKDOWN = "**bold** [go](https://evil.example) ![i](https://evil.example/i) :red[x] $x^2$ `c`"
REORDERED = "\u202egnp.tac"
LONG = "n" * 300
PATHS = ("../../etc/passwd", "C:\\Windows\\evil")
NAMES = (*PATHS, "nul\x00byte", REORDERED, HTML, MARKDOWN, LONG, "one\n# two", " ", "🦀")
FILES = tuple(name for name in NAMES if "\x00" not in name)  # of such a file Streamlit itself tells the visitor
TITLES = (*PATHS, HTML, MARKDOWN[:40], MARKDOWN[41:], "n" * 80)  # of models and runs, which have at most 80 letters

FORMATTED = ("markdown", "caption", "info", "warning", "error", "success", "header", "subheader", "title", "toast")
LABELLED = """button download_button selectbox multiselect radio button_group checkbox text_input text_area number_input
slider file_uploader expander tab""".split()
# Streamlit's Markdown makes something of these where no backslash and no code span protects them.
POWERS = re.compile(r"<img|\*\*bold|\[go\]|!\[i\]|:red\[|\$x\^2|^# two", re.MULTILINE)


def all_of(app: AppTest, kinds: Iterable[str]) -> Iterator[Any]:
    for kind in kinds:
        yield from app.get(kind)


def markdown(app: AppTest) -> Iterator[str]:
    yield from (str(element.value) for element in all_of(app, FORMATTED))
    for element in all_of(app, LABELLED):
        yield str(getattr(element, "label", "") or getattr(element.proto, "label", ""))
    for element in all_of(app, ("radio", "button_group")):
        yield from map(str, element.options)


def plain(app: AppTest) -> Iterator[str]:
    """What stands in lists, which Streamlit shows as it is."""
    for element in all_of(app, ("selectbox", "multiselect")):
        yield from map(str, element.options)


def assert_only_text(app: AppTest, where: str) -> None:
    check(app)
    for said in markdown(app):
        bare = re.sub(r"\\.", "", re.sub(r"`[^`]*`", "", said))
        assert not POWERS.search(bare), (where, said)
        shown = re.sub(r"\\(.)", r"\1", re.sub(r"`[^`]*`", "", said))
        assert "https://evil" not in shown, (where, said)
        assert "\u202e" not in said, (where, said)
    for said in plain(app):
        assert "\u202e" not in said, (where, said)
    for element in all_of(app, ["html"]):
        assert "<img src=x" not in element.proto.body and "\u202e" not in element.proto.body, (where, element)


@pytest.mark.parametrize(
    "said", [HTML, f"a {MARKDOWN}", "one\n# two", "\\<img [go](x)", REORDERED, "see https://evil.x"]
)
def test_the_check_sees_what_would_not_be_text(said: str) -> None:
    app = AppTest.from_string(f"import streamlit as st\nst.caption({said!r})").run()
    with pytest.raises(AssertionError):
        assert_only_text(app, "a page")


def weights(folder: Path) -> bytes:
    """A file of the app's own, whose classes have those names."""
    path = folder / "named.safetensors"
    network = build(cifar(8), seed=1)
    checkpoints.save(Checkpoint(network, NAMES, (0.5,) * 3, (0.25,) * 3, data=HTML), path)
    return path.read_bytes()


@pytest.mark.usefixtures("in_this_process")
def test_the_names_of_files_of_weights(tmp_path: Path) -> None:
    app, content = open_models(), weights(tmp_path)
    for name in FILES:
        give(app, content, f"{name}.safetensors")
        assert not app.error and [button for button in app.button if button.label == "Use this model"], name
        assert_only_text(app, f"the report on {name!r}")


def test_the_titles_of_a_run() -> None:
    run = trained(OWNER)
    app = open_models(model=f"run-{run.id}-resnet-8")
    for title in TITLES:
        assert len(title) <= 80
        app.text_input(key="new_title").set_value(title).run()
        assert run.title() == title and app.text_input(key="new_title").value == title and not app.error
        assert_only_text(app, f"a run called {title!r}")
    app.text_input(key="new_title").set_value(REORDERED).run()
    (error,) = app.error
    assert "A name has 1 to 80 characters that can be shown" in error.value and run.title() == TITLES[-1]
    assert_only_text(app, "a name that is refused")


def test_the_names_of_pictures() -> None:
    app = open_app()
    for number, name in enumerate(FILES):
        buffer = io.BytesIO()
        pixels = np.random.default_rng(number).integers(0, 256, (40, 41, 3), np.uint8)
        Image.fromarray(pixels).save(buffer, "PNG")
        give_file(app, f"{name}.png", buffer.getvalue())
        assert not app.error and app.query_params["picture"].startswith("upload-"), name
        assert_only_text(app, f"an image called {name!r}")
