"""The address of Explore: the query belongs to the server, what stands behind the hash to the viewer."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import BrowserContext, Page, expect

from driving.actions import choose, click, query, visit, wait_until_ready
from driving.server_process import START_S, served, wait_for
from tests.conftest import keep_speed
from tests.e2e.exploring import SMALL, open_pictures, strip_button, works_at
from tests.e2e.test_server import stand_in_browser


def test_back_and_forward_go_through_choices_of_both_owners_in_their_order(page: Page) -> None:
    visit(page, f"{SMALL}&layers=main")
    seen = [query(page)]
    acts: list[Callable[[], object]] = [
        lambda: strip_button(page, "stages.1.0.conv2", "ResNet-8").click(),
        lambda: choose(page, "Class to explain", "ring"),
        lambda: page.get_by_text("network", exact=True).click(),
        lambda: click(page, "button", "Next"),
        lambda: strip_button(page, "stages.0.0", "ResNet-8").click(),
        lambda: choose(page, "Second network", "None"),
    ]
    for act in acts:
        act()
        wait_until_ready(page)
        seen.append(query(page))
    assert len({str(each) for each in seen}) == len(seen), "each choice is in the address"
    for wanted in reversed(seen[:-1]):
        page.go_back()
        wait_until_ready(page)
        assert query(page) == wanted
        expect(
            page.get_by_role("heading", name=f"Layer {wanted.get('layer', ['stages.2.0'])[0]}", exact=True)
        ).to_be_visible()
    for wanted in seen[1:]:
        page.go_forward()
        wait_until_ready(page)
        assert query(page) == wanted
    expect(page.get_by_role("heading", name="One image, one network")).to_be_visible()
    page.go_back()
    wait_until_ready(page)
    expect(page.get_by_role("heading", name="One image, two networks")).to_be_visible()
    choose(page, "Class to explain", "star")
    assert query(page) == {**seen[-2], "target": ["6"]}, "what was taken back stays so"
    page.go_back()
    wait_until_ready(page)
    assert query(page) == seen[-2]


def test_an_old_link_opens_and_the_viewer_takes_its_part_over(page: Page) -> None:
    """Before the viewer, all of the view stood in the query."""
    visit(page, f"{SMALL}&layer=stages.1.0.conv1&channel=3&scope=both&opacity=20&picture=sample-1-7")
    expect(page.get_by_role("heading", name="Layer stages.1.0.conv1", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name="Feature map of channel 3")).to_have_count(2)
    expect(page.get_by_label("Opacity of the overlay, %")).to_have_value("20")
    click(page, "button", "Next")
    address = urlsplit(page.url)
    pair = {"first": ["shapes-plain-8"], "second": ["shapes-resnet-8"]}
    layers = {"layers": ["main"]}  # of a layer that is no block
    assert parse_qs(address.query) == {**pair, "picture": ["sample-1-8"], **layers}
    assert parse_qs(address.fragment) == {
        "layer": ["stages.1.0.conv1"],
        "channel": ["3"],
        "scope": ["both"],
        "opacity": ["20"],
    }
    page.reload()
    wait_until_ready(page)
    expect(page.get_by_role("heading", name="Layer stages.1.0.conv1", exact=True)).to_be_visible()
    expect(page.get_by_text("drawn ring, number 8", exact=True)).to_be_visible()


def test_an_old_link_with_a_layer_inside_a_block_in_its_fragment_shows_it(page: Page) -> None:
    """Links from before the strip had blocks alone name no `layers`."""
    visit(page, "/?first=shapes-plain-8&second=shapes-resnet-8#layer=stages.1.0.conv1")
    expect(page.get_by_role("heading", name="Layer stages.1.0.conv1", exact=True)).to_be_visible()
    expect(page.get_by_role("combobox", name="Layers", exact=True)).to_have_value("main")
    wait_until_ready(page)
    assert query(page)["layers"] == ["main"]
    choose(page, "Layers", "Blocks")
    expect(page.get_by_role("heading", name="Layer stages.1.0", exact=True)).to_be_visible()
    wait_until_ready(page)
    assert query(page)["layer"] == ["stages.1.0"] and "layers" not in query(page)


def test_panels_of_the_server_follow_the_layer_of_the_viewer_whose_strip_answers_from_every_tab(page: Page) -> None:
    """The Layer tab is drawn alone, the others with the whole page: the strip has to know which."""
    visit(page, f"{SMALL}&layers=main")

    def choose_layer(layer: str) -> None:
        strip_button(page, layer, "ResNet-8").click()
        expect(page.get_by_role("heading", name=f"Layer {layer}")).to_be_visible()
        wait_until_ready(page)  # Streamlit drops the pictures of a run that another one follows at once

    choose_layer("stages.1.0.conv2")
    click(page, "tab", "Channels")
    choose_layer("stages.2.0.conv1")
    click(page, "tab", "Layer")
    choose_layer("stages.1.0.conv1")
    click(page, "tab", "Block")
    expect(page.get_by_role("combobox", name="Block")).to_have_value("stages.1.0")
    choose_layer("stages.0.0.conv1")
    expect(page.get_by_role("combobox", name="Block")).to_have_value("stages.0.0")
    choose(page, "Block", "stages.2.0")
    expect(page.get_by_role("heading", name="Layer stages.2.0", exact=True)).to_be_visible()
    assert query(page)["layer"] == ["stages.2.0"]
    page.reload()  # the panel is drawn once, of the layer in the link: no picture of another one is missing
    wait_until_ready(page)
    expect(page.get_by_role("combobox", name="Block")).to_have_value("stages.2.0")


def test_two_tabs_of_one_browser_are_two_views(page: Page) -> None:
    visit(page, SMALL)
    other = page.context.new_page()
    visit(other, f"{SMALL}&picture=sample-1-3")
    open_pictures(page)
    click(page, "button", "heart")
    strip_button(other, "stages.0.0", "ResNet-8").click()
    wait_until_ready(other)
    expect(page.get_by_text("drawn heart, number 6", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Layer stages.2.0", exact=True)).to_be_visible()
    expect(other.get_by_text("drawn ring, number 3", exact=True)).to_be_visible()


def test_the_app_opens_in_a_browser_and_works_below_a_path_that_it_is_told(
    tmp_path: Path, browsers: Callable[[int], BrowserContext]
) -> None:
    """`test_proxies.py` has the other way: a proxy that cuts the path off."""
    keep_speed(tmp_path)
    program, opened = stand_in_browser(tmp_path)
    options = ["--server.baseUrlPath=lab", "--server.headless=false"]
    environment = {"BROWSER": str(program), "HOME": str(tmp_path)}
    with (
        served(tmp_path, *options, log=tmp_path / "log.txt", environment=environment) as (url, _),
        closing(browsers(0).new_page()) as page,
    ):
        assert url.endswith("/lab")
        assert wait_for(opened.exists, START_S) and opened.read_text() == f"{url}/"
        works_at(page, url)
