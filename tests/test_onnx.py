"""Laws of networks from ONNX files: logits of onnxruntime, gradients and Grad-CAM of the module that was exported.

One file: an exporter, an operator and an attack are each one more line of a table.
"""

import json
import re
import time
import tracemalloc
import warnings
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torchvision
from onnx import TensorProto, helper
from torch import Tensor, nn
from torchcam.methods import GradCAM
from torchvision.models.convnext import CNBlockConfig
from torchvision.models.efficientnet import MBConvConfig
from torchvision.models.googlenet import Inception
from torchvision.models.mobilenetv3 import InvertedResidualConfig
from torchvision.models.regnet import BlockParams
from torchvision.models.resnet import BasicBlock, Bottleneck

from benchmarks.onnx_files import exported, network_of
from explorer import attribution, checkpoints, onnx_export
from explorer.architectures import ArchitectureSpec, GraphSpec, Network, Stage, Stem, build, describe
from explorer.architectures.interventions import parse_all
from explorer.architectures.modules import Block
from explorer.attribution import grad_cam
from explorer.checkpoints import Checkpoint, CheckpointError
from explorer.experiments import residual_blocks, similarity
from explorer.experiments.gradient_flow import gradient_flow
from explorer.presets import PRESETS
from explorer.tracing import EVERYTHING, trace
from explorer.weights_import import WeightsError, onnx_file, read
from explorer.weights_import.onnx_layout import graph_of
from explorer.weights_import.report import WAY_OUT
from tests.onnx_models import classifier, exported_anew, model_of, randomised

models = torchvision.models


def runtime(content: bytes, pictures: np.ndarray) -> np.ndarray:
    """onnxruntime's output, picture by picture where the file is for one."""
    session = onnxruntime.InferenceSession(content)
    (entry,) = session.get_inputs()
    if entry.shape[0] == 1:
        return np.concatenate([session.run(None, {entry.name: picture[None]})[0] for picture in pictures])
    found: np.ndarray = session.run(None, {entry.name: pictures})[0]
    return found


def close(found: Any, expected: Any, share: float = 1e-4) -> bool:
    found, expected = np.asarray(found), np.asarray(expected)
    return found.shape == expected.shape and np.abs(found - expected).max() <= share * np.abs(expected).max()


def pictures(shape: tuple[int, ...], count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, *shape)).astype(np.float32)


# --- exported from torchvision ---------------------------------------------------------------------------------------


def _alexnet() -> nn.Module:
    network = models.alexnet()
    network.classifier = nn.Sequential(nn.Dropout(), nn.Linear(9216, 16), nn.ReLU(), nn.Linear(16, 10))
    return network


def _two_stages(**options: Any) -> nn.Module:
    """A ResNet of bottlenecks without its last two stages, which hold nearly all of its weights."""
    network = models.ResNet(Bottleneck, [1, 1, 1, 1], 10, **options)
    network.layer3 = network.layer4 = nn.Identity()
    network.fc = nn.Linear(512, 10)
    return network


def _short_resnet() -> nn.Module:
    """With two of its four stages."""
    network = models.ResNet(BasicBlock, [1, 2, 1, 1], 10)
    network.layer3 = network.layer4 = nn.Identity()
    network.fc = nn.Linear(128, 10)
    return network


def _short_googlenet() -> nn.Module:
    """With three of its nine modules, one between two poolings."""
    network = models.googlenet(init_weights=False, aux_logits=False, num_classes=10)
    for name in ("3b", "4b", "4c", "4d", "4e", "5a"):
        setattr(network, f"inception{name}", nn.Identity())
    network.inception4a = Inception(256, 192, 96, 208, 16, 48, 64)
    network.inception5b = Inception(512, 384, 192, 384, 48, 128, 128)
    return network


def _short_squeezenet() -> nn.Module:
    """With three of its eight modules."""
    network = models.squeezenet1_1(num_classes=10)
    network.features = network.features[:7]
    network.classifier[1] = nn.Conv2d(256, 10, 1)
    return network


def _short_mnasnet() -> nn.Module:
    """With two of its six stacks, of one block and of two."""
    network = models.mnasnet0_5(num_classes=10)
    stem, first, second, end = (network.layers[part] for part in (slice(8), 8, 9, slice(14, None)))
    end[0] = nn.Conv2d(24, 1280, 1, bias=False)
    network.layers = nn.Sequential(*stem, first[:1], second[:2], *end)
    return network


# Networks of each family, with fewer blocks or channels where torchvision lets one choose; the time is in the weights.
FAMILIES: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (lambda: models.ResNet(BasicBlock, [1, 2, 1, 1], 10), 64),
    "resnext50": (lambda: _two_stages(groups=32, width_per_group=4), 64),
    "wide_resnet50_2": (lambda: _two_stages(width_per_group=128), 64),
    "mobilenet_v2": (lambda: models.mobilenet_v2(width_mult=0.35, num_classes=10), 64),
    "mobilenet_v3_small": (lambda: models.mobilenet_v3_small(num_classes=10), 64),
    "efficientnet_b0": (
        lambda: models.EfficientNet(
            [MBConvConfig(1, 3, 1, 32, 16, 1, 1, 1), MBConvConfig(6, 5, 2, 16, 24, 2, 1, 1)], 0.2, num_classes=10
        ),
        64,
    ),
    "densenet121": (lambda: models.DenseNet(8, (2, 3), 16, num_classes=10), 64),
    "googlenet": (lambda: models.googlenet(init_weights=False, aux_logits=False, num_classes=10), 64),
    "squeezenet1_1": (lambda: models.squeezenet1_1(num_classes=10), 64),
    "shufflenet_v2": (lambda: models.shufflenet_v2_x0_5(num_classes=10), 64),
    "regnet_y_400mf": (lambda: models.regnet_y_400mf(num_classes=10), 64),
    "convnext_tiny": (
        lambda: models.ConvNeXt([CNBlockConfig(16, 24, 2), CNBlockConfig(24, None, 1)], num_classes=10),
        64,
    ),
    "mnasnet": (lambda: models.mnasnet0_5(num_classes=10), 64),
    "alexnet": (_alexnet, 224),
}
# The new exporter takes half a second even for small ones, and more for each layer.
NEW = {name: make for name, (make, _) in FAMILIES.items()} | {
    "resnet18": _short_resnet,
    "densenet121": lambda: models.DenseNet(8, (1, 2), 16, num_classes=10),
    "googlenet": _short_googlenet,
    "squeezenet1_1": _short_squeezenet,
    "mnasnet": _short_mnasnet,
    "mobilenet_v2": lambda: models.MobileNetV2(10, 0.35, [[1, 16, 1, 1], [6, 24, 2, 2]]),
    "mobilenet_v3_small": lambda: models.MobileNetV3(
        [
            InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1.0),
            InvertedResidualConfig(16, 5, 40, 24, True, "HS", 2, 1, 1.0),
            InvertedResidualConfig(24, 5, 48, 24, True, "HS", 1, 1, 1.0),
        ],
        64,
        10,
    ),
    "regnet_y_400mf": lambda: models.RegNet(
        BlockParams([1, 2], [16, 32], [8, 8], [1.0, 1.0], [2, 2], se_ratio=0.25), 10
    ),
    "shufflenet_v2": lambda: models.ShuffleNetV2([2, 1, 1], [8, 16, 32, 64, 64], 10),
}
FAMILIES |= {f"{name}, new exporter": (make, FAMILIES[name][1]) for name, make in NEW.items()}
RESIDUAL = {"resnet18", "resnext50", "mobilenet_v2", "efficientnet_b0", "regnet_y_400mf", "convnext_tiny", "mnasnet"}


@cache
def family(name: str) -> tuple[nn.Module, bytes, Network]:
    make, side = FAMILIES[name]
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = randomised(make())
    content = (exported_anew if "new" in name else exported)(module, (1, 3, side, side))
    return module, content, network_of(content)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_network_of_torchvision_has_the_logits_and_gradients_of_its_module(name):
    module, content, network = family(name)
    batch = pictures(network.spec.input_shape)
    with torch.no_grad():
        assert close(network(torch.from_numpy(batch)), runtime(content, batch))
    seen = trace(network, batch[0], 3)
    x = torch.from_numpy(batch[:1]).requires_grad_()
    hooked: dict[str, Tensor] = {}
    for layer in seen.layers:
        part = module.get_submodule(layer.name) if _has(module, layer.name) else None
        if layer.kind == "block" and part is not None:
            part.register_forward_hook(lambda _, __, output, key=layer.name: hooked.update({key: output}))
    logits = module(x)
    assert close(seen.logits, logits[0].detach())
    gradients = torch.autograd.grad(logits[0, 3], [x, *hooked.values()])
    assert close(seen.image_gradient, gradients[0][0])
    for (key, output), gradient in zip(hooked.items(), gradients[1:], strict=True):
        maps, weights = output[0].detach(), gradient[0].mean((1, 2))
        assert close(seen[key].activation, maps) and close(seen[key].gradient, gradient[0])
        cam, sizes = (torch.einsum("k,khw->hw", a, b) for a, b in ((weights, maps), (weights.abs(), maps.abs())))
        assert np.abs(grad_cam(seen[key]) - cam.relu().numpy()).max() <= 1e-4 * float(sizes.max()), key
    assert bool(hooked) == (not name.startswith("alexnet")), "blocks have the names of the exported modules"
    assert len(network.spec.blocks) == len(hooked)  # type: ignore[attr-defined]
    name = name.removesuffix(", new exporter")
    assert (network.spec.shortcut != "none") == (name in RESIDUAL | {"wide_resnet50_2", "mobilenet_v3_small"})


def _has(module: nn.Module, name: str) -> bool:
    return name in dict(module.named_modules())


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2"])
def test_grad_cam_is_that_of_torchcam(name):
    module, _, network = family(name)
    layer = {"resnet18": "layer4.0", "shufflenet_v2": "stage4.3"}[name]
    picture = pictures(network.spec.input_shape)[0]
    with GradCAM(module, layer) as extractor:
        logits = module(torch.from_numpy(picture[None]).requires_grad_())
        (theirs,) = extractor(3, logits)
    ours = grad_cam(trace(network, picture, 3)[layer])
    assert close((ours - ours.min()) / np.ptp(ours), theirs[0])  # torchcam's is from 0 to 1


def test_a_description_counts_what_the_module_has():
    _, _, network = family("resnet18")
    described = describe(network.spec)
    by_name = {layer.name: layer for layer in described.layers}
    assert [layer.name for layer in described.layers] == list(_outputs(network))
    assert by_name["conv1"].macs == 64 * 32 * 32 * 3 * 49 and by_name["conv1"].kernel == "7×7"
    assert by_name["layer1.0"].kind == "block" and by_name["fc"].output_shape == (10,)
    assert by_name["conv1"].receptive_field == 7 and by_name["maxpool"].receptive_field == 11
    assert by_name["layer1.0.conv1"].receptive_field == 19 and network.spec.depth == 12
    assert isinstance(network.spec, GraphSpec) and network.spec.beside == (
        "layer2.0.downsample.0",
        "layer3.0.downsample.0",
        "layer4.0.downsample.0",
    )


def _outputs(network: Network) -> dict[str, Any]:
    picture = pictures(network.spec.input_shape)[0]
    return {layer.name: layer for layer in trace(network, picture, kinds=EVERYTHING).layers}


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "regnet_y_400mf", "convnext_tiny"])
def test_both_ways_through_a_residual_block_sum_to_its_gradient(name):
    _, _, network = family(name)
    picture = pictures(network.spec.input_shape)[0]
    for inside in residual_blocks.anatomies(network, picture):
        assert close(inside.through_shortcut + inside.through_branch, inside.input_gradient)
        assert close(inside.branch + inside.shortcut, inside.sum)
        assert (inside.kind == "identity") == bool(np.array_equal(inside.input, inside.shortcut))


def test_layers_that_are_stored_with_channels_last_are_shown_with_channels_first():
    _, _, network = family("convnext_tiny")
    layers = _outputs(network)
    described = {layer.name: layer.output_shape for layer in describe(network.spec).layers}
    assert layers["features.1.0.block.3"].activation.shape == described["features.1.0.block.3"] == (64, 16, 16)


DENSE_LAYER = "features.denseblock1.denselayer1.conv2"


def _zeroed(module: nn.Module, name: str, axis: int, channel: int | None) -> torch.utils.hooks.RemovableHandle:
    """Switches a layer of the module off, or one channel along that axis."""

    def off(_: nn.Module, __: Any, output: Tensor) -> Tensor:
        if channel is None:
            return torch.zeros_like(output)
        kept = torch.ones_like(output)
        kept.select(axis, channel).zero_()
        return output * kept

    return module.get_submodule(name).register_forward_hook(off)


@pytest.mark.parametrize(
    ("name", "change", "layer", "axis", "channel"),
    [
        ("resnet18", "layer2.1@branch:off", "layer2.1.bn2", 1, None),  # a residual sum
        ("resnet18", "layer2.0@shortcut~7:off", "layer2.0.downsample", 1, 7),
        ("resnet18", "layer2.1~5:off", "layer2.1", 1, 5),
        ("convnext_tiny", "features.1.0@branch:off", "features.1.0.block", 1, None),
        ("convnext_tiny", "features.1.0.block.3~5:off", "features.1.0.block.3", 3, 5),  # channels last
        (
            "densenet121",
            "features.denseblock1.denselayer1.conv2:off",
            "features.denseblock1.denselayer1.conv2",
            1,
            None,
        ),
        ("densenet121", "features.denseblock2~20:off", "features.denseblock2", 1, 20),
    ],
)
def test_what_is_off_in_a_graph_is_off_in_its_module(name, change, layer, axis, channel):
    module, _, network = family(name)
    picture = pictures(network.spec.input_shape)[0]
    found = trace(network, picture, kinds=EVERYTHING, interventions=parse_all(change))
    if name == "densenet121" and layer.endswith("denseblock2"):  # which hands on a list in torchvision
        assert not found[layer].activation[channel].any() and found[layer].activation.any()
        return
    handle = _zeroed(module, layer, axis, channel)
    with torch.no_grad():
        expected = module(torch.from_numpy(picture)[None])[0]
    handle.remove()
    assert close(found.logits, expected)
    if name == "convnext_tiny":  # its layer scale of 1e-6 hides a branch
        if channel is not None:
            silent = [index for index, values in enumerate(found[layer].activation) if not values.any()]
            assert silent == [channel]
        return
    assert not close(trace(network, picture, kinds=()).logits, expected)


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        (
            "densenet121",
            "features.denseblock1@branch:off",
            "cannot do without `features.denseblock1`: it turns",
        ),
        ("densenet121", "features.denseblock1@shortcut:off", "`features.denseblock1` of ONNX network has no shortcut."),
        (
            "densenet121",
            "features.denseblock1:swap~features.denseblock2",
            "cannot be swapped: their inputs and",
        ),
        ("resnet18", "layer2.0:swap~layer2.1", "cannot be swapped: their inputs and outputs are not all of one shape."),
        (
            "convnext_tiny",
            "features.1.0.block.3~64:off",
            ".block.3` of ONNX network has the channels 0 to 63.",
        ),
    ],
)
def test_a_graph_refuses_in_one_sentence_what_does_not_fit_it(name, change, sentence):
    _, _, network = family(name)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        trace(network, pictures(network.spec.input_shape)[0], interventions=parse_all(change))


def test_swapped_blocks_of_a_graph_work_in_each_others_place():
    module: Any
    module, _, network = family("convnext_tiny")
    picture = pictures(network.spec.input_shape)[0]
    stage = module.features[1]
    module.features[1] = nn.Sequential(stage[1], stage[0])
    with torch.no_grad():
        expected = module(torch.from_numpy(picture)[None])[0]
    module.features[1] = stage
    found = trace(network, picture, interventions=parse_all("features.1.0:swap~features.1.1"))
    assert close(found.logits, expected)


def test_the_network_is_left_as_it_was():
    _, _, network = family("densenet121")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = trace(network, pictures(network.spec.input_shape)[0], kinds=EVERYTHING)
    again = trace(network, pictures(network.spec.input_shape)[0], kinds=EVERYTHING)
    assert all(np.array_equal(a.activation, b.activation) for a, b in zip(first.layers, again.layers, strict=True))
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert not any(parameter.grad is not None for parameter in network.parameters())


# --- names, blocks, ends ---------------------------------------------------------------------------------------------


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.conv2(torch.relu(self.bn1(self.conv1(x)))))


class _Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2)
        self.body = nn.Sequential(_Residual(8), _Residual(8))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3))).softmax(1)


def test_the_new_exporters_names_are_those_of_the_modules():
    module = randomised(_Small())
    content = exported_anew(module, (2, 3, 32, 32), dynamic_shapes=({0: torch.export.Dim("batch")},))
    network = network_of(content)
    spec = network.spec
    assert isinstance(spec, GraphSpec) and spec.title == "_Small"
    assert [(block.name, block.shortcut) for block in spec.blocks] == [("body.0", "identity"), ("body.1", "identity")]
    assert {"stem", "body.0.conv1", "body.1.conv2", "head"} <= {node.name for node in spec.nodes}
    batch = pictures(spec.input_shape)
    logits = network(torch.from_numpy(batch))
    assert spec.nodes[-1].operator == "Linear" and close(logits.softmax(1), runtime(content, batch))


@pytest.mark.parametrize("opset", [11, 13, 17, 20])
def test_every_opset_gives_the_same(opset):
    module = randomised(_Small())
    network = network_of(exported(module, (1, 3, 32, 32), opset, batch=opset == 13))
    batch = torch.from_numpy(pictures((3, 32, 32), 3))
    with torch.no_grad():
        assert close(network(batch).softmax(1), module(batch))
    assert len(network.spec.blocks) == 2  # type: ignore[attr-defined]


def keras_like() -> onnx.ModelProto:
    """As tf2onnx writes Keras: N×H×W×C, a rescaling, transposes, a residual sum, names with slashes, a softmax."""
    generator = np.random.default_rng(1)
    nodes = [
        helper.make_node("Mul", ["x", "scale"], ["s"], name="model/rescaling/mul"),
        helper.make_node("Transpose", ["s"], ["t"], name="model/conv1/Conv2D__6", perm=[0, 3, 1, 2]),
        helper.make_node(
            "Conv", ["t", "w1", "b1"], ["c1"], name="model/conv1/Conv2D", auto_pad="SAME_UPPER", strides=[2, 2]
        ),
        helper.make_node("Relu", ["c1"], ["r1"], name="model/relu1/Relu"),
        helper.make_node("Conv", ["r1", "w2", "b1"], ["c2"], name="model/block_1_expand/Conv2D", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c2", "zero", "six"], ["r2"], name="model/block_1_relu/Relu6"),
        helper.make_node("Conv", ["r2", "w3"], ["c3"], name="model/block_1_project/Conv2D"),
        helper.make_node("Add", ["c3", "r1"], ["sum"], name="model/block_1_add/add"),
        helper.make_node("Transpose", ["sum"], ["last"], name="model/pool/Mean__9", perm=[0, 2, 3, 1]),
        helper.make_node("ReduceMean", ["last", "axes"], ["m"], name="model/pool/Mean", keepdims=0),
        helper.make_node("MatMul", ["m", "w4"], ["n"], name="model/dense/MatMul"),
        helper.make_node("Add", ["n", "b4"], ["o"], name="model/dense/BiasAdd"),
        helper.make_node("Softmax", ["o"], ["y"], name="model/dense/Softmax"),
    ]

    def draw(*shape: int) -> np.ndarray:
        return np.asarray(generator.normal(0, 0.3, shape), np.float32)

    weights = {"scale": np.float32(1 / 255), "zero": np.float32(0), "six": np.float32(6), "axes": np.array([1, 2])}
    weights |= {"w1": draw(8, 3, 3, 3), "b1": draw(8), "w2": draw(8, 8, 3, 3), "w3": draw(8, 8, 1, 1)}
    weights |= {"w4": draw(8, 4), "b4": draw(4)}
    return model_of(nodes, weights, ("unk__7", 32, 32, 3), ("unk__8", 4), onnx.defs.onnx_opset_version())


def test_a_network_of_keras_takes_its_channels_last():
    content = keras_like().SerializeToString()
    network = network_of(content)
    spec = network.spec
    batch = 255 * np.random.default_rng(2).random((2, 3, 32, 32)).astype(np.float32)
    session = onnxruntime.InferenceSession(content) if onnx.defs.onnx_opset_version() <= 25 else None
    expected = session.run(None, {"x": batch.transpose(0, 2, 3, 1)})[0] if session else None
    with torch.no_grad():
        found = network(torch.from_numpy(batch))
    assert expected is None or close(found.softmax(1), expected)
    assert isinstance(spec, GraphSpec) and spec.input_shape == (3, 32, 32)
    assert [(block.name, block.shortcut) for block in spec.blocks] == [("block_1", "identity")]
    names = [node.name for node in spec.nodes]
    assert {"conv1", "relu1", "block_1.expand", "block_1.add", "dense"} <= {
        name.removesuffix(".conv") for name in names
    }
    maps = {layer.name: layer.activation.shape for layer in trace(network, batch[0]).layers}
    assert maps["conv1" if "conv1" in maps else "conv1.conv"] == (8, 16, 16)


def test_one_output_is_two_classes():
    content = classifier(
        weights={"f": np.ones((1, 8), np.float32), "g": np.zeros(1, np.float32)}, end="Sigmoid", outputs=("batch", 1)
    ).SerializeToString()
    network = network_of(content)
    picture = pictures((3, 16, 16), 1)
    seen = trace(network, picture[0])
    assert network.spec.one_logit and network.spec.classes == 2
    assert close(seen.probabilities[1], runtime(content, picture)[0, 0])


@pytest.mark.parametrize("squeezed", [False, True])
def test_one_output_may_have_no_axis_for_it(squeezed):
    class Yes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)
            self.fc = nn.Linear(4, 1)

        def forward(self, x: Tensor) -> Tensor:
            z = self.fc(self.conv(x).mean((2, 3)))
            return torch.sigmoid(z.squeeze(1) if squeezed else z)

    module = randomised(Yes())
    network = network_of(exported(module, (1, 3, 16, 16), batch=True))
    batch = torch.from_numpy(pictures((3, 16, 16), 3))
    assert network.spec.one_logit
    assert close(network(batch).detach()[:, 1].sigmoid(), module(batch).detach().reshape(-1))


def test_every_other_view_works_on_a_graph():
    _, _, network = family("mobilenet_v2")
    names = tuple(f"class {index}" for index in range(10))
    checkpoint = Checkpoint(network, names, (0.5,) * 3, (0.25,) * 3, "other data: test")
    picture = pictures(network.spec.input_shape)[0]
    for method in attribution.METHODS:
        few: dict[str, Any] = {"integrated_gradients": {"steps": 4}, "smoothgrad": {"samples": 2}}
        few["rise"] = {"masks": 20}
        chosen = few.get(method, {})
        if method == "deep_lift":
            with pytest.raises(ValueError, match="DeepLIFT has no rule for Clip, which"):
                next(attribution.explain(network, picture, 3, method))
            continue
        found = [share.result for share in attribution.explain(network, picture, 3, method, chosen)][-1]
        assert found is not None and np.isfinite(found.values).all(), method
        assert found.values.any() or method == "score_cam", method  # whose maps are negative before its ReLU here
    images = np.random.default_rng(0).integers(0, 256, (5, *network.spec.input_shape), dtype=np.uint8)
    *_, (done, grams) = similarity.layer_grams(checkpoint, images)
    assert done == 1 and grams is not None
    assert set(grams.layers) == {
        layer.name for layer in describe(network.spec).layers if layer.kind in similarity.KINDS
    }
    best = [
        share.result for share in attribution.top_images(network, images, (0.5,) * 3, (0.25,) * 3, "features.3", 2)
    ][-1]
    assert best is not None and best.boxes.min() >= 0 and best.boxes.max() <= 64
    assert attribution.kernels(network).layer == "features.0.0"

    def make_map(copied: Network, image: np.ndarray) -> np.ndarray:
        return grad_cam(trace(copied, image, 3)["features.17"])

    *_, last = attribution.cascading_randomisation(network, picture, make_map, most=3)
    assert last.result is not None and sum(map(len, last.result.layers)) == network.spec.depth
    flow = gradient_flow(network, torch.from_numpy(pictures(network.spec.input_shape)), torch.tensor([1, 2]))
    assert [len(flow.along_depth(what)[0]) for what in ("weights", "activations", "blocks")] == [52, 52, 17]


_node = helper.make_node
_ints = lambda *values: np.array(values, np.int64)  # noqa: E731


# --- files -----------------------------------------------------------------------------------------------------------


def test_functions_are_put_in_the_place_of_their_calls():
    content = _functions(3).SerializeToString()
    batch = pictures((3, 16, 16))
    network = network_of(content)
    assert sum(layer.kind == "activation" for layer in describe(network.spec).layers) == 8
    assert close(network(torch.from_numpy(batch)).detach(), runtime(content, batch))


def test_an_output_that_no_class_depends_on_may_be_anything():
    model = classifier([_node("Relu", ["a"], ["b"]), _node("Hardmax", ["a"], ["z"])], end="Softmax")
    model.graph.node.append(_node("ArgMax", ["e"], ["best"], axis=1))
    model.graph.output.insert(0, helper.make_tensor_value_info("best", TensorProto.INT64, None))
    facts, _ = graph_of(model.SerializeToString())
    assert facts["spec"]["classes"] == 4 and facts["uncertain"] == ["which of its 2 outputs has the classes: `y`"]


def test_a_file_is_read_in_the_child_process_and_its_checkpoint_comes_back(tmp_path):
    file = tmp_path / "net.onnx"
    names = json.dumps({"class_names": ["a", "b", "c", "d"], "mean": [0.1] * 3, "std": [0.2] * 3})
    model = classifier(metadata={checkpoints.HEADER: names}, end="Softmax")
    for node in model.graph.node:  # shapes and names that only a child process with limits has looked at
        node.name = f"/{node.name}/{node.op_type}"
    file.write_bytes(model.SerializeToString())
    report = read(file)
    reading = report.readings[0]
    assert report.family == "ONNX" and any("Softmax" in words for words in report.evidence)
    assert reading.class_names == ("a", "b", "c", "d") and reading.normalisation.mean == (0.1, 0.1, 0.1)
    saved = tmp_path / "net.safetensors"
    checkpoints.save(reading.checkpoint("other data: test"), saved)
    loaded = checkpoints.load(saved)
    assert loaded.spec == reading.spec and loaded.spec.fingerprint == reading.spec.fingerprint
    picture = pictures((3, 16, 16))[0]
    assert np.array_equal(trace(loaded.network, picture).logits, trace(reading.network(), picture).logits)
    json.dumps(report.for_json())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda spec: spec["nodes"][0].update(inputs=["fc"]), "no node before"),
        (lambda spec: spec["nodes"][0].update(operator="Loop"), "operator"),
        (lambda spec: spec["nodes"][0].update(attributes={"strides": "x"}), "first"),
        (lambda spec: spec["nodes"][0]["attributes"].update(strides=[0, 0]), "does not fit"),
        (lambda spec: spec.update(classes=7), "last output"),
        (lambda spec: spec["nodes"][-1].update(name="a b"), "name"),
        (lambda spec: spec.update(blocks=[{"name": "nothing"}]), "block"),
        (lambda spec: spec.update(nodes=[]), "incomplete"),
        (lambda spec: spec.update(nodes=[1]), "node"),
    ],
)
def test_a_saved_graph_that_does_not_fit_is_refused_in_one_sentence(tmp_path, change, said):
    facts, state = graph_of(classifier().SerializeToString())
    network = network_of(classifier().SerializeToString())
    checkpoint = Checkpoint(network, ("a", "b", "c", "d"), (0.0,) * 3, (1.0,) * 3, "other data: test")
    file = tmp_path / "graph.safetensors"
    checkpoints.save(checkpoint, file)
    from safetensors.torch import save_file

    spec = json.loads(json.dumps(facts["spec"]))
    change(spec)
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][checkpoints.HEADER])
    save_file(state, file, {checkpoints.HEADER: json.dumps(header | {"spec": spec})})
    with pytest.raises(CheckpointError, match=said) as refused:
        checkpoints.load(file)
    assert str(refused.value).count("\n") == 0


def _cyclic() -> onnx.ModelProto:
    nodes = [_node("Add", ["a", "c"], ["b"]), _node("Relu", ["b"], ["c"])]
    return classifier([*nodes, _node("Relu", ["c"], ["b2"])])


def _external() -> onnx.ModelProto:
    model = classifier()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    tensor.ClearField("raw_data")
    return model


def _lying() -> onnx.ModelProto:
    model = classifier()
    model.graph.initializer[0].dims[0] = 9
    return model


def _huge() -> onnx.ModelProto:
    model = classifier()
    del model.graph.initializer[0].dims[:]
    model.graph.initializer[0].dims.extend([2**31, 2**31, 3, 3])
    return model


def _with(nodes: list[Any], weights: dict[str, Any] | None = None, **settings: Any) -> onnx.ModelProto:
    return classifier(nodes, weights, **settings)


def _loop() -> onnx.ModelProto:
    body = helper.make_graph([_node("Identity", ["p"], ["q"])], "body", [], [])
    return classifier([_node("If", ["a"], ["b"], name="choice", then_branch=body, else_branch=body)])


def _of_domain() -> onnx.ModelProto:
    model = classifier([_node("Evil", ["a"], ["b"], name="mine", domain="com.example")])
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    return model


def _many() -> onnx.ModelProto:
    node = _node("Relu", ["a"], ["a"])
    model = classifier()
    model.graph.node.extend([node] * 30_000)
    return model


HOSTILE: dict[str, tuple[Callable[[], onnx.ModelProto | bytes], str]] = {
    "truncated": (lambda: classifier().SerializeToString()[:900], "damaged or cut off"),
    "no graph": (lambda: b"\x08\x08\x12\x04test", "holds no graph"),
    "noise": (lambda: b"\x08\x08" + np.random.default_rng(0).bytes(4000), "damaged or cut off"),
    "cyclic": (_cyclic, "circle"),
    "name in no UTF-8": (
        lambda: classifier().SerializeToString().replace(b"\n\x01x", b"\n\x01\xff", 1),
        "not in UTF-8",
    ),
    "external data": (_external, "another file"),
    "shape that lies": (_lying, "does not fit its"),
    "huge shape": (_huge, "impossible shape"),
    "many nodes": (_many, "more than 20,000 nodes"),
    "loop": (_loop, "graph of its own"),
    "custom operator": (_of_domain, "`Evil`.*`com.example`.*`mine`"),
    "missing operator": (lambda: _with([_node("Hardmax", ["a"], ["b"], name="odd")]), "`Hardmax` at node `odd`"),
    "not finite": (
        lambda: _with([], {"w": np.full((8, 3, 3, 3), np.nan, np.float32)}),
        "not a number or infinite in `w`",
    ),
    "answers that are not finite": (
        lambda: _with([_node("Div", ["a", "z"], ["b"])], {"z": np.float32(0)}),
        "gives values that are not finite for an image of noise; export",
    ),
    "shapes that contradict": (lambda: _with([], {"f": np.zeros((4, 9), np.float32)}), "contradict|do not fit|cannot"),
    "huge constant": (
        lambda: _with(
            [_node("ConstantOfShape", ["k"], ["z"]), _node("Add", ["a", "z"], ["b"])], {"k": _ints(1 << 20, 1 << 20)}
        ),
        "more values|contradict",
    ),
    "declared classes": (lambda: classifier(outputs=("batch", 7)), "contradict"),
    "whole numbers": (
        lambda: _with([_node("Cast", ["a"], ["p"], to=7), _node("Cast", ["p"], ["b"], to=1)]),
        "whole numbers",
    ),
    "mixed pictures": (
        lambda: _with([_node("ReduceMean", ["a", "k"], ["b"])], {"k": _ints(0)}),
        "axis of the images",
    ),
    "two inputs": (lambda: _two_inputs(), "2 inputs"),
    "a vector": (lambda: model_of([_node("Relu", ["x"], ["y"])], {}, ("batch", 8), ("batch", 8)), "N×C×H×W"),
    "no convolution": (
        lambda: model_of([_node("Flatten", ["x"], ["y"])], {}, outputs=("batch", 768)),
        "no convolution",
    ),
    "no operation": (lambda: model_of([_node("Identity", ["x"], ["y"])], {}, outputs=None), "no classes|no operation"),
    "a map": (lambda: _with_output(["b"]), "`b` is N×8×16×16"),
    "a million nodes": (lambda: _million(), "more than 20,000 nodes"),
    "a million settings": (lambda: _million(5), "more names and settings"),
    "two weights of a name": (lambda: _twice(), "two weights of the name `w`"),
    "sparse": (lambda: _sparse(), "sparse"),
    "quantised": (
        lambda: _with(
            [_node("QuantizeLinear", ["a", "s", "z"], ["p"]), _node("DequantizeLinear", ["p", "s", "z"], ["b"])],
            {"s": np.float32(0.1), "z": np.uint8(3)},
        ),
        "is quantised: it uses the operator `QuantizeLinear`",
    ),
    "a mask": (
        lambda: _with(
            [_node("Dropout", ["a"], ["k", "m"]), _node("Cast", ["m"], ["n"], to=1), _node("Mul", ["k", "n"], ["b"])]
        ),
        "second output",
    ),
    "random": (lambda: _with([_node("RandomNormalLike", ["a"], ["b"])]), "`RandomNormalLike`"),
    "training": (
        lambda: _with([_node("Dropout", ["a", "r", "t"], ["b"])], {"r": np.float32(0.5), "t": np.array(True)}),
        "training mode",
    ),
    "a function without end": (lambda: _functions(1, endless=True), "calls itself"),
    "a function of functions": (lambda: _functions(40), "more than 20,000 nodes in its functions"),
    "numbers of a huge range": (
        lambda: _with(
            [
                _node("Range", ["i", "j", "k"], ["r"]),
                _node("Cast", ["r"], ["s"], to=1),
                _node("Add", ["a", "s"], ["b"]),
            ],
            {"i": np.int64(0), "j": np.int64(2**40), "k": np.int64(1)},
        ),
        "more values|contradict",
    ),
}


def _with_output(names: list[str]) -> onnx.ModelProto:
    model = classifier()
    del model.graph.output[:]
    model.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return model


def _twice() -> onnx.ModelProto:
    model = classifier()
    model.graph.initializer.append(model.graph.initializer[0])
    return model


def _sparse() -> onnx.ModelProto:
    model = classifier()
    values, places = (
        helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0]),
        helper.make_tensor("i", TensorProto.INT64, [1], [0]),
    )
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, places, [4]))
    return model


def _million(field: int = 1) -> bytes:
    """A file with a million empty nodes, or a million empty settings of one node."""
    many = bytes([field << 3 | 2, 0]) * 10**6
    inside = many if field == 1 else _field(1, many)
    return b"\x08\x0a" + _field(7, inside)


def _field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message that holds bytes."""
    size, left = b"", len(content)
    while left > 127:
        size, left = size + bytes([left & 127 | 128]), left >> 7
    return bytes([number << 3 | 2]) + size + bytes([left]) + content


def _functions(count: int, endless: bool = False) -> onnx.ModelProto:
    """Functions that call the next one twice each; the last is a ReLU, or calls the first."""
    model = classifier([_node("F0", ["a"], ["b"], domain="mine")])
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("mine", 1)]
    model.opset_import.append(opsets[1])
    for index in range(count):
        inner = "F0" if endless else f"F{index + 1}"
        kind, domain = (inner, "mine") if endless or index < count - 1 else ("Relu", "")
        nodes = [_node(kind, ["x"], ["p"], domain=domain), _node(kind, ["p"], ["y"], domain=domain)]
        model.functions.append(helper.make_function("mine", f"F{index}", ["x"], ["y"], nodes, opsets))
    return model


def _two_inputs() -> onnx.ModelProto:
    model = classifier([_node("Add", ["a", "z"], ["b"])])
    model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, [1]))
    return model


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_cannot_be_shown_gets_one_sentence_with_the_way_out(name, tmp_path):
    make, said = HOSTILE[name]
    content = made if isinstance(made := make(), bytes) else made.SerializeToString()
    file = tmp_path / "hostile.onnx"
    file.write_bytes(content)
    start = time.process_time()
    with pytest.raises(WeightsError, match=said) as refused:
        read(file)
    assert "\n" not in str(refused.value) and str(refused.value).endswith(f"; {WAY_OUT}")
    assert time.process_time() - start < 5


def test_a_million_nodes_are_counted_before_they_are_read():
    content = _million()
    start = time.process_time()
    tracemalloc.start()
    with pytest.raises(WeightsError, match="more than 20,000 nodes"):
        onnx_file.parsed(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert time.process_time() - start < 2 and peak < 2**23


def test_a_file_that_is_cut_off_is_refused_at_every_length():
    content = classifier(end="Softmax").SerializeToString()
    for end in range(2, len(content), 7):
        with pytest.raises(WeightsError) as refused:
            graph_of(content[:end])
        assert str(refused.value).endswith(".") and "\n" not in str(refused.value), end


# --- the other way ---------------------------------------------------------------------------------------------------


def _network(spec: ArchitectureSpec) -> Checkpoint:
    network = randomised(build(spec))
    assert isinstance(network, Network)
    names = tuple(f"class {index}" for index in range(spec.classes))
    return Checkpoint(network.freeze(), names, (0.1,) * 3, (0.3,) * 3, "other data: test")


SPECS = {
    "option A": PRESETS["resnet-20"].spec,
    "plain VGG": ArchitectureSpec(
        (Stage(1, 8), Stage(2, 16, 2)),
        "conv",
        "none",
        downsampling="max",
        hidden=(12,),
        dropout=0.5,
        head_pooling="flatten",
        activation="silu",
        bias_before_norm=True,
    ),
    "projection": ArchitectureSpec(
        (Stage(1, 16), Stage(1, 32, 2)),
        "bottleneck",
        "projection",
        activation="gelu",
        stem=Stem(8, 7, 2, "max"),
        input_shape=(3, 64, 64),
        classes=5,
    ),
    "separable": ArchitectureSpec(
        (Stage(2, 8, 2),), "separable", activation="leaky_relu", stem=Stem(8), downsampling="average"
    ),
    "no padding": ArchitectureSpec(
        (Stage(1, 6, kernel_size=5, padding="valid"),), "conv", "identity", norm="none", activation="elu"
    ),
    "before": ArchitectureSpec((Stage(1, 8), Stage(2, 16, 2)), shortcut="projection", stem=Stem(8), preactivation=True),
    "gains": ArchitectureSpec(
        (Stage(1, 8, shortcut="none"), Stage(2, 16, 2)), stem=Stem(8), shortcut_gain=0.5, branch_start="gain"
    ),
    "one logit": ArchitectureSpec((Stage(1, 8),), stem=Stem(8), classes=2, one_logit=True, activation="tanh"),
}


@pytest.mark.parametrize("name", SPECS)
def test_a_network_of_ours_is_the_same_in_onnxruntime_and_read_back(name, tmp_path):
    checkpoint = _network(SPECS[name])
    file = tmp_path / "ours.onnx"
    file.write_bytes(onnx_export.to_onnx(checkpoint))
    onnx.checker.check_model(onnx.load(file), full_check=True)
    who, deviation = onnx_export.verify(file, checkpoint)
    assert who.startswith("onnxruntime") and deviation < 1e-5
    back = network_of(file.read_bytes())
    batch = torch.from_numpy(pictures(checkpoint.spec.input_shape, 3))
    assert close(back(batch).detach(), checkpoint.network(batch).detach())
    assert back.spec.depth == checkpoint.spec.depth and back.spec.one_logit == checkpoint.spec.one_logit
    layers = checkpoint.network.layers.items()
    blocks = [name for module, (name, _) in layers if isinstance(module, Block) and module.residual]
    if checkpoint.spec.shortcut != "none":
        assert [block.name for block in back.spec.blocks] == blocks  # type: ignore[attr-defined]
        assert back.spec.shortcut == checkpoint.spec.shortcut
        kinds = [each.shortcut for each in back.spec.blocks]  # type: ignore[attr-defined]
        assert name != "gains" or kinds == ["padded", "identity"]  # also where a gain stands on the shortcut


def test_a_network_that_came_as_onnx_is_not_written_as_onnx_again():
    network = network_of(classifier().SerializeToString())
    checkpoint = Checkpoint(network, ("a", "b", "c", "d"), (0.0,) * 3, (1.0,) * 3, "other data: test")
    with pytest.raises(ValueError, match="take that one"):
        onnx_export.to_onnx(checkpoint)
