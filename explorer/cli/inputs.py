"""From typed arguments to values. Every function raises ValueError or OSError for arguments that it cannot use."""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from explorer import checkpoints, weights_import
from explorer.architectures import Intervention
from explorer.architectures.interventions import SEPARATOR, parse_all
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.cli.formatting import SHOWN_CLASSES, describe_classes
from explorer.datasets import Dataset, Split, folders, shapes
from explorer.datasets.name_encodings import ENCODINGS
from explorer.images import (
    FORMATS,
    PAPERS,
    PHOTOS,
    PLAIN,
    REST,
    DecodedImage,
    Dials,
    Frame,
    Paper,
    Rendering,
    change,
    decode,
    normalise,
    seen_pixels,
)
from explorer.images.photos import decoded
from explorer.labels import numbered_classes

PICTURE_HELP = f"a {FORMATS} file, or one that comes with the app: {', '.join(PHOTOS)}"
SOURCE_HELP = "a folder, zip, .tar or .tar.gz of class folders"
DATA_HELP = f"`shapes`, which are drawn, `shapes:ring,cross,star,arrow` for some of their classes, or {SOURCE_HELP}"
ASSUMED = "unknown data: "  # begins the note on a network that was read directly


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


def add_reading(parser: argparse.ArgumentParser) -> None:
    """How a folder or an archive of images is read where it does not tell."""
    parser.add_argument(
        "--labels-from",
        metavar="WHERE",
        help="where there are no class folders: `csv` for a table of file names and labels among the files, "
        "`csv:COLUMN` for one of its columns, or `names` for what the file names begin with, as in cat.0.jpg",
    )
    parser.add_argument(
        "--encoding",
        choices=ENCODINGS,
        help="of the names in an archive that does not tell it (default: the likeliest)",
    )
    add_paper(parser)


def add_class_order(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--classes",
        metavar="A,B,C",
        help="the classes of the data in the order of the network's outputs, for a network that does not name its own "
        "(default: the order of `data`)",
    )


def class_order(typed: str | None, names: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The classes of the data in the order of the outputs of a network that does not name them, and a note on it.
    Raises ValueError where the typed ones are others than `names`."""
    ordered = tuple(name.strip() for name in typed.split(",")) if typed else tuple(names)
    if sorted(ordered) != sorted(names):
        raise ValueError(f"`--classes` must name each class of the data once; it {describe_classes(names)}")
    listed = ", ".join(f"class {index} is {name}" for index, name in enumerate(ordered[:SHOWN_CLASSES]))
    said = "as `--classes` says" if typed else "assumed in the order of the data; `--classes` names another"
    return ordered, f"the network does not name its classes, {said}: {listed}{', …' * (len(ordered) > SHOWN_CLASSES)}."


def dataset(text: str, size: tuple[int, int], arguments: argparse.Namespace, rendering: Rendering = PLAIN) -> Dataset:
    """Images of `size` (height, width), read as `add_reading` asks, and else in that rendering. The split does not
    depend on the seed of a training."""
    if text == "shapes":
        return shapes.load(size=size[0])
    if text.startswith("shapes:") and not Path(text).exists():
        names = text.removeprefix("shapes:").split(",")
        return shapes.load(size=size[0], classes=[name.strip() for name in names if name.strip()])
    rendering = rendering.on(arguments.paper)
    return folders.load(text, size, labels_from=arguments.labels_from, encoding=arguments.encoding, rendering=rendering)


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


class LabelledImages(NamedTuple):
    """A split of some data, whose labels count `class_names`, and the network, which knows all of them: one that does
    not name its classes gets their names. `notes` are on the data and on these names."""

    data: str
    split: Split
    class_names: tuple[str, ...]
    checkpoint: Checkpoint
    notes: tuple[str, ...]


def add_labelled_images(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", metavar="DATA", help=f"{DATA_HELP} (default: what it was trained on, if that was drawn)"
    )
    add_reading(parser)
    add_class_order(parser)


def labelled_images(checkpoint: Checkpoint, arguments: argparse.Namespace, split: str = "test") -> LabelledImages:
    """The images that `add_labelled_images` asks for, by default of what was drawn for the network's training."""
    spec, drawn = checkpoint.spec, shapes.named(checkpoint.data)
    if arguments.data is None and split == "test" and drawn is not None:  # the other splits take most of the time
        images = shapes.test_split(drawn.seed, drawn.size, classes=drawn.classes)
        name, size, class_names, notes = drawn.name, (drawn.size, drawn.size), drawn.classes, shapes.NOTES
    else:
        found = (
            dataset(arguments.data, spec.input_shape[1:], arguments, checkpoint.rendering)
            if arguments.data
            else drawn_dataset(checkpoint)
        )
        images, size, class_names = getattr(found, split), found.input_shape[1:], found.class_names
        name, notes = found.name, found.notes
    if size != spec.input_shape[1:]:
        raise ValueError(f"the network takes images of shape {spec.input_shape}, {name} has {(3, *size)}.")
    if checkpoint.class_names == numbered_classes(len(class_names)):
        names, note = class_order(arguments.classes, class_names)
        checkpoint, notes = replace(checkpoint, class_names=names), (*notes, note)
    elif arguments.classes:
        raise ValueError(
            "`--classes` is for networks that do not name their classes; this one "
            f"{describe_classes(checkpoint.class_names)}"
        )
    unknown = [each for each in class_names if each not in checkpoint.class_names]
    if unknown:
        raise ValueError(
            f"{name} has a class {unknown[0]!r} that is none of the network's; it "
            f"{describe_classes(checkpoint.class_names)}"
        )
    if not len(images):
        raise ValueError(f"{name} has no {split} images; choose another `--split`.")
    return LabelledImages(name, images, class_names, checkpoint, notes)


def picture(file: str, checkpoint: Checkpoint, paper: Paper | None = None) -> DecodedImage:
    """Rendered as the images that the network learned from; `paper` is the colour under transparent parts, where one
    is given."""
    if file in PHOTOS and not Path(file).exists():
        return decoded(file)
    return decode(Path(file).read_bytes(), file, checkpoint.rendering.on(paper))


def image(picture: DecodedImage, checkpoint: Checkpoint, frame: str | None = None, dials: Dials = REST) -> np.ndarray:
    channels, height, width = checkpoint.spec.input_shape
    part = None if frame is None else Frame.parse(frame)
    seen = seen_pixels(picture.pixels, (height, width), channels, checkpoint.resize_shorter_to, part)
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


def check_number(names: Sequence[object], most: int) -> None:
    """Raises ValueError for more networks than a command takes at once."""
    if len(names) > most:
        raise ValueError(f"{len(names)} networks are too many at once; {most} is the most.")


def titles(names: Sequence[str], loaded: Sequence[Checkpoint]) -> list[str]:
    """The networks' own names, or those that were typed where two have one."""
    own = [each.spec.name for each in loaded]
    return own if len({*own}) == len(own) else [*names]


def add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", metavar="CHECKPOINT", help="a file that `train` saved or `inspect` knows, or a pretrained network"
    )


def add_change(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--change",
        metavar="TEXT",
        action="append",
        default=[],
        help="an intervention, as links name them: stages.1.0@branch:off, stem.conv~3:0.5, stages.0.1:mean, "
        "stages.0.1:swap~stages.0.2 (repeatable, or several with commas)",
    )


def changes(arguments: argparse.Namespace) -> tuple[Intervention, ...]:
    return parse_all(SEPARATOR.join(arguments.change))


def add_paper(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--paper",
        choices=PAPERS,
        help="colour under transparent parts (default: that of the network's training images, else white)",
    )


def add_frame(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--frame",
        metavar="LEFT,TOP,SIDE",
        help="a square part of the image for the network, as shares of width, height and shorter side: 0.25,0.1,0.5 "
        "(default: the centre)",
    )


def add_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--threads", type=int, metavar="N", help="threads (default: one for each core that is idle)")
