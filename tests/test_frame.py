"""The frame of what the networks get, and the pictures of a contact sheet, as the server answers for them."""

import json
from typing import Any

import numpy as np
import pytest

from driving.messages import unpack
from explorer import checkpoints, figures
from explorer.images import to_input, to_pixels
from explorer.tracing import STRIP_KINDS, trace
from explorer.ui.api import explain as api
from explorer.ui.api.explain import classify, explain, handle_classify, view_report
from explorer.ui.api.explore_session import RequestError
from explorer.ui.services.input_images import sample_pixels
from tests.messages import refusal, reply, session_of

NAMES = ("shapes-plain-20", "shapes-resnet-20")
VIEW: dict[str, Any] = {"picture": "sample-6-6", "target": None, "layers": "main", "networks": [*NAMES]}
PHOTO = figures.png(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


def test_a_frame_is_seen_by_both_networks_and_by_every_part_of_the_message() -> None:
    """That of half the star: as if the app had drawn it alone."""
    own, frame = session_of(*NAMES), "0.25,0.5,0.5"
    header, body = unpack(explain(own, VIEW | {"frame": frame, "layer": "stages.2.2"}))
    cut = sample_pixels(6, 6)[0][16:32, 8:24]
    for name, network, predicted in zip(NAMES, header["networks"], header["predictions"]["networks"], strict=True):
        loaded = checkpoints.load_pretrained(name)
        wanted = trace(loaded.network, to_input(cut, (32, 32), loaded.mean, loaded.std), None, STRIP_KINDS)
        assert predicted["classes"][0]["probability"] == pytest.approx(float(wanted.probabilities.max()), abs=1e-6)
        assert predicted["part"] == [0.25, 0.5, 0.5, 0.5]
        start, height, width = network["input"]
        shown = np.frombuffer(body, np.uint8, 3 * height * width, start).reshape(height, width, 3)
        np.testing.assert_array_equal(shown, to_pixels(wanted.image, loaded.mean, loaded.std))
        assert [name for name, _ in network["layers"]["stages.2.2"]["numbers"] if "on the object" in name]
    said = "the frame of 50% of the shorter side, 25% from the left and 50% from the top"
    assert said in header["source"] and said in header["predictions"]["pictures"][0]["words"]
    html = view_report(own, VIEW | {"frame": frame}).decode()
    assert html.count(said) > 3, "the picture and each figure"
    assert explain(own, VIEW | {"frame": "0,0,1"}) != explain(own, VIEW), "in words"
    whole, alone = (unpack(explain(own, VIEW | more))[0]["predictions"] for more in ({"frame": "0,0,1"}, {}))
    assert whole["networks"] == alone["networks"], "the whole picture is what they get by themselves"
    with pytest.raises(RequestError, match="not a view of Explore"):
        explain(own, VIEW | {"frame": "0,0,2"})


def test_a_picture_of_a_contact_sheet_has_the_predictions_of_explore_and_is_not_kept() -> None:
    own = session_of(*NAMES)
    asked = {name: value for name, value in VIEW.items() if name != "picture"} | {"name": "a.png"}
    header, body = unpack(classify(own, asked, PHOTO))
    shown = unpack(explain(session_of(*NAMES), asked, PHOTO))[0]["predictions"]["networks"]
    for answer, network in zip(header["answers"], shown, strict=True):
        assert answer["name"] == network["classes"][0]["name"]
        assert answer["probability"] == pytest.approx(network["classes"][0]["probability"], abs=1e-6)
    assert header["size"] == "60×40" and header["picture"][1:] == [40, 60]
    assert not own.pictures._images and own.latest == 0, "the picture of the view stays, and so does its request"
    for name in ("=1.png", "../../etc/passwd", "\u202egnp.exe"):
        with pytest.raises(RequestError, match="is not a JPEG") as refused:
            classify(own, asked | {"name": name}, b"just text")
        assert (refused.value.status, refused.value.code) == (200, "picture")
    with pytest.raises(RequestError, match="shows other networks now"):
        classify(own, asked | {"networks": ["shapes-resnet-56"]}, PHOTO)
    answer = reply([json.dumps(asked).encode() + b"\n" + PHOTO], own.token, handle_classify)
    assert (answer.status_code, bytes(answer.body)) == (200, classify(own, asked, PHOTO))
    assert refusal(reply([json.dumps(asked).encode()], "0" * 32, handle_classify))[:2] == (404, "session")


def test_contact_sheets_leave_room_for_pictures_that_a_person_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    own = session_of(*NAMES)
    monkeypatch.setattr(api, "MAX_FILES", api.SPARE_FILES)
    body = [json.dumps({"networks": [*NAMES], "name": "a.png"}).encode() + b"\n" + PHOTO]
    assert refusal(reply(body, own.token, handle_classify))[:2] == (429, "files")
    assert reply(body, own.token).media_type == "application/octet-stream"
    monkeypatch.setattr(api, "MAX_FILES", api.SPARE_FILES + 1)
    assert reply(body, own.token, handle_classify).media_type == "application/octet-stream"
