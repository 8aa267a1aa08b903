"""Models in a real browser: other people's weights from the file to the explained picture, and whose they are."""

import io
import os
import re
import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import onnx
import torch
from playwright.sync_api import Page, expect

from driving.accessibility import assert_accessible, assert_keyboard_goes_everywhere
from driving.actions import choose, click, no_sideways_scroll, query, turn, upload, visit, wait_until_ready, windows
from driving.protocol_client import Session
from explorer.architectures import build
from explorer.checkpoints import HEADER
from explorer.presets import cifar
from tests.e2e.conftest import Server
from tests.e2e.exploring import strip_button

AKAMASTER = {"best_prec1": 91.7}  # what their files hold beside the weights


def weights_below(folder: Path) -> list[str]:
    """The files of weights there; folders may vanish while they are looked for, which `Path.rglob` does not take."""
    return [name for _, _, names in os.walk(folder) for name in names if name.endswith(".safetensors")]


def theirs(
    depth: int = 8, weights: Mapping[str, torch.Tensor] | None = None, beside: Mapping[str, float] = AKAMASTER
) -> bytes:
    """A file laid out like akamaster's: keys of a CIFAR ResNet below `module.`, the weights below `state_dict`."""
    state = {}
    for name, tensor in (weights or build(cifar(depth), seed=3).state_dict()).items():
        name = re.sub(r"^stem\.(conv|norm)", lambda match: {"conv": "conv1", "norm": "bn1"}[match[1]], name)
        name = re.sub(r"^stages\.(\d)", lambda match: f"layer{int(match[1]) + 1}", name)
        name = name.replace("norm", "bn").replace("head.fc", "linear")
        state[f"module.{name}"] = tensor
    buffer = io.BytesIO()
    torch.save({"state_dict": state, **beside}, buffer)
    return buffer.getvalue()


def give(page: Page, name: str, content: bytes) -> None:
    visit(page, "/models")
    upload(page, "weights", name, "application/octet-stream", content)


def use(page: Page, reading: str) -> None:
    expect(page.get_by_text("is of the family")).to_be_visible()
    page.get_by_test_id("stRadio").get_by_text(reading, exact=True).click()
    wait_until_ready(page)
    click(page, "button", "Use this model")
    expect(page.get_by_role("heading", name="All layers, input to output")).to_be_visible()
    wait_until_ready(page)


def bring_onnx(page: Page) -> None:
    """Any other network: from its file to its layers and blocks, and beside a twin."""
    from tests import test_onnx_pages  # here: its neighbours take `theirs` from this file

    click(page, "link", "Models")
    upload(page, "weights", "small.onnx", "application/octet-stream", test_onnx_pages.content())
    expect(page.get_by_text("is of the family ONNX")).to_be_visible()
    page.get_by_text("Classes, normalisation and name", exact=True).click()
    choose(page, "Classes", "Shapes")
    click(page, "button", "Use this model")
    expect(strip_button(page, "body.1", "small")).to_be_visible()
    choose(page, "Layers", "Convolutions too")
    strip_button(page, "body.1.conv1", "small").click()
    expect(page.get_by_role("heading", name="Layer body.1.conv1")).to_be_visible()
    click(page, "tab", "Block")
    expect(page.get_by_text("The two parts sum to the whole")).to_be_visible()
    choose(page, "Layers", "Blocks")
    expect(page.get_by_role("heading", name="Layer body.1", exact=True)).to_be_visible()
    click(page, "link", "Compare")
    expect(page.get_by_text(re.compile("small predicts "))).to_be_visible()
    expect(page.get_by_text("These networks know different classes")).to_have_count(0)
    visited = query(page)["networks"][0]
    assert visited.startswith("mine-") and visited.count(",") == 1
    click(page, "link", "Models")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download as ONNX").click()
    assert onnx.load(waiting.value.path()).metadata_props[0].key == HEADER


def assert_unknown_to_others(server: Server, url: str) -> None:
    """Another visitor with the link gets the default networks, and is told of no other one's upload."""
    with closing(Session(server.url)) as stranger:
        stranger.rerun(**dict(parse_qsl(urlsplit(url).query)))
        assert stranger.viewer["view"]["networks"][0] == "shapes-plain-20"
        told = stranger.answer
        stranger.explain()
        told += stranger.answer
        stranger.rerun("models")
        told += stranger.answer
    assert any(b"plain-20" in message for message in told), "names are readable in these messages"
    assert not any(b"my net" in message for message in told)


def test_other_peoples_weights_are_recognised_asked_about_and_explained(page: Page, server: Server) -> None:
    """After a file that is none: `test_models` and `test_weights_import_files` have all kinds of these."""
    give(page, "../../evil.pt", b"cposix\nsystem\n(S'touch /tmp/evil'\ntR.")
    expect(page.get_by_test_id("stAlert")).to_have_count(1)
    assert_accessible(page, "a refused file")
    upload(page, "weights", "my net.th", "application/octet-stream", theirs())
    page.get_by_text("Evidence", exact=True).click()
    expect(page.get_by_role("listitem").filter(has_text="best_prec1").first).to_be_visible()
    expect(page.get_by_test_id("stAlert").filter(has_text="evil.pt")).to_have_count(0)
    for dark in (False, True):
        turn(page, dark=dark)
        assert_accessible(page, "a report")
    use(page, "ResNet-8, option A (more likely)")
    expect(page.locator(".around").get_by_text(re.compile("^ResNet-8, |^ResNet-8$")).first).to_be_visible()

    assert "mine-" in page.url
    assert_unknown_to_others(server, page.url)
    bring_onnx(page)
    uploads = server.data / "uploads"
    assert weights_below(uploads)
    page.close()
    deadline = time.monotonic() + 60
    while weights_below(uploads):
        assert time.monotonic() < deadline, "what was uploaded goes with its session"
        time.sleep(0.2)


def test_the_page_fits_its_window_and_everybody_can_use_it(page: Page) -> None:
    visit(page, "/models?model=shapes-resnet-20")
    for window in windows(page):
        expect(page.get_by_role("button", name="Download as one file"), str(window)).to_be_visible()
        assert no_sideways_scroll(page), window
        assert_accessible(page, window)
    assert_keyboard_goes_everywhere(page)
