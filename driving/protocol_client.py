"""Sessions without a browser: a client of Streamlit's protocol over its websocket."""

import json
import re
import secrets
import socket
import ssl
import time
from contextlib import ExitStack
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import requests
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ClientState_pb2 import ClientState
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.exceptions import WebSocketException
from websockets.headers import build_authorization_basic
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin, Subprotocol

TIMEOUT_S = 120.0
COMPLAINT = re.compile(rb"Something went wrong that should not have|Traceback \(most recent call last\)")
_WIDGET = re.compile(r"\$\$ID-[0-9a-f]{32}-(.+)")


class SessionError(RuntimeError):
    """The app answered with an exception or with the sentence that stands for one, refused, or hung up."""


class Session:
    """One user, with a browser's memory of a page: its query, its widgets and their values, its cookies.

    `rerun`, `press`, `choose` and `upload` return the seconds until the script has ended and all its messages are here.
    All raise SessionError. `answer` holds the messages of the last answer, `media` the paths of its images.
    """

    def __init__(
        self,
        url: str,
        owner: str | None = None,
        *,
        login: tuple[str, str] | None = None,
        authority: Path | None = None,
    ) -> None:
        """`owner` is the value of the app's cookie: 32 hexadecimal digits. A proxy in front may want a name and a
        password as `login`, and have a certificate of that authority."""
        self.url = url
        self._authority = authority
        self.owner = owner or secrets.token_hex(16)
        self.id = ""
        self.query: dict[str, str] = {}
        self.answer: list[bytes] = []
        self.media: list[str] = []
        self.received = 0  # bytes of all answers so far
        self.drew = False  # whether the last answer was that of `explain` alone
        self.token = ""  # for `explain`, of the last viewer
        self.viewer: dict[str, Any] = {}  # the data of the last viewer
        self._page: str | None = None
        self._page_hash = ""
        self._widgets: dict[str, tuple[str, str]] = {}  # (id, id of the fragment) by key
        self._values: dict[str, WidgetState] = {}  # by id
        self._downloads: dict[str, str] = {}  # ids of the files that a press makes, by widget id
        self._tick = ""  # the fragment that asked for timed runs
        self._http = requests.Session()
        # A connection for each request: the server closes idle ones, and unlike a browser this client does not retry.
        self._http.headers["Connection"] = "close"
        self._http.trust_env = False  # neither a proxy nor the certificates nor the passwords of this machine
        self._http.auth = login
        if authority:
            self._http.verify = str(authority)
        self._stack = ExitStack()
        self._connect()

    def _connect(self) -> None:
        if "_streamlit_xsrf" not in self._http.cookies:  # as browsers do, and only those that keep it may upload
            try:
                self._http.get(f"{self.url}/_stcore/health", timeout=TIMEOUT_S)
            except requests.RequestException as error:
                raise SessionError(f"no connection: {error!r}") from error
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies().items())}
        if isinstance(self._http.auth, tuple):
            sent["Authorization"] = build_authorization_basic(*self._http.auth)
        trusted = ssl.create_default_context(cafile=self._authority) if self._authority else None
        parts = urlsplit(self.url)
        protocols = ["streamlit", "PLACEHOLDER_AUTH_TOKEN", *([self.id] if self.id else [])]
        try:
            self.socket: ClientConnection = self._stack.enter_context(
                connect(
                    self.url.replace("http", "ws", 1) + "/_stcore/stream",
                    origin=Origin(f"{parts.scheme}://{parts.netloc}"),
                    ssl=trusted,
                    subprotocols=[Subprotocol(each) for each in protocols],
                    additional_headers=sent,
                    max_size=None,
                    proxy=None,
                    open_timeout=TIMEOUT_S,
                    ping_interval=None,
                )
            )
        except (OSError, WebSocketException) as error:
            raise SessionError(f"no connection: {error!r}") from error

    def rerun(self, page: str = "", **query: str) -> float:
        """Shows the view at that address."""
        if page != self._page:
            self._values.clear()
        self._page, self.query = page, query
        return self._request(ClientState(page_name=page))

    def press(self, key: str) -> float:
        """Presses the button with that key."""
        number, fragment = self._widget(key)
        return self._request(self._state(fragment), WidgetState(id=number, trigger_value=True))

    def choose(self, key: str, value: str) -> float:
        """Chooses one of a row of buttons."""
        state = WidgetState(id=self._widget(key)[0])
        state.string_array_value.data.append(value)
        return self._set_value(key, state)

    def upload(self, key: str, name: str, content: bytes) -> float:
        """Gives a file to an uploader, with a browser's token against forged requests."""
        started = time.perf_counter()
        state = WidgetState(id=self._widget(key)[0])
        file = state.file_uploader_state_value.uploaded_file_info.add()
        urls = self.send_file(name, content)
        file.name, file.size, file.file_id = name, len(content), urls.file_id
        file.file_urls.CopyFrom(urls)
        self._set_value(key, state)
        return time.perf_counter() - started

    def send_file(self, name: str, content: bytes) -> FileURLs:
        """Sends a file to the place that the server gives it, which is returned, and tells no field of it. Raises
        SessionError."""
        request = BackMsg()
        request.file_urls_request.file_names.append(name)
        urls = self._exchange(request, request.file_urls_request, "file_urls_response").file_urls[0]
        try:
            response = self._http.put(
                self.url + urls.upload_url,
                files={"file": (name, content, "application/octet-stream")},
                headers={"X-Xsrftoken": self.cookies().get("_streamlit_xsrf", "")},
                timeout=TIMEOUT_S,
            )
        except requests.RequestException as error:  # as where it was refused while it was still being sent
            raise SessionError(f"no answer to the upload: {error!r}") from error
        if response.status_code != 204:
            raise SessionError(f"the upload was answered with {response.status_code}: {response.text[:200]}")
        return urls

    def cookie_jar(self) -> CookieJar:
        """What the server and a proxy have set over HTTP."""
        return self._http.cookies

    def handshake_cookies(self) -> list[str]:
        """What the answer to the WebSocket's handshake has set, each with its attributes."""
        answer = self.socket.response
        return answer.headers.get_all("Set-Cookie") if answer else []

    def cookies(self) -> dict[str, str]:
        """All cookies by name, the owner's among them."""
        return {**{each.name: each.value or "" for each in self._http.cookies}, "explorer_owner": self.owner}

    def has(self, key: str) -> bool:
        """Whether the page has a widget of that key."""
        return key in self._widgets

    def keys(self) -> list[str]:
        """The keys of the widgets on the page."""
        return list(self._widgets)

    def run_timed_fragment(self) -> float | None:
        """Runs the fragment that asked for timed runs, as a browser does; None without one."""
        return self._request(self._state(self._tick)) if self._tick else None

    def download(self, key: str) -> bytes:
        """The content of the file that a press of the button makes."""
        request = BackMsg()
        request.backend_operation_request.deferred_file.file_id = self._downloads[self._widget(key)[0]]
        answer = self._exchange(request, request.backend_operation_request, "backend_operation_response")
        if answer.error_msg:
            raise SessionError(answer.error_msg)
        return self.file(answer.deferred_file.url)

    def explain(self, content: bytes = b"", *, with_run: bool = False, **changes: Any) -> float:
        """Requests the viewer's message with these `changes` of its view, as the browser does. `content` is an image
        file, whose `name` is among the changes. `answer` is the message; `with_run` adds it to those of the last run.

        Raises SessionError for any other reply.
        """
        started = time.perf_counter()
        view, selection = self.viewer.get("view", {}), self.viewer.get("selection", {})
        asked = {name: view.get(name) for name in ("picture", "target", "layers") if name in view}
        asked |= {name: selection.get(name) for name in ("layer", "channel")}
        asked |= {"networks": view.get("networks", []), **changes}
        if content:
            asked.pop("picture", None)
        question = json.dumps(asked).encode() + b"\n" + content
        headers = {"X-Explorer-Token": self.token}
        try:
            response = self._http.post(f"{self.url}/api/explain", data=question, headers=headers, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            raise SessionError(f"api/explain was not answered: {error!r}") from error
        before = self.answer if with_run else []
        self.answer, self.drew = [*before, response.content], not with_run
        self.media = self.media if with_run else []
        self.received += response.raw.tell()  # as compressed as it came
        if response.headers.get("Content-Type") != "application/octet-stream":
            raise SessionError(f"api/explain was answered with {response.status_code}: {response.text[:200]}")
        return time.perf_counter() - started

    def file(self, address: str) -> bytes:
        """The content of an image of the answer. Raises SessionError."""
        response = self._http.get(self.url + address, timeout=TIMEOUT_S)
        if response.status_code != 200:
            raise SessionError(f"{address} was answered with {response.status_code}")
        return response.content

    def drop_connection(self) -> None:
        """Loses the connection for good."""
        self._drop()
        self._http.close()

    def close(self) -> None:
        self._stack.close()
        self._http.close()

    def _drop(self) -> None:
        self.socket.socket.shutdown(socket.SHUT_RDWR)
        self._stack.close()

    def _widget(self, key: str) -> tuple[str, str]:
        if key not in self._widgets:
            raise SessionError(f"there is no {key!r} on the page {self._page!r}, only {', '.join(self._widgets)}")
        return self._widgets[key]

    def _state(self, fragment: str) -> ClientState:
        return ClientState(page_script_hash=self._page_hash, fragment_id=fragment)

    def _set_value(self, key: str, state: WidgetState) -> float:
        self._values[state.id] = state
        return self._request(self._state(self._widget(key)[1]))

    def _request(self, state: ClientState, *pressed: WidgetState) -> float:
        shown = {number for number, _ in self._widgets.values()}
        self._values = {number: value for number, value in self._values.items() if number in shown}
        state.query_string = urlencode(self.query)
        state.widget_states.widgets.extend([*self._values.values(), *pressed])
        state.context_info.url = f"{self.url}/{self._page or ''}"
        state.context_info.color_scheme = "light"
        self.answer, self.media, self.drew = [], [], False
        if not state.fragment_id:
            self._widgets, self._tick = {}, ""
        started = time.perf_counter()
        self._send(BackMsg(rerun_script=state))
        while True:
            message = self._receive()
            kind = message.WhichOneof("type")
            if kind == "new_session":
                self.id = message.new_session.initialize.session_id or self.id
            elif kind == "navigation":
                self._navigate(message)
            elif kind == "page_info_changed":
                self.query = dict(parse_qsl(message.page_info_changed.query_string))
            elif kind == "auto_rerun":
                self._tick = message.auto_rerun.fragment_id
            elif kind == "delta":
                self._read_element(message)
            elif kind == "session_event" and message.session_event.WhichOneof("type") == "script_compilation_exception":
                raise SessionError(str(message.session_event)[:300])
            # A script that switches the page, or asks for a rerun, ends early and runs again by itself.
            elif kind == "script_finished" and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                return time.perf_counter() - started

    def _navigate(self, message: ForwardMsg) -> None:
        self._page_hash = message.navigation.page_script_hash
        pages = {page.page_script_hash: page.url_pathname for page in message.navigation.app_pages}
        page = pages.get(self._page_hash, "")
        if page != self._page:
            self._values.clear()
        self._page = page

    def _read_element(self, message: ForwardMsg) -> None:
        element = message.delta.new_element
        kind = element.WhichOneof("type")
        if kind == "exception":
            raise SessionError(str(element.exception)[:300])
        if kind == "imgs":
            self.media += [image.url for image in element.imgs.imgs if image.url.startswith("/")]
        elif kind == "bidi_component" and '"token"' in element.bidi_component.json:
            self.viewer = json.loads(element.bidi_component.json)
            self.token = self.viewer["token"]
        elif kind and (widget := _WIDGET.fullmatch(getattr(getattr(element, kind), "id", "") or "")):
            self._widgets[widget[1]] = (widget[0], message.delta.fragment_id)
            if kind == "download_button":
                self._downloads[widget[0]] = element.download_button.deferred_file_id

    def _exchange(self, request: BackMsg, content: Any, answer: str) -> Any:
        """Sends the request with this `content` and returns the field `answer` of its reply."""
        content.request_id, content.session_id = secrets.token_hex(8), self.id
        self._send(request)
        while (message := self._receive()).WhichOneof("type") != answer:
            pass
        return getattr(message, answer)

    def _send(self, message: BackMsg) -> None:
        try:
            self.socket.send(message.SerializeToString())
        except (OSError, WebSocketException) as error:
            raise SessionError(f"the connection is closed: {error!r}") from error

    def _receive(self) -> ForwardMsg:
        try:
            content = self.socket.recv(TIMEOUT_S)
        except (OSError, WebSocketException) as error:
            # The count tells a lost answer from a slow one.
            raise SessionError(f"no end of the answer after {len(self.answer)} messages: {error!r}") from error
        assert isinstance(content, bytes)
        self.received += len(content)
        self.answer.append(content)
        if complaint := COMPLAINT.search(content):
            raise SessionError(content[complaint.start() :][:300].decode(errors="replace"))
        return ForwardMsg.FromString(content)
