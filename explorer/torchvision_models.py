"""torchvision's published ImageNet weights: downloaded on request, checked at every load, in networks of ours."""

import os
import re
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from explorer import downloads, weights_import
from explorer.architectures import ArchitectureSpec
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.downloads import DownloadProgress, DownloadRequest, PublishedFile
from explorer.errors import PathError
from explorer.presets import imagenet_resnet, vgg
from explorer.weights_import import WeightsError

DATA = "ImageNet-1k"
NOTE = "torchvision's own figure for the validation images of ImageNet-1K, not measured here"
V1, V2 = "IMAGENET1K_V1", "IMAGENET1K_V2"

_FILE = re.compile(r"([a-z0-9_]+)-[0-9a-f]{8,64}\.pth")
_SLACK = 2**20  # bytes: torchvision gives sizes rounded to a thousandth of a MiB


@dataclass(frozen=True)
class Published:
    """Weights that torchvision publishes for `builder`, trained by `recipe` (a member of its enum of weights).

    `spec` is the network of ours that gives the same logits with them. The properties are read from the metadata of the
    installed torchvision.
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
    def download_bytes(self) -> int:
        """To within 600 bytes."""
        return round(self.weights.meta["_file_size"] * 2**20)

    @property
    def request(self) -> DownloadRequest:
        match = re.search(r"-([0-9a-f]{8,64})\.pth$", self.file)  # the first digits of its sha256
        assert match is not None, self.file
        max_bytes = self.download_bytes + _SLACK
        return DownloadRequest(
            title=self.title,
            files=(PublishedFile(self.address, Path(self.file), "sha256", match[1], max_bytes),),
            download_bytes=self.download_bytes,
            disk_bytes=max_bytes,
            folder_variable="TORCH_HOME",
            alternative="go on without it: everything else in this app needs no network",
        )

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
    resnext, wide = imagenet_resnet(50, groups=32, group_width=4), imagenet_resnet(50, group_width=128)
    found["resnext50_32x4d"] = Published("ResNeXt-50 32×4d", resnext, "resnext50_32x4d")
    found["wide_resnet50_2"] = Published("wide ResNet-50-2", wide, "wide_resnet50_2")
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
    """torch.hub's folder for downloads of torchvision, so that a file in it serves both:
    `TORCH_HOME/hub/checkpoints`, else `~/.cache/torch/hub/checkpoints`. It is the default `folder` below."""
    return Path(torch.hub.get_dir(), "checkpoints").expanduser().absolute()


def is_available(name: str, folder: str | Path | None = None) -> bool:
    """Whether the file of that network is in `folder`. It does not read the file: only `load` finds damage."""
    return os.path.isfile(_folder(folder) / published(name).file)


def downloaded(folder: str | Path | None = None) -> tuple[str, ...]:
    """The names of the networks whose file is in `folder`. torchvision, which takes 1.5 s and 160 MB, is imported only
    where the name of a file there may be one of its own."""
    builders = {entry.builder for entry in PUBLISHED.values()}
    try:
        files = os.listdir(_folder(folder))
    except OSError:
        return ()
    if not any((match := _FILE.fullmatch(file)) and match[1] in builders for file in files):
        return ()
    return tuple(name for name in PUBLISHED if is_available(name, folder))


def _folder(folder: str | Path | None) -> Path:
    return cache_folder() if folder is None else Path(folder)


def download(name: str, folder: str | Path | None = None) -> Generator[DownloadProgress, None, None]:
    """Downloads the weights into `folder`, as `downloads.download` does. Raises DownloadError as there."""
    return downloads.download(published(name).request, _folder(folder))


class _UnreadableError(PathError, CheckpointError):
    """A CheckpointError that names where the file lies."""


def load(name: str, folder: str | Path | None = None) -> Checkpoint:
    """The network with torchvision's weights, frozen; its logits are torchvision's.

    Each load compares the sha256 of the file with the digits in its name before it looks at anything in the file. Then
    it opens the file like any other of unknown origin, in a process with limits. Class names, normalisation and figures
    are those of torchvision's metadata; the figures say that they were not measured here.

    Raises CheckpointError with one sentence.
    """
    entry, folder = published(name), _folder(folder)
    try:
        if not (folder / entry.file).exists():
            raise _UnreadableError(
                f"`{entry.file}` is not in {{path}}; download it first, or put it there by hand.", folder
            )
        (file,) = entry.request.files
        if not file.is_intact(folder):
            raise _UnreadableError(
                f"`{entry.file}` in {{path}} is not the file that torchvision published, whose sha256 begins "
                f"with {file.digest}, so it was not opened; download it again.",
                folder,
            )
        report = weights_import.read(folder / entry.file)
    except OSError as error:
        raise _UnreadableError(
            f"`{entry.file}` in {{path}} cannot be read ({error.strerror}); allow this program to read it.", folder
        ) from None
    except WeightsError as error:
        raise CheckpointError(str(error)) from None
    readings = [reading for reading in report.readings if reading.spec == entry.spec]
    if len(readings) != 1:
        raise CheckpointError(f"`{entry.file}` holds another network than {entry.title}; download it again.")
    transforms = entry.weights.transforms()
    return Checkpoint(
        network=readings[0].network(),
        class_names=entry.class_names,
        mean=tuple(transforms.mean),
        std=tuple(transforms.std),
        data=DATA,
        metrics={
            "torchvision": {"accuracy": entry.top1, "top5": entry.top5, "source": str(entry.weights), "note": NOTE}
        },
        resize_shorter_to=transforms.resize_size[0],
    )
