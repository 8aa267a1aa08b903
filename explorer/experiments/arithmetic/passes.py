"""`arithmetic`: where one number of a pass comes from, operation by operation, recomputed in float64."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import Description, Network, Recorder, describe
from explorer.architectures.description import Rectangle
from explorer.architectures.graph import GraphSpec
from explorer.architectures.network import Sum
from explorer.experiments.arithmetic.operations import explain, is_pointwise, probability
from explorer.experiments.arithmetic.step import Call, Step
from explorer.tracing import check_pass, read_only

PROBABILITIES = "probabilities"
"""The layer behind the last one: softmax(logits / temperature)."""
TOLERANCE = 1e-5
LONGEST = 6  # steps that follow a number back


@dataclass(frozen=True, eq=False)
class Arithmetic:
    """The value of `layer` at the place `at`, (channel, row, column) or (unit,), and the `steps` that made it.

    The last operation is the first step. Each further one made the only number that the step before it takes; they end
    with a window, a sum of two layers, or a copy. `field` are the pixels of the picture that the value can depend on,
    None where it depends on none.
    """

    layer: str
    at: tuple[int, ...]
    value: float
    steps: tuple[Step, ...]
    field: Rectangle | None

    @property
    def difference(self) -> float | None:
        """The largest |recomputed - value| / max(1, |value|) of the steps; None where no step can be recomputed."""
        return max((each.difference for each in self.steps if each.difference is not None), default=None)

    @property
    def agrees(self) -> bool:
        return self.difference is None or self.difference <= TOLERANCE


@dataclass(frozen=True, eq=False)
class LayerPass:
    """What one pass put into a layer, and into the operations in front of it that take a single number: enough for the
    arithmetic of any of its values."""

    layer: str
    shape: tuple[int, ...]
    temperature: float
    description: Description
    calls: tuple[Call, ...]

    def arithmetic(self, at: Sequence[int]) -> Arithmetic:
        """That of the value at `at`. Raises ValueError for a place that the layer has not."""
        place = check_place(self.layer, self.shape, at)
        steps: list[Step] = []
        for call in self.calls:
            index = call.index(next(term.at for term in steps[-1].terms if term.at is not None) if steps else place)
            steps.append(
                probability(call, index, self.temperature) if call.layer == PROBABILITIES else explain(call, index)
            )
        last = self.calls[0].sources[0] if self.layer == PROBABILITIES else self.layer
        end = steps[-1]
        is_constant = end.computed is not None and end.window is None and not any(term.at for term in end.terms)
        reach = None if is_constant else self.description.reach(last, place)
        return Arithmetic(self.layer, place, steps[0].value, tuple(steps), reach)

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for call in self.calls for tensor in (*call.inputs, call.output))


def arithmetic(network: Network, image: np.ndarray, layer: str, at: Sequence[int]) -> Arithmetic:
    """Where the value of `layer` at `at` comes from, in a pass of `image`, float32 (channels, H, W), normalised.

    `layer` is any that `describe` lists, or `PROBABILITIES`; `at` is (channel, row, column), or (unit,) in the head.
    The network is left as it was found. Raises ValueError as `trace` does, and for a layer or a place that there is
    not.
    """
    return layer_pass(network, image, layer).arithmetic(at)


class _Inputs(Recorder):
    """Keeps the inputs and the output of each module with one of these names."""

    def __init__(self, network: Network, wanted: Collection[str]) -> None:
        super().__init__(network, kinds=())
        self.wanted = wanted
        self.calls: dict[str, tuple[nn.Module, tuple[Tensor, ...], Tensor]] = {}

    def compute(self, module: nn.Module, *inputs: object) -> Tensor:
        output = super().compute(module, *inputs)
        if (name := self.layers[module][0]) in self.wanted:
            self.calls[name] = module, tuple(each for each in inputs if isinstance(each, Tensor)), output
        return output


def layer_pass(network: Network, image: np.ndarray, layer: str) -> LayerPass:
    """The pass, for any value of that layer; arguments and errors are those of `arithmetic`."""
    check_pass(network, image, None)
    description = describe(network.spec)
    is_behind = layer == PROBABILITIES not in description.origins
    start = description.layers[-1].name if is_behind else layer
    shape = description.shape(start)
    names = _followed(network, description, start)
    made = {name: description.origins[name].module for name in names}
    recorder = _Inputs(network, made.values())
    picture = torch.tensor(image, dtype=torch.float32, device=network.device)[None]
    with torch.no_grad():
        network(picture, recorder)
    calls = []
    for name in names:
        sources = description.origins[name].inputs
        module, inputs, output = recorder.calls[made[name]]
        lasts = tuple(source != "" and _is_last(network, description, source) for source in sources)
        is_residual = isinstance(module, Sum) and _is_residual(network, made[name])
        calls.append(
            Call(name, module, inputs, sources, output, _is_last(network, description, name), lasts, is_residual)
        )
    temperature = network.spec.temperature
    if is_behind:
        logits = calls[0].output
        probabilities = (logits.double() / temperature).softmax(1).float()
        calls.insert(0, Call(layer, nn.Softmax(1), (logits,), (start,), probabilities, lasts=(False,)))
    return LayerPass(layer, shape, temperature, description, tuple(calls))


def _followed(network: Network, description: Description, layer: str) -> list[str]:
    """The layer, and those in front of it as long as each takes a single number."""
    names = [layer]
    while len(names) < LONGEST:
        origin = description.origins[names[-1]]
        if origin.inputs[0] == "" or not is_pointwise(network.get_submodule(origin.module), origin.inputs):
            break
        names.append(origin.inputs[0])
    return names


def _is_last(network: Network, description: Description, layer: str) -> bool:
    """Whether its output has the channels on the last axis, as some layers of an ONNX network have."""
    return bool(getattr(network.get_submodule(description.origins[layer].module), "channels_last", False))


def _is_residual(network: Network, module: str) -> bool:
    if isinstance(network.spec, GraphSpec):
        return any(block.sum == module for block in network.spec.blocks)
    return True


def check_place(layer: str, shape: Sequence[int], at: Sequence[int]) -> tuple[int, ...]:
    """`at`, as the place that it is. Raises ValueError, with the valid range, for one that the layer has not."""
    if len(at) != len(shape) or not all(0 <= place < side for place, side in zip(at, shape, strict=True)):
        names = {1: ["unit"], 3: ["channel", "row", "column"]}.get(
            len(shape), [f"axis {n + 1}" for n in range(len(shape))]
        )
        ranges = ", ".join(f"{name} 0 to {side - 1}" for name, side in zip(names, shape, strict=True))
        received = ",".join(map(str, at))
        raise ValueError(f"`at` must be a place in {layer}: {ranges}; received {received}.")
    return tuple(map(int, at))


def effective_field(network: Network, image: np.ndarray, layer: str, at: Sequence[int]) -> np.ndarray:
    """How strongly the value reacts to each pixel, read-only float32 (H, W): the largest |gradient| over the channels
    of the picture, per unit of the normalised picture; arguments and errors are those of `arithmetic`.

    The effective receptive field of Luo et al. 2016, of one value and one picture; they average over both.
    """
    check_pass(network, image, None)
    description = describe(network.spec)
    is_behind = layer == PROBABILITIES not in description.origins
    start = description.layers[-1].name if is_behind else layer
    place = check_place(layer, description.shape(start), at)
    recorder = _Inputs(network, [description.origins[start].module])
    picture = torch.tensor(image, dtype=torch.float32, device=network.device)[None].requires_grad_()
    with torch.enable_grad():
        network(picture, recorder)
        ((_, _, output),) = recorder.calls.values()
        values = (output / network.spec.temperature).softmax(1) if is_behind else output
        index = (0, *place[1:], place[0]) if _is_last(network, description, start) else (0, *place)
        (gradient,) = torch.autograd.grad(values[index], picture, materialize_grads=True, allow_unused=True)
    return read_only(gradient[0].abs().amax(0).numpy(force=True))
