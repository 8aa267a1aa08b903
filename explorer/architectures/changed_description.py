"""`describe_changed`: the layers of a pass with interventions, and what each of them depends on in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import lru_cache

from torch import Tensor, nn

from explorer.architectures.description import EVERYWHERE, POINT, Description, FieldRecorder, Window, described
from explorer.architectures.interventions import Intervened, Intervention
from explorer.architectures.network import Network
from explorer.architectures.spec import ArchitectureSpec

Edge = tuple[str, tuple[Window, Window]]


@dataclass(frozen=True)
class ChangedDescription(Description):
    """That of a pass with interventions, which has its layers in the order in which they work.

    `outputs` are the changes of a layer's values and `summands` those of the two inputs of a sum, by layer. The values
    of the layers in `only_changed` are made by changes alone, of another layer, the first of their `inputs`: a block
    whose last layer stays what it is. The second one is the input that takes the place of a plain block.
    """

    outputs: Mapping[str, tuple[Intervention, ...]] = field(default_factory=dict, compare=False, repr=False)
    summands: Mapping[str, tuple[Intervention, ...]] = field(default_factory=dict, compare=False, repr=False)
    only_changed: frozenset[str] = frozenset()

    def edges(self, layer: str, channel: int | None = None) -> list[Edge]:
        edges, instead = super().edges(layer, channel), None
        if layer in self.only_changed:
            edges, instead = edges[:1], edges[1:]
        if summands := self.summands.get(layer):
            parts = zip(edges, ("branch", "shortcut"), strict=True)
            edges = [
                after
                for edge, part in parts
                for after in _after([edge], [each for each in summands if each.part == part], channel)
            ]
        return _after(edges, self.outputs.get(layer, ()), channel, instead)


def _after(
    edges: list[Edge], changes: Sequence[Intervention], channel: int | None, instead: list[Edge] | None = None
) -> list[Edge]:
    """What a value depends on after these changes of a value with these edges."""
    for change in changes:
        if channel is not None and not change.touches(channel):
            continue
        if change.action == "mean":
            changed = [(name, (EVERYWHERE, EVERYWHERE)) for name, _ in edges]
        else:
            kept = edges if change.factor else []
            changed = kept + (instead or [] if change.part == "branch" else [])
        edges = changed if change.channel is None or channel is not None else edges + changed
    return edges


class _ChangedFields(FieldRecorder, Intervened):
    """Follows the tensors of a pass with interventions."""

    def __init__(self, network: Network, image: Tensor, interventions: Sequence[Intervention]) -> None:
        super().__init__(network, image)
        self.add(network, interventions)
        self.only_changed: set[str] = set()
        self.unchanged: dict[int, int] = {}  # by what changes made of it: the output of the layer inside

    def change(self, module: nn.Module, change: Intervention, x: Tensor, instead: Tensor | None = None) -> Tensor:
        output = super().change(module, change, x, instead)
        before = self.unchanged.get(id(x), id(x))
        if before in self.fields and (change.part == "output" or instead is not None):
            name, known = self.layers[module][0], self.calls.get(id(x))
            tensors = known[1] if id(x) in self.unchanged and known else [before]
            if instead is not None and len(tensors) < 2:
                tensors = [*tensors, id(instead)]
            self.unchanged[id(output)] = before
            self.calls[id(output)] = name, tensors, (POINT, POINT)
            self.fields[id(output)] = output, self.fields[before][1]
            self.only_changed.add(name)
        return output


@lru_cache(maxsize=32)
def describe_changed(spec: ArchitectureSpec, interventions: tuple[Intervention, ...]) -> ChangedDescription:
    """Every visible operation of the network in a pass with these interventions, as `describe` has those of one
    without. Raises ValueError for one that does not fit."""
    made: list[_ChangedFields] = []

    def recorder_of(network: Network, image: Tensor) -> FieldRecorder:
        made.append(_ChangedFields(network, image, interventions))
        return made[0]

    found = described(spec, recorder_of)
    (recorder,) = made
    outputs, summands = (
        {recorder.layers[module][0]: tuple(changes) for module, changes in by_module.items()}
        for by_module in (recorder.changed_outputs, recorder.changed_sums)
    )
    return ChangedDescription(
        **{each.name: getattr(found, each.name) for each in fields(found)},
        outputs={name: outputs[origin.module] for name, origin in found.origins.items() if origin.module in outputs},
        summands={name: summands[origin.module] for name, origin in found.origins.items() if origin.module in summands},
        only_changed=frozenset(recorder.only_changed),
    )
