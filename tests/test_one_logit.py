"""A network with one output z is one of two classes, whose logits are -z and z, in all that the app computes of it.

The oracle is torch: the sigmoid of z, and its binary cross-entropy.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.architectures import build
from explorer.attribution import grad_cam, top_classes
from explorer.attribution.faithfulness import perturbation_curve
from explorer.checkpoints import Checkpoint
from explorer.datasets import Dataset, Split
from explorer.experiments.agreement import predictions
from explorer.experiments.gradient_flow import gradient_flow
from explorer.images import to_input
from explorer.onnx_export import to_onnx
from explorer.presets import cifar
from explorer.runs.snapshots import _answers
from explorer.tracing import trace
from explorer.training import TrainingConfig, evaluate, fit_together, network_input
from explorer.ui.models import model_table
from explorer.ui.services.input_images import InputImage
from explorer.weights_import import Normalisation, Reading, graphs, onnx_layout
from tests.test_tracing import shaken

NAMES = ("healthy", "ill")
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)
SPEC = replace(cifar(8, classes=2, size=16, width=4), one_logit=True)


@pytest.fixture(params=["own", "ONNX"])
def made(request: pytest.FixtureRequest) -> Checkpoint:
    """The same network as one of ours, and read from an ONNX file with a single output."""
    ours = Checkpoint(shaken(SPEC), NAMES, MEAN, STD, "noise")
    if request.param == "own":
        return ours
    read = graphs.graph_report("`a.onnx`", *onnx_layout.graph_of(to_onnx(ours))).readings[0]
    assert read.class_names == NAMES and read.normalisation.mean == MEAN
    return replace(ours, network=read.network())


@pytest.fixture
def split() -> Split:
    random = np.random.default_rng(0)
    return Split(random.integers(0, 256, (12, 3, 16, 16), np.uint8), np.arange(12) % 2)


def outputs(made: Checkpoint, split: Split) -> Tensor:
    """z of each picture, (N,)."""
    with torch.no_grad():
        logits = made.network(network_input(split.images, MEAN, STD, torch.device("cpu")))
    assert torch.equal(logits[:, 0], -logits[:, 1])
    return logits[:, 1]


def test_probabilities_are_those_of_a_sigmoid_everywhere(made: Checkpoint, split: Split) -> None:
    z = outputs(made, split)
    second = z.double().sigmoid().numpy()
    expected = np.stack([1 - second, second], axis=1)
    *_, (_, said) = predictions(made, split, NAMES)
    assert said is not None and np.array_equal(said.predicted, (z > 0).numpy())
    np.testing.assert_allclose(said.probabilities, expected, rtol=1e-5)
    swapped = next(found for _, found in predictions(made, split, NAMES[::-1]) if found is not None)
    np.testing.assert_allclose(swapped.probabilities, expected[:, ::-1], rtol=1e-5)
    pixels = split.images[0].transpose(1, 2, 0)
    image = to_input(pixels, (16, 16), MEAN, STD)
    seen = trace(made.network, image)
    np.testing.assert_allclose(seen.probabilities, expected[0], rtol=1e-5)
    assert [share for _, share in top_classes(seen)] == pytest.approx(sorted(expected[0], reverse=True))
    *_, curve = perturbation_curve(made.network, image, np.ones((16, 16)), 1, "deletion", steps=2, random_orders=1)
    assert curve.result is not None and curve.result.probabilities[0] == pytest.approx(second[0])
    reading = Reading("x", made.spec, made.network.state_dict(), Normalisation("a", "a", MEAN, STD), "known")
    tried = model_table.try_out(reading, reading.normalisation, InputImage(pixels, pixels, "a", "a"))
    assert dict(tried) == pytest.approx(dict(enumerate(expected[0])), rel=1e-5)
    assert _answers(seen.logits[None] / made.spec.temperature)[1][0] == pytest.approx(expected[0].max(), rel=1e-3)


def test_each_class_is_explained_by_its_own_sign(made: Checkpoint, split: Split) -> None:
    image = to_input(split.images[0].transpose(1, 2, 0), (16, 16), MEAN, STD)
    first, second = (trace(made.network, image, target) for target in (0, 1))
    for one, other in zip(first.layers, second.layers, strict=True):
        assert np.array_equal(one.activation, other.activation) and np.array_equal(one.gradient, -other.gradient)
    last = "stages.2.0"
    weights = second[last].gradient.mean((1, 2), dtype=np.float64)
    raw = np.tensordot(weights, second[last].activation, 1)
    for seen, sign in ((first, -1), (second, 1)):
        np.testing.assert_allclose(grad_cam(seen[last]), np.maximum(sign * raw, 0), rtol=1e-4, atol=1e-7)


def test_the_loss_is_binary_cross_entropy_and_so_are_its_gradients(made: Checkpoint, split: Split) -> None:
    z, labels = outputs(made, split), torch.from_numpy(split.labels)
    expected = F.binary_cross_entropy_with_logits(z, labels.float()).item()
    found = evaluate(made.network, split, MEAN, STD)
    assert found.loss == pytest.approx(expected, rel=1e-5)
    assert found.accuracy == ((z > 0) == (labels == 1)).float().mean().item()
    batch = network_input(split.images, MEAN, STD, torch.device("cpu"))
    flow = gradient_flow(made.network, batch, labels, "evaluation")
    assert flow.loss == pytest.approx(expected, rel=1e-5)
    weight = made.network.get_parameter("stem.conv.weight")
    weight.requires_grad_()
    loss = F.binary_cross_entropy_with_logits(made.network(batch)[:, 1], labels.float())
    (gradient,) = torch.autograd.grad(loss, weight)
    weight.requires_grad_(False)
    assert flow.weights[0] == pytest.approx(gradient.norm().item(), rel=1e-4)


def test_a_training_step_lowers_the_binary_cross_entropy(split: Split) -> None:
    """The loss that the first step reports is that of the untrained network, in training mode."""
    network = build(SPEC, seed=1)
    data = Dataset("noise", NAMES, MEAN, STD, split, split, split)
    batch = network_input(split.images, MEAN, STD, torch.device("cpu"))
    with torch.no_grad():
        z = build(SPEC, seed=1).train()(batch)[:, 1]
    expected = F.binary_cross_entropy_with_logits(z, torch.from_numpy(split.labels).float()).item()
    config = TrainingConfig(epochs=1, batch_size=12, augment=False, device="cpu", precision="float32")
    *_, progress = fit_together([network], data, config)
    assert progress.records[0].epochs[0].train.loss == pytest.approx(expected, rel=1e-4)
