"""`arithmetic`: where one number of a pass comes from, operation by operation, recomputed in float64."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from explorer.architectures import Description, Intervened, Intervention, Network, describe
from explorer.architectures.changed_description import ChangedDescription, describe_changed
from explorer.architectures.description import Rectangle
from explorer.architectures.graph import GraphSpec
from explorer.architectures.modules import Sum
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
    with a window, a sum of two layers, or a copy. Where interventions changed summands of a sum, their steps follow it.
    `field` are the pixels of the picture that the value can depend on,
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

    @property
    def check(self) -> str:
        """Whether the recomputed values are those of the pass, in a sentence. It gives the rounding of float32 as the
        reason only where the size of the summands explains every difference above the bound."""
        if self.difference is None:
            return "Nothing here can be recomputed."
        said = f"Recomputed from these numbers in float64: largest difference {self.difference:.2g}"
        said += " (as a share of the value where that is above 1)"
        if self.agrees:
            return f"{said}, within 1e-5."
        is_rounding = all(
            step.computed is not None and step.rounding is not None and abs(step.computed - step.value) <= step.rounding
            for step in self.steps
            if step.difference is not None and not step.difference <= TOLERANCE
        )
        return f"{said}, above 1e-5{'; float32 rounds sums of numbers this large' if is_rounding else ''}."


@dataclass(frozen=True, eq=False)
class LayerPass:
    """What one pass put into a layer, and into the operations in front of it that take a single number: enough for the
    arithmetic of any of its values.

    `swapped` are pairs of blocks, both ways. `same_places` has for each layer that gave an input those in front of it
    whose values lie at the same places: norms and activations move nothing.
    """

    layer: str
    shape: tuple[int, ...]
    temperature: float
    description: Description
    calls: tuple[Call, ...]
    swapped: Mapping[str, str]
    same_places: Mapping[str, tuple[str, ...]]

    def arithmetic(self, at: Sequence[int]) -> Arithmetic:
        """That of the value at `at`. Raises ValueError for a place that the layer has not."""
        place = check_place(self.layer, self.shape, at)
        steps = list(self._steps(place))
        last = self.calls[0].sources[0] if self.layer == PROBABILITIES else self.layer
        assert last is not None
        end = steps[-1]
        is_constant = end.computed is not None and end.window is None and not any(term.at for term in end.terms)
        reach = None if is_constant and not end.change else self.description.reach(last, place)
        return Arithmetic(self.layer, place, steps[0].value, tuple(map(self._in_its_place, steps)), reach)

    def _steps(self, place: tuple[int, ...]) -> Iterator[Step]:
        for call in self.calls:
            if call.change is not None and not call.change.touches(place[0]):
                continue
            index = call.index(place)
            step = probability(call, index, self.temperature) if call.layer == PROBABILITIES else explain(call, index)
            yield step
            for which in sorted(call.before):
                for change in call.changes(which, place[0]):
                    yield (made := explain(change, index))
                    if made.window is not None:
                        break  # a mean: what it replaced counts no more
            if call.change is None:
                place = next((term.at for term in step.terms if term.at is not None), place)
            elif step.window is not None or len(call.inputs) > 1:
                break

    def _in_its_place(self, step: Step) -> Step:
        """The step, which says so where it takes what another block would take."""
        spec = self.description.spec
        block = step.layer if step.layer in self.swapped else spec.block_of(step.layer)
        other = self.swapped.get(block or "")
        sources = [term.layer for term in step.terms] + [step.window.source if step.window else None]
        if other is None or all(each is None or each.startswith(f"{block}.") for each in sources):
            return step
        return replace(step, formula=f"{step.formula} Swapped: {block} works in the place of {other}.")

    @property
    def nbytes(self) -> int:
        return sum(call.nbytes for call in self.calls)


def arithmetic(
    network: Network,
    image: np.ndarray,
    layer: str,
    at: Sequence[int],
    interventions: Sequence[Intervention] = (),
) -> Arithmetic:
    """Where the value of `layer` at `at` comes from, in a pass of `image`, float32 (channels, H, W), normalised.

    `layer` is any that `describe` lists, or `PROBABILITIES`; `at` is (channel, row, column), or (unit,) in the head.
    `interventions` change the pass, and each that touches the value is a step. The network is left as it was found.
    Raises ValueError as `trace` does, and for a layer or a place that there is not.
    """
    return layer_pass(network, image, layer, interventions).arithmetic(at)


@dataclass(frozen=True, eq=False)
class _Change:
    change: Intervention
    before: Tensor
    instead: Tensor | None
    after: Tensor


class _Inputs(Intervened):
    """Keeps the inputs and the output of each module with one of these names, and what interventions change of them."""

    def __init__(self, network: Network, wanted: Collection[str], interventions: Sequence[Intervention]) -> None:
        super().__init__(network, (), interventions)
        self.wanted = wanted
        self.calls: dict[str, tuple[nn.Module, tuple[Tensor, ...], Tensor]] = {}
        self.changes: dict[str, list[_Change]] = {name: [] for name in wanted}

    def compute(self, module: nn.Module, *inputs: object) -> Tensor:
        output = super().compute(module, *inputs)
        if (name := self.layers[module][0]) in self.wanted:
            self.calls[name] = module, tuple(each for each in inputs if isinstance(each, Tensor)), output
        return output

    def change(self, module: nn.Module, change: Intervention, x: Tensor, instead: Tensor | None = None) -> Tensor:
        output = super().change(module, change, x, instead)
        if (name := self.layers[module][0]) in self.wanted:
            own = instead if change.action == "scale" else None
            self.changes[name].append(_Change(change, x, own, output))
        return output


def layer_pass(
    network: Network, image: np.ndarray, layer: str, interventions: Sequence[Intervention] = ()
) -> LayerPass:
    """The pass, for any value of that layer; arguments and errors are those of `arithmetic`."""
    check_pass(network, image, None)
    description = _description(network, interventions)
    is_behind = layer == PROBABILITIES not in description.origins
    start = description.layers[-1].name if is_behind else layer
    shape = description.shape(start)
    names = _followed(network, description, start)
    made = {name: description.origins[name].module for name in names}
    recorder = _Inputs(network, {*made.values()}, interventions)
    picture = torch.tensor(image, dtype=torch.float32, device=network.device)[None]
    with torch.no_grad():
        network(picture, recorder)
    calls = [call for name in names for call in _calls(network, description, recorder, name)]
    temperature = network.spec.temperature
    if is_behind:
        logits = calls[0].output
        probabilities = (logits.double() / temperature).softmax(1).float()
        calls.insert(0, Call(layer, nn.Softmax(1), (logits,), (start,), probabilities, lasts=(False,)))
    swaps = [(each.place, each.other) for each in interventions if each.action == "swap"]
    swapped = {name: other for one, two in swaps for name, other in ((one, two), (two, one))}
    sources = {source for call in calls for source in call.sources if source}
    same = {source: tuple(_followed(network, description, source)[1:]) for source in sources}
    return LayerPass(layer, shape, temperature, description, tuple(calls), swapped, same)


def _description(network: Network, interventions: Sequence[Intervention]) -> Description:
    return describe_changed(network.spec, tuple(interventions)) if interventions else describe(network.spec)


def _is_only_changed(description: Description, layer: str) -> bool:
    return isinstance(description, ChangedDescription) and layer in description.only_changed


def _calls(network: Network, description: Description, recorder: _Inputs, layer: str) -> list[Call]:
    """What interventions made of the layer's values, the last one first, and before them the module's call."""
    origin = description.origins[layer]
    module, inputs, output = recorder.calls[origin.module]
    last = _is_last(network, description, layer)
    lasts = tuple(source != "" and _is_last(network, description, source) for source in origin.inputs)
    is_alone = _is_only_changed(description, layer)
    own: list[Call] = []
    summands: dict[int, tuple[Call, ...]] = {}
    for each in recorder.changes[origin.module]:
        if each.change.part == "output" or not isinstance(module, Sum):
            source = origin.inputs[0] if is_alone and not own else None
            given: tuple[Tensor, ...] = (each.before,)
            sources: tuple[str | None, ...] = (source,)
            if each.instead is not None:
                given, sources = (each.before, each.instead), (source, origin.inputs[1])
            own.insert(0, Call(layer, module, given, sources, each.after, last, (last, last), change=each.change))
        else:
            which = ("branch", "shortcut").index(each.change.part)
            known = summands.get(which, ())
            source = None if known else origin.inputs[which]
            call = Call(layer, module, (each.before,), (source,), each.after, last, (lasts[which],), change=each.change)
            summands[which] = (call, *known)
    if is_alone:
        return own
    made = own[-1].inputs[0] if own else output
    is_residual = isinstance(module, Sum) and _is_residual(network, origin.module)
    return [*own, Call(layer, module, inputs, origin.inputs, made, last, lasts, is_residual, before=summands)]


def _followed(network: Network, description: Description, layer: str) -> list[str]:
    """The layer, and those in front of it as long as each takes a single number."""
    names = [layer]
    while len(names) < LONGEST:
        origin = description.origins[names[-1]]
        is_followed = is_pointwise(network.get_submodule(origin.module), origin.inputs)
        if origin.inputs[0] == "" or not (is_followed or _is_only_changed(description, names[-1])):
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


def effective_field(
    network: Network,
    image: np.ndarray,
    layer: str,
    at: Sequence[int],
    interventions: Sequence[Intervention] = (),
) -> np.ndarray:
    """How strongly the value reacts to each pixel, read-only float32 (H, W): the largest |gradient| over the channels
    of the picture, per unit of the normalised picture; arguments and errors are those of `arithmetic`.

    The effective receptive field of Luo et al. 2016, of one value and one picture; they average over both.
    """
    check_pass(network, image, None)
    description = _description(network, interventions)
    is_behind = layer == PROBABILITIES not in description.origins
    start = description.layers[-1].name if is_behind else layer
    place = check_place(layer, description.shape(start), at)
    recorder = _Inputs(network, [description.origins[start].module], interventions)
    picture = torch.tensor(image, dtype=torch.float32, device=network.device)[None].requires_grad_()
    with torch.enable_grad():
        network(picture, recorder)
        ((_, _, output),) = recorder.calls.values()
        values = (output / network.spec.temperature).softmax(1) if is_behind else output
        index = (0, *place[1:], place[0]) if _is_last(network, description, start) else (0, *place)
        (gradient,) = torch.autograd.grad(values[index], picture, materialize_grads=True, allow_unused=True)
    return read_only(gradient[0].abs().amax(0).numpy(force=True))
