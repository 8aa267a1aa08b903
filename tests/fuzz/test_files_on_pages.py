"""Files that are odd but valid, or damaged on the disk, on the pages that show them."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn

from explorer import checkpoints
from explorer.checkpoints import HEADER, CheckpointError
from explorer.runs import Request
from explorer.training import EpochResult, Evaluation, GradientSizes, TrainingConfig, TrainingRecord
from explorer.ui.api.explore_session import RequestError
from tests.fuzz.laws import check_sentence, examples
from tests.fuzz.mutations import changed, damaged, words
from tests.fuzz.test_checkpoints import SPEC, own_file, own_files, put_together, split_up
from tests.fuzz.test_images import pictures, written
from tests.fuzz.test_pages import check_app, check_page, opened
from tests.messages import give_file

RUN = "0123456789abcdef" * 2
OWNER = "0" * 32
LAYERS = ("stages.0.0.conv1", "stages.1.0.conv1", "head.fc")
RECORD = TrainingRecord(
    TrainingConfig(epochs=2),
    "finished",
    20,
    3.0,
    100.0,
    1000,
    320,
    tuple(EpochResult(10 * n, 1.0 * n, 0.1, Evaluation(2.0, 0.3, 320), Evaluation(2.1, 0.2, 40)) for n in (1, 2)),
    GradientSizes(LAYERS, (0, 1, 10), ((0.1, 0.2, 0.3),) * 3),
    "cpu",
    "float32",
    1,
).to_dict()
REQUEST = asdict(
    Request((SPEC.to_dict(),), RECORD["config"], {"kind": "shapes", "size": 32}, names=("plain-6",), owner=OWNER)
)
NETWORK = {
    "name": "a",
    "title": "plain-6",
    "outcome": "finished",
    "steps": 20,
    "file": "a",
    "test": {"accuracy": 0.5, "n": 10},
}
EVENTS: list[dict[str, Any]] = [
    {"event": "queued", "time": 1.0},
    {"event": "phase", "phase": "training"},
    {"event": "end", "outcome": "finished", "networks": [NETWORK]},
    {"event": "gradients", "step": 0, "network": 0, "norms": [0.1, 0.2, 0.3], "layers": list(LAYERS)},
]


def put_run(folder: Path, files: dict[str, bytes]) -> None:
    run = folder / "runs" / RUN
    run.mkdir(parents=True, exist_ok=True)
    run.joinpath("request.json").write_bytes(json.dumps(REQUEST).encode())
    for name, content in files.items():
        run.joinpath(name).write_bytes(content)


@st.composite
def odd_networks(draw: DrawFn) -> bytes:
    """Our own file whose free parts (config, record, figures, names) were changed: odd, and often still valid."""
    header, tensors = split_up(own_file())
    ours = json.loads(header["__metadata__"][HEADER]) | {"record": RECORD, "config": RECORD["config"]}
    for part in draw(st.lists(st.sampled_from(("record", "config", "figures")), min_size=1, max_size=3, unique=True)):
        odd = draw(changed(ours[part]))
        ours[part] = odd if isinstance(odd, dict) else {"odd": odd}
    ours["data"], ours["class_names"] = draw(words()), [draw(words()) or "a", draw(words()) or "b"]
    header["__metadata__"][HEADER] = json.dumps(ours)
    return put_together(json.dumps(header), tensors)


def links_to(network: str) -> dict[str, dict[str, str]]:
    return {
        "explore": {"first": network, "second": "none"},
        "compare": {"networks": f"{network},shapes-plain-8"},
        "gradients": {"source": "record", "first": network, "second": "none"},
        "models": {"model": network},
    }


@pytest.mark.parametrize("page", ["explore", "compare", "gradients", "models"])
@given(content=odd_networks())
@examples(1)
def test_a_page_shows_a_network_of_odd_descriptions(data_folder: Path, page: str, content: bytes) -> None:
    put_run(data_folder, {"a.safetensors": content})
    try:
        checkpoints.load(data_folder / "runs" / RUN / "a.safetensors")
    except CheckpointError as error:
        check_sentence(str(error))
    check_page(page, links_to(f"run-{RUN}-a")[page])


@given(st.one_of(damaged(json.dumps(REQUEST).encode()), changed(REQUEST).map(lambda value: json.dumps(value).encode())))
@example(json.dumps(REQUEST | {"config": {"epochs": 2, "ptimizer": "sgd"}}).encode()).via("no optimizer")
@example(json.dumps(REQUEST | {"config": {"epochs": 2}}).encode()).via("a config that takes every default")
@example(json.dumps(REQUEST | {"data": {"kind": ["shapes"]}}).encode()).via("a kind of data that is a list")
@example(json.dumps(REQUEST | {"names": []}).encode()).via("no names")
@examples(3)
def test_a_run_whose_request_is_damaged_is_shown_or_is_a_sentence(data_folder: Path, content: bytes) -> None:
    put_run(data_folder, {"request.json": content})
    check_page("build", {"run": RUN})
    check_app(opened("build", {}, OWNER))  # among the earlier runs


@given(st.one_of(damaged(b"\n".join(json.dumps(event).encode() for event in EVENTS))))
@example(b'{"event": "end", "outcome": "finished", "networks": [{"title": "plain-6"}]}').via("a network without a name")
@example(b'{"event": "end", "outcome": "finished"}').via("an end without networks")
@example(b'{"event": "end", "outcome": "failed"}').via("a failure without its reason")
@example(b'{"event": "end", "outcome": "finishe"}').via("an outcome that there is not")
@examples(3)
def test_a_run_whose_metrics_are_damaged_is_shown(data_folder: Path, content: bytes) -> None:
    put_run(data_folder, {"metrics.jsonl": content})
    check_page("build", {"run": RUN})
    check_app(opened("build", {}, OWNER))


@given(pictures().flatmap(lambda made: damaged(written(*made))), words())
@examples(2)
def test_any_upload_is_a_picture_or_a_sentence(content: bytes, name: str) -> None:
    app = opened("explore", {"picture": "upload-0123456789abcdef"})
    printable = "".join(letter for letter in name if letter.isprintable()) + ".png"
    app.file_uploader(key="upload_again").upload(printable, content, "image/png").run()
    check_app(app)
    try:
        give_file(app, name, content)
    except RequestError as refused:
        check_sentence(str(refused))
    check_app(app)


@pytest.mark.usefixtures("in_this_process")
@given(own_files())
@examples(1)
def test_any_upload_is_a_model_or_a_sentence(content: bytes) -> None:
    app = opened("models", {})
    app.file_uploader(key="weights").upload("a.safetensors", content, "application/octet-stream").run()
    check_app(app)
