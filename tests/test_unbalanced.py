"""Data whose classes are not balanced, on the page: from a zip of 1 : 80 to the sentence at the end of its training."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from explorer import checkpoints, runs
from explorer.datasets import Dataset, Split, channel_statistics
from explorer.datasets.balance import imbalance
from explorer.ui.build.classes import missing_pictures
from explorer.ui.dataset_access import DatasetSummary
from explorer.ui.markdown import as_sentence
from explorer.ui.network_text import balanced_accuracy_text
from tests.made_runs import end, finish, taken_queue
from tests.test_build import check, open_build, shown, state_of, texts, upload, zipped


@pytest.fixture
def queue(data_folder: Path) -> Iterator[None]:
    with taken_queue(data_folder):
        yield


def noisy(**counts: int) -> dict[str, bytes]:
    """So many PNGs of noise in each folder; `train_x` is `train/x`. The tint of a class is its name's."""
    random, files = np.random.default_rng(0), {}
    for folder, count in counts.items():
        for number in range(count):
            pixels = random.integers(0, 256, (16, 16, 3)).astype(np.uint8)
            buffer = io.BytesIO()
            Image.fromarray(pixels).save(buffer, "PNG")
            files[f"{folder.replace('_', '/')}/{number}.png"] = buffer.getvalue()
    return files


def card(**counts: tuple[int, int]) -> DatasetSummary:
    """Of classes with so many training and test pictures."""
    classes = tuple((train, 0, test) for train, test in counts.values())
    return DatasetSummary("x", (3, 32, 32), tuple(counts), classes, (0.5,) * 3, (0.2,) * 3, (), (), ())


@pytest.mark.usefixtures("queue")
def test_one_to_eighty_from_the_zip_to_the_sentence() -> None:
    """Nothing in the pictures tells the classes apart: whatever is answered, no network may be called the better."""
    app = upload(zipped(noisy(train_normal=80, train_rare=1, test_normal=40, test_rare=1)), "scans.zip")
    warning = (
        "The classes are not balanced, 72 to 1: 'normal' has 72 training images, 'rare' 1. Always predicting "
        "'normal' reaches 97.6% test accuracy. Class weights, in the tab Training, make rare classes count "
        "as much in the loss as common ones."
    )
    assert [each.value for each in app.warning] == [as_sentence(warning)]

    config = {"seconds": None, "epochs": 1, "batch_size": 32, "class_weights": True}
    query = {"preset": "resnet-8", "data": state_of(app).data, "config": json.dumps(config)}
    app = open_build("Training", **query)
    assert shown(app)["class_weights"] is True
    app.button(key="start").click().run()
    check(app)
    (run,) = runs.list_runs()
    end(run)
    finish(run)
    app.run()
    check(app)
    said = runs.summary(runs.status(run).log)
    assert "always predicting the commonest class, 'normal', would reach 97.6%, with a balanced" in said
    assert "learned more" not in said and "one class" in said and "Class weights in" not in said
    assert as_sentence(said) in texts(app) and "class weights" in texts(app)
    assert "The class 'rare' has one test image, so no interval\\." in texts(app)
    table = next(each.value for each in app.dataframe if "n" in each.value)
    assert list(table["class"]) == ["normal", "rare"] and list(table["n"]) == [40, 1]
    for network in runs.status(run).log.end["networks"]:  # type: ignore[index]
        right = network["test"]["classes"]["right"]
        assert list(table[network["title"]]) == [pytest.approx(100 * right[0] / 40), 100 * right[1]]
        intervals = list(table[f"{network['title']}, 95 % interval"])
        assert " to " in intervals[0] and intervals[1] == ""
        saved = checkpoints.load(run.network_file(network["name"]))
        assert saved.config["class_weights"] and saved.metrics["test"]["classes"]["n"] == [40, 1]


def test_the_balanced_accuracy_stands_beside_the_accuracy_where_they_differ() -> None:
    test = {"accuracy": 80 / 81, "n": 81, "balanced_accuracy": 0.5, "classes": {"right": [80, 0], "n": [80, 1]}}
    assert balanced_accuracy_text(test) == ", balanced accuracy 50.0%"
    assert (
        balanced_accuracy_text({**test, "classes": {"right": [40, 0], "n": [41, 40]}})
        == balanced_accuracy_text({"accuracy": 0.5, "n": 81})
        == ""
    )
    assert balanced_accuracy_text({**test, "balanced_accuracy": "most"}) == ""


def warning(card: DatasetSummary) -> str:
    return imbalance(card.class_names, card.counts)


@pytest.mark.parametrize(("rare", "is_said"), [(20, True), (21, False), (0, False)])
def test_the_contact_sheet_warns_from_one_to_five_on(rare: int, is_said: bool) -> None:
    assert bool(warning(card(common=(100, 50), rare=(rare, 5)))) == is_said


def test_of_many_rare_classes_the_rarest_are_named() -> None:
    said = warning(card(a=(500, 60), b=(9, 10), c=(50, 10), d=(7, 10), e=(8, 10), f=(400, 0)))
    assert "71 to 1: 'a' has 500 training images, 'd' 7, 'e' 8, 'b' 9, and 1 more" in said
    assert "'a' reaches 60.0% test accuracy" in said and "'f'" not in said
    assert "reaches 0.0%" in warning(card(a=(50, 0), b=(1, 0)))  # no test pictures: said elsewhere


def test_what_cannot_be_trained_is_one_sentence() -> None:
    assert missing_pictures(card(a=(5, 1), b=(5, 0))) == ""
    assert missing_pictures(card(a=(5, 1), b=(0, 3))).startswith("The class 'b' has no training images; add some or")
    many = missing_pictures(card(a=(5, 1), b=(0, 3), c=(0, 1), d=(0, 1), e=(0, 1)))
    assert many.startswith("The classes 'b', 'c', 'd' and 1 more have no training images")
    assert "no test images" in missing_pictures(card(a=(5, 0), b=(5, 0)))


@pytest.mark.parametrize("split", ["train", "test"])
def test_it_is_said_before_the_start_and_the_button_is_off(split: str) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (12, 3, 32, 32), np.uint8)
    train = Split(pixels, np.arange(12) % (1 if split == "train" else 2))
    test = Split(pixels[: 0 if split == "test" else 4], np.arange(0 if split == "test" else 4) % 2)
    names = ("<b>one</b>", "*two*")
    dataset = Dataset("odd", names, *channel_statistics(pixels), train, Split(pixels[:0], train.labels[:0]), test)
    app = open_build(data=f"stored-{runs.store_dataset(dataset)}")
    check(app)
    assert app.button(key="start").disabled
    (error,) = app.error
    words = "The class '*two*' has no training images" if split == "train" else "There are no test images"
    assert error.value.startswith(as_sentence(words))
