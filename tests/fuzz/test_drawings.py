"""Whatever a browser asks for without a run of the page: the overview of another picture, or a refusal."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from explorer.ui.explore.drawings import LARGEST, LONGEST, NotHereError, RefusedError, another, answer
from explorer.ui.explore.explained import Explained
from explorer.ui.explore.overview import DESKS, Desk
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message

from driving.depth import question, unpack
from explorer import checkpoints, figures
from explorer.datasets import shapes
from explorer.ui.explore import drawings
from explorer.ui.passes import Passes, Pictures, sample_subject
from explorer.ui.state import AppState
from tests.fuzz.laws import check_sentence, examples
from tests.fuzz.mutations import changed, damaged, json_values, words

QUESTION = {"token": "0" * 32, "picture": "sample-3-41", "layer": "stages.1.0", "channel": 2}
FILE = {"token": "0" * 32, "name": "a.png", "layer": "stages.1.0", "channel": 2}
NAME = "shapes-resnet-8"
PHOTO = figures.png(np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8))


@cache
def desk() -> Desk:
    passes, state, subject = Passes(), AppState(first=NAME, second=None), sample_subject(6, 6)
    looked = passes.look(NAME, checkpoints.load_pretrained(NAME), state, subject, "#123456", False)
    return Desk(passes, Pictures(), {"explained": Explained(state, subject, False, [looked])})


def drawn_shape() -> Explained:
    """What a question starts from: from an uploaded picture no drawn shape can be asked for."""
    here = desk()
    if here.last["explained"].state.sample is None:
        another(here, {"name": "a.png"}, PHOTO)
        first = here.last["explained"].looked
        state, subject = AppState(first=NAME, second=None), sample_subject(6, 6)
        looked = [here.passes.look_again(network, state, subject) for network in first]
        here.last["explained"] = Explained(state, subject, False, looked)
    return here.last["explained"]


@given(st.one_of(changed(QUESTION), json_values()))
@example(QUESTION | {"channel": 1.5}).via("half a channel was taken for one")
@example(QUESTION | {"channel": True}).via("a link could not say it")
@examples(60)
def test_a_question_is_answered_or_refused(asked: Any) -> None:
    here, before = desk(), drawn_shape()
    if not isinstance(asked, Mapping):
        assert reply([json.dumps(asked).encode()]).status_code in (400, 413)
        return
    try:
        header, _ = unpack(another(here, asked))
    except (NotHereError, RefusedError):
        assert here.last["explained"] is before
        return
    state = here.last["explained"].state
    assert header["picture"] == state.picture and state.sample is not None
    assert 0 <= state.sample[0] < len(shapes.CLASS_NAMES)
    assert replace(state) == state and AppState.from_query(state.to_query()) == state, "a link can show it too"


@given(st.one_of(changed(FILE), words().map(lambda name: FILE | {"name": name})), damaged(PHOTO))
@example(FILE, PHOTO)
@examples(60)
def test_a_file_is_drawn_or_refused(asked: Any, content: bytes) -> None:
    here, before = desk(), drawn_shape()
    try:
        header, _ = unpack(another(here, asked, content))
    except (NotHereError, RefusedError):
        assert here.last["explained"] is before
        return
    state = here.last["explained"].state
    assert header["picture"] == state.picture
    assert state.sample is not None or here.pictures.get(state.picture) is not None
    assert AppState.from_query(state.to_query()) == state


def reply(pieces: Sequence[bytes], end: str = "http.request") -> Response:
    """What the address answers to a body that comes in these pieces, after which the browser has sent all or left."""
    with ThreadPoolExecutor(1) as elsewhere:  # Playwright leaves an event loop in the thread of the tests
        return elsewhere.submit(lambda: asyncio.run(answer(question(pieces, end)))).result()


@given(st.data())
@examples(60)
def test_any_body_gets_an_answer(data: st.DataObject) -> None:
    here = desk()
    drawn_shape()
    DESKS[here.token] = here
    asked = data.draw(st.sampled_from([QUESTION, FILE])) | {"token": here.token}
    body = json.dumps(asked).encode() + b"\n" + PHOTO * ("name" in asked)
    body = data.draw(st.one_of(damaged(body), st.binary(max_size=200), st.just(body)))
    cut = data.draw(st.integers(0, len(body)))
    said = reply([body[:cut], body[cut:]], data.draw(st.sampled_from(["http.request", "http.disconnect"])))
    assert said.status_code in (200, 204, 400, 404, 413), bytes(said.body)[:300]
    if said.status_code not in (200, 204):
        text = bytes(said.body).decode()
        check_sentence(text[:1].upper().replace("`", "P") + text[1:])


def test_a_browser_may_leave_at_any_moment() -> None:
    """It does whenever a second file is chosen: that was a traceback in the log."""
    here = desk()
    drawn_shape()
    DESKS[here.token] = here
    line = json.dumps(FILE | {"token": here.token}).encode() + b"\n"
    for pieces in ([], [line[:9]], [line], [line, PHOTO[:50]], [line, PHOTO]):
        assert reply(pieces, "http.disconnect").status_code == 204
    assert here.last["explained"].state.sample is not None, "and half a file is none"


def test_a_question_that_does_not_come_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    here = desk()
    drawn_shape()
    DESKS[here.token] = here
    line = json.dumps(FILE | {"token": here.token}).encode() + b"\n"
    for limit, begun in (("SLOWEST_LINE", []), ("SLOWEST_LINE", [line[:9]]), ("SLOWEST_FILE", [line, PHOTO[:9]])):
        coming: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in begun]

        async def some_of_it() -> Message:
            if coming:  # noqa: B023
                return coming.pop(0)  # noqa: B023
            await asyncio.sleep(60)
            raise AssertionError("nobody waits so long")

        request = Request({"type": "http", "method": "POST", "headers": []}, some_of_it)
        with monkeypatch.context() as patch, ThreadPoolExecutor(1) as elsewhere:
            patch.setattr(drawings, limit, 0.05)
            assert elsewhere.submit(lambda: asyncio.run(answer(request))).result().status_code == 204  # noqa: B023


@pytest.mark.parametrize("limit", ["FILES", "FILES_OF_ONE"])
def test_no_more_files_are_held_than_memory_has_room_for(monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    here = desk()
    drawn_shape()
    DESKS[here.token] = here
    line = json.dumps(FILE | {"token": here.token}).encode() + b"\n"
    monkeypatch.setattr(drawings, limit, 1)
    answers = [reply([line, PHOTO]).status_code, reply([line, b"no picture"]).status_code]
    answers += [reply([line], "http.disconnect").status_code, reply([line, PHOTO]).status_code]
    assert answers == [200, 204, 204, 200], "who has an answer, or has left, is no longer counted"
    monkeypatch.setattr(drawings, limit, 0)
    assert reply([line, PHOTO]).status_code == 204
    drawn_shape()
    shape = json.dumps(QUESTION | {"token": here.token}).encode()
    assert reply([shape]).status_code == 200, "a shape needs no room"


def test_a_body_is_read_no_further_than_it_may_go() -> None:
    here = desk()
    drawn_shape()
    DESKS[here.token] = here
    line = json.dumps(FILE | {"token": here.token}).encode() + b"\n"
    stranger = json.dumps(FILE).encode() + b"\n"
    never = [b"x" * 2**20] * (LARGEST // 2**20 + 1)
    assert reply([line, PHOTO]).status_code == 200
    assert reply([line, *never]).status_code == 413
    assert reply([b"x" * LONGEST, b"x"]).status_code == 413
    assert reply([stranger, *never]).status_code == 404, "before the file is read"
    assert reply([json.dumps(QUESTION | {"token": here.token}).encode() + b"\n", b"x"]).status_code == 413
