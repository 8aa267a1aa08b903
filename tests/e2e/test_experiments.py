"""Experiments in a real browser: a question asked and answered, another one by keyboard, its link, and a study."""

import json
import re
from pathlib import Path

from playwright.sync_api import Page, expect

from driving.accessibility import assert_accessible, assert_keyboard_goes_everywhere
from driving.actions import no_sideways_scroll, query, visit, wait_until_ready, widths, windows
from driving.server_process import wait_for
from tests.e2e.conftest import PATIENCE, Server


def test_a_question_is_asked_answered_and_sent(page: Page) -> None:
    visit(page, "/experiments?first=shapes-plain-8&second=shapes-resnet-8&n=50")
    expect(page.get_by_text("This takes 4 changed networks on 50 images.")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Measure")).click()
    answer = page.get_by_text(re.compile("^ResNet-8 is right for"))
    expect(answer.first).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    for window in windows(page):
        assert no_sideways_scroll(page), window
        assert_accessible(page, window)
    asked = page.url
    assert "measure=yes" in asked
    page.get_by_role("radio", name="Which blocks can a network do without?").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("heading", name="How small a change misleads a network?")).to_be_visible()
    page.get_by_role("button", name=re.compile("^Measure")).click()
    expect(page.get_by_text(re.compile("^Under PGD of 10 steps within 4/255 plain-8")).first).to_be_visible(
        timeout=PATIENCE
    )
    expect(page.get_by_role("img", name="the change × 10")).to_be_visible()
    assert_keyboard_goes_everywhere(page)
    page.goto(asked)
    expect(answer.first, "a link shows what was measured").to_be_visible(timeout=PATIENCE)


def test_a_study_is_started_paused_resumed_stopped_and_deleted(page: Page, server: Server) -> None:
    """Twins of two depths and two seeds, seven steps each: one run to its end, another one that is stopped."""
    axes = "data:shapes-16-ring-star;depth:8|14;shortcut:none|identity;batch_size:512"
    visit(page, f"/experiments?question=study&axes={axes}&seeds=2&epochs=1&places=1")
    expect(page.get_by_text(re.compile("^4 runs of 8 networks: about"))).to_be_visible()
    page.get_by_role("button", name="Start", exact=True).click()
    pause = page.get_by_role("button", name="Pause", exact=True)
    expect(pause).to_be_visible()
    study = server.data / "studies" / query(page)["study"][0]
    runs = [server.data / "runs" / trial["run"] for trial in json.loads((study / "study.json").read_text())["trials"]]

    def is_there(path: Path) -> None:
        assert wait_for(path.exists, PATIENCE / 1000), study.joinpath("log.txt").read_text()

    is_there(runs[0] / "metrics.jsonl")
    pause.click()  # the run that goes on comes to its end
    expect(page.get_by_text(re.compile("^1 of 4 runs finished · paused$"))).to_be_visible(timeout=PATIENCE)
    partial = page.get_by_text(re.compile(r"^2 of 8 networks are trained\."))
    expect(partial).to_be_visible()
    expect(page.get_by_text("Gradient maps side by side.")).to_be_visible()
    page.get_by_role("button", name="Resume", exact=True).click()
    is_there(runs[1] / "metrics.jsonl")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text(re.compile("^1 of 4 runs finished · stopped$"))).to_be_visible(timeout=PATIENCE)
    page.goto(page.url)
    expect(partial, "a link opens the same study").to_be_visible()
    for window in windows(page):
        assert no_sideways_scroll(page), window
        assert_accessible(page, window)
    page.get_by_role("button", name="Delete", exact=True).click()
    page.get_by_role("button", name="Yes, delete").click()
    expect(page.get_by_role("button", name="Start", exact=True)).to_be_visible()
    assert not study.exists() and not any(run.exists() for run in runs)


def test_a_surface_is_drawn_while_it_is_measured_and_stopped_with_what_it_has(page: Page) -> None:
    """So many points that Stop comes first: the first ones are drawn at once, in space too."""
    asked = "question=surface&first=shapes-plain-8&second=none&statistics=frozen&n=50&curvature=none&along=2&points=51"
    visit(page, f"/experiments?{asked}")
    page.get_by_role("button", name="Measure", exact=True).click()
    expect(page.get_by_text(re.compile("frozen statistics: the loss at the centre is")).first).to_be_visible(
        timeout=PATIENCE
    )
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.get_by_text(re.compile(r"% · stopped$"))).to_be_visible(timeout=PATIENCE)
    wait_until_ready(page)
    expect(page.get_by_text("of 2,601 points were not measured").first).to_be_visible()
    expect(page.locator(".js-plotly-plot canvas").first).to_be_visible()
    for width in widths(page):
        assert no_sideways_scroll(page), width
