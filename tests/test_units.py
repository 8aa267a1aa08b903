"""Units: their pictures against passes of their own, weights by hand, ablation against a changed network."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
import torch

from explorer.architectures import ArchitectureSpec, Stage, Stem, build, describe
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split, shapes
from explorer.experiments.agreement import images_for
from explorer.experiments.units import connections
from explorer.experiments.units.connections import Carried, Connections, fed_by, feeds, first_unit
from explorer.experiments.units.findings import UnitFindings, natural_findings, sentences, with_optimised
from explorer.experiments.units.influence import influence
from explorer.experiments.units.natural import Unit, UnitAnswers, box_of, natural_answers
from explorer.experiments.units.optimised import Waves, optimise
from explorer.onnx_export import to_onnx
from explorer.presets import cifar
from explorer.tracing import EVERYTHING, trace
from explorer.ui.experiments.unit_answer import weight_parts
from explorer.weights_import import graphs, onnx_layout

Result = TypeVar("Result")
SPEC = ArchitectureSpec(
    (Stage(1, 4), Stage(2, 6, 2)), stem=Stem(4), input_shape=(3, 16, 16), classes=10, shortcut="identity"
)
SPLIT = shapes.draw(40, seed=0, size=16)
NAMES = shapes.CLASS_NAMES


def checkpoint(spec: ArchitectureSpec = SPEC) -> Checkpoint:
    """With running statistics and norms that are not those of a new network."""
    network = build(spec, seed=3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for _ in range(20):
            network(torch.randn(16, *spec.input_shape, generator=generator))
        for name, parameter in network.named_parameters():
            if "norm" in name:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return Checkpoint(network.freeze(), NAMES, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "test")


def finished(steps: Iterator[tuple[float, Result | None]]) -> Result:
    fractions, results = zip(*steps, strict=True)
    assert list(fractions) == sorted(fractions) and fractions[-1] == 1
    assert all(result is None for result in results[:-1]) and results[-1] is not None
    return results[-1]


def answers_of(asked: Checkpoint, unit: Unit, split: Split = SPLIT) -> UnitAnswers:
    return finished(natural_answers(asked, split.images, unit))


# --- natural pictures -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer", ["stem.conv", "stages.1.0", "stages.1.1.norm2", "stages.1.1.shortcut"])
def test_strongest_weakest_and_places_are_those_of_passes_of_their_own(
    layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, unit = checkpoint(), Unit(layer, 3)
    monkeypatch.setattr("explorer.experiments.units.natural.pictures_at_once", lambda spec: 7)
    found = answers_of(asked, unit)
    inputs = images_for(asked, SPLIT.images).numpy()
    maps = np.stack([trace(asked.network, image, kinds=EVERYTHING)[layer].activation[3] for image in inputs])
    peaks = maps.max(axis=(1, 2))
    np.testing.assert_allclose(found.values, peaks, atol=1e-5)
    assert found.strongest.tolist() == np.argsort(-found.values, kind="stable")[:9].tolist()
    assert found.weakest.tolist() == np.argsort(found.values, kind="stable")[:9].tolist()
    np.testing.assert_allclose(peaks[found.strongest], np.sort(peaks)[::-1][:9], atol=1e-5)
    np.testing.assert_allclose(peaks[found.weakest], np.sort(peaks)[:9], atol=1e-5)
    for picture, (row, column) in zip(maps, found.positions, strict=True):
        assert picture[row, column] == pytest.approx(picture.max(), abs=1e-5)
    assert not {*found.strongest.tolist()} & {*found.weakest.tolist()}


def test_colours_are_those_of_the_pixels() -> None:
    found = answers_of(checkpoint(), Unit("stem.conv", 0)).colours
    pixels = SPLIT.images.transpose(1, 0, 2, 3).reshape(3, -1) / 255
    np.testing.assert_allclose(found.mean, pixels.mean(1), atol=1e-6)
    np.testing.assert_allclose(found.covariance, np.cov(pixels, ddof=0), atol=1e-6)


def test_the_box_holds_what_the_value_depends_on() -> None:
    asked, unit = checkpoint(), Unit("stages.0.0", 1)
    found = answers_of(asked, unit)
    index = int(found.strongest[0])
    row, column = found.positions[index]
    top, left, bottom, right = box_of(asked.spec, unit, (row, column))
    image = images_for(asked, SPLIT.images[index : index + 1]).numpy()[0]
    outside = np.ones(image.shape[1:], bool)
    outside[top:bottom, left:right] = False
    assert outside.any()
    changed = np.where(outside, 9.0, image).astype(np.float32)
    before, after = (trace(asked.network, each)[unit.layer].activation[1, row, column] for each in (image, changed))
    assert before == after and before == pytest.approx(found.values[index], abs=1e-5)


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (Unit("head.fc", 0), "`layer` must be one with feature maps, received 'head.fc'"),
        (Unit("stages.9.0", 0), "`layer` must be one with feature maps"),
        (Unit("stages.1.0", 6), "`channel` of `stages.1.0` must be a whole number from 0 to 5, received 6"),
        (Unit("stages.1.0", -1), "`channel` of `stages.1.0` must be a whole number"),
    ],
)
def test_a_unit_that_is_none_is_refused(unit: Unit, message: str) -> None:
    asked = checkpoint()
    for ask in (lambda: next(natural_answers(asked, SPLIT.images, unit)), lambda: feeds(asked.network, unit)):
        with pytest.raises(ValueError, match=message):
            ask()
    with pytest.raises(ValueError, match="two pictures or more"):
        next(natural_answers(asked, SPLIT.images[:1], Unit("stem.conv", 0)))


# --- the optimised picture --------------------------------------------------------------------------------------------


def test_an_optimised_picture_beats_every_natural_one_and_its_seed_gives_the_same_bits() -> None:
    asked, unit = checkpoint(), Unit("stages.1.1.conv1", 2)
    before = {name: value.clone() for name, value in asked.network.state_dict().items()}
    found = answers_of(asked, unit)
    made, again, other = (
        finished(optimise(asked, unit, found.colours, seed, steps=60, minimise=True)) for seed in (0, 0, 1)
    )
    assert made.maximising.value > found.values.max() and made.maximising.value > made.maximising.start
    assert made.minimising is not None and again.minimising is not None
    assert made.minimising.value <= made.minimising.start and made.minimising.value < found.values.min()
    np.testing.assert_array_equal(made.maximising.pixels, again.maximising.pixels)
    np.testing.assert_array_equal(made.minimising.pixels, again.minimising.pixels)
    assert (made.maximising.pixels != other.maximising.pixels).any()
    # What is said of the picture is what a pass over its saved pixels gives.
    image = images_for(asked, made.maximising.pixels.transpose(2, 0, 1)[None]).numpy()[0]
    seen = trace(asked.network, image)[unit.layer].activation[2]
    assert seen.max() == pytest.approx(made.maximising.value, rel=1e-4)
    assert seen[made.maximising.position] == seen.max()
    assert all(torch.equal(value, before[name]) for name, value in asked.network.state_dict().items())
    assert all(parameter.grad is None for parameter in asked.network.parameters())


def test_a_unit_that_is_silent_at_first_is_woken() -> None:
    asked = checkpoint(replace(SPEC, norm="none"))
    unit = Unit("stages.0.0", 0)
    conv = asked.network.get_submodule("stem.conv")
    conv.get_parameter("weight").copy_(torch.ones(4, 3, 3, 3))
    conv.get_parameter("bias").fill_(-30.0)  # grey gives nothing, white does
    colours = answers_of(asked, unit).colours
    made = finished(optimise(asked, Unit("stem.activation", 0), colours, steps=60))
    assert made.maximising.start == 0 and made.maximising.value > 1


def test_waves_have_the_colours_of_the_pictures_and_stay_within_the_levels() -> None:
    colours = answers_of(checkpoint(), Unit("stem.conv", 0)).colours
    waves = Waves(colours, (16, 16))
    generator = torch.Generator().manual_seed(0)
    small = waves.picture(1e-3 * torch.randn(200, 3, 16, 9, 2, generator=generator)).double()
    pixels = small.transpose(0, 1).flatten(1).numpy()
    np.testing.assert_allclose(pixels.mean(1), colours.mean, atol=1e-3)
    # Around the mean the covariance of the colours is that of the pictures, up to the size of the waves.
    ratio = np.cov(pixels) / colours.covariance
    assert ratio.std() / ratio.mean() < 0.05
    large = waves.picture(100 * torch.randn(2, 3, 16, 9, 2, generator=generator))
    assert 0 <= large.min() and large.max() <= 1


def test_an_optimised_picture_never_stands_alone() -> None:
    asked, unit = checkpoint(), Unit("stages.1.1", 2)
    found = finished(natural_findings(asked, SPLIT, [NAMES[label] for label in SPLIT.labels], NAMES, unit))
    assert found.optimised is None and len(found.strongest) == len(found.weakest) == 9
    both = finished(with_optimised(asked, found, steps=2))
    assert both.optimised is not None and both.strongest == found.strongest
    with pytest.raises(ValueError, match="an optimised one never stands alone"):
        UnitFindings(found.answers, (), (), found.influence, both.optimised)
    asked.network.get_submodule("stages.1.1").get_submodule("norm2").get_parameter("weight").zero_()
    flat = finished(natural_findings(asked, SPLIT, [""] * 40, NAMES, Unit("stages.1.1.norm2", 2)))
    assert "so no image stands out" in sentences("N", flat)[0]
    with pytest.raises(ValueError, match="one value for all pictures"):
        next(with_optimised(asked, flat))


# --- its influence ----------------------------------------------------------------------------------------------------


def test_switched_off_is_a_network_whose_channel_is_zero() -> None:
    asked, unit = checkpoint(), Unit("stages.1.0.conv1", 2)
    found = finished(influence(asked, SPLIT, NAMES, unit))
    changed = checkpoint()
    changed.network.get_submodule(unit.layer).get_parameter("weight")[2] = 0
    inputs = images_for(asked, SPLIT.images)
    logits = [each.network(inputs).double() for each in (asked, changed)]
    labels = torch.from_numpy(SPLIT.labels)
    losses = [torch.nn.functional.cross_entropy(each, labels, reduction="none") for each in logits]
    right = [each.argmax(1) == labels for each in logits]
    assert (found.before.right, found.after.right) == tuple(int(each.sum()) for each in right)
    assert found.lost == int((right[0] & ~right[1]).sum()) and found.gained == int((right[1] & ~right[0]).sum())
    assert found.loss.mean == pytest.approx(float((losses[1] - losses[0]).mean()), abs=1e-5)
    shares = [each.softmax(1)[torch.arange(40), labels] for each in logits]
    assert found.probability.mean == pytest.approx(float((shares[1] - shares[0]).mean()), abs=1e-5)
    assert found.loss.low < found.loss.mean < found.loss.high


def test_without_labels_the_answers_before_count_as_right() -> None:
    asked = checkpoint()
    found = finished(influence(asked, SPLIT, NAMES, Unit("stages.1.1", 0), is_labelled=False))
    assert found.before.share == 1 and found.gained == 0 and found.after.right == 40 - found.lost
    assert found.accuracy.low < found.accuracy.mean <= found.accuracy.high <= 0


# --- its weights ------------------------------------------------------------------------------------------------------


def only(found: tuple[Connections, ...]) -> Connections:
    (one,) = found
    return one


def test_weights_of_a_network_by_hand() -> None:
    """Kernels 1×1 without norm: each connection is the weight itself."""
    spec = ArchitectureSpec(
        (Stage(1, 2, kernel_size=1), Stage(1, 3, kernel_size=1)),
        "conv", "none", norm="none", stem=None, input_shape=(3, 4, 4), classes=3,
    )  # fmt: skip
    network = build(spec).freeze()
    first = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, -4.0]])
    second = torch.tensor([[1.0, 2.0], [-5.0, 0.0], [0.25, -1.0]])
    network.get_submodule("stages.0.0.conv1").get_parameter("weight").copy_(first[..., None, None])
    network.get_submodule("stages.1.0.conv1").get_parameter("weight").copy_(second[..., None, None])
    network.head.fc.weight.copy_(torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, -6.0], [0.0, 0.0, 2.0]]))
    into = only(fed_by(network, Unit("stages.0.0", 1)).connections)
    assert (into.kind, into.layer) == ("picture", "")
    assert into.sizes.tolist() == [0, 3, 4] and into.totals.tolist() == [0, 3, -4] and into.strongest[0] == 2
    np.testing.assert_allclose(into.shares, [0, 9 / 25, 16 / 25])
    out = only(feeds(network, Unit("stages.0.0", 0)).connections)
    assert (out.kind, out.layer) == ("channel", "stages.1.0.conv1") and out.totals.tolist() == [1, -5, 0.25]
    back = only(fed_by(network, Unit("stages.1.0", 1)).connections)
    assert back.layer == "stages.0.0" and back.totals.tolist() == [-5, 0]
    classes = only(feeds(network, Unit("stages.1.0", 2)).connections)
    assert (classes.kind, classes.layer) == ("output", "head.fc") and classes.totals.tolist() == [1, -6, 2]
    assert first_unit(network) == Unit("stages.1.0", 2)


def test_a_total_is_what_a_constant_map_adds_behind_the_norm() -> None:
    """An oracle by passes: raise one channel everywhere, and see how far the next norm moves inside the map."""
    asked = checkpoint(replace(SPEC, activation="leaky_relu"))
    network = asked.network
    unit = Unit("stages.1.0", 2)
    out = only(feeds(network, unit).connections)
    assert out.through == out.layer == "stages.1.1.conv1"
    conv, norm = (network.get_submodule(f"stages.1.1.{name}") for name in ("conv1", "norm1"))
    x = torch.zeros(2, 6, 8, 8)
    x[1, 2] = 1.0
    moved = norm(conv(x))
    np.testing.assert_allclose(out.totals, (moved[1] - moved[0])[:, 4, 4].numpy(), rtol=1e-4, atol=1e-6)
    sizes = conv.get_parameter("weight")[:, 2].flatten(1).norm(dim=1).numpy()
    factors = norm.get_parameter("weight") / (norm.get_buffer("running_var") + norm.eps).sqrt()  # type: ignore[operator]
    np.testing.assert_allclose(out.sizes, sizes * factors.abs().numpy(), rtol=1e-4)


@pytest.mark.parametrize("block", ["basic", "bottleneck", "separable"])
def test_what_one_unit_feeds_is_what_the_other_is_fed_by(block: str) -> None:
    """Both ends tell the same weight, grouped convolutions included."""
    stages = (Stage(1, 4), Stage(2, 8, 2))
    network = checkpoint(replace(SPEC, stages=stages, block=block)).network  # type: ignore[arg-type]
    compared = 0
    for layer in ("stem.conv", "stages.0.0.conv2", "stages.1.0"):
        for channel in range(describe(network.spec).shape(layer)[0]):
            for out in feeds(network, Unit(layer, channel)).connections:
                for place, size in enumerate(out.sizes):
                    back = fed_by(network, Unit(out.layer, out.first + place)).connections
                    found = [each for each in back if each.layer == layer and each.through == out.through]
                    if found:
                        (into,) = found
                        assert into.sizes[channel - into.first] == pytest.approx(size, rel=1e-5)
                        assert into.totals[channel - into.first] == pytest.approx(out.totals[place], rel=1e-5)
                        compared += 1
    assert compared > 10


def test_sums_lead_to_the_next_convolution_and_shortcuts_carry_a_channel_on() -> None:
    network = checkpoint().network  # option A from 4 to 6 channels: one channel of zeros in front
    found = feeds(network, Unit("stages.0.0.conv2", 1))
    assert [each.through for each in found.connections] == ["stages.1.0.conv1"]
    assert [each.unit for each in found.carried] == [Unit("stages.1.0", 2)] and not found.unread
    assert found.carried[0].change.startswith("× "), "the norm behind that convolution"
    (behind,) = feeds(network, Unit("stages.0.0", 1)).carried
    assert behind == Carried(Unit("stages.1.0", 2)) and behind.change == "unchanged"
    back = fed_by(network, Unit("stages.1.0", 2))
    assert [each.through for each in back.connections] == ["stages.1.0.conv2"]
    assert back.carried == (Carried(Unit("stages.0.0", 1)),)
    assert not fed_by(network, Unit("stages.1.0", 0)).carried, "a channel of zeros"
    assert fed_by(network, Unit("stages.1.1.shortcut", 3)).carried == (Carried(Unit("stages.1.0", 3)),)
    projected = checkpoint(replace(SPEC, shortcut="projection")).network
    through = [each.through for each in fed_by(projected, Unit("stages.1.0", 2)).connections]
    assert through == ["stages.1.0.conv2", "stages.1.0.shortcut.conv"]


@torch.no_grad()
def test_gains_on_the_way_are_factors() -> None:
    """An oracle by passes, as the sum of a block is linear: raise one channel, and see how far the other end moves."""
    gained = replace(SPEC, branch_start="gain", shortcut_gain=0.5, activation="leaky_relu")
    network = checkpoint(gained).network
    for number, place in enumerate(("0.0", "1.0", "1.1")):
        network.get_submodule(f"stages.{place}.branch_gain").get_parameter("weight").fill_(0.3 - 0.5 * number)
    found = feeds(network, Unit("stages.0.0", 1))
    assert found.carried == (Carried(Unit("stages.1.0", 2), 0.5),) and found.carried[0].change == "× 0.5"
    assert not found.unread and [each.through for each in found.connections] == ["stages.1.0.conv1"]
    inside = feeds(network, Unit("stages.0.0.conv2", 1))  # not behind its norm
    norm = network.get_submodule("stages.0.0.norm2")
    factor = float(norm.get_parameter("weight")[1] / (norm.get_buffer("running_var")[1] + norm.eps).sqrt())  # type: ignore[operator]
    assert inside.carried[0].factor == pytest.approx(0.5 * 0.3 * factor, rel=1e-5) and not inside.unread
    assert only(inside.connections).totals == pytest.approx(only(found.connections).totals * 0.3 * factor, rel=1e-5)
    back = fed_by(network, Unit("stages.1.1", 2))
    assert back.carried == (Carried(Unit("stages.1.0", 2), 0.5),) and not back.unread
    said = weight_parts("N", Unit("stages.1.1", 2), checkpoint(gained), (back, found))
    (entry, top), (end, final) = (
        (each, int(each.shares.argmax())) for each in (only(back.connections), only(found.connections))
    )
    assert said[0] == (
        f"{Unit('stages.1.1', 2)} of N is fed most by {entry.layer}, channel {top} "
        f"({entry.shares[top]:.0%} of the squared sizes) and feeds {end.layer}, channel {final} most "
        f"({end.shares[final]:.0%} of those)."
    )
    assert f"The shortcut carries {Unit('stages.1.0', 2)} on, × 0.5." in said
    assert f"The shortcut carries it on to {Unit('stages.1.0', 2)}, × 0.5." in said
    into = only(back.connections)
    block = network.get_submodule("stages.1.1")
    before, conv, norm, gain = (block.get_submodule(name) for name in ("norm1", "conv2", "norm2", "branch_gain"))
    raised = before.get_parameter("weight") / (before.get_buffer("running_var") + before.eps).sqrt()  # type: ignore[operator]
    x = torch.zeros(1, 6, 8, 8)
    still = gain(norm(conv(x)))
    for channel, total in enumerate(into.totals):
        x.zero_()[0, channel] = raised[channel]
        assert total == pytest.approx(float((gain(norm(conv(x))) - still)[0, 2, 4, 4]), rel=1e-4, abs=1e-6)
    plain = feeds(checkpoint(replace(SPEC, preactivation=True)).network, Unit("stages.1.0.conv2", 2))
    network = checkpoint(replace(gained, preactivation=True)).network
    network.get_submodule("stages.1.0.branch_gain").get_parameter("weight").fill_(-0.25)
    ours = feeds(network, Unit("stages.1.0.conv2", 2))
    assert not ours.unread and [each.through for each in ours.connections] == [x.through for x in plain.connections]
    assert ours.carried == (Carried(Unit("stages.1.1", 2), -0.125),)


def test_preactivation_counts_the_norms_on_the_way() -> None:
    network = checkpoint(replace(SPEC, preactivation=True)).network
    out = only(feeds(network, Unit("stages.1.0", 2)).connections)
    norm = network.get_submodule("stages.1.1.norm1")
    factor = float(norm.get_parameter("weight")[2] / (norm.get_buffer("running_var")[2] + norm.eps).sqrt())  # type: ignore[operator]
    inside = network.get_submodule("stages.1.1.norm2")
    behind = inside.get_parameter("weight") / (inside.get_buffer("running_var") + inside.eps).sqrt()  # type: ignore[operator]
    kernel = network.get_submodule("stages.1.1.conv1").get_parameter("weight")[:, 2].flatten(1).sum(1)
    np.testing.assert_allclose(out.totals, (kernel * factor * behind).numpy(), rtol=1e-4, atol=1e-6)


def test_a_network_from_onnx_has_the_same_units() -> None:
    asked = checkpoint()
    read = graphs.graph_report("`a.onnx`", *onnx_layout.graph_of(to_onnx(asked))).readings[0]
    network, unit = read.network().freeze(), Unit("stages.1.0", 2)
    for ask in (feeds, fed_by):
        ours, theirs = ask(asked.network, unit), ask(network, unit)
        assert ours.carried == theirs.carried
        for a, b in zip(ours.connections, theirs.connections, strict=True):
            np.testing.assert_allclose(a.sizes, b.sizes, rtol=1e-4)
    theirs_whole = replace(asked, network=network)
    own, other = (answers_of(each, unit) for each in (asked, theirs_whole))
    np.testing.assert_allclose(own.values, other.values, atol=1e-4)
    np.testing.assert_array_equal(own.positions, other.positions)
    changed = [finished(influence(each, SPLIT, NAMES, unit)) for each in (asked, theirs_whole)]
    assert changed[0].loss.mean == pytest.approx(changed[1].loss.mean, abs=1e-4)
    made = finished(optimise(theirs_whole, unit, other.colours, steps=40))
    assert made.maximising.value > made.maximising.start


def test_what_is_not_read_is_named() -> None:
    assert connections.MOST_SHOWN == 6
    lenet = build(replace(cifar(8), head_pooling="flatten", hidden=(7,), input_shape=(3, 16, 16))).freeze()
    found = feeds(lenet, Unit("stages.2.0", 5))
    assert [(each.layer, each.kind, len(each.sizes)) for each in found.connections] == [("head.fc1", "output", 7)]
    weights = lenet.get_submodule("head.fc1").get_parameter("weight")[:, 5 * 16 : 6 * 16]
    np.testing.assert_allclose(only(found.connections).sizes, weights.norm(dim=1).numpy(), rtol=1e-5)
