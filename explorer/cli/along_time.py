"""`time`: what a network answered at each kept step of its training, where it looked, and how its layers settled."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from explorer.checkpoints import Checkpoint
from explorer.cli import CommandResult, inputs
from explorer.cli.formatting import heading, notes_block, percent, table
from explorer.cli.progress import followed
from explorer.experiments import along_time
from explorer.experiments.along_time import StepSimilarity, TimeStrip
from explorer.experiments.measurement import evenly, rows
from explorer.runs import weight_snapshots
from explorer.runs.directory import file_stem
from explorer.runs.snapshots import explained_layer


def time_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="the finished network, as `train` or a run saved it")
    parser.add_argument("picture", metavar="PICTURE", help=inputs.PICTURE_HELP)
    parser.add_argument(
        "--weights",
        metavar="FOLDER",
        help="of the weights of earlier steps (default: what `train --snapshots` or a run left beside the file)",
    )
    parser.add_argument("--layer", metavar="LAYER", help="whose Grad-CAM is shown (default: the last with maps)")
    parser.add_argument(
        "--target", "--class", metavar="CLASS", help="name or number of what is explained (default: the last answer)"
    )
    parser.add_argument(
        "--count",
        type=int,
        default=along_time.USUAL,
        metavar="N",
        help="test images for CKA, evenly over the split (default: %(default)s)",
    )
    inputs.add_frame(parser)
    inputs.add_labelled_images(parser)


def follow_time(arguments: argparse.Namespace) -> CommandResult:
    """Show a network's answers and Grad-CAMs at each kept step of its training, and CKA between the steps."""
    if arguments.count < 4:
        raise ValueError(f"`--count` must be 4 or more, received {arguments.count}: CKA needs 4 images.")
    finished = inputs.checkpoint(arguments.checkpoint)
    folder = _folder(arguments)
    steps = weight_snapshots.steps_in(folder)
    layer = arguments.layer or explained_layer(finished.spec)
    along_time.check(finished.spec, steps, layer)  # before any images are read
    if arguments.weights is None:
        weight_snapshots.check_end(folder, finished.network)
    target = None if arguments.target is None else inputs.class_index(arguments.target, finished.class_names)
    picture = inputs.picture(arguments.picture, finished, arguments.paper)
    image = inputs.image(picture, finished, arguments.frame)
    data, images, _, finished, notes = inputs.labelled_images(finished, arguments)
    load = partial(_load, folder, finished)
    taken = rows(images, evenly(len(images), arguments.count))
    along_time.cost(finished.spec, len(steps), len(taken)).check()  # before any step is loaded
    strip = followed(along_time.time_strip(load, steps, image, layer, target))
    found = followed(along_time.step_similarity(load, steps, taken.images))
    names = finished.class_names
    title = finished.spec.name
    sentences = [*along_time.strip_sentences(title, strip, names), *along_time.similarity_sentences(title, found)]
    document = {
        "checkpoint": arguments.checkpoint,
        "weights": str(folder),
        "picture": arguments.picture,
        "layer": layer,
        "class": names[strip.target],
        "steps": list(steps),
        "strip": [
            {
                "step": moment.step,
                "answer": names[moment.prediction],
                "probabilities": moment.probabilities.tolist(),
                "cam": moment.cam.tolist(),
            }
            for moment in strip.moments
        ],
        "data": data,
        "n": found.n,
        "cka": _cka(found),
        "sentences": sentences,
        "limits": list(along_time.LIMITS),
        "notes": [*notes, *inputs.assumptions(finished)],
    }
    lines = [heading(arguments.picture, picture), *notes_block(picture.notes), "", *_answers(strip, finished), ""]
    lines += [f"CKA of each layer with its end (debiased, {found.n} test images of {data}):", "", *_settling(found), ""]
    return document, [*lines, *sentences, *notes_block(document["notes"])]


def _folder(arguments: argparse.Namespace) -> Path:
    """Where the weights of earlier steps lie."""
    if arguments.weights is not None:
        return Path(arguments.weights)
    return weight_snapshots.beside(Path(arguments.checkpoint))


def _load(folder: Path, finished: Checkpoint, step: int) -> Checkpoint:
    return along_time.at(finished, weight_snapshots.load(folder, file_stem(finished.spec.name), step))


def _cka(found: StepSimilarity) -> dict[str, Any]:
    """By layer, step by step; None where it is not defined."""
    return {
        layer: {
            "debiased": found.debiased[place].tolist(),
            "plain": found.cka[place].tolist(),
            "settled": found.settled(place),
        }
        for place, layer in enumerate(found.layers)
    }


def _answers(strip: TimeStrip, finished: Checkpoint) -> list[str]:
    names = finished.class_names
    cells = [
        [
            moment.step,
            names[moment.prediction],
            percent(float(moment.probabilities[moment.prediction])),
            percent(float(moment.probabilities[strip.target])),
            float(moment.cam.max()),
        ]
        for moment in strip.moments
    ]
    heads = ("step", "answer", "probability", names[strip.target], f"largest of the Grad-CAM, {strip.layer}")
    return table(heads, cells)


def _settling(found: StepSimilarity) -> list[str]:
    cells = [
        [layer, *(None if value is None else f"{value:.2f}" for value in found.to_end[place].tolist())]
        for place, layer in enumerate(found.layers)
    ]
    return table(("layer", *map(str, found.steps)), cells)
