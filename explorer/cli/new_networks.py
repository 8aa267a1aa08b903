"""Options for a network that is built, and for how it is trained. Every function raises ValueError or OSError for
arguments that it cannot use."""

import argparse
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from explorer.architectures import ArchitectureSpec
from explorer.architectures.spec import VARIANTS, BlockKind, BranchStart
from explorer.presets import PRESETS, preset
from explorer.training import TrainingConfig

DEFAULT_SECONDS = 60.0
CONFIG_HELP = {
    "epochs": "times through the training images",
    "seconds": f"time budget instead of --epochs; {DEFAULT_SECONDS:g} if neither is given",
    "batch_size": "images a step",
    "optimizer": "what takes the steps",
    "learning_rate": "peak learning rate of the schedule",
    "momentum": "momentum of SGD",
    "nesterov": "Nesterov's form of momentum",
    "weight_decay": "L2 penalty of the weights",
    "schedule": "how the learning rate changes",
    "milestones": "where the step schedule falls, as shares of the run, with commas",
    "step_factor": "by which the step schedule falls there",
    "label_smoothing": "share of each label that is spread over all classes",
    "class_weights": "weigh the loss so that every class counts alike, however few images it has",
    "clip": "largest norm of all gradients together",
    "augment": "shift and flip the images at random",
    "seed": "decides initial weights, batches and augmentation",
    "precision": "what to compute in",
    "device": "what to compute on",
    "compile": "fuse operations first: needs a C++ compiler and pays off in long trainings",
}


def add_network(parser: argparse.ArgumentParser, names: str) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help=names)
    parser.add_argument(
        "--spec", metavar="FILE", help="instead: a JSON file as `describe NAME --json` prints it, edited"
    )
    group = parser.add_argument_group("changes of the network")
    group.add_argument("--block", choices=get_args(BlockKind), help="what a stage repeats")
    group.add_argument(
        "--shortcuts",
        metavar="KIND,KIND",
        help="none, identity or projection, once for all stages or once for each: none,identity,identity is a hybrid",
    )
    group.add_argument(
        "--preactivation", action="store_true", help="norm and activation in front of each convolution (He et al. 2016)"
    )
    group.add_argument("--shortcut-gain", type=float, metavar="X", help="a fixed factor of every shortcut")
    group.add_argument(
        "--branch-start",
        choices=get_args(BranchStart),
        help="gain: each branch has a learned factor that starts at 0 (SkipInit, ReZero); gamma: the weight of its "
        "last norm starts at 0",
    )
    group.add_argument(
        "--stochastic-depth",
        type=float,
        metavar="X",
        help="share of the steps that leave out the last branch, and earlier ones less often (Huang et al. 2016)",
    )


def network_changes(arguments: argparse.Namespace) -> dict[str, Any]:
    """The options that change a network, by the name of their field, as far as they were typed."""
    names = ("block", "shortcuts", "preactivation", *VARIANTS)
    return {name: value for name in names if (value := getattr(arguments, name, None)) not in (None, False)}


def named_spec(arguments: argparse.Namespace) -> tuple[str, ArchitectureSpec]:
    """The network that is asked for, with its changes."""
    name, spec = _unchanged(arguments)
    changes = network_changes(arguments)
    kinds = changes.pop("shortcuts", "").split(",")
    if kinds != [""]:
        if len(kinds) not in (1, len(spec.stages)):
            raise ValueError(
                f"`--shortcuts` must name one kind for all stages or {len(spec.stages)}, one for each; received "
                f"{len(kinds)}."
            )
        of_each: Any = kinds * len(spec.stages) if len(kinds) == 1 else kinds
        stages = zip(spec.stages, of_each, strict=True)
        changes["stages"] = tuple(replace(stage, shortcut=kind.strip()) for stage, kind in stages)
    return name, replace(spec, **changes) if changes else spec


def _unchanged(arguments: argparse.Namespace) -> tuple[str, ArchitectureSpec]:
    if (arguments.name is None) == (arguments.spec is None):
        raise ValueError("give either a NAME or `--spec FILE`; `describe --list` lists the presets.")
    if arguments.spec is None:
        return arguments.name, preset(arguments.name).spec
    return spec_of_file(Path(arguments.spec))


def spec_of(text: str) -> tuple[str, ArchitectureSpec]:
    """The preset of that name, or the spec in the JSON file of that name, and what to call it."""
    return spec_of_file(Path(text)) if text not in PRESETS and Path(text).is_file() else (text, preset(text).spec)


def spec_of_file(file: Path) -> tuple[str, ArchitectureSpec]:
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        # Other errors name Python's codecs and its stack.
        why = f" ({error})" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"`{file}` is no JSON document{why}; `describe NAME --json` prints one.") from None
    # `describe --json` prints more than the spec.
    return file.stem, ArchitectureSpec.from_dict(values.get("spec", values) if isinstance(values, dict) else values)


def add_config(parser: argparse.ArgumentParser) -> None:
    """One option for each field of TrainingConfig. The value of an option that was not typed is None."""
    group = parser.add_argument_group("how to train")
    for field in fields(TrainingConfig):
        default = f"{field.default:g}" if isinstance(field.default, float) else field.default
        default = ",".join(map(str, default)) if isinstance(default, tuple) else default
        text = CONFIG_HELP[field.name] + ("" if default is None else f" (default: {default})")
        flag, kind = f"--{field.name.replace('_', '-')}", field.type
        if kind is bool:
            group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
        elif get_origin(kind) is Literal:
            group.add_argument(flag, choices=get_args(kind), help=text)
        elif get_origin(kind) is tuple:
            group.add_argument(flag, type=_shares, metavar="X,X", help=text)
        else:
            number = int if int in (kind, *get_args(kind)) else float
            group.add_argument(flag, type=number, metavar="N" if number is int else "X", help=text)


def _shares(text: str) -> tuple[float, ...]:
    return tuple(float(share) for share in text.split(","))


def config(arguments: argparse.Namespace) -> TrainingConfig:
    given = {field.name: getattr(arguments, field.name) for field in fields(TrainingConfig)}
    if given["epochs"] is None and given["seconds"] is None:
        given["seconds"] = DEFAULT_SECONDS
    return TrainingConfig(**{name: value for name, value in given.items() if value is not None})
