"""Training in two processes against one with the whole batch: `torchrun` with gloo, on a CPU.

Starting two processes and importing torch in each takes most of the time, so one launch answers all questions: those
about steps and files, and at its end that of a run.
"""

import functools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from explorer import checkpoints
from explorer.architectures import ArchitectureSpec, Network, Stage, Stem, build
from explorer.datasets import Dataset, Split, channel_statistics, shapes, stored
from explorer.machine import launched
from explorer.runs import Request, Run, fitting, stored_data
from explorer.runs.directory import StopRequested
from explorer.runs.fitting import fit_beside, fit_run
from explorer.runs.log import LogWriter
from explorer.training import Processes, Progress, TrainingConfig, TrainingState, fit_together
from explorer.training.processes import ALONE

ROOT = Path(__file__).parents[1]
SPEC = ArchitectureSpec(
    (Stage(1, 4), Stage(1, 6, 2)), stem=Stem(4), shortcut="identity", input_shape=(3, 16, 16), classes=10
)
CONFIG = TrainingConfig(
    epochs=1, batch_size=64, learning_rate=0.05, label_smoothing=0.1, clip=2.0, seed=3, precision="float32",
    device="cpu",
)  # fmt: skip
QUESTIONS = {
    "batchnorm": (SPEC, CONFIG),
    "stochastic": (replace(SPEC, stages=(Stage(2, 4), Stage(2, 6, 2)), norm="none", stochastic_depth=0.5), CONFIG),
    "weighted": (replace(SPEC, norm="none"), replace(CONFIG, class_weights=True, optimizer="adam", learning_rate=1e-3)),
}

COMMAND = ["train", "resnet-8", "--data", "shapes:ring,star", "--size", "16", "--epochs", "1", "--batch-size", "1000"]

STEPS = """
import json
import os
import sys
import torch
from explorer.__main__ import main
from explorer.architectures import build
from explorer.cli import training
from explorer.cli.main import parser
from explorer.training import fit_together, joined
from tests.test_processes import COMMAND, QUESTIONS, dialled, few, one_step, other

torch.set_num_threads(1)
with joined() as processes:
    network, batch, labels = one_step()
    share = processes.share(len(batch))
    forward = processes.forward_of(network)
    torch.nn.functional.cross_entropy(forward(batch[share]), labels[share]).backward()
    gradients = [each.grad for each in network.parameters()]
    torch.save({"gradients": gradients, "state": network.state_dict()}, f"exact-{processes.rank}.pt")
    for name, (spec, config) in QUESTIONS.items():
        twins = [build(spec, config.seed), build(other(spec), config.seed)]
        *_, last = fit_together(twins, few(), config, processes=processes)
        found = {}
        for place, twin in enumerate(twins):
            found |= {f"{place}.{key}": value for key, value in twin.state_dict().items()}
        epochs = [record.epochs[0].train for record in last.records]
        found["losses"] = torch.tensor([[epoch.loss, epoch.accuracy] for epoch in epochs])
        found["norms"] = torch.tensor([record.weight_gradients.norms for record in last.records])
        torch.save(found, f"{name}-{processes.rank}.pt")
    dialled(processes)
    document, lines = training._train(parser().parse_args([*COMMAND, "--out", "two.safetensors"]), processes)
    print(json.dumps(document) if document else "", end="", flush=True)
# The run that was left: connected anew, since the store of `torchrun` keeps the addresses of the first connection.
os.environ |= {"TORCHELASTIC_USE_AGENT_STORE": "False", "MASTER_PORT": sys.argv[2]}
sys.argv[1:] = ["train", sys.argv[1]]
sys.exit(main())
"""


@functools.cache
def few() -> Dataset:
    """Classes of different sizes, so that class weights differ from share to share."""
    drawn = shapes.Drawn(16)
    whole, rest = shapes.some("train", 1600, drawn), shapes.some("test", 100, drawn)
    chosen = np.flatnonzero((whole.labels < 3) | (np.arange(len(whole)) % 7 == 0))[:640]
    part = Split(whole.images[chosen], whole.labels[chosen])
    return Dataset(drawn.name, drawn.classes, *channel_statistics(part.images), part, rest, rest)


def other(spec: ArchitectureSpec) -> ArchitectureSpec:
    """A second network beside it: its twin, where that can be."""
    return replace(spec, activation="sigmoid") if spec.stochastic_depth else spec.twin()


def one_step() -> tuple[Network, torch.Tensor, torch.Tensor]:
    """A network, a batch and its labels in float64, in which rounding hides nothing."""
    generator = torch.Generator().manual_seed(5)
    batch = (
        torch.randn(16, 3, 16, 16, generator=generator, dtype=torch.float64) * torch.arange(1, 17)[:, None, None, None]
    )
    return build(SPEC, 2).double(), batch, torch.arange(16) % 10


class Exact(Processes):
    """One process with the BatchNorm of several. torch's own for channels-last images rounds more on a CPU
    (`test_batchnorm_is_nearer_to_float64_than_torchs`), and would hide a mistake."""

    def forward_of(self, network: Network) -> Callable[[torch.Tensor], torch.Tensor]:
        return lambda batch: network(batch, self._run)


def alone(name: str) -> tuple[list[nn.Module], Progress]:
    spec, config = QUESTIONS[name]
    twins = [build(spec, config.seed), build(other(spec), config.seed)]
    *_, last = fit_together(twins, few(), config, processes=Exact())
    return list(twins), last


def a_run(folder: Path, letter: str) -> Run:
    run = Run(folder / "data" / "runs" / (letter * 32))
    run.folder.mkdir(parents=True)
    data = {"kind": "shapes", "size": 16, "classes": ["ring", "star"]}
    config = replace(CONFIG, epochs=2, batch_size=500)
    run.write_request(Request((replace(SPEC, classes=2).to_dict(),), config.to_dict(), data))
    return run


def dialled(processes: Processes) -> None:
    """Trains a run whose user turns two dials after its third step, and then another one that its log makes repeat
    them, which is stopped after its sixth step and resumed. Saves what each process has at the end of both."""
    of_runs, fit = vars(fitting), fit_together
    networks: list[Network] = []
    state = TrainingState()
    at_step: dict[int, Callable[[], None]] = {}

    def kept(trained: list[Network], dataset: Dataset, config: TrainingConfig, own: TrainingState, **more: Any) -> Any:
        nonlocal networks, state
        networks, state = trained, own
        for progress in fit(trained, dataset, config, own, report_every=0, **more):
            if processes.is_first and own.step in at_step:
                at_step.pop(own.step)()
            yield progress

    def train(run: Run) -> None:
        if not processes.is_first:
            fit_beside(run, run.request(), processes)
            return
        with closing(LogWriter(run.metrics)) as log, suppress(StopRequested):
            fit_run(run, run.request(), log, None, processes)

    def turn() -> None:
        with closing(LogWriter(turned.dials)) as file:
            file.write("dials", time=0.0, wanted={"weight_decay": 0.3, "clip": None})

    turned, resumed = (Run(Path("data/runs") / (letter * 32)) for letter in "cd")
    if processes.is_first:
        number = "a" * 64
        stored_data(number).parent.mkdir(parents=True)
        stored.save(few(), stored_data(number))
        for run in (turned, resumed):
            run.folder.mkdir(parents=True)
            run.write_request(Request((SPEC.to_dict(),), CONFIG.to_dict(), {"kind": "stored", "number": number}))
        at_step[3] = turn
    processes.agreed(0)  # both runs are there
    of_runs["fit_together"] = kept
    try:
        train(turned)
        ends = [_end(networks, state)]
        if processes.is_first:
            repeated = [line for line in turned.metrics.read_bytes().splitlines(True) if b'"dials"' in line]
            resumed.metrics.write_bytes(b"".join(repeated))
            at_step[6] = resumed.stop_mark.touch
        processes.agreed(0)
        train(resumed)
        stopped_at = state.step
        if processes.is_first:
            resumed.stop_mark.unlink()
        processes.agreed(0)
        train(resumed)
        ends.append(_end(networks, state))
    finally:
        of_runs["fit_together"] = fit
    torch.save({"ends": ends, "stopped_at": stopped_at}, f"dialled-{processes.rank}.pt")


def _end(networks: list[Network], state: TrainingState) -> dict[str, Any]:
    changes = [[change.step, change.field, change.old, change.new] for change in state.changes]
    return {"weights": [each.clone() for each in networks[0].state_dict().values()], "changes": changes}


def launch(folder: Path, *command: str) -> str:
    """What two processes of one thread print that `torchrun` starts in that folder; the port is a free one."""
    own = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "EXPLORER_DATA": str(folder / "data")}
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", *command]
    ended = subprocess.run(start, cwd=folder, env=os.environ | own, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


@pytest.fixture(scope="module")
def launched_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, Run]:
    """The folder of all that the steps of two processes have left, what they printed, and a run that this process began
    and left, and they ended."""
    folder = tmp_path_factory.mktemp("steps")
    folder.joinpath("steps.py").write_text(STEPS)
    left = a_run(folder, "a")
    left.stop_mark.touch()
    with closing(LogWriter(left.metrics)) as log, pytest.raises(StopRequested):
        fit_run(left, left.request(), log)
    left.stop_mark.unlink()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return folder, launch(folder, "steps.py", str(left.folder), str(port)), left


@pytest.fixture
def steps(launched_once: tuple[Path, str, Run]) -> Path:
    return launched_once[0]


def test_two_processes_have_the_gradient_of_one(steps: Path) -> None:
    """In float64, with shares whose means and variances differ; and so are the running statistics of BatchNorm."""
    network, batch, labels = one_step()
    nn.functional.cross_entropy(network(batch), labels).backward()
    for rank in (0, 1):
        found = torch.load(steps / f"exact-{rank}.pt", weights_only=True)
        for value, parameter in zip(found["gradients"], network.parameters(), strict=True):
            torch.testing.assert_close(value, parameter.grad, rtol=1e-9, atol=1e-12)
        for key, value in network.state_dict().items():
            torch.testing.assert_close(found["state"][key], value, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", QUESTIONS)
def test_two_processes_take_the_steps_of_one(steps: Path, name: str) -> None:
    """Ten steps with augmentation, clipping and smoothing, within the rounding of float32; the two have equal bits."""
    first, second = (torch.load(steps / f"{name}-{rank}.pt", weights_only=True) for rank in (0, 1))
    twins, last = alone(name)
    for key, value in first.items():
        assert torch.equal(value, second[key]), key
        if key in ("losses", "norms"):
            continue
        place, _, own = key.partition(".")
        expected = twins[int(place)].state_dict()[own]
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-5)
    for place, record in enumerate(last.records):
        expected = [record.epochs[0].train.loss, record.epochs[0].train.accuracy]
        np.testing.assert_allclose(first["losses"][place], expected, rtol=1e-4)
        np.testing.assert_allclose(first["norms"][place], np.array(record.weight_gradients.norms), rtol=1e-3)


def test_two_processes_turn_a_dial_at_the_same_step_and_repeat_it_with_equal_bits(steps: Path) -> None:
    first, second = (torch.load(steps / f"dialled-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert first["stopped_at"] == second["stopped_at"] == 6
    for turned, of_second, resumed in zip(first["ends"], second["ends"], reversed(first["ends"]), strict=True):
        assert turned["changes"] == [[3, "weight_decay", 5e-4, 0.3], [3, "clip", 2.0, None]] == of_second["changes"]
        pairs = zip(turned["weights"], of_second["weights"], resumed["weights"], strict=True)
        assert all(torch.equal(one, two) and torch.equal(one, three) for one, two, three in pairs)


def test_batchnorm_is_nearer_to_float64_than_torchs() -> None:
    """On a batch of drawn images, channels last, as a step has it."""
    *_, labels = one_step()
    images = torch.from_numpy(few().train.images[:16] / 255.0)
    found = {}
    for name, batch in (("exact", images), ("torch", images.float()), ("ours", images.float())):
        network = build(SPEC, 3).to(batch.dtype).to(memory_format=torch.channels_last)
        run = Processes()._run if name == "ours" else None
        seen = batch.to(memory_format=torch.channels_last)
        logits = network(seen, run) if run else network(seen)
        nn.functional.cross_entropy(logits, labels).backward()
        found[name] = torch.cat(
            [each.grad.double().flatten() for each in network.parameters() if each.grad is not None]
        )
    distance = {name: float((found[name] - found["exact"]).norm()) for name in ("torch", "ours")}
    assert distance["ours"] < 1e-4 * float(found["exact"].norm()) and distance["ours"] <= distance["torch"]


def test_one_process_is_as_before() -> None:
    values, loss = (1.25, True), torch.tensor(0.5)
    assert ALONE.agreed(*values) == values and ALONE.mean(loss) is loss
    network = build(SPEC, 0)
    assert ALONE.forward_of(network) is network and ALONE.share(7) == slice(0, 7)


def test_a_batch_is_split_without_a_rest() -> None:
    parts = [Processes(rank, 4).share(64) for rank in range(4)]
    assert np.array_equal(np.concatenate([np.arange(64)[part] for part in parts]), np.arange(64))
    with pytest.raises(ValueError, match="multiple of the 3 processes, received 64; take 63"):
        Processes(0, 3).share(64)
    with pytest.raises(ValueError, match="`compile` works in one process only"):
        next(fit_together([build(SPEC, 0)], few(), replace(CONFIG, compile=True), processes=Processes(0, 2)))


@pytest.mark.parametrize(
    ("rank", "count", "expected"), [("1", "2", (1, 2)), ("", "2", (0, 1)), ("2", "2", (0, 1)), ("x", "2", (0, 1))]
)
def test_the_place_of_a_process_is_what_torchrun_says(
    monkeypatch: pytest.MonkeyPatch, rank: str, count: str, expected: tuple[int, int]
) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", count)
    assert launched() == expected


def test_a_run_is_resumed_by_two_processes(launched_once: tuple[Path, str, Run], tmp_path: Path) -> None:
    """A run that one process began and left goes on in two, and ends like one that was never left."""
    *_, left = launched_once
    whole = a_run(tmp_path, "b")
    with closing(LogWriter(whole.metrics)) as log:
        fit_run(whole, whole.request(), log)
    events = [json.loads(line) for line in left.metrics.read_text().splitlines() if line]
    assert [event["event"] for event in events].count("end") == 1 and events[-1]["outcome"] == "finished"
    assert [event["step"] for event in events if event["event"] == "start"] == [0, 1]
    assert not left.state.exists()
    (name,) = [path.name for path in whole.folder.glob("*.safetensors")]
    pair = [checkpoints.load(run.folder / name).network.state_dict() for run in (left, whole)]
    for key, value in pair[0].items():
        torch.testing.assert_close(value, pair[1][key], rtol=2e-2, atol=2e-3)  # torch's BatchNorm in one of them


def test_the_first_process_writes_and_speaks(launched_once: tuple[Path, str, Run]) -> None:
    folder, printed, _ = launched_once
    document = json.loads(printed)
    assert document["processes"] == 2 and [path.name for path in folder.glob("*.safetensors")] == ["two.safetensors"]
    assert checkpoints.load(folder / "two.safetensors").record["steps"] == document["networks"][0]["steps"]
