"""Measurements of all layers for the rows of the depth strip: what they need, what they cost, and who waits for them.

A measurement runs beside the pages. Sessions that want the same one wait for the same, and one that no session asks for
any more ends. Results are found again: those of public networks and data on the server's disk.
"""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from explorer import stored_results
from explorer.architectures import describe
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split, shapes
from explorer.errors import is_user_error, unexpected_message, user_message
from explorer.experiments import probing, receptive_fields, twin_distance
from explorer.experiments.probing import Layers, Probes
from explorer.experiments.receptive_fields import Fields
from explorer.experiments.twin_distance import TwinDistance
from explorer.ui.services.caches import CACHES, LruCache
from explorer.ui.services.inference import CONCURRENT_PASSES, ChosenNetwork
from explorer.ui.services.process_tuning import threads
from explorer.ui.services.training_rate import FORWARD, macs_a_second

# Measurements at once: a short one does not wait for the end of a long one. Each has the threads of one pass, so all of
# them take the cores once, beside the passes of the pages.
CONCURRENT = CONCURRENT_PASSES
PATIENCE_S = 5.0  # after which a measurement that no session asked for ends
FAILED_S = 30.0  # before a measurement that failed is tried again

Kind = Literal["probes", "fields", "twins"]
RESULTS: dict[Kind, type[Any]] = {"probes": Probes, "fields": Fields, "twins": TwinDistance}


@dataclass(frozen=True, eq=False)
class LabelledPictures:
    """Labelled pictures that fit a network. `load` takes numbers of training and test pictures, and gives so many of
    both, each class with its share; `content` identifies them. What is not `public` stays in its session."""

    title: str
    content: str
    public: bool
    load: Callable[[int, int], tuple[Split, Split]]


@dataclass(frozen=True, eq=False)
class Subject:
    """A network that is measured, by what identifies its weights: `owner` is the user's secret, "" of public networks,
    and None where its results stay in their session."""

    network: ChosenNetwork
    digest: str
    owner: str | None
    pictures: LabelledPictures | None

    @property
    def checkpoint(self) -> Checkpoint:
        return self.network.checkpoint


@dataclass(frozen=True, eq=False)
class Measurement:
    """One that may be done: its `key`, its title in a sentence, and what it costs, in multiply-accumulates."""

    kind: Kind
    key: str
    stored: bool
    title: str
    macs: float
    steps: Callable[[], Generator[tuple[float, Any], None, None]] = field(repr=False)

    def seconds(self) -> float:
        """About how long it takes, as the measurements before it did."""
        return self.unloaded_seconds() * (_SLOWNESS.find("all") or 1.0)

    def unloaded_seconds(self) -> float:
        """The same where nothing else runs."""
        return self.macs / (FORWARD * macs_a_second())


def measurement(kind: Kind, subjects: Sequence[Subject], layers: Layers, session: str) -> Measurement:
    """That of one network, of "twins" that of two. `session` is a secret of the session.

    Raises ValueError for networks that have no layer in common.
    """
    first = subjects[0]
    spec, pictures = first.checkpoint.spec, first.pictures
    content = pictures.content if pictures else f"shapes-{_drawn_for(first.checkpoint).name}"
    is_public = all(each.owner is not None for each in subjects) and (pictures is None or pictures.public)
    owners = [each.owner for each in subjects if each.owner]
    owner = (owners[0] if owners else "") if is_public else f"session {session}"
    key = stored_results.key(kind, [each.digest for each in subjects], content, owner, layers=layers)
    names = probing.strip_layers(spec, layers)
    if kind == "twins":
        shared = twin_distance.shared_layers(spec, subjects[1].checkpoint.spec, layers)
        if not shared:
            titles = " and ".join(each.network.title for each in subjects)
            raise ValueError(f"{titles} have no layer of the same name, so none can be compared.")
        other = subjects[1].checkpoint
        n = twin_distance.count(spec, other.spec)
        cost = twin_distance.macs(spec, other.spec, n)

        def steps() -> Generator[tuple[float, Any], None, None]:
            return twin_distance.twin_distance(first.checkpoint, other, _images(first, n), shared, threads())

    elif kind == "fields":
        n = receptive_fields.count(spec, names)
        cost = 2 * receptive_fields.macs(spec, names, n)  # a pass back takes twice as long

        def steps() -> Generator[tuple[float, Any], None, None]:
            return receptive_fields.fields(first.checkpoint, _images(first, n), names, threads())

    else:
        train, test = probing.counts(spec, names)
        cost = probing.macs(spec, names, train if pictures else 0, test)

        def steps() -> Generator[tuple[float, Any], None, None]:
            if pictures is None:
                return probing.probes(first.checkpoint, None, _drawn(first.checkpoint, test), names, threads())
            return probing.probes(first.checkpoint, *pictures.load(train, test), names, threads())

    title = " and ".join(each.network.title for each in subjects)
    return Measurement(kind, key, is_public, title, cost, steps)


def _drawn_for(checkpoint: Checkpoint) -> shapes.Drawn:
    """The drawn shapes for a network without pictures of its own: of the nearest size."""
    side = checkpoint.spec.input_shape[1]
    return shapes.Drawn(min(shapes.SIZES, key=lambda size: abs(size - side)))


def _drawn(checkpoint: Checkpoint, n: int) -> Split:
    return shapes.some("test", n, _drawn_for(checkpoint), threads=1)


def _images(subject: Subject, n: int) -> np.ndarray:
    if subject.pictures is None:
        return _drawn(subject.checkpoint, n).images
    return subject.pictures.load(2, n)[1].images[:n]


def _learn(measured: Measurement, took: float) -> None:
    """Other work on this machine makes measurements slower: the estimates follow."""
    slowness = took / max(0.05, measured.unloaded_seconds())
    _SLOWNESS.put("all", min(max((_SLOWNESS.find("all") or slowness) / 2 + slowness / 2, 0.3), 20.0))


_SLOWNESS: LruCache[float] = LruCache(CACHES["ui.services.layer_rows.slowness"])
_RESULTS: LruCache[Any] = LruCache(CACHES["ui.services.layer_rows.results"])


class Job:
    """A measurement that waits or runs: the share that is `done`. At its `end` there is a result, or a failure."""

    def __init__(self, measured: Measurement) -> None:
        self.measured = measured
        self.done = 0.0
        self.begun = False
        self.ended = threading.Event()
        self.asked: dict[str, float] = {}  # when each session asked last

    def is_wanted(self) -> bool:
        return any(time.monotonic() - when < PATIENCE_S for when in [*self.asked.values()])


class Jobs:
    """The measurements of all sessions."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._failures: dict[str, tuple[float, str]] = {}  # until when each counts, and its sentence
        self._pool = ThreadPoolExecutor(CONCURRENT, thread_name_prefix="layer-rows")

    def find(self, measured: Measurement) -> Any:
        """The result, of this process or from the disk; None where it was not measured yet."""
        if (found := _RESULTS.find(measured.key)) is not None:
            return found
        if not measured.stored:
            return None
        found = stored_results.unpack(RESULTS[measured.kind], stored_results.load(measured.key))
        if found is not None:
            _RESULTS.put(measured.key, found)
        return found

    def failure(self, measured: Measurement) -> str:
        """Why that measurement failed in the last half minute, in a sentence; "" where it did not."""
        with self._lock:
            until, text = self._failures.get(measured.key, (0.0, ""))
            return text if until > time.monotonic() else ""

    def ask(self, session: str, measured: Measurement) -> Job:
        """The job of that measurement, which begins once there is room. The session wants no other one any more."""
        with self._lock:
            for key, other in self._jobs.items():
                if key != measured.key:
                    other.asked.pop(session, None)
            job = self._jobs.get(measured.key)
            if job is None:
                job = self._jobs[measured.key] = Job(measured)
                job.asked[session] = time.monotonic()
                self._pool.submit(self._run, job)
            job.asked[session] = time.monotonic()
            return job

    def leave(self, session: str) -> None:
        """The session wants none any more."""
        with self._lock:
            for job in self._jobs.values():
                job.asked.pop(session, None)

    def ahead_of(self, job: Job) -> int:
        """How many measurements run while that one waits."""
        with self._lock:
            return 0 if job.begun else sum(other.begun for other in self._jobs.values())

    def _run(self, job: Job) -> None:
        try:
            if job.is_wanted():
                job.begun, started = True, time.monotonic()
                with closing(job.measured.steps()) as steps:
                    for share, result in steps:
                        job.done = share
                        if result is not None:
                            _RESULTS.put(job.measured.key, result)
                            _learn(job.measured, time.monotonic() - started)
                            if job.measured.stored:
                                stored_results.store(job.measured.key, stored_results.pack(result))
                        elif not job.is_wanted():
                            break
        except Exception as error:
            text = user_message(error) if is_user_error(error) else unexpected_message(error)
            with self._lock:
                self._failures = {key: old for key, old in self._failures.items() if old[0] > time.monotonic()}
                self._failures[job.measured.key] = (time.monotonic() + FAILED_S, text[:1].upper() + text[1:])
        finally:
            with self._lock:
                del self._jobs[job.measured.key]
            job.ended.set()


JOBS = Jobs()


def title_of_pictures(subject: Subject) -> str:
    """What a network was measured on, in words."""
    return subject.pictures.title if subject.pictures else "drawn shapes"


def kinds_of(checkpoint: Checkpoint) -> dict[str, str]:
    """The kind of each layer."""
    return {layer.name: layer.kind for layer in describe(checkpoint.spec).layers}
