"""Can I trust this map: curves worked out by hand, the cascade layer by layer, and Spearman against scipy."""

import copy
from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
import scipy  # type: ignore[import-untyped]
import torch

from explorer.architectures import ArchitectureSpec, Network, Recorder, Stage, build
from explorer.attribution import (
    READINGS,
    PerturbationCurve,
    Share,
    as_map,
    cascading_randomisation,
    explain,
    explanation,
    faithfulness,
    grad_cam,
    perturbation_curve,
    saliency,
    spearman,
)
from explorer.attribution.explanation import baseline
from explorer.attribution.faithfulness import groups_from_head, partly_random
from explorer.presets import cifar
from explorer.tracing import trace

Result = TypeVar("Result")
SMALL = replace(cifar(8), input_shape=(3, 12, 16))
# One pixel of the picture is one value of the map, and the head averages them: the logit of class 1 is worked out by
# hand below.
COUNTING = ArchitectureSpec(
    (Stage(1, 1, kernel_size=1),), "conv", "none", norm="none", stem=None, input_shape=(3, 2, 4), classes=2
)


def finished(work: Generator[Share[Result], None, None]) -> Result:
    *_, last = work
    assert last.result is not None
    return last.result


def picture(spec: ArchitectureSpec, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(spec.input_shape).astype(np.float32)


def counting() -> Network:
    """Its logit for class 1 is the sum of the red values of the 8 pixels (none below 0), for class 0 it is 0."""
    network = build(COUNTING).freeze()
    for parameter in network.parameters():
        parameter.zero_()
    network.get_submodule("stages.0.0.conv1").get_parameter("weight")[0, 0] = 1
    network.head.fc.weight[1] = 8
    return network


REDS = np.array([[4, 0, 1, 2], [0, 3, 0, 0]], np.float32)


def red_picture() -> np.ndarray:
    image = np.zeros(COUNTING.input_shape, np.float32)
    image[0] = REDS
    return image


def sigmoid(values: object) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(values, np.float64)))


# --- curves ----------------------------------------------------------------------------------------------------------


def test_deletion_worked_out_by_hand():
    """The true order takes 4, 3, 2, 1 away from the score of 10, then nothing is left: softmax of (0, s) is
    sigmoid(s)."""
    found = finished(perturbation_curve(counting(), red_picture(), REDS, 1, "deletion", steps=4, random_orders=0))
    np.testing.assert_allclose(found.shares, [0, 0.25, 0.5, 0.75, 1])
    expected = sigmoid([10, 3, 0, 0, 0])
    np.testing.assert_allclose(found.probabilities, expected, rtol=1e-6)
    assert found.area == pytest.approx((expected[0] / 2 + expected[1] + 0.5 + 0.5 + 0.25) / 4, rel=1e-6)
    assert (found.kind, found.baseline) == ("deletion", "mean")
    assert found.random.shape == (0, 5) and found.random_areas.shape == (0,)


def test_insertion_worked_out_by_hand():
    network, image = counting(), red_picture()
    found = finished(perturbation_curve(network, image, REDS, 1, "insertion", start="mean", steps=4))
    np.testing.assert_allclose(found.probabilities, sigmoid([0, 7, 10, 10, 10]), rtol=1e-6)
    wrong = finished(perturbation_curve(network, image, -REDS, 1, "insertion", start="mean", steps=4))
    np.testing.assert_allclose(wrong.probabilities, sigmoid([0, 0, 0, 3, 10]), rtol=1e-6)
    assert found.random.shape == (5, 5) and not np.isclose(found.random_areas, found.random_areas[0]).all()
    assert (wrong.area <= found.random_areas).all() and (found.random_areas < found.area).all()


def test_a_curve_goes_from_the_picture_to_the_baseline_and_back():
    network = build(SMALL).freeze()
    image = picture(SMALL)
    blurred = baseline(image, "blur")
    whole = trace(network, image, 3).probabilities[3]
    nothing = trace(network, blurred, 3).probabilities[3]
    for kind, ends in (("deletion", (whole, nothing)), ("insertion", (nothing, whole))):
        found = finished(perturbation_curve(network, image, saliency(trace(network, image, 3)), 3, kind, start="blur"))  # type: ignore[arg-type]
        assert found.shares.shape == found.probabilities.shape == (33,) and found.random.shape == (5, 33)
        for curve in (found.probabilities, *found.random):
            assert (curve[0], curve[-1]) == pytest.approx(ends, rel=1e-4)
        assert 0 <= found.area <= 1 and abs(whole - nothing) > 1e-4
    assert finished(perturbation_curve(network, image, blurred[0], 3, "insertion", steps=2)).baseline == "blur"


def test_steps_need_not_divide_the_pixels_and_there_may_be_one_for_each():
    found = finished(perturbation_curve(counting(), red_picture(), REDS, 1, "deletion", steps=3, random_orders=0))
    np.testing.assert_allclose(found.shares, [0, 3 / 8, 5 / 8, 1])
    np.testing.assert_allclose(found.probabilities, sigmoid([10, 1, 0, 0]), rtol=1e-6)
    each = finished(perturbation_curve(counting(), red_picture(), REDS, 1, "deletion", steps=8, random_orders=0))
    np.testing.assert_allclose(each.probabilities, sigmoid([10, 6, 3, 1, 0, 0, 0, 0, 0]), rtol=1e-6)


def test_equal_values_come_in_a_random_order():
    """A map that says nothing is a random order, and not one from the top down."""
    image = red_picture()

    def areas(values: np.ndarray) -> set[float]:
        work = (perturbation_curve(counting(), image, values, 1, "deletion", steps=8, seed=seed) for seed in range(4))
        return {round(finished(curve).area, 9) for curve in work}

    assert len(areas(np.zeros((2, 4)))) > 1
    assert len(areas(REDS)) == 1


def test_a_small_map_is_enlarged_and_seeds_repeat():
    network = build(SMALL).freeze()
    image = picture(SMALL)
    cam = grad_cam(trace(network, image, 3)["stages.2.0"])
    assert cam.shape == (3, 4)
    first, again, other = (
        finished(perturbation_curve(network, image, cam, 3, "deletion", seed=seed)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.random, again.random)
    np.testing.assert_array_equal(first.probabilities, again.probabilities)
    assert (first.random != other.random).any()


def test_the_curve_says_how_far_it_is(monkeypatch: pytest.MonkeyPatch):
    expected = finished(perturbation_curve(counting(), red_picture(), REDS, 1, "deletion", steps=4))
    monkeypatch.setattr(faithfulness, "pictures_at_once", lambda spec: 2)
    shares = list(perturbation_curve(counting(), red_picture(), REDS, 1, "deletion", steps=4, random_orders=1))
    assert [share.share for share in shares] == [0.2, 0.4, 0.5, 0.7, 0.9, 1, 1]
    assert isinstance(shares[-1].result, PerturbationCurve) and not any(share.result for share in shares[:-1])
    np.testing.assert_allclose(shares[-1].result.probabilities, expected.probabilities)
    np.testing.assert_allclose(shares[-1].result.random[0], expected.random[0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"values": np.zeros((3, 2, 4))}, r"`values` must be a finite map \(H, W\), received \(3, 2, 4\)"),
        ({"values": np.full((2, 4), np.nan)}, "`values` must be a finite map"),
        ({"steps": 9}, "`steps` must be from 1 to the 8 pixels"),
        ({"steps": 0}, "`steps` must be from 1"),
        ({"random_orders": -1}, "`random_orders` at least 0"),
        ({"target": 2}, "`target` must be a class from 0 to 1"),
        ({"start": "black"}, "`baseline` must be one of mean, blur"),
        ({"network": build(COUNTING)}, "`network` must be in evaluation mode"),
    ],
)
def test_a_wrong_question_says_what_is_right(wrong: dict[str, Any], message: str):
    right = {"network": counting(), "image": red_picture(), "values": REDS, "target": 1, "kind": "deletion"}
    right["steps"] = 4
    with pytest.raises(ValueError, match=message):
        next(perturbation_curve(**{**right, **wrong}))


# --- the cascade -----------------------------------------------------------------------------------------------------


def weights_of(network: Network) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()}


def trained(spec: ArchitectureSpec = SMALL) -> Network:
    """Weights, biases and statistics that no new network has."""
    network = build(spec, seed=3)
    generator = torch.Generator().manual_seed(0)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(torch.rand(tensor.shape, generator=generator) / 4)
    return network.freeze()


def test_the_network_forgets_layer_by_layer_from_the_head():
    network = trained()
    before = weights_of(network)
    seen: list[tuple[Network, dict[str, bytes]]] = []

    def make_map(forgetting: Network, image: np.ndarray) -> np.ndarray:
        seen.append((forgetting, weights_of(forgetting)))
        return saliency(trace(forgetting, image, 3))

    found = finished(cascading_randomisation(network, picture(SMALL), make_map))
    assert found.layers[0] == ("head.fc",) and found.layers[1] == ("stages.2.0.norm2", "stages.2.0.conv2")
    assert found.layers[-1] == ("stem.norm", "stem.conv") and len(found.layers) == 8
    assert seen[0][1] == before and len(seen) == 9
    forgotten: set[str] = set()
    for names, (_, weights) in zip(found.layers, seen[1:], strict=True):
        forgotten |= set(names)
        changed = {name for name in weights if weights[name] != before[name]}
        assert {name.rpartition(".")[0] for name in changed} == forgotten
    unlike = {name for name, value in weights_of(build(SMALL, seed=3)).items() if seen[-1][1][name] == value}
    assert not any(name.endswith("conv1.weight") or name == "stem.conv.weight" for name in unlike)  # other seeds
    assert seen[-1][1]["stem.norm.running_mean"] == bytes(4 * 16)  # the statistics are a new network's too
    assert weights_of(network) == before and all(entry is not network for entry, _ in seen)
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_cascade_is_its_maps():
    network = trained()
    image = picture(SMALL)

    def make_map(forgetting: Network, image: np.ndarray) -> np.ndarray:
        *_, last = explain(forgetting, image, 3, "input_x_gradient")
        assert last.result is not None
        return as_map(last.result)

    shares = list(cascading_randomisation(network, image, make_map, most=3))
    assert [share.share for share in shares] == [0.25, 0.5, 0.75, 1]
    found = shares[-1].result
    assert found is not None and found.maps.shape == (3, 12, 16)
    assert [len(names) for names in found.layers] == [3, 6, 6]  # of 8 layers 2, 3 and 3; only the head has no norm
    np.testing.assert_array_equal(found.original, make_map(network, image))
    for values, signed, absolute in zip(found.maps, found.correlations, found.absolute_correlations, strict=True):
        assert signed == pytest.approx(scipy.stats.spearmanr(found.original.ravel(), values.ravel()).statistic)
        expected = scipy.stats.spearmanr(np.abs(found.original).ravel(), np.abs(values).ravel()).statistic
        assert absolute == pytest.approx(expected) and signed != pytest.approx(absolute)
    again, other = (finished(cascading_randomisation(network, image, make_map, most=3, seed=seed)) for seed in (0, 1))
    np.testing.assert_array_equal(again.maps, found.maps)
    assert (other.maps != found.maps).any()


def test_a_map_in_chunks_passes_its_shares_on_and_ends_where_it_is_closed():
    network, image = trained(), picture(SMALL)
    ended: list[int] = []

    def make_map(forgetting: Network, image: np.ndarray) -> Generator[Share[np.ndarray], None, None]:
        begun = len(ended)
        try:
            for step in explain(forgetting, image, 3, "occlusion", {"window": 1, "stride": 1}):
                yield Share(step.share, None if step.result is None else as_map(step.result))
        finally:
            ended.append(begun)

    shares = list(cascading_randomisation(network, image, make_map, most=3))
    chunks = -(-12 * 16 // explanation.pictures_at_once(SMALL))  # a window a pixel
    assert chunks > 1 and len(shares) == 4 * chunks + 3 + 1
    assert [share.share for share in shares] == sorted(share.share for share in shares)
    assert shares[0].share == pytest.approx(1 / chunks / 4) and shares[-1].share == 1
    assert [share.result for share in shares[:-1]] == [None] * (len(shares) - 1) and ended == [0, 1, 2, 3]
    whole = finished(cascading_randomisation(network, image, lambda *asked: finished(make_map(*asked)), most=3))
    assert shares[-1].result is not None
    np.testing.assert_array_equal(shares[-1].result.maps, whole.maps)
    ended.clear()
    work = cascading_randomisation(network, image, make_map, most=3)
    next(work), next(work)
    assert not ended
    work.close()
    assert ended == [0]


def test_a_map_in_chunks_that_never_comes_is_one_sentence():
    def make_map(network: Network, image: np.ndarray) -> Generator[Share[np.ndarray], None, None]:
        yield Share(0.5)

    with pytest.raises(ValueError, match="`make_map` must end with a map, received none"):
        finished(cascading_randomisation(trained(), picture(SMALL), make_map))


def test_what_does_not_look_at_the_network_stays_as_it_was():
    found = finished(cascading_randomisation(trained(), picture(SMALL), lambda network, image: image[0]))
    assert found.correlations == pytest.approx([1] * 8)
    nothing = finished(cascading_randomisation(trained(), picture(SMALL), lambda network, image: np.zeros((2, 2))))
    assert nothing.correlations == nothing.absolute_correlations == (None,) * 8


def test_shortcuts_with_weights_are_forgotten_too():
    network = trained(replace(SMALL, shortcut="projection"))
    found = finished(cascading_randomisation(network, picture(SMALL), lambda network, image: image[0], most=99))
    names = {name for group in found.layers for name in group}
    assert names == {name.rpartition(".")[0] for name in network.state_dict()}


@pytest.mark.parametrize(
    "changes", [{"branch_start": "gamma"}, {"branch_start": "gain"}, {"branch_start": "gain", "preactivation": True}]
)
def test_branches_that_start_at_zero_are_forgotten_and_not_left_out(changes: dict[str, Any]):
    """The fresh ones are those of a twin whose branches are whole from the start, so that random weights show."""
    network = trained(replace(SMALL, shortcut="identity", **changes))
    groups = groups_from_head(network)
    names = {name for group in groups for name in group}
    assert names == {name.rpartition(".")[0] for name in network.state_dict()}
    gains = [group for group in groups if any(name.endswith("branch_gain") for name in group)]
    assert len(gains) == (3 if changes["branch_start"] == "gain" else 0)
    assert all(any(name.endswith("conv2") for name in group) for group in gains)
    before = weights_of(network)
    forgotten = partly_random(network, len(groups))
    assert weights_of(network) == before
    whole = partly_random(trained(replace(network.spec, branch_start="full")), len(groups))
    x = torch.from_numpy(picture(SMALL))[None]
    recorder = Recorder(forgotten)
    torch.testing.assert_close(forgotten(x, recorder), whole(x))
    last = "branch_gain" if gains else "norm2"
    ends = [output for name, output in recorder.outputs.items() if name.endswith(last)]
    assert len(ends) == 3 and all(output.abs().max() > 0 for output in ends)
    seen: list[bytes] = []

    def make_map(network: Network, image: np.ndarray) -> np.ndarray:
        seen.append(network(x).numpy().tobytes())
        return image[0]

    finished(cascading_randomisation(network, picture(SMALL), make_map, most=2))
    assert seen[-1] == forgotten(x).numpy().tobytes(), "the cascade ends where all weights are random"


def test_wrong_maps_and_steps_say_what_is_right():
    network, image = trained(), picture(SMALL)
    with pytest.raises(ValueError, match=r"`make_map` must make a finite map \(H, W\), received \(3, 12, 16\)"):
        next(cascading_randomisation(network, image, lambda network, image: image))
    with pytest.raises(ValueError, match="`most` must be at least 1 step, received 0"):
        next(cascading_randomisation(network, image, lambda network, image: image[0], most=0))


# --- Spearman --------------------------------------------------------------------------------------------------------


def test_spearman_worked_out_by_hand():
    """Ranks 1 2.5 2.5 4 and 2 1 3 4: their products from the mean sum to 3, their squares to 4.5 and 5."""
    found = spearman(np.array([[1, 5], [5, 9]]), np.array([[20, 10], [30, 40]]))
    assert found == pytest.approx(3 / np.sqrt(4.5 * 5))
    assert spearman(np.array([1, 2, 3]), np.array([1, 10, 1000])) == 1
    assert spearman(np.array([1, 2, 3]), np.array([0, -1, -2])) == -1
    assert spearman(np.array([1, 2, 3]), np.array([7, 7, 7])) is None
    with pytest.raises(ValueError, match=r"`a` and `b` must have one shape, received \(3,\) and \(2,\)"):
        spearman(np.zeros(3), np.zeros(2))


@pytest.mark.parametrize("levels", [2, 5, 10**9])
def test_spearman_equals_scipys(levels: int):
    generator = np.random.default_rng(levels)
    a, b = generator.integers(0, levels, (2, 20, 15))
    assert spearman(a + b, b) == pytest.approx(scipy.stats.spearmanr((a + b).ravel(), b.ravel()).statistic, rel=1e-12)


def test_every_answer_says_how_to_read_it():
    assert set(READINGS) == {"deletion", "insertion", "cascade"}
    assert all(
        sentence.endswith(").") and sentence.replace("et al.", "").count(".") <= 3 for sentence in READINGS.values()
    )


def test_the_shared_network_is_left_as_found():
    network = trained()
    before, modules = weights_of(network), copy.copy(vars(network))
    image = picture(SMALL)
    finished(perturbation_curve(network, image, image[0], 3, "deletion", random_orders=1))
    work = cascading_randomisation(network, image, lambda network, image: saliency(trace(network, image, 3)))
    next(work), next(work)
    work.close()
    assert weights_of(network) == before and vars(network) == modules
    assert not any(module.training or module._forward_hooks for module in network.modules())
    assert all(parameter.grad is None for parameter in network.parameters())
