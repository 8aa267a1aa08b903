"""Photos that every machine has: scenes that this program has rendered, and a portrait that matplotlib brings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path

from explorer.images.decoding import DecodedImage, decode

RENDERED = "Rendered scene, made by this program."
_SCENES = Path(__file__).parent / "scenes"  # `make scenes` writes them
_PORTRAIT = "matplotlib/mpl-data/sample_data/grace_hopper.jpg"


@dataclass(frozen=True)
class Photo:
    """`title` is the subject, `source` a sentence, and `label` the class of CIFAR-10, where there is one."""

    title: str
    source: str
    label: str | None
    file: Path

    @property
    def is_here(self) -> bool:
        return self.file.is_file()


def _portrait() -> Path:
    """Where matplotlib has it, which Captum needs."""
    try:
        return Path(str(metadata.distribution("matplotlib").locate_file(_PORTRAIT)))
    except metadata.PackageNotFoundError:
        return Path(_PORTRAIT)


PHOTOS: Mapping[str, Photo] = {
    f"scene-{label}": Photo(title, RENDERED, label, _SCENES / f"{label}.jpg")
    for label, title in {
        "ship": "Ship at sea",
        "airplane": "Airplane over clouds",
        "automobile": "Automobile",
        "truck": "Truck on a road",
        "bird": "Bird on a branch",
    }.items()
} | {
    "photo-hopper": Photo(
        "Portrait of Grace Hopper",
        "Photograph: US Navy, public domain, commons.wikimedia.org/wiki/File:Grace_Hopper.jpg, as it comes with "
        "matplotlib.",
        None,
        _portrait(),
    )
}
"""By their names in a link, which stay."""


@cache
def decoded(name: str) -> DecodedImage:
    """The picture of that name, with its source among the notes. Raises KeyError, and OSError where it is not here."""
    photo = PHOTOS[name]
    found = decode(photo.file.read_bytes(), name)
    return replace(found, notes=(photo.source, *found.notes))
