"""Every value of a spec and of a training has its word, and layers are named by their stages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from explorer import labels
from explorer.architectures import spec
from explorer.cli.main import parser
from explorer.experiments import folding, lesions, robust_accuracy, trust
from explorer.runs.queue import State
from explorer.studies.folder import TrialState
from explorer.training import config
from explorer.ui.services.explore_state import Scope

ROOT = Path(__file__).parents[1]
READ = ("methods.py", "faithfulness.py")  # on pages too
TABLES = {
    "block": spec.BlockKind,
    "shortcut": spec.Shortcut,
    "norm": spec.Norm,
    "activation": spec.Activation,
    "initialisation": spec.Initialisation,
    "downsampling": spec.Downsampling,
    "head_pooling": spec.HeadPooling,
    "stem_pooling": spec.StemPooling,
    "optimizer": config.Optimizer,
    "schedule": config.Schedule,
}


@pytest.mark.parametrize("field", TABLES)
def test_every_value_has_a_word_of_its_own(field):
    table = labels.VALUES[field]
    assert set(table) == set(get_args(TABLES[field])) and len(set(table.values())) == len(table)
    assert all(labels.label(field, value) == word for value, word in table.items())


def test_families_shortcuts_and_scopes_are_those_of_the_values():
    assert set(labels.FAMILIES) == set(labels.SHORTCUTS) == set(get_args(spec.Shortcut))
    assert set(labels.SCOPES) == set(get_args(Scope))
    assert set(labels.VALUES["precision"]) <= set(get_args(config.Precision))


def test_the_usual_names_of_activations():
    assert list(labels.ACTIVATIONS.values()) == ["ReLU", "leaky ReLU", "ELU", "GELU", "SiLU", "tanh", "sigmoid"]


def test_a_value_without_a_word_is_written_as_it_is():
    assert labels.label("kernel_size_0", 3) == "3" and labels.label("padding_0", "same") == "same"


def test_words_in_sentences():
    assert [labels.shortcuts_of(each) for each in ("none", "projection")] == ["no shortcuts", "projection shortcuts"]
    assert [labels.norm_of(each) for each in ("none", "batch")] == ["no norm", "BatchNorm"]


def test_layers_by_their_stages():
    layers = ["stem.conv", "stages.0.0.conv1", "stages.0.1", "stages.1.pool", "head.fc"]
    assert [labels.stage_of(layer) for layer in layers] == ["stem", "stages.0", "stages.0", "stages.1", "head"]
    assert [labels.stage_title(layer) for layer in layers] == ["stem", "stage 1", "stage 1", "stage 2", "head"]
    assert labels.stage_spans(layers) == [(0, 1), (1, 3), (3, 4), (4, 5)] and labels.stage_spans([]) == []


def test_lists_and_capitals():
    assert [labels.listed(words) for words in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == [
        *("", "a", "a and b", "a, b and c")
    ]
    assert labels.listed(["a", "b"], "or") == "a or b" and labels.capital("iPhone x") == "IPhone x"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *[(0, "1 s"), (0.4, "1 s"), (89.4, "89 s"), (90, "2 min"), (5399, "90 min"), (5400, "1.5 h")],
        *[(3 * 3600, "3 h"), (1e7, "2,777.8 h")],
    ],
)
def test_a_duration_has_the_unit_that_suits(seconds: float, text: str) -> None:
    assert labels.duration(seconds) == text


def sentences(source: str) -> Iterator[str]:
    """The sentences of a module's literals without its docstrings; X stands for each value of an f-string."""
    tree = ast.parse(source)
    apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    apart |= {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        if id(node) not in apart and isinstance(node, ast.Constant | ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in parts)
            yield from re.split(r"[.?!]\**\s", text) if not re.search("<style|function", text) else ()


def test_no_sentence_of_a_page_is_longer_than_25_words() -> None:
    files = [*(ROOT / "explorer" / "ui").rglob("*.py"), *map((ROOT / "explorer" / "attribution").joinpath, READ)]
    found = [(file.name, each) for file in files for each in sentences(file.read_text()) if len(each.split()) > 25]
    assert not found and len(files) > 50
    assert [len(each.split()) for each in sentences('"a b. " f"c {d} e"\n"""Not this."""\nx = f"a {b} c. d"')] == [3, 1]


def test_a_run_is_called_the_same_on_its_page_and_in_its_study() -> None:
    words = [labels.run_state(state) for state in (*get_args(TrialState), *get_args(State))]
    assert words[:3] == ["not started", "queued", "training"] and not {"waiting", "running"} & {*words}


@pytest.mark.parametrize(
    ("command", "experiment"), [("trust", trust), ("attack", robust_accuracy), ("lesions", lesions), ("fold", folding)]
)
def test_a_question_takes_as_many_images_in_the_terminal_as_on_its_page(command: str, experiment: Any) -> None:
    assert parser().parse_args([command, "shapes-plain-8"]).count == experiment.USUAL
