"""A network along its training: the strip is that of single passes, and every layer is like itself."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from explorer.architectures import ArchitectureSpec, Stage, Stem, build
from explorer.checkpoints import Checkpoint
from explorer.experiments import along_time, similarity
from explorer.experiments.along_time import (
    SETTLED,
    StepSimilarity,
    TimeStrip,
    at,
    check,
    layers_of,
    similarity_sentences,
    step_similarity,
    strip_sentences,
    time_strip,
)
from explorer.tracing import trace
from explorer.views import grad_cam

SPEC = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 8, 8), classes=3)
STEPS = (0, 1, 5, 20)
FINISHED = Checkpoint(build(SPEC, 20).freeze(), ("a", "b", "c"), (0.5,) * 3, (0.25,) * 3, "noise")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 3, 8, 8), np.uint8)


def load(step: int) -> Checkpoint:
    """Other weights at each step."""
    return at(FINISHED, build(SPEC, step).freeze())


def last_of(steps: Any) -> Any:
    *before, (share, found) = steps
    assert share == 1.0 and all(each is None for _, each in before)
    assert [share for share, _ in before] == sorted(share for share, _ in before)
    return found


@pytest.mark.parametrize("target", [None, 2])
def test_each_cell_of_the_strip_is_the_pass_of_that_step(target: int | None) -> None:
    image = np.random.default_rng(1).normal(size=(3, 8, 8)).astype(np.float32)
    found: TimeStrip = last_of(time_strip(load, STEPS, image, "stages.1.0", target))
    explained = trace(load(20).network, image).prediction if target is None else target
    assert found.target == explained and [moment.step for moment in found.moments] == list(STEPS)
    for moment in found.moments:
        passed = trace(load(moment.step).network, image, explained)
        np.testing.assert_array_equal(moment.cam, grad_cam(passed["stages.1.0"]))
        np.testing.assert_array_equal(moment.probabilities, passed.probabilities)
        assert moment.prediction == passed.prediction
    assert found.top == max(moment.cam.max() for moment in found.moments)


def test_a_step_is_like_itself_and_pairs_are_those_of_two_networks() -> None:
    found: StepSimilarity = last_of(step_similarity(load, STEPS, PIXELS))
    assert found.layers[0] == "stem.conv" and found.cka.shape == (len(found.layers), 4, 4) and found.n == 12
    np.testing.assert_allclose(np.diagonal(found.cka, axis1=1, axis2=2), 1, atol=1e-6)
    np.testing.assert_allclose(np.diagonal(found.debiased, axis1=1, axis2=2), 1, atol=1e-6)
    np.testing.assert_allclose(found.cka, found.cka.transpose(0, 2, 1), atol=1e-12)
    grams = [last_of(similarity.layer_grams(load(step), PIXELS)) for step in (1, 20)]
    pair = similarity.cka(*grams)
    np.testing.assert_allclose(found.cka[:, 1, 3], np.diagonal(pair.cka), atol=1e-12)
    np.testing.assert_allclose(found.debiased[:, 1, 3], np.diagonal(pair.debiased), atol=1e-12)
    np.testing.assert_array_equal(found.to_end, found.debiased[:, :, 3])
    same = last_of(step_similarity(lambda _: load(1), STEPS, PIXELS))
    np.testing.assert_allclose(same.debiased, 1, atol=1e-6)
    assert all(same.settled(place) == 0 for place in range(len(same.layers)))


def test_a_layer_without_a_value_has_a_reason() -> None:
    def constant(step: int) -> Checkpoint:
        network = build(SPEC, step).freeze()
        if step == 5:
            with torch.no_grad():
                network.get_submodule("stem.conv").weight.zero_()  # type: ignore[operator]
        return at(FINISHED, network)

    found: StepSimilarity = last_of(step_similarity(constant, STEPS, PIXELS))
    mask = np.ma.getmaskarray(found.debiased)
    assert mask[0, 2].all() and mask[0, :, 2].all() and not mask[0, 1, 3] and found.settled(0) is None
    assert found.undefined[("stem.conv", 5)] == similarity.CONSTANT


def test_what_cannot_be_measured_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    image = np.zeros((3, 8, 8), np.float32)
    for wrong, words in (
        (lambda: list(time_strip(load, (), image, "stages.1.0")), "no weights of earlier steps are kept"),
        (lambda: list(step_similarity(load, (), PIXELS)), "no weights of earlier steps are kept"),
        (lambda: list(time_strip(load, STEPS, image, "stages.9.0")), "no layer 'stages.9.0' with feature maps"),
        (lambda: list(time_strip(load, STEPS, image[:, :4], "stages.1.0")), "resize it"),
        (lambda: list(step_similarity(load, STEPS, PIXELS[:3])), "at least 4 images"),
        (lambda: check(SPEC, (5, 1), "stem.conv"), "must rise"),
    ):
        with pytest.raises(ValueError, match=words):
            wrong()
    monkeypatch.setattr(along_time, "MOST_BYTES", 1000)
    with pytest.raises(ValueError, match="choose fewer images"):
        next(step_similarity(load, STEPS, PIXELS))
    assert "head.fc" not in layers_of(SPEC) and {"stem.conv", "stages.1.0"} <= {*layers_of(SPEC)}


def test_sentences_say_from_when_on() -> None:
    strip: TimeStrip = last_of(time_strip(load, STEPS, np.zeros((3, 8, 8), np.float32), "stages.1.0", 0))
    sure = {"a": (0.8, 0.1, 0.1), "b": (0.2, 0.7, 0.1)}

    def answering(letters: str) -> str:
        pairs = zip(strip.moments, letters, strict=True)
        moments = tuple(replace(moment, probabilities=np.array(sure[letter])) for moment, letter in pairs)
        return strip_sentences("net", replace(strip, moments=moments), ("ring", "star", "cross"))[0]

    assert answering("aabb").startswith("net answers star from step 5 on (70% there, 70% at the end)")
    assert answering("bbbb") == "net answers star at every kept step (70% there, 70% at the end)."
    assert answering("abab").endswith("Its answer changes 3 times.")
    values = np.ones((2, 4, 4))
    values[1, :3, 3] = values[1, 3, :3] = SETTLED - 0.1
    found = StepSimilarity(STEPS, ("one", "two"), np.ma.array(values), np.ma.array(values), 9, {})
    assert [found.settled(0), found.settled(1)] == [0, 20]
    assert similarity_sentences("net", found) == [
        "net: one has a CKA of 0.9 or more with its end from step 0 on, two only from step 20 on (debiased, n = 9 "
        "images)."
    ]
    undefined = replace(found, debiased=np.ma.array(values, mask=values * [[[0]], [[1]]] > 0))
    assert similarity_sentences("net", undefined) == [
        "net: of 1 of 2 layers the CKA is not defined at some step; from step 0 on each other layer has a CKA of 0.9 "
        "or more with its end."
    ]
