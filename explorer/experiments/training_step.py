"""One training step in slow motion: a batch, its losses, the gradient layer by layer, the update, the new losses."""

import copy
import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explorer.architectures import ArchitectureSpec, Network, Recorder, describe
from explorer.experiments.gradient_flow import check_batch
from explorer.tracing import read_only
from explorer.training import TrainingConfig
from explorer.training.device import memory_format
from explorer.training.optimizer import Optimizer

KINDS = ("conv", "linear")  # the layers with weights
SHARES = (0.0, 0.125, 0.25, 0.5, 0.75, 1.0)
"""Of the update, where the loss is measured on the way."""
LIMITS = (
    "The step is measured on one batch. Other batches have other gradients.",
    "The optimiser begins here: moments of earlier steps are 0, also in a trained network.",
    "The new loss is that of the same images. A lower one does not tell that other images are recognised better.",
    "The prediction takes the gradient as if it stayed the same along the update. A large step leaves the place where "
    "that holds.",
    "All is computed in training mode: BatchNorm takes the statistics of this batch.",
)


@dataclass(frozen=True)
class WorkedWeight:
    """The update of one weight in numbers, all float64: the weight of a layer that changes most.

    `index` is its place in the layer's weights, `before` and `after` are its values, `gradient` that of the loss.
    `scaled` is the gradient after clipping, plus weight decay times `before`. `first` is SGD's momentum buffer or
    Adam's first moment after the step, `second` Adam's second moment; both None where the rule has none.
    """

    index: tuple[int, ...]
    before: float
    gradient: float
    scaled: float
    first: float | None
    second: float | None
    after: float

    @property
    def change(self) -> float:
        return self.after - self.before


@dataclass(frozen=True, eq=False)
class TrainingStep:
    """One step of training on N pictures, in training mode, float32.

    `losses` and `new_losses` (N,) are the cross-entropies of the pictures before and after the update, `loss` and
    `new_loss` their means. `layers` are the L convolutions and linear layers in the order of execution.
    `activations` (L,) are root mean squares of their outputs, NaN for a layer that this step leaves out.
    `weights`, `gradients` and `updates` (L,) are L2 norms of the weights before the step, of their gradient of the mean
    loss, and of their change. `changes` (L,) are dot products of gradient and change, `rest` that of all other
    parameters: biases, norms and gains. `norm` is the L2 norm of the whole gradient, `clipping` the factor that it is
    multiplied by, 1 without clipping. `adam_step` counts Adam's steps with this one. `examples` has one weight of each
    layer, None for one that this step leaves out. `path` are the losses at `SHARES` of the update. All float64.
    """

    config: TrainingConfig
    rate: float
    losses: np.ndarray
    loss: float
    layers: tuple[str, ...]
    activations: np.ndarray
    weights: np.ndarray
    gradients: np.ndarray
    updates: np.ndarray
    changes: np.ndarray
    rest: float
    norm: float
    clipping: float
    adam_step: int
    examples: tuple[WorkedWeight | None, ...]
    new_losses: np.ndarray
    new_loss: float
    path: np.ndarray

    @property
    def predicted(self) -> float:
        """The change of the loss to first order, g·Δw over all parameters; -η|g|² for plain SGD."""
        return float(self.changes.sum() + self.rest)

    @property
    def measured(self) -> float:
        return self.new_loss - self.loss

    @property
    def ratios(self) -> np.ndarray:
        """|Δw| / |w| of each layer, (L,); NaN for weights that are all 0."""
        return read_only(self.updates / np.where(self.weights > 0, self.weights, np.nan))


def macs(spec: ArchitectureSpec, n: int) -> int:
    """Multiply-accumulates of the step for n pictures: forward, back, and the losses on the way."""
    return describe(spec).macs * n * (3 + len(SHARES) - 1)


def training_step(
    network: Network,
    images: Tensor,
    labels: Tensor,
    config: TrainingConfig,
    moments: Sequence[Mapping[str, Tensor]] = (),
    dropout_seed: int = 0,
) -> Generator[tuple[float, TrainingStep | None], None, None]:
    """The step on a private copy of the network, which is left as it was found; threads may share it. As `take`."""
    yield from take(copy.deepcopy(network).requires_grad_(True), images, labels, config, moments, dropout_seed)


def take(
    network: Network,
    images: Tensor,
    labels: Tensor,
    config: TrainingConfig,
    moments: Sequence[Mapping[str, Tensor]] = (),
    dropout_seed: int = 0,
) -> Generator[tuple[float, TrainingStep | None], None, None]:
    """Trains `network` in place by one step on `images` (N, C, H, W), normalised, and `labels` (N,), and measures it.

    Yields (fraction done, None) after every pass and at last (1.0, the step). The weights get the bits that a step of
    `training.fit` gives them in float32. The learning rate is that of `config`; its schedule, its precision and its
    device are not used. `moments` is the state of the optimiser, one dictionary a parameter, as `NetworkState` has it;
    none is that of a first step. Dropout draws the same places in every pass, from `dropout_seed`.

    Raises ValueError for a batch that does not fit the network, weights of classes in the loss, and a loss or gradient
    that is not finite.
    """
    check_batch(network.spec, images, labels)
    if config.class_weights:
        raise ValueError("`class_weights` needs the counts of a whole dataset; leave it out for a single step.")
    layout = memory_format(network)
    network.to(memory_format=layout).train()
    images, labels = images.to(network.device).contiguous(memory_format=layout), labels.to(network.device)
    generators = (torch.Generator(network.device), torch.Generator())
    network.draw_dropout_from(*generators)
    passes = 3 + len(SHARES) - 1

    def losses(run: Recorder) -> tuple[Tensor, Tensor]:
        """Of each picture, (N,), and their mean."""
        for place, generator in enumerate(generators):
            generator.manual_seed(dropout_seed + place)
        logits = network(images, run).float() / network.spec.temperature
        smoothing = config.label_smoothing
        each = F.cross_entropy(logits.detach(), labels, label_smoothing=smoothing, reduction="none")
        return each, F.cross_entropy(logits, labels, label_smoothing=smoothing)  # whose gradient has the loop's bits

    try:
        recorder = Recorder(network, KINDS)
        with torch.enable_grad():
            each, loss = losses(recorder)
        if not loss.isfinite():
            raise ValueError("the loss of this batch is not finite, so there is no step to take; choose other weights.")
        outputs = {name: _size(output) / math.sqrt(output.numel()) for name, output in recorder.outputs.items()}
        del recorder
        yield 1 / passes, None

        optimizer = Optimizer(network.parameters(), config)
        optimizer.zero_grad()
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}
        norm = math.hypot(*map(_size, gradients.values()))
        if not math.isfinite(norm):
            raise ValueError("the gradient of this batch is not finite, so no step can be taken; choose other weights.")
        clipping = 1.0 if config.clip is None else min(1.0, config.clip / (norm + 1e-6))
        if config.clip is not None:
            nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        clipped = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
        for parameter, known in zip(network.parameters(), moments, strict=False):
            optimizer.state[parameter] = {
                name: torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value.clone()
                for name, value in known.items()
            }
        before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
        optimizer.step(config.learning_rate)
        yield 3 / passes, None

        after = {name: tensor.detach().clone() for name, tensor in network.state_dict().items()}
        path, new = [loss.item()], each
        for index, share in enumerate(SHARES[1:], start=1):
            with torch.no_grad():  # inside the loop: a generator that waits must not change its thread's mode
                for name, parameter in network.named_parameters():
                    whole = share == 1
                    parameter.copy_(after[name] if whole else torch.lerp(before[name], after[name], share))
                new, mean = losses(Recorder(network, ()))
            path.append(mean.item())
            yield min(0.999, (3 + index) / passes), None
        network.load_state_dict(after)  # the passes have moved BatchNorm's running statistics
        network.zero_grad()
    finally:
        network.draw_dropout_from(None)

    layers = tuple(layer.name for layer in describe(network.spec).layers if layer.kind in KINDS)
    names = [f"{layer}.weight" for layer in layers]
    updates, products = {}, dict.fromkeys(before, 0.0)
    for name, old in before.items():
        change = after[name].double() - old.double()
        updates[name] = _size(change)
        if name in gradients:
            products[name] = (gradients[name].double() * change).sum().item()
    by_name = dict(network.named_parameters())
    yield (
        1.0,
        TrainingStep(
            config=config,
            rate=config.learning_rate,
            losses=_array(each),
            loss=loss.item(),
            layers=layers,
            activations=read_only(np.array([outputs.get(layer, math.nan) for layer in layers])),
            weights=read_only(np.array([_size(before[name]) for name in names])),
            gradients=read_only(np.array([_size(gradients[name]) if name in gradients else 0.0 for name in names])),
            updates=read_only(np.array([updates[name] for name in names])),
            changes=read_only(np.array([products[name] for name in names])),
            rest=sum(product for name, product in products.items() if name not in names),
            norm=norm,
            clipping=clipping,
            adam_step=1 + max((int(state["step"]) for state in moments if "step" in state), default=0),
            examples=tuple(
                _worked(
                    before[name],
                    gradients[name],
                    clipped[name],
                    after[name],
                    optimizer.state.get(by_name[name], {}),
                    config,
                )
                if name in gradients
                else None
                for name in names
            ),
            new_losses=_array(new),
            new_loss=path[-1],
            path=read_only(np.array(path)),
        ),
    )


def _worked(
    before: Tensor,
    gradient: Tensor,
    clipped: Tensor,
    after: Tensor,
    state: Mapping[str, Tensor],
    config: TrainingConfig,
) -> WorkedWeight:
    """The weight of the tensor that changes most."""
    place = int((after - before).abs().flatten().argmax())
    index = tuple(int(each) for each in np.unravel_index(place, tuple(before.shape)))

    def at(tensor: Tensor | None) -> float | None:
        return None if tensor is None else tensor[index].double().item()

    first = state.get("exp_avg", state.get("momentum_buffer"))
    old = before[index].double().item()
    return WorkedWeight(
        index=index,
        before=old,
        gradient=gradient[index].double().item(),
        scaled=clipped[index].double().item() + config.weight_decay * old,
        first=at(first),
        second=at(state.get("exp_avg_sq")),
        after=after[index].double().item(),
    )


def _size(tensor: Tensor) -> float:
    """L2, in float64: float32 cannot hold the squares of small gradients."""
    return torch.linalg.vector_norm(tensor.detach(), dtype=torch.float64).item()


def _array(tensor: Tensor) -> np.ndarray:
    return read_only(tensor.double().numpy(force=True))
