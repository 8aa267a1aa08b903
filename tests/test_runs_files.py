"""What a run's files say, by numbers worked out by hand; and that no text becomes a path, nor a stranger an owner."""

import errno
import json
import os
import secrets
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from explorer import runs
from explorer.runs import Request, Run
from explorer.runs.log import LogWriter, read

HOSTILE = (
    "",
    ".",
    "..",
    "../" + "a" * 29,
    "/" + "a" * 31,
    "/etc/passwd",
    "a" * 31 + "\0",
    "a" * 32 + "\n",
    "a" * 31 + "/",
    "a" * 300,
    "A" * 32,
    "٣" * 32,
    "\u202e" + "a" * 31,
    "a" * 31 + "\u200b",
    "~" + "a" * 31,
    "C:" + "a" * 30,
    "a" * 30 + "%00",
)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path))
    return tmp_path


def lone(owner: str = "a" * 32, created: float = 0.0, number: str = "") -> Run:
    """A run that no process executes."""
    run = Run(runs.runs_folder() / secrets.token_hex(16))
    run.folder.mkdir(parents=True)
    run.write_request(Request(({},), {}, {"kind": "stored", "number": number}, owner=owner, created=created))
    return run


def log_of(path: Path, *events: tuple[str, dict[str, Any]]) -> runs.RunLog:
    with closing(LogWriter(path)) as writer:
        for name, values in events:
            writer.write(name, **values)
    return read(path)


# --- the metrics file ------------------------------------------------------------------------------------------------


def test_half_a_line_is_left_out_and_the_next_one_is_read(place: Path):
    path = place / "metrics.jsonl"
    assert log_of(path, ("start", {"step": 0}), ("progress", {"step": 1})).progress
    whole = path.read_bytes()
    with path.open("ab") as file:
        file.write(b'{"event": "progress", "step": 2, "loss": 0.')  # and here it was killed
    assert [event["step"] for event in read(path).progress] == [1]
    assert [event["step"] for event in log_of(path, ("progress", {"step": 3})).progress] == [1, 3]
    for length in range(len(whole)):  # whatever moment a reader comes
        path.write_bytes(whole[:length])
        assert len(read(path).progress) == 0 or length == len(whole) - 1
    assert read(place / "nothing here") == read(place / "nor here")
    path.write_bytes(b'\xff\xfe\n[1]\n7\n"event"\nnull\n{}\n')
    assert read(path) == read(place / "nothing here")


def test_what_was_reported_behind_the_point_of_resumption_is_dropped(place: Path):
    def reports(*steps: int) -> list[tuple[str, dict[str, Any]]]:
        kinds = ("progress", "validation", "predictions", "cams")
        return [(kind, {"step": step}) for step in steps for kind in kinds]

    def gradients(*steps: int) -> list[tuple[str, dict[str, Any]]]:
        return [("gradients", {"step": step, "network": 0}) for step in steps]

    first: list[tuple[str, dict[str, Any]]] = [("queued", {}), ("start", {"step": 0})]
    first += [*gradients(0, 1, 2, 3, 4), *reports(2, 4, 5)]
    # The state after 4 steps knows the gradients of the steps 0 to 3, and tells that of step 4 again.
    second: list[tuple[str, dict[str, Any]]] = [
        ("queued", {}),
        ("phase", {"phase": "starting"}),
        ("start", {"step": 4}),
    ]
    second += [*gradients(4), *reports(5, 6)]
    log = log_of(place / "metrics.jsonl", *first, *second)
    for events in (log.progress, log.validations, log.predictions, log.cams):
        assert [event["step"] for event in events] == [2, 4, 5, 6]
    assert [event["step"] for event in log.gradients] == [0, 1, 2, 3, 4]
    again = log_of(place / "metrics.jsonl", ("start", {"step": 0}), *gradients(0))
    assert (again.progress, [event["step"] for event in again.gradients]) == ((), [0])


def test_a_new_attempt_takes_back_how_the_last_one_ended(place: Path):
    path = place / "metrics.jsonl"
    ended = log_of(
        path, ("queued", {}), ("phase", {"phase": "training"}), ("end", {"outcome": "failed", "message": "Full."})
    )
    assert ended.end and ended.phase
    queued = log_of(path, ("queued", {}))
    assert queued.end is None and queued.phase is None and queued.queued


def test_half_written_files_that_cannot_be_removed_yet_stop_no_run(scanned: list[Path], monkeypatch: Any):
    run = lone()
    (run.folder / ".state.x").touch()
    run.clear_temporaries()
    assert len(scanned) == 1

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):  # and not that the half written file cannot be removed
        run.write_title("a")
    assert len(scanned) == 2


def test_infinities_become_none_and_a_full_disk_an_error(place: Path):
    path = place / "metrics.jsonl"
    log = log_of(path, ("progress", {"step": 1, "loss": float("inf"), "rest": [float("nan"), {"x": 1 / 3}]}))
    assert log.progress == ({"event": "progress", "step": 1, "loss": None, "rest": [None, {"x": 0.333333}]},)
    with closing(LogWriter(Path("/dev/full"))) as writer, pytest.raises(OSError, match="No space left on device"):
        writer.write("progress", step=1)


# --- what came of it -------------------------------------------------------------------------------------------------

LAYERS = ["stem.conv", "stages.0.0.conv1", "stages.1.0.shortcut.conv", "stages.1.0.conv2", "head.linear"]


def measured(network: int, step: int, norms: list[float | None]) -> tuple[str, dict[str, Any]]:
    return "gradients", {"network": network, "step": step, "norms": norms, **({"layers": LAYERS} if step == 0 else {})}


def result(title: str, accuracy: float, n: int = 400, **changes: Any) -> dict[str, Any]:
    test = {"accuracy": accuracy, "loss": None, "n": n}
    return {"name": title.lower(), "title": title, "outcome": "finished", "steps": 1500, "test": test, **changes}


def test_the_gradient_ratio_is_of_the_first_and_last_convolution_of_the_main_path(place: Path):
    log = log_of(
        place / "metrics.jsonl",
        measured(0, 0, [6.0, 1.0, 9.0, 4.0, 8.0]),
        measured(1, 0, [0.5, 1.0, 9.0, 4.0, 8.0]),
        measured(0, 64, [3.0, 1.0, 9.0, 0.0, 8.0]),
        measured(1, 64, [None, 1.0, 9.0, 4.0, 8.0]),
    )
    begin = runs.gradient_ratio(log, 0, at_end=False)
    assert begin == runs.GradientRatio(0, 1.5, "stem.conv", "stages.1.0.conv2")
    other = runs.gradient_ratio(log, 1, at_end=False)
    assert other and other.ratio == 0.125
    for network in (0, 1):  # by nothing cannot be divided, and nothing finite came
        end = runs.gradient_ratio(log, network, at_end=True)
        assert end and (end.step, end.ratio) == (64, None)
    assert runs.gradient_ratio(log, 2, at_end=False) is None
    only = log_of(place / "one", ("gradients", {"network": 0, "step": 0, "norms": [1.0], "layers": ["head.linear"]}))
    assert runs.gradient_ratio(only, 0, at_end=False) is None


def test_the_summary_of_twins(place: Path):
    networks = [result("plain-20", 0.5), result("ResNet-20", 0.75)]
    log = log_of(
        place / "metrics.jsonl",
        measured(0, 0, [1234.0, 1.0, 9.0, 1.0, 8.0]),
        measured(0, 96, [12.4, 1.0, 9.0, 1.0, 8.0]),
        measured(1, 0, [0.125, 1.0, 9.0, 1.0, 8.0]),
        measured(1, 96, [99.8, 1.0, 9.0, 1.0, 8.0]),
        ("end", {"outcome": "finished", "networks": networks}),
    )
    assert runs.summary(log) == (
        "plain-20 reaches 50.0% test accuracy (n = 400), ResNet-20 reaches 75.0% test accuracy (n = 400) after 1,500 "
        "steps: so ResNet-20 learned more, by 25.0 points. In plain-20 the weights of the first convolution received "
        "1,234 × the gradient of the last one at step 0, and 12 × at step 96. In ResNet-20 the weights of the first "
        "convolution received 0.12 × the gradient of the last one at step 0, and 100 × at step 96."
    )


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.57, "within what chance"), (0.58, "ResNet-20 learned more")])
def test_a_difference_within_two_standard_errors_is_called_chance(place: Path, accuracy: float, verdict: str):
    # At 0.5 and 0.57 of 400: 2 · sqrt(0.25 / 400 + 0.2451 / 400) = 0.0704; at 0.58: 0.0702.
    networks = [result("plain-20", 0.5), result("ResNet-20", accuracy)]
    assert verdict in runs.summary(
        log_of(place / "metrics.jsonl", ("end", {"outcome": "finished", "networks": networks}))
    )


def test_the_summary_of_one_network_that_diverged_and_before_the_end(place: Path):
    path = place / "metrics.jsonl"
    assert runs.summary(log_of(path, measured(0, 0, [1.0] * 5))) == ""
    assert runs.summary(log_of(path, ("end", {"outcome": "failed", "message": "The disk is full."}))) == ""
    network = result("plain-8", 0.1, n=4000, outcome="diverged", steps=30)
    assert runs.summary(
        log_of(path, measured(0, 24, [None] * 5), ("end", {"outcome": "finished", "networks": [network]}))
    ) == (
        "plain-8 reaches 10.0% test accuracy (n = 4,000) after 30 steps. The training of plain-8 diverged after 30 "
        "steps; its last finite weights are kept. Try a lower learning rate or gradient clipping."
    )


# --- no text becomes a path, no stranger an owner --------------------------------------------------------------------


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_hostile_text_never_becomes_a_path(place: Path, text: str):
    (place / "runs").mkdir()
    (place / "runs" / "request.json").write_text("{}")
    assert runs.find(text) is None
    with pytest.raises(ValueError, match="64 hexadecimal digits"):
        runs.stored_data(text * 2 if len(text) == 32 else text)
    request = Request(({},), {}, {}, owner="a" * 32)
    with pytest.raises(ValueError, match="32 hexadecimal digits"):
        runs.submit(request, text)
    assert [path.name for path in place.rglob("*") if path.is_dir()] == ["runs"]
    assert runs.list_runs(text) == []


@pytest.mark.parametrize("text", [name for name in HOSTILE if name != "a" * 300] + ["a" * 300, "resnet-8.safetensors"])
def test_a_hostile_name_of_a_network_is_refused(text: str):
    with pytest.raises(ValueError, match="is not the name of a trained network"):
        lone().network_file(text)


def test_a_name_of_a_network_stays_in_the_runs_directory():
    run = lone()
    assert run.network_file("resnet-20").parent == run.folder and run == runs.find(run.id)


def test_everyone_sees_the_newest_runs_of_their_own(place: Path):
    mine, yours, nobodys = "a" * 32, "b" * 32, ""
    made = [lone(owner, created) for created, owner in enumerate((mine, yours, mine, nobodys, mine), start=1)]
    damaged = lone(mine, 9.0)
    (damaged.folder / "request.json").write_text('{"specs": 5}')
    assert runs.list_runs(mine)[:2] == [made[4], made[2]]
    assert runs.list_runs(mine) == [made[4], made[2], made[0]]
    assert runs.list_runs(yours) == [made[1]]
    assert runs.list_runs(nobodys) == runs.list_runs("c" * 32) == []
    assert runs.list_runs() == made[::-1]
    assert not runs.list_runs(mine + "\n")


def test_data_that_a_run_uses_or_somebody_has_just_brought_is_kept(place: Path):
    used, unused, fresh = (digit * 64 for digit in "123")
    lone(number=used)
    for number in (used, unused, fresh):
        path = runs.stored_data(number)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        if number != fresh:
            os.utime(path, (1e9, 1e9))
    runs.sweep_stored_data()
    assert sorted(path.name for path in runs.stored_data(used).parent.iterdir()) == [used, fresh]
    assert runs.stored_data(used).parent.stat().st_mode & 0o077 == 0, "others on this machine may look at the images"


def test_runs_are_closed_to_the_other_users_of_the_machine(place: Path):
    with pytest.raises(FileNotFoundError):  # it makes the folder, and then finds no program to start
        runs_of_a_broken_python()
    assert runs.runs_folder().stat().st_mode & 0o077 == 0
    assert runs.list_runs() == [] and [path.name for path in runs.runs_folder().iterdir()] == [".queue"]


def runs_of_a_broken_python() -> None:
    python = sys.executable
    sys.executable = "/no/python/here"
    try:
        runs.submit(Request(({},), {}, {}, owner="a" * 32), secrets.token_hex(16))
    finally:
        sys.executable = python


def test_a_run_that_was_deleted_meanwhile_is_no_error(place: Path):
    run = lone()
    run.metrics.write_text("x")
    (run.folder / ".state.abc").touch()
    runs.delete(run)
    assert not run.folder.exists()
    runs.stop(run)
    runs.delete(run)
    assert runs.status(run).state == "interrupted" and runs.find(run.id) is None


def test_a_run_whose_removal_is_killed_has_lost_its_weights_before_its_request(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    run = lone()
    run.weights.mkdir()
    (run.weights / "1.safetensors").touch()
    remove = shutil.rmtree

    def killed(path: Path, ignore_errors: bool = False) -> None:
        if path == run.folder:
            raise KeyboardInterrupt
        remove(path, ignore_errors)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shutil, "rmtree", killed)
        runs.delete(run)
    assert [path.name for path in run.folder.iterdir()] == ["request.json"] and runs.find(run.id) == run
    runs.delete(run)
    assert not run.folder.exists()


@pytest.mark.parametrize(
    "values",
    [
        {"specs": []},
        {"specs": [{}, {}, {}]},
        {"specs": [5]},
        {"config": None},
        {"data": "shapes"},
        {"created": "now"},
        {"owner": None},
        {"names": 5},
        {"surprise": 1},
    ],
    ids=str,
)
def test_a_request_of_wrong_types_is_damaged(values: dict[str, Any]):
    run = lone()
    file = run.folder / "request.json"
    assert run.request() == Request.from_dict(json.loads(file.read_text()))
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))
    with pytest.raises(ValueError, match="^the request of this run is damaged; start a new one.$"):
        run.request()
    assert runs.list_runs() == []


def test_a_relative_data_directory_is_the_same_one_for_the_runs_process(place: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("EXPLORER_DATA", "here")
    assert runs.data_folder() == place / "here"


def test_what_waits_needs_no_torch():
    check = "import sys, explorer.runs, explorer.__main__; print({'torch', 'numpy', 'streamlit'} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", check], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout.strip()) == (0, "set()"), ran.stderr
