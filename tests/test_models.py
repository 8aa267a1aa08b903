"""Models without a browser: uploads, whose they are and for how long, and what their owner may change.

One file for the one page.
"""

import errno
import io
import os
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import streamlit
import torch
from streamlit.testing.v1 import AppTest
from torch import nn

from explorer import checkpoints, requirements, runs, weights_import
from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.presets import cifar
from explorer.runs import Request, Run
from explorer.ui import client, network_registry, user_models
from explorer.ui.markdown import as_code, as_text
from explorer.ui.services import model_store
from explorer.ui.services.model_store import SessionFolder, models_of, shared_folder
from explorer.ui.session import SessionData
from explorer.weights_import import NORMALISATIONS
from tests.e2e.test_models import theirs
from tests.messages import chosen
from tests.test_pages import open_app

PAGE = """
import streamlit as st
from explorer.ui import navigation, network_registry, user_models
from explorer.ui.pages import models

def explore():
    if st.button("Back to Models"):
        navigation.switch_page("models", {"model": st.query_params["first"]})

def build():
    st.write("here is Build & train")

pages = {"models": models.show, "explore": explore, "build": build}
navigation.run({name: (name.title(), page) for name, page in pages.items()})
"""
OWNER = "ab" * 16
pytestmark = pytest.mark.usefixtures("in_this_process")


def open_models(owner: str = OWNER, **query: str) -> AppTest:
    app = AppTest.from_string(PAGE, default_timeout=120)
    app.session_state["session"] = SessionData(owner=owner)
    for name, value in query.items():
        app.query_params[name] = value
    app.run()
    return check(app)


def check(app: AppTest) -> AppTest:
    """No exception, and not the sentence that stands for one."""
    assert not app.exception
    assert not [error.value for error in app.error if "Something went wrong" in error.value]
    return app


def give(app: AppTest, content: bytes, name: str = "net.th") -> None:
    app.file_uploader(key="weights").upload(name, content, "application/octet-stream").run()
    check(app)


def press(app: AppTest, label: str) -> None:
    next(button for button in app.button if button.label == label).click().run()
    check(app)


def use(app: AppTest, reading: int = 0) -> str:
    """Answers the question of a file that asks one, and returns the name of the model that is used then."""
    before = set(uploads_of(app))
    if app.radio:
        app.radio[0].set_value(reading).run()
    press(app, "Use this model")
    (name,) = set(uploads_of(app)) - before
    return str(name)


def uploads_of(app: AppTest) -> list[str]:
    folder = folder_of(app) if "uploads" in app.session_state else None
    return [f"mine-{model.path.stem}" for model in models_of(OWNER, folder)] if folder else []


def folder_of(app: AppTest) -> Path:
    return app.session_state["uploads"].path


@pytest.fixture(scope="module")
def other() -> bytes:
    return theirs(14)


@pytest.fixture(scope="module")
def content() -> bytes:
    return theirs(8)


@pytest.mark.parametrize("comes_back", [False, True])
def test_the_folder_of_a_session_goes_unless_it_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    timers: list[threading.Timer] = []

    class Timer(threading.Timer):
        def start(self) -> None:
            timers.append(self)

    monkeypatch.setattr(threading, "Timer", Timer)
    folder = tmp_path / "uploads"
    folder.mkdir()
    session_folder = SessionFolder(folder, 0.1).on_connect()
    session_folder.on_disconnect()
    if comes_back:
        session_folder.on_connect()
    (timer,) = timers
    assert folder.exists() and timer.interval == 0.1 and timer.daemon
    timer.run()  # here instead of in a thread: it waits and does what it was told to
    assert folder.exists() == comes_back


def test_an_upload_is_this_sessions_alone(data_folder: Path, content: bytes) -> None:
    app, stranger = open_models(), open_models("cd" * 16)
    give(app, content)
    use(app)
    folder = folder_of(app)
    assert sorted(path.suffix for path in folder.iterdir()) == [".json", ".safetensors"]
    assert folder.parent == data_folder / "uploads"
    stranger.run()
    assert "uploads" not in stranger.session_state


def test_an_uploaded_file_that_cannot_be_removed_yet_is_read_all_the_same(content: bytes, scanned: list[Path]) -> None:
    app = open_models()
    give(app, content)
    assert not app.error and app.radio and scanned


def test_a_file_that_comes_while_another_one_is_read_is_read_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first_is_read, both_are_here, read = threading.Event(), threading.Event(), []

    def slow(path: Path, name: str) -> str:
        if name == "first":
            first_is_read.set()
            assert both_are_here.wait(10)
        read.append((name, path.read_bytes()))
        return name

    def second_comes(*_: Any) -> None:
        if first_is_read.is_set():
            both_are_here.set()

    monkeypatch.setattr(weights_import, "read", slow)
    monkeypatch.setattr(user_models, "session_folder", lambda: tmp_path)
    monkeypatch.setattr(client, "owner", lambda: OWNER)
    slot = user_models._inspection_slot

    class Slot:
        """The second file is on the disk, and waits."""

        def __enter__(self) -> None:
            second_comes()
            slot.acquire()

        def __exit__(self, *_: object) -> None:
            slot.release()

    monkeypatch.setattr(user_models, "_inspection_slot", Slot())
    with ThreadPoolExecutor() as threads:
        one = threads.submit(user_models.inspect_upload, b"one", "first")
        assert first_is_read.wait(10)
        two = threads.submit(user_models.inspect_upload, b"two", "second")
        assert (one.result(), two.result()) == ("first", "second")
    assert read == [("first", b"one"), ("second", b"two")] and not list(tmp_path.iterdir())


def test_a_file_with_any_ending_whose_one_output_asks_for_two_names() -> None:
    """A tutorial's CNN for grey images."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = {"conv1": nn.Conv2d(1, 4, 5), "conv2": nn.Conv2d(4, 8, 5), "fc1": nn.Linear(128, 1)}
    file = io.BytesIO()
    torch.save({"state_dict": nn.ModuleDict(sizes).state_dict(), "epoch": 3}, file)
    app = open_models()
    give(app, file.getvalue(), "best.pth.tar")
    assert any("One class a line, first that of a small output" in area.label for area in app.text_area)
    assert all(button.disabled for button in app.button if button.label == "Use this model")
    app.text_area[0].set_value("healthy\nill").run()
    name = use(app)
    made = checkpoints.load(folder_of(app) / f"{name.removeprefix('mine-')}.safetensors")
    assert made.class_names == ("healthy", "ill") and made.spec.one_logit and made.spec.input_shape == (1, 28, 28)
    assert (made.mean, made.std) == ((0.1307,), (0.3081,))


def test_a_session_and_all_sessions_have_a_quota(monkeypatch: pytest.MonkeyPatch, content: bytes, other: bytes) -> None:
    app = open_models()
    monkeypatch.setattr(model_store, "SESSION_QUOTA_BYTES", len(content) + 1000)
    give(app, content)
    use(app)
    stored = sum(path.stat().st_size for path in folder_of(app).iterdir())
    press(app, "Back to Models")
    give(app, other)
    assert [error.value for error in app.error if "delete one first" in error.value]
    assert sum(path.stat().st_size for path in folder_of(app).iterdir()) == stored, "nothing half written stays"

    press(app, "Delete")
    press(app, "Yes, delete")
    assert not list(folder_of(app).iterdir())
    monkeypatch.setattr(model_store, "SESSION_QUOTA_BYTES", 300 * 2**20)
    monkeypatch.setattr(model_store, "TOTAL_QUOTA_BYTES", len(other) + 1000)
    give(app, content)
    use(app)
    stranger = open_models("cd" * 16)
    give(stranger, other)
    assert [error.value for error in stranger.error if "all sessions together" in error.value]


def test_a_change_takes_the_place_of_what_it_changes(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Else half of what a session may have could never be changed."""
    app = open_models()
    give(app, content)
    name = use(app)
    press(app, "Back to Models")
    (path,) = folder_of(app).glob("*.safetensors")
    monkeypatch.setattr(model_store, "SESSION_QUOTA_BYTES", path.stat().st_size + 1000)
    app.text_area[0].set_value("\n".join("abcdefghij")).run()
    press(app, "Save the changes")
    assert not app.error and uploads_of(app) != [name]


def test_classes_and_normalisation_are_changed_after_the_upload(content: bytes) -> None:
    app = open_models()
    give(app, content)
    name = use(app)
    press(app, "Back to Models")
    names = tuple(f"thing {index}" for index in range(10))
    app.text_area(key=f"change-classes-{name}").set_value("\n".join(names)).run()
    app.selectbox(key=f"change-normalisation-{name}").set_value("half").run()
    press(app, "Save the changes")
    (changed,) = uploads_of(app)
    assert changed != name and app.query_params["model"] == changed
    (path,) = folder_of(app).glob("*.safetensors")
    loaded = checkpoints.load(path)
    assert loaded.class_names == names and loaded.mean == NORMALISATIONS["half"].mean
    app.text_area(key=f"change-classes-{changed}").set_value("one").run()
    press(app, "Save the changes")
    assert [error.value for error in app.error if "must name the 10 classes" in error.value]
    assert uploads_of(app) == [changed]


def test_the_order_of_classes_without_names_is_shown_and_changed(content: bytes) -> None:
    app = open_models()
    give(app, content)
    next(each for each in app.selectbox if each.label == "Classes").set_value("class 0, class 1, …").run()
    check(app)
    said = "The file does not name its classes. Assumed: class 0 is circle, class 1 is ring,"
    assert any(each.value.startswith(said) for each in app.caption)
    (order,) = (each for each in app.text_area if str(each.key).startswith("class-order-"))
    names = str(order.value).splitlines()
    order.set_value("\n".join(names[::-1])).run()
    check(app)
    assert any(f"class 0 is {names[-1]}, class 1 is {names[-2]}," in each.value for each in app.caption)
    order.set_value("\n".join(names[1:])).run()
    assert any("Each of the 10 classes of the images must stand on one line." in each.value for each in app.info)
    assert not [each for each in app.button if each.label == "Measure"]


def test_a_file_of_ours_that_is_uploaded_keeps_its_figures(tmp_path: Path) -> None:
    network = build(cifar(8, classes=10)).freeze()
    own = Checkpoint(
        network, tuple("abcdefghij"), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6), "pets", 7, {"epochs": 3}, {"steps": 5},
        {"test": {"accuracy": 0.5, "n": 10}},
    )  # fmt: skip
    checkpoints.save(own, tmp_path / "own.safetensors")
    app = open_models()
    give(app, (tmp_path / "own.safetensors").read_bytes(), "own.safetensors")
    use(app)
    (path,) = folder_of(app).glob("*.safetensors")
    kept = checkpoints.load(path)
    assert (kept.data, kept.seed, kept.metrics, kept.record) == ("pets", 7, own.metrics, {"steps": 5})


def test_what_a_file_notes_is_only_text(tmp_path: Path) -> None:
    note = "![i](https://evil.example/i.png) **bold**"
    own = Checkpoint(
        build(cifar(8)).freeze(), tuple("abcdefghij"), (0.1,) * 3, (0.4,) * 3, note,
        metrics={"torchvision": {"accuracy": 0.5, "note": note}},
    )  # fmt: skip
    checkpoints.save(own, tmp_path / "own.safetensors")
    app = open_models()
    give(app, (tmp_path / "own.safetensors").read_bytes(), "own.safetensors")
    use(app)
    press(app, "Back to Models")
    (card,) = [text.value for text in app.markdown if "weighted layers" in text.value]
    assert as_code(note) in card and as_text(note) in card
    assert "![" not in card.replace(as_code(note), "") and "**bold" not in card.replace(as_code(note), "")


def trained(owner: str, number: str = "12" * 16) -> Run:
    """A run that has finished with two networks, as its directory says."""
    run = Run(runs.runs_folder() / number)
    run.folder.mkdir(parents=True)
    specs = (cifar(8), cifar(8, "none"))
    run.write_request(Request(tuple(spec.to_dict() for spec in specs), {}, {"kind": "shapes", "size": 32}, owner=owner))
    for spec in specs:
        network = build(spec).freeze()
        checkpoint = Checkpoint(network, tuple("abcdefghij"), (0.1,) * 3, (0.4,) * 3, "shapes")
        checkpoints.save(checkpoint, run.network_file(spec.name.lower()))
    return run


def picker(app: AppTest, key: str = "model") -> list[str]:
    return list(app.selectbox(key=key).options)


def test_every_network_of_the_picker_has_a_label_of_its_own_and_is_the_one_that_opens() -> None:
    app = open_models()
    assert [text for text in app.markdown if text.value.startswith("**At 56 layers on Shapes the twins differ most")]
    labels = picker(app)
    assert len(set(labels)) == len(labels) == len(app.dataframe[0].value)
    assert "plain-20 · Shapes" in labels and "plain-20 · CIFAR-10 (JPEG copy)" in labels
    for index, name in reversed(list(enumerate(checkpoints.pinned()))):  # what is shown at first is chosen last
        app.selectbox(key="model").select_index(index).run()
        check(app)
        assert app.query_params["model"] == name
        (card,) = [text.value for text in app.markdown if "weighted layers" in text.value]
        assert as_code(checkpoints.load_pretrained(name).data) in card


def test_uploads_and_runs_of_one_name_have_labels_of_their_own(content: bytes, other: bytes) -> None:
    for number in ("12" * 16, "12ff" * 8, "34" * 16):
        trained(OWNER, number).write_title("mine")
    app = open_models()
    for each in (content, other):
        for reading in (0, 1):
            give(app, each)
            use(app, reading)
            press(app, "Back to Models")
    labels = picker(app)
    assert len(set(labels)) == len(labels)
    assert len([label for label in labels if label.endswith("your run") or "your run ·" in label]) == 6
    assert len([label for label in labels if "your upload" in label]) == 4
    for label in [label for label in labels if "your" in label]:
        app.selectbox(key="model").select_index(labels.index(label)).run()
        check(app)
        index = app.selectbox(key="model").index
        assert index is not None and picker(app)[index] == label


def test_an_upload_changes_no_choice(content: bytes) -> None:
    app = open_models()
    before = app.selectbox(key="model").value
    give(app, content)
    assert app.selectbox(key="model").value == before and "model" not in app.query_params
    app.selectbox(key="model").select_index(2).run()
    give(app, content, "again.th")
    assert app.selectbox(key="model").value == app.query_params["model"] == list(checkpoints.pinned())[2]


def test_a_label_depends_on_no_order_and_none_can_be_taken() -> None:
    called = {"shapes-plain-20": "a", "shapes-plain-8": "a", "shapes-resnet-8": "a · shapes-plain-8", "x": "\u202ea"}
    found = network_registry.unique_labels(called, called.__getitem__)
    assert len(set(found.values())) == len(called)
    assert network_registry.unique_labels(reversed(called), called.__getitem__) == found
    assert not any("\u202e" in label for label in found.values())


def test_a_run_is_renamed_and_deleted_by_its_owner_only() -> None:
    run = trained(OWNER)
    name = f"run-{run.id}-resnet-8"
    stranger = open_models("cd" * 16, model=name)
    assert not [button for button in stranger.button if button.label == "Delete"]
    assert not [box for box in stranger.text_input if box.label == "Name"]

    app = open_models(model=name)
    app.text_input(key="new_title").set_value("my [first](http://x) run").run()
    check(app)
    assert run.title() == "my [first](http://x) run"
    titles = app.dataframe[0].value["model"].tolist()
    assert {f"{run.title()}: ResNet-8", f"{run.title()}: plain-8"} <= set(titles)
    press(app, "Delete")
    press(app, "Yes, delete the whole run")
    assert not run.folder.exists()
    assert user_models.run_of(name) is None


def test_what_is_shared_and_not_opened_for_long_goes(content: bytes) -> None:
    app = open_models()
    give(app, content)
    use(app)
    press(app, "Back to Models")
    press(app, "Share by a link")
    (shared,) = shared_folder().glob("*.safetensors")
    (link,) = [block.value for block in app.code]
    assert f"first=shared-{shared.stem}" in link and link.endswith("second=none")
    long_ago = time.time() - 86_400 * (user_models.SHARED_DAYS + 1)
    for path in shared_folder().iterdir():
        os.utime(path, (long_ago, long_ago))
    streamlit.cache_resource.clear()  # AppTests are one session to Streamlit
    stranger = open_models("cd" * 16, model=f"shared-{shared.stem}")  # who opens it keeps it
    assert shared.stat().st_mtime > time.time() - 600
    os.utime(shared, (long_ago, long_ago))
    give(stranger, content)  # makes that session's folder, and room
    assert not shared.exists()


def test_an_upload_is_renamed_shared_by_a_link_and_deleted(content: bytes) -> None:
    app = open_models()
    give(app, content)
    name = use(app, reading=[option.replace("\\", "") for option in app.radio[0].options].index("plain-8"))
    press(app, "Back to Models")
    app.text_input(key="new_title").set_value("**Our** net").run()
    assert "**Our** net · plain-8 · your upload" in picker(app)
    session = app.session_state["session"]
    session.pair, session.views["compare"] = {"first": name}, {"networks": f"shapes-plain-8,{name}"}
    press(app, "Share by a link")
    shared = str(app.query_params["model"])
    assert shared.startswith("shared-") and shared != name
    assert session.pair["first"] == shared, "every page means it by its new name"
    assert session.view("compare")["networks"] == f"shapes-plain-8,{shared}"

    def shown_to_a_stranger() -> str:
        streamlit.cache_resource.clear()  # AppTests are one session to Streamlit
        return chosen(open_app(first=shared, second="none"))[0]

    assert shown_to_a_stranger() == shared
    stranger = open_models("cd" * 16)
    assert not [label for label in picker(stranger) if "Our" in label], "a link opens it, a list does not name it"
    press(app, "Delete")
    press(app, "Yes, delete")
    assert "model" not in app.query_params and not [box for box in app.info if "not here any more" in box.value]
    assert shown_to_a_stranger() == "shapes-plain-20"


BAD = {  # `test_weights_import_files` has all kinds
    "page.pth": b"<!doctype html><html><title>Not found</title>",
    "../../evil.pt": b"cposix\nsystem\n(S'touch /tmp/evil'\ntR.",
}


def test_a_bad_file_is_one_sentence_of_its_own(content: bytes) -> None:
    app = open_models()
    sentences = []
    for name, bad in BAD.items():
        give(app, bad, name)
        (error,) = app.error
        assert not re.search("Error|Traceback|/tmp|weights_only", error.value), name
        assert len(error.value) > 20
        sentences.append(error.value)
    assert len({*sentences}) == len(BAD)
    give(app, content)
    assert not app.error


def test_nothing_is_shown_with_a_torch_that_opens_files_unsafely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requirements, "version", lambda name: "2.5.1")
    requirements.check_torch.cache_clear()  # what is in order is asked once
    app = AppTest.from_string(PAGE, default_timeout=60).run()
    assert not app.exception and not app.header
    (error,) = app.error
    said = error.value.replace("\\", "")
    assert "torch 2.10 or newer is needed" in said and "this is 2.5.1" in said


COMPARE = """
from explorer.ui import navigation
from explorer.ui.pages import compare
navigation.run({"compare": ("Compare", compare.show)})
"""


def full_disk(*_: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_compare_says_which_classes_are_assumed_and_its_owner_names_them(
    monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    app = open_models()
    give(app, content)
    next(each for each in app.selectbox if each.label == "Classes").set_value("class 0, class 1, …").run()
    name = use(app)
    page = AppTest.from_string(COMPARE, default_timeout=120)
    page.query_params["networks"] = f"{name},shapes-resnet-8"
    page.session_state["session"] = SessionData(owner=OWNER)
    page.session_state["uploads"] = app.session_state["uploads"]
    check(page.run())
    assert any(
        "does not name its classes. Assumed: class 0 is circle, class 1 is ring," in each.value for each in page.caption
    )
    (order,) = page.text_area
    names = str(order.value).splitlines()[::-1]
    order.set_value("\n".join(names)).run()
    with monkeypatch.context() as patch:
        patch.setattr(user_models, "update_metadata", full_disk)
        press(page, "Name its classes so")
    assert [each.value.replace("\\", "") for each in page.error] == [
        "The classes cannot be named (No space left on device); free some space on the disk."
    ]
    press(page, "Name its classes so")
    assert not page.error
    (changed,) = uploads_of(app)
    assert changed != name and changed in str(page.query_params["networks"])
    (path,) = folder_of(app).glob("*.safetensors")
    assert checkpoints.load(path).class_names == tuple(names)
    assert not any("does not name its classes" in each.value for each in page.caption)
