"""What is said of the geometry of gradients: sentences of made-up numbers, and the names of networks."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from explorer.architectures import ArchitectureSpec, Stage, Stem
from explorer.experiments.gradient_geometry import BlockSizes, PathSizes, Shattering, verdicts
from explorer.experiments.gradient_geometry.measurement import specs_of
from explorer.experiments.gradient_geometry.names import kind_names, names_of
from explorer.experiments.gradient_geometry.verdicts import MeasuredGeometry
from explorer.experiments.gradient_geometry.widths import widened, width
from explorer.intervals import mean
from tests.test_gradient_geometry import SPEC

MIXED = replace(SPEC, stages=(Stage(2, 4, shortcut="identity"), Stage(1, 8, 2, shortcut="projection")))
HYBRID = replace(SPEC, stages=(Stage(2, 4, shortcut="none"), Stage(1, 8, 2)))


def test_the_interval_of_a_mean_is_that_of_student() -> None:
    found = mean([1.0, 2.0, 3.0])
    assert (found.value, found.high - 2, found.n) == (2, pytest.approx(4.302653 / math.sqrt(3)), 3)
    assert math.isnan(mean([1.0]).low) and mean([1.0]).sign == 0
    for n in (2, 5, 31):  # 97.5 % of the density lie below the quantile
        deviation = math.sqrt(n / (n - 1)) if n % 2 == 0 else 1.0
        values = [1.0, -1.0] * (n // 2) + [0.0] * (n % 2)
        quantile = (mean(values).high - mean(values).value) * math.sqrt(n) / deviation
        x = np.linspace(-2000, quantile, 2_000_001)
        density = (1 + x**2 / (n - 1)) ** (-n / 2)
        density *= math.gamma(n / 2) / math.gamma((n - 1) / 2) / math.sqrt((n - 1) * math.pi)
        assert np.trapezoid(density, x) == pytest.approx(0.975, abs=4e-4)
    with pytest.raises(ValueError, match="one number or more"):
        mean([])


def measured(spec: ArchitectureSpec, name: str, *neighbours: float) -> MeasuredGeometry:
    results = tuple(
        Shattering(np.array([1.0, of, *[0.0] * 63]), of, 1.0, 256 if math.isnan(of) else 0, 0.1) for of in neighbours
    )
    return MeasuredGeometry(spec, name, tuple(range(len(neighbours))), results)


def test_the_sentences_are_those_of_the_numbers() -> None:
    plain, residual = (measured(spec, name, *values) for spec, name, values in (
        (SPEC.twin(), "P", (0.0, 0.01, -0.01)), (SPEC, "R", (0.9, 0.91, 0.89)),
    ))  # fmt: skip
    said = verdicts.sentences("shattering", [plain, residual])
    assert said[0].startswith("In P the gradients of neighbouring pictures correlate by 0.00 (−0.02 to 0.02, n = 3).")
    assert said[0].endswith("White noise in their place has 0.00, brown noise 0.98.")
    assert said[1] == (
        "P is hardly told from white noise: a small step in the picture gives another gradient. Seed by seed, R has "
        "0.90 (0.90 to 0.90, n = 3) more than P: with shortcuts, neighbours agree more."
    )
    lower = measured(SPEC, "R", -0.5, -0.4, -0.6)
    assert "P has 0.50 (0.28 to 0.72, n = 3) more than R: with shortcuts, neighbours agree less." in "".join(
        verdicts.sentences("shattering", [plain, lower])
    )
    unclear = measured(SPEC, "R", 0.1, -0.1, 0.05)
    assert "3 seeds cannot tell them apart" in verdicts.sentences("shattering", [plain, unclear])[1]
    assert "one seed gives no interval" in verdicts.sentences("shattering", [measured(SPEC.twin(), "P", 0.1), lower])[1]
    (none,) = verdicts.sentences("shattering", [measured(SPEC.twin(), "P", math.nan)])
    assert none.startswith("The gradient of P is exactly 0 for all pictures of 1 of 1 seeds.")


@pytest.mark.parametrize("changes", [{"shortcut_gain": 0.5}, {"branch_start": "gain"}, {"stochastic_depth": 0.5}])
@pytest.mark.parametrize("question", ["shattering", "widths"])
def test_a_block_that_is_more_than_its_branch_and_shortcut_has_no_plain_twin(changes: Any, question: Any) -> None:
    pair = [measured(SPEC.twin(), "P", 0.1, 0.11), measured(replace(SPEC, **changes), "R", 0.9, 0.91)]
    assert not verdicts.twins(pair)
    said = "".join(verdicts.sentences(question, pair))
    assert "R" in said and "Seed by seed" not in said and "No width" not in said


@pytest.mark.parametrize("spec", [SPEC, HYBRID, MIXED])
def test_the_plain_twin_has_the_shortcuts_of_no_stage(spec: ArchitectureSpec) -> None:
    plain, residual = measured(SPEC.twin(), "P", 0.1, 0.11), measured(spec, "R", 0.9, 0.91)
    assert verdicts.twins([residual, plain]) == [(plain, residual)]


def test_depth_and_width_change_the_correlation_or_not() -> None:
    deep = replace(SPEC, stages=(Stage(4, 4), Stage(3, 8, 2)))
    said = verdicts.sentences("shattering", [measured(SPEC, "S", 0.9, 0.9), measured(deep, "D", 0.4, 0.42)])
    assert said[-1] == "From S to D the correlation falls from 0.90 to 0.41, a change of −0.49 (−0.62 to −0.36, n = 2)."
    widths = [
        measured(wide, name, value, value + 0.01)
        for spec, value in ((SPEC.twin(), 0.1), (SPEC, 0.9))
        for wide, name in zip(specs_of("widths", [spec]), names_of(specs_of("widths", [spec])), strict=True)
    ]
    (text,) = verdicts.sentences("widths", widths)
    name = SPEC.twin().name
    assert f"In {name}, from 1 to 8 channels, the correlation changes by 0.00 (0.00 to 0.00, n = 2)" in text
    assert text.endswith(f"No width here brings {name} up to {SPEC.name}: at most 0.11, against at least 0.91.")


@pytest.mark.parametrize(
    ("narrow", "wide", "is_said"),
    [
        ((0.10, 0.11), (0.12, 0.13), True),
        ((0.00, 0.16), (0.12, 0.13), False),  # the lower mean has the wider interval, which reaches 1
        ((0.10,), (0.12, 0.13), False),
        ((0.10, 0.10), (0.12, 0.13), False),
        ((math.nan, math.nan), (0.12, 0.13), False),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_no_width_is_enough_only_where_all_intervals_say_so(
    narrow: Sequence[float], wide: Sequence[float], is_said: bool, turned: bool
) -> None:
    less: list[Sequence[float]] = [narrow, wide]
    more: list[Sequence[float]] = [(0.9, 0.91), (0.92, 0.93)]
    if turned:  # the doubtful width is a residual one
        less, more = [[-of for of in values] for values in more], [[-of for of in values] for values in less]
    found = [
        measured(widened(spec, factor), "N", *values)
        for spec, kind in ((SPEC.twin(), less), (SPEC, more))
        for factor, values in zip((1, 2), kind, strict=True)
    ]
    assert ("No width here brings" in verdicts.sentences("widths", found)[0]) == is_said


def test_a_power_is_held_against_the_root() -> None:
    def of(spec: ArchitectureSpec, *powers: float) -> str:
        counts = np.arange(1.0, 5)
        results = tuple(BlockSizes(("b",) * 4, counts, counts**power, np.ones(4)) for power in powers)
        return verdicts.sentences("blocks", [MeasuredGeometry(spec, "R", tuple(range(len(powers))), results)])[0]

    assert of(SPEC, -0.5, -0.4, -0.6).endswith("(−0.75 to −0.25, n = 3); −0.5, which is 1/√ℓ, is inside.")
    assert of(SPEC, -0.7, -0.71).endswith("that falls faster than 1/√ℓ, which is −0.5.")
    assert of(SPEC, -0.3, -0.31).endswith("that falls more slowly than 1/√ℓ, which is −0.5.")
    assert of(replace(SPEC, norm="none"), 0.1, 0.1).endswith("1/√ℓ is for BatchNorm.")
    assert of(replace(SPEC, shortcut_gain=0.5), -0.3, -0.31).endswith("(−0.37 to −0.24, n = 2).")
    assert of(SPEC, -0.5).startswith("The branch of R has 1 × the size of its shortcut in the first block, 0.5 ×")


def path_words(*seeds: Sequence[float]) -> str:
    """Of the sizes of each seed."""
    results = tuple(PathSizes(np.array(sizes)) for sizes in seeds)
    (text,) = verdicts.sentences("paths", [MeasuredGeometry(SPEC, "R", tuple(range(len(seeds))), results)])
    return text


@pytest.mark.parametrize(
    ("sizes", "ends", "share"),
    [
        ((1, 1, 1, 1), "0 to 3 of 3", "100 %"),  # 1/8, 3/8, 3/8, 1/8
        ((0, 1, 0, 0), "1 to 1 of 3", "over 99 %"),
        ((0, 1, 1, 0.1), "1 to 2 of 3", "98 %"),
        ((0.001, 1, 1, 0), "1 to 2 of 3", "over 99 %"),
        (np.ones(28), "9 to 18 of 27", "95 %"),
    ],
)
def test_the_share_of_the_lengths_is_that_between_both_ends(sizes: Sequence[float], ends: str, share: str) -> None:
    assert path_words(sizes).startswith(f"In R, paths through {ends} branches have {share} of the summed gradient.")


def test_a_seed_without_a_gradient_does_not_silence_the_others() -> None:
    text = path_words((1, 1, 1, 1), (0, 0, 0, 0), (1, 1, 1, 2))
    assert text.startswith("In 1 of 3 seeds the gradient of R is exactly 0 or no finite number; these are left out. In")
    assert "have 100 % of the summed gradient. The median is 1 to 2, over 2 seeds." in text
    assert path_words((0, 0, 0, 0), (math.inf, 1, 1, 1)) == (
        "The gradient of R is exactly 0 or no finite number on all paths."
    )


def test_no_sentence_is_longer_than_25_words() -> None:
    names = [SPEC.twin(), SPEC, replace(SPEC, stages=(Stage(4, 4), Stage(3, 8, 2)))]
    one = [measured(spec, spec.name, 0.5, 0.6, 0.4) for spec in names]
    sizes = [MeasuredGeometry(SPEC, SPEC.name, (0, 1), (PathSizes(np.ones(28)), PathSizes(0.9 ** np.arange(28))))]
    roots = [
        BlockSizes(("b",) * 4, np.arange(1.0, 5), np.arange(1.0, 5) ** power, np.ones(4)) for power in (-0.3, -0.4)
    ]
    paragraphs = [
        *verdicts.sentences("shattering", one),
        *verdicts.sentences("widths", [*one, *(measured(widened(each.spec, 2), "W", 0.9, 0.8, 0.7) for each in one)]),
        *verdicts.sentences("blocks", [MeasuredGeometry(SPEC, SPEC.name, (0, 1), tuple(roots))]),
        *verdicts.sentences("paths", sizes),
    ]
    said = [sentence for text in paragraphs for sentence in text.split(". ")]
    assert len(said) > 12 and not [sentence for sentence in said if len(sentence.split()) > 25]


def test_names_tell_networks_apart() -> None:
    specs = [SPEC, replace(SPEC, norm="none"), replace(SPEC, shortcut="projection")]
    assert len({*names_of(specs)}) == 3 and names_of([SPEC, SPEC.twin()]) == [
        SPEC.name,
        SPEC.twin().name,
    ]


OTHERS = [
    SPEC, HYBRID, MIXED, replace(SPEC, shortcut_gain=0.5), replace(SPEC, shortcut_gain=0.5, stochastic_depth=0.2),
    replace(SPEC, branch_start="gain"), replace(SPEC, branch_start="gamma"), replace(SPEC, activation="tanh"),
    widened(SPEC, 8), replace(SPEC, stages=(Stage(1, 4), Stage(2, 8, 2))), replace(SPEC, stem=Stem(4, 5)),
]  # fmt: skip


def test_no_two_networks_have_one_name() -> None:
    names = names_of(OTHERS)
    assert len({*names}) == len(OTHERS)
    assert names[3] == "ResNet-8 (identity shortcuts, ReLU, shortcuts × 0.5, 4 channels)"
    wide = specs_of("widths", OTHERS)
    assert len({*wide}) == len(wide) == len({*names_of(wide)})
    one = widened(SPEC, 0.25)
    narrow = measured(one, names_of([one, SPEC])[0], 0.1)
    assert (narrow.name, verdicts.base_name(narrow)) == ("ResNet-8 (1 channel)", "ResNet-8")
    pair = names_of([SPEC, replace(SPEC, shortcut_gain=0.5)])
    assert pair == ["ResNet-8", "ResNet-8 (shortcuts × 0.5)"]


def test_kinds_differ_in_their_depth_alone_and_widths_in_their_width() -> None:
    deep = [replace(spec, stages=tuple(replace(stage, blocks=5) for stage in spec.stages)) for spec in OTHERS]
    found = [measured(spec, spec.name, 0.1) for spec in (*OTHERS, *deep)]
    kinds = verdicts.kinds(found)
    assert len(kinds) == len(OTHERS) - 1, "one of them has other blocks alone"
    assert len({*kind_names([kind[0].spec for kind in kinds])}) == len(kinds) - 1, "no word for a stem"
    for kind in kinds:
        assert len({(each.spec.shortcut_gain, width(each.spec), each.spec.activation) for each in kind}) == 1
    widths = verdicts.width_kinds([measured(spec, spec.name, 0.1) for spec in specs_of("widths", OTHERS)])
    assert len(widths) == len(OTHERS) - 1 and [width(each.spec) for each in widths[0]] == [1, 2, 4, 8, 16, 32, 64]
