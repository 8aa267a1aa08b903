"""`classify` and `explain`: predictions for pictures, and how the network gets to them."""

import argparse
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from explorer.architectures.interventions import as_text
from explorer.attribution import METHODS, as_map, explain, note, profile, raw_arrays, top_classes
from explorer.checkpoints import Checkpoint
from explorer.cli import CommandResult, inputs
from explorer.cli.formatting import describe_classes, heading, notes_block, percent, table
from explorer.files import write_atomically
from explorer.images import RANGES, REST, DecodedImage, Dials
from explorer.tracing import EVERYTHING, STRIP_KINDS, Trace, trace


def classify_arguments(parser: argparse.ArgumentParser) -> None:
    inputs.add_checkpoint(parser)
    parser.add_argument("pictures", nargs="+", metavar="PICTURE", help=inputs.PICTURE_HELP)
    inputs.add_frame(parser)
    inputs.add_paper(parser)


def classify_pictures(arguments: argparse.Namespace) -> CommandResult:
    """Give the five most probable classes of images."""
    checkpoint = inputs.checkpoint(arguments.checkpoint)
    pictures: list[dict[str, Any]] = []
    lines: list[str] = []
    for file in arguments.pictures:
        picture = inputs.picture(file, checkpoint, arguments.paper)
        top = _top(trace(checkpoint.network, inputs.image(picture, checkpoint, arguments.frame), kinds=()), checkpoint)
        pictures.append({**_facts(file, picture), "top": top})
        lines += [heading(file, picture), *_probabilities(top), *notes_block(picture.notes), ""]
    document = {
        "checkpoint": arguments.checkpoint,
        "class_names": list(checkpoint.class_names),
        "frame": arguments.frame,
        "pictures": pictures,
    }
    if assumed := inputs.assumptions(checkpoint):
        document["assumed"] = assumed
    return document, [*lines, f"The network {describe_classes(checkpoint.class_names)}", *notes_block(assumed)]


def explain_arguments(parser: argparse.ArgumentParser) -> None:
    inputs.add_checkpoint(parser)
    parser.add_argument("picture", metavar="PICTURE", help=inputs.PICTURE_HELP)
    inputs.add_frame(parser)
    inputs.add_paper(parser)
    parser.add_argument("--target", metavar="CLASS", help="name or number of the class to explain (default: predicted)")
    parser.add_argument(
        "--all", action="store_true", help="every operation, not only convolutions, shortcuts and blocks"
    )
    inputs.add_change(parser)
    parser.add_argument(
        "--dials",
        default="",
        metavar="TEXT",
        help=f"change the image first, as in a link: x3_rotation-12.5; each of {', '.join(RANGES)}",
    )
    parser.add_argument(
        "--signed", action="store_true", help="Grad-CAM before its ReLU: negative where a layer opposes the class"
    )
    parser.add_argument(
        "--method",
        action="append",
        default=[],
        choices=METHODS,
        help="also the map of a method, with its default parameters (repeatable)",
    )
    parser.add_argument("--out", metavar="FILE", help="save activations, gradients and cams of these layers as .npz")


def explain_picture(arguments: argparse.Namespace) -> CommandResult:
    """Show layer by layer how a network looks at a picture."""
    out = Path(arguments.out) if arguments.out else None
    if out:
        inputs.check_new(out, ".npz")
    checkpoint = inputs.checkpoint(arguments.checkpoint)
    names = checkpoint.class_names
    target = None if arguments.target is None else inputs.class_index(arguments.target, names)
    change, dials = inputs.changes(arguments), Dials.from_text(arguments.dials)
    picture = inputs.picture(arguments.picture, checkpoint, arguments.paper)
    kinds = EVERYTHING if arguments.all else STRIP_KINDS
    image = inputs.image(picture, checkpoint, arguments.frame, dials)
    seen = trace(checkpoint.network, image, target, kinds, interventions=change)
    top = _top(seen, checkpoint)
    layers = [
        {
            "name": layer.name,
            "kind": layer.kind,
            "shape": list(layer.shape),
            "activation_magnitude": layer.activation_magnitude,
            "gradient_magnitude": layer.gradient_magnitude,
            "cam_maximum": float(layer.cam.max()),
            **({"cam_minimum": float(layer.signed_cam.min())} if arguments.signed else {}),
            "strongest": layer.strongest,
            "zero_reason": layer.zero_reason,
        }
        for layer in profile(seen)
    ]
    made = [_explained(checkpoint, seen, method) for method in dict.fromkeys(arguments.method)]
    document = {
        "checkpoint": arguments.checkpoint,
        "class_names": list(names),
        "picture": _facts(arguments.picture, picture),
        "frame": arguments.frame,
        "change": as_text(change),
        "dials": dials.to_text(),
        "top": top,
        "target": names[seen.target],
        "score": float(seen.logits[seen.target]),
        "layers": layers,
        "signed": arguments.signed,
        "methods": [{name: value for name, value in found.items() if name != "map"} for found in made],
        "file": str(out) if out else None,
    }
    if assumed := inputs.assumptions(checkpoint):
        document["assumed"] = assumed
    if out:
        _save(seen, names, out, as_text(change), arguments.signed, {found["method"]: found["map"] for found in made})
    minimum = ["cam minimum"] if arguments.signed else []
    header = ("layer", "kind", "shape", "activation", "gradient", "cam maximum", *minimum, "why zero")
    rows = [[value for key, value in layer.items() if key != "strongest"] for layer in layers]
    lines = [heading(arguments.picture, picture), *_probabilities(top), *notes_block(picture.notes)]
    lines += [f"Changed: {dials.in_words()}."] if dials != REST else []
    lines += [
        f"The network {describe_classes(names)}",
        *notes_block(assumed),
        *([f"Changed: {', '.join(map(str, change))}."] if change else []),
        "",
        f"What supports {names[seen.target]!r}:",
        "",
        *table(header, rows),
        *_methods_block(made),
        *(["Note: methods explain the network without the changes."] if made and change else []),
    ]
    return document, [*lines, *(["", f"The arrays are in {out}."] if out else [])]


def _explained(checkpoint: Checkpoint, seen: Trace, method: str) -> dict[str, Any]:
    """The map of a method of the untouched network, and where it is largest. Raises ValueError as `explain` does."""
    *_, last = explain(checkpoint.network, seen.image, seen.target, method)
    assert last.result is not None
    values = as_map(last.result)
    row, column = (int(place) for place in np.unravel_index(values.argmax(), values.shape))
    return {
        "method": method,
        "title": METHODS[method].title,
        "minimum": float(values.min()),
        "maximum": float(values.max()),
        "row": row,
        "column": column,
        "note": note(method, checkpoint.spec),
        "map": values,
    }


def _methods_block(made: Sequence[dict[str, Any]]) -> list[str]:
    if not made:
        return []
    rows = [[each["title"], each["minimum"], each["maximum"], each["row"], each["column"]] for each in made]
    lines = ["", *table(("method", "minimum", "maximum", "row of the maximum", "column"), rows)]
    return [*lines, *notes_block([f"{each['title']}: {each['note']}" for each in made if each["note"]])]


def _save(
    seen: Trace, names: tuple[str, ...], out: Path, change: str, signed: bool, maps: Mapping[str, np.ndarray]
) -> None:
    """An .npz with `activations/LAYER`, `gradients/LAYER`, `cams/LAYER` (raw, (H, W)), `maps/METHOD`, and the pass as a
    whole, with the `change` that was made."""
    content, about = io.BytesIO(), {"class_names": np.array(names), "change": np.array(change)}
    arrays = raw_arrays(seen, seen.names, signed) | {f"maps/{name}": values for name, values in maps.items()}
    np.savez(content, **arrays, **about)  # type: ignore[arg-type]
    write_atomically(out, content.getvalue())


def _top(seen: Trace, checkpoint: Checkpoint) -> list[dict[str, Any]]:
    names = checkpoint.class_names
    return [{"class": names[index], "probability": probability} for index, probability in top_classes(seen)]


def _probabilities(top: list[dict[str, Any]]) -> list[str]:
    return [f"{percent(entry['probability']):>9}  {entry['class']}" for entry in top]


def _facts(file: str, picture: DecodedImage) -> dict[str, Any]:
    height, width, _ = picture.pixels.shape
    facts = {"file": file, "format": picture.format, "width": width, "height": height, "frames": picture.frames}
    return {**facts, "notes": list(picture.notes)}
