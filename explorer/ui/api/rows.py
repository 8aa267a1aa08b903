"""`POST api/rows`: further rows of the depth strip, which take seconds of measuring.

A request is one line of JSON with the `networks`, the `layers` and the `rows` of the view. An answer comes at once
where all is known, else within a second, with what is known and a sentence about what is being measured; the browser
asks again. ROWS of `row_drawings` lists the rows; `viewer/static/rows.js` lists them for the browser.
"""

from collections.abc import Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from explorer import checkpoints
from explorer.attribution import shared_axis
from explorer.errors import user_message
from explorer.experiments import probing
from explorer.labels import STRIP_ROWS, duration
from explorer.ui.api.binary import json_bytes
from explorer.ui.api.explain import respond, user_errors, view_of
from explorer.ui.api.explore_session import ExploreSession, RequestError
from explorer.ui.api.row_drawings import ROWS, Drawing, Line, Row, percent
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import ChosenNetwork
from explorer.ui.services.layer_rows import JOBS, Kind, Measurement, Subject, kinds_of, measurement

ROUTE = "api/rows"
WAIT_S = 1.0  # for a measurement, before an answer says how far it is
LONG_S = 20.0  # a measurement that takes longer begins once a user has said so

_WORKERS = ThreadPoolExecutor(16, thread_name_prefix="rows")  # they only wait


def layer_rows(session: ExploreSession, asked: Mapping[str, Any], *_: Any) -> bytes:
    """The `LayerRows` of types.d.ts as JSON, within about a second. `asked` may hold `start`: rows whose long
    measurement a user wants to begin. Raises RequestError."""
    state, names, _only = view_of(asked)
    start = asked.get("start", ())
    wanted = [name for name in ROWS if name in (state.rows or "").split(",")]
    with user_errors():
        networks = session.networks(names, state.step)
        if any(network.listed not in session.offered.measured for network in networks):
            raise RequestError(200, "networks", "The page shows other networks now. Reload it if this stays.")
        subjects = [_subject(session, network) for network in networks]
        return _answer(session, state, subjects, wanted, start if isinstance(start, list) else [])


def _subject(session: ExploreSession, network: ChosenNetwork) -> Subject:
    about = session.offered.measured[network.listed]
    digest = about.digest() if network.step is None else checkpoints.digest(network.checkpoint)
    return Subject(network, digest, about.owner, about.pictures)


def _answer(
    session: ExploreSession, state: AppState, subjects: Sequence[Subject], wanted: Sequence[str], start: Sequence[Any]
) -> bytes:
    axis = shared_axis(*(probing.strip_layers(subject.checkpoint.spec, state.layers) for subject in subjects))
    of: dict[Kind, list[Measurement]] = {}
    problems: dict[Kind, str] = {}
    for kind in dict.fromkeys(row.kind for row in ROWS.values()):
        groups = [[subject] for subject in subjects] if kind != "twins" else [list(subjects)]
        try:
            if kind == "twins" and len(subjects) < 2:
                raise ValueError("A distance needs two networks. Choose a second one above.")
            of[kind] = [measurement(kind, group, state.layers, session.token) for group in groups]
        except ValueError as error:
            problems[kind] = user_message(error)
    found = {kind: [JOBS.find(each) for each in own] for kind, own in of.items()}

    def missing(kind: Kind) -> list[Measurement]:
        return [each for each, result in zip(of[kind], found[kind], strict=True) if result is None]

    def note_failures() -> None:
        for each in (each for kind in of for each in missing(kind)):
            if failure := JOBS.failure(each):
                problems[each.kind] = failure

    note_failures()
    begun = {ROWS[name].kind for name in start if isinstance(name, str) and name in ROWS}
    long = {kind for kind in of if kind not in begun and sum(each.seconds() for each in missing(kind)) > LONG_S}
    kinds = dict.fromkeys(ROWS[name].kind for name in wanted)
    queue = [each for kind in kinds if kind in of and kind not in {*long, *problems} for each in missing(kind)]
    progress = ""
    if queue:
        job = JOBS.ask(session.token, queue[0])
        if job.ended.wait(WAIT_S):
            kind = queue[0].kind
            found[kind] = [JOBS.find(each) for each in of[kind]]
            note_failures()
        elif ahead := JOBS.ahead_of(job):
            progress = f"Waiting for {ahead} other measurement{'s' * (ahead > 1)} on this server."
        else:
            progress = f"Measuring {queue[0].title}: {job.done:.0%}."
    else:
        JOBS.leave(session.token)
    left = {kind: sum(each.seconds() for each in missing(kind)) for kind in of}
    rows = [_row(name, axis, subjects, found, long, left, problems) for name in wanted]
    is_done = not any(row["pending"] for row in rows)
    document = {
        "layers": axis,
        "rows": rows,
        "costs": {name: _cost(row.kind, problems, left) for name, row in ROWS.items()},
        "progress": "" if is_done else progress,
        "done": is_done,
        "csv": _csv(axis, rows),
    }
    return json_bytes(document)


def _cost(kind: Kind, problems: Mapping[Kind, str], left: Mapping[Kind, float]) -> str:
    if kind in problems:
        return ""
    return f"about {duration(left[kind])}" if left[kind] else "measured"


def _row(
    name: str,
    axis: Sequence[str],
    subjects: Sequence[Subject],
    found: Mapping[Kind, Sequence[Any]],
    long: Container[Kind],
    left: Mapping[Kind, float],
    problems: Mapping[Kind, str],
) -> dict[str, Any]:
    """What the browser draws of one row."""
    row, title = ROWS[name], STRIP_ROWS[name].long
    entry: dict[str, Any] = {"name": name, "title": title, "chart": None, "words": [], "start": None, "pending": False}
    entry |= {"series": []}
    if row.kind in problems:
        return entry | {"words": [problems[row.kind]]}
    if row.kind in long:
        return entry | {"start": f"Measure it: about {duration(left[row.kind])}"}
    results = found[row.kind]
    if any(result is None for result in results):
        return entry | {"pending": True}
    drawing = row.draw(subjects, results)
    return entry | {
        "words": [text for text in drawing.words if text],
        "chart": _chart(title, row, drawing, axis, subjects) if drawing.lines else None,
        "series": [
            {
                "title": _title_of(line, subjects),
                "values": [line.values.get(layer) for layer in axis],
                "low": [line.low.get(layer) for layer in axis],
                "high": [line.high.get(layer) for layer in axis],
            }
            for line in drawing.lines
        ],
    }


def _title_of(line: Line, subjects: Sequence[Subject]) -> str:
    title = "both networks" if line.of is None else subjects[line.of].network.title
    return f"{title}, theoretical" if line.faint else title


def _chart(title: str, row: Row, drawing: Drawing, axis: Sequence[str], subjects: Sequence[Subject]) -> dict[str, Any]:
    """The `StripChart` of a row, on one linear scale from 0."""
    kinds = {name: kind for subject in subjects for name, kind in kinds_of(subject.checkpoint).items()}
    connected = "block" if any(kinds.get(name) == "block" for name in axis) else "conv"

    def place(value: float | None) -> float | None:
        return None if value is None else min(max(value / drawing.top, 0.0), 1.0)

    def along(line: Line, on_line: bool) -> list[float | None]:
        return [place(line.values.get(name)) if (kinds.get(name) == connected) == on_line else None for name in axis]

    def series(line: Line) -> dict[str, Any]:
        network = None if line.of is None else subjects[line.of].network
        ends = [
            [place(line.low[name]), place(line.high[name])] if name in line.low and name in line.high else None
            for name in axis
        ]
        return {
            "colour": network.colour if network else "currentColor",
            "dash": "4 4" * bool(network and network.dashed),
            "line": along(line, on_line=True),
            "dots": along(line, on_line=False),
            "faint": line.faint,
            **({"bands": ends} if line.low else {}),
        }

    def said(line: Line, name: str) -> str:
        interval = f" ({row.written(line.low[name])} to {row.written(line.high[name])})" if name in line.low else ""
        return f"{_title_of(line, subjects)}: {row.written(line.values[name])}{interval}"

    def hover(name: str) -> str:
        lines = [said(line, name) for line in drawing.lines if name in line.values]
        return "\n".join([f"{name}, {title}", *(lines or ["no value here"])])

    marks = "".join(f"; {words}" for _, words in drawing.marks)
    ticks = [0.0, drawing.top / 2, drawing.top]
    return {
        "title": title,
        "alt": f"{title} of each layer on an axis from 0 to {row.written(drawing.top)}{marks}. "
        f"{' '.join(drawing.words)}",
        "ticks": [{"label": _tick(row, tick), "at": tick / drawing.top} for tick in ticks],
        "series": [series(line) for line in drawing.lines],
        "marks": [{"label": words, "at": place(value)} for value, words in drawing.marks],
        "hover": [hover(name) for name in axis],
    }


def _tick(row: Row, value: float) -> str:
    return f"{100 * value:g}%" if row.written is percent else f"{value:g}"


def _csv(axis: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each layer, a column for each row and network."""
    head, columns = ["layer"], [list(axis)]
    for row in rows:
        for series in row["series"]:
            for part in ("values", "low", "high"):
                if any(value is not None for value in series[part]):
                    suffix = "" if part == "values" else f", {part}"
                    head.append(f"{row['title']}, {series['title']}{suffix}")
                    columns.append(["" if value is None else f"{value:.6g}" for value in series[part]])
    lines = [head, *np.array(columns, dtype=object).T.tolist()]
    return "\n".join(
        ",".join(f'"{cell.replace(chr(34), chr(34) * 2)}"' if {*cell} & {*',"\n'} else cell for cell in line)
        for line in lines
    )


async def handle_rows(request: Request) -> Response:
    """200 with JSON, else as `handle_arrays`. It waits in workers of its own, beside the drawings of the session."""
    return await respond(request, "application/json", layer_rows, workers=_WORKERS)
