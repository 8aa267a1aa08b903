"""A measurement of networks on test images of one set: its images, its cost, its key, its steps."""

import hashlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from explorer import checkpoints, stored_results
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments import agreement, cam_metrics, similarity
from explorer.experiments.agreement import Parting, Predictions
from explorer.experiments.cam_metrics import ObjectShares, Target
from explorer.experiments.similarity import Similarity

RESULTS: dict[str, type[Any]] = {"said": Predictions, "cka": Similarity, "shares": ObjectShares}
MOST_NETWORKS = 4
"""That one experiment measures side by side."""
MOST = {"cka": 500, "shares": 500}
"""Images that a measurement takes by itself: Grams grow with the square of their number, and a Grad-CAM has a pass of
its own for each image. Predictions take all; shares take all where a user asks."""


@dataclass(frozen=True)
class DataFacts:
    """What the results on some data need of it where it is not on the machine: the digest of its test split, the number
    of its images, and its classes."""

    content: str
    n: int
    class_names: tuple[str, ...]


def content_of(split: Split, class_names: Sequence[str]) -> str:
    """The digest of the images, labels, masks and names of the classes of a split: 64 hexadecimal digits."""
    found = hashlib.sha256("\0".join(class_names).encode())
    for part in (split.images, split.labels, split.masks):
        found.update(b"none" if part is None else f"{part.dtype} {part.shape}".encode() + part.tobytes())
    return found.hexdigest()


def evenly(total: int, n: int) -> np.ndarray:
    """`n` of `total` images, or all, evenly over the split: int64 indices."""
    n = min(n, total)
    return np.arange(n) * total // n


def evenly_by_class(labels: np.ndarray, n: int) -> np.ndarray:
    """`n` of the labelled images, or all, in their order: each class has its share of them, evenly over its own."""
    by_class = np.argsort(labels, kind="stable")
    return np.sort(by_class[evenly(len(labels), n)])


def rows(split: Split, indices: np.ndarray) -> Split:
    masks = None if split.masks is None else split.masks[indices]
    return Split(split.images[indices], split.labels[indices], masks)


def result_key(
    kind: str, digests: Sequence[str], content: str, n: int, target: Target = "label", owner: str = ""
) -> str:
    """The key of the stored result of networks of these `checkpoints.digest` on `n` images, as `evenly` takes them."""
    settings = {"target": target} if kind == "shares" else {}
    return stored_results.key(kind, digests, content, owner, n=n, **settings)


def facts_key(data: str) -> str:
    """The key of the `DataFacts` of the data of that name."""
    return stored_results.key("data", (), data)


def facts_of(data: str) -> DataFacts | None:
    return stored_results.unpack(DataFacts, stored_results.load(facts_key(data)))


def parting_key(files: Sequence[str], data: str) -> str:
    """The key of the `Parting` of two networks on the test split of that data, by the sha256 of their files: no weights
    have to be read to find it."""
    return stored_results.key("parting", files, data)


def parting_of(files: Sequence[str], data: str) -> Parting | None:
    """The stored one."""
    return stored_results.unpack(Parting, stored_results.load(parting_key(files, data)))


def test_predictions(checkpoint: Checkpoint) -> Predictions | None:
    """The stored ones of a pretrained network for all test images of its own data; None where there are none."""
    facts = facts_of(checkpoint.data)
    if facts is None:
        return None
    key = result_key("said", [checkpoints.digest(checkpoint)], facts.content, facts.n)
    return stored_results.unpack(Predictions, stored_results.load(key))


def steps(
    kind: str, checkpoint: Checkpoint, split: Split, class_names: Sequence[str], target: Target
) -> Iterator[tuple[float, Any]]:
    """The measurement of one network: fractions with None, then 1 with its result. Of a "cka" these are its Grams."""
    if kind == "said":
        return agreement.predictions(checkpoint, split, class_names)
    if kind == "shares":
        return cam_metrics.object_shares(checkpoint, split, class_names, target)
    return similarity.layer_grams(checkpoint, split.images)


def measure_twins(
    twins: Sequence[Checkpoint], split: Split, class_names: Sequence[str], content: str
) -> Generator[tuple[float, dict[str, dict[str, np.ndarray]]], None, None]:
    """All that Compare shows of two networks without measuring it: yields fractions with {}, then 1 with the packed
    results by their keys. Shares need masks."""
    kinds = ["said", "cka", *(["shares"] if split.masks is not None else [])]
    digests = [checkpoints.digest(each) for each in twins]
    found: dict[str, dict[str, np.ndarray]] = {}
    for place, kind in enumerate(kinds):
        n = min(len(split), MOST.get(kind, len(split)))
        taken = rows(split, evenly(len(split), n))
        of_each = []
        for index, checkpoint in enumerate(twins):
            for share, result in steps(kind, checkpoint, taken, class_names, "label"):
                if result is not None:
                    of_each.append(result)
                yield (place + (index + share) / len(twins)) / len(kinds) * 0.999, {}
        if kind == "cka":
            found[result_key(kind, digests, content, n)] = stored_results.pack(similarity.cka(*of_each))
        else:
            packed = {result_key(kind, [own], content, n): each for own, each in zip(digests, of_each, strict=True)}
            found |= {key: stored_results.pack(each) for key, each in packed.items()}
    yield 1.0, found
