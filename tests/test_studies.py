"""Laws of studies: what they expand to, what they refuse, and that nothing that happens on the way changes a bit.

Runs are trained in this process, except where processes are the subject: there two studies share the machine.

One file: every case needs the small study, its folder and the engine that trains in this process.
"""

import errno
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer import checkpoints, runs, studies
from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.cli.main import main
from explorer.datasets import Dataset, Split, channel_statistics
from explorer.machine.locks import Lock, take, write
from explorer.machine.processes import start
from explorer.presets import cifar
from explorer.runs import Request, Run, queue
from explorer.studies import Axis, EngineError, Study, StudyFolder, driver, local
from explorer.studies.cost import Cost, cost
from explorer.studies.local import LocalEngine, best_places, default_places, measure_places
from explorer.studies.ready_made import READY_MADE, ready_made
from explorer.studies.study import words
from explorer.training import Speed, TrainingConfig, fit_together, forecast
from explorer.training.loop import _TrainedNetwork
from tests.made_runs import finish, taken_queue

pytestmark = pytest.mark.usefixtures("one_thread")

DRAWN = {"kind": "shapes", "size": 16, "classes": ["ring", "star"]}
CONFIG = TrainingConfig(epochs=2, batch_size=8, device="cpu", precision="float32")
SMALL = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 8, 8), classes=3)
TWINS = Axis("shortcut", ("none", "identity"))
PATIENCE_S = 180.0


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EXPLORER_DATA", str(tmp_path / "here"))
    return tmp_path


def study(*axes: Axis, **changes: Any) -> Study:
    values: dict[str, Any] = {"spec": cifar(8, classes=2, size=16, width=4).to_dict(), "config": CONFIG.to_dict()}
    return Study(**{"name": "A study", "data": DRAWN, "axes": axes, "device": "cpu", **values, **changes})


# --- expansion -------------------------------------------------------------------------------------------------------


def test_every_cell_is_trained_once_with_every_seed_and_twins_in_one_run():
    asked = study(Axis("depth", (8, 14)), Axis("shortcut", ("none", "identity", "projection")), seeds=(3, 5))
    assert asked.cells() == tuple(
        (("depth", depth), ("shortcut", kind)) for depth in (8, 14) for kind in ("none", "identity", "projection")
    )
    trials = asked.trials("0" * 32, 7.0)
    assert [(trial.title, trial.seed, trial.request.names) for trial in trials] == [
        ("depth 8, seed 3", 3, ("plain-8", "ResNet-8")),
        ("depth 8, shortcut projection, seed 3", 3, ("ResNet-8",)),
        ("depth 14, seed 3", 3, ("plain-14", "ResNet-14")),
        ("depth 14, shortcut projection, seed 3", 3, ("ResNet-14",)),
        ("depth 8, seed 5", 5, ("plain-8", "ResNet-8")),
        ("depth 8, shortcut projection, seed 5", 5, ("ResNet-8",)),
        ("depth 14, seed 5", 5, ("plain-14", "ResNet-14")),
        ("depth 14, shortcut projection, seed 5", 5, ("ResNet-14",)),
    ]
    assert (asked.runs, asked.networks) == (len(trials), 12)
    assert sorted(cell for trial in trials for cell in trial.cells) == sorted(asked.cells() * 2)
    for trial in trials:
        assert trial.request.config == {**CONFIG.to_dict(), "seed": trial.seed}
        assert (trial.request.data, trial.request.owner, trial.request.created) == (DRAWN, "0" * 32, 7.0)
        for cell, values in zip(trial.cells, trial.request.specs, strict=True):
            spec, wanted = ArchitectureSpec.from_dict(values), dict(cell)
            assert (spec.depth, spec.shortcut) == (wanted["depth"], wanted["shortcut"])
    (plain, residual), *_ = (trial.request.specs for trial in trials)
    assert ArchitectureSpec.from_dict(plain).twin() == ArchitectureSpec.from_dict(residual)


def test_without_pairs_or_without_a_plain_network_every_cell_is_a_run_of_its_own():
    assert [trial.cells for trial in study(TWINS, pairs=False).trials()] == [
        ((("shortcut", "none"),),),
        ((("shortcut", "identity"),),),
    ]
    assert len(study(Axis("shortcut", ("identity", "projection"))).trials()) == 2
    (only,) = study().trials()
    assert (only.cells, only.title) == (((),), "seed 0")


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (Axis("width", (8,)), {"stages": (8, 16, 32), "stem": 8}),
        (Axis("size", (32,)), {"input_shape": (3, 32, 32), "data": {**DRAWN, "size": 32}}),
        (Axis("data", ("shapes-32-ring-cross-star",)), {"input_shape": (3, 32, 32), "classes": 3}),
        (Axis("data", ("fashion-mnist",)), {"classes": 10, "data": {"kind": "fashion-mnist"}}),
        (Axis("init", ("pytorch",)), {"initialisation": "pytorch"}),
        (Axis("norm", ("none",)), {"norm": "none"}),
        (Axis("activation", ("gelu",)), {"activation": "gelu"}),
        (Axis("block", ("conv",)), {"block": "conv", "depth": 5}),
        (Axis("hidden", ((16, 8),)), {"hidden": (16, 8)}),
        (Axis("learning_rate", (0.3,)), {"learning_rate": 0.3}),
        (Axis("milestones", ((0.3, 0.6),)), {"milestones": (0.3, 0.6)}),
        (Axis("seconds", (5.0,)), {"seconds": 5.0, "epochs": None}),
        (Axis("clip", (None,)), {"clip": None}),
    ],
    ids=lambda value: value.field if isinstance(value, Axis) else "",
)  # fmt: skip
def test_an_axis_changes_its_field_and_what_follows_from_it(axis: Axis, expected: dict[str, Any]):
    (trial,) = study(axis).trials()
    (values,) = trial.request.specs
    spec, config = ArchitectureSpec.from_dict(values), TrainingConfig.from_dict(trial.request.config)
    found = {
        "stages": tuple(stage.channels for stage in spec.stages),
        "stem": spec.stem and spec.stem.channels,
        "data": trial.request.data,
    }
    for name, value in expected.items():
        assert found.get(name, getattr(spec, name, getattr(config, name, None))) == value


def test_values_have_words():
    said = [words("shortcut", value) for value in ("none", "identity*0.5", "identity,none,none")]
    assert said == ["plain", "0.5 × identity", "identity, plain, plain"]
    assert [words("x", value) for value in (0.1, 20, True, (1, 2), "cifar10")] == [
        "0.1",
        "20",
        "yes",
        "1, 2",
        "cifar10",
    ]


FIELDS = st.sampled_from(("depth", "norm", "learning_rate", "augment", "milestones", "anything"))
VALUES = st.one_of(
    st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text(), st.booleans(), st.none(),
    st.lists(st.floats(0.1, 0.9), max_size=3).map(tuple),
)  # fmt: skip


@settings(max_examples=50, deadline=None)
@given(
    axes=st.lists(
        st.builds(Axis, FIELDS, st.lists(VALUES, min_size=1, max_size=4, unique=True).map(tuple)),
        max_size=3,
        unique_by=lambda axis: axis.field,
    ),
    seeds=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=4, unique=True),
    pairs=st.booleans(),
    threads=st.integers(0, 1024),
)
def test_a_study_goes_through_json(axes: list[Axis], seeds: list[int], pairs: bool, threads: int):
    asked = study(*axes, seeds=tuple(seeds), pairs=pairs, threads=threads)
    assert Study.from_dict(json.loads(json.dumps(asked.to_dict()))) == asked
    assert asked.networks == len(asked.cells()) * len(seeds)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(("name", "spec", "axes", "seeds", "field", "values", "kind")), inner)
        ),
        max_leaves=6,
    ),
    st.sampled_from(("name", "spec", "config", "data", "axes", "seeds", "pairs", "device", "threads", None)),
)
def test_any_json_is_a_study_or_one_sentence(value: Any, field: str | None):
    values = study(TWINS).to_dict()
    try:
        Study.from_dict(value if field is None else {**values, field: value}).check_size()
    except ValueError as error:
        assert str(error).rstrip().endswith(".") and "\n" not in str(error)


# --- refused ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axes", "changes", "said"),
    [
        ([Axis("depth", tuple(range(8, 608, 6)))], {"seeds": tuple(range(6))}, "600 runs, and 500 are the most"),
        ([Axis(f"field{i}", tuple(range(1000))) for i in range(30)], {}, "runs, and 500 are the most"),
        ([Axis("depth", (8, 9))], {}, r"depth 9: `depth` must be 6n \+ 2"),
        ([Axis("depth", (True,))], {}, "`depth` must be"),
        ([Axis("width", (5,)), Axis("block", ("bottleneck",))], {}, "width 5, block bottleneck: a bottleneck needs"),
        ([Axis("activations", ("relu",))], {}, "a spec has no field `activations`"),
        ([Axis("learning_rate", (-1.0,))], {}, "learning_rate -1: `learning_rate` must be"),
        ([Axis("shortcut", ("identity,none",))], {}, "2 shortcuts for 3 stages"),
        ([Axis("shortcut", ("identity*much",))], {}, "with a gain"),
        ([Axis("data", ("photos",))], {}, "there is no data of the kind 'photos'"),
        ([Axis("size", (16, 20))], {}, "20"),
        ([Axis("size", (16,))], {"data": {"kind": "cifar10"}}, "`size` needs drawn shapes"),
    ],
)  # fmt: skip
def test_a_study_that_cannot_be_is_refused_before_anything_is_there(
    axes: list[Axis], changes: dict[str, Any], said: str, place: Path
):
    with pytest.raises(ValueError, match=said):
        studies.create(study(*axes, **changes))
    assert not list(place.rglob("study.json"))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Axis("depth", ()),
        lambda: Axis("depth", (8, 8)),
        lambda: Axis("learning_rate", (1, 1.0)),
        lambda: Axis("hidden", (([],),)),
        lambda: Axis("depth", ({},)),
        lambda: study(Axis("depth", (8,)), Axis("depth", (14,))),
        lambda: study(Axis("seed", (1,))),
        lambda: study(Axis("size", (16,)), Axis("data", ("cifar10",))),
        lambda: study(seeds=(1, 1)),
        lambda: study(seeds=(-1,)),
        lambda: study(device="tpu"),
        lambda: study(name="a\nb"),
        lambda: LocalEngine(0),
    ],
)
def test_impossible_values_are_refused(make: Callable[[], object]):
    with pytest.raises(ValueError, match=r"\.$"):
        make()


SPEED = Speed(1e-3, 1e-4, 1e-10, 1e-9, 0.7, 1.0, 0.4, 2.0, 2, "CPU", "float32", 1.0)


def test_the_cost_is_the_sum_of_the_forecasts_and_runs_at_once_share_the_cores(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("explorer.studies.cost.cores", lambda: 2)
    asked = study(Axis("depth", (8, 14)), TWINS, seeds=(0, 1))
    each = []
    for depth in (8, 14):
        spec = cifar(depth, classes=2, size=16, width=4)
        found = forecast(SPEED, [spec.twin(), spec], CONFIG, (4000, 400, 800))
        each.append(found.seconds + found.measuring)
    alone = cost(asked, SPEED)
    assert (alone.runs, alone.networks) == (4, 8)
    assert alone.seconds == pytest.approx(2 * sum(each)) and alone.longest == pytest.approx(each[1])
    two = cost(asked, SPEED, 2)
    assert two.seconds == pytest.approx(alone.seconds), "two pairs on two cores take as long as one after the other"
    monkeypatch.setattr("explorer.studies.cost.cores", lambda: 8)
    assert cost(asked, SPEED, 4).seconds == pytest.approx(max(alone.seconds / 4, each[1]))
    assert "4 runs of 8 networks: about" in alone.sentence
    monkeypatch.setattr("explorer.studies.cost.cores", lambda: 1)
    elsewhere = cost(asked, SPEED, 2, is_elsewhere=True)
    assert elsewhere.seconds == pytest.approx(sum(each)), "each place has its own cores"
    unknown = cost(asked, SPEED, 0, is_elsewhere=True)
    assert (unknown.seconds, unknown.longest) == (pytest.approx(2 * sum(each)), pytest.approx(each[1]))
    assert "at the speed of this machine one run at a time" in unknown.sentence


def test_a_study_that_takes_too_long_or_too_much_disk_is_refused_with_the_number(place: Path):
    week = Cost(400, 800, 1, 800 * 3600.0, 3600.0, 10)
    with pytest.raises(ValueError, match="about 800 h with 1 run at a time, and 168 h are the most"):
        week.check(place)
    with pytest.raises(ValueError, match=r"about 1000000\.0 GB of the disk, which has"):
        replace(week, seconds=1.0, bytes=10**15).check(place / "not" / "there" / "yet")
    replace(week, seconds=1.0).check(place)
    replace(week, places=0).check(place)  # of a cluster whose size is unknown only the longest run counts
    with pytest.raises(ValueError, match="about 800 h for one of its runs, and 168 h are the most"):
        replace(week, places=0, longest=800 * 3600.0).check(place)


def test_the_best_number_of_places_is_the_last_that_pays():
    assert best_places({1: 10.0}) == 1
    assert best_places({1: 10.0, 2: 19.0, 4: 20.0}) == 2
    assert best_places({1: 10.0, 2: 10.5}) == 1
    assert default_places() >= 1 and default_places("cuda") == 1


def test_places_are_measured_as_runs_train_and_one_that_hangs_or_cannot_start_is_ended(
    place: Path, monkeypatch: pytest.MonkeyPatch
):
    program = place / "python"
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setattr(local, "MALLOC_ENV", {"OF_A_RUN": "2"})

    def install(code: str) -> None:
        program.write_text(f"#!/bin/sh\n{code}\n")
        program.chmod(0o700)

    install("""echo '{"speed": {"step": '"$OF_A_RUN"', "layer": 0, "mac": 0}}'""")
    assert measure_places(2) == (2, {1: 0.5, 2: 1.0})
    install("sleep 1000")
    monkeypatch.setattr(local, "TIMEOUT_S", 0.2)
    with pytest.raises(ValueError, match="could not be measured; give their number"):
        local._steps_a_second(2)
    started: list[Any] = []

    def start_one(*command: Any, **rest: Any) -> Any:
        if started:
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        started.append(start(*command, **rest))
        return started[0]

    monkeypatch.setattr(local, "TIMEOUT_S", 60.0)
    monkeypatch.setattr(local, "start", start_one)
    with pytest.raises(ValueError, match="could not be measured; give their number"):
        local._steps_a_second(2)
    assert started[0].returncode is not None and not psutil.Process().children(recursive=True)


# --- the queue -------------------------------------------------------------------------------------------------------


def held(number: int, places: int) -> tuple[Run, Lock]:
    """A run that this process holds, with that ticket."""
    run = runs.prepare(Request(({},), {}, DRAWN, places=places), f"{number:032x}")
    lock = take(run.lock)
    assert lock
    write(run.lock, json.dumps({"ticket": number, "device": "cpu", "places": places}).encode())
    return run, lock


def starts(run: Run) -> bool:
    """Whether the run may start now."""
    return queue._fits(run, queue._ahead(run))


@pytest.mark.parametrize(("running", "room"), [([1], 10), ([12] * 12, 10), ([12] * 4, 18), ([0, 0, 1], 10)])
def test_only_runs_that_wait_count_towards_the_most_that_may(running: list[int], room: int):
    """A run of a study that has its place does not wait, whatever the number of places."""
    asked = Request(({},), {}, DRAWN, device="cpu", places=max(running))
    made = [held(number, places) for number, places in enumerate(running, 1)]
    try:
        for number in range(room):
            queue._check_room(asked)
            made.append(held(100 + number, max(running)))
        with pytest.raises(runs.QueueFull, match="10 runs wait for this device already"):
            queue._check_room(asked)
        queue._check_room(replace(asked, places=0))
    finally:
        for _, lock in made:
            lock.close()


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([1, 1], [True, False]),  # as ever: one at a time
        ([2, 2, 2], [True, True, False]),
        ([2, 1, 2], [True, False, False]),  # nobody overtakes a run that needs the whole device
        ([3, 3, 3, 3], [True, True, True, False]),
        ([2, 4, 4, 4], [True, True, True, False]),
        ([1, 0, 0, 1], [True, True, True, False]),  # what an engine places waits for nobody
    ],
)
@pytest.mark.usefixtures("both_paths")
def test_runs_share_a_device_first_come_first_served(places: list[int], expected: list[bool]):
    made = [held(number, each) for number, each in enumerate(places, 1)]
    try:
        assert [starts(run) for run, _ in made] == expected
        next_one = made[expected.index(False)][0]
        made.pop(0)[1].close()  # the first one ends
        assert starts(next_one)
    finally:
        for _, lock in made:
            lock.close()


# --- driven ----------------------------------------------------------------------------------------------------------


def noise() -> Dataset:
    """8 × 8 pixels with random labels."""
    generator = np.random.default_rng(0)
    first, second, third = (
        Split(generator.integers(0, 256, (count, 3, 8, 8), np.uint8), generator.integers(0, 3, count))
        for count in (24, 12, 12)
    )
    return Dataset("noise", ("a", "b", "c"), *channel_statistics(first.images), first, second, third)


def small(*depths: int) -> StudyFolder:
    """Twins of 6 and of 10 layers, of six steps each."""
    data = {"kind": "stored", "number": runs.store_dataset(noise())}
    made = study(Axis("depth", depths or (6, 10)), TWINS, spec=SMALL.to_dict(), data=data, name="Small", threads=1)
    return studies.create(made, owner="0" * 32)


class Killed(BaseException):
    """As a kill: nothing is tidied up."""


class Here:
    """An engine that trains in this process, one run at a time, and tells of its end when it is asked."""

    places = 1

    def __init__(self, fate: Callable[[Run], None] = lambda run: None) -> None:
        self.fate = fate
        self.started: list[str] = []
        self.killed: list[str] = []
        self.ended: list[Run] = []

    def start(self, run: Run) -> bool:
        run.lock.touch()
        self.started.append(run.id)
        self.fate(run)
        if runs.status(run).state != "failed":
            finish(run)
        self.ended.append(run)
        return True

    def wait(self, seconds: float) -> tuple[Run, ...]:
        ended, self.ended = tuple(self.ended), []
        return ended

    def kill(self, run: Run) -> None:
        self.killed.append(run.id)

    def close(self) -> None:
        pass


def drive(place: StudyFolder, engine: Any = None) -> list[str]:
    return [f"{end.kept.trial.title}: {end.state}" for end in driver.drive(place, engine or Here())]


def bits(place: StudyFolder) -> dict[str, bytes]:
    """The weights of every network of the study."""
    found = {}
    for kept in place.trials():
        for name in kept.trial.request.names:
            network = checkpoints.load(kept.run.network_file(name.lower())).network
            found[f"{kept.trial.title} {name}"] = b"".join(
                tensor.numpy().tobytes() for tensor in network.state_dict().values()
            )
    return found


@pytest.fixture(scope="module")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The weights of the small study, which nobody disturbed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPLORER_DATA", str(tmp_path_factory.mktemp("untouched")))
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        made = small()
        assert drive(made) == ["depth 6, seed 0: finished", "depth 10, seed 0: finished"]
        torch.set_num_threads(threads)
        return bits(made)


def test_a_study_ends_with_the_results_of_every_network(untouched: dict[str, bytes]):
    made = small()
    assert studies.progress(made).state == "new"
    assert studies.find(made.id) == made and studies.list_studies("0" * 32) == [made]
    assert not studies.list_studies("1" * 32) and studies.find("../" + made.id) is None
    drive(made)
    found = studies.progress(made)
    assert found.state == "finished" and [trial.fraction for trial in found.trials] == [1.0, 1.0]
    assert [(dict(result.cell), result.title) for result in found.results] == [
        ({"depth": depth, "shortcut": kind}, f"{name}-{depth}")
        for depth in (6, 10)
        for kind, name in (("none", "plain"), ("identity", "ResNet"))
    ]
    for result in found.results:
        assert result.outcome == "finished" and result.steps == 6 and result.test["n"] == 12
        assert result.train is not None and result.train["n"] == 24 and 0 <= result.train["accuracy"] <= 1
        record = checkpoints.load(Run(runs.runs_folder() / result.run_id).network_file(result.name)).record
        assert record and record["threads"] == 1
        sizes = record["weight_gradients"]
        assert [event["step"] for event in result.gradients] == sizes["steps"]
        assert result.gradients[0]["layers"] == sizes["layers"]
    assert bits(made) == untouched
    run = Run(runs.runs_folder() / found.results[0].run_id)
    assert run.title() == "Small: depth 6, seed 0" and run in runs.list_runs("0" * 32)
    runs.delete(run)  # an ordinary run: the study trains it again
    found = studies.progress(made)
    assert (found.state, [trial.state for trial in found.trials]) == ("stopped", ["waiting", "finished"])
    assert drive(made) == ["depth 6, seed 0: finished"] and bits(made) == untouched


def test_killed_at_any_phase_and_driven_again_it_ends_with_the_same_bits(
    untouched: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
):
    made = small()

    def die(*_: object, **__: object) -> Any:
        raise Killed

    def interrupted(where: str) -> None:
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(where, die)
            drive(made)
        assert not studies.is_driven(made)

    interrupted("explorer.runs.prepare")
    made.trials()[0].run.folder.mkdir(parents=True)  # as a kill between folder and request leaves it
    interrupted("explorer.runs.directory.Run.write_request")
    with pytest.raises(Killed):
        drive(made, Here(die))  # before its first step
    monkeypatch.setattr("explorer.runs.fitting.LONG_STEP", 0.0)  # the state is saved after each step
    monkeypatch.setattr("explorer.runs.fitting.fit_together", partial(fit_together, report_every=0))
    take_step = _TrainedNetwork.step

    def dies_at(step: int) -> Callable[..., None]:
        def some_steps(*arguments: Any) -> None:
            if arguments[5] >= step:
                raise Killed
            take_step(*arguments)

        return some_steps

    for step in (2, 4):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(_TrainedNetwork, "step", dies_at(step))
            drive(made)
    assert studies.progress(made).state == "interrupted"
    assert drive(made)[-1] == "depth 10, seed 0: finished"
    assert bits(made) == untouched


def test_the_end_of_a_run_that_nobody_saw_counts(untouched: dict[str, bytes]):
    made = small()
    engine = Here()
    with closing(driver.drive(made, engine)) as going:
        assert next(going).state == "finished"
        with pytest.raises(ValueError, match="goes on already, in another process"):
            drive(made)
        with pytest.raises(ValueError, match="stop it first"):
            driver.delete(made)
    first, second = made.trials()
    finish(runs.prepare(second.trial.request, second.run_id))  # it went on while no process drove the study
    second.run.lock.touch()
    engine = Here()
    assert drive(made, engine) == [] and engine.started == []
    assert studies.progress(made).state == "finished" and bits(made) == untouched
    other = runs.prepare(first.trial.request, "ab" * 16)
    stranger = second.run
    stranger.write_request(replace(stranger.request(), owner="1" * 32))  # as in a copied study of somebody else
    lock = take(first.run.lock)
    assert lock
    with pytest.raises(ValueError, match="stop it first"):
        driver.delete(made)  # a run that its killed process has left goes on
    lock.close()
    assert studies.find(made.id) and runs.find(first.run_id)
    driver.delete(made)
    assert studies.find(made.id) is None and runs.find(first.run_id) is None
    assert {run.id for run in runs.list_runs()} == {other.id, stranger.id}, "nothing else is removed"
    assert not list(studies.studies_folder().iterdir())


def test_another_engine_may_train_the_rest_with_the_same_bits(untouched: dict[str, bytes]):
    made = small()
    driver.change_engine(made, "ray", 0)
    assert drive(made, Here(lambda run: driver.pause(made))) == ["depth 6, seed 0: finished"]
    driver.change_engine(made, "local", 2)
    assert (made.settings()["engine"], made.settings()["places"], made.owner) == ("local", 2, "0" * 32)
    with closing(driver.drive(made, Here())) as going:
        assert next(going).state == "finished"
        with pytest.raises(ValueError, match="stop it first"):
            driver.change_engine(made, "ray", 0)
    assert bits(made) == untouched


def test_a_run_that_fails_is_kept_and_named_and_the_others_go_on(untouched: dict[str, bytes]):
    made = small()

    def fails(run: Run) -> None:
        if run.id == made.trials()[0].run_id:
            queue.write_end(run, "failed", "It ran out of memory.")

    assert drive(made, Here(fails)) == ["depth 6, seed 0: failed", "depth 10, seed 0: finished"]
    found = studies.progress(made)
    assert [(trial.state, trial.message) for trial in found.trials] == [
        ("failed", "It ran out of memory."),
        ("finished", ""),
    ]
    assert found.message.startswith("1 run has failed: depth 6, seed 0. ") and len(found.results) == 2
    assert found.state == "failed"
    made.trials()[0].run.metrics.unlink()
    finish(made.trials()[0].run)  # resumed on its own page
    found = studies.progress(made)
    assert (found.state, found.message) == ("finished", "")
    made.trials()[0].run.metrics.unlink()
    assert drive(made) == ["depth 6, seed 0: finished"] and bits(made) == untouched


def test_a_run_whose_process_is_lost_again_and_again_is_left():
    made = small()

    def is_lost(run: Run) -> None:
        run.metrics.write_text('{"event": "queued"}\n')
        raise Lost

    class Lost(Exception):
        pass

    class Losing(Here):
        def start(self, run: Run) -> bool:
            try:
                return super().start(run)
            except Lost:
                self.ended.append(run)
                return True

    engine = Losing(is_lost)
    assert drive(made, engine) == ["depth 6, seed 0: interrupted", "depth 10, seed 0: interrupted"]
    assert len(engine.started) == 2 * driver.ATTEMPTS
    found = studies.progress(made)
    assert (found.state, found.message) == (
        "failed",
        "2 runs have not finished: depth 6, seed 0; depth 10, seed 0. Resuming trains them.",
    )


def test_runs_that_end_elsewhere_leave_a_study_that_can_be_resumed():
    made = small()
    first, second = made.trials()

    class Elsewhere(Here):
        def start(self, run: Run) -> bool:
            run.lock.touch()
            self.ended.append(run)
            if run.id == first.run_id:
                queue.write_end(run, "stopped")  # on its own page
            else:
                runs.delete(run)
            return True

    assert drive(made, Elsewhere()) == ["depth 6, seed 0: stopped", "depth 10, seed 0: waiting"]
    found = studies.progress(made)
    assert found.state == "stopped" and found.message.startswith("2 runs have not finished: depth 6, seed 0; depth 10,")
    driver.write_outcome(made, "finished", "")  # as earlier versions did
    assert studies.progress(made).state == "stopped"


def test_a_refused_drive_leaves_the_marks_of_the_user_and_closes_its_engine():
    made = small()

    class Closing(Here):
        closed = 0

        def close(self) -> None:
            self.closed += 1

    engine, second = Closing(), Closing()
    with closing(driver.drive(made, engine)) as going:
        next(going)
        driver.stop(made)
        driver.pause(made)
        with pytest.raises(ValueError, match="goes on already"):
            drive(made, second)
        assert made.stop_mark.exists() and made.pause_mark.exists()
        assert (engine.closed, second.closed) == (0, 1)
    assert engine.closed == 1 and not studies.is_driven(made)


def test_a_study_can_be_resumed_while_its_engine_closes():
    made = small()
    seen: list[bool] = []

    class Slow(Here):
        def close(self) -> None:
            seen.append(studies.is_driven(made))

    drive(made, Slow(lambda run: driver.pause(made)))
    assert seen == [False] and studies.progress(made).state == "paused"

    class Dead(Slow):
        def wait(self, seconds: float) -> tuple[Run, ...]:
            raise EngineError("Ray does not answer.")

        def close(self) -> None:
            super().close()
            with pytest.raises(ValueError, match="just ending; resume the study in some seconds"):
                driver.start(made)

    drive(made, Dead())
    assert seen == [False, True], "the runs that go on end with this engine"


def test_a_study_without_a_process_is_stopped_at_once_and_a_deleted_one_says_so():
    made = small()
    drive(made, Here(lambda run: driver.pause(made)))
    assert studies.progress(made).state == "paused"
    driver.stop(made)
    assert studies.progress(made).state == "stopped"
    driver.delete(made)
    for act in (driver.pause, driver.stop):
        with pytest.raises(ValueError, match="the study is gone"):
            act(made)
    assert not list(studies.studies_folder().iterdir())


@pytest.mark.usefixtures("both_paths")
def test_paused_it_starts_nothing_and_resumed_it_ends_with_the_same_bits(untouched: dict[str, bytes]):
    made = small()
    assert drive(made, Here(lambda run: driver.pause(made))) == ["depth 6, seed 0: finished"]
    found = studies.progress(made)
    assert (found.state, [trial.state for trial in found.trials]) == ("paused", ["finished", "waiting"])
    assert drive(made) == ["depth 10, seed 0: finished"], "driven again it is not paused"
    assert bits(made) == untouched


@pytest.mark.usefixtures("both_paths")
def test_stopped_it_ends_its_runs_and_resumed_it_ends_with_the_same_bits(untouched: dict[str, bytes]):
    made = small()

    class Slow(Here):
        """A run goes on until it is killed."""

        def start(self, run: Run) -> bool:
            run.lock.touch()
            driver.stop(made)
            return True

        def kill(self, run: Run) -> None:
            super().kill(run)
            queue.write_end(run, "stopped")
            self.ended.append(run)

    engine = Slow()
    first = made.trials()[0]
    assert drive(made, engine) == ["depth 6, seed 0: stopped"] and engine.killed == [first.run_id]
    assert studies.progress(made).state == "stopped"
    first.run.metrics.unlink()
    assert drive(made)[-1] == "depth 10, seed 0: finished" and bits(made) == untouched


def test_resumed_while_it_pauses_it_goes_on(monkeypatch: pytest.MonkeyPatch):
    made = small()
    end = driver._Drive._end

    def resumed_meanwhile(self: Any, outcome: Any) -> bool:
        monkeypatch.setattr(driver._Drive, "_end", end)
        driver.start(made)  # its process lives, so that no other one starts
        return end(self, outcome)

    monkeypatch.setattr(driver._Drive, "_end", resumed_meanwhile)
    assert len(drive(made, Here(lambda run: driver.pause(made)))) == 2


def test_a_full_disk_or_a_dead_engine_ends_it_in_one_sentence_and_what_is_done_stays(monkeypatch: pytest.MonkeyPatch):
    made = small()

    class Dead(Here):
        def wait(self, seconds: float) -> tuple[Run, ...]:
            raise EngineError("Ray does not answer; resume the study when it is back.")

    assert drive(made, Dead()) == []
    found = studies.progress(made)
    assert (found.state, found.message) == ("failed", "Ray does not answer; resume the study when it is back.")
    assert len(found.results) == 2
    with monkeypatch.context() as patch:
        patch.setattr(driver, "DISK_RESERVE", 2**80)
        assert drive(made) == []
    assert studies.progress(made).message == driver.DISK_IS_FULL
    assert drive(made) == ["depth 10, seed 0: finished"]


def test_data_that_a_study_will_train_on_is_not_swept():
    made = small()
    number = made.study().data["number"]
    runs.sweep_stored_data(older_than=-1)
    assert runs.stored_data(number).exists()
    driver.delete(made)
    runs.sweep_stored_data(older_than=-1)
    assert not runs.stored_data(number).exists()


def test_an_engine_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError, match="there is no engine 'slurm'; use local or ray"):
        driver.open_engine("slurm", 1)
    made = small()
    made.study_file.write_text(made.study_file.read_text().replace('"engine": "local"', '"engine": "slurm"'))
    assert driver.run_process(made) == 2
    assert studies.progress(made).message == "there is no engine 'slurm'; use local or ray."
    made.study_file.write_text("{")
    with pytest.raises(ValueError, match="this study is damaged"):
        driver.start(made)
    assert driver.run_process(made) == 2 and "damaged" in capsys.readouterr().err


# --- processes -------------------------------------------------------------------------------------------------------


def process_of(text: str, verb: str) -> int | None:
    for path in Path("/proc").glob("[0-9]*"):
        try:
            command = (path / "cmdline").read_bytes()
        except OSError:
            continue
        if f"-m\0explorer\0{verb}\0".encode() in command and text.encode() in command:
            return int(path.name)
    return None


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < until, f"waited in vain until {what}"
        time.sleep(0.05)
    return found


@pytest.fixture
def processes(place: Path) -> Iterator[None]:
    yield
    for made in studies.list_studies():
        driver.stop(made)

    def none_is_left() -> bool:
        left = [process_of(str(place), verb) for verb in ("study", "train")]
        for process in filter(None, left):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        return not any(left)

    wait_until(none_is_left, "no process is left")


@pytest.mark.usefixtures("processes")
def test_two_studies_at_once_one_killed_end_with_the_same_bits(untouched: dict[str, bytes]):
    made, other = small(), small(6)
    driver.start(made)
    driver.start(made)  # a second click
    driver.start(other)
    process = wait_until(lambda: process_of(made.id, "study"), "its process is there")
    wait_until(lambda: studies.progress(made).trials[0].state in ("queued", "running", "finished"), "a run was started")
    assert "torch" not in Path(f"/proc/{process}/maps").read_text()
    os.kill(process, signal.SIGKILL)
    wait_until(lambda: not studies.is_driven(made), "its lock is free")
    driver.start(made)
    for each in (made, other):

        def ended(each: StudyFolder = each) -> bool:
            found = studies.progress(each)
            assert found.state in ("running", "finished"), (found, each.log_text.read_text())
            return found.state == "finished" and not studies.is_driven(each)

        wait_until(ended, "the study is finished")
        assert bits(each).items() <= untouched.items()
    assert bits(made) == untouched


@pytest.mark.usefixtures("portable_path", "processes")
def test_a_killed_study_is_started_again_by_the_portable_path(place: Path):
    made = small(6)
    with taken_queue(place / "here"):  # its run waits
        driver.start(made)
        process = wait_until(lambda: process_of(made.id, "study"), "its process is there")
        wait_until(lambda: studies.progress(made).trials[0].state == "queued", "its run waits")
        run = made.trials()[0].run
        wait_until(lambda: process_of(run.id, "train"), "the run's process is there")
        driver.start(made)  # a second click
        os.kill(process, signal.SIGKILL)
        wait_until(lambda: not studies.is_driven(made), "its lock is free")
        assert studies.progress(made).state == "interrupted"
        # Killed between the start of the run's process and the note of its number: the run says so itself.
        wait_until(lambda: runs.is_alive(run), "its run is left")
        driver.start(made)
        wait_until(lambda: process_of(made.id, "study") not in (None, process), "another one drives it")
        driver.stop(made)
        wait_until(lambda: not studies.is_driven(made), "it ends as asked")
        assert studies.progress(made).state == "stopped" and not runs.is_alive(run)


# --- in a terminal ---------------------------------------------------------------------------------------------------


def test_the_ready_made_studies_can_be_made_and_are_small_enough():
    for name in READY_MADE:
        made = ready_made(name)
        assert Study.from_dict(made.to_dict()) == made
        config = TrainingConfig.from_dict(made.config)
        assert config.epochs and not config.seconds, "by epochs, so that it can be repeated bit by bit"
        assert len(made.trials()) == made.runs
    with pytest.raises(ValueError, match="there is no study 'x'; choose one of degradation"):
        ready_made("x")


def test_a_study_in_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    def said(*arguments: str) -> tuple[int, str, str]:
        status = main(["study", *arguments])
        return status, *capsys.readouterr()

    monkeypatch.setattr("explorer.cli.study.machine_speed.measure", lambda: SPEED)
    monkeypatch.setattr(driver, "LocalEngine", lambda places: Here())
    made = small()
    file = tmp_path / "study.json"
    file.write_text(json.dumps(made.study().to_dict()))
    status, out, _ = said("--list", "--json")
    assert status == 0 and [each["name"] for each in json.loads(out)["studies"]] == list(READY_MADE)
    status, out, _ = said(str(file), "--cost", "--json")
    assert status == 0 and json.loads(out)["runs"] == 2 and json.loads(out)["refused"] == ""
    assert json.loads(said(str(file), "--print")[1]) == made.study().to_dict()
    for encoding in ("utf-16", "utf-8-sig"):  # as `>` of Windows PowerShell 5.1 and Notepad write it
        encoded = tmp_path / "encoded.json"
        encoded.write_text(file.read_text(), encoding=encoding)
        assert json.loads(said(str(encoded), "--print")[1]) == made.study().to_dict()

    status, out, err = said(str(file), "--json", "--places", "1")
    document = json.loads(out)
    assert status == 0 and document["state"] == "finished" and not document["unfinished"]
    assert [result["network"] for result in document["results"]] == ["plain-6", "ResNet-6", "plain-10", "ResNet-10"]
    assert "Small. 2 runs of 4 networks: about" in err and "depth 10, seed 0: finished" in err
    assert f" /experiments?study={document['id']}\n" in err
    status, out, _ = said(document["folder"])
    assert status == 0 and "2 of 2 runs finished" in out and "plain-6" in out

    elsewhere = tmp_path / secrets.token_hex(16)
    elsewhere.mkdir()
    elsewhere.joinpath("study.json").write_text("{}")
    for arguments, expected in (
        ((), "give a JSON file"),
        (("missing.json",), "there is no file"),
        (("nothing",), "there is no study 'nothing'"),
        ((str(file), "--places", "0"), "`--places` must be"),
        ((str(elsewhere),), "a study is continued where it was made"),
        ((str(tmp_path),), "where it was made"),
    ):
        status, out, err = said(*arguments)
        assert (status, out) == (2, "") and expected in err and err.count("\n") == 1
