"""`classify` and `explain`: what a network says of pictures, and how it comes to that."""

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np

from explorer.attribution import profile, raw_arrays, top_classes
from explorer.checkpoints import Checkpoint
from explorer.commands import Answer, typed
from explorer.commands.text import heading, knows, noted, percent, table
from explorer.files import write_atomically
from explorer.images import DecodedImage
from explorer.tracing import EVERYTHING, STRIP_KINDS, Trace, trace


def classify_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=typed.CHECKPOINT_HELP)
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help=typed.PICTURE_HELP)


def classify_pictures(arguments: argparse.Namespace) -> Answer:
    checkpoint = typed.checkpoint(arguments.checkpoint)
    pictures: list[dict[str, Any]] = []
    lines: list[str] = []
    for file in arguments.pictures:
        picture = typed.picture(file)
        top = _top(trace(checkpoint.network, typed.image(picture, checkpoint), kinds=()), checkpoint)
        pictures.append({**_facts(file, picture), "top": top})
        lines += [heading(file, picture), *_shares(top), *noted(picture.notes), ""]
    document = {"checkpoint": arguments.checkpoint, "class_names": list(checkpoint.class_names), "pictures": pictures}
    return document, [*lines, f"The network {knows(checkpoint.class_names)}"]


def explain_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=typed.CHECKPOINT_HELP)
    parser.add_argument("picture", metavar="PICTURE", help=typed.PICTURE_HELP)
    parser.add_argument("--target", metavar="CLASS", help="name or number of the class to explain (default: predicted)")
    parser.add_argument(
        "--all", action="store_true", help="every operation, not only convolutions, shortcuts and blocks"
    )
    parser.add_argument("--out", metavar="FILE", help="save activations, gradients and cams of these layers as .npz")


def explain_picture(arguments: argparse.Namespace) -> Answer:
    out = Path(arguments.out) if arguments.out else None
    if out:
        typed.check_new(out, ".npz")
    checkpoint = typed.checkpoint(arguments.checkpoint)
    names = checkpoint.class_names
    target = None if arguments.target is None else typed.class_index(arguments.target, names)
    picture = typed.picture(arguments.picture)
    kinds = EVERYTHING if arguments.all else STRIP_KINDS
    seen = trace(checkpoint.network, typed.image(picture, checkpoint), target, kinds)
    columns = profile(seen)
    if out:
        _save(seen, names, out)
    top = _top(seen, checkpoint)
    document = {
        "checkpoint": arguments.checkpoint,
        "class_names": list(names),
        "picture": _facts(arguments.picture, picture),
        "top": top,
        "target": names[seen.target],
        "score": float(seen.logits[seen.target]),
        "layers": [
            {
                "name": column.name,
                "kind": column.kind,
                "shape": list(column.shape),
                "activation_magnitude": column.activation_magnitude,
                "gradient_magnitude": column.gradient_magnitude,
                "cam_maximum": float(column.cam.max()),
                "strongest": column.strongest,
                "zero_reason": column.zero_reason,
            }
            for column in columns
        ],
        "file": str(out) if out else None,
    }
    header = ("layer", "kind", "shape", "activation", "gradient", "cam maximum", "why zero")
    rows = [
        (column.name, column.kind, column.shape, column.activation_magnitude, column.gradient_magnitude)
        + (float(column.cam.max()), column.zero_reason)
        for column in columns
    ]
    lines = [heading(arguments.picture, picture), *_shares(top), *noted(picture.notes)]
    lines += [f"The network {knows(names)}", "", f"What speaks for {names[seen.target]!r}:", "", *table(header, rows)]
    return document, [*lines, *(["", f"The arrays are in {out}."] if out else [])]


def _save(seen: Trace, names: tuple[str, ...], out: Path) -> None:
    """An .npz with `activations/LAYER`, `gradients/LAYER`, `cams/LAYER` (raw, (H, W)), and the pass as a whole."""
    arrays = raw_arrays(seen, seen.names) | {"class_names": np.array(names)}
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]
    write_atomically(out, content.getvalue())


def _top(seen: Trace, checkpoint: Checkpoint) -> list[dict[str, Any]]:
    names = checkpoint.class_names
    return [{"class": names[index], "probability": probability} for index, probability in top_classes(seen)]


def _shares(top: list[dict[str, Any]]) -> list[str]:
    return [f"{percent(entry['probability']):>9}  {entry['class']}" for entry in top]


def _facts(file: str, picture: DecodedImage) -> dict[str, Any]:
    height, width, _ = picture.pixels.shape
    facts = {"file": file, "format": picture.format, "width": width, "height": height, "frames": picture.frames}
    return {**facts, "notes": list(picture.notes)}
