"""Residual variants: the laws of hybrids, gains, branches that start at 0, stochastic depth, and folding.

One file: the same small networks are described, computed, trained, drawn and folded.
"""

import json
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor

from explorer import checkpoints, figures
from explorer.architectures import (
    ArchitectureSpec,
    Intervened,
    Intervention,
    Network,
    Recorder,
    Stage,
    Stem,
    build,
    describe,
)
from explorer.architectures.folding import fold, folded_spec, folds
from explorer.architectures.modules import StochasticDepth
from explorer.architectures.words import variant_words
from explorer.checkpoints import Checkpoint
from explorer.cli.main import main
from explorer.datasets import Split
from explorer.experiments import folding
from explorer.presets import cifar
from explorer.runs import Run
from explorer.runs.directory import Request
from explorer.runs.fitting import fit_run
from explorer.runs.log import LogWriter
from explorer.training import TrainingConfig, TrainingState, fit, restore, save
from explorer.training.device import memory_format
from explorer.ui.services.explore_state import NAME
from tests.test_architectures import any_spec, equal_weights, shake
from tests.test_training import made, same, weights_of

SMALL = cifar(8, size=16, width=4, classes=3)
wrong: Any = "skip"
KINDS: Any = ("none", "identity", "projection")
VARIANTS: dict[str, dict[str, Any]] = {
    "hybrid": {"kinds": ("none", "identity", "projection")},
    "pre-activation": {"preactivation": True},
    "shortcut gain": {"shortcut_gain": 0.5},
    "branch gain": {"branch_start": "gain"},
    "last norm": {"branch_start": "gamma"},
    "stochastic depth": {"stochastic_depth": 0.5},
    "all": {
        "kinds": ("identity", "none", "projection"),
        "preactivation": True,
        "shortcut_gain": 0.5,
        "branch_start": "gain",
        "stochastic_depth": 0.5,
    },
}


def with_kinds(spec: ArchitectureSpec, *kinds: Any) -> ArchitectureSpec:
    """With these shortcuts, one for each stage."""
    stages = zip(spec.stages, kinds, strict=True)
    return replace(spec, stages=tuple(replace(stage, shortcut=kind) for stage, kind in stages))


def variant(name: str, spec: ArchitectureSpec = SMALL) -> ArchitectureSpec:
    fields = dict(VARIANTS[name])
    kinds = fields.pop("kinds", ())
    return replace(with_kinds(spec, *kinds) if kinds else spec, **fields)


def block_of(network: Network, stage: int, number: int = 0) -> Any:
    return network.get_submodule(f"stages.{stage}.{number}")


def images(spec: ArchitectureSpec, count: int = 3) -> Tensor:
    return torch.randn(count, *spec.input_shape, generator=torch.Generator().manual_seed(0))


# --- the value -------------------------------------------------------------------------------------------------------


def test_a_variant_that_changes_nothing_is_the_network_of_before():
    same_kinds = with_kinds(SMALL, "identity", "identity", "identity")
    spec = replace(same_kinds, shortcut_gain=1, branch_start="full", stochastic_depth=0)
    assert spec == SMALL and spec.to_dict() == SMALL.to_dict() and spec.fingerprint == SMALL.fingerprint
    assert not {"shortcut_gain", "branch_start", "stochastic_depth"} & {*spec.to_dict()}
    assert all("shortcut" not in stage for stage in spec.to_dict()["stages"])
    assert [*build(spec).state_dict()] == [*build(SMALL).state_dict()]
    assert with_kinds(SMALL, "none", "none", "none") == replace(SMALL, shortcut="none")


def test_one_network_has_one_spec_however_it_was_described():
    for kinds in (("none", "identity", "projection"), ("projection", "none", "none"), ("identity", "none", "identity")):
        described = {with_kinds(replace(SMALL, shortcut=start), *kinds) for start in KINDS}
        (spec,) = described
        assert spec.shortcuts == kinds and spec.is_hybrid and spec.name == "hybrid-8"
        assert ArchitectureSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    mixed = with_kinds(SMALL, "identity", "projection", "identity")
    assert mixed.name == "ResNet-8" and not mixed.is_hybrid


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: replace(SMALL, shortcut_gain=0.0), r"`shortcut_gain` must be a number from 0.01 to 10, received 0"),
        (lambda: replace(SMALL, shortcut_gain=float("nan")), "`shortcut_gain` must be a number.*received nan"),
        (
            lambda: replace(SMALL, stochastic_depth=1.0),
            "`stochastic_depth` must be a share from 0 up to, not including",
        ),
        (
            lambda: replace(SMALL, branch_start=wrong),
            "`branch_start` must be one of 'full', 'gain', 'gamma', received",
        ),
        (
            lambda: replace(SMALL, shortcut="none", branch_start="gain"),
            "is for blocks with a shortcut, and no stage has",
        ),
        (lambda: replace(SMALL, norm="none", branch_start="gamma"), 'this network has no norm; use "gain"'),
        (lambda: replace(SMALL, preactivation=True, branch_start="gamma"), 'they end in a convolution; use "gain"'),
        (lambda: replace(SMALL.stages[0], shortcut=wrong), "`stages.shortcut` must be one of 'none'.*received 'skip'"),
        (lambda: replace(SMALL, branch_start="gain").twin(), 'without one each block gives 0 and learns.*use "full"'),
        (lambda: replace(SMALL, stochastic_depth=0.5).twin(), "leaves out passes nothing on.*use 0 for a twin"),
    ],
)
def test_what_cannot_be_is_one_sentence(change: Any, words: str):
    with pytest.raises(ValueError, match=words):
        change()


def test_what_the_name_does_not_say_stands_in_words():
    spec = replace(with_kinds(SMALL, "none", "identity", "none"), shortcut_gain=0.5, branch_start="gain")
    assert variant_words(replace(spec, stochastic_depth=0.25)) == [
        "shortcuts none, identity and none",
        "shortcuts × 0.5",
        "learned gain, 0 at first (SkipInit, ReZero)",
        "stochastic depth 0.25",
    ]
    assert variant_words(SMALL) == variant_words(SMALL.twin()) == []


def test_twins_are_plain_and_have_the_same_weights():
    plain = replace(SMALL, shortcut="none")
    assert with_kinds(SMALL, "none", "identity", "none").twin() == plain and plain.twin() == SMALL
    assert replace(SMALL, shortcut_gain=0.5).twin() == plain
    before = replace(SMALL, preactivation=True)
    assert before.twin() == replace(plain, preactivation=True) and before.twin().twin() == before
    for spec in (with_kinds(SMALL, "none", "identity", "none"), replace(SMALL, shortcut_gain=0.5), before):
        assert equal_weights(build(spec), build(spec.twin()))


# --- what it computes -------------------------------------------------------------------------------------------------


def test_a_hybrid_is_plain_in_its_plain_stages_and_residual_in_the_others():
    networks = {kind: build(replace(SMALL, shortcut=kind)).eval() for kind in KINDS}
    kinds = ("none", "projection", "identity")
    hybrid = build(with_kinds(SMALL, *kinds)).eval()
    with torch.no_grad():
        x = networks["none"].stem(images(SMALL))  # type: ignore[misc]
        for index, kind in enumerate(kinds):
            x = block_of(networks[kind], index)(x)
        assert torch.equal(networks["none"].head(x), hybrid(images(SMALL)))


@pytest.mark.parametrize("preactivation", [False, True])
def test_a_gain_of_the_shortcut_is_what_an_intervention_on_each_shortcut_is(preactivation: bool):
    spec = replace(SMALL, shortcut="projection", preactivation=preactivation)
    usual = shake(build(spec))
    scaled = Network(replace(spec, shortcut_gain=0.5)).eval()
    scaled.load_state_dict(usual.state_dict())
    halves = [Intervention(f"stages.{index}.0", factor=0.5, part="shortcut") for index in range(3)]
    with torch.no_grad():
        assert torch.equal(scaled(images(spec)), usual(images(spec), Intervened(usual, interventions=halves)))


def test_a_gain_of_the_branch_is_what_an_intervention_on_each_branch_is():
    learned = shake(build(replace(SMALL, branch_start="gain")))
    usual = Network(SMALL).eval()
    usual.load_state_dict({name: value for name, value in learned.state_dict().items() if "branch_gain" not in name})
    factors = [float(block_of(learned, index).branch_gain.weight.detach()) for index in range(3)]
    changes = [Intervention(f"stages.{i}.0", factor=each, part="branch") for i, each in enumerate(factors)]
    with torch.no_grad():
        found = learned(images(SMALL))
        assert torch.allclose(found, usual(images(SMALL), Intervened(usual, interventions=changes)), atol=1e-5)


@pytest.mark.parametrize("start", ["gain", "gamma"])
@pytest.mark.parametrize("kinds", [("identity", "identity", "identity"), ("none", "identity", "projection")])
def test_a_branch_that_starts_at_0_leaves_the_shortcut_alone_and_the_other_weights_as_they_are(start: Any, kinds: Any):
    usual = with_kinds(SMALL, *kinds)
    network, before = build(replace(usual, branch_start=start)), build(usual).state_dict()
    recorder = Recorder(network)
    network.train()(images(SMALL), recorder)
    for index, kind in enumerate(kinds):
        name = f"stages.{index}.0"
        if kind != "none":
            assert torch.equal(recorder.outputs[f"{name}.sum"], recorder.outputs[f"{name}.shortcut"] + 0)
        zero = f"{name}.norm2.weight"
        assert bool((network.state_dict()[zero] == 0).all()) == (kind != "none" and start == "gamma")
    changed = {key for key, value in network.state_dict().items() if key not in before or "running" in key}
    changed |= {key for key in before if key.endswith("norm2.weight") or key.endswith("num_batches_tracked")}
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items() if key not in changed)
    gains = {key for key in network.state_dict() if "branch_gain" in key}
    assert len(gains) == (start == "gain") * sum(kind != "none" for kind in kinds)


@pytest.mark.parametrize("start", ["gain", "gamma"])
def test_a_branch_that_starts_at_0_learns(start: Any):
    """In the first step the gain or the last norm, in the second the convolutions."""
    network = build(replace(SMALL, branch_start=start)).train()
    last = {"gain": "branch_gain", "gamma": "norm2"}[start]
    for step in range(2):
        network.zero_grad()
        network(images(SMALL, 8)).square().sum().backward()
        gradients = {name: float(value.grad.abs().max()) for name, value in network.named_parameters()}  # type: ignore[union-attr]
        assert gradients[f"stages.2.0.{last}.weight"] > 0
        assert (gradients["stages.2.0.conv1.weight"] > 0) == (step > 0)
        with torch.no_grad():
            for value in network.parameters():
                value.sub_(value.grad, alpha=0.01)  # type: ignore[arg-type]


def test_stochastic_depth_leaves_later_branches_out_more_often():
    spec = replace(with_kinds(cifar(20, size=16, width=4), "identity", "none", "identity"), stochastic_depth=0.6)
    network = build(spec)
    rates = {name: module.p for module, (name, _) in network.layers.items() if isinstance(module, StochasticDepth)}
    assert [*rates] == [f"stages.{stage}.{block}.stochastic_depth" for stage in (0, 2) for block in range(3)]
    assert [*rates.values()] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), "a plain stage has none to leave out"
    assert not any(isinstance(module, StochasticDepth) for module in build(SMALL).modules())
    last = block_of(network, 2, 2).stochastic_depth
    last.generator = torch.Generator().manual_seed(0)
    left_out = np.mean([last.leaves_out() for _ in range(2000)])
    assert abs(left_out - 0.6) < 4 * np.sqrt(0.6 * 0.4 / 2000)


@pytest.mark.parametrize("kind", ["identity", "projection"])
@pytest.mark.parametrize("preactivation", [False, True])
def test_a_branch_is_left_out_of_the_whole_batch_or_scaled_as_torchvision_does(kind: Any, preactivation: bool):
    spec = replace(SMALL, shortcut=kind, preactivation=preactivation)
    usual, network = build(spec), build(replace(spec, stochastic_depth=0.5))
    assert [*usual.state_dict()] == [*network.state_dict()] and equal_weights(usual, network)
    with torch.no_grad():
        assert torch.equal(usual.eval()(images(spec)), network.eval()(images(spec))), "all branches work in a test"
        block, whole = block_of(network, 2), block_of(usual, 2)
        x = torch.randn(2, block.conv1.in_channels, 4, 4)
        parts = Recorder(usual)
        whole.train()(x, parts)
        branch = parts.outputs["stages.2.0.conv2" if preactivation else "stages.2.0.norm2"]
        shortcut = parts.outputs["stages.2.0.shortcut"]
        for seed in range(6):  # each of the two cases comes
            torch.manual_seed(seed)
            kept = torchvision.ops.stochastic_depth(branch, 0.5, "batch") + shortcut
            torch.manual_seed(seed)
            drawn = torch.rand(()).item() < 0.5
            torch.manual_seed(seed)
            found = block.train()(x)
            expected = shortcut if drawn else branch / 0.5 + shortcut
            assert torch.allclose(found, expected if preactivation else expected.relu(), atol=1e-6)
            assert torch.allclose(kept, shortcut, atol=1e-6) or torch.allclose(kept, branch / 0.5 + shortcut, atol=1e-6)


# --- training --------------------------------------------------------------------------------------------------------

DATA = made(train=24, size=16)
CONFIG = TrainingConfig(epochs=2, batch_size=12, learning_rate=0.05, precision="float32", device="cpu")


@pytest.mark.parametrize("depth", [8, 20])
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_trains_and_resumes_with_the_same_bits(name: str, depth: int, tmp_path: Path):
    spec = variant(name, cifar(depth, size=16, width=4, classes=3))
    network = build(spec)
    steps = fit(network, DATA, CONFIG, state := TrainingState(), report_every=0.0)
    next(steps)  # one of four steps is done
    save(tmp_path / "state", [network], state, CONFIG)
    *_, last = steps
    (record,) = last.records
    assert record.outcome == "finished" and np.isfinite(record.epochs[-1].train.loss)
    sizes = record.weight_gradients
    assert all(len(norms) == len(sizes.layers) for norms in sizes.norms), "0 of layers that a step left out"

    resumed = build(spec, seed=9)
    again = restore(tmp_path / "state", [resumed], CONFIG)
    assert again.step == 1
    for _ in fit(resumed, DATA, CONFIG, again):
        pass
    assert same(weights_of(resumed), weights_of(network))


def test_a_variant_trains_in_bfloat16():
    network = build(variant("all"))
    *_, last = fit(network, DATA, replace(CONFIG, precision="bfloat16"))
    assert last.records[0].precision == "bfloat16" and np.isfinite(last.records[0].epochs[-1].train.loss)
    recorder = Recorder(network)
    with torch.autocast("cpu", torch.bfloat16):
        network(images(network.spec), recorder)
    assert recorder.outputs["stages.0.0.branch_gain"].dtype == torch.bfloat16


def test_a_narrow_projection_is_trained_in_a_layout_that_its_gradient_can_stand():
    """In the other one, oneDNN's weight gradient of that shortcut ends the process on a CPU with AVX2 alone."""
    for width, stem, layout in ((4, 8, torch.contiguous_format), (8, 8, torch.channels_last)):
        spec = replace(cifar(8, size=16, width=width, classes=3), shortcut="projection", stem=Stem(stem))
        network = build(spec)
        assert memory_format(network) == layout
        assert memory_format(build(spec.twin())) == torch.channels_last
        *_, last = fit(network, DATA, CONFIG)
        assert np.isfinite(last.records[0].epochs[-1].train.loss)
        assert all(weight.is_contiguous(memory_format=layout) for weight in network.parameters() if weight.ndim == 4)


def test_a_run_keeps_a_network_of_any_name(tmp_path: Path):
    """A file, and a part of a link, has no space and no point in its name."""
    spec = replace(SMALL, preactivation=True, shortcut="projection", stem=Stem(8))  # WRN-10-0.5
    run = Run(tmp_path / ("0f" * 16))
    run.folder.mkdir(parents=True)
    data = {"kind": "shapes", "size": 16, "classes": ["ring", "star", "cross"]}
    config = replace(CONFIG, epochs=None, seconds=0.1)
    run.write_request(Request((spec.to_dict(), spec.twin().to_dict()), config.to_dict(), data, "cpu", "", 0.0))
    with closing(LogWriter(run.metrics)) as log:
        networks = fit_run(run, run.request(), log)["networks"]
    assert [each["name"] for each in networks] == ["wrn-10-0-5", "pre-activation-plain-8"]
    assert [each["title"] for each in networks] == ["WRN-10-0.5", "pre-activation plain-8"]
    for each in networks:
        assert NAME.fullmatch(each["name"]) and checkpoints.load(run.network_file(each["name"])).metrics


def test_a_checkpoint_holds_a_variant(tmp_path: Path):
    network = shake(build(variant("all"))).freeze()
    saved = Checkpoint(network, ("a", "b", "c"), (0.5,) * 3, (0.2,) * 3, "test")
    checkpoints.save(saved, tmp_path / "variant.safetensors")
    read = checkpoints.load(tmp_path / "variant.safetensors")
    assert read.spec == network.spec and same(read.network.state_dict(), network.state_dict())


# --- the drawing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [8, 56])
@pytest.mark.parametrize("name", VARIANTS)
def test_the_drawing_shows_each_layer_once_and_where_the_shortcuts_are(name: str, depth: int):
    spec = variant(name, cifar(depth))
    drawing = figures.network_drawing(describe(spec))
    assert sorted(point[0] for point in drawing.data[-1].customdata) == sorted(
        each.name for each in describe(spec).layers
    )
    sums = [trace for trace in drawing.data if trace.name == "sum"]
    residual = sum(stage.blocks for stage, kind in zip(spec.stages, spec.shortcuts, strict=True) if kind != "none")
    assert len(sums[0].x) == residual
    gains = [trace for trace in drawing.data if trace.name == "shortcut × 0.5"]
    assert [len(trace.x) for trace in gains] == ([residual] if spec.shortcut_gain != 1 else [])


# --- folding ---------------------------------------------------------------------------------------------------------


def largest_difference(first: Network, second: Network, x: Tensor) -> float:
    """As a share of the largest logit."""
    with torch.no_grad():
        expected, found = first(x), second(x)
    return float((found - expected).abs().max() / expected.abs().max())


def test_a_folded_network_gives_the_same_logits():
    random, shortcuts, made_of = np.random.default_rng(0), 0, set[str]()
    while len(made_of) < 5 or shortcuts < 10:
        try:
            spec = any_spec(random)
            network = shake(build(spec))
            folded = fold(network)
        except ValueError:
            continue
        made_of.add(spec.block)
        assert largest_difference(network, folded, images(spec, 2)) < 1e-5, spec
        assert folded.spec.norm == "none" and folded.spec.branch_start == "full"
        if spec.block == "conv":
            assert folded.spec.shortcut == "none"
            shortcuts += spec.shortcut != "none"
        assert describe(folded.spec).macs <= describe(spec).macs


def test_a_shortcut_around_one_convolution_is_its_kernel_with_1_added_at_the_centre():
    spec = ArchitectureSpec((Stage(1, 4),), "conv", norm="none", input_shape=(4, 8, 8), shortcut_gain=0.5)
    network = build(spec).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kernel = block_of(fold(network), 0).conv1.weight
    added = torch.zeros_like(kernel)
    added[range(4), range(4), 1, 1] = 0.5
    assert torch.allclose(kernel, block_of(network, 0).conv1.weight + added)
    assert same(before, network.state_dict()) and not network.training


def test_a_trained_network_folds_and_what_cannot_be_folded_says_why():
    spec = ArchitectureSpec(SMALL.stages, "conv", stem=SMALL.stem, input_shape=(3, 16, 16), classes=3)
    network = build(replace(spec, branch_start="gain"))
    for _ in fit(network, DATA, CONFIG):
        pass
    folded = fold(network.freeze())
    assert folded.spec.name == "plain-5" and folded.spec == folded_spec(spec)
    assert largest_difference(network, folded, images(spec)) < 1e-5
    assert all(each.is_exact for each in folds(spec))

    basic = {each.part: each for each in folds(SMALL)}
    assert [part for part, each in basic.items() if not each.is_exact] == [f"stages.{i}.0.shortcut" for i in range(3)]
    assert "between the 2 convolutions" in basic["stages.0.0.shortcut"].reason
    for change, words in (
        ({"preactivation": True}, "has a norm behind each sum, which no kernel can take in"),
        ({"norm": "none"}, "nothing that can be folded"),
    ):
        with pytest.raises(ValueError, match=words):
            folded_spec(replace(SMALL, **change))
    with pytest.raises(ValueError, match="after training only"):
        fold(build(spec))


def test_the_comparison_counts_what_folding_saves():
    network = shake(build(replace(SMALL, block="conv"))).freeze()
    checkpoint = Checkpoint(network, ("a", "b", "c"), (0.5,) * 3, (0.2,) * 3, "test")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, 16, 16), np.uint8)
    *_, (_, found) = folding.measure(checkpoint, Split(pixels, np.zeros(9, np.int64)))
    assert found is not None and found.is_equal and found.n == found.alike == 9
    before, after = found.sizes
    channels = sum(module.num_features for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d))
    assert before.parameters - after.parameters == channels, "a norm has two numbers a channel, a bias one"
    assert before.operations - after.operations == 4 + 3 + 3, "norms, shortcuts, sums"
    words = folding.finding("It", found)
    assert (
        "is the same up to rounding: on 9 images" in words and "Its 3 shortcuts are inside of the kernels now." in words
    )


def test_fold_and_the_options_of_a_network_in_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "folded.safetensors"
    assert main(["fold", "shapes-resnet-8", "--count", "20", "--out", str(out), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["equal"] and found["share"] <= found["tolerance"] == 1e-5 and found["n"] == 20
    assert "Its 3 shortcuts stay: an activation stands between" in found["finding"]
    assert checkpoints.load(out).spec.norm == "none" and checkpoints.load(out).metrics == {}

    options = "--shortcuts none,identity,identity --branch-start gain --shortcut-gain 0.5 --stochastic-depth 0.2"
    assert main(["describe", "resnet-8", *options.split(), "--json"]) == 0
    spec = ArchitectureSpec.from_dict(json.loads(capsys.readouterr().out)["spec"])
    assert spec.shortcuts == ("none", "identity", "identity") and spec.branch_start == "gain"
    assert (spec.shortcut_gain, spec.stochastic_depth, spec.name) == (0.5, 0.2, "hybrid-8")
    for wrong, words in (
        ("describe resnet-8 --shortcuts none,identity", "must name one kind for all stages or 3"),
        ("describe shapes-resnet-8 --preactivation", "is no preset"),
        ("train resnet-8 --branch-start gamma --twin", "need a shortcut"),
        ("train --auto --shortcut-gain 2", "leave out `shortcut-gain`"),
        ("fold shapes-resnet-8 --count 0", "whole number of 1 or more"),
    ):
        assert main(wrong.split()) == 2
        assert words in capsys.readouterr().err, wrong
