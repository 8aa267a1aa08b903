"""The app behind nginx and Caddy, by the files of `deploy/`, at the root of a host and below a path; two processes of
the app that share a data folder; and the app in a frame of another site.

It fails, and never skips, without the two programs: `python -m driving.proxies` installs them.
"""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect

from driving import proxies
from driving.protocol_client import Session, SessionError
from driving.proxies import LOGIN, PATH, Proxy
from driving.server_process import logged_errors, served, wait_for
from explorer.ui.api import explain
from tests.e2e.conftest import Server
from tests.e2e.exploring import works_at

MIB = 2**20
VIEW = {"first": "shapes-plain-8", "second": "none"}
RUN = {"preset": "resnet-8", "data": "shapes-16-ring-star", "config": json.dumps({"seconds": 1.0}), "twin": "no"}
EVERY_WAY = [(kind, path) for kind in ("nginx", "caddy") for path in ("", PATH)]


class Proxied(NamedTuple):
    """The proxies by name, and the two processes behind both."""

    proxies: dict[str, Proxy]
    processes: tuple[str, str]
    log: Path  # of the second process


@pytest.fixture(scope="module")
def proxied(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """nginx and Caddy in front of `server` and of another process with the same data folder."""
    if said := proxies.missing():
        pytest.fail(said, pytrace=False)
    folders = {name: tmp_path_factory.mktemp(name) for name in ("nginx", "caddy", "second")}
    log = folders["second"] / "log.txt"
    environment = {"HOME": str(folders["second"]), "EXPLORER_PICTURES": ""}
    with ExitStack() as stack:
        second = stack.enter_context(served(server.data, log=log, environment=environment))
        processes = (server.url, second.url)
        apps = [urlsplit(url).netloc for url in processes]
        running = {
            "nginx": stack.enter_context(proxies.nginx(folders["nginx"], apps)),
            "caddy": stack.enter_context(proxies.caddy(folders["caddy"], apps)),
        }
        yield Proxied(running, processes, log)
    assert logged_errors(log) == []


@contextmanager
def session_at(proxy: Proxy, path: str = "", owner: str | None = None) -> Iterator[Session]:
    with closing(Session(proxy.url + path, owner, login=LOGIN, authority=proxy.authority)) as session:
        yield session


@pytest.mark.parametrize(("kind", "path"), EVERY_WAY)
def test_a_session_and_the_data_address_work_behind_the_recipe(proxied: Proxied, kind: str, path: str) -> None:
    """With the login alone, and the address asks for its token and origin as it does without a proxy."""
    proxy = proxied.proxies[kind]
    url = proxy.url + path

    def ask(session: Session, token: str, origin: str) -> requests.Response:
        line = {"picture": "sample-6-6", "networks": [VIEW["first"]]}
        return requests.post(
            f"{url}/{explain.ROUTE}",
            json.dumps(line),
            headers={"X-Explorer-Token": token, "Origin": origin},
            cookies=session.cookies(),
            auth=LOGIN,
            verify=str(proxy.authority),
            timeout=20,
        )

    anybody = requests.get(f"{url}/", verify=str(proxy.authority), timeout=20)
    assert anybody.status_code == 401 and "<script" not in anybody.text
    with session_at(proxy, path) as session:
        session.rerun(**VIEW)
        session.explain()
        assert len(session.answer[0]) > 10_000
        assert ask(session, session.token, proxy.url).status_code == 200
        assert ask(session, secrets.token_hex(16), proxy.url).status_code == 404
        for foreign in ("https://elsewhere.example", f"{proxy.url}1"):
            answer = ask(session, session.token, foreign)
            assert (answer.status_code, answer.json()["code"]) == (403, "origin")
            assert "`Host`" in answer.json()["message"]
        places = {cookie.name: cookie.path for cookie in session.cookie_jar() if cookie.name == "_streamlit_xsrf"}
        assert places == {"_streamlit_xsrf": f"{path}/"}, "below a path, the app's cookies are for that path"


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_the_largest_upload_passes(proxied: Proxied, kind: str) -> None:
    """Of 256 MB with the form around it; and a larger one is refused, by the one or the other."""
    with session_at(proxied.proxies[kind]) as session:
        session.rerun()
        session.send_file("largest.bin", bytes(256 * MIB - 1000))
        with pytest.raises(SessionError, match="was answered with 413|no answer to the upload"):
            session.send_file("larger.bin", bytes(258 * MIB))


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_two_processes_serve_each_browser_alone_and_share_the_runs(
    proxied: Proxied, queue_is_taken: None, kind: str
) -> None:
    """Each request of a session comes to the process that has it. A run that was started in one process is shown,
    stopped and seen stopped in the other, by its owner."""
    proxy, owner = proxied.proxies[kind], secrets.token_hex(16)
    homes: dict[str, Session] = {}
    with ExitStack() as stack:
        for _ in range(40):
            session = stack.enter_context(session_at(proxy, owner=owner))
            session.rerun(**VIEW)
            homes.setdefault(process_of(session, proxied), session)
            if len(homes) == 2:
                break
        assert len(homes) == 2, "browsers are spread over the processes"
        one, other = homes.values()
        for session in (one, other):
            for _ in range(4):
                session.explain()  # raises where another process gets it: the session is unknown there
            session.send_file("a.bin", b"a")
        one.rerun("build", **RUN)
        one.press("start")
        run = one.query["run"]
        with session_at(proxy) as stranger:
            stranger.rerun("build", run=run)
            assert not stranger.has("stop")
        other.rerun("build", run=run)
        assert other.has("stop")
        other.press("stop")

        def has_ended() -> bool:
            one.rerun("build", run=run)
            return not one.has("stop")

        assert wait_for(has_ended, 60), "in the other process"


def process_of(session: Session, proxied: Proxied) -> str:
    """The address of the process that knows the session."""
    line = json.dumps({"picture": "sample-6-6", "networks": [VIEW["first"]]})
    (home,) = (
        url
        for url in proxied.processes
        if requests.post(f"{url}/{explain.ROUTE}", line, headers={"X-Explorer-Token": session.token}, timeout=20).ok
    )
    return home


@pytest.fixture
def guest(browsers: Callable[[int], BrowserContext]) -> Iterator[Page]:
    """A page whose complaints are its test's own."""
    with closing(browsers(0).new_page()) as page:
        browsers(0).clear_cookies()
        yield page


def test_the_app_works_below_a_path_of_nginx_in_a_browser(proxied: Proxied, guest: Page) -> None:
    url = proxied.proxies["nginx"].url + PATH
    guest.goto(f"{url.replace('//', '//' + ':'.join(LOGIN) + '@')}/_stcore/health")  # as the browser's dialog does
    works_at(guest, url)


def test_a_proxy_that_drops_the_port_is_named_on_the_page_and_in_the_log(
    server: Server, guest: Page, tmp_path: Path
) -> None:
    """`Host $host` is what many a recipe has. With `X-Forwarded-Port` beside it the app works all the same."""
    dropping = {"proxy_set_header Host $http_host;": "proxy_set_header Host $host;"}
    telling = {'X-Forwarded-Port "";': "X-Forwarded-Port $server_port;"}
    app = [urlsplit(server.url).netloc]
    with proxies.nginx(tmp_path, app, dropping) as proxy:
        said = f"No session opens for a page at '{proxy.url}': the header `Host` names '127.0.0.1'."
        guest.goto(f"{proxy.url.replace('//', '//' + ':'.join(LOGIN) + '@')}/")
        expect(guest.get_by_text(said)).to_be_visible()
        with pytest.raises(SessionError, match="403"):
            Session(proxy.url, login=LOGIN, authority=proxy.authority)
    complaints = server.complaints()
    assert complaints and all(f"a page at '{proxy.url}': the header `Host` names" in line for line in complaints)
    with proxies.nginx(tmp_path, app, {**dropping, **telling}) as proxy, session_at(proxy) as session:
        session.rerun()


OUTSIDE = '<!doctype html><title>A course</title><iframe title="The app" src="{url}" width=1300 height=800></iframe>'


def test_in_a_frame_of_another_site_the_app_explains_and_says_why_it_takes_no_file(server: Server, guest: Page) -> None:
    """The browser keeps no cookies there, so Streamlit would answer an upload with a 403."""

    class Outside(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(OUTSIDE.format(url=server.url).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Outside) as outside:
        Thread(target=outside.serve_forever, daemon=True).start()
        guest.goto(f"http://localhost:{outside.server_port}/")
        frame = guest.frame_locator("iframe")
        expect(frame.get_by_role("button", name="stages.1.0, ResNet-56, Grad-CAM")).to_be_visible()
        frame.get_by_role("link", name="Models").click()
        expect(frame.get_by_text("this browser keeps no cookies of this page")).to_be_visible()
        expect(frame.get_by_role("link", name="Open in a tab of its own")).to_have_attribute(
            "href", re.compile(server.url)
        )
        outside.shutdown()
