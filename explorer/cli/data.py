"""`data`: what a folder or an archive of images holds, as the page says it."""

import argparse
from dataclasses import asdict
from typing import Any

from explorer.cli import CommandResult, inputs
from explorer.cli.formatting import notes_block, table
from explorer.datasets import folders
from explorer.datasets.balance import imbalance
from explorer.datasets.layouts import FOLDERS
from explorer.images import PLAIN

SPLITS = ("train", "validation", "test")
SHOWN = 20  # files that were left out, in text


def data_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="FILE", help=inputs.SOURCE_HELP)
    parser.add_argument("--size", type=int, default=32, metavar="PIXELS", help="side of the images (default: 32)")
    inputs.add_reading(parser)


def describe_data(arguments: argparse.Namespace) -> CommandResult:
    """Say what a folder or an archive of images holds: classes, counts, notes, and what is left out."""
    size = (arguments.size, arguments.size)
    with folders.opened(arguments.source, arguments.encoding) as source:
        proposed = None if FOLDERS in source.layouts else next(iter(source.layouts))  # as the page proposes
        layout = folders.chosen_layout(source, arguments.labels_from or proposed)
        dataset = folders.loaded(
            folders.read_layout(source, layout, size, name=source.name, rendering=PLAIN.on(arguments.paper))
        )
    counts = dict(zip(dataset.class_names, dataset.counts, strict=True))
    totals = [sum(column) for column in zip(*dataset.counts, strict=True)]
    warning = imbalance(dataset.class_names, dataset.counts)
    key = next(key for key, each in source.layouts.items() if each is layout)
    notes = list(dataset.notes)
    if proposed and arguments.labels_from is None:
        notes.insert(0, f"the classes are proposed, from {layout.words}; confirm them with `--labels-from {key}`.")
    document: dict[str, Any] = {
        "data": dataset.name,
        "input_shape": list(dataset.input_shape),
        "labels_from": key,
        "confirmed": proposed is None or arguments.labels_from is not None,
        "other_labels": [other for other in source.layouts if other != key],
        "encodings": source.listing.encodings,
        "class_names": list(dataset.class_names),
        "counts": {name: dict(zip(SPLITS, each, strict=True)) for name, each in counts.items()},
        "totals": dict(zip(SPLITS, totals, strict=True)),
        "mean": dataset.mean,
        "std": dataset.std,
        "warnings": [warning] if warning else [],
        "notes": notes,
        "skipped": [asdict(skipped) for skipped in dataset.skipped],
    }
    train, validation, test = totals
    lines = [
        f"{dataset.name}: {train:,} training, {validation:,} validation and {test:,} test images in "
        f"{len(counts):,} classes, read from {layout.words}",
        "",
        *table(("class", *SPLITS), [[name, *each] for name, each in counts.items()]),
        *([f"Warning: {warning}"] if warning else []),
        *notes_block(notes),
        *(f"Left out: {skipped.path}: {skipped.reason}" for skipped in dataset.skipped[:SHOWN]),
    ]
    if len(dataset.skipped) > SHOWN:
        lines.append(f"Left out: {len(dataset.skipped) - SHOWN:,} more files, which `--json` lists")
    return document, lines
