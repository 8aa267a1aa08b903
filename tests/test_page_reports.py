"""The report of each page: made when it is asked for, one file that needs no other, with all of its view."""

import json
import re
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from explorer import recordings, runs
from explorer.figures import GradientMap, Series, SizeLine, gradient_map_chart, size_chart
from explorer.runs import Request, Run
from explorer.ui import navigation
from explorer.ui.api.explain import handle_report, view_report
from explorer.ui.api.explore_session import RequestError
from tests.messages import refusal, reply, session_of
from tests.test_report import HOSTILE, Markup

NAMES = ("shapes-plain-8", "shapes-resnet-8")


def assert_whole(text: str, *parts: str) -> None:
    """One heading of the first level, those of the second below it, nothing from elsewhere, and these parts."""
    tags = Markup(text).tags
    levels = [int(tag[1]) for tag, _ in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and set(levels[1:]) == {2}
    values = [(key, str(value)) for _, each in tags for key, value in each.items()]
    assert all(value.startswith("data:image/png") for key, value in values if key in ("src", "href"))
    assert all(each.get("alt") for tag, each in tags if tag == "img")
    charts = [each for tag, each in tags if tag == "div" and each.get("class") == "chart"]
    assert all(each["role"] == "img" and each["aria-label"] for each in charts)
    for part in (*parts, "This view", "Made with", "<td>torch</td>"):
        assert part in text, part


def page_report(page: str, query: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The name and the text of the report of a page, which is made after its run."""
    offered: dict[str, tuple[Callable[[], BytesIO], str]] = {}

    def offer(label: str, data: Callable[[], BytesIO], file_name: str, **_: object) -> None:
        offered[label] = data, file_name

    monkeypatch.setattr(navigation, "download_button", offer)
    source = f"from explorer.ui import navigation\nfrom explorer.ui.pages import {page}\n"
    app = AppTest.from_string(f"{source}navigation.run({{'{page}': ('Page', {page}.show)}})", default_timeout=120)
    app.query_params.update(query)
    app.run()
    assert not app.exception and not app.error, [each.value for each in app.error]
    data, name = offered["Report (HTML)"]
    return name, data().getvalue().decode()


def test_the_report_of_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    name, text = page_report("gradients", {"source": "record", "second": "shapes-resnet-56"}, monkeypatch)
    assert name == "gradients-record-weights.html"
    for network in ("plain-56", "ResNet-56"):
        assert f"<td>{network}</td>" in text
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert len(headings) == 3 + 1 + 2 and headings[3].startswith("All layers, at step ")
    assert_whole(
        text,
        "n = 3 seeds (0 to 2)",
        "64 shapes",
        "gradients?source=record",
        "the training batch of that step",
        "ResNet-56 (shapes-v1-32, seed 0)",
    )
    assert text.count('class="chart"') == 4


def test_the_report_of_models(monkeypatch: pytest.MonkeyPatch) -> None:
    name, text = page_report("models", {"model": "shapes-plain-8"}, monkeypatch)
    assert name == "models.html"
    assert_whole(text, "<td>ResNet-56</td>", "<td>98.17%</td>", "<td>4,000</td>", "models?model=shapes-plain-8")


def test_the_report_of_a_recorded_training(monkeypatch: pytest.MonkeyPatch) -> None:
    name, text = page_report("build", {"replay": "shapes-56"}, monkeypatch)
    assert name == "training-shapes-56.html"
    headings = ["Results", "Settings", "Loss and accuracy", "Gradient map", "This view", "Made with"]
    assert re.findall("<h2>(.*?)</h2>", text) == headings
    assert_whole(text, "seed 0", "<td>learning rate</td>", "plain-56", "ResNet-56", "build?replay=shapes-56")


def test_the_report_of_a_form(monkeypatch: pytest.MonkeyPatch) -> None:
    name, text = page_report("build", {"preset": "resnet-8", "data": "shapes-16"}, monkeypatch)
    assert name == "networks-ResNet-8-and-plain-8.html"
    assert re.findall("<h2>(.*?)</h2>", text) == ["ResNet-8", "plain-8", "Training", "This view", "Made with"]
    assert_whole(text, "<td>stages.0.0.conv1</td>", "<td>learning_rate</td>", "Shapes 16×16", "build?preset=resnet-8")


def test_the_report_of_a_lesson_has_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    name, text = page_report("in_class", {}, monkeypatch)
    assert name == "lesson-56-layers.html"
    assert re.findall("<h2>(.*?)</h2>", text)[:3] == ["Five views", "45 minutes", "Six questions"]
    assert_whole(text, "<td>Inside a block</td>", "6. Which background from 1 to 20")
    assert "30.0%" not in text


def test_the_report_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    run, recording = Run(runs.runs_folder() / ("1f" * 16)), recordings.load("shapes-56")
    run.folder.mkdir(parents=True)
    run.write_request(Request.from_dict(recording.request))
    run.metrics.write_bytes(recording.metrics)
    name, text = page_report("build", {"run": run.id}, monkeypatch)
    assert name == f"training-plain-56-ResNet-56-{run.id[:8]}.html"
    assert_whole(text, "Results", "Settings", "Loss and accuracy", "Spec of plain-56", f"build?run={run.id}", "seed 0")


# --- Explore, whose browser asks for it -------------------------------------------------------------------------------

VIEW: dict[str, Any] = {"picture": "sample-6-6", "target": None, "layers": "blocks", "networks": [*NAMES]}
SELECTION = {"layer": "stages.1.0", "channel": 2, "scope": "both", "opacity": 50}


def test_the_report_of_explore_holds_its_view() -> None:
    address = "?picture=sample-6-6#layer=stages.1.0&channel=2&scope=both&opacity=50"
    text = view_report(session_of(*NAMES), VIEW | SELECTION | {"address": address}).decode()
    assert "<h1>plain-8 and ResNet-8 on drawn star, number 6</h1>" in text
    assert_whole(
        text, "plain-8 (shapes-v1-32, seed 0)", "n = 1", "channel 2 of ResNet-8", "<td>50%</td>", "<td>opacity</td>"
    )
    headings = ["Predictions", "Layer stages.1.0", "All layers, input to output", "Settings", "This view", "Made with"]
    assert re.findall("<h2>(.*?)</h2>", text) == headings
    # The strip: four columns, two rows and two kinds; three pictures, two overlays, two channels, and a bar for each.
    assert text.count("<img") == 4 * 2 * 2 + 3 + 2 + 2 + 4


@pytest.mark.parametrize(
    "changes", [{"networks": [NAMES[1]]}, {"layers": "all", "scope": "layer"}, {"scope": "network"}]
)
def test_every_view_of_explore_has_a_report(changes: dict[str, Any]) -> None:
    text = view_report(session_of(*NAMES), VIEW | changes).decode()
    assert "Most active channel" in text and text.count("<figure") >= 4


def test_a_report_shows_both_signs_where_the_view_does() -> None:
    session = session_of(*NAMES)
    signed, plain = (view_report(session, VIEW | {"evidence": each}).decode() for each in ("signed", "positive"))
    assert "Signed Grad-CAM of stages.2.0 over the image" in signed and "colours to ±" in signed
    assert "Signed" not in plain and "colours from 0 to " in plain


def test_an_address_that_somebody_made_up_is_text() -> None:
    text = view_report(session_of(*NAMES), VIEW | {"address": f"?a={HOSTILE}{'x' * 5000}"}).decode()
    assert not [each for _, each in Markup(text).tags if "onerror" in each]
    assert "x" * 2000 not in text


def test_a_report_is_for_its_session_and_for_views_of_explore() -> None:
    own = session_of(*NAMES)
    answer = reply([json.dumps(VIEW).encode()], own.token, handle_report)
    assert answer.status_code == 200 and answer.media_type == "application/octet-stream", "no page of this server"
    assert refusal(reply([json.dumps(VIEW).encode()], "0" * 32, handle_report))[:2] == (404, "session")
    for wrong in ({"scope": "none"}, {"opacity": 101}, {"layer": "../x"}):
        with pytest.raises(RequestError):
            view_report(own, VIEW | wrong)


# --- the charts of reports --------------------------------------------------------------------------------------------


def test_sizes_without_a_logarithm_are_gaps() -> None:
    series = Series("<b>", "#123456", "dash")
    figure = size_chart([SizeLine(series, "abc", [0, 0.5, 1], [0.0, 1, 1], [0.0, 2, np.inf], [0.0, 3, 3])], "size")
    (line,) = figure.data
    assert line.y == (None, 2, None) and line.name == "&lt;b&gt;" and figure.layout.yaxis.type == "log"
    band, line = size_chart([SizeLine(series, "ab", [0, 1], [1, 1], [2, 2], [3, 4])], "size").data
    assert band.x == (0, 1, 1, 0) and band.y == (3, 4, 1, 1) and line.y == (2, 2)


def test_a_gradient_map_has_one_scale_with_its_numbers() -> None:
    maps = [
        GradientMap("a", "#123456", ["x", "y"], [0, 1], [[0.01, 1.0], [None, 100.0]]),
        GradientMap("b", "#123456", ["x"], [0], [[0.0]]),
    ]
    figure = gradient_map_chart(maps)
    first, second = figure.data
    np.testing.assert_array_equal(first.z, [[-2, np.nan], [0, 2]])
    np.testing.assert_array_equal(second.z, [[np.nan, np.nan], [np.nan, np.nan]])
    scale = figure.layout.coloraxis
    assert (scale.cmin, scale.cmax) == (-2, 2) and scale.colorbar.ticktext == ("1e-2", "1e-1", "1e0", "1e1", "1e2")
    assert first.coloraxis == second.coloraxis == "coloraxis"
    assert "#000004" not in str(scale.colorscale), "a placeholder of Streamlit's theme, which draws it pink"


def test_gradient_maps_leave_room_for_their_titles_on_a_telephone() -> None:
    """At 390 px a map is about 100 px wide: room for 14 letters of 13 px."""
    titles = ["none", "projection", "depth 20, norm batch, seed 0", "<b>"]
    figure = gradient_map_chart([GradientMap(title, "#123456", ["x"], [0, 1], [[1.0], [2.0]]) for title in titles])
    layout = figure.layout
    assert layout.xaxis.domain == layout.xaxis3.domain and layout.xaxis.domain[1] < layout.xaxis2.domain[0]
    lines = [each.text.split("<br>") for each in layout.annotations]
    assert [" ".join(each) for each in lines] == [*titles[:3], "&lt;b&gt;"]
    assert all(len(line) <= 14 for each in lines for line in each)
    assert layout.xaxis.title.text is None and layout.xaxis3.title.text == layout.xaxis4.title.text == "training step"
    inside = layout.height - layout.margin.t - layout.margin.b
    between = (layout.yaxis.domain[0] - layout.yaxis3.domain[1]) * inside
    assert between >= 13 * 1.3 * max(map(len, lines)) + 12 * 1.3, "the titles below and the steps above"
    assert layout.margin.t >= 13 * 1.3 * max(map(len, lines)) + 40, "and the scale"
    assert layout.coloraxis.colorbar.orientation == "h"
