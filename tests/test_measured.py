"""What Compare says about many pictures, without a browser: each network is asked once, whatever classes it knows."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from explorer import figures, stored_results
from explorer.checkpoints import Checkpoint, load_pretrained
from explorer.datasets import shapes
from explorer.datasets.shapes import Drawn
from explorer.experiments import agreement, measurement, similarity
from explorer.experiments.agreement import Agreement
from explorer.ui import client, dataset_access, forecasts, measured_images, network_registry
from explorer.ui.compare import labelled, measurements
from explorer.ui.compare.comparison import side_by_side
from explorer.ui.compare.measurements import Measurement, Request
from explorer.ui.services.caches import CACHES
from explorer.ui.services.inference import NetworkResult
from tests.messages import choose_pair
from tests.test_report import hostile_twins

PAGE = """
import streamlit as st
from explorer.ui import navigation
from explorer.ui.session import session
from explorer.ui.pages import compare

def explore():
    kept = session().uploads.get(st.query_params["picture"])
    st.markdown(f"explores a {kept.label} with a mask: {kept.mask is not None}")

navigation.run({"compare": ("Compare", compare.show), "explore": ("Explore", explore)})
"""
TWINS = ("shapes-plain-8", "shapes-resnet-8")
HOSTILE = '<img src=x onerror="document.title=1"> **[a](b)** $x$'
N = 30


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Thirty test pictures instead of four thousand: to draw the whole data takes seconds."""
    split = shapes.draw(N, seed=5)
    monkeypatch.setattr(dataset_access, "test_split", lambda data: (split, shapes.CLASS_NAMES))
    monkeypatch.setattr(forecasts, "macs_a_second", lambda: 1e9)
    monkeypatch.setattr(measured_images, "test_count", lambda data: N)
    yield


def open_page(*networks: str, **query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=120)
    app.query_params["networks"] = ",".join(networks or TWINS)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    return check(app)


def check(app: AppTest) -> AppTest:
    assert not app.exception
    assert not [error.value for error in app.error]
    return app


def press(app: AppTest, label: str) -> AppTest:
    next(button for button in app.button if button.label.startswith(label)).click().run()
    return check(app)


def texts(app: AppTest) -> str:
    return "\n".join(element.value for kind in (app.markdown, app.caption, app.info) for element in kind)


def kept(app: AppTest) -> dict[str, Measurement]:
    return app.session_state["findings"].snapshot()


def test_the_networks_are_asked_at_a_click_and_the_numbers_are_those_of_the_experiment() -> None:
    app = open_page()
    assert "right |" not in texts(app), "nothing is measured before a click"
    press(app, f"Measure 2 networks on {N} images")
    checkpoint = load_pretrained(TWINS[0])
    (*_, (_, expected)) = agreement.predictions(checkpoint, shapes.draw(N, seed=5), shapes.CLASS_NAMES)
    assert expected is not None
    found = agreement.accuracy_of(expected)
    row = f"| plain-8 | {found.right} of {N} | {found.share:.2%} | {found.low:.2%} to {found.high:.2%} |"
    assert row in texts(app).replace("\\", "")
    assert "McNemar's exact test" in texts(app).replace("\\", "") or "nothing tells them apart" in texts(app)


def test_a_third_network_is_measured_alone_and_one_fewer_needs_nothing() -> None:
    app = open_page()
    press(app, f"Measure 2 networks on {N} images")
    first = {key: answer.result for key, answer in kept(app).items() if answer.request.kind == "said"}
    assert len(first) == 2
    app.query_params["networks"] = ",".join((*TWINS, "shapes-plain-20"))
    del app.query_params["measured"]
    app.run()
    press(app, f"Measure 1 network on {N} images")
    said = {key: answer.result for key, answer in kept(app).items() if answer.request.kind == "said"}
    assert len(said) == 3 and all(said[key] is result for key, result in first.items())
    app.query_params["networks"] = ",".join((TWINS[1], "shapes-plain-20"))
    app.run()
    assert "| plain\\-20 | " in texts(check(app)), "both are known, so they are shown without a click"


def test_layers_are_compared_with_grams_that_were_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Checkpoint] = []
    original = similarity.layer_grams

    def counted(own: Checkpoint, pixels: np.ndarray) -> Iterator[tuple[float, similarity.Grams | None]]:
        taken.append(own)
        return original(own, pixels)

    monkeypatch.setattr(similarity, "layer_grams", counted)
    app = open_page(tab="layers")
    press(app, "Compare all layers on ")
    assert len(taken) == 2 and "Most similar are" in texts(app)
    app.selectbox(key=f"{','.join(TWINS)}-cka-0-2").set_value(1).run()
    press(app, "Compare all layers on ")
    assert len(taken) == 2, "the second network beside itself needs no other pass"
    shown = next(answer.result for answer in kept(app).values() if answer.names == (TWINS[1], TWINS[1]))
    assert np.allclose(np.diagonal(shown.cka), 1)
    before = texts(app)
    app.segmented_control(key="many-estimate").set_value("plain").run()
    assert texts(check(app)) != before


def test_of_many_classes_the_mistakes_are_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "MATRIX_CLASSES", 9)
    app = press(open_page("shapes-plain-8", "shapes-plain-56"), f"Measure 2 networks on {N} images")
    assert "| label | predicted instead | plain\\-8 | plain\\-56 |" in texts(app)


def test_pictures_for_a_report_do_not_keep_the_whole_split() -> None:
    app = press(open_page("shapes-plain-8", "shapes-plain-56"), f"Measure 2 networks on {N} images")
    (shown,) = [answer.result[0] for answer in kept(app).values() if answer.request.kind == "pictures"]
    assert shown and all(pixels.base is None for pixels in shown.values())


def test_the_downloads_hold_what_was_measured_and_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    offered: dict[str, Callable[[], Any]] = {}
    monkeypatch.setattr(st, "download_button", lambda label, data, **_: offered.update({label: data}))
    press(open_page(), f"Measure 2 networks on {N} images")
    assert set(offered) == {"Predictions (CSV)", "Report (HTML)", "Raw numbers (npz)"}
    text = offered["Report (HTML)"]().read().decode()
    assert "drawn star, number 6" in text and "Predictions on labelled images" in text and "Where they look" in text
    assert len(offered["Raw numbers (npz)"]()) > 1000 and offered["Predictions (CSV)"]().count(b"\n") == N + 1
    for waiting in offered.values():
        for cell in getattr(waiting, "__closure__", None) or ():
            for network in cell.cell_contents if isinstance(cell.cell_contents, list) else ():
                assert all(each.device.type == "meta" for each in network.checkpoint.network.parameters())


def test_shares_on_the_object_say_what_was_left_out() -> None:
    app = press(open_page(tab="object"), f"Measure 2 networks on {N} images")
    press(app, f"Measure 2 networks on {N} images")  # the first button is gone: this is the one for the cams
    assert f"({N} images, 3 blocks) were zero everywhere and are left out." in texts(app).replace("\\", "")
    assert sum(answer.request.kind == "shares" for answer in kept(app).values()) == 2


def test_shares_are_measured_on_more_images_after_a_click(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(measurement.MOST, "shares", 5)
    app = press(open_page(tab="object"), f"Measure 2 networks on {N} images")
    press(app, "Measure 2 networks on 5 images")
    assert "(5 images, 3 blocks)" in texts(app).replace("\\", "")
    press(app, f"Measure 2 networks on {N} images (about ")
    assert f"({N} images, 3 blocks)" in texts(app).replace("\\", "") and "(5 images" not in texts(app)
    assert not [button for button in app.button if button.label.startswith("Measure 2 networks")]
    assert sorted(answer.request.n for answer in kept(app).values() if answer.request.kind == "shares") == [5, 5, N, N]


def test_a_picture_on_which_they_disagree_opens_in_explore() -> None:
    app = press(open_page("shapes-plain-8", "shapes-plain-56"), f"Measure 2 networks on {N} images")
    assert "Where they disagree" in [heading.value for heading in app.subheader]
    press(app, "Explore")
    (shown,) = [block.value for block in app.markdown if block.value.startswith("explores a ")]
    label, mask = shown.removeprefix("explores a ").split(" with a mask: ")
    assert label in shapes.CLASS_NAMES and mask == "True"


def test_without_common_pictures_one_sentence_says_what_to_do() -> None:
    app = open_page("shapes-plain-8", "cifar10jpeg-plain-20", tab="layers")
    assert "There are no labelled images here that all these networks know." in texts(app)
    assert not [button for button in app.button if button.label.startswith("Measure 2")]
    press(app, "Compare all layers on ")
    assert "Most similar are" in texts(app), "layers can be compared on any images"


def test_names_are_never_markdown(monkeypatch: pytest.MonkeyPatch) -> None:
    names = tuple(f"{HOSTILE} {index}" for index in range(10))
    split = shapes.draw(N, seed=5)
    data = "stored-" + "0" * 64
    original = network_registry.loader
    monkeypatch.setattr(network_registry, "loader", lambda name: lambda: replace(original(name)(), class_names=names))
    monkeypatch.setattr(dataset_access, "labelled_data", lambda spec, class_names: [data])
    monkeypatch.setattr(dataset_access, "summary", lambda data: SimpleNamespace(class_names=names))
    monkeypatch.setattr(dataset_access, "test_split", lambda data: (replace(split, masks=None), names))
    app = press(open_page("shapes-plain-8", "shapes-plain-56"), f"Measure 2 networks on {N} images")
    assert "onerror" in texts(app), "the names are there"
    assert "<img" not in texts(app).replace("\\<", "") and "[a](b)" not in texts(app) and "$x$" not in texts(app)


# --- kept results -----------------------------------------------------------------------------------------------------


def bits(result: Any) -> dict[str, bytes]:
    return {name: part.tobytes() for name, part in stored_results.pack(result).items()}


def test_another_session_has_the_same_results_to_the_bit_and_measures_nothing() -> None:
    app = press(open_page(), "Measure everything")
    assert app.query_params["measured"] in ("said,cka,shares", ["said,cka,shares"])
    fresh = kept(app)
    other = open_page(tab="object")
    assert not [button.label for button in other.button if button.label.startswith("Measure")]
    found = kept(other)
    kinds = {key: each.request.kind for key, each in fresh.items() if each.request.kind in measurement.RESULTS}
    assert sorted(kinds.values()) == ["cka", "said", "said", "shares", "shares"]
    assert all(bits(found[key].result) == bits(fresh[key].result) for key in kinds)


def test_a_link_measures_what_it_asks_for_and_nothing_else() -> None:
    app = open_page(measured="shares")
    kinds = [each.request.kind for each in kept(app).values()]
    assert kinds == ["shares", "shares"]
    assert [button.label for button in app.button if button.label.startswith("Measure everything")]


def test_a_change_of_networks_or_images_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measurements, "COUNTS", (10,))
    app = open_page(measured="said")
    check(app.segmented_control(key="compare_grid").set_value("true").run())
    assert "measured" in app.query_params
    check(app.selectbox(key="compare_n").select(10).run())
    assert "measured" not in app.query_params and len(kept(app)) == 3
    app.query_params["measured"] = "said"
    choose_pair(app, "compare", TWINS[0], "shapes-plain-56")
    assert "measured" not in app.query_params


@pytest.mark.parametrize(
    ("data", "names"),
    [
        ("stored-" + "0" * 64, ("shapes-plain-8",)),
        ("shapes-32", ("mine-0123456789abcdef",)),
        ("shapes-32", ("shared-" + "0" * 32,)),
        ("shapes-32", ("shapes-plain-8", "mine-0123456789abcdef")),
    ],
)
def test_nothing_of_an_upload_is_stored(data: str, names: tuple[str, ...]) -> None:
    kind: Any = "cka" if len(names) > 1 else "said"
    assert measurements._stored_key(Request(kind, data, N), names) is None


def test_results_of_own_trainings_are_for_their_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    run = f"run-{'0' * 32}-plain-8"
    monkeypatch.setattr(network_registry, "_digest", lambda name: name)

    def key(name: str, owner: str) -> str | None:
        monkeypatch.setattr(client, "owner", lambda: owner)
        return measurements._stored_key(Request("said", "shapes-32", N), (name,))

    assert len({key(run, "1" * 32), key(run, "1" * 32), key(run, "2" * 32)}) == 2
    assert key("shapes-plain-8", "1" * 32) == key("shapes-plain-8", "2" * 32)


def test_any_other_image_label_or_mask_is_other_data() -> None:
    split = shapes.draw(N, seed=5)
    images, labels, masks = split.images.copy(), split.labels.copy(), split.masks
    assert masks is not None
    images[-1, 0, 0, 0] ^= 1
    labels[-1] = (labels[-1] + 1) % 10
    others = [
        replace(split, images=images),
        replace(split, labels=labels),
        replace(split, masks=~masks),
        replace(split, masks=None),
    ]
    contents = [measurement.content_of(each, shapes.CLASS_NAMES) for each in (split, *others)]
    contents.append(measurement.content_of(split, shapes.CLASS_NAMES[::-1]))
    assert len({*contents}) == 6
    assert measurement.content_of(shapes.draw(N, seed=5), shapes.CLASS_NAMES) == contents[0]


def test_what_ships_is_what_the_page_asks_for() -> None:
    """The command that ships results measures them under the keys that the page looks for."""
    twins = [load_pretrained(name) for name in TWINS]
    split = shapes.draw(N, seed=5)
    (*_, (_, found)) = measurement.measure_twins(twins, split, shapes.CLASS_NAMES, Drawn().name)
    asked: list[tuple[Request, tuple[str, ...]]] = [(Request("cka", "shapes-32", N), TWINS)]
    for request in (Request("said", "shapes-32", N), Request("shares", "shapes-32", N)):
        asked += [(request, (name,)) for name in TWINS]
    assert {measurements._stored_key(request, names) for request, names in asked} == {*found}
    (*_, (_, said)) = agreement.predictions(twins[1], split, shapes.CLASS_NAMES)
    key = measurements._stored_key(Request("said", "shapes-32", N), TWINS[1:])
    assert key and {name: part.tobytes() for name, part in found[key].items()} == bits(said)


def test_pictures_are_taken_evenly_over_the_split(monkeypatch: pytest.MonkeyPatch) -> None:
    assert measured_images.sample("shapes-32", 10).indices.tolist() == list(range(0, 30, 3))
    about = measured_images.sample("shapes-32", 1000)
    assert about.indices.tolist() == list(range(N))
    taken = measurement.rows(about.split, about.indices)
    assert np.array_equal(taken.labels, about.split.labels) and taken.masks is not None


def test_old_results_make_room_but_the_last_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = replace(CACHES["ui.compare.measurements.store"], bytes=1000)
    monkeypatch.setattr(measurements, "CACHES", {"ui.compare.measurements.store": limit})
    store = measurements.store()
    monkeypatch.setattr(measurements, "store", lambda: store)
    for number in range(8):
        grams = similarity.Grams(("a",), np.zeros((1, 10, 10), np.float32), {})  # 400 bytes
        measurements.keep(Request("grams", "shapes-32", 10), (f"network-{number}",), grams)
    assert [answer.names[0] for answer in store.snapshot().values()] == [f"network-{number}" for number in range(4, 8)]


def test_the_verdict_says_what_the_counts_say() -> None:
    clear = labelled.mcnemar_sentence("A", "B", Agreement(80, 12, 1, 7, 82))
    assert "A has 12 and B 1" in clear and "p = 0.0034" in clear and "unlikely explanation" in clear
    vague = labelled.mcnemar_sentence("A", "B", Agreement(80, 7, 5, 8, 82))
    assert "p = 0.77" in vague and "may explain the difference" in vague
    assert "nothing tells them apart" in labelled.mcnemar_sentence("A", "B", Agreement(90, 0, 0, 10, 95))
    assert "p < 0.0001" in labelled.mcnemar_sentence("A", "B", Agreement(80, 60, 1, 7, 82))


def test_networks_of_one_colour_are_told_apart() -> None:
    first, _ = hostile_twins("x")
    twice = [NetworkResult(name, first.checkpoint, "#C2540A", trace=first.trace, profiles=()) for name in ("a", "b")]
    assert [network.dash for network in side_by_side(twice)] == ["solid", "dash"]
