"""Another drawn shape at an address of its own: what Explore shows of it, without a run of the page.

Streamlit lays out the whole page twice when any part of it runs, and computes meanwhile on the same cores. So the
browser asks here first, draws what comes, and then tells the page, whose run finds everything computed. Whoever asks
has to know the token of a session, which only its own page is told. Whatever cannot be answered here is told to the
page at once, as it always was.
"""

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from explorer.ui.explore.explained import Explained
from explorer.ui.explore.overview import DESKS, Desk, message
from explorer.ui.navigation import incident
from explorer.ui.passes import PASSES_AT_ONCE, sample_subject

NAME = "drawing"  # the last part of the address, in depth.js too
LONGEST = 1000  # bytes of a question
FIELDS = ("layer", "channel", "picture")  # what it may say of the view

_WORKERS = ThreadPoolExecutor(PASSES_AT_ONCE, thread_name_prefix=NAME)


class NotHereError(ValueError):
    """The page has to answer this."""


def another(desk: Desk, asked: Mapping[str, Any]) -> bytes:
    """The overview's message about another drawn shape, for the networks that the session looks at.

    `asked` holds the `picture` as `AppState` has it, and the chosen `layer` and `channel`. Raises NotHereError where
    more than the overview would change, ValueError or TypeError for what no browser of ours asks.
    """
    before = desk.last.get("explained")
    if before is None or before.missing or before.state.sample is None or before.state.tab != "layer":
        raise NotHereError("the page around the overview has to change too.")
    state = replace(before.state, **{name: asked[name] for name in FIELDS if name in asked})
    if state.sample is None:
        raise NotHereError("an uploaded picture belongs to a run of the page.")
    subject = sample_subject(*state.sample)
    with desk.passes.lock:
        looked = [desk.passes.look_again(network, state, subject) for network in before.looked]
        explained = Explained(state, subject, False, looked)
        answer = message(explained, None, desk)
        if desk.last.get("explained") is not before:
            raise NotHereError("the page has run meanwhile, maybe with other networks.")
        desk.last["explained"] = explained
    return answer


async def answer(request: Request) -> Response:
    """200 with the message; 204 where the page has to answer, or another question of the session came meanwhile, which
    no browser's console complains of. Else a sentence: 400 and 413 for what is no question, 404 for no session."""
    content = b""
    async for piece in request.stream():
        content += piece
        if len(content) > LONGEST:
            return PlainTextResponse("the question is too long.", 413)
    try:
        asked = json.loads(content)
        desk = DESKS.get(asked["token"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return PlainTextResponse("a question is a JSON object with `token` and `picture`.", 400)
    if desk is None:
        return PlainTextResponse("no session has this token.", 404)
    desk.asked += 1
    try:
        drawn = await asyncio.get_running_loop().run_in_executor(_WORKERS, _newest, desk, desk.asked, asked)
    except NotHereError:
        return Response(status_code=204)
    except (ValueError, TypeError):
        return PlainTextResponse("`picture`, `layer` or `channel` is none.", 400)
    except Exception as error:
        return PlainTextResponse(f"something went wrong that should not have (incident {incident(error)}).", 500)
    return Response(drawn, media_type="application/octet-stream", headers={"Cache-Control": "no-store"})


def _newest(desk: Desk, number: int, asked: Mapping[str, Any]) -> bytes:
    if number != desk.asked:
        raise NotHereError("another question of this session came meanwhile.")
    return another(desk, asked)
