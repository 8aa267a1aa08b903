"""A picture, a network that has seen it, and what one session keeps of both: its pictures and its latest passes.

Nothing here needs a run of a page, so what answers the browser directly (`api/explain.py`) computes with it too.
"""

import hashlib
import threading
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from explorer import figures
from explorer.attribution import LayerProfile, profile
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.experiments.anatomy import BlockAnatomy, anatomies, anatomy
from explorer.images import decode, to_input
from explorer.tracing import EVERYTHING, STRIP_KINDS, Trace, trace
from explorer.ui.services.caches import BLOCKS_BYTES, CACHES, Limit, LruCache
from explorer.ui.state import AppState

PICTURE_SIDE = 224  # pixels of a picture on the page

# Two passes at a time share the cores; more would only wait for each other with their arrays in memory.
PASSES_AT_ONCE = 2
PASSES = threading.BoundedSemaphore(PASSES_AT_ONCE)


@dataclass(frozen=True, eq=False)
class Subject:
    """The picture that is looked at: pixels uint8 (H, W, 3), and `shown`, the same at a size for the screen; its
    digest, what to call it, and what is known of it.

    `mask` is bool (H, W) and `label` a class name where the app drew the picture itself, else None. `sample` is the
    label and the number of a drawn shape, which can be drawn at other sizes too. `notes` hold one sentence each.
    """

    pixels: np.ndarray
    shown: np.ndarray
    digest: str
    title: str
    notes: tuple[str, ...] = ()
    mask: np.ndarray | None = None
    label: str | None = None
    sample: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class ChosenNetwork:
    """A network of the page, with its colour there; `dashed` and `called` as in `Looked`."""

    name: str
    checkpoint: Checkpoint
    colour: str
    dashed: bool
    called: str = ""

    @property
    def title(self) -> str:
        return self.called or self.checkpoint.spec.name


@dataclass(frozen=True, eq=False)
class Looked:
    """One network after it has seen the picture; `dashed` tells it from another of the same family and colour.

    `called` is its title where another one beside it has the same name; a person may have chosen it.
    """

    name: str
    checkpoint: Checkpoint
    trace: Trace
    profiles: tuple[LayerProfile, ...]
    colour: str
    dashed: bool
    called: str = ""

    @property
    def title(self) -> str:
        return self.called or self.checkpoint.spec.name

    @property
    def target(self) -> str:
        return self.checkpoint.class_names[self.trace.target]


@lru_cache(CACHES["ui.passes.drawn"].entries)
def drawn(label: int, number: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and mask of that shape, read-only."""
    pixels, mask = shapes.sample(label, number, size)
    pixels.flags.writeable = mask.flags.writeable = False
    return pixels, mask


def sample_subject(label: int, number: int) -> Subject:
    """A drawn shape, with its mask."""
    label = label % len(shapes.CLASS_NAMES)
    pixels, mask = drawn(label, number)
    name = shapes.CLASS_NAMES[label]
    shown = figures.shown(pixels, PICTURE_SIDE)
    title = f"drawn {name}, number {number}"
    return Subject(pixels, shown, f"sample-{label}-{number}", title, (), mask, name, (label, number))


class Pictures:
    """The pictures that one session has uploaded: they go with the session, those that were not used for longest
    earlier, where all together pass the limit."""

    def __init__(self, limit: Limit = CACHES["ui.passes.Pictures"]) -> None:
        self._kept: LruCache[Subject] = LruCache(limit, lambda subject: subject.pixels.nbytes)
        self._last: tuple[str, str, str | None, str] | None = None  # checksum, name and label of a file, and its key

    def keep(self, data: bytes, name: str, mask: np.ndarray | None = None, label: str | None = None) -> str:
        """Decodes a picture and returns the `picture` of an AppState that shows it. `mask` and `label` are those of a
        picture that the app drew. The same file once more, as the page gets it after its drawing, is not decoded again.

        Raises ImageError with one sentence for a person.
        """
        file = (hashlib.sha256(data).hexdigest(), name, label)
        last = self._last
        if last and last[:3] == file and self._kept.find(last[3]):
            return last[3]
        picture = decode(data, name)
        content = hashlib.sha256(repr(picture.pixels.shape).encode())
        content.update(picture.pixels.data)
        digest = content.hexdigest()[:16]
        key = f"upload-{digest}"
        shown = figures.shown(picture.pixels, PICTURE_SIDE)
        quoted = f"`{picture.name}`"  # as code, else a name could be Markdown; `decode` leaves no backtick in it
        subject = Subject(picture.pixels, shown, digest, quoted, picture.notes, mask, label)
        self._kept.keep(key, subject)
        self._last = (*file, key)
        return key

    def get(self, picture: str) -> Subject | None:
        """The one that an AppState's `picture` names, or None where it is not here (any more)."""
        return self._kept.find(picture)


class Passes:
    """What one session has had computed lately: it holds what came of uploaded pictures, so it goes with the session.

    A pass at 224 pixels with every operation holds hundreds of megabytes, so of those with more than `large` pixels a
    side only the two on the screen are kept. The blocks of a network are opened all at once, so that another layer
    computes nothing; where that would take more than `blocks_bytes`, as of a ResNet-50 at 224 pixels, each when it is
    looked at. Twice that is kept, for the two networks on the screen. `lock` is held while something is computed, else
    two threads of one session would compute the same.
    """

    def __init__(self, large: int = 64, blocks_bytes: int = BLOCKS_BYTES) -> None:
        self._from, self._blocks_bytes = large, blocks_bytes
        self.lock = threading.RLock()
        self._small: LruCache[Trace] = LruCache(CACHES["ui.passes.Passes.small"])
        self._large: LruCache[Trace] = LruCache(CACHES["ui.passes.Passes.large"])
        self._profiles: LruCache[tuple[LayerProfile, ...]] = LruCache(CACHES["ui.passes.Passes.profiles"])
        both = replace(CACHES["ui.passes.Passes.blocks"], bytes=2 * blocks_bytes)
        self._blocks: LruCache[dict[str, BlockAnatomy]] = LruCache(both, _bytes)

    def look(
        self,
        name: str,
        loaded: Checkpoint,
        state: AppState,
        subject: Subject,
        colour: str,
        dashed: bool,
        called: str = "",
    ) -> Looked:
        """The network of that name after it has seen the picture, explaining the class of the view if it knows it."""
        known = state.target is not None and state.target < len(loaded.class_names)
        target = state.target if known else None
        key = f"{name}/{subject.digest}/{target}/{state.layers}"
        traces = self._large if max(loaded.spec.input_shape) > self._from else self._small
        with self.lock:
            seen = traces.get(key, lambda: seen_by(loaded, subject, target, state.layers == "all"))
            profiles = self._profiles.get(key, lambda: profile(seen))
        return Looked(name, loaded, seen, profiles, colour, dashed, called)

    def look_with(self, network: ChosenNetwork, state: AppState, subject: Subject) -> Looked:
        """That network after it has seen the picture."""
        return self.look(
            network.name, network.checkpoint, state, subject, network.colour, network.dashed, network.called
        )

    def block(self, looked: Looked, subject: Subject, name: str) -> BlockAnatomy:
        """The inside of that block while the network looks at the picture. Raises ValueError as `anatomy` does."""
        network, image, target = looked.checkpoint.network, looked.trace.image, looked.trace.target
        every = _blocks_bytes(looked) <= self._blocks_bytes
        key = f"{looked.name}/{subject.digest}/{target}"

        def opened() -> dict[str, BlockAnatomy]:
            with PASSES:
                found = anatomies(network, image, target) if every else (anatomy(network, image, name, target),)
            return {inside.name: inside for inside in found}

        with self.lock:
            return self._blocks.get(key if every else f"{key}/{name}", opened)[name]


def _bytes(blocks: dict[str, BlockAnatomy]) -> int:
    return sum(inside.nbytes for inside in blocks.values())


def _blocks_bytes(looked: Looked) -> int:
    """What the insides of all blocks would take, before they are computed: of each, four arrays are as large as what
    goes in, which the block before has put out, and four as what comes out."""
    sizes = [layer.activation.nbytes for layer in looked.trace.layers if layer.kind == "block"]
    return 4 * sum(before + size for before, size in zip([*sizes[:1], *sizes], sizes, strict=False))


def at_its_size(loaded: Checkpoint, subject: Subject) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and mask of the picture for that network: where it has learned from drawn shapes, a shape is drawn at
    their size, with the noise that it knows. Any other picture is given as it is."""
    known = shapes.named(loaded.data)
    if subject.sample is None or known is None:
        return subject.pixels, subject.mask
    return drawn(*subject.sample, known.size)


def seen_by(loaded: Checkpoint, subject: Subject, target: int | None, everything: bool = False) -> Trace:
    """The network's pass over the picture, explaining the class `target`, None for what it predicts: with the layers of
    the strip, or with every operation."""
    size = loaded.spec.input_shape[1:]
    pixels, _ = at_its_size(loaded, subject)
    image = to_input(pixels, size, loaded.mean, loaded.std, loaded.resize_shorter_to)
    with PASSES:
        return trace(loaded.network, image, target, EVERYTHING if everything else STRIP_KINDS)
