"""Laws of what a person is told of an error: our own sentences as they are, but for places; of all else an id."""

import logging
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from explorer.architectures import ArchitectureSpec
from explorer.checkpoints import CheckpointError
from explorer.datasets import downloadable
from explorer.errors import PathError, is_user_error, user_message
from explorer.torchvision_models import PUBLISHED
from explorer.torchvision_models import load as load_published
from tests.fuzz.laws import check_discreet, check_sentence

UNEXPECTED = re.compile(
    r"Something went wrong that should not have \(incident ([0-9a-f]{8})\); reload the page, or .*\."
)


def error_of(act: Any) -> Exception:
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("no error")


def again(error: Exception) -> None:
    raise error


def inside(code: str) -> Any:
    """As if that stood in a module of the package."""
    names: dict[str, Any] = {"__name__": "explorer.somewhere", "np": np, "torch": torch}
    return lambda: exec(compile(code, "somewhere.py", "exec"), names)


OURS = {
    "a raise of ours": lambda: inside("raise ValueError('`a` must be 1.')")(),
    "one instead of another": lambda: inside(
        "try:\n    int('a')\nexcept ValueError:\n    raise ValueError('`a` is no.') from None"
    )(),
    "a check of ours": lambda: ArchitectureSpec.from_dict({"classes": -1}),
    "one that replaces another": lambda: load_published("resnet18", "/nowhere/at/all"),
    "a place": lambda: downloadable.load("cifar10", "/nowhere/at/all"),
}


FOREIGN = {
    "Python, called by us": inside("int('a')"),
    "numpy, called by us": inside("np.zeros(2) + np.zeros(3)"),
    "a zip of ours": inside("list(zip([1], [], strict=True))"),
    "torch, called by us": inside("torch.nn.BatchNorm2d(1)(torch.zeros(1, 1, 1, 1))"),
    "one that we hand on": inside("try: int('a')\nexcept ValueError: raise"),
    "numpy": lambda: np.zeros(2) + np.zeros(3),
    "numpy, from Python": lambda: np.concatenate([]),
    "Python": lambda: int("a"),
    "elsewhere": lambda: again(ValueError("the secret is 1234")),
    "no ValueError": lambda: again(KeyError("the secret is 1234")),
    "torch": lambda: torch.nn.BatchNorm2d(1)(torch.zeros(1, 1, 1, 1)),
}


@pytest.mark.parametrize("act", OURS.values(), ids=OURS)
def test_our_own_sentences_are_told_without_places(act: Any, caplog: pytest.LogCaptureFixture) -> None:
    error = error_of(act)
    assert is_user_error(error)
    said = user_message(error)
    check_sentence(said[0].upper() + said[1:] if said[0].isalpha() else f"A{said}")
    assert "/nowhere" not in said
    if isinstance(error, PathError):
        assert "`/nowhere/at/all" in str(error) and said == str(error).replace(
            re.findall(r"`/nowhere[^`]*`", str(error))[0], "the folder that the app's terminal or log names"
        )
        assert str(error) in caplog.text, "whoever runs the app finds it there"
    else:
        assert said == str(error) and not caplog.records


@pytest.mark.parametrize("act", FOREIGN.values(), ids=FOREIGN)
def test_of_every_other_error_an_id_is_told_and_the_log_has_the_rest(
    act: Any, caplog: pytest.LogCaptureFixture
) -> None:
    error = error_of(act)
    assert not is_user_error(error)
    with caplog.at_level(logging.ERROR):
        said = user_message(error)
    found = UNEXPECTED.fullmatch(said)
    assert found, said
    check_discreet(said)
    (record,) = caplog.records
    assert record.getMessage() == f"incident {found[1]}" and record.exc_info and record.exc_info[1] is error


def test_an_error_that_nobody_raised_is_no_sentence() -> None:
    assert not is_user_error(ValueError("a text"))


def test_a_sentence_may_say_something_else_instead_of_the_place() -> None:
    error = PathError("{path} is full; make room in {path}.", Path("/a/b"), instead="`pets`")
    assert (
        str(error) == "`/a/b` is full; make room in `/a/b`."
        and error.without_path() == "`pets` is full; make room in `pets`."
    )


def test_a_published_file_that_is_missing_is_still_an_error_of_checkpoints() -> None:
    error = error_of(lambda: load_published(next(iter(PUBLISHED)), "/nowhere/at/all"))
    assert isinstance(error, CheckpointError) and isinstance(error, PathError)
