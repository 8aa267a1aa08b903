"""Dials, snapshots and loss surfaces: whatever their files and links say, they give a valid result or one sentence."""

import json
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from hypothesis import example, given
from hypothesis import strategies as st

from explorer.architectures import Network, build
from explorer.checkpoints import CheckpointError
from explorer.experiments import surface_runs
from explorer.experiments.loss_surface import SurfaceSettings
from explorer.experiments.surface_runs import SurfaceRun
from explorer.presets import cifar
from explorer.runs import dials, log, weight_snapshots
from explorer.runs.weight_snapshots import Schedule, WeightSnapshots
from explorer.training import TrainingConfig
from explorer.training.dials import DIAL_FIELDS, DialChange, dials_at
from explorer.ui.experiments.state import ExperimentsState
from explorer.ui.experiments.surface import settings_of
from tests.fuzz.laws import check_sentence, examples
from tests.fuzz.mutations import changed, changed_text, damaged, json_values, words

SPEC = cifar(8, classes=2, size=16, width=2)
NAME = "resnet-8"
CONFIG = TrainingConfig(epochs=1)
CHANGE = {"step": 4, "field": "rate_factor", "old": 1.0, "new": 0.1}
EVENT: dict[str, Any] = {"event": "dials", "step": 4, "taken": 80, "time": 1.0}
EVENT["changes"] = [{"field": "clip", "old": None, "new": 1.0}, {"field": "weight_decay", "old": 5e-4, "new": 0.0}]
REQUEST: dict[str, Any] = {
    "title": "twins",
    "source": "20 images.",
    "owner": "0" * 32,
    "created": 1.0,
    "class_names": ["a", "b"],
    "networks": [{"title": "net", "name": "net", "shortcut": "none", "classes": 2, "run": "", "file": ""}],
    "surfaces": [{"network": 0, "settings": SurfaceSettings(points=5).to_dict(), "key": ""}],
}


@given(st.one_of(changed(CHANGE), json_values()))
@examples(60)
def test_any_json_is_a_turned_dial_or_is_refused(values: Any) -> None:
    try:
        change = DialChange.from_dict(values)
    except (ValueError, TypeError):
        return
    assert DialChange.from_dict(json.loads(json.dumps(change.to_dict()))) == change
    assert getattr(dials_at(CONFIG, [change], change.step), change.field) == change.new


@given(st.lists(st.one_of(changed_text(EVENT), st.text(max_size=20)), max_size=4))
@examples(40)
def test_any_log_gives_the_changes_that_count(lines: list[str]) -> None:
    content = "\n".join([json.dumps(EVENT), *lines]).encode(errors="surrogatepass")
    changes = dials.changes_of(log.parsed(content))
    assert {change.field for change in changes} <= {*DIAL_FIELDS}
    assert {*dials_at(CONFIG, changes, 10**9).__dict__} == {*DIAL_FIELDS}


@cache
def snapshot_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        WeightSnapshots(Path(folder) / "weights", [build(SPEC, 0)], Schedule(1, 1)).take_if_due(0)
        return (Path(folder) / "weights" / "0.safetensors").read_bytes()


@given(st.data())
@examples(60)
def test_any_snapshot_is_a_network_or_a_sentence(data_folder: Path, data: st.DataObject) -> None:
    (data_folder / "0.safetensors").write_bytes(data.draw(damaged(snapshot_file())))
    try:
        network = weight_snapshots.load(data_folder, NAME, 0)
    except CheckpointError as error:
        check_sentence(f"{str(error)[0].upper()}{str(error)[1:]}")
        return
    assert isinstance(network, Network)
    assert all(tensor.isfinite().all() for tensor in network.state_dict().values())


@given(
    st.one_of(changed_text(REQUEST), st.text(max_size=20)),
    st.one_of(st.just('{"share": 0.5}'), changed_text({"share": 0.5})),
    st.one_of(st.just('{"outcome": "stopped"}'), changed_text({"outcome": "failed", "message": "no room."})),
)
@example(json.dumps(REQUEST), '{"share": 0.5}', "[1]").via("an end that is no object")
@examples(60)
def test_any_folder_is_a_surface_or_a_sentence(data_folder: Path, request: str, share: str, end: str) -> None:
    run = SurfaceRun(data_folder / "surfaces" / ("0" * 32))
    run.folder.mkdir(parents=True, exist_ok=True)
    for file, text in ((run.request_file, request), (run.progress_file, share), (run.end_file, end)):
        file.write_bytes(text.encode(errors="surrogatepass"))
    assert {found.id for found in surface_runs.list_surfaces("0" * 32)} <= {run.id}
    try:
        found = surface_runs.progress(run)
        networks = run.networks()
    except ValueError as error:
        check_sentence(f"{str(error)[0].upper()}{str(error)[1:]}")
        return
    assert 0.0 <= found.share <= 1.0 and isinstance(found.message, str)
    assert len(found.surfaces) == len(run.surfaces()) and all(isinstance(each.title, str) for each in networks)


FIELDS = {
    "along": ("1", "2", "3"),
    "statistics": ("frozen", "recomputed", "both", "x"),
    "directions": ("filter", "none", "path", "x"),
    "points": ("3", "4", "51", "1001", "1002", "9" * 30),
    "reach": ("1", "0", "0.01", "999.9999", "1e9", "-1", "."),
    "curvature": ("none", "centre", "places", "x"),
    "quantity": ("loss", "error", "x"),
    "split": ("train", "test", "x"),
    "surface": ("0" * 32, "0" * 31, "../" + "0" * 29),
    "seed": ("0", "-1", "9" * 30),
}
"""Fields of a link to a surface, each with values that are right and nearly right."""


@given(
    st.dictionaries(st.sampled_from([*FIELDS]), st.one_of(st.integers(0, 5), words()), min_size=1, max_size=5),
    st.integers(1, 10_000),
)
@examples(60)
def test_every_link_is_a_surface_or_a_sentence(link: dict[str, Any], n: int) -> None:
    query = {
        name: FIELDS[name][value % len(FIELDS[name])] if isinstance(value, int) else value
        for name, value in link.items()
    }
    state = ExperimentsState.from_query({"question": "surface", **query})
    assert ExperimentsState.from_query(state.to_query()) == state
    try:
        for settings in settings_of(state, n):
            assert SurfaceSettings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    except ValueError as error:
        check_sentence(f"{str(error)[0].upper()}{str(error)[1:]}")


def test_the_snapshot_of_the_fuzz_is_whole(data_folder: Path) -> None:
    """Else every damaged copy of it would be refused for another reason."""
    (data_folder / "0.safetensors").write_bytes(snapshot_file())
    network = weight_snapshots.load(data_folder, NAME, 0)
    assert network(torch.zeros(1, 3, 16, 16)).shape == (1, 2)
