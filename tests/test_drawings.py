"""Laws of another picture without a run of the page: what comes is what the page would have sent, or nothing."""

import asyncio
import gc
import json
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from driving.depth import picture, question, unpack
from explorer import checkpoints, figures
from explorer.experiments.anatomy import block_names
from explorer.images import Picture, decode, to_input
from explorer.tracing import STRIP_KINDS, trace
from explorer.ui import passes as passes_module
from explorer.ui.explore import drawings
from explorer.ui.explore.drawings import LARGEST, LONGEST, NAME, NotHereError, RefusedError, another, answer
from explorer.ui.explore.explained import Explained
from explorer.ui.explore.overview import DESKS, Desk, message
from explorer.ui.packing import HERE
from explorer.ui.passes import Looked, Passes, Pictures, Subject, drawn, sample_subject
from explorer.ui.services.caches import BLOCKS_BYTES, CACHES
from explorer.ui.state import AppState

NAMES = ("shapes-plain-20", "shapes-resnet-20")
FIRST = AppState()


def explained(passes: Passes, state: AppState) -> Explained:
    """As a run of the page has it."""
    assert state.sample is not None
    subject = sample_subject(*state.sample)
    looked = [passes.look(name, checkpoints.load_pretrained(name), state, subject, "#123456", False) for name in NAMES]
    return Explained(state, subject, False, looked)


def desk(state: AppState = FIRST) -> Desk:
    """Of a session that looks at the view of `state`."""
    passes = Passes()
    return Desk(passes, Pictures(), {"explained": explained(passes, state)})


@pytest.mark.parametrize("state", [AppState(), AppState(layers="all", target=3, scope="both"), AppState(layer="stem")])
def test_the_answer_is_what_a_run_of_the_page_sends(state: AppState) -> None:
    here = desk(state)
    answer = another(here, {"picture": "sample-4-41", "layer": "stages.1.0", "channel": 2})
    chosen = replace(state, picture="sample-4-41", layer="stages.1.0", channel=2)
    other = desk()
    other.token = here.token
    assert answer == message(explained(other.passes, chosen), None, other)
    assert unpack(answer)[0]["key"] != unpack(message(explained(here.passes, state), None, here))[0]["key"]
    assert here.last["explained"].state == chosen, "what is taken home is of the picture that is shown"


def test_the_page_that_runs_afterwards_computes_nothing() -> None:
    here = desk()
    another(here, {"picture": "sample-4-41"})
    seen = [network.trace for network in here.last["explained"].looked]
    again = explained(here.passes, AppState(picture="sample-4-41"))
    assert all(network.trace is before for network, before in zip(again.looked, seen, strict=True))


def test_the_pixels_are_those_of_the_picture_that_was_asked_for() -> None:
    header, body = unpack(another(desk(), {"picture": "sample-1-6"}))
    loaded = checkpoints.load_pretrained(NAMES[1])
    wanted = trace(loaded.network, to_input(drawn(1, 6)[0], (32, 32), loaded.mean, loaded.std), None, STRIP_KINDS)
    place = header["predictions"]["pictures"][0]["pixels"]
    np.testing.assert_array_equal(picture(body, [place[0], 32, 96]).reshape(32, 32, 3), drawn(1, 6)[0])
    shown = header["predictions"]["networks"][1]["classes"][0]["probability"]
    assert shown == pytest.approx(float(wanted.probabilities.max()), abs=1e-6)


def test_what_the_page_has_to_answer_is_left_to_it() -> None:
    for state in (AppState(tab="block"), AppState(tab="trust")):
        with pytest.raises(NotHereError):
            another(desk(state), {"picture": "sample-4-41"})
    with pytest.raises(NotHereError):  # a picture of a session, whosever it is
        another(desk(), {"picture": "upload-0123456789abcdef"})
    uploaded = desk()
    before = uploaded.last["explained"]
    uploaded.last["explained"] = replace(before, state=replace(before.state, picture="upload-0123456789abcdef"))
    for own in (uploaded, Desk(Passes(), Pictures(), {})):
        with pytest.raises(NotHereError):
            another(own, {"picture": "sample-4-41"})
    assert uploaded.last["explained"].state.picture == "upload-0123456789abcdef"


PHOTO = figures.png(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


@pytest.mark.parametrize("asked", [{"name": "a.png"}, {"name": "a.png", "layer": "stages.1.0", "channel": 2}])
def test_the_answer_to_a_file_is_what_a_run_of_the_page_sends(asked: dict[str, Any]) -> None:
    here, other = desk(), desk()
    other.token = here.token
    answer = another(here, asked, PHOTO)
    chosen = {name: value for name, value in asked.items() if name != "name"}
    state = AppState(picture=other.pictures.keep(PHOTO, "a.png"), **chosen)
    subject = other.pictures.get(state.picture)
    assert subject is not None and here.last["explained"].state == state
    looked = [other.passes.look_again(network, state, subject) for network in other.last["explained"].looked]
    assert answer == message(Explained(state, subject, False, looked), None, other)
    kept = here.pictures.get(state.picture)
    assert kept is not None and kept.digest == subject.digest, "the page's run finds it"
    again = another(here, {"name": "a.png"}, PHOTO)  # from one uploaded picture to another, here the same
    assert unpack(again)[0]["key"] == unpack(answer)[0]["key"]
    assert desk().pictures.get(state.picture) is None, "and no other session"


def test_a_file_that_is_no_picture_is_left_to_the_page() -> None:
    here = desk()
    before = here.last["explained"]
    for content in (b"", b"just text", PHOTO[:100]):
        with pytest.raises(NotHereError):
            another(here, {"name": "a.png"}, content)
    assert here.last["explained"] is before


def test_the_page_does_not_decode_again_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    here = desk()
    another(here, {"name": "a.png"}, PHOTO)
    decoded: list[str] = []

    def counted(data: bytes, name: str) -> Picture:
        decoded.append(name)
        return decode(data, name)

    monkeypatch.setattr(passes_module, "decode", counted)
    picture = here.last["explained"].state.picture
    assert here.pictures.keep(PHOTO, "a.png") == picture and decoded == []
    assert here.pictures.keep(PHOTO, "b.png") == picture and decoded == ["b.png"], "it has that name now"
    kept = here.pictures.get(picture)
    assert kept is not None and kept.title == "`b.png`"


def test_the_oldest_pictures_of_a_session_make_room() -> None:
    pictures = Pictures(replace(CACHES["ui.passes.Pictures"], bytes=2 * 20 * 20 * 3))
    sizes = [figures.png(np.full((20, 20, 3), shade, np.uint8)) for shade in range(3)]
    keys = [pictures.keep(content, "a.png") for content in sizes[:2]]
    assert pictures.keep(sizes[0], "again.png") == keys[0]
    keys += [pictures.keep(content, "a.png") for content in sizes[2:3]]
    assert [pictures.get(key) is not None for key in keys] == [True, False, True], "the one used longest ago goes"
    large = pictures.keep(figures.png(np.zeros((40, 40, 3), np.uint8)), "a.png")
    assert pictures.get(large) is not None and all(pictures.get(key) is None for key in keys), "the newest stays"


def test_a_late_drawing_does_not_bring_back_what_the_page_has_left(monkeypatch: pytest.MonkeyPatch) -> None:
    here = desk()
    newer = explained(here.passes, AppState(target=2))
    look_again = here.passes.look_again

    def meanwhile(*arguments: Any) -> Looked:
        here.last["explained"] = newer  # a run of the page
        return look_again(*arguments)

    monkeypatch.setattr(here.passes, "look_again", meanwhile)
    with pytest.raises(NotHereError):
        another(here, {"picture": "sample-4-41"})
    assert here.last["explained"] is newer


def test_a_part_of_the_page_that_runs_meanwhile_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the one that asks for all layers while nobody does anything."""
    here = desk()
    look_again = here.passes.look_again

    def meanwhile(*arguments: Any) -> Looked:
        here.last["explained"] = replace(here.last["explained"])
        return look_again(*arguments)

    monkeypatch.setattr(here.passes, "look_again", meanwhile)
    another(here, {"picture": "sample-4-41"})
    assert here.last["explained"].state.picture == "sample-4-41"


def test_a_session_has_one_drawing_computed_at_a_time_and_skips_the_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three clicks in a row: else the second would take the other worker from everybody to wait for the first."""
    here = desk()
    DESKS[here.token] = here
    computing, go_on = threading.Event(), threading.Event()
    computed: list[str] = []
    look_again = here.passes.look_again

    def slowly(looked: Looked, state: AppState, subject: Subject) -> Looked:
        computed.append(state.picture)
        computing.set()
        assert go_on.wait(60)
        return look_again(looked, state, subject)

    monkeypatch.setattr(here.passes, "look_again", slowly)

    async def ask(picture: str) -> int:
        body = json.dumps({"token": here.token, "picture": picture}).encode()
        return (await answer(question([body]))).status_code

    async def three() -> list[int]:
        first = asyncio.create_task(ask("sample-1-1"))
        await asyncio.to_thread(computing.wait, 60)
        rest = [asyncio.create_task(ask(picture)) for picture in ("sample-2-2", "sample-3-3")]
        await asyncio.sleep(0.1)
        free = asyncio.get_running_loop().run_in_executor(drawings._WORKERS, lambda: "free")
        assert await asyncio.wait_for(free, 20) == "free", "the others wait without a worker"
        assert {*computed} == {"sample-1-1"}
        go_on.set()
        return [await task for task in (first, *rest)]

    with ThreadPoolExecutor(1) as elsewhere:  # Playwright leaves an event loop in the thread of the tests
        answers = elsewhere.submit(lambda: asyncio.run(three())).result()
    assert answers == [200, 204, 200]
    assert {*computed} == {"sample-1-1", "sample-3-3"}


def test_an_error_of_ours_is_no_fault_of_the_question(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = desk()
    DESKS[here.token] = here
    monkeypatch.setattr(here.passes, "look_again", lambda *_: np.zeros(2) + np.zeros(3))
    body = json.dumps({"token": here.token, "picture": "sample-1-1"}).encode()
    with ThreadPoolExecutor(1) as elsewhere:
        said = elsewhere.submit(lambda: asyncio.run(answer(question([body])))).result()
    assert said.status_code == 500
    found = re.fullmatch(r"Something went wrong .* \(incident ([0-9a-f]{8})\).*\.", bytes(said.body).decode())
    assert found and found[1] in caplog.text


def test_the_browser_knows_the_address_and_the_limit() -> None:
    script = (HERE / "depth.js").read_text()
    assert f'new URL("{NAME}", location.href)' in script
    found = re.search(r"const LARGEST = (\d+) \* 2 \*\* (\d+);", script)
    assert found and int(found[1]) * 2 ** int(found[2]) == LARGEST
    longest = re.search(r"const LONGEST_NAME = (\d+);", script)
    assert longest
    line = {"token": "0" * 32, "layer": "x" * 200, "channel": 10**6, "name": "\U0001f600" * (int(longest[1]) // 2)}
    assert len(json.dumps(line)) < LONGEST, "letters outside of Unicode's first plane count twice there"


def test_a_refused_question_changes_nothing() -> None:
    here = desk()
    before = here.last["explained"]
    for asked in ({"picture": "../secret"}, {"picture": None}, {"picture": "sample-4-41", "layer": "a/b"}):
        with pytest.raises(RefusedError):
            another(here, asked)
    assert here.last["explained"] is before


def test_a_token_lasts_as_long_as_its_session() -> None:
    here = desk()
    token = here.token
    DESKS[token] = here
    assert DESKS.get(token) is here and len(token) == 32 and token != desk().token
    del here
    gc.collect()
    assert DESKS.get(token) is None


def test_a_large_pass_makes_room_for_the_next() -> None:
    """Two at 224 pixels hold hundreds of megabytes."""
    passes = Passes()
    loaded = checkpoints.load_pretrained(NAMES[0])
    seen: list[Looked] = []
    for label in range(3):
        seen.append(passes.look(NAMES[0], loaded, AppState(), sample_subject(label, 0), "#123456", False))
    again = passes.look_again(seen[0], AppState(), sample_subject(0, 0))
    assert again.trace is seen[0].trace, "six small ones are kept"
    passes = Passes(large=16)
    seen = [passes.look(NAMES[0], loaded, AppState(), sample_subject(label, 0), "#123456", False) for label in range(3)]
    assert passes.look_again(seen[1], AppState(), sample_subject(1, 0)).trace is seen[1].trace
    assert passes.look_again(seen[0], AppState(), sample_subject(0, 0)).trace is not seen[0].trace


def test_blocks_are_opened_at_once_where_there_is_room_and_else_each_when_it_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded, subject = checkpoints.load_pretrained(NAMES[1]), sample_subject(6, 6)
    names = block_names(loaded.network)
    computed: list[str] = []

    def counted(name: str) -> Callable[..., Any]:
        compute = getattr(passes_module, name)

        def run(*arguments: Any) -> Any:
            computed.append(name)
            return compute(*arguments)

        return run

    for each in ("anatomy", "anatomies"):
        monkeypatch.setattr(passes_module, each, counted(each))
    passes = Passes()
    network = passes.look(NAMES[1], loaded, AppState(), subject, "#123456", False)
    every = {name: passes.block(network, subject, name) for name in (*names, *names)}
    assert computed == ["anatomies"]
    taken = sum(inside.nbytes for inside in every.values())
    assert taken <= BLOCKS_BYTES < 178_000_000, "a ResNet-50's at 224 pixels"

    computed.clear()
    passes = Passes(blocks_bytes=taken - 1)
    for name in (names[0], names[-1], names[0]):
        np.testing.assert_array_equal(passes.block(network, subject, name).sum, every[name].sum)
    assert computed == ["anatomy", "anatomy"]
    computed.clear()
    passes = Passes(blocks_bytes=1)  # less than one block: those of two networks stay all the same
    for name in (names[0], names[1], names[1], names[0], names[2], names[0], names[1]):
        passes.block(network, subject, name)
    assert len(computed) == 4
