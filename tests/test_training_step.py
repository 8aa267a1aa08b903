"""One training step in slow motion: worked out by hand, bit for bit that of the training, and true to first order."""

import json
import math
from contextlib import closing
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from explorer.architectures import ArchitectureSpec, Network, Stage, build
from explorer.cli.main import main
from explorer.experiments.training_step import SHARES, TrainingStep, take, training_step
from explorer.experiments.training_step_sentences import findings, rule, settings, settings_of, way_back, worked
from explorer.training import TrainingConfig, TrainingState, fit, network_input
from tests.test_tracing import state_of
from tests.test_training import DATA, ONE_STEP, SPEC, same, weights_of

PLAIN_SGD = replace(ONE_STEP, nesterov=False)


def last_of(steps: Any) -> TrainingStep:
    *before, (share, step) = steps
    assert share == 1.0 and step is not None and all(each is None and 0 < of < 1 for of, each in before)
    return step


def batch_of_training(config: TrainingConfig, epoch: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """All pictures in the order of that epoch, on the way that the training takes."""
    order = torch.randperm(len(DATA.train), generator=torch.Generator().manual_seed(config.seed * 1_000_003 + epoch))
    images = network_input(DATA.train.images[order.numpy()], DATA.mean, DATA.std, torch.device("cpu"))
    return images, torch.from_numpy(DATA.train.labels)[order]


def test_a_tiny_network_is_as_worked_out_by_hand() -> None:
    """logits = v · relu(w x), of two pictures of one pixel; the biases begin at 0."""
    spec = ArchitectureSpec(
        (Stage(1, 1, kernel_size=1),), block="conv", norm="none", shortcut="none", input_shape=(1, 1, 1), classes=2
    )
    network = build(spec)
    with torch.no_grad():
        network.get_submodule("stages.0.0.conv1").weight.fill_(0.5)  # type: ignore[operator]
        network.get_submodule("head.fc").weight.copy_(torch.tensor([[1.0], [-1.0]]))  # type: ignore[operator]
    x, config = torch.tensor([2.0, 4.0]), replace(PLAIN_SGD, learning_rate=0.1, weight_decay=0.01)
    found = last_of(training_step(network, x[:, None, None, None], torch.tensor([0, 1]), config))

    p = [1 / (1 + math.exp(-2 * h)) for h in (1.0, 2.0)]  # of class 0, from logits h and -h with h = 0.5 x
    np.testing.assert_allclose(found.losses, [-math.log(p[0]), -math.log(1 - p[1])], rtol=1e-6)
    error = np.array([p[0] - 1, p[1]])  # ∂loss of a picture / ∂logit of class 0; the other logit has the opposite
    head = np.array([[(error * [1, 2]).mean()], [-(error * [1, 2]).mean()]])
    conv = (error * 2 * [2, 4]).mean()  # through both logits: 1 · error + (-1) · (-error)
    bias = (error * 2).mean()  # of the convolution; those of the head are the mean error, up to the sign
    assert found.layers == ("stages.0.0.conv1", "head.fc")
    np.testing.assert_allclose(found.gradients, [abs(conv), np.linalg.norm(head)], rtol=1e-5)
    np.testing.assert_allclose(found.activations, [math.sqrt((1 + 4) / 2)] * 2, rtol=1e-6)
    whole = conv**2 + (head**2).sum() + bias**2 + 2 * error.mean() ** 2
    assert found.norm == pytest.approx(math.sqrt(whole), rel=1e-5)
    update = -0.1 * (conv + 0.01 * 0.5)
    np.testing.assert_allclose(found.changes[0], conv * update, rtol=1e-5)
    np.testing.assert_allclose(found.rest, -0.1 * (bias**2 + 2 * error.mean() ** 2), rtol=1e-5)
    np.testing.assert_allclose(found.ratios[0], abs(update) / 0.5, rtol=1e-4)
    example = found.examples[0]
    assert (
        example is not None and example.after == pytest.approx(0.5 + update, rel=1e-6) and example.index == (0, 0, 0, 0)
    )
    lines = worked(found, 0)
    assert lines[0] == f"w[0, 0, 0, 0] = 0.5, g = {conv:.4g}" and lines[-1] == f"w becomes {0.5 + update:.4g}"
    assert lines[1] == f"d = g + λ · w = {conv:.4g} + 0.01 · 0.5 = {conv + 0.005:.4g}"
    assert rule(config) == ["d = g + λ · w", "Δw = −η · d"] and settings(found) == "η = 0.1, λ = 0.01"


def test_plain_sgd_predicts_minus_the_rate_times_the_squared_gradient() -> None:
    images, labels = batch_of_training(PLAIN_SGD)
    found = last_of(training_step(build(SPEC), images, labels, replace(PLAIN_SGD, learning_rate=1e-3)))
    assert found.predicted == pytest.approx(-1e-3 * found.norm**2, rel=1e-4)
    assert found.measured == pytest.approx(found.predicted, rel=0.1), "a small step keeps to its prediction"
    assert found.path[0] == found.loss and found.path[-1] == found.new_loss and len(found.path) == len(SHARES)
    assert found.loss == pytest.approx(found.losses.mean(), rel=1e-6)
    assert found.new_loss == pytest.approx(found.new_losses.mean(), rel=1e-6)
    longer = last_of(training_step(build(SPEC), images, labels, replace(PLAIN_SGD, learning_rate=1e4)))
    assert "too long" in findings("net", longer)[0]


CONFIGS = (
    PLAIN_SGD,
    replace(ONE_STEP, momentum=0.9, weight_decay=1e-2, clip=0.05, label_smoothing=0.1),
    replace(ONE_STEP, momentum=0.8, nesterov=False),
    replace(ONE_STEP, optimizer="adam", weight_decay=1e-3),
)


@pytest.mark.parametrize("config", CONFIGS, ids=("sgd", "nesterov", "momentum", "adam"))
@pytest.mark.parametrize(
    "changes", [{}, {"shortcut": "identity", "stochastic_depth": 0.5, "hidden": (6,), "dropout": 0.5}]
)
def test_the_weights_get_the_bits_of_the_training(config: TrainingConfig, changes: Any) -> None:
    """The first step, and the second from the optimiser's moments after it."""
    spec = replace(SPEC, **changes)
    trained, slow = build(spec), build(spec)
    state = TrainingState()
    moments: list[dict[str, torch.Tensor]] = []
    progress = fit(trained, DATA, replace(config, epochs=3), state, report_every=0.0)
    for step in range(2):
        next(progress)
        dropout_seed = (config.seed * 1_000_003 + 7_919 * step + 1) % 2**62
        found = last_of(take(slow, *batch_of_training(config, step), config, moments, dropout_seed))
        assert same(weights_of(trained), weights_of(slow)), step
        moments = [{name: tensor.clone() for name, tensor in each.items()} for each in state.networks[0].moments]
        assert (found.clipping < 1) == (config.clip is not None)
        assert found.adam_step == (step + 1 if config.optimizer == "adam" else 1)
        for place in range(len(found.layers)):  # the numbers that are shown lead to the weight that is shown
            of, lines = found.examples[place], worked(found, place)
            if of is None:
                assert spec.stochastic_depth and found.updates[place] == 0 and math.isnan(found.activations[place])
                continue
            assert lines[-2].startswith("Δw = −")
            if config.optimizer == "sgd" and of.first is not None:
                taken = of.scaled + config.momentum * of.first if config.nesterov else of.first
                assert of.change == pytest.approx(-0.1 * taken, rel=1e-3, abs=1e-7)


def test_the_first_order_change_is_the_slope_along_the_update() -> None:
    """In float64, where the difference quotient of a small part of the update is exact enough."""
    config = replace(CONFIGS[1], clip=None)
    images, labels = batch_of_training(config)
    before = build(SPEC).double()
    after = build(SPEC).double()
    found = last_of(take(after, images.double(), labels, config))

    def loss_at(share: float) -> float:
        network: Network = build(SPEC).double()
        with torch.no_grad():
            for of, one, other in zip(network.parameters(), before.parameters(), after.parameters(), strict=True):
                of.copy_(one + share * (other - one))
            logits = network.train()(images.double())
            return torch.nn.functional.cross_entropy(logits, labels, label_smoothing=0.1).item()

    assert found.predicted == pytest.approx((loss_at(1e-4) - loss_at(-1e-4)) / 2e-4, rel=1e-3)
    np.testing.assert_allclose(found.path, [loss_at(share) for share in SHARES], rtol=1e-5)


def test_the_network_is_left_as_it_was_found_also_where_it_fails() -> None:
    network, config = build(SPEC).freeze(), CONFIGS[1]
    images, labels = batch_of_training(config)
    before = state_of(network)
    first, second = (last_of(training_step(network, images, labels, config)) for _ in range(2))
    assert state_of(network) == before and np.array_equal(first.path, second.path)
    with closing(training_step(network, images, labels, config)) as unfinished:
        next(unfinished)
    with torch.no_grad():
        broken = build(SPEC)
        broken.get_submodule("head.fc").weight.fill_(math.inf)  # type: ignore[operator]
    for wrong, words in (
        ((network, images[:, :, :4], labels, config), "resize"),
        ((network, images, labels[1:], config), "one class for each"),
        ((network, images, labels, replace(config, class_weights=True)), "`class_weights`"),
        ((broken, images, labels, config), "not finite"),
    ):
        with pytest.raises(ValueError, match=words):
            list(training_step(*wrong))
    assert state_of(network) == before


def test_twins_are_told_apart_in_words() -> None:
    images, labels = batch_of_training(ONE_STEP)
    twins = [build(SPEC), build(SPEC.twin())]
    steps = [last_of(training_step(each, images, labels, ONE_STEP)) for each in twins]
    said = way_back(["one", "two"], steps)
    first, last = steps[0].gradients[[0, steps[0].layers.index("stages.1.0.conv2")]]
    assert f"in one {first / last:.3g} times as large as at stages.1.0.conv2 and in two" in said
    assert findings("one", steps[0])[0].startswith(f"one: the mean loss of 24 images goes from {steps[0].loss:.3f} to")


def test_the_rule_of_clipping_holds_for_each_network_by_itself() -> None:
    """`clip` is a bound: smaller gradients keep their norm, with c = 1. Each network has its own c."""
    images, labels = batch_of_training(ONE_STEP)
    norm = last_of(training_step(build(SPEC), images, labels, ONE_STEP)).norm
    twins = [SPEC, SPEC.twin()]
    for clip, count in ((norm / 2, 2), (1e6, 1)):
        config = replace(ONE_STEP, clip=clip)
        steps = [last_of(training_step(build(each), images, labels, config)) for each in twins]
        lines = settings_of(["one", "two"], steps)
        assert len(lines) == count and "at most the norm `clip`" in rule(config)[0]
        for title, line, step in zip(("one", "two"), lines, steps, strict=False):
            assert line == (f"{title}: {settings(step)}" if count == 2 else settings(step))
    assert all(step.clipping == 1 for step in steps)


def test_a_terminal_takes_the_step_of_twins(capsys: pytest.CaptureFixture[str]) -> None:
    plain = ["--momentum", "0", "--weight-decay", "0", "--learning-rate", "0.001"]
    assert main(["step", "resnet-8", "--twins", "--count", "4", "--json", *plain]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rule"] == ["Δw = −η · g", "η = 0.001"]
    assert [each["name"] for each in document["networks"]] == ["ResNet-8", "plain-8"]
    for each in document["networks"]:
        assert each["images"] == "4 shapes" and len(each["losses"]) == len(each["labels"]) == 4
        assert each["predicted"] == pytest.approx(-0.001 * each["gradient_norm"] ** 2, rel=1e-3)
        assert each["predicted"] == pytest.approx(sum(each["changes"]) + each["rest"], rel=1e-9)
        assert [*each["worked"]] == each["layers"] and len(each["ratios"]) == len(each["layers"])
    assert main(["step", "resnet-8", "--twins", "--count", "4", "--clip", "0.01", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rule"][-2:] == [f"{each['name']}: {each['settings']}" for each in document["networks"]]
    assert main(["step", "shapes-plain-8", "--count", "4", "--optimizer", "adam", "--learning-rate", "0.001"]) == 0
    text = capsys.readouterr().out
    assert "v ← β₂ · v + (1 − β₂) · d²" in text and "4 test images of shapes-v1-32" in text
    for wrong, words in (
        (["lenet-5"], "no pretrained network"),
        (["resnet-8", "--count", "1"], "`--count` must be 2 or more"),
        (["growing-resnet"], "224×224 pixels"),
        (["resnet-8", "--learning-rate", "0"], "`learning_rate`"),
    ):
        assert main(["step", *wrong]) == 2
        assert words in capsys.readouterr().err
