"""`trust`: which method's map can be trusted, on shapes whose pixels are known."""

import argparse
import time
from typing import Any

from explorer.cli import CommandResult, inputs
from explorer.cli.experiments import NAME_HELP
from explorer.cli.formatting import notes_block, table
from explorer.cli.progress import followed
from explorer.experiments import trust, trust_sentences
from explorer.experiments.measurement import MOST_NETWORKS, evenly, rows


def trust_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"{NAME_HELP}; up to {MOST_NETWORKS}")
    parser.add_argument(
        "--count", type=int, default=trust.USUAL, metavar="N", help="test images (default: %(default)s)"
    )
    inputs.add_labelled_images(parser)
    inputs.add_threads(parser)


def measure_trust(arguments: argparse.Namespace) -> CommandResult:
    """Compare all methods' maps with exact masks, exchanged pixels and random weights."""
    inputs.check_number(arguments.names, MOST_NETWORKS)
    if arguments.count < 1:
        raise ValueError(f"`--count` must be 1 or more, received {arguments.count}.")
    documents: list[dict[str, Any]] = []
    lines: list[str] = []
    asked = [inputs.labelled_images(inputs.checkpoint(name), arguments) for name in arguments.names]
    for name, (data, images, class_names, checkpoint, notes) in zip(arguments.names, asked, strict=True):
        split = rows(images, evenly(len(images), arguments.count))
        started = time.monotonic()
        found = followed(trust.trust(checkpoint, split, class_names, arguments.threads))
        seconds = time.monotonic() - started
        sentences = trust_sentences.findings(name, found)
        documents.append(
            {
                "network": name,
                "data": data,
                "n": found.n,
                "seed": trust.SEED,
                "seconds": round(seconds, 2),
                "layer": found.layer,
                "object_share": float(found.covered.mean()),
                "settings": {method: dict(own) for method, own in trust.SETTINGS.items()},
                "results": trust_sentences.rows_of(found),
                "sentences": sentences,
                "notes": list(notes),
                "assumed": inputs.assumptions(checkpoint),
            }
        )
        lines += [f"{name}, {found.n:,} test images of {data}, seed {trust.SEED}, {seconds:.1f} s", ""]
        lines += [*table(trust_sentences.COLUMNS, trust_sentences.cells(found)), "", *sentences]
        lines += [*notes_block([*notes, *inputs.assumptions(checkpoint)]), ""]
    return {"networks": documents}, lines[:-1]
