"""Your own input at the address of explanations: dials that change an image, drawings, what a camera sees."""

import json
import re
from typing import Any

import numpy as np
import pytest

from driving.messages import unpack
from explorer import checkpoints
from explorer.attribution import profile, share_on_object
from explorer.images import Dials, Frame, change, move_mask, resize, to_input
from explorer.tracing import STRIP_KINDS, trace
from explorer.ui.api.explain import explain
from explorer.ui.api.explore_session import ExploreSession
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.inference import input_mask, input_pixels
from explorer.ui.services.input_images import sample_image, sample_pixels
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


def test_the_dials_change_what_is_in_the_frame_and_its_mask_moves_with_it() -> None:
    frame, dials = "0.25,0.5,0.5", Dials(x=-4)
    image = sample_image(6, 6).of_view(AppState(frame=frame, dials=dials.to_text()))
    loaded, (pixels, mask) = checkpoints.load_pretrained(NAMES[0]), sample_pixels(6, 6)
    framed = resize(pixels, (32, 32), None, Frame.parse(frame))
    np.testing.assert_array_equal(input_pixels(loaded, image), change(framed, dials))
    whole = np.kron(mask[16:, 8:24], np.ones((2, 2), bool))  # each pixel of the frame is four of the input
    found = input_mask(loaded, image)
    assert found is not None and (found != move_mask(whole, dials)).mean() < 0.03, "but at its smoothed edge"


@pytest.mark.parametrize("text", ["turn3", "x1_x2", "rotation999", "x1.5", 7, None])
def test_dials_that_do_not_exist_are_one_sentence(text: Any) -> None:
    own = session()
    status, code, message = refusal(reply([json.dumps(VIEW | {"dials": text}).encode()], own.token))
    assert (status, code) == (200, "dials") and re.fullmatch(r"[^\n]+\.", message)


DRAWN = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
MASK = np.zeros((32, 32), np.uint8)
MASK[8:20, 10:25] = 1
DRAWING: dict[str, Any] = {"kind": "drawing", "size": [32, 32], "mask": True, "keep": False}


def ask(own: ExploreSession, drawing: object, content: bytes, **changes: Any) -> Any:
    """What the address answers to these pixels."""
    line = json.dumps(VIEW | {"drawing": drawing} | changes).encode()
    return reply([line + b"\n", content], own.token)


def test_a_drawing_is_seen_as_it_is_and_its_mask_is_the_object() -> None:
    own, dials = session(), Dials(x=3)
    header, body = unpack(bytes(ask(own, DRAWING, DRAWN.tobytes() + MASK.tobytes(), dials=dials.to_text()).body))
    start, height, width = header["networks"][0]["input"]
    seen = np.frombuffer(body, np.uint8, height * width * 3, start).reshape(height, width, 3)
    np.testing.assert_array_equal(seen, change(DRAWN, dials))
    loaded = checkpoints.load_pretrained(NAMES[1])
    traced = trace(loaded.network, to_input(change(DRAWN, dials), (32, 32), loaded.mean, loaded.std), None, STRIP_KINDS)
    assert header["predictions"]["networks"][1]["classes"][0]["probability"] == pytest.approx(
        traced.probabilities.max(), rel=1e-5
    )
    moved = move_mask(MASK == 1, dials)
    numbers = dict(header["networks"][1]["layers"][header["layer"]]["numbers"])
    words = f"Grad-CAM on the object, which covers {moved.mean():.0%} of the image"
    assert numbers[words] == f"{share_on_object(profile(traced)[-1].cam, moved):.0%}"
    assert header["predictions"]["pictures"][0]["alt"] == "your drawing (Shift right 3)"
    assert header["predictions"]["networks"][1]["right"] is None, "nobody knows what was meant"


def test_only_a_drawing_that_is_to_be_kept_stays_and_for_its_own_session() -> None:
    own, other = session(), session()
    content = DRAWN.tobytes() + MASK.tobytes()
    passing, _ = unpack(bytes(ask(own, DRAWING, content).body))
    again = json.dumps(VIEW | {"picture": passing["picture"]}).encode()
    assert refusal(reply([again], own.token))[:2] == (404, "picture"), "a hand at work sends many"
    kept, _ = unpack(bytes(ask(own, DRAWING | {"keep": True}, content).body))
    assert kept["picture"] == passing["picture"]
    header, _ = unpack(bytes(reply([again], own.token).body))
    assert header["predictions"] == kept["predictions"]
    assert refusal(reply([again], other.token))[:2] == (404, "picture")


def test_what_a_camera_sees_has_another_name_and_no_mask() -> None:
    own = session()
    camera = {"kind": "camera", "size": [32, 32], "mask": False, "keep": True}
    header, _ = unpack(bytes(ask(own, camera, DRAWN.tobytes()).body))
    assert header["predictions"]["pictures"][0]["alt"] == "your camera image"
    image = own.pictures.get(header["picture"])
    assert image is not None and image.mask is None
    empty, _ = unpack(bytes(ask(own, DRAWING | {"keep": True}, DRAWN.tobytes() + bytes(32 * 32)).body))
    image = own.pictures.get(empty["picture"])
    assert image is not None and image.mask is None, "a canvas without an object"


@pytest.mark.parametrize(
    ("drawing", "content", "status"),
    [
        (DRAWING, DRAWN.tobytes(), 400),
        (DRAWING | {"size": [32]}, b"", 400),
        (DRAWING | {"size": [0, 32]}, b"", 400),
        (DRAWING | {"size": [10**6, 10**6]}, b"", 400),
        (DRAWING | {"size": [True, 1], "mask": False}, b"abc", 400),
        (DRAWING | {"size": "32"}, b"", 400),
        (DRAWING | {"kind": "photo"}, DRAWN.tobytes(), 400),
        (DRAWING | {"kind": []}, DRAWN.tobytes(), 400),
        (None, b"", 400),
        ([], b"", 400),
        (DRAWING, bytes(4 * 512 * 512 + 1), 413),
    ],
)
def test_pixels_that_are_no_drawing_are_one_sentence(drawing: object, content: bytes, status: int) -> None:
    own = session()
    answer, _, message = refusal(ask(own, drawing, content))
    assert answer == status and message.endswith(".") and "\n" not in message
    assert not own.pictures._images and not own.messages._values
