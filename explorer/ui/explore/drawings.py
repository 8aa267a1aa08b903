"""Another picture at an address of its own: what Explore shows of it, without a run of the page.

Streamlit lays out the whole page twice when any part of it runs, and computes meanwhile on the same cores. So the
browser asks here first, for a drawn shape or with a file that was chosen, draws what comes, and then tells the page,
whose run finds everything computed. Whoever asks has to know the token of a session, which only its own page is told.
Whatever cannot be answered here is told to the page at once, as it always was.

A question is one line of JSON, `{"token": ..., "picture": ..., "layer": ..., "channel": ...}`, or, without `picture`
and with the `name` of a file, such a line and the content of the file behind it.
"""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from explorer.images import ImageError
from explorer.incidents import unexpected
from explorer.ui.explore.explained import Explained
from explorer.ui.explore.overview import DESKS, Desk, message
from explorer.ui.passes import PASSES_AT_ONCE, sample_subject
from explorer.ui.state import AppState

NAME = "drawing"  # the last part of the address, in depth.js too
LONGEST = 4000  # bytes of the line
LARGEST = 8 * 2**20  # bytes of a file, in depth.js too; a larger one the page alone takes, which needs its time anyway
FILES, FILES_OF_ONE = 32, 3  # in memory at once, of all and of one session; what else comes is left to the page
SLOWEST_LINE, SLOWEST_FILE = 5, 60  # seconds; the browser hands a file to the page after 5
FIELDS = ("layer", "channel", "picture")  # what it may say of the view

_WORKERS = ThreadPoolExecutor(PASSES_AT_ONCE, thread_name_prefix=NAME)
_files: Counter[str] = Counter()  # by token; of the event loop's thread alone


class NotHereError(ValueError):
    """The page has to answer this."""


class RefusedError(ValueError):
    """What came is no question of ours; `status` is the HTTP status that says so."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def another(desk: Desk, asked: Mapping[str, Any], file: bytes = b"", number: int | None = None) -> bytes:
    """The overview's message about another picture, for the networks that the session looks at.

    `asked` holds the `picture` of a drawn shape as `AppState` has it, or the `name` of the file, which the session
    keeps; and the chosen `layer` and `channel`. `number` is the question's own, of `desk.asked`. Raises NotHereError
    where more than the overview would change, the file is no picture, or another question came meanwhile, RefusedError
    for what no browser of ours asks.
    """
    before = desk.last.get("explained")
    if before is None or before.missing or before.state.tab != "layer":
        raise NotHereError("the page around the overview has to change too.")
    state = _view(before.state, asked)
    if "name" in asked:
        try:
            state = replace(state, picture=desk.pictures.keep(file, str(asked["name"])))
        except ImageError:
            raise NotHereError("the page says what is wrong with it.") from None
        subject = desk.pictures.get(state.picture)
    elif before.state.sample is None or state.sample is None:
        raise NotHereError("from an uploaded picture to a drawn shape, and back, more changes than the overview.")
    else:
        subject = sample_subject(*state.sample)
    if subject is None:
        raise NotHereError("other files came meanwhile, and this one is gone.")
    with desk.passes.lock:
        _check_newest(desk, number)
        looked = [desk.passes.look_again(network, state, subject) for network in before.looked]
        explained = Explained(state, subject, False, looked)
        answer = message(explained, None, desk)
        # Where only a part of the page has run meanwhile, it is another one that says the same.
        now = desk.last.get("explained")
        if now is None or _meant(now) != _meant(before):
            raise NotHereError("the page has run meanwhile, maybe with other networks.")
        desk.last["explained"] = explained
    return answer


def _meant(explained: Explained) -> tuple[AppState, bool, str]:
    return explained.state, explained.missing, explained.drawing


def _view(before: AppState, asked: Mapping[str, Any]) -> AppState:
    try:
        return replace(before, **{name: asked[name] for name in FIELDS if name in asked})
    except (ValueError, TypeError):
        raise RefusedError(400, "`picture`, `layer` or `channel` is none.") from None


def _check_newest(desk: Desk, number: int | None) -> None:
    if number not in (None, desk.asked):
        raise NotHereError("another question of this session came meanwhile.")


async def answer(request: Request) -> Response:
    """200 with the message. 204 where the page has to answer, another question of the session came meanwhile, or more
    comes than there is room or time for; no browser's console complains of that. Else a sentence: 400 and 413 for what
    is no question, 404 for no session, 500 with an id that is in the log."""
    stream = request.stream()
    try:
        desk, asked, begun = await asyncio.wait_for(_head(stream), SLOWEST_LINE)
        with _room(desk) if "name" in asked else nullcontext():
            file = await asyncio.wait_for(_file(stream, begun, LARGEST if "name" in asked else 0), SLOWEST_FILE)
            desk.asked += 1
            number = desk.asked
            async with desk.turn:  # one worker a session: the others are for the others
                _check_newest(desk, number)
                drawn = await asyncio.get_running_loop().run_in_executor(_WORKERS, another, desk, asked, file, number)
    except (NotHereError, ClientDisconnect, TimeoutError):  # who has left hears nothing anyway
        return Response(status_code=204)
    except RefusedError as error:
        return PlainTextResponse(f"{error}", error.status)
    except Exception as error:
        return PlainTextResponse(unexpected(error), 500)
    return Response(drawn, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})


@contextmanager
def _room(desk: Desk) -> Iterator[None]:
    """For one file in memory. Raises NotHereError where others have it all."""
    if sum(_files.values()) >= FILES or _files[desk.token] >= FILES_OF_ONE:
        raise NotHereError("too many files are here already.")
    _files[desk.token] += 1
    try:
        yield
    finally:
        _files[desk.token] -= 1
        if not _files[desk.token]:
            del _files[desk.token]


async def _head(stream: AsyncIterator[bytes]) -> tuple[Desk, dict[str, Any], bytearray]:
    """Whose question it is, the line, and what came behind it. No file is read for somebody who knows no token."""
    content = bytearray()
    async for piece in stream:
        content += piece
        line, end, rest = content.partition(b"\n")
        if len(line) > LONGEST:
            raise RefusedError(413, "the question is too long.")
        if end:
            return *_question(line), rest
    return *_question(content), bytearray()


async def _file(stream: AsyncIterator[bytes], content: bytearray, most: int) -> bytes:
    """The rest of the stream behind `content`."""
    while len(content) <= most:
        piece = await anext(stream, None)
        if piece is None:
            return bytes(content)
        content += piece
    raise RefusedError(413, "the file is too large.")


def _question(line: bytearray) -> tuple[Desk, dict[str, Any]]:
    try:
        asked = json.loads(line)
        desk = DESKS.get(asked["token"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise RefusedError(400, "a question is a JSON object with `token` and `picture`.") from None
    if desk is None:
        raise RefusedError(404, "no session has this token.")
    return desk, asked
