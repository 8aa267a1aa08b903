"""`InputImage`: an image that networks get, and what one session keeps of those: its uploads."""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

import numpy as np

from explorer import figures
from explorer.datasets import shapes
from explorer.datasets.shapes import Drawn
from explorer.experiments.attacks import Attack
from explorer.images import PHOTOS, REST, DecodedImage, Dials, Frame, Paper, Rendering, decode
from explorer.images.photos import decoded as decoded_photo
from explorer.ui.services.caches import CACHES, Limit, LruCache
from explorer.ui.services.explore_state import AppState

IMAGE_SIDE_PX = 224  # on the page


@dataclass(frozen=True, eq=False)
class AttackedInput:
    """What an attack made of an image, at the input of a network.

    `clean` is the image before it. It was made `against` the network of that place in the view, called `title`, which
    predicts the class `label` for the clean image and shall answer `target`, or any other class where that is None.
    `shares` are float64 (C, height, width), 0..1, before and after the attack.
    """

    clean: "InputImage"
    attack: Attack
    against: int
    title: str
    class_names: tuple[str, ...]
    label: int
    target: int | None
    shares: tuple[np.ndarray, np.ndarray]

    @property
    def words(self) -> str:
        """`FGSM within 4/255 against plain-20, for the answer star`."""
        aimed = "" if self.target is None else f", for the answer {self.class_names[self.target]}"
        return f"{self.attack.words()} against {self.title}{aimed}"


@dataclass(frozen=True, eq=False)
class InputImage:
    """Pixels uint8 (H, W, 3), `shown` the same at a size for the screen.

    Where the app drew the image, `mask` is bool (H, W), and `sample` or `test` that of its AppState. `label` is the
    class name, where it is known. Each of `notes` is a sentence. Networks get the part in the `frame`, and without one
    each the part that it gets by itself; `pixels`, `shown` and `mask` are always the whole picture. `decoded` is there
    where a network may need another rendering of it than `pixels`, which lie on `paper`. `dials` change what a network
    sees of it. `attacked` is what an attack made of the result, which networks with an input of that shape get. Where
    it was not possible, `attack_refusal` says in a sentence why. `digest` names all of these.
    """

    pixels: np.ndarray
    shown: np.ndarray
    digest: str
    title: str
    notes: tuple[str, ...] = ()
    mask: np.ndarray | None = None
    label: str | None = None
    sample: tuple[int, int] | None = None
    test: tuple[Drawn, int] | None = None
    frame: Frame | None = None
    decoded: DecodedImage | None = None
    paper: Paper | None = None
    dials: Dials = REST
    attacked: AttackedInput | None = None
    attack_refusal: str = ""

    def of_view(self, state: AppState) -> Self:
        """The image with the `paper`, `frame` and `dials` of that view."""
        return self.on(state.paper).framed(state.frame).changed(state.dials)

    def on(self, paper: Paper | None) -> Self:
        """The same with the `paper` of an AppState, where the picture has transparent parts."""
        if paper is None or self.decoded is None or not self.decoded.transparent:
            return self
        found = self.decoded.rendered(Rendering(paper))
        shown = figures.fit_to_screen(found.pixels, IMAGE_SIDE_PX)
        digest = f"{self.digest}-{paper}"
        return replace(self, pixels=found.pixels, shown=shown, notes=found.notes, paper=paper, digest=digest)

    def framed(self, text: str | None) -> Self:
        """The same with the `frame` of an AppState."""
        if text is None:
            return self
        frame = Frame.parse(text)
        note = f"The networks do not see what lies outside {frame}."
        return replace(self, frame=frame, digest=f"{self.digest}-{text}", notes=(*self.notes, note))

    def changed(self, text: str) -> Self:
        """The same with the `dials` of an AppState."""
        dials = Dials.from_text(text)
        if dials == REST:
            return self
        return replace(self, digest=f"{self.digest}/{text}", dials=dials)

    @property
    def dimmed(self) -> np.ndarray:
        """`shown`, dark outside of the frame."""
        if self.frame is None:
            return self.shown
        left, top, side = self.frame.box(self.shown.shape)
        inside = slice(top, top + side), slice(left, left + side)
        pixels = self.shown // 3
        pixels[inside] = self.shown[inside]
        return pixels

    @property
    def plain_title(self) -> str:
        """The title without the backticks around the name of a file."""
        return self.title.strip("`")

    @property
    def caption(self) -> str:
        """The title with what the dials and the attack change."""
        return f"{self.plain_title} ({self.changes})" if self.changes else self.plain_title

    @property
    def changes(self) -> str:
        """What the dials and the attack change, "" for nothing."""
        return ", ".join(filter(None, (self.dials.in_words(), self.attacked.words if self.attacked else "")))


@lru_cache(CACHES["ui.services.input_images.sample_pixels"].entries)
def sample_pixels(label: int, number: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and mask of a drawn shape, read-only."""
    pixels, mask = shapes.sample(label, number, size)
    pixels.flags.writeable = mask.flags.writeable = False
    return pixels, mask


@lru_cache(CACHES["ui.services.input_images.split_pixels"].entries)
def split_pixels(drawn: Drawn, number: int) -> tuple[np.ndarray, np.ndarray, int]:
    """Pixels and mask of a drawn test picture, read-only, and its label."""
    pixels, mask, label = shapes.test_picture(number, drawn)
    pixels.flags.writeable = mask.flags.writeable = False
    return pixels, mask, label


def own_image(state: AppState) -> InputImage | None:
    """The picture of the view where the app draws or brings it, None for an upload."""
    if state.sample:
        return sample_image(*state.sample)
    if state.picture in PHOTOS:
        return photo_image(state.picture)
    return split_image(*state.test) if state.test else None


def find_image(state: AppState, uploads: "UploadStore") -> InputImage | None:
    """The picture of the view as its frame and dials have it, None for one that is not among these uploads."""
    found = own_image(state) or uploads.get(state.picture)
    return found and found.of_view(state)


def split_image(drawn: Drawn, number: int) -> InputImage:
    """The picture of that number of the test split of drawn data."""
    pixels, mask, label = split_pixels(drawn, number)
    name = drawn.classes[label]
    shown = figures.fit_to_screen(pixels, IMAGE_SIDE_PX)
    digest, title = f"test-{drawn.key}-{number}", f"test image {number}: {name}"
    return InputImage(pixels, shown, digest, title, (), mask, name, test=(drawn, number))


def sample_image(label: int, number: int) -> InputImage:
    label = label % len(shapes.CLASS_NAMES)
    pixels, mask = sample_pixels(label, number)
    name = shapes.CLASS_NAMES[label]
    shown = figures.fit_to_screen(pixels, IMAGE_SIDE_PX)
    title = f"drawn {name}, number {number}"
    return InputImage(pixels, shown, f"sample-{label}-{number}", title, (), mask, name, (label, number))


def photo_image(name: str) -> InputImage:
    found, about = decoded_photo(name), PHOTOS[name]
    shown = figures.fit_to_screen(found.pixels, IMAGE_SIDE_PX)
    return InputImage(found.pixels, shown, name, about.title, found.notes, None, about.label)


class UploadStore:
    """The images that one session has uploaded, decoded."""

    def __init__(self, limit: Limit = CACHES["ui.services.input_images.UploadStore"]) -> None:
        # With values to render anew a picture takes about three times the memory.
        self._images: LruCache[InputImage] = LruCache(
            limit, lambda image: image.pixels.nbytes * (3 if image.decoded else 1) + image.shown.nbytes
        )
        self._last: tuple[str, str, str | None, str] | None = None  # checksum, name and label of a file, and its key

    def add(self, data: bytes, name: str, mask: np.ndarray | None = None, label: str | None = None) -> str:
        """Decodes an image file and returns the `picture` of an AppState that shows it. `mask` and `label` belong to an
        image that the app drew. The last file is not decoded twice: the page uploads it after the viewer did.

        Raises ImageError with one sentence for the user.
        """
        file = (hashlib.sha256(data).hexdigest(), name, label)
        last = self._last
        if last and last[:3] == file and self._images.find(last[3]):
            return last[3]
        decoded = decode(data, name)
        content = hashlib.sha256(repr(decoded.pixels.shape).encode())
        content.update(decoded.pixels.data)
        digest = content.hexdigest()[:16]
        key = f"upload-{digest}"
        shown = figures.fit_to_screen(decoded.pixels, IMAGE_SIDE_PX)
        quoted = f"`{decoded.name}`"  # as code, else a name could be Markdown; `decode` leaves no backtick in it
        again = decoded if decoded.again else None
        image = InputImage(decoded.pixels, shown, digest, quoted, decoded.notes, mask, label, decoded=again)
        self._images.put(key, image)
        self._last = (*file, key)
        return key

    def keep(self, picture: str, image: InputImage) -> None:
        """Keeps an image that was no file under the `picture` of an AppState."""
        self._images.put(picture, image)

    def images(self) -> list[InputImage]:
        """All of them, the oldest first."""
        return list(self._images.snapshot().values())

    def get(self, picture: str) -> InputImage | None:
        """The image that an AppState's `picture` names, or None where the store does not hold it."""
        return self._images.find(picture)
