"""The recorded training that ships: whole, what a live page would have shown at each of its steps, and on its page."""

import base64
import gzip
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import streamlit
from streamlit.testing.v1 import AppTest

from explorer import checkpoints, pretrained, recordings, runs
from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.checkpoints import PRETRAINED
from explorer.cli import main as cli
from explorer.datasets import Dataset, Split, channel_statistics, shapes
from explorer.pretrained import RECORDED, Recipe, write_listing
from explorer.recordings import Recording
from explorer.runs import Request, Run, RunLog
from explorer.runs.log import LogWriter, parsed
from explorer.runs.recording import record
from explorer.training import TrainingConfig
from explorer.ui import forecasts
from explorer.ui.build import replay, training_charts
from explorer.ui.build_state import RECORDINGS, BuildState
from explorer.ui.markdown import as_text
from tests.test_build import check, open_build, state_of, texts

pytestmark = pytest.mark.usefixtures("one_thread")

NAME = "shapes-56"
NETWORKS = [("plain-56", "#C2540A"), ("ResNet-56", "#0A6CB0")]


@pytest.fixture(scope="module", autouse=True)
def empty_streamlit_caches() -> Iterator[None]:
    yield
    streamlit.cache_data.clear()
    streamlit.cache_resource.clear()


@pytest.fixture(scope="module")
def recording() -> Recording:
    return recordings.load(NAME)


@pytest.fixture(scope="module")
def log(recording: Recording) -> RunLog:
    return parsed(recording.metrics)


# --- the file --------------------------------------------------------------------------------------------------------


def test_every_recording_ships_small_and_is_offered() -> None:
    assert set(recordings.names()) == set(RECORDED) == set(RECORDINGS)
    assert {path.stem for path in PRETRAINED.glob("*.replay")} == set(RECORDED)
    assert all((PRETRAINED / f"{name}.replay").stat().st_size <= 1.5e6 for name in RECORDED)


def test_it_is_a_training_of_the_recipe_from_the_first_step_to_the_last(recording: Recording, log: RunLog) -> None:
    recipes = [pretrained.RECIPES[name] for name in RECORDED[NAME]]
    specs = [ArchitectureSpec.from_dict(spec) for spec in recording.request["specs"]]
    assert specs == [recipe.spec for recipe in recipes] and specs[0].twin() == specs[1]
    assert TrainingConfig.from_dict(recording.request["config"]) == recipes[0].config == recipes[1].config
    assert recording.facts["seed"] == recipes[0].config.seed
    steps = shapes.TRAIN_COUNT // recipes[0].config.batch_size * (recipes[0].config.epochs or 0)
    assert recording.facts["steps"] == log.progress[-1]["step"] == steps
    assert [event["step"] for event in log.validations] == [steps * epoch // 5 for epoch in (1, 2, 3, 4, 5)]
    for network in (0, 1):
        measured = [event["step"] for event in log.gradients if event["network"] == network]
        assert measured[:6] == [0, 1, 2, 3, 4, 6] and measured == sorted(set(measured))
    ended = (log.end or {})["networks"]
    facts = recording.facts["networks"]
    assert [entry["test"] for entry in ended] == [entry["test"] for entry in facts]
    assert [entry["shipped"] for entry in facts] == list(RECORDED[NAME])
    assert [entry["sha256"] for entry in facts] == [checkpoints.pinned()[name] for name in RECORDED[NAME]]


def test_it_looks_often_enough_to_play_smoothly(log: RunLog) -> None:
    last = log.progress[-1]["step"]
    for events in (log.predictions, log.cams):
        steps = [event["step"] for event in events]
        assert steps[0] <= 2 and steps[-1] == last
        assert max(after - before for before, after in pairwise(steps)) <= last / 60
    for event in log.cams:
        assert event["layers"] == ["stages.2.8", "stages.2.8"]
        for network in event["networks"]:
            assert network["size"] == [8, 8] and len(network["maps"]) == 3
            assert all(len(base64.b64decode(each)) == 64 for each in network["maps"])


def test_its_pictures_are_the_first_test_pictures_of_each_class(recording: Recording, log: RunLog) -> None:
    test = shapes.test_split()
    labels = (log.start or {})["labels"]
    places: dict[int, int] = {}
    for picture, label in zip(recording.samples, labels, strict=True):
        same = np.flatnonzero(test.labels == label)
        np.testing.assert_array_equal(picture, test.images[same[places.get(label, 0)]])
        places[label] = places.get(label, 0) + 1
    assert len(labels) == 12 and labels[:3] == [0, 1, 2]


def test_what_is_written_is_read_and_equal_values_are_equal_bytes(recording: Recording, tmp_path: Path) -> None:
    path = tmp_path / "again.replay"
    recordings.save(recording, path)
    assert path.read_bytes() == (PRETRAINED / f"{NAME}.replay").read_bytes()
    again = recordings.read(path)
    assert (again.request, again.facts, again.metrics) == (recording.request, recording.facts, recording.metrics)
    np.testing.assert_array_equal(again.samples, recording.samples)


def damaged() -> dict[str, bytes]:
    content = (PRETRAINED / f"{NAME}.replay").read_bytes()
    head, _, rest = gzip.decompress(content).partition(b"\n")
    values = json.loads(head)

    def with_head(**changes: Any) -> bytes:
        return gzip.compress(json.dumps(values | changes).encode() + b"\n" + rest)

    return {
        "nothing": b"",
        "no gzip": b"nonsense",
        "half of it": content[: len(content) // 2],
        "another byte": content[:5000] + bytes([content[5000] ^ 1]) + content[5001:],
        "no head": gzip.compress(rest),
        "another kind": with_head(kind="something"),
        "a later version": with_head(version=2),
        "images that are none": with_head(samples="!"),
        "facts that are none": with_head(facts=[]),
        "far too much": gzip.compress(head + b"\n" + b"\n" * (recordings.LARGEST + 1)),
        "deep": gzip.compress(b"[" * 100_000),
    }


@pytest.mark.parametrize("kind", list(damaged()))
def test_a_damaged_file_is_one_sentence(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"{NAME}.replay"
    path.write_bytes(damaged()[kind])
    with pytest.raises(ValueError, match=r"^`shapes-56.replay` is damaged or no recorded training; restore it\.$"):
        recordings.read(path)
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {NAME}.replay\n")
    with pytest.raises(ValueError, match="is not the file that was published: its sha256 differs"):
        recordings.load(NAME, tmp_path)
    path.unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        recordings.load(NAME, tmp_path)
    with pytest.raises(ValueError, match=f"no recorded training '../x'; choose one of {NAME}"):
        recordings.load("../x", tmp_path)


# --- what is drawn ---------------------------------------------------------------------------------------------------


def until(log: RunLog, step: int) -> RunLog:
    """What the log of the same training said when it was at that step."""
    kinds = ("progress", "validations", "gradients", "predictions", "cams")
    events: dict[str, Any] = {
        kind: tuple(event for event in getattr(log, kind) if event["step"] <= step) for kind in kinds
    }
    return replace(log, end=None, **events)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 1.0])
def test_up_to_a_step_it_shows_what_a_live_page_shows_there(recording: Recording, log: RunLog, share: float) -> None:
    whole = replay.parts(NAME, "light")
    step = log.progress[round(share * (len(log.progress) - 1))]["step"]
    step = max(step, log.cams[0]["step"])
    then = until(log, step)
    pictures = recording.samples
    curves = training_charts.training_curves(then, NETWORKS)
    for panel, at_end in zip(curves["panels"], whole["curves"]["panels"], strict=True):
        lines = {each["name"]: each for each in at_end["lines"]}
        assert {each["name"] for each in panel["lines"]} <= set(lines)
        for drawn in panel["lines"]:
            all_of_it = lines[drawn["name"]]
            count = sum(x <= step for x in all_of_it["x"])
            assert drawn["x"] == all_of_it["x"][:count] and drawn["y"] == all_of_it["y"][:count]
    maps = training_charts.gradient_maps(then, NETWORKS)
    assert maps and maps["rows"] == whole["map"]["rows"]
    count = sum(column <= step for column in whole["map"]["columns"])
    assert maps["columns"] == whole["map"]["columns"][:count]
    for panel, at_end in zip(maps["panels"], whole["map"]["panels"], strict=True):
        assert panel["sizes"] == [row[:count] for row in at_end["sizes"]]
    for part, now in (
        ("predictions", training_charts.predictions(then.predictions[-1:], then, pictures, NETWORKS)),
        ("cams", training_charts.cams(then.cams[-1:], then, pictures, NETWORKS)),
    ):
        frame = [each for each in whole[part]["frames"] if each["step"] <= step][-1]
        at_end = whole[part] | {"frames": 0}
        assert now["frames"] == [frame] and now | {"frames": 0, "source": at_end["source"]} == at_end
    json.dumps(whole, allow_nan=False)


# --- recording -------------------------------------------------------------------------------------------------------

SPEC = ArchitectureSpec((Stage(1, 4), Stage(1, 8, 2)), stem=Stem(4, stride=2), input_shape=(3, 32, 32), classes=10)
CONFIG = TrainingConfig(epochs=3, batch_size=16, device="cpu")
STEPS = 3 * 10


def few(**_: Any) -> Dataset:
    random = np.random.default_rng(0)
    train, validation, test = (
        Split(random.integers(0, 256, (count, 3, 32, 32), np.uint8), np.arange(count) % 10) for count in (160, 20, 40)
    )
    return Dataset("few", shapes.CLASS_NAMES, *channel_statistics(train.images), train, validation, test)


class Interrupted(Exception):
    pass


class ShortLog(LogWriter):
    """A log whose process is interrupted in the middle of the training."""

    def write(self, event: str, **values: Any) -> None:
        if event == "cams" and values["step"] > STEPS / 2:
            raise Interrupted
        super().write(event, **values)


def test_a_recording_that_is_interrupted_goes_on_and_says_whether_the_weights_are_those_that_ship(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shapes, "load", few)
    recipes = [Recipe(f"tiny-{index}", spec, "shapes", CONFIG) for index, spec in enumerate((SPEC.twin(), SPEC))]
    for recipe in recipes:
        monkeypatch.setitem(pretrained.RECIPES, recipe.name, recipe)
        for _ in pretrained.rebuild(recipe, few(), tmp_path):
            pass
    monkeypatch.setitem(pretrained.RECORDED, "tiny", ("tiny-0", "tiny-1"))
    with pytest.raises(ValueError, match="no training 'other' to record; choose of shapes-56, tiny"):
        record("other", tmp_path)
    with suppress(Interrupted):
        record("tiny", tmp_path, ShortLog)
    assert (tmp_path / ".tiny.run" / "state").exists()
    monkeypatch.delitem(pretrained.RECORDED, NAME)
    assert cli.main(["pretrained", "--record", "--folder", str(tmp_path)]) == 0
    assert not (tmp_path / ".tiny.run").exists()
    said = capsys.readouterr()
    assert f"step {STEPS}" in said.err and "tiny.replay" in said.out
    loaded = recordings.load("tiny", tmp_path)
    log = parsed(loaded.metrics)
    for events in (log.progress, log.predictions, log.cams):
        steps = [event["step"] for event in events]
        assert steps == sorted(steps) and steps[0] == 1 and steps[-1] == STEPS
    assert log.end and log.end["outcome"] == "finished" and runs.summary(log)
    assert loaded.facts["steps"] == STEPS
    # Alone and together, interrupted or not: the same recipe gives the same bits on one machine.
    assert [entry["same_weights"] for entry in loaded.facts["networks"]] == [True, True]
    assert "tiny.replay" in (tmp_path / "README.md").read_text()
    listing = (tmp_path / "SHA256SUMS").read_text()
    write_listing(tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text() == listing


# --- the page --------------------------------------------------------------------------------------------------------


def parts_of(app: AppTest) -> dict[str, Any]:
    """What the components of this folder received, by their keys."""
    keys = ("replay", "training_curves", "gradient_maps", "cams", "predictions")
    return {part.key: json.loads(part.proto.json) for part in app.get("bidi_component") if part.key in keys}


def test_a_replay_is_part_of_the_link_and_old_links_have_none() -> None:
    assert BuildState.from_query({"replay": NAME}) == BuildState(replay=NAME)
    for state in (BuildState(replay=NAME), BuildState("plain-20", data="cifar10", twin=False, replay=NAME)):
        assert BuildState.from_query(state.to_query()) == state and state.to_query()["replay"] == NAME
    assert "replay" not in BuildState().to_query() and BuildState.from_query({"preset": "plain-20"}).replay is None
    for text in ("", "none", "../shapes-56", "shapes-57"):
        assert BuildState.from_query({"replay": text}).replay is None
    with pytest.raises(ValueError, match="no recorded training"):
        BuildState(replay="shapes-57")


def test_the_form_leads_to_the_replay_and_back() -> None:
    app = open_build()
    check(app)
    app.button(key=f"replay_{NAME}").click().run()
    check(app)
    watched = state_of(app)
    assert watched.replay == NAME
    assert app.header[0].value == "A recorded training: plain-56 and ResNet-56"
    app.button(key="back").click().run()
    check(app)
    assert state_of(app) == replace(watched, replay=None) and app.header[0].value == "Build a network and train it"


def test_behind_a_link_to_the_replay_alone_stands_the_first_proposal() -> None:
    app = open_build(replay=NAME)
    app.button(key="back").click().run()
    check(app)
    assert state_of(app) == forecasts.first_form() != BuildState()


def test_the_page_sends_all_of_it_once_and_says_what_came_of_it(recording: Recording, log: RunLog) -> None:
    app = open_build(replay=NAME)
    check(app)
    data = parts_of(app)["replay"]
    assert data == json.loads(json.dumps(replay.parts(NAME, "light")))
    assert data["last"] == log.progress[-1]["step"] and len(data["cams"]["frames"]) == len(log.cams)
    said = texts(app)
    assert runs.summary(log) in said and f"seed {recording.facts['seed']}" in said
    for entry in recording.facts["networks"]:
        assert f"{entry['test']['accuracy']:.1%}" in said
        shipped = checkpoints.load_pretrained(entry["shipped"])
        right = f"{shipped.spec.name} {shipped.metrics['test']['accuracy']:.1%}"
        assert entry["same_weights"] or right in said
    assert as_text(runs.finding(log)) in said, "the page ends with it"
    assert ("bit for bit" in said) == all(entry["same_weights"] for entry in recording.facts["networks"])


def test_a_file_that_was_changed_is_a_sentence_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SHA256SUMS", f"{NAME}.replay"):
        (tmp_path / name).write_bytes((PRETRAINED / name).read_bytes())
    with (tmp_path / f"{NAME}.replay").open("ab") as file:
        file.write(b"more")
    load = recordings.load
    monkeypatch.setattr(recordings, "load", lambda name: load(name, tmp_path))
    app = open_build(replay=NAME)
    check(app)
    assert "is not the file that was published" in app.error[0].value and not parts_of(app)
    assert app.button(key="back").label == "Build a network"


def test_a_run_with_the_same_log_shows_the_end_of_it_and_one_of_before_shows_no_cams(
    recording: Recording, data_folder: Path
) -> None:
    run = Run(runs.runs_folder() / ("0f" * 16))
    run.folder.mkdir(parents=True)
    run.write_request(Request.from_dict(recording.request))
    np.save(run.samples, recording.samples)
    run.metrics.write_bytes(recording.metrics)
    app = open_build(run=run.id)
    check(app)
    whole, live_parts = replay.parts(NAME, "light"), parts_of(app)
    sources = {part.pop("source") for part in live_parts.values()}
    assert len(sources) == 1 and "seed 0" in sources.pop()
    whole = {name: {**part, "source": 0} for name, part in whole.items() if name != "last"}
    live_parts = {name: {**part, "source": 0} for name, part in live_parts.items()}
    assert set(live_parts) == {"training_curves", "gradient_maps", "cams", "predictions"}
    assert live_parts["training_curves"] == whole["curves"] and live_parts["gradient_maps"] == whole["map"]
    for name in ("cams", "predictions"):
        assert live_parts[name] == whole[name] | {"frames": whole[name]["frames"][-1:]}

    lines = recording.metrics.splitlines()
    run.metrics.write_bytes(b"\n".join(each for each in lines if b'"event": "cams"' not in each))
    app = open_build(run=run.id)
    check(app)
    assert set(parts_of(app)) == set(live_parts) - {"cams"}
