"""`probe`: what each layer of a network knows of the classes, how far it sees, and how far it is from its twin's."""

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any, get_args

from explorer.checkpoints import Checkpoint
from explorer.cli import CommandResult, inputs
from explorer.cli.experiments import NAME_HELP
from explorer.cli.formatting import notes_block, percent, table
from explorer.cli.progress import followed
from explorer.datasets import Split, shapes
from explorer.experiments import probing, receptive_fields, twin_distance
from explorer.experiments.measurement import evenly_by_class, rows
from explorer.experiments.probing import TEST, TRAIN, Layers


def probe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=NAME_HELP)
    parser.add_argument("--twin", metavar="NAME", help="another network, to compare the layers of the same name with")
    parser.add_argument(
        "--layers",
        choices=get_args(Layers),
        default="blocks",
        help="blocks and what is outside of them, main convolutions too, or all operations (default: blocks)",
    )
    parser.add_argument(
        "--train", type=int, default=TRAIN, metavar="N", help=f"images that a probe is fitted to (default: {TRAIN})"
    )
    parser.add_argument(
        "--count", type=int, default=TEST, metavar="N", help=f"test images that it is tested on (default: {TEST})"
    )
    inputs.add_labelled_images(parser)
    inputs.add_threads(parser)


def probe_layers(arguments: argparse.Namespace) -> CommandResult:
    """Measure what each layer knows of the classes, how far it sees and how many of its channels are dead."""
    if arguments.train < 2 or arguments.count < twin_distance.FEWEST:
        raise ValueError(f"`--train` takes 2 images or more, and `--count` {twin_distance.FEWEST} or more.")
    checkpoint = inputs.checkpoint(arguments.name)
    twin = inputs.checkpoint(arguments.twin) if arguments.twin else None
    data, checkpoint, train, test, notes = _images(checkpoint, arguments)
    names = probing.strip_layers(checkpoint.spec, arguments.layers)
    train, test, fewer = _within_memory(checkpoint, names, train, test)
    notes = (*notes, *fewer)
    started = time.monotonic()
    found = followed(probing.probes(checkpoint, train, test, names, arguments.threads))
    count = receptive_fields.count(checkpoint.spec, names)
    fields = followed(receptive_fields.fields(checkpoint, _some(test, count).images, names, arguments.threads))
    layers: list[dict[str, Any]] = []
    for index, (name, share) in enumerate(zip(names, found.accuracies(), strict=True)):
        dead = int(found.dead[index])
        layers.append(
            {
                "layer": name,
                "channels": int(found.channels[index]),
                "accuracy": share and share.share,
                "low": share and share.low,
                "high": share and share.high,
                "separability": _number(found.separability[index]),
                "dead": dead if dead >= 0 else None,
                "effective": _number(fields.effective[index]),
                "theoretical": float(fields.theoretical[index]),
            }
        )
    sentences = [probing.finding(arguments.name, found), receptive_fields.finding(arguments.name, fields)]
    if twin is not None:
        images = _some(test, twin_distance.count(checkpoint.spec, twin.spec)).images
        shared = twin_distance.shared_layers(checkpoint.spec, twin.spec, arguments.layers)
        apart = followed(twin_distance.twin_distance(checkpoint, twin, images, shared, arguments.threads))
        for layer in layers:
            place = apart.layers.index(layer["layer"]) if layer["layer"] in apart.layers else None
            layer["distance"] = None if place is None else _number(apart.distance[place])
            layer["cka"] = None if place is None else _number(apart.cka[place])
        for finding in (twin_distance.distance_finding, twin_distance.cka_finding):
            sentences.append(finding([arguments.name, arguments.twin], apart))
    seconds = time.monotonic() - started
    assumed = inputs.assumptions(checkpoint)
    document = {
        "network": arguments.name,
        "twin": arguments.twin,
        "data": data,
        "train": found.n_train,
        "test": found.n_test,
        "chance": found.chance,
        "separability of random labels": found.separability_of_nothing,
        "seconds": round(seconds, 2),
        "layers": layers,
        "finding": sentences,
        "notes": list(notes),
        "assumed": assumed,
    }
    heads = ["layer", "probe", "95 % interval", "separability", "dead", "sees", "of"]
    cells = [
        [
            layer["layer"],
            "-" if layer["accuracy"] is None else percent(layer["accuracy"]),
            "-" if layer["accuracy"] is None else f"{percent(layer['low'])} to {percent(layer['high'])}",
            _cell(layer["separability"]),
            "-" if layer["dead"] is None else f"{layer['dead']} of {layer['channels']}",
            _cell(layer["effective"], 1),
            _cell(layer["theoretical"], 1),
            *([_cell(layer["distance"]), _cell(layer["cka"])] if twin else []),
        ]
        for layer in layers
    ]
    lines = [
        f"{arguments.name}, probes of {found.n_train:,} images, tested on {found.n_test:,} of {data}, {seconds:.1f} s"
    ]
    lines += ["", *table((*heads, *(["distance", "CKA"] if twin else [])), cells), "", *sentences]
    return document, [*lines, *notes_block([*notes, *assumed])]


def _images(
    checkpoint: Checkpoint, arguments: argparse.Namespace
) -> tuple[str, Checkpoint, Split, Split, tuple[str, ...]]:
    """The name of the data, the network with the names of its classes, the training and test images, and notes."""
    drawn = shapes.named(checkpoint.data)
    if arguments.data is None and drawn is not None:
        train, test = shapes.some("train", arguments.train, drawn), shapes.some("test", arguments.count, drawn)
        return drawn.name, checkpoint, train, test, shapes.NOTES
    asked = [inputs.labelled_images(checkpoint, arguments, split) for split in ("train", "test")]
    train, test = (_some(each.split, n) for each, n in zip(asked, (arguments.train, arguments.count), strict=True))
    return asked[0].data, asked[0].checkpoint, train, test, asked[0].notes


def _some(split: Split, n: int) -> Split:
    """So many images, or all, of each class its share: a folder is sorted by class, so its first ones are of one."""
    return rows(split, evenly_by_class(split.labels, n))


def _within_memory(
    checkpoint: Checkpoint, layers: Sequence[str], train: Split, test: Split
) -> tuple[Split, Split, list[str]]:
    """As many images as `probing.counts` allows, or the fewest that there is an answer for, and a note where that is
    fewer."""
    few = probing.counts(checkpoint.spec, layers, len(train), len(test))
    fitted, tested = _some(train, max(2, few[0])), _some(test, max(twin_distance.FEWEST, few[1]))
    if len(fitted) == len(train) and len(tested) == len(test):
        return train, test, []
    note = (
        f"The features of {len(layers)} layers for {len(train):,} + {len(test):,} images need more than 200 MB, so "
        f"{len(fitted):,} + {len(tested):,} are taken. Fewer layers leave room for more (`--layers`)."
    )
    return fitted, tested, [note]


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _cell(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
