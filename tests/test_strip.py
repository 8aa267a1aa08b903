"""What the browser paints from: steps of a scale, maps that fit, and the bytes that carry them."""

import itertools
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from driving.messages import picture, unpack
from explorer import checkpoints, figures
from explorer.architectures import build
from explorer.attribution import LayerProfile, channel_statistics, channel_weights, grad_cam, profile, shared_tops
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.figures import DIVERGING, SEQUENTIAL, ColourScale
from explorer.images import to_input, to_pixels
from explorer.presets import cifar
from explorer.tracing import STRIP_KINDS, LayerTrace, trace
from explorer.ui.api import layers, strip
from explorer.ui.api.binary import MessageWriter
from explorer.ui.api.message import layers_message, view_message
from explorer.ui.api.strip import pack_strip
from explorer.ui.services.explore_state import Scope
from explorer.ui.services.inference import NetworkResult
from explorer.ui.services.input_images import InputImage
from tests.messages import message
from tests.test_pages import open_app

numbers_of = st.lists(st.floats(-(2.0**99), 2.0**99, width=32, allow_subnormal=False), min_size=1, max_size=60)


@given(numbers_of, st.floats(1, 1e3))
def test_steps_lose_at_most_one_colour_on_any_scale_that_ends_higher(numbers: list[float], wider: float) -> None:
    values = np.array(numbers, dtype=np.float32)
    top = float(np.abs(values).max())
    steps = figures.quantise_signed(values, top)
    scale = top * wider
    if not scale:
        assert (steps == 128).all()
        return
    exact = 255 * (np.clip(values.astype(float) / scale, -1, 1) + 1) / 2
    from_steps = 255 * ((steps.astype(float) - 128) / 127 * top / scale + 1) / 2
    assert np.abs(exact - from_steps).max() <= 0.51
    sizes = figures.quantise_sizes(np.abs(values), top)
    assert np.abs(255 * np.abs(values.astype(float)) / scale - sizes * (top / scale)).max() <= 0.51


@pytest.mark.parametrize("top", [0.0, float("nan"), float("inf")])
def test_a_scale_that_does_not_exist_paints_zero(top: float) -> None:
    values = np.array([1.0, np.nan, -2.0], dtype=np.float32)
    assert (figures.quantise_sizes(values, top) == 0).all()
    assert (figures.quantise_signed(values, top) == 128).all()


def test_the_palettes_are_those_of_the_painted_pictures() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)
    np.testing.assert_array_equal(figures.palette(SEQUENTIAL), ColourScale.sizes(1.0).paint(ramp))
    np.testing.assert_array_equal(figures.palette(DIVERGING), ColourScale.signed(1.0).paint(2 * ramp - 1))


@pytest.mark.parametrize("shape", [(3, 112, 112), (2, 64, 64), (5, 57, 33), (1, 200, 3)])
def test_a_reduced_map_is_the_mean_of_what_it_stands_for(shape: tuple[int, ...]) -> None:
    maps = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    small = figures.average_pool(maps, 32)
    assert max(small.shape[1:]) <= 32 and small.shape[0] == shape[0] and small.dtype == np.float32
    np.testing.assert_allclose(small.mean(axis=(1, 2)), maps.mean(axis=(1, 2)), atol=2e-2)
    for each, whole in zip(small, maps, strict=True):
        oracle = Image.fromarray(whole).resize(each.shape[::-1], Image.Resampling.BOX)
        np.testing.assert_allclose(each, np.asarray(oracle), atol=1e-5)
    assert figures.average_pool(maps, 224) is maps


def test_what_is_packed_comes_out_again_where_the_header_says() -> None:
    writer = MessageWriter()
    odd = np.arange(7, dtype=np.uint8)
    floats = np.linspace(-1, 1, 5, dtype=np.float32)
    places = [writer.add(odd), writer.add(floats), writer.add(odd[:0]), writer.add(odd)]
    header, body = unpack(writer.write({"ö": places}))
    assert header == {"ö": places}
    assert all(place % 4 == 0 for place in places), "a browser reads float32 only there"
    np.testing.assert_array_equal(np.frombuffer(body, np.float32, 5, places[1]), floats)
    for place in (places[0], places[3]):
        np.testing.assert_array_equal(np.frombuffer(body, np.uint8, 7, place), odd)
    with pytest.raises(TypeError, match="float64"):
        writer.add(np.zeros(3))
    with pytest.raises(ValueError, match="JSON"):
        writer.write({"x": float("nan")})


def first_visit() -> tuple[InputImage, list[NetworkResult]]:
    """The picture and the networks of the first visit, as the library sees them."""
    pixels, mask = shapes.sample(6, 6)
    looked = []
    for name in ("shapes-plain-20", "shapes-resnet-20"):
        loaded = checkpoints.load_pretrained(name)
        passed = trace(loaded.network, to_input(pixels, (32, 32), loaded.mean, loaded.std), None, STRIP_KINDS)
        looked.append(NetworkResult(name, loaded, "#000000", trace=passed, profiles=profile(passed)))
    return InputImage(pixels, pixels, "sample-6-6", "star", (), mask, "star"), looked


def test_the_browser_has_every_number_of_the_strip() -> None:
    """Cams and the tops of their scales, against what the library says of the same pass."""
    header, body = message(open_app(layers="main"))
    axis = [column["name"] for column in header["columns"]]
    seen = [network.trace for network in first_visit()[1]]
    for which, (passed, network) in enumerate(zip(seen, header["networks"], strict=True)):
        columns = {column.name: column for column in profile(passed)}
        assert {name for name, cell in zip(axis, network["cells"], strict=True) if cell} == set(columns)
        for name, cell in zip(axis, network["cells"], strict=True):
            if cell is None:
                continue
            cam = picture(body, cell["cam"]) / 255 * (cell["largest"] or 0)
            np.testing.assert_allclose(cam, grad_cam(passed[name]), atol=cell["largest"] / 500 + 1e-7)
            signed = (picture(body, cell["signed"]).astype(float) - 128) / 127 * (cell["extent"] or 0)
            np.testing.assert_allclose(signed, grad_cam(passed[name], relu=False), atol=cell["extent"] / 250 + 1e-7)
            assert (cell["zero"] is None) == bool(columns[name].cam.any())
            assert cell["peak"] == pytest.approx(columns[name].peak)
        largest = {
            "cam": [{column.name: float(column.cam.max()) for column in profile(each)} for each in seen],
            "map": [{column.name: column.peak for column in profile(each)} for each in seen],
            "signed": [
                {column.name: float(np.abs(column.signed_cam).max()) for column in profile(each)} for each in seen
            ],
        }
        for kind, scope in itertools.product(largest, get_args(Scope)):
            wanted = shared_tops(largest[kind], scope)[which]
            maxima = header["maxima"][kind][scope][which]
            for index, name in enumerate(axis):
                if name in wanted:
                    assert (maxima[index] if scope == "layer" else maxima) == pytest.approx(wanted[name])


def test_by_default_the_strip_has_blocks_and_what_is_outside_of_them() -> None:
    for depth in (8, 56):
        app = open_app(first=f"shapes-plain-{depth}", second=f"shapes-resnet-{depth}")
        blocks = [f"stages.{stage}.{block}" for stage in range(3) for block in range((depth - 2) // 6)]
        for query, wanted in (({}, ["stem.conv", *blocks]), ({"layers": "main"}, None)):
            header = message(app, **query)[0]
            names = [column["name"] for column in header["columns"]]
            assert names == wanted if wanted else set(names) > {"stem.conv", *blocks}
            assert header["layer"] == blocks[-1]


@pytest.mark.parametrize("layers", ["blocks", "main", "all"])
def test_a_line_of_a_chart_connects_blocks_alone_and_no_number_is_lost(layers: str) -> None:
    header = message(open_app(first="shapes-plain-8", second="shapes-resnet-8"), layers=layers)[0]
    for chart in header["charts"]:
        for series, network in zip(chart["series"], header["networks"], strict=True):
            kinds = [column["kind"] for column in header["columns"]]
            there = [cell is not None for cell in network["cells"]]
            assert [value is not None for value in series["line"]] == [kind == "block" for kind in kinds]
            assert [value is not None for value in series["dots"]] == [
                kind != "block" and cell for kind, cell in zip(kinds, there, strict=True)
            ]
        assert chart["alt"].endswith("; a line connects the blocks, other layers are dots")
        label, power = chart["ticks"][0]["label"], chart["hover"][0].split(": ")[-1]
        assert float(power) >= float(label)


def test_the_browser_has_every_number_of_the_layers() -> None:
    """Feature maps and the numbers of each channel: of all layers when it asks for them, of the chosen one before."""
    subject, looked = first_visit()
    header, body = unpack(layers_message("sample-6-6", subject, looked, None))
    assert header["every"]
    for network, found in zip(looked, header["networks"], strict=True):
        assert list(found["layers"]) == [layer.name for layer in network.trace.layers if layer.is_spatial]
        for name, detail in found["layers"].items():
            layer = network.trace[name]
            peak = float(np.abs(layer.activation).max())
            start, height, width = detail["maps"]
            maps = np.frombuffer(body, np.uint8, detail["channels"] * height * width, start).astype(np.float32)
            back = (maps - 128).reshape(-1, height, width) / 127 * peak
            np.testing.assert_allclose(back, layer.activation, atol=peak / 250)
            stats = np.frombuffer(body, np.float32, 4 * detail["channels"], detail["stats"]).reshape(-1, 4)
            flat = layer.activation.reshape(detail["channels"], -1)
            np.testing.assert_array_equal(stats[:, 0], flat.min(axis=1))
            np.testing.assert_array_equal(stats[:, 1], flat.max(axis=1))
            np.testing.assert_allclose(stats[:, 2], np.sqrt((flat.astype(float) ** 2).mean(axis=1)), rtol=1e-4)
            np.testing.assert_array_equal(stats[:, 3], channel_weights(layer))
            told = dict(detail["numbers"])
            silent = sum(not each.any() for each in flat)
            assert told["channels that are 0 everywhere"] == f"{silent} of {detail['channels']}"
    shown, _ = message(open_app(layer="stages.1.0.conv1"))
    for network, found in zip(header["networks"], shown["networks"], strict=True):
        assert list(found["layers"]) == ["stages.1.0.conv1"]
        assert found["layers"]["stages.1.0.conv1"]["numbers"] == network["layers"]["stages.1.0.conv1"]["numbers"]


def test_the_browser_has_the_picture_as_each_network_gets_it() -> None:
    subject, looked = first_visit()
    header, body = unpack(view_message("sample-6-6", subject, looked))
    for network, found in zip(looked, header["networks"], strict=True):
        start, height, width = found["input"]
        seen = to_pixels(network.trace.image, network.checkpoint.mean, network.checkpoint.std)
        assert body[start : start + 3 * height * width] == seen.tobytes()


def test_what_is_too_much_is_reduced_but_for_the_chosen_channel() -> None:
    spec = cifar(8, size=128, width=32)
    network = build(spec, seed=0).freeze()
    image = np.random.default_rng(0).standard_normal(spec.input_shape).astype(np.float32)
    passed = trace(network, image, None, STRIP_KINDS)
    loaded = Checkpoint(network, shapes.CLASS_NAMES, (0.5,) * 3, (0.25,) * 3, "shapes-v1-32")
    pixels = np.zeros((128, 128, 3), np.uint8)
    subject = InputImage(pixels, pixels, "black", "black")
    looked = [NetworkResult("large", loaded, "#000000", trace=passed, profiles=profile(passed))]
    header, body = unpack(layers_message("sample-6-6", subject, looked, "stages.0.0", 3))
    assert not header["every"]
    (found,) = header["networks"][0]["layers"].values()
    start, height, width = found["maps"]
    assert found["reduced"] and max(height, width) <= layers.MAP_SIDE_PX
    assert found["chosen"]["channel"] == 3
    whole = passed["stages.0.0"].activation[3]
    chosen = picture(body, found["chosen"]["map"])
    peak = float(np.abs(passed["stages.0.0"].activation).max())
    np.testing.assert_array_equal(chosen, figures.quantise_signed(whole, peak))


def test_a_network_that_diverged_is_packed_without_a_number_that_json_lacks() -> None:
    values = np.array([[[np.nan, 1.0], [np.inf, -np.inf]], [[1.0, 2.0], [3.0, 4.0]]], dtype=np.float32)
    layer = LayerTrace("stem.conv", "conv", values, values)
    with np.errstate(all="ignore"):
        cam = np.full((2, 2), np.nan, np.float32)
        column = LayerProfile("stem.conv", "conv", (2, 2, 2), cam, cam, 0, values[0], np.nan, np.inf, np.nan, None)
        statistics = channel_statistics(layer)
    writer = MessageWriter()
    header, body = unpack(writer.write(pack_strip(writer, [replace(first_visit()[1][0], profiles=(column,))])))
    (cell,) = header["networks"][0]["cells"]
    assert cell["peak"] is None and cell["largest"] is None
    assert (picture(body, cell["cam"]) == 0).all() and (picture(body, cell["map"]) == 128).all()
    assert [chart["series"][0]["line"] for chart in header["charts"]] == [[None], [None]]
    np.testing.assert_array_equal(statistics[1, :3], np.array([1, 4, np.sqrt(7.5)], dtype=np.float32))


def test_the_size_of_a_channel_is_right_where_float32_cannot_hold_squares() -> None:
    scales = np.array([1e-25, 1.0, 1e25, 0.0], dtype=np.float32)
    values = np.full((4, 2, 2), 3.0, dtype=np.float32) * scales[:, None, None]
    sizes = channel_statistics(LayerTrace("stem.conv", "conv", values, values))[:, 2]
    np.testing.assert_allclose(sizes, 3 * scales, rtol=1e-6)


def test_labels_fit_their_columns_and_keep_what_tells_layers_apart() -> None:
    axis = ["conv1", "inception3a.branch1", "classifier.0", "classifier.1"]
    long = "features.denseblock1.denselayer12.conv2"
    assert strip._short_label(long) == "…selayer12.conv2" and strip._short_label("stages.1.0.conv2") == "0.conv2"
    rows = [SimpleNamespace(profiles=[SimpleNamespace(name=name, shape=(8, 4, 4)) for name in axis])]
    labels = {group["key"]: (group["span"], group["label"]) for group in strip._groups(axis, rows)}  # type: ignore[arg-type]
    assert labels == {"conv1": (1, ""), "inception3a": (1, "incept…"), "classifier": (2, "classifier")}


@pytest.mark.parametrize(("layers", "said"), [(9, [": 16 channels of 32×32"] * 3), (8, [""] * 3)])
def test_all_stages_say_their_sizes_or_none_does(layers: int, said: list[str]) -> None:
    axis = [
        *("stem.conv", "stem.norm", "stem.pool"),
        *(f"stages.{n}.{layer}" for n in range(3) for layer in range(layers)),
    ]
    rows = [SimpleNamespace(profiles=[SimpleNamespace(name=name, shape=(16, 32, 32)) for name in axis])]
    labels = [group["label"] for group in strip._groups(axis, rows)]  # type: ignore[arg-type]
    assert labels[1:] == [f"stage {stage}{words}" for stage, words in enumerate(said, start=1)]
