"""The turns of what is measured side by side."""

from collections import Counter
from itertools import pairwise

import pytest

from benchmarks.explaining import NETWORKS, OTHERS_ROUNDS, orders


@pytest.mark.parametrize(
    ("ways", "rounds"), [(3, rounds) for _, rounds in NETWORKS.values()] + [(4, OTHERS_ROUNDS), (2, 2), (5, 10)]
)
def test_each_way_stands_at_each_place_and_behind_each_other_equally_often(ways: int, rounds: int) -> None:
    found = orders(ways, rounds)
    assert len(found) == rounds and all(sorted(order) == list(range(ways)) for order in found)
    places = Counter(place for order in found for place in enumerate(order))
    behind = Counter(pair for order in found for pair in pairwise(order))
    assert len(places) == ways**2 and len(set(places.values())) == 1
    assert len(behind) == ways * (ways - 1) and len(set(behind.values())) == 1


def test_one_way_alone_takes_every_turn() -> None:
    assert orders(1, 3) == [[0], [0], [0]]
