"""Names that somebody chose to break the page with: as names of files, classes, models and runs they are only text."""

import io
import re
import secrets
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from driving.actions import click, fill, no_sideways_scroll, query, upload, visit, wait_until_ready
from explorer import runs
from explorer.presets import cifar
from explorer.training import TrainingConfig
from tests.e2e.conftest import Server
from tests.e2e.exploring import open_pictures
from tests.made_runs import finish
from tests.test_names import HTML, LONG, MARKDOWN, NAMES, PATHS, REORDERED, weights

ALL = f"{HTML} {MARKDOWN} {REORDERED} {' '.join(PATHS)}"
TITLE = f"{HTML} {MARKDOWN[:40]}"
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
    """Gives the model that Models shows a bad name, and the widest."""
    for name in (TITLE, "n" * 80):
        assert len(name) <= 80
        fill(page, "Name", name)
        expect(page.get_by_label("Name", exact=True)).to_have_value(name)
        assert_only_text(page, f"a model called {name!r}")


def test_hostile_names_of_files_classes_and_models_are_only_text(page: Page, tmp_path: Path) -> None:
    visit(page, "/models")
    upload(page, "weights", f"{ALL} {LONG}.safetensors", "application/octet-stream", weights(tmp_path))
    assert_only_text(page, "the report")
    click(page, "button", "Use this model")
    assert_only_text(page, "Explore")
    page.get_by_role("combobox", name="Class to explain").select_option(str(NAMES.index(REORDERED)))
    wait_until_ready(page)
    assert query(page)["target"] == [str(NAMES.index(REORDERED))]
    assert_only_text(page, "a class whose name reorders")
    open_pictures(page)
    upload(page, "bar", f"{ALL} {LONG}.png", "image/png", png())
    for tab in ("Layer", "Block", "More methods", "Channels", "Can I trust this map?"):
        click(page, "tab", tab)
        assert_only_text(page, tab)
    click(page, "link", "Models")
    page.get_by_role("combobox", name="Model").click()
    page.keyboard.insert_text("your upload")
    page.get_by_role("option").first.click()
    wait_until_ready(page)
    rename_badly(page)
    click(page, "link", "Compare")
    assert_only_text(page, "Compare")
    click(page, "link", "Gradients")
    assert_only_text(page, "Gradients")


def trained(page: Page, data: str) -> runs.Run:
    """A run of that visitor that has finished."""
    (owner,) = (cookie["value"] for cookie in page.context.cookies() if cookie["name"] == "explorer_owner")
    spec = cifar(8, classes=3, width=4)
    specs = (spec, spec.twin())
    run = runs.Run(runs.runs_folder() / secrets.token_hex(16))
    run.folder.mkdir(parents=True)
    run.write_request(
        runs.Request(
            specs=tuple(each.to_dict() for each in specs),
            config=TrainingConfig(epochs=1, batch_size=8).to_dict(),
            data={"kind": "stored", "number": data.removeprefix("stored-")},
            owner=owner,
            created=time.time(),
            names=tuple(each.name for each in specs),
        )
    )
    finish(run)
    return run


def test_hostile_names_of_a_training_are_only_text(page: Page, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    visit(page, "/build?preset=resnet-8&data=own")
    click(page, "tab", "Data")
    upload(page, "zip", f"{MARKDOWN} {HTML}.zip", "application/zip", pictures(HTML, "**bold** :red[x]", "plain"))
    assert_only_text(page, "the contact sheet")
    monkeypatch.setenv("EXPLORER_DATA", str(server.data))
    run = trained(page, query(page)["data"][0])
    visit(page, f"/build?run={run.id}")
    expect(page.get_by_text(re.compile(r"test accuracy .* after"))).to_be_visible()
    expect(page.get_by_text("plain", exact=True).first).to_be_visible()
    assert_only_text(page, "the run")
    click(page, "link", "Models")
    page.get_by_role("combobox", name="Model").click()
    page.keyboard.insert_text("your run")
    page.get_by_role("option", name=re.compile("^ResNet-8 · .* · your run")).click()
    wait_until_ready(page)
    rename_badly(page)
    click(page, "link", "Build & train")
    assert_only_text(page, "a run with that title")
