"""`fit`: a straight-line training loop that yields its progress and leaves the weights in the network."""

import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import Network
from explorer.datasets import Dataset
from explorer.training.batches import augment, class_weights, normalise, on_device, statistics
from explorer.training.batchnorm import PICTURES, lags, recompute_batchnorm, running_statistics
from explorer.training.config import TrainingConfig, learning_rate_at
from explorer.training.device import choose_device, choose_precision, device_name, memory_format
from explorer.training.dials import TrainingDials, dials_at
from explorer.training.evaluation import evaluate
from explorer.training.optimizer import Optimizer
from explorer.training.processes import ALONE, Processes
from explorer.training.record import EpochResult, Evaluation, GradientSizes, NetworkProgress, Progress, TrainingRecord
from explorer.training.state import NetworkState, TrainingState

VERIFY_EVERY = 10  # steps between two checks that everything is finite
LONG_VALIDATION = 1.0  # seconds; the loop yields before one that may take longer


def is_gradient_step(step: int) -> bool:
    """Whether weight gradients are measured at `step`: 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, ... (two a doubling)."""
    return step < 2 or step & (step - 1) == 0 or (step % 3 == 0 and (step // 3) & (step // 3 - 1) == 0)


def steps_of_epoch(config: TrainingConfig, images: int) -> int:
    """The rest of an epoch is left out, so that all batches are equal."""
    return max(1, images // config.batch_size)


def planned_steps(config: TrainingConfig, images: int) -> int | None:
    """The steps of a training with so many training pictures; None where the clock ends it."""
    return None if config.epochs is None else steps_of_epoch(config, images) * config.epochs


def fit(
    network: Network,
    dataset: Dataset,
    config: TrainingConfig,
    state: TrainingState | None = None,
    report_every: float = 0.5,
) -> Iterator[Progress]:
    """Trains one `network` in place, as `fit_together` does."""
    return fit_together([network], dataset, config, state, report_every)


def fit_together(
    networks: Sequence[Network],
    dataset: Dataset,
    config: TrainingConfig,
    state: TrainingState | None = None,
    report_every: float = 0.5,
    processes: Processes = ALONE,
    is_due: Callable[[int], bool] = lambda step: False,
) -> Iterator[Progress]:
    """Trains `networks` in place, side by side, each step on the same batch. Yields after the first step, about every
    `report_every` seconds, after the steps that are due, before a validation that may take long, after each epoch, and
    at the end.

    On a CPU each network takes its steps in a thread of its own, with its share of torch's threads; a single network
    has them all. On a GPU, and with `compile`, the networks take turns. Between two yields nothing computes.

    The training split lies on the device as uint8 and is normalised and augmented there, batch by batch. Batches and
    augmentation follow from the seed alone, so networks that are trained apart see the same ones too. On a CPU one seed
    and one number of threads a network give the same bits, alone or side by side. The last `Progress` carries a
    `TrainingRecord` for each network; the networks are then on the CPU, in evaluation mode. Closing the generator early
    leaves the weights of that moment. Where the running statistics of BatchNorm lag behind (`lags`), they are
    recomputed before the end.

    Of several `processes` each calls this with the same arguments, and takes its share of each batch; all yield after
    the same steps. Each validates on the whole split.

    `state` is advanced in place. One that `restore` read continues where it was saved, with its number of threads. Its
    `changes` turn dials at their steps, in every network at the same one; between two yields more may be added.

    When the loss or a weight of a network is no longer finite, its training ends with outcome "diverged" and the last
    weights that were verified as finite; the others continue.

    Raises ValueError where dataset and networks do not fit together, a network is frozen, or the batch cannot be shared
    among the processes.
    """
    if not networks or len({id(network) for network in networks}) < len(networks):
        raise ValueError(f"`networks` must hold one network or several different ones, received {len(networks)}.")
    for network in networks:
        _check_fit(network, dataset)
    if config.compile and processes.count > 1:
        raise ValueError("`compile` works in one process only; leave it out to train in several.")
    state = state or TrainingState()
    device = choose_device(config.device)
    dtype = choose_precision(device, config.precision)
    images, labels = on_device(dataset.train, device)
    mean, std = statistics(dataset, device)
    state.networks = state.networks or [NetworkState() for _ in networks]
    # Processes exchange their gradients in one order, so in them networks take turns too.
    side_by_side = device.type == "cpu" and len(networks) > 1 and not config.compile and processes.count == 1
    threads = torch.get_num_threads()
    state.threads = state.threads or (max(1, threads // len(networks)) if side_by_side else threads)
    weights = class_weights(dataset).to(device) if config.class_weights else None
    trained = [
        _TrainedNetwork(*pair, config, device, dtype, processes, weights)
        for pair in zip(networks, state.networks, strict=True)
    ]
    steps_an_epoch = steps_of_epoch(config, len(labels))
    batch_size = min(config.batch_size, len(labels))
    share = processes.share(batch_size)

    def fraction() -> float:
        if config.epochs is not None:
            return min(1.0, state.step / (steps_an_epoch * config.epochs))
        return min(1.0, state.seconds / (config.seconds or 1))

    def unfinished() -> bool:
        return fraction() < 1 and any(each.is_training for each in trained)

    def progress() -> Progress:
        return Progress(
            step=state.step,
            epoch=state.epoch,
            fraction=fraction(),
            seconds=state.seconds,
            images_per_second=state.step * batch_size / max(1e-9, state.training_seconds),
            learning_rate=state.learning_rate,
            networks=tuple(each.progress() for each in trained),
        )

    def seconds_of(pictures: int) -> float:
        """An upper limit of the time that so many pictures take without a backward pass."""
        return state.training_seconds / (state.step * batch_size) * pictures

    with ExitStack() as cleanup:
        cleanup.callback(torch.set_num_threads, threads)
        torch.set_num_threads(state.threads)
        for network in networks:
            cleanup.callback(network.draw_dropout_from, None)
        thread = partial(ThreadPoolExecutor, 1, "network", torch.set_num_threads, (state.threads,))
        pools = [cleanup.enter_context(thread()) for _ in trained] if side_by_side else []

        def each_network(call: Callable[..., None], *values: object) -> None:
            """Calls it for every network, in its thread, and waits for all; then raises the first error, if any."""
            if not pools:
                for network in trained:
                    call(network, *values)
                return
            calls = [pool.submit(call, network, *values) for pool, network in zip(pools, trained, strict=True)]
            wait(calls)
            for finished in calls:
                finished.result()

        started, reported = time.perf_counter() - state.seconds, -math.inf
        # An epoch is ended, also where only its validation is missing.
        while state.batches or unfinished():
            generator = torch.Generator().manual_seed(config.seed * 1_000_003 % 2**62 + state.epoch)
            order = torch.randperm(len(labels), generator=generator)
            if state.batches and state.generator is not None:
                generator.set_state(state.generator)
            while state.batches < steps_an_epoch and unfinished():
                tick = time.perf_counter()
                chosen = order[state.batches * batch_size : (state.batches + 1) * batch_size].to(device)
                pixels = images[chosen]  # (B, H, W, 3) uint8
                if config.augment:
                    pixels = augment(pixels, generator)
                pixels, chosen = pixels[share], chosen[share]
                batch = normalise(pixels, mean, std)  # (B, 3, H, W) float32, channels last
                target = labels[chosen]
                dials = dials_at(config, state.changes, state.step)
                state.learning_rate = learning_rate_at(config, fraction()) * dials.rate_factor
                dropout_seed = (config.seed * 1_000_003 + 7_919 * state.step + 1) % 2**62  # alone or side by side
                each_network(_TrainedNetwork.step, batch, target, state.learning_rate, dials, state.step, dropout_seed)

                state.step += 1
                state.batches += 1
                took, state.seconds = processes.agreed(time.perf_counter() - tick, time.perf_counter() - started)
                state.training_seconds += took
                if state.step % VERIFY_EVERY == 0 or state.batches == steps_an_epoch or not unfinished():
                    each_network(_TrainedNetwork.verify, state.step)
                (is_late,) = processes.agreed(time.perf_counter() - reported > report_every)
                if (is_late or is_due(state.step)) and state.batches < steps_an_epoch and unfinished():
                    reported = time.perf_counter()
                    state.generator = generator.get_state()
                    yield progress()
            lagging = not unfinished() and any(each.lags(state) for each in trained)
            if seconds_of(len(dataset.validation) + lagging * min(PICTURES, len(labels))) > LONG_VALIDATION:
                reported = time.perf_counter()
                state.generator = generator.get_state()
                yield replace(progress(), validates_next=True)
            if lagging:
                each_network(_TrainedNetwork.settle, dataset, state)
            each_network(_TrainedNetwork.end_epoch, dataset, state)
            state.epoch += 1
            state.batches = 0
            (state.seconds,) = processes.agreed(time.perf_counter() - started)
            if unfinished():
                yield progress()
            elif not lagging:  # the budget ran out in this validation
                each_network(_TrainedNetwork.settle, dataset, state)
        last = progress()
        records = tuple(each.record(state, dataset, last.images_per_second) for each in trained)
        for network in networks:
            network.to("cpu").eval()
        yield replace(last, records=records)


class _TrainedNetwork:
    """One network in training: its optimiser, its part of the state, and its means since the last report."""

    def __init__(
        self,
        network: Network,
        entry: NetworkState,
        config: TrainingConfig,
        device: torch.device,
        dtype: torch.dtype,
        processes: Processes = ALONE,
        class_weights: Tensor | None = None,
    ) -> None:
        self.format = memory_format(network)
        self.network = network.to(device, memory_format=self.format)  # type: ignore[call-overload]
        self.forward = torch.compile(network) if config.compile else processes.forward_of(network)
        self.entry, self.config, self.device, self.dtype = entry, config, device, dtype
        self.processes = processes
        self.class_weights = class_weights
        self.layers = {
            name: module.weight for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)
        }
        self.optimizer = Optimizer(network.parameters(), config)
        for parameter, moments in zip(network.parameters(), entry.moments, strict=False):
            # In the memory layout of the parameter: then the same arithmetic in the same order gives the same bits.
            self.optimizer.state[parameter] = {
                name: torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.clone()
                for name, value in moments.items()
            }
        self.random = torch.Generator(device) if network.spec.dropout else None
        self.depths = torch.Generator() if network.spec.stochastic_depth else None
        network.draw_dropout_from(self.random, self.depths)
        self.finite = _snapshot(network)
        self.reported = len(entry.losses)
        self.recent = (math.nan, math.nan)
        self.validation: Evaluation | None = None

    @property
    def is_training(self) -> bool:
        return self.entry.outcome is None

    def step(
        self, batch: Tensor, target: Tensor, rate: float, dials: TrainingDials, step: int, dropout_seed: int
    ) -> None:
        self.validation = None  # also of one that diverged: it is not measured again
        if not self.is_training:
            return
        if not self.network.training:  # a reader between two yields may have left it so
            self.network.train()
        if self.random is not None:
            self.random.manual_seed(dropout_seed + 104_729 * self.processes.rank)  # its share has other pictures
        if self.depths is not None:
            self.depths.manual_seed(dropout_seed + 1)  # other numbers than those of dropout
        # Autocast's cache of weights is one for all threads, and saves nothing where each is used once.
        enabled = self.dtype == torch.bfloat16
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=enabled, cache_enabled=False):
            logits = self.forward(batch.contiguous(memory_format=self.format))
        logits = logits.float() / self.network.spec.temperature
        loss = F.cross_entropy(logits, target, self.class_weights, label_smoothing=dials.label_smoothing)
        if self.class_weights is not None and self.processes.count > 1:
            # It is divided by the weights of this share, and that of the whole batch by those of all shares.
            own = self.class_weights[target].sum()
            loss = loss * (own / self.processes.mean(own))
        self.optimizer.zero_grad()
        loss.backward()
        if is_gradient_step(step):
            self.entry.gradient_steps.append(step)
            self.entry.gradient_norms.append(_norms([weight.grad for weight in self.layers.values()]))
        if dials.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), dials.clip)
        self.optimizer.step(rate, dials.weight_decay)
        self.entry.losses.append(self.processes.mean(loss.detach()))
        self.entry.hits.append(self.processes.mean((logits.argmax(1) == target).float().mean()))

    def verify(self, step: int) -> None:
        """Keeps the weights while all is finite; else restores the last kept ones and ends this training at `step`."""
        if not self.is_training:
            return
        if _all_finite(self.network, self.entry.losses[-VERIFY_EVERY:]):
            self.finite = _snapshot(self.network)
        else:
            self.network.load_state_dict(self.finite)
            self.entry.outcome, self.entry.diverged_at = "diverged", step

    def end_epoch(self, dataset: Dataset, state: TrainingState) -> None:
        self.update_means()
        if not self.entry.losses:  # it diverged in an earlier epoch
            return
        batch_size = min(self.config.batch_size, len(dataset.train))
        train = Evaluation(_mean(self.entry.losses), _mean(self.entry.hits), len(self.entry.losses) * batch_size)
        if len(dataset.validation):
            self.validation = evaluate(self.network, dataset.validation, dataset.mean, dataset.std)
        step = self.entry.diverged_at or state.step
        self.entry.epochs.append(EpochResult(step, state.seconds, state.learning_rate, train, self.validation))
        self.entry.losses.clear()
        self.entry.hits.clear()
        self.reported = 0

    def lags(self, state: TrainingState) -> bool:
        return self.entry.outcome is None and self.network.spec.norm == "batch" and lags(self.config, state.step)

    def settle(self, dataset: Dataset, state: TrainingState) -> None:
        """Recomputes running statistics that lag; the state keeps those that training left."""
        if not self.lags(state):
            return
        left, config = running_statistics(self.network), self.config
        if recompute_batchnorm(
            self.network, dataset, batch_size=config.batch_size, augmented=config.augment, seed=config.seed
        ):
            self.entry.running = left

    def update_means(self) -> None:
        if len(self.entry.losses) > self.reported:
            self.recent = (_mean(self.entry.losses[self.reported :]), _mean(self.entry.hits[self.reported :]))
            self.reported = len(self.entry.losses)

    def progress(self) -> NetworkProgress:
        """Also copies the state of the optimiser into the training's, which may be saved now."""
        self.update_means()
        self.entry.moments = [dict(self.optimizer.state.get(parameter, {})) for parameter in self.network.parameters()]
        return NetworkProgress(*self.recent, self.gradients(), self.validation, self.entry.outcome)

    def gradients(self) -> GradientSizes:
        return GradientSizes(tuple(self.layers), tuple(self.entry.gradient_steps), tuple(self.entry.gradient_norms))

    def record(self, state: TrainingState, dataset: Dataset, speed: float) -> TrainingRecord:
        steps = self.entry.epochs[-1].step if self.entry.epochs else 0
        return TrainingRecord(
            config=self.config,
            outcome=self.entry.outcome or "finished",
            steps=steps,
            seconds=state.seconds,
            images_per_second=speed,
            parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            train_images=len(dataset.train),
            epochs=tuple(self.entry.epochs),
            weight_gradients=self.gradients(),
            device=device_name(self.device, state.threads),
            precision=str(self.dtype).removeprefix("torch."),
            threads=state.threads,
            batchnorm_images=min(PICTURES, len(dataset.train)) if self.entry.running else 0,
            changes=tuple(change for change in state.changes if change.step < steps),
            versions={"torch": torch.__version__, "python": platform.python_version()},
        )


def _check_fit(network: Network, dataset: Dataset) -> None:
    if network.spec.input_shape != dataset.input_shape:
        raise ValueError(
            f"the network takes images of shape {network.spec.input_shape}, {dataset.name} has "
            f"{dataset.input_shape}; set `input_shape` of the spec to the data's."
        )
    if network.spec.classes != len(dataset.class_names):
        raise ValueError(
            f"the network has {network.spec.classes} classes, {dataset.name} has {len(dataset.class_names)}; set "
            f"`classes` of the spec to the data's."
        )
    if not all(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError("`network` is frozen, others may be looking at it; train a copy after `requires_grad_()`.")
    if not min(dataset.std) > 0:
        raise ValueError(f"`std` of {dataset.name} must be above 0, received {dataset.std}; measure it again.")
    if len(dataset.train) < 2:
        raise ValueError(f"{dataset.name} has {len(dataset.train)} training images; at least 2 are needed.")


def _norms(gradients: list[Tensor | None]) -> tuple[float, ...]:
    """In float64: float32 cannot hold the squares of a plain-56's gradients without norm, and would give 0."""
    return tuple(
        # 0 of a layer that this step left out
        0.0 if gradient is None else torch.linalg.vector_norm(gradient.cpu(), dtype=torch.float64).item()
        for gradient in gradients
    )


def _mean(values: list[Tensor]) -> float:
    return torch.stack(values).mean().item()


def _snapshot(network: Network) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}


def _all_finite(network: Network, losses: list[Tensor]) -> bool:
    floats = [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
    flat = torch.cat([torch.stack(losses).flatten(), *(tensor.flatten() for tensor in floats)])
    return bool(flat.isfinite().all())
