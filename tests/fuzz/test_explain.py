"""Whatever a browser asks for at the address of explanations: a message, or one sentence."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from driving.messages import unpack
from explorer import figures
from explorer.datasets import shapes
from explorer.ui.api import explain as api
from explorer.ui.api.explain import MAX_LINE_BYTES, VIEW_FIELDS, arrays, explain, handle_arrays, handle_explain
from explorer.ui.api.explore_session import ExploreSession, RequestError
from explorer.ui.services.explore_state import AppState
from tests import messages
from tests.fuzz.laws import check_sentence, examples
from tests.fuzz.mutations import changed, damaged, json_values, words
from tests.messages import answer_of, refusal, session_of

NAME = "shapes-resnet-8"
VIEW = {"target": None, "layers": "main", "networks": [NAME], "layer": "stages.1.0", "channel": 2}
REQUEST = VIEW | {"picture": "sample-3-41"}
LAYER = REQUEST | {"only": "layer"}
FILE = VIEW | {"name": "a.png"}
PHOTO = figures.png(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))
MAX_TEST_FILE = 2**20


@cache
def session() -> ExploreSession:
    return session_of(NAME)


def shown(asked: Mapping[str, Any], header: Mapping[str, Any]) -> AppState:
    """The view that was answered; only one that a link can show too is."""
    chosen = {name: asked[name] for name in VIEW_FIELDS if name in asked}
    state = replace(AppState(), **chosen | {"picture": header["picture"]})
    assert AppState.from_query(state.to_query()) == state, "a link can show it too"
    return state


@given(st.one_of(changed(REQUEST), changed(LAYER), json_values()))
@example(REQUEST | {"channel": 1.5}).via("half a channel was taken for one")
@example(REQUEST | {"channel": True}).via("a link could not say it")
@examples(60)
def test_a_request_is_answered_or_refused(asked: Any) -> None:
    own = session()
    offered, pictures = own.offered, own.pictures
    if not isinstance(asked, Mapping):
        assert reply([json.dumps(asked).encode()]).status_code in (400, 413)
        return
    try:
        header, _ = unpack(explain(own, asked))
        state = shown(asked, header)
        assert state.is_everywhere or own.pictures.get(state.picture) is not None
        assert state.sample is None or 0 <= state.sample[0] < len(shapes.CLASS_NAMES)
        assert [name in own.offered.load for name in asked["networks"][:2]] == [True] * len(header["networks"])
    except RequestError as refused:
        check_sentence(str(refused))
    assert own.offered is offered and own.pictures is pictures


@given(st.one_of(changed(FILE), words().map(lambda name: FILE | {"name": name})), damaged(PHOTO))
@example(FILE, PHOTO)
@examples(60)
def test_a_file_is_explained_or_refused(asked: Any, content: bytes) -> None:
    own = session()
    try:
        header, _ = unpack(explain(own, asked, content))
    except RequestError as refused:
        check_sentence(str(refused))
        return
    state = shown(asked, header)
    assert state.is_everywhere or own.pictures.get(state.picture) is not None


@given(changed(REQUEST))
@examples(30)
def test_raw_numbers_are_given_or_refused(asked: Any) -> None:
    try:
        assert arrays(session(), asked)[:2] == b"PK"
    except RequestError as refused:
        check_sentence(str(refused))


def reply(pieces: Sequence[bytes], end: str = "http.request", token: str = "", **how: Any) -> Response:
    return messages.reply(pieces, token or session().token, end=end, **how)


def code(answer: Response) -> str:
    """Of a refusal, which is one sentence."""
    _, found, sentence = refusal(answer)
    check_sentence(sentence)
    return found


@given(st.data())
@examples(60)
def test_any_body_gets_an_answer(data: st.DataObject) -> None:
    asked = data.draw(st.sampled_from([REQUEST, LAYER, FILE]))
    body = json.dumps(asked).encode() + b"\n" + PHOTO * ("name" in asked)
    body = data.draw(st.one_of(damaged(body), st.binary(max_size=200), st.just(body)))
    cut = data.draw(st.integers(0, len(body)))
    end = data.draw(st.sampled_from(["http.request", "http.disconnect"]))
    token = data.draw(st.sampled_from(["", "", "", "0" * 32, "x"]))
    handle = data.draw(st.sampled_from([handle_explain, handle_explain, handle_arrays]))
    answer = reply([body[:cut], body[cut:]], end, token, handle=handle)
    assert answer.status_code in (200, 400, 404, 408, 413), bytes(answer.body)[:300]
    if answer.media_type == "application/json":
        assert (code(answer) == "session") == bool(token)


def line(asked: Mapping[str, Any] = FILE) -> bytes:
    return json.dumps(asked).encode() + b"\n"


def test_a_browser_may_leave_at_any_moment() -> None:
    """It does whenever a second file is chosen: that was a traceback in the log."""
    kept = session().pictures._images.snapshot()
    for pieces in ([], [line()[:9]], [line()], [line(), PHOTO[:50]], [line(), PHOTO]):
        answer = reply(pieces, "http.disconnect")
        assert (answer.status_code, code(answer)) == (408, "timeout")
    assert session().pictures._images.snapshot() == kept, "and half a file is none"


def test_a_request_that_does_not_come_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    slow: tuple[tuple[str, list[bytes]], ...]
    slow = (("LINE_TIMEOUT_S", []), ("LINE_TIMEOUT_S", [line()[:9]]), ("FILE_TIMEOUT_S", [line(), PHOTO[:9]]))
    for limit, begun in slow:
        coming: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in begun]

        async def some_of_it() -> Message:
            if coming:  # noqa: B023
                return coming.pop(0)  # noqa: B023
            await asyncio.sleep(60)
            raise AssertionError("nobody waits so long")

        headers = [(b"x-explorer-token", session().token.encode())]
        request = Request({"type": "http", "method": "POST", "headers": headers}, some_of_it)
        with monkeypatch.context() as patch:
            patch.setattr(api, limit, 0.05)
            answer = answer_of(handle_explain(request))
        assert (answer.status_code, code(answer)) == (408, "timeout")
        assert not api._files


@pytest.mark.parametrize("limit", ["MAX_FILES", "MAX_FILES_OF_SESSION"])
def test_no_more_files_are_held_than_memory_has_room_for(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(api, limit, 1)
    answers = [reply([line(), PHOTO]).media_type, code(reply([line(), b"no picture"]))]
    answers += [code(reply([line()], "http.disconnect")), reply([line(), PHOTO]).media_type]
    message = "application/octet-stream"
    assert answers == [message, "picture", "timeout", message], "who has an answer, or has left, is no longer counted"
    monkeypatch.setattr(api, limit, 0)
    answer = reply([line(), PHOTO])
    assert (answer.status_code, code(answer)) == (429, "files")
    assert reply([line(REQUEST)]).status_code == 200, "a shape needs no room"


def test_a_body_is_read_no_further_than_it_may_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "MAX_FILE_BYTES", MAX_TEST_FILE)
    never = [b"x" * 2**16] * (MAX_TEST_FILE // 2**16 + 1)
    assert reply([line(), PHOTO]).media_type == "application/octet-stream"
    answer = reply([line(), *never])
    assert (answer.status_code, code(answer)) == (413, "file")
    assert json.loads(bytes(answer.body))["message"] == "The file is larger than 1 MB. Choose a smaller one."
    for body in ([b"x" * MAX_LINE_BYTES, b"x"], [line(REQUEST), b"x"]):
        answer = reply(body)
        assert (answer.status_code, code(answer)) == (413, "request")


def test_nothing_is_read_for_somebody_without_a_token() -> None:
    async def never() -> Message:
        raise AssertionError("it is read")

    for headers in ([], [(b"x-explorer-token", b"0" * 32)]):
        request = Request({"type": "http", "method": "POST", "headers": headers}, never)
        answer = answer_of(handle_explain(request))
        assert (answer.status_code, code(answer)) == (404, "session")
