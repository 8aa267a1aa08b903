"""Dials of a run: whatever happens to its process, each change is repeated at its step; and who may turn one, and when.

Runs train in the process of the test, and a kill is an error at a chosen write of the log: all that is on the disk then
stays, and nothing else.
"""

import json
import queue
import threading
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from streamlit.testing.v1 import AppTest

from explorer import checkpoints, runs
from explorer.architectures import Network
from explorer.cli.main import main as cli
from explorer.datasets import stored
from explorer.machine.locks import take
from explorer.runs import Request, Run, fitting
from explorer.runs.dials import RunDials, agreed_changes, ask, changes_of, pending, reached
from explorer.runs.fitting import fit_beside, fit_run
from explorer.runs.log import LogWriter, read
from explorer.training import Processes, TrainingState, fit_together
from explorer.training.dials import DialChange, recorded_changes
from explorer.ui.build.dials import DIALS
from tests.test_dials import CONFIG, DATA, SPEC, STEPS, same, trained

pytestmark = pytest.mark.usefixtures("one_thread")


class Killed(BaseException):
    pass


class WatchedLog(LogWriter):
    """A log that turns dials at some reports, and is killed at the operation `kill_at` after the first of them; a
    killed write leaves half a line."""

    def __init__(self, path: Path, run: Run, wanted: Iterator[dict[str, Any]], kill_at: int | None = None) -> None:
        super().__init__(path)
        self.run, self.wanted, self.left = run, wanted, kill_at

    def write(self, event: str, **values: Any) -> None:
        if event == "progress" and (wanted := next(self.wanted, None)):
            asked(self.run, **wanted)
            self.started = True
        elif self.is_killed():
            with closing(LogWriter(self.run.metrics)) as half, suppress(OSError):
                half.write(event, **values)
            content = self.run.metrics.read_bytes()
            self.run.metrics.write_bytes(content[: -len(content.splitlines()[-1]) // 2])
            raise Killed
        super().write(event, **values)

    def sync(self) -> None:
        if self.is_killed():
            raise Killed
        super().sync()

    started = False

    def is_killed(self) -> bool:
        if self.left is None or not self.started:
            return False
        self.left -= 1
        return self.left < 0


def asked(run: Run, **wanted: Any) -> None:
    """As `ask` writes it, which refuses where no process holds the run."""
    with closing(LogWriter(run.dials)) as file:
        file.write("dials", time=0.0, wanted=wanted)


@pytest.fixture
def run(data_folder: Path) -> Run:
    path = runs.stored_data("a" * 64)
    path.parent.mkdir(parents=True)
    stored.save(DATA, path)
    specs = (SPEC.to_dict(), SPEC.twin().to_dict())
    request = Request(
        specs, CONFIG.to_dict(), {"kind": "stored", "number": "a" * 64}, names=("plain-4", "ResNet-4"), threads=1
    )
    return runs.prepare(request, "d" * 32)


WANTED: tuple[dict[str, Any], ...] = (
    {"rate_factor": 0.1, "weight_decay": 1 / 3},
    {"clip": None},
    {"label_smoothing": 0.2},
)


def finished(run: Run) -> tuple[list[dict[str, torch.Tensor]], list[tuple[DialChange, ...]]]:
    loaded = [checkpoints.load(path) for path in sorted(run.folder.glob("*.safetensors"), reverse=True)]
    return [each.network.state_dict() for each in loaded], [recorded_changes(each.record) for each in loaded]


@pytest.mark.parametrize("kill_at", range(9))
def test_a_run_killed_at_any_moment_ends_with_the_bits_of_one_that_was_not(run: Run, kill_at: int) -> None:
    """Before, in and after the event of each turned dial, before and after the states that are saved."""
    wanted = iter(WANTED)
    killed = False
    with closing(WatchedLog(run.metrics, run, wanted, kill_at)) as log:
        try:
            fit_run(run, run.request(), log)
        except Killed:
            killed = True
    assert killed
    with closing(WatchedLog(run.metrics, run, wanted)) as log:
        fit_run(run, run.request(), log)
    changes = changes_of(read(run.metrics))
    assert {change.field for change in changes} == {"rate_factor", "weight_decay", "clip", "label_smoothing"}
    assert pending(run, read(run.metrics)) == {}
    weights, recorded = finished(run)
    expected, _ = trained(CONFIG, *changes)
    assert same(weights, expected)
    assert recorded == [changes, changes]


def test_a_pending_change_is_kept_through_a_stop_and_one_after_the_last_step_does_nothing(run: Run) -> None:
    asked(run, weight_decay=0.25)
    asked(run, weight_decay=0.5, clip=None)  # the newer of two values
    with run.dials.open("ab") as file:
        file.write(b'{"wanted": {"rate_factor": 1e9}}\n{"wanted": 7}\nnothing\n{"wanted": {"clip": 3')
    with closing(WatchedLog(run.metrics, run, iter([{}]))) as log:
        fit_run(run, run.request(), log)
    found = read(run.metrics)
    first = (DialChange(0, "weight_decay", 5e-4, 0.5), DialChange(0, "clip", 0.5, None))
    assert changes_of(found) == first and reached(found) == STEPS
    asked(run, rate_factor=0.5)
    assert pending(run, found) == {"rate_factor": 0.5}
    assert finished(run)[1] == [first, first]


def test_a_change_at_the_value_that_a_dial_has_is_taken_once_and_changes_nothing(run: Run) -> None:
    asked(run, weight_decay=CONFIG.weight_decay)
    with closing(LogWriter(run.metrics)) as log:
        dials = RunDials(run, log, CONFIG)
        assert dials.are_asked()
        dials.turn(3)
        assert not dials.are_asked() and dials.changes == ()
        asked(run, weight_decay=0.3)
        dials.turn(7)
        again = RunDials(run, log, CONFIG)
        assert again.changes == dials.changes == (DialChange(7, "weight_decay", 5e-4, 0.3),) and not again.are_asked()
        asked(run, weight_decay=CONFIG.weight_decay)  # resumed at step 5: it stays, and step 7 repeats nothing
        again.turn(5)
        assert again.changes == (DialChange(5, "weight_decay", 5e-4, 5e-4),) == changes_of(read(run.metrics))


class Told(Processes):
    """Two processes as two threads: each takes every whole batch, and the second hears what the first has chosen."""

    told: "queue.Queue[tuple[float, ...]]" = queue.Queue()

    def share(self, batch_size: int) -> slice:
        return slice(0, batch_size)

    def agreed(self, *values: float) -> tuple[float, ...]:
        if self.is_first:
            self.told.put(values)
            return values
        heard = self.told.get(timeout=60)
        assert len(heard) == len(values), "both exchange the same values"
        return heard

    def mean(self, value: torch.Tensor) -> torch.Tensor:
        return value

    def forward_of(self, network: Network) -> Any:
        return network


def test_every_process_turns_the_dials_at_the_same_step(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    states: dict[str, TrainingState] = {}
    fit = fit_together

    def kept(networks: Any, dataset: Any, config: Any, state: TrainingState, **more: Any) -> Any:
        states[threading.current_thread().name] = state
        return fit(networks, dataset, config, state, report_every=0, **more)

    monkeypatch.setattr(fitting, "fit_together", kept)
    beside = threading.Thread(target=fit_beside, args=(run, run.request(), Told(1, 2)), name="second")
    asked(run, clip=None)  # before it starts
    beside.start()
    with closing(WatchedLog(run.metrics, run, iter(WANTED))) as log:
        fit_run(run, run.request(), log, None, Told(0, 2))
    beside.join(60)
    first, second = states[threading.current_thread().name], states["second"]
    assert first.changes == second.changes == changes_of(read(run.metrics)) and len(first.changes) == 4
    assert [change.step for change in first.changes] != [0, 0, 0, 0]
    assert agreed_changes(Processes(), first.changes) == first.changes


# --- who may turn them, and when -------------------------------------------------------------------------------------


@pytest.fixture
def held(run: Run) -> Iterator[Run]:
    """The run as one that trains now, as far as its files say."""
    with closing(LogWriter(run.metrics)) as log:
        log.write("queued", time=1.0)
        log.write("phase", phase="training")
        log.write("start", step=0, data="noise", train_images=32, class_names=["a", "b", "c"], labels=[], notes=[])
        networks = [{"loss": 1.0, "accuracy": 0.5, "outcome": None}] * 2
        log.write("progress", step=40, epoch=1, fraction=0.2, seconds=9.0, images_per_second=9.0, learning_rate=0.1,
                  networks=networks)  # fmt: skip
    lock = take(run.lock)
    assert lock is not None
    yield run
    lock.close()


def test_a_change_is_refused_in_a_sentence_and_nothing_is_kept(held: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="`weight_decay` must be a number from 0 to 10, received 11"):
        ask(held, {"clip": 1.0, "weight_decay": 11})
    assert cli(["change", held.id, "--label-smoothing", "1"]) == 2
    assert cli(["change", "../" + held.id, "--clip", "1"]) == 2
    said = capsys.readouterr().err
    assert "`label_smoothing` must be a number from 0 to 0.99, received 1.0." in said and "there is no run" in said
    with pytest.raises(ValueError, match="at least one dial"):
        ask(held, {})
    held.study_mark.touch()
    with pytest.raises(ValueError, match="belongs to a study"):
        ask(held, {"clip": 1.0})
    held.study_mark.unlink()
    with closing(LogWriter(held.metrics)) as log:
        log.write("phase", phase="measuring on the test images")
    with pytest.raises(ValueError, match="has taken its last step"):
        ask(held, {"clip": 1.0})
    assert not held.dials.exists()


@pytest.mark.parametrize(("outcome", "said"), [("stopped", "resume it first"), ("finished", "start a new training")])
def test_a_run_that_has_ended_takes_no_change(run: Run, outcome: Any, said: str) -> None:
    with closing(LogWriter(run.metrics)) as log:
        log.write("queued", time=1.0)
        log.write("end", outcome=outcome, message="", networks=[
            {"name": "a", "title": "a", "outcome": "finished", "steps": 1, "test": {"accuracy": 0.5, "n": 2}}
        ])  # fmt: skip
    with pytest.raises(ValueError, match=f"the run is {outcome} .*; {said}"):
        ask(run, {"clip": 1.0})
    assert not run.dials.exists()


def test_the_terminal_turns_a_dial(held: Run, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    """The thread stands for the run's process."""

    def taken() -> None:
        with closing(LogWriter(held.metrics)) as log:
            dials = RunDials(held, log, CONFIG)
            while not dials.are_asked():
                time.sleep(0.01)
            dials.turn(41)

    process = threading.Thread(target=taken)
    process.start()
    assert cli(["change", str(held.folder), "--rate-factor", "0.1", "--clip", "0", "--json"]) == 0
    process.join()
    document = json.loads(capsys.readouterr().out)
    assert document["dials"] == {"rate_factor": 0.1, "weight_decay": 5e-4, "clip": None, "label_smoothing": 0.0}
    assert [change["step"] for change in document["changes"]] == [41, 41] and document["pending"] == {}
    assert cli(["change", held.id]) == 0
    assert "learning rate × 0.1: since step 41, was learning rate × 1" in capsys.readouterr().out


PAGE = "from explorer.ui.pages import build\nbuild.show()"


def test_the_page_turns_a_dial_and_says_since_when(held: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from explorer.ui import client

    monkeypatch.setattr(client, "owner", lambda: "a" * 32)
    held.write_request(replace(held.request(), owner="a" * 32))
    app = AppTest.from_string(PAGE, default_timeout=120)
    app.query_params["run"] = held.id
    app.run()
    assert not app.exception and "0.0005 from the start" in [caption.value for caption in app.caption]
    key = f"dial_weight_decay_{held.id}"
    assert app.number_input(key=key).value == 5e-4
    app.number_input(key=key).set_value(0.25).run()
    assert pending(held, read(held.metrics)) == {"weight_decay": 0.25} and app.number_input(key=key).value == 0.25
    with closing(LogWriter(held.metrics)) as log:
        dials = RunDials(held, log, CONFIG)
        dials.turn(44)
        app.run()
        said = [caption.value for caption in app.caption]
        assert "0.25 since step 44, was 0.0005" in said
        assert "Dials turned while it trained: from step 44 on weight decay 0.25." in said
        asked(held, weight_decay=0.75)  # from elsewhere
        dials.turn(45)
        app.run()
        assert app.number_input(key=key).value == 0.75
    held.stop_mark.touch()
    held.study_mark.touch()
    app.run()
    assert not [each for each in app.number_input if str(each.key).startswith("dial_")], "runs of studies stay paired"
    held.study_mark.unlink()
    monkeypatch.setattr(client, "owner", lambda: "b" * 32)
    app.run()
    assert not [each for each in app.number_input if str(each.key).startswith("dial_")], "as Stop: its owner's alone"
    assert "from step 45 on weight decay 0.75" in " ".join(caption.value for caption in app.caption)


def test_the_dial_of_smoothing_names_the_loss_that_it_changes() -> None:
    """The test loss has no smoothing, see `training.evaluation`."""
    assert DIALS["label_smoothing"].help.endswith("The training loss of both networks changes with it.")
