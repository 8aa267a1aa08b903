"""Laws of `explorer.weights_import`: other people's weights compute in our networks what they compute in theirs.

Their networks are rebuilt here from what is published of them, or are torchvision's own; weights and BatchNorm
statistics are random, so that no layer could be left out or exchanged unseen.

One file for the families: each is a table of names and a network, and all are asked the same questions.
"""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from fractions import Fraction
from functools import cache
from io import BytesIO
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from explorer import checkpoints, requirements
from explorer.architectures import ArchitectureSpec, Network, Stage, build, spec_from_dict
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split, folders
from explorer.datasets.downloadable import DOWNLOADABLE
from explorer.presets import PRESETS, cifar
from explorer.requirements import RequirementError
from explorer.tracing import trace
from explorer.weights_import import (
    NORMALISATIONS,
    NormalisationScore,
    Reading,
    Report,
    WeightsError,
    index_labels,
    reached_by_guessing,
    read,
    sandbox,
    score_normalisations,
)
from explorer.weights_import.recognition import recognise
from explorer.weights_import.spellings import normalise_keys

ROOT = Path(__file__).parents[1]
AKAMASTER = ROOT.parent / "shared" / "checkpoints" / "akamaster-resnet20.th"
CIFAR_JPEG = ROOT.parent / "data"
CIFAR_CLASSES = DOWNLOADABLE["cifar10"].class_names
BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
VGG = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}


def readings_of(state: Mapping[str, Tensor], wrapper: tuple[str, ...] = ()) -> list[Reading]:
    """Every complete interpretation of a state dict; `wrapper` are names that stood beside it in its file."""
    return list(recognise(state, wrapper, "this state dict").readings)


# --- their networks --------------------------------------------------------------------------------------------------


def conv(channels: int, out: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels, out, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """Basic or bottleneck, norm behind each convolution; the stride in the first 3×3; `way` to the sum."""

    def __init__(self, channels: int, out: int, stride: int, bottleneck: bool, way: str, shortcut: str) -> None:
        super().__init__()
        inner = out // 4 if bottleneck else out
        shapes = [(channels, inner, 1, 1), (inner, inner, 3, stride), (inner, out, 1, 1)]
        for index, sizes in enumerate(shapes if bottleneck else [(channels, out, 3, stride), (out, out, 3, 1)], 1):
            setattr(self, f"conv{index}", conv(*sizes))
            setattr(self, f"bn{index}", nn.BatchNorm2d(sizes[1]))
        self.convolutions = 3 if bottleneck else 2
        self.way, self.stride, self.shortcut_name = way, stride, shortcut
        if way == "B" and (stride != 1 or channels != out):
            setattr(self, shortcut, nn.Sequential(conv(channels, out, 1, stride), nn.BatchNorm2d(out)))

    def forward(self, x: Tensor) -> Tensor:
        branch = x
        for index in range(1, self.convolutions + 1):
            branch = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(branch))
            branch = F.relu(branch) if index < self.convolutions else branch
        if self.way == "none":
            return F.relu(branch)
        if self.way == "B" and hasattr(self, self.shortcut_name):
            x = getattr(self, self.shortcut_name)(x)
        elif self.way == "A" and branch.shape != x.shape:
            pad = (branch.shape[1] - x.shape[1]) // 2
            x = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, pad, pad))
        return F.relu(branch + x)


class Residual(nn.Module):
    """The CIFAR networks of akamaster, kuangliu, chenyaofo and loss-landscape: a 3×3 stem, stages, averages, a head."""

    def __init__(
        self,
        blocks: Iterable[int],
        width: int,
        way: str,
        head: str = "linear",
        shortcut: str = "shortcut",
        bottleneck: bool = False,
        classes: int = 10,
        pool: bool = False,
    ) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(3, width, 3), nn.BatchNorm2d(width)
        channels, self.stages = width, 0
        for index, count in enumerate(blocks):
            out = width * 2**index * (4 if bottleneck else 1)
            layer = nn.Sequential()
            for number in range(count):
                stride = 2 if index and not number else 1
                layer.append(Block(channels, out, stride, bottleneck, way, shortcut))
                channels = out
            setattr(self, f"layer{index + 1}", layer)
            self.stages += 1
        setattr(self, head, nn.Linear(channels, classes))
        self.head, self.pool = head, pool

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(x, 3, 2, padding=1) if self.pool else x
        for index in range(self.stages):
            x = getattr(self, f"layer{index + 1}")(x)
        return getattr(self, self.head)(x.mean((2, 3)))


class SmallVgg(nn.Module):
    """The VGGs for 32 pixels: kuangliu (one linear layer), chenyaofo (three), loss-landscape (a norm in between)."""

    def __init__(self, groups: Iterable[int], classifier: str, norm: bool = True, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for index, count in enumerate(groups):
            for _ in range(count):
                out = min(64 * 2**index, 512)
                layers.append(nn.Conv2d(channels, out, 3, padding=1))
                layers += [nn.BatchNorm2d(out), nn.ReLU()] if norm else [nn.ReLU()]
                channels = out
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.fc: nn.Module = nn.Identity()
        self.classifier: nn.Module = nn.Linear(channels, classes)
        if classifier == "three":
            between = [nn.Linear(512, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU(), nn.Dropout()]
            self.classifier = nn.Sequential(*between, nn.Linear(512, classes))
        elif classifier == "dropout first":
            between = [nn.Dropout(), nn.Linear(512, 512), nn.ReLU(), nn.Dropout(), nn.Linear(512, 512), nn.ReLU()]
            self.classifier = nn.Sequential(*between, nn.Linear(512, classes))
        elif classifier == "norm":
            self.fc = nn.Sequential(nn.Linear(channels * 16, channels), nn.BatchNorm1d(channels), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.fc(self.features(x).flatten(1)))


@cache
def noise() -> Tensor:
    return torch.randn(100_003, generator=torch.Generator().manual_seed(0))  # a prime: no two layers get the same


def shaken(network: Any) -> Any:
    """In evaluation mode, every tensor random, of a size that keeps the values of deep networks in range."""
    network = network.to_empty(device="cpu").eval()
    start = 0
    for name, tensor in network.state_dict().items():
        size = tensor.numel()
        drawn = noise()[start:].repeat(1 + size // (len(noise()) - start))[:size].reshape(tensor.shape)
        start = (start + size) % 50_000
        if name.endswith("running_var") or (tensor.dim() == 1 and name.endswith("weight")):
            tensor.copy_(1 + 0.2 * drawn.clamp(-2, 2))
        elif tensor.dim() > 1:
            tensor.copy_(drawn * (2 / tensor[0].numel()) ** 0.5)
        elif tensor.is_floating_point():
            tensor.copy_(0.1 * drawn)
        else:
            tensor.fill_(7)
    return network


def made(kind: type[nn.Module], *arguments: Any, **options: Any) -> nn.Module:
    """Without first values, which take longer than all the rest."""
    with torch.device("meta"):
        network = kind(*arguments, **options)
    return shaken(network)


def pixels(size: int = 32, seed: int = 1) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


def assert_same(theirs: nn.Module, ours: Network, image: Tensor) -> None:
    with torch.inference_mode():
        expected = theirs(image)
        found = ours(image)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5 * max(1.0, expected.abs().max().item()))


def only(state: Mapping[str, Tensor], wrapper: Iterable[str] = ()) -> Reading:
    (reading,) = readings_of(state, tuple(wrapper))
    return reading


def refusal(state: Mapping[str, Tensor]) -> str:
    with pytest.raises(WeightsError) as caught:
        readings_of(state)
    return checked(str(caught.value))


def checked(sentence: str) -> str:
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 800, sentence
    assert not re.search(r"Traceback|Error\b|weights_only=False|File \"|object at 0x", sentence), sentence
    return sentence


def opened(content: bytes) -> sandbox.FileContent:
    """What the child would answer about a file, in this process and without its limits."""
    answer = BytesIO()
    sandbox.write(answer, *sandbox.facts_of(BytesIO(content)))
    return sandbox._answered(answer, "`the file`")


def saved(value: Any, **options: Any) -> bytes:
    buffer = BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


# --- the families ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", BLOCKS)
def test_torchvisions_resnets(depth: int):
    """timm's resnet18, 34 and 50 have the same names and the same pass."""
    with torch.device("meta"):
        theirs = torchvision.models.get_model(f"resnet{depth}", weights=None, num_classes=1000 if depth == 18 else 20)
    theirs = shaken(theirs)
    reading = only(theirs.state_dict())
    assert reading.title == f"ResNet-{depth}" and reading.normalisation.name == "imagenet"
    assert reading.spec == replace(PRESETS[f"imagenet-resnet-{depth}"].spec, classes=1000 if depth == 18 else 20)
    assert_same(theirs, reading.network(), pixels(64)[:1])


@pytest.mark.parametrize("norm", ["", "_bn"])
@pytest.mark.parametrize("depth", VGG)
def test_torchvisions_vggs(depth: int, norm: str):
    """With a hidden layer of 8 instead of 4096 units, which a hundredth of the time is enough for."""
    with torch.device("meta"):
        theirs: Any = torchvision.models.get_model(f"vgg{depth}{norm}", weights=None)
        theirs.classifier[0], theirs.classifier[3] = nn.Linear(25088, 8), nn.Linear(8, 8)
        theirs.classifier[6] = nn.Linear(8, 1000)
    theirs = shaken(theirs)
    reading = only(theirs.state_dict())
    assert reading.title == f"VGG-{depth}{' with BatchNorm' if norm else ''}"
    assert reading.spec == replace(PRESETS[f"vgg-{depth}{norm.replace('_', '-')}"].spec, hidden=(8, 8))
    assert reading.normalisation.name == "imagenet"
    for ours, original in zip(reading.network().state_dict().values(), theirs.state_dict().values(), strict=True):
        assert torch.equal(ours, original)  # in one order, of which test_architectures proves that the pass is the same
    if depth == 11:
        assert_same(theirs, reading.network(), pixels(224)[:1])


@pytest.mark.parametrize("depth", BLOCKS)
def test_kuangliu_resnets(depth: int):
    theirs = made(Residual, BLOCKS[depth], 64, "B", bottleneck=depth >= 50)
    layout = recognise(theirs.state_dict(), ("acc", "epoch", "net"), "it").layout
    assert layout.family == "kuangliu" and layout.normalisation.name == "cifar10-2023"
    assert layout.class_names == CIFAR_CLASSES and layout.question is None
    reading = only(theirs.state_dict())
    assert reading.title == f"ResNet-{depth}, option B" and reading.spec.input_shape == (3, 32, 32)
    assert_same(theirs, reading.network(), pixels()[:1])


@pytest.mark.parametrize("depth", VGG)
def test_kuangliu_vggs(depth: int):
    theirs = made(SmallVgg, VGG[depth], "one")
    reading = only(theirs.state_dict(), ("acc", "epoch", "net"))
    assert reading.title == f"VGG-{depth} with BatchNorm" and reading.normalisation.name == "cifar10-2023"
    assert_same(theirs, reading.network(), pixels())


@pytest.mark.parametrize("depth", [8, 20, 32, 44, 56, 110])
def test_akamasters_resnets_and_the_plain_networks_with_the_same_names(depth: int):
    """Each reading computes what the network of that kind does; nothing in the file could choose."""
    blocks = [(depth - 2) // 6] * 3
    residual, plain = made(Residual, blocks, 16, "A"), Residual(blocks, 16, "none")
    plain.load_state_dict(residual.state_dict())
    plain.eval()
    layout = recognise(residual.state_dict(), ("best_prec1", "state_dict"), "it").layout
    assert layout.family == "akamaster" and layout.question and "option-A" in layout.question
    option_a, without = readings_of(residual.state_dict(), ("best_prec1", "state_dict"))
    assert (option_a.title, without.title) == (f"ResNet-{depth}, option A", f"plain-{depth}")
    assert option_a.spec == cifar(depth) and without.spec == option_a.spec.twin()
    assert {reading.normalisation.name for reading in (option_a, without)} == {"imagenet"}
    assert_same(residual, option_a.network(), pixels())
    assert_same(plain, without.network(), pixels())


@pytest.mark.parametrize("depth", [20, 32, 44, 56])
@pytest.mark.parametrize("classes", [10, 100])
def test_chenyaofos_resnets(depth: int, classes: int):
    theirs = made(Residual, [(depth - 2) // 6] * 3, 16, "B", head="fc", shortcut="downsample", classes=classes)
    layout = recognise(theirs.state_dict(), (), "it").layout
    assert layout.family == "chenyaofo" and (layout.class_names is None) == (classes == 100)
    reading = only(theirs.state_dict())
    assert reading.normalisation.name == ("cifar100" if classes == 100 else "cifar10-2023")
    assert_same(theirs, reading.network(), pixels())


@pytest.mark.parametrize("depth", VGG)
@pytest.mark.parametrize("classifier", ["three", "dropout first"])
def test_chenyaofos_vggs(depth: int, classifier: str):
    theirs = made(SmallVgg, VGG[depth], classifier, classes=100)
    reading = only(theirs.state_dict())
    assert reading.normalisation.name == "cifar100" and reading.spec.hidden == (512, 512)
    assert_same(theirs, reading.network(), pixels())


@pytest.mark.parametrize(("depth", "width"), [(20, 16), (56, 16), (110, 16), (56, 32)])
def test_loss_landscapes_resnets(depth: int, width: int):
    """Width 32 is its WRN-56-2: wide, but not pre-activated, so an ordinary network of twice the channels."""
    theirs = made(Residual, [(depth - 2) // 6] * 3, width, "B")
    reading = only(theirs.state_dict(), ("acc", "epoch", "state_dict"))
    assert reading.title == f"ResNet-{depth}, option B" and reading.normalisation.name == "cifar10"
    assert_same(theirs, reading.network(), pixels())


@pytest.mark.parametrize("blocks", [(3, 3, 3), (9, 9, 9), (18, 18, 18), (2, 2, 2, 2)])
def test_loss_landscapes_noshort_asks_and_reads_plain_first(blocks: tuple[int, ...]):
    theirs = made(Residual, blocks, 64 if len(blocks) == 4 else 16, "none")
    layout = recognise(theirs.state_dict(), ("acc", "epoch", "state_dict"), "it").layout
    assert layout.family == "loss-landscape" and layout.question and layout.normalisation.name == "cifar10"
    plain, residual = readings_of(theirs.state_dict(), ("acc", "epoch", "state_dict"))
    assert plain.spec.shortcut == "none" and residual.spec.shortcut == "identity"
    assert_same(theirs, plain.network(), pixels())


def test_loss_landscapes_bottlenecks_without_shortcuts_have_no_last_activation_and_are_refused():
    state = made(Residual, BLOCKS[50], 64, "none", bottleneck=True).state_dict()
    assert "no activation at the end of a block" in refusal(state)


def test_loss_landscapes_vgg9_has_a_norm_in_its_head_that_becomes_a_part_of_the_linear_layer():
    theirs = made(SmallVgg, (2, 2, 3), "norm")
    assert set(theirs.state_dict()) >= {"fc.0.weight", "fc.1.running_var", "classifier.bias"}
    layout = recognise(theirs.state_dict(), (), "it").layout
    recognition = recognise(theirs.state_dict(), (), "it")
    assert layout.family == "loss-landscape"
    assert any("multiplied into `fc.0`" in entry for entry in recognition.evidence)
    reading = only(theirs.state_dict())
    assert reading.title == "VGG-9 with BatchNorm"
    assert_same(theirs, reading.network(), pixels())


def test_torchvisions_names_with_a_small_stem_may_have_a_pooling_and_ask():
    without = made(Residual, BLOCKS[18], 64, "B", head="fc", shortcut="downsample")
    pooled = Residual(BLOCKS[18], 64, "B", head="fc", shortcut="downsample", pool=True).eval()
    pooled.load_state_dict(without.state_dict())
    layout = recognise(without.state_dict(), (), "it").layout
    assert layout.question and "max-pooling behind the stem" in layout.question
    first, second = readings_of(without.state_dict())
    assert_same(without, first.network(), pixels())
    assert_same(pooled, second.network(), pixels())


def test_a_vgg_without_norms():
    theirs = made(SmallVgg, VGG[16], "one", norm=False)
    reading = only(theirs.state_dict())
    assert reading.title == "VGG-16" and reading.spec.norm == "none"
    assert_same(theirs, reading.network(), pixels())


@pytest.mark.parametrize("name", ["two-conv", "lenet", "separable-resnet", "resnet-20", "vgg-11"])
def test_our_own_state_dicts_are_read_where_a_preset_has_their_shapes(name: str):
    spec = PRESETS[name].spec
    if name == "vgg-11":
        spec = replace(spec, hidden=(8, 8))
        assert "no preset has these shapes" in refusal(build(spec).state_dict())
        return
    theirs = shaken(build(spec))
    readings = readings_of(theirs.state_dict())
    assert spec in [reading.spec for reading in readings]
    assert {reading.spec.shortcut for reading in readings} >= ({"none", "identity"} if name == "resnet-20" else set())
    chosen = next(reading for reading in readings if reading.spec == spec)
    assert_same(theirs, chosen.network(), pixels())


def test_our_own_network_of_option_b_and_of_another_width():
    for spec in (cifar(14, "projection"), cifar(26, "none", width=8)):
        theirs = shaken(build(spec))
        chosen = next(entry for entry in readings_of(theirs.state_dict()) if entry.spec == spec)
        assert_same(theirs, chosen.network(), pixels())


# --- other spellings of the same networks ----------------------------------------------------------------------------


def imagenet(bottleneck: bool = False, classes: int = 10, channels: int = 3, **options: int) -> Any:
    """torchvision's ResNet with one block a stage."""
    block = torchvision.models.resnet.Bottleneck if bottleneck else torchvision.models.resnet.BasicBlock
    with torch.device("meta"):
        network = torchvision.models.resnet.ResNet(block, [1, 1, 1, 1], num_classes=classes, **options)
        if channels != 3:
            network.conv1 = nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    return shaken(network)


def hugging_face(key: str) -> str:
    parts = {"conv": "convolution", "bn": "normalization"}
    if key.startswith("fc."):
        return key.replace("fc", "classifier.1")
    if not key.startswith("layer"):
        module, leaf = key.split(".")
        return f"resnet.embedder.embedder.{parts[module[:-1]]}.{leaf}"
    stage, block, kind, rest = key.split(".", 3)
    place = f"resnet.encoder.stages.{int(stage[5:]) - 1}.layers.{block}"
    if kind == "downsample":
        number, leaf = rest.split(".")
        return f"{place}.shortcut.{list(parts.values())[int(number)]}.{leaf}"
    return f"{place}.layer.{int(kind[-1]) - 1}.{parts[kind[:-1]]}.{rest}"


def in_sequentials(stages: str, branch: str, first: int = 1) -> Any:
    """`layer1.0.conv1` as the first entry of the Sequential `branch` of a block, and the stem as one, too."""

    def spelled(key: str) -> str:
        key = re.sub(r"^(conv|bn)1\.", lambda m: f"conv1.{int(m[1] == 'bn')}.", key)
        key = re.sub(r"\.(conv|bn)(\d)\.", lambda m: f".{branch}.{3 * int(m[2]) - 3 + (m[1] == 'bn')}.", key)
        key = key.replace("downsample", "shortcut")
        return re.sub(r"^layer(\d)", lambda m: stages.format(int(m[1]) - 1 + first), key)

    return spelled


def children(key: str) -> str:
    key = re.sub(r"^layer(\d)", lambda m: str(int(m[1]) + 3), key)
    key = re.sub(r"^bn1", "1", re.sub(r"^conv1", "0", key))
    return key.replace("fc.", "classifier.") if key.startswith("fc.") else f"feature_extractor.{key}"


def open_mmlab(key: str) -> str:
    return f"head.{key}" if key.startswith("fc.") else f"backbone.{key}"


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize(
    ("spelled", "family"),
    [
        (hugging_face, "Hugging Face"),
        (open_mmlab, "OpenMMLab"),
        (children, "torchvision or timm"),
        (lambda key: f"module.classifier_net.resnet.{key}", "torchvision or timm"),
        (lambda key: f"timm_model.{key}", "torchvision or timm"),
    ],
)
def test_a_resnet_under_other_names(spelled: Any, family: str, bottleneck: bool):
    theirs = imagenet(bottleneck)
    found = recognise({spelled(key): value for key, value in theirs.state_dict().items()}, (), "it")
    assert found.layout.family == family and found.layout.normalisation.name == "imagenet"
    assert (spelled("layer1.0.conv2.weight"), "stages.0.0.conv2.weight") in found.renamed
    (reading,) = found.readings
    assert_same(theirs, reading.network(), pixels(64)[:1])


@pytest.mark.parametrize("bottleneck", [False, True])
@pytest.mark.parametrize(
    ("stages", "branch", "first", "family", "normalisation"),
    [
        ("conv{}_x", "residual_function", 2, "weiaicunzai", "cifar100"),
        ("layer{}", "left", 1, "kuangliu", "cifar10-2023"),
    ],
)
def test_blocks_whose_branch_is_a_sequential(
    stages: str, branch: str, first: int, family: str, normalisation: str, bottleneck: bool
):
    theirs = made(Residual, (1, 2, 1, 1), 8, "B", "fc", "downsample", bottleneck, classes=100)
    spelled = in_sequentials(stages, branch, first)
    found = recognise({spelled(key): value for key, value in theirs.state_dict().items()}, (), "it")
    assert (found.layout.family, found.layout.normalisation.name) == (family, normalisation)
    (reading,) = found.readings
    assert reading.spec.input_shape == (3, 32, 32) and reading.spec.classes == 100
    assert_same(theirs, reading.network(), pixels())


def robust(state: Mapping[str, Tensor], attacked: Mapping[str, Tensor], mean: float = 0.4) -> dict[str, Tensor]:
    found = {f"module.model.{key}": value for key, value in state.items()}
    found |= {f"module.attacker.model.{key}": value for key, value in attacked.items()}
    for part, middle in (("normalizer", 0.4), ("attacker.normalize", mean)):
        found[f"module.{part}.new_mean"] = torch.tensor([middle, 0.48, 0.44]).reshape(3, 1, 1)
        found[f"module.{part}.new_std"] = torch.tensor([0.2, 0.19, 0.21]).reshape(3, 1, 1)
    return found


@pytest.mark.parametrize("head", ["linear", "fc"])
def test_robustness_has_two_equal_copies_and_its_own_normalisation(head: str):
    theirs = made(Residual, (1, 1, 1, 1), 8, "B", head, "shortcut" if head == "linear" else "downsample")
    state = theirs.state_dict()
    found = recognise(robust(state, state), ("model", "epoch"), "it")
    reading = found.readings[0]
    assert reading.normalisation.mean == (0.4, 0.48, 0.44) and reading.normalisation.std == (0.2, 0.19, 0.21)
    assert reading.normalisation_reason == "the file says it" and len(found.ignored) == len(state)
    assert any("twice and are equal" in entry for entry in found.evidence)
    assert any("`module.normalizer.new_mean`" in entry for entry in found.evidence)
    assert not any(entry.startswith("the normalisation") for entry in reading.uncertain)
    assert_same(theirs, reading.network(), pixels())
    other = {**state, "bn1.bias": state["bn1.bias"] + 1}
    assert "two networks in one" in refusal(robust(state, other))
    assert "two normalisations" in refusal(robust(state, state, mean=0.5))
    broken = robust(state, state)
    broken["module.normalizer.new_std"] = torch.zeros(3, 1, 1)
    assert "a normalisation that is none" in refusal(broken)


def test_a_normalisation_in_front_of_a_network_in_a_sequential(small: Residual):
    """Of values from 0 to 255, too: (255 x - mean) / std."""
    state = {f"1.{key}": value for key, value in small.state_dict().items()}
    state |= {"0.mean": torch.tensor([127.5, 51, 255]), "0.std": torch.tensor([51.0, 25.5, 255])}
    assert only(state).normalisation.mean == (0.5, 0.2, 1.0) and only(state).normalisation.std == (0.2, 0.1, 1.0)
    assert_same(small, only(state).network(), pixels())


HEADS: dict[str, Any] = {
    "dropout": lambda n: nn.Sequential(nn.Dropout(), nn.Linear(n, 10)),
    "hidden": lambda n: nn.Sequential(nn.Linear(n, 12), nn.ReLU(), nn.Dropout(), nn.Linear(12, 10)),
    "norm": lambda n: nn.Sequential(nn.Linear(n, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 10)),
    "named": lambda n: nn.Sequential(OrderedDict(fc1=nn.Linear(n, 12), relu=nn.ReLU(), fc2=nn.Linear(12, 10))),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("name", ["fc", "model.fc", "classifier", "anything"])
def test_a_head_in_a_sequential(head: str, name: str):
    theirs = imagenet()
    with torch.device("meta"):
        theirs.fc = HEADS[head](512)
    shaken(theirs)
    prefix = "model." if name.startswith("model") else ""
    state = {(prefix + key).replace(f"{prefix}fc.", f"{name}."): value for key, value in theirs.state_dict().items()}
    reading = only(state)
    assert reading.spec.hidden == (() if head == "dropout" else (12,))
    assert any("ReLU stands between" in entry for entry in reading.uncertain) == (head != "dropout")
    assert_same(theirs, reading.network(), pixels(64)[:1])


def test_heads_that_are_no_chain_are_refused():
    state = made(Residual, (1, 1, 1), 16, "B").state_dict()
    assert "where 10 values arrive" in refusal(
        {**state, "extra.weight": torch.zeros(5, 7), "extra.bias": torch.zeros(5)}
    )
    headless = {key: value for key, value in state.items() if not key.startswith("linear")}
    two = {"fc.0.weight": torch.zeros(9, 64), "fc.0.bias": torch.zeros(9)}
    two |= {"fc.1.weight": torch.zeros(10, 9), "fc.1.bias": torch.zeros(10)}
    assert "without an activation between them" in refusal({**headless, **two})


@pytest.mark.parametrize("options", [{"groups": 8, "width_per_group": 4}, {"width_per_group": 128}])
def test_groups_and_wide_bottlenecks(options: dict[str, int]):
    theirs = imagenet(bottleneck=True, **options)
    reading = only(theirs.state_dict())
    assert reading.title == ("ResNeXt-14" if "groups" in options else "wide ResNet-14-2")
    assert_same(theirs, reading.network(), pixels(64)[:1])


def test_a_regnet_in_the_names_of_a_resnet_is_refused():
    """OpenMMLab's: a 3×3 stem of stride 2, which a ResNet for small pictures has not."""
    state = made(Residual, (1, 1, 1, 1), 8, "B", "fc", "downsample", True).state_dict()
    for stage, out in zip(range(1, 5), (32, 64, 128, 256), strict=True):
        state |= {f"layer{stage}.0.conv1.weight": torch.zeros(out, 8 if stage == 1 else out // 2, 1, 1)}
        state |= {f"layer{stage}.0.conv2.weight": torch.zeros(out, 8, 3, 3)}
        state |= {f"layer{stage}.0.conv3.weight": torch.zeros(out, out, 1, 1)}
    assert "RegNets" in refusal(state)


class WideBlock(nn.Module):
    """xternalz's BasicBlock."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(channels), conv(channels, out, 3, stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(out), conv(out, out, 3)
        if channels != out:
            self.convShortcut = conv(channels, out, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        out = F.relu(self.bn1(x))
        x = self.convShortcut(out) if hasattr(self, "convShortcut") else x
        return x + self.conv2(F.relu(self.bn2(self.conv1(out))))


class Wide(nn.Module):
    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        self.conv1, channels = conv(3, 4, 3), 4
        for index in range(3):
            out = 4 * width * 2**index
            layer = [WideBlock(channels if n == 0 else out, out, 2 if index and not n else 1) for n in range(blocks)]
            setattr(self, f"block{index + 1}", nn.ModuleDict({"layer": nn.Sequential(*layer)}))
            channels = out
        self.bn1, self.fc = nn.BatchNorm2d(channels), nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for index in range(1, 4):
            x = getattr(self, f"block{index}")["layer"](x)
        return self.fc(F.relu(self.bn1(x)).mean((2, 3)))


@pytest.mark.parametrize(("blocks", "width", "title"), [(2, 3, "WRN-16-3"), (1, 1, "WRN-10-1")])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_wide_resnets_with_norms_in_front(blocks: int, width: int, title: str, prefix: str):
    theirs = made(Wide, blocks, width)
    reading = only({prefix + key: value for key, value in theirs.state_dict().items()})
    assert reading.title == title and reading.spec.preactivation
    assert any(entry.startswith("the normalisation") for entry in reading.uncertain)
    assert_same(theirs, reading.network(), pixels())


class PreActivationBlock(nn.Module):
    """kuangliu's PreActBlock and PreActBottleneck, which differ in their convolutions."""

    def __init__(self, channels: int, width: int, stride: int, kernels: Sequence[int]) -> None:
        super().__init__()
        out = width if kernels[-1] == 3 else 4 * width
        sizes = [channels, *[width] * (len(kernels) - 1), out]
        for index, kernel in enumerate(kernels):
            step = stride if index == len(kernels) // 2 - (len(kernels) == 2) else 1
            setattr(self, f"bn{index + 1}", nn.BatchNorm2d(sizes[index]))
            setattr(self, f"conv{index + 1}", conv(sizes[index], sizes[index + 1], kernel, step))
        if stride > 1 or channels != out:
            self.shortcut = nn.Sequential(conv(channels, out, 1, stride))
        self.count = len(kernels)

    def forward(self, x: Tensor) -> Tensor:
        out = first = F.relu(self.get_submodule("bn1")(x))
        for index in range(1, self.count + 1):
            out = getattr(self, f"conv{index}")(out if index == 1 else F.relu(getattr(self, f"bn{index}")(out)))
        return out + (self.shortcut(first) if hasattr(self, "shortcut") else x)


class PreActivation(nn.Module):
    def __init__(self, blocks: Sequence[int], kernels: Sequence[int], last_norm: bool) -> None:
        super().__init__()
        self.conv1, channels = conv(3, 8, 3), 8
        for index, count in enumerate(blocks):
            layer = []
            for n in range(count):
                layer.append(PreActivationBlock(channels, 8 * 2**index, 2 if index and not n else 1, kernels))
                channels = 8 * 2**index * (1 if kernels[-1] == 3 else 4)
            setattr(self, f"layer{index + 1}", nn.Sequential(*layer))
        self.bn = nn.BatchNorm2d(channels) if last_norm else None
        self.linear = nn.Linear(channels, 10)

    def forward(self, x: Tensor) -> Tensor:
        for name in ("conv1", "layer1", "layer2", "layer3", "layer4"):
            x = self.get_submodule(name)(x)
        x = x if self.bn is None else F.relu(self.bn(x))
        return self.linear(F.avg_pool2d(x, 4).flatten(1))


@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("last_norm", [False, True])
@pytest.mark.parametrize(("blocks", "kernels", "depth"), [((2, 2, 2, 2), (3, 3), 18), ((1, 2, 1, 1), (1, 3, 1), 17)])
def test_pre_activation_resnets(blocks, kernels, depth: int, last_norm: bool, prefix: str):
    theirs = made(PreActivation, blocks, kernels, last_norm)
    reading = only({prefix + key: value for key, value in theirs.state_dict().items()})
    assert reading.title == f"pre-activation ResNet-{depth}" and reading.spec.head_norm == last_norm
    assert_same(theirs, reading.network(), pixels())
    assert spec_from_dict(reading.spec.to_dict()) == reading.spec


@pytest.mark.parametrize("prefix", ["", "model."])
def test_one_output_is_two_classes_by_a_sigmoid(prefix: str):
    theirs = imagenet(classes=1)
    reading = only({prefix + key: value for key, value in theirs.state_dict().items()})
    assert reading.spec.classes == 2 and reading.spec.one_logit and reading.class_names is None
    assert any("one output" in entry for entry in reading.uncertain)
    image = pixels(64)[:1]
    ours = reading.network()
    with torch.inference_mode():
        z, logits = theirs(image), ours(image)
    torch.testing.assert_close(logits, torch.cat([-z, z], 1))
    for target, sign in ((0, -1), (1, 1)):
        shown = trace(reading_at(reading, 64), image[0].numpy(), target)
        x = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(sign * theirs(x).sum(), x)
        np.testing.assert_allclose(shown.image_gradient, gradient[0].numpy(), rtol=1e-4, atol=1e-5)
        assert shown.probabilities[1] == pytest.approx(float(z.double().sigmoid()), rel=1e-5)


def reading_at(reading: Reading, side: int) -> Network:
    spec = replace(reading.spec, input_shape=(3, side, side))
    return replace(reading, spec=spec).network()


@pytest.mark.parametrize("stem", [3, 7])
def test_grey_pictures(stem: int):
    if stem == 7:
        theirs: Any = imagenet(channels=1)
    else:
        theirs = Residual((1, 1, 1), 8, "B")
        theirs.conv1 = conv(1, 8, 3)
        shaken(theirs)
    reading = only(theirs.state_dict())
    assert reading.spec.input_shape == ((1, 224, 224) if stem == 7 else (1, 28, 28))
    assert reading.normalisation.mean == (pytest.approx(0.449) if stem == 7 else 0.1307,)
    assert reading.class_names is None and any("grey images" in entry for entry in reading.uncertain)
    assert_same(theirs, reading.network(), pixels(64)[:1, :1])
    checkpoint = reading.checkpoint("noise", NORMALISATIONS["half"])
    assert (checkpoint.mean, checkpoint.std) == ((0.5,), (0.5,))


class Tutorial(nn.Module):
    """`conv1`, `conv2`, `fc1`, ... with 2×2 max-pooling behind each convolution or the last."""

    def __init__(self, *convolutions: nn.Module, linear: tuple[int, ...], pooled: str = "each", norm: bool = False):
        super().__init__()
        self.convolutions, self.linear, self.pooled = len(convolutions), len(linear) - 1, pooled
        for index, convolution in enumerate(convolutions, 1):
            setattr(self, f"conv{index}", convolution)
            if norm:
                setattr(self, f"bn{index}", nn.BatchNorm2d(convolution.out_channels))  # type: ignore[arg-type]
        for index in range(1, len(linear)):
            setattr(self, f"fc{index}", nn.Linear(linear[index - 1], linear[index]))

    def forward(self, x: Tensor) -> Tensor:
        for index in range(1, self.convolutions + 1):
            x = getattr(self, f"conv{index}")(x)
            x = F.relu(getattr(self, f"bn{index}")(x) if hasattr(self, f"bn{index}") else x)
            x = F.max_pool2d(x, 2) if self.pooled == "each" or index == self.convolutions else x
        x = x.flatten(1)
        for index in range(1, self.linear + 1):
            x = getattr(self, f"fc{index}")(x)
            x = F.relu(x) if index < self.linear else x
        return x


TUTORIALS: dict[str, tuple[Any, tuple[int, int, int], str]] = {
    "PyTorch's": (
        lambda: Tutorial(nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5), linear=(400, 120, 84, 10)), (3, 32, 32), "half",
    ),
    "MNIST": (
        lambda: Tutorial(nn.Conv2d(1, 32, 3), nn.Conv2d(32, 64, 3), linear=(9216, 128, 10), pooled="last"),
        (1, 28, 28), "mnist",
    ),
    "with norms": (
        lambda: Tutorial(
            nn.Conv2d(1, 16, 5, padding=2), nn.Conv2d(16, 32, 5, padding=2), linear=(1568, 10), norm=True
        ),
        (1, 28, 28), "mnist",
    ),
    "one output": (
        lambda: Tutorial(*(nn.Conv2d(3 * 2**n, 6 * 2**n, 3, padding=1) for n in range(3)), linear=(384, 8, 1)),
        (3, 32, 32), "half",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TUTORIALS)
@pytest.mark.parametrize("prefix", ["", "model."])
def test_the_cnns_of_tutorials(name: str, prefix: str):
    make, takes, normalisation = TUTORIALS[name]
    with torch.device("meta"):
        theirs = make()
    shaken(theirs)
    found = recognise({prefix + key: value for key, value in theirs.state_dict().items()}, (), "it")
    reading = found.readings[0]
    assert len(found.readings) == 1 and reading.spec.input_shape == takes
    assert found.layout.normalisation.name == normalisation
    for subject in ("the order", "the normalisation", "the activation"):
        assert any(entry.startswith(subject) and "not in the file" in entry for entry in reading.uncertain), subject
    image = pixels(takes[1])[:, : takes[0]]
    if name == "one output":
        with torch.inference_mode():
            torch.testing.assert_close(reading.network()(image)[:, 1:], theirs(image))
    else:
        assert_same(theirs, reading.network(), image)


def test_a_cnn_whose_geometry_is_open_asks_and_one_that_fits_nothing_is_refused():
    state = Tutorial(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), linear=(4 * 16 * 16, 10)).state_dict()
    assert len(readings_of(state)) > 1 and recognise(state, (), "it").layout.question
    state["fc1.weight"] = torch.zeros(10, 4 * 17 * 17)
    assert "no image of 28, 32" in refusal(state)


def test_kuangliu_names_beside_an_option_a_resnet_are_no_evidence_for_a_plain_one():
    state = made(Residual, (1, 1, 1), 16, "A").state_dict()
    found = recognise(state, ("net", "acc", "epoch"), "it")
    assert [reading.spec.shortcut for reading in found.readings] == ["identity", "none"] and found.layout.question
    assert any("far more ResNets" in entry for entry in found.evidence)


@pytest.mark.parametrize(("scale", "words"), [(60.0, "0 to 255"), (1.0, ""), (0.2, "0 to 1")])
def test_the_first_norm_tells_the_scale_of_the_input(scale: float, words: str):
    """Pictures of neighbouring pixels that are alike, as natural ones are."""
    theirs = imagenet()
    smooth = F.interpolate(torch.randn(8, 3, 16, 16, generator=torch.Generator().manual_seed(2)), scale_factor=14)
    with torch.inference_mode():
        outputs = theirs.conv1(scale * smooth)
    theirs.bn1.running_mean.copy_(outputs.mean((0, 2, 3)))
    theirs.bn1.running_var.copy_(outputs.var((0, 2, 3)))
    found = [entry for entry in only(theirs.state_dict()).uncertain if entry.startswith("the scale of the input")]
    assert len(found) == bool(words) and all(words in entry for entry in found)


# --- wrappers, prefixes, formats -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> Residual:
    network = made(Residual, (1, 1, 1), 16, "B")
    assert isinstance(network, Residual)
    return network


WRAPPERS: dict[str, Any] = {
    "none": lambda state: state,
    "ordered": lambda state: OrderedDict(state),
    "akamaster": lambda state: {"state_dict": state, "best_prec1": 92.6},
    "kuangliu": lambda state: {"net": state, "acc": 95.1, "epoch": 199},
    "loss-landscape": lambda state: {"acc": 94.0, "epoch": 300, "state_dict": state},
    "model": lambda state: {"model": state, "optimizer": {"state": {0: {"m": torch.ones(16, 3, 3, 3)}}, "groups": []}},
    "model_state_dict": lambda state: {"model_state_dict": state, "loss": torch.tensor(0.1), "epoch": 3},
    "ema": lambda state: {"ema": state, "updates": 100},
    "nested": lambda state: {"model": {"state_dict": state}, "history": [1.0, 2.0]},
    "optimisers": lambda state: {"state_dict": state, "optimizer_states": [{"state": {0: {"m": torch.ones(9, 9)}}}]},
    "lightning": lambda state: {
        "epoch": 9,
        "global_step": 1000,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": {f"model.{key}": value for key, value in state.items()} | {"criterion.weight": torch.ones(10)},
        "hyper_parameters": {"lr": 0.1},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_model_score": torch.tensor(0.9)}},
        "lr_schedulers": [{"_last_lr": [0.1]}],
        "loops": {"fit_loop": {"state_dict": {}}},
    },
}
FORMATS: dict[str, Any] = {
    "zip": saved,
    "legacy": lambda value: saved(value, _use_new_zipfile_serialization=False),
    "zip, protocol 3": lambda value: saved(value, pickle_protocol=3),
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_in_every_format(small: Residual, wrapper: str, form: str):
    found = opened(FORMATS[form](WRAPPERS[wrapper](small.state_dict())))
    ((_, state),) = found.state_dicts
    reading = only(state, found.beside)
    assert_same(small, reading.network(), pixels())
    families = {"kuangliu": "loss-landscape", "akamaster": "akamaster"}  # three stages with projections, so
    family = recognise(state, found.beside, "it").layout.family
    assert family == families.get(wrapper, "loss-landscape")


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "model.", "net.", "backbone.", "module.module.", "_orig_mod.module.", "model.net."]
    + ["module._orig_mod.model.backbone.", "model.module.net._orig_mod."],
)
def test_every_prefix_repeated_and_mixed(small: Residual, prefix: str):
    state = {prefix + key: value for key, value in small.state_dict().items()}
    recognition = recognise(state, (), "it")
    assert_same(small, recognition.readings[0].network(), pixels())
    assert (f"{prefix}conv1.weight", "stem.conv.weight") in recognition.renamed
    assert any(entry.startswith("prefixes taken away") for entry in recognition.evidence)


def test_prefixes_on_some_names_only_and_within_names(small: Residual):
    """DataParallel around the features alone; a backbone whose head stands beside it."""
    state = small.state_dict()
    mixed = {key.replace("layer1.", "layer1.module.") if "1.0" in key else f"model.{key}": state[key] for key in state}
    assert_same(small, only(mixed).network(), pixels())
    beside = {key if key.startswith("linear") else f"backbone.{key}": value for key, value in state.items()}
    assert_same(small, only(beside).network(), pixels())


def test_two_networks_under_one_name_are_refused(small: Residual):
    state = small.state_dict()
    sentence = refusal({**state, **{f"model.{key}": value + 1 for key, value in state.items()}})
    assert "two networks in one" in sentence and "`model.conv1.weight`" in sentence


def test_what_is_no_layer_is_ignored_and_said(small: Residual):
    state = {**small.state_dict(), "n_averaged": torch.tensor(4), "layer1.0.conv1.total_ops": torch.zeros(1)}
    recognition = recognise(state, (), "it")
    assert recognition.ignored == ("n_averaged", "layer1.0.conv1.total_ops")
    assert any("2 values ignored" in entry for entry in recognition.evidence)
    assert_same(small, recognition.readings[0].network(), pixels())


def test_counters_that_are_missing_are_set_and_said(small: Residual):
    state = {key: value for key, value in small.state_dict().items() if not key.endswith("num_batches_tracked")}
    recognition = recognise(state, (), "it")
    assert any("set to 0" in entry for entry in recognition.evidence)
    network = recognition.readings[0].network()
    assert network.state_dict()["stem.norm.num_batches_tracked"] == 0
    assert_same(small, network, pixels())


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_become_float32_and_it_is_said(small: Residual, kind: torch.dtype):
    content = saved({key: value.to(kind) if value.dim() else value for key, value in small.state_dict().items()})
    ((_, state),) = opened(content).state_dicts
    recognition = recognise(state, (), "it")
    assert f"weights are {str(kind)[6:]}, converted to float32" in recognition.evidence
    network = recognition.readings[0].network()
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}
    theirs = Residual((1, 1, 1), 16, "B").eval()
    theirs.load_state_dict({key: value.float() for key, value in state.items()})
    assert_same(theirs, network, pixels())


# --- never in part, never in silence ---------------------------------------------------------------------------------


def test_no_tensor_may_be_missing_added_or_of_another_shape(small: Residual):
    """Of each one: the sentence has its name, and for a shape both."""
    state = dict(small.state_dict())
    for key, value in state.items():
        if value.dim() == 0:
            continue
        assert f"`{key}`" in refusal({name: entry for name, entry in state.items() if name != key}) or "conv1" in key
        other = torch.zeros(*value.shape[:-1], value.shape[-1] + 2)
        sentence = refusal({**state, key: other})
        if key not in ("conv1.weight", "linear.weight"):  # which decide what is expected of the others
            expected = "×".join(map(str, value.shape))
            assert f"`{key}` is {'×'.join(map(str, other.shape))} where {expected} is expected" in sentence
        added = refusal({**state, f"{key}.more": value})
        assert f"`{key}.more`" in added and "has no place in it" in added


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("vit_b_16", "a transformer"),
        ("swin_t", "a transformer"),
        ("densenet121", "a DenseNet"),
        ("squeezenet1_0", "where a kernel of 3×3 is expected"),
        ("mobilenet_v2", "a MobileNet"),
        ("efficientnet_b0", "a MobileNet, EfficientNet or ConvNeXt"),
        ("convnext_tiny", "MobileNet, EfficientNet or ConvNeXt"),
        ("alexnet", "`features.0.weight` is 64×3×11×11, where a kernel of 3×3 is expected"),
        ("shufflenet_v2_x0_5", "cannot build"),
        ("mnasnet0_5", "cannot build"),
    ],
)
def test_other_networks_of_torchvision_are_refused_in_words(name: str, words: str):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None)
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in theirs.state_dict().items()}
    assert re.search(words, refusal(state))


def test_relatives_of_known_networks_are_refused_with_what_they_are():
    state = made(Residual, BLOCKS[18], 64, "B").state_dict()
    squeeze = {**state, "layer1.0.se.fc1.weight": torch.zeros(4, 64, 1, 1)}
    assert "squeeze-and-excitation" in refusal(squeeze)
    before = {key: value for key, value in state.items() if not re.search(r"shortcut\.1", key)}
    for key in [key for key in before if re.fullmatch(r"layer[234]\.0\.bn1\.(weight|bias|running_.*)", key)]:
        before[key] = before[key][: len(before[key]) // 2]
    assert "pre-activation" in refusal(before)
    four = {**state, "conv1.weight": torch.zeros(64, 4, 3, 3)}
    assert "three colours" in refusal(four) and "64×4×3×3" in refusal(four)
    five = {**state, "conv1.weight": torch.zeros(64, 3, 5, 5)}
    assert "stem of shape 64×3×5×5" in refusal(five)
    headless = {key: value for key, value in state.items() if not key.startswith("linear")}
    assert "features, not classes" in refusal(headless)
    vgg = made(SmallVgg, VGG[11], "one").state_dict()
    wide = {**vgg, "classifier.weight": torch.zeros(10, 2048)}
    assert "10×2048" in refusal(wide) and "not its sizes" in refusal(wide)
    apart = {key.replace("features.0.", "features.1."): value for key, value in vgg.items()}
    assert refusal(apart)
    uneven = made(SmallVgg, (2, 1, 1, 1, 1), "one").state_dict()
    uneven["features.0.weight"] = torch.zeros(32, 3, 3, 3)
    assert "changes its channels within a stage" in refusal(uneven)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("layer1.0.conv1.weight", float("nan"), "not a number: 1 of 2,304 in `layer1.0.conv1.weight`"),
        ("linear.bias", float("inf"), "infinite: 1 of 10 in `linear.bias`"),
        ("bn1.running_mean", float("-inf"), "infinite: 1 of 16 in `bn1.running_mean`"),
        ("layer2.0.shortcut.1.running_var", -0.5, "a negative variance in `layer2.0.shortcut.1.running_var`, -0.5"),
    ],
)
def test_values_that_no_training_leaves_are_found_and_named(small: Residual, key: str, value: float, words: str):
    state = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    state[key].view(-1)[0] = value
    assert words in refusal(state)


def test_float64_beyond_float32_is_not_made_infinite_in_silence(small: Residual):
    state = {name: tensor.double() if tensor.dim() else tensor for name, tensor in small.state_dict().items()}
    state["linear.bias"][3] = 1e60
    assert "infinite: 1 of 10 in `linear.bias`" in refusal(state)


def test_whole_numbers_are_no_weights(small: Residual):
    assert "int8 values in `conv1.weight`" in refusal(
        {**small.state_dict(), "conv1.weight": torch.zeros(16, 3, 3, 3, dtype=torch.int8)}
    )
    counter = {**small.state_dict(), "bn1.num_batches_tracked": torch.zeros(3)}
    assert "counter `bn1.num_batches_tracked`" in refusal(counter)


def test_names_that_would_steer_a_terminal_are_cleaned(small: Residual):
    sentence = refusal({**small.state_dict(), "a\x1b[31m\u202e`b`\n": torch.zeros(2, 2)})
    assert sentence.isprintable() and "`a?[31m?'b'?`" in sentence


def test_a_state_dict_of_nothing():
    assert "no weights" in refusal({}) and "no weights" in refusal({"n_averaged": torch.zeros(())})
    assert "cannot build" in refusal({"a": torch.zeros(3)})


def test_tidy_keeps_order_and_knows_the_originals(small: Residual):
    tidied = normalise_keys({f"module.{key}": value for key, value in small.state_dict().items()}, "it")
    assert list(tidied.state) == list(small.state_dict())
    assert tidied.originals["linear.bias"] == "module.linear.bias"


def test_no_state_dict_gives_anything_but_readings_or_a_sentence():
    """Names and shapes of known networks, changed at random: 0-dimensional, empty, huge, exchanged, gone."""
    random = np.random.default_rng(0)
    networks: list[nn.Module] = [made(Residual, (1, 1, 1), 16, way) for way in ("A", "B")]
    networks += [made(Residual, (1, 1, 1, 1), 8, "B", bottleneck=True), made(SmallVgg, (1, 1, 1), "norm")]
    networks += [made(SmallVgg, VGG[11], "three"), shaken(build(cifar(8))), shaken(build(PRESETS["lenet"].spec))]
    states = [network.state_dict() for network in networks]
    states += [made(Wide, 1, 2).state_dict(), made(Residual, (1, 1, 1, 1), 8, "B", "fc", "downsample").state_dict()]
    states[-1:] = [
        {spell(key): states[-1][key] for key in states[-1]} for spell in (hugging_face, children, open_mmlab)
    ]
    states.append(robust(states[1], states[1]))
    states.append(Tutorial(nn.Conv2d(3, 6, 5), nn.Conv2d(6, 16, 5), linear=(400, 120, 10), norm=True).state_dict())
    sizes = (0, 1, 2, 3, 5, 7, 16, 64, 70_000)
    outcomes = {"read": 0, "refused": 0}
    for round_ in range(400):
        state = dict(states[round_ % len(states)])
        for _ in range(int(random.integers(1, 4))):
            key = list(state)[int(random.integers(len(state)))]
            shape = [int(random.choice(sizes)) for _ in range(int(random.integers(0, 5)))]
            change = random.integers(5)
            if change == 0:
                del state[key]
            elif change == 1:
                state[key] = torch.zeros(()).expand(shape)
            elif change == 2:
                state[key.replace("1", "9").replace("0", "4")] = state[key]
            elif change == 3:
                other = list(state)[int(random.integers(len(state)))]
                state[key], state[other] = state[other], state[key]
            else:
                state[key] = state[key].to(torch.int32)
        try:
            for reading in readings_of(state):
                reading.network()
            outcomes["read"] += 1
        except WeightsError as error:
            checked(str(error))
            outcomes["refused"] += 1
    assert outcomes["read"] > 3 and outcomes["refused"] > 200


# --- the self-test ---------------------------------------------------------------------------------------------------


def labelled(way: int, normalisation: str) -> tuple[list[Reading], Split]:
    """The readings of a file, and pictures with the labels that one of them gives them with this normalisation."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 3, 4, 4), np.uint8).repeat(8, axis=2).repeat(8, axis=3)
    chosen = NORMALISATIONS[normalisation]
    values = torch.from_numpy(images).float() / 255
    values = (values - torch.tensor(chosen.mean).reshape(3, 1, 1)) / torch.tensor(chosen.std).reshape(3, 1, 1)
    state = made(Residual, (1, 1, 1), 16, "A").state_dict()
    with torch.inference_mode():
        logits = readings_of(state)[way].network()(values)
    labels = (logits - logits.mean(0)).argmax(1).numpy()
    assert len(set(labels)) > 3
    return readings_of({**state, "linear.bias": state["linear.bias"] - logits.mean(0)}), Split(images, labels)


@pytest.mark.parametrize("truth", [(0, "half"), (1, "none")])
def test_the_self_test_finds_the_reading_and_normalisation_that_the_labels_come_from(truth: tuple[int, str]):
    readings, split = labelled(*truth)
    trials = score_normalisations(readings, NORMALISATIONS.values(), split)
    assert len(trials) == len(readings) * len(NORMALISATIONS) and {trial.n for trial in trials} == {60}
    best, *others = trials
    assert (best.reading, best.normalisation.name) == (readings[truth[0]], truth[1])
    assert best.accuracy >= 59 / 60 and others[0].accuracy < best.accuracy and others[-1].accuracy < 0.9
    assert [trial.accuracy for trial in trials] == sorted((trial.accuracy for trial in trials), reverse=True)
    assert best.guessing == np.bincount(split.labels).max() / 60
    assert reached_by_guessing(trials) < best.accuracy
    (few,) = score_normalisations([readings[0]], [NORMALISATIONS["none"]], split, limit=7)
    assert few.n == 7


@pytest.mark.parametrize(("n", "guessing", "tries"), [(10, 0.1, 1), (10, 0.1, 10), (500, 0.1, 14), (2, 0.5, 1)])
def test_what_guessing_reaches_is_exceeded_once_in_a_thousand_times(n: int, guessing: float, tries: int):
    trials = [NormalisationScore(None, None, 0.0, n, guessing)] * tries  # type: ignore[arg-type]
    reached = round(n * reached_by_guessing(trials))
    share, whole = Fraction(guessing).as_integer_ratio()
    exactly = [comb(n, right) * share**right * (whole - share) ** (n - right) for right in range(n + 1)]
    assert sum(exactly[reached + 1 :]) * 1000 * tries <= whole**n < sum(exactly[reached:]) * 1000 * tries


def test_where_one_class_is_all_there_is_nothing_beats_guessing():
    assert reached_by_guessing([NormalisationScore(None, None, 1.0, 5, 1.0)]) == 1  # type: ignore[arg-type]


def test_the_self_test_refuses_pictures_that_cannot_decide():
    readings = readings_of(made(Residual, (1, 1, 1), 16, "B").state_dict())
    images, normalisations = np.zeros((2, 3, 32, 32), np.uint8), NORMALISATIONS.values()
    with pytest.raises(WeightsError, match="no labelled images"):
        score_normalisations(readings, normalisations, Split(images[:0], np.zeros(0, np.int64)))
    with pytest.raises(WeightsError, match="knows 10 classes"):
        score_normalisations(readings, normalisations, Split(images, np.array([0, 10])))
    with pytest.raises(WeightsError, match="in the network's size"):
        score_normalisations(readings, normalisations, Split(np.zeros((2, 3, 16, 16), np.uint8), np.zeros(2, np.int64)))


def test_labels_are_numbered_by_name_where_names_are_known():
    split = Split(np.zeros((3, 3, 8, 8), np.uint8), np.array([0, 1, 1]))
    assert index_labels(split, ("truck", "cat"), CIFAR_CLASSES, 10).labels.tolist() == [9, 3, 3]
    assert index_labels(split, ("a", "b"), CIFAR_CLASSES, 2).labels.tolist() == [0, 1, 1]
    assert index_labels(split, ("a", "b"), None, 2).labels.tolist() == [0, 1, 1]
    with pytest.raises(WeightsError, match="knows 10 classes, the labelled images have 2"):
        index_labels(split, ("a", "b"), CIFAR_CLASSES, 10)


# --- whole files, through the child ----------------------------------------------------------------------------------


@pytest.mark.usefixtures("in_this_process")
def test_a_file_of_ours_says_everything_itself(tmp_path: Path):
    spec = ArchitectureSpec((Stage(1, 4),), activation="tanh", input_shape=(3, 8, 8), classes=2)
    network = shaken(build(spec))
    assert isinstance(network, Network)
    checkpoint = Checkpoint(network, ("a", "b"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "noise")
    checkpoints.save(checkpoint, tmp_path / "own.safetensors")
    report = read(tmp_path / "own.safetensors")
    assert report.family == "this app" and report.question is None and report.readings[0].class_names == ("a", "b")
    assert (report.readings[0].normalisation.mean, report.readings[0].normalisation.std) == (
        (0.1, 0.2, 0.3),
        (0.4, 0.5, 0.6),
    )
    assert report.readings[0].spec == spec
    assert_same(network, report.readings[0].network(), pixels(8))


@pytest.mark.usefixtures("in_this_process")
def test_a_file_of_ours_keeps_what_it_knows_and_loses_what_is_no_longer_true(tmp_path: Path):
    network = build(cifar(8, classes=2)).freeze()
    own = Checkpoint(
        network, ("a", "b"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "pets", 7, {"epochs": 3}, {"steps": 5},
        {"test": {"accuracy": 0.5, "n": 10}}, 40,
    )  # fmt: skip
    checkpoints.save(own, tmp_path / "own.safetensors")
    (reading,) = read(tmp_path / "own.safetensors").readings

    def facts(checkpoint: Checkpoint) -> list[object]:
        return [getattr(checkpoint, field.name) for field in fields(Checkpoint) if field.name != "network"]

    kept = reading.checkpoint("somebody's", None, None)
    assert facts(kept) == facts(own)
    named = reading.checkpoint("somebody's", None, ("cat", "dog"))
    assert facts(named) == facts(replace(own, class_names=("cat", "dog")))
    other = reading.checkpoint("somebody's", NORMALISATIONS["half"], None)
    assert facts(other) == facts(replace(own, mean=(0.5,) * 3, std=(0.5,) * 3, metrics={}))


def test_a_file_goes_through_the_child_and_comes_back_whole(tmp_path: Path, small: Residual):
    """Two sets of weights in one file are two readings; the name is nothing but text."""
    averaged = {key: value * 0.5 if value.is_floating_point() else value for key, value in small.state_dict().items()}
    (tmp_path / "a.ckpt").write_bytes(saved({"state_dict": small.state_dict(), "ema": averaged, "epoch": 3}))
    report = read(tmp_path / "a.ckpt", name="../../etc/pass\x1bwd\u202e.ckpt")
    assert report.name == "pass?wd?.ckpt"
    first, second = report.readings
    assert first.title.endswith("weights under `state_dict`") and second.title.endswith("weights under `ema`")
    assert report.question and "2 sets of weights" in report.question
    assert_same(small, first.network(), pixels())
    halved = Residual((1, 1, 1), 16, "B").eval()
    halved.load_state_dict(averaged)
    assert_same(halved, second.network(), pixels())
    assert_report_is_complete(report)


def test_a_safetensors_file_of_others(tmp_path: Path, small: Residual):
    save_file(small.state_dict(), tmp_path / "a.safetensors", {"format": "pt"})
    assert_same(small, only(opened((tmp_path / "a.safetensors").read_bytes()).state_dicts[0][1]).network(), pixels())


def assert_report_is_complete(report: Report) -> None:
    document = report.for_json()
    assert set(document) >= {"readings", "family", "evidence", "renamed", "ignored", "normalisation", "uncertain"}
    assert document["evidence"] and document["uncertain"] and document["normalisation_reason"]
    for sentence in (*report.evidence, *report.readings[0].uncertain, report.readings[0].normalisation_reason):
        assert sentence.isprintable()


def test_an_old_torch_opens_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(requirements, "version", lambda name: "2.9.1+cu130")
    requirements.check_torch.cache_clear()
    with pytest.raises(RequirementError, match="torch 2.10 or newer is needed.*this is 2.9.1"):
        read(tmp_path / "never opened.pt")
    monkeypatch.setattr(requirements, "version", lambda name: "2.10.0")
    with pytest.raises(WeightsError, match="there is no file"):
        read(tmp_path / "gone.pt")


# --- the real thing --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def akamaster() -> Report:
    if not AKAMASTER.exists():
        pytest.skip(f"{AKAMASTER} is not there: the third-party file is not part of the repository")
    return read(AKAMASTER)


def test_the_published_file_of_akamaster_is_recognised(akamaster: Report):
    assert [reading.title for reading in akamaster.readings] == ["ResNet-20, option A", "plain-20"]
    assert akamaster.family == "akamaster" and akamaster.readings[0].normalisation == NORMALISATIONS["imagenet"]
    assert akamaster.question and akamaster.readings[0].class_names == CIFAR_CLASSES
    assert "beside the weights: `best_prec1`, `state_dict`" in akamaster.evidence
    assert_report_is_complete(akamaster)


def test_the_published_file_of_akamaster_has_its_accuracy(akamaster: Report):
    """81.0 % of the test pictures, saved as JPEG; 92.6 % of the originals. 1,000 of 10,000 pictures, evenly taken,
    choose the reading; all of them measure it."""
    if not (CIFAR_JPEG / "test").is_dir():
        pytest.skip(f"{CIFAR_JPEG}/test is not there: unpack ../shared/data/cifar10-jpeg.tar.xz")
    dataset = folders.load(CIFAR_JPEG / "test", validation=0)
    parts = [part for part in (dataset.train, dataset.test) if len(part)]
    images, labels = np.concatenate([part.images for part in parts]), np.concatenate([part.labels for part in parts])
    split = index_labels(Split(images, labels), dataset.class_names, akamaster.readings[0].class_names, 10)
    known = [NORMALISATIONS["imagenet"], NORMALISATIONS["none"]]
    best = score_normalisations(akamaster.readings, known, split, limit=300)[0]
    assert (best.reading, best.normalisation.name) == (akamaster.readings[0], "imagenet")
    (trial,) = score_normalisations(akamaster.readings[:1], known[:1], split)
    assert trial.n == 10_000 and abs(trial.accuracy - 0.810) <= 0.003


@pytest.mark.parametrize("key", ["features.00.weight", "features.\u0660.weight", "features.0.weight"])
def test_a_key_that_only_looks_like_a_familys_is_one_sentence(key: str):
    with pytest.raises(WeightsError):
        readings_of({key: torch.zeros(8, 3, 3, 3), "classifier.weight": torch.zeros(10, 8)})
