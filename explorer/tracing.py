"""`trace`: one forward and one backward pass of one image, as a value."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from explorer.architectures import ArchitectureSpec, Intervened, Intervention, Network

STRIP_KINDS = ("conv", "shortcut", "block")  # what the depth strip shows
EVERYTHING = None
Score = Literal["logit", "probability"]


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """One layer of a pass.

    `activation` and `gradient` (of the explained score, by default the target's logit before softmax, with respect to
    the activation) are read-only float32 of one shape: (C, H, W), or (units,) in the head.
    """

    name: str
    kind: str
    activation: np.ndarray
    gradient: np.ndarray

    @property
    def is_spatial(self) -> bool:
        """Whether there are feature maps to see: at least 2 pixels, (C, H, W)."""
        return self.activation.ndim == 3 and self.activation[0].size > 1


@dataclass(frozen=True, eq=False)
class Trace:
    """One image's pass through one network, forward and back.

    `layers` are in execution order. `image` and `image_gradient` are (channels, H, W), normalised as the network saw
    it; `logits` is (classes,); all are read-only float32. `target` is the class whose `score` was explained: its logit,
    or its probability, whose gradient depends on the logits of all classes.
    """

    spec: ArchitectureSpec
    layers: tuple[LayerTrace, ...]
    image: np.ndarray
    image_gradient: np.ndarray
    logits: np.ndarray
    target: int
    score: Score = "logit"

    def __getitem__(self, name: str) -> LayerTrace:
        if name not in self.names:
            raise KeyError(f"no layer {name!r} was recorded; there are {', '.join(self.names)}.")
        return self.layers[self.names.index(name)]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.layers)

    @property
    def probabilities(self) -> np.ndarray:
        """softmax of the logits over the spec's temperature, (classes,), float64."""
        exponentials = np.exp((self.logits.astype(np.float64) - self.logits.max()) / self.spec.temperature)
        return exponentials / exponentials.sum()

    @property
    def prediction(self) -> int:
        return int(self.logits.argmax())


def trace(
    network: Network,
    image: np.ndarray,
    target: int | None = None,
    kinds: Collection[str] | None = STRIP_KINDS,
    inside_blocks: bool = True,
    interventions: Sequence[Intervention] = (),
    score: Score = "logit",
) -> Trace:
    """The `Trace` of `image`.

    `image` is float32 (channels, H, W), normalised. `target` is the class to explain, by default the predicted one.
    `kinds` are the layers to keep: convolutions, shortcuts and blocks by default, `EVERYTHING` for every visible
    operation (hundreds of megabytes at 224 pixels). Without `inside_blocks` a block is kept, and no layer inside it.
    `interventions` change the pass; what they leave unused has gradients of zero. `score` is what the gradients are of:
    the target's logit, or its probability, softmax of the logits over the spec's temperature.

    The network is left as it was found: no hooks, no `.grad`, no mode changed; threads may share a frozen one. Raises
    ValueError for a network in training mode, an image of another shape or with values that are not finite, or a target
    that is no class, or an intervention that does not fit.
    """
    check_pass(network, image, target)
    x = torch.tensor(image, dtype=torch.float32, device=network.device)[None].requires_grad_()  # (1, C, H, W)
    recorder = Intervened(network, kinds, interventions)
    with torch.enable_grad():
        logits = network(x, recorder)  # (1, classes)
        target = int(logits.argmax() if target is None else target)
        explained = logits[0, target]
        if score == "probability":  # in float64, else a probability near 1 would have no gradient
            explained = (logits[0].double() / network.spec.temperature).softmax(0)[target]
    outputs = recorder.outputs
    if not inside_blocks:
        outputs = {name: output for name, output in outputs.items() if network.spec.block_of(name) is None}
    unused = bool(interventions)
    gradients = torch.autograd.grad(explained, [x, *outputs.values()], allow_unused=unused, materialize_grads=unused)
    layers = []
    for (name, output), gradient in zip(outputs.items(), gradients[1:], strict=True):
        module = recorder.modules[name]
        values = _array(output), _array(gradient)
        if getattr(module, "channels_last", False):  # as some layers of an ONNX network have them
            values = np.moveaxis(values[0], -1, 0), np.moveaxis(values[1], -1, 0)
        layers.append(LayerTrace(name, network.layers[module][1], *values))
    return Trace(network.spec, tuple(layers), _array(x), _array(gradients[0]), _array(logits), target, score)


def check_pass(network: Network, image: np.ndarray, target: int | None) -> None:
    """Raises ValueError for a network in training mode, an image of another shape or with values that are not finite,
    or a target that is no class."""
    check_evaluation_mode(network)
    spec = network.spec
    if image.shape != spec.input_shape:
        raise ValueError(
            f"`image` must have the shape {spec.input_shape} of the network's input, received {image.shape}; resize it."
        )
    if not np.isfinite(image).all():
        raise ValueError("`image` holds values that are not finite; load the image again.")
    if target is not None and target not in range(spec.classes):
        raise ValueError(f"`target` must be a class from 0 to {spec.classes - 1}, received {target!r}.")


def check_evaluation_mode(network: Network) -> None:
    if network.training:
        raise ValueError("`network` must be in evaluation mode, else its norms depend on the batch; call `freeze()`.")


def read_only(array: np.ndarray) -> np.ndarray:
    array.setflags(write=False)
    return array


def _array(tensor: torch.Tensor) -> np.ndarray:
    """The only picture of a batch, as read-only numpy; on a CPU it shares the tensor's memory."""
    return read_only(tensor.numpy(force=True)[0])
