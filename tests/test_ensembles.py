"""Ensembles: of one network, weights against a search over all of them, the CAM against finite differences, JSON."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.checkpoints import Checkpoint
from explorer.cli.main import main
from explorer.datasets import shapes
from explorer.experiments import agreement, ensembles
from explorer.experiments.agreement import Predictions
from explorer.experiments.ensembles import Ensemble, Member
from explorer.images import normalise
from explorer.tracing import trace
from explorer.views import enlarge, grad_cam

NAMES = ("a", "b", "c")
SPEC = ArchitectureSpec((Stage(1, 4), Stage(1, 6, 2)), stem=Stem(4), input_shape=(3, 12, 12), classes=3)
DIGESTS = ("0" * 64, "1" * 64, "2" * 64)


def made(seed: int, n: int = 200, sharpness: float = 3.0) -> Predictions:
    """Predictions that are right more often than by chance, and differ by seed; the labels are the same for all."""
    labels = np.random.default_rng(0).integers(0, 3, n)
    logits = np.random.default_rng(seed).normal(size=(n, 3)) * sharpness
    logits[np.arange(n), labels] += 2
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    probabilities = (exponentials / exponentials.sum(1, keepdims=True)).astype(np.float32)
    return Predictions(NAMES, labels, logits.argmax(1), probabilities)


def of_label(labels: list[int], probabilities: list[float]) -> Predictions:
    """Of two classes, with that probability of the label."""
    own = np.array(probabilities, np.float32)
    table = np.stack([1 - own, own], 1)
    table[np.array(labels) == 0] = table[np.array(labels) == 0][:, ::-1]
    return Predictions(("a", "b"), np.array(labels), table.argmax(1), table)


# --- predictions and weights -----------------------------------------------------------------------------------------


def test_an_ensemble_of_one_is_that_one() -> None:
    alone, other = made(1), made(2)
    assert ensembles.combined([alone], (1.0,)) is alone
    assert ensembles.combined([other, alone], (0.0, 1.0)) is alone
    found = ensembles.outcome([alone], (1.0,))
    assert found.accuracy == agreement.accuracy_of(alone) == found.alone[0]
    assert found.against[0].only_a == found.against[0].only_b == 0 and found.right_without_any == 0
    learned = ensembles.learn_weights([alone])
    assert learned.weights == (1.0,) and learned.loss == learned.uniform_loss and learned.gap == 0


def test_the_mean_of_probabilities_by_hand() -> None:
    """The first has one right, the second the other; the mean is right where the surer one is."""
    first, second = of_label([1, 0, 1], [0.9, 0.4, 0.45]), of_label([1, 0, 1], [0.3, 0.7, 0.45])
    whole = ensembles.combined([first, second], (0.25, 0.75))
    np.testing.assert_allclose(whole.of_label, [0.45, 0.625, 0.45], rtol=1e-6)
    assert whole.predicted.tolist() == [0, 0, 0]
    found = ensembles.outcome([first, second], (0.5, 0.5))
    np.testing.assert_allclose(found.predictions.of_label, [0.6, 0.55, 0.45], rtol=1e-6)
    assert found.accuracy.right == 2 and [each.right for each in found.alone] == [1, 1]
    assert (found.none_right, found.right_without_any, found.best) == (1, 0, 0)
    helped, hurt = ensembles.changed(found.predictions, first)
    assert helped.tolist() == [1] and hurt.tolist() == []


def test_a_mean_can_be_right_where_no_member_is() -> None:
    labels = np.zeros(1, np.int64)
    rows = np.array([[0.4, 0.6, 0.0], [0.4, 0.0, 0.6]], np.float32)
    said = [Predictions(NAMES, labels, row[None].argmax(1), row[None]) for row in rows]
    found = ensembles.outcome(said, ensembles.uniform(2))
    assert (found.none_right, found.right_without_any) == (1, 1)


@pytest.mark.parametrize("seeds", [(1, 2), (3, 4, 5), (6, 7, 8, 9)])
def test_learned_weights_have_the_lowest_loss(seeds: tuple[int, ...]) -> None:
    """Never a higher one than equal weights, and within the said gap of what a search by random weights finds."""
    said = [made(seed, sharpness=1.0 + seed / 2) for seed in seeds]
    learned = ensembles.learn_weights(said)
    ensembles.check_weights(learned.weights, len(seeds))
    assert learned.loss == ensembles.loss_of(said, learned.weights)
    assert learned.loss <= learned.uniform_loss == ensembles.loss_of(said, ensembles.uniform(len(seeds)))
    assert learned.gap <= ensembles.CLOSE and learned == ensembles.learn_weights(said)
    tried = np.random.default_rng(0).dirichlet(np.ones(len(seeds)), 300)
    assert learned.loss <= min(ensembles.loss_of(said, weights) for weights in tried) + learned.gap
    shuffled = ensembles.learn_weights(said[::-1])
    np.testing.assert_allclose(shuffled.weights[::-1], learned.weights, atol=1e-2)


def test_a_useless_member_gets_no_weight() -> None:
    """And probabilities of exactly 0, which float32 has, leave the loss finite."""
    sure, useless = of_label([1, 0, 1, 0], [0.9] * 4), of_label([1, 0, 1, 0], [0.0] * 4)
    learned = ensembles.learn_weights([useless, sure])
    assert learned.weights[1] > 1 - 1e-6
    assert np.isfinite(ensembles.learn_weights([useless, useless]).loss)


def test_members_must_be_about_the_same_images() -> None:
    with pytest.raises(ValueError, match="different images"):
        ensembles.combined([made(1, 20), made(2, 30)], (0.5, 0.5))
    with pytest.raises(ValueError, match="no predictions"):
        ensembles.learn_weights([])


@pytest.mark.parametrize("weights", [(0.5,), (0.5, 0.6), (-0.1, 1.1), (float("nan"), 1.0), (True, False), ("1", 0)])
def test_weights_are_shares_of_one_whole(weights: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="`weights` must be 2 shares"):
        ensembles.check_weights(weights, 2)


def test_the_sentence_says_what_the_counts_allow() -> None:
    said = [made(1, 2000, 2.0), made(2, 2000, 2.0)]
    found = ensembles.outcome(said, (0.5, 0.5))
    counts = found.against[found.best]
    assert counts.p_value < 0.05 < found.accuracy.share
    assert "the ensemble is better" in ensembles.finding(["one", "two"], found)
    turned = replace(found, against=(replace(counts, only_a=counts.only_b, only_b=counts.only_a),) * 2)
    assert "the ensemble is worse" in ensembles.finding(["one", "two"], turned)
    even = replace(found, against=(replace(counts, only_a=3, only_b=2),) * 2)
    assert "chance in the choice of images may explain" in ensembles.finding(["one", "two"], even)
    same = ensembles.finding(["one"], ensembles.outcome(said[:1], (1.0,)))
    assert "nothing tells them apart" in same


# --- the CAM ---------------------------------------------------------------------------------------------------------


def picture(seed: int) -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (3, 12, 12)).astype(np.float32)
    return np.asarray(normalise(pixels / 255, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)), np.float32)


def probability(network: Network, image: np.ndarray, target: int, layer: str, channel: int, change: float) -> float:
    """The target's probability where all pixels of one channel of that layer's output are larger by `change`."""

    def run(module: nn.Module, *inputs: object) -> Tensor:
        output: Tensor = module(*inputs)
        if network.layers[module][0] == layer:
            output = output.clone()
            output[:, channel] += change
        return output

    with torch.no_grad():
        logits = network(torch.from_numpy(image).double()[None], run)
    return float((logits / network.spec.temperature).softmax(1)[0, target])


def test_the_cam_is_that_of_the_mean_probability_by_finite_differences() -> None:
    """a_k is the mean over pixels of d p / d A_k: the slope of p along one channel, over its number of pixels. The
    whole p is computed at both ends, so a term of another member would show."""
    networks = [build(SPEC, seed).freeze() for seed in (1, 2)]
    weights, image, target, layers = (0.3, 0.7), picture(0), 2, ("stages.0.0", "stages.1.0")
    parts = []
    for place, (network, layer, weight) in enumerate(zip(networks, layers, weights, strict=True)):
        traced = trace(network, image, target, score="probability")
        exact = build(SPEC, place + 1).double().freeze()
        maps = traced[layer].activation
        slopes = []
        for channel in range(len(maps)):
            up, down = (weight * probability(exact, image, target, layer, channel, e) for e in (1e-4, -1e-4))
            slopes.append((up - down) / 2e-4)
        expected = np.tensordot(np.array(slopes) / maps[0].size, maps.astype(np.float64), 1)
        part = ensembles.member_cam(traced, layer, weight)
        np.testing.assert_allclose(part, expected, rtol=1e-3, atol=1e-6)
        parts.append(part)
    whole = ensembles.ensemble_cam(parts, (12, 12))
    np.testing.assert_array_equal(whole, np.maximum(sum(enlarge(part, (12, 12)) for part in parts), 0))
    assert whole.max() > 0


def test_the_cam_of_one_is_grad_cam_of_its_probability() -> None:
    traced = trace(build(SPEC, 3).freeze(), picture(1), 0, score="probability")
    layer = traced["stages.0.0"]
    cam = ensembles.ensemble_cam([ensembles.member_cam(traced, layer.name, 1.0)], layer.activation.shape[1:])
    np.testing.assert_array_equal(cam, grad_cam(layer))


def test_a_probability_near_one_still_has_a_gradient() -> None:
    """float32 rounds such a probability to 1, whose gradient would be 0."""
    network = build(SPEC, 1)
    for parameter in network.get_submodule("head.fc").parameters():
        parameter.data *= 2.7
    image = picture(0)
    logits = trace(network.freeze(), image).logits
    assert np.exp(logits - logits.max()).sum() - 1 < 1e-7
    assert np.abs(trace(network, image, score="probability").image_gradient).max() > 0


def test_two_classes_oppose_each_other_in_probability() -> None:
    """p_0 + p_1 = 1, so their gradients are opposite; those of the logits are not."""
    network = build(replace(SPEC, classes=2), 4).freeze()
    first, second = (trace(network, picture(2), target, score="probability") for target in (0, 1))
    np.testing.assert_allclose(first.image_gradient, -second.image_gradient, rtol=1e-3, atol=1e-8)
    with pytest.raises(ValueError, match="explain the probability"):
        ensembles.member_cam(trace(network, picture(2), 0), "stages.0.0", 1.0)


# --- kept ------------------------------------------------------------------------------------------------------------


def ensemble() -> Ensemble:
    members = tuple(Member(f"n-{digest[0]}", f"network {digest[0]}", digest) for digest in DIGESTS[:2])
    return Ensemble(members, (0.25, 0.75), NAMES, "learned", "50 images", {"test": {"accuracy": 0.5, "n": 4}})


def test_an_ensemble_round_trips_through_json() -> None:
    assert Ensemble.from_json(ensemble().to_json()) == ensemble()


@pytest.mark.parametrize(
    "change",
    [
        {"members": ()},
        {"members": (Member("a", "a", DIGESTS[0]),) * 2},
        {"members": (Member("a", "a", "../x"), Member("b", "b", DIGESTS[1]))},
        {"members": (Member(1, "a", DIGESTS[0]), Member("b", "b", DIGESTS[1]))},  # type: ignore[arg-type]
        {"weights": (1.0,)},
        {"class_names": ("a",)},
        {"origin": "found"},
    ],
)
def test_an_impossible_ensemble_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="`"):
        replace(ensemble(), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"version": 2}', '{"version": 1, "members": 3}', "[" * 9999])
def test_other_json_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="keep "):
        Ensemble.from_json(text)


def test_networks_that_learned_nothing_are_averaged_by_class_name() -> None:
    """A member with the classes in another order counts in the order of the others."""
    pictures = shapes.draw(30, size=16, seed=0)
    spec = replace(SPEC, input_shape=(3, 16, 16), classes=10)
    networks = [build(spec, seed).freeze() for seed in (1, 2)]
    own = [Checkpoint(each, shapes.CLASS_NAMES, (0.5,) * 3, (0.25,) * 3, "test") for each in networks]
    order = list(reversed(range(10)))
    mixed = build(spec, 2)
    with torch.no_grad():
        fc = mixed.get_submodule("head.fc")
        for values in fc.parameters():
            values.copy_(values[order].clone())
    other = Checkpoint(mixed.freeze(), shapes.CLASS_NAMES[::-1], (0.5,) * 3, (0.25,) * 3, "test")
    assert checkpoints.digest(other) != checkpoints.digest(own[1])
    said = [
        next(s for _, s in agreement.predictions(each, pictures, shapes.CLASS_NAMES) if s) for each in (*own, other)
    ]
    first, second = (ensembles.combined([said[0], said[place]], (0.5, 0.5)) for place in (1, 2))
    np.testing.assert_allclose(first.probabilities, second.probabilities, atol=1e-6)


# --- in a terminal ---------------------------------------------------------------------------------------------------


def test_the_command_measures_keeps_and_measures_again(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    few = ["--count", "40", "--json", "--threads", "1"]
    file = tmp_path / "both.json"
    assert main(["ensemble", "shapes-plain-8", "shapes-resnet-8", *few, "--out", str(file)]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["n"] == 40 and [entry["weight"] for entry in document["networks"]] == [0.5, 0.5]
    kept = Ensemble.from_json(file.read_text())
    assert kept.metrics is not None and kept.metrics["test"]["accuracy"] == document["ensemble"]["accuracy"]
    assert main(["ensemble", str(file), *few]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["ensemble"] == document["ensemble"] and again["networks"] == document["networks"]
    file.write_text(replace(kept, members=(replace(kept.members[0], digest="0" * 64), kept.members[1])).to_json())
    assert main(["ensemble", str(file), *few]) == 2
    assert "has other weights" in capsys.readouterr().err
    for wrong, words in ((["shapes-plain-8"], "2 to 4 networks"), (["none.json"], "there is no file")):
        assert main(["ensemble", *wrong]) == 2
        assert words in capsys.readouterr().err
