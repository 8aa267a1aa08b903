"""How fast this machine trains, measured on a few small networks, and what follows from it for any other."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F

from explorer.architectures import ArchitectureSpec, Stage, Stem, build, describe
from explorer.datasets import Dataset, Split, channel_statistics
from explorer.training.batchnorm import COMPARED, PICTURES, lags
from explorer.training.config import TrainingConfig
from explorer.training.device import choose_device, choose_precision, device_name, use_threads
from explorer.training.evaluation import evaluate
from explorer.training.loop import fit_together
from explorer.training.state import TrainingState

_BATCH = 32
_TEST_PICTURES = 512
_PLAIN_STEPS = 97  # from here on 30 steps measure no gradients, as nearly all steps of a longer training


@dataclass(frozen=True)
class Speed:
    """What a training step of a network costs on this machine, in seconds.

    A step of B pictures takes `step`, `layer` for each visible layer of the network, and for each picture `mac` for
    each multiply-accumulate of the forward pass and `byte` for each byte of its activations. Networks that are
    trained side by side take the time of the slowest; where there are more than `fit`, and on a GPU, their times
    add up. `alone` is the time of a single network with all cores as a share of its time in one thread, `float32`
    the time in float32 as a share of that in the precision that "auto" takes. `test` is the time of a picture in
    evaluation, with all cores, as a share of its time in training beside another network, `start` what passes
    before the first step. `measured` is when, in seconds since 1970.
    """

    step: float
    layer: float
    mac: float
    byte: float
    alone: float
    float32: float
    test: float
    start: float
    fit: int
    device: str
    precision: str
    measured: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is float and (not isinstance(value, int | float) or not 0 <= value < float("inf")):
                raise ValueError(f"`{field.name}` of a speed must be 0 or more, received {value!r}; measure it again.")
        if type(self.fit) is not int or self.fit < 1:
            raise ValueError(f"`fit` of a speed must be 1 or more, received {self.fit!r}; measure it again.")

    def step_seconds(self, specs: Sequence[ArchitectureSpec], batch_size: int, precision: str = "auto") -> float:
        """Time of one step of all `specs` together, trained as `fit_together` does."""
        costs = [self._seconds(spec, batch_size) for spec in specs]
        factor = self.float32 if precision == "float32" else 1.0
        if len(specs) == 1:
            return costs[0] * self.alone * factor
        if self.fit == 1:
            return sum(costs) * factor
        return max(max(costs), sum(costs) / self.fit) * factor

    def _seconds(self, spec: ArchitectureSpec, pictures: int) -> float:
        layers, macs, size = _amounts(spec)
        return self.step + self.layer * layers + pictures * (self.mac * macs + self.byte * size)

    def macs_a_second(self) -> float:
        """Multiply-accumulates of the forward pass that trainings of two ResNet-14 get through together, in float32
        with all cores; what passes of other networks take follows within a factor of two."""
        spec = _reference(32, blocks=2).twin()
        return 2 * _BATCH * describe(spec).macs / max(self.step_seconds([spec, spec], _BATCH, "float32"), 1e-9)

    def test_seconds(self, specs: Sequence[ArchitectureSpec], pictures: int) -> float:
        """Time to measure all `specs` on so many pictures, one after the other with all cores."""
        return self.test * sum(self._seconds(spec, 500) for spec in specs) / 500 * pictures

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Self:
        """Raises ValueError for anything but what `to_dict` gives."""
        try:
            return cls(**values)
        except TypeError:
            raise ValueError("the measured speed is damaged; measure it again.") from None


@dataclass(frozen=True)
class Forecast:
    """What a training of some networks comes to on this machine. `passes` counts how often every training picture is
    seen, `seconds` is the training's time, `measuring` what the start and the test at the end take beside it."""

    steps: int
    passes: float
    seconds: float
    measuring: float


OVERHEAD = 0.06
"""Share of a run's time beside its steps: predictions and Grad-CAMs (2 %), files, reports, checks."""


def forecast(
    speed: Speed,
    specs: Sequence[ArchitectureSpec],
    config: TrainingConfig,
    pictures: tuple[int, int, int],
) -> Forecast:
    """For a data set of so many training, validation and test `pictures`."""
    train, validation, test = pictures
    batch_size = max(1, min(config.batch_size, train))
    steps_an_epoch = max(1, train // batch_size)
    step = speed.step_seconds(specs, batch_size, config.precision) * (1 + OVERHEAD)
    epoch = steps_an_epoch * step + speed.test_seconds(specs, validation)
    if config.seconds is None:
        steps, seconds = (config.epochs or 0) * steps_an_epoch, (config.epochs or 0) * epoch
    else:
        seconds, epochs = config.seconds, config.seconds / epoch
        # The last epoch is cut off before its validation.
        steps = int(epochs) * steps_an_epoch + min(steps_an_epoch, int((epochs % 1) * epoch / step))
    # Statistics of BatchNorm are recomputed, and the network is measured without that too.
    settling = min(train, PICTURES) + min(test, COMPARED) if lags(config, steps) else 0
    measuring = speed.start + speed.test_seconds(specs, validation + test + settling)
    return Forecast(max(1, steps), max(1, steps) * batch_size / train, seconds, measuring)


def measure_speed(seconds: float = 0.3, warm_up: float = 2.5) -> Speed:
    """Trains twins of 8 and 38 layers on noise, `seconds` for each of eight cases, as a run does. A processor that
    has rested computes faster for some seconds, a training lasts longer: so `warm_up` seconds come first."""
    device = choose_device()
    use_threads()
    auto = choose_precision(device)
    small, large, narrow = _reference(16), _reference(32), _reference(16, blocks=6, width=8)
    _measured(small, _BATCH, warm_up)
    points = [
        (small, _BATCH, _measured(small, _BATCH, seconds)),
        (small, 8, _measured(small, 8, seconds)),
        (large, _BATCH, _measured(large, _BATCH, seconds)),
        (_reference(16, blocks=6), _BATCH, _measured(_reference(16, blocks=6), _BATCH, seconds)),
        (narrow, 2 * _BATCH, _measured(narrow, 2 * _BATCH, seconds)),  # as what one click trains on a slow machine
        (_reference(16, width=64), _BATCH, _measured(_reference(16, width=64), _BATCH, seconds)),
    ]
    together = points[2][2]
    alone = _measured(large, _BATCH, seconds, twin=False)
    float32 = 1.0
    if auto != torch.float32:
        float32 = _measured(large, _BATCH, seconds, precision="float32") / together
    in_turns = device.type != "cpu"
    step, layer, mac, byte = _solved(
        [[value * (2 if in_turns else 1) for value in _amounts(spec.twin())] for spec, _, _ in points],
        [batch for _, batch, _ in points],
        [taken for _, _, taken in points],
    )
    return Speed(
        step=step,
        layer=layer,
        mac=mac,
        byte=byte,
        alone=alone / together * (2 if in_turns else 1),
        float32=float32,
        test=_test_seconds(large) / (together / _BATCH / (2 if in_turns else 1)),
        start=0.0,
        fit=1 if in_turns else max(2, torch.get_num_threads()),
        device=device_name(device),
        precision=str(auto).removeprefix("torch."),
        measured=time.time(),
    )


def training_speed(seconds: float = 0.4) -> float:
    """Multiply-accumulates of the forward pass that a training in this process gets through in a second, measured for
    `seconds` on a ResNet-14: what passes of other networks in this process take follows within a factor of two."""
    device = choose_device()
    spec = _reference(32, blocks=2).twin()
    network = build(spec).to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    images = torch.zeros(_BATCH, *spec.input_shape, device=device).to(memory_format=torch.channels_last)
    labels = torch.zeros(_BATCH, dtype=torch.long, device=device)
    steps, started = -1, 0.0  # the first step warms up
    while steps < 1 or time.perf_counter() - started < seconds:
        loss = F.cross_entropy(network(images), labels)
        torch.autograd.grad(loss, list(network.parameters()))
        loss.item()  # waits for a GPU
        steps += 1
        if steps == 0:
            started = time.perf_counter()
    return steps * _BATCH * describe(spec).macs / (time.perf_counter() - started)


def training_memory(parameters: int, activation_bytes: int, batch_size: int, optimizer: str) -> int:
    """About how many bytes a training step of one network needs: weights, gradients, the optimiser's moments, and
    the outputs of all layers for one batch, which wait for the backward pass."""
    copies = 4 if optimizer == "adam" else 3
    return 4 * copies * parameters + activation_bytes * batch_size


def _reference(size: int, blocks: int = 1, width: int = 16) -> ArchitectureSpec:
    stages = (Stage(blocks, width), Stage(blocks, 2 * width, 2), Stage(blocks, 4 * width, 2))
    return ArchitectureSpec(stages, shortcut="none", stem=Stem(width), input_shape=(3, size, size))


def _amounts(spec: ArchitectureSpec) -> tuple[float, float, float]:
    """Visible layers, multiply-accumulates and activation bytes of the forward pass of one picture."""
    built = describe(spec)
    return float(len(built.layers)), float(built.macs), float(built.activation_bytes)


def _noise(size: int, count: int) -> Dataset:
    random = np.random.default_rng(0)
    train, none = (
        Split(random.integers(0, 256, (n, 3, size, size), np.uint8), random.integers(0, 10, n)) for n in (count, 0)
    )
    return Dataset("noise", tuple("abcdefghij"), *channel_statistics(train.images), train, none, none)


def _measured(
    spec: ArchitectureSpec, batch_size: int, seconds: float, twin: bool = True, precision: str = "auto"
) -> float:
    """Seconds of a step of the network, with its twin or without: the median of the steps behind the first two."""
    specs = (spec, spec.twin()) if twin else (spec,)
    config = TrainingConfig(
        epochs=100_000,
        batch_size=batch_size,
        learning_rate=1e-3,
        augment=False,
        precision=precision,  # type: ignore[arg-type]
    )
    state = TrainingState(step=_PLAIN_STEPS)
    training = fit_together(
        [build(each) for each in specs], _noise(spec.input_shape[1], 8 * batch_size), config, state, report_every=0
    )
    next(training), next(training)
    taken: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(taken) < 3:
        before = state.training_seconds
        next(training)
        if state.training_seconds > before:  # else it was the validation of an epoch
            taken.append(state.training_seconds - before)
    training.close()  # type: ignore[attr-defined]
    return statistics.median(taken)


def _test_seconds(spec: ArchitectureSpec) -> float:
    """Seconds of one picture of a network in evaluation."""
    noise, network = _noise(spec.input_shape[1], _TEST_PICTURES), build(spec).to(choose_device())
    part = replace(noise.train, images=noise.train.images[:32], labels=noise.train.labels[:32])
    evaluate(network, part, noise.mean, noise.std)
    started = time.perf_counter()
    evaluate(network, noise.train, noise.mean, noise.std)
    return (time.perf_counter() - started) / _TEST_PICTURES


def _solved(
    amounts: Sequence[Sequence[float]], batches: Sequence[int], seconds: Sequence[float]
) -> tuple[float, float, float, float]:
    """Costs of a step, a layer, a multiply-accumulate and a byte, none below 0, of the least squared relative error."""
    rows = np.array(
        [
            [1.0, layers, batch * macs, batch * size]
            for (layers, macs, size), batch in zip(amounts, batches, strict=True)
        ]
    )
    rows = rows / np.array(seconds)[:, None]  # of 1 = 100 % each
    best, found = np.inf, np.zeros(4)
    for count in (1, 2, 3, 4):
        for chosen in map(list, combinations(range(4), count)):
            scale = rows[:, chosen].max(0)  # of about one size, or the least squares lose the small ones
            solution = np.linalg.lstsq(rows[:, chosen] / scale, np.ones(len(rows)), rcond=None)[0] / scale
            error = float(((rows[:, chosen] @ solution - 1) ** 2).sum())
            if (solution >= 0).all() and error < best:
                best, found = error, np.zeros(4)
                found[chosen] = solution
    step, layer, mac, byte = found.tolist()
    return step, layer, mac, byte
