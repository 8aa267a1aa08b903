"""`python -m explorer`: what it prints is what the library computes, and wrong use ends in one sentence.

One file for the one program: its commands share their small networks and pictures.
"""

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from explorer import attribution, checkpoints, images, installation, presets, pretrained
from explorer.architectures import ArchitectureSpec, Stage, Stem, build, describe
from explorer.architectures.interventions import parse_all
from explorer.attribution import grad_cam, profile, top_classes
from explorer.checkpoints import Checkpoint
from explorer.cli import app, inputs, new_networks
from explorer.cli.main import COMMANDS, main, parser
from explorer.datasets import GREY, folders, shapes
from explorer.experiments.loss_surface.cost import check_path
from explorer.pretrained import Recipe
from explorer.runs import describe_results, weight_snapshots
from explorer.runs.directory import file_stem
from explorer.tracing import EVERYTHING, STRIP_KINDS, trace
from explorer.training import TrainingConfig, evaluate, evaluate_classes, fit

ROOT = Path(__file__).parents[1]
SPEC = ArchitectureSpec(stages=(Stage(1, 8), Stage(1, 16, 2)), stem=Stem(8), input_shape=(3, 16, 16), classes=3)
CONFIG = TrainingConfig(epochs=3, batch_size=8, learning_rate=0.02, seed=5)
OPTIONS = ("--epochs", "3", "--batch-size", "8", "--learning-rate", "0.02", "--seed", "5", "--threads", "1")
COLOURS = {"blue": (60, 60, 130), "green": (60, 110, 60), "red": (120, 60, 60)}


def run(*argv) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of one command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([str(argument) for argument in argv])
    return status, out.getvalue(), err.getvalue()


def answer(*argv) -> dict:
    """The JSON document of a command that succeeds; NaN and infinities, which are no JSON, are refused."""
    status, out, err = run(*argv, "--json")
    assert status == 0, err
    return json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} in the JSON document"))


def complaint(*argv) -> str:
    """The one sentence of a command that is used wrongly."""
    status, out, err = run(*argv)
    assert (status, out) == (2, "")
    assert err.startswith("explorer: ") and err.endswith(".\n") and err.count("\n") == 1
    return err


def as_json(value):
    return json.loads(json.dumps(value))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with `pictures/` of three colours, in noise that hides them now and then, and `spec.json`."""
    place = tmp_path_factory.mktemp("main")
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("test", 5)):
        for name, colour in COLOURS.items():
            folder = place / "pictures" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                pixels = np.clip(rng.normal(colour, 60, (16, 16, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    (place / "spec.json").write_text(json.dumps(SPEC.to_dict()))
    return place


@pytest.fixture(scope="module")
def training(place) -> dict:
    """What `train --twin` said; it left `net.safetensors` and `net-twin.safetensors` in `place`."""
    out = place / "net.safetensors"
    return answer(
        "train",
        "--spec",
        place / "spec.json",
        "--data",
        place / "pictures",
        "--twin",
        "--snapshots",
        3,
        "--out",
        out,
        *OPTIONS,
    )


@pytest.fixture(scope="module")
def network(place, training) -> Path:
    return place / "net.safetensors"


@pytest.fixture
def picture(place) -> Path:
    return place / "pictures" / "test" / "red" / "0.png"


# describe


@pytest.mark.parametrize("twin", [False, True])
@pytest.mark.parametrize("name", ["lenet", "resnet-20", "imagenet-resnet-50"])
def test_describe_says_what_describe_returns(name, twin):
    spec = presets.preset(name).spec
    expected = describe(spec.twin() if twin else spec)
    said = answer("describe", name, *(["--twin"] if twin else []))
    assert said["layers"] == as_json([asdict(layer) for layer in expected.layers])
    assert {key: said[key] for key in ("depth", "parameters", "macs", "activation_bytes")} == {
        "depth": expected.spec.depth,
        "parameters": expected.parameters,
        "macs": expected.macs,
        "activation_bytes": expected.activation_bytes,
    }
    assert ArchitectureSpec.from_dict(said["spec"]) == expected.spec


def test_the_table_has_a_line_for_each_layer():
    _, out, _ = run("describe", "vgg-16")
    names = [layer.name for layer in describe(presets.preset("vgg-16").spec).layers]
    table = [line for line in out.splitlines() if line.split(" ")[0] in names]
    assert [line.split()[0] for line in table] == names
    assert "138,357,544 parameters" in out  # torchvision's count


def test_the_list_has_all_presets_with_published_counts():
    listed = {entry["name"]: entry for entry in answer("describe", "--list")["presets"]}
    assert list(listed) == list(presets.PRESETS)
    assert listed["imagenet-resnet-50"]["parameters"] == 25_557_032
    assert listed["vgg-11-bn"]["parameters"] == 132_868_840
    assert listed["resnet-110"]["depth"] == 110


def test_what_describe_prints_is_a_spec_file(tmp_path):
    said = answer("describe", "resnet-8", "--twin")
    (tmp_path / "mine.json").write_text(json.dumps(said))
    again = answer("describe", "--spec", tmp_path / "mine.json")
    assert again["fingerprint"] == said["fingerprint"] == presets.cifar(8, "none").fingerprint


def test_describe_takes_a_checkpoint(network):
    said = answer("describe", network)
    assert said["fingerprint"] == SPEC.fingerprint
    assert (said["data"], said["class_names"]) == ("pictures", list(COLOURS))


# train and evaluate


def test_train_is_fit(place, training):
    """The saved twins have bit for bit the weights that the library gives, which are twins by their first weights."""
    dataset = folders.load(place / "pictures", (16, 16))
    for spec, entry in zip((SPEC, SPEC.twin()), training["networks"], strict=True):
        network = build(spec, CONFIG.seed)
        *_, last = fit(network, dataset, CONFIG)
        saved = checkpoints.load(entry["file"])
        assert saved.spec == spec
        for name, tensor in network.state_dict().items():
            assert torch.equal(tensor, saved.network.state_dict()[name]), name
        assert entry["steps"] == last.step == 3 * 33 // 8
        kept = Path(training["snapshots"]["folder"])
        assert training["snapshots"]["steps"] == [0, 1, last.step]
        early = weight_snapshots.load(kept, file_stem(spec.name), 0).state_dict()
        first = build(spec, CONFIG.seed).state_dict()
        assert all(torch.equal(early[name], first[name].to(torch.bfloat16).to(first[name].dtype)) for name in first)
        test = evaluate_classes(network, dataset.test, dataset.mean, dataset.std)
        assert entry["test"] == {
            "accuracy": sum(test.right) / 15,
            "loss": round(test.together.loss, 4),
            "n": 15,
            "balanced_accuracy": pytest.approx(sum(test.right) / 15),
            "majority": 1 / 3,
            "majority_class": "blue",
            "classes": {"right": list(test.right), "n": [5, 5, 5]},
        }
        assert entry["passes"] == 12 * 8 / 33
        assert saved.metrics == {"test": entry["test"], "test_running": entry["test_running"]}
        assert entry["batchnorm_images"] == 33 and any("running statistics" in note for note in training["notes"])
        assert (saved.seed, saved.config, saved.data) == (5, CONFIG.to_dict(), "pictures")
        assert saved.record["steps"] == entry["steps"]


@pytest.mark.parametrize("channels", [1, 3])
def test_the_spec_takes_shape_and_classes_from_the_data(place, tmp_path, channels):
    file, grey = tmp_path / "a.safetensors", ["--grey"] * (channels == 1)
    said = answer("train", "two-conv", "--data", place / "pictures", "--size", 24, "--out", file, *grey, *OPTIONS)
    saved = checkpoints.load(file)
    assert said["input_shape"] == [channels, 24, 24] and len(saved.mean) == channels
    assert saved.spec == replace(presets.preset("two-conv").spec, input_shape=(channels, 24, 24), classes=3)
    assert (GREY in said["notes"]) == bool(grey)


def test_evaluate_gives_the_figures_that_train_saved(place, training):
    for entry in training["networks"]:
        said = answer("evaluate", entry["file"], "--data", place / "pictures", "--threads", 1)
        assert (said["accuracy"], said["n"]) == (entry["test"]["accuracy"], 15)
        assert said["loss"] == pytest.approx(entry["test"]["loss"], abs=6e-5)  # saved with four decimals
        assert said["accuracy"] * 15 == pytest.approx(sum(part["accuracy"] * 5 for part in said["classes"].values()))


def test_evaluate_finds_classes_by_their_names(place, network, tmp_path):
    """A folder of some of the classes numbers them differently, and gives the same accuracy for each."""
    for split in ("train", "test"):
        for name in ("green", "red"):
            shutil.copytree(place / "pictures" / split / name, tmp_path / "some" / split / name)
    some = answer("evaluate", network, "--data", tmp_path / "some", "--threads", 1)
    every = answer("evaluate", network, "--data", place / "pictures", "--threads", 1)
    assert set(some["classes"]) == {"green", "red"}
    for name, part in some["classes"].items():
        assert part["n"] == 5
        assert part["accuracy"] == every["classes"][name]["accuracy"]
        assert part["loss"] == pytest.approx(every["classes"][name]["loss"], rel=1e-5)


def test_outputs_without_names_are_taken_in_the_order_of_the_folders_and_that_can_be_changed(place, network, tmp_path):
    known = checkpoints.load(network)
    backwards = [1, 2, 0]  # its outputs in another order than the folders have
    state = known.network.state_dict()
    last = [name for name in state if state[name].shape[:1] == (3,)][-2:]
    state |= {name: state[name][backwards] for name in last}
    known.network.load_state_dict(state)
    checkpoints.save(
        replace(known, class_names=("class 0", "class 1", "class 2"), metrics={}), tmp_path / "n.safetensors"
    )
    data = ("evaluate", tmp_path / "n.safetensors", "--data", place / "pictures", "--threads", 1)
    assumed, said = answer(*data), answer(*data, "--classes", "green, red,blue")
    assert "class 0 is blue, class 1 is green, class 2 is red" in assumed["notes"][-1]
    assert "as `--classes` says: class 0 is green, class 1 is red, class 2 is blue" in said["notes"][-1]
    named = answer("evaluate", network, "--data", place / "pictures", "--threads", 1)
    assert said["accuracy"] == named["accuracy"] != assumed["accuracy"]
    assert "must name each class of the data once" in complaint(*data, "--classes", "green,red,pink")
    assert "do not name their classes" in complaint("evaluate", network, *data[2:], "--classes", "green,red,blue")


def test_data_says_what_the_reading_says(place, tmp_path):
    dataset = folders.load(place / "pictures", (16, 16))
    said = answer("data", place / "pictures", "--size", 16)
    assert (said["class_names"], said["notes"], said["warnings"]) == (list(COLOURS), list(dataset.notes), [])
    assert said["counts"]["red"] == {"train": 11, "validation": 1, "test": 5}
    assert said["totals"] == {"train": 33, "validation": 3, "test": 15} and said["labels_from"] == "folders"
    for name in COLOURS:
        for picture in (place / "pictures" / "train" / name).iterdir():
            (tmp_path / f"{name}_{picture.name}").write_bytes(picture.read_bytes())
    (tmp_path / "notes.pdf").write_bytes(b"x")
    proposed = answer("data", tmp_path)
    assert not proposed["confirmed"] and "confirm them with `--labels-from names:number`" in proposed["notes"][0]
    said = answer("data", tmp_path, "--labels-from", "names")
    assert said["confirmed"] and said["counts"] == proposed["counts"]
    assert said["class_names"] == list(COLOURS) and [each["path"] for each in said["skipped"]] == ["notes.pdf"]
    _, out, _ = run("data", tmp_path, "--labels-from", "names")
    assert "read from the name of each file before its number" in out and "Left out: notes.pdf: not an image" in out


def test_train_says_what_was_learned_beside_guessing(place, tmp_path):
    """Two steps of eight pictures at a rate of next to nothing: right on what chance gives of three classes."""
    said = answer(
        *("train", "two-conv", "--data", place / "pictures", "--size", 16, "--out", tmp_path / "a.safetensors"),
        *("--threads", 1, "--epochs", 1, "--batch-size", 16, "--learning-rate", 1e-12),
    )
    (entry,) = said["networks"]
    judged = {**entry, "title": entry["network"], "side": 16}
    assert said["verdict"] == describe_results([judged], 3, entry["seconds"], "pictures")
    assert "guessing, which reaches 33.3%" in said["verdict"] and "Train for 4 times" in said["verdict"]


def test_evaluate_tells_what_always_answering_the_commonest_class_gives(place, network, tmp_path):
    """All 5 red test pictures and 1 green one: two classes, 5 : 1."""
    for split, name, count in (("train", "red", 5), ("train", "green", 5), ("test", "red", 5), ("test", "green", 1)):
        (tmp_path / "some" / split / name).mkdir(parents=True)
        for file in sorted((place / "pictures" / split / name).iterdir())[:count]:
            shutil.copy(file, tmp_path / "some" / split / name)
    said = answer("evaluate", network, "--data", tmp_path / "some", "--threads", 1)
    red, green = (said["classes"][name]["accuracy"] for name in ("red", "green"))
    assert (said["majority"], said["majority_class"], said["n"]) == (5 / 6, "red", 6)
    assert said["balanced_accuracy"] == (green + red) / 2
    assert said["accuracy"] == pytest.approx((5 * red + green) / 6)


def test_evaluate_draws_what_a_network_was_trained_on(tmp_path):
    spec = ArchitectureSpec(stages=(Stage(1, 4, 4),), block="conv", shortcut="none", input_shape=(3, 16, 16))
    data = shapes.load(size=16)
    known = Checkpoint(build(spec), data.class_names, data.mean, data.std, data.name)
    checkpoints.save(known, tmp_path / "a.safetensors")
    said = answer("evaluate", tmp_path / "a.safetensors", "--threads", 1)
    expected = evaluate(known.network, data.test, data.mean, data.std)
    assert (said["accuracy"], said["n"], said["data"]) == (expected.accuracy, 4_000, data.name)
    assert said["loss"] == pytest.approx(expected.loss, rel=1e-5)

    checkpoints.save(replace(known, data="shapes-v0-32"), tmp_path / "old.safetensors")
    assert "shapes-v0-32" in complaint("evaluate", tmp_path / "old.safetensors")


def test_some_classes_of_the_shapes_are_trained_on_and_drawn_again(tmp_path):
    out = tmp_path / "some.safetensors"
    spec = tmp_path / "small.json"
    spec.write_text(json.dumps(ArchitectureSpec(stages=(Stage(1, 4, 4),), block="conv", shortcut="none").to_dict()))
    said = answer(
        *("train", "--spec", spec, "--data", "shapes:star, ring", "--size", 16, "--seconds", 0.5, "--threads", 1),
        *("--out", out),
    )
    assert (said["data"], said["input_shape"]) == ("shapes-v1-16-ring-star", [3, 16, 16])
    again = answer("evaluate", out, "--threads", 1)
    assert (again["data"], again["n"], list(again["classes"])) == ("shapes-v1-16-ring-star", 800, ["ring", "star"])
    assert again["accuracy"] == pytest.approx(said["networks"][0]["test"]["accuracy"])
    same = answer("evaluate", out, "--data", "shapes:ring,star", "--threads", 1)
    assert (same["accuracy"], same["n"]) == (again["accuracy"], 800)
    assert "'circle'" in complaint("evaluate", out, "--data", "shapes")
    for wrong, why in (
        ("shapes:ring", "at least 2 shapes"),
        ("shapes:", "received none"),
        ("shapes:oval,ring", "'oval'"),
    ):
        assert why in complaint(
            "train", "resnet-8", "--data", wrong, "--seconds", 1, "--out", tmp_path / "b.safetensors"
        )


def test_a_diverged_training_is_said_and_is_json(place, tmp_path):
    said = answer(
        *("train", "wide-two-conv", "--data", place / "pictures", "--epochs", 20, "--learning-rate", 1e6),
        *("--threads", 1, "--out", tmp_path / "a.safetensors"),
    )
    assert said["networks"][0]["outcome"] == "diverged"
    assert any("--learning-rate" in note for note in said["notes"])
    checkpoints.load(tmp_path / "a.safetensors")


def test_options_become_the_training_config():
    typed_config = parser().parse_args(
        "train lenet --seconds 9.5 --batch-size 32 --optimizer adam --learning-rate 0.001 --momentum 0.8 --no-nesterov "
        "--weight-decay 0 --schedule step --milestones 0.25,0.5,0.75 --step-factor 0.5 --label-smoothing 0.1 "
        "--class-weights --clip 2 "
        "--no-augment --seed 3 --precision float32 --device cpu --compile".split()
    )
    expected = TrainingConfig(
        seconds=9.5,
        batch_size=32,
        optimizer="adam",
        learning_rate=0.001,
        momentum=0.8,
        nesterov=False,
        weight_decay=0,
        schedule="step",
        milestones=(0.25, 0.5, 0.75),
        step_factor=0.5,
        label_smoothing=0.1,
        class_weights=True,
        clip=2,
        augment=False,
        seed=3,
        precision="float32",
        device="cpu",
        compile=True,
    )
    assert new_networks.config(typed_config) == expected
    assert all(getattr(expected, field.name) != field.default for field in fields(expected) if field.name != "epochs")
    assert new_networks.config(parser().parse_args(["train", "lenet"])) == TrainingConfig(seconds=60)


# classify and explain


def test_classify_says_what_the_library_says(network, picture, tmp_path):
    wide = tmp_path / "wide.gif"
    Image.new("RGB", (40, 20), (120, 60, 60)).save(wide, save_all=True, append_images=[Image.new("RGB", (40, 20))])
    said = answer("classify", network, picture, wide)
    known = checkpoints.load(network)
    assert said["class_names"] == list(COLOURS)
    for file, entry in zip((picture, wide), said["pictures"], strict=True):
        decoded = images.decode(file.read_bytes(), file.name)
        seen = trace(known.network, images.to_input(decoded.pixels, (16, 16), known.mean, known.std))
        assert [(top["class"], top["probability"]) for top in entry["top"]] == [
            (known.class_names[index], probability) for index, probability in top_classes(seen)
        ]
        assert entry["notes"] == list(decoded.notes)
    assert said["pictures"][1]["notes"] == ["The first of its 2 frames is shown."]

    _, out, _ = run("classify", network, wide)
    assert "The first of its 2 frames is shown." in out
    assert "3 classes: blue, green, red." in out


def test_a_name_cannot_steer_the_terminal(network, picture, tmp_path):
    known = checkpoints.load(network)
    steering = replace(known, class_names=("\x1b[2Jblue", "green", "red"))
    checkpoints.save(steering, tmp_path / "a.safetensors")
    shutil.copy(picture, tmp_path / "two\nlines.png")
    status, out, _ = run("classify", tmp_path / "a.safetensors", tmp_path / "two\nlines.png")
    assert status == 0 and "\x1b" not in out and "two?lines.png" in out
    assert "two lines" in complaint("classify", network, tmp_path / "no two\nlines.png")


def test_a_frame_is_the_part_of_the_picture_that_the_network_gets(network, tmp_path):
    pixels = np.random.default_rng(5).integers(0, 256, (40, 60, 3), np.uint8)
    whole, part = tmp_path / "whole.png", tmp_path / "part.png"
    Image.fromarray(pixels).save(whole)
    Image.fromarray(pixels[20:40, 15:35]).save(part)
    for command in ("classify", "explain"):
        said, wanted = answer(command, network, whole, "--frame", "0.25,0.5,0.5"), answer(command, network, part)
        assert (said.pop("frame"), wanted.pop("frame")) == ("0.25,0.5,0.5", None)
        for document in (said, wanted):
            facts = document["pictures"][0] if command == "classify" else document["picture"]
            for name in ("file", "width", "height"):
                del facts[name]
        assert said == wanted
    assert "LEFT,TOP,SIDE" in complaint("explain", network, whole, "--frame", "0,0,2")


@pytest.mark.parametrize("everything", [False, True])
def test_explain_says_what_the_library_says(network, picture, tmp_path, everything):
    file = tmp_path / "arrays.npz"
    options = ["--target", "green", "--out", file, *(["--all"] if everything else [])]
    said = answer("explain", network, picture, *options)
    known = checkpoints.load(network)
    image = images.to_input(images.decode(picture.read_bytes(), "").pixels, (16, 16), known.mean, known.std)
    seen = trace(known.network, image, 1, EVERYTHING if everything else STRIP_KINDS)
    assert said["target"] == "green"
    assert said["score"] == pytest.approx(seen.logits[1])
    columns = profile(seen)
    assert said["layers"] == [
        {
            "name": column.name,
            "kind": column.kind,
            "shape": list(column.shape),
            "activation_magnitude": column.activation_magnitude,
            "gradient_magnitude": column.gradient_magnitude,
            "cam_maximum": float(column.cam.max()),
            "strongest": column.strongest,
            "zero_reason": column.zero_reason,
        }
        for column in columns
    ]
    with np.load(file) as arrays:
        for layer in seen.layers:
            np.testing.assert_array_equal(arrays[f"activations/{layer.name}"], layer.activation)
            np.testing.assert_array_equal(arrays[f"gradients/{layer.name}"], layer.gradient)
        cams = {name.removeprefix("cams/") for name in arrays if name.startswith("cams/")}
        assert cams == {column.name for column in columns}
        for name in cams:
            np.testing.assert_array_equal(arrays[f"cams/{name}"], grad_cam(seen[name]))
        np.testing.assert_array_equal(arrays["image"], image)
        assert (int(arrays["target"]), list(arrays["class_names"])) == (1, list(COLOURS))


def test_explain_gives_both_signs_and_the_maps_of_methods(network, picture, tmp_path):
    file = tmp_path / "arrays.npz"
    methods = ["--method", "layer_cam", "--method", "deep_lift", "--method", "eigen_cam"]
    said = answer("explain", network, picture, "--target", "green", "--signed", *methods, "--out", file)
    known = checkpoints.load(network)
    image = images.to_input(images.decode(picture.read_bytes(), "").pixels, (16, 16), known.mean, known.std)
    columns = profile(trace(known.network, image, 1))
    assert said["signed"] and [layer["cam_minimum"] for layer in said["layers"]] == [
        float(column.signed_cam.min()) for column in columns
    ]
    assert [each["method"] for each in said["methods"]] == ["layer_cam", "deep_lift", "eigen_cam"]
    with np.load(file) as arrays:
        for column in columns:
            np.testing.assert_array_equal(arrays[f"cams/{column.name}"], column.signed_cam)
            np.testing.assert_array_equal(np.maximum(column.signed_cam, 0), column.cam)
        for each in said["methods"]:
            *_, last = attribution.explain(known.network, image, 1, each["method"])
            assert last.result is not None
            values = attribution.as_map(last.result)
            np.testing.assert_array_equal(arrays[f"maps/{each['method']}"], values)
            assert values[each["row"], each["column"]] == each["maximum"] == values.max()
    text = run("explain", network, picture, "--method", "eigen_cam", "--change", "stem.conv:0.5")[1]
    assert "Note: Eigen-CAM: The map does not depend on the explained class" in text
    assert "Note: methods explain the network without the changes." in text


def test_explain_changes_the_network_and_says_so(network, picture, tmp_path):
    known, file = checkpoints.load(network), tmp_path / "arrays.npz"
    block, *_ = (name for name, kind in known.network.layers.values() if kind == "block")
    change = f"{block}:0.5,{block}~1:off,{block}~2:mean"
    texts = change.split(",")
    options = ["--change", texts[0], "--change", ",".join(texts[1:]), "--out", file]
    said = answer("explain", network, picture, *options)
    image = images.to_input(images.decode(picture.read_bytes(), "").pixels, (16, 16), known.mean, known.std)
    seen = trace(known.network, image, interventions=parse_all(change))
    assert said["change"] == change and said["score"] == pytest.approx(seen.logits.max())
    with np.load(file) as arrays:
        assert str(arrays["change"]) == change and not arrays[f"activations/{block}"][1].any()
    assert f"has no layer or block `{block}x`" in complaint("explain", network, picture, "--change", f"{block}x:off")
    assert "is no intervention" in complaint("explain", network, picture, "--change", "off")


def test_arithmetic_says_what_the_library_says(network, picture):
    asked = ("arithmetic", network, picture, "--layer", "stages.0.0.conv1", "--at", "1,2,3")
    said = answer(*asked)
    (step,) = said["steps"]
    total = sum(step["window"]["sums"]) + sum(term["value"] for term in step["terms"])
    assert said["value"] == pytest.approx(total, abs=1e-5) and said["difference"] <= said["tolerance"]
    status, out, _ = run(*asked)
    assert out.rstrip().endswith("(as a share of the value where that is above 1), within 1e-5.")
    assert status == 0 and "convolution 3×3" in out and f"is {said['value']:.4g}" in out
    changed = answer(*asked, "--change", "stages.0.0.conv1:0.5")
    assert changed["change"] == changed["steps"][0]["change"] == "stages.0.0.conv1:0.5"
    assert changed["value"] == pytest.approx(said["value"] / 2) and changed["steps"][1]["value"] == said["value"]
    mean = run(*asked, "--change", "stages.0.0.conv1:mean")[1]
    assert "Changed: stages.0.0.conv1:mean." in mean and "values of stages.0.0.conv1 before the change at 1,0,0" in mean
    assert "has no layer or block `x`" in complaint(*asked, "--change", "x:off")


def test_explain_takes_the_dials_of_a_link(network, picture):
    known, dials = checkpoints.load(network), images.Dials(rotation=30, noise=9)
    seen = images.seen_pixels(images.decode(picture.read_bytes(), "").pixels, (16, 16), 3)
    image = images.to_input(images.change(seen, dials), (16, 16), known.mean, known.std)
    said = answer("explain", network, picture, "--dials", "noise9_rotation30", "--target", "green")
    assert said["score"] == pytest.approx(trace(known.network, image, 1, STRIP_KINDS).logits[1])
    assert said["dials"] == "rotation30_noise9"
    assert "the dials of a picture are written like" in complaint("explain", network, picture, "--dials", "turn3")


def test_a_target_is_a_name_or_a_number_and_by_default_the_prediction(network, picture):
    by_name, by_number = (answer("explain", network, picture, "--target", target) for target in ("blue", "0"))
    assert by_name == by_number
    said = answer("explain", network, picture)
    assert said["target"] == said["top"][0]["class"]


def test_a_class_called_3_is_meant_before_class_number_3():
    assert inputs.class_index("3", ("5", "4", "3", "2")) == 2
    assert inputs.class_index("1", ("5", "4", "3", "2")) == 1


# pretrained


def test_pretrained_rebuilds_a_recipe_and_lists_it(place, tmp_path, monkeypatch):
    recipe = Recipe("tiny", replace(SPEC, input_shape=(3, 32, 32)), pretrained.CIFAR_DATA, replace(CONFIG, epochs=1))
    monkeypatch.setitem(pretrained.RECIPES, "tiny", recipe)
    before = {entry["name"]: entry for entry in answer("pretrained", "--folder", tmp_path)["networks"]}
    assert {entry["state"] for entry in before.values()} == {"missing"}
    assert list(before) == list(pretrained.RECIPES) and not list(tmp_path.iterdir())

    folder = ("--folder", tmp_path, "--threads", 1)
    said = answer("pretrained", "tiny", *folder, "--data", place / "pictures")["networks"][-1]
    saved = checkpoints.load_pretrained("tiny", tmp_path)
    assert (saved.data, saved.spec, saved.config) == (recipe.data, recipe.spec, recipe.config.to_dict())
    assert len(saved.record["epochs"]) == 1 and saved.record["epochs"][0]["validation"] is None
    assert said == before["tiny"] | {"test": saved.metrics["test"], "state": "ready", "sha256": said["sha256"]}
    readme = (tmp_path / "README.md").read_text()
    assert said["sha256"] in readme and said["sha256"] in (tmp_path / "SHA256SUMS").read_text()

    (tmp_path / "README.md").unlink()
    assert run("pretrained", "--listing", *folder)[0] == 0
    assert (tmp_path / "README.md").read_text() == readme

    content = bytearray((tmp_path / "tiny.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "tiny.safetensors").write_bytes(content)
    assert "sha256" in answer("pretrained", *folder)["networks"][-1]["state"]


def test_pretrained_writes_nothing_into_an_installed_package(monkeypatch, tmp_path):
    monkeypatch.setattr(installation, "is_checkout", lambda: False)
    for words in (["all"], ["--listing"], ["--record"], ["--results"], ["shapes-resnet-8", "--measure"]):
        said = complaint("pretrained", *words)
        assert "part of its package" in said and "`--folder`" in said
    assert answer("pretrained", "--folder", tmp_path)["networks"][0]["state"] == "missing"


def test_a_pretrained_name_is_taken_wherever_a_checkpoint_is(picture):
    """Also says that what comes with the app can be used as it lies there."""
    assert checkpoints.pinned()
    for name in checkpoints.pinned():
        assert len(answer("classify", name, picture)["pictures"][0]["top"]) == 5
        assert answer("describe", name)["parameters"] == describe(pretrained.RECIPES[name].spec).parameters


# Wrong use


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("", "COMMAND"),
        ("paint", "invalid choice: 'paint'"),
        ("describe", "--spec"),
        ("describe resnet-21", "--list"),
        ("describe lenet --spec spec.json", "either"),
        ("describe --spec net.safetensors", "JSON"),
        ("describe --spec nowhere.json", "`nowhere.json` cannot be read"),
        ("describe --spec half.json", "'stages'"),
        ("describe pictures", "`pictures`"),
        ("train", "--spec"),
        ("train resnet-21", "resnet-20"),
        ("train lenet --epochs 1 --seconds 1", "`epochs` or `seconds`"),
        ("train lenet --epochs 0", "`epochs`"),
        ("train lenet --epochs many", "--epochs"),
        ("train lenet --learning-rate nan", "`learning_rate`"),
        ("train lenet --milestones a,b", "--milestones"),
        ("train lenet --milestones 1.5", "`milestones`"),
        ("train lenet --optimizer lion", "'lion'"),
        ("train lenet --threads 0", "the number of threads"),
        ("train lenet --data nowhere", "nowhere"),
        ("train lenet --data one", "classes"),
        ("train lenet --size 8 --data pictures", "8×8"),
        ("train lenet --size 100", "`size`"),
        ("train lenet --out nowhere/a.safetensors", "`nowhere`"),
        ("train lenet --out a.pt", ".safetensors"),
        ("train lenet --out net.safetensors", "already there"),
        ("evaluate net.safetensors", "--data"),
        ("evaluate net.safetensors --data others", "'cat'"),
        ("evaluate nowhere.safetensors", "nowhere.safetensors"),
        ("evaluate spec.json", "not weights"),
        ("classify net.safetensors", "PICTURE"),
        ("classify resnet-21 red.png", "resnet-21"),
        ("classify net.safetensors nowhere.png", "`nowhere.png`"),
        ("classify net.safetensors red.png broken.png", "`broken.png`"),
        ("classify net.safetensors pictures", "`pictures`"),
        ("classify half.safetensors red.png", "damaged"),
        ("explain net.safetensors red.png --target cat", "blue, green, red"),
        ("explain net.safetensors red.png --target 3", "0 to 2"),
        ("explain net.safetensors red.png --target -1", "'-1'"),
        ("explain net.safetensors red.png --out a.npy", ".npz"),
        ("explain net.safetensors red.png green.png", "green.png"),
        ("arithmetic net.safetensors red.png --layer stem --at 0", "head.fc"),
        ("arithmetic net.safetensors red.png --layer head.fc --at 3", "unit 0 to 2"),
        ("arithmetic net.safetensors red.png --layer head.fc --at -1", "received -1"),
        ("arithmetic net.safetensors red.png --layer head.fc --at one", "'one'"),
        ("pretrained shapes-resnet-21", "shapes-resnet-20"),
        ("pretrained cifar10jpeg-resnet-20", "--data FOLDER"),
        ("pretrained --folder nowhere", "`nowhere`"),
    ],
)
def test_wrong_use_ends_in_one_sentence(argv, says, wrong_things):
    assert says in complaint(*argv.split())


@pytest.fixture
def wrong_things(place, training, picture, monkeypatch):
    """The current folder holds what the commands above name."""
    monkeypatch.chdir(place)
    if not Path("red.png").exists():
        shutil.copy(picture, "red.png")
        Path("broken.png").write_bytes(picture.read_bytes()[:200])
        Path("half.safetensors").write_bytes(Path("net.safetensors").read_bytes()[:5000])
        Path("half.json").write_text(json.dumps({"block": "basic"}))
        for name in ("one/red", "others/cat", "others/red"):
            shutil.copytree("pictures/test/red", name)


def test_nothing_is_written_by_wrong_use(place, wrong_things):
    before = sorted(place.rglob("*"))
    complaint("train", "lenet", "--data", "nowhere")
    complaint("explain", "net.safetensors", "broken.png", "--out", "a.npz")
    assert sorted(place.rglob("*")) == before


def test_an_impossible_twin_is_said_before_the_training(place, tmp_path):
    """An identity cannot reduce channels, so this plain network has no twin."""
    spec = ArchitectureSpec(stages=(Stage(1, 8), Stage(1, 4)), shortcut="none", input_shape=(3, 16, 16))
    (tmp_path / "narrow.json").write_text(json.dumps(spec.to_dict()))
    said = complaint("train", "--spec", tmp_path / "narrow.json", "--twin", "--data", place / "pictures")
    assert "identity" in said


def test_help_says_all():
    status, out, _ = run("--help")
    assert status == 0 and all(name in out for name, *_ in COMMANDS)
    assert all(f" {code} " in " ".join(out.split()) for code in (1, 2, 130, 141)), "an exit status is left out"
    for name, *_ in COMMANDS:
        status, out, err = run(name, "--help")
        assert (status, err) == (0, "") and ("--json" in out) == (name != app.NAME)
    _, out, _ = run("train", "--help")
    assert all(f"--{field.name.replace('_', '-')}" in out for field in fields(TrainingConfig))


# As a process of its own: what Python itself does at the end cannot be seen from inside.


def start(*argv, **options) -> subprocess.Popen:
    command = [sys.executable, "-m", "explorer", *map(str, argv)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "cwd": ROOT}
    return subprocess.Popen(command, **{**pipes, **options})


def test_a_closed_pipe_is_quiet():
    with start("describe", "lenet") as process:
        assert process.stdout and process.stderr
        process.stdout.close()  # as `head` does, before anything is written
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_wrong_use_of_the_process_exits_2():
    with start("describe", "resnet-21") as process:
        out, err = process.communicate()
    assert (process.returncode, out, err.count("\n")) == (2, "", 1)


def test_ctrl_c_during_a_training_is_quiet(place, tmp_path):
    out = tmp_path / "a.safetensors"
    # Tests that run in the background of a shell ignore Ctrl-C, and a process inherits that.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = start("train", "resnet-20", "--data", place / "pictures", "--seconds", 600, "--out", out)
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        try:
            assert process.stderr and "resnet-20" in process.stderr.readline().lower()
            process.send_signal(signal.SIGINT)
            said, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, said) == (130, "")
    assert "Traceback" not in err and not list(tmp_path.iterdir())


# the weights of earlier steps


def test_surface_and_time_find_the_weights_that_train_kept_for_both_twins(
    place, training, network, picture, monkeypatch
):
    pair = (network, place / "net-twin.safetensors")
    of = ("--data", place / "pictures", "--count", 6)
    asked = ("surface", *pair, *of, "--axes", "path", "--points", 3, "--sharpness", 0, "--curvature", 0)
    found = answer(*asked)["surfaces"]
    for entry in found:
        assert [int(step) for step, *_ in entry["path"]] == training["snapshots"]["steps"]
        assert entry["path"][0][1] > 0 and np.isfinite(entry["loss"]["train"]).all()
    assert found[0]["x"] == found[1]["x"], "twins share one range"
    for file in pair:
        assert answer("time", file, picture, *of)["steps"] == training["snapshots"]["steps"]
    # What does not fit the memory is refused before any of it is loaded.
    monkeypatch.setitem(check_path.__globals__, "free_memory", lambda: 1000)
    monkeypatch.setattr(weight_snapshots, "load", lambda *_: pytest.fail("loaded"))
    assert "the kept weights of this training would need 0.0 GB of memory" in complaint(*asked)
