"""A network of this app as an ONNX file, and the proof that it computes the same."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explorer import weights_import
from explorer.architectures import GraphSpec
from explorer.architectures.modules import Block, BothSigns, BranchGain, Crop, IdentityShortcut, ShortcutGain, Sum
from explorer.checkpoints import HEADER, Checkpoint

OPSET = 20  # the first with Gelu
TOLERANCE = 1e-4  # of the largest logit
SIMPLE: dict[type[nn.Module], str] = {
    nn.ReLU: "Relu",
    nn.ELU: "Elu",
    nn.GELU: "Gelu",
    nn.Tanh: "Tanh",
    nn.Sigmoid: "Sigmoid",
    nn.Flatten: "Flatten",
    nn.AdaptiveAvgPool2d: "GlobalAveragePool",
    Sum: "Add",
}
"""Modules that are one operator without attributes."""


class _Writer:
    """Collects nodes and weights; `names` has the name of each tensor of the pass by its id."""

    def __init__(self, picture: Tensor) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self.names = {id(picture): "input"}
        self.kept = [picture]  # an id is only unique while its object lives
        self.layer = ""

    def weight(self, name: str, values: Any) -> str:
        from onnx import numpy_helper

        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.array(values, np.int64)
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(array), f"{self.layer}.{name}"))
        return f"{self.layer}.{name}"

    def node(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{self.layer}/{operator}"
        node = helper.make_node(operator, inputs, [output], name=f"{self.layer}/{operator}", **attributes)
        # As PyTorch's exporter tells where a node stands.
        node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=str(["", self.layer, operator]))
        self.nodes.append(node)
        return output

    def call(self, module: nn.Module, x: str, others: list[str], inputs: Any) -> str:
        """The nodes of one module; the name of its output."""
        if isinstance(module, nn.Conv2d):
            weights = [self.weight(name, value) for name, value in module.named_parameters()]
            pads = [int(each) for each in module.padding] * 2
            return self.node(
                "Conv", [x, *weights], strides=list(module.stride), pads=pads, group=module.groups,
                kernel_shape=list(module.kernel_size),
            )  # fmt: skip
        if isinstance(module, nn.BatchNorm2d):
            names = ("weight", "bias", "running_mean", "running_var")
            weights = [self.weight(name, getattr(module, name)) for name in names]
            return self.node("BatchNormalization", [x, *weights], epsilon=module.eps)
        if isinstance(module, nn.Linear):
            weights = [self.weight(name, value) for name, value in module.named_parameters()]
            return self.node("Gemm", [x, *weights], transB=1)
        if isinstance(module, nn.MaxPool2d | nn.AvgPool2d):
            sides = {name: [int(getattr(module, name))] * 2 for name in ("kernel_size", "stride")}
            kind = "MaxPool" if isinstance(module, nn.MaxPool2d) else "AveragePool"
            pads = [int(module.padding)] * 4  # type: ignore[arg-type]
            return self.node(kind, [x], kernel_shape=sides["kernel_size"], strides=sides["stride"], pads=pads)
        if isinstance(module, nn.SiLU):
            return self.node("Mul", [x, self.node("Sigmoid", [x])])
        if isinstance(module, ShortcutGain):
            return self.node("Mul", [x, self.weight("factor", torch.tensor(module.factor))])
        if isinstance(module, BranchGain):
            return self.node("Mul", [x, self.weight("weight", module.weight)])
        if isinstance(module, nn.LeakyReLU):
            return self.node("LeakyRelu", [x], alpha=module.negative_slope)
        if isinstance(module, Crop):
            low, high = [module.pixels] * 2, [side - module.pixels for side in inputs[0].shape[2:]]
            return self.cut(x, low, high, [1, 1])
        if isinstance(module, IdentityShortcut):
            low, high = [module.crop] * 2, [side - module.crop for side in inputs[0].shape[2:]]
            x = self.cut(x, low, high, [module.stride] * 2)
            front = module.extra_channels // 2
            pads = [0, front, 0, 0, 0, module.extra_channels - front, 0, 0]
            return self.node("Pad", [x, self.weight("pads", pads)]) if module.extra_channels else x
        return self.node(SIMPLE[type(module)], [x, *others])

    def cut(self, x: str, low: list[int], high: list[int], steps: list[int]) -> str:
        if low == [0, 0] and steps == [1, 1]:
            return self.node("Identity", [x])
        parts = {"starts": low, "ends": high, "axes": [2, 3], "steps": steps}
        return self.node("Slice", [x, *(self.weight(name, values) for name, values in parts.items())])


def to_onnx(checkpoint: Checkpoint) -> bytes:
    """The network as an ONNX model of float32 for any batch: input N×C×H×W, normalised, output logits N×classes, or
    N×1 of a network with one logit.

    Weights have the names of this app; class names, mean and std stand in the metadata. Raises ValueError for a network
    that came from an ONNX file.
    """
    from onnx import TensorProto, helper  # here: 0.2 s, for those who export

    network, spec = checkpoint.network, checkpoint.spec
    if isinstance(spec, GraphSpec):
        raise ValueError(f"{spec.name} came from an ONNX file; take that one.")
    picture = torch.zeros(1, *spec.input_shape, device=network.device)
    writer = _Writer(picture)

    def run(module: nn.Module, *inputs: Any) -> Tensor:
        output: Tensor = module(*inputs)
        writer.layer = network.layers[module][0]
        tensors = [each for each in inputs if isinstance(each, Tensor)]
        if isinstance(module, BothSigns):  # of two classes the file has one number, as the network was trained
            writer.names[id(output)] = writer.names[id(tensors[0])]
        elif id(output) not in writer.names and not isinstance(module, Block):  # else dropout, or the end of a part
            first, *others = (writer.names[id(each)] for each in tensors)
            writer.names[id(output)] = writer.call(module, first, others, tensors)
        writer.kept.append(output)
        return output

    with torch.no_grad():
        logits = network(picture, run)
    writer.layer = "logits"
    writer.node("Identity", [writer.names[id(logits)]], "logits")
    outputs = 1 if spec.one_logit else spec.classes
    graph = helper.make_graph(
        writer.nodes,
        spec.name.replace(" ", "_"),
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", *spec.input_shape])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", outputs])],
        writer.weights,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10, producer_name="CNN & ResNet Explorer"
    )
    facts = {
        "class_names": checkpoint.class_names,
        "mean": checkpoint.mean,
        "std": checkpoint.std,
        "network": spec.name,
    }
    helper.set_model_props(model, {HEADER: json.dumps(facts)})
    content: bytes = model.SerializeToString()
    return content


def verify(file: Path, checkpoint: Checkpoint) -> tuple[str, float]:
    """Who has run the file on one picture of noise, and the largest deviation of its logits from the network's, as a
    share of the largest logit: onnxruntime where it is installed, else this app's own interpreter.

    Raises ValueError where it is more than `TOLERANCE`.
    """
    picture = torch.rand(1, *checkpoint.spec.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = checkpoint.network(picture.to(checkpoint.network.device)).cpu().numpy()
    if checkpoint.spec.one_logit:
        expected = expected[:, 1:]
    try:
        import onnxruntime
    except ImportError:
        who = "this app's own interpreter"
        with torch.no_grad():
            found = weights_import.read(file).readings[0].network()(picture).numpy()
        found = found[:, 1:] if checkpoint.spec.one_logit else found
    else:
        who = f"onnxruntime {onnxruntime.__version__}"
        found = onnxruntime.InferenceSession(file.read_bytes()).run(None, {"input": picture.numpy()})[0]
    deviation = float(np.abs(found - expected).max() / max(1e-30, np.abs(expected).max()))
    if not deviation <= TOLERANCE:
        raise ValueError(f"the exported file gives other logits than the network, by {deviation:.1e} of the largest.")
    return who, deviation
