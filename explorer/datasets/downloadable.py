"""CIFAR-10 and Fashion-MNIST: downloaded on request, checked at every load."""

import gzip
import os
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from explorer import downloads
from explorer.datasets import Dataset, Split, channel_statistics, hold_out
from explorer.downloads import DownloadProgress, DownloadRequest, PublishedFile
from explorer.errors import PathError

VALIDATION_SHARE = 0.1

_CIFAR = "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz"
_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"


@dataclass(frozen=True, kw_only=True)
class DownloadableDataset(DownloadRequest):
    """A dataset that can be downloaded; `about` is one sentence."""

    class_names: tuple[str, ...]
    about: str
    folder_variable: str = "EXPLORER_DATA"
    alternative: str = "use the shapes, which need no network"


DOWNLOADABLE = {
    "cifar10": DownloadableDataset(
        title="CIFAR-10",
        class_names=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
        about="60,000 colour photographs of 32 × 32 pixels in 10 classes, from airplane to truck.",
        archive=PublishedFile(_CIFAR, Path("cifar-10-python.tar.gz"), "md5", "c58f30108f718f92721af3b95e74349a"),
        files=tuple(
            PublishedFile(_CIFAR, Path("cifar-10-batches-py", name), "md5", digest)
            for name, digest in (
                ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
                ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
                ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
                ("data_batch_4", "634d18415352ddfa80567beed471001a"),
                ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
                ("test_batch", "40351d587109b95175f43aff81a1287e"),
                ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888"),
            )
        ),
        download_bytes=170_498_071,
        disk_bytes=360_000_000,
    ),
    "fashion-mnist": DownloadableDataset(
        title="Fashion-MNIST",
        class_names=tuple("T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot".split(",")),
        about="70,000 grey images of 28 × 28 pixels of clothes, shoes and bags in 10 classes.",
        files=tuple(
            PublishedFile(f"{_FASHION}/{name}", Path("FashionMNIST", "raw", name), "md5", digest)
            for name, digest in (
                ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
                ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
                ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
                ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
            )
        ),
        download_bytes=30_878_645,
        disk_bytes=90_000_000,
    ),
}
"""The datasets that `download` and `load` know, by name. Addresses and checksums are torchvision's."""


def _known(name: str) -> DownloadableDataset:
    if name not in DOWNLOADABLE:
        raise ValueError(f"`name` must be one of {', '.join(DOWNLOADABLE)}, received {name!r}.")
    return DOWNLOADABLE[name]


def is_available(name: str, folder: str | Path) -> bool:
    """Whether all files that `load` needs are in `folder`. It does not read them: only `load` finds damage."""
    return all(os.path.isfile(Path(folder, file.path)) for file in _known(name).files)


def download(name: str, folder: str | Path) -> Generator[DownloadProgress, None, None]:
    """Downloads a dataset into `folder`, as `downloads.download` does. Raises DownloadError as there."""
    return downloads.download(_known(name), Path(folder))


def load(name: str, folder: str | Path, seed: int = 0, validation: float = VALIDATION_SHARE) -> Dataset:
    """The dataset from the files in `folder`: the official test pictures, and the share `validation` (0..1) of each
    class held out of the official training pictures, which `seed` alone decides.

    Images are uint8 (N, 3, 32, 32). Fashion-MNIST's 28 × 28 grey pictures get a black border and three equal channels.
    Every file is checked against torchvision's MD5 before it is used. `ValueError` with one sentence that names the
    file where one is missing or damaged.
    """
    about, folder = _known(name), Path(folder)
    if not is_available(name, folder):
        raise PathError(f"{about.title} is not in {{path}}; download it first.", folder)
    try:
        damaged = [file.path.name for file in about.files if not file.is_intact(folder)]
        if damaged:
            raise ValueError(
                f"`{damaged[0]}` of {about.title} is damaged: it does not have the checksum that was published; "
                "download it again."
            )
        train, test, class_names = _cifar10(folder) if name == "cifar10" else _fashion(folder, about)
    except OSError as error:
        raise PathError(
            f"{about.title} in {{path}} cannot be read ({error.strerror}); allow this program to read it.", folder
        ) from error
    train, held_out = hold_out(train, validation, [seed, 1])
    mean, std = channel_statistics(train.images)
    notes = [f"{validation:.0%} of each training class, drawn with seed {seed}, are for validation."]
    if name == "fashion-mnist":
        notes.append("The 28 × 28 grey images have a black border of 2 pixels and three equal channels.")
    return Dataset(about.title, class_names, mean, std, train, held_out, test, tuple(notes))


def _cifar10(folder: Path) -> tuple[Split, Split, tuple[str, ...]]:
    from torchvision.datasets import CIFAR10

    splits = []
    for train in (True, False):
        pictures = CIFAR10(str(folder), train=train)  # it compares the checksums itself before it unpickles
        images = np.ascontiguousarray(pictures.data.transpose(0, 3, 1, 2))
        splits.append(Split(images, np.array(pictures.targets, np.int64)))
    return splits[0], splits[1], tuple(pictures.classes)


def _fashion(folder: Path, about: DownloadableDataset) -> tuple[Split, Split, tuple[str, ...]]:
    # The files as they were published, since torchvision does not check the ones that it unpacks from them.
    arrays = {file.path.name.split(".")[0]: _idx((folder / file.path).read_bytes()) for file in about.files}
    splits = []
    for part in ("train", "t10k"):
        grey = np.pad(arrays[f"{part}-images-idx3-ubyte"], ((0, 0), (2, 2), (2, 2)))
        images = np.repeat(grey[:, None], 3, axis=1)
        splits.append(Split(images, arrays[f"{part}-labels-idx1-ubyte"].astype(np.int64)))
    return splits[0], splits[1], about.class_names


def _idx(packed: bytes) -> np.ndarray:
    """The uint8 array in a gzipped IDX file: 0, 0, 8, the number of axes, their lengths as big-endian uint32, values.

    Format: http://yann.lecun.com/exdb/mnist/
    """
    content = gzip.decompress(packed)
    axes = content[3]
    shape = np.frombuffer(content, ">u4", axes, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(shape)
