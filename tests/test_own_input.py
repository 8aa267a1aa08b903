"""Your own input at the address of explanations: dials that change an image."""

import json
import re
from typing import Any

import numpy as np
import pytest

from driving.messages import unpack
from explorer import checkpoints
from explorer.attribution import profile, share_on_object
from explorer.images import Dials, change, move_mask, to_input
from explorer.tracing import STRIP_KINDS, trace
from explorer.ui.api.explain import ExploreSession, explain
from explorer.ui.services.inference import sample_pixels
from tests.messages import refusal, reply, session_of

NAMES = ("shapes-plain-8", "shapes-resnet-8")
VIEW: dict[str, Any] = {"picture": "sample-6-6", "target": None, "layers": "main", "networks": [*NAMES]}


def session() -> ExploreSession:
    return session_of(*NAMES)


def test_dials_change_what_the_networks_see_and_the_mask_moves_with_it() -> None:
    own, dials = session(), Dials(x=5, y=-3, noise=10)
    at_rest = explain(own, VIEW)
    content = explain(own, VIEW | {"dials": dials.to_text()})
    header, body = unpack(content)
    pixels, mask = sample_pixels(6, 6)
    covers = move_mask(mask, dials).mean()
    wanted = change(pixels, dials)
    start, height, width = header["networks"][0]["input"]
    seen = np.frombuffer(body, np.uint8, height * width * 3, start).reshape(height, width, 3)
    np.testing.assert_array_equal(seen, wanted)
    for which, name in enumerate(NAMES):
        loaded = checkpoints.load_pretrained(name)
        values = to_input(wanted, (32, 32), loaded.mean, loaded.std)
        traced = trace(loaded.network, values, None, STRIP_KINDS)
        best = header["predictions"]["networks"][which]["classes"][0]
        assert best["probability"] == pytest.approx(traced.probabilities.max(), rel=1e-5)
        share = share_on_object(profile(traced)[-1].cam, move_mask(mask, dials))
        numbers = dict(header["networks"][which]["layers"][header["layer"]]["numbers"])
        assert numbers[f"Grad-CAM on the object, which covers {covers:.0%} of the image"] == f"{share:.0%}"
    assert header["predictions"]["changed"] and not unpack(at_rest)[0]["predictions"]["changed"]
    assert "drawn star, number 6 (Shift right 5, Shift down -3, Noise 10)" in header["source"]
    assert explain(own, VIEW) == at_rest, "neither cache took one for the other"


@pytest.mark.parametrize("text", ["turn3", "x1_x2", "rotation999", "x1.5", 7, None])
def test_dials_that_do_not_exist_are_one_sentence(text: Any) -> None:
    own = session()
    status, code, message = refusal(reply([json.dumps(VIEW | {"dials": text}).encode()], own.token))
    assert (status, code) == (200, "dials") and re.fullmatch(r"[^\n]+\.", message)
