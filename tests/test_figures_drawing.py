"""The drawing of a network: every layer can be reached, twins stand one above the other, kinds can be told apart."""

import json
from collections import Counter
from dataclasses import replace

import plotly.graph_objects as go
import pytest

from explorer import figures
from explorer.architectures import ArchitectureSpec, Stage, describe
from explorer.presets import PRESETS, cifar, preset

THEMES = ("light", "dark")
VALID_PADDING = ArchitectureSpec(
    stages=(Stage(2, 8, padding="valid"), Stage(1, 16, 2, padding="valid")), block="conv", shortcut="projection"
)


def drawing(spec: ArchitectureSpec, **options: object) -> go.Figure:
    return figures.network_drawing(describe(spec), **options)


def points(figure: go.Figure) -> dict[str, tuple[float, float]]:
    """Where each layer answers to hovering."""
    trace = next(trace for trace in figure.data if trace.hoverinfo != "skip")
    names = [row[0] for row in trace.customdata]
    assert max(Counter(names).values()) == 1
    return dict(zip(names, zip(trace.x, trace.y, strict=True), strict=True))


def legend(figure: go.Figure) -> list[str]:
    return [trace.name for trace in figure.data if trace.showlegend]


def contrast(first: str, second: str) -> float:
    """WCAG 2.2, "contrast ratio"."""

    def luminance(colour: str) -> float:
        shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted([luminance(first), luminance(second)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("spec", [*(each.spec for each in PRESETS.values()), VALID_PADDING], ids=[*PRESETS, "valid"])
def test_each_layer_has_one_point_of_its_own_inside_the_drawing(spec: ArchitectureSpec) -> None:
    figure = drawing(spec)
    found = points(figure)
    assert list(sorted(found)) == sorted(layer.name for layer in describe(spec).layers)
    assert len(set(found.values())) == len(found), "two layers at one place: one of them cannot be reached"
    (left, right), (bottom, top) = figure.layout.xaxis.range, figure.layout.yaxis.range
    assert all(left < x < right and bottom < y < top for x, y in found.values())


def test_a_point_tells_all_about_its_layer() -> None:
    trace = drawing(preset("imagenet-resnet-18").spec).data[-1]
    told = {row[0]: list(row[1:]) for row in trace.customdata}
    assert told["stem.conv"] == ["convolution", "64 × 112 × 112", 9408, 118013952, 7]
    assert told["head.fc"][:3] == ["fully connected", "1000", 513000]


@pytest.mark.parametrize("name", ["lenet", "resnet-20", "resnet-110", "growing-resnet", "imagenet-resnet-152"])
def test_layers_of_the_main_path_follow_one_another(name: str) -> None:
    spec = preset(name).spec
    found = points(drawing(spec))
    main = [layer.name for layer in describe(spec).layers if ".shortcut" not in layer.name and layer.kind != "sum"]
    ends = [found[layer][0] for layer in main if layer.count(".") < 3]  # stem, blocks, pooling, head
    assert ends == sorted(ends)


@pytest.mark.parametrize("depth", [8, 20, 56, 110])
@pytest.mark.parametrize("shortcut", ["identity", "projection"])
def test_twins_stand_layer_above_layer(depth: int, shortcut: str) -> None:
    plain, residual = drawing(cifar(depth, "none")), drawing(cifar(depth, shortcut))  # type: ignore[arg-type]
    above, below = points(plain), points(residual)
    assert {name: below[name][0] for name in above} == {name: place[0] for name, place in above.items()}
    assert plain.layout.xaxis.range == residual.layout.xaxis.range
    assert plain.layout.yaxis.range == residual.layout.yaxis.range
    heights = [each.layout.height - each.layout.margin.b for each in (plain, residual)]  # without their legends
    assert heights[0] == heights[1]


def test_kinds_of_shortcut_are_told_apart_not_only_by_colour() -> None:
    shortcuts = {"identity shortcut", "option-A shortcut", "projection shortcut"}
    assert not shortcuts & set(legend(drawing(cifar(20, "none"))))
    assert shortcuts & set(legend(drawing(cifar(20, "identity")))) == {"identity shortcut", "option-A shortcut"}
    assert shortcuts & set(legend(drawing(cifar(20, "projection")))) == {"identity shortcut", "projection shortcut"}
    traces = {trace.name: trace for trace in drawing(cifar(20, "identity")).data}
    assert traces["identity shortcut"].line.dash == "solid" != traces["option-A shortcut"].line.dash
    squares = [trace for trace in drawing(cifar(20, "projection")).data if trace.marker.symbol == "square"]
    assert sum(x is not None for trace in squares for x in trace.x) == 2, "where the second and third stage begin"


@pytest.mark.parametrize(("depth", "hops"), [(8, 3), (20, 9), (110, 54)])
def test_each_block_of_a_residual_network_has_one_shortcut_and_one_sum(depth: int, hops: int) -> None:
    traces = {trace.name: trace for trace in drawing(cifar(depth)).data}
    drawn = [traces[name] for name in ("identity shortcut", "option-A shortcut")]
    assert sum(list(trace.x).count(None) for trace in drawn) == hops == len(traces["sum"].x)
    assert list(traces["option-A shortcut"].x).count(None) == 2, "where a stage begins with other shapes"


def test_many_blocks_are_drawn_as_blocks_and_few_with_their_convolutions() -> None:
    assert "block" not in legend(drawing(cifar(20))) and len(drawing(cifar(20)).layout.annotations) == 19
    assert "block" in legend(drawing(cifar(110))) and not drawing(cifar(110)).layout.annotations


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("shortcut", ["none", "identity"])
def test_words_in_boxes_can_be_read(theme: str, shortcut: str) -> None:
    figure = drawing(cifar(8, shortcut), theme=theme)  # type: ignore[arg-type]
    boxes = next(trace for trace in figure.data if trace.name == "convolution")
    assert contrast(figure.layout.annotations[0].font.color, boxes.fillcolor) >= 4.5
    family = "plain" if shortcut == "none" else "residual"
    assert boxes.line.color == figures.NETWORK_COLOURS[theme][family]


def test_labels_name_the_groups_and_their_shapes() -> None:
    labels = next(trace.text for trace in drawing(preset("resnet-110").spec).data if trace.mode == "text")
    assert [label.split("</b>")[0].removeprefix("<b>") for label in labels] == [
        "input",
        "stem",
        "stage 1",
        "stage 2",
        "stage 3",
        "head",
    ]
    assert labels[3] == "<b>stage 2</b><br>32×16×16<br>18 blocks" and labels[-1].endswith("10<br>classes")


def test_a_legend_may_be_left_to_the_twin() -> None:
    spec = cifar(20)
    assert not legend(drawing(spec, legend=False))
    assert drawing(spec, legend=False).layout.height < drawing(spec).layout.height


def test_the_drawing_of_110_layers_is_small() -> None:
    figure = figures.network_drawing(describe(cifar(110)))
    assert len(json.dumps(figure.to_plotly_json()["data"], default=list)) < 70_000


def test_the_background_is_the_page() -> None:
    layout = drawing(replace(cifar(8), classes=3)).layout
    assert layout.paper_bgcolor == layout.plot_bgcolor == "rgba(0,0,0,0)"
