"""`unit`: one channel of one layer, by its pictures, its weights and what changes without it."""

import argparse
import io
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from explorer.checkpoints import Checkpoint
from explorer.cli import CommandResult, inputs
from explorer.cli.experiments import NAME_HELP
from explorer.cli.formatting import notes_block, percent, table
from explorer.cli.progress import followed
from explorer.datasets import Split
from explorer.experiments.measurement import evenly, rows
from explorer.experiments.units import connections, findings
from explorer.experiments.units.connections import Neighbours, end_name
from explorer.experiments.units.findings import CAUTION, ShownPicture, UnitFindings
from explorer.experiments.units.natural import Unit, check_unit
from explorer.experiments.units.optimised import STEPS
from explorer.files import write_atomically
from explorer.images import seen_pixels

COUNT = 1000


def unit_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=NAME_HELP)
    parser.add_argument(
        "--layer", metavar="LAYER", help="a layer with feature maps, as `describe` lists it (default: the last)"
    )
    parser.add_argument(
        "--channel", type=int, metavar="C", help="counted from 0 (default: the largest weight to a class)"
    )
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"test images (default: {COUNT:,})")
    parser.add_argument(
        "--pictures", nargs="+", metavar="PICTURE", help="image files instead of test images: two or more"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the optimised picture (default: 0)")
    parser.add_argument(
        "--steps", type=int, default=STEPS, metavar="N", help=f"of gradient ascent; 0 for none (default: {STEPS})"
    )
    parser.add_argument("--out", metavar="FILE", help="save the images, natural and optimised, as .npz")
    inputs.add_labelled_images(parser)


def describe_unit(arguments: argparse.Namespace) -> CommandResult:
    """Show one channel's strongest and weakest images, its weights, and what changes without it."""
    out = Path(arguments.out) if arguments.out else None
    if out:
        inputs.check_new(out, ".npz")
    if arguments.count < 2 or arguments.steps < 0 or arguments.seed < 0:
        raise ValueError("`--count` takes 2 or more, `--steps` and `--seed` 0 or more.")
    checkpoint = inputs.checkpoint(arguments.name)
    unit = connections.first_unit(checkpoint.network)
    if arguments.layer or arguments.channel is not None:
        unit = Unit(arguments.layer or unit.layer, arguments.channel or 0)
    check_unit(checkpoint.spec, unit)
    started = time.monotonic()
    if arguments.pictures:
        data, notes = "these pictures", tuple[str, ...]()
        split, labels = _pictures(arguments.pictures, checkpoint)
        asked, names = replace(checkpoint, resize_shorter_to=None), checkpoint.class_names
    else:
        data, images, names, asked, notes = inputs.labelled_images(checkpoint, arguments)
        split = rows(images, evenly(len(images), arguments.count))
        labels = [names[label] for label in split.labels]
    found = followed(findings.natural_findings(asked, split, labels, names, unit, not arguments.pictures))
    if arguments.steps and not found.is_constant:
        found = followed(findings.with_optimised(asked, found, arguments.seed, arguments.steps))
    seconds = time.monotonic() - started
    neighbours = {"fed_by": connections.fed_by(asked.network, unit), "feeds": connections.feeds(asked.network, unit)}
    said = findings.sentences(asked.spec.name, found)
    if out:
        _save(out, found)
    changed = found.influence
    document: dict[str, Any] = {
        "network": arguments.name,
        "layer": unit.layer,
        "channel": unit.channel,
        "data": data,
        "n": found.answers.n,
        "ranked_by": "the maximum of the feature map",
        "seconds": round(seconds, 2),
        "strongest": [_picture(each) for each in found.strongest],
        "weakest": [_picture(each) for each in found.weakest],
        "optimised": _optimised(found),
        "influence": {
            "labelled": changed.is_labelled,
            "before": {"accuracy": changed.before.share, **asdict(changed.before)},
            "after": {"accuracy": changed.after.share, **asdict(changed.after)},
            "lost": changed.lost,
            "gained": changed.gained,
            **{f"{name}_change": asdict(getattr(changed, name)) for name in ("accuracy", "loss", "probability")},
        },
        **{name: _neighbours(each, asked.class_names) for name, each in neighbours.items()},
        "sentences": said,
        "caution": CAUTION if found.optimised else None,
        "notes": list(notes),
        "assumed": inputs.assumptions(asked),
        "file": str(out) if out else None,
    }
    lines = [f"{arguments.name}, {unit}, {found.answers.n:,} images of {data}, {seconds:.1f} s", "", *said, ""]
    for title, shown in (("strongest", found.strongest), ("weakest", found.weakest)):
        cells = [
            (each.index, each.label, each.value, each.position and "{}, {}".format(*each.position)) for each in shown
        ]
        lines += [*table((title, "label", "value", "row, column"), cells), ""]
    lines += _influence_table(found)
    for title, each in (("fed by", neighbours["fed_by"]), ("feeds", neighbours["feeds"])):
        ends = [
            (end_name(part, int(place), asked.class_names), part.through, float(part.sizes[place]))
            + (float(part.totals[place]), percent(part.shares[place]))
            for part in each.connections
            for place in part.strongest
        ]
        lines += ["", *table((title, "weights of", "size", "total", "share"), ends)] if ends else []
        lines += [f"{title} by the shortcut, {carried.change}: {carried.unit}" for carried in each.carried]
        lines += [f"not read: the weights of {name}" for name in each.unread]
    lines += ["", CAUTION] if found.optimised else []
    lines += ["", f"The pictures are in {out}."] if out else []
    return document, [*lines, *notes_block([*notes, *inputs.assumptions(asked)])]


def _pictures(files: Sequence[str], checkpoint: Checkpoint) -> tuple[Split, list[str]]:
    size = (checkpoint.spec.input_shape[1], checkpoint.spec.input_shape[2])
    pixels = [
        seen_pixels(inputs.picture(file, checkpoint).pixels, size, 3, checkpoint.resize_shorter_to) for file in files
    ]
    images = np.stack(pixels).transpose(0, 3, 1, 2).copy()
    return Split(images, np.zeros(len(files), np.int64)), [Path(file).name for file in files]


def _picture(shown: ShownPicture) -> dict[str, Any]:
    return {
        "index": shown.index,
        "label": shown.label,
        "value": shown.value,
        "position": shown.position,
        "box": shown.box,
    }


def _optimised(found: UnitFindings) -> dict[str, Any] | None:
    made = found.optimised
    if made is None:
        return None
    pictures = {"maximising": made.maximising, "minimising": made.minimising}
    values = {
        name: {"value": each.value, "start": each.start, "position": each.position}
        for name, each in pictures.items()
        if each is not None
    }
    return {"seed": made.seed, "steps": made.steps, **values}


def _neighbours(found: Neighbours, class_names: Sequence[str]) -> dict[str, Any]:
    return {
        "weights": [
            {
                "through": each.through,
                "layer": each.layer or "picture",
                "kind": each.kind,
                "strongest": [
                    {
                        "name": end_name(each, int(place), class_names),
                        "channel": each.first + int(place),
                        "size": float(each.sizes[place]),
                        "total": float(each.totals[place]),
                        "share": float(each.shares[place]),
                    }
                    for place in each.strongest
                ],
            }
            for each in found.connections
        ],
        "carried": [{**asdict(each.unit), "factor": each.factor} for each in found.carried],
        "unread": list(found.unread),
    }


def _influence_table(found: UnitFindings) -> list[str]:
    changed = found.influence
    shares = [
        (name, percent(each.share), f"{percent(each.low)} to {percent(each.high)}")
        for name, each in (("with the unit", changed.before), ("switched off", changed.after))
    ]
    change = changed.accuracy
    shares.append(("change", f"{change.mean:+.2%}", f"{change.low:+.2%} to {change.high:+.2%}"))
    return table(("", "accuracy" if changed.is_labelled else "answers that stay", "95 % interval"), shares)


def _save(out: Path, found: UnitFindings) -> None:
    """An .npz with `strongest` and `weakest`, uint8 (K, H, W, 3), and beside them `maximising` and `minimising`."""
    arrays = {name: np.stack([each.pixels for each in getattr(found, name)]) for name in ("strongest", "weakest")}
    if found.optimised is not None:
        arrays["maximising"] = found.optimised.maximising.pixels
        if found.optimised.minimising is not None:
            arrays["minimising"] = found.optimised.minimising.pixels
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_atomically(out, content.getvalue())
