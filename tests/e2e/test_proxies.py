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
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
import requests
from playwright.sync_api import BrowserContext, Page, expect
from streamlit.web.server.starlette import starlette_server

from driving import proxies
from driving.protocol_client import Session, SessionError
from driving.proxies import LOGIN, PATH, Proxy
from driving.server_process import logged_errors, served, wait_for
from explorer.ui.api import explain
from tests.e2e.conftest import Server
from tests.e2e.exploring import SMALL, works_at

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
        places = {cookie.name: cookie.path for cookie in session.cookie_jar() if cookie.name != "explorer_process"}
        assert places == {"_streamlit_xsrf": f"{path}/", "explorer_login": f"{path}/"}, "other apps get none"
        (owner,) = (each for each in session.handshake_cookies() if each.startswith("explorer_owner="))
        assert {f"Path={path}/", "Secure", "HttpOnly"} <= {*owner.split("; ")}


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_the_largest_upload_passes(proxied: Proxied, kind: str) -> None:
    """Of 256 MB with the form around it; and a larger one is refused, by the one or the other, at nobody's expense."""
    proxy = proxied.proxies[kind]
    with session_at(proxy) as session, session_at(proxy) as other:
        session.rerun()
        other.rerun(**VIEW)
        session.send_file("largest.bin", bytes(256 * MIB - 1000))
        with pytest.raises(SessionError, match="was answered with 413|no answer to the upload"):
            session.send_file("larger.bin", bytes(258 * MIB))
        other.explain()


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


class Imitation(ThreadingHTTPServer):
    """Answers with its number and the headers that it got; a POST gets no answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            server: Any = self.server
            self.wfile.write(json.dumps([server.server_port, {**self.headers}]).encode())

        def do_POST(self) -> None:
            pass

        def log_message(self, *_: object) -> None:
            pass

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), self.Handler)
        Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def end(self) -> None:
        self.shutdown()
        self.server_close()


@pytest.fixture
def secret() -> str:
    return proxies.LOGIN_SECRET


@pytest.fixture
def imitated(
    kind: str, secret: str, tmp_path: Path
) -> Iterator[tuple[Callable[..., requests.Response], dict[int, Imitation]]]:
    """A function that asks a proxy, and what stands there in place of two processes of the app, by port."""
    apps = {each.server_port: each for each in (Imitation(), Imitation())}
    start: Any = {"nginx": proxies.nginx, "caddy": proxies.caddy}[kind]
    with start(tmp_path, [f"127.0.0.1:{port}" for port in apps], secret=secret) as proxy:

        def ask(path: str, login: bool = True, method: str = "GET", **headers: str) -> requests.Response:
            session = requests.Session()
            session.trust_env, session.verify = False, str(proxy.authority)
            session.auth = LOGIN if login else None
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            return session.request(method, proxy.url + path, headers=headers, timeout=20, allow_redirects=False)

        yield ask, apps
    for app in apps.values():
        app.end()


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_a_failed_request_shuts_nobody_out_and_a_process_that_has_ended_is_replaced(imitated: Any) -> None:
    ask, apps = imitated
    answer = ask("/")
    home = answer.json()[0]
    mine = f"explorer_process={answer.cookies['explorer_process']}"
    for _ in range(3):
        assert ask("/", method="POST", Cookie=mine).status_code == 502
        assert ask("/", Cookie=mine).json()[0] == home
    apps.pop(home).end()
    for _ in range(3):
        answer = ask("/", Cookie=mine)
        assert answer.status_code == 200 and [answer.json()[0]] == [*apps]
        mine = f"explorer_process={answer.cookies.get('explorer_process', mine.partition('=')[2])}"


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_a_browser_that_is_logged_in_opens_a_session_without_sending_its_password(imitated: Any) -> None:
    """As Safari does with a WebSocket: by a cookie that is for nothing else, and that only the app's answers set."""
    ask, _ = imitated
    for path in ("", PATH):
        stream = f"{path}/_stcore/stream"
        answer = ask(f"{path}/")
        (cookie,) = (each for each in answer.raw.headers.getlist("set-cookie") if each.startswith("explorer_login="))
        secret, *attributes = cookie.split("; ")
        assert {*attributes} == {f"Path={path}/", "HttpOnly", "Secure", "SameSite=Lax"}
        assert ask(stream, login=False, Cookie=secret).status_code == 200
        assert ask(stream, login=False, Cookie=f"a=b; {secret}; c=d").status_code == 200
        for wrong in ("", "explorer_login=", secret[:-1], f"{secret}0", secret.upper(), f"explorer_login={'0' * 64}"):
            assert ask(stream, login=False, Cookie=wrong).status_code == 401
        for other in (f"{path}/", f"{path}/api/explain", f"{path}/_stcore/upload_file", f"{stream}/x"):
            answer = ask(other, login=False, Cookie=secret)
            assert answer.status_code == 401 and "Set-Cookie" not in answer.headers
        for refused in (ask(PATH, login=False), ask(PATH, login=False, Authorization="Basic eDp5")):
            assert refused.is_redirect and "explorer_login" not in refused.headers.get("Set-Cookie", "")


@pytest.mark.parametrize("secret", ["", "5e" * 15])
@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_a_secret_that_can_be_guessed_lets_nobody_in(imitated: Any, secret: str) -> None:
    ask, _ = imitated
    assert ask("/").status_code == 200
    for cookie in ("", f"explorer_login={secret}"):
        assert ask("/_stcore/stream", login=False, Cookie=cookie).status_code == 401


@pytest.mark.parametrize("kind", ["nginx", "caddy"])
def test_a_proxy_says_itself_where_a_page_came_from(imitated: Any) -> None:
    """Whatever a program says; and the browser asks by HTTPS from then on."""
    ask, _ = imitated
    named = {"X_Forwarded_Proto": "http", "X_Forwarded_Prefix": "/x", "X_Forwarded_Host": "x", "X_Forwarded_Port": "1"}
    for path in ("", PATH):
        answer = ask(f"{path}/", **named)
        told = {name.lower(): value for name, value in answer.json()[1].items()}
        assert told["x-forwarded-proto"] == "https" and told.get("x-forwarded-prefix", "") == path
        assert told["host"] == told.get("x-forwarded-host", told["host"]) == urlsplit(answer.url).netloc
        assert "authorization" not in told
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_a_page_may_be_silent_for_longer_than_proxies_wait_by_themselves() -> None:
    """nginx waits for 60 seconds, and Caddy without end unless it is told. Streamlit's server sends a ping earlier."""
    waits = dict(re.findall(r"^ *proxy_(read|send)_timeout (\w+);", proxies.NGINX.read_text(), re.MULTILINE))
    assert waits == {"read": "1h", "send": "1h"}
    assert not re.search(r"timeout(?! 60s$)|stream_", proxies.CADDY.read_text(), re.MULTILINE)
    assert starlette_server._get_websocket_settings()[0] <= 30


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


def opened(page: Page, proxy: Proxy) -> str:
    """The address of the app below a path, to which the browser has sent its password."""
    url = proxy.url + PATH
    page.goto(f"{url.replace('//', '//' + ':'.join(LOGIN) + '@')}/_stcore/health")  # as the browser's dialog does
    return url


def test_the_app_works_below_a_path_of_nginx_in_a_browser(proxied: Proxied, guest: Page) -> None:
    works_at(guest, opened(guest, proxied.proxies["nginx"]))


def test_the_app_draws_below_a_path_of_caddy_in_a_browser(proxied: Proxied, guest: Page) -> None:
    """The rest is the same there as below a path of nginx."""
    guest.goto(opened(guest, proxied.proxies["caddy"]) + SMALL)
    expect(guest.get_by_text("drawn star, number 6", exact=True)).to_be_visible()
    kept = {each["name"]: each["path"] for each in guest.context.cookies()}
    assert kept["explorer_owner"] == kept["_streamlit_xsrf"] == f"{PATH}/"


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
            self.wfile.write(OUTSIDE.format(url=server.url + SMALL).encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Outside) as outside:
        Thread(target=outside.serve_forever, daemon=True).start()
        guest.goto(f"http://localhost:{outside.server_port}/")
        frame = guest.frame_locator("iframe")
        expect(frame.get_by_role("button", name="stages.1.0, ResNet-8, Grad-CAM")).to_be_visible()
        frame.get_by_role("link", name="Models").click()
        expect(frame.get_by_text("this browser keeps no cookies of this page")).to_be_visible()
        expect(frame.get_by_role("link", name="Open in a tab of its own")).to_have_attribute(
            "href", re.compile(server.url)
        )
        outside.shutdown()
