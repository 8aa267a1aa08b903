"""Runs on a real Ray of two node processes: nodes and drivers are killed, and the weights keep their bits."""

import importlib.metadata
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explorer import checkpoints, runs
from explorer.architectures import ArchitectureSpec, Stage, Stem, build
from explorer.datasets import Dataset, Split, channel_statistics, stored
from explorer.files import write_atomically
from explorer.runs import Request, Run
from explorer.studies import EngineError, ray_engine
from explorer.studies.carried import is_carried
from explorer.studies.ray_engine import RayEngine
from explorer.training import TrainingConfig, fit_together
from tests.made_runs import processes_of

PATIENCE_S = 120.0
SPEC = ArchitectureSpec((Stage(1, 8), Stage(1, 12, 2)), stem=Stem(8), input_shape=(3, 8, 8), classes=3)
TWINS = (SPEC.twin(), SPEC)
CONFIG = TrainingConfig(epochs=60, batch_size=8, seed=3, device="cpu")
STEPS = 360


def noise() -> Dataset:
    """Random labels, 8 × 8 pixels: it is stored, so it has to travel to a node without our disk."""
    generator = np.random.default_rng(0)
    train, validation, test = (
        Split(generator.integers(0, 256, (count, 3, 8, 8), np.uint8), generator.integers(0, 3, count))
        for count in (48, 12, 24)
    )
    return Dataset("noise", ("a", "b", "c"), *channel_statistics(train.images), train, validation, test)


DATA = noise()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray whose head trains nothing and whose other node has two cores; its token is in the environment."""
    # A short path: those of Ray's sockets lie below it and may have 107 characters.
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for name, value in {
            "TMPDIR": folder,
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_prestart_worker_first_driver": "0",  # processes that a test would start for nothing
            "RAY_health_check_period_ms": "1000",  # a killed node is known as such after 3 s and not after 15
            "RAY_health_check_failure_threshold": "3",
        }.items():
            patch.setenv(name, value)
        from ray.cluster_utils import Cluster

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        made.add_node(num_cpus=2)
        yield made
        made.shutdown()


@pytest.fixture(scope="module")
def engine(cluster: Any) -> Iterator[RayEngine]:
    made = RayEngine(address=cluster.address)
    yield made
    made.close()


@pytest.fixture(scope="module")
def weights() -> list[dict[str, torch.Tensor]]:
    """Those of the twins after a training in this process that nobody disturbs."""
    torch.set_num_threads(1)
    networks = [build(spec, CONFIG.seed) for spec in TWINS]
    for _ in fit_together(networks, DATA, CONFIG):
        pass
    return [network.state_dict() for network in networks]


def prepared() -> Run:
    number = secrets.token_hex(32)
    path = runs.stored_data(number)
    path.parent.mkdir(parents=True, exist_ok=True)
    stored.save(DATA, path)
    request = Request(
        specs=tuple(spec.to_dict() for spec in TWINS),
        config=CONFIG.to_dict(),
        data={"kind": "stored", "number": number},
        names=tuple(spec.name for spec in TWINS),
        threads=1,
    )
    return runs.prepare(request, secrets.token_hex(16))


def wait_until(engine: RayEngine | None, what: Callable[[], object], words: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, words
        if engine:
            assert not engine.wait(0.05), f"it ended before {words}"
        else:
            time.sleep(0.05)


def ended(engine: RayEngine, *wanted: Run) -> None:
    """Waits until exactly these runs have ended."""
    found: list[Run] = []
    deadline = time.monotonic() + PATIENCE_S
    while len(found) < len(wanted):
        assert time.monotonic() < deadline, "the runs end"
        found += engine.wait(1.0)
    assert {run.id for run in found} == {run.id for run in wanted}


def stand_still(run: Run) -> None:
    """Halts its process, so that it does not end before it is killed."""
    (process,) = processes_of(run.id)
    os.kill(process, signal.SIGSTOP)


def on_its_node(run: Run, name: str) -> Iterator[Path]:
    """Files of that name of a run that was carried to the node, which keeps them apart from ours."""
    return Path(os.environ["TMPDIR"]).glob(f"explorer-*/jobs/*/runs/{run.id}/{name}")


def halted_in_training(run: Run, attempt: int) -> Callable[[], bool]:
    """Whether its process of that attempt stands still, in its steps and after a saved state. It is halted at once: a
    free machine trains the rest in the time between two looks at another run."""
    halted = False

    def look() -> bool:
        nonlocal halted
        copies = [run, *(Run(path.parent) for path in on_its_node(run, run.metrics.name))]
        if not halted and any(is_in_attempt(copy, attempt) for copy in copies):
            stand_still(run)
            halted = True
        return halted

    return look


def has_resumed(run: Run) -> bool:
    start = runs.status(run).log.start
    return start is not None and start["step"] > 0


def is_in_attempt(run: Run, attempt: int) -> bool:
    starts = run.metrics.read_text(encoding="utf-8").count('"event": "start"')
    return starts >= attempt and run.state.exists() and is_training(run)


def check_finished(run: Run, weights: list[dict[str, torch.Tensor]]) -> None:
    """It has the bits of the training in this process, and nothing of the engine is left."""
    assert runs.status(run).state == "finished", runs.status(run).log.end
    for spec, expected in zip(TWINS, weights, strict=True):
        found = checkpoints.load(run.network_file(spec.name.lower())).network.state_dict()
        assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    left = {path.name for path in run.folder.iterdir()} - {f"{spec.name.lower()}.safetensors" for spec in TWINS}
    assert left <= {"request.json", "metrics.jsonl", "log.txt", "lock", "samples.npy"}
    assert not processes_of(run.id)


DRIVER = """
import sys
from explorer import runs
from explorer.studies.ray_engine import RayEngine
engine = RayEngine()
assert engine.start(runs.find(sys.argv[1]))
while True:
    engine.wait(1.0)
"""


def left_by_a_killed_driver(run: Run, address: str) -> None:
    """Starts the run in another process, which is killed once the run has saved its state."""
    command = [sys.executable, "-c", DRIVER, run.id]
    driver = subprocess.Popen(command, cwd=Path(__file__).parents[1], env=os.environ | {"RAY_ADDRESS": address})
    try:
        wait_until(None, run.state.exists, "the driver's run has saved its state")
        stand_still(run)
    finally:
        driver.kill()
        driver.wait()


def test_the_bits_survive_killed_drivers_nodes_and_runs_with_and_without_a_shared_disk(
    cluster, engine, weights, monkeypatch
):
    """One story of two runs side by side: the start of each process and each node takes seconds. `shared` loses its
    driver and its node, and is killed; `carried` is not seen by its node, loses it, and is stopped."""
    assert engine.places == 2
    shared, carried = prepared(), prepared()
    left_by_a_killed_driver(shared, cluster.address)
    assert engine.start(shared), "it follows what may still live, and begins it again once that is gone"
    wait_until(engine, lambda: shared.id in engine.jobs, "the driver's run is begun again")

    def elsewhere(path: Path, content: bytes) -> None:
        if path.name != "attempt":
            write_atomically(path, content)

    with monkeypatch.context() as patch:
        patch.setattr(ray_engine, "write_atomically", elsewhere)
        assert engine.start(carried) and engine.shared_disk
    assert not engine.start(prepared()), "there are two places"
    wait_until(engine, halted_in_training(shared, 2), "the driver's run goes on")
    wait_until(engine, halted_in_training(carried, 1), "the other run has saved its state on its node")
    wait_until(engine, carried.state.exists, "the other state has come back")
    assert not engine.shared_disk, "its node did not see the run"
    steps = [runs.status(run).log.progress[-1]["step"] for run in (shared, carried)]
    assert all(0 < step < STEPS for step in steps)

    (node,) = cluster.worker_nodes
    cluster.remove_node(node, allow_graceful=False)
    wait_until(engine, lambda: not processes_of(shared.id) and not processes_of(carried.id), "no orphan is left")
    cluster.add_node(num_cpus=2)
    halted = [halted_in_training(shared, 3), halted_in_training(carried, 2)]
    wait_until(engine, lambda: all([look() for look in halted]), "both go on on the new node")  # noqa: C419
    for run in (shared, carried):
        wait_until(engine, partial(has_resumed, run), "it resumed")

    with pytest.raises(ValueError, match="still going on"):
        runs.delete(carried)
    with monkeypatch.context() as patch:
        patch.setattr(ray_engine, "KILL_AFTER_S", 60.0)
        runs.stop(carried)
        wait_until(engine, lambda: list(on_its_node(carried, carried.stop_mark.name)), "its node knows of the stop")
        for process in processes_of(carried.id):
            os.kill(process, signal.SIGCONT)
        ended(engine, carried)
        patch.setattr(ray_engine, "KILL_AFTER_S", 0.1)
        engine.kill(shared)
        ended(engine, shared)
    for run in (shared, carried):
        assert runs.status(run).state == "stopped" and run.state.exists() and not processes_of(run.id)
        assert engine.start(run)
    ended(engine, shared, carried)
    for run in (shared, carried):
        check_finished(run, weights)


def is_training(run: Run) -> bool:
    found = runs.status(run)
    is_in_its_steps = found.state == "running" and (found.log.phase or {}).get("phase") == "training"
    return is_in_its_steps and bool(processes_of(run.id))


# --- what cannot be used ---------------------------------------------------------------------------------------------


def test_a_run_too_large_for_every_node_is_refused(engine):
    run = prepared()
    run.write_request(replace(run.request(), threads=64))
    with pytest.raises(EngineError, match=r"needs 64 cores and the largest node of this Ray has 2\."):
        engine.start(run)
    assert not engine.jobs and not runs.is_alive(run)


def test_a_ray_that_no_longer_answers_ends_the_study_in_a_sentence(engine, monkeypatch):
    monkeypatch.setattr(ray_engine, "PROBE_S", 0.0)
    monkeypatch.setattr(ray_engine, "DOWN_AFTER_S", 0.0)
    assert engine.wait(0.1) == ()
    monkeypatch.setattr(engine, "gcs", "127.0.0.1:1")
    with pytest.raises(EngineError, match="Ray no longer answers; start it again and resume the study"):
        engine.wait(0.1)


def test_a_file_that_no_run_has_never_becomes_a_path():
    carried = ("state", "metrics.jsonl", "log.txt", "samples.npy", "resnet-8.safetensors")
    assert all(map(is_carried, carried))
    others = ("../state", "lock", "stop", "request.json", "a/b.safetensors", ".safetensors", "..safetensors", "")
    assert not any(map(is_carried, others))


@pytest.mark.parametrize(
    ("version", "sentence"),
    [
        (
            None,
            "Ray is not installed; install it with `pip install -r requirements-ray.txt`, or train on this machine.",
        ),
        ("2.9.1", "Ray 2.60 is needed and 2.9.1 is installed; install it with"),
        ("2.6.0", "Ray 2.60 is needed and 2.6.0 is installed; install it with"),
    ],
)
def test_a_missing_or_other_ray_is_named(monkeypatch, version, sentence):
    def found(name: str) -> str:
        if version is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return str(version)

    monkeypatch.setattr(importlib.metadata, "version", found)
    with pytest.raises(EngineError) as raised:
        RayEngine()
    assert str(raised.value).startswith(sentence)


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        ("ray://head:10001", r"`RAY_ADDRESS` must be host:port, .* received 'ray://head:10001'; start the study on"),
        ("head", "`RAY_ADDRESS` must be host:port"),
        ("127.0.0.1:1", "No Ray answers at 127.0.0.1:1; start it there or correct `RAY_ADDRESS`."),
        ("127.0.0.1:99999", "No Ray answers at"),
    ],
)
def test_a_wrong_address_is_named(monkeypatch, address, sentence):
    monkeypatch.setenv("RAY_ADDRESS", address)
    with pytest.raises(EngineError, match=sentence):
        RayEngine()


LOCAL = """
import os
from pathlib import Path
from explorer.studies.ray_engine import RayEngine
engine = RayEngine(places=3)
assert engine.places == 3 and os.environ["RAY_AUTH_MODE"] == "token"
folder = Path(engine.own_folder)
assert folder.is_dir()
engine.close()
assert not folder.exists() and not list(Path.home().iterdir())
"""


def test_without_an_address_it_starts_a_ray_of_its_own_and_leaves_nothing(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment["RAY_prestart_worker_first_driver"] = "0"
    subprocess.run(
        [sys.executable, "-c", LOCAL],
        cwd=Path(__file__).parents[1],
        env=environment | {"HOME": str(tmp_path)},
        check=True,
        timeout=PATIENCE_S,
    )
