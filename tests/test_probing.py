"""Linear probes, separability, dead channels, receptive fields and distances of twins, against textbooks and hands."""

import json
import math
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import torch

from explorer.architectures import ArchitectureSpec, Stage, Stem, build, describe
from explorer.checkpoints import Checkpoint
from explorer.cli import inputs
from explorer.cli.main import main
from explorer.datasets import Split, shapes
from explorer.experiments import measurement, probing, receptive_fields, similarity, twin_distance
from explorer.experiments.agreement import images_for
from explorer.experiments.arithmetic import effective_field
from explorer.experiments.kept_outputs import KeptOutputs
from explorer.experiments.probing import Layers, Probes, fit, separability, strip_layers
from explorer.experiments.receptive_fields import gradient_maps, side, theoretical
from explorer.onnx_export import to_onnx
from explorer.tracing import EVERYTHING, STRIP_KINDS, trace
from explorer.weights_import import graphs, onnx_layout

SPEC = ArchitectureSpec(
    (Stage(1, 4), Stage(2, 8, 2)), stem=Stem(4), input_shape=(3, 16, 16), classes=10, shortcut="identity"
)
PLAIN = replace(SPEC, shortcut="none")
TRAIN, TEST = shapes.some("train", 60, shapes.Drawn(16)), shapes.some("test", 40, shapes.Drawn(16))
RANDOM = np.random.default_rng(0)


def checkpoint(spec: ArchitectureSpec, seed: int = 3) -> Checkpoint:
    network = build(spec, seed=seed)
    with torch.no_grad():
        network(torch.randn(16, *spec.input_shape, generator=torch.Generator().manual_seed(1)))
    return Checkpoint(network.freeze(), shapes.CLASS_NAMES, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "test")


def last(steps: Any) -> Any:
    *_, (share, found) = steps
    assert share == 1 and found is not None
    return found


def as_graph(own: Checkpoint) -> Checkpoint:
    """The same network, as it is read from its ONNX file."""
    read = graphs.graph_report("`a.onnx`", *onnx_layout.graph_of(to_onnx(own))).readings[0]
    return replace(own, network=read.network().freeze())


def traces(own: Checkpoint, split: Split) -> list[Any]:
    return [trace(own.network, image, kinds=EVERYTHING) for image in images_for(own, split.images).numpy()]


# --- the probe --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "channels"), [(40, 7), (12, 30)])
def test_ridge_regression_is_the_least_squares_of_a_textbook(n: int, channels: int) -> None:
    """With the penalty as further rows: |X W - Y|² + λ |W|² = |[X; √λ I] W - [Y; 0]|²."""
    features = RANDOM.normal(size=(n, channels)).astype(np.float32) * np.arange(1, channels + 1)
    labels = RANDOM.integers(0, 3, n)
    probe = fit(features, labels, 3, ridge=0.05)
    x = (features - features.mean(0)) / features.std(0)
    y = np.eye(3)[labels] - np.eye(3)[labels].mean(0)
    rows = np.vstack([x, math.sqrt(0.05 * n) * np.eye(channels)])
    wanted = np.linalg.lstsq(rows, np.vstack([y, np.zeros((channels, 3))]), rcond=None)[0]
    np.testing.assert_allclose(probe.weights, wanted, atol=1e-5)
    np.testing.assert_allclose(probe.scores(features), x @ wanted + np.eye(3)[labels].mean(0), atol=1e-4)


def test_a_probe_of_the_labels_is_always_right_and_one_of_random_labels_is_at_chance() -> None:
    labels = np.arange(400) % 5
    of_labels = fit(np.eye(5, dtype=np.float32)[labels], labels, 5)
    assert (of_labels(np.eye(5, dtype=np.float32)[labels]) == labels).all()
    features = RANDOM.normal(size=(4000, 6)).astype(np.float32)
    random = RANDOM.integers(0, 5, 4000)
    right = int((fit(features[:2000], random[:2000], 5)(features[2000:]) == random[2000:]).sum())
    assert abs(right - 400) < 4 * math.sqrt(2000 * 0.2 * 0.8)


def test_a_channel_that_never_changes_tells_nothing_and_breaks_nothing() -> None:
    labels = np.arange(40) % 2
    features = np.column_stack([labels + RANDOM.normal(size=40) / 10, np.full(40, 1e6), np.zeros(40)])
    probe = fit(features.astype(np.float32), labels, 2)
    assert (probe(features) == labels).all() and not probe.weights[1:].any()


def test_separability_is_the_share_of_the_variance_between_the_classes() -> None:
    """By hand: 0, 2 and 4, 6 have the mean 3; between 4 · 2² = 16, in all 9 + 1 + 1 + 9 = 20."""
    values, labels = np.array([[0.0], [2], [4], [6]]), np.array([0, 0, 1, 1])
    assert separability(values, labels) == pytest.approx(16 / 20)
    assert separability(np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 2, 0])) == pytest.approx(1)
    assert math.isnan(separability(np.full((4, 2), 7.0), labels))
    features, labels = RANDOM.normal(size=(60, 4)), np.arange(60) % 4
    shuffled = [separability(features, RANDOM.permutation(labels)) for _ in range(500)]
    assert np.mean(shuffled) == pytest.approx(3 / 59, abs=0.005), "separability_of_nothing"


@pytest.mark.parametrize("spec", [SPEC, PLAIN, replace(SPEC, preactivation=True, shortcut="projection")])
def test_one_pass_gives_what_traces_of_each_picture_give(spec: ArchitectureSpec) -> None:
    own = checkpoint(spec)
    names = strip_layers(spec, "main")
    found = last(probing.probes(own, TRAIN, TEST, names, threads=2))
    seen = traces(own, TRAIN), traces(own, TEST)
    assert (found.n_train, found.n_test, found.n, found.chance) == (60, 40, 100, 0.1)
    activations = probing.activated(own.network, names)
    for index, name in enumerate(names):
        before, behind = (np.stack([each[name].activation.mean((1, 2)) for each in part]) for part in seen)
        right = (fit(before, TRAIN.labels, 10)(behind) == TEST.labels).sum()
        assert abs(found.right[index] - right) <= 1, "rounding"
        assert found.separability[index] == pytest.approx(separability(behind, TEST.labels), rel=1e-3)
        if name in activations:
            alive = np.any([each[activations[name]].activation.any((1, 2)) for part in seen for each in part], axis=0)
            assert found.dead[index] == (~alive).sum()
        else:
            assert found.dead[index] == -1


def test_dead_channels_are_those_that_were_killed() -> None:
    own = checkpoint(SPEC)
    with torch.no_grad():
        own.network.state_dict()["stem.norm.bias"][[0, 2, 3]] = -1e6
        own.network.state_dict()["stages.1.0.norm1.bias"][:5] = -1e6
    names = ("stem.conv", "stages.0.0.conv1", "stages.1.0.conv1")
    assert probing.activated(own.network, ("stages.1.0.conv2", *names)) == {
        "stem.conv": "stem.activation",
        "stages.0.0.conv1": "stages.0.0.activation1",
        "stages.1.0.conv1": "stages.1.0.activation1",
    }, "behind the second convolution is a sum"
    found = last(probing.probes(own, None, TEST, names))
    assert found.dead[[0, 2]].tolist() == [3, 5] and found.channels.tolist() == [4, 4, 8]
    assert (found.right == -1).all() and found.n_train == 0 and probing.finding("N", found) == ""


@pytest.mark.parametrize("layers", get_args(Layers))
@pytest.mark.parametrize("spec", [SPEC, PLAIN])
def test_the_layers_are_those_of_the_strip(spec: ArchitectureSpec, layers: Layers) -> None:
    image = images_for(own := checkpoint(spec), TEST.images[:1])[0].numpy()
    kinds = EVERYTHING if layers == "all" else STRIP_KINDS
    passed = trace(own.network, image, kinds=kinds, inside_blocks=layers != "blocks")
    assert strip_layers(spec, layers) == tuple(each.name for each in passed.layers if each.is_spatial)


def test_wrong_networks_and_empty_splits_are_refused_and_values_that_are_not_finite_are_left_out() -> None:
    with pytest.raises(ValueError, match="evaluation mode"):
        next(probing.probes(replace(checkpoint(SPEC), network=build(SPEC)), TRAIN, TEST))
    with pytest.raises(ValueError, match="no images"):
        next(probing.probes(checkpoint(SPEC), TRAIN, Split(TEST.images[:0], TEST.labels[:0])))
    broken = checkpoint(SPEC)
    with torch.no_grad():
        broken.network.state_dict()["stages.1.1.conv1.weight"].fill_(math.inf)
    found = last(probing.probes(broken, TRAIN, TEST, threads=1))
    assert found.right[-1] == -1 and found.accuracies()[-1] is None and (found.right[:-1] >= 0).all()


def test_the_sentence_says_where_a_probe_is_best_and_where_chance_explains_it() -> None:
    of = Probes(
        ("a", "b", "c"),
        np.array([4] * 3),
        np.array([10, 90, 40]),
        np.zeros(3),
        np.zeros(3, int),
        0.1,
        10,
        200,
        100,
        300,
    )
    assert probing.finding("N", of) == (
        "N: a probe of a is right for 10.0% of 100 images, and the best one, of b, for 90.0% (82.6% to 94.5%). In 1 of "
        "3 layers, chance explains the accuracy as well (10.0%). After b the classes are harder to tell apart again: "
        "40.0% in c."
    )


# --- receptive fields -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [SPEC, PLAIN])
def test_no_gradient_lies_outside_of_the_theoretical_field(spec: ArchitectureSpec) -> None:
    own, names = checkpoint(spec), strip_layers(spec, "main")
    maps = last(gradient_maps(own, TEST.images[:3], names, threads=2))
    found = last(receptive_fields.fields(own, TEST.images[:3], names))
    for index, name in enumerate(names):
        reach = theoretical(spec, name)
        assert reach is not None
        outside = maps[name].copy()
        outside[reach.top : reach.bottom + 1, reach.left : reach.right + 1] = 0
        assert maps[name].any() and not outside.any()
        assert 1 <= found.effective[index] <= found.theoretical[index]
    assert found.theoretical[0] == 3 and found.n == 3


def test_of_one_channel_the_map_is_the_effective_field_of_its_value() -> None:
    own = checkpoint(replace(SPEC, stem=Stem(1), stages=(Stage(1, 1),), shortcut="none"))
    images = images_for(own, TEST.images[:2]).numpy()
    maps = last(gradient_maps(own, TEST.images[:2], ("stem.conv", "stages.0.0")))
    for name, found in maps.items():
        wanted = sum(effective_field(own.network, image, name, (0, 8, 8)).astype(float) for image in images)
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-7)


def test_the_side_counts_the_fewest_pixels_that_hold_most_of_the_gradient() -> None:
    assert side(np.ones((10, 10)), held=0.95) == pytest.approx(math.sqrt(95), abs=0.06)
    one = np.zeros((5, 5))
    one[2, 2] = 3
    assert side(one) == 1 and math.isnan(side(one * 0)) and math.isnan(side(one + math.inf))
    one[2, 3] = 1  # 3 of 4 are less than 95 %
    assert side(one) == pytest.approx(math.sqrt(2))


# --- twins ------------------------------------------------------------------------------------------------------------


def test_a_network_is_no_distance_from_itself_and_others_are_where_their_values_are() -> None:
    own, other = checkpoint(SPEC), checkpoint(PLAIN, seed=4)
    same = last(twin_distance.twin_distance(own, own, TEST.images[:8]))
    assert not same.distance.any() and same.cka == pytest.approx(1)
    found = last(twin_distance.twin_distance(own, other, TEST.images, threads=2))
    seen = traces(own, TEST), traces(other, TEST)
    grams = [last(similarity.layer_grams(each, TEST.images)) for each in (own, other)]
    cka = similarity.cka(*grams)
    for index, name in enumerate(found.layers):
        a, b = (np.stack([each[name].activation for each in part]).astype(float) for part in seen)
        norms = np.linalg.norm(a) + np.linalg.norm(b)
        assert found.distance[index] == pytest.approx(2 * np.linalg.norm(a - b) / norms, rel=1e-4)
        place = cka.layers_a.index(name), cka.layers_b.index(name)
        assert found.cka[index] == pytest.approx(cka.debiased[place], abs=1e-6)


def test_where_shapes_differ_there_is_cka_and_no_distance() -> None:
    wide = checkpoint(replace(SPEC, stages=(Stage(1, 4), Stage(2, 12, 2))))
    found = last(twin_distance.twin_distance(checkpoint(SPEC), wide, TEST.images[:8]))
    assert found.layers == ("stem.conv", "stages.0.0", "stages.1.0", "stages.1.1")
    assert np.isnan(found.distance).tolist() == [False, False, True, True] and not np.isnan(found.cka).any()
    assert "of 2 layers" in twin_distance.distance_finding(["A", "B"], found)
    low, high = (found.layers[pick(range(4), key=found.cka.__getitem__)] for pick in (min, max))
    said = twin_distance.cka_finding(["A", "B"], found)
    assert f"largest in {high} (" in said and f"smallest in {low} (" in said
    with pytest.raises(ValueError, match="at least 4 images"):
        next(twin_distance.twin_distance(checkpoint(SPEC), wide, TEST.images[:3]))


def test_the_outputs_of_one_pass_are_those_of_a_trace_with_channels_first() -> None:
    own, names = checkpoint(SPEC), ("stem.conv", "stages.1.0")
    images = images_for(own, TEST.images[:2])
    seen = [trace(own.network, image, kinds=EVERYTHING) for image in images.numpy()]
    outputs = KeptOutputs(own.network, names)
    own.network(images, outputs)
    for name in names:
        wanted = np.stack([each[name].activation for each in seen])
        np.testing.assert_allclose(outputs[name].numpy(force=True), wanted, atol=1e-5)
    theirs = checkpoint(SPEC)
    theirs.network.get_submodule("stem.conv").channels_last = True  # type: ignore[assignment]
    last_first = KeptOutputs(theirs.network, names[:1])
    theirs.network(images, last_first)
    assert torch.equal(last_first["stem.conv"], outputs["stem.conv"].movedim(-1, 1))


# --- networks from elsewhere, and the terminal ------------------------------------------------------------------------


def test_a_network_from_onnx_has_the_rows_of_the_original() -> None:
    ours = checkpoint(SPEC)
    theirs = as_graph(ours)
    names = strip_layers(SPEC)
    assert strip_layers(theirs.spec) == names
    one, other = (last(probing.probes(each, TRAIN, TEST, threads=1)) for each in (ours, theirs))
    assert np.abs(one.right - other.right).max() <= 1
    assert one.dead.tolist() == other.dead.tolist() and other.dead[0] >= 0
    np.testing.assert_allclose(one.separability, other.separability, rtol=1e-3)
    of = [last(receptive_fields.fields(each, TEST.images[:2])) for each in (ours, theirs)]
    np.testing.assert_allclose(of[0].effective, of[1].effective, rtol=0.02)
    assert of[0].theoretical.tolist() == of[1].theoretical.tolist()
    assert last(twin_distance.twin_distance(ours, theirs, TEST.images[:8])).distance.max() < 1e-4


def test_the_first_pictures_of_each_class_are_those_of_the_whole_split() -> None:
    whole = shapes.test_split(size=16)
    chosen = np.sort(np.concatenate([np.flatnonzero(whole.labels == label)[:4] for label in range(10)]))
    np.testing.assert_array_equal(TEST.images, whole.images[chosen])
    np.testing.assert_array_equal(TEST.labels, whole.labels[chosen])
    some = shapes.some("test", 5, shapes.Drawn(16, ("ring", "star")))
    assert sorted(np.bincount(some.labels).tolist()) == [2, 3]


@pytest.mark.parametrize("options", [["--train", "40", "--count", "20"], ["--train", "40", "--count", "20", "--twin"]])
def test_the_terminal_prints_every_number_of_each_layer(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    twin = "shapes-plain-8"
    options = [*options, twin] if options[-1] == "--twin" else options
    assert main(["probe", "shapes-resnet-8", *options, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["train"], document["test"], document["chance"]) == (40, 20, 0.1)
    assert [layer["layer"] for layer in document["layers"]] == ["stem.conv", "stages.0.0", "stages.1.0", "stages.2.0"]
    for layer in document["layers"]:
        assert layer["low"] <= layer["accuracy"] <= layer["high"] and 0 <= layer["separability"] <= 1
        assert 0 < layer["effective"] <= layer["theoretical"] and 0 <= layer["dead"] <= layer["channels"]
        assert ("cka" in layer) == (twin in options)
    assert main(["probe", "shapes-resnet-8", *options]) == 0
    assert "stages.2.0" in capsys.readouterr().out


@pytest.fixture
def sorted_by_class(monkeypatch: pytest.MonkeyPatch) -> dict[str, Split]:
    """The images of the terminal's `--data`, in the order of a folder: one class after the other."""

    def by_class(split: Split) -> Split:
        return measurement.rows(split, np.argsort(split.labels, kind="stable"))

    splits = {"train": by_class(TRAIN), "test": by_class(TEST)}

    def asked(own: Checkpoint, _: Any, split: str) -> inputs.LabelledImages:
        return inputs.LabelledImages("folder", splits[split], shapes.CLASS_NAMES, own, ())

    monkeypatch.setattr(inputs, "checkpoint", lambda _: checkpoint(SPEC))
    monkeypatch.setattr(inputs, "labelled_images", asked)
    return splits


def test_the_terminal_measures_fields_and_distances_on_images_of_every_class(
    sorted_by_class: dict[str, Split], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    test, taken = sorted_by_class["test"], dict[str, Any]()

    def kept(name: str, of: Any) -> Any:
        def steps(*arguments: Any) -> Any:
            (taken[name],) = (each for each in arguments if isinstance(each, np.ndarray))
            return of(*arguments)

        return steps

    for module, name in ((receptive_fields, "fields"), (twin_distance, "twin_distance")):
        monkeypatch.setattr(module, name, kept(name, getattr(module, name)))
        monkeypatch.setattr(module, "count", lambda *_: 10)
    assert main(["probe", "one", "--twin", "other", "--data", "folder"]) == 0
    for pixels in taken.values():
        chosen = [test.labels[(test.images == image).all((1, 2, 3))][0] for image in pixels]
        assert sorted(chosen) == [*range(10)], "four images of each class stand one after the other"
    assert len(taken) == 2 and "(n = 10)" in capsys.readouterr().out


def test_the_terminal_keeps_to_the_limit_of_memory_and_says_so(
    sorted_by_class: dict[str, Split], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    values = sum(each.output_shape[0] for each in describe(SPEC).layers if each.name in strip_layers(SPEC, "all"))
    asked = ["probe", "one", "--data", "folder", "--layers", "all", "--json"]
    monkeypatch.setattr(probing, "_MOST_VALUES", values * 100)  # of 60 + 40 images
    assert main(asked) == 0
    whole = json.loads(capsys.readouterr().out)
    assert (whole["train"], whole["test"], whole["notes"]) == (60, 40, [])
    monkeypatch.setattr(probing, "_MOST_VALUES", values * 50)
    assert main(asked) == 0
    half = json.loads(capsys.readouterr().out)
    assert (half["train"], half["test"], half["chance"]) == (30, 20, 0.1)
    assert "for 60 + 40 images need more than 200 MB, so 30 + 20 are taken." in half["notes"][0]


def test_the_terminal_refuses_what_cannot_be_measured(capsys: pytest.CaptureFixture[str]) -> None:
    for wrong in (["shapes-resnet-8", "--count", "0"], ["cifar10jpeg-resnet-8"], ["shapes-resnet-8", "--twin", "none"]):
        assert main(["probe", *wrong]) == 2
        assert capsys.readouterr().err.startswith("explorer: ")
