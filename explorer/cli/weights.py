"""`inspect` and `convert`: foreign weights, and the same network as a file of this app."""

import argparse
import math
from pathlib import Path
from typing import Any

from explorer import checkpoints
from explorer.checkpoints import Checkpoint
from explorer.cli import CommandResult, inputs
from explorer.cli.formatting import notes_block, percent, table
from explorer.files import write_atomically
from explorer.machine import disk
from explorer.onnx_export import to_onnx, verify
from explorer.training import use_threads
from explorer.weights_import import (
    NORMALISATIONS,
    NormalisationScore,
    Reading,
    Report,
    index_labels,
    printable,
    reached_by_guessing,
    read,
    score_normalisations,
)

FILE_HELP = "a file of weights of PyTorch or safetensors, with any ending, or any CNN as ONNX"
COUNT = 1000  # labelled images
SHOWN_NAMES = 6


def inspect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help=FILE_HELP)
    parser.add_argument(
        "--data", metavar="FOLDER", help="labelled images, on which each reading and normalisation is measured"
    )
    inputs.add_reading(parser)
    inputs.add_class_order(parser)
    parser.add_argument(
        "--count", "--pictures", type=int, default=COUNT, metavar="N", help=f"how many at most (default: {COUNT})"
    )
    inputs.add_threads(parser)


def inspect_file(arguments: argparse.Namespace) -> CommandResult:
    """Say what weights of anybody's are, and how sure that is."""
    if arguments.count < 1:
        raise ValueError(f"`--count` must be 1 or more, received {arguments.count}.")
    report = read(arguments.file)
    document = {"file": arguments.file, **report.for_json(), "self_test": None}
    lines = _described(report)
    if arguments.data:
        use_threads(arguments.threads)
        trials, data, notes = _measured(report, arguments)
        numbers = {id(reading): number for number, reading in enumerate(report.readings, start=1)}
        tried: list[dict[str, Any]] = [
            {
                "reading": numbers[id(trial.reading)],
                "title": trial.reading.title,
                "normalisation": trial.normalisation.name,
                "accuracy": trial.accuracy,
                "n": trial.n,
            }
            for trial in trials
        ]
        best, chance = trials[0], reached_by_guessing(trials)
        document["self_test"] = {
            "data": data,
            "guessing": best.guessing,
            "reached_by_guessing": chance,
            "trials": tried,
            "notes": notes,
        }
        lines += ["", f"Measured on {best.n:,} images of {data}:", ""]
        rows = [[*trial.values()][:3] + [percent(trial["accuracy"]), trial["n"]] for trial in tried]
        lines += [*table(("reading", "network", "normalisation", "accuracy", "n"), rows), "", *notes_block(notes)]
        words = f"{best.reading.title}, normalisation {best.normalisation.name}: {percent(best.accuracy)}"
        if best.accuracy > chance:
            lines += [f"Best: {words}", *notes_block(_doubts(trials, report))]
        else:
            lines.append(
                f"No reading beats guessing, which reaches {percent(chance)} in {len(trials)} tries on {best.n:,} "
                f"images ({percent(best.guessing)} on average). The best was {words}. The network was not trained on "
                "such images."
            )
    return document, lines


def _doubts(trials: list[NormalisationScore], report: Report) -> list[str]:
    """A note where the pictures are too few to tell the best normalisation from the assumed one."""
    best = trials[0]
    for reading, normalisation, accuracy, n, _ in trials[1:]:
        if reading is best.reading and normalisation.name == report.readings[0].normalisation.name:
            error = math.sqrt(best.accuracy * (1 - best.accuracy) / n)
            if best.accuracy - accuracy <= 2 * error:
                return [
                    f"the assumed normalisation {normalisation.name}, {percent(accuracy)}, is as good within twice the "
                    f"standard error of {n:,} images, {percent(2 * error)}; keep it, or take a larger `--count`."
                ]
    return []


def _described(report: Report) -> list[str]:
    rows = []
    for number, reading in enumerate(report.readings, start=1):
        facts = reading.for_json()
        title = f"{reading.title} (more likely)" if reading.is_likelier else reading.title
        rows.append([number, title, facts["parameters"], facts["classes"], facts["input_shape"]])
    lines = [f"{report.name}: layout of {report.family}", ""]
    lines += table(("reading", "network", "parameters", "classes", "input"), rows)
    if report.question:
        lines += ["", report.question]
    first = report.readings[0]
    normalisation = first.normalisation
    lines += ["", f"Normalisation: {normalisation.title} ({normalisation.name}), because {first.normalisation_reason}"]
    lines += [f"  mean {_numbers(normalisation.mean)}, std {_numbers(normalisation.std)}"]
    if first.class_names:
        more = len(first.class_names) - SHOWN_NAMES
        names = ", ".join(first.class_names[:SHOWN_NAMES])
        lines += [f"Classes: {names}{f' and {more:,} more' if more > 0 else ''}"]
    lines += ["", "Evidence:", *(f"  {sentence}" for sentence in report.evidence)]
    if first.uncertain:
        lines += ["Uncertain, and taken as the family has it:", *(f"  {sentence}" for sentence in first.uncertain)]
    if report.renamed:
        lines.append(f"Renamed: {len(report.renamed):,} tensors")
        lines += [f"  {printable(theirs)} -> {ours}" for theirs, ours in report.renamed[:SHOWN_NAMES]]
    if report.ignored:
        lines.append(f"Ignored: {', '.join(printable(name) for name in report.ignored[:SHOWN_NAMES])}")
    return lines


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)


def _measured(report: Report, arguments: argparse.Namespace) -> tuple[list[NormalisationScore], str, list[str]]:
    """The readings on labelled images, the name of these, and notes on the order of the classes."""
    first = report.readings[0]
    dataset = inputs.dataset(arguments.data, first.spec.input_shape[1:], arguments)
    split = dataset.test if len(dataset.test) else dataset.train
    names, notes = first.class_names, []
    is_named = names is not None and set(dataset.class_names) <= set(names)
    if is_named and arguments.classes:
        raise ValueError("`--classes` is for networks that do not name the classes of the data; this one does.")
    if not is_named and len(dataset.class_names) == first.spec.classes:
        names, note = inputs.class_order(arguments.classes, dataset.class_names)
        notes.append(note)
    split = index_labels(split, dataset.class_names, names, first.spec.classes)
    known = {first.normalisation.name: first.normalisation, **NORMALISATIONS}
    return score_normalisations(report.readings, known.values(), split, arguments.count), dataset.name, notes


def convert_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help=f"{FILE_HELP}; with `--to onnx` also a pretrained network")
    parser.add_argument("--out", required=True, metavar="FILE", help="to save: a new .safetensors or .onnx file")
    parser.add_argument(
        "--to", choices=["app", "onnx"], default="app", help="a file of this app (default), or ONNX for other programs"
    )
    parser.add_argument("--reading", type=int, metavar="N", help="which, as `inspect` numbers them, if several")
    parser.add_argument(
        "--normalisation", choices=list(NORMALISATIONS), help="of its input (default: what `inspect` assumes)"
    )
    parser.add_argument("--classes", metavar="A,B,C", help="names of the classes (default: what `inspect` knows)")


def convert_file(arguments: argparse.Namespace) -> CommandResult:
    """Save weights of anybody's as a file of this app, or a network as ONNX."""
    out = Path(arguments.out)
    inputs.check_new(out, ".onnx" if arguments.to == "onnx" else ".safetensors")
    if arguments.to == "onnx" and arguments.file in checkpoints.pinned():
        return _exported(checkpoints.load_pretrained(arguments.file), out)
    report = read(arguments.file)
    reading = _chosen(report, arguments.reading)
    normalisation = NORMALISATIONS.get(arguments.normalisation, reading.normalisation)
    notes = []
    if arguments.normalisation is None:
        notes.append(f"normalisation {normalisation.name} is assumed, because {reading.normalisation_reason}.")
    names = reading.class_names
    if arguments.classes is not None:
        names = tuple(name.strip() for name in arguments.classes.split(","))
    elif names is None:
        notes.append("nothing tells the names of the classes, so they are numbered; `--classes A,B,C` names them.")
    if reading.spec.one_logit:
        notes.append("it has one output: the first class is that of small values, the second that of large ones.")
    checkpoint = reading.checkpoint(f"other data: converted from {report.name}", normalisation, names)
    if arguments.to == "onnx":
        return _exported(checkpoint, out)
    digest = checkpoints.save(checkpoint, out)
    document = {
        "file": str(out),
        "sha256": digest,
        **reading.for_json(),
        "normalisation": normalisation.for_json(),
        "class_names": list(checkpoint.class_names),
        "notes": notes,
    }
    lines = [f"{reading.title} of {report.name}, normalisation {normalisation.name}, saved as {out}"]
    return document, [*lines, *notes_block(notes)]


def _exported(checkpoint: Checkpoint, out: Path) -> CommandResult:
    content = to_onnx(checkpoint)
    write_atomically(out, content)
    try:
        who, deviation = verify(out, checkpoint)
    except ValueError:
        disk.remove(out)
        raise
    words = f"{who} gives the same logits for one image, within {deviation:.0e} of the largest"
    document = {"file": str(out), "network": checkpoint.spec.name, "verified_by": who, "deviation": deviation}
    return document, [f"{checkpoint.spec.name} saved as {out}; {words}"]


def _chosen(report: Report, number: int | None) -> Reading:
    listed = ", ".join(f"{index} for {entry.title}" for index, entry in enumerate(report.readings, start=1))
    if number is None and len(report.readings) > 1:
        raise ValueError(
            f"{report.question} Choose with `--reading N`: {listed}; `inspect --data FOLDER` measures them."
        )
    number = 1 if number is None else number
    if not 1 <= number <= len(report.readings):
        raise ValueError(f"there is no reading {number}; choose {listed}.")
    return report.readings[number - 1]
