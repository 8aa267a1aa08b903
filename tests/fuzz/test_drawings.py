"""Whatever a browser asks for without a run of the page: the overview of another picture, or a refusal."""

import asyncio
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import Response

from explorer import checkpoints, figures
from explorer.datasets import shapes
from explorer.ui.explore.drawings import LARGEST, LONGEST, another, answer
from explorer.ui.explore.explained import Explained
from explorer.ui.explore.overview import DESKS, Desk
from explorer.ui.passes import Passes, Pictures, sample_subject
from explorer.ui.state import AppState
from tests.depth import unpack
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
    try:
        header, _ = unpack(another(here, asked))
    except (ValueError, TypeError):
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
    except (ValueError, TypeError):
        assert here.last["explained"] is before
        return
    state = here.last["explained"].state
    assert header["picture"] == state.picture
    assert state.sample is not None or here.pictures.get(state.picture) is not None
    assert AppState.from_query(state.to_query()) == state


def reply(pieces: Sequence[bytes]) -> Response:
    """What the address answers to a body that comes in these pieces."""
    coming = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    coming.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, Any]:
        return coming.pop(0)

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with ThreadPoolExecutor(1) as elsewhere:  # Playwright leaves an event loop in the thread of the tests
        return elsewhere.submit(lambda: asyncio.run(answer(request))).result()


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
    said = reply([body[:cut], body[cut:]])
    assert said.status_code in (200, 204, 400, 404, 413), bytes(said.body)[:300]
    if said.status_code not in (200, 204):
        text = bytes(said.body).decode()
        check_sentence(text[:1].upper().replace("`", "P") + text[1:])


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
