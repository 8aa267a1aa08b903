"""`python -m benchmarks` measures speed; docs/measurements.md describes each method.

Its parts are `tracing`, `training`, `twins`, `looking`, `lesions`, `geometry`, `probe`, `surface`, `onnx`,
`akamaster`, `page`, `live` and `runs`.
`threads` explains on one network from several threads for a minute.
`difficulty` trains on the shapes (minutes; `--size 16`: an hour) and measures how hard they are.
`batchnorm` (half an hour) measures after how many steps the running statistics of BatchNorm stop lagging behind.
`one-click` trains what one click trains on this machine, five times. `forecasts` compares 15 trainings with forecasts.
All parts together include a summary of these two.
`load` and `isolation` simulate many users and have options of their own: `python -m benchmarks load --help`.
`ray` measures what runs cost around the training, through Ray and in files (2 minutes).
`surfaces` shows what those of plain-56 and ResNet-56 say.
`blocks` shows what the pretrained networks get right without single blocks, as it ships with the app.
`--write` writes one table: docs/bench.md for all parts together, docs/PART-PRECISION.md for one of them.
`--refresh` puts the rows of one part into docs/bench.md instead, in the place of its older ones.
"""

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import torch

from benchmarks import isolation, load, one_click
from benchmarks.batchnorm import show_batchnorm
from benchmarks.clusters import cluster_lines
from benchmarks.difficulty import LINEAR_EPOCHS, SMALL, SMALL_WORDS, difficulty_rows, linear_accuracy, trained_rows
from benchmarks.equal_time import equal_time_rows
from benchmarks.explaining import explaining_rows
from benchmarks.geometry import geometry_rows
from benchmarks.graphs import graph_rows
from benchmarks.lesioning import block_lines, lesion_rows
from benchmarks.live import live_rows
from benchmarks.looking import looking_rows
from benchmarks.page import page_rows
from benchmarks.probing import probe_rows
from benchmarks.rows import Report, Row, by_precision, machine, refresh, write
from benchmarks.runs import run_rows
from benchmarks.surfaces import surface_lines, surface_rows
from benchmarks.threads import explain_in_threads
from benchmarks.training import training_rows, twin_rows
from explorer.architectures import build
from explorer.datasets import shapes
from explorer.presets import preset
from explorer.training import device_name

IN_CHROMIUM = ("page", "live", "runs")  # parts


def main(arguments: list[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    for name, run in (("load", load.main), ("isolation", isolation.main)):
        if given[:1] == [name]:
            return run(given[1:])
    if given[:1] in (["one-click"], ["rungs"], ["forecasts"]):
        return one_click.main(given)
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parts = ["all", "tracing", "training", "twins", "looking", "lesions", "geometry", "akamaster", "page", "runs"]
    parts += ["threads", "probe", "difficulty", "batchnorm", "live", "blocks", "ray", "surface", "surfaces", "onnx"]
    parser.add_argument("what", nargs="?", choices=parts, default="all")
    parser.add_argument("--seconds", type=float, default=60, help="how long the threads explain (default: 60)")
    parser.add_argument("--threads", type=int, default=4, help="how many (default: 4)")
    parser.add_argument(
        "--size", type=int, choices=[SMALL, 32], default=32, help="pixels of `difficulty` (default: 32)"
    )
    kept = Path(f"difficulty-{SMALL}.json")
    parser.add_argument("--kept", type=Path, metavar="FILE", default=kept, help=f"where `--size {SMALL}` continues")
    parser.add_argument("--write", action="store_true", help="write the table into docs/")
    parser.add_argument("--refresh", action="store_true", help="write the rows of this part into docs/bench.md")
    options = parser.parse_args(given)
    if options.write and options.what == "threads":
        parser.error("`threads` has no table to --write.")
    if options.what == "threads":
        return run_threads(options.seconds, options.threads)
    if options.what == "blocks":
        return show_lines(block_lines(), "blocks", options.write)
    if options.what == "surfaces":
        return show_lines(surface_lines(), "surface", options.write)
    if options.what == "ray":
        return show_lines(cluster_lines(), "ray", options.write)
    if options.what == "difficulty":
        if options.size == SMALL:
            return show_lines(small_difficulty_lines(options.kept), f"difficulty-{SMALL}", options.write)
        return show_lines(difficulty_lines(), "difficulty", options.write)
    if options.what == "batchnorm":
        return show_batchnorm(options.write)
    measures: dict[str, Callable[[], Iterable[Row]]] = {
        "tracing": explaining_rows,
        "training": training_rows,
        "twins": twin_rows,
        "looking": looking_rows,
        "lesions": lesion_rows,
        "geometry": geometry_rows,
        "probe": probe_rows,
        "surface": surface_rows,
        "onnx": graph_rows,
        "one click": lambda: one_click.one_click_rows(options.write),
        "akamaster": equal_time_rows,
        "page": page_rows,
        "live": live_rows,
        "runs": run_rows,
    }
    if options.refresh and options.what not in measures:
        parser.error("`--refresh` takes one part of docs/bench.md.")
    report = Report()
    for name, part in measures.items():
        if options.what in ("all", name):
            shown = len(report.rows)
            report.show(part())
            if options.refresh or (options.write and options.what == "all"):  # an hour may end before its end
                refresh("bench", name, report.rows[shown:], machine(browser=name in IN_CHROMIUM))
    report.end(
        "Medians over n rounds, taken in turns: each round runs every way once and gives one ratio. "
        f"First weights and pictures of seed 0, float32 where nothing else is said. {machine(browser=True)}."
    )
    if options.write and not options.refresh:
        report.write("bench" if options.what == "all" else by_precision(options.what))
    return 1 if report.missed else 0


def difficulty_lines() -> Iterator[str]:
    yield "| network | test accuracy | bound | epochs | n |"
    yield "|---|---|---|---|---|"
    for name, accuracy, bound, epochs, n in difficulty_rows():
        yield f"| {name} | {accuracy:.1%} | {bound} | {epochs} | {n:,} |"
    yield ""
    yield f"{shapes.load().name}, seed 0, one run each. {machine()}."


def small_difficulty_lines(kept: Path) -> Iterator[str]:
    """`kept` is where the networks that are trained already are kept."""
    yield "| network | test accuracy | accuracy on the training pictures | bound | epochs | n |"
    yield "|---|---|---|---|---|---|"
    dataset = shapes.load(size=SMALL)
    linear, ways = linear_accuracy(dataset), []
    yield f"| linear classifier on the pixels | {linear.accuracy:.1%} | | < 40 % | {LINEAR_EPOCHS} | {linear.n:,} |"
    for row in trained_rows(kept):
        yield f"| {row.network} | {row.test:.1%} | {row.train:.1%} | | {row.epochs} | {row.n:,} |"
        ways.append(f"{row.precision}, {row.machine}")
    yield ""
    yield f"{dataset.name}, seed 0, one run each, {SMALL_WORDS}. {'; '.join(dict.fromkeys(ways))}."


def show_lines(lines: Iterator[str], name: str, is_written: bool) -> int:
    """Prints the lines as they come, and writes them to docs/NAME.md where `is_written`."""
    shown = []
    for line in lines:
        shown.append(line)
        print(line, flush=True)
    if is_written:
        write(name, shown)
    return 0


def run_threads(seconds: float, threads: int) -> int:
    network = build(preset("resnet-20").spec, seed=0).freeze()
    result = explain_in_threads(network, seconds, threads)
    print(
        f"{result.traces:,} traces of one shared {network.spec.name} by {threads} threads in {seconds:g} s: "
        f"{len(result.errors)} errors, largest difference to a serial map {result.worst:.1e} of its maximum "
        f"(bound 1e-5). {device_name(torch.device('cpu'))}, torch {torch.__version__}."
    )
    for error in result.errors:
        print(error, file=sys.stderr)
    return 1 if result.errors or result.worst > 1e-5 else 0


if __name__ == "__main__":
    sys.exit(main())
