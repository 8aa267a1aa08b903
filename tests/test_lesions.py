"""Lesion curves against passes of their own, and their sentences."""

import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from explorer.architectures import ArchitectureSpec, Intervention, Stage, Stem, build
from explorer.checkpoints import Checkpoint
from explorer.cli.main import main
from explorer.datasets import Split, shapes
from explorer.experiments import lesions
from explorer.experiments.agreement import images_for, predictions
from explorer.experiments.lesion_sentences import (
    by_size,
    comparison,
    finding,
    pairs_finding,
    sets_finding,
    swaps_finding,
)
from explorer.experiments.lesions import Answers
from explorer.onnx_export import to_onnx
from explorer.tracing import trace
from explorer.weights_import import graphs, onnx_layout

SPEC = ArchitectureSpec(
    (Stage(2, 4), Stage(3, 8, 2)), stem=Stem(4), input_shape=(3, 32, 32), classes=10, shortcut="identity"
)
PLAIN = replace(SPEC, shortcut="none")
IMAGES = shapes.draw(70, seed=0)


def checkpoint(spec: ArchitectureSpec) -> Checkpoint:
    network = build(spec, seed=3)
    with torch.no_grad():
        network(torch.randn(16, *spec.input_shape, generator=torch.Generator().manual_seed(1)))
    return Checkpoint(network.freeze(), shapes.CLASS_NAMES, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), "test")


def measured(spec: ArchitectureSpec, variants: tuple[lesions.Variant, ...], split: Split = IMAGES) -> Answers:
    *_, (share, found) = lesions.answers(checkpoint(spec), split, shapes.CLASS_NAMES, variants, threads=2)
    assert share == 1 and found is not None
    return found


@pytest.mark.parametrize("spec", [SPEC, PLAIN, replace(SPEC, shortcut="projection"), replace(SPEC, block="bottleneck")])
def test_every_answer_is_that_of_a_pass_of_its_own(spec: ArchitectureSpec) -> None:
    asked = checkpoint(spec)
    variants = (
        *lesions.single(spec),
        *lesions.pairs(spec)[:3],
        *lesions.random_sets(lesions.removable([spec]), [2, 3], 2),
        *lesions.swaps(spec),
        (Intervention("stem.conv", channel=1), Intervention("head.fc", factor=0.5)),
    )
    found = measured(spec, variants)
    inputs = images_for(asked, IMAGES.images[:5]).numpy()
    for row, variant in enumerate([(), *variants]):
        for index, image in enumerate(inputs):
            logits = trace(asked.network, image, kinds=(), interventions=variant).logits
            loss = F.cross_entropy(torch.tensor(logits[None]), torch.tensor(IMAGES.labels[index : index + 1]))
            assert found.predicted[row, index] == logits.argmax()
            assert found.losses[row, index] == pytest.approx(loss.item(), abs=1e-4)
    *_, (_, said) = predictions(asked, IMAGES, shapes.CLASS_NAMES)
    assert said is not None and np.array_equal(found.predicted[0], said.predicted)


def test_the_blocks_that_can_be_taken_out() -> None:
    assert [block.name for block in lesions.blocks(SPEC)] == [
        f"stages.{i}.{j}" for i, n in ((0, 2), (1, 3)) for j in range(n)
    ]
    assert len(lesions.single(SPEC)) == 5 and len(lesions.single(PLAIN)) == 4
    (fixed,) = [block for block in lesions.blocks(PLAIN) if block.reason]
    assert fixed.name == "stages.1.0" and fixed.changes_shape and "nothing goes around it" in fixed.reason
    assert len(lesions.pairs(SPEC)) == 10
    assert [str(each) for (each,) in lesions.swaps(SPEC)] == [
        "stages.0.0:swap~stages.0.1",
        "stages.1.1:swap~stages.1.2",
    ]


def test_random_sets_repeat_and_hold_each_block_once() -> None:
    among = lesions.removable([SPEC])
    sets = lesions.random_sets(among, [1, 3, 5, 6], 3, seed=2)
    assert sets == lesions.random_sets(among, [1, 3, 5, 6], 3, seed=2) != lesions.random_sets(among, [1, 3, 5, 6], 3)
    sizes = [len(set(each)) for each in sets]
    assert len(set(sets)) == len(sets) and sizes == sorted(sizes) and sizes.count(5) == 1 and 6 not in sizes


def test_twins_lose_the_same_blocks() -> None:
    assert lesions.removable([SPEC, PLAIN]) == ("stages.0.0", "stages.0.1", "stages.1.1", "stages.1.2")


def test_work_is_shared() -> None:
    """The first blocks are computed once a batch, whatever is taken out behind them."""
    asked, counted = checkpoint(SPEC), {"stem.conv": 0, "stages.1.2.conv1": 0}
    for name in counted:
        asked.network.get_submodule(name).register_forward_hook(
            lambda *_, name=name: counted.__setitem__(name, counted[name] + 1)
        )
    few = Split(IMAGES.images[:5], IMAGES.labels[:5])
    list(lesions.answers(asked, few, shapes.CLASS_NAMES, lesions.single(SPEC), threads=1))
    assert counted == {"stem.conv": 1, "stages.1.2.conv1": 6}


def test_a_measurement_that_is_closed_stops_between_two_passes_of_a_batch() -> None:
    asked, ends = checkpoint(SPEC), []
    asked.network.get_submodule("head.fc").register_forward_hook(lambda *_: ends.append(1))
    variants = lesions.pairs(SPEC) * 10
    assert len(IMAGES) <= 2 * lesions.batch_size(SPEC)
    running = lesions.answers(asked, IMAGES, shapes.CLASS_NAMES, variants, threads=2)
    shares = [next(running)[0], next(running)[0]]
    running.close()
    assert len(ends) <= 2 + 2 * 2 + 2, "those that were asked for, that waited and that ran"
    assert 0 < shares[0] < shares[1] < 0.1
    before = torch.get_num_threads()
    list(lesions.answers(asked, IMAGES, shapes.CLASS_NAMES, (), threads=2))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("threads", [1, 3])
def test_progress_counts_what_a_pass_costs(threads: int) -> None:
    """A pass without the last block begins there, so it takes a smaller share than one without the first."""
    first, *_, last = lesions.single(SPEC)
    few = Split(IMAGES.images[:5], IMAGES.labels[:5])
    *steps, (_, found) = lesions.answers(checkpoint(SPEC), few, shapes.CLASS_NAMES, (first, last), threads=threads)
    shares = np.diff([0.0, *(share for share, _ in steps[:-1]), 1.0])
    assert len(steps) == 3 and found is not None and steps[-1][0] < 1
    np.testing.assert_allclose(shares * lesions.passes(SPEC, (first, last)), lesions._costs(SPEC, (first, last)))


def test_what_cannot_be_measured_is_refused_before_any_pass() -> None:
    asked = checkpoint(PLAIN)
    with pytest.raises(ValueError, match="cannot do without `stages.1.0`"):
        next(lesions.answers(asked, IMAGES, shapes.CLASS_NAMES, [(Intervention("stages.1.0", part="branch"),)]))
    with pytest.raises(ValueError, match="holds no images"):
        next(lesions.answers(asked, Split(IMAGES.images[:0], IMAGES.labels[:0]), shapes.CLASS_NAMES, ()))


def said_of(variants: Sequence[str], wrong: Sequence[int]) -> Answers:
    """Of 100 images in ten classes, with so many wrong answers of the whole network and in each variant."""
    labels = np.arange(100) % 10
    predicted = np.repeat(labels[None], len(wrong), axis=0)
    for row, count in enumerate(wrong):
        predicted[row, :count] = (predicted[row, :count] + 1) % 10
    return Answers(tuple(variants), labels, predicted, np.ones(predicted.shape, np.float32))


def test_the_sentence_is_computed() -> None:
    variants = [str(each) for (each,) in lesions.single(SPEC)]
    assert finding("N", SPEC, said_of(variants, [5, 95, 10, 50, 15, 20])) == (
        "N is right for 95.0% of 100 images. Without one of 5 blocks it is right for 80.0% in the median, and for 5.0% "
        "without stages.0.0. Without stages.0.0, the accuracy is not clearly above chance (10.0%). Blocks that "
        "change the shape cost 45.0 points on average, the others 30.0."
    )
    both = finding("N", PLAIN, said_of(variants[:4], [5, 95, 100, 50, 15]))
    assert (
        "Each of 2 of these 4 blocks, taken out alone, leaves an accuracy that is not clearly above chance (10.0%)."
        in both
    )
    assert both.endswith("Nothing goes around stages.1.0, which change the shape, so they cannot be taken out.")


def test_networks_are_compared_by_the_blocks_that_all_can_lose() -> None:
    mild = said_of([f"stages.{name}@branch:off" for name in ("0.0", "0.1", "1.0")], [0, 20, 40, 60])
    harsh = said_of([f"stages.{name}@branch:off" for name in ("0.1", "0.0")], [10, 90, 70])
    assert comparison(["A", "B"], [mild, harsh]) == (
        "One of the 2 blocks that all can lose costs, in the median, A 30.0 points and B 70.0 points (n = 100). "
        "Without stages.0.0, the first block of its stage, A is right for 80.0% and B for 30.0%."
    )
    assert "A 30.0 points, B 70.0 points and C 30.0 points (n" in comparison(["A", "B", "C"], [mild, harsh, mild])
    assert comparison(["A"], [mild]) == (
        "Without stages.0.0, the first block of its stage, A is right for 80.0%. "
        "Without stages.1.0, the first block of its stage, A is right for 40.0%."
    )
    assert comparison(["A", "B"], [mild, said_of(["stages.0.1@branch:off"], [0, 100])]) == (
        "The one block that all can lose costs A 40.0 points and B 100.0 points (n = 100)."
    )
    assert not comparison(["A", "B"], [mild, said_of(["stages.2.0@branch:off"], [0, 0])])


def test_sentences_of_pairs_sets_and_swaps() -> None:
    blocks = [f"stages.0.{index}@branch:off" for index in range(3)]
    two = [",".join(each) for each in itertools.combinations(blocks, 2)]
    assert pairs_finding("N", said_of(two, [10, 40, 20, 90])) == (
        "N is right for 90.0% of 100 images. Without two blocks it is right for 60.0% in the median, and for 10.0% "
        "without stages.0.1 and stages.0.2."
    )
    sets = by_size(said_of([blocks[0], *two], [10, 20, 40, 56, 90]))
    assert sets_finding("N", sets) == (
        "N is right for 90.0% with all blocks, and for 44.0% without 2 of them, in the median of random sets. "
        "Without 2 it has lost more than half of its accuracy."
    )
    assert sets_finding("N", {0: [0.9], 2: [0.45]}).endswith("Without 2 it still has half of its accuracy or more.")
    swap = ["stages.0.0:swap~stages.0.1", "stages.0.1:swap~stages.0.2"]
    assert swaps_finding("N", said_of(swap, [10, 40, 20])) == (
        "N is right for 90.0% of 100 images. With two neighbouring blocks swapped it is right for 70.0% in the median, "
        "for 60.0% with stages.0.0 and stages.0.1."
    )


def test_what_is_measured_again_is_compared_answer_by_answer() -> None:
    whole = Answers(("x@branch:off",), np.array([0, 1]), np.array([[0, 1], [1, 1]]), np.zeros((2, 2), np.float32))
    other = replace(whole, predicted=np.array([[0, 1], [0, 2]]))
    assert lesions.differences(whole, whole) == 0 and lesions.differences(whole, other) == 2
    with pytest.raises(ValueError, match="the same images in the same variants"):
        lesions.differences(whole, replace(whole, labels=np.array([1, 1])))


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lesions", "shapes-resnet-8", "shapes-plain-8", "--count", "30", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    residual, plain = document["networks"]
    assert document["comparison"].startswith("The one block that all can lose costs shapes-resnet-8 ")
    assert [row["interventions"] for row in residual["results"]] == [
        "", "stages.0.0@branch:off", "stages.1.0@branch:off", "stages.2.0@branch:off",
    ]  # fmt: skip
    assert [block["reason"] == "" for block in plain["blocks"]] == [True, False, False]
    assert (
        residual["n"] == 30
        and residual["finding"]
        and 0 <= plain["results"][1]["low"] <= plain["results"][1]["accuracy"]
    )
    for options, count in ({"--pairs": 3, "--sets 3": 1, "--swaps": 0}).items():
        assert main(["lesions", "shapes-resnet-8", "--count", "2", "--json", *options.split()]) == 0
        (found,) = json.loads(capsys.readouterr().out)["networks"]
        assert len(found["results"]) == 1 + count and found["finding"].startswith("shapes-resnet-8 ")
    assert main(["lesions", *["shapes-resnet-8"] * 5]) == 2
    assert capsys.readouterr().err == "explorer: 5 networks are too many at once; 4 is the most.\n"
    assert main(["lesions", "shapes-resnet-8", "--count", "0"]) == 2
    capsys.readouterr()
    for names, most in ((["shapes-resnet-8"], "this network; 3"), (["shapes-resnet-8", "shapes-plain-8"], "1")):
        assert main(["lesions", *names, "--sets", "1", "9"]) == 2
        said = capsys.readouterr().err
        assert said.startswith("explorer: `--sets 9` is more than the blocks") and f"{most} is the most." in said


@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_a_network_from_onnx_answers_as_the_original(shortcut: Any) -> None:
    """Without each of its blocks, without a channel and with a branch scaled."""
    ours = checkpoint(replace(SPEC, shortcut=shortcut))
    read = graphs.graph_report("`a.onnx`", *onnx_layout.graph_of(to_onnx(ours))).readings[0]
    theirs = replace(ours, network=read.network().freeze())
    assert [block.name for block in lesions.blocks(theirs.spec)] == [block.name for block in lesions.blocks(ours.spec)]
    variants = (
        *lesions.single(ours.spec),
        *lesions.swaps(ours.spec),
        (Intervention("stages.0.1", channel=2),),
        (Intervention("stages.1.1", factor=0.5, part="branch"), Intervention("stages.1.2", action="mean")),
    )
    few = Split(IMAGES.images[:8], IMAGES.labels[:8])
    (*_, (_, one)), (*_, (_, other)) = (
        lesions.answers(each, few, shapes.CLASS_NAMES, variants, threads=1) for each in (ours, theirs)
    )
    assert one is not None and other is not None
    np.testing.assert_array_equal(one.predicted, other.predicted)
    np.testing.assert_allclose(one.losses, other.losses, rtol=1e-4, atol=1e-5)
