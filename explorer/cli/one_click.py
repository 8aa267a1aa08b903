"""`train --auto`: the training of one click on the page, its forecast and its result."""

import argparse
import os
import secrets
import shutil
import sys
import tempfile
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

from explorer import runs
from explorer.cli import CommandResult, inputs, new_networks
from explorer.cli.formatting import notes_block, percent, table
from explorer.machine import core_limit
from explorer.runs import Request, Run, RunLog
from explorer.runs import speed as machine_speed
from explorer.training import TrainingConfig, choose_device, propose, unused_device
from explorer.training.proposal import SECONDS, Proposal, one_click

POLL_S = 0.5
_OPTIONS = ("seconds", "seed")


def train(arguments: argparse.Namespace) -> CommandResult:
    """Measures this machine's speed, trains the twins that follow from it as a run of the page does, in a folder of its
    own that is removed afterwards, and returns forecast and result."""
    given = [field.name for field in fields(TrainingConfig) if getattr(arguments, field.name) is not None]
    others = [name for name in given if name not in _OPTIONS]
    others += [name for name in ("name", "spec", "size", "threads") if getattr(arguments, name) is not None]
    others += [name for name in ("twin", "grey") if getattr(arguments, name)]
    others += new_networks.network_changes(arguments)
    others += ["data"] if arguments.data != "shapes" else []
    if others:
        raise ValueError(
            f"`--auto` chooses the network, its data and its training itself; leave out `{others[0].replace('_', '-')}`"
            f" (it goes with {', '.join(f'--{name}' for name in _OPTIONS)}, --out and --json)."
        )
    out = Path(arguments.out) if arguments.out else None
    files = [out, out.with_stem(f"{out.stem}-twin")] if out else []
    for file in files:
        inputs.check_new(file, ".safetensors")
    device = choose_device()
    seconds = SECONDS if arguments.seconds is None else arguments.seconds
    seed = arguments.seed or 0
    one_click(seconds, seed)  # raises ValueError for an impossible budget before the measurement
    proposal = propose(machine_speed.measure(), seconds, seed)
    config = proposal.config
    drawn = proposal.rung.drawn
    specs = (proposal.rung.spec.twin(), proposal.rung.spec)
    forecast = proposal.forecast
    print(
        f"{proposal.rung.spec.name} and its twin on {drawn.name}, {forecast.seconds:g} s: about {forecast.steps:,} "
        f"steps of {config.batch_size}, {forecast.passes:.1f} passes through the data, and {forecast.measuring:.0f} s "
        "for start and test.",
        file=sys.stderr,
        flush=True,
    )
    folder = tempfile.mkdtemp(prefix="explorer-one-click-")
    before = os.environ.get("EXPLORER_DATA")
    os.environ["EXPLORER_DATA"] = folder
    try:
        request = Request(
            specs=tuple(spec.to_dict() for spec in specs),
            config=config.to_dict(),
            data=drawn.request,
            device=device.type,
            created=time.time(),
            names=tuple(spec.name for spec in specs),
        )
        started = time.perf_counter()
        run = runs.submit(request, secrets.token_hex(16))
        log = _follow(run)
        took = time.perf_counter() - started
        if log.end is None or log.end["outcome"] != "finished":
            raise ValueError((log.end or {}).get("message") or "the training ended unexpectedly; start it again.")
        for entry, file in zip(log.end["networks"], files, strict=False):
            shutil.copyfile(run.network_file(entry["name"]), file)
    finally:
        if before is None:
            del os.environ["EXPLORER_DATA"]
        else:
            os.environ["EXPLORER_DATA"] = before
        shutil.rmtree(folder, ignore_errors=True)
    return _answer(proposal, config, log, took, [str(file) for file in files])


def _follow(run: Run) -> RunLog:
    """Waits for the end of the run; its progress goes to stderr. Ctrl-C stops it."""
    reported = 0
    try:
        while (status := runs.status(run)).state in ("queued", "running"):
            for progress in status.log.progress[reported:][-1:]:
                accuracies = ", ".join(percent(each["accuracy"] or 0.0) for each in progress["networks"])
                print(
                    f"{progress['fraction']:4.0%}  step {progress['step']:,}  {accuracies}", file=sys.stderr, flush=True
                )
            reported = len(status.log.progress)
            time.sleep(POLL_S)
    except BaseException:
        runs.stop(run)
        while runs.status(run).state in ("queued", "running"):
            time.sleep(POLL_S)
        raise
    return status.log


def _answer(proposal: Proposal, config: TrainingConfig, log: RunLog, took: float, files: list[str]) -> CommandResult:
    assert log.end is not None
    steps = max(network["steps"] for network in log.end["networks"])
    forecast = proposal.forecast
    networks: list[dict[str, Any]] = [
        {"network": entry["title"], "shortcut": entry["shortcut"], "outcome": entry["outcome"], "steps": entry["steps"]}
        | {name: entry[name] for name in ("test", "sha256") if name in entry}
        | ({"file": file} if file else {})
        for entry, file in zip(log.end["networks"], files or [""] * len(log.end["networks"]), strict=True)
    ]
    rung = proposal.rung
    document = {
        "proposal": {
            "network": rung.spec.name,
            "depth": rung.depth,
            "width": rung.width,
            "size": rung.size,
            "classes": list(rung.classes),
            "batch_size": config.batch_size,
            "learning_rate": config.learning_rate,
            "passes_needed": rung.passes,
        },
        "data": rung.drawn.name,
        "seed": config.seed,
        "seconds": config.seconds,
        "forecast": {key: getattr(forecast, key) for key in ("steps", "passes", "measuring")},
        "steps": steps,
        "passes": steps * config.batch_size / rung.pictures[0],
        "took": took,
        "networks": networks,
        "verdict": runs.summary(log),
        "device": log.end["device"],
        "precision": log.end["precision"],
        "cores": core_limit(),
        "note": unused_device(),
    }
    header = ("network", "test accuracy", "n", "steps", "outcome")
    rows = [
        [entry["network"], percent(entry["test"]["accuracy"]), entry["test"]["n"], entry["steps"], entry["outcome"]]
        for entry in networks
    ]
    lines = [
        f"One click on {log.end['device']}, {log.end['precision']}, seed {config.seed}: {rung.drawn.name}",
        f"Forecast {forecast.steps:,} steps, came {steps:,}; {took:.0f} s in all",
        "",
        *table(header, rows),
        "",
        runs.summary(log),
    ]
    return document, [*lines, *notes_block([document["note"]] if document["note"] else [])]
