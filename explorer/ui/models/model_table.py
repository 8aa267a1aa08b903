"""The table of all networks that the user can explore, a network as a file, and a first prediction."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch

from explorer import checkpoints, torchvision_models
from explorer.architectures import describe
from explorer.checkpoints import CheckpointError
from explorer.figures import Chapter, Table
from explorer.images import to_input
from explorer.pretrained import TwinAccuracy, accuracy_against_depth
from explorer.ui import network_registry, user_models
from explorer.ui.network_registry import checkpoint, read_header, shipped_networks, title, trained_names
from explorer.ui.network_text import dataset_title
from explorer.ui.services.inference import INFERENCE_SLOTS
from explorer.ui.services.input_images import InputImage
from explorer.weights_import import Normalisation, Reading


@dataclass(frozen=True)
class ModelRow:
    """One line of the table of models; `accuracy` is in per cent of `n` test pictures, where it was measured."""

    name: str
    model: str
    source: str
    data: str
    depth: int
    parameters: int
    accuracy: float | None
    n: int | None
    seed: int | None = None


def model_rows() -> list[ModelRow]:
    """Every network that this user can explore."""
    sources = (("in the app", shipped_networks()), ("your upload", user_models.names()), ("your run", trained_names()))
    rows = []
    for source, name in [(source, name) for source, names in sources for name in names]:
        try:
            loaded = read_header(name)
        except CheckpointError:
            continue
        test = loaded.metrics.get("test", {})
        rows.append(
            ModelRow(
                name=name,
                model=_row_title(name, loaded.spec.name),
                source="shared by you" if user_models.SHARED_ID.fullmatch(name) else source,
                data=dataset_title(loaded.data),
                depth=loaded.spec.depth,
                parameters=describe(loaded.spec).parameters,
                accuracy=100 * test["accuracy"] if test.get("accuracy") is not None else None,
                n=test.get("n"),
                seed=loaded.seed,
            )
        )
    for key, entry in torchvision_models.PUBLISHED.items():
        rows.append(
            ModelRow(
                name=f"torchvision-{key}",
                model=entry.title,
                source="torchvision" if torchvision_models.is_available(key) else "torchvision ↓",
                data=torchvision_models.DATA,
                depth=entry.spec.depth,
                parameters=entry.parameters,
                accuracy=100 * entry.top1,
                n=None,
            )
        )
    return rows


def most_different() -> tuple[TwinAccuracy, str] | None:
    """The pretrained twins whose test accuracies differ most, and the title of their data; None without any."""
    headers = shipped_networks()
    found = [
        (twins, dataset_title(data))
        for data in dict.fromkeys(header.data for header in headers.values())
        for twins in accuracy_against_depth(headers, data)
    ]
    return max(found, key=lambda each: abs(each[0].plain - each[0].residual), default=None)


def _row_title(name: str, network: str) -> str:
    own = user_models.title_of(name)
    return f"{own}: {network}" if own and user_models.RUN_NETWORK_ID.fullmatch(name) else own or network


def chapter(rows: Iterable[ModelRow]) -> Chapter:
    """The table for a report."""
    cells = [[row.model, row.source, row.data, str(row.depth), f"{row.parameters:,}", *_measured(row)] for row in rows]
    words = (
        "Accuracy on n test images; that without n is torchvision's own, on the validation images of ImageNet-1K. "
        "The seed of a network is that of its training."
    )
    heads = ["model", "source", "data", "depth", "parameters", "accuracy", "n", "seed"]
    return Chapter("Networks", [words, Table(heads, cells, texts=3)])


def _measured(row: ModelRow) -> list[str]:
    accuracy = "not measured" if row.accuracy is None else f"{row.accuracy:.2f}%"
    return [accuracy, "" if row.n is None else f"{row.n:,}", "" if row.seed is None else str(row.seed)]


def labels(rows: Iterable[ModelRow], names: Iterable[str]) -> dict[str, str]:
    """The label of each of these networks in the picker, by name; no two are alike."""
    sources = {row.name: row.source for row in rows}

    def words(name: str) -> str:
        source = sources.get(name, "")
        if source == "torchvision ↓":
            return f"{title(name)} ↓"
        is_own = source in ("your upload", "your run", "shared by you")
        return f"{title(name)} · {source}" if is_own and source not in title(name) else title(name)

    return network_registry.unique_labels(names, words)


def file_bytes(name: str) -> bytes:
    """The network as one file of ours."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "network.safetensors")
        checkpoints.save(checkpoint(name), path)
        return path.read_bytes()


def try_out(reading: Reading, normalisation: Normalisation, subject: InputImage) -> list[tuple[int, float]]:
    """The three most probable classes of that picture, and their probabilities."""
    size = reading.spec.input_shape[1:]
    normalisation = normalisation.of(reading.spec.input_shape[0])
    image = to_input(subject.pixels, size, normalisation.mean, normalisation.std, reading.resize_shorter_to)
    with INFERENCE_SLOTS, torch.inference_mode():
        logits = reading.network()(torch.from_numpy(image)[None])[0]
    probabilities = (logits / reading.spec.temperature).softmax(0)
    best = probabilities.topk(min(3, len(probabilities)))
    return list(zip(best.indices.tolist(), best.values.tolist(), strict=True))
