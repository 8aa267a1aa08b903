"""Robust accuracy: how often networks stay right where every picture is changed to mislead them."""

from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from threading import Event

import numpy as np

from explorer.architectures import ArchitectureSpec, describe
from explorer.attribution.explanation import pictures_at_once
from explorer.checkpoints import Checkpoint
from explorer.datasets import Split
from explorer.experiments.adversarial import check_attackable, shares_of, start, step, uphill
from explorer.experiments.attacks import STEPS, Attack, epsilon_text
from explorer.experiments.changed_pictures import probabilities_of, seen_by
from explorer.experiments.measurement import MOST_NETWORKS
from explorer.experiments.throughput import on_all_cores
from explorer.intervals import Accuracy, accuracy

USUAL = 200  # test pictures


@dataclass(frozen=True)
class RobustAccuracy:
    """One network's accuracy where every picture is attacked within each of `epsilons`, of which the first is 0.

    `right` counts the pictures whose answer stays right: of an attack that finds too little it is too high. `reached`
    counts those that are answered with the target, None without one.
    """

    epsilons: tuple[float, ...]
    right: tuple[Accuracy, ...]
    reached: tuple[Accuracy, ...] | None


def cost(spec: ArchitectureSpec, n: int, levels: int, steps: int = STEPS) -> int:
    """Multiply-accumulates of n pictures at most, untouched and attacked within so many ε; a way back costs two of
    those there."""
    return describe(spec).macs * n * (1 + levels * 3 * max(1, steps))


def robust_accuracy(
    checkpoints: Sequence[Checkpoint],
    split: Split,
    class_names: Sequence[str],
    epsilons: Sequence[float],
    *,
    steps: int = STEPS,
    seed: int = 0,
    target: str | None = None,
    threads: int | None = None,
) -> Generator[tuple[float, tuple[RobustAccuracy, ...] | None], None, None]:
    """The accuracy of each network against its own attacks within each ε, on the same pictures.

    The labels of `split` count `class_names`, which every network must know. An attack raises the loss of a picture's
    label; a picture that is answered wrongly untouched is wrong at every ε. With a `target`, the name of a class, an
    attack lowers that class's loss, and its own pictures are left out. A picture counts as lost as soon as a step
    succeeds, since each lies in the ball. Every ε is searched by itself.

    Yields (fraction done, None) after every batch and ends with (1.0, the accuracies). Closing the generator ends the
    work within a step. The networks are left as they were found, and threads may share them. Raises ValueError for no
    network or more than four, no pictures, unknown classes, an ε out of range, or a network in training mode.
    """
    attacks = [None, *(Attack(epsilon, steps, seed) for epsilon in sorted({*epsilons} - {0}))]
    if not 1 <= len(checkpoints) <= MOST_NETWORKS:
        raise ValueError(f"`checkpoints` must hold 1 to {MOST_NETWORKS} networks, received {len(checkpoints)}.")
    chosen = np.flatnonzero([class_names[label] != target for label in split.labels])
    if not len(chosen):
        raise ValueError("there are no images to attack, or all show the target's class; choose others.")
    labels, goals, jobs = [], [], []
    for network, checkpoint in enumerate(checkpoints):
        check_attackable(checkpoint)
        labels.append(_own_classes(checkpoint, class_names)[split.labels[chosen]])
        goals.append(labels[-1] if target is None else np.full(len(chosen), _own_classes(checkpoint, [target])[0]))
        size = pictures_at_once(checkpoint.spec)
        parts = [np.arange(at, min(at + size, len(chosen))) for at in range(0, len(chosen), size)]
        jobs += [(network, level, part) for part in parts for level in range(len(attacks))]
    stopped = Event()

    def answers(network: int, level: int, part: np.ndarray) -> np.ndarray:
        pictures = split.images[chosen[part]].transpose(0, 2, 3, 1)  # (N, H, W, 3)
        clean = shares_of([seen_by(checkpoints[network], picture) for picture in pictures])
        goal, numbers = goals[network][part], chosen[part].tolist()
        return _answers(checkpoints[network], clean, goal, attacks[level], target is not None, numbers, stopped)

    once = [describe(each.spec).macs for each in checkpoints]
    costs = [once[network] * len(part) * (3 * max(1, steps) if level else 1) for network, level, part in jobs]
    done, total = 0, sum(cost(each.spec, len(chosen), len(attacks) - 1, steps) for each in checkpoints)
    predicted = np.empty((len(checkpoints), len(attacks), len(chosen)), np.int64)
    with ExitStack() as cleanup:
        calls = (partial(answers, *job) for job in jobs)
        results = cleanup.enter_context(closing(on_all_cores(calls, threads)))
        cleanup.callback(stopped.set)  # before the closing, which waits for the calls that run
        for job, macs, found in zip(jobs, costs, results, strict=True):
            predicted[job] = found
            done += macs
            if done < total:
                yield done / total, None

    def counted(hits: np.ndarray) -> tuple[Accuracy, ...]:
        return tuple(accuracy(int(each.sum()), len(chosen)) for each in hits)

    yield (
        1.0,
        tuple(
            RobustAccuracy(
                epsilons=tuple(attack.epsilon if attack else 0.0 for attack in attacks),
                right=counted(predicted[network] == labels[network]),
                reached=None if target is None else counted(predicted[network] == goals[network]),
            )
            for network in range(len(checkpoints))
        ),
    )


def _answers(
    checkpoint: Checkpoint,
    clean: np.ndarray,
    classes: np.ndarray,
    attack: Attack | None,
    is_targeted: bool,
    numbers: Sequence[int],
    stopped: Event,
) -> np.ndarray:
    """What is predicted for each picture where the attack first succeeds on it, else at its end: int64 (N,)."""
    predicted = np.empty(len(clean), np.int64)
    rest = np.arange(len(clean))
    if attack is None or attack.steps:  # the untouched picture lies in the ball too
        predicted = probabilities_of(checkpoint, clean).argmax(1)
        if attack is None:
            return predicted
        rest = np.flatnonzero((predicted == classes) != is_targeted)
    pictures = start(clean, attack, numbers)[rest]
    for _ in range(max(1, attack.steps)):
        if not len(rest) or stopped.is_set():
            return predicted
        signs, predicted[rest] = uphill(checkpoint, pictures, classes[rest])
        goes_on = (predicted[rest] == classes[rest]) != is_targeted
        rest = rest[goes_on]
        pictures = step(pictures[goes_on], signs[goes_on], clean[rest], attack, is_targeted)
    if len(rest):
        predicted[rest] = probabilities_of(checkpoint, pictures).argmax(1)
    return predicted


def _own_classes(checkpoint: Checkpoint, class_names: Sequence[str]) -> np.ndarray:
    """The network's index of each class, int64. Raises ValueError for one that it does not know."""
    own = list(checkpoint.class_names)
    if own == list(class_names):  # also where one name stands for two classes
        return np.arange(len(own))
    unknown = [name for name in class_names if name not in own]
    if unknown:
        raise ValueError(f"{checkpoint.spec.name} does not know the class `{unknown[0]}`; choose one that it knows.")
    return np.array([own.index(name) for name in class_names])


def robust_sentences(found: Sequence[RobustAccuracy], names: Sequence[str], steps: int = STEPS) -> list[str]:
    """The accuracy of each network, called as in `names`, untouched and within the largest ε; of two, where they
    differ."""
    said = []
    for name, each in zip(names, found, strict=True):
        first, last = each.right[0], each.right[-1]
        attack = Attack(each.epsilons[-1], steps).words()
        left = f"; {attack} leaves {last.share:.1%} ({last.low:.1%} to {last.high:.1%})" if len(each.right) > 1 else ""
        said.append(f"Untouched, {name} is right on {first.share:.1%} of {first.n:,} images{left}.")
    if len(found) == 2 and len(found[0].right) > 1:
        for epsilon, *pair in list(zip(found[0].epsilons, *(each.right for each in found), strict=True))[1:]:
            low, high = sorted((0, 1), key=lambda index: pair[index].share)
            if pair[low].high < pair[high].low:
                said.append(
                    f"Within {epsilon_text(epsilon)}, {names[high]} stays right more often than {names[low]}: "
                    f"{pair[high].share:.1%} against {pair[low].share:.1%}, and the intervals do not meet."
                )
                break
        else:
            said.append("The intervals of the two meet at every ε, so they show no difference.")
    return said
