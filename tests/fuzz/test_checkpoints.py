"""Files of weights: our own with any header, and anybody's with any damage.

Nothing that `torch.load` reads is read in the tests' own process: what is damaged goes to a process of its own, as in
the app.
"""

import io
import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn
from safetensors.torch import save as serialise

from explorer import checkpoints, weights_import
from explorer.architectures import ArchitectureSpec, Network, Stage, build, spec_from_dict
from explorer.checkpoints import HEADER, Checkpoint, CheckpointError
from explorer.weights_import import WeightsError
from explorer.weights_import.file_formats import inspect_file
from explorer.weights_import.onnx_layout import graph_of
from explorer.weights_import.recognition import recognise
from tests.fuzz.laws import ROOT, check_sentence, examples
from tests.fuzz.mutations import changed, changed_text, damaged, words
from tests.onnx_models import classifier

SPEC = ArchitectureSpec((Stage(1, 4), Stage(1, 8, 2)), input_shape=(3, 8, 8), classes=2)
BATCH = 60
"""Files that one child reads: it takes two seconds to start."""


@cache
def own_file() -> bytes:
    """A small checkpoint of this app."""
    figures = {"test": {"accuracy": 0.5, "n": 10, "seed": 0}}
    whole = Checkpoint(build(SPEC, 0), ("a", "b"), (0.5,) * 3, (0.25,) * 3, "shapes", 3, {"epochs": 1}, {}, figures)
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(whole, Path(folder) / "whole.safetensors")
        return (Path(folder) / "whole.safetensors").read_bytes()


@cache
def own_graph() -> bytes:
    """The same of a network that came from an ONNX file."""
    facts, weights = graph_of(saved("onnx"))
    network = Network.of(spec_from_dict(facts["spec"]))
    network.load_state_dict(weights, assign=True)
    whole = Checkpoint(network.freeze(), ("a", "b", "c", "d"), (0.5,) * 3, (0.25,) * 3, "other data: fuzz")
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(whole, Path(folder) / "whole.safetensors")
        return (Path(folder) / "whole.safetensors").read_bytes()


def split_up(content: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def put_together(header: str, tensors: bytes) -> bytes:
    coded = header.encode(errors="surrogatepass")
    return len(coded).to_bytes(8, "little") + coded + tensors


def with_header(**changes: Any) -> bytes:
    """Our own file with these fields of its header."""
    header, tensors = split_up(own_file())
    header["__metadata__"][HEADER] = json.dumps(json.loads(header["__metadata__"][HEADER]) | changes)
    return put_together(json.dumps(header), tensors)


@st.composite
def own_files(draw: DrawFn) -> bytes:
    """Our own file with another header, another directory of tensors, or damaged bytes."""
    kind = draw(st.sampled_from(("header", "header", "text", "directory", "bytes")))
    whole = draw(st.sampled_from((own_file, own_graph)))()
    if kind == "bytes":
        return draw(damaged(whole))
    header, tensors = split_up(whole)
    if kind == "directory":
        return put_together(draw(changed_text(header)), tensors)
    ours = json.loads(header["__metadata__"][HEADER])
    text = draw(changed_text(ours)) if kind == "text" else json.dumps(draw(changed(ours)))
    header["__metadata__"][HEADER] = text
    return put_together(json.dumps(header), tensors)


@given(own_files())
@example(with_header(config={"epochs": float("nan")})).via("it was read, and could not be saved again")
@example(with_header(record={"seconds": float("inf")})).via("and nor could that")
@example(put_together("[]", b"")).via("a header that is no object")
@example(put_together('{"__metadata__":null}', b"")).via("safetensors takes it, and we looked into nothing")
@example(put_together('{"__metadata__":{}}', b"")).via("a file of somebody else")
@example(with_header(class_names=["\ud800", "b"])).via("half a character, which JSON can spell, has no bytes")
@example(with_header(figures={"test": {"accuracy": 0.5, "n": True}})).via("an n that is true")
@example(with_header(figures={"test": {"accuracy": float("nan"), "n": 1}})).via("an accuracy that is not a number")
@example(with_header(mean=[1e999, 0, 0], std=[0, 0, 0])).via("a mean that is infinite")
@example(with_header(mean=[0.5, 0.5, 0.5, [0] * 9000])).via("a mean too long for a sentence")
@example(with_header(version=True)).via("true equals 1")
@example(with_header(spec=None)).via("no spec")
@example(with_header(spec={"stages": [{"blocks": 600, "channels": 8}] * 12})).via(
    "7,200 blocks took 14 seconds to build"
)
@examples(80)
def test_a_file_of_ours_is_a_network_or_a_sentence(data_folder: Path, content: bytes) -> None:
    path = data_folder / "a.safetensors"
    path.write_bytes(content)
    header = None
    try:
        header = checkpoints.read_header(path)
    except CheckpointError as error:
        check_sentence(str(error))
    try:
        checkpoint = checkpoints.load(path)
    except CheckpointError as error:
        check_sentence(str(error))
        return
    assert header is not None and header.spec == checkpoint.spec and header.class_names == checkpoint.class_names
    assert len(checkpoint.class_names) == checkpoint.spec.classes and min(checkpoint.std) > 0
    with torch.inference_mode():
        assert checkpoint.network(torch.zeros(1, *checkpoint.spec.input_shape)).shape == (1, checkpoint.spec.classes)
    checkpoints.save(checkpoint, path)
    assert checkpoints.load(path).spec == checkpoint.spec


def test_a_graph_of_the_right_shape_that_cannot_compute_is_a_sentence(data_folder: Path) -> None:
    """The fuzz found a third dilation that is none: the shape follows from the first two."""
    header, tensors = split_up(own_graph())
    ours = json.loads(header["__metadata__"][HEADER])
    ours["spec"]["nodes"][0]["attributes"]["dilations"] = [1, 1, None]
    header["__metadata__"][HEADER] = json.dumps(ours)
    path = data_folder / "a.safetensors"
    path.write_bytes(put_together(json.dumps(header), tensors))
    with pytest.raises(CheckpointError, match="an operation cannot compute") as caught:
        checkpoints.load(path)
    check_sentence(str(caught.value))


@given(st.one_of(words(), st.binary(max_size=100).map(lambda content: content.decode(errors="replace"))))
@examples(20)
def test_any_list_of_checksums_is_read_or_is_a_sentence(data_folder: Path, text: str) -> None:
    whole = "0" * 64 + "  a.safetensors\n"
    for content in (text, whole + text, whole[:-1] + text):
        (data_folder / "SHA256SUMS").write_bytes(content.encode(errors="surrogatepass"))
        try:
            assert set(checkpoints.pinned(data_folder).values()) <= {"0" * 64}
        except CheckpointError as error:
            check_sentence(str(error))


# --- other people's ---------------------------------------------------------------------------------------------------


@cache
def state() -> dict[str, torch.Tensor]:
    """A small ResNet for CIFAR-10 under akamaster's names."""
    tensors = {"conv1.weight": torch.randn(16, 3, 3, 3)}

    def norm(name: str, channels: int) -> None:
        for part, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)):
            tensors[f"{name}.{part}"] = torch.full((channels,), value)

    norm("bn1", 16)
    for stage, (before, after) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
        for index, (first, second) in (("1", (before, after)), ("2", (after, after))):
            tensors[f"layer{stage}.0.conv{index}.weight"] = torch.zeros(second, first, 3, 3)
            norm(f"layer{stage}.0.bn{index}", after)
    return {**tensors, "linear.weight": torch.zeros(10, 64), "linear.bias": torch.zeros(10)}


@st.composite
def states(draw: DrawFn) -> dict[str, torch.Tensor]:
    """The names and shapes of a known network with some of them changed."""
    values = dict(state())
    for _ in range(draw(st.integers(0, 3))):
        name = draw(st.sampled_from(sorted(values)))
        kind = draw(st.sampled_from(("remove", "rename", "reshape", "type", "value", "add", "prefix")))
        if kind == "remove" and len(values) > 1:
            del values[name]
        elif kind == "rename":
            values[draw(st.one_of(st.just(name.replace("layer", "stage")), st.just(f"{name}.0"), words()))] = (
                values.pop(name)
            )
        elif kind == "reshape":
            shape = draw(st.lists(st.integers(0, 5), max_size=5))
            values[name] = torch.zeros(shape)
        elif kind == "type":
            kinds = (torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.bool, torch.complex64)
            values[name] = torch.zeros(values[name].shape, dtype=draw(st.sampled_from(kinds)))
        elif kind == "value":
            value = draw(st.sampled_from((float("nan"), float("inf"), -1.0, 3e38)))
            values[name] = torch.full(values[name].shape, value).to(
                values[name].dtype
            )  # `full` refuses 3e38 in float16
        elif kind == "add":
            more = (
                "layer4.0.conv1.weight",
                "layer1.999999999.conv1.weight",
                "fc.weight",
                "features.0.weight",
                "n_averaged",
            )
            values[draw(st.one_of(st.sampled_from(more), words()))] = draw(st.sampled_from(list(state().values())))
        elif kind == "prefix":
            prefix = draw(st.sampled_from(("module.", "model.module.", "._orig_mod.", "x.")))
            values = {prefix + name: value for name, value in values.items()}
    return values


@given(states(), st.lists(words(), max_size=2))
@examples(40)
def test_names_and_shapes_are_networks_or_a_sentence(values: dict[str, torch.Tensor], beside: list[str]) -> None:
    try:
        readings = recognise(values, beside, "`a.pth`").readings
    except WeightsError as error:
        check_sentence(str(error))
        return
    assert readings
    for reading in readings:
        with torch.inference_mode():
            said = reading.network()(torch.zeros(1, *reading.spec.input_shape))
        assert said.shape == (1, reading.spec.classes) and all(
            value.isfinite().all() for value in reading.state.values()
        )
        json.dumps(reading.for_json())


@cache
def saved(form: str) -> bytes:
    """The small network as other programs save it."""
    if form == "onnx":
        return classifier(end="Softmax").SerializeToString()
    if form == "safetensors":
        return serialise(dict(state()), {"format": "pt"})
    file = io.BytesIO()
    few = {name: value for name, value in state().items() if not name.startswith("layer3")}
    whole = {"state_dict": few, "epoch": 3, "arch": "resnet8"}
    torch.save(whole, file, _use_new_zipfile_serialization=form == "zip")
    return file.getvalue()


FORMS = st.sampled_from(("zip", "legacy", "safetensors", "onnx"))


@given(FORMS.flatmap(lambda form: damaged(saved(form))))
@examples(100)
def test_a_file_is_inspected_without_a_flood(content: bytes) -> None:
    """What is for the child to sort out are errors; that it is not memory, depth or time, this test sees."""
    try:
        assert inspect_file(io.BytesIO(content)) in ("zip", "legacy", "safetensors", "onnx", "ours")
    except WeightsError as error:
        check_sentence(f"`a.pth` {error}")
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # as `facts_of` does, with the same words for all of them
        assert not isinstance(error, AssertionError)


CHILD = """
import io, json, sys
from explorer.weights_import import sandbox
from explorer.weights_import.report import WeightsError

answer = sys.stdout
content = sys.stdin.buffer.read()
sandbox.limit_this_process()
while content:
    size = int.from_bytes(content[:8], "little")
    try:
        facts, tensors = sandbox.facts_of(io.BytesIO(content[8 : 8 + size]))
        sandbox.write(io.BytesIO(), facts, tensors)
        print(json.dumps({"tensors": len(tensors)}), file=answer)
    except WeightsError as error:
        print(json.dumps({"refusal": str(error)}), file=answer)
    except MemoryError:
        print(json.dumps({"refusal": sandbox.TOO_MUCH}), file=answer)
    content = content[8 + size :]
"""


def answers(files: list[bytes]) -> list[dict[str, Any]]:
    """What the process that opens such files says of each, under its limits."""
    sent = b"".join(len(file).to_bytes(8, "little") + file for file in files)
    ran = subprocess.run([sys.executable, "-c", CHILD], input=sent, capture_output=True, cwd=ROOT, timeout=600)
    assert ran.returncode == 0, ran.stderr.decode()[-2000:]
    return [json.loads(line) for line in ran.stdout.splitlines()]


@given(st.lists(FORMS.flatmap(lambda form: damaged(saved(form))), min_size=BATCH, max_size=BATCH))
@examples(1)
def test_the_child_has_an_answer_for_every_file(files: list[bytes]) -> None:
    said = answers([saved("zip"), saved("legacy"), saved("safetensors"), saved("onnx"), *files])
    assert len(said) == 4 + len(files) and all("tensors" in answer for answer in said[:4])
    for answer in said:
        if "refusal" in answer:
            check_sentence(f"`a.pth` {answer['refusal']}")


@pytest.mark.parametrize("form", ["zip", "onnx", "own"])
@given(data=st.data())
@examples(1)
def test_the_way_of_an_upload_ends_in_a_report_or_a_sentence(data_folder: Path, form: str, data: st.DataObject) -> None:
    content = data.draw(own_files() if form == "own" else damaged(saved(form)))
    path = data_folder / "0123456789abcdef"
    path.write_bytes(content)
    try:
        report = weights_import.read(path, data.draw(words()) + ".pth")
    except WeightsError as error:
        check_sentence(str(error))
        return
    json.dumps(report.for_json())
