"""The film of a training: each page at a step shows what it shows of a run that ended there."""

import json
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from driving.messages import UnpackedMessage, component
from explorer.ui import bar
from explorer.ui.api.explain import explain
from explorer.ui.gradients import slow_step
from explorer.ui.services.explore_state import AppState
from tests.made_runs import FILM_STEPS, write_film
from tests.messages import message, request, session, told
from tests.test_pages import COMPARE, open_app
from tests.test_some_shapes import GRADIENTS, opened

SAMPLE = "sample-6-6"
WITH_BAR = """
from explorer.ui import navigation
from explorer.ui.pages import gradients
navigation.run({"gradients": ("Gradients", gradients.show)})
"""


@pytest.fixture
def films(data_folder: Path) -> tuple[list[str], list[str]]:
    """The networks of a run with a film, and those of a run that ended at its step 3."""
    return write_film(data_folder), write_film(data_folder, "cd", finished_at=3)


def pair(names: list[str], **more: str) -> dict[str, str]:
    return {"first": names[0], "second": names[1], "picture": SAMPLE, **more}


def shown(answer: UnpackedMessage) -> dict[str, Any]:
    """What a person sees of a message beside its colour scales and its origin: predictions, maps, charts, numbers."""
    header, body = answer
    networks = []
    for network in header["networks"]:
        cells = [
            {**cell, **{kind: bytes(body[cell[kind][0] :][: cell[kind][1] * cell[kind][2]]) for kind in ("cam", "map")}}
            for cell in network["cells"]
        ]
        numbers = {name: layer["numbers"] for name, layer in network["layers"].items()}
        networks.append({"cells": cells, "target": network["target"], "numbers": numbers, "title": network["title"]})
    said = [{**each, "accuracy": None} for each in header["predictions"]["networks"]]
    return {"networks": networks, "predictions": said, "charts": header["charts"], "columns": header["columns"]}


def test_explore_at_a_step_is_explore_of_a_run_that_ended_there(films: tuple[list[str], list[str]]) -> None:
    film, ended = films
    at_end = message(open_app(**pair(ended)))  # the apps of a test share a session
    now = open_app(**pair(film, step="3"))
    at_step = message(now)
    assert told(now)["view"]["step"] == 3 and told(now)["view"]["networks"] == film
    assert shown(at_step) == shown(at_end)
    header = at_step[0]
    assert (header["film"]["steps"], header["film"]["last"]) == ([*FILM_STEPS[:-1]], 40)
    assert header["introduction"]["twins"] == ["plain-8", "ResNet-8"]
    assert "at step 3 of its training" in header["source"] and "at step" not in at_end[0]["source"]
    finished = message(now, step=None)[0]
    assert shown(at_step) != shown(message(now, step=None))
    for step in (0, 1, 12, 40, 1000):
        assert message(now, step=step)[0]["maxima"] == finished["maxima"], "one scale for the whole film"
    # between two kept steps the earlier one, behind the last one the finished network
    assert shown(message(now, step=11)) == shown(at_step)
    assert shown(message(now, step=40)) == shown(message(now, step=None))


def test_every_step_has_one_message_whatever_was_asked_before(films: tuple[list[str], list[str]]) -> None:
    app = open_app(**pair(films[0]))
    own = session(app)
    first = [explain(own, request(app, step=step)) for step in FILM_STEPS]
    again = [explain(own, request(app, step=step)) for step in reversed(FILM_STEPS)]
    assert first == again[::-1] and len({*first}) == len(FILM_STEPS)


def test_networks_without_weights_of_the_past_have_no_film() -> None:
    app = open_app(first="shapes-plain-8", second="shapes-resnet-8", picture=SAMPLE, step="3")
    asked = {"networks": ["shapes-plain-8", "shapes-resnet-8"]}
    assert message(app, **asked, step=3)[0]["film"] is None
    assert shown(message(app, **asked, step=3)) == shown(message(app, **asked, step=None))


def test_networks_of_two_runs_are_each_at_their_last_step_up_to_this_one(films: tuple[list[str], list[str]]) -> None:
    film, ended = films
    app = open_app(**pair([film[0], ended[1]], step="12"))
    header = message(app)[0]
    assert (
        header["film"]["steps"] == [0, 1, 3, 12] and "Each network is at its last kept step" in header["film"]["note"]
    )
    assert shown(message(app))["networks"][1] == shown(message(app, step=None))["networks"][1], "it ended at step 3"
    assert shown(message(app))["networks"][0] != shown(message(app, step=None))["networks"][0]


def aligned(app: AppTest) -> list[Any]:
    networks = json.loads(component(app, "aligned").json)["networks"]
    return [[(cell["layer"], cell["words"], cell["zero"]) for cell in network["cells"]] for network in networks]


def test_compare_at_a_step_is_compare_of_a_run_that_ended_there(films: tuple[list[str], list[str]]) -> None:
    film, ended = films
    now = opened(COMPARE, networks=",".join(film), picture=SAMPLE, step="3")
    data = json.loads(component(now, "film").json)
    assert (data["step"], data["film"]["steps"]) == (3, [*FILM_STEPS[:-1]])
    strip = json.loads(component(now, "aligned").json)
    assert "at step 3 of its training" in strip["caption"]
    at_step = aligned(now)
    then = opened(COMPARE, networks=",".join(ended), picture=SAMPLE)
    assert at_step == aligned(then)
    whole = opened(COMPARE, networks=",".join(film), picture=SAMPLE, scope="both")
    ends = json.loads(component(whole, "aligned").json)["ends"]
    early = opened(COMPARE, networks=",".join(film), picture=SAMPLE, scope="both", step="0")
    assert json.loads(component(early, "aligned").json)["ends"] == ends, "one scale for the whole film"
    assert aligned(early) != aligned(whole)


def test_a_damaged_step_leaves_the_slider(films: tuple[list[str], list[str]], data_folder: Path) -> None:
    film, _ = films
    (damaged,) = data_folder.glob(f"runs/{film[0].split('-')[1]}/weights/3.safetensors")
    damaged.write_bytes(b"damaged")
    app = opened(COMPARE, networks=",".join(film), picture=SAMPLE)
    app.query_params["step"] = "3"
    app.run()
    assert ["damaged; choose another step" in each.value for each in app.error] == [True]
    assert json.loads(component(app, "film").json)["step"] == 3


def profiles(app: AppTest) -> dict[str, Any]:
    return json.loads(component(app, "profile").json)


def sizes(app: AppTest) -> list[Any]:
    return [[line["median"] for line in panel["lines"]] for panel in profiles(app)["panels"]]


def test_gradients_at_a_step_are_those_of_a_run_that_ended_there(films: tuple[list[str], list[str]]) -> None:
    film, ended = films
    query = {"source": "checkpoint", "scale": "relative"}
    now = opened(GRADIENTS, **query, **pair(film, step="3"))
    assert json.loads(component(now, "film").json)["step"] == 3
    at_step = sizes(now)
    assert at_step == sizes(opened(GRADIENTS, **query, **pair(ended)))
    now.query_params["step"] = "0"
    now.run()
    assert sizes(now) != at_step
    spans = [profiles(now)["decades"]]
    now.query_params["step"] = "3"
    now.run()
    assert [profiles(now)["decades"]] == spans, "the steps share one axis once both are measured"


def test_the_step_in_slow_motion_is_of_the_film_too(
    films: tuple[list[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    film, ended = films
    drawn: list[dict[str, Any]] = []
    monkeypatch.setattr(slow_step, "_component", lambda **options: drawn.append(options["data"]))

    def taken(slow: str, **query: str) -> list[Any]:
        asked = {"source": "checkpoint", "slow": slow, "slow_take": "yes", "slow_pictures": "4", **query}
        opened(WITH_BAR, **asked)
        return [(each["losses"], each["lanes"]) for each in drawn[-1]["networks"]]

    at_step = taken("trained", **pair(film, step="3"))
    assert "at step 3 of its training" in drawn[-1]["source"]
    assert at_step == taken("trained", **pair(ended)) != taken("trained", **pair(film))
    taken("initial", **pair(film, step="3"))
    assert "at step 3" not in drawn[-1]["source"], "initial weights are of no step"


def test_a_step_travels_with_its_pair_and_stays_when_others_are_chosen() -> None:
    pair_at_step = {"first": "run-a", "second": "none", "step": "12"}
    assert bar.of_query("explore", pair_at_step)["step"] == "12"
    assert "step" not in bar.of_query("experiments", pair_at_step)
    assert bar.into_query("gradients", {"source": "checkpoint"}, pair_at_step)["step"] == "12"
    assert AppState.from_query({"step": "-1"}).step is None and AppState.from_query({"step": "1e3"}).step is None
    assert AppState().to_query() == {}, "an old link means what it meant"
