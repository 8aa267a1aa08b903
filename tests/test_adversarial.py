"""Laws of the attacks: the ball, the loss, equal bits at ε = 0; and robust accuracy picture by picture."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from benchmarks.onnx_files import network_of
from explorer import checkpoints, labels
from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.checkpoints import Checkpoint
from explorer.cli import inputs
from explorer.datasets import Split
from explorer.experiments.adversarial import (
    attack_by_steps,
    perturb,
    perturb_by_steps,
    picture_sentences,
    start,
    step,
    uphill,
)
from explorer.experiments.attacks import LARGEST, Attack, epsilon_of, epsilon_text
from explorer.experiments.changed_pictures import probabilities_of
from explorer.experiments.robust_accuracy import RobustAccuracy, robust_accuracy, robust_sentences
from explorer.images import Dials, change, normalise, to_input
from explorer.intervals import accuracy
from explorer.tracing import STRIP_KINDS, trace
from tests.attacks import attack_picture
from tests.onnx_models import classifier
from tests.test_main import answer, complaint, run
from tests.test_tracing import shaken, state_of

SPEC = ArchitectureSpec((Stage(1, 6), Stage(1, 8, 2)), stem=Stem(6), input_shape=(3, 12, 12), classes=4)
NAMES = ("ant", "bee", "cat", "dog")
PIXELS = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
ATTACKS = [Attack(2 / 255), Attack(8 / 255, 4), Attack(LARGEST, 1, seed=3)]


def checkpoint(spec: ArchitectureSpec = SPEC, seed: int = 0) -> Checkpoint:
    mean, std = (0.4, 0.5, 0.6)[: spec.input_shape[0]], (0.2, 0.25, 0.3)[: spec.input_shape[0]]
    return Checkpoint(shaken(spec, seed), NAMES[: spec.classes], mean, std, "test")


KINDS = {
    "residual": checkpoint(),
    "plain": checkpoint(replace(SPEC, shortcut="none")),
    "grey": checkpoint(replace(SPEC, input_shape=(1, 12, 12))),
    "one logit": checkpoint(replace(SPEC, classes=2, one_logit=True)),
    "ONNX": Checkpoint(network_of(classifier().SerializeToString()), NAMES, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), "test"),
}


def clean_of(asked: Checkpoint, n: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *asked.spec.input_shape)) / 255


def loss(asked: Checkpoint, pictures: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The cross-entropy of each picture, as a training computes it."""
    logits = asked.network(torch.from_numpy(normalise(pictures, asked.mean, asked.std))).double()
    found = F.cross_entropy(logits / asked.spec.temperature, torch.from_numpy(classes), reduction="none")
    return found.numpy(force=True)


# --- the attacks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", ATTACKS, ids=Attack.words)
@pytest.mark.parametrize("kind", KINDS)
def test_a_perturbed_picture_stays_in_the_ball_and_between_black_and_white(kind: str, attack: Attack) -> None:
    asked = KINDS[kind]
    clean = clean_of(asked)
    for is_targeted in (False, True):
        found = perturb(asked, clean, np.ones(len(clean), np.int64), attack, is_targeted)
        assert np.abs(found - clean).max() <= attack.epsilon + 1e-12 and found.min() >= 0 and found.max() <= 1
        assert (found != clean).mean() > 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_fgsm_raises_the_loss_by_what_its_gradient_says_and_a_target_lowers_it(kind: str) -> None:
    """To first order the loss changes by ε times the sum of the gradient's sizes, where no pixel is clipped."""
    asked = KINDS[kind]
    clean = 0.2 + 0.6 * clean_of(asked)
    labels = np.arange(len(clean)) % asked.spec.classes
    x = torch.from_numpy(clean).requires_grad_()
    mean, std = (torch.tensor(each)[:, None, None] for each in (asked.mean, asked.std))
    logits = asked.network(((x - mean) / std).float()) / asked.spec.temperature
    total = F.cross_entropy(logits.double(), torch.from_numpy(labels), reduction="sum")
    (gradient,) = torch.autograd.grad(total, x)
    epsilon = 0.02 / 255
    assert (perturb(asked, clean, labels, Attack(epsilon)) == clean + epsilon * gradient.sign().numpy()).mean() > 0.999
    slope = epsilon * gradient.abs().sum((1, 2, 3)).numpy()
    before = loss(asked, clean, labels)
    for is_targeted, sign in ((False, 1), (True, -1)):
        after = loss(asked, perturb(asked, clean, labels, Attack(epsilon), is_targeted), labels)
        np.testing.assert_allclose((after - before).sum(), sign * slope.sum(), rtol=0.05)
        assert (sign * (after - before) > 0).mean() > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_pgd_finds_more_than_fgsm_on_average(kind: str) -> None:
    asked = KINDS[kind]
    clean = clean_of(asked)
    labels = np.arange(len(clean)) % asked.spec.classes
    one, many = (loss(asked, perturb(asked, clean, labels, Attack(LARGEST, n)), labels).mean() for n in (0, 20))
    assert many > one > loss(asked, clean, labels).mean()


def test_a_sure_network_is_misled_too() -> None:
    """Its softmax is exactly 1 in float32, so the gradient of the plain cross-entropy is exactly 0."""
    asked = KINDS["residual"]
    sure = replace(asked, network=shaken(SPEC))
    with torch.no_grad():
        sure.network.head.fc.weight.mul_(1000)
    clean = clean_of(sure, 4)
    labels = probabilities_of(sure, clean).argmax(1)
    assert (loss(sure, clean, labels) == 0).any()
    assert (perturb(sure, clean, labels, Attack(1 / 255)) != clean).mean() > 0.5


@pytest.mark.parametrize("attack", [Attack(0), Attack(0, 3)], ids=Attack.words)
def test_without_a_change_the_bits_are_the_same(attack: Attack) -> None:
    asked = KINDS["residual"]
    found = attack_picture([asked], PIXELS, attack)
    (own,) = found.networks
    assert found.perturbed.tobytes() == found.clean.tobytes()
    expected = to_input(PIXELS, (12, 12), asked.mean, asked.std)
    assert normalise(found.perturbed, asked.mean, asked.std).tobytes() == expected.tobytes()
    assert own.distances.compressed().tolist() == [0] * own.distances.count() and not own.is_fooled
    assert picture_sentences(found, ["it"]) == [f"Under {attack.words()} it still answers {own.answers[0]}."]


def test_the_seed_and_the_number_of_a_picture_repeat_its_random_start() -> None:
    asked, attack = KINDS["residual"], Attack(LARGEST, 1)
    clean = np.repeat(clean_of(asked, 1), 3, axis=0)
    labels = np.zeros(3, np.int64)
    found = perturb(asked, clean, labels, attack, numbers=[5, 6, 5])
    assert found[0].tobytes() == found[2].tobytes() != found[1].tobytes()
    assert perturb(asked, clean, labels, attack, numbers=[5, 6, 5]).tobytes() == found.tobytes()
    assert perturb(asked, clean, labels, replace(attack, seed=1), numbers=[5, 6, 5]).tobytes() != found.tobytes()
    np.testing.assert_allclose(perturb(asked, clean[:1], labels[:1], attack, numbers=[6])[0], found[1], atol=1e-12)


def test_threads_share_the_network_and_leave_it_as_it_was() -> None:
    asked = checkpoint()
    before = state_of(asked.network)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(attack_picture, [asked], PIXELS, Attack(LARGEST, 3, seed % 2)) for seed in range(8)]
    found = [job.result() for job in jobs]
    assert len({each.perturbed.tobytes() for each in found}) == 2
    assert state_of(asked.network) == before
    assert all(parameter.grad is None for parameter in asked.network.parameters())


def test_an_attack_stops_after_every_pass_and_ends_with_the_picture() -> None:
    asked = [KINDS["residual"], KINDS["plain"]]
    attack = Attack(LARGEST, 5)
    fractions, found = zip(*attack_by_steps(asked, PIXELS, attack, least=True), strict=True)
    assert len(fractions) == 1 + attack.passes + len(asked) + 2, "the clean pass, the steps, each network, both results"
    assert list(fractions) == sorted(fractions) and fractions[0] > 0 and fractions[-1] == 1
    assert found[-1] is not None and not any(found[:-1])
    least = int(found[-1].networks[0].before.argmin())
    expected = attack_picture(asked, PIXELS, attack, target=least)
    assert found[-1].target == least and found[-1].perturbed.tobytes() == expected.perturbed.tobytes()
    clean, classes = clean_of(asked[0], 2), np.zeros(2, np.int64)
    steps = [*perturb_by_steps(asked[0], clean, classes, attack)]
    assert len(steps) == 5 and len({each.tobytes() for each in steps}) == 5
    assert steps[-1].tobytes() == perturb(asked[0], clean, classes, attack).tobytes()


# --- one picture and several networks ---------------------------------------------------------------------------------


def test_distances_are_those_of_two_traces_and_both_networks_see_one_picture() -> None:
    asked = [KINDS["residual"], KINDS["plain"]]
    dials = Dials(x=1, noise=4)
    found = attack_picture(asked, PIXELS, Attack(LARGEST, 5), against=1, dials=dials)
    assert (found.clean == change(PIXELS, dials).transpose(2, 0, 1) / 255).all()
    for own, network in zip(asked, found.networks, strict=True):
        clean, after = (
            trace(own.network, normalise(each, own.mean, own.std), kinds=STRIP_KINDS)
            for each in (found.clean, found.perturbed)
        )
        assert network.layers == clean.names
        for name, distance in zip(network.layers, network.distances, strict=True):
            a, b = (each[name].activation.astype(np.float64) for each in (clean, after))
            assert distance == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a), rel=1e-4)
        np.testing.assert_allclose(network.before, clean.probabilities, atol=1e-6)
        np.testing.assert_allclose(network.after, after.probabilities, atol=1e-6)
        assert network.is_fooled == (clean.prediction != after.prediction)
    assert found.label == found.networks[1].before.argmax()
    assert found.networks[1].after[found.label] < found.networks[1].before[found.label]
    assert (found.magnified(0) == 128).all() and found.magnified().shape == (12, 12, 3)


def test_a_target_is_reached_or_not() -> None:
    asked = KINDS["plain"]
    for target in range(4):
        found = attack_picture([asked], PIXELS, Attack(LARGEST, 20), target=target)
        (own,) = found.networks
        assert own.after[target] >= own.before[target]
        assert own.is_fooled == (own.answers[1] == NAMES[target] != own.answers[0])


def test_networks_that_do_not_fit_and_classes_that_are_none_are_refused() -> None:
    for asked, label, target, words in (
        ([KINDS["plain"], KINDS["grey"]], None, None, "inputs of one shape"),
        ([KINDS["plain"]], None, 4, "`target` must be a class from 0 to 3"),
        ([KINDS["plain"]], -1, None, "`label` must be a class from 0 to 3"),
        ([checkpoint(replace(SPEC, classes=1))], None, None, "knows one class"),
    ):
        with pytest.raises(ValueError, match=words):
            attack_picture(asked, PIXELS, Attack(0.01), label=label, target=target)
    for epsilon, steps in ((17 / 255, 0), (float("nan"), 0), (0.01, 101), (True, 0)):
        with pytest.raises(ValueError, match="must be"):
            Attack(epsilon, steps)


def test_epsilon_is_written_in_levels() -> None:
    assert [epsilon_of(text) for text in ("4/255", " 0.5/255", "16/255", "0", "0.01")] == [
        4 / 255, 0.5 / 255, LARGEST, 0, 0.01
    ]  # fmt: skip
    assert [epsilon_text(each) for each in (4 / 255, 0.5 / 255, 0)] == ["4/255", "0.5/255", "0/255"]
    for text in ("17/255", "-1/255", "four", "1/0", "", "nan", "1e-3", "1/255/2"):
        with pytest.raises(ValueError, match="must be written like 4/255"):
            epsilon_of(text)
    assert set(labels.ATTACKS) == {Attack(0.01).method, Attack(0.01, 3).method}


# --- many pictures ----------------------------------------------------------------------------------------------------

SPLIT = Split(
    np.random.default_rng(1).integers(0, 256, (40, 3, 12, 12), dtype=np.uint8),
    np.arange(40, dtype=np.int64) % 4,
)


def robust(asked: list[Checkpoint], epsilons: list[float], **settings: Any) -> tuple[RobustAccuracy, ...]:
    *steps, (fraction, found) = robust_accuracy(asked, SPLIT, NAMES, epsilons, **settings)
    assert fraction == 1 and found is not None
    fractions = [fraction for fraction, result in steps if result is None]
    assert fractions == sorted(fractions) and len(fractions) == len(steps)
    return found


def labelled_by(asked: Checkpoint) -> Split:
    """The same pictures, each with the class that the network predicts: it is right on all of them."""
    clean = SPLIT.images / 255
    return Split(SPLIT.images, probabilities_of(asked, clean).argmax(1).astype(np.int64))


@pytest.mark.parametrize("steps", [0, 3])
def test_robust_accuracy_counts_what_an_attack_on_each_picture_finds(steps: int) -> None:
    asked, epsilon = KINDS["residual"], 6 / 255
    split = labelled_by(asked)
    *_, (_, found) = robust_accuracy([asked], split, NAMES, [epsilon, 0], steps=steps, threads=2)
    assert found is not None and found[0].epsilons == (0, epsilon) and found[0].reached is None
    right = 0
    for number, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
        pictures = [image[None] / 255]
        for count in range(1, max(1, steps) + 1):  # the picture after each step of one and the same attack
            pictures.append(after(asked, pictures[0], label, Attack(epsilon, steps), number, count))
        right += all(probabilities_of(asked, each).argmax() == label for each in pictures)
    assert found[0].right == (accuracy(40, 40), accuracy(right, 40)) and 0 < right < 40


def after(asked: Checkpoint, clean: np.ndarray, label: int, attack: Attack, number: int, count: int) -> np.ndarray:
    """The picture after `count` steps, by hand."""
    classes = np.array([label])
    found = start(clean, attack, [number])
    for _ in range(count):
        found = step(found, uphill(asked, found, classes)[0], clean, attack, False)
    return found


def test_a_larger_ball_and_a_wrong_answer_leave_less_and_twins_are_asked_in_one_go() -> None:
    asked = [KINDS["residual"], KINDS["plain"]]
    found = robust(asked, [8 / 255, 1 / 255], steps=5)
    for own, each in zip(asked, found, strict=True):
        assert each.epsilons == (0, 1 / 255, 8 / 255)
        shares = [level.share for level in each.right]
        assert shares == sorted(shares, reverse=True)
        said = probabilities_of(own, SPLIT.images / 255).argmax(1)
        assert each.right[0] == accuracy(int((said == SPLIT.labels).sum()), 40)
    assert robust(asked[1:], [1 / 255], steps=5)[0].right == found[1].right[:2]  # alone, and without the larger ε
    sentences = robust_sentences(found, ["ResNet", "plain"], 5)
    assert len(sentences) == 3 and all(len(sentence.split()) <= 25 for sentence in sentences)


def test_a_target_leaves_its_own_pictures_out() -> None:
    asked = KINDS["residual"]
    runner_up = NAMES[np.argsort(probabilities_of(asked, SPLIT.images / 255).mean(0))[-2]]
    (found,) = robust([asked], [LARGEST], steps=5, target=runner_up)
    assert found.reached is not None and found.right[0].n == 30
    assert found.reached[1].right > found.reached[0].right
    assert found.reached[1].right + found.right[1].right <= 30


def test_intervals_that_do_not_meet_tell_two_networks_apart() -> None:
    levels = [(0.0, 2 / 255)] * 2
    weak, strong = (
        RobustAccuracy(epsilons, (accuracy(90, 100), accuracy(right, 100)), None)
        for epsilons, right in zip(levels, (10, 60), strict=True)
    )
    assert robust_sentences([weak, strong], ["a", "b"], 0)[-1] == (
        "Within 2/255, b stays right more often than a: 60.0% against 10.0%, and the intervals do not meet."
    )
    assert "show no difference" in robust_sentences([weak, weak], ["a", "b"], 0)[-1]


def test_closing_ends_the_work_within_a_step_and_wrong_use_is_refused() -> None:
    asked = KINDS["residual"]
    work = robust_accuracy([asked], SPLIT, NAMES, [LARGEST], steps=100)
    next(work)
    work.close()
    for settings, words in (
        ({"checkpoints": []}, "1 to 4 networks"),
        ({"class_names": ("ant", "bee", "cat", "elk")}, "does not know the class `elk`"),
        ({"target": "elk"}, "does not know the class `elk`"),
        ({"split": Split(SPLIT.images[:0], SPLIT.labels[:0])}, "no images to attack"),
        ({"epsilons": [0.5]}, "from 0 to 16/255"),
    ):
        usual: dict[str, Any] = {"checkpoints": [asked], "split": SPLIT, "class_names": NAMES, "epsilons": [0.01]}
        with pytest.raises(ValueError, match=words):
            next(robust_accuracy(**usual | settings))


# --- a terminal -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pictures/`, a network of this app and one that came from an ONNX file."""
    place = tmp_path_factory.mktemp("attack")
    for split in ("train", "test"):
        for label, name in enumerate(NAMES):
            folder = place / "pictures" / split / name
            folder.mkdir(parents=True)
            for number in range(2, 5):
                Image.fromarray(SPLIT.images[4 * number + label].transpose(1, 2, 0)).save(folder / f"{number}.png")
    checkpoints.save(KINDS["grey"], place / "net.safetensors")
    checkpoints.save(KINDS["ONNX"], place / "graph.safetensors")
    return place


def test_attack_in_a_terminal(place: Path) -> None:
    arguments = ("attack", place / "net.safetensors", "--data", place / "pictures", "--epsilon", "1/255,8/255")
    said = answer(*arguments, "--count", 8, "--steps", 2)
    (network,) = said["networks"]
    levels = {level["epsilon_text"]: level["accuracy"] for level in network["levels"]}
    assert list(levels) == ["0/255", "1/255", "8/255"] and said["n"] == 8 and said["attack"]["steps"] == 2
    assert said["networks"][0]["levels"][0]["low"] <= levels["0/255"] <= said["networks"][0]["levels"][0]["high"]
    status, out, _ = run(*arguments, "--target", "bee", "--steps", 0, "--threads", 1)
    assert status == 0 and "FGSM" in out and "target reached" in out
    assert "must be written like 4/255" in complaint(*arguments[:-1], "20/255")
    assert "`--count`" in complaint(*arguments, "--count", 0)
    network = replace(KINDS["ONNX"], data=f"{inputs.ASSUMED}normalisation half is assumed.")
    checkpoints.save(network, place / "unknown.safetensors")
    assert "nothing tells what data" in complaint("attack", place / "unknown.safetensors")


def test_networks_of_other_images_are_not_attacked_on_those_of_the_first(place: Path) -> None:
    checkpoints.save(KINDS["residual"], place / "coloured.safetensors")
    first, data = place / "net.safetensors", ("--data", place / "pictures", "--steps", 0, "--count", 4)
    said = complaint("attack", first, place / "graph.safetensors", *data)
    assert "12 × 12" in said and "16 × 16" in said and "attack each alone" in said
    assert len(answer("attack", first, place / "coloured.safetensors", *data)["networks"]) == 2


def test_too_many_networks_are_refused_before_any_is_read(place: Path) -> None:
    asked = ["attack", *[place / "nowhere.safetensors"] * 5]
    assert run(*asked) == (2, "", "explorer: 5 networks are too many at once; 4 is the most.\n")


def test_shift_in_a_terminal(place: Path) -> None:
    asked, picture = KINDS["ONNX"], place / "pictures" / "test" / "bee" / "2.png"
    said = answer("shift", place / "graph.safetensors", picture, "--class", "cat")
    found = np.array(said["probabilities"])
    assert found.shape == (17, 17) and said["lowest"]["probability"] == found.min() and said["kept"] > 0
    assert said["predicted"][8][8] == said["answer"]
    own = trace(asked.network, inputs.image(inputs.picture(str(picture), asked), asked), kinds=()).probabilities
    assert found[8, 8] == pytest.approx(own[2], abs=1e-6)
    assert answer("shift", place / "graph.safetensors", picture, "--target", "cat") == said, "both names of the option"
    status, out, _ = run("shift", place / "net.safetensors", picture)
    assert status == 0 and "keeps its answer" in out and out.count("\n") > 20
