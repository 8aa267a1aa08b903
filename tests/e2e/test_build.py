"""Build & train in a real browser: a network is built, trained, left, stopped, resumed, explored and taken home."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest
import torch
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from driving.accessibility import assert_accessible, assert_keyboard_goes_everywhere
from driving.actions import click, fill, turn, upload, visit, wait_until_ready
from driving.server_process import wait_for
from explorer import checkpoints, runs
from explorer.architectures import ArchitectureSpec, build
from explorer.runs import Run
from explorer.training import TrainingConfig, restore, save
from tests.e2e.conftest import PATIENCE, Server
from tests.made_runs import paused

TINY = {
    "stages": [
        {"blocks": 1, "channels": channels, "stride": stride, "kernel_size": 3, "padding": "same"}
        for channels, stride in ((4, 1), (8, 2), (16, 2))
    ],
    "stem": {"channels": 4, "kernel_size": 3, "stride": 1, "pooling": "none"},
}


def link(seconds: float, **query: str) -> str:
    config = json.dumps({"seconds": seconds, "batch_size": 16})
    return "/build?" + urlencode({"preset": "resnet-8", "spec": json.dumps(TINY), "config": config, **query})


def start(page: Page, name: str = "Train ResNet-8 and plain-8") -> str:
    """Presses Start, and returns the run's id from the URL."""
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_url(re.compile("run="), timeout=PATIENCE)
    expect(heading(page)).to_be_visible()
    return parse_qs(urlsplit(page.url).query)["run"][0]


def heading(page: Page) -> Locator:
    return page.get_by_role("heading", name="ResNet-8 and plain-8", exact=True)


def button(page: Page, name: str) -> Locator:
    return page.get_by_role("button", name=name, exact=True)


def standing(page: Page) -> Locator:
    return page.get_by_text(re.compile(r"^Epoch \d+, step [\d,]+ · [\d,]+ images/s · \d+:\d\d left$"))


def curves(page: Page) -> Locator:
    return page.get_by_role("group", name=re.compile("^Loss and accuracy over training steps"))


def step_in(place: Locator) -> int:
    """The step that a sentence names."""
    found = re.search(r"step ([\d,]+)", place.inner_text())
    assert found
    return int(found[1].replace(",", ""))


def ticks(page: Page) -> list[str]:
    """The steps written under the charts."""
    return curves(page).locator("text.tick").all_text_contents()


def test_a_twin_pair_is_built_watched_stopped_resumed_explored_and_taken_home(
    page: Page, open_page: Callable[..., Page], server: Server
) -> None:
    """Its budget is far more than any machine needs for what is done here, so it runs all the time, until it is
    stopped and gets another one."""
    batch = json.dumps({"batch_size": 16})
    visit(page, "/build?" + urlencode({"preset": "resnet-8", "data": "shapes-16-ring-star", "config": batch}))
    fill(page, "Width: channels of the first stage", "4")
    click(page, "tab", "Training")
    fill(page, "Seconds", "3600")
    run = start(page)
    there = Run(server.data / "runs" / run)
    assert there.request().config["seconds"] == 3600

    # What a person has zoomed into stays when new numbers arrive.
    expect(standing(page)).to_have_text(re.compile(r"step [\d,]*\d\d ·"), timeout=PATIENCE)  # less is not zoomed into
    with paused(there):
        expect(button(page, "Show all").first).to_be_disabled()
        button(page, "Zoom in").first.click()
        button(page, "Zoom in").first.click()
        expect(button(page, "Show all").first).to_be_enabled()
        zoomed, before = ticks(page), curves(page).get_attribute("aria-label")
        assert zoomed and before
    expect(curves(page)).not_to_have_attribute("aria-label", before, timeout=PATIENCE)
    with paused(there):
        assert ticks(page) == zoomed
        # Turning a dial leaves the charts as they are, but for its mark on each of the two.
        dial = page.get_by_label("Weight decay", exact=True)
        dial.fill("0.01")
        dial.press("Enter")
    since = page.get_by_text(re.compile(r"^0\.01 since step [\d,]+, was 0\.0005$"))
    expect(since).to_be_visible(timeout=PATIENCE)
    assert ticks(page) == zoomed
    button(page, "Show all").first.click()
    assert ticks(page) != zoomed
    expect(curves(page).locator("text.dial-text")).to_have_text(["decay 0.01"] * 2, timeout=PATIENCE)
    with paused(there):
        assert_accessible(page, "a training")

        # Another person with the link sees it and cannot touch it.
        stranger = open_page()
        stranger.goto(page.url)
        expect(heading(stranger)).to_be_visible()
        expect(standing(stranger)).to_be_visible(timeout=PATIENCE)
        for name in ("Stop", "Resume", "Delete"):
            expect(button(stranger, name)).to_have_count(0)
        expect(stranger.get_by_text("weight decay 0.01")).to_be_visible()
        expect(stranger.get_by_label("Weight decay", exact=True)).to_have_count(0)
        stranger.close()

        # Leaving the page, coming back and a reload change nothing.
        page.get_by_role("link", name="In class", exact=True).click()
        expect(page.get_by_text("A link for your lesson")).to_be_visible()
        page.get_by_role("link", name="Build & train", exact=True).click()
        expect(heading(page)).to_be_visible()
        assert run in page.url
        page.reload()
        expect(heading(page)).to_be_visible()
        expect(standing(page)).to_be_visible(timeout=PATIENCE)
    button(page, "Stop").click()
    stopped = page.get_by_text(re.compile(r"^Stopped\. It was at step [\d,]+"))
    expect(stopped).to_be_visible(timeout=PATIENCE)
    reached = step_in(stopped)
    # What takes longer than 3 seconds to stop is ended, and goes on from what was saved before, if anything was.
    is_saved = there.state.exists()
    in_time = is_saved and there.state.stat().st_mtime >= there.stop_mark.stat().st_mtime
    shorten(there, seconds=3)
    button(page, "Resume").click()
    expect(stopped).to_have_count(0, timeout=PATIENCE)
    assert wait_for(lambda: is_training(there), PATIENCE / 1000)
    with paused(there):  # its few seconds pass meanwhile: it ends at its next step
        expect(standing(page)).to_be_visible(timeout=PATIENCE)
        went_on = (runs.status(there).log.start or {})["step"]
        assert went_on == reached if in_time else int(is_saved) <= went_on <= reached
        assert step_in(standing(page)) >= went_on
    expect(button(page, "Explore them side by side")).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    for dark in (False, True):
        turn(page, dark=dark)
        assert_accessible(page, f"a finished run, {'dark' if dark else 'light'}")
    assert_keyboard_goes_everywhere(page)
    result = page.get_by_text(re.compile(r"^ResNet-8 reaches")).inner_text()
    assert re.match(
        r"ResNet-8 reaches [\d.]+% test accuracy \(n = 800\), plain-8 reaches [\d.]+% test accuracy \(n = 800\) "
        r"after [\d,]+ steps: .+\. In ResNet-8 the weights of the first convolution received [\d.,]+ × the gradient",
        result,
    )
    with page.expect_download() as waiting:
        button(page, "Download plain-8").click()
    assert waiting.value.suggested_filename == "plain-8.safetensors"
    taken = checkpoints.load(waiting.value.path())
    kept = checkpoints.load(server.data / "runs" / run / "plain-8.safetensors")
    weights, others = taken.network.state_dict(), kept.network.state_dict()
    assert weights.keys() == others.keys() and all(torch.equal(weights[name], others[name]) for name in weights)
    assert taken.spec.shortcut == "none" and taken.spec.depth == 8 and taken.spec.stages[0].channels == 4
    assert f"{taken.metrics['test']['accuracy']:.1%}" in result

    click(page, "button", "Explore them side by side")
    for name in ("ResNet-8", "plain-8"):
        expect(page.get_by_text(re.compile(rf"^{name}, test accuracy [\d.]+% \(n\s=\s800\)$"))).to_be_visible()
    assert f"first=run-{run}-resnet-8" in page.url

    # Twins began alike: the same seed gives both the same weights, so the run's request holds one network twice.
    request = json.loads((server.data / "runs" / run / "request.json").read_text())
    first, second = map(ArchitectureSpec.from_dict, request["specs"])
    assert first.twin() == second


def is_training(run: Run) -> bool:
    phase = runs.status(run).log.phase
    return phase is not None and phase["phase"] == "training"


def shorten(run: Run, *, seconds: float) -> None:
    """Gives the stopped run so many seconds from where it stands; what it has saved is then of that budget."""
    request = run.request()
    config = replace(TrainingConfig.from_dict(request.config), device=request.device)  # type: ignore[arg-type]
    if run.state.exists():
        networks = [build(ArchitectureSpec.from_dict(spec), config.seed) for spec in request.specs]
        state = restore(run.state, networks, config)
        config = replace(config, seconds=state.seconds + seconds)
        save(run.state, networks, state, config)
    else:
        config = replace(config, seconds=seconds)
    run.write_request(replace(request, config=config.to_dict()))


def pets() -> bytes:
    """A zip of two classes that a glance tells apart, and a file that is no picture."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0)
    with zipfile.ZipFile(buffer, "w") as archive:
        for label, name in enumerate(("dark cats", "light dogs")):
            for number in range(20):
                pixels = noise.integers(60 + 100 * label, 90 + 100 * label, (24, 24, 3), dtype=np.uint8)
                picture = io.BytesIO()
                Image.fromarray(pixels).save(picture, "PNG")
                archive.writestr(f"pets/{name}/{number}.png", picture.getvalue())
        archive.writestr("pets/light dogs/broken.png", b"none")
    return buffer.getvalue()


@pytest.mark.usefixtures("queue_is_taken")
def test_own_pictures_are_shown_and_a_run_of_them_is_queued(page: Page) -> None:
    """`test_unbalanced` follows one to its end."""
    visit(page, link(2, data="own"))
    expect(button(page, "Train ResNet-8 and plain-8")).to_be_disabled()
    click(page, "tab", "Data")
    upload(page, "zip", "pets.zip", "application/zip", pets())
    expect(page.get_by_text(re.compile(r"28 training, 4 validation and 8 test images .* in 2 classes"))).to_be_visible()
    sheet = page.get_by_test_id("stDataFrame").first
    expect(sheet.locator("[role=gridcell]").filter(has_text="dark cats")).to_be_attached()
    expect(sheet.locator("[role=gridcell]").filter(has_text=re.compile("^14$"))).to_have_count(2)
    expect(page.get_by_text("Files left out: 1")).to_be_visible()
    start(page)
    expect(page.get_by_text("Queued, 1 ahead.")).to_be_visible()
    expect(page.get_by_text("your own images").first).to_be_visible()
