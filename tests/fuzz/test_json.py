"""Whatever JSON a person or a file brings: a value that keeps its promises, or a sentence."""

import argparse
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from safetensors.torch import save as serialise

from explorer.architectures import ArchitectureSpec, Stage, build, describe
from explorer.cli.new_networks import named_spec
from explorer.datasets import Dataset, Skipped, Split, stored
from explorer.presets import PRESETS
from explorer.runs import Request, Run
from explorer.runs import log as run_log
from explorer.training import TrainingConfig
from explorer.training.state import HEADER, VERSION, restore
from tests.fuzz.laws import check_sentence, examples
from tests.fuzz.mutations import changed, changed_text, damaged, json_values

TINY = ArchitectureSpec((Stage(1, 4),), input_shape=(3, 8, 8), classes=2)
SPECS = [PRESETS[name].spec.to_dict() for name in ("resnet-20", "lenet", "imagenet-resnet-50", "vgg-11-bn")]
CONFIGS = [TrainingConfig(epochs=3).to_dict(), TrainingConfig(seconds=60, clip=1.0, schedule="step").to_dict()]
REQUEST: dict[str, Any] = {
    "specs": SPECS[:2],
    "config": CONFIGS[0],
    "data": {"kind": "shapes", "size": 32},
    "device": "cpu",
    "owner": "0" * 32,
    "created": 1.0,
    "names": ["ResNet-20", "plain-20"],
}


@given(st.one_of(*map(changed, SPECS), json_values()))
@example(None).via("the sentence spoke of Python's NoneType")
@example({"stages": [None]}).via("the sentence was Python's own, of a mapping")
@example({"stages": [{"blocks": 1, "channels": 4, "x": 1}]}).via("the sentence was Python's own, of an argument")
@example({"stages": [], "a\nb": 1}).via("a field's name broke the sentence into two lines")
@example({"stages": [{"blocks": "x" * 10**5, "channels": 4}]}).via("the sentence had 100,000 letters")
@example({"stages": [{"blocks": 10**4000, "channels": 4}]}).via("the sentence had 4,000 digits")
@examples(70)
def test_a_spec_is_a_network_or_a_sentence(values: Any) -> None:
    try:
        spec = ArchitectureSpec.from_dict(values)
    except ValueError as error:
        check_sentence(str(error))
        return
    assert ArchitectureSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
    assert len(spec.fingerprint) == 16
    if spec.depth < 200:
        assert describe(spec).layers[-1].output_shape == (spec.classes,)


@given(st.one_of(*map(changed, CONFIGS), json_values()))
@example(None).via("the sentence spoke of Python's NoneType")
@example({"epochs": 1, "a\nb": 1}).via("a field's name broke the sentence into two lines")
@example({"epochs": 1, "milestones": [5] * 3000}).via("the sentence had 9,000 letters")
@example({"epochs": 1, "batch_size": 10**400}).via("a number of 400 digits")
@example({"seconds": float("nan")}).via("NaN is not above any limit, nor below")
@examples(80)
def test_a_config_is_a_training_or_a_sentence(values: Any) -> None:
    try:
        config = TrainingConfig.from_dict(values)
    except ValueError as error:
        check_sentence(str(error))
        return
    assert TrainingConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@given(st.one_of(changed(REQUEST), json_values()))
@examples(30)
def test_a_request_is_one_or_raises_what_it_documents(values: Any) -> None:
    try:
        request = Request.from_dict(values)
    except (ValueError, TypeError, KeyError):
        return
    assert len(request.specs) in (1, 2)


@given(st.one_of(changed_text(REQUEST).map(lambda text: text.encode(errors="surrogatepass")), st.binary(max_size=40)))
@examples(30)
def test_the_request_of_a_run_is_one_or_a_sentence(data_folder: Any, content: bytes) -> None:
    folder = data_folder / "runs" / ("0" * 32)
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath("request.json").write_bytes(content)
    try:
        Run(folder).request()
    except ValueError as error:
        check_sentence(str(error))


EVENTS: list[dict[str, Any]] = [
    {"event": "queued", "ticket": 1},
    {"event": "start", "step": 0, "names": ["a"], "device": "cpu"},
    {"event": "phase", "name": "training"},
    {"event": "gradients", "network": 0, "step": 0, "layers": ["stem.conv"], "norms": [0.5]},
    {"event": "progress", "step": 5, "fraction": 0.1, "networks": [{"loss": 2.3, "accuracy": 0.1}]},
    {"event": "start", "step": 3, "names": ["a"], "device": "cpu"},
    {"event": "end", "outcome": "finished", "networks": []},
]
METRICS = b"".join(json.dumps(event).encode() + b"\n" for event in EVENTS)


@given(
    st.one_of(
        damaged(METRICS),
        changed(EVENTS).map(
            lambda events: (
                b"\n".join(json.dumps(event).encode() for event in events)
                if isinstance(events, list)
                else json.dumps(events).encode()
            )
        ),
    )
)
@example(b'{"event":"start"}').via("an event without its step ended the reading")
@example(b'{"event":"gradients"}\n{"event":"start","step":1}').via("an earlier event without its step did")
@example(b'{"event":"progress","step":"5"}\n{"event":"start","step":1}').via("a step that is a text did")
@example(b'{"event":["start"]}').via("a kind of event that cannot be looked up did")
@examples(80)
def test_a_damaged_metrics_file_says_less_and_raises_nothing(content: bytes) -> None:
    log = run_log.parsed(content)
    for event in (*log.progress, *log.gradients, *log.validations, *log.predictions, *log.cams):
        assert isinstance(event, dict)


# --- files that the app wrote and somebody or something changed -------------------------------------------------------


def _tiny_dataset() -> bytes:
    pixels = np.arange(4 * 3 * 2 * 2, dtype=np.uint8).reshape(4, 3, 2, 2)
    split = Split(pixels, np.array([0, 1, 0, 1]))
    skipped = (Skipped("a.txt", "no image"),)
    dataset = Dataset("tiny", ("a", "b"), (0.5,) * 3, (0.2,) * 3, split, split, split, ("A note.",), skipped)
    path = Path(os.environ["EXPLORER_DATA"]) / "tiny"
    stored.save(dataset, path)
    return path.read_bytes()


def _with_header(change: Callable[[dict[str, Any]], str]) -> bytes:
    """The tiny dataset with another text as its header, and its checksum: what is behind it is looked at too."""
    whole = _tiny_dataset()
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    text = change(json.loads(header["__metadata__"][stored.HEADER][8:]))
    header["__metadata__"][stored.HEADER] = f"{zlib.crc32(text.encode(errors='replace')):08x}{text}"
    coded = json.dumps(header).encode()
    return len(coded).to_bytes(8, "little") + coded + whole[8 + length :]


@given(st.data())
@examples(40)
def test_a_stored_dataset_is_whole_or_is_a_sentence(data_folder: Path, data: st.DataObject) -> None:
    if data.draw(st.booleans()):
        content = data.draw(damaged(_tiny_dataset()))
    else:
        content = _with_header(lambda header: data.draw(changed_text(header)))
    _check_stored(data_folder, content)


@pytest.mark.parametrize(
    ("field", "value"),
    [("mean", 10**400), ("mean", "nan"), ("std", 10**400), ("std", 0), ("std", -0.1), ("std", "inf")],
)
def test_numbers_that_no_pixels_have_are_a_sentence(data_folder: Path, field: str, value: object) -> None:
    """Found once: a number too large for a float, and a spread of 0."""
    path = data_folder / "dataset"
    path.write_bytes(_with_header(lambda header: json.dumps(header | {field: [value, 0.2, 0.2]})))
    with pytest.raises(ValueError, match="is not a whole dataset") as refused:
        stored.load(path)
    check_sentence(str(refused.value))


def _check_stored(data_folder: Path, content: bytes) -> None:
    path = data_folder / "dataset"
    path.write_bytes(content)
    try:
        dataset = stored.load(path)
    except ValueError as error:
        check_sentence(str(error))
        return
    assert (
        len(dataset.train) == 4 and all(isinstance(name, str) for name in dataset.class_names) and min(dataset.std) > 0
    )


@given(st.data())
@examples(30)
def test_a_state_to_resume_from_is_whole_or_is_a_sentence(data_folder: Path, data: st.DataObject) -> None:
    path = data_folder / "state"
    config = TrainingConfig(epochs=1, batch_size=2)
    network = build(TINY, 0)
    header = {"version": VERSION, "config": config.to_dict(), "step": 0, "epoch": 0, "batches": 0, "seconds": 0.0}
    line: dict[str, Any] = {
        "spec": TINY.fingerprint,
        "outcome": None,
        "epochs": [],
        "gradient_steps": [],
        "gradient_norms": [],
    }
    header |= {"training_seconds": 0.0, "networks": [line]}
    tensors = {f"0.weights.{name}": value for name, value in network.state_dict().items()}
    tensors |= {"0.losses": torch.zeros(0), "0.hits": torch.zeros(0)}
    intact = serialise(tensors, {HEADER: json.dumps(header)})
    path.write_bytes(intact)
    restore(path, [network], config)  # what is damaged below was whole
    odd = serialise(tensors, {HEADER: data.draw(changed_text(header)).encode(errors="replace").decode()})
    path.write_bytes(data.draw(st.one_of(st.just(odd), damaged(intact))))
    try:
        state = restore(path, [network], config)
    except ValueError as error:
        check_sentence(str(error))
        return
    assert state.step >= 0 and len(state.networks) == 1


@given(st.one_of([changed_text(value) for value in SPECS[:2]]))
@example("[" * 3000).via("the sentence told of Python's stack")
@example("\ud800").via("the sentence told of Python's codecs")
@examples(20)
def test_a_spec_in_a_file_is_a_network_or_a_sentence(data_folder: Path, text: str) -> None:
    path = data_folder / "spec.json"
    path.write_bytes(text.encode(errors="surrogatepass"))
    try:
        named_spec(argparse.Namespace(name=None, spec=str(path)))
    except ValueError as error:
        check_sentence(str(error).replace(str(path), "spec.json"))  # in a terminal a path is what was typed
