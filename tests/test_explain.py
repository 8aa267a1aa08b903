"""The address of explanations: what comes is what the library computes, for the session that asked, or a sentence."""

import asyncio
import gc
import io
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from starlette.responses import Response

from driving.messages import explain_request, picture, unpack
from explorer import checkpoints, figures
from explorer.attribution import raw_arrays
from explorer.datasets import shapes
from explorer.images import DecodedImage, decode, to_input
from explorer.tracing import STRIP_KINDS, trace
from explorer.ui import server
from explorer.ui.api import explain as api
from explorer.ui.api.explain import (
    ARRAYS_ROUTE,
    MAX_LINE_BYTES,
    ROUTE,
    TOKEN_HEADER,
    arrays,
    explain,
    handle_arrays,
    handle_explain,
)
from explorer.ui.api.explore_session import SESSIONS, ExploreSession, RequestError
from explorer.ui.api.message import layers_message, view_message
from explorer.ui.services import input_images
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import ChosenNetwork, InferenceCache, NetworkResult
from explorer.ui.services.input_images import InputImage, UploadStore, own_image, sample_image, sample_pixels
from explorer.ui.viewer import STATIC
from tests.messages import answer_of, refusal, reply, session_of

NAMES = ("shapes-plain-20", "shapes-resnet-20")
VIEW: dict[str, Any] = {"picture": "sample-6-6", "target": None, "layers": "main", "networks": [*NAMES]}
PHOTO = figures.png(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


def session() -> ExploreSession:
    return session_of(*NAMES)


def looked(
    own: ExploreSession, state: AppState, subject: InputImage | None = None, names: Sequence[str] = NAMES
) -> list[NetworkResult]:
    """What the library computes for that view."""
    if subject is None:
        subject = own_image(state)
        assert subject is not None
    return [own.passes.run(network, state, subject) for network in own.offered.beside(names)]


def spied(own: ExploreSession, monkeypatch: pytest.MonkeyPatch, before: Callable[[AppState], object]) -> None:
    """Calls `before` with the view each time that a network of the session is to look at a picture."""
    run = own.passes.run

    def spy(network: ChosenNetwork, state: AppState, subject: InputImage) -> NetworkResult:
        before(state)
        return run(network, state, subject)

    monkeypatch.setattr(own.passes, "run", spy)


def lines(request: Mapping[str, Any]) -> list[bytes]:
    return [json.dumps(request).encode()]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"picture": "sample-4-41"},
        {"picture": "test-shapes-32-1426"},
        {"layers": "all", "target": 3},
        {"layer": "stem.conv"},
        {"layer": "stages.1.0", "channel": 2},
        {"networks": [NAMES[1]]},
        {"dials": "x3_rotation-12.5_noise20_jpeg40"},
    ],
)
def test_a_message_is_what_the_library_computes(changes: dict[str, Any]) -> None:
    own = session()
    asked = VIEW | changes
    state = AppState(**{name: value for name, value in asked.items() if name != "networks"})
    subject = own_image(state)
    assert subject is not None
    subject = subject.changed(state.dials)
    other = session()
    results = looked(other, state, subject, asked["networks"])
    wanted = view_message(state.picture, subject, results, state.layer, state.channel, other.offered)
    assert explain(own, asked) == wanted


@pytest.mark.parametrize("only", ["layer", "layers"])
def test_layers_are_what_the_library_computes(only: str) -> None:
    own, state = session(), AppState(layer="stages.1.0", channel=2, layers="main")
    content = explain(own, VIEW | {"layer": "stages.1.0", "channel": 2, "only": only})
    layer = "stages.1.0" if only == "layer" else None
    wanted = layers_message(state.picture, sample_image(6, 6), looked(session(), state), layer, 2)
    assert content == wanted
    assert unpack(content)[0]["every"] == (only == "layers")


def test_networks_that_are_too_large_to_be_fetched_ahead_give_the_shown_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "is_prefetched", lambda _: False)
    header, _ = unpack(explain(session(), VIEW | {"layer": "stages.1.0", "only": "layers"}))
    assert not header["every"]
    assert [list(network["layers"]) for network in header["networks"]] == [["stages.1.0"]] * 2


def test_the_page_that_runs_afterwards_computes_nothing() -> None:
    own = session()
    explain(own, VIEW | {"picture": "sample-4-41"})
    seen = [network.trace for network in looked(own, AppState(picture="sample-4-41", layers="main"))]
    explain(own, VIEW | {"picture": "sample-4-41", "layer": "stages.0.0"})
    again = looked(own, AppState(picture="sample-4-41", layers="main"))
    assert all(network.trace is before for network, before in zip(again, seen, strict=True))


def test_the_same_view_is_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    own = session()
    first = explain(own, VIEW)
    monkeypatch.setattr(api, "view_message", lambda *_: pytest.fail("it is kept"))
    assert explain(own, VIEW) is first


def test_the_pixels_are_those_of_the_picture_that_was_asked_for() -> None:
    header, body = unpack(explain(session(), VIEW | {"picture": "sample-1-6"}))
    loaded = checkpoints.load_pretrained(NAMES[1])
    wanted = trace(
        loaded.network, to_input(sample_pixels(1, 6)[0], (32, 32), loaded.mean, loaded.std), None, STRIP_KINDS
    )
    place = header["predictions"]["pictures"][0]["pixels"]
    np.testing.assert_array_equal(picture(body, [place[0], 32, 96]).reshape(32, 32, 3), sample_pixels(1, 6)[0])
    shown = header["predictions"]["networks"][1]["classes"][0]["probability"]
    assert shown == pytest.approx(float(wanted.probabilities.max()), abs=1e-6)


def test_a_test_picture_comes_with_its_label_and_mask() -> None:
    split = shapes.test_split()
    assert split.masks is not None
    number = 1426
    label = shapes.CLASS_NAMES[split.labels[number]]
    header, body = unpack(explain(session(), VIEW | {"picture": f"test-shapes-32-{number}", "layer": "stages.2.2"}))
    shown = header["predictions"]["pictures"][0]
    assert shown["words"] == f"test image {number}: {label}" and shown["alt"] == shown["words"]
    start, height, width = shown["pixels"]
    pixels = np.frombuffer(body, np.uint8, 3 * height * width, start).reshape(32, 32, 3)
    np.testing.assert_array_equal(pixels, split.images[number].transpose(1, 2, 0))
    verdicts = [network["verdict"] for network in header["predictions"]["networks"]]
    assert all(f"Predicts {label}: right." in said or f": wrong, it is a {label}." in said for said in verdicts)
    for network in header["networks"]:
        told = dict(network["layers"]["stages.2.2"]["numbers"])
        assert f"Grad-CAM on the object, which covers {split.masks[number].mean():.0%} of the image" in told
    assert header["picture"] == f"test-shapes-32-{number}" and not header["sheets"]


def test_a_picture_that_is_not_here_is_a_sentence() -> None:
    """A picture of another session, whosever it is."""
    own, other = session(), session()
    name = unpack(explain(other, *named_file()))[0]["picture"]
    for picture_name in (name, "upload-0123456789abcdef"):
        for make in (explain, arrays):
            with pytest.raises(RequestError, match="not here any more") as refused:
                make(own, VIEW | {"picture": picture_name})
            assert (refused.value.status, refused.value.code) == (404, "picture")


@pytest.mark.parametrize("names", [[], ["shapes-resnet-56"], [NAMES[0], "mine-0123456789abcdef"], ["../app.py"]])
def test_a_network_that_the_page_does_not_show_is_a_sentence(names: list[str]) -> None:
    for make in (explain, arrays):
        with pytest.raises(RequestError, match="shows other networks now") as refused:
            make(session(), VIEW | {"networks": names[::-1]})
        assert (refused.value.status, refused.value.code) == (200, "networks")
    empty = ExploreSession(InferenceCache(), UploadStore())
    with pytest.raises(RequestError, match="shows other networks now"):
        explain(empty, VIEW)


def named_file(**changes: Any) -> tuple[dict[str, Any], bytes]:
    asked = {name: value for name, value in VIEW.items() if name != "picture"}
    return asked | {"name": "a.png", **changes}, PHOTO


@pytest.mark.parametrize("changes", [{}, {"layer": "stages.1.0", "channel": 2}])
def test_the_answer_to_a_file_is_what_the_library_computes(changes: dict[str, Any]) -> None:
    own, other = session(), session()
    answer = explain(own, *named_file(**changes))
    state = AppState(**{"layers": "main", "picture": other.pictures.add(PHOTO, "a.png"), **changes})
    subject = other.pictures.get(state.picture)
    assert subject is not None
    results = looked(other, state, subject)
    wanted = view_message(state.picture, subject, results, state.layer, state.channel, other.offered)
    assert answer == wanted and unpack(answer)[0]["picture"] == state.picture
    kept = own.pictures.get(state.picture)
    assert kept is not None and kept.digest == subject.digest, "the page's run finds it"
    assert explain(own, VIEW | changes | {"picture": state.picture}) == answer, "and another request of the session"
    assert session().pictures.get(state.picture) is None, "and no other session"


def test_a_file_that_is_no_picture_is_one_sentence_and_the_shown_picture_stays() -> None:
    own = session()
    for content in (b"", b"just text", PHOTO[:100]):
        with pytest.raises(RequestError, match=r"a\.png.*The image that was shown stays\.$") as refused:
            explain(own, named_file()[0], content)
        assert (refused.value.status, refused.value.code) == (200, "picture")
    assert not own.pictures._images


def test_the_page_does_not_decode_again_what_was_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    own = session()
    name = unpack(explain(own, *named_file()))[0]["picture"]
    decoded: list[str] = []

    def counted(data: bytes, name: str) -> DecodedImage:
        decoded.append(name)
        return decode(data, name)

    monkeypatch.setattr(input_images, "decode", counted)
    assert own.pictures.add(PHOTO, "a.png") == name and decoded == []
    assert own.pictures.add(PHOTO, "b.png") == name and decoded == ["b.png"], "it has that name now"
    kept = own.pictures.get(name)
    assert kept is not None and kept.title == "`b.png`"
    header, _ = unpack(explain(own, VIEW | {"picture": name}))
    assert header["predictions"]["pictures"][0]["alt"] == "b.png", "and the viewer is told of that"


def test_the_raw_numbers_are_those_of_the_shown_layer_of_the_picture() -> None:
    own = session()
    content = arrays(own, VIEW | {"picture": "sample-1-6", "networks": [NAMES[1]], "layer": "stages.1.0"})
    (_, network) = looked(session(), AppState(picture="sample-1-6", layers="main"))
    wanted = raw_arrays(network.trace, ["stages.1.0"])
    with np.load(io.BytesIO(content), allow_pickle=False) as found:
        assert {*found} == {*wanted, "class_names"}
        assert tuple(found["class_names"]) == network.checkpoint.class_names
        for name, values in wanted.items():
            np.testing.assert_array_equal(found[name], values)
    for layer in (None, "stages.9.9"):
        with np.load(io.BytesIO(arrays(own, VIEW | {"layer": layer}))) as found:
            assert not [name for name in found if "/" in name], "the image and the scores have numbers too"


def test_raw_numbers_come_as_a_file() -> None:
    own = session()
    answer = reply(lines(VIEW | {"layer": "stages.1.0"}), own.token, handle_arrays)
    assert (answer.status_code, answer.media_type) == (200, "application/zip")
    with np.load(io.BytesIO(bytes(answer.body)), allow_pickle=False) as found:
        assert "cams/stages.1.0" in found
    assert refusal(reply(lines(VIEW), "0" * 32, handle_arrays))[:2] == (404, "session")
    assert refusal(reply(lines(VIEW | {"picture": "../app.py"}), own.token, handle_arrays))[:2] == (400, "request")
    behind = json.dumps(VIEW | {"name": "a.png"}).encode() + b"\n" + PHOTO
    assert refusal(reply([behind], own.token, handle_arrays))[:2] == (413, "request"), "no file belongs to it"


def test_a_session_has_one_view_computed_at_a_time_and_skips_the_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three clicks in a row: else the second would take the other worker from everybody to wait for the first."""
    own = session()
    computing, go_on = threading.Event(), threading.Event()
    computed: list[str] = []

    def slowly(state: AppState) -> None:
        computed.append(state.picture)
        computing.set()
        assert go_on.wait(60)

    spied(own, monkeypatch, slowly)

    async def ask(name: str, handle: Any = handle_explain) -> Response:
        answer: Response = await handle(explain_request(lines(VIEW | {"picture": name}), own.token))
        return answer

    async def four() -> list[Response]:
        first = asyncio.create_task(ask("sample-1-1"))
        await asyncio.to_thread(computing.wait, 60)
        rest = [asyncio.create_task(ask(name)) for name in ("sample-2-2", "sample-3-3")]
        rest.append(asyncio.create_task(ask("sample-4-4", handle_arrays)))
        await asyncio.sleep(0.1)
        free = asyncio.get_running_loop().run_in_executor(api._WORKERS, lambda: "free")
        assert await asyncio.wait_for(free, 20) == "free", "the others wait without a worker"
        assert {*computed} == {"sample-1-1"}
        go_on.set()
        return [await task for task in (first, *rest)]

    answers = answer_of(four())
    assert [answer.status_code for answer in answers] == [200] * 4
    assert refusal(answers[1])[1] == "superseded", "a download supersedes no view"
    assert {*computed} == {"sample-1-1", "sample-3-3", "sample-4-4"}


def test_a_view_is_not_computed_where_a_newer_one_came_while_the_page_computed() -> None:
    own = session()
    own.latest = 5
    with pytest.raises(RequestError) as refused:
        explain(own, VIEW, number=4)
    assert refused.value.code == "superseded"
    assert unpack(explain(own, VIEW, number=5))


@pytest.mark.parametrize("handle", [handle_explain, handle_arrays])
@pytest.mark.parametrize("part", ["run", "packing"])
def test_an_error_of_ours_is_an_incident_and_no_fault_of_the_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, part: str, handle: Any
) -> None:
    own = session()

    def fails(*_: Any) -> Any:
        return np.zeros(2) + np.zeros(3)  # a ValueError with numpy's own text

    if part == "run":
        monkeypatch.setattr(own.passes, "run", fails)
    else:
        monkeypatch.setattr(api, "view_message", fails)
        monkeypatch.setattr(api, "raw_arrays", fails)
    status, code, message = refusal(reply(lines(VIEW), own.token, handle))
    assert (status, code) == (500, "incident")
    found = re.fullmatch(r"Something went wrong .* \(incident ([0-9a-f]{8})\).*\.", message)
    assert found and found[1] in caplog.text


def test_what_the_library_says_of_a_network_is_told_as_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    own = session()
    monkeypatch.setattr("explorer.ui.api.strip.layer_axis", lambda _: ())
    status, code, message = refusal(reply(lines(VIEW), own.token))
    assert (status, code) == (200, "networks") and message.startswith("No layer of these networks has maps")


def test_the_browser_knows_the_addresses_and_the_header() -> None:
    client = (STATIC / "api.js").read_text()
    for route in (ROUTE, ARRAYS_ROUTE):
        assert f'post("{route}", token' in client
    assert "new URL(route, document.baseURI)" in client and f'"{TOKEN_HEADER}": token' in client
    paths = [getattr(route, "path", "") for route in server.routes()]
    assert paths[:2] == [f"/{ROUTE}", f"/{ARRAYS_ROUTE}"]


def test_the_longest_view_fits_into_the_line() -> None:
    longest = VIEW | {"networks": ["n" * 80] * 2, "layer": "x" * 80, "channel": 100_000, "only": "layers"}
    longest |= {"target": 100_000, "name": "\U0001f600" * 255}  # file systems take no longer name
    assert AppState(layer=longest["layer"], first=longest["networks"][0], target=longest["target"])
    assert len(json.dumps(longest)) < MAX_LINE_BYTES


@pytest.mark.parametrize(
    "changes",
    [
        {"picture": "../secret"},
        {"picture": None},
        {"layer": "a/b"},
        {"layers": "some"},
        {"target": True},
        {"channel": 1.5},
        {"networks": None},
        {"networks": NAMES[0]},
        {"networks": [NAMES[0], 7]},
        {"only": "everything"},
        {"at": "3,4;5"},
        {"at": 3},
        {"only": ["layer"]},
    ],
)
def test_a_refused_request_changes_nothing(changes: dict[str, Any]) -> None:
    own = session()
    before = vars(own).copy()
    for make in (explain, arrays, partial(explain, file=PHOTO)):
        with pytest.raises(RequestError) as refused:
            make(own, VIEW | changes)
        assert (refused.value.status, refused.value.code) == (400, "request")
    with pytest.raises(RequestError):
        explain(own, named_file(**changes)[0] | {"layer": "a/b"}, PHOTO)
    assert vars(own) == before and not own.pictures._images and not own.messages._values


def test_a_token_lasts_as_long_as_its_session() -> None:
    own = session()
    token = own.token
    assert SESSIONS.get(token) is own and len(token) == 32 and token != session().token
    del own
    gc.collect()
    assert SESSIONS.get(token) is None
