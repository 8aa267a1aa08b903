"""Drawn scenes: every shape before the same background, and where twins part on them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from explorer import checkpoints, stored_results
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split, shapes
from explorer.experiments import agreement, measurement, residual_blocks
from explorer.experiments.agreement import Predictions
from explorer.images import to_input

NUMBERS = range(1, 21)
"""The scenes that are measured."""
TWINS = ("shapes-plain-56", "shapes-resnet-56")
_CONTENT = f"shapes-v{shapes.VERSION}-32, scenes {NUMBERS[0]} to {NUMBERS[-1]}"


@dataclass(frozen=True)
class Scene:
    """A drawn shape: its class and the number of its scene."""

    label: int
    number: int

    @property
    def picture(self) -> str:
        return f"sample-{self.label}-{self.number}"

    @property
    def name(self) -> str:
        return shapes.CLASS_NAMES[self.label]


def scene_at(index: int) -> Scene:
    """The scene of a row of the predictions."""
    classes = len(shapes.CLASS_NAMES)
    return Scene(index % classes, NUMBERS[index // classes])


def drawn(numbers: Sequence[int] = NUMBERS) -> Split:
    """All ten shapes of each scene, scene by scene, at 32×32 pixels."""
    classes = range(len(shapes.CLASS_NAMES))
    samples = [shapes.sample(label, number) for number in numbers for label in classes]
    images, masks = (np.stack(part) for part in zip(*samples, strict=True))
    return Split(images.transpose(0, 3, 1, 2).copy(), np.tile(np.array(classes), len(numbers)), masks)


def _key(checkpoint: Checkpoint) -> str:
    count = len(NUMBERS) * len(shapes.CLASS_NAMES)
    return measurement.result_key("said", [checkpoints.digest(checkpoint)], _CONTENT, count)


def shipped(networks: Sequence[Checkpoint]) -> Mapping[str, Mapping[str, np.ndarray]]:
    """Measures the predictions that come with the app, packed by their keys."""
    split = drawn()
    found = {}
    for checkpoint in networks:
        for _, result in agreement.predictions(checkpoint, split, shapes.CLASS_NAMES):
            if result is not None:
                found[_key(checkpoint)] = stored_results.pack(result)
    return found


def predictions(checkpoint: Checkpoint) -> Predictions | None:
    """The shipped ones of all scenes; None for another network."""
    return stored_results.unpack(Predictions, stored_results.load(_key(checkpoint)))


def parting(one: Predictions, other: Predictions) -> int | None:
    """The row on which exactly one of two networks is right, and the probabilities of the label differ most; None where
    there is none."""
    margins = np.abs(one.of_label - other.of_label) * (one.right != other.right)
    return int(margins.argmax()) if margins.any() else None


def branch_ratios(checkpoint: Checkpoint, scene: Scene) -> dict[str, float]:
    """|F(x)| / |s(x)| of each block of a residual network, by the name of the block; root mean squares."""
    pixels, _ = shapes.sample(scene.label, scene.number)
    image = to_input(pixels, checkpoint.spec.input_shape[1:], checkpoint.mean, checkpoint.std)
    found = residual_blocks.balances(checkpoint.network, image)
    return {block.name: block.ratio for block in found if block.ratio is not None}


def mistakes(found: Predictions) -> dict[int, int]:
    """How many of its shapes the network takes for another one, by the number of the scene."""
    wrong = (~found.right).reshape(len(NUMBERS), -1).sum(axis=1)
    return dict(zip(NUMBERS, wrong.tolist(), strict=True))
