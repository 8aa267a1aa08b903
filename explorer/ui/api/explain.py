"""`POST api/explain`: the one address that answers what Explore draws.

A request is one line of JSON; a picture file, or the pixels of a drawing, may follow behind the line. Its header
`X-Explorer-Token` names a session, whose token only its own page is told. The answer is one binary message, or JSON
with a `message` for the user.
"""

import asyncio
import io
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from explorer import figures
from explorer.architectures.interventions import as_text
from explorer.attribution import raw_arrays
from explorer.errors import is_user_error, unexpected_message, user_message
from explorer.experiments.agreement import predict
from explorer.experiments.attacks import AimedAttack
from explorer.images import MAX_BYTES, Dials, ImageError, decode
from explorer.ui import report
from explorer.ui.api import report as chapters_of
from explorer.ui.api.binary import MessageWriter, json_float
from explorer.ui.api.drawing import MAX_BYTES as MAX_DRAWING_BYTES
from explorer.ui.api.drawing import drawn_image
from explorer.ui.api.explore_session import SESSIONS, ExploreSession, RequestError
from explorer.ui.api.layers import is_prefetched
from explorer.ui.api.message import layers_message, view_message
from explorer.ui.api.strip import shown_layer
from explorer.ui.api.values import values_message
from explorer.ui.services.explore_state import PASS_FIELDS, SELECTION_FIELDS, AppState
from explorer.ui.services.inference import CONCURRENT_PASSES, INFERENCE_SLOTS, NetworkResult
from explorer.ui.services.input_images import InputImage
from explorer.ui.services.offered_networks import OfferedNetworks

ROUTE = "api/explain"
ARRAYS_ROUTE = "api/arrays"
REPORT_ROUTE = "api/report"
PICTURE_ROUTE = "api/picture"
CLASSIFY_ROUTE = "api/classify"
TOKEN_HEADER = "X-Explorer-Token"
MAX_LINE_BYTES = 8000
MAX_FILE_BYTES = MAX_BYTES
MAX_FILES, MAX_FILES_OF_SESSION = 8, 4  # in memory at once
SPARE_FILES = 3  # of those, which contact sheets leave for pictures that a person waits for
LINE_TIMEOUT_S, FILE_TIMEOUT_S = 5, 60
VIEW_FIELDS = (*PASS_FIELDS, *SELECTION_FIELDS)
SHEET_SIDE_PX = 64  # of a picture on a contact sheet, which has up to twice as many
MAX_ADDRESS = 2000  # letters of the address in a report
ONLY = (None, "layer", "layers", "value", "field")
"""All of the view, the shown layer, every layer, the arithmetic of a value, or that with its effective field."""

_WORKERS = ThreadPoolExecutor(CONCURRENT_PASSES, thread_name_prefix="explain")
_files: Counter[str] = Counter()  # by token; used by the event loop's thread alone


def explain(session: ExploreSession, asked: Mapping[str, Any], file: bytes = b"", number: int | None = None) -> bytes:
    """The message about a view, or about layers of it.

    `asked` holds the fields of the view (VIEW_FIELDS), the names of the `networks`, and `only` (ONLY). With the `name`
    of a `file` instead of a `picture`, the session keeps that picture; of a `drawing` (`drawn_image`) only where it
    says `keep`, since a hand at work sends many. `number` is that of the request. Raises RequestError.
    """
    state, names, only = view_of(asked)
    if "name" in asked:
        state = replace(state, picture=_added(session, asked, file))
    if "drawing" in asked:
        picture, image = _drawn(session, asked["drawing"], file)
        state, subject = replace(state, picture=picture), image.of_view(state)
    else:
        subject = session.image_of(state)
    session.want(state, subject, names)
    with session.passes.lock:
        session.reject_superseded(number)
        with user_errors():
            subject = session.attacked(state, subject, names, partial(session.reject_superseded, number))
            results = session.run(state, subject, names)
            titles = "/".join(f"{network.title}/{network.colour}/{network.dashed}" for network in results)
            key = f"{only}/{state.layer}/{state.channel}/{state.target}/{state.layers}/{titles}"
            key += "".join(f"/{network.name}" for network in results)
            key += f"/{state.change}/{subject.digest}/{subject.title}/{subject.notes}/{subject.mask is None}"
            key += f"/{subject.attack_refusal}"
            if only in ("value", "field"):
                return values_message(session.passes, state, subject, results, only == "field")
            return session.messages.get(key, lambda: _pack(state, subject, results, only, session.offered))


def _pack(
    state: AppState, subject: InputImage, results: list[NetworkResult], only: str | None, offered: OfferedNetworks
) -> bytes:
    if only is None:
        return view_message(state.picture, subject, results, state.layer, state.channel, offered)
    layer = shown_layer(state.layer, results) if only == "layer" or not is_prefetched(results) else None
    return layers_message(state.picture, subject, results, layer, state.channel)


@contextmanager
def user_errors() -> Iterator[None]:
    """Turns an error whose text was written for a person into a RequestError. Any other stays an error of ours."""
    try:
        yield
    except RequestError:
        raise
    except ValueError as error:
        if not is_user_error(error):
            raise
        text = user_message(error)
        raise RequestError(200, "networks", text[:1].upper() + text[1:]) from None


def arrays(session: ExploreSession, asked: Mapping[str, Any], *_: Any) -> bytes:
    """The raw numbers of the shown layer of the network `of` that name, by default the first of the `networks`, as an
    npz file. Raises RequestError."""
    state, names, _only = view_of(asked)
    subject = session.image_of(state)
    with session.passes.lock, user_errors():
        subject = session.attacked(state, subject, names)
        of = asked.get("of", *names[:1])
        (network,) = session.run(state, subject, [of] if of in names else [])
    layers = [state.layer] if state.layer in network.trace.names and state.layer else []
    found = raw_arrays(network.trace, layers, signed=state.evidence == "signed")
    found["class_names"] = np.array(network.checkpoint.class_names)
    if network.interventions:
        found["change"] = np.array(as_text(network.interventions))
    if subject.attacked and network.clean:
        found["attack"] = np.array(subject.attacked.words)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **found)  # type: ignore[arg-type]
    return buffer.getvalue()


def view_report(session: ExploreSession, asked: Mapping[str, Any], *_: Any) -> bytes:
    """The report of the view as HTML. `asked` may name the `address` of the view. Raises RequestError."""
    state, names, _only = view_of(asked)
    subject = session.image_of(state)
    with user_errors():
        with session.passes.lock:
            subject = session.attacked(state, subject, names)
            results = session.run(state, subject, names)
        address = str(asked.get("address", ""))[:MAX_ADDRESS]
        return report.html(chapters_of.title(subject, results), chapters_of.chapters(state, subject, results), address)


def view_of(asked: Mapping[str, Any]) -> tuple[AppState, list[str], str | None]:
    """The view, the names of its networks, and which part of the message is wanted."""
    for name, read in (("dials", Dials.from_text), ("attack", AimedAttack.from_text)):
        try:
            read(str(asked.get(name, "")) if isinstance(asked, Mapping) else "")
        except ValueError as error:
            raise RequestError(200, name, f"{str(error)[:1].upper()}{str(error)[1:]}") from None
    try:
        state = replace(AppState(), **{name: asked[name] for name in VIEW_FIELDS if name in asked})
        names, only = asked["networks"], asked.get("only")
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names) or only not in ONLY:
            raise ValueError("no request of ours")
    except (ValueError, TypeError, KeyError):
        raise RequestError(400, "request", "This is not a view of Explore. Reload the page.") from None
    return state, names[:2], only


def classify(session: ExploreSession, asked: Mapping[str, Any], file: bytes, *_: Any) -> bytes:
    """The message about a file that the session does not keep: the picture, small, and what each of the `networks`
    predicts of it. Raises RequestError."""
    state, names, _only = view_of(asked)
    try:
        found = decode(file, _name(asked))
    except ImageError as error:
        raise RequestError(200, "picture", str(error)) from None
    answers = []
    with user_errors(), INFERENCE_SLOTS:
        for network in session.networks(names, state.step):
            rendered = found.rendered(network.checkpoint.rendering)  # as the images of its training
            best, probability = predict(network.checkpoint, rendered.pixels)
            answers.append({"name": network.checkpoint.class_names[best], "probability": json_float(probability)})
    writer = MessageWriter()
    picture = writer.picture(figures.fit_to_screen(found.pixels, SHEET_SIDE_PX))
    height, width = found.pixels.shape[:2]
    return writer.write({"answers": answers, "size": f"{width}×{height}", "picture": picture})


def _name(asked: Mapping[str, Any]) -> str:
    return str(asked.get("name", ""))[:300]


def store_picture(session: ExploreSession, asked: Mapping[str, Any], file: bytes, *_: Any) -> bytes:
    """JSON with the `picture` of a file, which the session keeps. Raises RequestError."""
    return json.dumps({"picture": _added(session, asked, file)}).encode()


def _added(session: ExploreSession, asked: Mapping[str, Any], file: bytes) -> str:
    try:
        return session.pictures.add(file, _name(asked))
    except ImageError as error:
        raise RequestError(200, "picture", f"{error} The image that was shown stays.") from None


def _drawn(session: ExploreSession, drawing: Any, content: bytes) -> tuple[str, InputImage]:
    try:
        picture, image = drawn_image(drawing, content)
    except ValueError as error:
        raise RequestError(400, "drawing", str(error)) from None
    if drawing.get("keep") is True:
        session.pictures.keep(picture, image)
    return picture, image


async def handle_explain(request: Request) -> Response:
    """200 with the message as `application/octet-stream`. Else JSON `{code, message}`: 200 where a user chose something
    that cannot be shown, or the page has moved on ("networks", "superseded"): browsers log every other status as an
    error of the page. 400 and 413 for no request of ours, 404 for no session, 429 for too many files at once, 500 with
    an id that is in the log."""
    return await respond(request, "application/octet-stream", explain, MAX_FILE_BYTES, supersedes=True)


async def handle_arrays(request: Request) -> Response:
    """200 with an npz file, else as `handle_explain`. A download supersedes no view, and no view supersedes it."""
    return await respond(request, "application/zip", arrays)


async def handle_report(request: Request) -> Response:
    """200 with an HTML file, to be saved and not to be shown, else as `handle_arrays`."""
    return await respond(request, "application/octet-stream", view_report)


async def handle_picture(request: Request) -> Response:
    """200 with JSON `{picture}`, else as `handle_explain`."""
    return await respond(request, "application/json", store_picture, MAX_FILE_BYTES)


async def handle_classify(request: Request) -> Response:
    """200 with the message about one picture of a contact sheet, else as `handle_arrays`."""
    return await respond(request, "application/octet-stream", classify, MAX_FILE_BYTES, spare_files=SPARE_FILES)


async def respond(
    request: Request,
    media_type: str,
    make: Callable[[ExploreSession, Mapping[str, Any], bytes, int | None], bytes],
    max_file: int = 0,
    supersedes: bool = False,
    spare_files: int = 0,
    workers: ThreadPoolExecutor | None = None,
) -> Response:
    """The answer that `make` gives in a worker, one at a time for each session; with `workers` of an address of its own
    in one of those, beside the others."""
    stream = request.stream()
    try:
        session = SESSIONS.get(request.headers.get(TOKEN_HEADER, ""))
        if session is None:
            raise RequestError(404, "session", "The session of this page has ended. Reload the page.")
        asked, begun = await asyncio.wait_for(_read_line(stream), LINE_TIMEOUT_S)
        is_file, is_drawing = "name" in asked, "drawing" in asked
        most = max_file if is_file else min(max_file, MAX_DRAWING_BYTES) if is_drawing else 0
        with _upload_slot(session, spare_files, small=not is_file) if most else nullcontext():
            file = await asyncio.wait_for(_read_file(stream, begun, most), FILE_TIMEOUT_S)
            session.latest += supersedes
            number = session.latest if supersedes else None
            async with session.turn if workers is None else nullcontext():  # at most one worker per session
                session.reject_superseded(number)
                running = asyncio.get_running_loop().run_in_executor
                content = await running(workers or _WORKERS, make, session, asked, file, number)
    except RequestError as error:
        return JSONResponse({"code": error.code, "message": str(error)}, error.status)
    except (ClientDisconnect, TimeoutError):
        return JSONResponse({"code": "timeout", "message": "The request took too long. Try again."}, 408)
    except Exception as error:
        return JSONResponse({"code": "incident", "message": unexpected_message(error)}, 500)
    return Response(content, media_type=media_type, headers={"Cache-Control": "no-store"})


@contextmanager
def _upload_slot(session: ExploreSession, spare: int = 0, small: bool = False) -> Iterator[None]:
    """Room for one file in memory, while as much as `spare` stays. `small` ones, as drawings are, have it whatever
    other sessions upload."""
    token = session.token
    if (sum(_files.values()) >= MAX_FILES - spare and not small) or _files[token] >= MAX_FILES_OF_SESSION:
        raise RequestError(429, "files", "Too many images are being uploaded at this moment. Try again.")
    _files[token] += 1
    try:
        yield
    finally:
        _files[token] -= 1
        if not _files[token]:
            del _files[token]


async def _read_line(stream: AsyncIterator[bytes]) -> tuple[dict[str, Any], bytearray]:
    """The line, and what came behind it."""
    content = bytearray()
    async for piece in stream:
        content += piece
        line, end, rest = content.partition(b"\n")
        if len(line) > MAX_LINE_BYTES:
            raise RequestError(413, "request", "The request is too long.")
        if end:
            return _parsed(line), rest
    return _parsed(content), bytearray()


def _parsed(line: bytearray) -> dict[str, Any]:
    try:
        asked = json.loads(line)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise RequestError(400, "request", "A request is a JSON object.")
    return asked


async def _read_file(stream: AsyncIterator[bytes], content: bytearray, most: int) -> bytes:
    """The rest of the stream behind `content`."""
    while len(content) <= most:
        piece = await anext(stream, None)
        if piece is None:
            return bytes(content)
        content += piece
    if not most:
        raise RequestError(413, "request", "The request is too long.")
    raise RequestError(413, "file", f"The file is larger than {most // 2**20} MB. Choose a smaller one.")
