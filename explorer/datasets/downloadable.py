"""CIFAR-10 and Fashion-MNIST, as torchvision downloads them."""

import gzip
import hashlib
import logging
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from explorer.datasets import Dataset, Split, channel_statistics, hold_out
from explorer.downloads import DownloadError as DownloadError
from explorer.downloads import DownloadFailure, Job, deliver, disk_failure
from explorer.downloads import DownloadProgress as DownloadProgress
from explorer.errors import PathError

VALIDATION_SHARE = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DownloadableDataset:
    """A dataset that can be downloaded.

    `about` is one sentence; `download_bytes` come over the network, `disk_bytes` are needed on the disk meanwhile.
    """

    title: str
    class_names: tuple[str, ...]
    about: str
    download_bytes: int
    disk_bytes: int


DOWNLOADABLE = {
    "cifar10": DownloadableDataset(
        "CIFAR-10",
        ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        "60,000 colour photographs of 32 × 32 pixels in 10 classes, from airplane to truck.",
        170_498_071,
        360_000_000,
    ),
    "fashion-mnist": DownloadableDataset(
        "Fashion-MNIST",
        (
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        "70,000 grey pictures of 28 × 28 pixels of clothes, shoes and bags in 10 classes.",
        30_878_645,
        90_000_000,
    ),
}
"""The datasets that `download` and `load` know, by name."""


@dataclass(frozen=True)
class _Source:
    """Where torchvision finds a dataset: a copy of its class attributes, and the files with their MD5 checksums.

    Paths are relative to the folder of all datasets. `archives` are downloaded, `files` are what `load` reads.
    """

    dataset: str
    attributes: dict[str, Any]
    server: str
    archives: tuple[tuple[Path, str], ...]
    files: tuple[tuple[Path, str], ...]


def _source(name: str) -> _Source:
    from torchvision.datasets import CIFAR10, FashionMNIST  # here: pages that only show the list need no torch

    _known(name)
    if name == "cifar10":
        keys = ("base_folder", "url", "filename", "tgz_md5", "train_list", "test_list", "meta")
        batches = [*CIFAR10.train_list, *CIFAR10.test_list, [CIFAR10.meta["filename"], CIFAR10.meta["md5"]]]
        return _Source(
            "CIFAR10",
            {key: getattr(CIFAR10, key) for key in keys},
            CIFAR10.url.split("/")[2],
            ((Path(CIFAR10.filename), CIFAR10.tgz_md5),),
            tuple((Path(CIFAR10.base_folder, file), md5) for file, md5 in batches),
        )
    files = tuple((Path("FashionMNIST", "raw", file), md5) for file, md5 in FashionMNIST.resources)
    attributes = {key: getattr(FashionMNIST, key) for key in ("mirrors", "resources")}
    return _Source("FashionMNIST", attributes, FashionMNIST.mirrors[0].split("/")[2], files, files)


def _known(name: str) -> DownloadableDataset:
    if name not in DOWNLOADABLE:
        raise ValueError(f"`name` must be one of {', '.join(DOWNLOADABLE)}, received {name!r}.")
    return DOWNLOADABLE[name]


def is_available(name: str, folder: str | Path) -> bool:
    """Whether all files that `load` needs lie in `folder`; it costs no reading, so damage is found by `load` only."""
    return all(os.path.isfile(Path(folder, path)) for path, _ in _source(name).files)


def download(name: str, folder: str | Path) -> Generator[DownloadProgress, None, None]:
    """Downloads a dataset into `folder` (made if need be), and says about four times a second how far it has come.

    The download runs in a process of its own, and each file is moved into its place when it is whole and has its
    checksum; what is there and intact is not downloaded again. See `downloads.deliver` for tries, closing and the rest.

    `DownloadError` where the network, the server or the disk does not allow it.
    """
    about, source, folder = _known(name), _source(name), Path(folder)
    wrong: list[str] = []
    failure = None
    try:
        if not all(_is_whole(folder / path, md5) for path, md5 in source.files):
            job = Job(
                "explorer.datasets.transfer",
                {"dataset": source.dataset, "attributes": source.attributes},
                growing=tuple(path for path, _ in source.archives),
                files=tuple(path for path, _ in source.files),
                download_bytes=about.download_bytes,
                disk_bytes=about.disk_bytes,
            )
            failure = yield from deliver(job, folder, lambda private: wrong.extend(_take(source, folder, private)))
    except OSError as error:
        failure = disk_failure(error)
    if failure is not None:
        _log.warning("download of %s: %s", name, failure.detail)
        raise DownloadError(*_told(about, source, folder, failure, wrong))
    yield DownloadProgress(about.download_bytes, about.download_bytes, 1)


def _is_whole(path: Path, md5: str) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, _md5).hexdigest() == md5


def _md5() -> Any:
    return hashlib.md5(usedforsecurity=False)  # what torchvision publishes; some systems forbid it for other uses


def _take(source: _Source, folder: Path, private: Path) -> list[str]:
    """Links archives that lie in `folder`, as when somebody put them there, for torchvision to find; names bad ones."""
    wrong = []
    for path, md5 in source.archives:
        if _is_whole(folder / path, md5):
            (private / path).parent.mkdir(parents=True, exist_ok=True)
            (private / path).symlink_to((folder / path).resolve())
        elif (folder / path).exists():
            wrong.append(path.name)
    return wrong


def _told(
    about: DownloadableDataset, source: _Source, folder: Path, failure: DownloadFailure, wrong: list[str]
) -> tuple[str, Path]:
    """A sentence for a DownloadError, and the place in it."""
    if failure.kind == "full":
        size = f"{about.disk_bytes / 1e6:.0f} MB"
        return (
            f"the disk is full: downloading {about.title} needs {size} in {{place}}; free some space there and start "
            "again."
        ), folder
    if failure.kind == "unwritable":
        return f"{about.title} cannot be stored in {{place}}; allow this program to write there, or move it.", folder
    files = ", ".join(f"`{path.name}`" for path, _ in source.archives)
    warning = f" (`{wrong[0]}` there is not the file that was published)" if wrong else ""
    return (
        f"{about.title} cannot be downloaded because {failure.why(source.server)}; check the network and start again, "
        f"or put {files} into {{place}} by hand{warning} and start again, or use the shapes, which need no network."
    ), folder / source.archives[0][0].parent


def load(name: str, folder: str | Path, seed: int = 0, validation: float = VALIDATION_SHARE) -> Dataset:
    """The dataset from the files in `folder`: the official test pictures, and the share `validation` (0..1) of each
    class held out of the official training pictures, which `seed` alone decides.

    Images are uint8 (N, 3, 32, 32). Fashion-MNIST's 28 × 28 grey pictures get a black border and three equal channels.
    Every file is checked against torchvision's MD5 before it is used. `ValueError` with one sentence that names the
    file where one is missing or damaged.
    """
    about, source, folder = _known(name), _source(name), Path(folder)
    if not is_available(name, folder):
        raise PathError(f"{about.title} is not in {{place}}; download it first.", folder)
    try:
        damaged = [path.name for path, md5 in source.files if not _is_whole(folder / path, md5)]
        if damaged:
            raise ValueError(
                f"`{damaged[0]}` of {about.title} is damaged: it does not have the checksum that was published; "
                "download it again."
            )
        train, test, class_names = _cifar10(folder) if name == "cifar10" else _fashion(folder, source)
    except OSError as error:
        raise PathError(
            f"{about.title} in {{place}} cannot be read ({error.strerror}); allow this program to read it.", folder
        ) from error
    train, held_out = hold_out(train, validation, [seed, 1])
    mean, std = channel_statistics(train.images)
    notes = [f"{validation:.0%} of each training class, drawn with seed {seed}, are for validation."]
    if name == "fashion-mnist":
        notes.append("The 28 × 28 grey pictures have a black border of 2 pixels and three equal channels.")
    return Dataset(about.title, class_names, mean, std, train, held_out, test, tuple(notes))


def _cifar10(folder: Path) -> tuple[Split, Split, tuple[str, ...]]:
    from torchvision.datasets import CIFAR10

    splits = []
    for train in (True, False):
        pictures = CIFAR10(str(folder), train=train)  # it compares the checksums itself before it unpickles
        images = np.ascontiguousarray(pictures.data.transpose(0, 3, 1, 2))
        splits.append(Split(images, np.array(pictures.targets, np.int64)))
    return splits[0], splits[1], tuple(pictures.classes)


def _fashion(folder: Path, source: _Source) -> tuple[Split, Split, tuple[str, ...]]:
    from torchvision.datasets import FashionMNIST

    # The files as they were published, since torchvision does not check the ones that it unpacks from them.
    arrays = {path.name.split(".")[0]: _idx((folder / path).read_bytes()) for path, _ in source.files}
    splits = []
    for part in ("train", "t10k"):
        grey = np.pad(arrays[f"{part}-images-idx3-ubyte"], ((0, 0), (2, 2), (2, 2)))
        images = np.repeat(grey[:, None], 3, axis=1)
        splits.append(Split(images, arrays[f"{part}-labels-idx1-ubyte"].astype(np.int64)))
    return splits[0], splits[1], tuple(FashionMNIST.classes)


def _idx(packed: bytes) -> np.ndarray:
    """The uint8 array in a gzipped IDX file: 0, 0, 8, the number of axes, their lengths as big-endian uint32, values.

    Format: http://yann.lecun.com/exdb/mnist/
    """
    content = gzip.decompress(packed)
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
