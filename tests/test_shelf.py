"""The networks that all sessions share: within a bound of memory, and each loaded once."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from explorer.architectures import build
from explorer.checkpoints import Checkpoint
from explorer.presets import cifar
from explorer.ui.passes import Shelf


def network(seed: int = 0) -> Checkpoint:
    return Checkpoint(build(cifar(8), seed).freeze(), tuple("abcdefghij"), (0.5,) * 3, (0.25,) * 3, "noise")


def size(loaded: Checkpoint) -> int:
    state = loaded.network.state_dict()
    return sum(value.numel() * value.element_size() for value in state.values())


def test_what_was_asked_for_longest_ago_goes() -> None:
    shelf = Shelf(2 * size(network()))
    loads: list[str] = []

    def asked(name: str) -> Checkpoint:
        def load() -> Checkpoint:
            loads.append(name)
            return network()

        return shelf.get(name, load)

    first = asked("a")
    for name in "babc":
        asked(name)
    assert loads == ["a", "b", "c"]
    assert asked("b") is asked("b") and loads == ["a", "b", "c"]
    assert asked("a") is not first and loads == ["a", "b", "c", "a"], "c took its place"


def test_one_that_is_larger_than_all_the_room_is_used_all_the_same() -> None:
    shelf = Shelf(1)
    loaded = shelf.get("a", network)
    assert shelf.get("a", network) is loaded
    assert shelf.get("b", network) is not loaded and shelf.get("a", network) is not loaded


def test_many_who_ask_at_once_load_it_once_and_wait_for_nobody_elses() -> None:
    shelf = Shelf(10**9)
    going, go_on = threading.Event(), threading.Event()
    loads: list[int] = []

    def slowly() -> Checkpoint:
        loads.append(1)
        going.set()
        assert go_on.wait(60)
        return network()

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(shelf.get, "a", slowly) for _ in range(4)]
        assert going.wait(60)
        assert shelf.get("b", network) is shelf.get("b", network)
        go_on.set()
        assert len({id(each.result()) for each in waiting}) == 1
    assert loads == [1]


def test_what_could_not_be_loaded_is_tried_again() -> None:
    def broken() -> Checkpoint:
        raise ValueError("no.")

    shelf = Shelf(10**9)
    with pytest.raises(ValueError, match="no"):
        shelf.get("a", broken)
    assert shelf.get("a", network) is shelf.get("a", broken)
