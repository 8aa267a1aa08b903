"""torchvision's published ImageNet weights: downloaded on request, checked at every load, in networks of ours."""

import hashlib
import logging
import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from explorer import weights_import
from explorer.architectures import ArchitectureSpec
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.downloads import DownloadError, DownloadFailure, DownloadProgress, Job, deliver, disk_failure
from explorer.errors import PathError
from explorer.presets import imagenet_resnet, vgg
from explorer.weights_import import WeightsError

DATA = "ImageNet-1k"
NOTE = "torchvision's own figure for the validation pictures of ImageNet-1K, not measured here"
V1, V2 = "IMAGENET1K_V1", "IMAGENET1K_V2"

_FILE = re.compile(r"([a-z0-9_]+)-[0-9a-f]{8,64}\.pth")
_SLACK = 2**20  # bytes: torchvision gives sizes rounded to a thousandth of a MiB
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Preprocessing:
    """How torchvision makes an input of a picture: the shorter side is brought to `resize_shorter_to` pixels with
    antialiased `interpolation`, the centre of `crop` pixels is cut out and normalised with `mean` and `std` (0..1)."""

    resize_shorter_to: int
    crop: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Published:
    """Weights that torchvision publishes for `builder`, trained by `recipe` (a member of its enum of weights).

    `spec` is the network of ours that gives the same logits with them. Everything else is what the metadata of the
    installed torchvision says, read when it is asked for.
    """

    title: str
    spec: ArchitectureSpec
    builder: str
    recipe: str = V1

    @property
    def weights(self) -> Any:
        """torchvision's enum entry, such as `ResNet50_Weights.IMAGENET1K_V1`."""
        from torchvision.models import get_model_weights  # here: 1.5 s and 160 MB, which a list of names can do without

        return get_model_weights(self.builder)[self.recipe]

    @property
    def address(self) -> str:
        return self.weights.url

    @property
    def file(self) -> str:
        """Name of the file, as torchvision and torch.hub call it: "resnet50-0676ba61.pth"."""
        return self.address.split("/")[-1]

    @property
    def sha256(self) -> str:
        """The first digits, 8 or more, of the file's sha256, which its name carries."""
        match = re.search(r"-([0-9a-f]{8,64})\.pth$", self.file)
        assert match is not None, self.file
        return match[1]

    @property
    def download_bytes(self) -> int:
        """To within 600 bytes."""
        return round(self.weights.meta["_file_size"] * 2**20)

    @property
    def parameters(self) -> int:
        return self.weights.meta["num_params"]

    @property
    def top1(self) -> float:
        """Share of ImageNet's validation pictures whose most probable class is right, 0..1: see `NOTE`."""
        return round(self.weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100, 5)

    @property
    def top5(self) -> float:
        """Share of those whose class is among the five most probable, 0..1."""
        return round(self.weights.meta["_metrics"]["ImageNet-1K"]["acc@5"] / 100, 5)

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(self.weights.meta["categories"])

    @property
    def preprocessing(self) -> Preprocessing:
        transforms = self.weights.transforms()
        (shorter,), (crop,) = transforms.resize_size, transforms.crop_size
        assert transforms.antialias
        return Preprocessing(
            shorter, crop, transforms.interpolation.value, tuple(transforms.mean), tuple(transforms.std)
        )


def _all() -> dict[str, Published]:
    # IMAGENET1K_V1 is the only recipe that every network has: with it, only the network differs between two entries.
    # V2 (docs/decisions/2026-11-22-published-recipes.md) is offered beside it.
    found = {
        f"resnet{depth}": Published(f"ResNet-{depth}", imagenet_resnet(depth), f"resnet{depth}") for depth in (18, 34)
    }
    for depth in (50, 101, 152):
        spec, builder = imagenet_resnet(depth), f"resnet{depth}"
        found[builder] = Published(f"ResNet-{depth}", spec, builder)
        found[f"{builder}-v2"] = Published(f"ResNet-{depth}, second recipe", spec, builder, V2)
    for depth in (11, 13, 16, 19):
        found[f"vgg{depth}"] = Published(f"VGG-{depth}", vgg(depth), f"vgg{depth}")
        found[f"vgg{depth}_bn"] = Published(f"VGG-{depth} with BatchNorm", vgg(depth, "batch"), f"vgg{depth}_bn")
    return found


PUBLISHED: dict[str, Published] = _all()
"""The networks that `download` and `load` know, by torchvision's name; `-v2` is the second recipe of one."""


def published(name: str) -> Published:
    """The entry of that name. Raises ValueError that lists all names."""
    if name not in PUBLISHED:
        raise ValueError(f"`name` must be one of {', '.join(PUBLISHED)}, received {name!r}.")
    return PUBLISHED[name]


def cache_folder() -> Path:
    """Where torch.hub keeps what torchvision downloads, so that a file that is there already serves both:
    `TORCH_HOME/hub/checkpoints`, else `~/.cache/torch/hub/checkpoints`. It is the default `folder` below."""
    return Path(torch.hub.get_dir(), "checkpoints").expanduser().absolute()


def is_available(name: str, folder: str | Path | None = None) -> bool:
    """Whether the file of that network lies in `folder`; it costs no reading, so damage is found by `load` only."""
    return os.path.isfile(_place(published(name), folder))


def downloaded(folder: str | Path | None = None) -> tuple[str, ...]:
    """The names of those whose file lies in `folder`. torchvision is asked only where a file there may be one of them:
    to import it takes 1.5 s and 160 MB."""
    builders = {about.builder for about in PUBLISHED.values()}
    try:
        files = os.listdir(cache_folder() if folder is None else folder)
    except OSError:
        return ()
    if not any((match := _FILE.fullmatch(file)) and match[1] in builders for file in files):
        return ()
    return tuple(name for name in PUBLISHED if is_available(name, folder))


def _place(about: Published, folder: str | Path | None) -> Path:
    return (cache_folder() if folder is None else Path(folder)) / about.file


def download(name: str, folder: str | Path | None = None) -> Generator[DownloadProgress, None, None]:
    """Downloads the weights into `folder` (made if need be), and says about four times a second how far it has come.

    A file that is there is downloaded again only if it is not the published one, which is then replaced. The file
    appears when it is whole and has its checksum. See `downloads.deliver` for tries, closing and the rest.

    `DownloadError` where the network, the server or the disk does not allow it.
    """
    about = published(name)
    path, total = _place(about, folder), about.download_bytes
    failure = None
    wrong = False
    try:
        if path.exists():
            wrong = not _is_published(path, about)
        if wrong or not path.exists():
            job = Job(
                "explorer.downloads",
                {"address": about.address, "sha256": about.sha256, "limit": total + _SLACK, "name": about.file},
                growing=(Path(about.file),),
                files=(Path(about.file),),
                download_bytes=total,
                disk_bytes=total + _SLACK,
            )
            failure = yield from deliver(job, path.parent)
    except OSError as error:
        failure = disk_failure(error)
    if failure is not None:
        _log.warning("download of %s: %s", about.file, failure.detail)
        raise DownloadError(_sentence(about, failure, wrong), path.parent)
    yield DownloadProgress(total, total, 1)


class _UnreadableError(PathError, CheckpointError):
    """A CheckpointError that names where the file lies."""


def _is_published(path: Path, about: Published) -> bool:
    """Whether the file has the checksum in its name. Raises OSError where it cannot be read."""
    if not path.is_file() or path.stat().st_size > about.download_bytes + _SLACK:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest().startswith(about.sha256)


def _sentence(about: Published, failure: DownloadFailure, wrong: bool) -> str:
    """For a DownloadError, which puts in the place."""
    size = f"{about.download_bytes / 1e6:.0f} MB"
    if failure.kind == "full":
        return (
            f"the disk is full: downloading {about.title} needs {size} in {{place}}; free some space there and "
            "start again, or set `TORCH_HOME` to a folder on another disk."
        )
    if failure.kind == "unwritable":
        return (
            f"{about.title} cannot be stored in {{place}}; allow this program to write there, or set "
            "`TORCH_HOME` to another folder."
        )
    server = about.address.split("/")[2]
    warning = " (what is there is not the file that was published)" if wrong else ""
    return (
        f"{about.title} cannot be downloaded because {failure.why(server)}; check the network and start again, or put "
        f"`{about.file}` ({size}, from {about.address}) into {{place}} by hand{warning}, or go on without it: "
        "everything else in this app needs no network."
    )


def load(name: str, folder: str | Path | None = None) -> Checkpoint:
    """The network with torchvision's weights, frozen; its logits are torchvision's.

    The sha256 of the file is compared with the digits in its name each time, before anything in it is looked at (the
    builders of torchvision compare only what they download themselves), and then it is opened like the file of a
    stranger, in a process with limits. Class names, normalisation and figures are of torchvision's metadata; the
    figures were not measured here, and say so.

    Raises CheckpointError with one sentence.
    """
    about = published(name)
    path = _place(about, folder)
    try:
        if not path.exists():
            raise _UnreadableError(
                f"`{about.file}` is not in {{place}}; download it first, or put it there by hand.", path.parent
            )
        if not _is_published(path, about):
            raise _UnreadableError(
                f"`{about.file}` in {{place}} is not the file that torchvision published, whose sha256 begins "
                f"with {about.sha256}, so it was not opened; download it again.",
                path.parent,
            )
        readings = [reading for reading in weights_import.read(path).readings if reading.spec == about.spec]
    except OSError as error:
        raise _UnreadableError(
            f"`{about.file}` in {{place}} cannot be read ({error.strerror}); allow this program to read it.",
            path.parent,
        ) from None
    except WeightsError as error:
        raise CheckpointError(str(error)) from None
    if len(readings) != 1:
        raise CheckpointError(f"`{about.file}` holds another network than {about.title}; download it again.")
    preprocessing = about.preprocessing
    return Checkpoint(
        network=readings[0].network(),
        class_names=about.class_names,
        mean=preprocessing.mean,
        std=preprocessing.std,
        data=DATA,
        figures={
            "torchvision": {"accuracy": about.top1, "top5": about.top5, "source": str(about.weights), "note": NOTE}
        },
        resize_shorter_to=preprocessing.resize_shorter_to,
    )
