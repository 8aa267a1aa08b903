"""Slots for heavy work: never more at once than there are, and first come, first served."""

import threading
import time

import pytest

from explorer.ui.services.slots import Slots


def test_who_leaves_and_comes_again_at_once_waits_behind_those_who_wait() -> None:
    slots, order = Slots(1), []

    def work(name: str) -> None:
        with slots:
            order.append(name)

    others = [threading.Thread(target=work, args=(name,)) for name in "bcd"]
    with slots:
        for count, other in enumerate(others, 1):
            other.start()
            while slots.waiting < count:
                time.sleep(0.001)
    work("a")
    for other in others:
        other.join()
    assert order == ["b", "c", "d", "a"] and (slots.free, slots.waiting) == (1, 0)


def test_no_more_threads_are_inside_than_there_are_slots() -> None:
    slots, lock, inside, most = Slots(2), threading.Lock(), [0], [0]

    def work() -> None:
        for _ in range(20):
            with slots:
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                time.sleep(0.0005)
                with lock:
                    inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert most == [2] and (slots.free, slots.waiting) == (2, 0)


def test_an_error_inside_gives_the_slot_back() -> None:
    slots = Slots(1)
    with pytest.raises(ValueError, match="inside"), slots:
        raise ValueError("inside")
    assert slots.free == 1
