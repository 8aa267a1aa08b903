"""`shift` and `attack`: what networks answer when an image moves, and when somebody looks for their mistakes."""

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, get_args

import numpy as np

from explorer.cli import CommandResult, inputs
from explorer.cli.formatting import heading, notes_block, percent, table
from explorer.cli.progress import followed
from explorer.experiments import changed_pictures, robust_accuracy
from explorer.experiments.attacks import LARGEST, STEP, STEPS, Attack, epsilon_of, epsilon_text
from explorer.experiments.measurement import MOST_NETWORKS, evenly, rows
from explorer.labels import ATTACKS
from explorer.training import choose_device
from explorer.training.config import Device

NAME_HELP = "a pretrained network, a file that `train` saved or `inspect` knows, or any CNN as ONNX"


def shift_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help=NAME_HELP)
    parser.add_argument("picture", metavar="PICTURE", help=inputs.PICTURE_HELP)
    inputs.add_paper(parser)
    parser.add_argument(
        "--target",
        "--class",
        dest="target",
        metavar="CLASS",
        help="name or number of the class that is followed (default: predicted)",
    )
    inputs.add_threads(parser)


def shift_picture(arguments: argparse.Namespace) -> CommandResult:
    """Move an image by up to 8 pixels in all directions and show what the network answers."""
    checkpoint = inputs.checkpoint(arguments.name)
    names = checkpoint.class_names
    chosen = None if arguments.target is None else inputs.class_index(arguments.target, names)
    picture = inputs.picture(arguments.picture, checkpoint, arguments.paper)
    (found,) = followed(changed_pictures.shift_map([checkpoint], picture.pixels, threads=arguments.threads))
    followed_class = found.answer if chosen is None else chosen
    low, x, y = found.lowest(followed_class)
    sentences = changed_pictures.shift_sentences(checkpoint.spec.name, found, followed_class)
    sides = list(range(-found.reach, found.reach + 1))
    of_class = found.probabilities[..., followed_class]
    document = {
        "checkpoint": arguments.name,
        "picture": arguments.picture,
        "answer": names[found.answer],
        "class": names[followed_class],
        "right": sides,
        "down": sides,
        "probabilities": of_class.tolist(),
        "predicted": [[names[index] for index in row] for row in found.predicted],
        "kept": found.kept,
        "lowest": {"probability": low, "right": x, "down": y},
        "sentences": sentences,
    }
    if assumed := inputs.assumptions(checkpoint):
        document["assumed"] = assumed
    cells = [
        [f"{probability:4.0%}{' ' if index == found.answer else '*'}" for probability, index in zip(*row, strict=True)]
        for row in zip(of_class, found.predicted, strict=True)
    ]
    lines = [heading(arguments.picture, picture), *notes_block(picture.notes), *sentences, ""]
    lines += [
        f"Probability of {names[followed_class]} by pixels down (rows) and to the right; * is another answer:",
        "",
    ]
    lines += table(
        ("", *(f"{side:4}" for side in sides)), [[side, *row] for side, row in zip(sides, cells, strict=True)]
    )
    return document, [*lines, *notes_block(assumed)]


def attack_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"{NAME_HELP}; up to {MOST_NETWORKS}")
    parser.add_argument(
        "--epsilon",
        default="1/255,2/255,4/255",
        metavar="E,E",
        help=f"largest change of a pixel, up to {epsilon_text(LARGEST)}, with commas (default: %(default)s)",
    )
    parser.add_argument(
        "--steps", type=int, default=STEPS, metavar="N", help=f"of PGD; 0 takes FGSM, of one step (default: {STEPS})"
    )
    parser.add_argument(
        "--count",
        type=int,
        default=robust_accuracy.USUAL,
        metavar="N",
        help="test images, evenly over the split (default: %(default)s)",
    )
    parser.add_argument("--target", metavar="CLASS", help="name of the class to reach (default: any wrong one)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of PGD's random start (default: 0)")
    inputs.add_labelled_images(parser)
    parser.add_argument("--device", choices=get_args(Device), default="auto", help="what to compute on (default: auto)")
    inputs.add_threads(parser)


def attack_networks(arguments: argparse.Namespace) -> CommandResult:
    """Measure networks' accuracy on images that are changed to mislead them."""
    inputs.check_number(arguments.names, MOST_NETWORKS)
    epsilons = [epsilon_of(text) for text in arguments.epsilon.split(",")]
    attack = Attack(max(epsilons), arguments.steps, arguments.seed)
    if arguments.count < 1:
        raise ValueError(f"`--count` must be 1 or more, received {arguments.count}.")
    device = choose_device(arguments.device)
    images = [inputs.labelled_images(inputs.checkpoint(name), arguments) for name in arguments.names]
    _check_same_images(arguments.names, images)
    checkpoints = [each.checkpoint for each in images]
    notes = list(dict.fromkeys(note for each in images for note in each.notes))
    for checkpoint in checkpoints:
        checkpoint.network.to(device)
    split = images[0].split
    taken = rows(split, evenly(len(split), arguments.count))
    found = followed(
        robust_accuracy.robust_accuracy(
            checkpoints,
            taken,
            images[0].class_names,
            epsilons,
            steps=attack.steps,
            seed=attack.seed,
            target=arguments.target,
            threads=arguments.threads,
        )
    )
    titles = inputs.titles(arguments.names, checkpoints)
    sentences = robust_accuracy.robust_sentences(found, titles, attack.steps)
    networks = []
    table_rows = []
    for name, checkpoint, result in zip(arguments.names, checkpoints, found, strict=True):
        levels: list[dict[str, Any]] = []
        reached = result.reached or [None] * len(result.epsilons)
        for epsilon, right, hits in zip(result.epsilons, result.right, reached, strict=True):
            levels.append({"epsilon": epsilon, "epsilon_text": epsilon_text(epsilon), "accuracy": right.share})
            levels[-1] |= asdict(right) | ({"reached": {"share": hits.share, **asdict(hits)}} if hits else {})
            table_rows.append([name, epsilon_text(epsilon), percent(right.share), percent(right.low)])
            table_rows[-1] += [percent(right.high), right.n, percent(hits.share) if hits else None]
        networks.append({"checkpoint": name, "network": checkpoint.spec.name, "levels": levels})
        if assumed := inputs.assumptions(checkpoint):
            networks[-1]["assumed"] = assumed
    document = {
        "data": images[0].data,
        "n": found[0].right[0].n,
        "attack": {
            "method": ATTACKS[attack.method].long,
            "norm": "L∞, of pixels on the scale 0 to 1 before normalisation",
            "steps": max(1, attack.steps),
            "step_in_epsilons": STEP / attack.steps if attack.steps else 1.0,
            "seed": attack.seed,
            "target": arguments.target,
        },
        "networks": networks,
        "sentences": sentences,
        "notes": notes,
    }
    method = ATTACKS[attack.method]
    header = ("network", "epsilon", "accuracy", "low", "high", "n", "target reached")
    width = len(header) if arguments.target else len(header) - 1
    lines = [f"Test images of {images[0].data}; {method.short}: {method.long}", ""]
    lines += [*table(header[:width], [row[:width] for row in table_rows]), "", *sentences]
    assumed = [note for entry in networks for note in entry.get("assumed", [])]
    return document, [*lines, *notes_block([*notes, *assumed])]


def _check_same_images(names: Sequence[str], images: Sequence[inputs.LabelledImages]) -> None:
    """Raises ValueError for networks whose test images have other sizes, renderings, labels or sources."""
    first = images[0]
    for name, each in zip(names[1:], images[1:], strict=True):
        if each.class_names == first.class_names and all(
            np.array_equal(a, b)
            for a, b in ((each.split.images, first.split.images), (each.split.labels, first.split.labels))
        ):
            continue
        sides = [" × ".join(map(str, data.split.images.shape[2:])) for data in (first, each)]
        raise ValueError(
            f"the test images of {names[0]} ({first.data}, {sides[0]}) and {name} ({each.data}, {sides[1]}) differ; "
            "give `--data` that both see alike, or attack each alone."
        )
