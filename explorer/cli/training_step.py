"""`step`: one training step in slow motion, with the losses, the gradients and the update in numbers."""

import argparse
from dataclasses import asdict
from typing import Any, get_args

import numpy as np
import torch

from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.cli import CommandResult, inputs, new_networks
from explorer.cli.experiments import NAME_HELP
from explorer.cli.formatting import notes_block, table
from explorer.cli.progress import followed
from explorer.datasets import channel_statistics, shapes
from explorer.experiments import training_step as steps
from explorer.experiments import training_step_sentences as words
from explorer.experiments.measurement import MOST_NETWORKS, evenly, rows
from explorer.experiments.stored_gradients import LabelledBatch, drawn_batch, labels_for
from explorer.experiments.training_step import TrainingStep
from explorer.presets import PRESETS
from explorer.training import TrainingConfig, network_input
from explorer.training.config import Optimizer

COUNT = 16
OPTIONS = ("learning_rate", "momentum", "weight_decay", "label_smoothing", "clip")


def step_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help=f"{NAME_HELP}; or a preset, with its initial weights; up to {MOST_NETWORKS}",
    )
    parser.add_argument("--twins", action="store_true", help="take the step with the twin of each preset, too")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of initial weights (default: 0)")
    parser.add_argument("--count", type=int, default=COUNT, metavar="N", help=f"images of the batch (default: {COUNT})")
    inputs.add_labelled_images(parser)
    group = parser.add_argument_group("the optimiser")
    group.add_argument("--optimizer", choices=get_args(Optimizer), default="sgd", help="(default: sgd)")
    for name in OPTIONS:
        default = TrainingConfig.__dataclass_fields__[name].default
        text = f"{new_networks.CONFIG_HELP[name]}{'' if default is None else f' (default: {default:g})'}"
        group.add_argument(f"--{name.replace('_', '-')}", type=float, default=default, metavar="X", help=text)
    group.add_argument(
        "--nesterov", action=argparse.BooleanOptionalAction, default=True, help=new_networks.CONFIG_HELP["nesterov"]
    )


def take_step(arguments: argparse.Namespace) -> CommandResult:
    """Take one training step and show its losses, its gradients layer by layer, and what the update does."""
    if arguments.count < 2:
        raise ValueError(f"`--count` must be 2 or more, received {arguments.count}: BatchNorm needs several images.")
    config = TrainingConfig(
        epochs=1,
        batch_size=arguments.count,
        optimizer=arguments.optimizer,
        nesterov=arguments.nesterov,
        **{name: getattr(arguments, name) for name in OPTIONS},
    )
    chosen = [each for name in arguments.names for each in _networks(name, arguments)]
    inputs.check_number(chosen, MOST_NETWORKS)
    documents: list[dict[str, Any]] = []
    taken: list[TrainingStep] = []
    lines: list[str] = []
    notes: list[str] = []
    for title, checkpoint, batch, told in chosen:
        images = network_input(batch.images, checkpoint.mean, checkpoint.std, checkpoint.network.device)
        labels = torch.from_numpy(labels_for(checkpoint, batch).astype(np.int64))
        found = followed(steps.training_step(checkpoint.network, images, labels, config))
        taken.append(found)
        documents.append(_document(title, found, batch))
        said = documents[-1]["sentences"]
        lines += [f"{title}, {batch.words}", "", *table(_HEADS, _rows(found)), "", *said, ""]
        notes += told
    rule = [*words.rule(config), *words.settings_of([each["name"] for each in documents], taken)]
    document = {
        "config": {
            name: value for name, value in asdict(config).items() if name in (*OPTIONS, "optimizer", "nesterov")
        },
        "rule": rule,
        "networks": documents,
        "limits": list(steps.LIMITS),
        "notes": (notes := list(dict.fromkeys(notes))),
    }
    return document, ["The rule:", *rule, "", *lines[:-1], *notes_block(notes)]


def _networks(name: str, arguments: argparse.Namespace) -> list[tuple[str, Checkpoint, LabelledBatch, list[str]]]:
    """The network of that name, and of a preset perhaps its twin: a title, with the batch and notes."""
    if name not in PRESETS:
        checkpoint = inputs.checkpoint(name)
        data, split, class_names, checkpoint, notes = inputs.labelled_images(checkpoint, arguments)
        taken = rows(split, evenly(len(split), arguments.count))
        labels = taken.labels.astype(np.int64)
        batch = LabelledBatch(taken.images, labels, f"{len(labels)} test images of {data}", class_names)
        return [(name, checkpoint, batch, [*notes, *inputs.assumptions(checkpoint)])]
    spec = new_networks.spec_of(name)[1]
    if arguments.data:
        dataset = inputs.dataset(arguments.data, spec.input_shape[1:], arguments)
        taken = rows(dataset.train, evenly(len(dataset.train), arguments.count))
        words_for = f"{len(taken)} training images of {dataset.name}"
        batch = LabelledBatch(taken.images, taken.labels.astype(np.int64), words_for, dataset.class_names)
    elif spec.input_shape[1] in shapes.SIZES:
        drawn = drawn_batch(shapes.Drawn(spec.input_shape[1]))
        n = min(arguments.count, len(drawn.labels))
        batch = LabelledBatch(drawn.images[:n], drawn.labels[:n], f"{n} shapes", drawn.class_names)
    else:
        sides = "×".join(map(str, spec.input_shape[1:]))
        raise ValueError(f"{name} takes {sides} pixels, and shapes have 16, 32 or 64; give class folders as `--data`.")
    if spec.classes != len(batch.class_names):
        raise ValueError(f"{name} knows {spec.classes} classes, and the images have {len(batch.class_names)}.")
    mean, std = channel_statistics(batch.images)
    return [
        (each.name, Checkpoint(build(each, arguments.seed).freeze(), batch.class_names, mean, std, "none"), batch, [])
        for each in ((spec, spec.twin()) if arguments.twins else (spec,))
    ]


_HEADS = ("layer", "activation", "|w|", "|g|", "|Δw|", "|Δw| / |w|", "g·Δw")


def _rows(found: TrainingStep) -> list[list[Any]]:
    numbers = (found.activations, found.weights, found.gradients, found.updates, found.ratios, found.changes)
    lines = [[layer, *row] for layer, *row in zip(found.layers, *(each.tolist() for each in numbers), strict=True)]
    return [*lines, ["biases and norms", None, None, None, None, None, found.rest]]


def _document(title: str, found: TrainingStep, batch: LabelledBatch) -> dict[str, Any]:
    names = ("activations", "weights", "gradients", "updates", "ratios", "changes", "losses", "new_losses", "path")
    return {
        "name": title,
        "images": batch.words,
        "labels": [batch.class_names[label] for label in batch.labels],
        "settings": words.settings(found),
        "layers": list(found.layers),
        **{name: getattr(found, name).tolist() for name in names},
        "shares": list(steps.SHARES),
        "rest": found.rest,
        "gradient_norm": found.norm,
        "clipping": found.clipping,
        "loss": found.loss,
        "new_loss": found.new_loss,
        "predicted": found.predicted,
        "measured": found.measured,
        "worked": {layer: words.worked(found, place) for place, layer in enumerate(found.layers)},
        "sentences": words.findings(title, found),
    }
