"""Photos that every machine has: scenes that this program has rendered, and a portrait that matplotlib brings."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path

from explorer.images.decoding import DecodedImage, decode

RENDERED = "Rendered scene, made by this program."
_SCENES = Path(__file__).parent / "scenes"  # `make scenes` writes them
_NAVY = "Photograph: US Navy, public domain, commons.wikimedia.org/wiki/File:Grace_Hopper.jpg; from matplotlib."
_PORTRAIT = "matplotlib/mpl-data/sample_data/grace_hopper.jpg"


@dataclass(frozen=True)
class Photo:
    """`title` is the subject, `source` a sentence, and `label` the class of CIFAR-10, where there is one."""

    title: str
    source: str
    label: str | None
    file: Path


def _portrait() -> Path | None:
    """Where matplotlib has it, which Captum needs; None where it is not."""
    try:
        file = Path(str(metadata.distribution("matplotlib").locate_file(_PORTRAIT)))
    except metadata.PackageNotFoundError:
        return None
    return file if file.is_file() else None


def _photos() -> Mapping[str, Photo]:
    titles = {
        "ship": "Ship at sea",
        "airplane": "Airplane over clouds",
        "automobile": "Automobile",
        "truck": "Truck on a road",
        "bird": "Bird on a branch",
    }
    found = {
        f"scene-{label}": Photo(title, RENDERED, label, _SCENES / f"{label}.jpg") for label, title in titles.items()
    }
    if portrait := _portrait():
        found["photo-hopper"] = Photo("Portrait of Grace Hopper", _NAVY, None, portrait)
    return found


PHOTOS = _photos()
"""By their names in a link, which stay."""


@cache
def decoded(name: str) -> DecodedImage:
    """The picture of that name, with its source among the notes. Raises KeyError."""
    photo = PHOTOS[name]
    found = decode(photo.file.read_bytes(), name)
    return replace(found, notes=(photo.source, *found.notes))
