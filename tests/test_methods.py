"""Captum's methods in chunks against Captum in one call, their laws, and a shared network left as it was found.

One file: most tests run over all methods, with the same network and the same helpers.
"""

import copy
from collections.abc import Generator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import (
    DeepLift,
    GuidedBackprop,
    GuidedGradCam,
    InputXGradient,
    IntegratedGradients,
    NoiseTunnel,
    Occlusion,
    Saliency,
)
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.attribution import (
    METHODS,
    Attribution,
    Share,
    as_map,
    cost,
    explain,
    explanation,
    note,
    parameters_of,
)
from explorer.attribution.explanation import baseline, pictures_at_once
from explorer.attribution.methods import Value
from explorer.presets import cifar, imagenet_resnet
from explorer.tracing import trace

TARGET = 3
CAPTUMS = ["integrated_gradients", "smoothgrad", "guided_backprop", "guided_grad_cam", "occlusion", "input_x_gradient"]
CAPTUMS += ["deep_lift"]
SMALL = replace(cifar(8), input_shape=(3, 24, 32))  # not square, so that rows and columns cannot be mixed up
LINEAR = ArchitectureSpec((Stage(1, 2),), "conv", "none", norm="none", stem=Stem(2), input_shape=(3, 5, 7), classes=4)


def built(spec: ArchitectureSpec) -> Network:
    """A frozen network whose norms are not the identity."""
    network = build(spec)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.ndim == 1 and tensor.is_floating_point():
                noise = torch.rand(tensor.shape, generator=generator) / 2
                tensor.copy_(0.75 + noise if name.endswith(("weight", "var")) else noise - 0.25)
    return network.freeze()


def picture(spec: ArchitectureSpec, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(spec.input_shape).astype(np.float32)


def finished(work: Generator[Share[Attribution], None, None]) -> Attribution:
    *_, last = work
    assert last.result is not None
    return last.result


def explained(network: Network, method: str, **parameters: Value) -> Attribution:
    return finished(explain(network, picture(network.spec), TARGET, method, parameters))


@pytest.fixture(scope="module", params=["identity", "none"])
def network(request: pytest.FixtureRequest) -> Network:
    return built(replace(SMALL, shortcut=request.param))


def left_as_found(network: Network) -> tuple[object, ...]:
    """Everything that an explanation must not change, as a value."""
    hooks = [
        [len(getattr(module, name)) for name in sorted(vars(module)) if name.endswith("_hooks")]
        for module in network.modules()
    ]
    return (
        {name: tensor.numpy().tobytes() for name, tensor in network.state_dict().items()},
        [(parameter.requires_grad, parameter.grad is None) for parameter in network.parameters()],
        [module.training for module in network.modules()],
        hooks,
        torch.is_grad_enabled(),
    )


# --- Captum as oracle ------------------------------------------------------------------------------------------------


def captums(network: Network, method: str) -> tuple[dict[str, Value], Tensor]:
    """Parameters that are no defaults and need several chunks, and what Captum makes of them in one call."""
    copied = copy.deepcopy(network)
    image = picture(network.spec)
    x = torch.tensor(image)[None].requires_grad_()
    blurred = torch.tensor(baseline(image, "blur"))[None]
    if method == "integrated_gradients":
        found = IntegratedGradients(copied).attribute(x, blurred, TARGET, n_steps=45)
        return {"steps": 45, "baseline": "blur"}, found
    if method == "smoothgrad":
        spread = 0.2 * float(image.max() - image.min())
        torch.manual_seed(7)
        tunnel = NoiseTunnel(Saliency(copied))
        return {"samples": 40, "noise": 0.2}, tunnel.attribute(
            x, nt_samples=40, stdevs=spread, target=TARGET, abs=False
        )
    if method == "occlusion":
        found = Occlusion(copied).attribute(x, (3, 7, 7), (3, 3, 3), blurred, TARGET, perturbations_per_eval=50)
        return {"window": 7, "stride": 3, "baseline": "blur"}, found
    if method == "guided_grad_cam":
        guided = GuidedGradCam(copied, copied.get_submodule("stages.1.0"))
        return {"layer": "stages.1.0"}, guided.attribute(x, TARGET, interpolate_mode="bilinear")
    if method == "deep_lift":
        return {"baseline": "blur"}, DeepLift(copied).attribute(x, blurred, TARGET)
    return {}, (GuidedBackprop if method == "guided_backprop" else InputXGradient)(copied).attribute(x, TARGET)


@pytest.mark.filterwarnings("ignore:Setting (forward, )?backward hooks")
@pytest.mark.parametrize("method", CAPTUMS)
def test_a_method_equals_captums(network: Network, method: str):
    parameters, expected = captums(network, method)
    expected = expected.detach()
    before = left_as_found(network)
    found = finished(explain(network, picture(network.spec), TARGET, method, parameters, seed=7))
    assert (found.method, found.target, found.values.dtype) == (method, TARGET, np.float32)
    assert not found.values.flags.writeable
    assert expected.min() < 0 < expected.max()
    tolerance = 2e-5 * float(expected.abs().max())
    np.testing.assert_allclose(found.values, expected[0].numpy(force=True), rtol=0, atol=tolerance)
    assert left_as_found(network) == before
    defaults = finished(explain(network, picture(network.spec), TARGET, method, seed=7))
    assert not parameters or np.abs(defaults.values - found.values).max() > tolerance  # they are not ignored


def test_the_delta_equals_captums(network: Network):
    image = picture(network.spec)
    x = torch.tensor(image)[None]
    captum = IntegratedGradients(copy.deepcopy(network))
    _, delta = captum.attribute(x, target=TARGET, n_steps=10, return_convergence_delta=True)
    found = explained(network, "integrated_gradients", steps=10)
    assert found.delta == pytest.approx(delta.item(), abs=1e-4) and abs(delta.item()) > 1e-3
    with torch.no_grad():
        score, nothing = network(torch.stack([x[0], torch.zeros_like(x[0])]))[:, TARGET].tolist()
    assert found.difference == pytest.approx(score - nothing, rel=1e-5)


# --- laws ------------------------------------------------------------------------------------------------------------


def test_integrated_gradients_sum_to_the_difference_of_the_scores(network: Network):
    """Completeness (Sundararajan et al. 2017, proposition 1), closer with more steps."""
    deltas = []
    for steps in (2, 30, 300):
        found = explained(network, "integrated_gradients", steps=steps)
        assert found.difference is not None and found.delta is not None
        assert found.values.sum(dtype=np.float64) == pytest.approx(found.difference + found.delta, abs=1e-4)
        assert as_map(found).sum(dtype=np.float64) == pytest.approx(found.difference + found.delta, abs=1e-3)
        deltas.append(abs(found.delta / found.difference))
    assert deltas[2] < 0.02 < deltas[0]


def affine(activation: str = "relu") -> Network:
    """Positive weights: on positive pictures ReLU changes nothing, and the score is linear but for the biases."""
    network = build(replace(LINEAR, activation=activation)).freeze()  # type: ignore[arg-type]
    for parameter in network.parameters():
        parameter.abs_().add_(0.01)
    return network


def test_of_an_affine_network_gradients_and_removal_say_the_same():
    network = affine()
    image = np.abs(picture(LINEAR))
    with torch.no_grad():
        both = torch.stack([torch.tensor(image), torch.zeros(LINEAR.input_shape)])
        score, nothing = network(both)[:, TARGET].tolist()
    found = {method: finished(explain(network, image, TARGET, method, {})) for method in METHODS}
    exact = found["input_x_gradient"].values
    assert exact.sum() == pytest.approx(score - nothing, rel=1e-4)
    np.testing.assert_allclose(found["integrated_gradients"].values, exact, rtol=1e-4)
    np.testing.assert_allclose(found["guided_backprop"].values, exact / image, rtol=1e-4)
    assert found["integrated_gradients"].delta == pytest.approx(0, abs=1e-4)
    single = finished(explain(network, image, TARGET, "occlusion", {"window": 1, "stride": 1}))
    np.testing.assert_allclose(single.values, np.broadcast_to(exact.sum(axis=0), exact.shape), atol=1e-4)
    np.testing.assert_allclose(as_map(single), exact.sum(axis=0), atol=1e-4)
    np.testing.assert_allclose(found["deep_lift"].values, exact, rtol=1e-4, atol=1e-6)
    assert found["deep_lift"].difference == pytest.approx(score - nothing, rel=1e-5)
    summed = {"integrated_gradients", "deep_lift"}
    assert all(values.delta is None for method, values in found.items() if method not in summed)


def test_a_window_over_everything_takes_the_whole_score():
    network = built(cifar(8))
    image = picture(network.spec)
    found = explained(network, "occlusion", window=32, stride=32)
    with torch.no_grad():
        both = torch.stack([torch.tensor(image), torch.zeros(network.spec.input_shape)])
        score, nothing = network(both)[:, TARGET].tolist()
    np.testing.assert_allclose(found.values, score - nothing, rtol=1e-5)


@pytest.mark.parametrize(
    ("activation", "method", "sentence"),
    [
        ("tanh", "guided_backprop", "only ReLU can be guided: this map is the plain gradient."),
        ("gelu", "guided_grad_cam", "only ReLU can be guided: this map is Grad-CAM times the plain gradient."),
    ],
)
def test_without_relu_nothing_is_guided_and_it_says_so(activation: Any, method: str, sentence: str):
    network = built(replace(SMALL, activation=activation))
    said = note(method, network.spec)
    assert said is not None and said.endswith(sentence) and f"activation is {network.spec.activation_name}," in said
    recorded = trace(network, picture(network.spec), TARGET)
    plain = explained(network, "guided_backprop").values
    np.testing.assert_allclose(plain, recorded.image_gradient, atol=1e-5 * np.abs(plain).max())


def test_with_relu_it_is_guided_and_there_is_nothing_to_say():
    network = built(SMALL)
    gradient = trace(network, picture(SMALL), TARGET).image_gradient
    guided = explained(network, "guided_backprop").values
    assert np.abs(guided - gradient).max() > 0.1 * np.abs(gradient).max()
    assert not any(note(method, network.spec) for method in CAPTUMS)
    assert not note("smoothgrad", replace(SMALL, activation="tanh"))


def test_as_map_worked_out_by_hand():
    values = np.array([[[1, -7]], [[-3, 2]], [[2, 2]]], np.float32)
    expected = {"sum": [[0, -3]], "largest": [[3, 7]], "mean": [[0, -1]], "single": [[0, -1]]}
    assert {method.fold for method in METHODS.values()} == set(expected)
    for name, method in METHODS.items():
        found = as_map(Attribution(name, 0, values))
        np.testing.assert_array_equal(found, expected[method.fold])
        assert found.dtype == np.float32


def test_the_blurred_baseline_is_a_gaussian():
    image = picture(SMALL)
    expected = [gaussian_filter(channel.astype(np.float64), 3, mode="nearest", radius=9) for channel in image]
    np.testing.assert_allclose(baseline(image, "blur"), expected, atol=1e-6)  # an eighth of 24 pixels
    np.testing.assert_allclose(baseline(np.full((3, 9, 8), 2, np.float32), "blur"), 2, rtol=1e-6)
    assert not baseline(image, "mean").any()
    with pytest.raises(ValueError, match="`baseline` must be one of mean, blur, received 'black'"):
        baseline(image, "black")


# --- chunks, cost, stop ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["integrated_gradients", "smoothgrad", "occlusion", "score_cam", "rise"])
def test_the_size_of_the_chunks_changes_nothing(method: str, monkeypatch: pytest.MonkeyPatch):
    """Not even the noise, in pictures of 105 values, which torch draws by sixteens."""
    network = built(LINEAR)
    whole = explained(network, method).values
    monkeypatch.setattr(explanation, "_MOST_AT_ONCE", 3)
    assert pictures_at_once(LINEAR) == 3
    np.testing.assert_allclose(explained(network, method).values, whole, atol=1e-6 * np.abs(whole).max())


@pytest.mark.parametrize("method", ["smoothgrad", "rise"])
def test_what_is_drawn_follows_from_the_seed(method: str):
    network = built(LINEAR)
    image = picture(LINEAR)
    first, again, other = (finished(explain(network, image, TARGET, method, {}, seed)).values for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("share_of_default", [1, 0.5])
def test_the_cost_is_known_before(method: str, share_of_default: float):
    """Counted by hooks, which the private copy takes along."""
    network = built(SMALL)
    passes = {"forward": 0, "backward": 0}

    def forward(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        passes["forward"] += len(inputs[0])

    def backward(module: nn.Module, gradients: Any, outputs: Any) -> None:
        passes["backward"] += len(outputs[0])

    network.head.fc.register_forward_pre_hook(forward)
    network.head.fc.register_full_backward_hook(backward)
    parameters = {
        parameter.name: type(parameter.default)(parameter.default * share_of_default)
        for parameter in parameters_of(method, network.spec)
        if not isinstance(parameter.default, str)
    }
    expected = cost(method, network.spec, parameters)
    explained(network, method, **parameters)
    assert passes == {"forward": expected.forward, "backward": expected.backward}
    assert expected.passes == expected.forward + expected.backward > 1


def test_costs_worked_out_by_hand():
    spec = cifar(8)
    assert cost("integrated_gradients", spec).passes == 102  # 50 steps there and back, and both ends
    assert cost("smoothgrad", spec, {"samples": 25}).passes == 50
    assert cost("occlusion", spec).passes == 50  # windows of 8 at 0, 4, ..., 24: 7 · 7, and the whole picture
    assert cost("occlusion", spec, {"window": 10, "stride": 10}).passes == 17  # the fourth is cut by the edge
    assert cost("score_cam", spec, {"layer": "stages.2.0"}).passes == 66  # 64 channels; the layer and its gradient
    assert cost("rise", spec, {"masks": 300}).passes == 300


def test_it_says_how_far_it_is_and_can_be_left():
    network = built(SMALL)
    before = left_as_found(network)
    shares = list(explain(network, picture(SMALL), TARGET, "smoothgrad", {"samples": 100}))
    assert [share.share for share in shares] == [0.32, 0.64, 0.96, 1, 1]
    assert [share.result is None for share in shares] == [True, True, True, True, False]
    work = explain(network, picture(SMALL), TARGET, "integrated_gradients", {"steps": 300})
    with torch.no_grad():
        assert next(work).share == pytest.approx(32 / 300)
        assert not torch.is_grad_enabled()
    work.close()
    assert left_as_found(network) == before


def test_a_network_that_asks_for_gradients_goes_on_asking_and_gets_none():
    network = built(SMALL)
    expected = explained(network, "integrated_gradients", steps=5).values
    network.requires_grad_(True)
    before = left_as_found(network)
    np.testing.assert_array_equal(explained(network, "integrated_gradients", steps=5).values, expected)
    assert left_as_found(network) == before


@pytest.mark.parametrize("method", METHODS)
def test_who_shares_the_network_notices_nothing(method: str):
    """In the middle of the explanation, behind every hooked ReLU, somebody traces the shared network. With Captum's
    hooks on it, plain gradients of another thread came out guided."""
    network = built(SMALL)
    expected = trace(network, picture(SMALL), TARGET).image_gradient
    seen: list[np.ndarray] = []

    def meanwhile(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if module is not network.head.fc:  # the private copy takes this hook along
            with torch.enable_grad():
                seen.append(trace(network, picture(SMALL), TARGET).image_gradient)

    network.head.fc.register_forward_pre_hook(meanwhile)
    explained(network, method)
    assert seen
    for gradient in seen:
        np.testing.assert_array_equal(gradient, expected)


# --- the form --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SMALL, LINEAR, imagenet_resnet(18)], ids=lambda spec: str(spec.input_shape))
@pytest.mark.parametrize("method", METHODS)
def test_a_form_can_be_drawn_from_the_parameters(method: str, spec: ArchitectureSpec):
    assert METHODS[method].shows.endswith(".") and METHODS[method].title
    for parameter in parameters_of(method, spec):
        assert parameter.title and parameter.meaning.endswith(".")
        if parameter.choices:
            assert parameter.default in parameter.choices
        else:
            assert parameter.low <= parameter.default <= parameter.high  # type: ignore[operator]
            assert {type(parameter.low), type(parameter.high)} == {type(parameter.default)}
    assert cost(method, spec).passes > 1


def test_the_layers_to_choose_are_those_with_feature_maps():
    (layer,) = parameters_of("guided_grad_cam", cifar(8))
    assert layer.default == "stages.2.0" == layer.choices[-1]
    assert layer.choices[0] == "stem.conv" and "head.pool" not in layer.choices


@pytest.mark.parametrize(
    ("method", "parameters", "message"),
    [
        ("lime", {}, "`method` must be one of integrated_gradients, .*, received 'lime'"),
        ("occlusion", {"steps": 3}, "`steps` is no parameter of occlusion; it takes window, stride, baseline"),
        ("guided_backprop", {"layer": "stem.conv"}, "`layer` is no parameter of guided_backprop; it takes none"),
        ("smoothgrad", {"samples": 2.0}, "`samples` must be a whole number from 2 to 300, received 2.0"),
        ("smoothgrad", {"samples": True}, "`samples` must be a whole number"),
        ("smoothgrad", {"noise": 0.6}, "`noise` must be a number from 0.01 to 0.5, received 0.6"),
        ("smoothgrad", {"noise": float("nan")}, "`noise` must be a number"),
        ("integrated_gradients", {"baseline": "red"}, "`baseline` must be one of mean, blur, received 'red'"),
        ("guided_grad_cam", {"layer": "head.fc"}, "`layer` must be one of stem.conv, .*, received 'head.fc'"),
        ("occlusion", {"window": 4, "stride": 5}, "`stride` must be at most the `window` of 4 pixels, .* received 5"),
    ],
)
def test_a_wrong_parameter_says_what_is_right(method: str, parameters: dict[str, Value], message: str):
    network = build(SMALL)
    with pytest.raises(ValueError, match=message):
        next(explain(network, picture(SMALL), TARGET, method, parameters))


def test_a_wrong_input_says_what_is_right():
    network = built(SMALL)
    for image, target, message in (
        (picture(SMALL)[:, :20], TARGET, r"`image` must have the shape \(3, 24, 32\)"),
        (np.full(SMALL.input_shape, np.nan, np.float32), TARGET, "`image` holds values that are not finite"),
        (picture(SMALL), 10, "`target` must be a class from 0 to 9, received 10"),
    ):
        with pytest.raises(ValueError, match=message):
            next(explain(network, image, target, "input_x_gradient"))
    with pytest.raises(ValueError, match="`network` must be in evaluation mode"):
        next(explain(network.train(), picture(SMALL), TARGET, "input_x_gradient"))
