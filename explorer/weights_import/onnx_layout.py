"""Names and blocks for the nodes of an ONNX graph: those of the modules that it was exported from, where it tells them.

A block is a part of the graph with one way in and one way out, in which branches meet: a module whose own nodes add or
join them, its siblings of the same kind, or, without modules, what lies between a value and the sum that it ends in.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from explorer.architectures import Network, spec_from_dict
from explorer.architectures.graph import INPUT
from explorer.architectures.operators import kind_of
from explorer.weights_import.onnx_file import parsed
from explorer.weights_import.onnx_reader import Graph, Node, read_graph
from explorer.weights_import.onnx_rules import RULES
from explorer.weights_import.report import WeightsError

MERGES = ("Residual", "Concat")
LONGEST = 72  # letters of a name, before a number makes it unique; an address holds 80


def laid_out(graph: Graph) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The `GraphSpec` of the graph, as its JSON, and its weights."""
    names = _names(graph.nodes)
    parts = _Parts(graph.nodes, names)
    blocks = parts.by_module()
    blocks += parts.by_sum({number for block in blocks for number in block["members"]})
    names = parts.names
    order = parts.order(blocks)
    described, beside = [], set()
    for block in blocks:
        shortcut = parts.shortcut(block["members"])
        entry = {"name": block["name"]}
        if shortcut is not None:
            kind, total, side = shortcut
            entry |= {"shortcut": kind, "sum": names[total]}
            beside |= {names[number] for number in side}
        described.append(entry)
    nodes: list[dict[str, Any]] = []
    state: dict[str, Tensor] = {}
    for number in order:
        node, name = graph.nodes[number], names[number]
        inputs = [(names[each] if each >= 0 else INPUT) if isinstance(each, int) else each for each in node.inputs]
        assert node.value is not None
        nodes.append(
            {
                "name": name,
                "operator": node.operator,
                "inputs": inputs,
                "attributes": node.attributes,
                "weights": {key: list(weight.shape) for key, weight in node.weights.items()},
                "channels_last": node.value.channels_last,
            }
        )
        state |= {f"{name}.{key}": weight for key, weight in node.weights.items()}
    title = graph.title or "ONNX network"
    spec = {"title": title, "nodes": nodes, "blocks": described, "beside": sorted(beside)}
    return spec | {"input_shape": list(graph.input_shape), "classes": graph.classes}, state


def graph_of(content: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Of an ONNX file: for JSON its spec and what a report says of it, and its weights.

    The network is run once for one picture and for two, which must not depend on each other. Raises WeightsError with
    a sentence that lacks its subject, the file's name.
    """
    model = parsed(content)
    del content  # a VGG has half a gigabyte, of which the process can hold few copies
    graph = read_graph(model, RULES)
    del model
    described, state = laid_out(graph)
    try:
        network = Network.of(spec_from_dict(described))
    except ValueError as error:
        raise WeightsError(f"holds a network that this app cannot run: {error}") from None
    try:
        network.load_state_dict(state, assign=True)
        pictures = torch.rand(2, *graph.input_shape, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            both, one = network.freeze()(pictures), network(pictures[:1])
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:  # also where memory is short
        raise WeightsError(
            "holds a network that cannot be run: its operations do not fit, or take too much memory."
        ) from error
    if not both.isfinite().all():
        raise WeightsError("gives values that are not finite for an image of noise; export or download it again.")
    if not torch.allclose(both[:1], one, rtol=1e-3, atol=1e-3 * float(one.abs().max())):
        raise WeightsError("gives another answer for an image when there is a second one; export it for any batch.")
    facts = {name: getattr(graph, name) for name in ("evidence", "uncertain", "softmax", "channels_last", "metadata")}
    return {"spec": described, **facts}, state


def _clean(parts: Iterable[str]) -> list[str]:
    """Names that a module can have, of letters, digits, `_` and `-`."""
    cleaned = []
    for part in parts:
        cleaned.append(re.sub(r"[^\w-]", "_", part, flags=re.ASCII).lstrip("_-")[:40] or "part")
    return cleaned


def _names(nodes: Sequence[Node]) -> list[str]:
    """A dotted name for each node, none of which is twice, or a place that others are in."""
    scopes = _scopes(nodes)
    while True:
        first = {scope[0] for scope in scopes if scope}  # one of all is the network, and no part of it
        if len(first) != 1 or max(map(len, scopes)) < 2:
            break
        scopes = [scope[1:] for scope in scopes]
    scopes = [_clean(scope) for scope in scopes]
    paths = [".".join(scope) for scope in scopes]
    places = {".".join(scope[:length]) for scope in scopes for length in range(len(scope))}
    operators = defaultdict(set)
    for node, path in zip(nodes, paths, strict=True):
        operators[path].add(node.operator)
    wanted = []
    for node, path in zip(nodes, paths, strict=True):
        word = {"Residual": "add", "Linear": "linear"}.get(node.operator, node.operator.lower())
        if node.label:
            word = _clean([node.label])[0]
        alone = path and path not in places and len(operators[path]) == 1
        name = path if alone else f"{path}.{word}" if path else word
        wanted.append(name if len(name) <= LONGEST else word)
    taken: Counter[str] = Counter()
    prefixes = places | {name[: match.start()] for name in wanted for match in re.finditer(r"\.", name)}
    names: list[str] = []
    used: set[str] = set()
    for name in wanted:
        unique = f"{name}_" if name in prefixes else name
        base = unique
        while unique in used or unique in prefixes:
            taken[base] += 1
            unique = f"{base}_{taken[base]}"
        used.add(unique)
        names.append(unique)
    return names


def _scopes(nodes: Sequence[Node]) -> list[Sequence[str]]:
    """Those of the nodes; a node without one is where all that take its output are."""
    users: dict[int, list[int]] = defaultdict(list)
    for number, node in enumerate(nodes):
        for each in node.inputs:
            if isinstance(each, int):
                users[each].append(number)
    scopes: list[Sequence[str]] = [tuple(node.scope or ()) for node in nodes]
    holding = {tuple(scope[:length]) for scope in scopes for length in range(len(scope))}
    for number in reversed(range(len(nodes))):
        if nodes[number].scope is None:  # beside its users, not in the module that one of them alone is
            around = [scopes[user] if scopes[user] in holding else scopes[user][:-1] for user in users[number]]
            scopes[number] = tuple(os.path.commonprefix([list(scope) for scope in around]))
    return scopes


class _Parts:
    """Parts of a graph of `nodes`, which are known by their numbers; -1 is the picture."""

    def __init__(self, nodes: Sequence[Node], names: list[str]) -> None:
        self.nodes, self.names = nodes, names
        self.inputs = [[each for each in node.inputs if isinstance(each, int)] for node in nodes]
        self.users: dict[int, list[int]] = defaultdict(list)
        for number, inputs in enumerate(self.inputs):
            for each in inputs:
                self.users[each].append(number)
        self.convolutions = {number for number, node in enumerate(nodes) if kind_of(node.operator) == "conv"}

    def ways(self, members: set[int]) -> tuple[set[int], set[int]]:
        """The values that come in from outside, and the nodes whose values go out."""
        into = {each for number in members for each in self.inputs[number]} - members
        out = {number for number in members if set(self.users[number]) - members or not self.users[number]}
        return into, out

    def is_closed(self, members: set[int]) -> bool:
        """One way in, one way out, maps on both sides, and not the end of the network."""
        into, out = self.ways(members)
        if len(into) != 1 or len(out) != 1 or len(self.nodes) - 1 in members:
            return False
        (end,) = out
        value = self.nodes[end].value
        return value is not None and value.rank == 4 and end == max(members)

    # --- where the file tells modules

    def by_module(self) -> list[dict[str, Any]]:
        members: dict[str, set[int]] = defaultdict(set)
        for number, name in enumerate(self.names):
            for match in re.finditer(r"\.", name):
                members[name[: match.start()]].add(number)
        closed = {place for place, inside in members.items() if inside & self.convolutions and self.is_closed(inside)}
        strong = {place for place in closed if self._joins(place, members[place])}
        # A module that holds several such ones, and nearly all of the network, is the network.
        most = len(self.convolutions) / 2
        sizes = {place: len(members[place] & self.convolutions) for place in closed}
        inner = {place: sum(other.startswith(f"{place}.") for other in strong) for place in strong}
        holding = {place for place in strong if inner[place] > 1 and sizes[place] > most}
        strong -= holding
        siblings = {place.rpartition(".")[0] for place in strong}
        others = closed - strong - holding
        weak = {place for place in others if place.rpartition(".")[0] in siblings and sizes[place] > 1}
        chosen: list[str] = []
        for place in sorted(strong | weak, key=lambda place: (place.count("."), min(members[place]))):
            if not any(place.startswith(f"{outer}.") for outer in chosen):
                chosen.append(place)
        return [{"name": place, "members": members[place]} for place in chosen]

    def _joins(self, place: str, inside: set[int]) -> bool:
        """Whether a node of the module's own, not of a module in it, adds or joins two values."""
        return any(
            self.nodes[number].operator in MERGES and self.names[number].rpartition(".")[0] == place
            for number in inside
        )

    # --- where it does not

    def by_sum(self, taken: set[int]) -> list[dict[str, Any]]:
        blocks = []
        before: list[set[int]] = []  # of each node, all that it depends on
        for number, inputs in enumerate(self.inputs):
            before.append({number}.union(*(before[each] for each in inputs if each >= 0)))
        found: list[set[int]] = []
        for total, node in enumerate(self.nodes):
            if node.operator != "Residual" or total in taken:
                continue
            a, b = self.inputs[total]
            common = sorted((before[a] if a >= 0 else set()) & (before[b] if b >= 0 else set()), reverse=True)
            for start in common[:64]:
                inside = {number for number in before[total] if number != start and start in before[number]}
                if self.ways(inside)[0] == {start}:
                    break
            else:
                continue
            end = total
            while len(self.users[end]) == 1 and kind_of(self.nodes[self.users[end][0]].operator) == "activation":
                end = self.users[end][0]
            inside |= {
                number for number in range(total + 1, end + 1) if total in before[number] and number in before[end]
            }
            if inside & self.convolutions and not inside & taken and self.is_closed(inside):
                found.append(inside)
                taken = taken | inside
        for count, inside in enumerate(found, start=1):
            blocks.append({"name": self._enclose(inside, count), "members": inside})
        return blocks

    def _enclose(self, inside: set[int], count: int) -> str:
        """Gives the nodes a name in common, that of the block."""
        numbers = sorted(inside)
        first, last = min(self.names[n] for n in numbers), max(self.names[n] for n in numbers)
        length = next(
            (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
        )
        shared = re.sub(r"[^_./-]*$", "", first[:length]).rstrip("_./-") if length else ""
        others = {name for n, name in enumerate(self.names) if n not in inside}
        block = shared
        if not block or block in others or any(name.startswith(f"{block}.") for name in others):
            block = f"block{count}"
            while block in others or any(name.startswith(f"{block}.") for name in others):
                block += "_"
            shared = ""
        for number in numbers:
            rest = self.names[number].removeprefix(shared).lstrip("_./-") or "conv"
            self.names[number] = f"{block}.{rest}"
        return block

    # --- inside of a block

    def shortcut(self, members: set[int]) -> tuple[str, int, set[int]] | None:
        """Kind of the shortcut, the node of the sum, and the nodes on the shortcut; None without one. The sum's inputs
        are put in the order branch, shortcut."""
        (start,) = self.ways(members)[0]
        end = max(members)
        for total in sorted((n for n in members if self.nodes[n].operator == "Residual"), reverse=True):
            if end in self._after(start, members - {total}):
                continue  # there is a way around this sum
            branch, shortcut = self.inputs[total]
            ways = [self._before(each, members) for each in (branch, shortcut)]
            if len(ways[0] & self.convolutions) < len(ways[1] & self.convolutions):
                branch, shortcut, ways = shortcut, branch, ways[::-1]
            beside = ways[1] - ways[0]
            if not ways[0] & self.convolutions:
                return None
            node = self.nodes[total]
            node.inputs = [branch, shortcut]
            self.inputs[total] = [branch, shortcut]
            if shortcut == start:
                return "identity", total, set()
            if beside & self.convolutions:
                return "projection", total, beside
            scales = all(self.nodes[each].operator == "Mul" for each in beside)  # a gain on the identity
            return "identity" if scales else "padded", total, beside
        return None

    def _before(self, number: int, members: set[int]) -> set[int]:
        found, waiting = set(), [number]
        while waiting:
            each = waiting.pop()
            if each in members and each not in found:
                found.add(each)
                waiting += self.inputs[each]
        return found

    def _after(self, number: int, members: set[int]) -> set[int]:
        found, waiting = set(), [number]
        while waiting:
            for each in self.users[waiting.pop()]:
                if each in members and each not in found:
                    found.add(each)
                    waiting.append(each)
        return found

    def order(self, blocks: Sequence[dict[str, Any]]) -> list[int]:
        """The nodes with those of a block next to each other."""
        around = {number: block["members"] for block in blocks for number in block["members"]}
        order: list[int] = []
        seen: set[int] = set()
        for number in range(len(self.nodes)):
            if number in seen:
                continue
            group = sorted(around.get(number, {number}))
            order += group
            seen.update(group)
        return order
