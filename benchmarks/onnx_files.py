"""ONNX files of torch modules, and their networks, for benchmarks and tests."""

import io
import json
import warnings
from collections.abc import Sequence

import torch
from torch import nn

from explorer.architectures import Network, spec_from_dict
from explorer.weights_import.onnx_layout import graph_of


def exported(module: nn.Module, shape: Sequence[int] = (1, 3, 64, 64), opset: int = 17, batch: bool = False) -> bytes:
    """By PyTorch's exporter of before 2.9, which takes a tenth of the new one's time."""
    file = io.BytesIO()
    axes = {"dynamic_axes": {"x": {0: "batch"}}} if batch else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (torch.zeros(*shape),), file, dynamo=False, opset_version=opset, input_names=["x"], **axes
        )
    return file.getvalue()


def network_of(content: bytes) -> Network:
    """The network of a file, read in this process: the child takes seconds to start."""
    facts, state = graph_of(content)
    network = Network.of(spec_from_dict(json.loads(json.dumps(facts["spec"]))))
    network.load_state_dict(state, assign=True)
    return network.freeze()
