"""The attack of a view at the address of explanations: the ball, the distances of two plain traces, and its link."""

import html
import io
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from driving.messages import unpack
from explorer import checkpoints
from explorer.architectures import Intervened, describe
from explorer.architectures.interventions import parse_all
from explorer.checkpoints import Checkpoint
from explorer.experiments.adversarial import aim
from explorer.experiments.attacks import AimedAttack, Attack
from explorer.images import Dials, change, normalise
from explorer.presets import PRESETS
from explorer.tracing import Trace, trace
from explorer.ui.api import explore_session
from explorer.ui.api.explain import arrays, explain, view_report
from explorer.ui.api.explore_session import ExploreSession, RequestError
from explorer.ui.services import inference
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.input_images import own_image, sample_pixels
from explorer.ui.services.offered_networks import OfferedNetworks
from explorer.ui.services.slots import Slots
from tests.attacks import attack_picture
from tests.test_adversarial import KINDS, SPEC
from tests.test_explain import NAMES, VIEW, session
from tests.test_tracing import shaken

NETWORKS = [checkpoints.load_pretrained(name) for name in NAMES]
CLEAN = change(sample_pixels(6, 6)[0], Dials(x=3)).transpose(2, 0, 1) / 255
HALF = "stages.0.1@branch:0.5"
GREY = KINDS["grey"]


def answer(own: ExploreSession | None = None, **changes: Any) -> tuple[dict[str, Any], bytes]:
    return unpack(explain(own or session(), VIEW | changes))


def small() -> Checkpoint:
    return KINDS["residual"]


def passed(loaded: Checkpoint, shares: np.ndarray, interventions: str = "") -> Trace:
    """A plain trace of a picture on the scale 0..1."""
    return trace(loaded.network, normalise(shares, loaded.mean, loaded.std), interventions=parse_all(interventions))


def fgsm(loaded: Checkpoint, epsilon: float, interventions: str) -> np.ndarray:
    """By hand: a step of ε by the sign of the gradient of the cross-entropy of what is predicted, in float64."""
    x = torch.from_numpy(CLEAN[None]).requires_grad_()
    mean, std = (torch.tensor(each, dtype=torch.float64)[:, None, None] for each in (loaded.mean, loaded.std))
    recorder = Intervened(loaded.network, (), parse_all(interventions))
    logits = loaded.network(((x - mean) / std).float(), recorder).double()
    (gradient,) = torch.autograd.grad(F.cross_entropy(logits, logits.argmax(1)), x)
    return (CLEAN + epsilon * gradient[0].sign().numpy()).clip(0, 1)


@pytest.mark.parametrize("interventions", ["", HALF])
@pytest.mark.parametrize("against", [0, 1])
def test_fgsm_is_one_step_in_the_ball_and_the_rows_are_the_distances_of_two_plain_traces(
    against: int, interventions: str
) -> None:
    own = session()
    view: dict[str, Any] = {"dials": "x3", "attack": "epsilon4" + "_second" * against, "change": interventions}
    header, body = answer(own, **view)
    state = AppState(layers="main", **view)
    subject = own_image(state)
    assert subject is not None
    attacked = own.attacked(state, subject.of_view(state), NAMES).attacked
    assert attacked is not None and (attacked.shares[0] == CLEAN).all()
    perturbed = attacked.shares[1]
    assert 0 < np.abs(perturbed - CLEAN).max() <= 4 / 255 + 1e-12 and 0 <= perturbed.min() < perturbed.max() <= 1
    assert (perturbed == fgsm(NETWORKS[against], 4 / 255, interventions)).mean() > 0.99  # but where a gradient is ~0

    start, height, width = header["attack"]["change"]
    shown = np.frombuffer(body, np.uint8, height * width * 3, start).reshape(height, width, 3)
    levels = np.rint((0.5 + 10 * (perturbed - CLEAN)) * 255).clip(0, 255).transpose(1, 2, 0)
    np.testing.assert_array_equal(shown, levels)
    assert header["distance"] == "distance from the clean pass"
    said = " ".join(header["attack"]["sentences"])
    for loaded, entry, network in zip(NETWORKS, header["networks"], header["predictions"]["networks"], strict=True):
        before, after = (passed(loaded, each, interventions) for each in (CLEAN, perturbed))
        for column, far in zip(header["columns"], entry["distances"], strict=True):
            if column["name"] in before.names:
                one, other = (each[column["name"]].activation.astype(np.float64) for each in (before, after))
                assert far == pytest.approx(np.linalg.norm(other - one) / np.linalg.norm(one), rel=1e-4)
        assert network["beside"] == "clean"
        for each in network["classes"]:
            index = loaded.class_names.index(each["name"])
            assert each["before"] == pytest.approx(before.probabilities[index])
            assert each["probability"] == pytest.approx(after.probabilities[index])
        verb = "still answers" if before.prediction == after.prediction else "answers"
        assert f"{verb} {loaded.class_names[after.prediction]}" in said
    assert said.count("for the same picture") == 1 and "Under FGSM within 4/255 " in said


@pytest.mark.parametrize("attack", ["epsilon0", "steps10", "epsilon0_steps10_second_least", "target3"])
def test_at_epsilon_0_the_bits_are_those_of_the_clean_view(attack: str) -> None:
    assert explain(session(), VIEW | {"attack": attack, "dials": "x3"}) == explain(session(), VIEW | {"dials": "x3"})


def test_pgd_is_that_of_the_library_and_a_link_makes_it_again() -> None:
    """For the least likely class, and for a chosen one."""
    for text, target in (("least", int(passed(NETWORKS[1], CLEAN).logits.argmin())), ("target2", 2)):
        view = {"attack": f"epsilon6_steps3_second_{text}", "dials": "x3"}
        first = explain(session(), VIEW | view)
        own = session()
        explain(own, VIEW | {"attack": "epsilon2", "dials": "x3"})
        assert explain(own, VIEW | view) == first, "another session, after another view"
        attack = AimedAttack.from_text(view["attack"]).attack
        wanted = attack_picture(NETWORKS, sample_pixels(6, 6)[0], attack, against=1, target=target, dials=Dials(x=3))
        header, _ = unpack(first)
        for network, found in zip(header["predictions"]["networks"], wanted.networks, strict=True):
            assert network["classes"][0]["name"] == found.answers[1]
            assert network["classes"][0]["probability"] == pytest.approx(found.after.max(), abs=1e-4)
        name = NETWORKS[1].class_names[target]
        assert header["attack"]["sentences"][0].startswith(
            f"Under PGD of 3 steps within 6/255, for the answer {name}, ResNet-20 "
        )


def test_what_an_attack_cannot_do_is_said() -> None:
    header, _ = answer(networks=[NAMES[0]], attack="epsilon4_second_target37")
    said = " ".join(header["attack"]["sentences"])
    assert "for the answer" not in said and said.startswith("Under FGSM within 4/255 plain-20"), "the only one"
    own = session()
    sure = replace(small(), class_names=("ant",), network=shaken(replace(SPEC, classes=1)))
    labels = {name: name for name in ("rgb", "grey", "one")}
    own.offered = OfferedNetworks({"rgb": small, "grey": lambda: GREY, "one": lambda: sure}, labels, "light")
    header, _ = answer(own, networks=["grey", "rgb"], attack="epsilon4_second")
    assert header["networks"][0]["distances"] is None and header["networks"][1]["distances"]
    assert header["attack"]["sentences"][-1].startswith("The attacked image is 3×12×12, so ")
    assert [each["beside"] for each in header["predictions"]["networks"]] == [None, "clean"]
    header, _ = answer(own, networks=["one"], attack="epsilon4")
    (refusal,) = header["attack"]["sentences"]
    assert refusal.endswith("knows one class, so no picture can change its answer. So the image is not attacked.")
    assert header["attack"]["change"] is header["distance"] is None
    for wrong in ("epsilon17", "epsilon4_epsilon4", "least_target3", "steps2.5", "seed99999999999", "x3", "<b>"):
        with pytest.raises(RequestError) as caught:
            answer(attack=wrong)
        assert caught.value.status == 200 and str(caught.value)


def test_arrays_and_the_report_are_of_the_attacked_pass() -> None:
    own, asked = session(), VIEW | {"attack": "epsilon4_second", "layer": "stages.0.1"}
    header, _ = answer(own, **asked)
    state = AppState(layers="main", attack="epsilon4_second")
    subject = own_image(state)
    assert subject is not None
    seen = own.attacked(state, subject, NAMES)
    assert seen.attacked is not None
    for of, loaded in zip(NAMES, NETWORKS, strict=True):
        with np.load(io.BytesIO(arrays(own, asked | {"of": of}))) as found:
            assert str(found["attack"]) == "FGSM within 4/255 against ResNet-20"
            expected = passed(loaded, seen.attacked.shares[1])["stages.0.1"].activation
            np.testing.assert_array_equal(found["activations/stages.0.1"], expected)
    with pytest.raises(RequestError):
        arrays(own, asked | {"of": "shapes-plain-8"})
    text = html.unescape(view_report(own, asked).decode())
    assert all(sentence in text for sentence in header["attack"]["sentences"])
    assert "the change × 10" in text and "FGSM within 4/255 against ResNet-20" in text


def test_each_step_has_a_slot_of_its_own_and_a_newer_view_ends_the_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    own, steps = session(), []
    own.latest = 7

    def watched(*positional: Any, **named: Any) -> Iterator[Any]:
        for step in aim(*positional, **named):
            assert not inference.INFERENCE_SLOTS.free, "the step has the only slot"
            steps.append(step)
            own.latest += len(steps) == 3  # as a newer request does
            yield step
            assert len(steps) < 3, "no step after it"

    monkeypatch.setattr(inference, "INFERENCE_SLOTS", Slots(1))
    monkeypatch.setattr(inference, "aim", watched)
    view = VIEW | {"attack": "epsilon4_steps10"}
    with pytest.raises(RequestError) as caught:
        explain(own, view, number=7)
    assert caught.value.code == "superseded" and len(steps) == 3
    assert inference.INFERENCE_SLOTS.free == 1
    state = AppState(layers="main", attack="epsilon4_steps10")
    subject = own_image(state)
    assert subject is not None
    newer = replace(state, attack="epsilon8"), subject, NAMES
    steps.clear()

    class Now:
        """An executor that works at once; another view is wanted from the second step on."""

        def submit(self, run: Any, *given: Any) -> None:
            *rest, go_on = given

            def meanwhile() -> None:
                if len(steps) == 2:
                    own.want(*newer)
                go_on()

            with pytest.raises(RequestError, match="newer"):
                run(*rest, meanwhile)

    monkeypatch.setattr(explore_session, "_AHEAD", Now())
    own.run_ahead(state, subject, NAMES)
    assert len(steps) == 2
    monkeypatch.undo()
    header, _ = answer(own, attack="epsilon4_steps10")
    assert header["attack"]["change"], "what ended is no result, and is made when it is asked for again"


def test_an_attack_too_long_for_a_live_view_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    macs = describe(NETWORKS[0].spec).macs
    monkeypatch.setattr(inference, "MOST_ATTACK_MACS", 3 * macs * 12)
    header, _ = answer(attack="epsilon4_steps100")
    assert header["attack"]["change"] is header["distance"] is None
    (said,) = header["attack"]["sentences"]
    assert said.startswith("PGD of 100 steps within 4/255 against plain-20 takes too long for a live view; choose ")
    assert said.endswith("at most 12 steps, or measure it on Experiments. So the image is not attacked.")
    for text in ("epsilon4_steps12", "epsilon4"):
        assert answer(attack=text)[0]["attack"]["change"]
    monkeypatch.setattr(inference, "MOST_ATTACK_MACS", 1)
    assert "choose FGSM, or" in answer(attack="epsilon4_steps2")[0]["attack"]["sentences"][0]
    assert answer(attack="epsilon4")[0]["attack"]["change"]


@pytest.mark.parametrize("steps", [0, 10, 100])
def test_the_steps_that_the_page_offers_are_short_enough_on_large_presets(steps: int) -> None:
    for name in ("resnet-110", "imagenet-resnet-50", "imagenet-resnet-152", "vgg-19"):
        network: Any = SimpleNamespace(checkpoint=SimpleNamespace(spec=PRESETS[name].spec), title=name)
        assert bool(inference.too_long(network, Attack(4 / 255, steps))) == (steps == 100 and name != "resnet-110")


def test_a_refused_attack_is_tried_once_and_the_raw_numbers_are_those_of_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The second network cannot be attacked; alone, the first one could be."""
    sure = replace(small(), class_names=("ant",), network=shaken(replace(SPEC, classes=1)))
    own, tried = session(), []
    labels = {"rgb": "rgb", "one": "one"}
    own.offered = OfferedNetworks({"rgb": small, "one": lambda: sure}, labels, "light")

    def watched(*given: Any, **named: Any) -> Iterator[Any]:
        tried.append(given)
        return aim(*given, **named)

    monkeypatch.setattr(inference, "aim", watched)
    asked = VIEW | {"networks": ["rgb", "one"], "attack": "epsilon4_second", "layer": "stages.0.0"}
    header, _ = answer(own, **asked)
    assert header["attack"]["change"] is None
    with np.load(io.BytesIO(arrays(own, asked | {"of": "rgb"}))) as found:
        assert "attack" not in found
        clean = io.BytesIO(arrays(own, asked | {"of": "rgb", "attack": ""}))
        assert found["activations/stages.0.0"].tobytes() == np.load(clean)["activations/stages.0.0"].tobytes()
    assert len(tried) == 1


aimed = st.builds(
    AimedAttack,
    st.integers(0, 64).map(lambda quarter: quarter / 4),
    st.integers(0, 100),
    st.integers(0, 2**31 - 1),
    st.booleans(),
    target=st.none() | st.integers(0, 999),
) | st.builds(AimedAttack, st.just(2.5), least=st.just(True))


@given(aimed)
def test_a_link_has_the_whole_attack(attack: AimedAttack) -> None:
    text = attack.to_text()
    assert AimedAttack.from_text(text) == attack
    assert AppState.from_query({"attack": text}).attack == text and AppState(attack=text).to_query() == (
        {"attack": text} if text else {}
    )
