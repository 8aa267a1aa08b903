"""Laws of the names of drawn pictures: each choice of size, classes and seed has one, and it is read back."""

import pytest

from explorer.datasets import shapes
from explorer.datasets.shapes import CLASS_NAMES, Drawn

FOUR = ("ring", "cross", "star", "arrow")


@pytest.mark.parametrize(
    ("drawn", "name", "key"),
    [
        (Drawn(), "shapes-v1-32", "shapes-32"),
        (Drawn(16), "shapes-v1-16", "shapes-16"),
        (Drawn(16, FOUR), "shapes-v1-16-ring-cross-star-arrow", "shapes-16-ring-cross-star-arrow"),
        (Drawn(64, ("heart", "circle"), 7), "shapes-v1-64-circle-heart-seed7", "shapes-64-circle-heart-seed7"),
        (Drawn(seed=2**70), f"shapes-v1-32-seed{2**70}", f"shapes-32-seed{2**70}"),
    ],
)
def test_names_are_read_as_they_are_written(drawn: Drawn, name: str, key: str):
    assert (drawn.name, drawn.key) == (name, key)
    assert shapes.named(name) == shapes.named(key) == drawn
    if not drawn.seed:
        assert Drawn.requested(drawn.request) == drawn


def test_every_set_of_classes_has_a_name_of_its_own():
    choices = [tuple(name for index, name in enumerate(CLASS_NAMES) if bits >> index & 1) for bits in range(2**10)]
    sets = [Drawn(16, classes) for classes in choices if len(classes) >= 2]
    assert len({drawn.name for drawn in sets}) == len({drawn.key for drawn in sets}) == len(sets) == 1013
    assert [shapes.named(drawn.name) for drawn in sets] == sets


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("shapes-16-star-ring", Drawn(16, ("ring", "star"))),
        ("shapes-16-ring-ring-star", Drawn(16, ("ring", "star"))),
        ("shapes-32-" + "-".join(CLASS_NAMES), Drawn()),
        ("shapes-v1-32-seed0", Drawn()),
        ("shapes-032", Drawn()),
    ],
)
def test_what_is_written_otherwise_is_read_and_is_no_name(text: str, meant: Drawn):
    assert Drawn.read(text) == meant
    assert shapes.named(text) is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("shapes-v2-32", "is version 2 of the shapes, and this app draws version 1"),
        ("shapes-33", "`size` must be one of"),
        ("shapes-16-ring", "at least 2 shapes to tell apart, received ring; choose another one"),
        ("shapes-16-ring-ring", "at least 2 shapes"),
        ("shapes-16-ring-oval", "there is no drawn shape 'oval'; choose of circle, ring"),
        *((text, "names no drawn shapes") for text in ("cifar10", "shapes", "shapes-", "shapes-16-", "shapes-16-RING")),
        *(
            (text, "names no drawn shapes")
            for text in ("shapes-16-ring-star\n", "shapes-\u0661\u0666", "shapes-16-seed1x")
        ),
        ("shapes-16-seed", "there is no drawn shape 'seed'"),
    ],
)
def test_what_is_not_drawn_is_refused_in_one_sentence(text: str, why: str):
    with pytest.raises(ValueError, match=why):
        Drawn.read(text)
    assert shapes.named(text) is None


@pytest.mark.parametrize("data", [{"size": "16"}, {"size": None}, {"size": 32.0}, {"size": True}])
def test_a_request_of_another_size_is_refused(data: dict[str, object]):
    with pytest.raises(ValueError, match="`size` must be one of"):
        Drawn.requested(data)


@pytest.mark.parametrize("classes", [None, "ring", 3, {"ring": 1}, ["ring", 3], [["ring"], "star"]])
def test_a_request_without_a_list_of_names_is_refused(classes: object):
    with pytest.raises(ValueError, match="`classes` must be a list of names"):
        Drawn.requested({"size": 16, "classes": classes})
