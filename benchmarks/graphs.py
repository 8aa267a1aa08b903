"""What a network that came as an ONNX file costs beside torch's own module, and beside onnxruntime."""

import statistics
from collections.abc import Callable, Iterator

import numpy as np
import onnxruntime
import torch
import torchvision
from torch import nn

from benchmarks.explaining import bare, explained, seconds_of, threads_of_the_app
from benchmarks.onnx_files import exported, network_of
from benchmarks.rows import Row, at_most, compared, ratios
from explorer.architectures import Network
from explorer.tracing import STRIP_KINDS

NETWORKS: dict[str, tuple[str, float | None, int]] = {
    "mobilenet_v2": ("MobileNetV2 at 224", 1.5, 18),
    "resnet50": ("ResNet-50 at 224", None, 18),
}  # title, bound of the strip, rounds
SHAPE = (3, 224, 224)


def graph_rows() -> Iterator[Row]:
    """Of each network, exported from torchvision with random weights: the file's strip of layers over its bare pass,
    and its pass forward over that of the module and of onnxruntime."""
    with threads_of_the_app():
        for name, (title, bound, rounds) in NETWORKS.items():
            torch.manual_seed(0)
            module = torchvision.models.get_model(name, weights=None).eval()
            content = exported(module, (1, *SHAPE))
            yield from _rows(f"{title} from an ONNX file", network_of(content), module, content, bound, rounds)


def _rows(
    title: str, network: Network, module: nn.Module, content: bytes, bound: float | None, rounds: int
) -> Iterator[Row]:
    image = np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)
    base, strip = seconds_of(
        [lambda: bare(network, image), lambda: explained(network, image, STRIP_KINDS)],
        rounds,
    )
    layers = len(explained(network, image, STRIP_KINDS).layers)
    figure = f"{title}: trace, Grad-CAM and gradient magnitude of every layer of the strip ({layers}) / bare pass"
    kept = at_most(statistics.median(ratios(strip, base)), bound) if bound else None
    yield Row(figure, compared(strip, base), rounds, kept)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options)
    entry = session.get_inputs()[0].name
    ways: list[Callable[[], object]] = [
        lambda: _forward(network, image),
        lambda: _forward(module, image),
        lambda: session.run(None, {entry: image[None]}),
    ]
    ours, torchs, runtimes = seconds_of(ways, rounds)
    yield Row(f"{title}: pass forward / that of torchvision's module", compared(ours, torchs), rounds)
    yield Row(f"{title}: pass forward / that of onnxruntime", compared(ours, runtimes), rounds)


def _forward(module: nn.Module, image: np.ndarray) -> None:
    with torch.inference_mode():
        module(torch.from_numpy(image)[None])
