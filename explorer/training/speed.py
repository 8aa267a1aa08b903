"""The training speed of this machine, measured on a few small networks, and forecasts for any other."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from typing import Any, Self

import numpy as np
import torch

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
    """Costs of training on this machine, in seconds.

    A step of B pictures takes `step`, `layer` for each visible layer of the network, and for each picture `mac` for
    each multiply-accumulate of the forward pass and `byte` for each byte of its activations. Networks side by side take
    the time of the slowest; where there are more than `fit`, and on a GPU, their times add up. `alone` is the time of a
    single network with all cores as a share of its time in one thread, `float32` the time in float32 as a share of that
    in the precision of "auto". `test` is the time of a picture in evaluation, with all cores, as a share of its time in
    training beside another network; `start` passes before the first step; `measured` is in seconds since 1970.
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
        """Time of one step of all `specs` together, as `fit_together` takes it."""
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
        """Multiply-accumulates of the forward pass per second of two ResNet-14 in training, in float32 with all cores;
        passes of other networks agree within a factor of two."""
        spec = _reference(32, blocks=2).twin()
        return 2 * _BATCH * describe(spec).macs / max(self.step_seconds([spec, spec], _BATCH, "float32"), 1e-9)

    def test_seconds(self, specs: Sequence[ArchitectureSpec], pictures: int) -> float:
        """Time to evaluate all `specs` on so many pictures, one after the other with all cores."""
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
    """A training of some networks on this machine: its `steps`, the `passes` through the training pictures, its
    `seconds`, and those that start and final test take beside it, `measuring`."""

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
    """For a dataset of so many training, validation and test `pictures`."""
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
    """Trains twins of 8 and 38 layers on noise, `seconds` for each of eight cases, as a run does. A processor that has
    rested computes faster for some seconds: so `warm_up` seconds come first."""
    device = choose_device()
    use_threads()
    auto = choose_precision(device)
    small, large = _reference(16), _reference(32)
    _step_seconds(small, _BATCH, warm_up)
    cases = [
        (large, _BATCH),
        (small, _BATCH),
        (small, 8),
        (_reference(16, blocks=6), _BATCH),
        (_reference(16, blocks=6, width=8), 2 * _BATCH),  # as one click trains on a slow machine
        (_reference(16, width=64), _BATCH),
    ]
    measured = [_step_seconds(spec, batch_size, seconds) for spec, batch_size in cases]
    together = measured[0]
    alone = _step_seconds(large, _BATCH, seconds, twin=False)
    float32 = 1.0
    if auto != torch.float32:
        float32 = _step_seconds(large, _BATCH, seconds, precision="float32") / together
    in_turns = 1 if device.type == "cpu" else 2  # networks
    step, layer, mac, byte = _solved(
        [[value * in_turns for value in _amounts(spec.twin())] for spec, _ in cases],
        [batch_size for _, batch_size in cases],
        measured,
    )
    return Speed(
        step=step,
        layer=layer,
        mac=mac,
        byte=byte,
        alone=alone / together * in_turns,
        float32=float32,
        test=_test_seconds(large) / (together / _BATCH / in_turns),
        start=0.0,
        fit=max(2, torch.get_num_threads()) if device.type == "cpu" else 1,
        device=device_name(device),
        precision=str(auto).removeprefix("torch."),
        measured=time.time(),
    )


def training_speed(seconds: float = 0.4) -> float:
    """Multiply-accumulates of the forward pass per second of a ResNet-14 in training in this process, measured for
    `seconds`: passes of other networks agree within a factor of two. It is of the fastest step: other work may fill so
    short a time, and a page keeps the value."""
    spec = _reference(32, blocks=2).twin()
    step = _step_seconds(spec, _BATCH, seconds, twin=False, precision="float32", of=min)
    return _BATCH * describe(spec).macs / step


def training_memory(parameters: int, activation_bytes: int, batch_size: int, optimizer: str) -> int:
    """About how many bytes a training step of one network needs: weights, gradients, moments of the optimiser, and the
    outputs of all layers for one batch."""
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


def _step_seconds(
    spec: ArchitectureSpec,
    batch_size: int,
    seconds: float,
    twin: bool = True,
    precision: str = "auto",
    of: Callable[[Sequence[float]], float] = statistics.median,
) -> float:
    """Seconds of a step of the network, with its twin or without: the median, or `of`, of the steps after the first
    two."""
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
    return of(taken)


def _test_seconds(spec: ArchitectureSpec) -> float:
    """Seconds of one picture in evaluation."""
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
    parts = zip(amounts, batches, strict=True)
    rows = np.array([[1.0, layers, batch * macs, batch * size] for (layers, macs, size), batch in parts])
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
