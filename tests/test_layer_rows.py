"""The rows of the strip: what the address answers, who waits for whom, and who sees whose results."""

import json
import threading
from collections.abc import Generator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest

from explorer import checkpoints, stored_results
from explorer.datasets import Split, shapes
from explorer.experiments import measurement as measurement_of
from explorer.experiments import probing, receptive_fields, twin_distance
from explorer.experiments.probing import Probes
from explorer.experiments.throughput import on_all_cores
from explorer.labels import STRIP_ROWS
from explorer.machine import cores
from explorer.onnx_export import to_onnx
from explorer.ui.api import rows
from explorer.ui.api.explore_session import ExploreSession, RequestError
from explorer.ui.api.row_drawings import ROWS
from explorer.ui.api.rows import handle_rows, layer_rows
from explorer.ui.services import layer_rows as service
from explorer.ui.services.caches import Limit, LruCache
from explorer.ui.services.explore_state import AppState
from explorer.ui.services.layer_rows import Jobs, LabelledPictures, Measurement, Subject, measurement
from explorer.ui.services.offered_networks import Measurable
from explorer.ui.services.process_tuning import threads
from explorer.ui.viewer import STATIC
from explorer.weights_import import graphs, onnx_layout
from tests.messages import refusal, reply, session_of, told
from tests.messages import session as page_session
from tests.test_pages import open_app

NAMES = ("shapes-plain-8", "shapes-resnet-8")
LABELS = {NAMES[0]: "one", NAMES[1]: "other"}
TRAIN, TEST = shapes.some("train", 60), shapes.some("test", 40)


def few(train: int, test: int) -> Any:
    """Fewer pictures than asked for."""
    return TRAIN, TEST


def session(pictures: bool = True, owner: str | None = "") -> ExploreSession:
    own = session_of(*NAMES)
    labelled = LabelledPictures("Shapes", "few shapes", True, few) if pictures else None
    measured = {name: Measurable(owner, partial(str, name), labelled) for name in NAMES}
    own.offered = replace(own.offered, measured=measured)
    return own


def view(*wanted: str, **more: Any) -> dict[str, Any]:
    return {"picture": "sample-6-6", "layers": "blocks", "networks": [*NAMES], "rows": ",".join(wanted) or None, **more}


def finished(own: ExploreSession, asked: dict[str, Any]) -> dict[str, Any]:
    """The answer once all is measured."""
    for _ in range(60):
        answer: dict[str, Any] = json.loads(layer_rows(own, asked))
        if answer["done"]:
            return answer
    raise AssertionError("a minute has passed")


def last(steps: Any) -> Any:
    *_, (_, found) = steps
    return found


def test_every_row_has_a_label_and_the_browser_knows_it() -> None:
    text = (STATIC / "rows.js").read_text()
    assert list(STRIP_ROWS) == list(ROWS)
    for name, label in STRIP_ROWS.items():
        assert f'{name}: "{label.short}"' in text


def test_the_rows_are_what_the_library_measures() -> None:
    own = session()
    answer = finished(own, view(*ROWS))
    assert [row["name"] for row in answer["rows"]] == [*ROWS]
    networks = [checkpoints.load_pretrained(name) for name in NAMES]
    names = probing.strip_layers(networks[0].spec)
    assert answer["layers"] == [*names]
    by = {row["name"]: row["series"] for row in answer["rows"]}
    for which, network in enumerate(networks):
        found = last(probing.probes(network, TRAIN, TEST))
        assert by["probe"][which]["values"] == pytest.approx([each.share for each in found.accuracies()])
        assert by["probe"][which]["low"] == pytest.approx([each.low for each in found.accuracies()])
        assert by["separability"][which]["values"] == pytest.approx(found.separability.tolist())
        assert by["dead"][which]["values"] == pytest.approx((found.dead / found.channels).tolist())
        n = receptive_fields.count(network.spec, names)
        fields = last(receptive_fields.fields(network, TEST.images[:n]))
        assert by["field"][2 * which]["values"] == pytest.approx(fields.effective.tolist())
        assert by["field"][2 * which + 1]["values"] == fields.theoretical.tolist()
    apart = last(twin_distance.twin_distance(networks[0], networks[1], TEST.images))
    assert by["distance"][0]["values"] == pytest.approx(apart.distance.tolist())
    assert by["cka"][0]["values"] == pytest.approx(apart.cka.tolist())
    for row in answer["rows"]:
        assert all(sentence.endswith(".") for sentence in row["words"]) and row["words"]
        for series in row["chart"]["series"]:
            assert all(0 <= y <= 1 for y in series["line"] + series["dots"] if y is not None)
    header, *lines = answer["csv"].split("\n")
    assert len(lines) == len(names) and header.startswith('layer,"accuracy of a linear probe, plain-8"')
    assert all(len(line.split(",")) == len(lines[0].split(",")) for line in lines)
    assert all(cost == "measured" for cost in answer["costs"].values())


def test_twins_share_a_scale_and_chance_stands_in_it() -> None:
    chart = finished(session(), view("probe"))["rows"][0]["chart"]
    assert [tick["label"] for tick in chart["ticks"]] == ["0%", "50%", "100%"]
    assert chart["marks"] == [{"label": "chance 10%", "at": pytest.approx(0.1)}]
    assert "chance 10%" in chart["alt"] and len(chart["series"]) == 2
    for series in chart["series"]:
        for value, ends in zip(series["line"], series["bands"], strict=True):
            assert value is None or ends[0] <= value <= ends[1]


def test_each_network_is_said_to_be_measured_on_its_own_data() -> None:
    own = session()
    alike = {row["name"]: row["words"] for row in finished(own, view("probe", "separability"))["rows"]}
    once = (
        "A linear classifier of the mean of each channel, fitted to 60 training images of Shapes and tested on 40 test "
    )
    assert sum(each.startswith(once) for each in alike["probe"]) == 1
    assert "Measured on 40 test images of Shapes." in alike["separability"]
    theirs = LabelledPictures(
        "Others", "other shapes", True, lambda *_: (TRAIN, Split(TEST.images[:30], TEST.labels[:30]))
    )
    measured = {**own.offered.measured, NAMES[1]: Measurable("", partial(str, NAMES[1]), theirs)}
    own.offered = replace(own.offered, measured=measured)
    both = {row["name"]: row["words"] for row in finished(own, view("probe", "separability"))["rows"]}
    first, second = (network.title for network in own.networks(NAMES))
    for title, data, n in ((first, "Shapes", 40), (second, "Others", 30)):
        assert f"{title}: measured on {n} test images of {data}." in both["separability"]
        assert f"{title}: a{once[1:]}".replace("Shapes", data).replace("40", str(n)) + "images." in both["probe"]


def test_a_network_without_labelled_pictures_says_so_and_has_the_other_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "counts", lambda *_: (60, 40))
    answer = finished(session(pictures=False), view("probe", "dead", "cka"))
    probe, dead, cka = answer["rows"]
    assert probe["chart"] is None and "no labelled images of its classes" in probe["words"][0]
    assert dead["chart"] and "drawn shapes" in dead["words"][0] and cka["chart"]


def test_a_network_of_a_graph_has_rows_beside_one_of_stages() -> None:
    own = session(owner=None)
    loaded = checkpoints.load_pretrained(NAMES[1])
    read = graphs.graph_report("`a.onnx`", *onnx_layout.graph_of(to_onnx(loaded))).readings[0]
    theirs = replace(loaded, network=read.network().freeze())
    own.offered = replace(own.offered, load={NAMES[0]: lambda: loaded, NAMES[1]: lambda: theirs}, labels=LABELS)
    answer = finished(own, view("probe", "field", "distance"))
    probe, field, distance = (row["series"] for row in answer["rows"])
    assert probe[0]["values"] == pytest.approx(probe[1]["values"], abs=0.03)
    assert field[0]["values"] == pytest.approx(field[2]["values"], rel=0.02)
    assert max(distance[0]["values"]) < 1e-3 and None not in distance[0]["values"]


def test_one_network_has_no_distance_and_no_rows_cost_nothing() -> None:
    answer = finished(session(), view("distance", networks=[NAMES[0]]))
    assert answer["rows"][0]["words"] == ["A distance needs two networks. Choose a second one above."]
    assert answer["rows"][0]["chart"] is None and answer["costs"]["cka"] == ""
    nothing = json.loads(layer_rows(session(), view()))
    assert nothing["done"] and nothing["rows"] == [] and {*nothing["costs"]} == {*ROWS}


def test_what_takes_long_waits_for_a_word_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "LONG_S", 0.0)
    own = session(owner=None)
    asked = json.loads(layer_rows(own, view("field")))
    assert asked["done"] and asked["rows"][0]["start"].startswith("Measure it: about ")
    assert finished(own, view("field", start=["field"]))["rows"][0]["chart"]


@pytest.mark.parametrize("wrong", [{"rows": "a" * 30}, {"rows": 3}, {"networks": "x"}, {"layers": "some"}])
def test_no_request_of_ours_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match="not a view of Explore"):
        layer_rows(session(), view() | wrong)


def test_networks_that_the_page_does_not_show_are_told_so() -> None:
    own = session_of(*NAMES)  # offered, and not yet measurable
    with pytest.raises(RequestError, match="other networks"):
        layer_rows(own, view("probe"))
    assert finished(session(), view("nosuchrow"))["rows"] == []


def test_the_address_answers_its_session_alone() -> None:
    own = session()
    asked = [json.dumps(view()).encode()]
    assert reply(asked, own.token, handle_rows).status_code == 200
    assert refusal(reply(asked, "no token", handle_rows))[:2] == (404, "session")


# --- who waits for whom -----------------------------------------------------------------------------------------------


def made(key: str, steps: Any) -> Measurement:
    return Measurement("probes", key, False, key, 1.0, steps)


def waiting(go_on: threading.Event, begun: threading.Event, calls: list[int]) -> Any:
    def steps() -> Generator[tuple[float, Any], None, None]:
        calls.append(1)
        begun.set()
        while not go_on.wait(0.02):
            yield 0.5, None
        yield 1.0, "the result"

    return steps


def test_sessions_that_want_the_same_wait_for_one_measurement() -> None:
    jobs, go_on, begun, calls = Jobs(), threading.Event(), threading.Event(), list[int]()
    asked = made("same", waiting(go_on, begun, calls))
    one = jobs.ask("a", asked)
    assert begun.wait(5) and jobs.ask("b", asked) is one
    jobs.leave("a")
    assert not one.ended.wait(0.1), "b still waits"
    go_on.set()
    assert one.ended.wait(5) and calls == [1] and jobs.find(asked) == "the result"


def test_a_measurement_that_nobody_wants_any_more_ends() -> None:
    jobs, go_on, begun = Jobs(), threading.Event(), threading.Event()
    job = jobs.ask("a", made("old", waiting(go_on, begun, [])))
    assert begun.wait(5)
    jobs.ask("a", made("new", waiting(go_on, threading.Event(), [])))
    assert job.ended.wait(5) and jobs.find(job.measured) is None
    go_on.set()


def test_a_failure_is_a_sentence_and_is_not_tried_again_at_once() -> None:
    jobs, calls = Jobs(), list[int]()

    def steps() -> Generator[tuple[float, Any], None, None]:
        calls.append(1)
        yield from probing.probes(checkpoints.load_pretrained(NAMES[0]), None, Split(TEST.images[:0], TEST.labels[:0]))

    asked = made("broken", steps)
    job = jobs.ask("a", asked)
    assert job.ended.wait(5) and jobs.failure(asked).startswith("`test` holds no images") and calls == [1]


def test_results_of_a_users_own_network_are_found_by_that_user_alone() -> None:
    network = session().networks([NAMES[0]])[0]
    labelled = LabelledPictures("Shapes", "few", True, few)

    def of(owner: str | None, token: str, pictures: LabelledPictures = labelled) -> Measurement:
        return measurement("probes", [Subject(network, "digest", owner, pictures)], "blocks", token)

    assert of("", "a").key == of("", "b").key and of("", "a").stored
    assert of("me", "a").key == of("me", "b").key != of("you", "a").key and of("me", "a").stored
    assert of(None, "a").key != of(None, "b").key and not of(None, "a").stored
    private = replace(labelled, public=False)
    assert of("", "a", private).key != of("", "b", private).key and not of("", "a", private).stored


def test_a_stored_result_comes_back_as_it_was() -> None:
    found = last(probing.probes(checkpoints.load_pretrained(NAMES[0]), TRAIN, TEST))
    again = stored_results.unpack(Probes, stored_results.pack(found))
    assert again is not None and again.layers == found.layers and again.accuracies() == found.accuracies()
    np.testing.assert_array_equal(again.dead, found.dead)


def test_the_address_of_a_view_names_its_rows() -> None:
    state = AppState(rows="probe,field")
    assert AppState.from_query(state.to_query()) == state
    for wrong in ("Probe", "a,,b", "", "a" * 21, "../x"):
        assert AppState.from_query({"rows": wrong}).rows is None


def test_the_cost_follows_from_the_speed_of_this_process_and_from_what_was_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "macs_a_second", lambda: 1e9)
    monkeypatch.setattr(service, "_SLOWNESS", LruCache(Limit("slowness", "process", entries=1)))
    network = session().networks([NAMES[0]])[0]
    subject = Subject(network, "d", "", LabelledPictures("S", "c", True, few))
    macs = probing.macs(network.checkpoint.spec, probing.strip_layers(network.checkpoint.spec), 2000, 1000)
    own = measurement("probes", [subject], "blocks", "s")
    assert own.seconds() == pytest.approx(macs / 3.5e9)
    service._learn(own, 2 * macs / 3.5e9)
    assert own.seconds() == pytest.approx(2 * macs / 3.5e9), "other work takes half of the machine"


@pytest.mark.parametrize("pictures", [True, False])
def test_all_measurements_at_once_take_the_cores_once(pictures: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    assert service.CONCURRENT * threads() <= max(cores(), service.CONCURRENT)
    seen = []

    def noted(calls: Any, count: int | None = None) -> Any:
        seen.append(count)
        return on_all_cores(calls, 1)

    monkeypatch.setattr(service, "threads", lambda: 7)
    monkeypatch.setattr(probing, "counts", lambda *_: (60, 40))
    monkeypatch.setattr(twin_distance, "count", lambda *_: 8)
    for module in (probing, receptive_fields, twin_distance):
        monkeypatch.setattr(module, "on_all_cores", noted)
    own = session(pictures)
    about = own.offered.measured[NAMES[0]]
    subjects = [Subject(network, "d", "", about.pictures) for network in own.networks(NAMES)]
    groups: dict[service.Kind, list[Subject]] = {"probes": subjects[:1], "fields": subjects[:1], "twins": subjects}
    for kind, group in groups.items():
        last(measurement(kind, group, "blocks", "s").steps())
    assert seen == [7] * (4 if pictures else 3), "probes have passes and then fits"


def test_the_page_says_by_what_its_networks_are_measured() -> None:
    app = open_app(first=NAMES[0], second=NAMES[1], rows="dead")
    assert told(app)["selection"]["rows"] == "dead"
    measured = page_session(app).offered.measured
    assert {*measured} == {*NAMES}
    for name, about in measured.items():
        assert about.owner == "" and about.digest() == checkpoints.digest(checkpoints.load_pretrained(name))
        assert about.pictures is not None and (about.pictures.title, about.pictures.public) == ("Shapes", True)
        train, test = about.pictures.load(20, 10)
        np.testing.assert_array_equal(train.images, shapes.some("train", 20).images)
        np.testing.assert_array_equal(test.labels, shapes.some("test", 10).labels)


def test_pictures_of_a_folder_are_taken_evenly_of_each_class() -> None:
    labels = np.array([0] * 6 + [1] * 3)
    chosen = measurement_of.evenly_by_class(labels, 6)
    assert np.bincount(labels[chosen]).tolist() == [4, 2] and (np.diff(chosen) > 0).all()
    assert measurement_of.evenly_by_class(labels, 99).tolist() == [*range(9)]
