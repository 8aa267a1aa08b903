"""Every value of a spec and of a training has its word, and layers are named by their stages."""

from typing import get_args

import pytest

from explorer import labels
from explorer.architectures import spec
from explorer.training import config
from explorer.ui.services.explore_state import Scope

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
