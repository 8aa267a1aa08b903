"""A picture, a network that has seen it, and what one session keeps of both: its pictures and its latest passes.

Nothing here needs a run of a page, so what answers the browser directly (`api/explain.py`) computes with it too.
"""

import hashlib
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Generic, TypeVar

import numpy as np

from explorer import figures
from explorer.attribution import LayerProfile, profile
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.experiments.anatomy import BlockAnatomy, anatomies, anatomy
from explorer.images import decode, to_input
from explorer.tracing import EVERYTHING, STRIP_KINDS, Trace, trace
from explorer.ui.state import AppState

Value = TypeVar("Value")

PICTURE_SIDE = 224  # pixels of a picture on the page
SESSION_BYTES = 200_000_000  # of decoded pictures; one of 50 megapixels takes 150 MB

BLOCKS_BYTES = 50_000_000  # of the insides of all blocks of one network; ResNet-110's take 17 MB

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


@lru_cache(maxsize=2000)
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
    """The pictures that one session has uploaded: they go with the session, and the oldest earlier, where all together
    have more than `SESSION_BYTES`."""

    def __init__(self) -> None:
        self._kept: dict[str, Subject] = {}
        self._last: tuple[str, str, str | None, str] | None = None  # checksum, name and label of a file, and its key
        self._lock = threading.Lock()

    def keep(self, data: bytes, name: str, mask: np.ndarray | None = None, label: str | None = None) -> str:
        """Decodes a picture and returns the `picture` of an AppState that shows it. `mask` and `label` are those of a
        picture that the app drew. The same file once more, as the page gets it after its drawing, is not decoded again.

        Raises ImageError with one sentence for a person.
        """
        file = (hashlib.sha256(data).hexdigest(), name, label)
        last = self._last
        if last and last[:3] == file and last[3] in self._kept:
            return last[3]
        picture = decode(data, name)
        content = hashlib.sha256(repr(picture.pixels.shape).encode())
        content.update(picture.pixels.data)
        digest = content.hexdigest()[:16]
        key = f"upload-{digest}"
        shown = figures.shown(picture.pixels, PICTURE_SIDE)
        quoted = f"`{picture.name}`"  # as code, else a name could be Markdown; `decode` leaves no backtick in it
        subject = Subject(picture.pixels, shown, digest, quoted, picture.notes, mask, label)
        with self._lock:
            self._kept.pop(key, None)
            self._kept[key] = subject
            self._last = (*file, key)
            for oldest in list(self._kept)[:-1]:
                if sum(each.pixels.nbytes for each in self._kept.values()) > SESSION_BYTES:
                    del self._kept[oldest]
        return key

    def get(self, picture: str) -> Subject | None:
        """The one that an AppState's `picture` names, or None where it is not here (any more)."""
        return self._kept.get(picture)


class Shelf:
    """Networks that all sessions share: where all together have more than `most` bytes, those go that nobody has asked
    for longest. Whoever looks with one keeps it for that time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[str, Checkpoint] = OrderedDict()
        self._loading: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by name: each is loaded once
        self._lock = threading.Lock()

    def get(self, name: str, load: Callable[[], Checkpoint]) -> Checkpoint:
        """The network of that name; `load` may raise what it likes."""
        with self._lock:
            loading = self._loading[name]
        with loading:
            with self._lock:
                if name in self._kept:
                    self._kept.move_to_end(name)
                    return self._kept[name]
            try:
                loaded = load()
                with self._lock:
                    self._kept[name] = loaded
                    while len(self._kept) > 1 and sum(map(_weight_bytes, self._kept.values())) > self._most:
                        self._kept.popitem(last=False)
                return loaded
            finally:
                with self._lock:
                    self._loading.pop(name, None)


def _weight_bytes(checkpoint: Checkpoint) -> int:
    values = [*checkpoint.network.parameters(), *checkpoint.network.buffers()]
    return sum(value.nbytes for value in values)


class Kept(Generic[Value]):
    """The last few of what was computed, by a key that names all it came from: `most` of them, or, where `size` says
    how much each counts, together at most so much; but never fewer than `least`."""

    def __init__(self, most: int, size: Callable[[Value], int] = lambda _: 1, least: int = 1) -> None:
        self._most, self._size, self._least = most, size, least
        self._values: OrderedDict[str, Value] = OrderedDict()

    def get(self, key: str, compute: Callable[[], Value]) -> Value:
        if key not in self._values:
            self._values[key] = compute()
        self._values.move_to_end(key)
        while len(self._values) > self._least and sum(map(self._size, self._values.values())) > self._most:
            self._values.popitem(last=False)
        return self._values[key]


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
        self._small: Kept[Trace] = Kept(6)
        self._large: Kept[Trace] = Kept(2)
        self._profiles: Kept[tuple[LayerProfile, ...]] = Kept(6)
        self._blocks: Kept[dict[str, BlockAnatomy]] = Kept(2 * blocks_bytes, _bytes, least=2)

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
