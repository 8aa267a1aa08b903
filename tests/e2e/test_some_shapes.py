"""Some of the ten shapes in a real browser: chosen by their pictures, and marked where a network does not know them."""

from playwright.sync_api import Page, expect

from driving.accessibility import assert_accessible
from driving.actions import click, query, visit, wait_until_ready
from explorer import checkpoints, runs
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.presets import cifar
from tests.e2e.conftest import Server
from tests.e2e.exploring import open_pictures

FOUR = ("ring", "cross", "star", "arrow")


def test_the_keyboard_chooses_classes_by_their_pictures(page: Page) -> None:
    visit(page, "/build?preset=resnet-8&data=shapes-16-ring-star")
    click(page, "tab", "Data")
    for name in shapes.CLASS_NAMES:
        expect(page.get_by_role("img", name=f"A drawn {name}", exact=True)).to_be_visible()
    arrow, star = (page.get_by_role("checkbox", name=name, exact=True) for name in ("arrow", "star"))
    arrow.focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("6,000 training, 600 validation and 1,200 test images")).to_be_visible()
    wait_until_ready(page)
    assert query(page)["data"] == ["shapes-16-ring-star-arrow"]
    for name in ("arrow", "star"):
        page.get_by_role("checkbox", name=name, exact=True).press("Space")
        wait_until_ready(page)
    expect(page.get_by_text("at least 2 shapes to tell apart, so ring and star stay")).to_be_visible()
    expect(star).to_be_checked()
    expect(arrow).not_to_be_checked()
    assert query(page)["data"] == ["shapes-16-ring-star"]


def test_the_gallery_marks_what_the_networks_do_not_know(page: Page, server: Server) -> None:
    number, spec = "d" * 32, cifar(8, classes=4, size=16)
    run = runs.Run(server.data / "runs" / number)
    run.folder.mkdir(parents=True)
    data = shapes.Drawn(16, FOUR)
    known = Checkpoint(build(spec, seed=0).freeze(), FOUR, (0.4,) * 3, (0.25,) * 3, data.name)
    checkpoints.save(known, run.network_file("resnet-8"))
    run.write_request(runs.Request((spec.to_dict(),), {}, data.request))
    visit(page, f"/?first=run-{number}-resnet-8&second=none")
    open_pictures(page)
    tiles = page.get_by_role("group", name="The ten drawn shapes on this background")
    marked = tiles.get_by_title("No class of these networks")
    assert marked.all_inner_texts() == [name for name in shapes.CLASS_NAMES if name not in FOUR]
    assert_accessible(page, "a gallery with marks")
    tiles.get_by_role("button", name="heart").click()
    expect(page.get_by_text("These networks have never seen a heart")).to_be_visible()
    click(page, "button", "Look with the twins that know all shapes")
    expect(page.get_by_text("know only: circle, ring")).to_be_visible()
    expect(marked).to_have_count(0)
