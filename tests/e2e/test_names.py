"""Names that somebody chose to break the page with: as names of files, classes, models and runs they are only text."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from driving.verbs import click, fill, no_sideways_scroll, query, upload, visit, wait_until_ready
from explorer import checkpoints
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.presets import cifar
from tests.e2e.conftest import PATIENCE
from tests.e2e.test_build import button, link

HTML = "<img src=x onerror=window.evil=1>"
MARKDOWN = "**bold** [go](https://evil.example) ![i](https://evil.example/i) :red[x] $x^2$ `c`"
REORDERED = "\u202egnp.tac"
LONG = "n" * 300
ALL = f"{HTML} {MARKDOWN} {REORDERED}"
PATHS = ("../../etc/passwd", "C:\\Windows\\evil")
TITLES = (*PATHS, HTML, MARKDOWN[:40], MARKDOWN[41:], "n" * 80)  # of models and runs, which have at most 80 letters
NAMES = (*PATHS, "nul\x00byte", REORDERED, HTML, MARKDOWN, LONG, "one\n# two", " ", "🦀")
# Most of Explore is drawn within shadow roots.
BROKEN = """() => {
    const found = [];
    if (window.evil !== undefined) found.push('a name ran as a program');
    const look = root => {
        for (const wrong of ['img[src="x"]', '[href*="evil.example"]', '[src*="evil.example"]', 'main h1'])
            if (root.querySelector(wrong)) found.push(`a name made ${wrong}`);
        for (const bold of root.querySelectorAll('strong, em'))
            if (bold.textContent === 'bold') found.push('a name formats');
        // A field to edit holds the name as it is; Streamlit itself lists what was just uploaded, on its own line.
        const texts = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
        while (texts.nextNode()) {
            const box = texts.currentNode.parentElement;
            if (texts.currentNode.data.includes('\\u202e') && !box?.closest('textarea, [data-testid=stFileUploader]'))
                found.push(`a name reorders the text around it: ${box?.outerHTML.slice(0, 200)}`);
        }
        for (const each of root.querySelectorAll('*')) if (each.shadowRoot) look(each.shadowRoot);
    };
    look(document.body);
    return found;
}"""


def assert_only_text(page: Page, where: str) -> None:
    wait_until_ready(page)
    assert page.evaluate(BROKEN) == [], where
    assert page.get_by_text("Something went wrong").count() == 0, where
    assert no_sideways_scroll(page), where


def weights(folder: Path) -> bytes:
    """A file of the app's own, whose classes have those names."""
    path = folder / "named.safetensors"
    network = build(cifar(8), seed=1)
    checkpoints.save(Checkpoint(network, NAMES, (0.5,) * 3, (0.25,) * 3, data=HTML), path)
    return path.read_bytes()


def png(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (40, 40, 3), np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def pictures(*classes: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in classes:
            for number in range(12):
                archive.writestr(f"{name}/{number}.png", png(number))
    return buffer.getvalue()


def rename_badly(page: Page) -> None:
    """Gives the model that Models shows one bad name after the other. Those that cannot be shown are refused."""
    for name in TITLES:
        assert len(name) <= 80
        fill(page, "Name", name)
        expect(page.get_by_label("Name", exact=True)).to_have_value(name)
        expect(page.get_by_text("a name has 1 to 80 characters that can be shown.")).to_have_count(0)
        assert_only_text(page, f"a model called {name!r}")
    fill(page, "Name", REORDERED)
    expect(page.get_by_text("a name has 1 to 80 characters that can be shown.")).to_be_visible()
    assert_only_text(page, "a name that is refused")


def test_hostile_names_of_files_classes_and_models_are_only_text(page: Page, tmp_path: Path) -> None:
    visit(page, "/models")
    content = weights(tmp_path)
    for name in (ALL, *PATHS, LONG):
        upload(page, "weights", f"{name}.safetensors", "application/octet-stream", content)
        assert_only_text(page, f"the report on {name!r}")
    click(page, "button", "Use this model")
    assert_only_text(page, "Explore")
    page.get_by_role("combobox", name="Class to explain").click()
    page.keyboard.type("gnp.tac")
    page.keyboard.press("Enter")
    wait_until_ready(page)
    assert query(page)["target"] == [str(NAMES.index(REORDERED))]
    assert_only_text(page, "a class whose name reorders")
    click(page, "radio", "File")
    for name in (ALL, LONG):
        upload(page, "upload", f"{name}.png", "image/png", png())
        assert_only_text(page, f"a picture called {name!r}")
    for tab in ("Block", "More methods", "Channels", "Can I trust this map?"):
        click(page, "tab", tab)
        assert_only_text(page, tab)
    click(page, "link", "Models")
    page.get_by_role("combobox", name="Model").click()
    page.keyboard.type("your upload")
    page.get_by_role("option").first.click()
    wait_until_ready(page)
    rename_badly(page)
    click(page, "link", "Compare")
    assert_only_text(page, "Compare")
    click(page, "link", "Gradients")
    assert_only_text(page, "Gradients")


def test_hostile_names_of_a_training_are_only_text(page: Page) -> None:
    visit(page, link(2, data="own"))
    click(page, "tab", "Data")
    upload(page, "zip", f"{MARKDOWN} {HTML}.zip", "application/zip", pictures(HTML, "**bold** :red[x]", "plain"))
    assert_only_text(page, "the contact sheet")
    button(page, "Train ResNet-8 and plain-8").click()
    expect(page.get_by_text(re.compile("test pictures after"))).to_be_visible(timeout=PATIENCE)
    assert_only_text(page, "the run")
    click(page, "link", "Models")
    page.get_by_role("combobox", name="Model").click()
    page.keyboard.type("your run")
    page.get_by_role("option", name=re.compile("^ResNet-8 · .* · your run")).click()
    wait_until_ready(page)
    rename_badly(page)
    click(page, "link", "Build & train")
    assert_only_text(page, "a run with that title")
