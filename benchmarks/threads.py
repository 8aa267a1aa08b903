"""Several threads explaining on one shared network, each map compared with the one made alone."""

import threading
import time
from dataclasses import dataclass

import numpy as np

from explorer.architectures import Network
from explorer.attribution import grad_cam
from explorer.tracing import trace

PICTURES = 6


@dataclass(frozen=True)
class ThreadResult:
    """`worst` is the largest difference of a map to the serial one, as a share of that map's maximum."""

    traces: int
    worst: float
    errors: list[str]


def explain_in_threads(network: Network, seconds: float, threads: int = 4) -> ThreadResult:
    """Grad-CAM of every strip layer, of other pictures and targets in each thread, for `seconds` and twice at least."""
    random = np.random.default_rng(0)
    images = random.standard_normal((PICTURES, *network.spec.input_shape)).astype(np.float32)
    alone = [_maps(network, image, index) for index, image in enumerate(images)]
    counts, worst, errors = [0] * threads, [0.0] * threads, []
    end = time.monotonic() + seconds

    def work(thread: int) -> None:
        try:
            while time.monotonic() < end or counts[thread] < 2:
                index = (counts[thread] + thread) % PICTURES
                for name, cam in _maps(network, images[index], index).items():
                    expected = alone[index][name]
                    difference = float(np.abs(cam - expected).max() / max(float(expected.max()), 1e-30))
                    worst[thread] = max(worst[thread], difference)
                counts[thread] += 1
        except Exception as error:
            errors.append(repr(error))

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return ThreadResult(sum(counts), max(worst), errors)


def _maps(network: Network, image: np.ndarray, index: int) -> dict[str, np.ndarray]:
    recorded = trace(network, image, index % network.spec.classes)
    return {layer.name: grad_cam(layer) for layer in recorded.layers if layer.is_spatial}
