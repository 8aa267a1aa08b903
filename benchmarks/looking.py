"""What snapshots of networks in training cost: predictions of 12 pictures and Grad-CAM of 3, of each twin."""

import json
import statistics
import tempfile
from contextlib import closing
from pathlib import Path

import torch

from benchmarks.rows import Row, at_most
from benchmarks.training import CONFIG, cifar_size
from explorer.architectures import build
from explorer.datasets import Dataset, Split
from explorer.presets import cifar
from explorer.runs.fitting import SAMPLES
from explorer.runs.log import LogWriter
from explorer.runs.snapshots import SHARE, Snapshots
from explorer.training import choose_device, choose_precision, fit_together, use_threads

ROUNDS, SECONDS = 3, 60.0


def looking_rows(rounds: int = ROUNDS, seconds: float = SECONDS) -> list[Row]:
    """Of twins that train with the threads of a run; the last snapshot, after the training, counts too."""
    before = torch.get_num_threads()
    use_threads()
    dataset = cifar_size()
    rows = [_row(depth, dataset, rounds, seconds) for depth in (20, 56)]
    torch.set_num_threads(before)
    return rows


def _row(depth: int, dataset: Dataset, rounds: int, seconds: float) -> Row:
    samples = Split(dataset.train.images[:SAMPLES], dataset.train.labels[:SAMPLES])
    shares: list[float] = []
    passes, maps, counts, sizes = [], [], [], []
    for _ in range(rounds):
        networks = [build(cifar(depth, shortcut)) for shortcut in ("none", "identity")]
        with tempfile.TemporaryDirectory() as folder, closing(LogWriter(Path(folder) / "metrics")) as log:
            snapshots = Snapshots(log, networks, samples, dataset)
            for progress in fit_together(networks, dataset, CONFIG):
                if snapshots.is_due(progress):
                    snapshots.take(progress)
                if progress.seconds > seconds:
                    break
            snapshots.take(progress)
            lines = [line for line in (Path(folder) / "metrics").read_bytes().splitlines() if line]
        told = [event for event in map(json.loads, lines) if event["event"] == "cams"]
        passes += [event["seconds"][0] for event in told]
        maps += [event["seconds"][1] for event in told]
        sizes += [len(line) for line in lines]
        counts.append(len(told))
        shares.append(snapshots.spent / (progress.seconds + snapshots.last_took))
    middle = statistics.median(shares)
    dtype = str(choose_precision(choose_device())).removeprefix("torch.")
    figure = f"Twins of {depth} layers that train in {dtype}: share of the time for looking at them"
    measured = (
        f"{middle:.1%} ({min(shares):.1%} to {max(shares):.1%}; {statistics.median(counts):.0f} looks in "
        f"{seconds:g} s: {1000 * statistics.median(passes):.0f} ms for predictions of {SAMPLES} pictures, "
        f"{1000 * statistics.median(maps):.1f} ms more for Grad-CAM; at most {max(sizes):,} bytes a line)"
    )
    return Row(figure, measured, rounds, at_most(100 * middle, 100 * SHARE, " %"))
