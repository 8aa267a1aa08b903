"""What the viewer is told on a page under AppTest, and what its address answers then: no browser runs there."""

import asyncio
import html
import json
import re
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from starlette.responses import Response
from streamlit.testing.v1 import AppTest

from driving.messages import UnpackedMessage, component, explain_request, unpack
from explorer import checkpoints
from explorer.ui import bar
from explorer.ui.api.explain import explain, handle_explain, store_picture
from explorer.ui.api.explore_session import SESSIONS, ExploreSession, RequestError
from explorer.ui.services.explore_state import PASS_FIELDS, AppState
from explorer.ui.services.inference import InferenceCache
from explorer.ui.services.input_images import UploadStore
from explorer.ui.services.offered_networks import OfferedNetworks


def session_of(*names: str) -> ExploreSession:
    """One whose page shows these networks, at its address until it is collected."""
    own = ExploreSession(InferenceCache(), UploadStore())
    own.offered = OfferedNetworks({name: partial(checkpoints.load_pretrained, name) for name in names}, {}, "light")
    SESSIONS[own.token] = own
    return own


def answer_of(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Its result. Playwright leaves an event loop in the thread of the tests, so it runs in another one."""
    with ThreadPoolExecutor(1) as elsewhere:
        return elsewhere.submit(asyncio.run, coroutine).result()


def reply(pieces: Sequence[bytes], token: str, handle: Any = handle_explain, end: str = "http.request") -> Response:
    """What the address answers to a body that comes in these pieces, after which the browser has sent all or left."""
    response: Response = answer_of(handle(explain_request(pieces, token, end)))
    return response


def refusal(answer: Response) -> tuple[int, str, str]:
    """Status, code and sentence of an answer that is no message."""
    content = json.loads(bytes(answer.body))
    assert content.keys() == {"code", "message"}
    return answer.status_code, content["code"], content["message"]


def told(app: AppTest) -> dict[str, Any]:
    """The data of the viewer; StopIteration where the page has none."""
    data: dict[str, Any] = json.loads(component(app, "connection").json)
    return data


def chosen(app: AppTest) -> list[str]:
    """The names of the networks that are shown."""
    names: list[str] = told(app)["view"]["networks"]
    return names


def labels(app: AppTest, *, beside: str = "") -> dict[str, str]:
    """What stands in the lists of networks, by their names: of the first, or of the second `beside` a first one."""
    data = bar_data(app)
    known = {network["name"]: network["known"] for network in data["networks"]}
    networks = {network["name"]: network["label"] for network in data["networks"]}
    fits = (name for name in networks if not beside or (known[name] == known[beside] and name != beside))
    return {name: networks[name] for name in fits}


def choose(app: AppTest, **changes: Any) -> None:
    """As after a person chose networks, a class or the set of layers in the viewer, and the page has heard of it."""
    if "networks" in changes:
        first, second = (*changes.pop("networks"), None)[:2]
        changes |= {"first": first, "second": second or "none"}
    for name, value in changes.items():
        app.query_params[name] = "none" if value is None else str(value)
    app.run()
    assert not app.exception and not app.error


def choose_pair(app: AppTest, page: str, *names: str) -> None:
    """As after a person chose these networks in the bar of a page without the viewer."""
    first, second = (*names, None)[:2]
    assert first is not None
    query = bar.into_query(page, bar.present(app.query_params), AppState(first=first, second=second).to_query())
    for name in {*app.query_params} - {*query}:
        del app.query_params[name]
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception and not app.error


def bar_data(app: AppTest) -> dict[str, Any]:
    """What the bar above the page is told."""
    data: dict[str, Any] = json.loads(component(app, "bar").json)
    return data


def session(app: AppTest) -> ExploreSession:
    return SESSIONS[bar_data(app)["token"]]


def store_file(app: AppTest, name: str, content: bytes) -> None:
    """As after a person gave a picture file to the bar of a page without the viewer. Raises RequestError."""
    app.query_params["picture"] = json.loads(store_picture(session(app), {"name": name}, content))["picture"]
    app.run()


def request(app: AppTest, **changes: Any) -> dict[str, Any]:
    """What the browser asks for first, with these changes."""
    data = told(app)
    view, selection = data["view"], data["selection"]
    chosen = {name: selection[name] for name in ("layer", "channel")}
    return {**{name: view[name] for name in PASS_FIELDS}, "networks": view["networks"], **chosen, **changes}


def message(app: AppTest, **changes: Any) -> UnpackedMessage:
    """What the browser draws."""
    return unpack(explain(session(app), request(app, **changes)))


def give_file(app: AppTest, name: str, content: bytes) -> UnpackedMessage:
    """As after a person gave the viewer a picture file: it is drawn, then the page hears of it. Raises RequestError."""
    asked = request(app)
    del asked["picture"]
    drawn = unpack(explain(session(app), asked | {"name": name}, content))
    app.query_params["picture"] = drawn[0]["picture"]
    app.run()
    assert not app.exception and told(app)["view"]["picture"] == drawn[0]["picture"]
    return drawn


def shown_layer(app: AppTest) -> str:
    """The layer that the browser shows."""
    header, layer = message(app)[0], told(app)["selection"]["layer"]
    named = [column["name"] for column in header["columns"]]
    return layer if layer in named else header["layer"]


def view(app: AppTest) -> dict[str, Any]:
    """The selection, with the layer that the browser shows."""
    selection: dict[str, Any] = told(app)["selection"]
    return {**selection, "layer": shown_layer(app)}


def explained(app: AppTest) -> dict[str, str]:
    """The class that is explained, by network."""
    return {network["title"]: network["target"] for network in message(app)[0]["networks"]}


def written(app: AppTest) -> list[str]:
    """The text of what the page writes as HTML, and of the predictions, or the sentence that the viewer shows."""
    texts = [html.unescape(re.sub("<[^>]*>", " ", each.proto.body)) for each in app.get("html")]
    if not any(each.proto.component_name.endswith("connection") for each in app.get("bidi_component")):
        return texts
    try:
        header = message(app)[0]
    except RequestError as error:
        return [*texts, str(error)]
    shown, above = header["predictions"], header["introduction"]
    offer = above["offer"] or {"why": "", "words": ""}
    introduction = [above["heading"], " and ".join(above["twins"] or []), above["known"], offer["why"], offer["words"]]
    pictures = [f"{picture['title']}, {picture['size']} {picture['words']}" for picture in shown["pictures"]]
    networks = [
        " ".join(
            [
                f"{network['title']}, {network['accuracy']}",
                *(row["name"] for row in network["classes"]),
                network["verdict"],
            ]
        )
        for network in shown["networks"]
    ]
    return [*texts, *introduction, *pictures, *networks, shown["note"] or ""]
