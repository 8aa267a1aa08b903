"""Adversarial pictures: FGSM and PGD within a ball of L∞, and where the clean and the perturbed pass part."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch

from explorer.architectures import Intervened, Intervention, Recorder
from explorer.attribution import relative_distance
from explorer.checkpoints import Checkpoint
from explorer.experiments.attacks import Attack
from explorer.experiments.changed_pictures import input_of, probabilities, seen_by
from explorer.images import REST, Dials, Frame, change
from explorer.tracing import STRIP_KINDS, check_evaluation_mode, read_only


@dataclass(frozen=True, eq=False)
class AttackedNetwork:
    """One network before and after: `before` and `after` are the probabilities of the clean and of the perturbed
    picture, float64 (classes,), from one pass of both.

    `layers` are those of the depth strip in execution order, `distances` ‖a - a'‖ / ‖a‖ of their activations, float64,
    masked where all of a is 0. `is_fooled`: its answer changed, to the target's class where there is one.
    """

    class_names: tuple[str, ...]
    before: np.ndarray
    after: np.ndarray
    layers: tuple[str, ...]
    distances: np.ma.MaskedArray
    is_fooled: bool

    @classmethod
    def of(
        cls,
        class_names: tuple[str, ...],
        before: np.ndarray,
        after: np.ndarray,
        distances: Mapping[str, float],
        target: str | None,
    ) -> Self:
        """From the probabilities and distances by layer, not a number where there is none; `target` is the class that
        it shall answer."""
        answer = after.argmax()
        is_fooled = bool(before.argmax() != answer) and (target is None or class_names[answer] == target)
        parted = np.ma.masked_invalid(list(distances.values()))
        return cls(class_names, before, after, tuple(distances), parted, is_fooled)

    @property
    def answers(self) -> tuple[str, str]:
        """The predicted classes before and after."""
        return self.class_names[self.before.argmax()], self.class_names[self.after.argmax()]


@dataclass(frozen=True, eq=False)
class AttackedPicture:
    """A picture that was made against the network `against`, and what each network answers.

    `clean` and `perturbed` are float64 (C, height, width), 0..1, at the size of the network's input. The attack raised
    the loss of the class `label`, or lowered that of `target`, which is then not None; both are of network `against`.
    """

    attack: Attack
    against: int
    label: int
    target: int | None
    clean: np.ndarray
    perturbed: np.ndarray
    networks: tuple[AttackedNetwork, ...]

    @property
    def perturbation(self) -> np.ndarray:
        """perturbed - clean, float64 (C, height, width), -ε..ε."""
        return self.perturbed - self.clean

    def magnified(self, times: float = 10) -> np.ndarray:
        """The perturbation so many times as large, on mid-grey: uint8 (height, width, C)."""
        levels = np.rint((0.5 + times * self.perturbation) * 255).clip(0, 255)
        return np.ascontiguousarray(levels.transpose(1, 2, 0), dtype=np.uint8)


# --- one picture ------------------------------------------------------------------------------------------------------


def attack_by_steps(
    checkpoints: Sequence[Checkpoint],
    pixels: np.ndarray,
    attack: Attack,
    *,
    against: int = 0,
    label: int | None = None,
    target: int | None = None,
    least: bool = False,
    dials: Dials = REST,
    frame: Frame | None = None,
) -> Generator[tuple[float, AttackedPicture | None], None, None]:
    """Perturbs `pixels`, uint8 (H, W, 3), against one network, and asks all of them about the result.

    `label` is the class whose loss rises, by default the predicted one; with a `target`, or for the `least` likely
    class, that class's loss falls instead. All networks see the very picture that was made, so their inputs must have
    one shape. They are left as they were found: no hooks, no `.grad`, and threads may share them.

    Yields (fraction done, None) after every pass and ends with (1.0, the picture). Raises ValueError for networks that
    do not fit, a class that is none, or a network in training mode.
    """
    attacked = checkpoints[against]
    for checkpoint in checkpoints:
        check_attackable(checkpoint)
        if checkpoint.spec.input_shape != attacked.spec.input_shape:
            raise ValueError(
                f"a picture made against {attacked.spec.name} has the shape {attacked.spec.input_shape}, and "
                f"{checkpoint.spec.name} takes {checkpoint.spec.input_shape}; choose networks with inputs of one shape."
            )
    for name, value in (("label", label), ("target", target)):
        if value is not None and value not in range(attacked.spec.classes):
            raise ValueError(f"`{name}` must be a class from 0 to {attacked.spec.classes - 1}, received {value!r}.")
    (clean,) = shares_of([change(seen_by(attacked, pixels, frame), dials)])
    share = attack.passes / (attack.passes + len(checkpoints))
    found: Aimed | None = None
    for fraction, result in aim(attacked, clean, attack, label=label, target=target, least=least):
        found = result
        yield share * fraction, None
    assert found is not None
    both, networks = np.stack([clean, found.perturbed]), []
    wanted = None if found.target is None else attacked.class_names[found.target]
    for checkpoint in checkpoints:
        networks.append(_asked(checkpoint, both, wanted))
        yield share + (1 - share) * len(networks) / len(checkpoints), None
    yield (
        1.0,
        AttackedPicture(attack, against, found.label, found.target, read_only(clean), found.perturbed, tuple(networks)),
    )


def _asked(checkpoint: Checkpoint, both: np.ndarray, target: str | None) -> AttackedNetwork:
    """Of the clean and the perturbed picture, (2, C, height, width)."""
    network = checkpoint.network
    recorder = Recorder(network, STRIP_KINDS)
    with torch.no_grad():
        logits = network(input_of(checkpoint, both), recorder)
    before, after = probabilities(checkpoint, logits)
    distances = {name: relative_distance(*outputs.numpy(force=True)) for name, outputs in recorder.outputs.items()}
    return AttackedNetwork.of(checkpoint.class_names, read_only(before), read_only(after), distances, target)


class Aimed(NamedTuple):
    """What an attack made of one picture: float64 (C, height, width) on the scale 0..1.

    `label` is the class that is predicted for the clean picture, or whose loss was to rise; `target` is the class that
    the network shall answer instead, None for any other.
    """

    perturbed: np.ndarray
    label: int
    target: int | None


def aim(
    checkpoint: Checkpoint,
    clean: np.ndarray,
    attack: Attack,
    *,
    label: int | None = None,
    target: int | None = None,
    least: bool = False,
    interventions: Sequence[Intervention] = (),
) -> Generator[tuple[float, Aimed | None], None, None]:
    """Attacks `clean`, float64 (C, height, width) on the scale 0..1, for the class `target`, for the `least` likely
    one, or against the class `label`, by default the predicted one.

    The network works with these interventions. A target that it does not have counts as any other class. Yields
    (fraction done, None) after every pass, so that the caller may stop, and ends with (1.0, what was found). Raises
    ValueError for a network in training mode, or with one class, or whose logits are not finite.
    """
    check_attackable(checkpoint)
    pictures = clean[None]
    with torch.no_grad():
        (answer,) = probabilities(checkpoint, _logits(checkpoint, input_of(checkpoint, pictures), interventions))
    label = int(answer.argmax()) if label is None else label
    target = int(answer.argmin()) if least else target
    if target is not None and target >= checkpoint.spec.classes:
        target = None
    yield 1 / (1 + attack.passes), None
    classes = np.array([label if target is None else target])
    steps = perturb_by_steps(checkpoint, pictures, classes, attack, target is not None, interventions=interventions)
    for done, after_step in enumerate(steps, 2):
        (perturbed,) = after_step
        yield done / (1 + attack.passes), None
    yield 1.0, Aimed(read_only(perturbed), label, target)


def _logits(checkpoint: Checkpoint, images: torch.Tensor, interventions: Sequence[Intervention]) -> torch.Tensor:
    network = checkpoint.network
    return network(images, Intervened(network, (), interventions)) if interventions else network(images)


def perturb(
    checkpoint: Checkpoint,
    clean: np.ndarray,
    classes: np.ndarray,
    attack: Attack,
    is_targeted: bool = False,
    numbers: Sequence[int] | None = None,
    interventions: Sequence[Intervention] = (),
) -> np.ndarray:
    """The last value of `perturb_by_steps`, which has the same parameters."""
    *_, pictures = perturb_by_steps(checkpoint, clean, classes, attack, is_targeted, numbers, interventions)
    return pictures


def perturb_by_steps(
    checkpoint: Checkpoint,
    clean: np.ndarray,
    classes: np.ndarray,
    attack: Attack,
    is_targeted: bool = False,
    numbers: Sequence[int] | None = None,
    interventions: Sequence[Intervention] = (),
) -> Iterator[np.ndarray]:
    """The perturbed pictures after each step, float64 like `clean`, (N, C, height, width) on the scale 0..1.

    The loss of each picture's class in `classes`, int64 (N,), rises or, where `is_targeted`, falls. A random start
    depends on the seed and the picture's number in `numbers`, by default 0, 1, ..., and not on the rest of the batch.
    The network works with these interventions.
    """
    pictures = start(clean, attack, range(len(clean)) if numbers is None else numbers)
    for _ in range(attack.passes):
        signs, _ = uphill(checkpoint, pictures, classes, interventions)
        pictures = step(pictures, signs, clean, attack, is_targeted)
        yield pictures


def start(clean: np.ndarray, attack: Attack, numbers: Sequence[int]) -> np.ndarray:
    """Where the attack on each picture begins; the parameters are those of `perturb`."""
    if not attack.steps:
        return clean
    draws = [np.random.default_rng([attack.seed, number]).random(clean.shape[1:]) for number in numbers]
    return (clean + attack.epsilon * (2 * np.stack(draws) - 1)).clip(0, 1)


def step(pictures: np.ndarray, signs: np.ndarray, clean: np.ndarray, attack: Attack, is_targeted: bool) -> np.ndarray:
    """The pictures after one step along `signs`, back in the ball and in 0..1."""
    low, high = np.maximum(clean - attack.epsilon, 0), np.minimum(clean + attack.epsilon, 1)
    return (pictures + (-attack.step if is_targeted else attack.step) * signs).clip(low, high)


def uphill(
    checkpoint: Checkpoint, pictures: np.ndarray, classes: np.ndarray, interventions: Sequence[Intervention] = ()
) -> tuple[np.ndarray, np.ndarray]:
    """The sign of the gradient of each picture's cross-entropy, and what is predicted for it.

    With u = log Σ exp(z of the other classes) - z of the class the cross-entropy is log(1 + exp(u)), which rises with
    u: both gradients have one sign, and that of u does not round to 0 where the network is sure.
    """
    index = torch.from_numpy(classes)[:, None].to(checkpoint.network.device)
    with torch.enable_grad():
        images = input_of(checkpoint, pictures).requires_grad_()
        logits = _logits(checkpoint, images, interventions)
        if not logits.isfinite().all():
            raise ValueError("the network's logits are not finite for some images; choose other weights.")
        scaled = logits / checkpoint.spec.temperature
        others = scaled.scatter(1, index, -torch.inf).logsumexp(1)
        unused = bool(interventions)  # they may cut the image off
        (gradient,) = torch.autograd.grad(
            (others - scaled.gather(1, index)[:, 0]).sum(), images, allow_unused=unused, materialize_grads=unused
        )
    return gradient.sign().numpy(force=True), logits.argmax(1).numpy(force=True)


def check_attackable(checkpoint: Checkpoint) -> None:
    """Raises ValueError for a network in training mode, or with one class."""
    check_evaluation_mode(checkpoint.network)
    if checkpoint.spec.classes < 2:
        raise ValueError(f"{checkpoint.spec.name} knows one class, so no picture can change its answer.")


def shares_of(seen: Sequence[np.ndarray]) -> np.ndarray:
    """float64 (N, C, H, W) on the scale 0..1 for uint8 (H, W, C)."""
    return np.stack(seen).transpose(0, 3, 1, 2) / 255


def picture_sentences(found: AttackedPicture, names: Sequence[str]) -> list[str]:
    """What the attack did to the network that it was made against, which comes first, and to the others. Each is called
    as in `names`."""
    said, networks = [], [*enumerate(zip(names, found.networks, strict=True))]
    wanted = found.networks[found.against].class_names[found.target] if found.target is not None else None
    aimed = "" if wanted is None else f", for the answer {wanted},"
    for index, (name, network) in sorted(networks, key=lambda each: each[0] != found.against):
        before, after = network.answers
        turns = f"answers {after} instead of {before}" if before != after else f"still answers {before}"
        if index == found.against:
            said.append(f"Under {found.attack.words()}{aimed} {name} {turns}.")
        else:
            said.append(f"{name} {'falls' if network.is_fooled else 'does not fall'} for the same picture: it {turns}.")
        if network.distances.count() and network.distances.max() > 0:
            first, most = network.distances.compressed()[0], int(network.distances.argmax())
            said.append(
                f"The two passes of {name} differ by {first:.2g} at first and most at {network.layers[most]}, by "
                f"{network.distances[most]:.2g} of the clean activation."
            )
    return said
