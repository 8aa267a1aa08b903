"""`change`: dials of a run that trains now."""

import argparse
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from explorer import runs
from explorer.cli import CommandResult
from explorer.labels import dial_text
from explorer.runs import Run
from explorer.runs.dials import ask, changes_of, pending, reached
from explorer.training import TrainingConfig
from explorer.training.dials import DIAL_FIELDS, DIAL_LIMITS, DialField, by_step, dials_at

PATIENCE_S = 15.0  # in which a run that trains takes a change; a longer step takes it at its end
POLL_S = 0.1
HELP: dict[DialField, str] = {
    "rate_factor": "factor on the learning rate that the schedule has at each step",
    "weight_decay": "L2 penalty of the weights",
    "clip": "largest norm of all gradients together; 0 for no clipping",
    "label_smoothing": "share of each label that is spread over all classes",
}


def change_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="RUN", help="the run's directory, or its id as the page's address has it")
    for field in DIAL_FIELDS:
        low, high = DIAL_LIMITS[field]
        limits = f"up to {high:g}" if field == "clip" else f"{low:g} to {high:g}"
        parser.add_argument(f"--{field.replace('_', '-')}", type=float, metavar="X", help=f"{HELP[field]}, {limits}")


def change_run(arguments: argparse.Namespace) -> CommandResult:
    """Turn dials of a run while it trains, or show them."""
    run = _run(arguments.id)
    config = TrainingConfig.from_dict(run.request().config)
    typed = {field: value for field in DIAL_FIELDS if (value := getattr(arguments, field)) is not None}
    wanted = {field: None if field == "clip" and value == 0 else value for field, value in typed.items()}
    if wanted:
        ask(run, wanted)
        until = time.monotonic() + PATIENCE_S
        while pending(run, runs.status(run).log) and runs.is_alive(run) and time.monotonic() < until:
            time.sleep(POLL_S)
    status = runs.status(run)
    at, changes = reached(status.log), changes_of(status.log)
    now: dict[str, float | None] = asdict(dials_at(config, changes, at))
    left: dict[Any, float | None] = dict(pending(run, status.log))
    document = {
        "run": run.id,
        "state": status.state,
        "step": at,
        "dials": now,
        "pending": left,
        "changes": [change.to_dict() for change in changes],
    }
    lines = [f"Run {run.id}, {status.state}, step {at:,}"]
    for field, value in now.items():
        last = next((change for change in reversed(changes) if change.field == field and change.step <= at), None)
        since = f"since step {last.step:,}, was {dial_text(field, last.old)}" if last else "from the start"
        lines.append(f"{dial_text(field, value)}: {since}")
    for step, turned in by_step([change for change in changes if change.step > at]):
        lines.append(f"Will be repeated from step {step:,} on: {', '.join(dial_text(c.field, c.new) for c in turned)}")
    if left:
        late = "the run ended before" if not runs.is_alive(run) else "the run has not taken it yet"
        lines.append(f"Asked for: {', '.join(dial_text(field, value) for field, value in left.items())}; {late}.")
    return document, lines


def _run(text: str) -> Run:
    run = runs.find(text)
    if run is not None:
        return run
    with suppress(OSError, ValueError):
        if Path(text, "request.json").is_file():
            return Run(Path(text).resolve())
    raise ValueError(f"there is no run {text[:80]!r}; give its directory or the id in the address of its page.")
