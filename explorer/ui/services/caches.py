"""Every cache of the app in one table, with its limit and lifetime, and the LRU cache of ours."""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar
from weakref import WeakValueDictionary

import cachetools

from explorer import stored_results

Value = TypeVar("Value")

BLOCKS_BYTES = 50_000_000  # of the insides of all blocks of one network; ResNet-110's take 17 MB


@dataclass(frozen=True)
class Limit:
    """What one cache holds, how long, and how much: at most `entries`, or at most `bytes` in all.

    A cache without a limit holds one value, or one for each of a few fixed keys; `holds` says which. A cache with a
    limit in bytes keeps `least` entries however large they are.
    """

    holds: str
    lifetime: Literal["process", "session", "disk"]
    entries: int | None = None
    bytes: int | None = None
    least: int = 1


CACHES: Mapping[str, Limit] = {
    # Of the process: all sessions share them.
    "architectures.description.describe": Limit("descriptions of architectures", "process", entries=128),
    "architectures.changed_description.describe_changed": Limit(
        "descriptions of changed networks", "process", entries=32
    ),
    "architectures.fields._fields": Limit("fields of the parts of a spec, some words each", "process"),
    "architectures.operators.resampling": Limit("matrices that resize an axis", "process", entries=32),
    "architectures.interventions.called_layers": Limit("the shapes around layers and blocks", "process", entries=128),
    "figures.agreement._confusion_chart": Limit("confusion matrices, drawn", "process", entries=32),
    "figures.comparison._training_chart": Limit("training curves, drawn", "process", entries=32),
    "figures.network_diagram.network_drawing": Limit("drawings of architectures", "process", entries=32),
    "requirements.check_torch": Limit("that torch is new enough, one value", "process"),
    "runs.weight_snapshots.snapshot_bytes": Limit("bytes of a snapshot of the weights", "process", entries=32),
    "runs.log._read": Limit("metrics files of runs, parsed", "process", entries=32),
    "studies.folder._finished": Limit("results of finished runs of studies", "process", entries=500),
    "stored_results._versions": Limit("versions of the packages that compute, one value", "process"),
    "stored_results._shipped": Limit("where each shipped result lies, one value", "process"),
    "ui.network_registry._shipped": Limit("names of the pretrained networks, one value", "process"),
    "ui.network_registry._depth_charts": Limit("accuracies of the pretrained twins, one value", "process"),
    "ui.network_registry._networks": Limit(  # a VGG-19 has 575 MB
        "networks with their weights", "process", bytes=10**9
    ),
    "ui.network_registry._header": Limit("headers of checkpoints", "process", entries=256),
    "ui.services.input_images.sample_pixels": Limit(
        "drawn shapes with their masks, up to 16 kB each", "process", entries=2000
    ),
    "ui.services.input_images.split_pixels": Limit(
        "drawn test images with their masks, up to 16 kB each", "process", entries=2000
    ),
    "ui.services.layer_rows.results": Limit(
        "what was measured along the depth, some kilobytes each", "process", entries=256
    ),
    "ui.services.layer_rows.slowness": Limit("how much slower measurements are, one value", "process", entries=1),
    "ui.services.training_rate.measured": Limit("how fast this process trains, one value", "process", entries=1),
    "images.boxed._heif": Limit("pillow-heif, imported and set up", "process"),
    "images.dicom._pydicom": Limit("pydicom, imported and silenced", "process"),
    "images.photos.decoded": Limit("the photos of the gallery, up to 1 MB each", "process"),
    "ui.services.sample_sheets.scene": Limit("scenes of the gallery as PNG", "process", entries=200),
    "ui.charts._bar": Limit("colour bars as PNG, one for each palette", "process"),
    "ui.forecasts.form_of": Limit("forms of the proposed trainings", "process", entries=16),
    "ui.build.shape_classes._picture": Limit("shapes as PNG, one for each class", "process"),
    "ui.build.ending._recorded": Limit("findings of the recorded trainings", "process", entries=4),
    "ui.build.replay.parts": Limit("charts of recorded trainings, for each theme", "process", entries=4),
    "ui.dataset_access._drawn": Limit("test splits of the shapes", "process", entries=4),
    "ui.dataset_access._samples": Limit("labelled pictures for probes", "process", bytes=100_000_000, least=0),
    "ui.dataset_access._class_parts": Limit("statistics of each class of the shapes, for each size", "process"),
    "ui.dataset_access._summary": Limit("summaries of datasets", "process", entries=8),
    "ui.explore.methods._pass_seconds": Limit("seconds that a pass of a network takes", "process", entries=64),
    "ui.measured_images._test_split": Limit("test splits", "process", entries=2),
    "ui.network_registry._digest": Limit("digests of networks", "process", entries=256),
    "ui.compare.report._empty": Limit("networks without weights", "process", entries=64),
    "ui.gradients.flow_measurements._batch": Limit("batches to measure gradients on", "process", entries=6),
    "ui.gradients.flow_measurements._described": Limit("what a pass of an architecture costs", "process", entries=500),
    # On the server's disk: they outlast the process.
    "stored_results.store": Limit(
        "results of measurements on public networks and data, or for their owner alone",
        "disk",
        bytes=stored_results.MOST_BYTES,
    ),
    "ui.server._log_once": Limit("refusals that are in the log already", "process", entries=64),
    # Of a session: they go with it.
    "ui.services.input_images.UploadStore": Limit(  # one of 50 megapixels takes 150 MB
        "uploaded images, decoded", "session", bytes=200_000_000
    ),
    "ui.session.inference_cache": Limit("the caches of `InferenceCache`, one value", "session"),
    "ui.services.inference.InferenceCache.small": Limit("passes of up to 64 pixels a side", "session", entries=6),
    "ui.services.inference.InferenceCache.large": Limit(
        "passes of more pixels, hundreds of megabytes each", "session", entries=2
    ),
    "ui.services.inference.InferenceCache.untouched": Limit(  # of the two networks on the screen
        "passes beside which changed ones are shown", "session", entries=2
    ),
    "ui.services.inference.InferenceCache.clean": Limit(  # of the two networks on the screen
        "passes beside which those of attacked images are shown", "session", entries=2
    ),
    "ui.services.inference.InferenceCache.attacked": Limit(  # one of 224 pixels a side has 2.4 MB
        "attacked images", "session", entries=8
    ),
    "ui.services.inference.InferenceCache.profiles": Limit("maps of every layer of a pass", "session", entries=6),
    "ui.services.inference.InferenceCache.blocks": Limit(  # of the two networks on the screen
        "the insides of the blocks of a network", "session", bytes=2 * BLOCKS_BYTES, least=2
    ),
    "ui.services.inference.InferenceCache.inputs": Limit(  # of the two networks on the screen
        "inputs of the layers whose arithmetic is shown", "session", entries=4
    ),
    "ui.session.explore_session": Limit("the cache of messages, one value", "session"),
    "ui.api.explore_session.ExploreSession": Limit("messages for the browser", "session", entries=3),
    "ui.explore.residual_blocks._balances": Limit(
        "branch and shortcut of each block of a network", "session", entries=8
    ),
    "ui.explore.channels._pictures": Limit("test images to rank for a channel, up to 30 MB", "session", entries=2),
    "ui.compare.comparison._run_pass": Limit("maps of a network for an image", "session", entries=12),
    "ui.compare.ensemble_map._part": Limit("parts of members in the CAM of an ensemble", "session", entries=24),
    "ui.compare.measurements.store": Limit(  # the Grams of 84 layers and 500 pictures take 84 MB
        "what was measured on many images; the last four are on the screen", "session", bytes=256_000_000, least=4
    ),
    "ui.session.SessionData.flows": Limit(  # the whole grid with all seeds has 1,800
        "gradients along the depth, a few kilobytes each", "session", entries=4000
    ),
    "ui.session.SessionData.geometry": Limit(  # one network and seed each, a kilobyte
        "what gradients of neighbouring pictures, blocks and paths came to", "session", entries=1000
    ),
    "ui.session.SessionData.results": Limit("what a click on a measuring button found", "session", entries=12),
    "ui.user_models._touch": Limit("names of shared networks that were opened", "session", entries=100),
    "ui.user_models._connected": Limit("whether the session is connected, one value", "session"),
}
"""By the place that uses it: the function, the class or the method in `explorer/`."""


class LruCache(Generic[Value]):
    """The values that were used last, by a key that names all that they depend on. Threads may share it."""

    def __init__(self, limit: Limit, size: Callable[[Value], int] | None = None) -> None:
        """`size` gives the bytes of a value, where the limit is in bytes."""
        most = limit.entries if size is None else limit.bytes
        if most is None:
            raise ValueError(f"the cache of {limit.holds} has no such limit: give `size` for one in bytes alone.")
        self._most, self._least = most, limit.least
        # Without a maximum: cachetools refuses a value that is larger than it, and here `least` values stay.
        self._values: cachetools.LRUCache[str, Value] = cachetools.LRUCache(math.inf, size)
        self._lock = threading.Lock()
        self._loading: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()

    def get(self, key: str, compute: Callable[[], Value]) -> Value:
        """The value of that key. Several threads that ask at once compute it once; an error of `compute` is raised."""
        if (found := self.find(key)) is not None:
            return found
        with self._lock:
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:
            if (found := self.find(key)) is None:
                found = compute()
                self.put(key, found)
            return found

    def find(self, key: str) -> Value | None:
        """The value of that key, or None."""
        with self._lock:
            return self._values.get(key)

    def put(self, key: str, value: Value) -> None:
        """Keeps the value as the newest one and drops the ones that were not used for longest."""
        with self._lock:
            self._values.pop(key, None)
            self._values[key] = value
            while len(self._values) > self._least and self._values.currsize > self._most:
                self._values.popitem()

    def remove(self, key: str) -> None:
        with self._lock:
            self._values.pop(key, None)

    def snapshot(self) -> dict[str, Value]:
        """All of them by their keys, the one that was kept first in front."""
        with self._lock:  # with the plain look-up: a list of all is no use of each
            return {key: cachetools.Cache.__getitem__(self._values, key) for key in self._values}

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return key in self._values

    def __len__(self) -> int:
        with self._lock:
            return len(self._values)
