"""`lesions`: what trained networks get right without some of their blocks."""

import argparse
import time
from collections.abc import Sequence
from typing import Any

from explorer.architectures import ArchitectureSpec
from explorer.cli import CommandResult, inputs
from explorer.cli.formatting import notes_block, percent, table
from explorer.cli.progress import followed
from explorer.experiments import lesion_sentences, lesions
from explorer.experiments.lesions import TIMES, Answers, Variant
from explorer.experiments.measurement import MOST_NETWORKS, evenly, rows


def lesions_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names", nargs="+", metavar="NAME", help=f"up to {MOST_NETWORKS} networks: pretrained ones or files"
    )
    parser.add_argument(
        "--count", type=int, default=lesions.USUAL, metavar="N", help="test images (default: %(default)s)"
    )
    inputs.add_labelled_images(parser)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--pairs", action="store_true", help="take out every two blocks instead of every single one")
    kinds.add_argument(
        "--sets", type=int, nargs="+", metavar="K", help=f"take out {TIMES} random sets of K blocks instead"
    )
    kinds.add_argument("--swaps", action="store_true", help="swap neighbouring blocks of one shape instead")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="decides the random sets (default: 0)")


def measure_lesions(arguments: argparse.Namespace) -> CommandResult:
    """Measure accuracy and loss without each block."""
    inputs.check_number(arguments.names, MOST_NETWORKS)
    if arguments.count < 1 or any(size < 1 for size in arguments.sets or ()):
        raise ValueError("`--count` and `--sets` take whole numbers of 1 or more.")
    documents: list[dict[str, Any]] = []
    lines: list[str] = []
    asked = [inputs.labelled_images(inputs.checkpoint(name), arguments) for name in arguments.names]
    specs = [each.checkpoint.spec for each in asked]
    changes = [_variants(arguments, spec, specs) for spec in specs]  # refused before any work is done
    results: list[Answers] = []
    for name, (data, images, class_names, checkpoint, notes), variants in zip(
        arguments.names, asked, changes, strict=True
    ):
        split = rows(images, evenly(len(images), arguments.count))
        started = time.monotonic()
        found = followed(lesions.answers(checkpoint, split, class_names, variants))
        seconds = time.monotonic() - started
        whole = found.accuracies[0]
        table_rows = [_row(found, index) for index in range(len(variants) + 1)]
        text = _finding(arguments, name, checkpoint.spec, found)
        results.append(found)
        documents.append(
            {
                "network": name,
                "data": data,
                "n": whole.n,
                "seconds": round(seconds, 2),
                "blocks": [vars(block) for block in lesions.blocks(checkpoint.spec)],
                "results": table_rows,
                "finding": text,
                "notes": list(notes),
                "assumed": inputs.assumptions(checkpoint),
            }
        )
        cells = [
            (
                row["interventions"] or "untouched",
                percent(row["accuracy"]),
                f"{percent(row['low'])} to {percent(row['high'])}",
                row["loss"],
                row["loss_error"],
            )
            for row in table_rows
        ]
        lines += [f"{name}, {whole.n:,} test images of {data}, {seconds:.1f} s", ""]
        lines += table(("without", "accuracy", "95 % interval", "loss", "its standard error"), cells)
        lines += ["", text, *notes_block([*notes, *inputs.assumptions(checkpoint)]), ""]
    is_curve = not (arguments.pairs or arguments.sets or arguments.swaps)
    is_one_set = len({each.data for each in asked}) == 1  # else the networks answered other images
    compared = lesion_sentences.comparison(arguments.names, results) if is_curve and is_one_set else ""
    return {"networks": documents, "comparison": compared}, [*lines, compared] if compared else lines[:-1]


def _finding(arguments: argparse.Namespace, name: str, spec: ArchitectureSpec, found: Answers) -> str:
    if arguments.pairs:
        return lesion_sentences.pairs_finding(name, found)
    if arguments.sets:
        return lesion_sentences.sets_finding(name, lesion_sentences.by_size(found))
    if arguments.swaps:
        return lesion_sentences.swaps_finding(name, found)
    return lesion_sentences.finding(name, spec, found)


def _variants(
    arguments: argparse.Namespace, spec: ArchitectureSpec, specs: Sequence[ArchitectureSpec]
) -> tuple[Variant, ...]:
    if not lesions.blocks(spec):
        raise ValueError(f"{spec.name} has no blocks that could be taken out.")
    if arguments.pairs:
        return lesions.pairs(spec)
    if arguments.sets:
        among = lesions.removable(specs)
        if not among:
            raise ValueError("no block can be taken out of each of these networks; leave `--sets` out.")
        if max(arguments.sets) > len(among):
            networks = "each of these networks" if len(specs) > 1 else "this network"
            raise ValueError(
                f"`--sets {max(arguments.sets)}` is more than the blocks that can be taken out of {networks}; "
                f"{len(among)} is the most."
            )
        return lesions.random_sets(among, arguments.sets, TIMES, arguments.seed)
    return lesions.swaps(spec) if arguments.swaps else lesions.single(spec)


def _row(found: Answers, index: int) -> dict[str, Any]:
    accuracy = found.accuracies[index]
    return {
        "interventions": found.variants[index - 1] if index else "",
        "accuracy": accuracy.share,
        "low": accuracy.low,
        "high": accuracy.high,
        "loss": float(found.mean_losses[index]),
        "loss_error": float(found.loss_errors[index]),
    }
