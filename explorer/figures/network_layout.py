"""The layout of a network's diagram: groups of layers along x, boxes, shortcuts, and points to hover.

Widths are in units that the browser scales to the window; heights are pixels, and zero is the line of the main path.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from explorer.architectures import ArchitectureSpec, Description, GraphSpec, LayerDescription
from explorer.labels import stage_title

# Up to so many convolutions each gets a box of its own, wide enough for its kernel's size in the narrowest window.
CONVOLUTIONS_SHOWN = 32

LARGEST, SMALLEST = 98.0, 66.0  # heights of the box with most pixels and with fewest; a kernel's name fits in both
JUMP = 14.0  # a shortcut passes so far above its block
_WIDTHS = {"conv": 1.0, "norm": 0.26, "activation": 0.26, "pool": 0.5, "linear": 0.5}
_SLIM = 0.22  # every other layer
_SUM_WIDTH = 0.8
_BLOCK_WIDTH, _BLOCK_SUM_WIDTH = 1.0, 0.62  # of a block that is drawn as one box
_GAP = 0.08  # behind a layer that is in no block
_PADDING = 0.45  # on both sides inside a group
_SPACING = 0.5  # between groups
_MOST_GROUPS = 8  # of a graph, which may have a module for each block
_NARROWEST_DRAWING = 24.0  # networks of few layers are spread out, not blown up
_NARROWEST_LABEL = 0.13  # of the width of the drawing: 32×32 in small print in 310 pixels
_WIDEST_LAYERS = 3.0  # beside many blocks, the stem's and the head's layers are widened up to so many times

Path = tuple[list[float | None], list[float | None]]  # x and y; None ends a line


@dataclass
class DiagramPart:
    """A block or a single layer; `shape` is that of its input. `shortcut` is the kind of a block's, and `branches` is
    how many join the main one at its end. A block that is `preactivated` has no activation behind its sum."""

    shape: tuple[int, ...]
    layers: list[LayerDescription]
    is_block: bool = False
    width: float = 0.0
    on_shortcut: list[LayerDescription] = field(default_factory=list)
    shortcut: str = ""
    branches: int = 0
    preactivated: bool = False


@dataclass
class Group:
    """Layers under one label: the input, the stem, a stage or the head. `x` is its left edge."""

    name: str
    parts: list[DiagramPart]
    lines: tuple[str, ...] = ()
    x: float = 0.0
    width: float = 0.0
    scale: float = 1.0

    @property
    def inner(self) -> float:
        return sum(part.width for part in self.parts)


@dataclass
class DiagramLayout:
    """The diagram, collected by kind so that each kind becomes one trace: the time to draw depends on their number."""

    groups: list[Group]
    width: float
    detailed: bool
    heights: dict[int, float]
    boxes: dict[str, Path] = field(default_factory=lambda: defaultdict(lambda: ([], [])))
    shortcuts: dict[str, Path] = field(default_factory=lambda: defaultdict(lambda: ([], [])))
    sums: list[float] = field(default_factory=list)
    projections: list[tuple[float, float]] = field(default_factory=list)
    gains: list[tuple[float, float]] = field(default_factory=list)
    words: list[tuple[float, str]] = field(default_factory=list)
    points: list[tuple[float, float, LayerDescription]] = field(default_factory=list)

    def height(self, shape: Sequence[int]) -> float:
        """Pixels that the box of an output of that shape is high."""
        return self.heights.get(shape[1], SMALLEST) if len(shape) == 3 else SMALLEST

    def layer(self, layer: LayerDescription, kind: str, x: float, width: float, word: str = "") -> None:
        """The box of a layer, its point to hover, and a word in the box."""
        self.box(kind, x, width, self.height(layer.output_shape) / 2)
        self.points.append((x + width / 2, 0.0, layer))
        if word:
            self.words.append((x + width / 2, word))

    def box(self, kind: str, x: float, width: float, top: float) -> None:
        """A box from `-top` to `top`."""
        xs, ys = self.boxes[kind]
        left, right = round(x, 3), round(x + width, 3)
        xs += [left, right, right, left, left, None]
        ys += [-top, -top, top, top, -top, None]

    def jump(self, kind: str, start: float, end: float, top: float) -> None:
        """From the main path up, over the block, and down to the sum, with round corners."""
        radius, drop = min(0.35, (end - start) / 4), 9.0
        corner = [(1 - math.cos(angle), math.sin(angle)) for angle in (0, math.pi / 6, math.pi / 3, math.pi / 2)]
        rise = [(radius * x, top - drop + drop * y) for x, y in corner]
        fall = [(end - x, y) for x, y in reversed(rise)]
        path = [(start, 0.0), *((start + x, y) for x, y in rise), *fall, (end, 0.0)]
        xs, ys = self.shortcuts[kind]
        xs += [*(round(x, 3) for x, _ in path), None]
        ys += [*(round(y, 1) for _, y in path), None]


def layout_network(description: Description) -> DiagramLayout:
    """The layout of that network. Horizontal places do not depend on the shortcut."""
    main = [
        layer for layer in description.layers if layer.kind == "conv" and not description.spec.is_beside(layer.name)
    ]
    detailed = len(main) <= CONVOLUTIONS_SHOWN
    groups = _groups(description, detailed)
    drawn = DiagramLayout(groups, _place(groups), detailed, _heights(description))
    for group in groups:
        x = group.x + (group.width - group.inner) / 2
        for part in group.parts:
            _draw_part(drawn, part, x, group.scale)
            x += part.width
    return drawn


def times(shape: Iterable[int]) -> str:
    """16 × 32 × 32."""
    return " × ".join(map(str, shape))


def _groups(description: Description, detailed: bool) -> list[Group]:
    """The input, then the layers of the description, each in exactly one part, in execution order."""
    spec = description.spec
    groups = [Group("input", [DiagramPart(spec.input_shape, [], width=0.8)], (times(spec.input_shape),))]
    shape: tuple[int, ...] = spec.input_shape
    parts: dict[str, DiagramPart] = {}
    for layer in description.layers:
        place = _place_of(spec, layer, groups[-1].name)
        if groups[-1].name != place:
            groups.append(Group(place, []))
        block = layer.name if layer.kind == "block" else spec.block_of(layer.name)
        key = block or layer.name
        if key not in parts:
            parts[key] = DiagramPart(shape, [], block is not None)
            groups[-1].parts.append(parts[key])
        parts[key].layers.append(layer)
        if spec.is_beside(layer.name):
            parts[key].on_shortcut.append(layer)
        else:
            shape = layer.output_shape
    if isinstance(spec, GraphSpec) and len(groups) > _MOST_GROUPS:
        groups = _by_resolution(groups)
    for group in groups[1:]:
        group.lines = (f"{spec.classes} classes",) if group is groups[-1] else _lines(group)
        for part in group.parts:
            part.width = _width(part, detailed)
            if part.is_block:
                part.shortcut, part.branches = _ways_of(spec, part)
                part.preactivated = spec.preactivation
    return groups


def _by_resolution(groups: Sequence[Group]) -> list[Group]:
    """Neighbours whose maps have one height together, under the name of the first."""
    merged = [groups[0]]
    for group in groups[1:]:
        heights = [each.parts[-1].layers[-1].output_shape[1:2] for each in (merged[-1], group) if each.parts[-1].layers]
        if len(heights) == 2 and (heights[0] == heights[1] or not heights[1] and heights[0] == (1,)):
            name = merged[-1].name.removesuffix(" …")
            name = group.name if name == "layers" else name
            merged[-1] = Group(f"{name} …", [*merged[-1].parts, *group.parts])
        else:
            merged.append(group)
    return merged


def _place_of(spec: ArchitectureSpec, layer: LayerDescription, before: str) -> str:
    """The label of the layer's group. In a graph it is the outermost module; layers without one are put together."""
    first, dot, _ = layer.name.partition(".")
    if not isinstance(spec, GraphSpec):
        return stage_title(layer.name)
    if dot or layer.kind == "block":
        return first
    return "stem" if before in ("input", "stem") else "head" if math.prod(layer.output_shape[1:]) == 1 else "layers"


def _ways_of(spec: ArchitectureSpec, part: DiagramPart) -> tuple[str, int]:
    """The kind of a block's shortcut, "" without one, and how many more branches its end joins."""
    if isinstance(spec, GraphSpec):
        block = next(each for each in spec.blocks if each.name == part.layers[-1].name)
        joined = [len(node.tensors) for node in spec.nodes if block.holds(node) and node.operator == "Concat"]
        return ("", joined[-1] - 1 if joined else 0) if block.shortcut == "none" else (block.shortcut, 0)
    if not part.on_shortcut:
        return "", 0
    projects = any(layer.kind == "conv" for layer in part.on_shortcut)
    same = part.on_shortcut[-1].output_shape == part.shape
    return "projection" if projects else "identity" if same else "padded", 0


def _lines(group: Group) -> tuple[str, ...]:
    blocks = [part for part in group.parts if part.is_block]
    if not blocks:
        return (times(group.parts[-1].layers[-1].output_shape),)
    # The shape inside the stage: a pooling layer behind the last block belongs to the way to the next one.
    return (times(blocks[-1].layers[-1].output_shape), f"{len(blocks)} block{'s' if len(blocks) > 1 else ''}")


def _branch(part: DiagramPart) -> list[LayerDescription]:
    """The layers of a block on the main path, without the sum and without the block's output."""
    return [layer for layer in part.layers[:-1] if layer.kind != "sum" and layer not in part.on_shortcut]


def _width(part: DiagramPart, detailed: bool) -> float:
    """The same with and without a shortcut: a plain network keeps the place of the sum free."""
    if not part.is_block:
        return _WIDTHS.get(part.layers[0].kind, _SLIM) + _GAP
    if not detailed:
        return _BLOCK_WIDTH + _BLOCK_SUM_WIDTH
    return (
        0.3 + sum(_WIDTHS.get(layer.kind, _SLIM) for layer in _branch(part)) + _SUM_WIDTH + _WIDTHS["activation"] + 0.1
    )


def _place(groups: Sequence[Group]) -> float:
    """Gives each group its left edge and a width for its label and its layers; returns the width of them all."""
    natural = [group.inner + 2 * _PADDING for group in groups]
    spacing = _SPACING * (len(groups) - 1)
    share = min(_NARROWEST_LABEL, 0.9 / len(groups))
    widths = natural
    for _ in range(8):  # widening a group widens the whole, of which the share is taken: settles in a few rounds
        widths = [max(width, share * (sum(widths) + spacing)) for width in natural]
    spare = max(0.0, _NARROWEST_DRAWING - sum(widths) - spacing) / len(groups)
    x = 0.0
    for group, width in zip(groups, widths, strict=True):
        group.x, group.width = x, width + spare
        x += group.width + _SPACING
        if not any(part.is_block for part in group.parts):
            group.scale = min(_WIDEST_LAYERS, max(1.0, (width - 2 * _PADDING) / group.inner))
            for part in group.parts:
                part.width *= group.scale
    return x - _SPACING


def _heights(description: Description) -> dict[int, float]:
    """Pixels that a box is high, by the height of the feature map it stands for, along the logarithm."""
    maps = [
        layer for layer in description.layers if len(layer.output_shape) == 3 and not layer.name.startswith("head.")
    ]
    sizes = {description.spec.input_shape[1], *(layer.output_shape[1] for layer in maps)}
    low, high = math.log(min(sizes)), math.log(max(sizes))
    span = (high - low) or 1.0
    return {size: round(SMALLEST + (LARGEST - SMALLEST) * (math.log(size) - low) / span, 1) for size in sizes}


def _draw_part(drawn: DiagramLayout, part: DiagramPart, x: float, scale: float) -> None:
    if not part.layers:
        drawn.box("input", x, part.width, drawn.height(part.shape) / 2)
    elif part.is_block:
        (_draw_layers if drawn.detailed else _draw_block)(drawn, part, x)
    else:
        layer = part.layers[0]
        word = f"{layer.kernel}, {layer.output_shape[0]}" if layer.kind == "conv" and drawn.detailed else ""
        drawn.layer(layer, layer.kind, x, part.width - _GAP * scale, word)


def _draw_layers(drawn: DiagramLayout, part: DiagramPart, x: float) -> None:
    """A block with a box for each convolution, norm and activation."""
    start = x + 0.1
    x += 0.3
    top = 0.0
    for layer in _branch(part):
        if part.preactivated and part.shortcut == "projection" and layer.name.endswith(".conv1"):
            start = x  # a projection takes what the first activation gives
        top = max(top, drawn.height(layer.output_shape) / 2)
        word = f"{layer.kernel}, {layer.output_shape[0]}" if layer.kind == "conv" else ""
        width = _WIDTHS.get(layer.kind, _SLIM)
        drawn.layer(layer, layer.kind, x, width, word)
        x += width
    _draw_shortcut(drawn, part, start, x + _SUM_WIDTH / 2, top + JUMP)
    if not part.preactivated:
        drawn.layer(part.layers[-1], "activation", x + _SUM_WIDTH, _WIDTHS["activation"])
    elif not part.shortcut:
        drawn.points.append((x + _SUM_WIDTH / 2, 0.0, part.layers[-1]))


def _draw_block(drawn: DiagramLayout, part: DiagramPart, x: float) -> None:
    """A block as one box, whose layers answer to hovering from top to bottom."""
    height = drawn.height(part.layers[-1].output_shape)
    left = x + 0.12
    drawn.box("block", left, _BLOCK_WIDTH, height / 2)
    inside = _branch(part)
    if not (part.preactivated and part.shortcut):  # else the sum is the block's output
        inside.append(part.layers[-1])
    for index, layer in enumerate(inside):
        drawn.points.append((left + _BLOCK_WIDTH / 2, height * (0.5 - (index + 0.5) / len(inside)), layer))
    end = left + _BLOCK_WIDTH + (_BLOCK_SUM_WIDTH - 0.12) / 2
    _draw_shortcut(drawn, part, x, end, height / 2 + JUMP)


def _draw_shortcut(drawn: DiagramLayout, part: DiagramPart, start: float, end: float, top: float) -> None:
    """The shortcut of a block and its sum, where the block has one."""
    for branch in range(part.branches):
        drawn.jump("branch", start, end, top - JUMP * branch / part.branches)
    if not part.shortcut:
        return
    on_it = part.on_shortcut
    drawn.jump(part.shortcut, start, end, top)
    if part.shortcut == "projection":
        drawn.projections.append((round((start + end) / 2, 3), round(top, 1)))
    for index, layer in enumerate(on_it, start=1):
        place = start + (end - start) * index / (len(on_it) + 1)
        drawn.points.append((place, top, layer))
        if layer.kind == "gain":
            drawn.gains.append((round(place, 3), round(top, 1)))
    drawn.sums.append(round(end, 3))
    sums = [layer for layer in part.layers if layer.kind == "sum"]
    drawn.points.append((end, 0.0, (sums or part.layers)[-1]))  # with preactivation the sum is the block's output
