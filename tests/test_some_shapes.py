"""Networks that have learned from shapes of 16 pixels, and from four of the ten: what each page makes of them."""

from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import checkpoints, runs
from explorer.architectures import build
from explorer.attribution import grad_cam, share_on_object
from explorer.checkpoints import Checkpoint
from explorer.datasets import shapes
from explorer.experiments.agreement import class_order
from explorer.images import to_input
from explorer.labels import numbered_classes
from explorer.presets import cifar
from explorer.training import evaluate
from explorer.ui import dataset_access, forecasts, network_registry
from explorer.ui.api import layers
from explorer.ui.explore import channels
from explorer.ui.gradients import flow_measurements
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import ChosenNetwork, InferenceCache, pixels_for
from explorer.ui.services.input_images import own_image, sample_image, split_image
from tests.messages import bar_data, choose, chosen, message
from tests.test_pages import COMPARE, open_app, texts

FOUR = ("ring", "cross", "star", "arrow")
DATA = "shapes-16-ring-cross-star-arrow"
RUN = "ab" * 16
NAMES = [f"run-{RUN}-{name}" for name in ("plain-8", "resnet-8")]
GRADIENTS = "from explorer.ui.pages import gradients\ngradients.show()"


@pytest.fixture(scope="module")
def four() -> list[Checkpoint]:
    """Untrained twins that know four shapes of 16 pixels."""
    data = shapes.load(size=16, classes=FOUR)
    networks = [build(cifar(8, shortcut, classes=4, size=16), seed=0).freeze() for shortcut in ("none", "identity")]
    return [Checkpoint(network, data.class_names, data.mean, data.std, data.name) for network in networks]


@pytest.fixture
def kept(four: list[Checkpoint], data_folder: object) -> list[Checkpoint]:
    """The same as the networks of a run."""
    run = runs.Run(runs.runs_folder() / RUN)
    run.folder.mkdir(parents=True)
    specs = tuple(each.spec.to_dict() for each in four)
    run.write_request(runs.Request(specs, {}, shapes.Drawn(16, FOUR).request))
    for name, each in zip(NAMES, four, strict=True):
        checkpoints.save(each, run.network_file(name.removeprefix(f"run-{RUN}-")))
    return four


def opened(script: str, **query: str) -> AppTest:
    app = AppTest.from_string(script, default_timeout=120)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    assert not app.exception and not app.error
    return app


@pytest.mark.parametrize("size", shapes.SIZES)
def test_a_network_is_given_the_scene_as_it_was_trained_on_it(size: int) -> None:
    spec = cifar(8, classes=4, size=size)
    known = Checkpoint(build(spec).freeze(), FOUR, (0.4,) * 3, (0.2,) * 3, shapes.Drawn(size, FOUR).name)
    pixels, mask = shapes.sample(6, 41, size)
    subject = sample_image(6, 41)
    given = pixels_for(known, subject)
    assert given[1] is not None
    np.testing.assert_array_equal(given[0], pixels)
    np.testing.assert_array_equal(given[1], mask)
    looked = InferenceCache().run(ChosenNetwork("n", known, "#123456"), AppState(), subject)
    np.testing.assert_array_equal(looked.trace.image, to_input(pixels, (size, size), known.mean, known.std))
    layer = looked.trace.layers[-1]
    told = dict(layers._numbers(looked, subject, layer, looked.profiles[-1], np.zeros((64, 2), np.float32)))
    share = share_on_object(grad_cam(layer), mask)
    words = f"Grad-CAM on the object, which covers {mask.mean():.0%} of the image"
    assert told[words] == ("none there" if share is None else f"{share:.0%}")


@pytest.mark.parametrize("size", shapes.SIZES)
def test_a_network_is_given_a_test_picture_at_the_size_of_its_training(size: int) -> None:
    own = shapes.Drawn(size, FOUR)
    known = Checkpoint(build(cifar(8, classes=4, size=size)).freeze(), FOUR, (0.4,) * 3, (0.2,) * 3, own.name)
    split = shapes.test_split(0, size)
    assert split.masks is not None
    subject = own_image(AppState(picture="test-shapes-32-123"))
    assert subject is not None and subject.label == shapes.CLASS_NAMES[split.labels[123]]
    pixels, mask = pixels_for(known, subject)
    np.testing.assert_array_equal(pixels, split.images[123].transpose(1, 2, 0))
    np.testing.assert_array_equal(mask, split.masks[123])
    if size == 32:
        assert pixels is subject.pixels, "else the page would say that it was drawn again"


@pytest.mark.parametrize("data", ["photos", "shapes-v2-16", "shapes-v1-16-star-ring"])
def test_any_other_network_is_given_the_picture_as_it_is(data: str) -> None:
    other = Checkpoint(build(cifar(8, size=16)).freeze(), shapes.CLASS_NAMES, (0.4,) * 3, (0.2,) * 3, data)
    for subject in (sample_image(6, 41), split_image(shapes.Drawn(), 123)):
        assert pixels_for(other, subject) == (subject.pixels, subject.mask)


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (FOUR, "sample-6-6"),
        (("circle", "star"), "sample-6-6"),
        (("heart", "arrow"), "sample-7-6"),
        (("cat", "dog"), "scene-ship"),
    ],
)
def test_the_first_picture_is_one_that_the_network_knows(
    classes: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network_registry, "class_names", lambda name: classes)
    assert network_registry.sample_for("any") == expected


@pytest.mark.usefixtures("kept")
def test_explore_says_which_shapes_the_networks_know() -> None:
    link = {"first": NAMES[0], "second": NAMES[1]}
    app = open_app(**link)
    assert not app.error and chosen(app)[1] == NAMES[1]
    said = texts(app)
    assert "These networks know only: ring, cross, star, arrow." in said
    assert "drawn at the size of its training" in said and (
        "Predicts star: right" in said or "wrong, it is a star" in said
    )
    marked = bar_data(app)
    assert [name for name, strange in zip(marked["names"], marked["strange"], strict=True) if not strange] == list(FOUR)
    app = open_app(**link, picture="sample-0-6")
    said = texts(app)
    assert "These networks have never seen a circle: they tell only ring, cross, star, arrow apart." in said
    assert "it is a circle" not in said, "no network can be right or wrong about what it does not know"
    offer = message(app)[0]["introduction"]["offer"]
    assert offer["words"] == "Look with the twins that know all shapes"
    choose(app, networks=offer["networks"])
    assert chosen(app)[0] == "shapes-plain-20"
    assert not any(bar_data(app)["strange"])
    assert "never seen" not in texts(app)


def test_photo_networks_find_no_shape_stranger_than_another() -> None:
    app = open_app(first="cifar10jpeg-plain-20", second="none")
    assert bar_data(app)["strange"] == []


@pytest.mark.usefixtures("kept")
def test_labelled_data_of_some_shapes_are_those_with_the_names_of_the_network(four: list[Checkpoint]) -> None:
    (plain, _) = four
    assert dataset_access.labelled_data(plain.spec, plain.class_names) == [DATA]
    assert dataset_access.labelled_data(plain.spec, plain.class_names[::-1]) == [DATA]
    assert dataset_access.labelled_data(plain.spec, ("a", "b", "c", "d")) == []
    assert dataset_access.labelled_data(plain.spec) == []
    assert class_order(replace(plain, class_names=numbered_classes(4)), plain.class_names) == [0, 1, 2, 3]
    ten = cifar(8, size=16)
    assert dataset_access.labelled_data(ten, numbered_classes(10)) == ["shapes-16"]  # their order is assumed
    assert dataset_access.labelled_data(ten, shapes.CLASS_NAMES) == ["shapes-16"]
    assert dataset_access.data_key(plain.data) == DATA and dataset_access.data_key("CIFAR-10") == "CIFAR-10"
    assert [
        dataset_access.data_title(each)
        for each in (DATA, "shapes-32", "shapes-16-" + "-".join(shapes.CLASS_NAMES[:-1]))
    ] == [
        "Shapes 16×16: ring, cross, star, arrow",
        "Shapes",
        "Shapes 16×16 without arrow",
    ]
    split, names = dataset_access.test_split(DATA)
    assert names == FOUR and len(split) == 1600


def test_the_test_pictures_of_compare_are_those_that_are_known(kept: list[Checkpoint]) -> None:
    app = opened(COMPARE, networks=",".join(NAMES))
    box = app.selectbox(key="compare_data")
    assert (box.value, box.options) == (DATA, ["Shapes 16×16: ring, cross, star, arrow"])
    count = app.selectbox(key="compare_n")
    assert count.options[-1] == "all 1,600" and count.value == 1000
    count.set_value(1600).run()
    next(button for button in app.button if button.label.startswith("Measure 2 networks on 1,600")).click().run()
    data = shapes.load(size=16, classes=FOUR)
    table = next(element.value for element in app.markdown if element.value.startswith("| network | right |"))
    for each in kept:
        right = round(evaluate(each.network, data.test, data.mean, data.std).accuracy * 1600)
        assert f"| {right:,} of 1,600 |" in table


@pytest.mark.usefixtures("kept")
def test_gradients_are_measured_on_the_pictures_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecasts, "macs_a_second", lambda: 1e12)
    app = opened(GRADIENTS, source="checkpoint", first=NAMES[0], second=NAMES[1])
    assert "64 shapes, evaluation mode" in "\n".join(element.value for element in app.caption)
    assert not app.warning, "the classes have the names of the network's"
    app = opened(GRADIENTS, data="shapes-16-star-ring", depths="8", seeds="1")
    assert app.selectbox(key="gradients_data").value == "shapes-16-ring-star"
    assert not app.exception and not app.error
    assert "64 shapes, training mode" in "\n".join(element.value for element in app.caption)
    batch = flow_measurements.batch("shapes-16-ring-star", 16)
    assert batch.class_names == ("ring", "star") and batch.images.shape == (64, 3, 16, 16)
    assert np.bincount(batch.labels).tolist() == [32, 32]


def test_the_channels_of_a_network_are_looked_for_in_its_own_pictures(four: list[Checkpoint]) -> None:
    looked = InferenceCache().run(ChosenNetwork("n", four[0], "#123456"), AppState(), sample_image(6, 6))
    assert channels._data(looked) == [DATA]
