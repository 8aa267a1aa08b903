"""Laws of the native file: what is saved comes back exactly, and whatever else is answered with one sentence.

One file for the one format: every damage is done to the file that the first tests save.
"""

import contextlib
import hashlib
import json
import re
import struct
import threading
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.checkpoints import (
    Checkpoint,
    CheckpointError,
    check_pretrained,
    load,
    load_pretrained,
    pinned,
    read_header,
    save,
)
from explorer.presets import PRESETS, cifar, imagenet_resnet
from explorer.tracing import trace

SPEC = ArchitectureSpec((Stage(1, 4), Stage(1, 8, 2)), shortcut="projection", input_shape=(3, 8, 8), classes=2)


def trained(spec: ArchitectureSpec = SPEC) -> Network:
    """No tensor of it has its first value."""
    network = build(spec)
    generator = torch.Generator().manual_seed(0)
    for tensor in network.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * 10 + 0.1)
    return network


def made(spec: ArchitectureSpec = SPEC) -> Checkpoint:
    return Checkpoint(
        network=trained(spec),
        class_names=tuple(f"class {index} é✓" for index in range(spec.classes)),
        mean=(0.1, 1 / 3, 0.5),
        std=(0.2, 0.25, 1e-3),
        data="noise",
        seed=2**62,
        config={"epochs": 3, "milestones": [0.5]},
        record={"outcome": "finished", "epochs": [{"validation": None}]},
        metrics={"test": {"accuracy": 0.1 + 0.2, "n": 12}},
        resize_shorter_to=spec.input_shape[1] + 2,
    )


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("made") / "made.safetensors"
    save(made(), path)
    return path.read_bytes()


def taken_apart(content: bytes) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The safetensors header, our own header inside it, and the tensors' bytes."""
    (length,) = struct.unpack("<Q", content[:8])
    outer = json.loads(content[8 : 8 + length])
    return outer, json.loads(outer["__metadata__"][checkpoints.HEADER]), content[8 + length :]


def put_together(outer: dict[str, Any], header: Any, tensors: bytes) -> bytes:
    text = header if isinstance(header, str) else json.dumps(header)
    outer = {**outer, "__metadata__": {checkpoints.HEADER: text}}
    coded = json.dumps(outer).encode()
    coded += b" " * (-len(coded) % 8)
    return struct.pack("<Q", len(coded)) + coded + tensors


def refusal(path: Path, content: bytes | None = None, sha256: str | None = None) -> str:
    """The sentence with which `load` refuses the file; fails on any other exception, and where it loads."""
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load(path, sha256)
    sentence = str(caught.value)
    assert path.name in sentence and sentence.endswith(".") and "\n" not in sentence and len(sentence) < 500
    assert not re.search(r"Traceback|Error|File \"|object at 0x|safetensors_rust", sentence), sentence
    assert caught.value.__cause__ is None and (caught.value.__context__ is None or caught.value.__suppress_context__)
    return sentence


# --- there and back --------------------------------------------------------------------------------------------------


def test_everything_comes_back_exactly(tmp_path: Path):
    original = made()
    digest = save(original, tmp_path / "a.safetensors")
    found = load(tmp_path / "a.safetensors", digest)
    assert found.spec == original.spec
    for name in {field.name for field in fields(Checkpoint)} - {"network"}:
        assert getattr(found, name) == getattr(original, name), name
        assert type(getattr(found, name)) is type(getattr(original, name)), name
    expected, state = original.network.state_dict(), found.network.state_dict()
    assert list(state) == list(expected)
    for name, tensor in expected.items():
        assert state[name].dtype == tensor.dtype and torch.equal(state[name], tensor), name
    assert not found.network.training and not any(parameter.requires_grad for parameter in found.network.parameters())


@pytest.mark.parametrize("name", ["lenet", "two-conv", "plain-20", "resnet-20", "separable-resnet"])
def test_a_loaded_network_explains_as_the_saved_one_did(tmp_path: Path, name: str):
    spec = PRESETS[name].spec
    network = build(spec, seed=4).freeze()
    names = tuple(map(str, range(10)))
    save(Checkpoint(network, names, (0.5,) * 3, (0.25,) * 3, "none"), tmp_path / "a.safetensors")
    image = np.random.default_rng(0).standard_normal(spec.input_shape).astype(np.float32)
    first, second = trace(network, image), trace(load(tmp_path / "a.safetensors").network, image)
    np.testing.assert_array_equal(first.logits, second.logits)
    np.testing.assert_array_equal(first.image_gradient, second.image_gradient)


def test_one_checkpoint_is_the_same_bytes_each_time(tmp_path: Path, content: bytes):
    digests = {save(made(), tmp_path / f"{index}.safetensors") for index in range(5)}
    turned = made()
    turned = replace(turned, config=dict(reversed(turned.config.items())))
    digests.add(save(turned, tmp_path / "turned.safetensors"))
    assert digests == {hashlib.sha256(content).hexdigest()}
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {content}


def test_a_checkpoint_without_its_own_way_of_resizing_does_not_mention_any(tmp_path: Path):
    save(replace(made(), resize_shorter_to=None), tmp_path / "a.safetensors")
    assert "resize_shorter_to" not in taken_apart((tmp_path / "a.safetensors").read_bytes())[1]
    assert load(tmp_path / "a.safetensors").resize_shorter_to is None


def test_saving_what_was_loaded_gives_the_same_bytes(tmp_path: Path, content: bytes):
    (tmp_path / "a.safetensors").write_bytes(content)
    save(load(tmp_path / "a.safetensors"), tmp_path / "b.safetensors")
    assert (tmp_path / "b.safetensors").read_bytes() == content


def test_weights_in_channels_last_memory_are_saved_like_any_others(tmp_path: Path, content: bytes):
    checkpoint = made()
    checkpoint.network.to(memory_format=torch.channels_last)
    assert save(checkpoint, tmp_path / "a.safetensors") == hashlib.sha256(content).hexdigest()


def test_any_safetensors_reader_can_read_the_file(tmp_path: Path, content: bytes):
    outer, header, tensors = taken_apart(content)
    entry = outer["stages.0.0.conv1.weight"]
    start, end = entry["data_offsets"]
    values = np.frombuffer(tensors[start:end], "<f4").reshape(entry["shape"])
    np.testing.assert_array_equal(values, trained().get_parameter("stages.0.0.conv1.weight").numpy(force=True))
    assert list(outer["__metadata__"]) == [checkpoints.HEADER]
    assert header["version"] == 1 and header["spec"] == SPEC.to_dict()


def test_saving_replaces_the_file_and_leaves_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    save(made(), str(path))
    assert load(path).data == "noise" and [file.name for file in tmp_path.iterdir()] == ["a.safetensors"]
    assert path.stat().st_mode & 0o777 == 0o644  # others may read it: a temporary file is its owner's alone


def test_a_reader_never_sees_a_part(tmp_path: Path, content: bytes):
    """Two checkpoints of different length take turns in one place while another thread reads it."""
    other = made(cifar(8, "none", classes=2))
    save(other, tmp_path / "b.safetensors")
    whole = {content, (tmp_path / "b.safetensors").read_bytes()}
    path = tmp_path / "a.safetensors"
    save(made(), path)
    seen: set[bytes] = set()
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            seen.add(path.read_bytes())

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        save(other, path)
        save(made(), path)
    done.set()
    reader.join()
    assert seen and seen <= whole


def test_a_save_that_fails_changes_nothing(tmp_path: Path):
    """The place is a directory; the place is gone; the header holds what JSON cannot."""
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "inside").write_bytes(b"old")
    with pytest.raises(OSError):
        save(made(), taken)
    assert [file.name for file in tmp_path.iterdir()] == ["taken"] and (taken / "inside").read_bytes() == b"old"
    with pytest.raises(OSError):
        save(made(), tmp_path / "gone" / "a.safetensors")
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    bad = made()
    bad.metrics["loss"] = float("nan")
    with pytest.raises(ValueError):
        save(bad, path)
    assert path.read_bytes() == b"old"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.safetensors", "taken"]


WRONG_VALUES: list[tuple[dict[str, Any], str]] = [
    ({"class_names": ("a",)}, "`class_names` must name the 2 classes of the network, received 1"),
    ({"class_names": ("a", "")}, "`class_names` must be texts that are not empty"),
    ({"class_names": ("a", 2)}, "`class_names` must be texts that are not empty"),
    ({"mean": (0.5, 0.5)}, "`mean` must be three finite numbers"),
    ({"mean": (0.5, 0.5, float("nan"))}, "`mean` must be three finite numbers"),
    ({"std": (0.5, 0.5, "a")}, "`std` must be three finite numbers"),
    ({"std": (0.5, 10**400, 1)}, "`std` must be three finite numbers"),
    ({"std": (0.5, 0.5, 0.0)}, "`std` must be 1e-06 or more"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG_VALUES)
def test_a_checkpoint_that_makes_no_sense_cannot_be_made(changes: dict[str, Any], message: str):
    values = {"class_names": ("a", "b"), "mean": (0.5,) * 3, "std": (0.2,) * 3, "data": "noise"}
    with pytest.raises(ValueError, match=message):
        Checkpoint(network=trained(), **{**values, **changes})


# --- damaged, cut off, foreign ---------------------------------------------------------------------------------------


def test_a_file_that_is_cut_off_is_refused_at_every_length(tmp_path: Path, content: bytes):
    (length,) = struct.unpack("<Q", content[:8])
    lengths = {0, 1, 7, 8, 9, 8 + length - 1, 8 + length, 8 + length + 1, len(content) - 1}
    lengths |= set(range(0, len(content), len(content) // 60))
    for end in lengths:
        assert "damaged, cut off, or not a safetensors file" in refusal(tmp_path / "cut.safetensors", content[:end])


def test_more_bytes_than_the_header_knows_are_refused(tmp_path: Path, content: bytes):
    assert "damaged" in refusal(tmp_path / "long.safetensors", content + b"\0")


def test_no_flipped_byte_gives_anything_but_a_checkpoint_or_a_sentence(tmp_path: Path, content: bytes):
    """A weight may change unseen (that is what the pinned sha256 is for); nothing else may, and nothing may crash."""
    path = tmp_path / "flipped.safetensors"
    random = np.random.default_rng(0)
    (length,) = struct.unpack("<Q", content[:8])
    digest = hashlib.sha256(content).hexdigest()
    outcomes = {"loaded": 0, "refused": 0}
    positions = [*range(8), *(8 + random.integers(0, length, 300)), *random.integers(8 + length, len(content), 30)]
    for position in positions:
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(random.integers(8))
        path.write_bytes(flipped)
        assert "its sha256 differs" in refusal(path, sha256=digest)
        found = None
        with contextlib.suppress(CheckpointError):
            found = load(path)
        if found is None:
            refusal(path)
        else:
            assert all(tensor.isfinite().all() for tensor in found.network.state_dict().values())
        outcomes["refused" if found is None else "loaded"] += 1
    assert min(outcomes.values()) > 10


@pytest.mark.parametrize(
    "content",
    [b"", b"\0", b"not a file of ours\n" * 50, b"PK\3\4" + bytes(200), b"\x80\x02}q\0.", b"\xff" * 64, bytes(64)],
    ids=["empty", "one byte", "text", "zip", "pickle", "all ones", "zeros"],
)
def test_files_of_other_kinds_are_refused(tmp_path: Path, content: bytes):
    assert "not a safetensors file" in refusal(tmp_path / "other.safetensors", content)


def test_a_safetensors_file_of_someone_else_is_named_as_such(tmp_path: Path):
    for metadata in (None, {"format": "pt"}):
        save_file(trained().state_dict(), tmp_path / "foreign.safetensors", metadata)
        assert "not one that this app saved" in refusal(tmp_path / "foreign.safetensors")


def test_a_path_that_is_no_file(tmp_path: Path):
    for sha256 in (None, "0" * 64):
        assert "there is no file `gone.safetensors`; check the name" in refusal(
            tmp_path / "gone.safetensors", None, sha256
        )
        assert "cannot be read" in refusal(tmp_path, None, sha256)


def test_a_pinned_file_must_be_the_one_that_was_pinned(tmp_path: Path, content: bytes):
    path = tmp_path / "pinned.safetensors"
    assert "not the file that was published: its sha256 differs; download it again" in refusal(path, content, "0" * 64)
    assert load(path, hashlib.sha256(content).hexdigest()).data == "noise"


# --- a file that does not fit its own description --------------------------------------------------------------------


def changed(tmp_path: Path, change: Callable[[dict[str, Tensor]], object], spec: ArchitectureSpec = SPEC) -> str:
    """The refusal of a checkpoint whose tensors were changed after its header was written."""
    path = tmp_path / "changed.safetensors"
    save(made(spec), path)
    _, header, _ = taken_apart(path.read_bytes())
    state = made(spec).network.state_dict()
    change(state)
    save_file(state, path, {checkpoints.HEADER: json.dumps(header)})
    return refusal(path)


CHANGES: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "missing": (lambda state: state.pop("head.fc.bias"), "`head.fc.bias` and 0 more are missing"),
    "extra": (lambda state: state.update({"head.fc2.bias": torch.zeros(1)}), "`head.fc2.bias` is unknown"),
    "renamed": (lambda state: state.update({"linear.bias": state.pop("head.fc.bias")}), "`head.fc.bias`.*missing"),
    "shape": (
        lambda state: state.update({"head.fc.bias": torch.zeros(3)}),
        r"`head.fc.bias` is .*\(3,\), expected.*\(2,\)",
    ),
    "transposed": (
        lambda state: state.update({"head.fc.weight": state["head.fc.weight"].T.contiguous()}),
        r"`head.fc.weight` is torch.float32 \(8, 2\), expected torch.float32 \(2, 8\)",
    ),
    "type": (
        lambda state: state.update({"head.fc.bias": state["head.fc.bias"].double()}),
        "`head.fc.bias` is torch.float64.*expected torch.float32",
    ),
    "NaN": (
        lambda state: state["stages.0.0.conv2.weight"].view(-1)[-1:].fill_(float("nan")),
        "not finite, first in `stages.0.0.conv2.weight`; train it again",
    ),
    "infinite": (lambda state: state["head.fc.bias"][1:].fill_(float("-inf")), "not finite, first in `head.fc.bias`"),
    "statistics": (
        lambda state: state["stages.0.0.norm1.running_mean"][:1].fill_(float("inf")),
        "not finite, first in `stages.0.0.norm1.running_mean`",
    ),
    "variance": (
        lambda state: state["stages.1.0.norm2.running_var"][:1].fill_(-1e-3),
        "negative variance in `stages.1.0.norm2.running_var`; train it again",
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_tensors_that_do_not_fit_the_header_are_refused_by_name(tmp_path: Path, name: str):
    change, message = CHANGES[name]
    assert re.search(message, changed(tmp_path, change))


def test_a_plain_network_does_not_pass_for_one_of_another_depth(tmp_path: Path):
    save(made(cifar(14, "none", classes=2)), tmp_path / "a.safetensors")
    outer, header, tensors = taken_apart((tmp_path / "a.safetensors").read_bytes())
    header["spec"] = cifar(20, "none", classes=2).to_dict()
    content = put_together(outer, header, tensors)
    assert "`stages.0.2.conv1.weight` and 35 more are missing" in refusal(tmp_path / "a.safetensors", content)


OPTIONAL = {"seed", "resize_shorter_to", "rendering"}
HEADERS: list[tuple[str, Any, str]] = [
    *(
        (key, None, "has format version None, this app reads version 1; use the app that saved it")
        for key in ("version",)
    ),
    *(("version", version, f"has format version {version!r}") for version in (2, "1", True)),
    *((key, "absent", f"incomplete: `{key}` is missing") for key in checkpoints.FIELDS if key not in OPTIONAL),
    *(
        (key, None, f"incomplete: `{key}` is missing or of the wrong type")
        for key in checkpoints.FIELDS
        if key not in OPTIONAL
    ),
    *((key, True, f"incomplete: `{key}` is missing or of the wrong type") for key in checkpoints.FIELDS),
    ("seed", "7", "`seed` is missing or of the wrong type"),
    ("resize_shorter_to", "256", "`resize_shorter_to` is missing or of the wrong type"),
    ("resize_shorter_to", 7, "`resize_shorter_to` must be from 8 to 2048 pixels, received 7"),
    ("resize_shorter_to", 10**9, "`resize_shorter_to` must be from 8 to 2048 pixels"),
    ("rendering", {"paper": "white"}, "its rendering is incomplete"),
    ("rendering", {"paper": "red", "scale": None}, "must be white, grey or black, not 'red'"),
    ("rendering", {"paper": "white", "scale": [7, 7]}, "two numbers, the smaller one first"),
    ("class_names", "ab", "`class_names` is missing or of the wrong type"),
    ("class_names", ["a"], "`class_names` must name the 2 classes"),
    ("class_names", ["a", "\ud800"], "the header of .* is damaged"),
    ("class_names", [["a"], "b"], "`class_names` must be texts"),
    ("mean", [1, 2], "`mean` must be three finite numbers"),
    ("mean", [10**400, 0, 0], "`mean` must be three finite numbers"),
    ("std", [1, float("nan"), 1], "`std` must be three finite numbers"),
    ("std", [1, 0, 1], "`std` must be 1e-06 or more"),
    ("spec", {}, "does not describe a network of this app: a spec is incomplete"),
    ("spec", {**SPEC.to_dict(), "skip": 1}, "does not describe a network of this app: a spec has no field `skip`"),
    ("spec", {**SPEC.to_dict(), "classes": 0}, "does not describe a network of this app: `classes` must be"),
]


@pytest.mark.parametrize(
    ("key", "value", "message"), HEADERS, ids=[f"{key} {value!r:.20}" for key, value, _ in HEADERS]
)
def test_a_wrong_header_is_refused_by_field(tmp_path: Path, content: bytes, key: str, value: Any, message: str):
    outer, header, tensors = taken_apart(content)
    header.pop(key, None)
    if value != "absent":
        header[key] = value
    path = tmp_path / "header.safetensors"
    path.write_bytes(put_together(outer, header, tensors))
    with pytest.raises(CheckpointError, match=message) as caught:
        load(path)
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        "NaN",
        "[" * 100_000,
        '{"version": 1, "spec": ' + "[" * 100_000,
        "1" * 5000,
        "é",
        "\0",
    ],
    ids=lambda text: f"{text[:12]!r} {len(text)}",
)
def test_a_header_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes, text: str):
    outer, _, tensors = taken_apart(content)
    sentence = refusal(tmp_path / "h.safetensors", put_together(outer, text, tensors))
    assert "header of `h.safetensors` is damaged" in sentence or "format version None" in sentence


HOSTILE = {
    "many layers": ArchitectureSpec((Stage(600, 8192),) * 12, "bottleneck", "projection"),
    "large layers": ArchitectureSpec(
        (Stage(1, 8192),), "conv", "none", head_pooling="flatten", hidden=(65536,) * 2, input_shape=(3, 2048, 2048)
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_header_that_promises_an_absurd_network_costs_nothing(tmp_path: Path, content: bytes, name: str):
    """Terabytes if it were built; without building it, the 7200 blocks would still take 14 seconds of modules."""
    outer, header, tensors = taken_apart(content)
    header["spec"] = HOSTILE[name].to_dict()
    sentence = refusal(tmp_path / "huge.safetensors", put_together(outer, header, tensors))
    assert "does not fit its own description" in sentence
    assert name != "many layers" or "tensors, and the network has 21601 layers with weights" in sentence


def test_hostile_tensors_of_the_right_names_are_refused_by_their_shape(tmp_path: Path):
    """The header promises a ResNet-50 of 1000 classes, every tensor is there, and each holds one number."""
    spec = imagenet_resnet(50)
    with torch.device("meta"):
        names = list(Network(spec).state_dict())
    save(made(), tmp_path / "a.safetensors")
    _, header, _ = taken_apart((tmp_path / "a.safetensors").read_bytes())
    header |= {"spec": spec.to_dict(), "class_names": ["a"] * 1000}
    metadata = {checkpoints.HEADER: json.dumps(header)}
    save_file({name: torch.zeros(1) for name in names}, tmp_path / "a.safetensors", metadata)
    assert "is torch.float32 (1,), expected torch.float32 (64, 3, 7, 7)" in refusal(tmp_path / "a.safetensors")


# --- the folder of published files -----------------------------------------------------------------------------------


def test_published_files_are_loaded_by_name_and_checked_against_their_pins(tmp_path: Path, content: bytes):
    assert pinned(tmp_path) == {}
    digest = hashlib.sha256(content).hexdigest()
    for name in ("one", "two"):
        (tmp_path / f"{name}.safetensors").write_bytes(content)
    (tmp_path / "SHA256SUMS").write_text(f"{digest}  one.safetensors\n{'0' * 64}  two.safetensors\n\n")
    assert pinned(tmp_path) == {"one": digest, "two": "0" * 64}
    for read in (load_pretrained, check_pretrained):
        assert read("one", tmp_path).data == "noise"
        with pytest.raises(CheckpointError, match="`two.safetensors` is not the file that was published"):
            read("two", tmp_path)
        for name in ("three", "../one", ""):
            with pytest.raises(CheckpointError, match="no pretrained network .*; choose one of one, two"):
                read(name, tmp_path)
    (tmp_path / "one.safetensors").unlink()
    for read in (load_pretrained, check_pretrained):
        with pytest.raises(CheckpointError, match="there is no file `one.safetensors`; check the name"):
            read("one", tmp_path)


@pytest.mark.parametrize("line", ["nonsense", "abc  one.safetensors", f"{'0' * 64}  ../one.safetensors", "\x00"])
def test_damaged_pins_are_one_sentence(tmp_path: Path, line: str):
    (tmp_path / "SHA256SUMS").write_text(line + "\n")
    with pytest.raises(CheckpointError, match="`SHA256SUMS` is damaged; restore it"):
        pinned(tmp_path)


def test_a_file_that_changes_after_loading_cannot_reach_the_network(tmp_path: Path, content: bytes):
    """Weights mapped from the file would end the process with a bus error here."""
    (tmp_path / "a.safetensors").write_bytes(content)
    network = load(tmp_path / "a.safetensors").network
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    (tmp_path / "a.safetensors").write_bytes(b"")
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_a_checkpoint_in_a_spec_with_a_stem_and_hidden_layers_survives(tmp_path: Path):
    spec = ArchitectureSpec((Stage(1, 4),), stem=Stem(4, 5, 2, "max"), hidden=(7, 6), dropout=0.5, classes=2)
    save(made(spec), tmp_path / "a.safetensors")
    assert load(tmp_path / "a.safetensors").spec == spec


def test_the_header_alone_says_what_the_whole_file_says(tmp_path: Path) -> None:
    checkpoint = made()
    save(checkpoint, tmp_path / "a.safetensors")
    header = read_header(tmp_path / "a.safetensors")
    assert (header.spec, header.class_names, header.data) == (checkpoint.spec, checkpoint.class_names, checkpoint.data)
    assert (header.metrics, header.record) == (checkpoint.metrics, checkpoint.record)


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}", b"\x02\0\0\0\0\0\0\0[]"])
def test_a_header_that_is_none_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="`a.safetensors`"):
        read_header(tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="there is no file|cannot be read"):
        read_header(tmp_path / "gone.safetensors")


@pytest.mark.parametrize(
    "figures",
    [
        {"test": 5},
        {"test": None},
        {"test": {"n": 3}},
        {"test": {"accuracy": "x", "n": 3}},
        {"test": {"accuracy": 1.5, "n": 3}},
        {"test": {"accuracy": 0.5, "n": 0}},
        {"train": {"accuracy": 0.5}},
        {"torchvision": {}},
        {"torchvision": {"accuracy": 0.5}},
    ],
)
def test_figures_that_are_none_are_refused_when_the_file_is_read(tmp_path: Path, figures: dict[str, object]) -> None:
    save(replace(made(), metrics=figures), tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError, match="is no accuracy with its n"):
        load(tmp_path / "a.safetensors")
