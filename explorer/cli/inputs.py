"""From typed arguments to values. Every function raises ValueError or OSError for arguments that it cannot use."""

import argparse
import json
import os
import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args, get_origin

import numpy as np

from explorer import checkpoints, weights_import
from explorer.architectures import ArchitectureSpec
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.cli.formatting import describe_classes
from explorer.datasets import Dataset, Split, folders, shapes
from explorer.images import PHOTOS, REST, DecodedImage, Dials, change, decode, normalise, seen_pixels
from explorer.images.photos import decoded
from explorer.presets import preset
from explorer.training import TrainingConfig

PICTURE_HELP = f"a JPEG, PNG, GIF, BMP, WEBP or TIFF file, or one that comes with the app: {', '.join(PHOTOS)}"
DATA_HELP = (
    "`shapes`, which are drawn, `shapes:ring,cross,star,arrow` for some of their classes, or a folder or zip of class "
    "folders"
)
DEFAULT_SECONDS = 60.0
ASSUMED = "unknown data: "  # begins the note on a network that was read directly

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


def named_spec(arguments: argparse.Namespace) -> tuple[str, ArchitectureSpec]:
    if (arguments.name is None) == (arguments.spec is None):
        raise ValueError("give either a NAME or `--spec FILE`; `describe --list` lists the presets.")
    if arguments.spec is None:
        return arguments.name, preset(arguments.name).spec
    file = Path(arguments.spec)
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


def checkpoint(text: str) -> Checkpoint:
    if text in checkpoints.pinned():
        return checkpoints.load_pretrained(text)
    if not Path(text).exists():
        raise ValueError(f"there is no pretrained network and no file {text!r}; `pretrained` lists the networks.")
    try:
        return checkpoints.load(text)
    except CheckpointError:
        with Path(text).open("rb") as file:
            if checkpoints.HEADER.encode() in file.read(200):  # a damaged file of ours
                raise
    report = weights_import.read(text)
    if len(report.readings) > 1:
        titles = ", ".join(f"{index} for {entry.title}" for index, entry in enumerate(report.readings, start=1))
        raise ValueError(
            f"{report.question} Save the one that is meant with `convert {text} --out FILE --reading N` ({titles}), "
            "and give that file."
        )
    (reading,) = report.readings
    name = reading.normalisation.name
    data = f"{ASSUMED}normalisation {name} is assumed, because {reading.normalisation_reason}; `inspect` says more."
    return reading.checkpoint(data)


def assumptions(checkpoint: Checkpoint) -> list[str]:
    """What was assumed of a network from another program, for a note; nothing of one of ours."""
    return [checkpoint.data.removeprefix(ASSUMED)] if checkpoint.data.startswith(ASSUMED) else []


def dataset(text: str, size: tuple[int, int]) -> Dataset:
    """Pictures of `size` (height, width). The split does not depend on the seed of a training."""
    if text == "shapes":
        return shapes.load(size=size[0])
    if text.startswith("shapes:") and not Path(text).exists():
        names = text.removeprefix("shapes:").split(",")
        return shapes.load(size=size[0], classes=[name.strip() for name in names if name.strip()])
    return folders.load(text, size)


def test_images(text: str | None, checkpoint: Checkpoint) -> tuple[str, Split, tuple[str, ...]]:
    """The name, the test images and the classes of the data, by default of what the network was trained on."""
    drawn = shapes.named(checkpoint.data)
    if text is None and drawn is not None:  # the other splits, which take most of the time, are not drawn
        return drawn.name, shapes.test_split(drawn.seed, drawn.size, classes=drawn.classes), drawn.classes
    found = dataset(text, checkpoint.spec.input_shape[1:]) if text else drawn_dataset(checkpoint)
    return found.name, found.test, found.class_names


def drawn_dataset(checkpoint: Checkpoint) -> Dataset:
    """The shapes that the network was trained on, of the same classes."""
    drawn = shapes.named(checkpoint.data)
    if drawn is not None:
        return shapes.load(drawn.seed, drawn.size, classes=drawn.classes)
    if checkpoint.data.startswith("shapes-"):
        raise ValueError(
            f"the network was trained on {checkpoint.data}, and this app draws {shapes.Drawn().name} and the like; "
            "`--data shapes` evaluates it on these."
        )
    if assumptions(checkpoint):
        raise ValueError("nothing tells what data the network was trained on; give class folders as `--data FOLDER`.")
    raise ValueError(
        f"the network was trained on {checkpoint.data}, which cannot be drawn; give its class folders as "
        "`--data FOLDER`."
    )


def labelled_images(checkpoint: Checkpoint, data: str | None, split: str = "test") -> tuple[Dataset, Split]:
    """The data, by default what was drawn for the network's training, and one of its splits; a network of this input
    size knows all their classes."""
    spec, names = checkpoint.spec, checkpoint.class_names
    size = spec.input_shape[1:]
    found = dataset(data, size) if data else drawn_dataset(checkpoint)
    if found.input_shape[1:] != size:
        raise ValueError(f"the network takes images of shape {spec.input_shape}, {found.name} has {found.input_shape}.")
    unknown = [name for name in found.class_names if name not in names]
    if unknown:
        raise ValueError(
            f"{found.name} has a class {unknown[0]!r} that is none of the network's; it {describe_classes(names)}"
        )
    images: Split = getattr(found, split)
    if not len(images):
        raise ValueError(f"{found.name} has no {split} images; choose another `--split`.")
    return found, images


def picture(file: str) -> DecodedImage:
    if file in PHOTOS and not Path(file).exists():
        return decoded(file)
    return decode(Path(file).read_bytes(), file)


def image(picture: DecodedImage, checkpoint: Checkpoint, dials: Dials = REST) -> np.ndarray:
    channels, height, width = checkpoint.spec.input_shape
    seen = seen_pixels(picture.pixels, (height, width), channels, checkpoint.resize_shorter_to)
    return normalise(change(seen, dials).transpose(2, 0, 1) / 255, checkpoint.mean, checkpoint.std)


def class_index(text: str, names: Sequence[str]) -> int:
    if text in names:  # before numbers, because a class may be called "3"
        return names.index(text)
    if re.fullmatch(r"[0-9]{1,9}", text) and int(text) < len(names):
        return int(text)
    raise ValueError(
        f"{text!r} is neither a class nor the number of one, 0 to {len(names) - 1}; the network "
        f"{describe_classes(names)}"
    )


def check_new(file: Path, suffix: str) -> None:
    """Raises ValueError where no new file can be written, before an hour of training and not after it."""
    if file.suffix != suffix:
        raise ValueError(f"`--out` must name a file that ends in {suffix}, received `{file}`.")
    if file.exists():
        raise ValueError(f"`{file}` is already there; remove it or name another file with `--out`.")
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK):
        raise ValueError(f"nothing can be written into the folder `{file.parent}`; make it or choose another one.")


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a file that `train` saved or `inspect` knows, or a pretrained network"
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: one for each core that is idle)")
