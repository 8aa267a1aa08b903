"""Networks for grey images: trained here on any data, and with one output: the browser gets grey pixels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from driving.messages import unpack
from explorer import runs
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.datasets import GREY, Dataset, Split, channel_statistics, luminance, shapes
from explorer.images import to_pixels
from explorer.presets import cifar
from explorer.training import TrainingConfig, fit_together, network_input
from explorer.ui.api.explain import explain
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.input_images import sample_image
from explorer.ui.services.offered_networks import OfferedNetworks
from tests import test_compare
from tests.made_runs import finish
from tests.messages import message, session_of
from tests.test_pages import open_app
from tests.test_runs import lone, request


def dataset() -> Dataset:
    """Noise in ten tints, one a class."""
    random = np.random.default_rng(0)
    labels = np.arange(40) % 10
    images = random.integers(0, 128, (40, 3, 16, 16)) + random.integers(0, 128, (10, 3, 1, 1))[labels]
    split = Split(images.astype(np.uint8), labels)
    return Dataset("tints", shapes.CLASS_NAMES, *channel_statistics(split.images), split, split, split, ("As drawn.",))


DATA = dataset()


def test_a_network_for_grey_images_with_one_output_is_shown_in_grey_with_two_classes() -> None:
    spec = replace(cifar(8, classes=2), input_shape=(1, 28, 28), one_logit=True)
    made = Checkpoint(build(spec).freeze(), ("no", "yes"), (0.5,), (0.25,), "noise")
    own = session_of()
    own.offered = OfferedNetworks({"grey": lambda: made}, {}, "light")
    state = AppState(picture="sample-6-6", target=0, layers="main")
    asked = {"picture": state.picture, "target": 0, "layers": "main", "networks": ["grey"]}
    header, _ = unpack(explain(own, asked))
    assert "Made grey" in header["predictions"]["pictures"][1]["words"]
    subject = sample_image(6, 6)
    (network,) = own.offered.beside(["grey"])
    found = own.passes.run(network, state, subject).trace
    assert found.logits[0] == -found.logits[1]
    assert found.probabilities[1] == pytest.approx(1 / (1 + np.exp(-found.logits[1])))
    shown = to_pixels(found.image, made.mean, made.std)
    assert shown.shape == (28, 28, 3) and (shown == shown[..., :1]).all()
    for only in ("layer", "layers"):
        assert unpack(explain(own, asked | {"layer": "stages.1.0", "channel": 1, "only": only}))


def test_grey_is_pillows_and_has_its_own_statistics() -> None:
    grey = DATA.grey()
    levels = luminance(DATA.train.images)
    pillow = [np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L")) for image in DATA.train.images]
    assert np.array_equal(levels, pillow)
    assert (grey.mean, grey.std) == (pytest.approx((levels.mean() / 255,)), pytest.approx((levels.std() / 255,)))
    given = network_input(grey.train.images, grey.mean, grey.std, torch.device("cpu"))
    assert given.shape == (40, *grey.input_shape) and grey.input_shape == (1, 16, 16)
    assert given.mean().item() == pytest.approx(0, abs=1e-5) and given.std().item() == pytest.approx(1, abs=1e-3)
    assert grey.grey() is grey and grey.notes == (*DATA.notes, GREY), "it is said once"


def test_grey_twins_start_alike_and_no_colour_changes_what_they_learn() -> None:
    def run(data: Dataset) -> list[dict[str, torch.Tensor]]:
        networks = [build(spec, seed=1) for spec in (spec, spec.twin())]
        start = [{name: value.clone() for name, value in network.state_dict().items()} for network in networks]
        assert all(torch.equal(start[0][name], start[1][name]) for name in start[0])
        list(fit_together(networks, data.grey(), TrainingConfig(epochs=1, batch_size=8, augment=True, device="cpu")))
        assert not torch.equal(networks[0].state_dict()["stem.conv.weight"], start[0]["stem.conv.weight"])
        return [network.state_dict() for network in networks]

    spec = cifar(8, classes=10, size=16, width=4)
    spec = replace(spec, input_shape=(1, 16, 16))
    alike = luminance(DATA.train.images)[:, None].repeat(3, axis=1)
    without = replace(DATA, train=Split(alike, DATA.train.labels))
    for found, expected in zip(run(DATA), run(without), strict=True):
        assert all(torch.equal(found[name], expected[name]) for name in found)


def test_a_run_of_grey_twins_is_grey_on_every_page() -> None:
    spec = replace(cifar(8, classes=10, size=16, width=4), input_shape=(1, 16, 16))
    run = lone(request(DATA, (spec, spec.twin()), epochs=1))
    finish(run)
    samples = np.load(run.samples)
    start = runs.status(run).log.start
    assert (samples == samples[:, :1]).all() and start is not None and start["notes"].count(GREY) == 1
    names = [f"run-{run.id}-{name}" for name in ("resnet-8", "plain-8")]
    app = open_app(first=names[0], second=names[1])
    assert not app.error and "Made grey" in message(app)[0]["predictions"]["pictures"][1]["words"]
    assert not test_compare.open_compare(networks=",".join(names)).error
