"""Predictions against `trace` and `evaluate`; intervals and tests against scipy and numbers worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import scipy  # type: ignore[import-untyped]
import torch
from PIL import Image

from explorer.architectures import ArchitectureSpec, Stage, Stem, build
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split, shapes
from explorer.experiments.agreement import (
    Accuracy,
    Agreement,
    Predictions,
    accuracy,
    accuracy_of,
    agreement,
    confusion,
    disagreements,
    images_for,
    mcnemar,
    predictions,
)
from explorer.images import resize, to_input, to_pixels
from explorer.tracing import trace
from explorer.training import evaluate
from explorer.training.batches import network_input

SPEC = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 32, 32), classes=10)
PICTURES = shapes.draw(600, seed=0)
NAMES = shapes.CLASS_NAMES


def checkpoint(spec: ArchitectureSpec = SPEC, names: Sequence[str] = NAMES, shorter: int | None = None) -> Checkpoint:
    network, channels = build(spec, seed=3).freeze(), spec.input_shape[0]
    mean, std = (0.5, 0.4, 0.3)[:channels], (0.2, 0.25, 0.3)[:channels]
    return Checkpoint(network, tuple(names), mean, std, "test", resize_shorter_to=shorter)


@pytest.mark.parametrize("side", [32, 16])
def test_a_network_for_grey_pictures_gets_them_in_grey(side: int) -> None:
    """As Pillow makes them; a training and an evaluation, which resize nothing, see the same."""
    asked = checkpoint(replace(SPEC, input_shape=(1, side, side)))
    found = images_for(asked, PICTURES.images[:5])
    small = [resize(each.transpose(1, 2, 0), (side, side)) for each in PICTURES.images[:5]]
    grey = np.stack([np.asarray(Image.fromarray(each).convert("L")) for each in small])
    np.testing.assert_allclose(found.numpy()[:, 0], (grey / 255 - 0.5) / 0.2, rtol=1e-5, atol=1e-6)
    shown = to_pixels(found[0].numpy(), asked.mean, asked.std)
    assert shown.shape == (side, side, 3) and (shown == grey[0][..., None]).all()
    if side == 32:
        torch.testing.assert_close(network_input(PICTURES.images[:5], (0.5,), (0.2,), torch.device("cpu")), found)
        result = predicted(asked, PICTURES)
        assert result.right.mean() == evaluate(asked.network, PICTURES, asked.mean, asked.std).accuracy


def predicted(asked: Checkpoint, split: Split, names: Sequence[str] = NAMES) -> Predictions:
    *_, (fraction, result) = predictions(asked, split, names)
    assert fraction == 1 and result is not None
    return result


def said(labels: list[int], predicted: list[int], of_label: list[float] | None = None) -> Predictions:
    """Of 3 classes; the probability of the label is given, the rest is shared by the others."""
    own = np.array(of_label or [0.5] * len(labels), np.float32)
    probabilities = np.repeat((1 - own[:, None]) / 2, 3, axis=1)
    probabilities[np.arange(len(labels)), labels] = own
    return Predictions(("a", "b", "c"), np.array(labels), np.array(predicted), probabilities)


@pytest.mark.parametrize("size", [32, 12])
@pytest.mark.parametrize("shorter", [None, 32])
def test_a_picture_gets_the_prediction_that_explore_shows(size: int, shorter: int | None) -> None:
    asked = checkpoint(replace(SPEC, input_shape=(3, size, size)), shorter=shorter)
    split = Split(PICTURES.images[:7], PICTURES.labels[:7])
    result = predicted(asked, split)
    for index, picture in enumerate(split.images):
        pixels = picture.transpose(1, 2, 0)
        seen = trace(asked.network, to_input(pixels, (size, size), asked.mean, asked.std, shorter))
        assert result.predicted[index] == seen.prediction
        np.testing.assert_allclose(result.probabilities[index], seen.probabilities, rtol=1e-5, atol=1e-7)


def test_accuracy_is_that_of_evaluate_and_progress_leads_to_it() -> None:
    asked = checkpoint()
    before = {name: tensor.clone() for name, tensor in asked.network.state_dict().items()}
    fractions = []
    for fraction, result in predictions(asked, PICTURES, NAMES):
        assert torch.is_grad_enabled() and (result is None) == (fraction < 1)
        fractions.append(fraction)
    assert fractions == sorted(fractions) and len(fractions) > 2 and result is not None
    expected = evaluate(asked.network, PICTURES, asked.mean, asked.std)
    assert accuracy_of(result).share == pytest.approx(expected.accuracy) and accuracy_of(result).n == 600
    assert result.probabilities.dtype == np.float32 and result.predicted.dtype == np.int64
    np.testing.assert_allclose(result.probabilities.sum(1), 1, rtol=1e-5)
    assert not asked.network.training and all(p.grad is None for p in asked.network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in asked.network.state_dict().items())


def test_it_can_be_stopped() -> None:
    asked = checkpoint()
    running = predictions(asked, PICTURES, NAMES)
    assert next(running)[1] is None
    running.close()
    assert torch.is_grad_enabled() and not asked.network.training


def test_classes_in_another_order_are_matched_by_name() -> None:
    asked, split = checkpoint(), Split(PICTURES.images[:50], PICTURES.labels[:50])
    plain = predicted(asked, split)
    turned = predicted(asked, Split(split.images, 9 - split.labels), NAMES[::-1])
    np.testing.assert_allclose(turned.probabilities, plain.probabilities[:, ::-1], rtol=1e-6)
    np.testing.assert_array_equal(turned.right, plain.right)


def test_a_name_that_stands_for_two_classes_is_taken_in_order_only() -> None:
    twice = ["crane", "crane", *NAMES[2:]]
    split = Split(PICTURES.images[:2], PICTURES.labels[:2])
    assert predicted(checkpoint(names=twice), split, twice).class_names == tuple(twice)
    with pytest.raises(ValueError, match="same classes"):
        predicted(checkpoint(names=twice), split, twice[::-1])


def test_pictures_of_other_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="does not know `ship`; choose a network"):
        predicted(checkpoint(), PICTURES, [*NAMES[:9], "ship"])
    with pytest.raises(ValueError, match="it tells 10 apart"):
        predicted(checkpoint(), PICTURES, NAMES[:9])


def test_what_cannot_be_predicted_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="holds no images"):
        predicted(checkpoint(), Split(PICTURES.images[:0], PICTURES.labels[:0]))
    asked = checkpoint()
    asked.network.train()
    with pytest.raises(ValueError, match="freeze"):
        predicted(asked, PICTURES)
    with pytest.raises(ValueError, match=r"uint8 of shape \(N, 3, H, W\)"):
        images_for(checkpoint(), PICTURES.images[0])
    broken = checkpoint()
    broken.network.head.fc.weight[0] = torch.inf
    with pytest.raises(ValueError, match="not finite"):
        predicted(broken, PICTURES)


def test_wilson_by_hand() -> None:
    # p = 0.8, n = 10, z² = 3.8414588: centre (0.8 + 0.19207294) / 1.38414588, half 0.31338602 / 1.38414588
    result = accuracy(8, 10)
    assert (result.low, result.high) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert result.share == 0.8


@pytest.mark.parametrize(("right", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (1, 40), (77, 100), (3927, 4000)])
def test_wilson_against_scipy(right: int, n: int) -> None:
    expected = scipy.stats.binomtest(right, n).proportion_ci(0.95, method="wilson")
    result = accuracy(right, n)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high), rel=1e-12, abs=1e-15)
    assert 0 <= result.low <= result.share <= result.high <= 1


@pytest.mark.parametrize(("right", "n"), [(1, 0), (0, 0), (-1, 5), (6, 5)])
def test_an_accuracy_of_nothing_is_refused(right: int, n: int) -> None:
    with pytest.raises(ValueError, match="received"):
        accuracy(right, n)


def test_mcnemar_by_hand() -> None:
    assert mcnemar(1, 5) == mcnemar(5, 1) == 2 * (1 + 6) / 64
    assert mcnemar(0, 3) == 0.25
    assert mcnemar(0, 0) == mcnemar(4, 4) == mcnemar(4, 5) == 1
    assert mcnemar(0, 3000) == 0  # 2 / 2**3000 is below the smallest float
    with pytest.raises(ValueError, match="0 or more"):
        mcnemar(-1, 3)


@pytest.mark.parametrize(("a", "b"), [(1, 8), (10, 25), (38, 24), (300, 360), (3000, 3300), (1, 900)])
def test_mcnemar_against_scipy(a: int, b: int) -> None:
    assert mcnemar(a, b) == pytest.approx(scipy.stats.binomtest(a, a + b, 0.5).pvalue, rel=1e-9)


def test_confusion_has_labels_in_rows() -> None:
    table = confusion(said([0, 0, 0, 1, 2, 2], [0, 1, 1, 1, 0, 2]))
    assert table.tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 1]] and table.dtype == np.int64


def test_agreement_by_hand() -> None:
    a = said([0, 0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 0, 1, 0])
    b = said([0, 0, 1, 1, 2, 2, 2], [0, 1, 1, 1, 2, 1, 1])
    table = agreement(a, b)
    assert table == Agreement(both=2, only_a=1, only_b=2, neither=2, same=3) and table.n == 7
    assert table.p_value == mcnemar(1, 2) == 1.0
    assert accuracy_of(a) == accuracy(3, 7) and isinstance(accuracy_of(a), Accuracy)


def test_disagreements_come_with_the_widest_gap_first_and_only_where_predictions_differ() -> None:
    labels = [0, 1, 2, 0, 1]
    a = said(labels, [0, 1, 2, 1, 1], [0.75, 0.875, 0.875, 0.25, 0.5])
    b = said(labels, [1, 2, 2, 2, 0], [0.25, 0.125, 0.0, 0.25, 0.0])
    assert disagreements(a, b).tolist() == [1, 0, 4, 3]  # gaps 0.75, 0.5, 0.5, 0; picture 2 is agreed on
    assert disagreements(b, a).tolist() == [1, 0, 4, 3] and disagreements(a, a).tolist() == []


def test_different_pictures_are_not_compared() -> None:
    a, b = said([0, 1], [0, 1]), said([0, 2], [0, 1])
    for compare in (agreement, disagreements):
        with pytest.raises(ValueError, match="same split"):
            compare(a, b)
        with pytest.raises(ValueError, match="same split"):
            compare(a, replace(a, class_names=("b", "a", "c")))
