"""`inspect` and `convert`: what they print is what `explorer.weights_import` says; nothing is guessed for the user."""

import contextlib
import io
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from explorer import checkpoints
from explorer.architectures import build
from explorer.cli.main import main
from explorer.cli.weights import _doubts
from explorer.presets import cifar
from explorer.weights_import import NORMALISATIONS, NormalisationScore, read

COLOURS = {"blue": (60, 60, 130), "green": (60, 110, 60), "red": (120, 60, 60)}
NAMES = {"stem.conv": "conv1", "stem.norm": "bn1", "head.fc": "linear"}


def run(*argv: object) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of one command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in argv])
    return status, out.getvalue(), err.getvalue()


def answer(*argv: object) -> dict:
    status, out, err = run(*argv, "--json")
    assert status == 0, err
    return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} in the JSON document"))


def complaint(*argv: object) -> str:
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert err.startswith("explorer: ") and err.endswith(".\n") and err.count("\n") == 1
    return err


def their_name(key: str) -> str:
    module, _, leaf = key.rpartition(".")
    parts = module.split(".")
    if parts[0] == "stages":
        return f"module.layer{int(parts[1]) + 1}.{parts[2]}.{parts[3].replace('norm', 'bn')}.{leaf}"
    return f"module.{NAMES[module]}.{leaf}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """akamaster's ResNet-8 for three classes in `weights.th`, and pictures of three colours."""
    place = tmp_path_factory.mktemp("inspect")
    state = {their_name(key): value for key, value in build(cifar(8, classes=3)).state_dict().items()}
    torch.save({"state_dict": state, "best_prec1": 50.0}, place / "weights.th")
    random = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        (place / "pictures" / name).mkdir(parents=True)
        for index in range(10):
            pixels = np.clip(random.normal(colour, 60, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(place / "pictures" / name / f"{index}.png")
    return place


@pytest.fixture(scope="module")
def inspected(place: Path) -> dict:
    return answer("inspect", place / "weights.th", "--data", place / "pictures", "--count", 5, "--threads", 1)


@pytest.mark.usefixtures("in_this_process")
def test_inspect_says_what_the_library_says(place: Path, inspected: dict):
    report = read(place / "weights.th")
    assert {key: inspected[key] for key in report.for_json()} == json.loads(json.dumps(report.for_json()))
    assert [reading["title"] for reading in inspected["readings"]] == ["ResNet-8, option A", "plain-8"]
    assert inspected["question"].endswith("?") and inspected["class_names"] is None


@pytest.mark.usefixtures("in_this_process")
def test_a_network_that_has_learned_nothing_is_not_recommended(place: Path):
    _, out, _ = run("inspect", place / "weights.th", "--data", place / "pictures", "--threads", 1)
    assert "No reading beats guessing, which reaches" in out and "Best:" not in out


def test_inspect_measures_each_reading_with_each_normalisation(place: Path, inspected: dict):
    trials = inspected["self_test"]["trials"]
    assert {(trial["reading"], trial["normalisation"]) for trial in trials} == {
        (number, name) for number in (1, 2) for name in NORMALISATIONS
    }
    assert {trial["n"] for trial in trials} <= {1, 2, 3, 4, 5} and len({trial["n"] for trial in trials}) == 1
    assert [trial["accuracy"] for trial in trials] == sorted((trial["accuracy"] for trial in trials), reverse=True)


@pytest.mark.usefixtures("in_this_process")
def test_the_text_has_the_question_the_reasons_and_the_numbers(place: Path):
    status, out, err = run("inspect", place / "weights.th")
    assert (status, err) == (0, "")
    for words in (
        "weights.th: layout of akamaster",
        "1  ResNet-8, option A",
        "2  plain-8",
        "which of the two is it?",
        "Normalisation: ImageNet (imagenet), because",
        "mean 0.485 0.456 0.406, std 0.229 0.224 0.225",
        "prefixes taken away: `module.`",
        "Uncertain, and taken as the family has it:",
        "module.conv1.weight -> stem.conv.weight",
    ):
        assert words in out, words


@pytest.mark.usefixtures("in_this_process")
def test_convert_refuses_to_choose_and_then_saves_what_was_chosen(place: Path, tmp_path: Path):
    out = tmp_path / "out.safetensors"
    assert "Choose with `--reading N`: 1 for ResNet-8, option A, 2 for plain-8" in complaint(
        "convert", place / "weights.th", "--out", out
    )
    assert "there is no reading 3; choose 1 for" in complaint(
        "convert", place / "weights.th", "--out", out, "--reading", 3
    )
    assert not out.exists()
    document = answer(
        *("convert", place / "weights.th", "--out", out, "--reading", 2, "--normalisation", "half"),
        *("--classes", "blue,green, red"),
    )
    assert document["title"] == "plain-8" and document["notes"] == []
    saved = checkpoints.load(out, document["sha256"])
    assert saved.spec == cifar(8, "none", classes=3) and saved.class_names == ("blue", "green", "red")
    assert (saved.mean, saved.std) == ((0.5,) * 3, (0.5,) * 3)
    original = build(cifar(8, "none", classes=3)).state_dict()
    assert all(torch.equal(value, original[key]) for key, value in saved.network.state_dict().items())
    again = read(out)
    assert again.family == "this app" and [reading.spec for reading in again.readings] == [saved.spec]
    assert "already there" in complaint("convert", place / "weights.th", "--out", out, "--reading", 1)


@pytest.mark.usefixtures("in_this_process")
def test_what_is_assumed_is_said(place: Path, tmp_path: Path):
    document = answer("convert", place / "weights.th", "--out", tmp_path / "a.safetensors", "--reading", 1)
    assert [note.split(" ")[0] for note in document["notes"]] == ["normalisation", "nothing"]
    assert document["class_names"] == ["class 0", "class 1", "class 2"]
    saved = checkpoints.load(tmp_path / "a.safetensors")
    assert saved.mean == NORMALISATIONS["imagenet"].mean and "weights.th" in saved.data


@pytest.mark.usefixtures("in_this_process")
def test_wrong_use_ends_in_one_sentence(place: Path, tmp_path: Path):
    (tmp_path / "page.pt").write_bytes(b"<!doctype html><html>")
    assert "`page.pt` is a web page" in complaint("inspect", tmp_path / "page.pt")
    assert "there is no file `gone.pt`" in complaint("inspect", tmp_path / "gone.pt")
    for option in ("--count", "--pictures"):  # the second is its name of before
        assert "`--count` must be 1 or more" in complaint("inspect", place / "weights.th", option, 0)
    assert "a file that ends in .safetensors" in complaint("convert", place / "weights.th", "--out", tmp_path / "a.pt")
    out = tmp_path / "a.safetensors"
    assert "invalid choice: 'mine'" in complaint(
        "convert", place / "weights.th", "--out", out, "--normalisation", "mine"
    )
    wrong = ("convert", place / "weights.th", "--out", out, "--reading", 1, "--classes", "a,b")
    assert "must name the 3 classes" in complaint(*wrong)
    assert not out.exists()


@pytest.mark.usefixtures("in_this_process")
def test_classes_of_another_number_cannot_measure(place: Path):
    for name in ("blue", "red"):
        shutil.copytree(place / "pictures" / name, place / "two" / name)
    assert "knows 3 classes, the labelled images have 2" in complaint(
        "inspect", place / "weights.th", "--data", place / "two"
    )


def test_a_difference_within_the_error_is_not_called_one():
    """Of 100 pictures 80 % have a standard error of 4 %: 73 % may be as good, 71 % is not."""
    report = SimpleNamespace(readings=[SimpleNamespace(normalisation=NORMALISATIONS["imagenet"])])
    reading: Any = object()
    best = NormalisationScore(reading, NORMALISATIONS["cifar10"], 0.80, 100, 0.1)
    for accuracy, doubted in ((0.73, True), (0.71, False)):
        trials = [best, NormalisationScore(reading, NORMALISATIONS["imagenet"], accuracy, 100, 0.1)]
        assert bool(_doubts(trials, report)) == doubted  # type: ignore[arg-type]
    assert _doubts([NormalisationScore(reading, NORMALISATIONS["imagenet"], 0.8, 100, 0.1), best], report) == []  # type: ignore[arg-type]


@pytest.mark.usefixtures("in_this_process")
def test_weights_of_other_programs_are_classified_and_explained_where_the_file_leaves_no_choice(
    place: Path, tmp_path: Path
) -> None:
    """One output is two classes. What is assumed is said; where the file leaves a choice, so is the way out."""
    state = nn.ModuleDict({"conv1": nn.Conv2d(1, 4, 5), "conv2": nn.Conv2d(4, 8, 5), "fc1": nn.Linear(128, 1)})
    torch.save(state.state_dict(), tmp_path / "net.pth.tar")
    picture = place / "pictures" / "red" / "0.png"
    document = answer("classify", tmp_path / "net.pth.tar", picture)
    (found,) = document["pictures"]
    assert document["assumed"][0].startswith("normalisation mnist is assumed")
    shares = {entry["class"]: entry["probability"] for entry in found["top"]}
    assert set(shares) == {"class 0", "class 1"} and sum(shares.values()) == pytest.approx(1)
    scores = [answer("explain", tmp_path / "net.pth.tar", picture, "--target", n)["score"] for n in (0, 1)]
    assert scores[0] == -scores[1] and shares["class 1"] == pytest.approx(1 / (1 + np.exp(-scores[1])))
    _, out, _ = run("classify", tmp_path / "net.pth.tar", picture)
    assert "Note: normalisation mnist is assumed" in out
    assert "convert" in complaint("classify", place / "weights.th", picture)
    out_file = tmp_path / "ours.safetensors"
    notes = answer("convert", tmp_path / "net.pth.tar", "--out", out_file, "--classes", "no,yes")["notes"]
    assert any("one output" in note for note in notes) and checkpoints.load(out_file).class_names == ("no", "yes")
