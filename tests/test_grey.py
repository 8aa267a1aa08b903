"""A network for grey images with one output: the browser gets grey pixels and two classes."""

from dataclasses import replace

import numpy as np
import pytest

from driving.messages import unpack
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.images import to_pixels
from explorer.presets import cifar
from explorer.ui.api.explain import explain
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import sample_image
from explorer.ui.services.offered_networks import OfferedNetworks
from tests.messages import session_of


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
