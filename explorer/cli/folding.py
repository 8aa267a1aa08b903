"""`fold`: norms, gains and shortcuts of a network inside of its convolutions."""

import argparse
from dataclasses import asdict, replace
from pathlib import Path

from explorer import checkpoints
from explorer.architectures.folding import fold, folded_spec
from explorer.cli import CommandResult, inputs
from explorer.cli.formatting import notes_block, table
from explorer.cli.progress import followed
from explorer.experiments import folding
from explorer.experiments.measurement import evenly, rows


def fold_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="a pretrained network or a file")
    parser.add_argument(
        "--count", type=int, default=folding.USUAL, metavar="N", help="test images (default: %(default)s)"
    )
    inputs.add_labelled_images(parser)
    parser.add_argument("--out", metavar="FILE", help="to save the folded network")


def fold_network(arguments: argparse.Namespace) -> CommandResult:
    """Fold norms, gains and shortcuts into the kernels, and compare the logits."""
    if arguments.count < 1:
        raise ValueError("`--count` takes a whole number of 1 or more.")
    out = Path(arguments.out) if arguments.out else None
    if out:
        inputs.check_new(out, ".safetensors")
    checkpoint = inputs.checkpoint(arguments.name)
    folded_spec(checkpoint.spec)  # raises before any images are read
    data, images, _, checkpoint, notes = inputs.labelled_images(checkpoint, arguments)
    found = followed(folding.measure(checkpoint, rows(images, evenly(len(images), arguments.count))))
    # What was recorded and measured was so of the network that it came from.
    folded = replace(checkpoint, network=fold(checkpoint.network), record={}, metrics={})
    sha256 = checkpoints.save(folded, out) if out else None
    before, after = found.sizes
    document = {
        "network": arguments.name,
        "folded": found.folded.name,
        "data": data,
        "n": found.n,
        "difference": found.difference,
        "largest_logit": found.peak,
        "share": found.share,
        "tolerance": folding.TOLERANCE,
        "equal": found.is_equal,
        "same_prediction": found.alike,
        "before": asdict(before),
        "after": asdict(after),
        "folds": [asdict(each) for each in found.folds],
        "finding": folding.finding(arguments.name, found),
        "limits": list(folding.LIMITS),
        "file": str(out) if out else None,
        "sha256": sha256,
        "notes": [*notes, *inputs.assumptions(checkpoint)],
    }
    cells = [(each.part, each.into, "yes" if each.is_exact else "no", each.reason) for each in found.folds]
    lines = [*table(("part", "into", "exact", "because"), cells), "", document["finding"]]
    lines += [f"Saved as {out}."] if out else []
    return document, [*lines, *notes_block(document["notes"])]
