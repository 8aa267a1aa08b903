"""Interventions: laws of passes in which parts of a network are switched off, scaled, averaged or swapped."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from explorer.architectures import ArchitectureSpec, Intervention, Network, Stage, Stem, build
from explorer.architectures.interventions import as_text, block_shapes, parse_all
from explorer.tracing import EVERYTHING, Trace, trace

CASES = Path(__file__).parent / "viewer" / "changes.json"


def spec_of(shortcut: Any = "identity", **fields: Any) -> ArchitectureSpec:
    stages = (Stage(3, 4), Stage(2, 8, stride=2))
    return ArchitectureSpec(
        **{"stages": stages, "stem": Stem(4), "shortcut": shortcut, "input_shape": (3, 12, 12), "classes": 5} | fields
    )


def network_of(spec: ArchitectureSpec, seed: int = 0) -> Network:
    """With statistics that are not those of a fresh network."""
    network = build(spec, seed)
    with torch.no_grad():
        network(torch.randn(16, *spec.input_shape, generator=torch.Generator().manual_seed(1)))
    return network.freeze()


def image_of(spec: ArchitectureSpec, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(spec.input_shape).astype(np.float32)


def changed(network: Network, *texts: str, **options: Any) -> Trace:
    return trace(network, image_of(network.spec), interventions=parse_all(",".join(texts)), **options)


RESIDUAL, PLAIN = network_of(spec_of()), network_of(spec_of("none"))
PROJECTED = network_of(spec_of("projection"))


def same(a: Trace, b: Trace) -> bool:
    arrays: list[Callable[[Trace], np.ndarray]] = [lambda each: each.logits, lambda each: each.image_gradient]
    return (
        a.names == b.names
        and all(np.array_equal(array(a), array(b)) for array in arrays)
        and all(
            np.array_equal(x.activation, y.activation) and np.array_equal(x.gradient, y.gradient)
            for x, y in zip(a.layers, b.layers, strict=True)
        )
    )


@pytest.mark.parametrize("network", [RESIDUAL, PLAIN, PROJECTED])
@pytest.mark.parametrize("kinds", [EVERYTHING, ("conv", "shortcut", "block")])
def test_factor_1_everywhere_changes_no_bit(network: Network, kinds: Any) -> None:
    places = [name for name, _ in network.layers.values() if name and name != "head" and "stages" in name]
    places = [name for name in places if re.search(r"\d\.\d", name)]
    everywhere = [f"{name}:1" for name in places] + [f"{name}@branch:1" for name in block_shapes(network.spec)]
    assert same(changed(network, *everywhere, kinds=kinds), changed(network, kinds=kinds))


@pytest.mark.parametrize("network", [RESIDUAL, PLAIN])
def test_a_block_that_is_off_is_not_there(network: Network) -> None:
    """The network with one block less, of the same weights, gives the same logits and gradients."""
    spec = network.spec
    for removed in (1, 2):
        shorter = build(replace(spec, stages=(replace(spec.stages[0], blocks=2), spec.stages[1])))
        kept = [index for index in range(3) if index != removed]
        names = {f"stages.0.{old}.": f"stages.0.{new}." for new, old in enumerate(kept)}
        weights = network.state_dict()
        moved = {key: value for key, value in weights.items() if not key.startswith("stages.0.")}
        for old, new in names.items():
            moved |= {new + key.removeprefix(old): value for key, value in weights.items() if key.startswith(old)}
        shorter.load_state_dict(moved)
        expected = trace(shorter.freeze(), image_of(spec))
        found = changed(network, f"stages.0.{removed}@branch:off")
        assert np.array_equal(found.logits, expected.logits)
        np.testing.assert_allclose(found.image_gradient, expected.image_gradient, rtol=1e-5, atol=1e-7)
        assert not found[f"stages.0.{removed}.conv1"].gradient.any()


@pytest.mark.parametrize("network", [RESIDUAL, PROJECTED])
def test_the_first_block_of_a_stage_leaves_its_shortcut(network: Network) -> None:
    found = changed(network, "stages.1.0@branch:off", kinds=EVERYTHING)
    shortcut = found["stages.1.0.shortcut"].activation
    assert np.array_equal(found["stages.1.0"].activation, np.maximum(shortcut, 0))
    without = changed(network, "stages.1.0@shortcut:off", kinds=EVERYTHING)
    norm = without["stages.1.0.norm2"].activation
    assert np.array_equal(without["stages.1.0"].activation, np.maximum(norm, 0))


def test_scaling_a_branch_scales_what_is_added() -> None:
    found = changed(RESIDUAL, "stages.0.1@branch:0.25,stages.0.1@shortcut:-2", kinds=EVERYTHING)
    branch, shortcut = found["stages.0.1.norm2"].activation, found["stages.0.0"].activation
    np.testing.assert_allclose(found["stages.0.1.sum"].activation, 0.25 * branch - 2 * shortcut, rtol=1e-6)


def test_a_plain_block_goes_over_into_its_input() -> None:
    whole, half = changed(PLAIN), changed(PLAIN, "stages.0.1@branch:0.5")
    x, y = whole["stages.0.0"].activation, whole["stages.0.1"].activation
    np.testing.assert_allclose(half["stages.0.1"].activation, (x + y) / 2, rtol=1e-5, atol=1e-6)
    assert np.array_equal(changed(PLAIN, "stages.0.1@branch:off")["stages.0.1"].activation, x)


@pytest.mark.parametrize("network", [RESIDUAL, PLAIN])
@pytest.mark.parametrize("place", ["stages.0.1", "stages.1.0.conv2", "stem.conv"])
def test_one_channel_is_changed_and_no_other(network: Network, place: str) -> None:
    whole = changed(network)[place].activation
    off, mean = changed(network, f"{place}~2:off")[place], changed(network, f"{place}~2:mean")[place]
    others = [index for index in range(len(whole)) if index != 2]
    assert not off.activation[2].any()
    assert np.array_equal(off.activation[others], whole[others])
    assert np.array_equal(mean.activation[others], whole[others])
    np.testing.assert_allclose(mean.activation[2], whole[2].mean(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("network", [RESIDUAL, PLAIN])
def test_swapped_blocks_work_in_each_others_place(network: Network) -> None:
    spec = network.spec
    other = build(spec)
    swapped = {
        re.sub(r"^stages\.0\.([12])\.", lambda match: f"stages.0.{3 - int(match[1])}.", key): value
        for key, value in network.state_dict().items()
    }
    other.load_state_dict(swapped)
    expected = trace(other.freeze(), image_of(spec))
    found = changed(network, "stages.0.1:swap~stages.0.2")
    assert np.array_equal(found.logits, expected.logits)
    assert np.array_equal(found["stages.0.2"].activation, expected["stages.0.1"].activation)
    assert found.names.index("stages.0.2") < found.names.index("stages.0.1")
    assert same(changed(network, "stages.0.2:swap~stages.0.1"), found)


def test_the_network_is_left_as_it_was_found() -> None:
    before = {key: value.clone() for key, value in RESIDUAL.state_dict().items()}
    whole = changed(RESIDUAL)
    changed(RESIDUAL, "stages.0.1@branch:off", "stages.1.0.conv1:mean", "stages.0.1:swap~stages.0.2")
    assert same(changed(RESIDUAL), whole)
    assert all(torch.equal(value, before[key]) for key, value in RESIDUAL.state_dict().items())
    assert all(parameter.grad is None for parameter in RESIDUAL.parameters())


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stages.7.0@branch:off", "plain-12 has no layer or block `stages.7.0`."),
        ("stages.1:off", "`stages.1` of plain-12 only holds other layers; choose one of them."),
        ("stages.1.0@branch:off", "plain-12 cannot do without `stages.1.0`: it turns 4×12×12 into 8×6×6, "),
        ("stages.0.1@shortcut:off", "`stages.0.1` of plain-12 has no shortcut."),
        ("stages.0.1.conv1@branch:off", "`stages.0.1.conv1` of plain-12 is no block, so it has no branch."),
        ("stages.0.1.conv1~4:off", "`stages.0.1.conv1` of plain-12 has the channels 0 to 3."),
        ("stages.0.1:swap~stages.1.1", "cannot be swapped: their inputs and outputs are not all of one shape."),
        ("stages.1.0:swap~stages.1.1", "cannot be swapped: their inputs and outputs are not all of one shape."),
        ("stages.0.1:swap~stages.0.1", "are not two blocks"),
        ("stages.0.1:swap~stages.0.2,stages.0.2:swap~stages.0.0", "can be swapped only once."),
        ("head.fc:mean", "`head.fc` of plain-12 has no positions to take a mean over; switch it off."),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=re.escape(sentence)):
        changed(PLAIN, text)


@pytest.mark.parametrize(
    "text", ["", "x", "a:b", "a:1e3", "a:99", "a:nan", "a~x:off", "../x:off", "a:off;b:off", "é:off"]
)
def test_other_texts_are_no_interventions(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no intervention|a factor must be"):
        Intervention.parse(text)


def test_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match="101 interventions are too many for one pass; 100 is the most."):
        parse_all(",".join(["a:off"] * 101))


INTERVENTIONS = st.builds(
    Intervention,
    st.from_regex(r"[a-z0-9][\w-]{0,9}(\.[\w-]{1,9}){0,3}", fullmatch=True, alphabet=st.characters(codec="ascii")),
    st.sampled_from(["scale", "mean"]),
    st.integers(-10_000, 10_000).map(lambda n: n / 1000),
    st.none() | st.integers(0, 4096),
    st.sampled_from(["branch", "shortcut", "output"]),
).map(lambda each: each if each.action == "scale" else replace(each, factor=0.0))


@given(st.lists(INTERVENTIONS, max_size=5))
def test_text_and_back(interventions: list[Intervention]) -> None:
    assert parse_all(as_text(interventions)) == tuple(interventions)


@pytest.mark.parametrize("case", json.loads(CASES.read_text()), ids=lambda case: repr(case["text"]))
def test_the_browser_reads_and_writes_the_same_text(case: dict[str, Any]) -> None:
    """The table of `viewer/changes.test.mjs`."""
    if case["changes"] is None:
        with pytest.raises(ValueError, match=r"is no intervention|a factor must be"):
            parse_all(case["text"])
        return
    found = parse_all(case["text"])
    assert [vars(each) for each in found] == case["changes"]
    assert as_text(found) == case.get("written", case["text"])


@pytest.mark.parametrize("network", [RESIDUAL, PLAIN])
@pytest.mark.parametrize("part", ["branch", "shortcut", "output"])
def test_a_channel_that_is_none_is_refused_wherever_it_is(network: Network, part: str) -> None:
    with pytest.raises(ValueError, match=r"has the channels 0 to 3\.|has no shortcut\."):
        changed(network, f"stages.0.1@{part}~4:off")
