"""`python -m benchmarks one-click`: what one click teaches on this machine; `rungs`: each of its networks;
`forecasts`: how near forecasts come."""

import argparse
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from benchmarks.rows import ROOT, Bound, Row, by_precision, machine, precision, spread, write
from explorer import runs
from explorer.architectures import build
from explorer.datasets import shapes
from explorer.datasets.shapes import Drawn
from explorer.presets import cifar
from explorer.runs import Request
from explorer.runs import speed as machine_speed
from explorer.training import (
    TrainingConfig,
    choose_device,
    evaluate,
    fit_together,
    forecast,
    use_threads,
)
from explorer.training.proposal import RUNGS, one_click

RESIDUAL, RESIDUAL_FAST, POINTS, OFTEN = 0.80, 0.92, 0.15, 0.8
NEAR, NEAR_SHARE = 0.25, 13 / 15
DEPTHS, SIZES = (8, 20, 56), (16, 32)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", choices=["one-click", "rungs", "forecasts"])
    parser.add_argument("--seeds", type=int, default=5, help="how many clicks, of seeds 0, 1, ... (default: 5)")
    parser.add_argument("--seconds", type=float, help="budget of each (default: 60; for forecasts 20)")
    parser.add_argument("--write", action="store_true", help="write the table to docs/WHAT-PRECISION.md")
    options = parser.parse_args(arguments)
    if options.what == "one-click":
        lines, rows = clicks(options.seeds, options.seconds or 60.0)
    elif options.what == "rungs":
        lines, rows = rungs(options.seeds), []
    else:
        lines, rows = forecasts(options.seconds or 20.0)
    if options.write:
        write(by_precision(options.what), lines)
    return 1 if any(row.bound and not row.bound.met for row in rows) else 0


def one_click_rows(is_written: bool = False) -> list[Row]:
    """Rows of `make bench`: what one click teaches and how close forecasts come; `is_written`: also writes both tables
    into docs/."""
    found = []
    for name, measure in (("one-click", clicks), ("forecasts", forecasts)):
        lines, rows = measure(say=lambda line: print(line, file=sys.stderr, flush=True))
        found += rows
        if is_written:
            write(by_precision(name), lines)
    return found


def _print(line: str) -> None:
    print(line, flush=True)


def clicks(seeds: int = 5, seconds: float = 60.0, say: Callable[[str], None] = _print) -> tuple[list[str], list[Row]]:
    """The table, each line told as it comes, and its rows with the bounds of this machine."""
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        say(line)

    tell("| seed | network | data | forecast | steps | passes | plain | residual | difference | seconds in all |")
    tell("|---|---|---|---|---|---|---|---|---|---|")
    found, networks = [], []
    for seed in range(seeds):
        command = [sys.executable, "-m", "explorer", "train", "--auto", "--json"]
        command += ["--seconds", f"{seconds:g}", "--seed", str(seed)]
        answer = json.loads(
            subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, encoding="utf-8").stdout
        )
        accuracy = {entry["shortcut"] == "none": entry["test"] for entry in answer["networks"]}
        plain, residual = accuracy[True]["accuracy"], accuracy[False]["accuracy"]
        found.append((plain, residual, answer["steps"] / answer["forecast"]["steps"]))
        networks.append(f"{answer['proposal']['network']}, width {answer['proposal']['width']}")
        tell(
            f"| {seed} | {networks[-1]} | {answer['data']} "
            f"| {answer['forecast']['steps']:,} | {answer['steps']:,} | {answer['passes']:.1f} | {plain:.1%} "
            f"| {residual:.1%} | {100 * (residual - plain):+.1f} points | {answer['took']:.0f} |"
        )
    fast = answer["precision"] == "bfloat16" or "CPU" not in answer["device"]
    least = RESIDUAL_FAST if fast else RESIDUAL
    residuals = [residual for _, residual, _ in found]
    gaps = [residual - plain for plain, residual, _ in found]
    better, steps = sum(gap >= POINTS for gap in gaps), [ratio for _, _, ratio in found]
    what = f"One click, {seconds:g} s in {answer['precision']} ({', '.join(dict.fromkeys(networks))})"
    rows = [
        Row(
            f"{what}: test accuracy of the residual twin",
            f"{statistics.median(residuals):.1%} ({min(residuals):.1%} to {max(residuals):.1%})",
            seeds,
            Bound(f"≥ {least:.0%}", statistics.median(residuals) >= least),
        ),
        Row(
            f"{what}: residual − plain",
            f"{100 * statistics.median(gaps):+.1f} points ({100 * min(gaps):+.1f} to {100 * max(gaps):+.1f}; "
            f"{better} of {seeds} ≥ {100 * POINTS:g})",
            seeds,
            Bound(f"{OFTEN * seeds:g} of {seeds} ≥ {100 * POINTS:g} points", better >= OFTEN * seeds),
        ),
        Row(
            f"{what}: steps / forecast",
            f"{statistics.median(steps):.2f} ({min(steps):.2f} to {max(steps):.2f})",
            seeds,
        ),
    ]
    tell("")
    tell(
        f"Residual twin, median of {seeds} seeds: {statistics.median(residuals):.1%} (bound {least:.0%}); at least "
        f"{100 * POINTS:g} points better than its plain twin in {better} of {seeds} (bound {OFTEN * seeds:g}). "
        f"n = {accuracy[False]['n']:,} test pictures, {answer['precision']}, {seconds:g} s. {machine()}."
    )
    return lines, rows


def rungs(seeds: int) -> list[str]:
    """Each rung trained for as many passes as it needs, measured on pictures of another drawing."""
    lines: list[str] = []

    def say(line: str) -> None:
        lines.append(line)
        _print(line)

    use_threads()
    say("| network | passes | seed | plain | residual | difference |")
    say("|---|---|---|---|---|---|")
    for rung in RUNGS:
        dataset = shapes.load(size=rung.size, classes=rung.classes)
        unseen = shapes.load(seed=1, size=rung.size, classes=rung.classes).train
        for seed in range(seeds):
            config = replace(one_click(1.0, seed), seconds=None, epochs=round(rung.passes + 0.49))
            networks = [build(rung.spec.twin(), seed), build(rung.spec, seed)]
            for _ in fit_together(networks, dataset, config):
                pass
            plain, residual = (evaluate(each, unseen, dataset.mean, dataset.std).accuracy for each in networks)
            say(
                f"| {rung.spec.name}, width {rung.width} | {config.epochs} | {seed} | {plain:.1%} | {residual:.1%} "
                f"| {100 * (residual - plain):+.1f} points |"
            )
    say("")
    say(f"n = {len(unseen):,} pictures that no other measurement has. {machine()}.")
    return lines


def forecasts(seconds: float = 20.0, say: Callable[[str], None] = _print) -> tuple[list[str], list[Row]]:
    """15 trials: every depth and size on the idle machine, the same beside a busy process, three once more."""
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        say(line)

    trials = [(depth, size, busy) for busy in (False, True) for depth in DEPTHS for size in SIZES]
    trials += [(8, 32, False), (20, 16, False), (56, 32, True)]
    tell("| depth | pixels | beside | forecast | steps | steps / forecast |")
    tell("|---|---|---|---|---|---|")
    found = []
    for depth, size, busy in trials:
        with tempfile.TemporaryDirectory() as folder, _busy(busy):
            before = os.environ.get("EXPLORER_DATA")
            os.environ["EXPLORER_DATA"] = folder
            expected, came = trial(depth, size, seconds)
            del os.environ["EXPLORER_DATA"]
            if before is not None:
                os.environ["EXPLORER_DATA"] = before
        found.append(came / expected)
        beside = "a busy process" if busy else "nothing"
        tell(f"| {depth} | {size} | {beside} | {expected:,} | {came:,} | {found[-1]:.2f} |")
    near, least = sum(abs(ratio - 1) <= NEAR for ratio in found), round(NEAR_SHARE * len(trials))
    tell("")
    tell(
        f"{near} of {len(trials)} within ± {NEAR:.0%} (bound {least}). Twins, batch 64, {seconds:g} s each, seed 0, "
        f"{precision()}. {machine()}."
    )
    depths, sizes = ", ".join(map(str, DEPTHS)), " and ".join(map(str, SIZES))
    row = Row(
        f"Twins of {depths} layers at {sizes} pixels, idle and beside a busy process, {seconds:g} s: steps / forecast",
        f"{spread(found).removesuffix(')')}; {near} of {len(trials)} within ± {NEAR:.0%})",
        len(trials),
        Bound(f"{least} of {len(trials)} within ± {NEAR:.0%}", near >= least),
    )
    return lines, [row]


def trial(depth: int, size: int, seconds: float) -> tuple[int, int]:
    """Steps that were forecast, and those that a run took."""
    config = TrainingConfig(seconds=seconds, batch_size=64, augment=False)
    drawn = Drawn(size)
    specs = (cifar(depth, "none", size=size), cifar(depth, size=size))
    expected = forecast(machine_speed.measure(), specs, config, drawn.counts).steps
    request = Request(
        specs=tuple(spec.to_dict() for spec in specs),
        config=config.to_dict(),
        data=drawn.request,
        device=choose_device().type,
        created=time.time(),
        names=tuple(spec.name for spec in specs),
    )
    run = runs.submit(request, secrets.token_hex(16))
    while not (status := runs.status(run)).log.end:
        if status.state not in ("queued", "running"):
            break
        time.sleep(0.3)
    networks = (runs.status(run).log.end or {}).get("networks")
    if not networks:
        raise RuntimeError(f"the training of depth {depth} did not end: {run.log_text.read_text(encoding='utf-8')}")
    while runs.status(run).state == "running":
        time.sleep(0.1)
    return expected, max(network["steps"] for network in networks)


SPIN = """
import os
parent = os.getppid()
while os.getppid() == parent:  # a killed benchmark leaves nothing that slows the next one
    pass
"""


@contextmanager
def _busy(wanted: bool) -> Iterator[None]:
    """Beside a process that uses one core all the time, with the priority of a page."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", SPIN])
    try:
        yield
    finally:
        process.kill()
        process.wait()
