"""The address of Explore: the query belongs to the server, what stands behind the hash to the viewer."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from driving.actions import choose, click, query, upload, visit, wait_until_ready
from driving.server_process import served
from tests.conftest import keep_speed
from tests.e2e.conftest import Server
from tests.e2e.exploring import open_pictures, photo, strip_button


def test_back_and_forward_go_through_choices_of_both_owners_in_their_order(page: Page) -> None:
    visit(page, "/?layers=main")
    seen = [query(page)]
    acts: list[Callable[[], object]] = [
        lambda: strip_button(page, "stages.1.0.conv2", "ResNet-20").click(),
        lambda: choose(page, "Class to explain", "ring"),
        lambda: page.get_by_text("network", exact=True).click(),
        lambda: click(page, "button", "Next"),
        lambda: strip_button(page, "stages.0.1", "ResNet-20").click(),
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
            page.get_by_role("heading", name=f"Layer {wanted.get('layer', ['stages.2.2'])[0]}", exact=True)
        ).to_be_visible()
    for wanted in seen[1:]:
        page.go_forward()
        wait_until_ready(page)
        assert query(page) == wanted
    expect(page.get_by_role("heading", name="One image, one network")).to_be_visible()


def test_an_old_link_opens_and_the_viewer_takes_its_part_over(page: Page) -> None:
    """Before the viewer, all of the view stood in the query."""
    visit(page, "/?layer=stages.1.0.conv1&channel=3&scope=both&opacity=20&picture=sample-1-7")
    expect(page.get_by_role("heading", name="Layer stages.1.0.conv1", exact=True)).to_be_visible()
    expect(page.get_by_role("img", name="Feature map of channel 3")).to_have_count(2)
    expect(page.get_by_label("Opacity of the overlay, %")).to_have_value("20")
    click(page, "button", "Next")
    address = urlsplit(page.url)
    assert parse_qs(address.query) == {"picture": ["sample-1-8"], "layers": ["main"]}, "of a layer that is no block"
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


def test_panels_of_the_server_follow_the_layer_of_the_viewer(page: Page) -> None:
    visit(page, "/?layers=main")
    strip_button(page, "stages.1.0.conv2", "ResNet-20").click()
    click(page, "tab", "Block")
    expect(page.get_by_role("combobox", name="Block")).to_have_value("stages.1.0")
    strip_button(page, "stages.0.1.conv1", "ResNet-20").click()
    wait_until_ready(page)
    expect(page.get_by_role("combobox", name="Block")).to_have_value("stages.0.1")
    choose(page, "Block", "stages.2.1")
    expect(page.get_by_role("heading", name="Layer stages.2.1", exact=True)).to_be_visible()
    assert query(page)["layer"] == ["stages.2.1"]
    page.reload()  # the panel is drawn once, of the layer in the link: no picture of another one is missing
    wait_until_ready(page)
    expect(page.get_by_role("combobox", name="Block")).to_have_value("stages.2.1")


def test_two_tabs_of_one_browser_are_two_views(page: Page) -> None:
    visit(page)
    other = page.context.new_page()
    visit(other, "/?picture=sample-1-3")
    open_pictures(page)
    click(page, "button", "heart")
    strip_button(other, "stages.0.1", "ResNet-20").click()
    wait_until_ready(other)
    expect(page.get_by_text("drawn heart, number 6", exact=True)).to_be_visible()
    expect(page.get_by_role("heading", name="Layer stages.2.2", exact=True)).to_be_visible()
    expect(other.get_by_text("drawn ring, number 3", exact=True)).to_be_visible()


class StrippingProxy:
    """Hands on what comes below `/lab` to the app without that, as a proxy in front of it may."""

    def __init__(self, url: str) -> None:
        self._app = ("127.0.0.1", int(url.rsplit(":", 1)[1]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/lab"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(browser,), daemon=True).start()

    def _serve(self, browser: socket.socket) -> None:
        with closing(browser):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = browser.recv(65536)
                if not piece:
                    return
                head += piece
            line, rest = head.split(b"\r\n", 1)
            method, path, version = line.split(b" ")
            if b"upgrade: websocket" not in rest.lower():  # each request on a connection of its own
                rest = b"Connection: close\r\n" + rest.replace(b"Connection: keep-alive\r\n", b"")
            with closing(socket.create_connection(self._app)) as app:
                app.sendall(b"%b %b %b\r\n%b" % (method, path.removeprefix(b"/lab") or b"/", version, rest))
                threading.Thread(target=self._pump, args=(browser, app), daemon=True).start()
                self._pump(app, browser)

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        try:
            while piece := one.recv(65536):
                other.sendall(piece)
            other.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one of them has closed


@contextmanager
def below(way: str, server: Server, data: Path) -> Iterator[str]:
    """The address of the app below a path: told to the app, or cut off by a proxy."""
    if way == "told":
        keep_speed(data)
        with served(data, "--server.baseUrlPath=lab") as (url, _):
            assert url.endswith("/lab")
            yield url
    else:
        with closing(StrippingProxy(server.url)) as proxy:
            yield proxy.url


@pytest.mark.parametrize("way", ["told", "cut off"])
def test_the_app_works_below_a_path(
    way: str, server: Server, tmp_path: Path, browsers: Callable[[int], BrowserContext]
) -> None:
    with below(way, server, tmp_path) as url, closing(browsers(0).new_page()) as page:
        page.goto(f"{url}/?layers=main")
        expect(page.get_by_text("drawn star, number 6", exact=True)).to_be_visible()
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_text("drawn star, number 7", exact=True)).to_be_visible()
        strip_button(page, "stages.1.0.conv2", "ResNet-20").click()
        expect(page.get_by_role("heading", name="Layer stages.1.0.conv2", exact=True)).to_be_visible()
        open_pictures(page)
        upload(page, "bar", "a.jpg", "image/jpeg", photo(120, 80), wait=False)
        expect(page.get_by_text("Original, 120×80")).to_be_visible()
        page.goto(f"{url}/compare?picture=sample-6-6")
        page.get_by_role("link", name="Explore").click()
        expect(page.get_by_text("drawn star, number 6", exact=True)).to_be_visible()
